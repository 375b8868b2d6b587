"""Leader clustering: one pass, a running mean, a threshold that the encoder calibrates."""

import numpy as np
import pytest

from engine.topics import leaders, threshold


def unit(*rows: list[float]) -> np.ndarray:
    vectors = np.array(rows, np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def slow(vectors: np.ndarray, least: float) -> list[list[int]]:
    """The rule as it is told: nearest topic by cosine to the mean; at least `least`, join; else lead."""
    groups: list[list[int]] = []
    for row, vector in enumerate(vectors):
        means = [vectors[group].mean(0) for group in groups]
        cosines = [float(mean @ vector / np.linalg.norm(mean)) for mean in means]
        if cosines and max(cosines) >= least:
            groups[int(np.argmax(cosines))].append(row)
        else:
            groups.append([row])
    return groups


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_rule_as_told(seed):
    dice = np.random.default_rng(seed)
    vectors = unit(*dice.normal(size=(60, 6)))
    for least in (-1.0, 0.2, 0.6, 1.1):
        assert sorted(list(topic.rows) for topic in leaders(vectors, least)) == sorted(slow(vectors, least))


def test_largest_first_of_equals_the_latest_and_centres_are_unit():
    found = leaders(unit([1, 0], [0, 1], [0.1, 1], [-1, 0]), 0.9)
    assert [topic.rows for topic in found] == [(1, 2), (3,), (0,)]
    assert np.allclose([np.linalg.norm(topic.centre) for topic in found], 1)
    assert leaders(np.zeros((0, 4), np.float32), 0.5) == []


def test_the_threshold_is_a_quantile_of_random_pairs_whatever_the_encoders_level():
    dice = np.random.default_rng(0)
    low = unit(*dice.normal(size=(400, 32)))
    high = unit(*(low + 3 * np.eye(32)[0]))  # an encoder that finds all texts alike
    for vectors in (low, high):
        similarities = (vectors @ vectors.T)[np.triu_indices(400, 1)]
        assert (similarities < threshold(vectors, 0.9)).mean() == pytest.approx(0.9, abs=0.01)
    assert threshold(high) > threshold(low) + 0.3
