"""What is known as numbers: by those who teach alone, and with what is wrong named."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from engine.recommend.features import FeatureError, Fields, Shown, fit_to_teach, numbered

TEACHES = np.array([True] * 6 + [False] * 2)


def shown(**other: Any) -> Shown:
    rows = 4
    told: dict[str, Any] = {
        "fields": Fields(("person", "hour"), (3, 2)),
        "ids": np.array([[0, 1], [1, 0], [2, 1], [2, 0]]),
        "labels": np.array([0, 1, 1, 0]),
        "people": np.arange(rows),
        "items": np.array([0, 1, 0, 1]),
        "vectors": np.ones((2, 3), np.float32),
        "texts": ("a", "b"),
    }
    return Shown(**told | other)


def test_a_word_is_known_that_those_who_teach_had_twice() -> None:
    words = np.array(["a", "b", "a", "c", "b", "d", "a", "e"])
    fields, ids = numbered({"word": words}, TEACHES)
    assert fields == Fields(("word",), (3,))
    assert ids[:, 0].tolist() == [1, 2, 1, 0, 2, 0, 1, 0]


def test_ranges_are_equally_common_among_those_who_teach_and_all_else_joins_them() -> None:
    measured = np.concatenate([np.arange(1600.0), [-50.0, 5000.0]])
    fields, ids = numbered({"age": measured}, np.arange(1602) < 1600)
    assert fields.sizes == (17,)
    assert np.bincount(ids[:1600, 0]).tolist() == [0] + [100] * 16
    assert ids[1600:, 0].tolist() == [1, 16]
    assert (np.diff(ids[:1600, 0]) >= 0).all()


def test_what_those_who_do_not_teach_have_changes_nothing() -> None:
    measured, words = np.arange(8.0), np.array(["a"] * 6 + ["b"] * 2)
    before = numbered({"x": measured, "w": words}, TEACHES)
    after = numbered({"x": np.where(TEACHES, measured, 1e9), "w": np.where(TEACHES, words, "c")}, TEACHES)
    assert before[0] == after[0]
    assert np.array_equal(before[1][:6], after[1][:6])


def test_a_number_that_is_none_is_named_or_unknown() -> None:
    holes = np.array([1.0, np.nan, 3, 4, 5, 6, np.nan, 8])
    with pytest.raises(FeatureError, match="age holds values that are no numbers"):
        numbered({"age": holes}, TEACHES)
    assert numbered({"age": holes}, TEACHES, missing=True)[1][[1, 6], 0].tolist() == [0, 0]
    assert numbered({"age": np.full(8, np.nan)}, TEACHES, missing=True)[0].sizes == (2,)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"labels": np.array([0, 1, 2, 0])}, "2 is no label: give 1"),
        ({"ids": np.array([[0, 1], [1, 0], [3, 1], [2, 0]])}, "person has a value outside its 3"),
        ({"ids": np.array([[0, -1], [1, 0], [2, 1], [2, 0]])}, "hour has a value outside its 2"),
        ({"ids": np.zeros((4, 3), int)}, "values of (4, 3) do not fit 4 rows"),
        ({"items": np.array([0, 1, 2, 1])}, "item 2 is none of 2"),
        ({"labels": np.zeros(0, int), "ids": np.zeros((0, 2), int)}, "nobody was shown anything"),
    ],
)
def test_rows_that_nothing_can_be_learned_from(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(FeatureError, match=re.escape(told)):
        shown(**wrong)


def test_rows_of_one_kind_are_named() -> None:
    fit_to_teach(shown(), "that teach")
    with pytest.raises(FeatureError, match="all 4 rows that teach have the label 1"):
        fit_to_teach(replace(shown(), labels=np.ones(4, int)), "that teach")
    with pytest.raises(FeatureError, match="a vector holds values that are no numbers"):
        fit_to_teach(replace(shown(), vectors=np.full((2, 3), np.nan, np.float32)), "that teach")


def test_some_rows_and_some_fields() -> None:
    some = shown().at([3, 1]).only(["hour"])
    assert some.fields == Fields(("hour",), (2,))
    assert some.ids.tolist() == [[0], [0]]
    assert some.items.tolist() == [1, 1]
    assert len(some) == 2
