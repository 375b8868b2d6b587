"""LaMP: its files read and fetched, its words and budget, who may teach, the ways an answer is read, and its rows."""

import gzip
import hashlib
import json
import os
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.backbone import Backbone
from engine.methods.base import Ask
from engine.methods.none import NoProfile
from engine.profile import Profile
from engine.prompt import prompt
from engine.train import Example
from studies.benchmarks import lamp, lamp_answers, lamp_classic, lamp_files, lamp_prompts, offline, runs, scores, tables
from studies.benchmarks.lamp_answers import Asked, answers
from studies.benchmarks.lamp_balance import balanced
from studies.benchmarks.lamp_files import TASKS, Past, Question, fetch, read
from studies.benchmarks.runs import CannotRun
from tests.lamp_set import written

FIXTURES = Path(__file__).parents[1] / "fixtures" / "lamp"
TAGS = ("comedy", "sci-fi", "based on a book", "violence")
TAGGED = "Which tag does this movie relate to among the following tags? tags: [{tags}] description: {text}"
CITED = 'For an author who has written the paper with the title "Ours", which reference is related? '
CITED += 'Just answer with [1] or [2] without explanation. [1]: "Cats at sea" [2]: "Dogs on "air""'
SCORED = "What is the score of the following review on a scale of 1 to 5? just answer with 1, 2, 3, 4, or 5. review: {}"


@pytest.fixture(scope="module")
def libraries() -> None:
    """What requirements-bench.txt adds."""
    missing = [name for name in ("bm25s", "rouge_score", "sacrebleu") if find_spec(name) is None]
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"CI must have {', '.join(missing)}: see requirements-bench.txt")
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: see requirements-bench.txt")


def film(name: str = "1", text: str = "A cat in space.", profile: Any = (), **more: Any) -> dict[str, Any]:
    return {"id": name, "input": TAGGED.format(tags=", ".join(TAGS), text=text), "profile": list(profile), **more}


def asked(task: str, told: str, *items: tuple[str, str], gold: str = "gold") -> Question:
    past = tuple(Past(str(n), text, answer) for n, (text, answer) in enumerate(items))
    held = TASKS[task]
    payload = lamp_files._payload(told, held, Path("f"), "1")
    return Question("1", "u", told, payload, past, gold, held.labels or (TAGS if held.kind == "label" else ()))


# ---- reading


def test_the_official_layout_is_read_with_or_without_prefix_and_packing(tmp_path: Path) -> None:
    profile = [
        {"id": "b", "tag": "comedy", "description": "Late.", "date": "2011-03-02"},
        {"id": "a", "tag": "violence", "description": "Early.", "date": "2009-12-24"},
    ]
    shuffled = TAGGED.format(tags="violence, comedy", text="A duel: description: of two cooks.")
    questions = [film("1", profile=profile, user_id=7), {"id": "2", "input": shuffled, "profile": []}]
    folder = written(tmp_path, questions, {"1": "comedy", "2": "violence"}, prefix="dev_")
    one, two = read(folder).questions
    assert [item.text for item in one.profile] == ["Early.", "Late."]
    assert (one.user, one.labels, one.payload, one.gold) == ("7", TAGS, "A cat in space.", "comedy")
    assert (two.person, two.labels) == ("question 2", ("violence", "comedy"))
    assert two.payload == "A duel: description: of two cooks."
    for name in ("dev_questions.json", "dev_outputs.json"):
        (folder / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes()))
        (folder / name).unlink()
    assert [question.payload for question in read(folder).questions] == [one.payload, two.payload]


@pytest.mark.parametrize(
    ("task", "told", "payload"),
    [
        ("LaMP_1", CITED, 'Cats at sea Dogs on "air"'),
        ("LaMP_3", SCORED.format("Fine: 4 of 5."), "Fine: 4 of 5."),
        ("LaMP_4", "Generate a headline for the following article: A ferry. article: B", "A ferry. article: B"),
        ("LaMP_5", "Generate a title for the following abstract of a paper: We wait.", "We wait."),
        ("LaMP_7", "Paraphrase the following tweet without any explanation before or after it: hm: no", "hm: no"),
        ("LongLaMP_topic", "Generate the content for a post: cats", "Generate the content for a post: cats"),
    ],
)
def test_the_payload_leaves_the_instruction_out(task: str, told: str, payload: str) -> None:
    assert asked(task, told).payload == payload


def test_a_malformed_item_is_left_out_and_counted(tmp_path: Path) -> None:
    profile = [{"id": "a", "tag": "comedy", "description": "Good."}, {"id": "b", "tag": "comedy"}, "what", None,
               {"id": "c", "tag": "", "description": "No tag."}]  # fmt: skip
    data = read(written(tmp_path, [film(profile=profile)], {"1": "comedy"}))
    assert ([item.id for item in data.questions[0].profile], data.skipped) == (["a"], 4)


def test_a_score_is_a_label_however_it_is_written(tmp_path: Path) -> None:
    profile = [{"id": n, "text": "Good.", "score": score} for n, score in enumerate(("5", 4, 3.0))]
    questions = [{"id": "1", "input": SCORED.format("Good"), "profile": profile}]
    data = read(written(tmp_path, questions, {"1": 2}, "LaMP-3"))
    assert [item.answer for item in data.questions[0].profile] == ["5", "4", "3"]
    assert data.questions[0].gold == "2"


NEWS = {"id": "1", "text": "A tram.", "title": "Tram", "category": "travel"}
BROKEN = [
    ([film()], {"1": "fantasy"}, "LaMP_2", r"the answer 'fantasy' to question 1 of .*questions.json is none of comedy"),
    ([film()], {"2": "comedy"}, "LaMP_2", r"the question 1 of .* has no answer in the outputs"),
    ([film(), film()], {"1": "comedy"}, "LaMP_2", r"has the question 1 twice"),
    ([film(profile=[NEWS])], {"1": "comedy"}, "LaMP_2", r"is the news LaMP-2.*fetch LaMP_2_new, or say --task LaMP_2N"),
    ([{"id": "1", "input": "x"}], {"1": "comedy"}, "LaMP_2", r"without id, input or profile \('profile'\)"),
    ([{"id": "1", "input": "tags?", "profile": []}], {"1": "x"}, "LaMP_2", r"lists no answers, as LaMP_2 does"),
    ([{"id": "1", "input": "x", "profile": []}], {"1": "5"}, "LaMP_3", r"does not say 'review:', as LaMP_3 does"),
    ([film()], {"1": "comedy"}, "LaMP_9", r"is of the task 'LaMP_9': give one after --task"),
    ({"questions": []}, {"1": "comedy"}, "LaMP_2", r"holds no list of questions"),
    ([film(profile=[{"id": "1", "a": "b"}])], {"1": "comedy"}, "LaMP_2", r"its items have id, a, and not description"),
]


@pytest.mark.parametrize(("questions", "golds", "task", "message"), BROKEN)
def test_what_is_wrong_with_a_file_is_told(questions: Any, golds: Any, task: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(CannotRun, match=message):
        read(written(tmp_path, questions, golds, task))


def test_missing_renamed_doubled_broken_and_other_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(CannotRun, match=r"has no questions\.json"):
        read(tmp_path)
    folder = written(tmp_path, [film()], {"1": "comedy"})
    (folder / "outputs.json").rename(folder / "answers.json")
    with pytest.raises(CannotRun, match=r"outputs\.json is not there beside questions\.json"):
        read(folder)
    (folder / "outputs.json").write_text('{"task": "LaMP_2", "golds": {}}}')
    with pytest.raises(CannotRun, match=r"outputs\.json is not \{task, golds"):
        read(folder)
    (folder / "answers.json").replace(folder / "outputs.json")
    whole = (folder / "questions.json").read_text()
    (folder / "questions.json").write_text(whole[:-20])
    with pytest.raises(CannotRun, match=r"questions\.json ends or breaks"):
        read(folder)
    (folder / "questions.json").write_text("\n <!DOCTYPE html><html></html>")
    with pytest.raises(CannotRun, match=r"questions\.json is a web page"):
        read(folder)
    (folder / "questions.json.gz").write_bytes(b"not packed")
    with pytest.raises(CannotRun, match="put each in a folder of its own"):
        read(folder)
    (folder / "questions.json").unlink()
    with pytest.raises(CannotRun, match="cannot be unpacked"):
        read(folder)
    (folder / "questions.json.gz").write_bytes(gzip.compress(whole.encode())[:-30])
    with pytest.raises(CannotRun, match=r"cannot be unpacked|ends or breaks"):
        read(folder)


def test_news_is_read_where_it_is_asked_for(tmp_path: Path) -> None:
    told = "Which category does this article relate to? categories: [travel, food] article: A train."
    folder = written(tmp_path, [{"id": "1", "input": told, "profile": [NEWS]}], {"1": "food"})
    question = read(folder, "LaMP_2N").questions[0]
    assert (question.payload, question.profile[0].answer) == ("A train.", "travel")
    with pytest.raises(CannotRun, match="is the news LaMP-2"):
        read(folder)


def test_what_is_laid_out_as_longlamp_is_read(tmp_path: Path) -> None:
    profile = [{"id": "1", "reviewText": "It ticks.", "summary": "A clock", "overall": 4.0, "description": ["x"]}]
    questions = [{"id": "1", "input": "Write a review of: a bell.", "profile": profile, "user_id": "u"}]
    question = read(written(tmp_path, questions, {"1": "It rings."}, "LongLaMP-review")).questions[0]
    assert (question.profile, question.labels) == ((Past("1", "It ticks.", "A clock"),), ())


# ---- the words, the budget and what is found

ITEMS = (("A cat.", "T1"), ("A dog.", "T2"))


@pytest.mark.parametrize(
    ("task", "told", "request_"),
    [
        (
            "LaMP_1",
            CITED,
            CITED.replace('the title "Ours"', 'the title, and "T1", and "T2" "Ours"'),
        ),
        (
            "LaMP_2",
            TAGGED.format(tags="comedy", text="X"),
            'the tag for the movie: "A cat." is "T1" , and the tag for the movie: "A dog." is "T2" . '
            + TAGGED.format(tags="comedy", text="X"),
        ),
        ("LaMP_3", SCORED.format("X"), 'T1 is the score for "A cat." , and T2 is the score for "A dog." . '
         + SCORED.format("X")),
        ("LaMP_4", "Headline for the article: X",
         '"T1" is the title for "A cat." , and "T2" is the title for "A dog." . Headline for the article: X'),
        ("LaMP_5", "Title for the paper: X",
         '"T1" is the title for "A cat." , and "T2" is the title for "A dog." . Following the given patterns '
         "Title for the paper: X"),
        ("LaMP_7", "Paraphrase: X",
         '"A cat." , and "A dog."  are written by a person. Following the given patterns Paraphrase: X'),
    ],
)  # fmt: skip
def test_items_stand_in_lamps_own_words(task: str, told: str, request_: str, tiny: Backbone) -> None:
    question = asked(task, told, *ITEMS)
    assert lamp_prompts.told(tiny, question, question.profile, TASKS[task], 512) == request_
    assert lamp_prompts.told(tiny, question, (), TASKS[task], 512) == told


def test_the_window_is_shared_and_what_one_item_leaves_the_next_may_use(tiny: Backbone) -> None:
    long = " ".join(f"word{n}" for n in range(400))
    for task, told in (("LaMP_2", TAGGED), ("LaMP_5", "Title for the paper: {text}"), ("LaMP_7", "Paraphrase: {text}")):
        question = asked(task, told.format(tags="comedy", text=long), (long, "T1"), ("short", "T2"), (long, "T3"))
        for window in (128, 256, 512):
            found = lamp_prompts.told(tiny, question, question.profile, TASKS[task], window)
            assert 0.9 * window < len(tiny.tokens(found)) <= window + 4  # tokens may join where the parts meet
        shown = lamp_prompts._shown(tiny, question.profile, TASKS[task], 200)
        assert shown is not None
        assert len(tiny.tokens(shown[2])) > len(tiny.tokens(shown[0])) + 20
    told = [Past("a", "short", long), Past("b", "short", long)]  # of writers the answer is what is long
    shown = lamp_prompts._shown(tiny, told, TASKS["writers"], 200)
    assert shown is not None
    assert [text.endswith(' is the answer to "short" ') and "word9 " in text for text in shown] == [True, True]
    assert lamp_prompts._shown(tiny, question.profile * 20, TASKS["LaMP_2"], 100) is None
    bare = lamp_prompts.told(tiny, question, question.profile * 40, TASKS["LaMP_7"], 64)
    assert len(tiny.tokens(bare)) <= 64


@pytest.mark.usefixtures("libraries")
@pytest.mark.parametrize("retriever", lamp_prompts.RETRIEVERS)
def test_what_is_asked_is_never_found_in_the_past(retriever: str) -> None:
    told = TAGGED.format(tags="comedy", text="A robot cat flies to the moon.")
    others = (("Two lawyers argue about a will.", "a"), ("A dog learns to bake.", "b"), ("Rockets race to mars.", "c"))
    question = asked("LaMP_2", told, ("a robot  cat flies to the MOON.", "comedy"), *others)
    found = lamp_prompts.nearest(retriever, question, TASKS["LaMP_2"])
    assert {item.answer for item in found} == {"a", "b", "c"}
    own_title = asked("LaMP_4", "Headline for the article: Z", ("Some text.", "The Gold"), ("More.", "Other"),
                      gold="the gold")  # fmt: skip
    assert [item.answer for item in lamp_prompts.nearest(retriever, own_title, TASKS["LaMP_4"])] == ["Other"]


@pytest.mark.usefixtures("libraries")
def test_items_are_found_by_words_by_meaning_and_by_recency_for_the_payload() -> None:
    told = TAGGED.format(tags="comedy", text="An astronaut is stranded on mars.")
    items = (("Which tag does this movie relate to among the following tags?", "instruction"),
             ("A lawyer wins the trial of mars against snickers.", "words"),
             ("A spaceman waits for rescue, near a red planet.", "meaning"),
             ("A wedding in Rome.", "last"))  # fmt: skip
    question = asked("LaMP_2", told, *items)
    best = {how: lamp_prompts.nearest(how, question, TASKS["LaMP_2"])[0].answer for how in lamp_prompts.RETRIEVERS}
    assert best == {"bm25": "words", "dense": "meaning", "recency": "last"}


# ---- who teaches and who is judged


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty people; each gives one tag to nearly everything, and films in space are sci-fi to most."""
    rng = np.random.default_rng(3)
    topics = {"comedy": "a clown and a wedding", "sci-fi": "a rocket and a robot", "violence": "a knife and a gang"}
    questions, golds = [], {}

    def tagged(own: str) -> tuple[str, str]:
        topic = str(rng.choice(list(topics)))
        return f"Film {rng.integers(60)} tells of {topics[topic]}.", own if rng.random() < 0.7 else topic

    for user in range(30):
        own = TAGS[user % 3]
        films = [tagged(own) for _ in range(6)]
        profile = [{"id": f"{user}-{n}", "description": text, "tag": tag} for n, (text, tag) in enumerate(films)]
        for n in range(1 + user % 2):
            text, tag = tagged(own)
            questions.append(film(f"{user}.{n}", text, profile, user_id=str(user)))
            golds[f"{user}.{n}"] = tag
    return written(tmp_path_factory.mktemp("people"), questions, golds)


def test_those_who_teach_know_neither_the_judged_nor_what_they_are_asked(people: Path) -> None:
    whole = lamp.split(lamp.Settings(people))
    judged = {question.person for question in whole.judged}
    assert {q.person for q in whole.judged} == {u for u in map(str, range(30)) if lamp.held_out(u)}
    asked_ = {lamp_files.plain(question.payload) for question in whole.judged}
    assert whole.teachers.rows
    assert not {person for person, _, _ in whole.teachers.rows} & judged
    assert not {lamp_files.plain(text) for _, text, _ in whole.teachers.rows} & asked_
    seen = lamp.split(lamp.Settings(people, seen=True)).teachers
    assert not {person for person, _, _ in seen.rows} & judged
    assert {lamp_files.plain(text) for _, text, _ in seen.rows} & asked_
    given = lamp.split(lamp.Settings(people, train=str(people), limit=5))
    assert len(given.judged) == 5
    assert not {q.person for q in given.teachers.questions} & {q.person for q in given.judged}


def test_the_regression_is_chosen_by_people_and_films_it_has_not_seen(
    people: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teachers = lamp.split(lamp.Settings(people)).teachers
    asked_of = {q.person: {lamp_files.plain(o.payload) for o in teachers.questions if o.person == q.person}
                for q in teachers.questions}  # fmt: skip
    learned: list[Any] = []
    monkeypatch.setattr(lamp_classic.Teachers, "_fitted", lambda self, c, rows: learned.append(rows))
    monkeypatch.setattr(
        lamp_classic, "foretold", lambda t, r, questions: _unseen_by(learned[-1], questions, asked_of, t)
    )
    teachers._unseen(1.0)
    assert len(learned) == lamp_classic.FOLDS


def _unseen_by(rows: Any, questions: Any, asked_of: Any, teachers: Any) -> Any:
    for question in questions:
        assert question.person not in {person for person, _, _ in rows}
        assert not asked_of[question.person] & {lamp_files.plain(text) for _, text, _ in rows}
    return np.zeros((len(questions), len(teachers.labels)))


def test_the_wrong_person_is_somebody_else_and_one_for_all_questions_of_a_person(people: Path) -> None:
    questions = lamp.split(lamp.Settings(people)).judged
    drawn = set()
    for seed in range(4):
        wrong = lamp.somebody_else(questions, seed)
        given: dict[str, set[str]] = {}
        for mine, other in zip(questions, wrong, strict=True):
            assert (mine.id, mine.gold, mine.input) == (other.id, other.gold, other.input)
            given.setdefault(mine.person, set()).update(item.id.partition("-")[0] for item in other.profile)
        assert all(len(of) == 1 and of != {person} for person, of in given.items())
        drawn.add(str(given))
    assert len(drawn) > 1
    with pytest.raises(CannotRun, match="at least two people"):
        lamp.somebody_else([questions[0]], 0)


def test_classic_rows_find_the_taste_that_is_there(people: Path) -> None:
    whole = lamp.split(lamp.Settings(people))
    right = {(name, wrong): lamp._classic(whole, name, 0, wrong)().figures["accuracy"]
             for name in lamp_classic.ROWS for wrong in (False, True)}  # fmt: skip
    assert right["own commonest", False] > 0.6 > right["majority", False]
    assert right["logistic regression x own prior", False] > right["logistic regression", False]
    for name in ("own commonest", "own neighbours", "logistic regression x own prior"):
        assert right[name, False] > right[name, True]
    one = lamp._classic(whole, "logistic regression", 0, False)().figures
    assert one["trained_parameters"] == 4 * (384 + 1)


def test_the_interval_is_over_people() -> None:
    values, people_ = np.array([1.0, 1, 1, 1, 0, 0]), ["a", "a", "a", "a", "b", "c"]
    half = lamp._half(values, people_)
    assert half == scores.ratio(np.array([4.0, 0, 0]), np.array([4.0, 1, 1]))[1]
    assert lamp._half(values[:4], people_[:4]) == 0.0


# ---- the ways


def logps(lm: Backbone, text: str, labels: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """log p of each label (L,) one after the other, and how many tokens each has (L,)."""
    told = prompt(lm, NoProfile().condition(lm, Profile("x"), {}, Ask("task", text))).ids
    found, counts = [], []
    for label in labels:
        target = [*lm.tokens(label), *lm.end_of_turn]
        with torch.inference_mode():
            logits = lm.model(input_ids=torch.tensor([[*told, *target]])).logits[0].float().log_softmax(-1)
        found.append(sum(float(logits[len(told) + n - 1, token]) for n, token in enumerate(target)))
        counts.append(len(target))
    return np.array(found), np.array(counts)


def test_scores_are_of_whole_labels_and_choices_are_labels(tiny: Backbone) -> None:
    one = Asked("Which tag? description: A cat.", (*TAGS, "based on"), 8)
    told = prompt(tiny, NoProfile().condition(tiny, Profile("x"), {}, Ask("task", one.text))).ids
    assert lamp_answers.scored(tiny, one) == one.labels[int(np.argmax(logps(tiny, one.text, one.labels)[0]))]
    choice, free = (answers(tiny, [one, one], way)[0] for way in ("choice", "free"))
    assert choice.said in one.labels
    assert free.said not in one.labels
    assert choice.prompt_tokens == free.prompt_tokens == len(told)
    assert free.seconds > 0


def test_a_mean_forgives_length_and_pmi_what_the_task_alone_would_say(tiny: Backbone) -> None:
    labels, premise, said = (*TAGS, "no"), "Which tag? description:", set()
    for text in ("A cat.", "Two lawyers argue about a will.", "A robot flies to the moon."):
        one = Asked(f"{premise} {text}", labels, 8, premise)
        of, counts = logps(tiny, one.text, labels)
        best = {"score": of, "mean": of / counts, "pmi": of - logps(tiny, premise, labels)[0]}
        found = tuple(answers(tiny, [one], way)[0].said for way in best)
        assert found == tuple(labels[int(np.argmax(scores_))] for scores_ in best.values())
        said.add(found)
    assert any(score != mean for score, mean, _ in said)
    assert any(score != pmi for score, _, pmi in said)


def test_the_premise_is_the_words_of_the_task() -> None:
    assert asked("LaMP_3", SCORED.format("Fine: 4 of 5.") + " ").head.rstrip() == SCORED.format("").rstrip()


def test_memory_that_does_not_suffice_is_told(tiny: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(lamp_answers, "decode", full)
    with pytest.raises(CannotRun, match="memory does not suffice for tiny-random: choose a smaller --model"):
        answers(tiny, [Asked("anything new", ("a", "b"), 4)], "choice")


def test_generation_is_scored_by_the_libraries(libraries: None) -> None:
    gold = ["The cat sat on the mat", "Ferries sleep in"]
    assert scores.generation(gold, gold) == pytest.approx({"n": 2, "rouge1": 1, "rougeL": 1, "bleu": 1})
    one, longest = scores.rouge(["the cat sat"], ["Sat, the cat was sitting!"])[0]
    assert (one, longest) == pytest.approx((2 * 3 / (3 + 5), 2 * 2 / (3 + 5)))
    assert scores.rouge(gold, ["", "x"]).tolist() == [[0, 0], [0, 0]]


# ---- whole runs


def ran(settings: lamp.Settings, work: Path) -> dict[str, Any]:
    told = list(runs.run(lamp, settings, work))[-1]
    assert isinstance(told, dict)
    assert told["failed"] == []
    return told


@pytest.mark.usefixtures("libraries")
def test_every_row_of_a_label_task_has_its_figures_and_its_control(
    people: Path, tiny: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lamp, "model", lambda name: tiny)
    settings = lamp.Settings(people, limit=4, seeds=2, ks=(2,), window=200)
    result = ran(settings, tmp_path / "work")
    rows = {(row["method"], row["way"], row["seed"]): row for row in result["rows"]}
    names = {method for method, _, _ in rows}
    personal = {"own commonest", "own neighbours", "logistic regression x own prior", "summary"}
    personal |= {f"history {how} k=2" for how in lamp_prompts.RETRIEVERS}
    assert names == {"majority", "logistic regression", "none", *personal, *(f"{n}{scores.WRONG}" for n in personal)}
    assert {way for method, way, _ in rows if method == "none"} == {"free", "choice", "score"}
    assert {way for method, way, _ in rows if method == f"summary{scores.WRONG}"} == {"choice"}
    for (method, way, _), row in rows.items():
        assert row.keys() >= {"accuracy", "accuracy_half", "macro_f1", "parse_failures", "prompt_tokens", "seconds"}
        assert row["n"] == 4 > row["people"] > 1  # a limit is of questions, person after person
        assert row["parse_failures"] == (row["n"] if way == "free" else 0)  # the tiny model writes gibberish
        assert (row["prompt_tokens"] > 0) == (way != "classic") == (row["latency"] > 0)
        assert (row["trained_parameters"] > 0) == method.startswith("logistic")
    assert rows["none", "choice", 0]["prompt_tokens"] < rows["history bm25 k=2", "choice", 0]["prompt_tokens"] <= 260
    kept = [gzip.decompress(path.read_bytes()).splitlines() for path in (tmp_path / "work").rglob("*.gz")]
    lines = [json.loads(line) for some in kept for line in some]
    assert {len(line) for line in lines} == {4}

    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    runs.save(result, "small", tmp_path)
    table = tables.lamp("small").splitlines()
    assert len(table) == 2 + 5 + 5 * 3
    head = "| method | way | accuracy | wrong person | more than with the wrong | macro-F1 | no label | prompt tokens |"
    assert table[0].startswith(head)
    assert not any(line.startswith(f"| own commonest{scores.WRONG}") for line in table)


@pytest.mark.usefixtures("libraries")
@pytest.mark.parametrize("task", ["LaMP_4", "LaMP_5", "LaMP_7"])
def test_texts_are_written_from_the_fixture_and_scored(
    task: str, tiny: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lamp, "model", lambda name: tiny)
    folder = FIXTURES / task
    settings = lamp.Settings(folder, train=str(folder), seeds=1, ks=(2,), retrievers=("bm25",), longest=6)
    result = ran(settings, tmp_path / "work")
    personal = ("own past answer", "history bm25 k=2")
    floors = [personal[0], f"{personal[0]}{scores.WRONG}", "somebody's answer", "the question again"]
    prompted = ["none", personal[1], f"{personal[1]}{scores.WRONG}"]
    assert [row["method"] for row in result["rows"]] == [*floors, *prompted]
    for row in result["rows"]:
        assert row.keys() >= {"rouge1", "rouge1_half", "rougeL", "rougeL_half", "bleu", "parse_failures"}
        assert row["way"] == ("free" if row["method"] in prompted else "classic")
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    runs.save(result, "texts", tmp_path)
    head = "| method | way | ROUGE-L | wrong person | more than with the wrong | ROUGE-1 | BLEU | empty |"
    assert tables.lamp("texts").startswith(head)


def test_citations_and_reviews_have_rows_of_their_own(
    tiny: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lamp, "model", lambda name: tiny)
    papers = [{"id": "p", "title": "Ships", "abstract": "Cats on ships at sea."},
              {"id": "q", "title": "Ports", "abstract": "Harbours and their cats."}]  # fmt: skip
    cited = [{"id": str(n), "input": CITED, "profile": papers} for n in range(3)]
    folder = written(tmp_path / "1", cited, dict.fromkeys("012", "[1]"), "LaMP_1")
    settings = lamp.Settings(
        folder, train=str(folder), seeds=1, retrievers=("recency",), ks=(1,), ways=("score",), controls=()
    )
    rows = {row["method"]: row for row in ran(settings, tmp_path / "work")["rows"]}
    assert set(rows) == {"majority", "own neighbours", "own neighbours, wrong person", "none", "history recency k=1"}
    assert rows["own neighbours"]["accuracy"] == 1.0
    reviews = [{"id": str(n), "input": SCORED.format(f"Number {n}"),
                "profile": [{"id": "r", "text": f"Review {n}", "score": "45"[n % 2]}]} for n in range(4)]  # fmt: skip
    folder = written(tmp_path / "3", reviews, dict(zip("0123", "4545", strict=True)), "LaMP_3")
    settings = lamp.Settings(folder, train=str(folder), seeds=1, retrievers=(), ways=(), controls=())
    rows = {row["method"]: row for row in ran(settings, tmp_path / "work")["rows"]}
    assert (rows["own commonest"]["mae"], rows["own commonest"]["accuracy"]) == (0, 1)
    assert rows["majority"]["mae"] == 0.5


def test_rows_are_chosen_by_their_names_whatever_they_are(people: Path) -> None:
    def named(**settings: Any) -> list[tuple[str, str]]:
        cells = lamp.cells(lamp.Settings(people, seeds=1, ways=("choice", "mean"), **settings))
        return [(cell.of["method"], cell.of["way"]) for cell in cells]

    wrong = f"own commonest{scores.WRONG}"
    assert named(methods=("TAM", "none", "own commonest")) == [
        ("own commonest", "classic"), (wrong, "classic"), ("none", "choice"), ("none", "mean"),
        ("TAM", "choice"), ("TAM", "mean"),
    ]  # fmt: skip
    usual, more = named(), named(trained=("TAM", "OPPU"))
    assert more[: len(usual)] == usual
    assert {method for method, _ in more[len(usual) :]} == {"TAM", "OPPU", f"OPPU{scores.WRONG}"}
    texts = lamp.Settings(FIXTURES / "LaMP_4", train=str(FIXTURES / "LaMP_4"), seeds=1, methods=("none",))
    assert [cell.of["way"] for cell in lamp.cells(texts)] == ["free"]


# ---- what teaches


def test_balanced_examples_hold_every_answer_as_often_and_lose_none() -> None:
    someone = Profile("x")
    targets = ["comedy"] * 7 + ["violence"] * 3 + ["sci-fi"]
    examples = [Example(someone, Ask("task", str(n)), target) for n, target in enumerate(targets)]
    found = balanced(examples, 1)
    assert Counter(example.target for example in found) == dict.fromkeys(["comedy", "violence", "sci-fi"], 7)
    assert Counter(id(example) for example in found if example.target == "comedy") == {id(e): 1 for e in examples[:7]}
    assert {id(example) for example in found} == {id(example) for example in examples}
    assert [id(e) for e in balanced(examples, 1)] == [id(e) for e in found]
    assert [id(e) for e in balanced(examples, 2)] != [id(e) for e in found]
    assert balanced([], 0) == []


def test_settings_that_cannot_be_are_told(people: Path) -> None:
    with pytest.raises(CannotRun, match="'maybe' is none of the ways: use free, choice, score, mean, pmi"):
        list(lamp.cells(lamp.Settings(people, ways=("maybe",))))
    with pytest.raises(CannotRun, match=r"'TIM' is no method here: use all, majority.*, none, .*, summary, TAM, .*"):
        list(lamp.cells(lamp.Settings(people, methods=("none", "TIM"))))
    with pytest.raises(CannotRun, match=r"has no questions\.json"):
        lamp.files(lamp.Settings(people, train="/nowhere"))
    with pytest.raises(CannotRun, match=r"is of LaMP_4 and .* of LaMP_2"):
        lamp.split(lamp.Settings(people, train=str(FIXTURES / "LaMP_4")))
    with pytest.raises(CannotRun, match="nobody of"):
        lamp.split(lamp.Settings(people, limit=0))


# ---- fetching


class Files:
    """What a server holds: path -> body; with ways to misbehave."""

    def __init__(self) -> None:
        self.bodies: dict[str, bytes] = {}
        self.ranges: list[str | None] = []
        self.kind = "application/json"
        self.cut: int | None = None  # bytes after which the line goes dead
        self.knows_ranges = True


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Files]:
    held = Files()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked_from = self.headers.get("Range")
            held.ranges.append(asked_from)
            body = held.bodies.get(self.path)
            if body is None:
                self.send_error(404)
                return
            start = int(asked_from[6:-1]) if asked_from and held.knows_ranges else 0
            if start >= len(body):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Type", held.kind)
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            self.wfile.write(body[start : held.cut])
            self.close_connection = held.cut is not None

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        monkeypatch.setattr(lamp_files, "OFFICIAL", f"http://127.0.0.1:{http.server_address[1]}/LaMP")
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield held
        http.shutdown()


def official(server: Files, where: str = "LaMP_2/new/dev") -> dict[str, bytes]:
    questions = json.dumps([film(str(n), "A film. " * 200) for n in range(40)]).encode()
    golds = json.dumps({"task": "LaMP_2", "golds": [{"id": str(n), "output": "comedy"} for n in range(40)]}).encode()
    told = {"dev_questions.json": questions, "dev_outputs.json": golds}
    server.bodies = {f"/LaMP/{where}/{name}": body for name, body in told.items()}
    return told


def test_a_split_is_fetched_by_the_command_and_can_be_read(
    server: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    official(server)
    assert offline.main("lamp", ["--fetch", "LaMP_2_new", "dev", "--data", str(tmp_path)]) == 0
    assert "dev_questions.json: 0.1 of 0.1 MB" in capsys.readouterr().err
    assert len(read(tmp_path).questions) == 40
    assert offline.main("lamp", ["--fetch", "LaMP_2_new", "dev", "--data", str(tmp_path)]) == 0
    assert len(server.ranges) == 2, "what is there is not fetched again"
    with pytest.raises(CannotRun, match="is there and of LaMP_2: give each task and split a folder of its own"):
        list(fetch("LaMP_5", "dev", tmp_path))
    official(server, "time/LaMP_5/dev")
    list(fetch("time/LaMP_5", "dev", tmp_path / "time"))
    assert (tmp_path / "time" / "dev_questions.json").is_file()


@pytest.mark.parametrize("knows", [True, False])
def test_a_broken_download_goes_on_where_it_was(server: Files, tmp_path: Path, knows: bool) -> None:
    told = official(server)
    server.cut = 1000
    with pytest.raises(CannotRun, match="goes on where it was"):
        list(fetch("LaMP_2_new", "dev", tmp_path))
    assert (tmp_path / "dev_outputs.json.part").stat().st_size == 1000
    assert not (tmp_path / "dev_outputs.json").exists()
    server.cut, server.knows_ranges = None, knows
    list(fetch("LaMP_2_new", "dev", tmp_path))
    assert server.ranges[1] == "bytes=1000-"
    for name, body in told.items():
        assert hashlib.sha256((tmp_path / name).read_bytes()).digest() == hashlib.sha256(body).digest()
    assert not list(tmp_path.glob("*.part"))


def test_what_was_left_of_something_longer_is_begun_anew(server: Files, tmp_path: Path) -> None:
    told = official(server)
    (tmp_path / "dev_outputs.json.part").write_bytes(b"[" * 100_000)
    with pytest.raises(CannotRun, match="was deleted: run the same command again"):
        list(fetch("LaMP_2_new", "dev", tmp_path))
    list(fetch("LaMP_2_new", "dev", tmp_path))
    assert (tmp_path / "dev_outputs.json").read_bytes() == told["dev_outputs.json"]


def test_web_pages_wrong_addresses_and_wrong_names_are_refused(server: Files, tmp_path: Path) -> None:
    for name in official(server):
        server.bodies[f"/LaMP/LaMP_2/new/dev/{name}"] = b"\n<!DOCTYPE html><html>" + b"x" * 16_000
    with pytest.raises(CannotRun, match="answered with no JSON"):
        list(fetch("LaMP_2_new", "dev", tmp_path))
    server.kind = "text/html; charset=utf-8"
    with pytest.raises(CannotRun, match="answered with a web page and not with JSON"):
        list(fetch("LaMP_2_new", "dev", tmp_path))
    assert not list(tmp_path.iterdir())
    with pytest.raises(CannotRun, match="answered 404: check the task and the split"):
        list(fetch("LaMP_4", "dev", tmp_path))
    for task in ("LaMP_6", "LaMP_3_new", "LongLaMP_abstract"):
        with pytest.raises(CannotRun, match=f"'{task}' cannot be fetched: say LaMP_1, LaMP_2_new"):
            list(fetch(task, "dev", tmp_path))
    with pytest.raises(CannotRun, match="the answers of test are not published"):
        list(fetch("LaMP_4", "test", tmp_path))
