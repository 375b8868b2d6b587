"""What the sections of a report share: names of arms and raters, words about intervals, numbers as they are told."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from engine.methods import ARMS
from engine.pictures import TITLES
from studies.agreement import Interval
from studies.figures import NONE, Bar, whole
from studies.pairs import title
from studies.ratings import MIN_VOTES, numbers, share
from studies.records import Records
from studies.schedule import HUMAN, SALAD

Show = Callable[[float], str]
COVERAGE = {10: 0.957, 20: 0.950, 40: 0.951, 80: 0.950}  # of standings by number of raters: python -m studies simulate
MEASURED = min(COVERAGE)
TOO_FEW = "too few"  # in place of an interval out of fewer than MIN_VOTES


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the page: what it is in a sentence or two, and its figures as HTML; without any, what it `lacks`."""

    anchor: str
    head: str
    told: str
    body: str
    lacks: str = "counted pair votes"


@dataclass(frozen=True)
class Page:
    """What the sections are made of. `seed` is that of the resampling."""

    records: Records
    seed: int

    @cached_property
    def codes(self) -> dict[str, str]:
        """A1, A2, ... for each arm that is compared."""
        return {arm: f"A{n}" for n, arm in enumerate(self.records.arms, 1)}

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {rater.id: n for n, rater in enumerate(self.records.raters, 1)}

    @cached_property
    def voters(self) -> int:
        """Raters with a counted vote."""
        return sum(rater.votes > 0 for rater in self.records.raters)

    def arm(self, arm: str) -> str:
        """What an arm is called on this page: its number and its title; one that is not known keeps its id."""
        return f"{self.codes.get(arm, '')} {title_of(arm)}".strip()

    def place(self, rater: str) -> int:
        """The number of a rater, as they came; 0 for nobody."""
        return self._numbers.get(rater, 0)

    def rater(self, rater: str) -> str:
        """What a rater is called on this page."""
        return f"rater {self.place(rater)}" if self.place(rater) else NONE

    def order(self, arm: str) -> int:
        """Where an arm stands in lists that no figure sorts."""
        return list(self.codes).index(arm) if arm in self.codes else len(self.codes)

    @property
    def bounds(self) -> str:
        """What an interval is, in short; `intervals` says it once for the page."""
        if self.voters == 1:
            return "Intervals are 95 %, of this one rater's votes."
        return "Intervals are 95 %, from drawing raters anew; of what one rater alone said, of that rater's votes."

    @property
    def intervals(self) -> str:
        """What intervals on this page are, true for as many raters as there are; "" without a vote."""
        if not self.voters:
            return ""
        if self.voters == 1:
            told = (
                "All votes are of one rater. Intervals are 95 % and of their votes: they say nothing of other people."
            )
        else:
            told = (
                "Intervals are 95 % and draw raters anew with all that they said, because votes of one person hang "
                "together; where one rater alone said anything, they are of that rater's votes."
            )
        if 1 < self.voters < MEASURED:
            told += (
                f" How often intervals of fewer than {MEASURED} raters hold the truth has not been measured: those of "
                "so few people are to be read as wide at best."
            )
        return f"{told} Out of fewer than {MIN_VOTES} votes none is given, as it would be far too sure: {TOO_FEW}."

    def of_share(self, name: str, said: Sequence[tuple[str, bool]]) -> tuple[str, str, int] | None:
        """How often something was so, of what (rater, whether) says, as a row; None where nothing was said."""
        if not said:
            return None
        hits = np.array([float(hit) for _, hit in said])  # (N,)
        bounds = share(hits, numbers([rater for rater, _ in said]), self.seed)
        return name, percent(*bounds, len(said)), len(said)


def title_of(arm: str) -> str:
    """What an arm is, in words; one that is not known keeps its id."""
    way, _, model = arm.partition("@")
    known = title(way) if way == HUMAN or way in ARMS or way in TITLES else "shuffled words" if way == SALAD else way
    return f"{known} by {model}" if model else known


def many(count: int, name: str) -> str:
    return f"{count} {name}{'s' * (count != 1)}"


def signed(value: float) -> str:
    return f"{value:+.2f}" if math.isfinite(value) else NONE


def plain(value: float) -> str:
    return f"{value:.2f}"


def signed_whole(value: float) -> str:
    """A difference of shares, in percentage points."""
    return f"{value * 100:+.0f}"


def between(low: float, high: float, n: int, show: Show = signed) -> str:
    """The interval of a figure out of `n` votes."""
    return f"{show(low)} to {show(high)}" if n >= MIN_VOTES else TOO_FEW


def percent(value: float, low: float, high: float, n: int) -> str:
    """A share with its interval, out of `n` votes."""
    return f"{whole(value)} ({between(low, high, n, whole)})"


def bar(name: str, value: float, low: float, high: float, n: int) -> Bar:
    """A figure for a plot: without its interval where `n` votes are too few."""
    return (name, value, low, high) if n >= MIN_VOTES else (name, value, value, value)


def signed_rows(rows: Iterable[tuple[str, float, float, float, int]]) -> list[tuple[str, str, str]]:
    """Rows of name, value and interval, from (name, value, low, high, votes)."""
    return [(name, signed(value), between(low, high, n)) for name, value, low, high, n in rows]


def with_bounds(found: Interval | None, show: Show = plain) -> str:
    return f"{show(found.value)} ({between(found.low, found.high, found.n, show)})" if found else NONE


def of_interval(name: str, found: Interval | None, show: Show = whole) -> tuple[str, str, int] | None:
    return (name, with_bounds(found, show), found.n) if found else None
