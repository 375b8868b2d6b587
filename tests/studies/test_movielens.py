"""The next film, on made-up people: what is read, who judges whom with what, and what every row must find."""

import gzip
import json
import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from studies.benchmarks import movielens, movielens_files, movielens_rows
from studies.benchmarks.movielens_files import LAYOUTS
from studies.benchmarks.movielens_rows import Parts
from studies.benchmarks.runs import CannotRun, run
from studies.benchmarks.scores import WRONG

CSV, _, DAT = LAYOUTS
HTML = b"<html>\n<head><title>404 Not Found</title></head>\n</html>\n"
GUESSED = sum(1 / math.log2(rank + 1) for rank in range(1, 11))  # NDCG@10 by chance, times how many films there are
FILMS, PEOPLE, LONG = 24, 100, 9


def written(folder: Path, rated: Iterable[tuple[int, int, int]], layout: tuple[str, str] = CSV) -> Path:
    """Person, film and time of each rating as the files of a layout; film 99 is described, and nobody had it."""
    rows = [(person, film, 4, at) for person, film, at in rated]
    known = sorted({film for _, film, *_ in rows} | {99})
    films = [(film, f"Été {film}, L' (1990) ", "Comedy|Drama") for film in known]
    folder.mkdir(exist_ok=True)
    if layout == DAT:
        for name, lines in zip(layout, (rows, films), strict=True):
            text = "".join("::".join(map(str, line)) + "\n" for line in lines)
            (folder / name).write_text(text, encoding="latin-1")
        return folder
    item = "item_id" if layout == CSV else "movie_id"
    ratings = pd.DataFrame(rows, columns=["user_id", item, "rating", "timestamp"])
    ratings.to_csv(folder / layout[0], index=False)
    described = pd.DataFrame(films, columns=[item, "title", "genres"]).assign(release_date="01-Jan-1990")
    described.to_csv(folder / layout[1], index=False)
    return folder


def one_after_another(person: int, *films: int) -> list[tuple[int, int, int]]:
    return [(person, film, at) for at, film in enumerate(films)]


def numbers(*films: int) -> list[int]:
    """Of films that are all there from 1 on."""
    return [film - 1 for film in films]


@pytest.fixture(scope="module")
def circle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """After film n comes n + 1, from any beginning."""
    starts = np.random.default_rng(0).integers(0, FILMS, PEOPLE).tolist()
    rated = [
        line
        for person, start in enumerate(starts)
        for line in one_after_another(person, *((start + np.arange(LONG)) % FILMS + 1).tolist())
    ]
    return written(tmp_path_factory.mktemp("circle"), rated)


def found(data: Path, name: str, seed: int = 0, wrong: bool = False) -> dict[str, Any]:
    return movielens._cell(movielens.Settings(data), name, seed, wrong)().figures


# ---- what is read


@pytest.mark.parametrize("layout", LAYOUTS)
def test_three_layouts_hold_the_same(layout: tuple[str, str], tmp_path: Path) -> None:
    rated = [*one_after_another(10, 3, 20, 1), *one_after_another(9, 20, 3)]
    assert [path.name for path in movielens_files.files(written(tmp_path, rated, layout))] == list(layout)
    films = movielens_files.read(tmp_path)
    assert films.ids == ("1", "3", "20")
    assert films.texts == tuple(f"Été {film}, L' (1990), Comedy, Drama" for film in films.ids)
    of = dict(zip(films.people, (had.tolist() for had in films.histories), strict=True))
    assert of == {"10": [1, 2, 0], "9": [2, 1]}
    assert {person: had.tolist() for person, had in movielens_files.times(tmp_path).items()} == {
        "10": [0, 1, 2],
        "9": [0, 1],
    }


def test_a_folder_without_both_files_of_a_layout_is_told(tmp_path: Path) -> None:
    written(tmp_path, one_after_another(1, 1, 2))
    (tmp_path / "items.csv.gz").rename(tmp_path / "films.csv.gz")
    with pytest.raises(CannotRun, match=r"holds no MovieLens: put ratings\.csv\.gz and items\.csv\.gz or "):
        movielens.files(movielens.Settings(tmp_path))


def unpacked(edit: Callable[[str], str]) -> Callable[[bytes], bytes]:
    return lambda raw: gzip.compress(edit(gzip.decompress(raw).decode()).encode())


@pytest.mark.parametrize(
    ("layout", "place", "edit", "words"),
    [
        (CSV, 0, unpacked(lambda text: text.replace("timestamp", "when")), r"is not laid out as MovieLens is .*'time'"),
        (CSV, 1, unpacked(lambda text: text.replace("title", "name")), r"is not laid out as MovieLens is .*'title'"),
        (CSV, 0, unpacked(lambda text: text + "1,3,good,9\n"), "holds a rating that is no number: fetch it again"),
        (CSV, 0, unpacked(lambda text: text + "1,3,4,9 o'clock\n"), "holds a time that is no number: fetch it again"),
        (CSV, 0, unpacked(lambda text: text + "1,2,5,9\n"), "holds 1 ratings of a film by .*: take each once"),
        (CSV, 0, unpacked(lambda text: text + "1,3,4,\n"), "has a line without time: fetch it again"),
        (CSV, 1, unpacked(lambda text: text + "98,,Drama,\n"), "has a line without title: fetch it again"),
        (CSV, 0, unpacked(lambda _: HTML.decode()), "is not laid out as MovieLens is .*: fetch it again"),
        (CSV, 0, lambda _: HTML, "is not laid out as MovieLens is .*: fetch it again"),
        (CSV, 1, lambda raw: raw[:-9], "is not laid out as MovieLens is .*: fetch it again"),
        (DAT, 0, lambda _: HTML, "has a line without item: fetch it again"),
        (DAT, 1, lambda _: HTML, "has a line without title: fetch it again"),
        (DAT, 0, lambda raw: raw + b"1::3::good::9\n", "holds a rating that is no number: fetch it again"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_named(
    layout: tuple[str, str], place: int, edit: Callable[[bytes], bytes], words: str, tmp_path: Path
) -> None:
    path = written(tmp_path, [*one_after_another(1, 1, 2), *one_after_another(2, 3)], layout) / layout[place]
    path.write_bytes(edit(path.read_bytes()))
    with pytest.raises(CannotRun, match=f"^{path} {words}"):
        movielens_files.read(tmp_path)


def test_a_film_that_is_rated_and_not_described_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, one_after_another(1, 1, 2), DAT) / "ratings.dat"
    path.write_bytes(path.read_bytes() + b"1::98::4::9\n")
    with pytest.raises(CannotRun, match=r"film 98 is rated in ratings\.dat and is not in movies\.dat: fetch both"):
        movielens_files.read(tmp_path)


def test_whose_last_film_is_not_sure_is_counted(tmp_path: Path) -> None:
    ends = {1: (5, 7, 7), 2: (7, 7, 8), 3: (7,), 4: (7, 7)}  # times of what each had
    rated = [(person, film, at) for person, times in ends.items() for film, at in enumerate(times, 1)]
    assert movielens_files.read(written(tmp_path, rated)).unsure == 2 / 4


def test_which_of_one_second_came_last_is_said_by_a_hash_and_not_by_the_file(tmp_path: Path) -> None:
    rated = [(person, film, 5) for person in range(3) for film in range(1, 9)]
    there, back = (movielens_files.read(written(tmp_path / str(n), rated[::way])) for n, way in enumerate((1, -1)))
    for n, person in enumerate(there.people):
        order = sorted(range(1, 9), key=lambda film: sha256(f"{person}|{film}".encode()).digest())
        assert there.histories[n].tolist() == back.histories[n].tolist() == numbers(*order)


# ---- what teaches and what judges


def test_of_each_person_the_last_film_judges_and_the_one_before_stops(tmp_path: Path) -> None:
    rated = [*one_after_another(1, 4, 2, 3, 1), *one_after_another(2, 2, 1), *one_after_another(3, 1, 4, 2)]
    _, parts, people = movielens.parted(movielens.Settings(written(tmp_path, rated)))
    assert people == ("1", "3")  # two films leave nothing to learn from
    assert [had.tolist() for had in parts.taught] == [numbers(4, 2), numbers(1)]
    assert [(had.tolist(), target) for had, target in parts.validation] == [
        (numbers(4, 2), *numbers(3)),
        (numbers(1), *numbers(4)),
    ]
    assert [(had.tolist(), target) for had, target in parts.test] == [
        (numbers(4, 2, 3), *numbers(1)),
        (numbers(1, 4), *numbers(2)),
    ]
    assert parts.counts.tolist() == [1, 1, 0, 1]


def test_by_time_nothing_that_teaches_or_is_known_lies_after_the_moment(tmp_path: Path) -> None:
    pairs = [(person, film) for person in range(10) for film in range(1, 11)]
    at = dict(zip(pairs, np.random.default_rng(4).permutation(100).tolist(), strict=True))
    data = written(tmp_path, [(person, film, when) for (person, film), when in at.items()])
    films, parts, people = movielens.parted(movielens.Settings(data, split="time"))

    def between(person: str, start: int, end: int) -> list[int]:
        mine = sorted((when, film) for (who, film), when in at.items() if str(who) == person and start <= when < end)
        return numbers(*(film for _, film in mine))

    def next_of(start: int, end: int) -> dict[str, tuple[list[int], int]]:
        cut = {person: (between(person, 0, start), between(person, start, end)) for person in films.people}
        return {person: (before, after[0]) for person, (before, after) in cut.items() if before and after}

    assert [had.tolist() for had in parts.taught] == [between(person, 0, 80) for person in films.people]
    stopping, judging = next_of(80, 90), next_of(90, 100)
    assert [(had.tolist(), target) for had, target in parts.validation] == list(stopping.values())
    assert [(had.tolist(), target) for had, target in parts.test] == list(judging.values())
    assert people == tuple(judging)
    assert 0 < len(stopping) < 10 > len(judging) > 0


def test_a_limit_takes_people_by_a_hash_and_leaves_what_teaches(circle: Path) -> None:
    (_, whole, everybody), (_, parts, people) = (
        movielens.parted(movielens.Settings(circle, limit=limit)) for limit in (1000, 5)
    )
    assert set(people) == set(sorted(everybody, key=lambda person: sha256(person.encode()).digest())[:5])
    assert (len(parts.taught), len(parts.validation)) == (len(whole.taught), len(whole.validation)) == (PEOPLE, PEOPLE)
    of = dict(zip(everybody, whole.test, strict=True))
    for person, (had, target) in zip(people, parts.test, strict=True):
        assert (had.tolist(), target) == (of[person][0].tolist(), of[person][1])


def test_everybodys_past_stands_in_once_and_nobody_gets_their_own() -> None:
    known = [np.array([n]) for n in range(9)]
    drawn = [[int(had[0]) for had in movielens.strangers(known, seed)] for seed in range(20)]
    for given in drawn:
        assert sorted(given) == list(range(9))
        assert all(mine != other for mine, other in enumerate(given))
    assert len(set(map(tuple, drawn))) > 10
    with pytest.raises(CannotRun, match="at least two people: judge more of them"):
        movielens.strangers(known[:1], 0)


# ---- rows


def test_at_random_is_what_guessing_gets(circle: Path) -> None:
    rows = [found(circle, "random", seed) for seed in range(6)]
    left = FILMS - (LONG - 1)  # what was had before does not compete
    assert np.mean([row["ndcg10"] for row in rows]) == pytest.approx(GUESSED / left, abs=0.04)
    assert np.mean([row["recall10"] for row in rows]) == pytest.approx(10 / left, abs=0.06)
    assert len({row["ndcg10"] for row in rows}) == 6


def test_popularity_is_as_it_is_counted_by_hand(tmp_path: Path) -> None:
    pasts = {1: (1, 2, 3, 4), 2: (1, 3, 4, 2), 3: (1, 2, 4, 5), 4: (2, 1, 5, 3)}  # all have 1, three 2, one 3
    rated = [line for person, films in pasts.items() for line in one_after_another(person, *films)]
    row = found(written(tmp_path, rated), "popularity")
    second = 1 / math.log2(3)
    each = [(1 + second) / 2, 1, second, 1]  # 4 ties with 5, 2 is ahead of 5, 5 behind 3, 3 ahead of 4
    assert row["ndcg10"] == row["ndcg20"] == pytest.approx(np.mean(each))
    assert row["ndcg10_half"] == pytest.approx(1.96 * np.std(each, ddof=1) / math.sqrt(4))
    assert row["mrr"] == pytest.approx((3 / 4 + 1 + 1 / 2 + 1) / 4)
    assert (row["recall10"], row["people"], row["unsure"]) == (1, 4, 0)


def test_a_film_of_the_shop_is_the_one_of_the_data(circle: Path) -> None:
    settings = movielens.Settings(circle)
    (films, parts, _), (shop, places) = movielens.parted(settings), movielens.shop(settings)
    assert [shop.items.ids[n] for n in places] == list(films.ids)
    assert [shop.texts[n] for n in places] == list(films.texts)
    assert shop.counts[places].tolist() == parts.counts.tolist()


def test_neighbours_find_what_others_had_beside_it(circle: Path) -> None:
    """LensKit's, which requirements-bench.txt adds."""
    pytest.importorskip("lenskit")
    right, wrong = (found(circle, "item-kNN", wrong=wrong)["ndcg10"] for wrong in (False, True))
    assert right > 0.8 > 1.5 * wrong
    parts = Parts(4, tuple(np.array(had) for had in ([0, 1], [0, 1], [2, 1])), (), ())
    scored = movielens_rows.item_knn(parts, 0)[0]([np.array([0]), np.array([3, 0]), np.array([3])])
    assert scored[0].argmax() == 1
    assert scored[1].tolist() == scored[0].tolist()  # what nobody had says nothing
    assert not scored[2].any()


@pytest.mark.parametrize("name", ["SASRec BCE", "SASRec softmax"])
def test_self_attention_finds_what_follows_what(name: str, circle: Path) -> None:
    """torch-rechub's, which requirements-bench.txt adds."""
    pytest.importorskip("torch_rechub")
    right, wrong = (found(circle, name, wrong=wrong) for wrong in (False, True))
    assert right["ndcg10"] > max(0.6, wrong["ndcg10"] + 0.2)
    assert min(right["train_seconds"], right["trained_parameters"], right["validation_ndcg10"]) > 0
    scored, _ = movielens._classic(movielens.Settings(circle), name, 0)
    histories = [np.array([3]), np.array([3, 4, 5]), np.arange(20), np.arange(150) % FILMS]
    together = scored(histories)
    assert together.shape == (4, FILMS)
    assert together == pytest.approx(np.array([scored([history])[0] for history in histories]), abs=1e-4)


# ---- the whole


def test_a_language_model_finds_what_follows_what_and_not_with_somebody_elses_past(
    circle: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    learned = ("item_lm", "item_lm + LoRA")
    settings = movielens.Settings(
        circle, seeds=1, model=str(tiny_folder), methods=("random", "popularity", *learned), steps=50, lr=1.5e-2
    )
    *_, result = run(movielens, settings, tmp_path / "work")
    assert isinstance(result, dict)
    assert result["failed"] == []
    rows = {row["method"]: row for row in result["rows"]}
    assert list(rows) == ["random", "popularity", *(f"{name}{wrong}" for name in learned for wrong in ("", WRONG))]
    chance = GUESSED / (FILMS - LONG + 1)
    for name in learned:
        row, wrong = rows[name], rows[f"{name}{WRONG}"]
        assert row["ndcg10"] > 1.3 * max(chance, rows["popularity"]["ndcg10"], wrong["ndcg10"])
        assert row["over_wrong"] == pytest.approx(row["ndcg10"] - wrong["ndcg10"], abs=1e-4)
        assert row["over_wrong"] > row["over_wrong_half"] > 0
        assert row["validation_ndcg10"] > 1.3 * chance
        assert wrong["trained_parameters"] == row["trained_parameters"]
    adapters, lora = (rows[name] for name in learned)
    assert lora["trained_parameters"] > adapters["trained_parameters"] > FILMS * 384
    assert lora["train_seconds"] > lora["seconds"]  # the adapters' as well, which were there already
    begun = -movielens._taught(settings, "item_lm + LoRA", 0).before
    assert begun == pytest.approx(adapters["validation_ndcg10"], abs=0.01)  # where the adapters had come to
    kept = [gzip.decompress(path.read_bytes()).splitlines() for path in (tmp_path / "work").rglob("*.gz")]
    assert [len(lines) for lines in kept] == [PEOPLE] * len(rows)
    assert {len(json.loads(line)) for lines in kept for line in lines} == {4}


# ---- what cannot be


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"limit": 0}, "limit is 0: take 1 at least"),
        ({"steps": 0}, "steps is 0: take 1 at least"),
        ({"batch": -1}, "batch is -1: take 1 at least"),
        ({"split": "week"}, "'week' is no split: use last or time"),
        ({"methods": ("SASRec",)}, "'SASRec' is no method here: use all, random, popularity, item-kNN, SASRec BCE"),
    ],
)
def test_settings_that_make_no_sense_are_refused(asked: dict[str, Any], words: str, circle: Path) -> None:
    with pytest.raises(CannotRun, match=words):
        list(movielens.cells(replace(movielens.Settings(circle), **asked)))


@pytest.mark.parametrize("split", ["last", "time"])
def test_people_of_too_few_films_are_not_enough(split: Any, tmp_path: Path) -> None:
    rated = [(person, person, person) for person in range(1, 20)]
    with pytest.raises(CannotRun, match=r"nobody of .* has films enough to be judged: take more ratings"):
        list(movielens.cells(movielens.Settings(written(tmp_path, rated), split=split)))
