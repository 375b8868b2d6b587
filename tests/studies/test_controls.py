"""The difference of a row to its control, over people."""

import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studies.benchmarks.controls import difference, with_controls
from studies.benchmarks.scores import WRONG, Z

RIGHT = [["q1", "a", "x", "x"], ["q2", "a", "y", " y "], ["q3", "b", "x", "y"], ["q4", "c", "x", "x"]]
OTHER = [["q1", "a", "x", "y"], ["q2", "a", "y", "y"], ["q3", "b", "x", "y"], ["q4", "c", "x", "y"]]


def cell(folder: Path, method: str, lines: Iterable[Any], **row: float) -> tuple[dict[str, Any], dict[str, Any], Path]:
    path = folder / f"{method}.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    named = {"method": method, "seed": 0}
    return named, {**named, **row}, path


def test_labels_are_compared_question_by_question(tmp_path: Path) -> None:
    told = [cell(tmp_path, "m", RIGHT), cell(tmp_path, f"m{WRONG}", OTHER), cell(tmp_path, "alone", RIGHT)]
    row, control, alone = with_controls("lamp", told)
    assert row["over_wrong"] == 0.5  # a: 1 of 2 more, b: 0 of 1, c: 1 of 1
    assert row["over_wrong_half"] == pytest.approx(Z * np.std([0, -0.5, 0.5], ddof=1) / (4 / 3 * 3**0.5), abs=1e-5)
    assert (control, alone) == (told[1][1], told[2][1])


def test_texts_are_compared_by_what_they_share_with_what_was_written(tmp_path: Path) -> None:
    mine = [["q1", "a", "one two", "one two"], ["q2", "b", "three", "four"]]
    others = [["q1", "a", "one two", "one nine"], ["q2", "b", "three", "four"]]
    row, _ = with_controls(
        "lamp", [cell(tmp_path, "m", mine, rougeL=0.5), cell(tmp_path, f"m{WRONG}", others, rougeL=0.25)]
    )
    assert row["over_wrong"] == 0.25


def test_pairs_of_jokes_are_compared_within_a_person_and_texts_do_not_count(tmp_path: Path) -> None:
    liked = {"a": (True, False, False), "b": (True, False, True)}

    def lines(scores: dict[str, tuple[float, ...]]) -> list[list[Any]]:
        told = [[p, n, s, liked[p][n]] for p in scores for n, s in enumerate(scores[p])]
        return [*told, ["a", "A joke."]]

    mine, others = {"a": (1.0, 0.5, 2.0), "b": (3.0, 1.0, 2.0)}, {"a": (1.0, 0.5, 2.0), "b": (0.0, 1.0, 2.0)}
    row, _ = with_controls("generation", [cell(tmp_path, "m", lines(mine)), cell(tmp_path, f"m{WRONG}", lines(others))])
    assert row["over_wrong"] == 0.25  # a has one of two either way, b two of two against one


def test_the_paired_interval_is_narrower_where_people_differ_more_than_methods(tmp_path: Path) -> None:
    dice = np.random.default_rng(0)
    easy = dice.random(200)
    mine = {str(n): (float(p), 1.0) for n, p in enumerate(easy)}
    others = {str(n): (float(p - 0.1 + 0.01 * dice.standard_normal()), 1.0) for n, p in enumerate(easy)}
    more, half = difference(mine, others)
    assert more == pytest.approx(0.1, abs=0.01)
    assert half < 0.005 < Z * easy.std() / 200**0.5 / 5


def test_a_control_of_other_questions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not of the same questions: delete the work folder"):
        with_controls("lamp", [cell(tmp_path, "m", RIGHT), cell(tmp_path, f"m{WRONG}", OTHER[:3])])


def test_other_benchmarks_have_no_such_figure(tmp_path: Path) -> None:
    told = [cell(tmp_path, "m", RIGHT), cell(tmp_path, f"m{WRONG}", OTHER)]
    assert with_controls("jester", told) == [told[0][1], told[1][1]]
