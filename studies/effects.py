"""What else is in the votes: a liking for one side, raters who differ in whom they prefer, and the pull of style.

All of it from pair votes that were not skipped; ties are half and half, and intervals know that votes of one rater hang
together, as those of `studies.ratings` do.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from studies import ratings
from studies.ratings import LEVEL, ONE_MORE, PRIOR_TIES, Ballot, Standing, Table
from studies.strengths import MOST_STEPS, chances, curvature, fit, shortened

SPREADS = 0.02, 4.0  # log-odds between which the spread of tastes is looked for
PART = r"[\U0001F300-\U0001FAFF\u2600-\u27BF\u2B50\u2B55][\uFE0F\U0001F3FB-\U0001F3FF]*"
EMOJI = re.compile(rf"{PART}(?:\u200D{PART})*|[\U0001F1E6-\U0001F1FF]{{2}}")  # joined ones and flags are one each
LIST = re.compile(r"^\s*(?:[-*+\u2022]|\d+[.)])\s", re.MULTILINE)
STYLES = {
    "length": lambda text: float(np.log(max(len(text), 1))),
    "emoji": lambda text: float(len(EMOJI.findall(text))),
    "lists": lambda text: float(len(LIST.findall(text))),
}
LEFT = "left"

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SideBias:
    """The `share` of `n` decided votes that went left, its 95 % interval, and how likely such a lean is by chance."""

    share: float
    low: float
    high: float
    p: float
    n: int


@dataclass(frozen=True, slots=True)
class RaterEffect:
    """What an arm is to one rater: log-odds against the average arm, drawn towards everybody's; 95 % between bounds."""

    rater: str
    arm: str
    strength: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class TypicalEffect:
    """The mean over raters of an arm's log-odds against the average arm; 95 % between bounds."""

    arm: str
    strength: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Heterogeneity:
    """How much raters differ: the standard deviation of an arm's strength between them, log-odds; and each of them.

    `typical` is what they differ around. Standings lie nearer to 0: where half of the people are sure of one arm and
    half of the other, all their votes together are sure of nothing.
    """

    sd: float
    raters: tuple[RaterEffect, ...]
    typical: tuple[TypicalEffect, ...]


@dataclass(frozen=True, slots=True)
class Tastes:
    """A random-effects Bradley-Terry fit of G raters and A arms; half-widths are of 95 % intervals."""

    sd: float
    typical: Floats  # (A,)
    typical_half: Floats  # (A,)
    raters: Floats  # (G, A)
    raters_half: Floats  # (G, A)


@dataclass(frozen=True, slots=True)
class Coefficient:
    """Log-odds that a side gains by one standard deviation more of a style than the other, or by being on the left."""

    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Styled:
    """Standings as they were if all texts were of one style, and what each style was worth."""

    standings: tuple[Standing, ...]
    coefficients: tuple[Coefficient, ...]


def side_bias(ballots: Sequence[Ballot], *, seed: int = 0) -> SideBias:
    """Whether raters like one side for itself. Without a decided vote nothing is known: a half, from 0 to 1.

    The test turns all the votes of a rater around, or not, in every combination, and asks how often the lean is as
    large as it was. It is exact: were there no liking for a side, a rater would have voted for the same texts had all
    their sides been swapped, and a schedule is as likely as its mirror image. One rater alone never proves anything.
    """
    decided = [ballot for ballot in ballots if ballot.choice in ("left", "right")]
    if not decided:
        return SideBias(0.5, 0.0, 1.0, 1.0, 0)
    rater = ratings.numbers([ballot.rater for ballot in decided])
    left = np.array([ballot.choice == "left" for ballot in decided], float)
    lean = np.bincount(rater, 2 * left - 1).astype(int)  # (raters,), votes for the left minus the right
    return SideBias(*ratings.share(left, rater, seed), _flips(lean), len(decided))


def heterogeneity(ballots: Sequence[Ballot]) -> Heterogeneity:
    """Strengths of each rater, drawn towards those of all. Fewer than two raters cannot differ: no rows, a spread of 0.

    Rows of raters and of arms come by name.
    """
    played = [ballot for ballot in ballots if ballot.choice != "skip"]
    names, arms = list(dict.fromkeys(ballot.rater for ballot in played)), sorted(ratings.arms_of(played))
    if len(names) < 2:
        return Heterogeneity(0.0, (), ())
    table = Table.of(played, arms)
    found = tastes(table.wins(table.rater, len(arms)))
    rows = []
    for g, name in sorted(enumerate(names), key=lambda pair: pair[1]):
        for arm, own, half in zip(arms, found.raters[g].tolist(), found.raters_half[g].tolist(), strict=True):
            rows.append(RaterEffect(name, arm, own, own - half, own + half))
    typical = zip(arms, found.typical.tolist(), found.typical_half.tolist(), strict=True)
    return Heterogeneity(
        found.sd, tuple(rows), tuple(TypicalEffect(arm, mean, mean - half, mean + half) for arm, mean, half in typical)
    )


def tastes(wins: Floats) -> Tastes:
    """Empirical Bayes on win tables (G, A, A) of at least two raters: their strengths are normal around typical ones.

    The spread maximises the restricted marginal likelihood (Patterson and Thompson, Biometrika 58, 1971) in Laplace's
    approximation, times a Rayleigh density with its mode at 1: without such a factor it often comes out as 0, and all
    raters as equal beyond doubt (Chung et al., Psychometrika 78, 2013), or two raters as worlds apart. Each rater is at
    their posterior mode; their bounds leave out what is unsure of the spread and of the typical strengths. Those of the
    latter come from how raters lie around them, the sandwich of Liang and Zeger (Biometrika 73, 1986) with Student's t.
    Modes leave typical strengths a little too near to 0: a tenth at a spread of 1.2 and 12 votes a pair and rater, a
    twentieth at 0.5 and six.
    """
    arms = wins.shape[-1]
    eye, ties = np.eye(arms), PRIOR_TIES * (1 - np.eye(arms))
    start = fit(wins.sum(0, keepdims=True), PRIOR_TIES)[0]

    def around(typical: Floats, precision: float) -> tuple[Floats, Floats, Floats, Floats]:
        """Modes (G, A) and their precision (G, A, A); the pull of each on `typical` (G, A) and its precision (A, A)."""
        own = fit(wins, centre=typical, precision=precision)
        bend = curvature(wins + wins.swapaxes(1, 2), chances(own)) + precision * eye
        # of what a rater says, the share that is not already said by the prior; the 1s stand for the common shift
        known = (precision * eye - precision**2 * np.linalg.inv(bend)).sum(0)
        return own, bend, precision * (own - typical), known + curvature(ties, chances(typical)) + 1

    def solve(log_sd: float) -> tuple[Floats, float]:
        """Typical strengths (A,) and the logarithm of the restricted marginal likelihood."""
        precision, typical = float(np.exp(-2 * log_sd)), start
        for _ in range(MOST_STEPS):
            _, _, pull, known = around(typical, precision)
            pulled = pull.sum(0) + (ties * (0.5 - chances(typical))).sum(1)
            step = np.linalg.solve(known, pulled)
            typical = typical + step * shortened(np.ptp(step))
            if np.ptp(step) < 1e-7:
                break
        own, bend, pull, known = around(typical, precision)
        likelihood = (wins * np.log(chances(own))).sum() + (ties / 2 * np.log(chances(typical))).sum()
        likelihood -= (pull**2).sum() / (2 * precision)
        # strengths have a mean of 0, so one direction of A has no part in it: its precision is taken out again
        volume = np.linalg.slogdet(bend)[1].sum() + len(wins) * 2 * arms * log_sd + np.linalg.slogdet(known)[1]
        return typical, float(likelihood - volume / 2)

    best = minimize_scalar(
        lambda x: -(solve(x)[1] + x - np.exp(2 * x) / 2),
        bounds=np.log(SPREADS),
        method="bounded",
        options={"xatol": 1e-3},
    )
    log_sd = float(best.x)
    sd = float(np.exp(log_sd))
    typical, _ = solve(log_sd)
    own, bend, pull, known = around(typical, sd**-2)
    variance = np.linalg.inv(bend).diagonal(axis1=1, axis2=2) - sd**2 / arms  # less that direction, (G, A)
    moved = np.linalg.solve(known, pull.T)  # by each rater, (A, G)
    return Tastes(
        sd,
        typical,
        np.sqrt((moved**2).sum(1)) * ratings.reach(len(wins)),
        own,
        float(norm.ppf((1 + LEVEL) / 2)) * np.sqrt(variance),
    )


def styled(ballots: Sequence[Ballot], *, seed: int = 0) -> Styled:
    """Bradley-Terry as a logistic regression, with the differences in style of the two texts and the side added.

    After the style control of Chatbot Arena (Li, Angelopoulos and Chiang, 2024): what a longer text gains by its length
    is not the arm's. A style in which no pair differs, or all in the same way, is left out. Imagined ties, as many as
    those of two arms, stand for each style and the side as well.
    """
    played = [ballot for ballot in ballots if ballot.choice != "skip"]
    if not played:
        return Styled((), ())
    plain = {row.arm: row for row in ratings.standings(played, seed=seed)}
    arms = ratings.arms_of(played)
    table = Table.of(played, arms)
    style = np.array([[of(b.left_text) - of(b.right_text) for of in STYLES.values()] for b in played])  # (N, K)
    kept = style.std(0) > 0
    names = [name for name, keep in zip(STYLES, kept, strict=True) if keep] + [LEFT]
    votes = np.eye(len(arms))[table.left] - np.eye(len(arms))[table.right]
    votes = np.hstack([votes, style[:, kept] / style[:, kept].std(0), np.ones((len(played), 1))])  # (N, P)
    pairs = np.array([np.eye(len(arms))[a] - np.eye(len(arms))[b] for a, b in combinations(range(len(arms)), 2)])
    pairs = pairs.reshape(-1, len(arms))
    ties = np.zeros((len(pairs) + len(names), votes.shape[1]))
    ties[: len(pairs), : len(arms)] = pairs
    ties[len(pairs) :, len(arms) :] = np.eye(len(names))
    rows = np.vstack([votes, ties])  # (N + T, P)

    def fitted(left: Floats, right: Floats) -> Floats:
        """Coefficients (R, P) where the left sides won `left` (R, N) times, the right ones `right` times."""
        more = np.full((len(left), len(ties)), PRIOR_TIES / 2)
        return _logistic(rows, np.hstack([left, more]), np.hstack([right, more]), len(arms))

    centre = fitted(table.score[None], 1 - table.score[None])[0]
    unit = ratings.units(table.rater)
    often = ratings.draws(unit, seed)
    both = []
    for row, score in ratings.one_more(table, len(arms), seed):
        left, right = often[:, unit] * table.score, often[:, unit] * (1 - table.score)  # (R, N)
        at = np.arange(len(often))[:, None]
        np.add.at(left, (at, row), ONE_MORE * score)
        np.add.at(right, (at, row), ONE_MORE * (1 - score))
        both.append(fitted(left, right))
    half = np.concatenate(both).std(0) * ratings.reach(often.shape[1])
    low, high = centre - half, centre + half
    found = [
        Standing(arm, float(centre[a]), float(low[a]), float(high[a]), was.wins, was.losses, was.ties)
        for a, (arm, was) in enumerate((arm, plain[arm]) for arm in arms)
    ]
    return Styled(
        tuple(sorted(found, key=lambda row: (-row.strength, row.arm))),
        tuple(
            Coefficient(name, float(centre[k]), float(low[k]), float(high[k]))
            for k, name in enumerate(names, start=len(arms))
        ),
    )


def _logistic(rows: Floats, left: Floats, right: Floats, arms: int) -> Floats:
    """Coefficients (R, P) of `rows` (N, P), the first `arms` of them with mean 0, by Newton as in `strengths.fit`."""
    width = rows.shape[1]
    squares = (rows[:, :, None] * rows[:, None, :]).reshape(len(rows), -1)  # (N, P P)
    shift = np.zeros((width, width))
    shift[:arms, :arms] = 1
    games = left + right
    found = np.zeros((len(left), width))
    while True:
        chance = 1 / (1 + np.exp(-np.clip(found @ rows.T, -500, 500)))  # (R, N)
        slope = (left - games * chance) @ rows
        bend = (games * chance * (1 - chance) @ squares).reshape(-1, width, width) + shift
        step = np.linalg.solve(bend, slope[..., None])[..., 0]
        change = np.abs(step @ rows.T).max(1, keepdims=True)
        found += step * shortened(change)
        if change.max() < 1e-8:
            return found


def _flips(lean: NDArray[np.int_]) -> float:
    """Share of all the ways to give each of `lean` (G,) a sign that sum to as much as they do, or as little."""
    most = int(np.abs(lean).sum())
    ways = np.zeros(2 * most + 1)  # of each sum, from -most to most
    ways[most] = 1.0
    for size in np.abs(lean):
        ways = (np.roll(ways, size) + np.roll(ways, -size)) / 2
    return float(min(1.0, ways[np.abs(np.arange(-most, most + 1)) >= abs(lean.sum())].sum()))
