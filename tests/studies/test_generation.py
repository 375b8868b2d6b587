"""The generation benchmark: who is judged and by what, figures that can be counted, and a taste that is found."""

import csv
import gzip
import json
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from collectors.item import Item, Signal, text_id, write_reactions
from engine.backbone import Backbone
from engine.encoder import encode
from engine.fitting import Lessons, lessons
from engine.learning import facts_of, stand_on, state_path
from engine.methods.base import Ask, Method
from engine.methods.cope import CoPe
from engine.methods.e2p import E2P
from engine.methods.history import History
from engine.methods.lora import TAM
from engine.optimise import Recipe
from engine.pretrained.memorised import Taught
from engine.pretrained.population import TEST_JOKES, held_out
from engine.profile import Profile
from engine.state import save
from studies.benchmarks import generation, generation_rows, generation_texts, runs, tables
from studies.benchmarks.adapters import Rater
from studies.benchmarks.generation import Settings
from studies.benchmarks.generation_rows import OVER_PLAIN, ROWS, Models
from studies.benchmarks.runs import CannotRun
from studies.benchmarks.scores import WRONG
from tests.conftest import FLOAT32

OTHERS = [str(n) for n in range(1000) if not held_out("jester", str(n))][:4]
PEOPLE = sorted([str(n) for n in range(1000) if held_out("jester", str(n))][:8], key=lambda u: text_id(f"0|{u}"))
STOPPING = PEOPLE[:2]
JUDGED = sorted(PEOPLE[2:], key=lambda user: text_id(f"adapters|{user}"))  # in the order in which they are taken
ANIMALS = ("duck", "heron", "goose", "swan", "gull")
MACHINES = ("lathe", "printer", "tractor", "robot", "scanner")
DOES = ("sings", "waits", "sleeps", "complains", "votes", "swims", "argues", "dances", "counts", "prays")
LEARNING = Recipe(steps=40, batch=4, accumulate=1, lr=3e-2, evaluate_every=20)
SHORT = replace(LEARNING, steps=2)
BRIEF = partial(Ask, max_new_tokens=8)
REFERENCES, MODELLED = {"people's own", "random jokes"}, {"distinct_1", "closeness_half", "latency", "prompt_tokens"}


def joke(number: int) -> str:
    """Of animals the odd ones, of machines the even ones."""
    kinds = ANIMALS if number % 2 else MACHINES
    return f"The {kinds[number // 2 % 5]} {DOES[number % 100 // 10]}, and nobody in room {number} laughs."


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred jokes, and people half of whom like animals and half machines, the other kind not."""
    folder = tmp_path_factory.mktemp("jester")
    with (folder / "jokes.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("joke_id", "text"), *((n, joke(n)) for n in range(1, 101))])
    with gzip.open(folder / "ratings.csv.gz", "wt", newline="") as file:
        rows = [
            (u, n, 5 + n / 100 if (n + k) % 2 else -5)
            for k, u in enumerate((*JUDGED, *STOPPING, *OTHERS))
            for n in range(1, 101)
        ]
        csv.writer(file).writerows([("user_id", "joke_id", "rating"), *rows])
    return folder


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "STOPPING", len(STOPPING))
    monkeypatch.setattr("engine.pretrained.population.SAME", 2.0)  # they are all alike, and meant to be
    generation.crowd.cache_clear()


@pytest.fixture(scope="module")
def using(tiny: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Models:
    """The tiny model without and with a task adapter, and soft tokens."""
    folder = tmp_path_factory.mktemp("states")
    for method in (TAM, E2P()):
        save(state_path(tiny, method, folder, ""), method.born(tiny, encode(["A duck."])), facts_of(tiny, method))
    told = {"ended": "all steps done, step 9, 77 s", "parameters": 5}
    state_path(tiny, E2P(), folder, "").with_suffix(".json").write_text(json.dumps(told))
    model = deepcopy(tiny.model)
    for module in model.modules():
        vars(module).pop("forward", None)
    based = Backbone(model, tiny.tokenizer, "tiny-random", FLOAT32)
    stand_on(based, folder)
    assert based.base_name
    return Models(tiny, based, folder)


def few_lessons(method: Method, profile: Profile, seed: int) -> Lessons:
    """A refinement writes three texts for each lesson."""
    given = lessons(method, profile, seed)
    taught, held_out = ([replace(one, ask=BRIEF()) for one in part] for part in (given.taught[:2], given.held_out[:1]))
    return replace(given, taught=taught, held_out=held_out)


@pytest.fixture
def quick(using: Models, monkeypatch: pytest.MonkeyPatch) -> Models:
    monkeypatch.setattr(generation_rows, "lessons", few_lessons)
    monkeypatch.setattr(generation_rows, "Ask", BRIEF)
    monkeypatch.setattr(generation, "models", lambda name, folder: using)
    monkeypatch.setattr(generation_rows, "recipe_for", lambda method, taught: SHORT)
    generation_rows.fitted.cache_clear()
    generation_rows._likelihoods.cache_clear()
    return using


def computed(settings: Settings, name: str, wrong: bool = False, seed: int = 0) -> runs.Row:
    return generation._cell(settings, name, seed, wrong=wrong)().figures


# ---- who is judged, and by what


def test_nobody_is_judged_whom_a_population_holds_and_no_judging_joke_is_in_a_profile(
    data: Path, tmp_path: Path
) -> None:
    everybody = {rater.profile.user for rater in generation.crowd(data, (), 100).raters}
    assert everybody == {f"jester-{user}" for user in JUDGED}
    known = min(everybody)
    file = tmp_path / "people.jsonl"
    write_reactions(file, [(known, [(Item("t", "1", "joke", "A joke."), Signal("t:1", 1))])])
    left = generation.crowd(data, (str(file),), 100)
    assert {rater.profile.user for rater in left.raters} == everybody - {known}
    judging = {joke(n) for n in TEST_JOKES}
    for rater in left.raters:
        assert {text for text, _ in rater.judged} == judging == set(left.judging)
        assert not {item.text for item in rater.profile.items} & judging
        assert (len(rater.profile.liked), len(rater.profile.disliked)) == (24, 40)
    assert "A joke." in generation.taught(data, (str(file),)).texts


def test_everybody_stands_in_once_and_never_for_themselves(data: Path) -> None:
    people = generation.crowd(data, (), 100).raters
    drawn = [generation.strangers(people, seed) for seed in range(5)]
    for others in drawn:
        assert set(others) == set(people)
        assert all(one is not other for one, other in zip(people, others, strict=True))
    assert len(set(drawn)) > 1
    with pytest.raises(CannotRun, match="1 people can be judged, a control needs two"):
        generation.crowd(data, (), 1)


def test_files_that_are_missing_or_others_are_told(data: Path, tmp_path: Path) -> None:
    with pytest.raises(CannotRun, match=r"jokes\.csv is not there"):
        generation.files(Settings(tmp_path))
    with pytest.raises(CannotRun, match="holds no states"):
        generation.files(Settings(data, states=str(tmp_path)))
    with pytest.raises(CannotRun, match=r"'dop' is no method here: use all, random, .*cope"):
        list(generation.cells(Settings(data, methods=("dop",))))
    (tmp_path / "jokes.csv").write_text("<html>")
    (tmp_path / "ratings.csv.gz").write_bytes((data / "ratings.csv.gz").read_bytes())
    with pytest.raises(CannotRun, match="are not Jester's ratings and jokes"):
        generation.crowd(tmp_path, (), 5)


# ---- without a model


def test_own_texts_find_the_taste_that_is_there_and_popularity_does_not(data: Path) -> None:
    settings = Settings(data)
    assert computed(settings, "own texts")["pair_accuracy"] > 0.9
    assert computed(settings, "own texts", wrong=True)["pair_accuracy"] < 0.8
    assert computed(settings, "popularity")["pair_accuracy"] == pytest.approx(0.5, abs=0.1)
    assert 0.3 < computed(settings, "random")["pair_accuracy"] < 0.7


def test_what_people_liked_is_nearer_to_them_than_any_joke(data: Path) -> None:
    own, other = (computed(Settings(data), name) for name in ("people's own", "random jokes"))
    assert own["closeness"] > 0.05 > abs(other["closeness"])
    done = generation._cell(Settings(data, written=3), "random jokes", 0, wrong=False)()
    drawn = [text for _, text in done.predictions]
    assert len(set(drawn)) == len(drawn) == 18
    assert not set(drawn) & {joke(n) for n in TEST_JOKES}


# ---- texts


def test_variety_can_be_counted() -> None:
    assert generation_texts.distinct(["A cat, a dog.", "a CAT"], 1) == pytest.approx(3 / 6)
    assert generation_texts.distinct(["A cat, a dog.", "a CAT"], 2) == pytest.approx(3 / 4)
    same, other = "Why did the duck cross the road?", "My printer can smell your fear tonight."
    assert generation_texts.self_bleu([same, same, same]) == pytest.approx(1)
    assert generation_texts.self_bleu([same, other]) < 0.1
    assert np.isnan(generation_texts.self_bleu([same]))


def test_closeness_copies_and_empty_texts() -> None:
    likes, dislike = ("A duck swims.", "The goose is late."), "The printer is out of ink again."
    rater = Rater(Profile("u"), ((likes[0], True), (likes[1], True), (dislike, False)))
    a, b, c = encode([*likes, dislike])
    assert generation_texts.nearness([likes[0], "", dislike], rater) == pytest.approx(
        [a @ b - a @ c, c @ (a + b) / 2 - c @ c], abs=1e-5
    )
    known = Taught(["A man with a very long beard walks into a bar and orders soup."])
    copy = "A man with a very long beard walks into a bar, sadly."
    figures = generation_texts.written_figures([[copy, ""], [likes[0], likes[0]]], [rater, rater], known)
    assert (figures["texts"], figures["empty"], figures["copied"]) == (4, 1, pytest.approx(1 / 3, abs=1e-3))
    assert generation_texts.written_figures([["", ""]], [rater], known) == {"texts": 2, "empty": 2}


# ---- with a model


def test_an_adapter_of_ones_own_finds_the_taste_that_is_there(
    data: Path, quick: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation_rows, "recipe_for", lambda method, taught: LEARNING)
    monkeypatch.setattr(generation_rows, "lessons", lessons)
    settings = Settings(data, limit=2, written=1)
    right, wrong = (computed(settings, "OPPU", one) for one in (False, True))
    assert right["gain_accuracy"] > 0.7
    assert right["gain_accuracy"] > wrong["gain_accuracy"] + 0.1
    assert right["train_seconds"] > 0
    assert right["over"] == "TAM"


def test_a_contrast_orders_by_what_its_amateur_finds_likely_as_well(data: Path, quick: Models) -> None:
    people = generation.crowd(data, (), 2)
    args = (people.raters, people.raters, 0, people.judging)
    expert, contrast = (generation_rows.likelihoods(quick, name, *args) for name in ("OPPU", "cope contrast only"))
    assert expert == contrast
    base = generation_rows.floor(quick.based, people.judging)
    text = people.judging[3]
    assert generation_rows.contrasted("cope contrast only", expert[0], base)[text] == pytest.approx(
        expert[0][text] - CoPe().weight * base[text]
    )
    assert generation_rows.contrasted("OPPU", expert[0], base) == expert[0]


def test_who_falls_back_on_the_floor_gains_exactly_nothing(
    data: Path, quick: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = generation.crowd(data, (), 2)
    monkeypatch.setattr(History, "lacks", lambda *_: "too few likes")
    found = generation_rows.likelihoods(quick, "history", people.raters, people.raters, 0, people.judging)
    assert found == [generation_rows.floor(quick.based, people.judging)] * 2


def test_what_has_learned_nothing_says_how_to_teach_it(
    data: Path, using: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation, "models", lambda name, folder: using)
    with pytest.raises(
        CannotRun, match=r"topics has learned nothing .* learn topics-\w+ --base none --population FILE"
    ):
        computed(Settings(data), "topics")
    assert (generation.known(Settings(data), "e2p-1"), generation.known(Settings(data), "topics")) == (True, False)
    bare = replace(using, based=using.plain)
    monkeypatch.setattr(generation, "models", lambda name, folder: bare)
    assert not generation.known(Settings(data), "OPPU")
    rows = {cell.of["method"].removesuffix(WRONG) for cell in generation.cells(Settings(data))}
    assert rows & ROWS.keys() == {"none", "history", "retrieval", "summary", *(rows & OVER_PLAIN.keys())}
    assert "topics" not in rows
    with pytest.raises(
        CannotRun, match=r"OPPU stands on a task-adapted model of tiny-random: teach it by .* learn tam"
    ):
        computed(Settings(data), "OPPU")


def test_every_row_has_its_control_and_its_figures_and_nothing_is_fitted_or_read_twice(
    data: Path, quick: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, fits = list[str](), list[str]()
    scored, fit = generation_rows.scored, generation_rows.fit

    def reading(lm: Backbone, method: Method, *more: Any) -> Any:
        read.append(method.name)
        return scored(lm, method, *more)

    def fitting(lm: Backbone, method: Method, *more: Any) -> Any:
        fits.append(method.name)
        return fit(lm, method, *more)

    monkeypatch.setattr(generation_rows, "scored", reading)
    monkeypatch.setattr(generation_rows, "fit", fitting)
    floors = {*generation.FLOORS, *REFERENCES, "none", "TAM"}
    asked = (*floors, "e2p-1", "topics", "summary", "OPPU", "dpo", "cope contrast only", "cope")
    settings = Settings(data, limit=2, seeds=1, written=1, methods=asked)
    *_, result = runs.run(generation, settings, tmp_path / "work")
    assert isinstance(result, dict)
    assert [row["method"] for row in result["failed"]] == ["topics", f"topics{WRONG}"], "nobody taught it"
    assert sorted(fits) == ["dpo", "dpo", "lora", "lora"]
    rows = {row["method"]: row for row in result["rows"]}
    assert {name for name in rows if WRONG not in name} == {*asked} - {"topics"}
    assert {name for name in asked if f"{name}{WRONG}" not in rows} == floors - {"own texts"} | {"topics"}
    for name in ROWS.keys() & rows.keys():
        assert rows[name].keys() >= {"pair_accuracy", "likelihood", "trained_parameters", "train_seconds", *MODELLED}
        assert rows[name]["over"] == ("none" if name in OVER_PLAIN or name == "TAM" else "TAM")
        assert ("gain_accuracy" in rows[name]) == (name != "none")
    for key in ("likelihood", "gain_accuracy"):  # what is taken off helps no joke that the amateur finds unlikely
        assert rows["cope contrast only"][key] == rows["OPPU"][key]
    assert rows["OPPU"]["pair_accuracy_half_jokes"] >= rows["OPPU"]["pair_accuracy_half"]
    assert rows["cope"]["train_seconds"] == rows["dpo"]["train_seconds"] > rows["OPPU"]["train_seconds"] > 0
    assert (rows["e2p-1"]["train_seconds"], rows["e2p-1"]["trained_parameters"]) == (77, 5)
    assert rows["e2p-1"]["prompt_tokens"] == rows["none"]["prompt_tokens"] + 1
    before = read.count("e2p")
    assert computed(settings, "e2p-1", seed=1)["pair_accuracy"] == pytest.approx(
        rows["e2p-1"]["pair_accuracy"], abs=1e-4
    )
    assert read.count("e2p") == before
    kept = [gzip.decompress(path.read_bytes()).splitlines() for path in (tmp_path / "work").rglob("*.gz")]
    assert {len(json.loads(line)) for lines in kept for line in lines} == {2, 4}
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    runs.save(result, "generation", tmp_path)
    page = tables.generation()
    assert all(f"\n| {name} |" in page for name in rows if WRONG not in name)
    for part in page.split("\n\n")[1::2]:
        assert len({line.count("|") for line in part.splitlines()}) == 1
