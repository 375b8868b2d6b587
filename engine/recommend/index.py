"""The nearest of many vectors by inner product, also from a file that nobody reads whole (faiss, arXiv 2401.08281).

Up to EXACT vectors all are looked at. More lie in lists, each around a middle of k-means, and a query looks at the
PROBED lists whose middles are nearest to it. A graph (HNSW, arXiv 1603.09320) finds more in less time, but takes far
longer to build: of 200,000 vectors .99 of the nearest 100 in 2 ms, built in 130 s, and lists .97 in 7 ms, built in 12 s
(`studies.benchmarks.feed`). 50 ms are soon enough for a feed, and minutes long for whoever has new texts: so, lists.
"""

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from engine.recommend.clusters import SAMPLE

Floats = NDArray[np.float32]
Places = NDArray[np.int64]

EXACT = 100_000
LISTS = 4.0  # times the root of N
PROBED = 256  # of the 4,000 lists of a million vectors: .96 of the nearest 100
SEALED = 16 << 20  # bytes at the start of a file that its seal covers: all but vectors, and in small files these too
SEAL = 32  # bytes of it, which stand at the end


class SearchError(ValueError):
    """What cannot be searched, or searched for. One sentence that says what to do."""


@dataclass(frozen=True, eq=False)
class Index:
    """N vectors of width E, held by an index of faiss; they are known by their numbers, 0 to N - 1."""

    held: Any

    def __len__(self) -> int:
        return int(self.held.ntotal)

    @property
    def width(self) -> int:
        return int(self.held.d)

    def search(self, query: Floats, k: int) -> tuple[Places, Floats]:
        """The numbers of the `k` vectors with the highest inner product with the query (E,), and these, both (k,), the
        highest first; of N vectors no more than N. Raises SearchError."""
        if query.shape != (self.width,):
            raise SearchError(
                f"a query of shape {query.shape} was given, and vectors are {self.width} wide: take theirs"
            )
        if not np.isfinite(query).all():
            raise SearchError("the query holds values that are no numbers: encode its text anew")
        k = min(k, len(self))
        if k < 1:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        scores, numbers = self.held.search(query[None], k)
        if numbers.min() < 0:  # the lists that were looked at hold fewer
            scores, numbers = self.held.search(query[None], k, params=looking_at(self.held.nlist))
        if numbers.min() < 0 or numbers.max() >= len(self):
            raise SearchError("the index is damaged: build it anew")
        return numbers[0], scores[0]

    def save(self, path: Path) -> None:
        """Write whole or not at all: to a temporary name, then renamed. Raises SearchError."""
        import faiss

        unfinished = path.with_suffix(".unfinished")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            faiss.write_index(self.held, str(unfinished))
            with unfinished.open("r+b") as file:
                file.write(_seal(file, file.seek(0, 2)))
            unfinished.replace(path)
        except (RuntimeError, OSError) as error:
            with suppress(OSError):
                unfinished.unlink()
            raise SearchError(f"{path} cannot be written ({error}): free some space, and save it anew") from error


def looking_at(lists: int) -> Any:
    """What tells faiss to look at so many lists."""
    import faiss

    told: Any = faiss.SearchParametersIVF()
    told.nprobe = lists
    return told


def index(vectors: Floats, seed: int = 0) -> Index:
    """Make (N, E) vectors searchable. Raises SearchError."""
    import faiss

    if not np.isfinite(vectors.sum()):
        raise SearchError("a vector holds values that are no numbers: encode the texts anew")
    count, width = vectors.shape
    held: Any = faiss.IndexFlatIP(width)
    if count > EXACT:
        held = faiss.IndexIVFFlat(held, width, round(LISTS * count**0.5), faiss.METRIC_INNER_PRODUCT)
        held.nprobe = PROBED
        held.cp.seed = seed
        for name, value in SAMPLE.items():
            setattr(held.cp, name, value)
        held.train(vectors)
    held.add(vectors)
    return Index(held)


def load(path: Path, count: int) -> Index:
    """An index as it was saved, of `count` vectors, which stay on disk until a search looks at them.

    Raises SearchError. Of a damaged file faiss may crash, so the seal is looked at first; of a large file it does not
    cover all vectors, for that would mean to read it whole.
    """
    import faiss

    try:
        with path.open("rb") as file:
            size = file.seek(0, 2) - SEAL
            if size < 0 or _seal(file, size) != file.read():
                raise SearchError(f"{path} is damaged, or no index: build it anew")
        held = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    except (RuntimeError, OSError) as error:
        raise SearchError(f"{path} cannot be read ({error}): build it anew") from error
    if held.ntotal != count:
        raise SearchError(f"{path} is of {held.ntotal} vectors, and there are {count}: build it anew")
    return Index(held)


def _seal(file: IO[bytes], size: int) -> bytes:
    """Tells the `size` bytes that faiss wrote from what was cut short or changed; leaves the file at their end."""
    file.seek(0)
    told = hashlib.sha256(b"%d|" % size + file.read(min(size, SEALED)))
    file.seek(size)
    return told.digest()
