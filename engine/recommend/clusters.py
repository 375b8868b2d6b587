"""What there is to recommend: N items, each with the vector of its text, in clusters of near ones.

Items are numbered cluster by cluster, so that a cluster is a slice. Every item stands in exactly one; one that comes
later joins the cluster whose middle is nearest to its text.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Places = NDArray[np.int64]

ROUNDS = 10  # of k-means
SAMPLE = {"min_points_per_centroid": 1, "max_points_per_centroid": 32}  # of items for each cluster, that place it
LARGEST = 3.0  # times the mean size: a larger cluster is cut, for the slowest decides what a step costs


class CatalogueError(ValueError):
    """Items that cannot be recommended from. One sentence that says what to do."""


@dataclass(frozen=True, eq=False)
class Catalogue:
    """Item n is `ids[n]` with `vectors[n]` of (N, E); cluster c holds items `starts[c]` to `starts[c + 1] - 1`."""

    ids: tuple[str, ...]
    vectors: Vectors
    starts: Places  # (C + 1,)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def clusters(self) -> int:
        return len(self.starts) - 1

    @property
    def sizes(self) -> Places:
        """How many items each cluster holds (C,)."""
        return np.diff(self.starts)

    @cached_property
    def cluster(self) -> Places:
        """The cluster of each item (N,)."""
        return np.repeat(np.arange(self.clusters), self.sizes)

    @cached_property
    def middles(self) -> Vectors:
        """The mean vector of each cluster (C, E)."""
        sums = np.add.reduceat(self.vectors, self.starts[:-1], axis=0)
        return np.asarray(sums / self.sizes[:, None], np.float32)

    @cached_property
    def digest(self) -> str:
        """Names the items, their order and their clusters: what was learned for one catalogue fits no other."""
        told = hashlib.sha256("\n".join(self.ids).encode())
        told.update(self.starts.astype("<i8").tobytes())
        return told.hexdigest()[:16]

    def numbers(self, ids: Sequence[str]) -> Places:
        """The numbers of items by their ids. Raises CatalogueError for one that is not here."""
        if unknown := next((item for item in ids if item not in self._number), None):
            raise CatalogueError(f"{unknown!r} is no item of this catalogue: add it, or leave it out")
        return np.array([self._number[item] for item in ids], np.int64)

    @cached_property
    def _number(self) -> dict[str, int]:
        return {item: n for n, item in enumerate(self.ids)}

    def joined(self, ids: Sequence[str], vectors: Vectors) -> tuple["Catalogue", Places]:
        """With new items (M,) of vectors (M, E); and which of its items are the old ones, (N,) of their new numbers.

        Raises CatalogueError for an id that is here already.
        """
        _check([*self.ids, *ids], np.concatenate([self.vectors, vectors]))
        nearest = np.linalg.norm(self.middles, axis=1) ** 2 / 2 - vectors @ self.middles.T  # (M, C), up to a constant
        cluster = np.concatenate([self.cluster, nearest.argmin(1)])
        whole, order = _numbered([*self.ids, *ids], np.concatenate([self.vectors, vectors]), cluster)
        return whole, np.argsort(order)[: len(self)]


def catalogue(ids: Sequence[str], vectors: Vectors, clusters: int | None = None, seed: int = 0) -> Catalogue:
    """Put items into clusters by k-means on their vectors (N, E), so many or `standard`, and more where one would be
    too large. Raises CatalogueError."""
    _check(ids, vectors)
    wanted = clusters or standard(len(ids))
    if not 1 <= wanted <= len(ids):
        raise CatalogueError(f"{wanted} clusters of {len(ids)} items: take one at least, and no more than items")
    return _numbered(ids, vectors, _split(vectors, _k_means(vectors, wanted, seed), len(ids) / wanted))[0]


def standard(items: int) -> int:
    """How many clusters: four times the root. With fewer, and larger ones, a step of learning reads more items, and the
    likeliest are found later (log 2026-11-29); the first level costs little."""
    return min(items, int(4 * items**0.5 + 0.5))


def _check(ids: Sequence[str], vectors: Vectors) -> None:
    if not len(ids):
        raise CatalogueError("there is no item: give one at least")
    if again := next((item for item, times in Counter(ids).items() if times > 1), None):
        raise CatalogueError(f"{again!r} is an item twice: give each once")
    if len(vectors) != len(ids):
        raise CatalogueError(f"{len(ids)} items have {len(vectors)} vectors: give each its own")
    if not np.isfinite(vectors).all():
        raise CatalogueError("a vector holds values that are no numbers: encode the texts anew")


def _numbered(ids: Sequence[str], vectors: Vectors, cluster: Places) -> tuple[Catalogue, Places]:
    """The catalogue of these clusters, empty ones left out, and which item each of its numbers was before."""
    order = np.argsort(cluster, kind="stable")
    sizes = np.bincount(cluster)
    starts = np.concatenate([[0], np.cumsum(sizes[sizes > 0])])
    return Catalogue(tuple(ids[n] for n in order), np.ascontiguousarray(vectors[order]), starts), order


def _k_means(vectors: Vectors, clusters: int, seed: int) -> Places:
    """The cluster of each vector (N,)."""
    import faiss

    if clusters == 1:
        return np.zeros(len(vectors), np.int64)
    vectors = np.ascontiguousarray(vectors, np.float32)
    made = faiss.Kmeans(vectors.shape[1], clusters, niter=ROUNDS, seed=seed, **SAMPLE)
    made.train(vectors)
    return np.asarray(made.index.search(vectors, 1)[1][:, 0], np.int64)


def _split(vectors: Vectors, cluster: Places, mean: float) -> Places:
    """The same with clusters of more than `LARGEST` times the mean size cut into equal parts along the direction in
    which they are widest: twins, which no k-means can part, among them."""
    most, found, following = max(1, int(LARGEST * mean)), cluster.copy(), int(cluster.max()) + 1
    for large in np.flatnonzero(np.bincount(cluster) > most):
        members = np.flatnonzero(cluster == large)
        centred = vectors[members] - vectors[members].mean(0)
        widest = np.linalg.eigh(centred.T @ centred)[1][:, -1]
        parts = np.array_split(members[np.argsort(centred @ widest, kind="stable")], -(-len(members) // most))
        for part in parts[1:]:
            found[part] = following
            following += 1
    return found
