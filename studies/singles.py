"""What verdicts on single texts say: marks from 1 to 5, and each two arms side by side within raters.

Intervals are 95 % and resample raters with all that they said, as those of `ratings` do.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from studies.agreement import Interval, interval
from studies.ratings import FIVE, LIKES, Mark, draws, numbers, units

WIDTH = len(FIVE) - 1  # points from the worst mark to the best


@dataclass(frozen=True, slots=True)
class Marked:
    """An arm's marks from 1 to 5: their mean, and how often each was given, 1 first."""

    arm: str
    mean: Interval
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """By how much arm `a` is above arm `b`, on average over the `raters` who judged both."""

    a: str
    b: str
    value: Interval
    raters: int


def five_points(marks: Sequence[Mark], *, seed: int = 0) -> list[Marked]:
    """The marks from 1 to 5 of every arm, by arm; other verdicts are left out. The mean is of all marks alike."""
    given = [mark for mark in marks if mark.choice in FIVE]
    rows = []
    for arm in sorted({mark.arm for mark in given}):
        mine = [mark for mark in given if mark.arm == arm]
        points = np.array([FIVE.index(mark.choice) for mark in mine], float) / WIDTH  # (n,), 0 to 1
        unit = units(numbers([mark.rater for mark in mine]))
        often = draws(unit, seed)
        drawn = (often @ np.bincount(unit, points)) / (often @ np.bincount(unit))  # (R,)
        if found := interval(float(points.mean()), drawn, int(unit.max()) + 1, len(mine)):
            counts = tuple(sum(mark.choice == point for mark in mine) for point in FIVE)
            rows.append(Marked(arm, _scaled(found, WIDTH, 1.0), counts))
    return rows


def like_differences(marks: Sequence[Mark], *, seed: int = 0) -> list[Difference]:
    """Differences of the share that was liked (like, funny, 4 or 5), from -1 to 1; see `_differences`."""
    return _differences([(m.rater, m.arm, float(m.choice in LIKES)) for m in marks if m.choice != "skip"], 1.0, seed)


def point_differences(marks: Sequence[Mark], *, seed: int = 0) -> list[Difference]:
    """Differences of the mean mark from 1 to 5, in points; other verdicts are left out; see `_differences`."""
    given = [(mark.rater, mark.arm, float(mark.choice)) for mark in marks if mark.choice in FIVE]
    return _differences(given, WIDTH, seed)


def _differences(said: Sequence[tuple[str, str, float]], width: float, seed: int) -> list[Difference]:
    """Every two arms, from (rater, arm, what was said), two of which are at most `width` apart.

    Of each rater who judged both the means of the two are compared, and raters count alike: how strict somebody is, and
    how much they judged, has no part in it. Of one rater alone the verdicts are drawn; they say nothing of others.
    """
    by_rater: defaultdict[str, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for rater, arm, value in said:
        by_rater[rater][arm].append(value)
    rows = []
    for a, b in combinations(sorted({arm for _, arm, _ in said}), 2):
        both = [(np.array(own[a]), np.array(own[b])) for own in by_rater.values() if a in own and b in own]
        if not both:
            continue
        apart = np.array([of_a.mean() - of_b.mean() for of_a, of_b in both])  # (raters,)
        if len(both) > 1:
            count = len(both)
            drawn = draws(np.arange(count), seed) @ apart / count  # (R,)
        else:
            count = len(both[0][0]) + len(both[0][1])
            often = np.split(draws(np.arange(count), seed), [len(both[0][0])], axis=1)
            with np.errstate(invalid="ignore"):  # a draw without a verdict on one of them tells nothing
                of_a, of_b = (drawn @ of / drawn.sum(1) for drawn, of in zip(often, both[0], strict=True))
            drawn = of_a - of_b
        n = sum(len(of_a) + len(of_b) for of_a, of_b in both)
        # a difference of -width to width is linear in a share of 0 to 1, which is what `interval` bounds
        if found := interval(float(apart.mean()) / width, drawn / width, count, n, chance=0.5):
            rows.append(Difference(a, b, _scaled(found, width), len(both)))
    return rows


def _scaled(found: Interval, by: float, least: float = 0.0) -> Interval:
    return Interval(least + by * found.value, least + by * found.low, least + by * found.high, found.n)
