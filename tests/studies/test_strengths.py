"""The batched fit: against the library and a general optimiser one table at a time, and from hopeless starts."""

import time
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.optimize import minimize

from studies import ratings
from studies.ratings import ONE_MORE, PRIOR_TIES, Ballot, Table, arms_of, half_widths
from studies.strengths import chances, curvature, fit

Floats = NDArray[np.float64]
WINS = arrays(float, (3, 4, 4), elements=st.integers(0, 40).map(float))


def some_ballots(count: int, raters: int, seed: int, arms: str = "abcde") -> list[Ballot]:
    rng = np.random.default_rng(seed)
    pairs = [rng.choice(list(arms), 2, replace=False) for _ in range(count)]
    said = rng.choice(["left", "left", "right", "both", "neither"], count)
    return [Ballot(f"r{n % raters}", str(a), str(b), said[n]) for n, (a, b) in enumerate(pairs)]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(0, 10**6))
def test_it_agrees_with_the_library(count: int, seed: int) -> None:
    ballots = some_ballots(count, 3, seed)
    arms = arms_of(ballots)
    wins = Table.of(ballots, arms).wins(np.zeros(count, int), len(arms))
    assert fit(wins, PRIOR_TIES)[0] == pytest.approx(ratings._strengths(ballots, arms, np.ones(count)), abs=1e-5)


@pytest.mark.parametrize("raters", [1, 2, 7])
def test_intervals_are_those_of_the_library_asked_resample_by_resample(
    raters: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slow twin: every ballot as often as its rater was drawn, and the extra votes half a time each."""
    monkeypatch.setattr(ratings, "RESAMPLES", 20)
    ballots = some_ballots(40, raters, seed=raters)
    arms = arms_of(ballots)
    table = Table.of(ballots, arms)
    unit = ratings.units(table.rater)
    drawn = []
    for rows, scores in ratings.one_more(table, len(arms), 5):
        for often, row, score in zip(ratings.draws(unit, 5), rows, scores, strict=True):
            more = [
                Ballot("", ballots[i].left, ballots[i].right, "left" if won else "right")
                for i, won in zip(row, score, strict=True)
            ]
            weights = [*often[unit], *[ONE_MORE] * len(more)]
            drawn.append(ratings._strengths([*ballots, *more], arms, np.array(weights)))
    half = np.std(drawn, axis=0) * ratings.reach(raters if raters > 1 else len(ballots))
    assert half_widths(table, len(arms), 5) == pytest.approx(half, abs=1e-4)


@settings(max_examples=30, deadline=None)
@given(WINS, st.sampled_from([0.1, 1.0, 25.0]))
def test_a_normal_prior_gives_the_mode_that_a_general_optimiser_finds(wins: Floats, precision: float) -> None:
    centre = np.array([0.5, 0.2, 0.0, -0.7])
    found = fit(wins, centre=centre, precision=precision)
    assert found.mean(1) == pytest.approx(0, abs=1e-9)
    for table, logs in zip(wins, found, strict=True):

        def cost(x: Floats, table: Floats = table) -> float:
            pairs = [(a, b) for a in range(4) for b in range(4) if a != b]
            said = sum(table[a, b] * np.logaddexp(0, x[b] - x[a]) for a, b in pairs)
            return float(said + precision / 2 * ((x - centre) ** 2).sum())

        assert logs == pytest.approx(minimize(cost, centre, method="BFGS").x, abs=2e-4)


@settings(max_examples=40, deadline=None)
@given(WINS)
def test_every_arm_wins_as_often_as_its_strength_expects(wins: Floats) -> None:
    off = 1 - np.eye(4)
    games = (wins + wins.swapaxes(1, 2) + PRIOR_TIES) * off
    won = ((wins + PRIOR_TIES / 2) * off).sum(2)
    logs = fit(wins, PRIOR_TIES)
    assert (games * chances(logs)).sum(2) == pytest.approx(won, abs=1e-6)
    assert logs.mean(1) == pytest.approx(0, abs=1e-9)
    assert np.array([fit(table[None], PRIOR_TIES)[0] for table in wins]) == pytest.approx(logs, abs=1e-8)


def test_two_arms_have_the_closed_form_however_lopsided() -> None:
    wins = np.zeros((4, 2, 2))
    wins[:, 0, 1] = [0, 3, 5_000, 10**9]
    logs = fit(wins, PRIOR_TIES)
    assert logs[:, 0] - logs[:, 1] == pytest.approx(np.log((wins[:, 0, 1] + 0.1) / 0.1), abs=1e-8)


def test_a_plain_newton_step_would_fly_off_from_here_and_this_one_does_not() -> None:
    """From 15 log-odds too high the full step is thousands long in the other direction."""
    wins = np.zeros((1, 2, 2))
    wins[0] = [[0, 6], [4, 0]]
    near = fit(wins, PRIOR_TIES, centre=np.array([15.0, -15.0]), precision=1e-9)
    assert near[0, 0] - near[0, 1] == pytest.approx(np.log(6.1 / 4.1), abs=1e-6)


def test_arms_that_only_the_prior_joins() -> None:
    wins = np.zeros((1, 4, 4))
    wins[0, 0, 1] = wins[0, 2, 3] = 30
    a, b, c, d = fit(wins, PRIOR_TIES)[0]
    assert (a, b) == pytest.approx((c, d), abs=1e-8)
    assert a > b


def test_curvature_is_how_the_slope_changes() -> None:
    rng = np.random.default_rng(0)
    games = rng.integers(0, 9, (4, 4)).astype(float)
    games = games + games.T
    np.fill_diagonal(games, 0)
    logs, step = rng.normal(size=4), 1e-6
    bend = curvature(games[None], chances(logs[None]))[0]
    for a in range(4):
        up, down = ((games * chances((logs + s * step * np.eye(4)[a])[None])[0]).sum(1) for s in (1, -1))
        assert bend[a] == pytest.approx((up - down) / (2 * step), abs=1e-5)


def test_it_is_far_faster_than_the_library_one_by_one() -> None:
    """Measured 50 to 100 times; 8 leaves room for a busy machine."""
    ballots = some_ballots(300, 10, seed=1)
    arms = arms_of(ballots)
    wins = Table.of(ballots, arms).wins(np.arange(300) % 100, len(arms))
    start = time.perf_counter()
    fit(np.tile(wins, (4, 1, 1)), PRIOR_TIES)
    batched = (time.perf_counter() - start) / 400
    start = time.perf_counter()
    for _ in range(20):
        ratings._strengths(ballots, arms, np.ones(300))
    assert batched < (time.perf_counter() - start) / 20 / 8


def test_every_two_arms_have_the_imagined_ties() -> None:
    wins = np.zeros((1, 3, 3))
    wins[0, 0, 1] = wins[0, 1, 2] = 2
    more = wins.copy()
    for a, b in combinations(range(3), 2):
        more[0, a, b] += 0.5
        more[0, b, a] += 0.5
    assert fit(wins, 1.0) == pytest.approx(fit(more), abs=1e-8)
