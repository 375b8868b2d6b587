"""How a language model's answer to a question is read: three ways, so that the difference is visible.

`free`: what it writes, greedily. `choice`: the same, where only tokens that lead to one of the labels may come.
`score`: the label with the highest log-probability, its end of turn among it.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch

from engine.backbone import Backbone
from engine.decode import decode
from engine.learning import says
from engine.methods.base import Ask
from engine.methods.none import NoProfile
from engine.profile import Profile
from engine.prompt import prompt
from engine.train import Example, Recipe, each
from studies.benchmarks.runs import CannotRun

WAYS = ("free", "choice", "score")
BATCH = 8
SPARE = 4  # tokens that a free answer may be longer than the longest label: it is read to its end, and never cut right
NOBODY, PLAIN = Profile("nobody"), NoProfile()


@dataclass(frozen=True, slots=True)
class Asked:
    """A whole request, the labels it may be answered with (none: any text), and how many tokens a text may have."""

    text: str
    labels: tuple[str, ...]
    longest: int


@dataclass(frozen=True, slots=True)
class Answer:
    said: str
    prompt_tokens: int
    seconds: float  # its share of its batch's


@cache
def model(name: str) -> Backbone:
    return Backbone.load(name or None)


_known: dict[tuple[str, Asked, str], Answer] = {}  # what a seed does not change is asked once


def answers(lm: Backbone, asked: Sequence[Asked], way: str) -> list[Answer]:
    """An answer to each request. Raises CannotRun where memory does not suffice."""
    new = sorted(
        {one for one in asked if (lm.fingerprint, one, way) not in _known}, key=lambda one: (len(one.text), one.text)
    )
    size = 1 if way == "score" else BATCH
    for start in range(0, len(new), size):
        batch, before = new[start : start + size], time.monotonic()
        try:
            said = [scored(lm, batch[0])] if way == "score" else _written(lm, batch, way)
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise CannotRun(f"memory does not suffice for {lm.name}: choose a smaller --model or `window`") from error
        took = (time.monotonic() - before) / len(batch)
        for one, text in zip(batch, said, strict=True):
            _known[lm.fingerprint, one, way] = Answer(text, _length(lm, one), took)
    return [_known[lm.fingerprint, one, way] for one in asked]


def _written(lm: Backbone, batch: Sequence[Asked], way: str) -> list[str]:
    requests = []
    for one in batch:
        longest = max((len(lm.tokens(label)) for label in one.labels), default=0) + SPARE if one.labels else one.longest
        choices = one.labels if way == "choice" else ()
        ask = Ask("task", one.text, temperature=0.0, repetition_penalty=1.0, max_new_tokens=longest, choices=choices)
        requests.append((PLAIN.condition(lm, NOBODY, {}, ask), ask))
    return [texts[0].text for texts in decode(lm, requests)]


def scored(lm: Backbone, one: Asked) -> str:
    """The likeliest label; the request, which all labels go on from, is read once."""
    longest = max(len(lm.tokens(label)) for label in one.labels) + len(lm.end_of_turn)
    recipe = Recipe(batch=len(one.labels), max_target_tokens=longest)
    rows = [Example(NOBODY, Ask("task", one.text), label) for label in one.labels]
    loss, tokens = each(lm, says(lm, PLAIN), {}, rows, recipe)
    return one.labels[int((loss * tokens).argmin())]


def _length(lm: Backbone, one: Asked) -> int:
    return len(prompt(lm, PLAIN.condition(lm, NOBODY, {}, Ask("task", one.text))))
