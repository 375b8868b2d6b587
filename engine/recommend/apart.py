"""How well a scorer tells what people like from what they do not, on people from whom it did not learn.

A person's reactions are parted into halves by their id: one half is what a scorer is told of them, the other is asked
about. So nothing that is asked about stands in what is told, and no count of likes tells how its own row was rated.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.profile import Profile, narrowed
from engine.recommend.scorer import Scorer, Texts
from engine.recommend.taste import ByVectors, nearness


@dataclass(frozen=True, eq=False)
class Asked:
    """Half of a person, and texts of the other half: which of them they like (N,), 0 or 1."""

    profile: Profile
    items: Texts
    liked: NDArray[np.int64]


def halves(profile: Profile) -> tuple[list[int], list[int]]:
    """The rows of both halves of a person's likes and dislikes, each in the order they were in; a text counts once, by
    what was said of it last. Likes and dislikes are parted alike. The same at each call."""
    last = {item.text: row for row, item in enumerate(profile.items) if profile.signals[row].sign}
    found: tuple[list[int], list[int]] = ([], [])
    dice = random.Random(f"halves of {profile.user}")
    for sign in (1, -1):
        rows = [row for row in last.values() if profile.signals[row].sign == sign]
        first = set(dice.sample(rows, len(rows) // 2))
        found[0].extend(first)
        found[1].extend(row for row in rows if row not in first)
    return sorted(found[0]), sorted(found[1])


def asked(people: Sequence[Profile]) -> list[Asked]:
    """A question for each of these people. Who dislikes nothing in the half that is asked about is asked about as many
    texts that they did not react to; who likes nothing in one of the halves is left out."""
    pool = {item.text: vector for who in people for item, vector in zip(who.items, who.vectors, strict=True)}
    found = []
    for who in people:
        known, rest = halves(who)
        own, other = narrowed(who, known), narrowed(who, rest)
        if not own.liked or not other.liked:
            continue
        dislikes = [item.text for item in other.disliked]
        if not dislikes:
            strange = sorted(pool.keys() - {item.text for item in who.items})
            dislikes = random.Random(who.user).sample(strange, min(len(strange), len(other.liked)))
        texts = [*(item.text for item in other.liked), *dislikes]
        if dislikes:
            liked = np.arange(len(texts)) < len(other.liked)
            items = Texts(tuple(texts), np.stack([pool[text] for text in texts]))
            found.append(Asked(own, items, liked.astype(np.int64)))
    return found


def told_apart(scorer: Scorer, questions: Sequence[Asked], whose: Sequence[Profile] = ()) -> NDArray[np.float64]:
    """The share of pairs of a like and a dislike that each person's scores put in order (U,), ties as half: the AUC
    within the person. `whose` profiles stand in for their own."""
    from sklearn.metrics import roc_auc_score  # late: the app, which only scores, need not load it

    told = whose or [question.profile for question in questions]
    scored = (scorer.score(without(who, q.items.texts), q.items) for who, q in zip(told, questions, strict=True))
    return np.array([roc_auc_score(q.liked, said) for q, said in zip(questions, scored, strict=True)])


def without(profile: Profile, texts: Sequence[str]) -> Profile:
    """The profile without what is asked about: in one's own half it never stands, in somebody else's it would tell."""
    there = set(texts)
    return narrowed(profile, [row for row, item in enumerate(profile.items) if item.text not in there])


@dataclass(frozen=True, eq=False)
class Popularity:
    """What is liked by most, whoever asks: the share of likes among those who teach, of an unknown text a half."""

    share: Mapping[str, float]

    def score(self, profile: Profile, items: Texts) -> NDArray[np.float32]:
        return np.array([self.share.get(text, 0.5) for text in items.texts], np.float32)


def popularity(people: Sequence[Profile]) -> Popularity:
    told: dict[str, list[bool]] = {}
    for who in people:
        for item, signal in zip(who.items, who.signals, strict=True):
            if signal.sign:
                told.setdefault(item.text, []).append(signal.sign > 0)
    return Popularity({text: (sum(signs) + 1) / (len(signs) + 2) for text, signs in told.items()})


def control(scorer: Scorer, people: Sequence[Profile], questions: Sequence[Asked]) -> dict[str, object]:
    """Of two people at least: how well their own half tells, and somebody else's; nearness and popularity beside it.
    `gain` is the mean over people of what their own half adds, `gain_error` its standard error."""
    others = [*(q.profile for q in questions[1:]), *(q.profile for q in questions[:1])]
    right, wrong = told_apart(scorer, questions), told_apart(scorer, questions, others)
    beside: dict[str, Scorer] = {"nearness": ByVectors(nearness), "popularity": popularity(people)}
    floors = {name: round(float(told_apart(one, questions).mean()), 4) for name, one in beside.items()}
    gains = right - wrong
    error = float(gains.std(ddof=1) / len(gains) ** 0.5)
    found = {"right": round(float(right.mean()), 4), "wrong": round(float(wrong.mean()), 4), **floors}
    return {**found, "gain": round(float(gains.mean()), 4), "gain_error": round(error, 4), "judged": len(questions)}
