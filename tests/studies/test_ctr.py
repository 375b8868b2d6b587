"""Like prediction on made-up people: what rows are of, that nothing leaks, and what every row must find."""

import gzip
import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from engine.recommend.features import Shown
from studies.benchmarks import ctr, ctr_data
from studies.benchmarks.ctr_data import Task
from studies.benchmarks.jester import Settings as JesterSettings
from studies.benchmarks.jester import folds
from studies.benchmarks.runs import CannotRun, run
from studies.benchmarks.scores import WRONG
from tests.jester_set import jester_set

RECHUB = pytest.mark.skipif(find_spec("torch_rechub") is None, reason="torch-rechub is not installed")
PEOPLE, JOKES = 40, 50
FEW = 60


@pytest.fixture(scope="module")
def jester(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some like more than others do."""
    return jester_set(tmp_path_factory.mktemp("jester"), PEOPLE, JOKES, generous=2)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everybody likes comedies; each person has one film a day."""
    folder, dice = tmp_path_factory.mktemp("films"), np.random.default_rng(0)
    genres = {film: ("Comedy", "Drama")[film % 2] for film in range(1, FEW + 1)}
    named = pd.DataFrame(
        {
            "item_id": list(genres),
            "title": [f"Film, The {n} (19{n % 90 + 10})" for n in genres],
            "genres": genres.values(),
        }
    )
    named.to_csv(folder / "items.csv.gz", index=False)
    rated = [
        (person, film, 5 if film % 2 == 0 else 2, 86_400 * day + person)
        for person in range(PEOPLE)
        for day, film in enumerate(dice.permutation(FEW)[:30] + 1)
    ]
    ratings = pd.DataFrame(rated, columns=["user_id", "item_id", "rating", "timestamp"])
    ratings.to_csv(folder / "ratings.csv.gz", index=False)
    told = {"user_id": range(PEOPLE), "age": 30, "gender": "F", "occupation": "other"}
    pd.DataFrame(told).to_csv(folder / "users.csv.gz", index=False)
    return folder


def found(folder: Path, name: str, wrong: bool = False, **told: Any) -> dict[str, Any]:
    return ctr._cell(ctr.Settings(folder, **told), name, 0, wrong)().figures


def column(shown: Shown, name: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    return shown.ids[:, shown.fields.names.index(name)]


# ---- Jester


def test_no_joke_that_is_judged_teaches_or_stops(jester: Path) -> None:
    task = ctr_data.jokes(jester, PEOPLE, 0)
    taught, stop, judged = (set(task.shown.items[rows].tolist()) for rows in (task.teach, task.stop, task.test))
    assert not judged & (taught | stop)
    assert not taught & stop
    assert len(taught | stop | judged) == JOKES
    assert sorted(np.concatenate([task.teach, task.stop, task.test])) == list(range(len(task.shown)))


def test_no_row_is_told_of_its_own_rating_nor_of_what_stops_or_is_judged(jester: Path, tmp_path: Path) -> None:
    """Other ratings of one person in the parts that are not counted leave every field of those rows as it was."""
    before = ctr_data.jokes(jester, PEOPLE, 0)
    for rows in (before.stop, before.test):
        rated = pd.read_csv(jester / "ratings.csv.gz")
        jokes = set(before.shown.items[rows].tolist())
        rated.loc[rated["joke_id"].isin(jokes), "rating"] *= -1
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        rated.to_csv(folder / "ratings.csv.gz", index=False)
        (folder / "jokes.csv").write_text((jester / "jokes.csv").read_text())
        after = ctr_data.jokes(folder, PEOPLE, 0)
        assert np.array_equal(after.shown.ids, before.shown.ids)
        assert not np.array_equal(after.shown.labels, before.shown.labels)


def test_no_row_is_foretold_from_its_own_rating(jester: Path) -> None:
    """Other ratings of a part change what is foretold of the other parts, and nothing of its own."""
    split = next(folds(JesterSettings(data=jester, limit=PEOPLE), 0))
    part = np.arange(JOKES) % 5
    before = ctr_data.nearness(split, part)
    after = ctr_data.nearness(replace(split, known=np.where(part == 2, -split.known, split.known)), part)
    assert np.array_equal(before[:, part == 2], after[:, part == 2])
    assert not np.array_equal(before[:, part == 3], after[:, part == 3])


def test_a_person_is_the_same_in_all_their_rows(jester: Path) -> None:
    """Else their other rows would tell how they rated this one."""
    task = ctr_data.jokes(jester, PEOPLE, 0)
    for name in ("likes", "spread", "rated"):
        for person in range(PEOPLE):
            assert len(set(column(task.shown, name)[task.shown.people == person].tolist())) == 1


def test_with_somebody_elses_past_a_row_has_their_fields_and_its_own_label(jester: Path) -> None:
    task = ctr_data.jokes(jester, PEOPLE, 0)
    other = task.other
    assert other is not None
    assert np.array_equal(other.labels, task.shown.labels)
    assert (column(other, "likes") != column(task.shown, "likes")).mean() > 0.2
    assert (column(other, "nearness") != column(task.shown, "nearness")).mean() > 0.2
    assert np.array_equal(column(other, "topic"), column(task.shown, "topic"))


def test_a_taste_for_texts_is_found_in_jokes_that_nobody_rated(jester: Path) -> None:
    right = found(jester, "logistic regression + text", limit=PEOPLE)
    assert right["pair_accuracy"] > 0.7  # of two about the same thing the noise decides: .75 at best
    assert found(jester, "logistic regression + text", wrong=True, limit=PEOPLE)["pair_accuracy"] < 0.6
    assert found(jester, "logistic regression", limit=PEOPLE)["pair_accuracy"] == pytest.approx(0.5)


@RECHUB
@pytest.mark.parametrize("name", ["FM + text", "DeepFM + text"])
def test_machines_find_it_too(jester: Path, name: str) -> None:
    assert found(jester, name, limit=PEOPLE)["pair_accuracy"] > 0.7


@pytest.mark.parametrize("name", ["boosted trees + text", "encoder alone + text"])
def test_trees_and_the_encoder_find_it_too(jester: Path, name: str) -> None:
    assert found(jester, name, limit=PEOPLE)["pair_accuracy"] > 0.7


# ---- MovieLens


def test_films_are_parted_by_time_and_counted_from_what_was_before(films: Path) -> None:
    task = ctr_data.films(films, PEOPLE, 0)
    assert (len(task.teach), len(task.stop), len(task.test)) == (960, 120, 120)
    rated = pd.read_csv(films / "ratings.csv.gz").sort_values(["timestamp", "user_id", "item_id"])
    assert task.truth.tolist() == rated["rating"].tolist()
    first = ~pd.Series(task.shown.people).duplicated().to_numpy()
    assert len(set(column(task.shown, "person's likes")[first])) == 1  # nobody is told of what they have not had
    assert set(column(task.shown, "person's ratings")[first].tolist()) == {1}
    names = task.shown.fields.names
    assert {"age", "gender", "occupation", "genres", "year", "hour", "days", "film", "person"} <= set(names)
    assert len(set(column(task.shown, "genres").tolist())) == 2  # though a title holds a comma


def test_what_comes_later_changes_no_field_of_what_teaches(films: Path, tmp_path: Path) -> None:
    before = ctr_data.films(films, PEOPLE, 0)
    rated = pd.read_csv(films / "ratings.csv.gz")
    late = rated["timestamp"].rank(method="first") > len(before.teach)
    rated.loc[late, "rating"] = 1
    rated.to_csv(tmp_path / "ratings.csv.gz", index=False)
    for name in ("items.csv.gz", "users.csv.gz"):
        (tmp_path / name).write_bytes((films / name).read_bytes())
    after = ctr_data.films(tmp_path, PEOPLE, 0)
    assert np.array_equal(after.shown.ids[before.teach], before.shown.ids[before.teach])
    assert after.shown.fields == before.shown.fields


def test_ratings_of_the_same_second_are_not_before_each_other(films: Path, tmp_path: Path) -> None:
    rated = pd.read_csv(films / "ratings.csv.gz").assign(timestamp=7)
    rated.to_csv(tmp_path / "ratings.csv.gz", index=False)
    (tmp_path / "items.csv.gz").write_bytes((films / "items.csv.gz").read_bytes())
    task = ctr_data.films(tmp_path, PEOPLE, 0)
    for name in ("person's likes", "person's ratings", "film's likes", "film's ratings"):
        assert len(set(column(task.shown, name).tolist())) == 1


def test_with_somebody_elses_past_all_of_the_person_changes_and_the_film_stays(films: Path) -> None:
    task = ctr_data.films(films, PEOPLE, 0)
    other = task.other
    assert other is not None
    test = task.test
    assert (column(other, "person")[test] != column(task.shown, "person")[test]).all()
    assert (column(other, "person's likes")[test] != column(task.shown, "person's likes")[test]).any()
    for name in ("film", "film's likes", "genres", "year", "hour"):
        assert np.array_equal(column(other, name), column(task.shown, name))
    assert np.array_equal(other.ids[task.teach], task.shown.ids[task.teach])


@pytest.mark.parametrize(
    ("users", "told"),
    [
        ("user_id,age\n1,30\n", "is not laid out"),
        ("user_id,age,gender,occupation\n1,3,F,o\n1,3,F,o\n", "somebody twice"),
    ],
)
def test_people_who_are_not_told_as_movielens_does_are_named(
    users: str, told: str, films: Path, tmp_path: Path
) -> None:
    for name in ("items.csv.gz", "ratings.csv.gz"):
        (tmp_path / name).write_bytes((films / name).read_bytes())
    with gzip.open(tmp_path / "users.csv.gz", "wt") as file:
        file.write(users)
    with pytest.raises(CannotRun, match=told):
        ctr_data.films(tmp_path, PEOPLE, 0)


def test_what_everybody_likes_is_found(films: Path) -> None:
    told = found(films, "logistic regression", limit=PEOPLE)
    assert told["auc"] > 0.95
    assert told["logloss"] < 0.3


# ---- clicks


def lines(rows: int = 100) -> list[dict[str, Any]]:
    return [
        {"id": n, "click": int(n % 3 == 0), "hour": f"1410{21 + n % 2}{n % 24:02d}", "C1": f"c{n % 3}", "C14": n % 7}
        for n in range(rows)
    ]


def test_avazu_is_read_with_its_hour_and_without_the_number_of_a_row(tmp_path: Path) -> None:
    pd.DataFrame(lines()).to_csv(tmp_path / "avazu.csv", index=False)
    task = ctr_data.clicks(tmp_path, 1000)
    assert task.shown.fields.names == ("hour", "weekday", "C1", "C14")
    assert [len(rows) for rows in (task.teach, task.stop, task.test)] == [80, 10, 10]
    assert task.other is None
    told = found(tmp_path, "logistic regression", limit=1)
    assert told["auc"] == 1
    assert "pair_accuracy" not in told


def test_a_set_in_three_files_is_parted_as_it_lies(tmp_path: Path) -> None:
    for n, part in enumerate(("train", "valid", "test")):
        pd.DataFrame(lines(30 + 10 * n)).to_csv(tmp_path / f"{part}.csv", index=False)
    task = ctr_data.clicks(tmp_path, 1000)
    assert [len(rows) for rows in (task.teach, task.stop, task.test)] == [30, 40, 50]


def test_criteo_as_it_was_given_out_has_tabs_holes_and_no_header(tmp_path: Path) -> None:
    rows = [
        "\t".join([str(n % 2), *("" if k % 5 == 0 else str(n * k) for k in range(13)), *["a"] * 26]) for n in range(50)
    ]
    with gzip.open(tmp_path / "train.txt.gz", "wt") as file:
        file.write("\n".join(rows))
    task = ctr_data.clicks(tmp_path, 1000)
    assert len(task.shown.fields.names) == 39
    assert set(column(task.shown, "I1").tolist()) == {0}
    assert len(set(column(task.shown, "I2").tolist())) > 5


@pytest.mark.parametrize(
    ("name", "rows", "told"),
    [
        ("a.csv", [{"click": 2, "C1": "a"}] * 9 + [{"click": 0, "C1": "b"}] * 9, "2 is no label"),
        ("a.csv", [{"click": "yes", "C1": "a"}] * 9, "has a click that is no 0 or 1"),
        ("a.csv", [{"C1": "a"}] * 9, "has no column label, click, clk"),
        ("a.csv", [{"click": 1, "C1": "a"}] * 20, "have not both labels"),
        ("a.txt", [{"click": 1, "C1": "a"}] * 20, "is no set of clicks"),
    ],
)
def test_what_is_no_set_of_clicks_is_named(name: str, rows: list[dict[str, Any]], told: str, tmp_path: Path) -> None:
    pd.DataFrame(rows).to_csv(tmp_path / name, index=False)
    with pytest.raises(CannotRun, match=told):
        list(ctr.cells(ctr.Settings(tmp_path)))


# ---- figures


def test_the_calibration_error_is_that_of_the_definition() -> None:
    said = np.array([0.1, 0.1, 0.9, 0.9])
    error, curve = ctr.calibration(np.array([0, 1, 1, 1]), said)
    assert error == pytest.approx((2 * 0.4 + 2 * 0.1) / 4)
    assert curve == [(0.1, 0.5, 2), (0.9, 1.0, 2)]
    assert ctr.calibration(np.array([1, 1]), np.array([1.0, 1.0]))[0] == 0


def test_the_interval_of_an_auc_is_over_people() -> None:
    """Each person's rows say the same: ten copies are no ten times as much."""
    dice = np.random.default_rng(0)
    labels, said = dice.integers(0, 2, 60), dice.random(60)
    people = np.arange(60) // 3
    once = ctr.auc_half(labels, said, people)
    copies = ctr.auc_half(np.tile(labels, 10), np.tile(said, 10), np.tile(people, 10))
    assert copies == pytest.approx(once, rel=1e-6)
    assert ctr.auc_half(np.tile(labels, 10), np.tile(said, 10), np.arange(600)) < 0.5 * once


def test_a_whole_run_has_floors_a_language_model_and_a_control(jester: Path, tiny_folder: Path, tmp_path: Path) -> None:
    methods = ("random", "base rate", "popularity by text", "true popularity (oracle)", "LLM-CTR two phases + reading")
    settings = ctr.Settings(jester, limit=12, seeds=1, model=str(tiny_folder), methods=methods, steps=4, batch=2)
    *_, result = run(ctr, settings, tmp_path)
    assert isinstance(result, dict)
    assert not result["failed"]
    rows = {row["method"]: row for row in result["rows"]}
    assert set(rows) == {*methods, f"{methods[-1]}{WRONG}"}
    assert rows["base rate"]["auc"] == 0.5
    assert rows["random"]["pair_accuracy"] == pytest.approx(0.5, abs=0.1)
    assert rows["true popularity (oracle)"]["pair_accuracy"] > 0.4
    assert "over_wrong" in rows[methods[-1]]
    assert json.dumps(result)


def test_a_setting_without_sense_is_refused(jester: Path) -> None:
    with pytest.raises(CannotRun, match="steps is 0"):
        list(ctr.cells(ctr.Settings(jester, steps=0)))
    with pytest.raises(CannotRun, match="is no method here"):
        list(ctr.cells(ctr.Settings(jester, methods=("magic",))))


def test_without_texts_there_are_no_rows_with_them(tmp_path: Path) -> None:
    pd.DataFrame(lines()).to_csv(tmp_path / "avazu.csv", index=False)
    names = {cell.of["method"] for cell in ctr.cells(ctr.Settings(tmp_path, seeds=1))}
    assert "LLM-CTR one phase" in names
    assert not any("+" in str(name) or WRONG in str(name) for name in names)


def test_a_task_has_its_rows_once(films: Path) -> None:
    task: Task = ctr_data.task(films, PEOPLE, 0)
    assert len({*task.teach.tolist(), *task.stop.tolist(), *task.test.tolist()}) == len(task.shown)
