"""Rows of LaMP whose method learns: who teaches, what a profile holds, and that what is there to learn is learned."""

import gzip
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.backbone import Backbone
from engine.methods.base import PREFIX, Contrast
from engine.methods.e2p import E2P
from engine.methods.lora import TAM
from engine.methods.none import NoProfile
from engine.methods.retrieval import Retrieval
from engine.optimise import Recipe
from engine.profile import Profile
from engine.train import Example, each
from studies.benchmarks import lamp, lamp_answers, lamp_trained, runs, scores, tables
from studies.benchmarks.lamp_answers import Asked
from studies.benchmarks.lamp_files import Past, Question, plain
from studies.benchmarks.lamp_trained import How
from studies.benchmarks.runs import CannotRun
from tests.lamp_set import bench, written

TAGS = ("violence", "action", "classic")  # a token each: of a random model's labels the shortest wins
TOLD = "Which tag? tags: [{tags}] description: {text}"
PLACES = ("Rome", "a harbour", "the moon", "a kitchen", "an old school", "the desert", "a tram")
FEW = Recipe(steps=100, batch=8, accumulate=1, lr=1e-2, evaluate_every=20, max_target_tokens=8)
KEYS = {"method", "way", "seed", "accuracy", "accuracy_half", "macro_f1", "parse_failures", "prompt_tokens"}
KEYS |= {"trained_parameters", "train_seconds", "latency", "without", "n", "people", "seconds"}
LONELY = "9"  # is judged, with hardly a past


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each of eighteen people gives one tag to every film, whatever it is about."""
    dice, questions, golds = np.random.default_rng(1), [], {}
    for n in range(18):
        tag = TAGS[n % 3]
        texts = [f"Film {dice.integers(10_000)} is set in {PLACES[dice.integers(len(PLACES))]}." for _ in range(9)]
        profile = [{"id": f"{n}-{k}", "description": text, "tag": tag} for k, text in enumerate(texts[:7])]
        for k, text in enumerate(texts[7:]):
            told = TOLD.format(tags=", ".join(TAGS), text=text)
            mine = profile[: 2 if str(n) == LONELY else None]
            questions.append({"id": f"{n}.{k}", "input": told, "user_id": str(n), "profile": mine})
            golds[f"{n}.{k}"] = tag
    return written(tmp_path_factory.mktemp("people"), questions, golds)


@pytest.fixture
def quick(tiny: Backbone, monkeypatch: pytest.MonkeyPatch) -> Backbone:
    """The tiny model, and large steps."""
    monkeypatch.setattr(lamp, "model", lambda name: tiny)
    steps(monkeypatch, FEW)
    return tiny


def steps(monkeypatch: pytest.MonkeyPatch, recipe: Recipe) -> None:
    monkeypatch.setattr(lamp_trained, "PREFIXED", recipe)
    for name in ("PATCHED", "GATED"):
        monkeypatch.setattr(lamp_trained, name, replace(recipe, steps=recipe.steps // 4))
    own = replace(recipe, steps=recipe.steps // 4, batch=4, evaluate_every=12)
    monkeypatch.setattr(lamp_trained, "recipe_for", lambda method, taught: own)
    lamp_trained.taught.cache_clear()
    lamp_trained.fitted.cache_clear()


# ---- who teaches, and what a profile holds


def test_nobody_who_is_judged_and_nothing_that_is_asked_of_them_teaches(people: Path) -> None:
    whole = lamp.split(lamp.Settings(people))
    judged, asked = {q.user for q in whole.judged}, {plain(q.payload) for q in whole.judged}
    past = {plain(item.text) for q in whole.judged for item in q.profile}
    lessons = [one for some in lamp_trained.lessons(whole.teachers) for one in some]
    assert len(lessons) == 11 * 9
    assert not {one.user for one in lessons} & judged
    for one in lessons:
        assert not {plain(one.payload), *(plain(item.text) for item in one.profile)} & (asked | past)
    lamp_trained.apart_from(whole.teachers, whole.judged)
    for stranger in (whole.teachers.questions[0], replace(whole.teachers.questions[0], user="new", profile=())):
        with pytest.raises(ValueError, match="what is judged teaches"):
            lamp_trained.apart_from(whole.teachers, [*whole.judged, stranger])
    seen = replace(whole.teachers, seen=True)
    lamp_trained.apart_from(seen, [replace(whole.teachers.questions[0], user="new")])


def test_a_target_never_sits_in_its_own_profile_which_holds_answers_and_texts(people: Path) -> None:
    whole = lamp.split(lamp.Settings(people))
    for one in [one for some in lamp_trained.lessons(whole.teachers) for one in some]:
        profile = lamp_trained.person(one)
        assert len(profile.liked) == len(profile.vectors) == (6 if ", " in one.id else 7)
        assert not [item for item in profile.items if one.payload in item.text]
        assert {item.text for item in profile.items} <= {f"{item.answer}: {item.text}" for item in one.profile}


def test_what_teaches_and_what_stops_are_of_different_teachers_alone(
    people: Path, quick: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []

    def kept(lm: Backbone, say: Any, state: Any, examples: Any, held_out: Any, recipe: Recipe) -> None:
        told.append((examples, held_out, recipe.seed, say(examples[0].profile, state, examples[0].ask)))

    monkeypatch.setattr(lamp_trained, "train", kept)
    whole = lamp.split(lamp.Settings(people))
    teachers = {question.person for question in whole.teachers.questions}
    for method in (TAM, E2P(tokens=5)):
        lamp_trained.taught(quick, whole.teachers, method, How(3, 200))
        examples, held_out, seed, said = told.pop()
        users, stopping = ({example.profile.user for example in some} for some in (examples, held_out))
        assert (users | stopping, users & stopping, seed) == (teachers, set(), 3)
        assert {len(users), len(stopping)} == {9, 2}
        assert (PREFIX in said.messages[0]["content"]) == (method is not TAM)
        plain_said = said.messages[0]["content"].replace(PREFIX, "")
        assert plain_said == TOLD.format(tags=", ".join(TAGS), text=examples[0].ask.payload)
    last = next(q.person for q in reversed(whole.teachers.questions) if q.gold == TAGS[0])
    fewer = replace(whole.teachers, questions=tuple(q for q in whole.teachers.questions if q.person != last))
    for balanced in (False, True):
        lamp_trained.taught(quick, fewer, TAM, How(3, 200, balanced))
        counts = Counter(example.target for example in told.pop()[0])
        assert (len(set(counts.values())) == 1) == balanced
    lamp_trained.taught.cache_clear()


def test_an_own_adapter_learns_from_ones_own_past_and_from_nothing_that_is_asked(
    people: Path, quick: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps(monkeypatch, replace(FEW, steps=5))
    whole = lamp.split(lamp.Settings(people))
    one, two = (q for q in whole.judged if q.person == "2")
    mixed = (*one.profile, Past("x", two.payload.upper(), TAGS[0]), Past("y", one.payload, TAGS[0]))
    questions = [replace(q, profile=mixed) for q in (one, two)]
    learned: list[Any] = []
    fitted = lamp_trained.fitted

    def kept(lm: Backbone, teachers: Any, answers: Any, *more: Any) -> Any:
        learned.append([(ask.payload, answer) for ask, answer in answers])
        return fitted(lm, teachers, answers, *more)

    monkeypatch.setattr(lamp_trained, "fitted", kept)
    _, figures = lamp_trained.answered(quick, whole.teachers, questions, "OPPU", "choice", How(0, 200))
    assert learned == [[(item.text, item.answer) for item in one.profile]]
    assert figures["without"] == 0


@bench
def test_with_history_what_teaches_is_told_the_past_and_nothing_that_is_asked(
    people: Path, quick: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, told = lamp.split(lamp.Settings(people)), list[tuple[str, str]]()
    train = lamp_trained.train

    def kept(lm: Backbone, say: Any, state: Any, examples: Any, held_out: Any, recipe: Recipe) -> Any:
        told.extend((example.ask.instruction(), example.target) for example in (*examples, *held_out))
        return train(lm, say, state, examples, held_out, replace(recipe, steps=1))

    monkeypatch.setattr(lamp_trained, "train", kept)
    one, two = (q for q in whole.judged if q.person == "2")
    mixed = (*one.profile, Past("x", two.payload, TAGS[0]), Past("y", one.payload, TAGS[0]))
    questions = [replace(q, profile=mixed) for q in (one, two)]
    answered, _ = lamp_trained.answered(quick, whole.teachers, questions, "OPPU with history", "choice", How(0, 512))
    frame = 'the tag for the movie: "'
    taught = [(said, answer) for said, answer in told if said.count(frame) == lamp_trained.K]
    assert len(taught) == len(told) > len(one.profile)
    assert not [said for said, _ in told if one.payload in said or two.payload in said]
    item = one.profile[0]
    [mine] = [said for said, answer in told if said.endswith(item.text) and answer == item.answer]
    assert f'{frame}{item.text}"' not in mine  # what is asked does not stand in its own history
    bare = lamp_trained.answered(quick, whole.teachers, questions, "OPPU", "choice", How(0, 512))[0]
    assert answered[0].prompt_tokens > bare[0].prompt_tokens + 40


# ---- what is read


def test_likelihoods_of_what_is_patched_equal_those_of_the_whole_pass(tiny: Backbone) -> None:
    state = TAM.born(tiny, np.zeros((0, 0), np.float32))
    dice = torch.Generator().manual_seed(1)
    state = {name: torch.randn(t.shape, generator=dice) * 0.1 for name, t in state.items()}
    ask = lamp_trained.Request("task", "A cat.", head="Which tag? ")
    told = TAM.condition(tiny, Profile(""), state, ask)
    labels = ("classic", "based on a book", "based")
    rows = [Example(Profile(""), ask, label) for label in labels]
    loss, tokens = each(tiny, lambda *_: told, {}, rows, FEW)
    found = lamp_answers.likelihoods(tiny, told, labels)
    assert found == pytest.approx(-loss * tokens, abs=1e-4)
    none = NoProfile().condition(tiny, Profile(""), {}, ask)
    floor = lamp_answers.likelihoods(tiny, none, labels)
    assert np.abs(found - floor).max() > 0.01
    contrasted = replace(told, contrast=Contrast(none, weight=2.0))
    best = labels[int((found - 2 * floor).argmax())]
    assert lamp_answers.scored(tiny, Asked("x", labels, 0), contrasted) == best


def test_who_has_little_past_is_answered_by_what_needs_none(tiny: Backbone) -> None:
    question = Question("1", "u", "Which? A cat.", "A cat.", (Past("a", "A dog.", "classic"),), "classic", TAGS)
    rap = lamp_trained.LEARNED["RAP over e2p-5"]
    assert isinstance(rap, Retrieval)
    assert lamp_trained.usable(tiny, rap, lamp_trained.person(question)) == rap.inner
    nobody = lamp_trained.person(replace(question, profile=(Past("a", "a CAT.", "classic"),)))
    assert nobody.items == ()
    assert lamp_trained.usable(tiny, rap, nobody) == NoProfile()


# ---- rows


def test_personal_rows_find_the_taste_that_is_there(people: Path, quick: Backbone) -> None:
    whole = lamp.split(lamp.Settings(people))

    def right(name: str, wrong: bool, way: str) -> float:
        return float(lamp._trained(whole, name, way, 0, wrong)().figures["accuracy"])

    for way in ("choice", "score"):
        task = right("TAM", False, way)
        for name in ("OPPU", "cope", "e2p-5", "RAP over e2p-5"):
            mine, wrong = right(name, False, way), right(name, True, way)
            assert mine > 0.7
            assert mine > 0.2 + max(task, wrong), f"{name} by {way}"


@bench
def test_every_trained_row_has_its_figures_and_its_control(
    people: Path, quick: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps(monkeypatch, replace(FEW, steps=5))
    settings = lamp.Settings(people, seeds=1, retrievers=(), trained=("all",))
    *_, result = runs.run(lamp, settings, tmp_path / "work")
    assert isinstance(result, dict)
    assert result["failed"] == []
    rows = {(row["method"], row["way"]): row for row in result["rows"]}
    for name, personal in lamp_trained.ROWS.items():
        assert {(name, "choice"), (name, "score")} <= rows.keys()
        assert ((f"{name}{scores.WRONG}", "choice") in rows) == personal
        assert (f"{name}{scores.WRONG}", "score") not in rows
        row = rows[name, "choice"]
        assert row.keys() >= KEYS
        assert min(row[key] for key in ("train_seconds", "trained_parameters", "latency", "prompt_tokens")) > 0
        assert (row["n"], row["people"], row["parse_failures"]) == (14, 7, 0)
        assert row["without"] == (name in ("OPPU", "cope", "OPPU with history"))
    own, task = rows["OPPU", "choice"], rows["TAM", "choice"]
    assert own["trained_parameters"] > task["trained_parameters"]
    assert own["train_seconds"] == pytest.approx(task["train_seconds"] + 6 * own["seconds_a_person"], abs=1e-3)
    assert (
        rows["e2p-5", "choice"]["prompt_tokens"]
        == task["prompt_tokens"] + 5
        == rows["none", "choice"]["prompt_tokens"] + 5
    )
    kept = [gzip.decompress(path.read_bytes()).splitlines() for path in (tmp_path / "work").rglob("*.gz")]
    assert {len(lines) for lines in kept} == {14}
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    runs.save(result, "trained", tmp_path)
    head, _, *lines = tables.lamp("trained").splitlines()
    assert head.endswith("| trained | seconds of training | people without | seconds a question |")
    assert {line.count("|") for line in lines} == {head.count("|")}


def test_no_trained_row_is_run_unless_it_is_asked_for(people: Path) -> None:
    assert {cell.of["method"] for cell in lamp.cells(lamp.Settings(people))}.isdisjoint(lamp_trained.ROWS)
    asked = lamp.Settings(people, seeds=1, ways=("choice",), controls=(), trained=("topics",))
    rows = [cell.of for cell in lamp.cells(asked) if cell.of["method"] in lamp_trained.ROWS]
    assert rows == [{"method": "topics", "way": "choice", "seed": 0}]
    with pytest.raises(CannotRun, match=r"'e2p' is no trained row of LaMP_2: use all, TAM, .*e2p-1"):
        list(lamp.cells(lamp.Settings(people, trained=("e2p",))))
