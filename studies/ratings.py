"""What the votes say: strengths and rates of the arms, with intervals that know votes of one person hang together.

Strength is the Bradley-Terry log-odds (Biometrika 39, 1952) against the average arm; "both" and "neither" are
ties and count half a win for each side. Intervals are percentile bootstraps that first draw raters, then their
votes: on votes of several raters a plain interval is far too narrow (Wilson's covered 51 % in our simulation).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from evalica import Winner, bradley_terry
from numpy.typing import NDArray
from scipy.stats import norm

Choice = Literal["left", "right", "both", "neither", "skip"]
RESAMPLES = 400
PRIOR_TIES = 0.2  # imagined ties of every pair of arms: an arm that never lost keeps a finite strength
ONE_MORE = 0.5  # weight of the vote that might have come as well, in every resample
LEVEL = 0.95
WINNERS = {"left": Winner.X, "right": Winner.Y, "both": Winner.Draw, "neither": Winner.Draw}


@dataclass(frozen=True, slots=True)
class Ballot:
    """One counted pair vote, as the ratings see it. The marks are sides, "left" or "right".

    `trial` names it; `repeats` names the trial whose texts it showed again with the sides swapped, "" for none.
    """

    rater: str
    left: str
    right: str
    choice: Choice
    sounds_ai: frozenset[str] = frozenset()
    trial: str = ""
    left_text: str = ""
    right_text: str = ""
    repeats: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """One counted verdict on a single text: of the feed (like, dislike), or of judging (funny, not_funny, 1 to 5)."""

    rater: str
    arm: str
    choice: str
    sounds_ai: bool = False
    trial: str = ""
    text: str = ""
    repeats: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """Strength in log-odds against the average arm, 0 for equal; `low` and `high` bound a 95 % interval."""

    arm: str
    strength: float
    low: float
    high: float
    wins: int
    losses: int
    ties: int


@dataclass(frozen=True, slots=True)
class Rate:
    """How often something was said of an arm's texts, of `n` that were shown and not skipped."""

    arm: str
    kind: Literal["like", "dislike", "sounds_ai"]
    value: float
    low: float
    high: float
    n: int


def standings(ballots: Sequence[Ballot], *, seed: int = 0) -> list[Standing]:
    """Arms from strongest to weakest. Arms without a single decided or tied vote are not listed."""
    played = [ballot for ballot in ballots if ballot.choice != "skip"]
    arms = list(dict.fromkeys(arm for ballot in played for arm in (ballot.left, ballot.right)))
    if not arms:
        return []
    centre = _strengths(played, arms, np.ones(len(played)))  # (A,)
    rng = np.random.default_rng(seed)
    draws = [
        _strengths([*played, *more], arms, weight)
        for weight in _resamples(played, seed)
        for more in _one_more(played, rng)
    ]
    low, high = np.quantile(np.stack(draws), _tails(), axis=0)  # of (2 R, A)
    rows = []
    for a, arm in enumerate(arms):
        said: Counter[str] = Counter()
        for ballot in played:
            if arm in (ballot.left, ballot.right):
                said[_outcome(ballot, arm)] += 1
        bounds = float(centre[a]), float(low[a]), float(high[a])
        rows.append(Standing(arm, *bounds, said["win"], said["loss"], said["tie"]))
    return sorted(rows, key=lambda row: (-row.strength, row.arm))


def rates(ballots: Sequence[Ballot], *, seed: int = 0) -> list[Rate]:
    """Like rate (chosen, or "both"), dislike rate ("neither") and "sounds AI" rate of every arm, by arm."""
    played = [ballot for ballot in ballots if ballot.choice != "skip"]
    weights = np.stack([np.ones(len(played)), *_resamples(played, seed)]) if played else np.zeros((1, 0))  # (1 + R, N)
    arms = sorted({arm for ballot in played for arm in (ballot.left, ballot.right)})
    rows = []
    for arm in arms:
        at = np.array([arm in (ballot.left, ballot.right) for ballot in played])
        mine = [ballot for ballot in played if arm in (ballot.left, ballot.right)]
        raters = len({ballot.rater for ballot in mine})
        for kind in ("like", "dislike", "sounds_ai"):
            hits = np.array([_said(ballot, arm, kind) for ballot in mine], float)  # (n,)
            value, low, high = _rate(hits, weights[:, at], raters)
            rows.append(Rate(arm, kind, value, low, high, len(mine)))
    return rows


def wilson(hits: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % score interval (JASA 22, 1927) for independent draws: right for one rater only."""
    z = float(norm.ppf((1 + LEVEL) / 2))
    share = hits / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * float(np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)))
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def _rate(hits: NDArray[np.float64], weights: NDArray[np.float64], raters: int) -> tuple[float, float, float]:
    """Value and interval of one rate from `hits` (n,) and resampling `weights` (1 + R, n), plain ones first."""
    value = float(hits.mean())
    if raters == 1:
        return value, *wilson(hits.sum(), len(hits))
    totals = weights[1:].sum(1)
    drawn = (weights[1:] @ hits)[totals > 0] / totals[totals > 0]  # a resample may miss the arm altogether
    low, high = np.quantile(drawn, _tails())
    if low == high:  # all said the same: resampling sees no doubt, but so few people leave some
        return value, *wilson(value * raters, raters)
    return value, float(low), float(high)


def _one_more(played: Sequence[Ballot], rng: np.random.Generator) -> tuple[list[Ballot], list[Ballot]]:
    """For every arm one of its ballots again, as if the left side had won or the right, and the mirror image of these.

    A dozen votes that all say the same leave resampling without a doubt, and ought not to. Names and sides play no
    part in what is drawn: both directions are used, and arms come in the order of their ballots.
    """
    places: dict[str, list[int]] = {}
    for i, ballot in enumerate(played):
        for arm in (ballot.left, ballot.right):
            places.setdefault(arm, []).append(i)
    again = [played[rows[rng.integers(len(rows))]] for rows in sorted(places.values())]
    to_left = rng.random(len(again)) < 0.5
    one = [replace(ballot, choice="left" if left else "right") for ballot, left in zip(again, to_left, strict=True)]
    return one, [replace(ballot, choice="right" if ballot.choice == "left" else "left") for ballot in one]


def _strengths(ballots: Sequence[Ballot], arms: Sequence[str], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log Bradley-Terry strengths (A,) with mean 0; the first ballots count `weights` times, any others ONE_MORE."""
    weights = np.append(weights, np.full(len(ballots) - len(weights), ONE_MORE))
    prior = [(a, b) for i, a in enumerate(arms) for b in arms[i + 1 :]]
    result = bradley_terry(
        [ballot.left for ballot in ballots] + [a for a, _ in prior],
        [ballot.right for ballot in ballots] + [b for _, b in prior],
        [WINNERS[ballot.choice] for ballot in ballots] + [Winner.Draw] * len(prior),
        weights=[*weights, *[PRIOR_TIES] * len(prior)],
        limit=1000,
    )
    logs = np.log(result.scores.reindex(list(arms)).to_numpy(float))
    return np.asarray(logs - logs.mean())


def _resamples(ballots: Sequence[Ballot], seed: int) -> Iterable[NDArray[np.float64]]:
    """How often each ballot counts (N,) in each of RESAMPLES draws: raters first, then their votes."""
    rng = np.random.default_rng(seed)
    places: dict[str, list[int]] = {}
    for i, ballot in enumerate(ballots):
        places.setdefault(ballot.rater, []).append(i)
    groups = [np.array(rows) for rows in places.values()]
    for _ in range(RESAMPLES):
        weights = np.zeros(len(ballots))
        for g in rng.integers(len(groups), size=len(groups)):
            np.add.at(weights, rng.choice(groups[g], size=len(groups[g])), 1.0)
        yield weights


def _tails() -> list[float]:
    return [(1 - LEVEL) / 2, (1 + LEVEL) / 2]


def _outcome(ballot: Ballot, arm: str) -> str:
    if ballot.choice in ("both", "neither"):
        return "tie"
    return "win" if arm == (ballot.left if ballot.choice == "left" else ballot.right) else "loss"


def _said(ballot: Ballot, arm: str, kind: str) -> bool:
    if kind == "like":
        return ballot.choice == "both" or _outcome(ballot, arm) == "win"
    if kind == "dislike":
        return ballot.choice == "neither"
    return ("left" if arm == ballot.left else "right") in ballot.sounds_ai
