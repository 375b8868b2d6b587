"""Rows of LaMP whose method learns, where answers are labels: from the people who teach, and one adapter a person.

What teaches are the teachers' questions and, asked in the same words, the items of their past. A person's profile is
their past without the item that is asked, each item as "answer: text": an encoder that sees only one of the two misses
what makes the taste. A tenth of the teachers learns nothing and stops the training; nothing that is judged is looked
at. Soft tokens, memories and topics are learned over the plain model. The task-adapted model (TAM) is an adapter of all
teachers, OPPU one of the person's own past on top of it, and cope contrasts the two; people with little past are
answered by TAM, and `without` says how many. "With history" both adapters are taught, and asked, with the nearest items
of the past before the question (OPPU, arXiv 2402.04401, with retrieval); "TAM + history" is told them and was not
taught so.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from collectors.item import Item, Signal
from engine.backbone import Backbone
from engine.encoder import encode
from engine.fitting import apart, recipe_for
from engine.learning import CALIBRATION, born_on, says
from engine.methods.base import PREFIX, Ask, Conditioning, Method
from engine.methods.cope import CoPe
from engine.methods.cross_attention import CrossAttention
from engine.methods.e2p import E2P
from engine.methods.lora import TAM, LoRA
from engine.methods.persoma import Persoma
from engine.methods.retrieval import Retrieval
from engine.methods.topics import Topics
from engine.optimise import Recipe, Trained
from engine.patches import Patches, together
from engine.profile import Profile, narrowed
from engine.state import parameters
from engine.train import Example, train
from studies.benchmarks import lamp_prompts
from studies.benchmarks.lamp_answers import NOBODY, PLAIN, Answer, Asked, told_by
from studies.benchmarks.lamp_balance import balanced
from studies.benchmarks.lamp_classic import Teachers
from studies.benchmarks.lamp_files import Past, Question, Task, plain, unasked
from studies.benchmarks.runs import CannotRun, Row
from studies.benchmarks.tagging import LEAST_LEARNED, MOST_LEARNED

# one state in about five minutes of one core; what is patched reads its whole request at every step. Steps and rate
# are from people who teach, four of five taught and the fifth looked at (log 2026-11-27)
PATCHED = Recipe(steps=80, batch=4, accumulate=2, lr=1e-3, evaluate_every=20, max_target_tokens=12)
GATED = replace(PATCHED, lr=3e-3)  # gates that are born at 0 hardly open at a third of it; to be chosen anew (log)
PREFIXED = Recipe(steps=150, batch=4, accumulate=2, lr=1e-3, evaluate_every=30, max_target_tokens=12)
SHORT = 64  # tokens of what is asked, where it teaches
TOLD = 320  # tokens of a request that teaches with a history: each is read at every step
MOST_OF_ONE, MOST_STOPPING = 16, 4  # the latest items of one teacher: else the few with hundreds decide
FOREVER = float("inf")  # of a fit, however slow the machine
OWN = LoRA()

LEARNED: dict[str, Method] = {  # from the teachers, over the plain model
    "e2p-1": E2P(),
    "e2p-5": E2P(tokens=5),
    "pplug": E2P(aware=True),
    "persoma mlp": Persoma(adapter="mlp"),
    "persoma perceiver": Persoma(adapter="perceiver"),
    "cross_attention": CrossAttention(),
    "topics": Topics(),
    "RAP over e2p-5": Retrieval(E2P(tokens=5)),
}
PROMPTED, RETRIEVER, K = "TAM + history bm25 k=4", "bm25", 4
ADAPTED: dict[str, Method] = {  # over TAM
    "TAM": PLAIN,
    PROMPTED: PLAIN,
    "OPPU": OWN,
    "cope": CoPe(expert=OWN, amateur=PLAIN),
    "TAM with history": PLAIN,
    "OPPU with history": OWN,
}
TELLING = ("TAM with history", "OPPU with history")  # what teaches has a history too
ROWS = {**dict.fromkeys(ADAPTED, True), "TAM": False, **dict.fromkeys(LEARNED, True)}  # whether personal


@dataclass(frozen=True, slots=True)
class How:
    """How a row learns: its seed, how many tokens a request has at most, whether those who teach give each answer as
    often as any other, and whether a history stands before what is asked."""

    seed: int
    window: int
    balanced: bool = False
    told: bool = False


@dataclass(frozen=True, slots=True)
class Request(Ask):
    """`payload` is what is asked about, which items are searched with; `head` the words before it."""

    head: str = ""
    marked: bool = False  # soft tokens stand between the two, so that the head is read once for all who teach

    def instruction(self) -> str:
        words = self.head.rstrip()  # a space belongs to the token after it
        return f"{words}{PREFIX * self.marked}{self.head[len(words) :]}{self.payload}"


def rows_for(task: Task, names: Sequence[str]) -> list[str]:
    """The rows of these names, "all" for every one that this task can have. Raises CannotRun."""
    own = [name for name, method in ADAPTED.items() if method != PLAIN]
    known = [name for name in ROWS if task.name != "LaMP_1" or name not in own]  # its past is no question
    if unknown := [name for name in names if name not in (*known, "all")]:
        raise CannotRun(f"{unknown[0]!r} is no trained row of {task.name}: use all, {', '.join(known)}")
    return known if "all" in names else [name for name in known if name in names]


def answered(
    lm: Backbone,
    teachers: Teachers,
    questions: Sequence[Question],
    name: str,
    way: str,
    how: How,
) -> tuple[list[Answer], Row]:
    """A row's answer to each question, from the past that stands in it, and what its training took."""
    requests = [request(lm, question, how.window) for question in questions]
    if name in LEARNED:
        learned = taught(lm, teachers, LEARNED[name].learned_as, how)
        people = [person(question) for question in questions]
        methods = [usable(lm, LEARNED[name], profile) for profile in people]
        told = [
            method.condition(lm, profile, learned.state, marked(method, ask))
            for method, profile, ask in zip(methods, people, requests, strict=True)
        ]
        without = {question.person for question, method in zip(questions, methods, strict=True) if method is PLAIN}
        figures = {"train_seconds": learned.seconds, "trained_parameters": parameters(learned.state)}
    else:
        how = replace(how, told=name in TELLING)
        tam = taught(lm, teachers, TAM, how)
        figures = {"train_seconds": tam.seconds, "trained_parameters": parameters(tam.state)}
        base, without = adapter(lm, teachers, how), set[str]()
        if how.told or name == PROMPTED:
            requests = [prompted(lm, question, teachers.task, how.window) for question in questions]
        told = [over(base, PLAIN.condition(lm, NOBODY, {}, ask)) for ask in requests]
        if (method := ADAPTED[name]) != PLAIN:
            fits = own(lm, teachers, questions, how)
            told = with_own(lm, base, method, fits, zip(questions, requests, told, strict=True))
            without = {question.person for question in questions} - fits.keys()
            figures = with_fits(figures, list(fits.values()))
    given = [Asked(ask.instruction(), question.labels, 0) for ask, question in zip(requests, questions, strict=True)]
    return told_by(lm, given, told, way), {**figures, "without": len(without)}


# ---- what is asked, and of whom


def request(lm: Backbone, question: Question, window: int) -> Request:
    """The question alone, as rows that only prompt ask it without a past."""
    head, text = _parts(question)
    return Request("task", lm.cut(text, max(1, window - len(lm.tokens(head)))), head=head)


def _parts(question: Question) -> tuple[str, str]:
    """The words before what is asked about, and that; of LaMP-1's question, whose end is no text, nothing and all."""
    told = question.input.rstrip()
    return (question.head, question.payload) if question.head != told else ("", told)


def short(lm: Backbone, question: Question, task: Task, how: How) -> Request:
    """The same, shorter where it teaches."""
    asked = request(lm, question, how.window)
    asked = replace(asked, payload=lm.cut(asked.payload, SHORT))
    if not how.told:
        return asked
    return prompted(lm, replace(question, input=asked.instruction()), task, min(how.window, TOLD))


def prompted(lm: Backbone, question: Question, task: Task, window: int) -> Request:
    items = lamp_prompts.nearest(RETRIEVER, question, task)[:K]
    return Request("task", lamp_prompts.told(lm, question, items, task, window))


def marked(method: Method, ask: Request) -> Request:
    return replace(ask, marked=isinstance(method.learned_as, E2P | Persoma | Topics))


def person(question: Question) -> Profile:
    """Whoever is asked, by what they answered before: never by the item that is asked."""
    past = question.past
    items = tuple(Item("lamp", item.id or str(n), "post", f"{item.answer}: {item.text}") for n, item in enumerate(past))
    vectors = encode([item.text for item in items])
    whole = Profile(question.person, items, tuple(Signal(item.id, 1) for item in items), vectors=vectors)
    return narrowed(whole, range(len(items)))  # with the mean of its vectors


def usable(lm: Backbone, method: Method, profile: Profile) -> Method:
    """The method, or what it falls back to for somebody with so little past."""
    if not method.lacks(lm, profile):
        return method
    return usable(lm, method.inner, profile) if isinstance(method, Retrieval) else PLAIN


def asked_too(question: Question, items: Sequence[Past]) -> list[Question]:
    """Items of a past as questions, in the words of this one."""
    head, _ = _parts(question)
    return [
        replace(question, id=f"{question.id}, {item.id}", input=head + item.text, payload=item.text, gold=item.answer)
        for item in items
        if item.answer in question.labels
    ]


# ---- learning from the teachers


def lessons(teachers: Teachers) -> list[list[Question]]:
    """What each of those who teach is asked: their questions and, where the task asks of an item as of a question, the
    latest items of their past. Each once."""
    told: dict[str, dict[str, Question]] = {}
    for question in teachers.questions:
        items = () if teachers.task.name == "LaMP_1" else question.past[-MOST_OF_ONE:]
        for one in (*asked_too(question, items), question):
            told.setdefault(question.person, {})[plain(one.payload)] = one
    return [list(questions.values()) for questions in told.values()]


def apart_from(teachers: Teachers, judged: Sequence[Question]) -> None:
    """Raise ValueError where somebody who is judged teaches or, unless this is allowed, what they are asked does."""
    taught_of = [question for questions in lessons(teachers) for question in questions]
    people = {question.user for question in judged if question.user}
    asked = set() if teachers.seen else {plain(question.payload) for question in judged}
    for question in taught_of:
        known = {plain(question.payload), *(plain(item.text) for item in question.profile)}
        if question.user in people or known & asked:
            raise ValueError(f"what is judged teaches: {question.id} of {question.person}")


@cache
def taught(lm: Backbone, teachers: Teachers, method: Method, how: How) -> Trained:
    """A state from the teachers, of whom every tenth stops the training."""
    everybody = [_examples(lm, method, questions, teachers.task, how) for questions in lessons(teachers)]
    rows = [some for some in everybody if some]
    if len(rows) < 2:
        raise CannotRun("fewer than two people with a past teach: take more of them")
    stop = [example for some in rows[::10] for example in some[-MOST_STOPPING:]]
    learned = [example for n, some in enumerate(rows) if n % 10 for example in some]
    vectors = np.concatenate([example.profile.vectors for example in learned])
    calibration = vectors[np.random.default_rng(0).permutation(len(vectors))[:CALIBRATION]]
    patched = {LoRA: PATCHED, CrossAttention: GATED}
    recipe = replace(patched.get(type(method), PREFIXED), seed=how.seed)
    if how.balanced:
        learned, stop = balanced(learned, how.seed), balanced(stop, how.seed)
    return train(lm, says(lm, method), born_on(lm, method, calibration), learned, stop, recipe)


def _examples(lm: Backbone, method: Method, questions: Sequence[Question], task: Task, how: How) -> list[Example]:
    known = [(one, profile) for one in questions if not method.lacks(lm, profile := person(one))]
    return [Example(profile, marked(method, short(lm, one, task, how)), one.gold) for one, profile in known]


# ---- an adapter of one's own


def adapter(lm: Backbone, teachers: Teachers, how: How) -> Patches:
    """TAM, which everything here stands on."""
    return TAM.condition(lm, NOBODY, taught(lm, teachers, TAM, how).state, Request()).patches


def over(base: Patches, told: Conditioning) -> Conditioning:
    """The same on top of an adapter, and so is what it is contrasted with."""
    contrast = told.contrast and replace(told.contrast, amateur=over(base, told.contrast.amateur))
    return replace(told, patches=together(base, told.patches), contrast=contrast)


@cache
def fitted(lm: Backbone, teachers: Teachers, answers: tuple[tuple[Request, str], ...], how: How) -> Trained:
    """One person's adapter over TAM, from what they answered, oldest first; every fifth stops it."""
    base = adapter(lm, teachers, how)
    made, stop = apart([Example(NOBODY, ask, answer) for ask, answer in answers])
    say = says(lm, OWN)
    longest = PATCHED.max_target_tokens
    recipe = replace(recipe_for(OWN, len(made)), max_target_tokens=longest, seed=how.seed, seconds=FOREVER)
    return train(lm, lambda *of: over(base, say(*of)), born_on(lm, OWN), made, stop, recipe)


def own(lm: Backbone, teachers: Teachers, questions: Sequence[Question], how: How) -> dict[str, Trained]:
    """An adapter of each person with enough past, from nothing that they are asked: one answers all their questions."""
    found = {}
    for person, question in unasked(questions).items():
        items = asked_too(question, question.past[-MOST_LEARNED:])
        if len(items) >= LEAST_LEARNED:
            answers = tuple((short(lm, one, teachers.task, how), one.gold) for one in items)
            found[person] = fitted(lm, teachers, answers, how)
    return found


def with_own(
    lm: Backbone,
    base: Patches,
    method: Method,
    fits: Mapping[str, Trained],
    asked: Iterable[tuple[Question, Ask, Conditioning]],
) -> list[Conditioning]:
    """What each request is told by the person's own adapter over the base; where there is none, what it was told."""
    return [
        over(base, method.condition(lm, NOBODY, fits[question.person].state, ask)) if question.person in fits else told
        for question, ask, told in asked
    ]


def with_fits(figures: Row, fits: Sequence[Trained]) -> Row:
    """The figures of the task adapter, and those of the people's own on top."""
    took = sum(fit.seconds for fit in fits)
    more = {"seconds_a_person": took / len(fits) if fits else 0.0}
    more["train_seconds"] = figures["train_seconds"] + took
    more["trained_parameters"] = figures["trained_parameters"] + (parameters(fits[0].state) if fits else 0)
    return figures | more
