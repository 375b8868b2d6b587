"""Names for topics: the words that set each apart from the others and lie nearest its centre."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

CANDIDATES, WORDS = 15, 3
_WORD = re.compile(r"\b[^\W\d_]{3,20}\b")


class Words:
    """How often each word stands in each topic.

    What sets apart is class-based TF-IDF (BERTopic, arXiv 2203.05794, equation 2); alone it prefers "said" and
    "says" in short jokes, so an embedding chooses among its best, as in KeyBERT.
    """

    def __init__(self) -> None:
        self._of: list[Counter[str]] = []
        self._all: Counter[str] = Counter()
        self._total = 0

    def add(self, topic: int, text: str) -> None:
        words = [word for word in _WORD.findall(text.lower()) if word not in _stop_words()]
        while len(self._of) <= topic:
            self._of.append(Counter())
        self._of[topic].update(words)
        self._all.update(words)
        self._total += len(words)

    def label(
        self, topic: int, centre: NDArray[np.float32], encode: Callable[[Sequence[str]], NDArray[np.float32]]
    ) -> str:
        """Three words, "" where it has none: scripts without word breaks, or stop words only."""
        a_topic = self._total / len(self._of)  # words, in the mean
        weight = {word: n * np.log1p(a_topic / self._all[word]) for word, n in self._of[topic].items()}
        apart = sorted(weight, key=lambda word: (-weight[word], word))[:CANDIDATES]
        if not apart:
            return ""
        nearest = np.argsort(-(encode(apart) @ centre), kind="stable")[:WORDS]
        return ", ".join(apart[i] for i in nearest)


@cache
def _stop_words() -> frozenset[str]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return frozenset(ENGLISH_STOP_WORDS)
