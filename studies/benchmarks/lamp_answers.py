"""How a language model's answer to a question is read: several ways, so that the difference is visible.

`free`: what it writes, greedily. `choice`: the same, where only tokens that lead to one of the labels may come.
`score`: the label with the highest log-probability, its end of turn among it. Short labels lead there, so `mean` takes
the log-probability a token. Labels that are common anywhere lead in both, so `pmi` takes off the log-probability that
the label has where the words of the task stand alone, without a text or a past (PMI with a domain premise, arXiv
2104.08315, section 3).
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache

from engine.backbone import Backbone
from engine.decode import decode
from engine.losses import token_logps
from engine.methods.base import Ask, Conditioning
from engine.methods.none import NoProfile
from engine.patches import attached, together
from engine.profile import Profile
from engine.prompt import prompt
from studies.benchmarks.runs import CannotRun
from studies.benchmarks.scores import Floats

WAYS = ("free", "choice", "score", "mean", "pmi")
SCORED = ("score", "mean", "pmi")
LEARNED = ("choice", "score", "mean")  # of rows whose method learns: what they add cannot be told without a text
BATCH = 8
SPARE = 4  # tokens that a free answer may be longer than the longest label: it is read to its end, and never cut right
NOBODY, PLAIN = Profile("nobody"), NoProfile()


@dataclass(frozen=True, slots=True)
class Asked:
    """A whole request, the labels it may be answered with (none: any text), how many tokens a text may have, and the
    words of the task alone."""

    text: str
    labels: tuple[str, ...]
    longest: int
    premise: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    said: str
    prompt_tokens: int
    seconds: float  # its share of its batch's


_known: dict[tuple[str, Asked, str], Answer] = {}  # what a seed does not change is asked once


def answers(lm: Backbone, asked: Sequence[Asked], way: str) -> list[Answer]:
    """The plain model's answer to each request. Raises CannotRun where memory does not suffice."""
    new = sorted({one for one in asked if (lm.fingerprint, one, way) not in _known}, key=lambda one: one.text)
    told = [PLAIN.condition(lm, NOBODY, {}, Ask("task", one.text)) for one in new]
    for one, answer in zip(new, told_by(lm, new, told, way), strict=True):
        _known[lm.fingerprint, one, way] = answer
    return [_known[lm.fingerprint, one, way] for one in asked]


def told_by(lm: Backbone, asked: Sequence[Asked], told: Sequence[Conditioning], way: str) -> list[Answer]:
    """An answer to each request, of which the model is told so. Raises CannotRun where memory does not suffice."""
    order = sorted(range(len(asked)), key=lambda n: len(asked[n].text))
    size = 1 if way in SCORED else BATCH
    found: dict[int, Answer] = {}
    for start in range(0, len(order), size):
        batch, before = order[start : start + size], time.monotonic()
        some = [(asked[n], told[n]) for n in batch]
        try:
            said = [scored(lm, *some[0], way)] if way in SCORED else _written(lm, some, way)
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise CannotRun(f"memory does not suffice for {lm.name}: choose a smaller --model or `window`") from error
        took = (time.monotonic() - before) / len(batch)
        found |= {n: Answer(text, len(prompt(lm, told[n])), took) for n, text in zip(batch, said, strict=True)}
    return [found[n] for n in range(len(asked))]


def _written(lm: Backbone, batch: Sequence[tuple[Asked, Conditioning]], way: str) -> list[str]:
    requests = []
    for one, told in batch:
        longest = max((len(lm.tokens(label)) for label in one.labels), default=0) + SPARE if one.labels else one.longest
        choices = one.labels if way == "choice" else ()
        ask = Ask("task", one.text, temperature=0.0, repetition_penalty=1.0, max_new_tokens=longest, choices=choices)
        requests.append((told, ask))
    return [texts[0].text for texts in decode(lm, requests)]


def scored(lm: Backbone, one: Asked, told: Conditioning | None = None, way: str = "score") -> str:
    """The label that scores best in this way; with a contrast, less what it takes off. The plain model's without
    `told`."""
    told = told or PLAIN.condition(lm, NOBODY, {}, Ask("task", one.text))
    found = likelihoods(lm, told, one.labels)
    if told.contrast:
        found = found - told.contrast.weight * likelihoods(lm, told.contrast.amateur, one.labels)
    if way == "mean":
        found = found / [len(lm.tokens(label)) + len(lm.end_of_turn) for label in one.labels]
    if way == "pmi":
        found = found - unasked(lm, one.premise, one.labels)
    return one.labels[int(found.argmax())]


@cache
def unasked(lm: Backbone, premise: str, labels: tuple[str, ...]) -> Floats:
    """log p of each label (L,) by the plain model where only the words of the task are given."""
    return likelihoods(lm, PLAIN.condition(lm, NOBODY, {}, Ask("task", premise)), labels)


@torch.inference_mode()
def likelihoods(lm: Backbone, told: Conditioning, labels: Sequence[str]) -> Floats:
    """log p of each label with its end of turn (L,); what stands before them all is read once."""
    targets = [torch.tensor([*lm.tokens(label), *lm.end_of_turn], device=lm.device) for label in labels]
    patches, cache = together(lm.base, told.patches), DynamicCache(config=lm.model.config)
    with lm.lock:
        with attached(lm.model, [patches]):
            last = lm.hidden(prompt(lm, told).embedded(lm)[None], cache)[:, -1:]  # (1, 1, D)
        cache.batch_repeat_interleave(len(labels))
        with attached(lm.model, [patches] * len(labels)):
            rows = pad_sequence([target[:-1] for target in targets], batch_first=True)  # on the right, unseen
            hidden = torch.cat([last.expand(len(labels), -1, -1), lm.hidden(rows, cache)], 1)  # (L, T, D)
    wanted = torch.cat([row[: len(target)] for row, target in zip(hidden, targets, strict=True)]).contiguous()
    logps = token_logps(lm.head(wanted), torch.cat(targets)).split([len(target) for target in targets])
    return np.array([float(part.sum()) for part in logps])
