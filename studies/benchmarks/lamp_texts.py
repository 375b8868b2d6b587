"""Rows of LaMP where answers are texts: floors that copy, and those whose method learns.

The rows that learn are the ablation of CoPe (arXiv 2506.12109): the task-adapted model (TAM) is an adapter of all who
teach; OPPU one of the person's own past over it; "contrast only" is OPPU's adapter contrasted with TAM at every token;
"DPO only" is OPPU's adapter refined by pairs of what the person wrote and what TAM wrote in their place, decoded
plainly; "cope" is both. All write greedily. Among labels (`lamp_trained`) the row "cope" is the contrast alone.

What teaches are the teachers' questions and the items of their past, asked in the same words, or in words of their own
where the task asks of an item what it is about. A tenth of the teachers learns nothing and stops the training; every
fifth item of a person stops theirs. People with little past are answered by TAM, and `without` says how many.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from engine.backbone import Backbone
from engine.fitting import apart, recipe_for
from engine.learning import born_on, says
from engine.methods.base import Ask, Method
from engine.methods.cope import CoPe
from engine.methods.dpo import DPO
from engine.methods.lora import TAM, LoRA
from engine.optimise import Recipe, Trained
from engine.patches import Patches
from engine.preference import dpo_objective, pseudo_negatives
from engine.state import parameters
from engine.train import Example, Say, train
from studies.benchmarks import lamp_prompts
from studies.benchmarks.lamp_answers import NOBODY, PLAIN, Answer, Asked, told_by
from studies.benchmarks.lamp_classic import Teachers
from studies.benchmarks.lamp_files import Past, Question, Task, plain, unasked
from studies.benchmarks.lamp_trained import FOREVER, PROMPTED, RETRIEVER, over, prompted, request, with_fits, with_own
from studies.benchmarks.runs import CannotRun, Row
from studies.benchmarks.tagging import LEAST_LEARNED, MOST_LEARNED

# four to six seconds of one core a step; the loss of the writers' teachers who stop it still fell where a try ended
# (1.59, 1.37 after 8 steps, 1.32 after 16): the best evaluation is kept, so that more steps cost time alone
TASK = Recipe(steps=120, batch=4, accumulate=2, lr=1e-3, evaluate_every=20)
TAUGHT = 128  # tokens of a request where it teaches: a paper's abstract has three hundred, and each is read every step
MOST_OF_ONE, MOST_STOPPING = 16, 8  # the latest items of one teacher: else the few with hundreds decide
OWN, REFINED = LoRA(), DPO()  # which is held to OPPU's adapter, where it begins; CoPe's own code holds it to TAM
CONTRASTED = CoPe(expert=OWN, amateur=PLAIN)

PERSONAL = {  # rows with an adapter of one's own: whether DPO refines it, and what decodes it
    "OPPU": (False, OWN),
    "contrast only": (False, CONTRASTED),
    "DPO only": (True, OWN),
    "cope": (True, CONTRASTED),
}
ROWS = {"TAM": False, PROMPTED: True, **dict.fromkeys(PERSONAL, True)}  # whether personal
OWN_PAST, SOMEBODYS, AGAIN = "own past answer", "somebody's answer", "the question again"
FLOORS = {OWN_PAST: True, SOMEBODYS: False, AGAIN: False}

Answers = tuple[tuple[Ask, str], ...]  # what one person was asked and wrote, oldest first

# how an item of a past is asked where its text is what was written: {answer} is what the person called it
ASKED = {
    "LaMP_7": "Write a tweet.",
    "LongLaMP_abstract": 'Generate an abstract for the title "{answer}".',
    "LongLaMP_review": 'Generate a review with the summary "{answer}".',
    "LongLaMP_topic": 'Generate a post with the summary "{answer}".',
}


def rows_for(task: Task, names: Sequence[str]) -> list[str]:
    """The rows that learn of these names, "all" for every one. Raises CannotRun."""
    if unknown := [name for name in names if name not in (*ROWS, "all")]:
        raise CannotRun(f"{unknown[0]!r} is no trained row of {task.name}: use all, {', '.join(ROWS)}")
    return [name for name in ROWS if name in names or "all" in names]


# ---- what is asked


def asked_too(question: Question, items: Sequence[Past], task: Task) -> list[Question]:
    """Items of a past as questions: in the words of this one, or in those of `ASKED`."""
    found = []
    for item in items:
        words = ASKED[task.name].format(answer=item.answer) if task.name in ASKED else item.text
        told = words if task.name in ASKED else question.head + words
        name = f"{question.id}, {item.id}"
        found.append(replace(question, id=name, input=told, payload=words, gold=written(item, task)))
    return found


def written(item: Past, task: Task) -> str:
    """What the person wrote: of an item that is asked about by its text, the answer."""
    return item.text if task.name in ASKED else item.answer


def lessons(teachers: Teachers) -> list[list[Question]]:
    """What each of those who teach is asked: their questions and the latest items of their past. Each once."""
    told: dict[str, dict[tuple[str, str], Question]] = {}
    for question in teachers.questions:
        for one in (*asked_too(question, question.past[-MOST_OF_ONE:], teachers.task), question):
            told.setdefault(question.person, {})[plain(one.payload), plain(one.gold)] = one
    return [list(questions.values()) for questions in told.values()]


# ---- floors: no model


def copied(
    lm: Backbone, teachers: Teachers, questions: Sequence[Question], name: str, seed: int, longest: int
) -> list[str]:
    """A floor's answer to each question, word for word, in at most as many tokens as a model may write: what one's own
    past answers to the nearest of its items, "" for whoever has none; what somebody who teaches, drawn by the seed,
    answers to the same or else the nearest text; or what is asked about, whose words ROUGE rewards as any others."""
    return [lm.cut(text, longest) for text in _copied(teachers, questions, name, seed)]


def _copied(teachers: Teachers, questions: Sequence[Question], name: str, seed: int) -> list[str]:
    if name == OWN_PAST:
        task = teachers.task
        return ["".join(written(item, task) for item in near(question, task)) for question in questions]
    if name == AGAIN:
        return [question.payload for question in questions]
    answers: dict[str, list[str]] = {}
    for one in (question for some in lessons(teachers) for question in some):
        answers.setdefault(plain(one.payload), []).append(one.gold)
    dice = np.random.default_rng([seed, 2])
    places = nearest_of(list(answers), [plain(question.payload) for question in questions])
    several = [answers[place] for place in places]
    return [some[dice.integers(len(some))] for some in several]


def near(question: Question, task: Task) -> list[Past]:
    """The nearest item of a past; none of an empty one."""
    return lamp_prompts.nearest(RETRIEVER, question, task)[:1]


def nearest_of(known: Sequence[str], asked: Sequence[str]) -> list[str]:
    """Of the known texts the one that is asked, else the nearest by BM25. Raises CannotRun where none is known."""
    import bm25s

    if not known:
        raise CannotRun("nobody is left to teach: give other people's questions after --train")
    corpus = bm25s.tokenize(list(known), stopwords=None, return_ids=False, show_progress=False)
    if not any(corpus):
        raise CannotRun("no text that teaches has a word in it: give other people's questions after --train")
    index = bm25s.BM25(method="lucene")
    index.index(corpus, show_progress=False)
    words = bm25s.tokenize(list(asked), stopwords=None, return_ids=False, show_progress=False)
    have = set(known)
    return [
        text if text in have else known[int(np.argmax(index.get_scores(some))) if some else 0]
        for text, some in zip(asked, words, strict=True)
    ]


# ---- rows that learn


def answered(
    lm: Backbone, teachers: Teachers, questions: Sequence[Question], name: str, seed: int, window: int, longest: int
) -> tuple[list[Answer], Row]:
    """A row's answer to each question in at most `longest` tokens, from the past that stands in it, and what its
    training took. Raises CannotRun."""
    if name == PROMPTED:
        requests = [prompted(lm, question, teachers.task, window) for question in questions]
    else:
        requests = [request(lm, question, window) for question in questions]
    task, base = adapted(lm, teachers, seed, longest), adapter(lm, teachers, seed, longest)
    told = [over(base, PLAIN.condition(lm, NOBODY, {}, ask)) for ask in requests]
    figures = {"train_seconds": task.seconds, "trained_parameters": parameters(task.state)}
    without = set[str]()
    if name in PERSONAL:
        refine, method = PERSONAL[name]
        fits = own(lm, teachers, questions, refine, seed, longest)
        told = with_own(lm, base, method, fits, zip(questions, requests, told, strict=True))
        without = {question.person for question in questions} - fits.keys()
        figures = with_fits(figures, list(fits.values()))
    given = [Asked(ask.instruction(), (), longest) for ask in requests]
    return told_by(lm, given, told, "free"), {**figures, "without": len(without)}


# ---- learning


def lesson(lm: Backbone, question: Question) -> Example:
    """A question and its answer, without a profile: an adapter sees none."""
    return Example(NOBODY, Ask("task", request(lm, question, TAUGHT).instruction()), question.gold)


def on(lm: Backbone, base: Patches, method: Method) -> Say:
    """What a method says, over an adapter."""
    return lambda profile, state, ask: over(base, method.condition(lm, profile, state, ask))


@cache
def adapted(lm: Backbone, teachers: Teachers, seed: int, longest: int) -> Trained:
    """TAM, of all who teach; every tenth of them stops it."""
    rows = [[lesson(lm, one) for one in some] for some in lessons(teachers)]
    if len(rows) < 2:
        raise CannotRun("fewer than two people teach: take more of them")
    stop = [example for some in rows[::10] for example in some[-MOST_STOPPING:]]
    learned = [example for n, some in enumerate(rows) if n % 10 for example in some]
    recipe = replace(TASK, max_target_tokens=longest, seed=seed)
    return train(lm, says(lm, TAM), born_on(lm, TAM), learned, stop, recipe)


def adapter(lm: Backbone, teachers: Teachers, seed: int, longest: int) -> Patches:
    """TAM, which everything here stands on."""
    return TAM.condition(lm, NOBODY, adapted(lm, teachers, seed, longest).state, Ask()).patches


def own(
    lm: Backbone, teachers: Teachers, questions: Sequence[Question], refine: bool, seed: int, longest: int
) -> dict[str, Trained]:
    """An adapter of each person with enough past, from nothing that they are asked: one answers all their questions."""
    found = {}
    for person, question in unasked(questions).items():
        items = asked_too(question, question.past[-MOST_LEARNED:], teachers.task)
        if len(items) >= LEAST_LEARNED:
            learn = refined if refine else fitted
            told = tuple((lesson(lm, one).ask, one.gold) for one in items)
            found[person] = learn(lm, teachers, told, seed, longest)
    return found


@cache
def fitted(lm: Backbone, teachers: Teachers, answers: Answers, seed: int, longest: int) -> Trained:
    """OPPU: one person's adapter over TAM, from their own answers; every fifth stops it."""
    made, stop = apart([Example(NOBODY, ask, answer) for ask, answer in answers])
    say = on(lm, adapter(lm, teachers, seed, longest), OWN)
    recipe = replace(recipe_for(OWN, len(made)), max_target_tokens=longest, seed=seed, seconds=FOREVER)
    return train(lm, say, born_on(lm, OWN), made, stop, recipe)


@cache
def refined(lm: Backbone, teachers: Teachers, answers: Answers, seed: int, longest: int) -> Trained:
    """OPPU's adapter taught further to prefer what the person wrote to what TAM writes; with the seconds of both."""
    fit, base = fitted(lm, teachers, answers, seed, longest), adapter(lm, teachers, seed, longest)
    before = time.monotonic()
    made, stop = apart([Example(NOBODY, ask, answer) for ask, answer in answers])
    recipe = recipe_for(REFINED, len(made), epochs=1)
    recipe = replace(recipe, max_target_tokens=longest, seed=seed, seconds=FOREVER)
    anybody, mine = on(lm, base, PLAIN), on(lm, base, OWN)
    pairs = pseudo_negatives(lm, anybody, mine, fit.state, [*stop, *made], recipe, REFINED.negatives)
    stop, made = pairs[: len(stop)], pairs[len(stop) :]
    objective = dpo_objective(mine, fit.state, REFINED.beta)
    out = train(lm, mine, fit.state, made, stop, recipe, objective=objective)
    return replace(out, seconds=fit.seconds + time.monotonic() - before)
