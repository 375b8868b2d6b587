"""Who agrees with whom: people with a judge, with themselves a while later, and with each other.

"both" and "neither" are one category, "tie". Intervals are those of `ratings`: 95 %, from resamples of raters with all
that they said. A judge's figures mean something beside two others only: the chance that kappa takes off, and how far
people agree with themselves (`repeatability`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import evalica
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from studies.ratings import (
    DISLIKES,
    LIKES,
    PRIOR_TIES,
    Ballot,
    Mark,
    Table,
    arms_of,
    draws,
    numbers,
    reach,
    share,
    units,
    wilson,
)
from studies.strengths import fit

LEFT, RIGHT, TIE = range(3)
CODES = {"left": LEFT, "right": RIGHT, "tie": TIE, "both": TIE, "neither": TIE}
MIRRORED = np.array([RIGHT, LEFT, TIE])  # what the same content is with the sides swapped
SCORES = np.array([1.0, 0.0, 0.5])  # what the left side won
Said = Literal["left", "right", "tie"]
Floats = NDArray[np.float64]
Codes = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95 % interval, from `n` votes."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """A judge beside people; None where there is nothing to tell a figure from.

    `accuracy` is the share of equal sides where both decided; `kappa` is Cohen's (Educ. Psychol. Meas. 20, 1960) over
    left, right and tie; `rank` is Spearman's correlation of the strengths of at least three arms; `auc` is how often
    the judge's score puts a chosen text above one that was not, across pairs.
    """

    accuracy: Interval | None
    kappa: Interval | None
    rank: Interval | None
    auc: Interval | None


@dataclass(frozen=True, slots=True)
class Repeatability:
    """People beside themselves: the ceiling for anybody who predicts their choices.

    `same` is over left, right and tie, `decided` over the pairs where both times a side was chosen: it stands beside a
    judge's accuracy, and `kappa` beside its kappa.
    """

    same: Interval | None
    decided: Interval | None
    kappa: Interval | None


def agree(
    ballots: Sequence[Ballot], verdicts: Mapping[str, str], scores: Mapping[str, float] | None = None, *, seed: int = 0
) -> Agreement:
    """People's `ballots` against a judge's verdict ("left", "right" or "tie") by trial.

    `scores` by trial are the judge's log-odds for the left text. A trial without a verdict counts nowhere, one without
    a score not for the `auc`. Swapping the sides of any trial, with its verdict and score, changes no figure.
    """
    both = [ballot for ballot in ballots if ballot.choice != "skip" and ballot.trial in verdicts]
    if not both:
        return Agreement(None, None, None, None)
    rater = numbers([ballot.rater for ballot in both])
    people, judge = _codes(both), np.array([CODES[verdicts[ballot.trial]] for ballot in both])
    return Agreement(
        accuracy=_accuracy(people, judge, rater, seed),
        kappa=_kappa(people, judge, rater, seed),
        rank=_rank(both, judge, rater, seed),
        auc=None if scores is None else _auc(both, people, scores, seed),
    )


def agree_alone(marks: Sequence[Mark], scores: Mapping[str, float], *, seed: int = 0) -> Interval | None:
    """How often a judge's score by trial puts a single text that a person liked above one that a person did not: the
    AUC over all of them. None without both."""
    judged = [mark for mark in marks if mark.trial in scores and mark.choice in LIKES | DISLIKES]
    if not judged:
        return None
    liked = np.array([mark.choice in LIKES for mark in judged])
    score = np.array([scores[mark.trial] for mark in judged])
    unit = units(numbers([mark.rater for mark in judged]))
    drawn = []
    for often in draws(unit, seed):
        weight = often[unit]
        drawn.append(auc(score[liked], score[~liked], (weight[liked], weight[~liked])))
    return interval(auc(score[liked], score[~liked]), np.array(drawn), int(unit.max()) + 1, len(judged))


def repeatability(first: Sequence[Ballot], again: Sequence[Ballot], *, seed: int = 0) -> Repeatability:
    """How often people choose the same text again, its side swapped: `again` names in `repeats` the trials of `first`.

    Skipped trials, and repeats of trials that are not there, count nowhere.
    """
    before = {ballot.trial: ballot for ballot in first if ballot.choice != "skip"}
    twice = [ballot for ballot in again if ballot.choice != "skip" and ballot.repeats in before]
    if not twice:
        return Repeatability(None, None, None)
    rater = numbers([ballot.rater for ballot in twice])
    then, now = _codes([before[ballot.repeats] for ballot in twice]), MIRRORED[_codes(twice)]
    return Repeatability(
        same=Interval(*share((then == now).astype(float), rater, seed), len(twice)),
        decided=_accuracy(then, now, rater, seed),
        kappa=_kappa(then, now, rater, seed),
    )


def between_people(ballots_by_item: Mapping[str, Sequence[Ballot]], *, seed: int = 0) -> Interval | None:
    """Krippendorff's alpha (nominal, over left, right and tie) of people who judged the same pairs, sides put alike.

    Of a rater's ballots on an item the first counts. In a resample a rater may stand several times, and is never
    compared with themselves. None where no item was judged by two people, or where all of them said the same one thing
    of all items, so that chance explains everything.
    """
    rows: list[tuple[str, str, int]] = []  # (item, rater, code)
    for item, ballots in ballots_by_item.items():
        once: dict[str, Ballot] = {}
        for ballot in ballots:
            if ballot.choice != "skip":
                once.setdefault(ballot.rater, ballot)
        if len(once) > 1:
            codes = _codes(list(once.values()))
            mirrored = [_sides(ballot) != _sides(ballots[0]) for ballot in once.values()]
            rows += zip([item] * len(once), once, np.where(mirrored, MIRRORED[codes], codes).tolist(), strict=True)
    return _alpha_of(rows, seed)


def between_marks(marks: Sequence[Mark], scale: Sequence[str], *, seed: int = 0) -> Interval | None:
    """Krippendorff's alpha (ordinal) of people who judged the same single texts on a `scale`, its choices from worst
    to best. Other choices are left out; else as `between_people`."""
    items: dict[str, dict[str, int]] = {}
    for mark in marks:
        if mark.choice in scale:
            items.setdefault(mark.text, {}).setdefault(mark.rater, scale.index(mark.choice))
    rows = [(item, rater, code) for item, said in items.items() if len(said) > 1 for rater, code in said.items()]
    return _alpha_of(rows, seed, ordinal=True)


def _alpha_of(rows: Sequence[tuple[str, str, int]], seed: int, *, ordinal: bool = False) -> Interval | None:
    """Of (item, rater, code), each rater once an item and each item by two or more; None where there is one code."""
    table = pd.DataFrame(rows, columns=["item", "rater", "code"])
    if table["code"].nunique() < 2:
        return None
    ratings = table.pivot(index="rater", columns="item", values="code").astype(float)
    found = evalica.alpha(ratings, distance="ordinal" if ordinal else "nominal")
    unit = units(numbers(list(table["rater"])))
    items, codes = numbers(list(table["item"])), table["code"].to_numpy(np.intp)
    apart = _ordinal if ordinal else _nominal
    drawn = np.array([_alpha(items, codes, often[unit], apart) for often in draws(unit, seed)])
    most = float(apart(np.bincount(codes).astype(float)).max())  # no two votes are farther apart
    chance = 1 - found.expected / len(rows) / most
    return interval(found.alpha, drawn, int(unit.max()) + 1, len(rows), chance=chance)


def auc(above: Floats, below: Floats, weights: tuple[Floats, Floats] | None = None) -> float:
    """How often a score of `above` (P,) exceeds one of `below` (Q,), equal ones counting half; nan without any."""
    levels, at = np.unique(np.concatenate([above, below]), return_inverse=True)
    first, second = weights or (None, None)
    high = np.bincount(at[: len(above)], first, len(levels))
    low = np.bincount(at[len(above) :], second, len(levels))
    total = high.sum() * low.sum()
    return float(high @ (np.cumsum(low) - low / 2) / total) if total else float("nan")


def interval(value: float, drawn: Floats, count: int, n: int, chance: float = 0.0) -> Interval | None:
    """A figure of `n` votes with its interval from resamples `drawn` (R,) of `count` units; None for nan.

    The figure is linear in a share p of agreement, (p - chance) / (1 - chance): that bounds it. Where no resample
    differs so few units still leave a doubt, and it gets Wilson's interval for their number. Resamples that tell
    nothing (nan) are left out.
    """
    if np.isnan(value):
        return None
    told = drawn[~np.isnan(drawn)]
    half = float(told.std()) * reach(count) if len(told) else 0.0
    p = value * (1 - chance) + chance
    low, high = (p - half * (1 - chance), p + half * (1 - chance)) if half > 1e-12 else wilson(p * count, count)
    bounds = [(min(max(bound, 0.0), 1.0) - chance) / (1 - chance) for bound in (low, high)]
    return Interval(float(value), float(min(bounds[0], value)), float(max(bounds[1], value)), n)


def _codes(ballots: Sequence[Ballot]) -> Codes:
    return np.array([CODES[ballot.choice] for ballot in ballots], np.intp)


def _sides(ballot: Ballot) -> tuple[str, str]:
    return (ballot.left_text, ballot.right_text) if ballot.left_text else (ballot.left, ballot.right)


def _accuracy(one: Codes, other: Codes, rater: Codes, seed: int) -> Interval | None:
    at = (one != TIE) & (other != TIE)
    if not at.any():
        return None
    who = np.unique(rater[at], return_inverse=True)[1]  # numbered anew: some raters may have decided nothing
    return Interval(*share((one == other)[at].astype(float), who, seed), int(at.sum()))


def _kappa(one: Codes, other: Codes, rater: Codes, seed: int) -> Interval | None:
    """Cohen's kappa; None where both always say the same one thing."""
    unit = units(rater)
    cells = np.zeros((unit.max() + 1, 9))
    np.add.at(cells, (unit, 3 * one + other), 1)
    tables = np.concatenate([cells.sum(0, keepdims=True), draws(unit, seed) @ cells]).reshape(-1, 3, 3)
    tables /= tables.sum((1, 2), keepdims=True)
    seen = np.trace(tables, axis1=1, axis2=2)  # (1 + R,)
    chance = (tables.sum(2) * tables.sum(1)).sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        kappa = np.where(chance < 1 - 1e-12, (seen - chance) / (1 - chance), np.nan)
    return interval(kappa[0], kappa[1:], len(cells), len(one), float(chance[0]))


def _rank(ballots: Sequence[Ballot], judge: Codes, rater: Codes, seed: int) -> Interval | None:
    """The judge votes in the place of each person, on the same pairs and as often: only the verdicts differ."""
    arms = arms_of(ballots)
    if len(arms) < 3:
        return None
    people, unit = Table.of(ballots, arms), units(rater)
    judged = Table(people.left, people.right, SCORES[judge], people.rater)
    often = np.concatenate([np.ones((1, unit.max() + 1)), draws(unit, seed)])  # (1 + R, U)
    ours, theirs = (
        fit(np.tensordot(often, table.wins(unit, len(arms)), 1), PRIOR_TIES) for table in (people, judged)
    )  # (1 + R, A)
    found = np.array([_spearman(a, b) for a, b in zip(ours, theirs, strict=True)])
    return interval(found[0], found[1:], often.shape[1], len(ballots), chance=0.5)


def _spearman(a: Floats, b: Floats) -> float:
    """nan where one of them ranks nothing; strengths that differ by rounding alone are equal."""
    x, y = (rankdata(np.round(strengths, 6)) for strengths in (a, b))
    return float(np.corrcoef(x, y)[0, 1]) if np.ptp(x) and np.ptp(y) else float("nan")


def _auc(ballots: Sequence[Ballot], people: Codes, scores: Mapping[str, float], seed: int) -> Interval | None:
    """Each decided pair counts from both sides, so it does not matter on which the chosen text stood."""
    at = [n for n, ballot in enumerate(ballots) if people[n] != TIE and ballot.trial in scores]
    if not at:
        return None
    left = np.array([scores[ballots[n].trial] for n in at])
    chosen = np.where(people[at] == LEFT, left, -left)  # (n,)
    unit = units(numbers([ballots[n].rater for n in at]))
    drawn = np.array([auc(chosen, -chosen, (often[unit], often[unit])) for often in draws(unit, seed)])
    return interval(auc(chosen, -chosen), drawn, int(unit.max()) + 1, len(at))


def _nominal(count: Floats) -> Floats:
    """How far apart each two of C codes are (C, C): all alike."""
    return 1 - np.eye(len(count))


def _ordinal(count: Floats) -> Floats:
    """How far apart each two of C ordered codes are (C, C), squared: as many votes as lie between them, with half of
    those on either (Krippendorff, Content Analysis, 2018, section 12.3.4)."""
    middle = np.cumsum(count) - count / 2
    return np.asarray((middle[:, None] - middle) ** 2)


def _alpha(items: Codes, codes: Codes, weights: Floats, apart: Callable[[Floats], Floats] = _nominal) -> float:
    """Krippendorff's alpha of votes that count `weights` times, a vote never being paired with its own copies.

    With weights of 1 it is the textbook's (Content Analysis, 2018, chapter 12): a pair of votes on an item of m votes
    counts 1 / (m - 1), and chance is that of any two votes. `apart` says how far any two codes are from each other.
    """
    shape = items.max() + 1, codes.max() + 1
    place = items * shape[1] + codes
    votes, own = (np.bincount(place, w, shape[0] * shape[1]).reshape(shape) for w in (weights, weights**2))  # (U, C)
    size = votes.sum(1)
    pairs = size**2 - own.sum(1)
    held = pairs > 0  # the others were judged by one person, or by nobody
    votes, own, size, pairs = votes[held], own[held], size[held], pairs[held]
    any_two = size.sum() ** 2 - own.sum()
    if any_two == 0:
        return float("nan")
    count = votes.sum(0)
    distance = apart(count)  # of two votes that say the same it is 0, so that no vote meets its own copy
    seen = float((((votes @ distance) * votes).sum(1) * size / pairs).sum() / size.sum())
    chance = float(count @ distance @ count / any_two)
    return 1 - seen / chance if chance > 0 else float("nan")
