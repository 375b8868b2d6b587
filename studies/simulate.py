"""python -m studies.simulate [--json] [--runs N] [--coverage-runs N]: what the statistics are worth, on planted tastes.

Raters of known taste answer the schedule that people would get, and the very functions that judge people judge them:
how often the best arm comes first, how often an interval holds what it should, how often the stop rule cries wolf.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from studies.effects import tastes
from studies.made_up import fill, study_file
from studies.ratings import PRIOR_TIES, SCORES, Ballot, Table, half_widths, standings
from studies.records import records
from studies.rooms import Room
from studies.schedule import SALAD, Design, steps
from studies.sequential import ALIKE, ENOUGH, HALF, looks
from studies.store import Refused, Store
from studies.strengths import chances, curvature, fit
from studies.studyfile import read

Floats = NDArray[np.float64]
Order = Literal["in turn", "one by one"]

ARMS = ("a", "b", "c", "d", "e")
LADDER = (0.6, 0.3, 0.0, -0.3, -0.6)  # log-odds
RATERS = (10, 20, 40, 80)
REAL_RATERS = 40  # of the studies that go through the real verbs
TRIALS = 60
DRAWN = ("left", "both", "right")
TIE = 0.2  # half of the gap in log-odds within which a rater calls it a tie: one vote in ten between equals
SALAD_TASTE = -4.0  # of a post whose words are shuffled
BATCH = 50  # runs of the stop rule at once: their tables stay in the processor's cache

EFFECTS = (0.3, 0.6, 1.0)  # log-odds between two arms
MILESTONES = (20, 40, 60)  # trials a rater at which power is told


@dataclass(frozen=True, slots=True)
class Population:
    """Whom to draw raters from. All in log-odds unless said otherwise.

    A rater's arms have `strengths`, of mean 0, plus deviations of standard deviation `spread`; the left side has `side`
    more, give or take `side_spread` between raters. Differences under `tie` either way are ties (Rao and Kupper, JASA
    62, 1967). A share of `noise` of the votes and of `bots` of the raters have no taste: such votes are tossed, and of
    bots every other one always says left. After each vote a share of `drop_out` goes away.
    """

    strengths: tuple[float, ...] = LADDER
    spread: float = 0.5
    side: float = 0.0
    side_spread: float = 0.0
    tie: float = TIE
    noise: float = 0.0
    bots: float = 0.0
    drop_out: float = 0.0


PLAIN = Population()
MESSY = Population(side=0.5, side_spread=0.5, noise=0.05, drop_out=0.01)


def votes(population: Population, plan: NDArray[np.intp], runs: int, rng: np.random.Generator) -> Floats:
    """What left sides won, 1, 0, half for a tie, or nan where a rater had gone: (S, G, T) of a `plan` (G, T, 2)."""
    raters = len(plan)
    each = np.arange(raters)[:, None]
    tastes = population.strengths + population.spread * rng.standard_normal((runs, raters, len(population.strengths)))
    lean = population.side + population.side_spread * rng.standard_normal((runs, raters, 1))
    gap = tastes[:, each, plan[..., 0]] - tastes[:, each, plan[..., 1]] + lean  # (S, G, T)
    felt = gap + rng.logistic(size=gap.shape)
    score = np.where(felt > population.tie, 1.0, np.where(felt < -population.tie, 0.0, 0.5))
    bots = round(population.bots * raters)
    tossed = rng.random(score.shape) < population.noise
    tossed[:, 1:bots:2] = True
    score = np.where(tossed, rng.random(score.shape) < 0.5, score)
    score[:, 0:bots:2] = 1.0
    stays = rng.random(score.shape) >= population.drop_out
    gone = ~np.cumprod(stays, axis=2, dtype=bool)
    score[:, :, 1:][gone[:, :, :-1]] = np.nan
    return score


def ballots(population: Population, design: Design, raters: int, seed: int = 0) -> list[Ballot]:
    """The votes of so many simulated raters on the main pairs of a design, slots 0, 1, ..., one rater after another."""
    plan = planned(design, raters)
    score = votes(population, plan, 1, np.random.default_rng(seed))[0]  # (G, T)
    said = {value: choice for choice, value in SCORES.items() if choice in DRAWN}
    return [
        Ballot(f"rater {g}", design.arms[left], design.arms[right], said[score[g, t]], trial=f"{g}-{t}")  # type: ignore[arg-type]
        for g, shown in enumerate(plan)
        for t, (left, right) in enumerate(shown)
        if not np.isnan(score[g, t])
    ]


@cache
def planned(design: Design, raters: int) -> NDArray[np.intp]:
    """Arms on the left and on the right, by number, of the main pairs of each rater: (G, T, 2)."""
    place = {arm: a for a, arm in enumerate(design.arms)}
    return np.array(
        [[(place[s.left], place[s.right]) for s in steps(design, g) if s.purpose == "main"] for g in range(raters)]
    )


def tables(score: Floats, plan: NDArray[np.intp], arms: int) -> Floats:
    """Win tables (S, G, A, A) of votes (S, G, T)."""
    runs, raters, _ = score.shape
    found = np.zeros((runs, raters, arms, arms))
    place = np.arange(runs)[:, None, None], np.arange(raters)[:, None], plan[..., 0], plan[..., 1]
    np.add.at(found, place, np.nan_to_num(score))
    np.add.at(found, (*place[:2], place[3], place[2]), np.nan_to_num(1 - score))
    return found


def pooled(population: Population) -> Floats:
    """Strengths (A,) that endless votes of endless raters without bots would have: what standings estimate.

    Every pair meets as often as any other, and on either side as often. The integral over raters is Gauss and
    Hermite's.
    """
    points, weights = np.polynomial.hermite_e.hermegauss(60)
    weights = weights / weights.sum()
    spread = np.sqrt(2 * population.spread**2 + population.side_spread**2)
    strengths = np.array(population.strengths)
    gap = (strengths[:, None] - strengths + population.side)[..., None] + spread * points  # (A, A, 60)
    left, right = (1 / (1 + np.exp(population.tie - sign * gap)) for sign in (1, -1))
    score = ((0.5 + (left - right) / 2) * (1 - population.noise) + population.noise / 2) @ weights  # left's, (A, A)
    return np.asarray(fit((score + 1 - score.T)[None])[0])


def coverage(population: Population, raters: int, runs: int, seed: int) -> dict[str, float]:
    """How often 95 % intervals hold what they should, all arms of all runs together.

    `standings` are to hold `pooled` strengths, and so are `naive` ones, from Fisher's information as if votes were
    independent. `of_mean` says how often standings hold the mean of raters' own strengths, which lies farther from 0.
    """
    plan = planned(Design(seed, ARMS, blocks=TRIALS // 20), raters)
    true, own = pooled(population), np.array(population.strengths)
    rater = np.repeat(np.arange(raters), plan.shape[1])
    hits = dict.fromkeys(("standings", "naive", "of_mean"), 0)
    for run in range(runs):
        score = votes(population, plan, 1, np.random.default_rng([seed, raters, run]))
        wins = tables(score, plan, len(ARMS)).sum(1)  # (1, A, A)
        centre = fit(wins, PRIOR_TIES)
        here = ~np.isnan(score[0].ravel())
        sides = plan.reshape(-1, 2)[here]
        half = half_widths(Table(sides[:, 0], sides[:, 1], score[0].ravel()[here], rater[here]), len(ARMS), run)
        bend = curvature(wins + wins.swapaxes(1, 2), chances(centre))[0] + 1
        plain = 1.96 * np.sqrt(np.linalg.inv(bend).diagonal() - 1 / len(ARMS) ** 2)  # less the common shift
        hits["standings"] += int((abs(centre[0] - true) <= half).sum())
        hits["naive"] += int((abs(centre[0] - true) <= plain).sum())
        hits["of_mean"] += int((abs(centre[0] - own) <= half).sum())
    return {name: count / (runs * len(ARMS)) for name, count in hits.items()}


def typical_coverage(population: Population, raters: int, runs: int, seed: int) -> float:
    """How often 95 % intervals of typical strengths (`effects.tastes`) hold the mean of raters' own, as `coverage`."""
    plan = planned(Design(seed, ARMS, blocks=TRIALS // 20), raters)
    hits = 0
    for run in range(runs):
        score = votes(population, plan, 1, np.random.default_rng([seed, raters, run]))
        found = tastes(tables(score, plan, len(ARMS))[0])
        hits += int((abs(found.typical - population.strengths) <= found.typical_half).sum())
    return hits / (runs * len(ARMS))


def best_first(population: Population, raters: int, runs: int, seed: int) -> float:
    """In what share of runs the arm that is truly best has the highest strength."""
    plan = planned(Design(seed, ARMS, blocks=TRIALS // 20), raters)
    score = votes(population, plan, runs, np.random.default_rng([seed, raters]))
    found = fit(tables(score, plan, len(ARMS)).sum(1), PRIOR_TIES)
    return float((found.argmax(1) == np.argmax(population.strengths)).mean())


def stops(
    effect: float,
    raters: int,
    runs: int,
    seed: int,
    *,
    order: Order = "in turn",
    alike: Floats = ALIKE,
    like: Population = PLAIN,
) -> Floats:
    """After how many votes of each run (S,) the evidence between two arms first sufficed; infinite where it never did.

    `effect` is their difference in log-odds; raters are in all else `like` that population, and vote in turn or one
    after another. Ties count as votes but say nothing. `alike` is that of `sequential.looks`.
    """
    population = replace(like, strengths=(effect / 2, -effect / 2))
    plan = planned(Design(seed, ("a", "b"), blocks=TRIALS // 2), raters)
    score = votes(population, plan, runs, np.random.default_rng([seed, raters, round(100 * effect)]))
    won = np.where(plan[..., 0] == 0, score, 1 - score)  # by the first arm, (S, G, T)
    rater = np.broadcast_to(np.arange(raters)[:, None], won.shape[1:])
    if order == "in turn":
        won, rater = won.swapaxes(1, 2), rater.T
    score = won.reshape(runs, -1)
    first = np.full(runs, np.inf)
    for start in range(0, runs, BATCH):
        some = score[start : start + BATCH]
        for vote, looked in enumerate(looks(some, rater.ravel(), alike), start=1):
            enough = looked[:, HALF] >= ENOUGH
            first[start : start + BATCH][enough] = np.minimum(first[start : start + BATCH][enough], vote)
    return first


def sit(room: Room, session: str, tastes: Mapping[str, float], rng: np.random.Generator, like: Population) -> None:
    """One rater goes from the consent to the end, by the verbs that a browser calls. `tastes` are log-odds by arm; what
    is no arm of the study has 0, but for shuffled words, which nobody likes. Raises Refused where a text is missing."""
    room.consent(session, True)
    room.understood(session)
    while (step := room.stage(session).step) in ("practice", "trials"):
        if (shown := room.show(session)) is None:
            raise Refused("a trial has no text: the made-up pool is too small for this study")
        left, right = (tastes.get(arm, SALAD_TASTE if arm == SALAD else 0.0) for arm in room.register.arms(shown.id))
        noise = rng.logistic() if step == "trials" else 0.0
        if shown.kind == "pair":
            felt = left - right + like.side + noise
            tied = abs(felt) < like.tie or shown.left == shown.right
            room.vote(session, shown.id, "both" if tied else "left" if felt > 0 else "right")
        else:
            room.vote(session, shown.id, _alone(room.study.scale if shown.kind == "mark" else "card", left + noise))
    if step == "survey":
        room.survey(
            session, {asked.id: asked.options[0] if asked.options else "made up" for asked in room.study.survey}
        )


def _alone(scale: str, felt: float) -> str:
    """The verdict on a single text."""
    if scale == "five":
        return str(1 + sum(felt > border for border in (-1.5, -0.5, 0.5, 1.5)))
    liked, not_liked = ("like", "dislike") if scale == "card" else ("funny", "not_funny")
    return liked if felt > 0 else not_liked


def through_verbs(population: Population, raters: int, seed: int) -> dict[str, Any]:
    """One simulated study through the verbs that people's browsers call, on a real data folder, from joining to the
    last trial, with repeats and catch trials: whether what it counts is what the plan says, and which arm is first.
    """
    rng = np.random.default_rng([seed, raters, 1])
    with tempfile.TemporaryDirectory() as folder:
        study = read(study_file(Path(folder), seed=seed, blocks=TRIALS // 20, same=1))
        store = Store(Path(folder) / "data")
        fill(store, study)
        room = Room(store, study, clocked=False)
        place = {arm: a for a, arm in enumerate(study.design.arms)}
        tastes = population.strengths + population.spread * rng.standard_normal((raters, len(place)))
        for g in range(raters):
            sit(room, f"rater {g}", dict(zip(place, tastes[g].tolist(), strict=True)), rng, population)
        found = records(store, room.id)
        plan = planned(study.design, raters)
        met = np.array([(place[ballot.left], place[ballot.right]) for ballot in found.ballots])
        strengths = {row.arm: row.strength for row in standings(found.ballots)}
    best = study.design.arms[int(np.argmax(population.strengths))]
    return {
        "as_planned": bool((met.reshape(plan.shape) == plan).all()) if len(met) == plan[..., 0].size else False,
        "top1_right": max(strengths, key=strengths.__getitem__) == best,
        "votes": len(found.ballots) + len(found.repeats) + len(found.catches),
        "void": sum(found.voids.values()),
    }


def run(
    runs: int = 500,
    coverage_runs: int = 2000,
    seed: int = 0,
    tell: Callable[[str], None] = lambda line: None,
    *,
    real_runs: int = 0,
) -> dict[str, Any]:
    """All figures, shares of runs from 0 to 1. `coverage_runs` are those of intervals and of false alarms."""
    found: dict[str, Any] = {}
    if real_runs:
        each = []
        for number in range(real_runs):
            tell(f"study {number + 1} of {real_runs} through the real verbs")
            each.append(through_verbs(PLAIN, REAL_RATERS, seed + number))
        found["through_verbs"] = {
            name: float(np.mean([one[name] for one in each])) for name in ("as_planned", "top1_right", "votes", "void")
        }
    tell("the best of five arms")
    found["top1_right"] = best_first(PLAIN, 40, runs, seed)
    found["biased_order_right"] = best_first(replace(MESSY, bots=0.1), 40, runs, seed)
    names = {"standings": "coverage", "naive": "naive_coverage", "of_mean": "coverage_of_mean"}
    found |= {name: {} for name in (*names.values(), "messy_coverage", "typical_coverage")}
    for raters in RATERS:
        tell(f"intervals of {raters} raters")
        for key, share in coverage(PLAIN, raters, coverage_runs, seed).items():
            found[names[key]][raters] = share
        tell(f"intervals of {raters} messy raters")
        found["messy_coverage"][raters] = coverage(MESSY, raters, coverage_runs, seed)["standings"]
        tell(f"intervals of what is typical of {raters} raters")
        found["typical_coverage"][raters] = typical_coverage(PLAIN, raters, coverage_runs, seed)
    alarms: dict[str, dict[str, Any]] = {
        "in turn": {},
        "one by one": {"order": "one by one"},
        "messy": {"like": MESSY},
        "spread 1": {"like": replace(PLAIN, spread=1.0)},
        "votes as if independent": {"alike": np.zeros(1)},
    }
    found["false_alarms"] = {}
    for name, how in alarms.items():
        tell(f"false alarms of 40 raters, {name}")
        found["false_alarms"][name] = float(np.isfinite(stops(0.0, 40, coverage_runs, seed, **how)).mean())
    found["power"] = []
    for effect in EFFECTS:
        for raters in RATERS:
            tell(f"power at {effect} log-odds with {raters} raters")
            first = stops(effect, raters, runs, seed)
            found["power"] += [
                {"effect": effect, "raters": raters, "trials": n, "enough": float((first <= n * raters).mean())}
                for n in MILESTONES
            ]
    found["seeds"] = {"seed": seed, "runs": runs, "coverage_runs": coverage_runs}
    found["populations"] = {"plain": asdict(PLAIN), "messy": asdict(MESSY), "bots of biased_order_right": 0.1}
    return found


def main(argv: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(argv)
    start = time.monotonic()

    def tell(line: str) -> None:
        sys.stderr.write(f"{time.monotonic() - start:5.0f} s  {line}\n")
        sys.stderr.flush()

    found = run(options.runs, options.coverage_runs, options.seed, tell, real_runs=options.real_runs)
    lines = [json.dumps(found)] if options.json else [f"{name}: {value}" for name, value in found.items()]
    sys.stdout.write("\n".join([*lines, ""]))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m studies.simulate", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON line")
    parser.add_argument("--runs", type=int, default=500, help="of each figure but those of --coverage-runs")
    parser.add_argument("--coverage-runs", type=int, default=2000, help="of intervals and of false alarms")
    parser.add_argument("--real-runs", type=int, default=20, help="studies through the real verbs (a minute each)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn")
    return parser


if __name__ == "__main__":
    main()
