"""A made-up Jester: half of the people like jokes about cats, the others those about trains."""

from pathlib import Path

import numpy as np
import pandas as pd


def jester_set(folder: Path, people: int, jokes: int, generous: int = 0) -> Path:
    """Write jokes.csv and ratings.csv.gz; with `generous` the ratings of some people are so much higher or lower."""
    dice = np.random.default_rng(0)
    about = ["cats" if n % 2 else "trains" for n in range(jokes)]
    texts = [f"A joke about {what}, the {n}th of {what}." for n, what in enumerate(about)]
    pd.DataFrame({"joke_id": range(jokes), "text": texts}).to_csv(folder / "jokes.csv", index=False)
    rated = []
    for person in range(people):
        lean = person % (2 * generous + 1) - generous
        for joke in range(jokes):
            liked = 6 * (2 * ((person + joke) % 2) - 1) + lean + dice.normal()
            rated.append((person, joke, float(np.clip(liked, -10, 10))))
    pd.DataFrame(rated, columns=["user_id", "joke_id", "rating"]).to_csv(folder / "ratings.csv.gz", index=False)
    return folder
