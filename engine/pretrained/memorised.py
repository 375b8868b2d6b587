"""python -m engine.pretrained.memorised: does the task-adapted model write jokes, or the jokes that it was taught?

Texts of the model with and without its adapter, asked for the same, and as a floor posts by people that were not
taught: of each the longest run of words that stands in a training text, and the cosine to the nearest one.
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from collectors.item import read_reactions
from engine.backbone import Backbone
from engine.decode import decode
from engine.encoder import encode
from engine.learning import stand_on
from engine.methods.base import Ask
from engine.methods.none import NoProfile
from engine.profile import Profile

TOPICS = ("anything", "cats", "work", "doctors", "neighbours", "computers", "marriage", "travel")
COPIED_RUN, COPIED_COSINE = 8, 0.9  # words in a row, and nearness, from which a text counts as a copy
SHOWN = 8
WORD = re.compile(r"\w+(?:'\w+)?")


@dataclass
class Taught:
    """What was learned from. Runs of words are indexed by length, when first asked for."""

    texts: Sequence[str]
    _runs: dict[int, set[tuple[str, ...]]] = field(default_factory=dict)

    def longest_run(self, text: str) -> int:
        """The most words in a row that stand in one of the texts, punctuation and case aside."""
        words, longest = _words(text), 0
        while longest < len(words) and not self._of(longest + 1).isdisjoint(_runs(words, longest + 1)):
            longest += 1
        return longest

    def _of(self, length: int) -> set[tuple[str, ...]]:
        if length not in self._runs:
            self._runs[length] = {run for text in self.texts for run in _runs(_words(text), length)}
        return self._runs[length]


def _words(text: str) -> list[str]:
    return WORD.findall(text.lower().replace("\u2019", "'"))


def _runs(words: Sequence[str], length: int) -> set[tuple[str, ...]]:
    return {tuple(words[i : i + length]) for i in range(len(words) - length + 1)}


def report(taught: Taught, texts: Sequence[str]) -> dict[str, float]:
    """Median and largest run, mean nearness, and the share of copies."""
    runs = np.array([taught.longest_run(text) for text in texts])
    near = (encode(texts) @ encode(taught.texts).T).max(1)
    copied = (runs >= COPIED_RUN) | (near >= COPIED_COSINE)
    figures = {"texts": len(texts), "run_median": np.median(runs), "run_most": runs.max()}
    figures |= {"nearest_mean": near.mean(), "copied": copied.mean()}
    return {name: round(float(value), 3) for name, value in figures.items()}


def written(lm: Backbone, each: int) -> list[str]:
    """`each` texts on every topic, asked for as the app does, nothing told of anybody."""
    asks = [Ask(payload=topic, n=each, seed=7) for topic in TOPICS]
    told = [(NoProfile().condition(lm, Profile("nobody"), {}, ask), ask) for ask in asks]
    return [text.text for texts in decode(lm, told) for text in texts if text.text]


def main() -> int:
    options = _parser().parse_args()
    taught, others = (
        sorted({item.text for _, reactions in read_reactions(path) for item, _ in reactions})
        for path in (options.population, options.held_out)
    )
    people = sorted(set(others) - set(taught))[:: max(1, len(others) // 200)]
    plain, adapted = Backbone.load(), Backbone.load()
    stand_on(adapted, options.data_dir)
    known = Taught(taught)
    texts = {"people": people, "plain": written(plain, options.each), "adapted": written(adapted, options.each)}
    for name, some in texts.items():
        print(json.dumps({"of": name, **report(known, some), "shown": some[:SHOWN]}))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m engine.pretrained.memorised", description=__doc__)
    parser.add_argument("--population", type=Path, required=True, help="what was learned from")
    parser.add_argument("--held-out", type=Path, required=True, help="people whose texts were not")
    parser.add_argument("--data-dir", type=Path, default=Path("palate-data"), help="where the adapter is")
    parser.add_argument("--each", type=int, default=12, help="texts a topic")
    return parser


if __name__ == "__main__":
    sys.exit(main())
