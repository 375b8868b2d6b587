"""Ratings: strengths against closed forms and the library, intervals against simulated people."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from math import exp, log
from typing import Any

import numpy as np
import pytest
from evalica import Winner, bradley_terry
from hypothesis import given, settings
from hypothesis import strategies as st

from studies import ratings
from studies.ratings import PRIOR_TIES, Ballot, Mark, mark_rates, rates, reach, standings, wilson

Votes = list[Ballot]
SWAP: dict[str, Any] = {"left": "right", "right": "left"}


def votes(first: str, second: str, rater: str = "r", /, **choices: int) -> Votes:
    """So many ballots of each choice, as if the first arm always stood left; then the sides in turn."""
    ballots = [Ballot(rater, first, second, choice) for choice, count in choices.items() for _ in range(count)]
    return [ballot if n % 2 else swapped(ballot) for n, ballot in enumerate(ballots)]


def swapped(ballot: Ballot) -> Ballot:
    marks = frozenset(SWAP[side] for side in ballot.sounds_ai)
    return Ballot(ballot.rater, ballot.right, ballot.left, SWAP.get(ballot.choice, ballot.choice), marks)


def strengths(ballots: Votes) -> dict[str, float]:
    """The point estimates alone: two resamples are enough for those."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ratings, "RESAMPLES", 2)
        return {row.arm: row.strength for row in standings(ballots)}


def width(ballots: Votes, arm: str) -> float:
    return next(row.high - row.low for row in standings(ballots) if row.arm == arm)


def as_many_raters(ballots: Votes) -> Votes:
    return [replace(ballot, rater=str(n)) for n, ballot in enumerate(ballots)]


@st.composite
def some_votes(draw: st.DrawFn) -> Votes:
    pairs = st.sampled_from(list(combinations("abcd", 2)))
    choices = st.sampled_from(["left", "right", "both", "neither", "skip"])
    marks = st.sampled_from([frozenset(), frozenset({"left"}), frozenset({"right"}), frozenset({"left", "right"})])
    facts = draw(st.lists(st.tuples(pairs, choices, st.sampled_from("xyz"), marks), min_size=1, max_size=25))
    return [Ballot(rater, *pair, choice, mark) for pair, choice, rater, mark in facts]


# ---- strength


@pytest.mark.parametrize(
    ("wins", "losses", "both", "neither"), [(1, 0, 0, 0), (7, 3, 0, 0), (0, 12, 0, 0), (5, 2, 3, 4), (0, 0, 1, 0)]
)
def test_two_arms_have_the_closed_form(wins: int, losses: int, both: int, neither: int) -> None:
    """With weights w and l, p = w / (w + l) maximises w log p + l log(1 - p): the difference is log(w / l).

    Every tie counts half for each side, so do the imagined ties of the prior; the mean is 0.
    """
    ties = both + neither + PRIOR_TIES
    difference = log((wins + ties / 2) / (losses + ties / 2))
    got = strengths(votes("a", "b", left=wins, right=losses, both=both, neither=neither))
    assert got == pytest.approx({"a": difference / 2, "b": -difference / 2}, abs=1e-5)


def test_three_arms_have_the_strengths_that_reproduce_their_votes(monkeypatch: pytest.MonkeyPatch) -> None:
    """a : b : c = 4 : 2 : 1 wins exactly 20 of 30, 20 of 30 and 24 of 30, of which the prior is one win each."""
    monkeypatch.setattr(ratings, "PRIOR_TIES", 2.0)
    ballots = votes("a", "b", left=19, right=9) + votes("c", "b", left=9, right=19) + votes("a", "c", left=23, right=5)
    assert strengths(ballots) == pytest.approx({"a": log(2), "b": 0, "c": -log(2)}, abs=1e-5)
    circle = votes("a", "b", left=5) + votes("b", "c", left=5) + votes("c", "a", left=5)
    assert strengths(circle) == pytest.approx(dict.fromkeys("abc", 0), abs=1e-5)


@settings(max_examples=60, deadline=None)
@given(some_votes())
def test_every_arm_wins_as_often_as_its_strength_expects(ballots: Votes) -> None:
    """The likelihood equations of Bradley and Terry, prior included; strengths have mean 0 and every arm stands."""
    got = strengths(ballots)
    played = [ballot for ballot in ballots if ballot.choice != "skip"]
    assert got.keys() == {arm for ballot in played for arm in (ballot.left, ballot.right)}
    won, expected = dict.fromkeys(got, 0.0), dict.fromkeys(got, 0.0)
    prior = [(Ballot("", *pair, "both"), PRIOR_TIES) for pair in combinations(got, 2)]
    for ballot, weight in [*((ballot, 1.0) for ballot in played), *prior]:
        chance = 1 / (1 + exp(got[ballot.right] - got[ballot.left]))
        share = {"left": 1.0, "right": 0.0}.get(ballot.choice, 0.5)
        won[ballot.left] += weight * share
        won[ballot.right] += weight * (1 - share)
        expected[ballot.left] += weight * chance
        expected[ballot.right] += weight * (1 - chance)
    assert expected == pytest.approx(won, abs=1e-3)
    assert sum(got.values()) == pytest.approx(0, abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(some_votes())
def test_swapping_the_sides_of_every_ballot_changes_nothing(ballots: Votes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ratings, "RESAMPLES", 8)
        for rated in (standings, rates):
            assert_alike(rated(ballots), rated([swapped(ballot) for ballot in ballots]))


def assert_alike(rows: Sequence[Any], others: Sequence[Any]) -> None:
    """The same rows; numbers may differ in the order of their sums, and so may the order of equals."""

    def facts(row: Any) -> dict[str, Any]:
        return {name: getattr(row, name) for name in row.__slots__}

    def key(row: Any) -> tuple[str, str]:
        return row.arm, getattr(row, "kind", "")

    for row, other in zip(sorted(rows, key=key), sorted(others, key=key), strict=True):
        assert facts(row) == pytest.approx(facts(other), abs=1e-4)


@settings(max_examples=25, deadline=None)
@given(some_votes(), st.permutations("abcd"))
def test_other_names_for_the_arms_change_nothing_but_the_names(ballots: Votes, names: list[str]) -> None:
    renamed = dict(zip("abcd", names, strict=True))
    others = [replace(ballot, left=renamed[ballot.left], right=renamed[ballot.right]) for ballot in ballots]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ratings, "RESAMPLES", 8)
        for rated in (standings, rates):
            assert_alike([replace(row, arm=renamed[row.arm]) for row in rated(ballots)], rated(others))


@settings(max_examples=60, deadline=None)
@given(some_votes(), st.sampled_from(list(combinations("abcd", 2))), st.integers(1, 3))
def test_one_more_win_never_lowers_a_strength(ballots: Votes, pair: tuple[str, str], times: int) -> None:
    ballots = ballots + [Ballot("x", *two, "both") for two in combinations("abcd", 2)]  # everybody has played
    before, after = strengths(ballots), strengths(ballots + [Ballot("x", *pair, "left")] * times)
    winner, loser = pair
    assert after[winner] > before[winner]
    assert after[loser] < before[loser]


def test_an_arm_that_never_lost_has_a_finite_strength_and_many_wins_count() -> None:
    few, many = (strengths(votes("a", "b", left=n) + votes("b", "c", left=n))["a"] for n in (3, 300))
    assert 1 < few < many < 20
    alone = strengths(votes("a", "b", left=30) + votes("c", "d", left=30))  # nothing joins these two but the prior
    assert alone == pytest.approx({"a": alone["c"], "b": alone["d"], "c": -alone["d"], "d": -alone["c"]}, abs=1e-4)


def test_ties_pull_two_arms_together_and_skips_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratings, "RESAMPLES", 50)
    ballots = votes("a", "b", left=8, right=2) + votes("b", "c", left=6, right=4)
    gaps = []
    for more in ({}, {"both": 10}, {"both": 10, "neither": 30}):
        got = strengths(ballots + votes("a", "b", **more))
        gaps.append(got["a"] - got["b"])
    assert gaps[0] > gaps[1] > gaps[2] > 0
    skips = votes("a", "b", "another", skip=9) + votes("a", "never judged", skip=9)
    assert standings(ballots + skips) == standings(ballots)
    assert rates(skips + ballots) == rates(ballots)


def simulated(planted: dict[str, float], count: int, raters: int, seed: int) -> Votes:
    rng = np.random.default_rng(seed)
    ballots = []
    for n in range(count):
        left, right = rng.choice(list(planted), 2, replace=False)
        wins = rng.random() < 1 / (1 + exp(planted[right] - planted[left]))
        said = "both" if rng.random() < 0.1 else "left" if wins else "right"
        ballots.append(Ballot(f"r{n % raters}", str(left), str(right), said))
    return ballots


def test_with_many_votes_it_agrees_with_the_library_without_a_prior() -> None:
    ballots = simulated({"a": 1.0, "b": 0.3, "c": 0.0, "d": -0.4, "e": -0.9}, 1_500, 10, seed=1)
    known = {"left": Winner.X, "right": Winner.Y, "both": Winner.Draw}
    columns = [[b.left for b in ballots], [b.right for b in ballots], [known[b.choice] for b in ballots]]
    logs = np.log(bradley_terry(*columns, limit=1_000).scores)
    assert strengths(ballots) == pytest.approx((logs - logs.mean()).to_dict(), abs=0.01)  # 2 imagined ties of 1,500
    assert strengths(ballots) != pytest.approx((logs - logs.mean()).to_dict(), abs=1e-5)  # which are there


def test_a_planted_order_is_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratings, "RESAMPLES", 60)
    planted = {"worst": -1.2, "poor": -0.4, "good": 0.3, "best": 1.3}
    rows = standings(simulated(planted, 3_000, 20, seed=2))
    assert [row.arm for row in rows] == ["best", "good", "poor", "worst"]
    tied = 0.88  # one vote in ten was a tie whatever the arms: that draws the strengths together by about a tenth
    for row in rows:
        assert row.strength == pytest.approx(planted[row.arm] * tied, abs=0.15)
        assert row.low < row.strength < row.high
        assert row.high - row.low < 0.6


def test_wins_losses_and_ties_are_counted_from_both_sides() -> None:
    ballots = [
        Ballot("r", "a", "b", "left"),
        Ballot("r", "b", "a", "left"),
        Ballot("r", "b", "a", "right"),
        Ballot("q", "a", "c", "both"),
        Ballot("q", "c", "a", "neither"),
        Ballot("q", "c", "b", "skip"),
    ]
    counted = {row.arm: (row.wins, row.losses, row.ties) for row in standings(ballots)}
    assert counted == {"a": (2, 1, 2), "b": (1, 2, 0), "c": (0, 0, 2)}


def test_the_same_votes_give_the_same_standings_and_equals_stand_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratings, "RESAMPLES", 50)
    ballots = simulated({"a": 0.5, "b": 0.0, "c": -0.5}, 60, 4, seed=3)
    assert standings(ballots) == standings(list(ballots))
    assert rates(ballots) == rates(list(ballots))
    assert standings(ballots, seed=1) != standings(ballots, seed=2)
    assert [row.strength for row in standings(ballots, seed=1)] == [row.strength for row in standings(ballots)]
    tied = votes("b", "a", both=4) + votes("c", "a", neither=4) + votes("c", "b", both=4)
    assert [row.arm for row in standings(tied)] == ["a", "b", "c"]


def test_no_votes_give_no_rows() -> None:
    for nothing in ([], votes("a", "b", skip=3)):
        assert standings(nothing) == []
        assert rates(nothing) == []


# ---- intervals


def people(count: int, each: int, spread: float, seed: int, centre: float = 0.0) -> Votes:
    """Raters with a taste of their own: the log-odds of choosing "a" vary between them with that standard deviation."""
    rng = np.random.default_rng(seed)
    chances = 1 / (1 + np.exp(-(centre + spread * rng.standard_normal(count))))
    said = rng.random((count, each)) < chances[:, None]
    return [Ballot(f"r{r}", "a", "b", "left" if said[r, n] else "right") for r in range(count) for n in range(each)]


def test_votes_of_one_person_hang_together_so_intervals_are_wider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratings, "RESAMPLES", 60)
    ballots = people(12, 30, spread=1.5, seed=4)
    assert width(ballots, "a") > 1.6 * width(as_many_raters(ballots), "a")
    clustered, plain = rates(ballots)[0], rates(as_many_raters(ballots))[0]
    assert (clustered.arm, clustered.kind, clustered.value) == (plain.arm, plain.kind, plain.value)
    assert clustered.high - clustered.low > 1.6 * (plain.high - plain.low)


def test_more_people_narrow_an_interval_more_than_more_votes_of_the_same_people(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ratings, "RESAMPLES", 60)
    base, votes_each, raters = (width(people(*size, spread=1.5, seed=5), "a") for size in ((8, 30), (8, 120), (32, 30)))
    assert raters < 0.7 * base
    assert raters < votes_each


def test_an_interval_of_unanimous_votes_still_has_a_width() -> None:
    """Twelve votes that all say the same are no proof: resampling them sees no doubt, but there is some."""
    for ballots in (votes("a", "b", left=12), as_many_raters(votes("a", "b", left=12))):
        best, worst = standings(ballots)
        assert best.high - best.low > 0.5
        assert worst.high - worst.low > 0.5
        assert best.low > worst.high  # and yet it is clear who wins


def test_the_like_rates_interval_covers_where_wilsons_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """30 raters with 20 votes each, taste varying by 0.8 logits: the true rate is inside 95 % of intervals or so."""
    monkeypatch.setattr(ratings, "RESAMPLES", 40)
    points, weights = np.polynomial.hermite_e.hermegauss(60)
    true = float((weights / (1 + np.exp(-(0.6 + 0.8 * points)))).sum() / weights.sum())
    runs, covered, plain = 200, 0, 0
    for seed in range(runs):
        rate = rates(people(30, 20, spread=0.8, seed=seed, centre=0.6))[0]
        assert (rate.arm, rate.kind, rate.n) == ("a", "like", 600)
        covered += rate.low <= true <= rate.high
        low, high = wilson(rate.value * rate.n, rate.n)
        plain += low <= true <= high
    assert 0.90 <= covered / runs <= 0.98
    assert plain / runs < 0.80


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [(8, 10, 0.490, 0.943), (0, 10, 0.0, 0.278), (10, 10, 0.722, 1.0), (1, 2, 0.095, 0.905), (50, 100, 0.404, 0.596)],
)
def test_wilsons_interval_has_its_published_values(hits: int, n: int, low: float, high: float) -> None:
    """By hand for 8 of 10: middle (0.8 + 3.8415 / 20) / 1.38415 = 0.71674, half 1.95996 / 1.38415 * sqrt(0.016 +
    3.8415 / 400) = 0.22655."""
    assert wilson(hits, n) == pytest.approx((low, high), abs=5e-4)


def test_one_raters_rates_have_wilsons_interval() -> None:
    like, dislike, sounds_ai = rates(votes("a", "b", left=8, right=2))[:3]
    assert (like.value, like.low, like.high, like.n) == pytest.approx((0.8, 0.490, 0.943, 10), abs=5e-4)
    assert (dislike.value, dislike.low, dislike.high) == pytest.approx((0, 0, 0.278), abs=5e-4)
    assert (sounds_ai.value, sounds_ai.low, sounds_ai.high) == pytest.approx((0, 0, 0.278), abs=5e-4)


def test_where_a_few_people_all_say_the_same_their_number_counts_and_not_their_votes() -> None:
    ballots = [ballot for rater in "xy" for ballot in votes("a", "b", rater, left=50)]
    like = rates(ballots)[0]
    assert (like.value, like.low, like.high, like.n) == (1.0, *wilson(2, 2), 100)
    assert like.low < 0.35


def test_rates_by_hand() -> None:
    ballots = [
        Ballot("r", "a", "b", "left", frozenset({"right"})),
        Ballot("r", "b", "a", "both"),
        Ballot("q", "a", "c", "neither", frozenset({"left", "right"})),
        Ballot("q", "c", "a", "right", frozenset({"right"})),
        Ballot("q", "b", "a", "left"),
        Ballot("q", "b", "c", "skip", frozenset({"left"})),
    ]
    said = {(rate.arm, rate.kind): (rate.value, rate.n) for rate in rates(ballots)}
    assert said == {
        ("a", "like"): (3 / 5, 5),
        ("a", "dislike"): (1 / 5, 5),
        ("a", "sounds_ai"): (2 / 5, 5),
        ("b", "like"): (2 / 3, 3),
        ("b", "dislike"): (0, 3),
        ("b", "sounds_ai"): (1 / 3, 3),
        ("c", "like"): (0, 2),
        ("c", "dislike"): (1 / 2, 2),
        ("c", "sounds_ai"): (1 / 2, 2),
    }
    for rate in rates(ballots):
        assert 0 <= rate.low <= rate.value <= rate.high <= 1


def test_an_arm_that_few_resamples_hold_still_has_its_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratings, "RESAMPLES", 60)
    ballots = [ballot for n in range(30) for ballot in votes("a", "b", f"r{n}", left=2, right=1)]
    ballots.append(Ballot("r0", "a", "rare", "right"))  # one rater's one vote: two resamples of three miss it
    rare = next(rate for rate in rates(ballots) if (rate.arm, rate.kind) == ("rare", "like"))
    assert (rare.value, rare.n) == (1.0, 1)
    assert (rare.low, rare.high) == wilson(1, 1)
    assert any(row.arm == "rare" and row.low < row.high for row in standings(ballots))


# ---- texts that were judged alone


def test_mark_rates_by_hand() -> None:
    said = ["like", "funny", "4", "5", "dislike", "not_funny", "1", "2", "3", "skip"]
    marks = [Mark(f"r{n % 3}", "a", choice, sounds_ai=n % 3 == 0) for n, choice in enumerate(said)]
    marks += [Mark("r0", "b", "like"), Mark("r1", "c", "skip", sounds_ai=True)]
    found = {(rate.arm, rate.kind): (rate.value, rate.n) for rate in mark_rates(marks)}
    assert found == {
        ("a", "like"): (4 / 9, 9),
        ("a", "dislike"): (4 / 9, 9),
        ("a", "sounds_ai"): (1 / 2, 2),  # of marks it is not asked, and the fourth was skipped
        ("b", "like"): (1.0, 1),
        ("b", "dislike"): (0.0, 1),
        ("b", "sounds_ai"): (0.0, 1),
    }
    for rate in mark_rates(marks):
        assert 0 <= rate.low <= rate.value <= rate.high <= 1
    assert mark_rates([]) == mark_rates([Mark("r", "a", "skip")]) == []


def test_marks_and_votes_that_say_the_same_have_the_same_intervals() -> None:
    ballots = people(12, 30, spread=1.5, seed=4)
    marks = [Mark(ballot.rater, "a", "like" if ballot.choice == "left" else "3") for ballot in ballots]
    like, dislike, *_ = mark_rates(marks)
    assert like == rates(ballots)[0]
    assert (dislike.value, dislike.low, dislike.high) == (0.0, *wilson(0, 12))
    one = mark_rates([Mark("r", "a", "5")] * 8 + [Mark("r", "a", "1")] * 2)[0]
    assert (one.low, one.high) == wilson(8, 10)


def test_an_interval_of_a_rate_is_student_t_over_raters() -> None:
    """With as many votes of each, it is the textbook interval of the mean of the raters' own rates."""
    own = np.array([0.2, 0.5, 0.6, 0.9, 0.4])
    marks = [Mark(f"r{r}", "a", "like" if n < 10 * share else "3") for r, share in enumerate(own) for n in range(10)]
    half = 2.776 * own.std(ddof=1) / np.sqrt(5)
    like = mark_rates(marks)[0]
    assert like.high - like.value == pytest.approx(half, rel=0.1)  # of 400 draws
    assert like.value - like.low == pytest.approx(like.high - like.value)


def test_few_raters_reach_far() -> None:
    """Student's t for 1, 4 and 39 degrees of freedom: 12.706, 2.776 and 2.023."""
    assert reach(1) == reach(2) == pytest.approx(12.706 * 2**0.5, abs=1e-3)
    assert reach(5) == pytest.approx(2.776 * (5 / 4) ** 0.5, abs=1e-3)
    assert reach(40) == pytest.approx(2.023 * (40 / 39) ** 0.5, abs=1e-3)


def test_an_interval_holds_its_share_whatever_rounding_does() -> None:
    for n in range(1, 60):
        assert wilson(0, n)[0] == 0.0
        assert wilson(n, n)[1] == 1.0
        for hits in range(n + 1):
            low, high = wilson(hits, n)
            assert low <= hits / n <= high
