"""What the votes say: strengths and rates of the arms, with intervals that know votes of one person hang together.

Strength is the Bradley-Terry log-odds (Biometrika 39, 1952) against the average arm; "both" and "neither" are ties and
count half a win for each side. It is that of the votes of everybody together: where raters differ, a little nearer to 0
than their own strengths are on average (for which see `effects.heterogeneity`). Intervals resample raters with all
that they said (Davison and Hinkley, Bootstrap Methods, 1997, section 3.8): a plain interval is far too narrow, and
drawing a rater's votes again as well counts their noise twice (such intervals held 97 to 98 %). The spread of the draws
meets Student's t for so many raters, as percentiles are too narrow for few: of 3 raters theirs held 73 %, of 10 90 %
(Hesterberg, The American Statistician 69, 2015). `studies.simulate` measures ours.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from evalica import Winner, bradley_terry
from numpy.typing import NDArray
from scipy.stats import norm
from scipy.stats import t as student

from studies.strengths import fit

Choice = Literal["left", "right", "both", "neither", "skip"]
RateKind = Literal["like", "dislike", "sounds_ai"]
RESAMPLES = 400
PRIOR_TIES = 0.2  # imagined ties of every pair of arms: an arm that never lost keeps a finite strength
ONE_MORE = 0.5  # weight of the vote that might have come as well, in every resample
LEVEL = 0.95
MIN_VOTES = 10  # under which no interval is shown: resamples of a few verdicts repeat them, and look far too sure
LIKES = {"like", "funny", "4", "5"}
DISLIKES = {"dislike", "not_funny", "1", "2"}
FIVE = ("1", "2", "3", "4", "5")
SCORES = {"left": 1.0, "right": 0.0, "both": 0.5, "neither": 0.5}
WINNERS = {"left": Winner.X, "right": Winner.Y, "both": Winner.Draw, "neither": Winner.Draw}


@dataclass(frozen=True, slots=True)
class Ballot:
    """One counted pair vote, as the ratings see it. The marks are sides, "left" or "right".

    `trial` names it; `repeats` names the trial whose texts it showed again with the sides swapped, "" for none. `kind`
    and `topic` are what was asked for, "" where that is not told.
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
    kind: str = ""
    topic: str = ""


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

    @property
    def of_feed(self) -> bool:
        """Whether it is of a card of the feed, and not a mark. Only of cards is it asked whether they sound like AI."""
        return self.choice in ("like", "dislike")


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
    kind: RateKind
    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Table:
    """N votes as arrays, arms and raters by number; `score` is what the left side won, 1, 0 or half for a tie."""

    left: NDArray[np.intp]  # (N,)
    right: NDArray[np.intp]  # (N,)
    score: NDArray[np.float64]  # (N,)
    rater: NDArray[np.intp]  # (N,)

    @classmethod
    def of(cls, played: Sequence[Ballot], arms: Sequence[str]) -> "Table":
        """Of ballots without skips; arms are numbered as they come in `arms`."""
        places = {arm: a for a, arm in enumerate(arms)}
        sides = np.array([(places[ballot.left], places[ballot.right]) for ballot in played])
        score = np.array([SCORES[ballot.choice] for ballot in played])
        return cls(sides[:, 0], sides[:, 1], score, numbers([ballot.rater for ballot in played]))

    def wins(self, unit: NDArray[np.intp], arms: int) -> NDArray[np.float64]:
        """How often each arm beat each other one among the votes of each `unit` (N,): (U, A, A)."""
        table = np.zeros((unit.max() + 1, arms, arms))
        np.add.at(table, (unit, self.left, self.right), self.score)
        np.add.at(table, (unit, self.right, self.left), 1 - self.score)
        return table


def standings(ballots: Sequence[Ballot], *, seed: int = 0) -> list[Standing]:
    """Arms from strongest to weakest. Arms without a single decided or tied vote are not listed."""
    played = [ballot for ballot in ballots if ballot.choice != "skip"]
    arms = arms_of(played)
    if not arms:
        return []
    centre = _strengths(played, arms, np.ones(len(played)))  # (A,)
    half = half_widths(Table.of(played, arms), len(arms), seed)  # (A,)
    rows = []
    for a, arm in enumerate(arms):
        said: Counter[str] = Counter()
        for ballot in played:
            if arm in (ballot.left, ballot.right):
                said[_outcome(ballot, arm)] += 1
        bounds = float(centre[a]), float(centre[a] - half[a]), float(centre[a] + half[a])
        rows.append(Standing(arm, *bounds, said["win"], said["loss"], said["tie"]))
    return sorted(rows, key=lambda row: (-row.strength, row.arm))


def rates(ballots: Sequence[Ballot], *, seed: int = 0) -> list[Rate]:
    """Like rate (chosen, or "both"), dislike rate ("neither") and "sounds AI" rate of every arm, by arm."""
    played = [ballot for ballot in ballots if ballot.choice != "skip"]
    rows = []
    for arm in sorted(arms_of(played)):
        mine = [ballot for ballot in played if arm in (ballot.left, ballot.right)]
        rater = numbers([ballot.rater for ballot in mine])
        for kind in ("like", "dislike", "sounds_ai"):
            bounds = share(np.array([_said(ballot, arm, kind) for ballot in mine], float), rater, seed)
            rows.append(Rate(arm, kind, *bounds, len(mine)))
    return rows


def mark_rates(marks: Sequence[Mark], *, seed: int = 0) -> list[Rate]:
    """Like, dislike and "sounds AI" rate of every arm's texts that were judged alone, by arm; a 3 is neither.

    Of marks nobody was asked whether a text sounds like AI: that rate is of cards, and left out without any.
    """
    judged = [mark for mark in marks if mark.choice != "skip"]
    rows = []
    for arm in sorted({mark.arm for mark in judged}):
        mine = [mark for mark in judged if mark.arm == arm]
        said: dict[RateKind, list[tuple[str, bool]]] = {
            "like": [(mark.rater, mark.choice in LIKES) for mark in mine],
            "dislike": [(mark.rater, mark.choice in DISLIKES) for mark in mine],
            "sounds_ai": [(mark.rater, mark.sounds_ai) for mark in mine if mark.of_feed],
        }
        for kind, of in said.items():
            if of:
                hits = np.array([hit for _, hit in of], float)
                rows.append(Rate(arm, kind, *share(hits, numbers([rater for rater, _ in of]), seed), len(of)))
    return rows


def half_widths(table: Table, arms: int, seed: int) -> NDArray[np.float64]:
    """Half of the 95 % interval of each arm's strength (A,)."""
    unit = units(table.rater)
    often = draws(unit, seed)  # (R, U)
    drawn = np.tensordot(often, table.wins(unit, arms), 1)  # (R, A, A)
    both = []
    for row, score in one_more(table, arms, seed):
        more = drawn.copy()
        at = np.arange(RESAMPLES)[:, None]
        np.add.at(more, (at, table.left[row], table.right[row]), ONE_MORE * score)
        np.add.at(more, (at, table.right[row], table.left[row]), ONE_MORE * (1 - score))
        both.append(fit(more, PRIOR_TIES))
    return np.asarray(np.concatenate(both).std(0) * reach(often.shape[1]))


def share(hits: NDArray[np.float64], rater: NDArray[np.intp], seed: int) -> tuple[float, float, float]:
    """A share of n votes and its 95 % interval, from what each vote said, `hits` (n,), and by whom, `rater` (n,)."""
    value, raters = float(hits.mean()), int(rater.max()) + 1
    if raters == 1:
        return value, *wilson(hits.sum(), len(hits))
    often = draws(rater, seed)
    drawn = (often @ np.bincount(rater, hits)) / (often @ np.bincount(rater))  # (R,)
    half = float(drawn.std()) * reach(raters)
    if half < 1e-12:  # all said the same: resampling sees no doubt, but so few people leave some
        return value, *wilson(value * raters, raters)
    return value, max(0.0, value - half), min(1.0, value + half)


def wilson(hits: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % score interval (JASA 22, 1927) for independent draws: right for one rater only."""
    z = float(norm.ppf((1 + LEVEL) / 2))
    share = hits / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * float(np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)))
    # the ends of a share of 0 or 1 are these themselves, whatever rounding makes of them
    return max(0.0, min(float(middle - half), share)), min(1.0, max(float(middle + half), share))


def arms_of(ballots: Sequence[Ballot]) -> list[str]:
    return list(dict.fromkeys(arm for ballot in ballots for arm in (ballot.left, ballot.right)))


def numbers(names: Sequence[str]) -> NDArray[np.intp]:
    """The same number for the same name (N,), from 0 in the order of their first appearance."""
    known = {name: n for n, name in enumerate(dict.fromkeys(names))}
    return np.array([known[name] for name in names], np.intp)


def units(rater: NDArray[np.intp]) -> NDArray[np.intp]:
    """What is drawn (N,): raters; of one rater, who alone says nothing of other people, the single votes."""
    return rater if rater.max() else np.arange(len(rater))


def draws(unit: NDArray[np.intp], seed: int) -> NDArray[np.float64]:
    """How often each of U units counts (R, U) in each of RESAMPLES draws of U units."""
    count = int(unit.max()) + 1
    return np.random.default_rng([seed, 1]).multinomial(count, np.full(count, 1 / count), RESAMPLES).astype(float)


def reach(count: int) -> float:
    """How many standard deviations of its draws from so many units an interval reaches to either side.

    Student's t, and the root of n / (n - 1) that a bootstrap's spread lacks. A single vote is taken for two.
    """
    count = max(count, 2)
    return float(student.ppf((1 + LEVEL) / 2, count - 1)) * float(np.sqrt(count / (count - 1)))


def one_more(table: Table, arms: int, seed: int) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float64]]]:
    """For every arm one of its votes again (R, A), as if the left side had won or the right, and the mirror image.

    A dozen votes that all say the same leave resampling without a doubt, and ought not to. Names and sides play no
    part in what is drawn: both directions are used, and arms come in the order of their votes.
    """
    rng = np.random.default_rng([seed, 2])  # not the stream of `draws`
    places = [np.flatnonzero((table.left == a) | (table.right == a)) for a in range(arms)]
    rows = [rows[rng.integers(len(rows), size=RESAMPLES)] for rows in sorted(places, key=lambda rows: rows.tolist())]
    row = np.stack(rows, 1)  # (R, A)
    score = (rng.random(row.shape) < 0.5).astype(float)  # (R, A)
    yield row, score
    yield row, 1 - score


def _strengths(ballots: Sequence[Ballot], arms: Sequence[str], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log Bradley-Terry strengths (A,) with mean 0; each ballot counts `weights` (N,) times."""
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
