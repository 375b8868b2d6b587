"""LaMP (arXiv 2304.11406) and what is laid out as it is: a person's own answer to a question, from their earlier ones.

Classic rows count, compare and regress. Prompt rows ask a language model, which is told nothing, or items of the
person's past that are found by BM25, by meaning or by recency, or a summary; where answers are labels, each is answered
in several ways (`lamp_answers`). Trained rows learn from people who are not judged (`lamp_trained`, of texts
`lamp_texts`). Every personal row has a control that is given the past of somebody else.

Judged are the people of `data`; those of `train` teach, or without it seven people of ten of `data`, who then know
nothing that is asked of the others. Intervals are over people. A set that is only shaped like LaMP stays a set of its
own: its scores never stand beside published ones.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from studies.benchmarks import lamp_classic, lamp_prompts, lamp_texts, lamp_trained, scores
from studies.benchmarks.lamp_answers import LEARNED, WAYS, Answer, Asked, answers
from studies.benchmarks.lamp_classic import Teachers, taught_by
from studies.benchmarks.lamp_files import Past, Question, Task, found, read
from studies.benchmarks.rows import ALL, circle, model, of_methods
from studies.benchmarks.runs import CannotRun, Cell, Done, Row
from studies.benchmarks.scores import WRONG

Picks = Callable[["Split", Sequence[Question]], list[str]]  # the whole request of each question


@dataclass(frozen=True, slots=True)
class Settings:
    """At most `limit` questions are judged and `teachers` people teach, the first by the hash of the person's id.
    `seen` lets those who teach know what is asked of others, without `train`; with it files are taken as they are."""

    data: Path
    train: str = ""
    task: str = ""
    limit: int = 1000
    teachers: int = 500
    seen: bool = False
    seeds: int = 3
    model: str = ""
    ways: tuple[str, ...] = ("free", "choice", "score")
    controls: tuple[str, ...] = ("choice",)  # those ways in which the wrong person is asked
    retrievers: tuple[str, ...] = lamp_prompts.RETRIEVERS
    ks: tuple[int, ...] = (1, 4, 8)
    window: int = 512  # tokens of a request, as in LaMP's own runs
    longest: int = 64  # tokens of a text that is written
    trained: tuple[str, ...] = ()  # rows whose method learns, by their names, or "all"
    balanced: bool = False  # whether what teaches these gives each label as often as any other
    methods: tuple[str, ...] = ALL  # or these rows alone, those that learn among them


@dataclass(frozen=True, eq=False)
class Split:
    teachers: Teachers
    judged: tuple[Question, ...]
    skipped: int
    settings: Settings

    @property
    def task(self) -> Task:
        return self.teachers.task


def files(settings: Settings) -> list[Path]:
    return [path for folder in (settings.train, settings.data) if folder for path in found(Path(folder))]


def cells(settings: Settings) -> Iterator[Cell]:
    whole = split(settings)
    for name, known in (("ways", WAYS), ("controls", WAYS), ("retrievers", lamp_prompts.RETRIEVERS)):
        if unknown := sorted({*getattr(settings, name)} - {*known}):
            raise CannotRun(f"{unknown[0]!r} is none of the {name}: use {', '.join(known)}")
    if "pmi" in settings.ways and whole.task.name == "LaMP_1":
        raise CannotRun("LaMP_1 asks of no text that could be left out: take 'pmi' out of the ways")
    labelled, named = whole.task.kind != "text", "all" not in settings.methods
    if labelled and settings.controls and not {*settings.ways} & {*settings.controls}:
        raise CannotRun("no way is left in which the wrong person is asked: name one of the `ways` in `controls`")
    rows_for = lamp_trained.rows_for if labelled else lamp_texts.rows_for
    trained = rows_for(whole.task, ALL if named else settings.trained)
    yield from of_methods(_all_cells(whole, settings, trained), settings.methods)


def _all_cells(whole: Split, settings: Settings, trained: Sequence[str]) -> Iterator[Cell]:
    labelled = whole.task.kind != "text"
    for seed in range(settings.seeds):
        for name in lamp_classic.rows_for(whole.task) if labelled else ():
            for wrong in (False, True)[: 1 + lamp_classic.ROWS[name][1]]:
                of = {"method": f"{name}{WRONG * wrong}", "way": "classic", "seed": seed}
                yield Cell(of, _classic(whole, name, seed, wrong))
        for name, personal in lamp_texts.FLOORS.items() if not labelled else ():
            for wrong in (False, True)[: 1 + personal]:
                of = {"method": f"{name}{WRONG * wrong}", "way": "classic", "seed": seed}
                yield Cell(of, _copied(whole, name, seed, wrong))
        for name, (picks, personal) in prompts(settings, whole.task).items():
            for wrong in (False, True)[: 1 + personal]:
                ways = (way for way in settings.ways if not wrong or way in settings.controls)
                for way in ways if labelled else ("free",):
                    of = {"method": f"{name}{WRONG * wrong}", "way": way, "seed": seed}
                    yield Cell(of, _prompted(whole, picks, way, seed, wrong))
        for name in trained:
            for wrong in (False, True)[: 1 + (lamp_trained if labelled else lamp_texts).ROWS[name]]:
                for way in LEARNED if labelled else ("free",):
                    if not labelled or (way in settings.ways and (not wrong or way in settings.controls)):
                        of = {"method": f"{name}{WRONG * wrong}", "way": way, "seed": seed}
                        yield Cell(of, _trained(whole, name, way, seed, wrong))


# ---- people


@cache
def split(settings: Settings) -> Split:
    """Who teaches and who is judged. Raises CannotRun."""
    data = read(settings.data, settings.task)
    if settings.train:
        taught = read(Path(settings.train), settings.task)
        if taught.task != data.task:
            raise CannotRun(f"{settings.train} is of {taught.task.name} and {settings.data} of {data.task.name}")
        judged, others, skipped = data.questions, taught.questions, data.skipped + taught.skipped
    else:
        judged = tuple(q for q in data.questions if held_out(q.person))
        others = tuple(q for q in data.questions if not held_out(q.person))
        skipped = data.skipped
    judged = _first(judged, settings.limit)
    if not judged:
        raise CannotRun(f"nobody of {settings.data} is judged: take more people, or say who teaches with --train")
    seen = settings.seen or bool(settings.train)
    teachers = taught_by(data.task, _of_first(others, settings.teachers), judged, seen=seen)
    return Split(teachers, judged, skipped, settings)


def held_out(person: str) -> bool:
    """Whether somebody is judged, where nobody is told to teach."""
    return _hash(person) % 100 >= 70


def _first(questions: Sequence[Question], most: int) -> tuple[Question, ...]:
    """So many questions, in their order; person after person."""
    kept = sorted(range(len(questions)), key=lambda n: _hash(questions[n].person))[:most]
    return tuple(questions[n] for n in sorted(kept))


def _of_first(questions: Sequence[Question], most: int) -> tuple[Question, ...]:
    """All questions of so many people."""
    kept = set(sorted({question.person for question in questions}, key=_hash)[:most])
    return tuple(question for question in questions if question.person in kept)


def _hash(person: str) -> int:
    return int(hashlib.sha256(f"palate-tags|{person}".encode()).hexdigest(), 16)


def somebody_else(questions: Sequence[Question], seed: int) -> list[Question]:
    """The same questions, each with the past of somebody else, drawn by the seed; of one person the same."""
    past = {question.person: question.profile for question in questions}
    people = sorted(past)
    other = {person: people[n] for person, n in zip(people, circle(len(people), [seed, 1]), strict=True)}
    return [replace(question, profile=past[other[question.person]]) for question in questions]


# ---- the rows


def _asked(whole: Split, seed: int, wrong: bool) -> Sequence[Question]:
    return somebody_else(whole.judged, seed) if wrong else whole.judged


def _classic(whole: Split, name: str, seed: int, wrong: bool) -> Callable[[], Done]:
    def computed() -> Done:
        questions = _asked(whole, seed, wrong)
        found = lamp_classic.ROWS[name][0](whole.teachers, questions)
        fitted = lamp_classic.parameters(whole.teachers, name)
        return _done(whole, lamp_classic.said(whole.teachers, questions, found), trained_parameters=fitted)

    return computed


def _copied(whole: Split, name: str, seed: int, wrong: bool) -> Callable[[], Done]:
    def computed() -> Done:
        lm, longest = model(whole.settings.model), whole.settings.longest
        return _done(whole, lamp_texts.copied(lm, whole.teachers, _asked(whole, seed, wrong), name, seed, longest))

    return computed


def _prompted(whole: Split, picks: Picks, way: str, seed: int, wrong: bool) -> Callable[[], Done]:
    def computed() -> Done:
        lm = model(whole.settings.model)
        questions = _asked(whole, seed, wrong)
        texts = picks(whole, questions)
        given = [
            Asked(text, question.labels, whole.settings.longest, question.head.rstrip())
            for text, question in zip(texts, questions, strict=True)
        ]
        told = answers(lm, given, way)
        return _done(whole, [answer.said for answer in told], told)

    return computed


def _trained(whole: Split, name: str, way: str, seed: int, wrong: bool) -> Callable[[], Done]:
    def computed() -> Done:
        lamp_trained.apart_from(whole.teachers, whole.judged)
        lm, window = model(whole.settings.model), whole.settings.window
        questions = _asked(whole, seed, wrong)
        if whole.task.kind == "text":
            longest = whole.settings.longest
            told, figures = lamp_texts.answered(lm, whole.teachers, questions, name, seed, window, longest)
        else:
            how = lamp_trained.How(seed, window, whole.settings.balanced)
            told, figures = lamp_trained.answered(lm, whole.teachers, questions, name, way, how)
        return _done(whole, [answer.said for answer in told], told, **figures)

    return computed


def prompts(settings: Settings, task: Task) -> dict[str, tuple[Picks, bool]]:
    """The rows that only prompt, and whether each is personal."""
    rows: dict[str, tuple[Picks, bool]] = {"none": (_history("recency", 0), False)}
    rows |= {f"history {how} k={k}": (_history(how, k), True) for how in settings.retrievers for k in settings.ks}
    if task.kind != "text" and task.name != "LaMP_1":
        rows["summary"] = (_summed, True)
    return rows


def _history(retriever: str, k: int) -> Picks:
    def picked(whole: Split, questions: Sequence[Question]) -> list[str]:
        lm, window = model(whole.settings.model), whole.settings.window
        found = [lamp_prompts.nearest(retriever, question, whole.task)[:k] if k else [] for question in questions]
        return [
            lamp_prompts.told(lm, question, items, whole.task, window)
            for question, items in zip(questions, found, strict=True)
        ]

    return picked


def _summed(whole: Split, questions: Sequence[Question]) -> list[str]:
    lm = model(whole.settings.model)
    summaries = [_summary(whole.settings.model, question.past) for question in questions]
    return [
        f"{summary} {lm.cut(question.input, max(1, whole.settings.window - len(lm.tokens(summary))))}".strip()
        for question, summary in zip(questions, summaries, strict=True)
    ]


@cache
def _summary(name: str, past: tuple[Past, ...]) -> str:
    return lamp_prompts.summary(model(name), past)


# ---- figures


def _done(whole: Split, said: Sequence[str], told: Sequence[Answer] = (), **more: float) -> Done:
    questions, task = whole.judged, whole.task
    gold, people = [question.gold for question in questions], [question.person for question in questions]
    figures: Row
    if task.kind == "text":
        per_text = scores.rouge(gold, said)
        figures = {**scores.generation(gold, said), "parse_failures": sum(not text.strip() for text in said)}
        for name, values in zip(("rouge1", "rougeL"), per_text.T, strict=True):
            figures[f"{name}_half"] = _half(values, people)
    else:
        labels = sorted({label for question in questions for label in question.labels})
        figures = {} if task.kind == "label" else dict(scores.regression([int(label) for label in gold], said))
        figures |= scores.classification(gold, said, labels)  # its failures are the stricter: 4.0 is none of the labels
        right = np.array([a == b.strip() for a, b in zip(gold, said, strict=True)], float)
        figures["accuracy_half"] = _half(right, people)
    figures["people"] = len(set(people))
    figures["prompt_tokens"] = float(np.mean([answer.prompt_tokens for answer in told])) if told else 0.0
    figures["latency"] = float(np.mean([answer.seconds for answer in told])) if told else 0.0
    figures |= {"trained_parameters": 0, **more, "skipped_items": whole.skipped}
    lines = zip((question.id for question in questions), people, gold, said, strict=True)
    return Done(figures, lines)


def _half(values: scores.Floats, people: Sequence[str]) -> float:
    """Half of the 95 % interval of the mean over all questions; people are the sample. Of one person there is none."""
    names = {person: n for n, person in enumerate(dict.fromkeys(people))}
    which = np.array([names[person] for person in people])
    sums, counts = (np.bincount(which, weights).astype(np.float64) for weights in (values, np.ones(len(values))))
    half = scores.ratio(sums, counts)[1]
    return 0.0 if math.isnan(half) else half
