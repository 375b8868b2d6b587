"""From a population to a state, and what is kept of any state: where it lies, whom it fits, what is told of it."""

import json
import platform
import re
import subprocess
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from engine import encoder, processes
from engine.backbone import Backbone, Facility
from engine.methods import BASES, METHODS, arm_id
from engine.methods.base import Ask, Conditioning, Method, State
from engine.methods.dpo import DPO
from engine.methods.lora import LoRA, write_peft
from engine.optimise import Progress, Recipe, Trained, TrainError, write_curve
from engine.population import examples
from engine.profile import Profile
from engine.state import Facts, StateError, content, key, load, parameters, save
from engine.train import Example, Say, each, train, wrong_users
from engine.weights import sha256

PRETRAINED = Path(__file__).with_name("pretrained")
CONTROL = 160  # held-out examples by which a state is judged, right person and wrong
MOST_TARGETS = 8  # of one text among the examples: Jester's 52 jokes were learned by heart (log 2026-11-24)
CPU = torch.device("cpu")  # to look at a state: the model's device may be out of reach of this process
CALIBRATION = 4_000  # item vectors that a method may calibrate on

OnProgress = Callable[[Progress], None]


def says(lm: Backbone, method: Method) -> Say:
    return lambda profile, state, ask: method.condition(lm, profile, state, ask)


def born_on(lm: Backbone, method: Method, items: NDArray[np.float32] | None = None) -> State:
    """A method's state as it is born, on the model's device; an adapter needs no `items` (N, E)."""
    some = np.zeros((0, 0), np.float32) if items is None else items
    return {name: tensor.to(lm.device) for name, tensor in method.born(lm, some).items()}


def facts_of(lm: Backbone, method: Method) -> Facts:
    """What a state must have been learned for, to be used here."""
    facts = {"arm": arm_id(method.learned_as), "backbone": lm.weights_id}
    facts |= {} if adapter_of(method.learned_as) else {"encoder": encoder.NAME}  # an adapter sees no vector
    return facts | ({"base": lm.base_name} if lm.base_name else {})


def adapter_of(method: Method) -> LoRA | None:
    """The adapter that a method's state is, None for any other."""
    inner = method.start if isinstance(method, DPO) else method
    return inner if isinstance(inner, LoRA) else None


def state_path(lm: Backbone, method: Method, folder: Path, user: str) -> Path:
    """Where the data folder keeps what `method` has learned for this model, from all or from this person."""
    facts = facts_of(lm, method)
    return folder / "states" / (user if method.personal else "shared") / facts["arm"] / f"{key(facts)}.safetensors"


def checkpoint_path(state: Path, population: str) -> Path:
    """Where a run that will end in `state` keeps what it needs to go on after a kill; `population` is its sha256, for
    it goes on with the same people only."""
    return state.with_suffix(f".{population[:8]}.checkpoint")


def state_of(lm: Backbone, method: Method, folder: Path, user: str) -> State | None:
    """What `method` has learned for this model: from the data folder, else as it came with Palate, else None.

    {} for a method that needs none; raises StateError for a file that is damaged.
    """
    return _state(lm, method, folder, user, lm.device)


def _state(lm: Backbone, method: Method, folder: Path, user: str, device: torch.device) -> State | None:
    if not learns(method):
        return {}
    path = _file(lm, method, folder, user)
    try:
        return _loaded(path, path.stat().st_mtime_ns, tuple(facts_of(lm, method).items()), device) if path else None
    except StateError:
        if path and path.parent == PRETRAINED:  # it is for the embedded model, and another one is in use
            return None
        raise


def state_name(lm: Backbone, method: Method, folder: Path, user: str) -> str:
    """Names what `method` would use now: 16 hex digits of the file's sha256, "" where it uses none."""
    try:
        path = _file(lm, method, folder, user) if _state(lm, method, folder, user, CPU) else None
    except StateError:  # it is not used; `missing` tells why
        return ""
    return _named(path, path.stat().st_mtime_ns) if path else ""


def _file(lm: Backbone, method: Method, folder: Path, user: str) -> Path | None:
    """Where the state is that `method` would use: in the data folder, else among those that came with Palate."""
    own, came = state_path(lm, method, folder, user), PRETRAINED / f"{arm_id(method.learned_as)}.safetensors"
    return next((path for path in (own, came) if path.exists()), None)


@lru_cache(maxsize=64)
def _named(path: Path, _changed: int) -> str:
    return sha256(path)[:16]


@lru_cache(maxsize=64)
def _loaded(path: Path, _changed: int, facts: tuple[tuple[str, str], ...], device: torch.device) -> State:
    return {name: tensor.to(device) for name, tensor in load(path, dict(facts)).items()}


def stand_on(lm: Backbone, folder: Path) -> None:
    """Put the task-adapted model under all arms, where the data folder or Palate has one for this model; a served model
    stands as it is."""
    if lm.refuses("patches"):
        return
    for arm, method in BASES.items():
        state = state_of(lm, method, folder, "")
        if state and not lm.base_name:
            lm.adapt(method.adapter(lm, state), f"{arm}:{content(state)[:8]}")


def missing(lm: Backbone, method: Method, folder: Path, profile: Profile) -> str | None:
    """Why the method cannot run for this person on this model with what was learned, in words; None where it can."""
    for facility in get_args(Facility):
        if facility in method.needs and (why := lm.refuses(facility)):
            return why
    try:
        learned = _state(lm, method, folder, profile.user, CPU)
    except StateError as error:
        return str(error)
    if learned is None and (lacks := method.lacks(lm, profile)):
        return lacks  # there is no use in a fit before
    if learned is None:
        how = lm.refuses("learning") or f"{'fit' if method.personal else 'teach'} it on the Train page"
        return f"it has learned nothing yet for {lm.name}: {how}"
    if learned and (adapter := adapter_name(lm, method, folder, profile.user)):
        lies = state_path(lm, method, folder, profile.user).with_suffix(".peft").resolve()
        return method.lacks(lm, profile) or lm.unregistered(adapter, lies)
    return method.lacks(lm, profile)


def adapter_name(lm: Backbone, method: Method, folder: Path, user: str) -> str:
    """What a server calls the adapter that `method` has learned for this person: arm, user and a part of its sha256, so
    that one which was fitted anew is another. "" for what is no adapter."""
    if "adapter" not in method.needs:
        return ""
    named = f"{arm_id(method.learned_as)}-{user}-{state_name(lm, method, folder, user)[:6]}"
    return re.sub(r"[^\w-]", "_", named)


def conditioned(lm: Backbone, method: Method, folder: Path, profile: Profile, ask: Ask) -> Conditioning:
    """What `method` says to the model with what it has learned for this person; `missing` was asked before."""
    said = method.condition(lm, profile, state_of(lm, method, folder, profile.user) or {}, ask)
    return replace(said, adapter=adapter_name(lm, method, folder, profile.user))


def must_learn_here(lm: Backbone) -> None:
    """Raise TrainError for a model that is served elsewhere."""
    if why := lm.refuses("learning"):
        raise TrainError(why)


def learns(method: Method) -> bool:
    """Whether there is anything to learn."""
    return type(method.learned_as).born is not Method.born


def has_state(method: Method) -> bool:
    """Whether what it learns is its own, and not that of a method it wraps."""
    return learns(method) and method.learned_as is method


def learn(
    lm: Backbone,
    method: Method,
    people: Sequence[Profile],
    held_out: Sequence[Profile],
    recipe: Recipe,
    *,
    per_person: int = 2,
    checkpoint: Path | None = None,
    on_progress: OnProgress = lambda _: None,
    stopped: Callable[[], bool] = lambda: False,
) -> tuple[Trained, dict[str, object]]:
    """Teach a method on a population; returns the outcome and its report: floor, right person, wrong person."""
    must_learn_here(lm)
    strangers = {profile.user for profile in people} & {profile.user for profile in held_out}
    if strangers:
        raise TrainError(f"{len(strangers)} people are learned from and held out: take them out of one file")
    dice = np.random.default_rng(recipe.seed)
    judged = unseen(examples(held_out, 1, recipe.seed), {item.text for profile in people for item in profile.items})
    judged = [judged[i] for i in dice.permutation(len(judged))]
    half = min(CONTROL, len(judged) // 2)
    if half < 2:
        raise TrainError(
            f"{len(judged)} people are held out who like a text that nobody learned from: give four at least, two stop "
            "the training, two judge it"
        )
    stop, judged = judged[:half], judged[half : 2 * half]  # one set stops the training, the other judges it
    vectors = np.concatenate([profile.vectors for profile in people])
    some = vectors[dice.permutation(len(vectors))[:CALIBRATION]]
    born = born_on(lm, method, some)
    made = examples(people, per_person, recipe.seed, MOST_TARGETS)
    out = train(lm, says(lm, method), born, made, stop, recipe, checkpoint=checkpoint, on_progress=on_progress,
                stopped=stopped)  # fmt: skip
    figures = processes.once(lambda: control(lm, method, born, out.state, judged, recipe))
    return out, {"examples": len(made), "people": len(people), **figures}


def unseen(made: Sequence[Example], texts: Collection[str]) -> list[Example]:
    """Those whose target is none of `texts`: a joke that was learned by heart says nothing about taste."""
    return [example for example in made if example.target not in texts]


def control(
    lm: Backbone, method: Method, born: State, state: State, judged: Sequence[Example], recipe: Recipe
) -> dict[str, object]:
    """Losses a target token on people who took no part: plain model, before and after, each with the right and a
    wrong person's profile. A method that personalises does better with the right one: `gain` is the mean over people of
    what the right profile saves, `gain_error` its standard error."""
    say, wrong = says(lm, method), wrong_users(judged)
    told = {
        "plain": each(lm, says(lm, METHODS["none"]()), {}, judged, recipe),
        "born_right": each(lm, say, born, judged, recipe),
        "right": each(lm, say, state, judged, recipe),
        "wrong": each(lm, say, state, wrong, recipe),
    }
    means = {name: round(float((loss * n).sum() / n.sum()), 4) for name, (loss, n) in told.items()}
    gains = told["wrong"][0] - told["right"][0]  # (N,), of each person
    error = float(gains.std(ddof=1) / len(gains) ** 0.5)
    return {**means, "gain": round(float(gains.mean()), 4), "gain_error": round(error, 4), "judged": len(judged)}


def keep(path: Path, lm: Backbone, method: Method, out: Trained, recipe: Recipe, report: dict[str, object]) -> None:
    """Write the state, its curve and, beside it, where it came from; an adapter in PEFT's format as well."""
    save(path, out.state, {**facts_of(lm, method), "population": str(report.get("population", ""))})
    write_curve(path.with_suffix(".csv"), out.curve)
    adapter = adapter_of(method)
    if adapter and lm.projection(0, "q").stop is None:  # PEFT cannot adapt a part of a module
        write_peft(path.with_suffix(".peft"), lm, adapter, out.state)
    tell(path, lm, method, out, recipe, {"arm": arm_id(method), **report})


def tell(path: Path, lm: Backbone, learner: Any, out: Trained, recipe: Recipe, report: dict[str, object]) -> None:
    """Write beside the state at `path` where it came from."""
    told = {
        "settings": {name: str(value) for name, value in asdict(learner).items()},
        "model": lm.describe(),
        "parameters": parameters(out.state),
        "recipe": asdict(replace(recipe, seconds=min(recipe.seconds, 1e9))),
        "held_out_before": round(out.before, 4),
        "held_out_after": round(out.after, 4),
        "ended": f"{out.ended}, step {out.curve[-1][0]}, {out.seconds:.0f} s",
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "processes": processes.size(),
        "commit": _commit(),
        **report,
    }
    path.with_suffix(".json").write_text(json.dumps(told, indent=1) + "\n")


def forget_unfinished(path: Path) -> None:
    """Drop what broken-off fits of the state at `path` left: another has ended, and theirs had other likes."""
    for left in path.parent.glob(f"{path.stem}.*.checkpoint"):
        left.unlink()


def provenance(path: Path) -> dict[str, object]:
    """What was told of the state at `path` when it was kept, {} where there is none."""
    try:
        told: dict[str, object] = json.loads(path.with_suffix(".json").read_text()) if path.exists() else {}
    except (OSError, ValueError):
        told = {}
    return told


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=PRETRAINED, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()
