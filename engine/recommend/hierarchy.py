"""A softmax in two levels: first which cluster of a catalogue, or which word, then which item of the cluster.

log p(item) = log p(cluster) + log p(item | cluster), and by exactly this items are learned and ranked (EfficientIDs,
arXiv 2509.03746). A step of learning reads the clusters, and the items of the targets' own clusters alone; the best
items are looked for from the most promising cluster on, until none that is left can hold a better one.

Letters in shapes: B queries, K their width, N items, C clusters, V words. The last of the K numbers of a query is 1,
so that the last of an item's is its bias.
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

SLACK = 1e-4  # of a bound, by which rounding could let it lie too low


@dataclass(frozen=True, eq=False)
class Table:
    """Items (N, K) and clusters (C, K), the last number of each its bias; cluster c holds items `starts[c]` on.

    With `sparse` the gradient of the items is sparse: a step touches few of them.
    """

    items: Tensor
    clusters: Tensor
    starts: tuple[int, ...]  # (C + 1,)
    sparse: bool = False

    @cached_property
    def sizes(self) -> list[int]:
        return np.diff(self.starts).tolist()

    @cached_property
    def cluster(self) -> Tensor:
        """The cluster of each item (N,)."""
        sizes = torch.tensor(self.sizes, device=self.items.device)
        return torch.repeat_interleave(torch.arange(len(sizes), device=self.items.device), sizes)

    @cached_property
    def reach(self) -> tuple[Tensor, Tensor]:
        """How far the items of each cluster lie from their mean at most: as vectors (C,), and by their biases (C,)."""
        count = torch.tensor(self.sizes).to(self.items)[:, None]  # (C, 1)
        means = torch.zeros_like(self.clusters).index_add_(0, self.cluster, self.items) / count
        off = self.items - means[self.cluster]  # (N, K)
        zero = torch.zeros_like(count[:, 0])
        far, bias = (zero.scatter_reduce(0, self.cluster, x, "amax") for x in (off[:, :-1].norm(dim=1), off[:, -1]))
        return far, bias

    def choices(self, q: Tensor, words: Tensor | None = None) -> Tensor:
        """The logits of the first level: of the words (B, V), where there are any, then of the clusters."""
        logits = q @ self.clusters.T
        return logits if words is None else torch.cat([words, logits], 1)  # (B, V + C)


@dataclass(frozen=True, slots=True)
class Softness:
    """What both levels of the loss have besides: label `smoothing` keeps this share for all choices alike, and `z` is
    the weight of the squared log-normaliser, which keeps logits from drifting (PaLM, arXiv 2204.02311, section 5)."""

    smoothing: float = 0.0
    z: float = 0.0

    def entropy(self, logits: Tensor, targets: Tensor) -> Tensor:
        found = functional.cross_entropy(logits, targets, reduction="none", label_smoothing=self.smoothing)
        return found + self.z * logits.logsumexp(-1) ** 2 if self.z else found


PLAIN = Softness()


def losses(q: Tensor, targets: Tensor, table: Table, words: Tensor | None = None, softness: Softness = PLAIN) -> Tensor:
    """The loss of each target item (B,) at queries (B, K): the cross-entropies of both levels."""
    of = table.cluster[targets]  # (B,)
    level = softness.entropy(table.choices(q, words), of + (0 if words is None else words.shape[1]))
    order = torch.argsort(of, stable=True)  # targets of one cluster together
    distinct, counts = (found.tolist() for found in torch.unique_consecutive(of[order], return_counts=True))
    slices = [torch.arange(table.starts[c], table.starts[c + 1], device=q.device) for c in distinct]
    members = functional.embedding(torch.cat(slices), table.items, sparse=table.sparse).split([*map(len, slices)])
    places = targets[order] - torch.tensor(table.starts, device=q.device)[of[order]]  # (B,) in their clusters
    inside = [
        softness.entropy(some @ rows.T, place)
        for some, rows, place in zip(q[order].split(counts), members, places.split(counts), strict=True)
    ]
    return level + torch.cat(inside)[torch.argsort(order)]


def word_losses(q: Tensor, targets: Tensor, table: Table, words: Tensor, softness: Softness = PLAIN) -> Tensor:
    """The loss of each target word (B,), whose logits are `words` (B, V): words have the first level alone."""
    return softness.entropy(table.choices(q, words), targets)


def flat_losses(q: Tensor, targets: Tensor, table: Table) -> Tensor:
    """What one softmax over all items loses (B,): the twin with which costs are compared."""
    return functional.cross_entropy(q @ table.items.T, targets, reduction="none")


def log_p(q: Tensor, table: Table) -> Tensor:
    """log p of every item (B, N), words aside: the slow twin of `top`, which reads the whole table."""
    inside = q @ table.items.T  # (B, N)
    normal = torch.stack([part.logsumexp(1) for part in inside.split(table.sizes, 1)], 1)  # (B, C)
    level = functional.log_softmax(table.choices(q), -1)  # (B, C)
    return inside + (level - normal)[:, table.cluster]


@torch.inference_mode()
def top(q: Tensor, table: Table, k: int, without: Collection[int] = ()) -> tuple[Tensor, Tensor]:
    """The `k` likeliest items for one query (K,) but those `without`, and their log p: (k,) and (k,), the likeliest
    first, of equal ones that with the lower number; fewer where there are no more.

    Clusters are read from the one on that could hold the likeliest item, and none that could hold none likelier than
    the k-th found. An item is no likelier than its cluster; and as the logarithm of a sum of n exponentials is no less
    than their mean plus log n (Jensen), no likelier in it than its distance from the mean allows, less log n.
    """
    level = functional.log_softmax(table.choices(q[None])[0], -1)  # (C,)
    far, bias = table.reach
    sizes = torch.tensor(table.sizes, device=q.device)
    most = level + (far * q[:-1].norm() + bias - sizes.log()).clamp(max=0)  # (C,)
    order = torch.argsort(most, descending=True)
    left_out = torch.tensor(sorted(without), dtype=torch.long, device=q.device)
    said, numbers, least = level[:0], left_out[:0], -torch.inf
    for bound, c, before in zip(most[order].tolist(), order.tolist(), level[order].tolist(), strict=True):
        if bound + SLACK < least:
            break
        start, end = table.starts[c], table.starts[c + 1]
        inside = table.items[start:end] @ q
        more = inside + (before - float(inside.logsumexp(0)))
        if float(more.max()) < least:
            continue
        mine = torch.arange(start, end, device=q.device)
        if len(left_out):
            more = more.masked_fill(torch.isin(mine, left_out), -torch.inf)
        said, numbers = _largest(torch.cat([said, more]), torch.cat([numbers, mine]), k)
        least = float(said[-1]) if len(said) == k else -torch.inf
    kept = said > -torch.inf
    return numbers[kept], said[kept]


def _largest(said: Tensor, numbers: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The `k` largest and their numbers, the largest first, ties by number."""
    by_number = torch.argsort(numbers)
    order = by_number[torch.argsort(said[by_number], descending=True, stable=True)][:k]
    return said[order], numbers[order]
