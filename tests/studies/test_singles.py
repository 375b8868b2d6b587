"""Verdicts on single texts: means and differences by hand, and intervals against simulated people."""

import numpy as np
import pytest
from scipy.stats import t

from studies import ratings
from studies.agreement import Interval
from studies.ratings import Mark
from studies.singles import five_points, like_differences, point_differences


def said(rater: str, arm: str, *choices: str) -> list[Mark]:
    return [Mark(rater, arm, choice) for choice in choices]


def test_marks_by_hand() -> None:
    marks = said("r", "a", "1", "5", "5", "skip", "funny", "3") + said("s", "a", "2", "2") + said("s", "b", "4")
    a, b = five_points(marks)
    assert (a.arm, a.mean.value, a.mean.n, a.counts) == ("a", 3.0, 6, (1, 2, 1, 0, 2))
    assert 1 <= a.mean.low <= a.mean.value <= a.mean.high <= 5
    assert (b.arm, b.mean.value, b.counts) == ("b", 4.0, (0, 0, 0, 1, 0))
    assert five_points(said("r", "a", "like", "skip")) == []


def test_the_interval_of_a_mean_is_over_raters() -> None:
    """With as many marks of each, it is the textbook interval of the raters' own means."""
    own = [(1, 2), (2, 3), (3, 4), (4, 5), (2, 4)]
    marks = [mark for n, points in enumerate(own) for mark in said(f"r{n}", "a", *map(str, points * 20))]
    [row] = five_points(marks)
    means = np.mean(own, axis=1)
    low, high = t.interval(0.95, 4, means.mean(), means.std(ddof=1) / 5**0.5)
    assert (row.mean.value, row.mean.n) == (means.mean(), 200)
    assert (row.mean.low, row.mean.high) == pytest.approx((low, high), abs=0.2)  # of 400 draws
    alone = five_points([Mark("r", "a", mark.choice) for mark in marks])[0].mean  # one rater: of their marks
    assert alone.high - alone.low < (row.mean.high - row.mean.low) / 3


def test_differences_are_within_raters_who_count_alike() -> None:
    """r likes half of a and none of b, twice as often asked; s all of both; who saw one arm only says nothing."""
    marks = said("r", "a", *["like", "dislike"] * 6) + said("r", "b", *["dislike"] * 4)
    marks += said("s", "a", "funny", "skip") + said("s", "b", "5") + said("only a", "a", *["dislike"] * 9)
    [row] = like_differences(marks)
    assert (row.a, row.b, row.value.value, row.raters, row.value.n) == ("a", "b", 0.25, 2, 18)
    assert -1 <= row.value.low <= 0 <= row.value.high <= 1
    points = said("r", "a", "5", "3") + said("r", "b", "1") + said("s", "a", "2") + said("s", "b", "3", "skip", "like")
    [row] = point_differences(points)
    assert (row.value.value, row.value.n) == ((3 - 1) / 2, 5)
    assert -4 <= row.value.low <= row.value.value <= row.value.high <= 4
    assert [(d.a, d.b) for d in like_differences([*marks, *said("s", "c", "like")])] == [
        ("a", "b"),
        ("a", "c"),
        ("b", "c"),
    ]
    assert like_differences(said("r", "a", "like") + said("s", "b", "like")) == [], "nobody saw both"


def test_of_one_rater_the_verdicts_are_drawn() -> None:
    """Beside Welch's interval of two means."""
    dice = np.random.default_rng(3)
    a, b = dice.integers(1, 6, 60), dice.integers(1, 4, 40)
    [row] = point_differences(said("r", "a", *map(str, a)) + said("r", "b", *map(str, b)))
    spread = (a.var(ddof=1) / 60 + b.var(ddof=1) / 40) ** 0.5
    assert row.value.value == pytest.approx(a.mean() - b.mean())
    assert row.value.high - row.value.value == pytest.approx(1.98 * spread, rel=0.1)
    [sure] = like_differences(said("r", "a", *["like"] * 6) + said("r", "b", *["dislike"] * 6))
    assert (sure.value.value, sure.value.high) == (1.0, 1.0)
    assert sure.value.low < 0.9, "a dozen verdicts leave a doubt"


def strict(raters: int, seed: int, apart: float) -> list[Mark]:
    """Raters of very unequal strictness who differ in how much better they find b than a, `apart` points on average."""
    dice = np.random.default_rng(seed)
    marks = []
    for r in range(raters):
        level, better = dice.uniform(2, 4), dice.normal(apart, 0.4)
        for arm, middle in (("a", level - better / 2), ("b", level + better / 2)):
            points = np.clip(np.round(dice.normal(middle, 0.7, 8)), 1, 5).astype(int)
            marks += said(f"r{r}", arm, *map(str, points))
    return marks


def test_a_planted_difference_is_covered_and_strictness_takes_no_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratings, "RESAMPLES", 100)
    true = -point_differences(strict(4_000, 99, 0.5))[0].value.value
    covered, narrower = 0, 0
    for seed in range(60):
        marks = strict(12, seed, 0.5)
        [row] = point_differences(marks)
        covered += row.value.low <= -true <= row.value.high
        a, b = (row.mean for row in five_points(marks))
        narrower += width(row.value) < (width(a) ** 2 + width(b) ** 2) ** 0.5
    assert covered >= 54
    assert narrower >= 57


def width(found: Interval) -> float:
    return found.high - found.low
