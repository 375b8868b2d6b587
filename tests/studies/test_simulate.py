"""Simulated raters behave as planted, and small versions of the claims that the full simulation makes."""

import json
from dataclasses import replace
from unittest.mock import ANY

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from studies import simulate
from studies.ratings import Table, standings
from studies.schedule import Design, steps
from studies.simulate import ARMS, LADDER, MESSY, PLAIN, Population, ballots, planned, pooled, tables, votes

DESIGN = Design(5, ARMS, blocks=3)
EQUAL = Population((0.0,) * 5, spread=0.0, tie=0.0)


def share(population: Population, runs: int = 40, raters: int = 10) -> tuple[float, float]:
    """Of votes for the left side and of ties, among those that were given."""
    score = votes(population, planned(DESIGN, raters), runs, np.random.default_rng(0))
    given = score[~np.isnan(score)]
    return float((given == 1).mean()), float((given == 0.5).mean())


def test_everybody_sees_the_main_pairs_of_the_schedule() -> None:
    plan = planned(DESIGN, 3)
    assert plan.shape == (3, 60, 2)
    shown = [(s.left, s.right) for s in steps(DESIGN, 2) if s.purpose == "main"]
    assert [(ARMS[left], ARMS[right]) for left, right in plan[2]] == shown
    said = ballots(PLAIN, DESIGN, 3)
    assert [(b.left, b.right) for b in said if b.rater == "rater 2"] == shown
    assert len({b.trial for b in said}) == len(said) == 180


def test_the_same_seed_gives_the_same_ballots() -> None:
    assert ballots(MESSY, DESIGN, 4, seed=1) == ballots(MESSY, DESIGN, 4, seed=1) != ballots(MESSY, DESIGN, 4, seed=2)


def test_sides_ties_noise_and_bots_are_as_planted() -> None:
    """24,000 votes: a share is within 0.013 of its expectation, four standard errors."""
    near = {"abs": 0.013}
    assert share(EQUAL) == pytest.approx((0.5, 0.0), **near)
    side = 1 / (1 + np.exp(-1))
    assert share(replace(EQUAL, side=1.0)) == pytest.approx((side, 0.0), **near)
    assert share(replace(EQUAL, side=1.0, noise=0.2)) == pytest.approx((0.8 * side + 0.1, 0.0), **near)
    tied = 2 / (1 + np.exp(-0.2)) - 1
    assert share(replace(EQUAL, tie=0.2)) == pytest.approx(((1 - tied) / 2, tied), **near)
    assert share(replace(EQUAL, tie=50.0, bots=0.4)) == pytest.approx((0.3, 0.6), **near)  # 2 always left, 2 tossed
    assert share(replace(EQUAL, side=-50.0, bots=0.2))[0] == pytest.approx(0.15, **near)


def test_who_drops_out_stays_away() -> None:
    score = votes(replace(PLAIN, drop_out=0.05), planned(DESIGN, 50), 40, np.random.default_rng(1))
    gone = np.isnan(score)
    assert not gone[..., 0].any()
    assert (gone[..., 1:] >= gone[..., :-1]).all()
    assert (~gone).mean(axis=(0, 1))[[1, 20, 59]] == pytest.approx(0.95 ** np.array([1, 20, 59]), abs=0.045)


def test_win_tables_are_those_of_the_ratings() -> None:
    plan = planned(DESIGN, 4)
    score = votes(MESSY, plan, 1, np.random.default_rng(3))
    said = ballots(MESSY, DESIGN, 4, seed=3)
    table = Table.of(said, ARMS)
    assert tables(score, plan, 5)[0] == pytest.approx(table.wins(table.rater, 5))


@pytest.mark.parametrize("population", [PLAIN, MESSY, Population((1.5, 0.0, -0.2, -0.3, -1.0), spread=1.0, side=1.0)])
def test_pooled_strengths_are_what_endless_votes_give(population: Population) -> None:
    plan = planned(DESIGN, 100)
    score = votes(replace(population, drop_out=0.0), plan, 60, np.random.default_rng(4))
    found = simulate.fit(tables(score, plan, 5).sum((0, 1))[None])[0]  # 360,000 votes of 6,000 raters
    assert pooled(population) == pytest.approx(found, abs=0.03)


def test_pooled_strengths_lie_nearer_to_0_than_raters_own() -> None:
    alone = pooled(replace(PLAIN, spread=0.0, tie=0.0))
    assert alone == pytest.approx(np.array(LADDER), abs=1e-6)
    a, b = pooled(Population((0.3, -0.3), tie=0.0))
    chance = quad(lambda x: norm.pdf(x) / (1 + np.exp(-0.6 - np.sqrt(0.5) * x)), -9, 9)[0]  # two arms vary by 0.5 each
    assert a - b == pytest.approx(np.log(chance / (1 - chance)), abs=1e-5)
    assert pooled(PLAIN)[0] == pytest.approx(0.537, abs=0.001)  # of five, and with ties, nearer still


def test_the_best_of_five_comes_first_among_forty_raters_and_with_bots() -> None:
    """0.3 log-odds apart, standard deviation 0.5 between raters, 60 trials."""
    assert simulate.best_first(PLAIN, 40, 150, seed=1) >= 0.95
    assert simulate.best_first(replace(MESSY, bots=0.1), 40, 150, seed=1) >= 0.9
    assert simulate.best_first(PLAIN, 3, 150, seed=1) < 0.9  # of three raters it is not so sure


@pytest.mark.parametrize("raters", [10, 20, 40])
def test_intervals_hold_what_they_should_and_naive_ones_do_not(raters: int) -> None:
    found = simulate.coverage(PLAIN, raters, 200, seed=1)  # to 0.015 or so
    assert 0.92 <= found["standings"] <= 0.98
    assert found["naive"] < 0.87
    assert found["of_mean"] < found["standings"]


def test_intervals_of_what_is_typical_hold_the_mean_of_raters() -> None:
    assert 0.90 <= simulate.typical_coverage(PLAIN, 20, 100, seed=1) <= 0.98


def test_standings_are_what_the_coverage_counts() -> None:
    """The simulation goes through arrays; ballots of the same votes have the same intervals."""
    said = ballots(PLAIN, DESIGN, 20, seed=9)
    table = Table.of(said, ARMS)
    half = simulate.half_widths(table, 5, 7)
    rows = {row.arm: (row.high - row.low) / 2 for row in standings(said, seed=7)}
    assert [rows[arm] for arm in ARMS] == pytest.approx(half.tolist(), rel=0.08)  # their arms are numbered otherwise


def test_power_grows_with_raters_and_with_the_effect() -> None:
    few, many = (np.isfinite(simulate.stops(0.6, raters, 50, seed=1)).mean() for raters in (5, 40))
    assert few < 0.3 < 0.7 < many
    assert np.isfinite(simulate.stops(0.2, 20, 50, seed=1)).mean() < np.isfinite(simulate.stops(1.0, 20, 50, 1)).mean()


def test_the_command_prints_every_figure(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulate, "RATERS", (4, 8))
    monkeypatch.setattr(simulate, "EFFECTS", (1.0,))
    monkeypatch.setattr(simulate, "REAL_RATERS", 2)
    monkeypatch.setattr(simulate, "PLAIN", replace(simulate.PLAIN, strengths=(9.0, 0.0, 0.0, 0.0, -9.0)))
    simulate.main(["--json", "--runs", "4", "--coverage-runs", "3", "--real-runs", "1"])
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["through_verbs"] == {"as_planned": 1.0, "top1_right": 1.0, "votes": 2 * 67, "void": ANY}
    assert found.keys() == {
        "through_verbs", "top1_right", "biased_order_right", "coverage", "naive_coverage", "coverage_of_mean",
        "messy_coverage", "typical_coverage", "false_alarms", "power", "seeds", "populations",
    }  # fmt: skip
    assert found["coverage"].keys() == {"4", "8"}
    assert [(row["raters"], row["trials"]) for row in found["power"]] == [(g, t) for g in (4, 8) for t in (20, 40, 60)]
    assert found["seeds"] == {"seed": 0, "runs": 4, "coverage_runs": 3}
    assert "intervals of 8 raters" in err
    simulate.main(["--runs", "2", "--coverage-runs", "2", "--real-runs", "0"])
    assert capsys.readouterr().out.startswith("top1_right: ")
