"""The softmax in two levels: against its definition in words, in float64, by loops."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine.recommend.clusters import Catalogue, CatalogueError, catalogue
from engine.recommend.hierarchy import Softness, Table, flat_losses, log_p, losses, top, word_losses

WIDTH = 6


def table(sizes: list[int], seed: int = 0, sparse: bool = False, scale: float = 1.0) -> Table:
    dice = torch.Generator().manual_seed(seed)
    items = torch.randn(sum(sizes), WIDTH, generator=dice, dtype=torch.float64) * scale
    clusters = torch.randn(len(sizes), WIDTH, generator=dice, dtype=torch.float64) * scale
    return Table(items, clusters, tuple(np.cumsum([0, *sizes]).tolist()), sparse)


def queries(rows: int, seed: int = 1) -> Tensor:
    q = torch.randn(rows, WIDTH, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    q[:, -1] = 1
    return q


def by_definition(q: Tensor, of: Table, words: Tensor | None = None) -> list[list[float]]:
    """p(item) = p(cluster) p(item | cluster), sum by sum."""
    found = []
    for b, row in enumerate(q.tolist()):

        def dot(vector: list[float], row: list[float] = row) -> float:
            return math.exp(sum(x * y for x, y in zip(row, vector, strict=True)))

        level = [dot(vector) for vector in of.clusters.tolist()]
        beside = sum(math.exp(x) for x in words[b].tolist()) if words is not None else 0.0
        said = []
        for c, (start, end) in enumerate(zip(of.starts, of.starts[1:], strict=False)):
            inside = [dot(vector) for vector in of.items[start:end].tolist()]
            said += [level[c] / (sum(level) + beside) * x / sum(inside) for x in inside]
        found.append(said)
    return found


SIZES = [3, 1, 5, 2]


def test_the_probabilities_of_all_items_sum_to_one() -> None:
    assert log_p(queries(5), table(SIZES)).exp().sum(1).numpy() == pytest.approx(np.ones(5), abs=1e-12)


def test_log_p_and_the_loss_are_those_of_the_definition() -> None:
    of, q, targets = table(SIZES), queries(7), torch.tensor([0, 3, 4, 8, 8, 10, 2])
    told = by_definition(q, of)
    assert log_p(q, of).exp().numpy() == pytest.approx(np.array(told))
    assert losses(q, targets, of).numpy() == pytest.approx([-math.log(told[b][n]) for b, n in enumerate(targets)])


def test_beside_words_all_words_and_items_sum_to_one() -> None:
    of, q = table(SIZES), queries(2)
    words = torch.randn(2, 9, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    items = [losses(q, torch.tensor([n, n]), of, words) for n in range(11)]
    said = [word_losses(q, torch.tensor([w, w]), of, words) for w in range(9)]
    assert torch.stack([*items, *said]).neg().exp().sum(0).numpy() == pytest.approx(np.ones(2))
    assert items[4].neg().exp().numpy() == pytest.approx([row[4] for row in by_definition(q, of, words)])


def test_nothing_learned_loses_the_logarithms_of_what_there_is_to_choose() -> None:
    """ln C plus the mean of ln(size of the target's cluster)."""
    of, targets = table(SIZES, scale=0.0), torch.arange(11)
    expected = math.log(4) + sum(size * math.log(size) for size in SIZES) / 11
    assert float(losses(queries(11), targets, of).mean()) == pytest.approx(expected)


def test_one_cluster_is_one_softmax() -> None:
    of, q, targets = table([11]), queries(4), torch.tensor([0, 10, 5, 5])
    assert losses(q, targets, of).numpy() == pytest.approx(flat_losses(q, targets, of).numpy())


def test_smoothing_and_z_act_on_both_levels() -> None:
    of, q, targets = table(SIZES), queries(3), torch.tensor([0, 4, 9])
    of_items = [
        torch.stack([q[b] @ of.items[n] for n in range(*span)]) for b, span in enumerate([(0, 3), (4, 9), (9, 11)])
    ]
    plain, levels = losses(q, targets, of), [(of.choices(q)[b], of_items[b]) for b in range(3)]
    squares = [sum(float(level.logsumexp(0)) ** 2 for level in both) for both in levels]
    with_z = losses(q, targets, of, softness=Softness(z=0.01))
    assert (with_z - plain).numpy() == pytest.approx(np.array(squares) * 0.01)
    uniform = [sum(float(level.logsumexp(0) - level.mean()) for level in both) for both in levels]
    smoothed = losses(q, targets, of, softness=Softness(smoothing=0.2))
    assert smoothed.numpy() == pytest.approx(0.8 * plain.numpy() + 0.2 * np.array(uniform))


def test_sparse_gradients_are_the_dense_ones_and_touch_the_targets_clusters_alone() -> None:
    q, targets, found = queries(3), torch.tensor([3, 9, 10]), []
    for sparse in (False, True):
        of = table(SIZES, sparse=sparse)
        of.items.requires_grad_()
        of.clusters.requires_grad_()
        losses(q, targets, of).sum().backward()
        assert of.items.grad is not None
        assert of.items.grad.is_sparse == sparse
        found.append((of.items.grad.to_dense(), of.clusters.grad))
    (dense, clusters), (sparse_too, clusters_too) = found
    assert torch.equal(dense, sparse_too)
    assert torch.equal(clusters, clusters_too)
    assert dense.abs().sum(1).nonzero().flatten().tolist() == [9, 10]  # alone in its cluster, item 3 cannot be wrong


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=8),
    k=st.integers(1, 12),
    seed=st.integers(0, 999),
    scale=st.sampled_from([0.0, 0.3, 3.0]),  # 0: everything is as likely as its cluster is small
    dropped=st.sets(st.integers(0, 30), max_size=12),
)
def test_the_fast_order_is_that_of_brute_force(
    sizes: list[int], k: int, seed: int, scale: float, dropped: set[int]
) -> None:
    of, q = table(sizes, seed, scale=scale), queries(1, seed)
    said = log_p(q, of)[0].numpy()
    said[[n for n in dropped if n < len(said)]] = -np.inf
    order = np.lexsort((np.arange(len(said)), -said.round(9)))
    order = order[np.isfinite(said[order])][:k]
    numbers, found = top(q[0], of, k, dropped)
    assert found.numpy() == pytest.approx(said[order])
    if scale:  # else equal ones differ by rounding alone
        assert numbers.tolist() == order.tolist()
    assert not dropped & set(numbers.tolist())


def test_clusters_that_cannot_hold_a_better_item_are_not_read() -> None:
    """A cluster of all numbers that are none would spoil the answer if it were looked at."""
    of = table([4, 4, 4])
    of.clusters[:] = 0
    of.clusters[:, -1] = torch.tensor([50.0, 40.0, -50.0])
    assert len(of.reach[0]) == 3  # known before
    of.items[8:] = math.nan
    numbers, said = top(queries(1)[0], of, 5)
    assert len(numbers) == 5
    assert torch.isfinite(said).all()


def test_a_large_cluster_of_like_items_is_not_read_though_it_is_the_likeliest() -> None:
    of = table([2, 400])
    of.clusters[:] = 0
    of.clusters[:, -1] = torch.tensor([0.0, 2.0])
    of.items[:2] = 0
    of.items[2:] = of.items[2] + 0.001 * of.items[2:]
    assert len(of.reach[0]) == 2
    of.items[2:] = math.nan
    assert sorted(top(queries(1)[0], of, 2)[0].tolist()) == [0, 1]


# ---- the clusters


def some(n: int, seed: int = 0) -> Catalogue:
    vectors = np.random.default_rng(seed).normal(size=(n, 8)).astype(np.float32)
    return catalogue([f"i{n}" for n in range(n)], vectors)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 60), clusters=st.integers(1, 12), twins=st.booleans())
def test_every_item_stands_in_exactly_one_cluster_and_none_is_empty(n: int, clusters: int, twins: bool) -> None:
    vectors = np.random.default_rng(n).normal(size=(n, 4)).astype(np.float32)
    vectors[: n // 2 if twins else 0] = 1.0
    ids = [f"i{n}" for n in range(n)]
    whole = catalogue(ids, vectors, min(n, clusters))
    assert sorted(whole.ids) == sorted(ids)
    assert whole.starts[0] == 0
    assert whole.starts[-1] == n
    assert (whole.sizes > 0).all()
    assert whole.sizes.max() <= max(1, int(3 * n / min(n, clusters)))
    assert np.array_equal(whole.vectors, vectors[[ids.index(item) for item in whole.ids]])


def test_near_items_stand_together() -> None:
    middles = np.eye(3, dtype=np.float32) * 10
    vectors = np.repeat(middles, 20, 0) + np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32) * 0.1
    whole = catalogue([str(n) for n in range(60)], vectors, 3)
    groups = {
        tuple(sorted({int(item) // 20 for item in whole.ids[a:b]}))
        for a, b in zip(whole.starts, whole.starts[1:], strict=False)
    }
    assert groups == {(0,), (1,), (2,)}


def test_a_new_item_joins_the_nearest_cluster_and_old_ones_are_found_again() -> None:
    old = some(40)
    whole, places = old.joined(["new"], old.vectors[7:8])
    assert [whole.ids[n] for n in places] == list(old.ids)
    nearest = int(np.linalg.norm(old.middles - old.vectors[7], axis=1).argmin())
    assert whole.cluster[whole.numbers(["new"])[0]] == nearest
    assert np.array_equal(whole.cluster[places], old.cluster)
    assert whole.digest != old.digest


@pytest.mark.parametrize(
    ("ids", "vectors", "clusters", "words"),
    [
        ([], np.zeros((0, 4)), None, "no item"),
        (["a", "a"], np.zeros((2, 4)), None, "'a' is an item twice"),
        (["a", "b"], np.zeros((1, 4)), None, "2 items have 1 vectors"),
        (["a", "b"], np.full((2, 4), np.nan), None, "no numbers"),
        (["a", "b"], np.zeros((2, 4)), 3, "3 clusters of 2 items"),
    ],
)
def test_items_that_cannot_be_recommended_from(
    ids: list[str], vectors: np.ndarray, clusters: int | None, words: str
) -> None:
    with pytest.raises(CatalogueError, match=words):
        catalogue(ids, vectors.astype(np.float32), clusters)


def test_an_id_outside_the_table_is_named() -> None:
    with pytest.raises(CatalogueError, match="'nobody' is no item"):
        some(5).numbers(["i1", "nobody"])
