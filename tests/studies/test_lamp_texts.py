"""Rows of LaMP whose answers are texts: who teaches what, what copies, what is learned and contrasted; the writers."""

import gzip
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.backbone import Backbone
from engine.learning import born_on
from engine.methods.base import Conditioning, State
from engine.optimise import Recipe
from engine.preference import pseudo_negatives
from engine.train import Example, evaluate
from studies.benchmarks import lamp, lamp_texts, lamp_trained, lamp_writers, runs, scores, tables
from studies.benchmarks.lamp_classic import Teachers
from studies.benchmarks.lamp_files import TASKS, Past, Question, plain
from studies.benchmarks.runs import CannotRun
from tests.lamp_set import bench, written

TOLD = "Generate a title for the following abstract of a paper: "
MANNERS = ("classic classic", "action action", "violence violence")  # a token a word
FEW = Recipe(steps=12, batch=6, accumulate=1, lr=3e-2, evaluate_every=12)
LONGEST = 6
LONELY = "9"  # is judged, with hardly a past
KEYS = {"rouge1", "rougeL", "rougeL_half", "bleu", "parse_failures", "prompt_tokens", "latency", "people", "seconds"}
KEYS |= {"train_seconds", "trained_parameters", "without"}


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each of eighteen people gives one title to every paper, whatever it is about."""
    questions, golds = [], {}
    for n in range(18):
        texts = [f"We count the {n * 9 + k} ships of a harbour." for k in range(9)]
        title = MANNERS[n % 3]
        profile = [{"id": f"{n}-{k}", "abstract": text, "title": title} for k, text in enumerate(texts[:7])]
        for k, text in enumerate(texts[7:]):
            mine = profile[: 2 if str(n) == LONELY else None]
            questions.append({"id": f"{n}.{k}", "input": TOLD + text, "user_id": str(n), "profile": mine})
            golds[f"{n}.{k}"] = f"{title} now"  # a title of one's own past is no copy of what is asked
    return written(tmp_path_factory.mktemp("people"), questions, golds, task="LaMP_5")


@pytest.fixture
def quick(tiny: Backbone, monkeypatch: pytest.MonkeyPatch) -> Backbone:
    """The tiny model, and large steps."""
    monkeypatch.setattr(lamp, "model", lambda name: tiny)
    steps(monkeypatch, FEW)
    return tiny


def steps(monkeypatch: pytest.MonkeyPatch, recipe: Recipe) -> None:
    monkeypatch.setattr(lamp_texts, "TASK", recipe)
    own = replace(recipe, batch=4)
    monkeypatch.setattr(lamp_texts, "recipe_for", lambda method, taught, epochs=2: own)
    for kept in (lamp_texts.adapted, lamp_texts.fitted, lamp_texts.refined):
        kept.cache_clear()


def asked(task: str, *items: tuple[str, str], told: str = "X", gold: str = "gold", user: str = "u") -> Question:
    past = tuple(Past(str(n), text, answer) for n, (text, answer) in enumerate(items))
    payload = told.removeprefix(TOLD)
    return Question(f"{user}?", user, told, payload, past, gold, ())


# ---- what is asked, and of whom


def test_items_of_a_past_are_asked_as_the_task_asks_or_in_words_of_their_own() -> None:
    items = (("A long text.", "Its name"), ("Another.", "N"))
    one = asked("LaMP_5", *items, told=f"{TOLD}A new text.")
    found = lamp_texts.asked_too(one, one.profile, TASKS["LaMP_5"])
    assert [(q.input, q.payload, q.gold) for q in found] == [
        (f"{TOLD}A long text.", "A long text.", "Its name"),
        (f"{TOLD}Another.", "Another.", "N"),
    ]
    long = lamp_texts.asked_too(one, one.profile, TASKS["LongLaMP_abstract"])[0]
    assert (long.input, long.gold) == ('Generate an abstract for the title "Its name".', "A long text.")
    tweet = lamp_texts.asked_too(one, one.profile, TASKS["LaMP_7"])[1]
    assert (tweet.input, tweet.gold) == ("Write a tweet.", "Another.")


def test_what_is_judged_is_taught_to_nobody(people: Path) -> None:
    whole = lamp.split(lamp.Settings(people))
    lessons = [one for some in lamp_texts.lessons(whole.teachers) for one in some]
    assert len(lessons) == 11 * 9
    assert not {one.user for one in lessons} & {q.user for q in whole.judged}
    known = {plain(q.payload) for q in whole.judged} | {plain(i.text) for q in whole.judged for i in q.profile}
    assert not {plain(one.payload) for one in lessons} & known


def test_what_teaches_and_what_stops_are_of_different_teachers(
    people: Path, quick: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    monkeypatch.setattr(lamp_texts, "train", lambda lm, say, state, *rest: told.append(rest))
    whole = lamp.split(lamp.Settings(people))
    lamp_texts.adapted(quick, whole.teachers, 3, LONGEST)
    learned, stopping, recipe = told[0]
    of = {plain(one.payload): one.person for some in lamp_texts.lessons(whole.teachers) for one in some}
    users, others = ({of[plain(e.ask.payload.removeprefix(TOLD))] for e in part} for part in (learned, stopping))
    assert (len(users), len(others), users & others) == (9, 2, set())
    assert (recipe.seed, recipe.max_target_tokens) == (3, LONGEST)
    lamp_texts.adapted.cache_clear()
    with pytest.raises(CannotRun, match="fewer than two people teach"):
        lamp_texts.adapted(quick, Teachers(whole.task, whole.teachers.questions[:1], False), 3, LONGEST)


def test_an_own_adapter_learns_from_ones_own_past_and_from_nothing_that_is_asked(
    people: Path, quick: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = lamp.split(lamp.Settings(people))
    one, two = (q for q in whole.judged if q.person == "2")
    leaks = (Past("x", two.payload.upper(), "T"), Past("y", "Of something.", two.gold))
    questions = [replace(q, profile=(*one.profile, *leaks)) for q in (one, two)]
    questions += [q for q in whole.judged if q.person == LONELY]
    learned: list[Any] = []

    def kept(lm: Backbone, teachers: Any, answers: Any, *more: Any) -> Any:
        learned.append([(ask.payload, answer) for ask, answer in answers])
        return "a fit"

    monkeypatch.setattr(lamp_texts, "fitted", kept)
    fits = lamp_texts.own(quick, whole.teachers, questions, False, 0, LONGEST)
    assert learned == [[(TOLD + item.text, item.answer) for item in one.profile]]
    assert fits == {"2": "a fit"}


# ---- floors


@bench
def test_what_copies_takes_the_nearest_answer_word_for_word(tiny: Backbone) -> None:
    def copied(teachers: Teachers, asked: list[Question], name: str, seed: int, longest: int = 64) -> list[str]:
        return lamp_texts.copied(tiny, teachers, asked, name, seed, longest)

    task = TASKS["LaMP_5"]
    mine = asked("LaMP_5", ("Cats on ships.", "Meow"), ("Dogs on air.", "Woof"), told=f"{TOLD}A ship and cats")
    nobody = asked("LaMP_5", told=f"{TOLD}Dogs", user="v")
    others = [asked("LaMP_5", told=TOLD + text, gold=gold, user=gold)
              for text, gold in (("dogs", "A"), ("Dogs", "B"), ("dogs ", "C"), ("Ships of old", "D"))]  # fmt: skip
    others = [replace(one, payload=one.payload.strip()) for one in others]
    teachers = Teachers(task, tuple(others), True)
    assert copied(teachers, [mine, nobody], lamp_texts.OWN_PAST, 0) == ["Meow", ""]
    drawn = [copied(teachers, [mine, nobody], lamp_texts.SOMEBODYS, seed) for seed in range(9)]
    assert drawn[0] == copied(teachers, [mine, nobody], lamp_texts.SOMEBODYS, 0)
    assert {answers[1] for answers in drawn} == {"A", "B", "C"}
    unknown = replace(nobody, payload="ships")
    assert copied(teachers, [unknown], lamp_texts.SOMEBODYS, 0) == ["D"]
    tweets = replace(teachers, task=TASKS["LaMP_7"])
    assert copied(tweets, [mine], lamp_texts.OWN_PAST, 0) == ["Cats on ships."]
    assert copied(teachers, [mine], lamp_texts.AGAIN, 0) == [mine.payload]
    assert copied(teachers, [mine], lamp_texts.OWN_PAST, 0, 1) == [tiny.cut("Meow", 1)] != ["Meow"]
    with pytest.raises(CannotRun, match="no text that teaches has a word in it"):
        copied(replace(teachers, questions=(replace(others[0], payload="?"),)), [mine], lamp_texts.SOMEBODYS, 0)
    with pytest.raises(CannotRun, match="nobody is left to teach"):
        copied(Teachers(task, (), True), [mine], lamp_texts.SOMEBODYS, 0)


# ---- what is learned, refined and contrasted


def test_rows_differ_in_refinement_and_contrast_alone(
    people: Path, quick: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps(monkeypatch, replace(FEW, steps=3, lr=0.1, evaluate_every=1))
    whole = lamp.split(lamp.Settings(people))
    questions = [q for q in whole.judged if q.person in ("2", LONELY)]
    told: dict[str, list[Conditioning]] = {}
    figures = {}
    for name in ("TAM", *lamp_texts.PERSONAL):

        def kept(lm: Backbone, given: Any, said: Any, way: str, name: str = name) -> list[Any]:
            told[name] = said
            return []

        monkeypatch.setattr(lamp_texts, "told_by", kept)
        _, figures[name] = lamp_texts.answered(quick, whole.teachers, questions, name, 0, 200, LONGEST)

    def weights(said: Conditioning) -> list[torch.Tensor]:
        return [patch.b for patches in said.patches.values() for patch in patches if hasattr(patch, "b")]

    def same(one: Conditioning, two: Conditioning) -> bool:
        mine, other = weights(one), weights(two)
        return len(mine) == len(other) and all(map(torch.equal, mine, other))

    task, oppu, contrast, refined, cope = (told[name][0] for name in ("TAM", *lamp_texts.PERSONAL))
    assert len(weights(oppu)) > len(weights(task)) > 0
    assert same(oppu, contrast)
    assert same(refined, cope)
    assert not same(oppu, refined), "nothing was refined"
    assert oppu.contrast is refined.contrast is None
    for row in (contrast, cope):
        assert row.contrast is not None
        assert same(row.contrast.amateur, task)
    for name in lamp_texts.PERSONAL:
        assert same(told[name][-1], task), "who has little past is answered by TAM"
        assert figures[name]["without"] == 1
    assert figures["cope"]["train_seconds"] > figures["OPPU"]["train_seconds"] > figures["TAM"]["train_seconds"]


def test_what_is_refined_prefers_ones_own_text_to_one_by_the_task_model(
    people: Path, quick: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = lamp.split(lamp.Settings(people))
    some = [q for q in whole.judged if q.person == "2"]
    steps(monkeypatch, replace(FEW, steps=4, evaluate_every=2))
    made: list[Example] = []

    def kept(*given: Any) -> list[Example]:
        made.extend(pseudo_negatives(*given))
        return made

    monkeypatch.setattr(lamp_texts, "pseudo_negatives", kept)
    fit = lamp_texts.own(quick, whole.teachers, some, False, 0, LONGEST)["2"]
    out = lamp_texts.own(quick, whole.teachers, some, True, 0, LONGEST)["2"]
    assert out.before == pytest.approx(math.log(2), abs=1e-4), "it begins where it is held to"
    assert out.after < out.before
    assert out.seconds > fit.seconds
    assert len(made) == 7
    assert {example.target for example in made} == {MANNERS[2]}
    assert all(example.rejected and example.rejected != example.target for example in made)


def test_an_own_adapter_finds_the_manner_that_is_there(people: Path, quick: Backbone) -> None:
    whole = lamp.split(lamp.Settings(people))
    asked_of = {name: [q for q in whole.judged if q.person == name] for name in ("1", "2")}
    some = [q for questions in asked_of.values() for q in questions]
    base = lamp_texts.adapter(quick, whole.teachers, 0, LONGEST)
    fits = lamp_texts.own(quick, whole.teachers, some, False, 0, LONGEST)

    def loss(of: str, state: State) -> float:
        made = [lamp_texts.lesson(quick, replace(one, gold=MANNERS[int(of) % 3])) for one in asked_of[of]]
        return evaluate(quick, lamp_texts.on(quick, base, lamp_texts.OWN), state, made, replace(FEW, batch=4))

    nobody = born_on(quick, lamp_texts.OWN)
    for mine, other in (("1", "2"), ("2", "1")):
        assert loss(mine, fits[mine].state) < loss(mine, nobody) - 0.3
        assert loss(mine, fits[mine].state) < loss(mine, fits[other].state) - 0.3


# ---- rows


@bench
def test_every_row_of_texts_has_its_figures_and_its_control(
    people: Path, quick: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps(monkeypatch, replace(FEW, steps=2))
    settings = lamp.Settings(people, limit=6, seeds=1, retrievers=("bm25",), ks=(1,), trained=("all",), longest=LONGEST)
    *_, result = runs.run(lamp, settings, tmp_path / "work")
    assert isinstance(result, dict)
    assert result["failed"] == []
    rows = {row["method"]: row for row in result["rows"]}
    personal = {name for name, own in (lamp_texts.ROWS | lamp_texts.FLOORS).items() if own} | {"history bm25 k=1"}
    names = {*lamp_texts.ROWS, *lamp_texts.FLOORS, "none", "history bm25 k=1"}
    assert rows.keys() == names | {f"{name}{scores.WRONG}" for name in personal}
    for name in lamp_texts.ROWS:
        assert rows[name].keys() >= KEYS
        assert (rows[name]["way"], rows[name]["n"], rows[name]["people"]) == ("free", 6, 3)
        assert rows[name]["without"] == (name in lamp_texts.PERSONAL)
    for name in lamp_texts.FLOORS:
        assert (rows[name]["way"], rows[name]["prompt_tokens"]) == ("classic", 0)
    assert rows[lamp_texts.OWN_PAST]["rougeL"] == pytest.approx(0.8)
    assert rows[f"{lamp_texts.OWN_PAST}{scores.WRONG}"]["rougeL"] < 0.8
    own, task = rows["OPPU"], rows["TAM"]
    assert own["train_seconds"] == pytest.approx(task["train_seconds"] + 2 * own["seconds_a_person"], abs=1e-3)
    assert rows["cope"]["trained_parameters"] == own["trained_parameters"] > task["trained_parameters"]
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    runs.save(result, "texts", tmp_path)
    head, _, *lines = tables.lamp("texts").splitlines()
    assert len(lines) == len(names)
    assert {line.count("|") for line in lines} == {head.count("|")}


def test_rows_that_learn_are_named_or_not_run(people: Path) -> None:
    assert {cell.of["method"] for cell in lamp.cells(lamp.Settings(people))}.isdisjoint(lamp_texts.ROWS)
    found = [c.of["method"] for c in lamp.cells(lamp.Settings(people, seeds=1, trained=("cope", "TAM")))]
    assert found[-3:] == ["TAM", "cope", f"cope{scores.WRONG}"]
    with pytest.raises(CannotRun, match=r"'e2p-1' is no trained row of LaMP_5: use all, TAM, .*DPO only, cope"):
        list(lamp.cells(lamp.Settings(people, trained=("e2p-1",))))


# ---- METEOR


class NoSynonyms:
    """A WordNet that knows no word."""

    def synsets(self, word: str) -> list[Any]:
        return []


@pytest.mark.skipif(find_spec("rouge_score") is None, reason="rouge-score not installed: see requirements-bench.txt")
def test_meteor_is_nltks_where_its_wordnet_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    gold, said = ["the cat sat on the mat.", "a b c d"], ["the cat sat on the mat.", "x y z"]
    monkeypatch.setattr(scores, "_wordnet", lambda: None)
    assert "meteor" not in scores.generation(gold, said)
    monkeypatch.setattr(scores, "_wordnet", NoSynonyms)
    whole = 1 - 0.5 * (1 / 7) ** 3  # seven words in one chunk, the full stop among them
    assert scores.generation(gold, said)["meteor"] == pytest.approx(whole / 2)


def test_without_nltks_data_there_is_no_meteor(monkeypatch: pytest.MonkeyPatch) -> None:
    import nltk.corpus
    from nltk.corpus import LazyCorpusLoader, WordNetCorpusReader

    monkeypatch.setattr(nltk.data, "path", [])
    monkeypatch.setattr(nltk.corpus, "wordnet", LazyCorpusLoader("wordnet", WordNetCorpusReader, None))
    assert scores._wordnet() is None


# ---- writers

PROMPTS = {"k8s": "Argue in a haiku.", "holidays": "Tell a joke.", "sally": "How many sisters? ", "bagel": "Translate.",
           "leap": "Leap years?", "qft": "Explain."}  # fmt: skip


def crowd(folder: Path, said: Mapping[tuple[int, str], str], writers: int = 12) -> Path:
    """Pairs of neighbouring writers' answers, as LLMFAO has them."""
    rows = []
    for slug, text in PROMPTS.items():
        for one in range(0, writers, 2):
            row: dict[str, Any] = {"slug": slug, "text": text}
            for side, writer in (("x", one), ("y", one + 1)):
                row |= {f"model_{side}": writer, f"result_{side}": said.get((writer, slug), f"{slug} by {writer}")}
            rows.append(row)
    with gzip.open(folder / lamp_writers.PAIRS, "wt") as file:
        file.writelines(f"{json.dumps(row)}\n" for row in rows)
    return folder


def test_writers_are_laid_out_so_that_teachers_know_nothing_that_is_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judged = next(n for n in range(12) if lamp.held_out(str(n)))
    crowd(tmp_path, {(judged, "k8s"): " A haiku.</s>\n", (judged, "holidays"): " </s>", (judged, "qft"): ""})
    out = tmp_path / "out"
    assert lamp_writers.main(["--data", str(tmp_path), "--out", str(out)]) == 0
    assert "writers teach" in capsys.readouterr().out
    whole = lamp.split(lamp.Settings(out))
    assert whole.task.name == "writers"
    assert {q.person for q in whole.judged} == {str(n) for n in range(12) if lamp.held_out(str(n))}
    assert {q.payload for q in whole.judged} == {"Argue in a haiku.", "Tell a joke."}
    (mine,) = (q for q in whole.judged if q.person == str(judged))  # an empty answer is none
    assert (mine.gold, mine.input) == ("A haiku.", "Write the answer that this writer gives to: Argue in a haiku.")
    closed = {text.strip(): slug for slug, text in PROMPTS.items() if slug not in lamp_writers.OPEN}
    assert {item.text: item.answer for item in mine.past} == {
        text: f"{slug} by {judged}" for text, slug in closed.items() if slug != "qft"
    }
    lessons = lamp_texts.lessons(whole.teachers)
    assert len(lessons) == 12 - len({q.person for q in whole.judged})
    assert all({one.payload for one in some} == closed.keys() for some in lessons)
    lamp_trained.apart_from(whole.teachers, whole.judged)


def test_writers_that_are_not_there_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked_for = ["--data", str(tmp_path), "--out", str(tmp_path / "out")]
    assert lamp_writers.main(asked_for) == 2
    assert "give the folder of LLMFAO's files after --data" in capsys.readouterr().err
    (tmp_path / lamp_writers.PAIRS).write_bytes(b"not packed")
    assert lamp_writers.main(asked_for) == 2
    assert "cannot be read" in capsys.readouterr().err
