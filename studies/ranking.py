"""What ranks the feed. Nearness is reckoned when a card is asked for; any other scorer may need the model, for which no
card waits: it scores ahead, while nothing is to be written, the texts that are nearest first.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.profile import Profile
from engine.recommend.scorer import Scorer, Texts
from engine.recommend.taste import cosine

AT_ONCE = 16  # texts that are scored before anything else may be done
MOST = 128  # that are scored for one profile
LEAST = 16  # scored texts from which on the next card is one of them

Floats = NDArray[np.float32]


class Ranking:
    """The ranking of one person's feed; `scorer` is None for nearness alone."""

    def __init__(self, scorer: Scorer | None) -> None:
        self.scorer = scorer
        self._ahead: tuple[tuple[str, str], dict[str, float]] = ("", ""), {}  # scores of texts, and for which profile

    def score_ahead(self, profile: Profile, texts: Sequence[str], vectors: Floats) -> bool:
        """Score some of N texts with vectors (N, E) for this person; False where nothing is left to do."""
        if self.scorer is None or not profile.liked:
            return False
        known = self._ahead[1] if self._ahead[0] == _name(profile) else {}
        order = np.argsort(-cosine(profile, vectors), kind="stable")[:MOST].tolist()
        rows = [n for n in order if texts[n] not in known][: min(AT_ONCE, MOST - len(known))]
        if not rows:
            return False
        some = Texts(tuple(texts[n] for n in rows), vectors[rows])
        said = self.scorer.score(profile, some).tolist()
        self._ahead = _name(profile), {**known, **dict(zip(some.texts, said, strict=True))}
        return True

    def of(self, profile: Profile, texts: Sequence[str], vectors: Floats) -> tuple[list[int], Floats]:
        """Which of N texts the next card may be (M,), and their scores on the scale of cosines (M,)."""
        near = cosine(profile, vectors)
        name, known = self._ahead
        rows = [n for n, text in enumerate(texts) if text in known] if name == _name(profile) else []
        if len(rows) < LEAST:
            return [*range(len(texts))], near
        said = np.array([known[texts[n]] for n in rows], np.float32)
        spread = float(said.std())
        same = (said - said.mean()) / spread if spread else said * 0
        return rows, near[rows].mean() + near[rows].std() * same


def _name(profile: Profile) -> tuple[str, str]:
    """Of what a scorer is told: the local model as a judge reads the summary too."""
    return profile.digest, profile.summary
