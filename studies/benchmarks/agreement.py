"""Do people agree with a language model, and with each other: crowd votes and GPT-4's on the same pairs of answers.

The data are LLMFAO's (github.com/dustalov/llmfao, CC BY 4.0): 124 paid workers and GPT-4 compare answers of 59 models.
They are no jokes and GPT-4 saw one order only, so the figures say how far the statistics carry on real votes, and how
much a judge agrees that is not made fair by a swap.

python -m studies.benchmarks.agreement FOLDER
"""

import csv
import gzip
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from evalica import bradley_terry

from studies.agreement import Interval, agree, between_people
from studies.ratings import PRIOR_TIES, WINNERS, Ballot, Table, standings
from studies.strengths import fit

SAID: dict[str, Literal["left", "right", "both"]] = {"left": "left", "right": "right", "tie": "both"}


def crowd(folder: Path) -> list[Ballot]:
    """The workers' votes; a ballot's trial is the pair, which several workers judged."""
    with gzip.open(folder / "crowd_comparisons.csv.gz", "rt", encoding="utf-8") as file:
        return [
            Ballot(row["worker"], row["left"], row["right"], SAID[row["winner"]], trial=row["id"])
            for row in csv.DictReader(file)
        ]


def gpt4(folder: Path) -> dict[str, str]:
    """GPT-4's verdict by pair, on the sides of the crowd's."""
    with gzip.open(folder / "gpt4_comparisons.csv.gz", "rt", encoding="utf-8") as file:
        return {row["id"]: row["winner"] for row in csv.DictReader(file)}


def peers(ballots: Sequence[Ballot], seed: int = 0) -> tuple[list[Ballot], dict[str, str]]:
    """Each vote, under a trial of its own, beside the vote of another worker on the same pair, drawn at random."""
    by_pair: dict[str, list[Ballot]] = {}
    for ballot in ballots:
        by_pair.setdefault(ballot.trial, []).append(ballot)
    rng = np.random.default_rng(seed)
    votes: list[Ballot] = []
    verdicts: dict[str, str] = {}
    for pair in by_pair.values():
        for ballot in pair:
            others = [other for other in pair if other.rater != ballot.rater]
            if others:
                name = f"{ballot.trial} {ballot.rater}"
                said = others[rng.integers(len(others))].choice
                votes.append(replace(ballot, trial=name))
                verdicts[name] = "tie" if said == "both" else said
    return votes, verdicts


def run(folder: Path) -> Iterator[str]:
    """Lines of JSON: the ratings beside evalica's, GPT-4 beside the crowd, workers beside each other."""
    ballots, verdicts = crowd(folder), gpt4(folder)
    raters = len({ballot.rater for ballot in ballots})
    yield json.dumps({"votes": len(ballots), "pairs": len({b.trial for b in ballots}), "raters": raters})

    rows = standings(ballots)
    ours = np.array([row.strength for row in rows])
    sides = [b.left for b in ballots], [b.right for b in ballots], [WINNERS[b.choice] for b in ballots]
    arms = [row.arm for row in rows]
    logs = np.log(bradley_terry(*sides, limit=10_000, tolerance=1e-9).scores.reindex(arms).to_numpy(float))
    theirs = logs - logs.mean()
    one = Table.of(ballots, arms).wins(np.zeros(len(ballots), np.intp), len(arms))
    yield json.dumps({
        "arms": len(arms), "strongest": arms[0], "widest_interval": _short(max(row.high - row.low for row in rows)),
        "fit_without_prior_and_evalica": float(f"{np.abs(fit(one)[0] - theirs).max():.1e}"),
        "standings_and_evalica": _short(np.abs(ours - theirs).max()), "of": arms[int(np.abs(ours - theirs).argmax())],
        "prior_ties": PRIOR_TIES,
    })  # fmt: skip

    scores = {pair: {"left": 1.0, "right": -1.0, "tie": 0.0}[said] for pair, said in verdicts.items()}
    found = agree(ballots, verdicts, scores)
    told = {name: _figures(getattr(found, name)) for name in ("accuracy", "kappa", "rank", "auc")}
    yield json.dumps({"gpt4_and_crowd": told})
    found = agree(*peers(ballots))  # no rank: these judges are the people
    yield json.dumps({"worker_and_worker": {"accuracy": _figures(found.accuracy), "kappa": _figures(found.kappa)}})
    by_pair: dict[str, list[Ballot]] = {}
    for ballot in ballots:
        by_pair.setdefault(ballot.trial, []).append(ballot)
    yield json.dumps({"alpha_of_workers": _figures(between_people(by_pair))})


def _short(number: float) -> float:
    return round(float(number), 3)


def _figures(interval: Interval | None) -> list[float] | None:
    """Value, low, high and votes."""
    return [*map(_short, (interval.value, interval.low, interval.high)), interval.n] if interval else None


if __name__ == "__main__":
    for line in run(Path(sys.argv[1])):
        print(line, flush=True)
