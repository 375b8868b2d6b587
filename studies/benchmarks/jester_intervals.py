"""Intervals of pair accuracy: over people, and over people and jokes, as other jokes too could say something else."""

import numpy as np
from numpy.typing import NDArray

from studies.benchmarks.scores import Floats, Z, ratio, within_users

Numbers = NDArray[np.intp]


def half_over_people(truth: Floats, predicted: Floats, group: Numbers, people: int) -> float:
    """Half of the 95 % interval over people of N ratings in groups, fold x `people` + person: pairs are within a group,
    and a person is one however many folds there are."""
    hits, pairs = within_users(truth, predicted, group)
    person = np.unique(group) % people
    theirs = (np.bincount(person, of_group).astype(np.float64) for of_group in (hits, pairs))
    return ratio(*theirs)[1]


def half_over_both(truth: Floats, predicted: Floats, group: Numbers, joke: Numbers, people: int) -> float:
    """The same over people and jokes.

    Two pairs hang together where they share the person or a joke. So the variance is that of clusters of people, plus
    that of jokes, less what is counted in both (Cameron, Gelbach and Miller, J. Business & Economic Statistics 29,
    2011); a pair has two jokes, so those are dyads (Aronow, Samii and Assenova, Political Analysis 23, 2015). Never
    less than over people alone.
    """
    order = np.argsort(group, kind="stable")
    rows = np.split(order, np.flatnonzero(np.diff(group[order])) + 1)
    signs = [(_signs(truth[mine]), _signs(predicted[mine])) for mine in rows]
    hits = [np.where(t != 0, (t * p + 1) / 2, np.nan) for t, p in signs]  # (n, n), each pair twice
    pairs = sum(int((t != 0).sum()) for t, _ in signs) / 2
    if not pairs:
        return float("nan")
    share = sum(float(np.nansum(hit)) for hit in hits) / 2 / pairs
    by_pair, in_both = np.zeros((joke.max() + 1,) * 2), 0.0
    for mine, hit in zip(rows, hits, strict=True):
        off = np.nan_to_num((hit - share) / pairs)
        by_pair[np.ix_(joke[mine], joke[mine])] += off
        in_both += _sharing(off)
    alone, more = half_over_people(truth, predicted, group, people), _sharing(by_pair) - in_both
    return float(np.sqrt(alone**2 + Z**2 * max(0.0, more)))


def _signs(values: Floats) -> Floats:
    return np.sign(values[:, None] - values[None, :])


def _sharing(off: Floats) -> float:
    """The sum of products of all two pairs that share a joke, from a symmetric matrix (J, J) of pairs: the squares of
    each joke's sum hold those that share both jokes twice."""
    return float((off.sum(1) ** 2).sum() - (off**2).sum() / 2)
