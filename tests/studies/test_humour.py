"""The humour benchmark on small tables: what judges is not taught, and what is scored is what people said."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from studies.benchmarks import humour, runs, tables
from studies.benchmarks.runs import CannotRun


def packed(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(exist_ok=True)
    with gzip.open(path, "wt") as file:
        file.write("\n".join(lines))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve cartoons where captions with a duck win, headlines where a duck is funny, jokes with ducks."""
    folder = tmp_path_factory.mktemp("humour")
    rows = []
    for contest in range(12):
        for rank in range(1, 61):
            animal = "duck" if rank <= 30 else "committee"
            rows.append(f'{contest},{rank},1,1,1,3,1,1,"So the {animal} number {rank} asked for you, {contest}"')
    head = "contest,rank,funny,somewhat_funny,unfunny,count,score,precision,caption"
    packed(folder / "newyorker_captions" / "captions.csv.gz", [head, *rows])
    scenes = [f"{contest},Two friends at a bar." for contest in range(12)]
    (folder / "newyorker_captions" / "cartoons.csv").write_text("\n".join(["contest,description", *scenes]))
    for part, start in (("train", 0), ("dev", 100)):
        one = [
            f"{n},Mayor number {n} signs <bill/> today,{'duck' if n % 2 else 'paper'},01113,{2.5 if n % 2 else 0.5}"
            for n in range(start, start + 40)
        ]
        packed(folder / "humicroedit" / f"task1_{part}.csv.gz", ["id,original,edit,grades,meanGrade", *one])
        two = [
            f"{n},Mayor {n} signs <bill/>,{'duck' if n % 2 else 'paper'},1,1,Mayor {n} signs <bill/>,"
            f"{'paper' if n % 2 else 'duck'},1,1,{0 if n % 10 == 0 else 1 if n % 2 else 2}"
            for n in range(start, start + 40)
        ]
        head = "id,original1,edit1,grades1,meanGrade1,original2,edit2,grades2,meanGrade2,label"
        packed(folder / "humicroedit" / f"task2_{part}.csv.gz", [head, *two])
    jokes = [f'{n},"{"Why did the duck cross" if n % 2 else "Markets fell on Monday"} {n}",{n % 2}' for n in range(100)]
    packed(folder / "humor_detection_colbert" / "jokes_vs_news.csv.gz", ["row_id,text,humor", *jokes])
    return folder


def test_every_task_finds_the_duck_and_floors_do_not(data: Path) -> None:
    settings = humour.Settings(data)
    assert len(humour.files(settings)) == 7
    for task in ("captions 10", "headline pairs"):
        found = humour._of_pairs(settings, task, humour.by_vectors)().figures
        assert found["accuracy"] > 0.9
        assert found["n"] >= 30
    graded = humour._of_texts(settings, "headlines", humour.graded_by_vectors)().figures
    floor = humour._of_texts(settings, "headlines", humour.mean)().figures
    assert graded["rmse"] < 0.5 < floor["rmse"]
    assert "rank" not in floor  # a constant has none
    assert humour._of_texts(settings, "jokes or news", humour.graded_by_vectors)().figures["auc"] > 0.95


def test_what_judges_is_not_taught_and_first_is_not_the_funnier(data: Path) -> None:
    settings = humour.Settings(data)
    for task in ("captions 10", "captions 30", "headline pairs"):
        taught, judged = humour.pairs(settings, task)
        assert taught.first
        assert not set(taught.group) & set(judged.group)
        assert 0.3 < judged.right.mean() < 0.7
    for task in ("headlines", "jokes or news"):
        taught, judged = humour.texts(settings, task)
        assert not set(taught.texts) & set(judged.texts)
    _, pairs = humour.pairs(settings, "headline pairs")
    assert len(pairs.first) == 36, "ties are no pairs"
    assert "Mayor 101 signs duck" in (*pairs.first, *pairs.second)


def test_ranks_are_those_that_are_named(data: Path) -> None:
    for task, good, bad in (
        ("captions 10", range(1, 21), range(21, 61)),
        ("captions 30", range(21, 41), range(41, 61)),
    ):
        _, judged = humour.pairs(humour.Settings(data), task)
        better = np.where(judged.right > 0, judged.first, judged.second)
        worse = np.where(judged.right > 0, judged.second, judged.first)
        assert {int(text.split()[11]) for text in better} == set(good)
        assert {int(text.split()[11]) for text in worse} <= set(bad)


def test_rows_are_chosen_by_name_and_a_table_leaves_out_what_is_not_there(data: Path, tmp_path: Path) -> None:
    settings = humour.Settings(data, methods=("length", "mean"))
    result = list(runs.run(humour, settings, tmp_path / "work"))[-1]
    assert isinstance(result, dict)
    rows = result["rows"]
    assert [row["method"] for row in rows if row["task"] == "headlines"] == ["mean"]
    assert [row["method"] for row in rows if row["task"] == "captions 10"] == ["length"]

    def shown(rows: list[runs.Row]) -> list[str]:
        (tmp_path / "x.json").write_text(json.dumps({**result, "rows": rows}))
        return tables.humour("x", tmp_path).splitlines()

    lost = [row for row in rows if (row["task"], row["method"]) != ("headlines", "mean")]
    assert [line for line in shown(lost) if line.startswith("| mean |")] == ["| mean |  |  | .500 | .333 |"]
    assert "**Single texts**" not in shown([row for row in rows if row["task"] == "captions 10"])
    assert "**The funnier of two: how often right**" not in shown([row for row in rows if row["task"] == "headlines"])
    with pytest.raises(CannotRun, match="'vectors' is no method here: use all, length, sentence vectors, "):
        list(humour.cells(humour.Settings(data, methods=("vectors",))))


def test_missing_files_and_other_columns_are_told(data: Path, tmp_path: Path) -> None:
    with pytest.raises(CannotRun, match=r"captions\.csv\.gz is not there"):
        humour.files(humour.Settings(tmp_path))
    path = tmp_path / "t.csv"
    path.write_text("<html>\n404")
    with pytest.raises(CannotRun, match="has no column edit"):
        humour._table(path, "edit")
