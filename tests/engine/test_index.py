"""The nearest of many vectors: against sorting all of them, from memory and from a file."""

import resource
from pathlib import Path

import faiss
import numpy as np
import psutil
import pytest

from engine.recommend import index as indexes
from engine.recommend.index import Index, SearchError, index, load

WIDTH = 16


def vectors(count: int, width: int = WIDTH, seed: int = 0) -> np.ndarray:
    found = np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def best(of: np.ndarray, query: np.ndarray, k: int) -> list[int]:
    return np.argsort(-(of @ query), kind="stable")[:k].tolist()


@pytest.fixture
def in_lists(monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Vectors that are more than are looked at one by one."""
    monkeypatch.setattr(indexes, "EXACT", 500)
    monkeypatch.setattr(indexes, "PROBED", 60)
    return vectors(2_000)


def test_few_vectors_are_all_looked_at() -> None:
    of, query = vectors(300), vectors(1, seed=1)[0]
    numbers, scores = index(of).search(query, 12)
    assert numbers.tolist() == best(of, query, 12)
    assert scores == pytest.approx(of[numbers] @ query)


def test_of_many_only_some_lists_are_and_most_of_the_nearest_are_found(
    in_lists: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = index(in_lists)
    assert made.held.nlist == 179  # four times the root
    asked = vectors(40, seed=1)

    def recall() -> float:
        return float(np.mean([np.isin(best(in_lists, q, 10), made.search(q, 10)[0]).mean() for q in asked]))

    assert recall() > 0.95
    made.held.nprobe = 2
    assert recall() < 0.8
    made.held.nprobe = made.held.nlist
    assert recall() == 1.0


def test_the_same_vectors_make_the_same_lists(in_lists: np.ndarray) -> None:
    query = vectors(1, seed=1)[0]
    a, b = (index(in_lists).search(query, 50) for _ in range(2))
    assert np.array_equal(a[0], b[0])
    assert np.array_equal(a[1], b[1])


@pytest.mark.parametrize("count", [0, 1, 40, 2_000])
def test_no_more_than_there_are_are_found_and_no_fewer(in_lists: np.ndarray, count: int) -> None:
    """Also where the lists that are looked at hold fewer than are wanted."""
    made = index(in_lists[:count])
    numbers, scores = made.search(vectors(1, seed=1)[0], count + 5)
    assert sorted(numbers.tolist()) == list(range(count))
    assert (np.diff(scores) <= 0).all()
    assert made.search(vectors(1, seed=1)[0], 0)[0].shape == (0,)


# ---- in a file


@pytest.mark.parametrize("count", [0, 400, 2_000])
def test_what_was_saved_finds_the_same(in_lists: np.ndarray, count: int, tmp_path: Path) -> None:
    made, path = index(in_lists[:count]), tmp_path / "new" / "of.index"
    made.save(path)
    again = load(path, count)
    for query in vectors(5, seed=1):
        for a, b in zip(made.search(query, 20), again.search(query, 20), strict=True):
            assert np.array_equal(a, b)
    assert [file.name for file in path.parent.iterdir()] == ["of.index"]


@pytest.mark.parametrize("lists", [False, True])
def test_who_opens_a_file_does_not_read_it(lists: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if lists:
        monkeypatch.setattr(indexes, "EXACT", 500)
    monkeypatch.setattr(indexes, "SEALED", 1 << 20)
    of, path = vectors(60_000, 384), tmp_path / "of.index"
    index(of).save(path)
    assert path.stat().st_size > 80e6
    before = psutil.Process().memory_info().rss
    opened = load(path, len(of))
    assert psutil.Process().memory_info().rss - before < 20e6
    assert opened.search(of[77], 1)[0].tolist() == [77]
    if lists:
        assert psutil.Process().memory_info().rss - before < 40e6  # nor does a search


def test_no_byte_of_a_small_file_can_change_or_be_lost_unseen(in_lists: np.ndarray, tmp_path: Path) -> None:
    """faiss itself crashes on some of these files."""
    path = tmp_path / "of.index"
    for count in (30, 600):
        index(in_lists[:count, :4]).save(path)
        whole = path.read_bytes()
        cut = [whole[:size] for size in (0, 1, 28, 49, 84, len(whole) // 2, len(whole) - 1)]
        places = np.random.default_rng(0).integers(0, len(whole), 100).tolist()
        changed = [whole[:n] + bytes([whole[n] ^ 255]) + whole[n + 1 :] for n in (*range(100), *places)]
        for damaged in [*cut, *changed, whole + b"x", b"no index at all" * 9]:
            path.write_bytes(damaged)
            with pytest.raises(SearchError, match="is damaged, or no index: build it anew"):
                load(path, count)


def test_a_file_of_another_count_is_refused_and_one_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "of.index"
    index(vectors(7)).save(path)
    with pytest.raises(SearchError, match="is of 7 vectors, and there are 8: build it anew"):
        load(path, 8)
    with pytest.raises(SearchError, match="cannot be read"):
        load(tmp_path / "none.index", 7)


def test_a_save_without_room_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "of.index"
    index(vectors(7)).save(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))
    try:
        with pytest.raises(SearchError, match="cannot be written"):
            index(vectors(90)).save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [file.name for file in tmp_path.iterdir()] == ["of.index"]
    assert len(load(path, 7)) == 7
    with pytest.raises(SearchError, match="cannot be written"):
        index(vectors(7)).save(path / "of.index")  # under a file


# ---- what cannot be


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (np.zeros(WIDTH + 1, np.float32), r"\(17,\) was given, and vectors are 16 wide"),
        (np.zeros((1, WIDTH), np.float32), r"\(1, 16\) was given"),
        (np.full(WIDTH, np.nan, np.float32), "no numbers"),
    ],
)
def test_a_query_that_cannot_be_answered(query: np.ndarray, words: str) -> None:
    with pytest.raises(SearchError, match=words):
        index(vectors(7)).search(query, 3)


def test_vectors_that_are_no_numbers_are_refused() -> None:
    of = vectors(7)
    of[3, 3] = np.inf
    with pytest.raises(SearchError, match="no numbers"):
        index(of)


def test_numbers_that_are_none_of_the_index_are_no_answer() -> None:
    """A changed byte within a large file may look like this."""
    held = faiss.IndexIDMap(faiss.IndexFlatIP(WIDTH))
    held.add_with_ids(vectors(3), np.array([0, 1, 9]))
    with pytest.raises(SearchError, match="damaged"):
        Index(held).search(vectors(1)[0], 3)
