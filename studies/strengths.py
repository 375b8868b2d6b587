"""Bradley-Terry strengths of many win tables at once: what a bootstrap, a rater at a time or a simulation asks for.

Newton's method on the log-likelihood, which is concave. Its step is shortened to log(1 + b) / b of itself, b the
largest difference between two entries of the step: the logistic loss is self-concordant in that measure (Bach, EJS 4,
2010), and so shortened it converges from any start (Sun and Tran-Dinh, Math. Programming 178, 2019, for nu = 2).
"""

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 1e-9  # of the last step, in log-odds
MOST_STEPS = 200

Floats = NDArray[np.float64]


def fit(wins: Floats, ties: float = 0.0, *, centre: Floats | float = 0.0, precision: float = 0.0) -> Floats:
    """Log-odds (R, A) that make `wins` (R, A, A) likeliest; [r, i, j] is how often i beat j, a tie half to each.

    `ties` are imagined ones between every two arms (see `ratings.PRIOR_TIES`): with none, an arm that never lost has no
    finite strength. A normal prior of this `precision` draws each row to `centre` (A,). The mean of a row is that of
    `centre`.
    """
    arms = wins.shape[-1]
    wins = wins * (1 - np.eye(arms)) + ties / 2 * (1 - np.eye(arms))  # (R, A, A)
    games = wins + wins.swapaxes(-1, -2)
    won = wins.sum(-1)  # (R, A)
    logs = np.zeros(won.shape) + centre
    for _ in range(MOST_STEPS):
        chance = chances(logs)
        slope = won - (games * chance).sum(-1) - precision * (logs - centre)
        # no vote says anything about a common shift: the 1s pin it down and cost nothing
        bend = curvature(games, chance) + precision * np.eye(arms) + 1
        step = np.linalg.solve(bend, slope[..., None])[..., 0]  # (R, A)
        width = np.ptp(step, axis=-1, keepdims=True)
        logs += step * shortened(width)
        if width.max(initial=0) < TOLERANCE:
            return logs
    raise ArithmeticError(f"no convergence in {MOST_STEPS} steps")


def chances(logs: Floats) -> Floats:
    """Chance (R, A, A) that i beats j at log-odds (R, A)."""
    return np.asarray(1 / (1 + np.exp(np.clip(logs[..., None, :] - logs[..., :, None], -500, 500))))


def curvature(games: Floats, chance: Floats) -> Floats:
    """Minus the second derivative (R, A, A) of the log-likelihood: Fisher's information on the strengths."""
    weight = games * chance * (1 - chance)
    return np.asarray(weight.sum(-1)[..., None] * np.eye(games.shape[-1]) - weight)


def shortened(width: Floats) -> Floats:
    """What part of a Newton step is safe to take when it changes the log-odds of a game by up to `width`."""
    return np.asarray(np.log1p(width) / np.maximum(width, 1e-300))
