"""Scorers that learn from one person alone, functions of a profile and the vectors (N, E) of N texts.

Who likes nothing has no taste to go by, whatever they dislike: every text scores 0.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.profile import Profile, direction
from engine.recommend.scorer import Texts
from engine.topics import leaders, unrelated

Floats = NDArray[np.float32]

LIKES, DISLIKES = 6, 2  # topics of each that count, the largest


@dataclass(frozen=True)
class ByVectors:
    """Such a function as a scorer."""

    of: Callable[[Profile, Floats], Floats]

    def score(self, profile: Profile, items: Texts) -> Floats:
        return self.of(profile, items.vectors)


def nearness(profile: Profile, vectors: Floats) -> Floats:
    """The dot product with where a text should lie (N,): the plainest recommender, one mean for everything liked."""
    return vectors @ direction(profile) if profile.liked else np.zeros(len(vectors), np.float32)


def cosine(profile: Profile, vectors: Floats) -> Floats:
    """The same as a cosine (N,), which may stand beside those of texts with each other (`spread`)."""
    if not profile.liked:
        return np.zeros(len(vectors), np.float32)
    towards = direction(profile)
    return vectors @ towards / max(float(np.linalg.norm(towards)), 1e-9)


def by_topic(profile: Profile, vectors: Floats) -> Floats:
    """The cosine to the nearest topic of what the person likes, less that to the nearest of what they dislike (N,).

    The mean of tastes that lie apart is near to none of them; here a text has to be near to one alone. All topics are
    of unit length, so that a text as near to something disliked as to something liked scores 0, and one stray dislike
    counts as a topic does, but only where it lies. What makes one topic is calibrated by the encoder, not by a
    population as that of the soft tokens. It reads all likes anew: a second for 5,000 of them.
    """
    if not profile.liked:
        return np.zeros(len(vectors), np.float32)
    (_, likes), (_, dislikes) = (topics(profile, *kind, unrelated()) for kind in ((1, LIKES), (-1, DISLIKES)))
    nearest: Floats = (vectors @ likes.T).max(1)
    return nearest - (vectors @ dislikes.T).max(1) if len(dislikes) else nearest


def topics(profile: Profile, sign: int, most: int, least: float) -> tuple[list[int], Floats]:
    """The largest `most` topics of what was liked (1) or disliked (-1), by leader clustering that joins from a cosine
    of `least` on: the row of the item nearest to each (P,), and their directions (P, E)."""
    rows = np.array([row for row, signal in enumerate(profile.signals) if signal.sign == sign], int)
    vectors = profile.vectors[rows]
    found = leaders(vectors, least)[:most]
    centres = np.stack([topic.centre for topic in found]) if found else vectors[:0]
    return [int(rows[int((vectors @ centre).argmax())]) for centre in centres], centres


def spread(scores: Floats, vectors: Floats, k: int, weight: float, beside: Floats | None = None) -> list[int]:
    """The numbers of k of N texts, in turn the best that is unlike those before it: maximal marginal relevance
    (Carbonell and Goldstein, SIGIR 1998).

    A text is worth `weight` times its score (N,), less 1 - `weight` times its highest cosine to one picked before or,
    from the start, `beside` it (M, E); a cosine under 0 counts as 0. `vectors` (N, E) are of unit length, and scores
    should be on the scale of cosines. What is new in a step is the last pick alone, so k of them cost k N E.
    """
    left = weight * scores
    nearest = np.zeros(len(scores), np.float32)
    for vector in beside if beside is not None else ():
        nearest = np.maximum(nearest, vectors @ vector)
    picked: list[int] = []
    while len(picked) < min(k, len(scores)):
        best = int((left - (1 - weight) * nearest).argmax())
        picked.append(best)
        left[best] = -np.inf
        nearest = np.maximum(nearest, vectors @ vectors[best])
    return picked
