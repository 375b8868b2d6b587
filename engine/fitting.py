"""From one person to a state: what is learned from, for how long, and what a fit goes on from."""

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from collectors.item import Item
from engine.backbone import Backbone
from engine.learning import OnProgress, adapter_of, born_on, has_state, must_learn_here, says, state_of
from engine.methods import METHODS
from engine.methods.base import Method, State
from engine.methods.dpo import DPO
from engine.methods.none import NoProfile
from engine.optimise import Recipe, Trained, TrainError, in_words
from engine.population import examples
from engine.preference import dpo_objective, own_pairs, pseudo_negatives
from engine.profile import Profile, narrowed
from engine.reasons import asked_why
from engine.state import content
from engine.train import Example, Objective, losses, train

HELD_OUT = 5  # every fifth like of a person stops the fit

# To one person's likes: a few minutes on two cores.
FIT = Recipe(steps=60, batch=4, accumulate=1, lr=3e-4, evaluate_every=10, seconds=240)


@dataclass(frozen=True, eq=False)
class Lessons:
    """What a fit learns from (`taught`), what stops it (`held_out`), and texts that are liked less than any of them."""

    taught: Sequence[Example]
    held_out: Sequence[Example]
    disliked: Sequence[str] = ()

    def run(self, before: State, recipe: Recipe | None = None) -> str:
        """sha256 of all that a fit from `before` learns from, and of how: only the same run may be gone on with."""
        told = [[(e.ask.instruction(), e.target) for e in part] for part in (self.taught, self.held_out)]
        how = asdict(recipe) if recipe else {}
        return hashlib.sha256(json.dumps([content(before), *told, list(self.disliked), how]).encode()).hexdigest()


def apart(made: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """What teaches, and every fifth, that is held out."""
    return [example for i, example in enumerate(made) if i % HELD_OUT], list(made[::HELD_OUT])


def lessons(method: Method, profile: Profile, seed: int = 0) -> Lessons:
    """One person's likes, every fifth held out, and nobody else's; raises TrainError where there are too few.

    A text that was liked and disliked says nothing, so it teaches nothing. Hand-picked likes teach alone where the
    adapter is of those. Where it is of reasons, why the person likes a text is asked and answered as a second task
    (Distilling step-by-step, arXiv 2305.02301, section 3.2), of what is not held out.
    """
    adapter = adapter_of(method)
    torn = {item.text for item in profile.liked} & {item.text for item in profile.disliked}
    clear = [i for i, item in enumerate(profile.items) if item.text not in torn]
    if adapter and adapter.of == "picked":
        clear = [i for i in clear if profile.signals[i].picked or profile.signals[i].sign < 0]
    person = narrowed(profile, clear)
    made = list({e.target: e for e in examples([person], len(person.liked), seed)}.values())
    if len(made) < 2:
        but = f"; {len(torn)} were both liked and disliked, and count for neither" if torn else ""
        raise TrainError(f"at least two likes with different texts are needed, one of them held out{but}")
    taught, held_out = apart(made)
    if adapter and adapter.of == "explained" and not isinstance(method, DPO):
        why = {item.text: s.note for item, s in zip(person.items, person.signals, strict=True) if s.note}
        taught += [replace(e, ask=asked_why(e.target), target=why[e.target]) for e in taught if e.target in why]
    return Lessons(taught, held_out, [item.text for item in person.disliked])


def likes_of(method: Method, profile: Profile) -> tuple[Item, ...]:
    """The likes that a fit of this method learns from, or is held to."""
    adapter = adapter_of(method)
    return adapter.likes(profile) if adapter else profile.liked


def recipe_for(method: Method, taught: int, epochs: int = 2) -> Recipe:
    """How a personal method is fitted to so many examples: adapters in two epochs (OPPU, appendix), at a rate chosen on
    people who judge nothing (log 2026-11-25); DPO at a twentieth of it, as in CoPe."""
    adapter = adapter_of(method)
    if not adapter:
        return FIT
    steps = max(4, math.ceil(epochs * taught / FIT.batch))
    return replace(FIT, steps=steps, lr=3e-3 if method is adapter else 1.5e-4, evaluate_every=max(1, steps // 6))


def beginning(lm: Backbone, method: Method, folder: Path, profile: Profile) -> State:
    """What a fit of a personal method goes on from; raises TrainError where that is not there yet, or likes are."""
    must_learn_here(lm)
    if not (method.personal and has_state(method)):
        personal = (name for name, kind in METHODS.items() if kind().personal and has_state(kind()))
        raise TrainError(f"{method.name} is not fitted to one person: use {', '.join(personal)}")
    if why := method.lacks(lm, profile):
        raise TrainError(f"{method.name} cannot be fitted yet: {why}")
    if method.goes_on_from is None:
        return born_on(lm, method, profile.vectors)
    state = state_of(lm, method.goes_on_from, folder, profile.user)
    if not state:
        before = method.goes_on_from
        how = "fit it first" if before.personal else "it is learned from a population first"
        raise TrainError(
            f"{method.name} goes on from {before.name}, of which there is nothing yet for {lm.name}: {how}"
        )
    return state


@in_words()
def fit(
    lm: Backbone,
    method: Method,
    given: Lessons,
    before: State,
    recipe: Recipe,
    *,
    checkpoint: Path | None = None,
    on_progress: OnProgress = lambda _: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Trained:
    """Go on from `before` with one person's lessons alone; raises TrainError.

    No text of anybody else is learned from, but for those that the model itself wrote, as what not to write (DPO).
    """
    objective: Objective = losses
    taught, held_out = list(given.taught), list(given.held_out)
    if isinstance(method, DPO):
        base, user = says(lm, NoProfile()), says(lm, method.start)
        pairs = pseudo_negatives(lm, base, user, before, [*held_out, *taught], recipe, method.negatives)
        held_out, taught = pairs[: len(held_out)], pairs[len(held_out) :]
        taught += own_pairs(taught, given.disliked, recipe.seed)
        reference = (user, before) if method.reference == "start" else (base, {})
        objective = dpo_objective(*reference, method.beta)
    return train(
        lm, says(lm, method), before, taught, held_out, recipe, objective=objective, checkpoint=checkpoint,
        on_progress=on_progress, stopped=stopped,
    )  # fmt: skip
