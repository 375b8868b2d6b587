"""How benchmarks are run and kept, and the scores that they use, on data small enough to count by hand."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from studies.benchmarks import jester, offline, runs, scores, tables
from studies.benchmarks.jester_intervals import half_over_both, half_over_people
from studies.benchmarks.runs import CannotRun, Cell, Done, run, save, settings_of


@dataclass(frozen=True)
class Settings:
    data: Path
    limit: int = 9
    seeds: int = 2


class Toy(SimpleNamespace):
    """A benchmark that counts how often a cell is computed, and fails where it is told to."""

    __name__ = "toy"
    __file__ = __file__
    Settings = Settings

    def files(self, settings: Settings) -> list[Path]:
        return [settings.data / "a.txt"]

    def cells(self, settings: Settings) -> Iterator[Cell]:
        for seed in range(settings.seeds):
            yield Cell({"method": "m", "seed": seed}, lambda seed=seed: self.made(seed))

    def made(self, seed: int) -> Done:
        self.count += 1
        if seed in self.bad:
            raise ValueError("no such luck")
        return Done({"value": seed / 3}, [[seed, "said"]])


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    (tmp_path / "a.txt").write_text("x")
    return Toy(count=0, bad=set(), settings=Settings(tmp_path))


def last(toy: Toy, tmp_path: Path) -> dict[str, Any]:
    return list(run(toy, toy.settings, tmp_path / "work"))[-1]


def test_cells_that_are_done_are_not_computed_again_and_one_that_failed_is(toy: Toy, tmp_path: Path) -> None:
    toy.bad = {0}
    first = last(toy, tmp_path)
    assert [row["seed"] for row in first["rows"]] == [1]
    assert first["failed"] == [{"method": "m", "seed": 0, "error": "ValueError: no such luck"}]
    toy.bad = set()
    again = last(toy, tmp_path)
    assert [row["value"] for row in again["rows"]] == [0, 0.33333]
    assert (again["failed"], toy.count) == ([], 3)
    assert again["rows"][1] == first["rows"][0]
    assert again.keys() >= {"commit", "versions", "machine", "data", "settings", "wall_seconds"}
    assert len(list((tmp_path / "work").rglob("*.predictions.jsonl.gz"))) == 3 - 1


def test_processes_share_a_work_folder_by_seeds(toy: Toy, tmp_path: Path) -> None:
    for seed in (1, 0):
        *_, part = run(toy, toy.settings, tmp_path / "work", seed)
        assert isinstance(part, dict)
        assert [row["seed"] for row in part["rows"]] == [seed]
    assert [row["seed"] for row in last(toy, tmp_path)["rows"]] == [0, 1]
    assert toy.count == 2
    with pytest.raises(CannotRun, match="there is no cell of seed 7: leave --only out"):
        list(run(toy, toy.settings, tmp_path / "work", 7))


@pytest.mark.parametrize("killed", [False, True])
def test_two_runs_at_once_share_the_cells_and_what_a_killed_one_was_at_is_not_lost(
    toy: Toy, tmp_path: Path, killed: bool
) -> None:
    first, second = (run(toy, toy.settings, tmp_path / "work") for _ in range(2))
    assert "seed 0" in str(next(first))  # and not done with it
    with ThreadPoolExecutor(1) as beside:
        assert "seed 1" in str(beside.submit(next, second).result())
        rest = beside.submit(list, second)
        mine = [first.close()] if killed else list(first)
        theirs = rest.result(timeout=20)
    assert toy.count == 2
    for result in theirs[-1:] if killed else (mine[-1], theirs[-1]):
        assert [row["seed"] for row in result["rows"]] == [0, 1]
    assert len(theirs) == 1 + killed  # of a killed one's cell it tells, of one that was computed elsewhere not


def test_what_failed_here_and_was_computed_elsewhere_has_not_failed(toy: Toy, tmp_path: Path) -> None:
    toy.bad = {0}
    first = run(toy, toy.settings, tmp_path / "work")
    assert "seed 0" in str(next(first))
    assert "no such luck" in str(next(first))
    assert "seed 1" in str(next(first))
    toy.bad = set()
    list(run(toy, toy.settings, tmp_path / "work", 0))
    *_, result = first
    assert isinstance(result, dict)
    assert ([row["seed"] for row in result["rows"]], result["failed"]) == ([0, 1], [])


def test_two_files_of_one_name_are_both_told_and_neither_stands_for_the_other(tmp_path: Path) -> None:
    paths = [tmp_path / part / "x" / "questions.json" for part in ("taught", "judged")]
    for n, path in enumerate(paths):
        path.parent.mkdir(parents=True)
        path.write_text(str(n))
    there, back = (dict(runs._named_files(some)) for some in (paths, paths[::-1]))
    assert list(there) == list(back) == ["x/questions.json", "x/questions.json (2)"]
    assert list(there.values()) == list(back.values())[::-1]
    assert len(set(there.values())) == 2


def test_other_data_or_settings_are_other_cells(toy: Toy, tmp_path: Path) -> None:
    before = last(toy, tmp_path)["data"]
    (tmp_path / "a.txt").write_text("y")
    assert last(toy, tmp_path)["data"] != before
    assert toy.count == 4
    list(run(toy, Settings(tmp_path, limit=8), tmp_path / "work"))
    assert toy.count == 6


def test_more_rows_are_computed_beside_those_that_are_there(toy: Toy, tmp_path: Path) -> None:
    last(toy, tmp_path)
    *_, more = run(toy, Settings(tmp_path, seeds=3), tmp_path / "work")
    assert isinstance(more, dict)
    assert ([row["seed"] for row in more["rows"]], toy.count) == ([0, 1, 2], 3)


def test_a_result_is_not_edited(toy: Toy, tmp_path: Path) -> None:
    result = last(toy, tmp_path)
    assert json.loads(save(result, "one", tmp_path).read_text()) == result
    with pytest.raises(CannotRun, match="not edited"):
        save(result, "one", tmp_path)


def test_a_setting_that_is_not_known_is_told() -> None:
    with pytest.raises(CannotRun, match="'sedes' is no setting here: use data, limit, seeds"):
        settings_of(Toy(), {"sedes": 3})


def test_every_experiment_can_be_read_and_its_result_is_of_it() -> None:
    found = sorted(runs.EXPERIMENTS.glob("*.json"))
    assert found
    for path in found:
        told = json.loads(path.read_text())
        assert told["why"]
        benchmark = offline.BENCHMARKS[told["benchmark"]]
        settings = settings_of(benchmark, {"data": Path(), **offline._experiment(path.stem, told["benchmark"])})
        result = json.loads((runs.RESULTS / path.name).read_text())
        now = json.loads(json.dumps(runs.plain(settings)))
        usual = json.loads(json.dumps(runs.plain(settings_of(benchmark, {"data": Path()}))))
        assert {**usual, **result["settings"]} == now, "a setting that came later has its usual value"
        assert "+" not in result["commit"]
    assert {path.name for path in runs.RESULTS.glob("*.json")} == {path.name for path in found}


# ---- scores


def test_pairs_are_within_users_and_ties_are_half() -> None:
    truth = np.array([1.0, 2, 3, 9, 9])
    said = np.array([1.0, 1, 5, 0, 7])
    hits, of = scores.within_users(truth, said, np.array([0, 0, 0, 1, 1]))
    assert (hits.tolist(), of.tolist()) == ([2.5, 0.0], [3.0, 0.0])
    found = scores.of_ratings(truth, said, np.array([0, 0, 0, 1, 1]), span=20.0)
    assert found["pair_accuracy"] == pytest.approx(2.5 / 3)
    assert found["nmae"] == pytest.approx((0 + 1 + 2 + 9 + 2) / 5 / 20)


def test_the_interval_is_over_users_and_not_over_their_pairs() -> None:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(400):
        of = rng.integers(1, 60, 50).astype(float)
        chance = np.clip(rng.normal(0.6, 0.15, 50), 0, 1)
        hits = rng.binomial(of.astype(int), chance).astype(float)
        share, half = scores.ratio(hits, of)
        found.append(abs(share - 0.6) <= half)
    assert 0.90 <= np.mean(found) <= 0.98


def test_labels_are_scored_as_lamp_does() -> None:
    labels = ("comedy", "dark comedy", "action")
    said = ["comedy", " comedy\n", "dark comedy", "It is comedy.", None, "Action"]
    gold = ["comedy", "comedy", "comedy", "comedy", "action", "action"]
    found = scores.classification(gold, said, labels)
    assert found["accuracy"] == pytest.approx(2 / 6)
    assert found["parse_failures"] == 3  # a sentence that holds the label, nothing, and another case
    assert found["macro_f1"] == pytest.approx((2 * 2 / (4 + 2) + 0 + 0) / 3)


def test_a_rating_that_cannot_be_read_is_the_farther_end() -> None:
    found = scores.regression([2, 4, 3, 5], ["2", "good", "", " 4.0 "])
    assert found["mae"] == pytest.approx((0 + 3 + 2 + 1) / 4)
    assert found["parse_failures"] == 2


# ---- Jester


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty people and twelve jokes about two things; half of the people like one, half the other."""
    folder = tmp_path_factory.mktemp("jester")
    rng = np.random.default_rng(1)
    about = ("The cat and the dog of my neighbour, part {}", "A printer without ink in the office, number {}")
    jokes = [about[n % 2].format(n) for n in range(12)]
    lines = ["joke_id,jester_dataset,n_ratings_shared,mean_rating_shared,text"]
    (folder / "jokes.csv").write_text("\n".join([*lines, *(f'{n},1,0,0,"{text}"' for n, text in enumerate(jokes))]))
    rows = ["user_id,joke_id,rating"]
    for user in range(60):
        for joke in range(12):
            value = np.clip((4 if joke % 2 == user % 2 else -4) + joke / 4 + rng.normal(0, 2), -10, 10)
            rows.append(f"{user},{joke},{value:.2f}")
    (folder / "ratings.csv").write_text("\n".join(rows))
    import pandas as pd

    pd.read_csv(folder / "ratings.csv").to_csv(folder / "ratings.csv.gz", index=False)
    return folder


def test_nothing_that_judges_is_known_to_a_predictor(small: Path) -> None:
    settings = jester.Settings(small, limit=60)
    splits = [jester.held_ratings(settings, 0), *jester.folds(settings, 0)]
    splits += [jester._new_users(k)(settings, 0) for k in (0, 2)]
    for split in splits:
        assert not (~np.isnan(split.known) & ~np.isnan(split.held)).any()
    known = ~np.isnan(splits[-1].known)
    assert sorted(set(known.sum(1))) == [2, 12]
    held = [np.isnan(split.held).tolist() for split in splits[-2:]]
    assert held[0] == held[1], "the same ratings judge whatever is known"


def test_own_texts_find_a_taste_that_means_do_not(small: Path) -> None:
    settings = jester.Settings(small, limit=60, text_ridge=4.0)
    figures = {
        name: jester._cell(settings, 0, jester.PREDICTORS[name], jester.held_ratings)().figures["pair_accuracy"]
        for name in ("user mean", "joke mean", "biases", "Gaussian", "own texts", "biases and own texts")
    }
    assert figures["user mean"] == 0.5
    assert figures["joke mean"] < 0.7
    assert min(figures["own texts"], figures["Gaussian"], figures["biases and own texts"]) > 0.8
    unseen = {name: jester._unseen(settings, 0, jester.PREDICTORS[name])().figures for name in jester.PREDICTORS
              if name in ("own texts", "text mean", "true mean (oracle)")}  # fmt: skip
    assert unseen["own texts"]["pair_accuracy"] > 0.8 > unseen["text mean"]["pair_accuracy"]


def test_neighbours_and_factors_find_two_tastes(small: Path) -> None:
    """LensKit's, which requirements-bench.txt adds: each half of the people has a taste of its own."""
    pytest.importorskip("lenskit")
    settings = jester.Settings(small, limit=60)
    for split, least in ((jester.held_ratings, 0.8), (jester._new_users(2), 0.7)):
        right = {
            name: jester._cell(settings, 0, jester.PREDICTORS[name], split)().figures["pair_accuracy"]
            for name in ("joke mean", "item-kNN", "ALS")
        }
        assert right["joke mean"] < 0.65
        assert min(right["item-kNN"], right["ALS"]) > least, right


def test_an_interval_over_both_sums_over_all_pairs_that_share_a_person_or_a_joke() -> None:
    rng = np.random.default_rng(5)
    group = np.repeat(np.arange(24), 6)  # twelve people in two folds, of eight jokes each
    joke = np.concatenate([rng.permutation(8)[:6] + 8 * (n // 12) for n in range(24)])
    truth = rng.integers(0, 9, 16)[joke] + rng.integers(0, 4, 144).astype(float)
    said = rng.integers(0, 9, 16)[joke].astype(float)
    pairs = [
        (group[a] % 12, {joke[a], joke[b]}, (np.sign(truth[a] - truth[b]) * np.sign(said[a] - said[b]) + 1) / 2)
        for a in range(144) for b in range(a) if group[a] == group[b] and truth[a] != truth[b]
    ]  # fmt: skip
    share = np.mean([hit for *_, hit in pairs])
    variance = sum(
        (hit - share) * (other - share) * (12 / 11 if person == someone else 1)
        for person, jokes, hit in pairs for someone, theirs, other in pairs if person == someone or jokes & theirs
    ) / len(pairs) ** 2  # fmt: skip
    half = half_over_both(truth, said, group, joke, 12)
    assert half == pytest.approx(1.96 * np.sqrt(variance))
    assert half > 2 * half_over_people(truth, said, group, 12)
    alone = group % 12 == 0
    assert np.isnan(half_over_both(truth[alone], said[alone], group[alone], joke[alone], 12)), (
        "of one person there is none"
    )


def test_where_jokes_are_few_an_interval_over_people_alone_misses() -> None:
    """People who agree, and jokes whose quality is foretold badly: other jokes are foretold otherwise."""
    rng = np.random.default_rng(6)
    user, joke = (part.ravel() for part in np.indices((15, 40)))

    def world() -> tuple[np.ndarray, np.ndarray]:
        quality = rng.normal(size=40)
        return quality[joke] + rng.normal(0, 1, 600), (quality + rng.normal(size=40))[joke]

    worlds = [world() for _ in range(150)]
    found = np.array([scores.ratio(*scores.within_users(*one, user))[0] for one in worlds])
    off = np.abs(found - found.mean())
    people, both = (
        np.mean([abs_ <= half(*one) for abs_, one in zip(off, worlds, strict=True)])
        for half in (lambda *one: half_over_people(*one, user, 15), lambda *one: half_over_both(*one, user, joke, 15))
    )
    assert people < 0.6
    assert 0.88 < both < 0.99


def test_somebody_in_five_folds_is_one_person() -> None:
    truth, said = np.tile([1.0, 2, 3, 1, 2, 3], 2), np.tile([1.0, 2, 3, 3, 2, 1], 2)
    one, two = (
        np.repeat([0, 1], 3),
        np.repeat([0, 1, 2, 3], 3),
    )  # a second fold that repeats the first tells nothing new
    assert half_over_people(truth, said, two, 2) == half_over_people(truth[:6], said[:6], one, 2)
    assert half_over_people(truth, said, two, 4) < 0.8 * half_over_people(truth, said, two, 2)


def test_only_rows_that_are_named_are_computed_and_shown(small: Path, tmp_path: Path, capsys: Any) -> None:
    told = ["--data", str(small), "--limit", "60", "--seeds", "1", "--json", "--work", str(tmp_path / "work")]
    assert offline.main("jester", [*told, "--methods", "joke mean, text mean"]) == 0
    written = capsys.readouterr().out
    assert {row["method"] for row in json.loads(written)["rows"]} == {"joke mean", "text mean"}
    assert offline.main("jester", [*told, "--methods", "joke median"]) == 2
    assert "'joke median' is no method here: use all, random, one number" in capsys.readouterr().err
    (tmp_path / "mine.json").write_text(written)
    assert tables.main([str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("## mine\n\n**A fifth of all ratings held out**")
    assert "| joke mean | ." in shown
    assert "jester --data DIR` with limit 60, seeds 1, methods joke mean + text mean: commit" in shown
    assert offline.main("jester", [*told, "--methods", "text mean"]) == 0
    (tmp_path / "mine.json").write_text(capsys.readouterr().out)
    assert tables.main([str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "text mean" in shown
    assert "held out" not in shown
    assert "New people" not in shown


def test_a_folder_without_results_is_told(tmp_path: Path, capsys: Any) -> None:
    assert tables.main([str(tmp_path)]) == 2
    assert "holds no results" in capsys.readouterr().err
    (tmp_path / "other.json").write_text("[]")
    assert tables.main([str(tmp_path)]) == 2
    assert "other.json is no result of" in capsys.readouterr().err


def test_the_next_film_has_a_line_a_method_over_all_seeds(tmp_path: Path) -> None:
    same = {"ndcg10_half": 0.02, "ndcg20": 0.3, "recall10": 0.4, "recall20": 0.5, "mrr": 0.125, "latency": 0.0625}
    learned = {**same, "method": "item_lm", "trained_parameters": 1_234_567}
    rows = [
        {**same, "method": "popularity", "ndcg10": 0.04},
        *({**learned, "ndcg10": n / 10, "train_seconds": took} for n, took in ((1, 10), (2, 400), (3, 20))),
        *({**learned, "method": "item_lm, wrong person", "ndcg10": n / 100, "train_seconds": 1} for n in (1, 5)),
    ]
    told = {"benchmark": "movielens", "settings": {"split": "time"}, "data": {"m/ratings.dat": "ab"}, "failed": []}
    told |= {"rows": [{**row, "peak_mb": 100} for row in rows], "wall_seconds": 60, "commit": "c", "machine": "m"}
    (tmp_path / "films.json").write_text(json.dumps(told))
    head, _, *lines = tables.movielens("films", tmp_path).splitlines()
    assert head == (
        "| method | NDCG@10 | wrong person | NDCG@20 | Recall@10 | Recall@20 | MRR | trained | seconds of training "
        "| seconds a person |"
    )
    assert lines == [
        "| popularity | .040 ± .020 |  | .300 | .400 | .500 | .125 | 0 | 0 | .062 |",
        "| item_lm | .200 ± .020 | .030 ± .020 | .300 | .400 | .500 | .125 | 1,234,567 | 20 | .062 |",
    ]
    assert "movielens --data DIR` with split time: commit" in tables.page(tmp_path)
    (tmp_path / "films.json").write_text(json.dumps({**told, "rows": [], "failed": [{"error": "e"}] * 3}))
    assert "3 cells failed" in tables.page(tmp_path)


@pytest.mark.parametrize("name", ["humour", "jester", "lamp"])
def test_a_run_whose_every_cell_failed_has_a_page(name: str, tmp_path: Path) -> None:
    told = json.loads((runs.RESULTS / f"{'lamp2_like' if name == 'lamp' else name}.json").read_text())
    (tmp_path / "x.json").write_text(json.dumps({**told, "rows": [], "failed": [{"error": "e"}] * 3}))
    assert "3 cells failed" in tables.page(tmp_path)


def test_missing_or_other_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(CannotRun, match=r"jokes\.csv is not there"):
        jester.files(jester.Settings(tmp_path))
    for name in ("jokes.csv", "ratings.csv.gz"):
        (tmp_path / name).write_text("<html>404</html>")
    (tmp_path / "ratings.csv.gz").unlink()
    import pandas as pd

    pd.DataFrame({"a": [1]}).to_csv(tmp_path / "ratings.csv.gz")
    with pytest.raises(CannotRun, match="are not Jester's"):
        jester.table(tmp_path, 5)
