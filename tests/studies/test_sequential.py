"""The stop rule: against closed forms, exactly fair where that can be counted, and on simulated raters."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import betaln

from studies import simulate
from studies.ratings import Ballot
from studies.sequential import ALIKE, ENOUGH, HALF, SHARES, evidence, looks

Floats = NDArray[np.float64]
SEQUENCES = st.lists(st.tuples(st.booleans(), st.integers(0, 3)), min_size=1, max_size=40)


def last(score: Floats, rater: list[int], alike: Floats = ALIKE) -> Floats:
    *_, looked = looks(score, np.array(rater), alike)
    return looked


def votes(said: str, raters: int = 1) -> list[Ballot]:
    """ "+" where a beat b, "-" where it lost, on the left and on the right in turn; raters in turn as well."""
    ballots = []
    for n, sign in enumerate(said):
        left, right = ("a", "b") if n // raters % 2 else ("b", "a")
        ballots.append(Ballot(f"r{n % raters}", left, right, "left" if (left == "a") == (sign == "+") else "right"))
    return ballots


def test_independent_votes_have_robbins_closed_form() -> None:
    """The Beta(10, 10) average of m^w (1 - m)^l is B(10 + w, 10 + l) / B(10, 10)."""
    for wins, losses in ((1, 0), (7, 3), (40, 22), (0, 60), (100, 100)):
        score = np.array([[1.0] * wins + [0.0] * losses])
        closed = betaln(10 + wins, 10 + losses) - betaln(10, 10) + (wins + losses) * np.log(2)
        found = last(score, [0] * (wins + losses), np.zeros(1))[0, HALF]
        assert np.log(found) == pytest.approx(closed, abs=1e-3)


@settings(max_examples=30, deadline=None)
@given(SEQUENCES)
def test_the_urn_is_the_beta_binomial_distribution(sequence: list[tuple[bool, int]]) -> None:
    """The slow twin: every rater's wins and losses in the closed form, mixed and maximised over the same grids."""
    table = np.zeros((len(SHARES), len(ALIKE)))
    for rater in range(4):
        wins, losses = (sum(won is what for won, r in sequence if r == rater) for what in (True, False))
        for m, share in enumerate(SHARES):
            for k, alike in enumerate(ALIKE):
                if alike == 0:
                    table[m, k] += wins * np.log(share) + losses * np.log(1 - share)
                else:
                    a, b = share * (1 / alike - 1), (1 - share) * (1 / alike - 1)
                    table[m, k] += betaln(a + wins, b + losses) - betaln(a, b)
    prior = np.exp(9 * np.log(SHARES * (1 - SHARES)))
    mixed = (np.exp(table) * prior[:, None]).sum() / prior.sum() / len(ALIKE)
    score = np.array([[float(won) for won, _ in sequence]])
    assert last(score, [r for _, r in sequence])[0] == pytest.approx(mixed / np.exp(table).max(1), rel=1e-6)


@pytest.mark.parametrize("alike", ALIKE[:-1])
def test_under_equal_arms_its_expectation_is_at_most_one(alike: float) -> None:
    """Counted over all 2^10 sequences of five raters' votes: that is what Ville's inequality asks, however alike."""
    rater = [0, 1, 0, 2, 1, 0, 3, 0, 4, 4]
    score = np.array(list(product([0.0, 1.0], repeat=len(rater))))
    chance = np.ones(len(score))
    for s, line in enumerate(score):
        wins, had = np.zeros(5), np.zeros(5)
        for won, r in zip(line, rater, strict=True):
            up = (0.5 * (1 - alike) + wins[r] * alike) / (1 - alike + had[r] * alike)
            chance[s] *= up if won else 1 - up
            wins[r] += won
            had[r] += 1
    assert chance.sum() == pytest.approx(1)
    assert 0.2 < (chance * last(score, rater)[:, HALF]).sum() <= 1


@settings(max_examples=30, deadline=None)
@given(SEQUENCES, st.randoms())
def test_only_who_said_what_counts_in_the_end(sequence: list[tuple[bool, int]], random: object) -> None:
    def looked(those: list[tuple[bool, int]]) -> Floats:
        return last(np.array([[float(won) for won, _ in those]]), [r for _, r in those])[0]

    shuffled = list(sequence)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert looked(shuffled) == pytest.approx(looked(sequence), rel=1e-9)
    turned = [(not won, r) for won, r in sequence]
    assert looked(turned)[::-1] == pytest.approx(looked(sequence), rel=1e-9)


def test_sequences_side_by_side_are_what_they_are_alone_and_gaps_say_nothing() -> None:
    score = np.array([[1, 1, 0, 1, 0.5], [0, np.nan, 1, 1, 1]])
    together = last(score, [0, 1, 0, 2, 1])
    assert together[0] == pytest.approx(last(score[:1, :4], [0, 1, 0, 2])[0])
    assert together[1] == pytest.approx(last(score[1:, [0, 2, 3, 4]], [0, 0, 2, 1])[0])


def test_votes_of_many_raters_suffice_and_as_many_of_one_never_do() -> None:
    many, one = evidence(votes("+" * 40, 40), "a", "b"), evidence(votes("+" * 400), "a", "b")
    assert (many.verdict, one.verdict) == ("enough", "not yet")
    assert many.e_values[-1] >= ENOUGH > max(one.e_values)
    assert many.low > 0.5
    assert one.low < 0.5
    assert (many.wins, many.losses, len(many.e_values)) == (40, 0, 40)


def test_no_difference_is_said_only_when_the_whole_interval_is_within_the_margin() -> None:
    found = evidence(votes("+-" * 600, 51), "a", "b")
    assert found.verdict == "no difference larger than 0.1"
    assert 0.4 <= found.low < 0.5 < found.high <= 0.6
    assert evidence(votes("+-" * 600, 51), "a", "b", margin=0.01).verdict == "not yet"
    assert evidence(votes("+-" * 20, 11), "a", "b").verdict == "not yet"
    camps = evidence(votes("+-" * 600, 50), "a", "b")  # every other rater is always for a: that says less of people
    assert camps.verdict == "not yet"
    assert camps.high - camps.low > 2 * (found.high - found.low)


def test_the_other_way_round_is_the_mirror_image() -> None:
    ballots = votes("+++-++++-+" * 6, 12)
    there, back = evidence(ballots, "a", "b"), evidence(ballots, "b", "a")
    assert there.e_values == pytest.approx(back.e_values)
    assert (there.wins, there.losses) == (back.losses, back.wins) == (48, 12)
    assert (there.low, there.high) == pytest.approx((1 - back.high, 1 - back.low))


def test_ties_skips_and_other_arms_are_left_out() -> None:
    ballots = votes("++-+", 2)
    others = [Ballot("r0", "a", "b", "both"), Ballot("r1", "b", "a", "skip"), Ballot("r1", "a", "c", "left")]
    assert evidence([*others, *ballots, *others], "a", "b") == evidence(ballots, "a", "b")
    nothing = evidence(others, "a", "b")
    assert (nothing.e_values, nothing.wins, nothing.losses) == ((), 0, 0)
    assert (nothing.low, nothing.high, nothing.verdict) == (0.0, 1.0, "not yet")


def test_the_bounds_are_the_nearest_shares_that_are_ruled_out() -> None:
    ballots = votes("+++-++++-+" * 12, 24)
    found = evidence(ballots, "a", "b")
    *_, looked = looks(np.array([[float(sign == "+") for sign in "+++-++++-+" * 12]]), np.tile(np.arange(24), 5), ALIKE)
    inside = [share for share, e in zip(SHARES, looked[0], strict=True) if e < ENOUGH]
    assert (found.low, found.high) == pytest.approx((inside[0] - 0.01, inside[-1] + 0.01))
    assert 0.5 < found.low < 0.8 < found.high < 0.95
    everything = evidence(votes("+" * 300, 300), "a", "b")
    assert everything.low > 0.85
    assert everything.high == 1


def test_looking_after_every_vote_raises_few_false_alarms() -> None:
    """20 raters with 60 trials, equal arms for all of them but not for each; independent votes are the wrong model."""
    runs = 150
    for order in ("in turn", "one by one"):
        assert np.isfinite(simulate.stops(0.0, 20, runs, 1, order=order)).mean() <= 0.05
    assert np.isfinite(simulate.stops(0.0, 20, runs, 1, alike=np.zeros(1))).mean() > 0.2


def test_the_interval_holds_the_truth_at_all_looks_together() -> None:
    """Differences of 0.8 log-odds, sd 0.5 an arm: P(a beats b) is 0.67 at a random rater."""
    rng = np.random.default_rng(2)
    runs, raters, trials = 150, 20, 20
    points, weights = np.polynomial.hermite_e.hermegauss(60)
    true = float((weights / (1 + np.exp(-(0.8 + 0.5 * np.sqrt(2) * points)))).sum() / weights.sum())
    chance = 1 / (1 + np.exp(-(0.8 + 0.5 * np.sqrt(2) * rng.standard_normal((runs, 1, raters)))))
    score = (rng.random((runs, trials, raters)) < chance).reshape(runs, -1).astype(float)
    at = int(abs(SHARES - true).argmin())
    rejected = np.zeros(runs, bool)
    for looked in looks(score, np.tile(np.arange(raters), trials)):
        rejected |= looked[:, at] >= ENOUGH
    assert rejected.mean() <= 0.05
    assert (looked[:, HALF] >= ENOUGH).mean() > 0.5  # and yet most of them see a difference
