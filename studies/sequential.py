"""When enough votes are in: evidence between two arms that may be looked at after every vote.

A fixed test that is repeated as votes come in raises a false alarm in a quarter of studies. An e-process does not:
under equal arms its chance of ever reaching 20 is at most 1 in 20 (Ville's inequality). Ours is Robbins' mixture
(Annals of Mathematical Statistics 41, 1970; Howard, Ramdas, McAuliffe and Sekhon, Annals of Statistics 49, 2021): the
average likelihood of the votes over a Beta(10, 10) of P(a beats b), divided by that under a chance of one half.

Votes of one rater hang together, so a likelihood in which they are independent takes one person's taste for
everybody's. Here each rater has a chance of their own, from a Beta distribution around P(a beats b); its spread is
averaged over in the numerator and whatever suits the votes best in the denominator, which keeps the promise whatever it
is (universal inference: Wasserman, Ramdas and Balakrishnan, PNAS 117, 2020). One rater alone therefore never suffices.
In `studies.simulate`, where tastes are normal in log-odds, 1 % of studies raise a false alarm, and a third of them if
votes are taken as independent.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from studies.ratings import LEVEL, Ballot, numbers

PRIOR = 10  # both parameters of the mixture over P(a beats b): it looks for 0.5 +- 0.22
STEP = 0.01
SHARES = np.arange(1, 100) * STEP  # of P(a beats b), (M,)
# Correlation of two votes of one rater, (K,); 0 is independent votes, 0.09 a taste that varies by 0.5 log-odds an arm.
ALIKE = np.array([0, 0.02, 0.05, 0.09, 0.15, 0.3, 0.6, 0.95])
HALF = len(SHARES) // 2
ENOUGH = 1 / (1 - LEVEL)

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Between arms `a` and `b`, from `wins` + `losses` decided votes; `e_values` after each of them.

    `low` and `high` bound P(a beats b) of a random rater, 95 % sure at all looks together. The verdict is "enough"
    where a half is ruled out, "no difference larger than ..." where all shares farther from it are, or "not yet".
    """

    e_values: tuple[float, ...]
    wins: int
    losses: int
    low: float
    high: float
    verdict: str


def evidence(ballots: Sequence[Ballot], a: str, b: str, margin: float = 0.1, alike: Floats = ALIKE) -> Evidence:
    """What the decided votes between two arms say so far, in their order; ties and skips are left out. Of one person
    alone, about whom nothing else is claimed, `alike` is (0,): their votes are independent."""
    decided = [ballot for ballot in ballots if {ballot.left, ballot.right} == {a, b}]
    decided = [ballot for ballot in decided if ballot.choice in ("left", "right")]
    won = np.array([a == (ballot.left if ballot.choice == "left" else ballot.right) for ballot in decided], float)
    e_values, open_to = [], np.full(len(SHARES), True)
    for looked in looks(won[None], numbers([ballot.rater for ballot in decided]), alike):
        e_values.append(float(looked[0, HALF]))
        open_to = looked[0] < ENOUGH
    # outwards to the nearest shares that are ruled out: what lies between was not looked at
    low, high = round(float(SHARES[open_to].min()) - STEP, 9), round(float(SHARES[open_to].max()) + STEP, 9)
    if e_values and e_values[-1] >= ENOUGH:
        verdict = "enough"
    elif 0.5 - margin <= low and high <= 0.5 + margin:
        verdict = f"no difference larger than {margin:g}"
    else:
        verdict = "not yet"
    return Evidence(tuple(e_values), int(won.sum()), len(won) - int(won.sum()), low, high, verdict)


def looks(score: Floats, rater: NDArray[np.intp], alike: Floats = ALIKE) -> Iterator[Floats]:
    """After each of T votes, the e-value (S, M) against every one of SHARES, of S sequences at once.

    `score` (S, T) is 1 for a win, 0 for a loss; anything else says nothing. `rater` (T,) says whose vote it was, by
    number. Polya's urn gives the chance of a rater's next win from their wins so far: (m (1 - r) + wins r) / (1 - r +
    votes r), for a share of m and a correlation of r.
    """
    share = SHARES[:, None]  # (M, 1)
    prior = beta.pdf(share, PRIOR, PRIOR) * np.ones(len(alike))
    prior = prior / prior.sum()  # (M, K)
    wins, votes = np.zeros((2, len(score), rater.max(initial=0) + 1))  # (S, raters)
    logs = np.zeros((len(score), len(SHARES), len(alike)))  # of the likelihood so far
    for t, r in enumerate(rater):
        won, lost = score[:, t] == 1, score[:, t] == 0
        losses = votes[:, r] - wins[:, r]
        for now, said, m in ((won, wins[:, r], share), (lost, losses, 1 - share)):
            rows = np.flatnonzero(now)
            had, all_had = said[rows, None, None], votes[rows, r, None, None]
            logs[rows] += np.log((m * (1 - alike) + had * alike) / (1 - alike + all_had * alike))
        wins[:, r] += won
        votes[:, r] += won | lost
        best = logs.max(2)  # (S, M)
        top = best.max(1, keepdims=True)
        mixed = np.einsum("smk,mk->s", np.exp(logs - top[..., None]), prior)[:, None]
        yield mixed * np.exp(np.minimum(top - best, 700))
