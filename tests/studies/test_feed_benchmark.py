"""The parts of the feed's benchmark, with few vectors and a tiny model."""

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest

from engine.backbone import Backbone
from engine.recommend import index as indexes
from studies.benchmarks import feed
from studies.benchmarks.feed import (
    FILES,
    NEAR,
    QUERIES,
    draws,
    encoded,
    fan,
    many,
    nearest_cosine,
    neighbours,
    recall,
    run,
    tries,
)
from studies.benchmarks.runs import CannotRun

WORDS = ("goat", "bus", "printer", "neighbour", "tax", "soup", "mayor", "spider")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Both files, the second with a text of the first."""
    for n, name in enumerate(FILES):
        texts = [f"The {a} met the {b} at {hour}." for hour in (1, 2 + n) for a in WORDS for b in WORDS]
        (tmp_path / name).parent.mkdir()
        with gzip.open(tmp_path / name, "wt", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            rows.writerows([("id", "text"), *enumerate(texts)])
    return tmp_path


def unit(rows: int, width: int = 32, seed: int = 7) -> np.ndarray:
    found = np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


# ---- vectors


def test_texts_are_encoded_once_and_none_twice(data: Path, tmp_path: Path) -> None:
    found = encoded(data, tmp_path / "work", 100)
    assert found.shape[0] == 136  # 64 of each file are the same, and of 100 so are 64
    [kept] = (tmp_path / "work").glob("*.npy")
    np.save(kept, found + 1)
    assert np.array_equal(encoded(data, tmp_path / "work", 100), found + 1)  # what was kept
    one, other = (data / name for name in FILES)
    one.write_bytes(other.read_bytes())
    assert len(encoded(data, tmp_path / "work", 100)) == 100, "other texts, other vectors"
    one.unlink()
    with pytest.raises(CannotRun, match=r"jokes.csv.gz is not there"):
        encoded(data, tmp_path / "work", 100)


def test_a_copy_is_as_far_from_its_original_as_a_neighbour() -> None:
    texts = unit(50)
    found = many(texts, 170, 0.6)
    assert found.shape == (170, 32)
    assert np.array_equal(found[:50], texts)
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(170), abs=1e-5)
    originals = texts[np.arange(50, 170) % 50]
    assert (found[50:] * originals).sum(1) == pytest.approx(np.full(120, 0.6), abs=1e-5)
    assert np.array_equal(many(texts, 30, 0.6), texts[:30])


def test_the_nearest_neighbour_is_another_text() -> None:
    texts = unit(40)
    cosines = texts @ texts.T - 2 * np.eye(40)
    assert nearest_cosine(texts) == pytest.approx(float(np.median(cosines.max(1))), abs=1e-6)
    found = neighbours(texts, 5, seed=0)
    assert found.shape == (5, NEAR)
    for rows in found:
        assert set(rows.tolist()) == set(np.argsort(-(texts @ texts[rows[0]]))[:NEAR].tolist())


def test_recall_is_the_share_that_was_found() -> None:
    truth = np.array([[1, 2, 3, 4], [5, 6, 7, 8]])
    assert recall([np.array([4, 3, 2, 1]), np.array([5, 6, 0, 9])], truth) == 0.75
    assert recall(list(truth), truth) == 1.0


def test_the_cards_of_a_ranking_are_less_alike_than_the_best(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "CANDIDATES", 100)
    monkeypatch.setattr(feed, "CARDS", 10)
    row = next(run(data, tmp_path / "work", each=128))
    assert (row["part"], row["candidates"], row["likes"]) == ("ranking", 100, 3 * NEAR)
    for scorer in ("nearness", "by_topic"):
        assert row[f"{scorer}_spread_alike"] < row[f"{scorer}_best_alike"]


def test_few_vectors_are_all_found_by_lists_by_a_graph_and_from_a_file(tmp_path: Path) -> None:
    texts, path = unit(QUERIES), tmp_path / "of.index"
    compared, built, opened = (part(texts, 400, path) for part in (feed._compared, feed._built, feed._opened))
    assert built["index_recall"] == 1.0
    assert compared["graph_400_recall"] > 0.99
    assert built["file_mb"] == 0
    assert opened["more_mb"] < 20


def test_the_more_lists_are_looked_at_the_more_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for where in (indexes, feed):
        monkeypatch.setattr(where, "EXACT", 200)
    monkeypatch.setattr(feed, "LOOKED_AT", (2, 150))
    found = feed._built(unit(QUERIES), 1_500, tmp_path / "of.index")
    assert found["lists"] == 155
    assert found["lists_2_recall"] < 0.5 < 0.98 < found["lists_150_recall"]


# ---- the best of several tries


def test_a_fan_is_judged_by_what_the_profile_does_not_have() -> None:
    who = fan("stacktrace")
    known = {item.text for item in who.profile.liked}
    assert len(known) + len(who.held_out) == 21
    assert not known & set(who.held_out)


def test_the_first_of_several_tries_is_what_is_written_without_them(tiny: Backbone) -> None:
    profile = fan("stacktrace").profile
    (one, _), (some, scores) = (draws(tiny, profile, 0, samples) for samples in (1, 4))
    assert one[0] == some[0]
    assert len({text.text for text in some}) == len(scores) == 4
    assert draws(tiny, profile, 1, 1)[0] != one


def test_what_the_scorer_predicts_of_the_best_is_never_less(tiny: Backbone) -> None:
    first, best, likes, gain = tries(tiny, people=2, each=2, samples=3)
    assert [row["texts"] for row in (first, best, likes, gain)] == ["first", "best", "likes", "gain"]
    assert gain["predicted"] == pytest.approx(best["predicted"] - first["predicted"], abs=2e-4)
    assert gain["predicted"] > 0
    assert best["tokens"] > 2 * first["tokens"]
    assert likes["near"] > likes["near_wrong"]
    assert likes["near_less_wrong"] == pytest.approx(likes["near"] - likes["near_wrong"], abs=2e-4)


def test_without_the_texts_it_says_where_they_should_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert feed.main(["--data", str(tmp_path)]) == 2
    assert "short_jokes/jokes.csv.gz" in capsys.readouterr().err
