"""Rows of the generation benchmark that a language model answers: which method, over which model, with what it learned.

What is learned from a population stands over the plain model, as it was learned (`--base none`). The prompts stand over
the task-adapted model (TAM), as in the app, where there is one for the model; adapters of one's own and what contrasts
them need it.
"""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from collectors.item import text_id
from engine.backbone import Backbone
from engine.decode import decode
from engine.fitting import beginning, fit, lessons, recipe_for
from engine.learning import PRETRAINED, learns, provenance, stand_on, state_of, state_path
from engine.methods import arm_id
from engine.methods.base import Ask, Conditioning, Method, State
from engine.methods.cope import CoPe
from engine.methods.cross_attention import CrossAttention
from engine.methods.dpo import DPO
from engine.methods.e2p import E2P
from engine.methods.history import History
from engine.methods.lora import TAM, LoRA
from engine.methods.none import NoProfile
from engine.methods.persoma import Persoma
from engine.methods.retrieval import Retrieval
from engine.methods.summary import Summary
from engine.methods.topics import Topics
from engine.optimise import Trained
from engine.profile import Profile, build
from engine.prompt import prompt
from engine.state import parameters
from engine.summary import summarize
from studies.benchmarks.adapters import Rater, Scores, scored
from studies.benchmarks.runs import CannotRun, Row

OVER_PLAIN: dict[str, Method] = {
    "none": NoProfile(),
    "e2p-1": E2P(),
    "e2p-5": E2P(tokens=5),
    "pplug": E2P(aware=True),
    "persoma": Persoma(),
    "topics": Topics(),
    "cross_attention": CrossAttention(),
}
PROMPTED: dict[str, Method] = {"history": History(), "retrieval": Retrieval(), "summary": Summary()}
OVER_TAM: dict[str, Method] = {
    "TAM": NoProfile(),
    "OPPU": LoRA(),
    "dpo": DPO(),
    "cope contrast only": CoPe(),
    "cope": CoPe(expert=DPO()),
}
ROWS = OVER_PLAIN | PROMPTED | OVER_TAM
NOBODY, FLOOR = Profile("nobody"), NoProfile()
TOGETHER = 4  # people for whom is written in one batch
TOOK = re.compile(r"(\d+) s$")  # ends what a state's provenance says of its training


@dataclass(frozen=True, eq=False)
class Models:
    """The plain model, the one that stands on the task-adapted one where there is one, and the folder of states."""

    plain: Backbone
    based: Backbone
    folder: Path

    def of(self, name: str) -> Backbone:
        """Which of the two a row is over. Raises CannotRun where it needs a task-adapted model and there is none."""
        if name in OVER_TAM and not self.based.base_name:
            raise CannotRun(f"{name} stands on a task-adapted model of {self.plain.name}: {_taught_by('tam')}")
        return self.plain if name in OVER_PLAIN else self.based


@cache
def models(name: str, folder: Path) -> Models:
    plain, based = Backbone.load(name or None), Backbone.load(name or None)
    stand_on(based, folder)
    return Models(plain, based, folder)


def _taught_by(arm: str) -> str:
    return f"teach it by python -m engine learn {arm} --population FILE --out DIR, and name --states DIR"


def able(using: Models, name: str) -> bool:
    """Whether everything that the row stands on has been learned for this model."""
    lm, method = using.plain if name in OVER_PLAIN else using.based, ROWS[name].learned_as
    based = name not in OVER_TAM or lm.base_name != ""
    return based and (method.personal or state_of(lm, method, using.folder, "") is not None)


# ---- what a row has learned


def state(using: Models, name: str, person: Rater, seed: int) -> State:
    """What the row's method knows for this person: from a population, or fitted to them. Raises CannotRun."""
    lm, method = using.of(name), ROWS[name].learned_as
    if method.personal:
        return fitted(lm, method, using.folder, person, seed).state
    found = state_of(lm, method, using.folder, "")
    if found is None:
        raise CannotRun(f"{name} has learned nothing for {lm.name}: {_taught_by(f'{arm_id(method)} --base none')}")
    return found


@cache
def fitted(lm: Backbone, method: Method, folder: Path, person: Rater, seed: int) -> Trained:
    """One person's adapter, from their profile alone; a refinement goes on from the adapter of the same seed."""
    earlier = method.goes_on_from
    before = (
        fitted(lm, earlier, folder, person, seed).state if earlier else beginning(lm, method, folder, person.profile)
    )
    given = lessons(method, person.profile, seed)
    recipe = replace(recipe_for(method, len(given.taught)), seed=seed, seconds=float("inf"))  # however slow the machine
    return fit(lm, method, given, before, recipe)


def cost(using: Models, name: str, given: Sequence[Rater], seed: int) -> Row:
    """What the row adds to its model, and how long it was trained: for everybody once, or, fitted, for each person, in
    the mean and with the adapter that it goes on from."""
    lm, method = using.of(name), ROWS[name].learned_as
    if method.personal:
        seconds = [sum(one.seconds for one in _fits(lm, method, using.folder, person, seed)) for person in given]
        learned = state(using, name, given[0], seed)
        return {"trained_parameters": parameters(learned), "train_seconds": float(np.mean(seconds))}
    method = TAM if name == "TAM" else method
    if not learns(method):
        return {"trained_parameters": 0, "train_seconds": 0.0}
    told = provenance(state_path(using.plain, method, using.folder, "")) or provenance(
        PRETRAINED / f"{arm_id(method)}.safetensors"
    )
    took = TOOK.search(str(told.get("ended", "")))
    return {
        "trained_parameters": told.get("parameters", 0),
        "train_seconds": float(took[1]) if took else float("nan"),
    }


def _fits(lm: Backbone, method: Method, folder: Path, person: Rater, seed: int) -> list[Trained]:
    earlier = method.goes_on_from
    return [*(_fits(lm, earlier, folder, person, seed) if earlier else ()), fitted(lm, method, folder, person, seed)]


# ---- what a row finds likely


@cache
def floor(lm: Backbone, texts: tuple[str, ...]) -> Scores:
    """The log-likelihood a token of each text, nothing told of anybody."""
    return scored(lm, FLOOR, {}, NOBODY, sorted(texts, key=len))  # texts of like length, for little padding


def likelihoods(
    using: Models, name: str, given: Sequence[Rater], raters: Sequence[Rater], seed: int, texts: tuple[str, ...]
) -> list[Scores]:
    """For each of `raters` the log-likelihood a token of what judges them, with the profile and the state of `given`;
    of a contrast, its expert's. `texts` are all that judge. What no seed changes is computed once a process."""
    method = ROWS[name]
    if method == FLOOR:
        return [floor(using.of(name), texts)] * len(raters)
    reader = next(row for row, m in ROWS.items() if m == method.expert) if isinstance(method, CoPe) else name
    drawn = seed if method.personal else 0
    return [_likelihoods(using, reader, one, rater, drawn, texts) for one, rater in zip(given, raters, strict=True)]


@cache
def _likelihoods(using: Models, name: str, given: Rater, judged: Rater, seed: int, texts: tuple[str, ...]) -> Scores:
    lm, method, profile = told_for(using, name, given)
    if method == FLOOR:  # the very same figures: in another batch rounding would look like a gain
        return floor(lm, texts)
    learned = state(using, name, given, seed)
    return scored(lm, method, learned, profile, sorted((text for text, _ in judged.judged), key=len))


def contrasted(name: str, found: Scores, base: Scores) -> Scores:
    """What orders jokes: log p, or with a contrast log p of the expert less lambda times log p of the amateur (CoPe,
    arXiv 2506.12109, section 3.3, without its mask)."""
    method = ROWS[name]
    weight = method.weight if isinstance(method, CoPe) else 0.0
    return {text: score - weight * base[text] for text, score in found.items()}


# ---- what a row writes


def told_for(using: Models, name: str, given: Rater) -> tuple[Backbone, Method, Profile]:
    """The model, the method and the profile; for whom the method has not enough, the floor."""
    lm, method = using.of(name), ROWS[name]
    profile = summed_up(lm, given) if isinstance(method, Summary) else given.profile
    return lm, FLOOR if method.lacks(lm, profile) else method, profile


@cache
def summed_up(lm: Backbone, person: Rater) -> Profile:
    """The profile with its summary, which is written from the likes that stand for its topics."""
    profile = person.profile
    whole = build(profile.user, list(zip(profile.items, profile.signals, strict=True)))
    return replace(profile, summary=summarize(lm, whole))


def write(
    using: Models, name: str, given: Sequence[Rater], raters: Sequence[Rater], seed: int, each: int
) -> tuple[list[list[str]], Row]:
    """`each` texts for every one of `raters`, told what is known of `given`, sampled as in the app; their figures. The
    random source is the person's and the seed's, the same for all rows."""
    asks = [Ask(n=each, seed=int(text_id(f"{seed}|{rater.profile.user}")[:8], 16)) for rater in raters]
    lm, told, without = using.of(name), list[Conditioning](), 0
    for person, ask in zip(given, asks, strict=True):
        _, method, profile = told_for(using, name, person)
        learned = state(using, name, person, seed)
        told.append(method.condition(lm, profile, learned, ask))
        without += method != ROWS[name]
    texts, before = list[list[str]](), time.monotonic()
    for start in range(0, len(told), TOGETHER):
        some = list(zip(told, asks, strict=True))[start : start + TOGETHER]
        texts += [[one.text for one in written] for written in decode(lm, some)]
    return texts, {
        "latency": (time.monotonic() - before) / (each * len(raters)),
        "prompt_tokens": float(np.mean([len(prompt(lm, conditioning)) for conditioning in told])),
        "without": without,
    }


def base_of(using: Models, name: str, texts: tuple[str, ...]) -> tuple[str, Scores]:
    """What a row is compared with: its model as it is without anybody, of TAM the plain one; name and scores."""
    lm = using.plain if name == "TAM" else using.of(name)
    return "TAM" if lm.base_name else "none", floor(lm, texts)
