"""Teaching while the app runs: a fit to one person's likes, or a method taught on many people's, one at a time."""

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from collectors.item import CollectError
from engine.backbone import Backbone
from engine.decode import decode
from engine.fitting import beginning, fit, lessons, likes_of, recipe_for
from engine.learning import (
    OnProgress,
    checkpoint_path,
    forget_unfinished,
    has_state,
    keep,
    learn,
    must_learn_here,
    state_path,
)
from engine.methods import ARMS
from engine.methods.base import Ask, Method
from engine.optimise import Progress, Recipe, Trained, TrainError
from engine.population import people
from engine.profile import Profile
from engine.state import StateError
from engine.weights import sha256
from studies.store import Refused

TEACH = Recipe(steps=300, lr=3e-3, evaluate_every=25, seconds=1800)
SAMPLE = Ask(payload="cats", seed=1)  # what is written before and after a fit, for the person to compare
HELD_OUT = 10  # every tenth person stops the training or judges it

Stopped = Callable[[], bool]
Curve = tuple[tuple[int, float, float], ...]


@dataclass(frozen=True, slots=True)
class Fitting:
    """How far it is, and what came of it: `ended` is "" while it runs; the curve is (step, loss, held-out loss);
    `samples` are a text as it was written before, and as it is now."""

    step: int
    steps: int
    seconds_left: float
    curve: Curve = ()
    before: float = 0.0
    after: float = 0.0
    ended: str = ""
    samples: tuple[str, ...] = ()


class Teacher:
    """Teaches one thing at a time in a thread; pairs go on being written, more slowly.

    What was learned is used at once, and only if it is better on what was held out. What was learned before stays.
    """

    def __init__(self, lm: Backbone, folder: Path, changed: Callable[[], None]) -> None:
        self.lm, self.folder, self._changed = lm, folder, changed
        self._busy = threading.Lock()

    def busy(self) -> bool:
        return self._busy.locked()

    def hold(self) -> bool:
        """Let nothing be taught until `let_go`; False, and nothing held, while something is."""
        return self._busy.acquire(blocking=False)

    def let_go(self) -> None:
        self._busy.release()

    def teachable(self) -> list[str]:
        """The arms that learn from many people."""
        return [arm for arm, m in ARMS.items() if has_state(m) and not m.personal]

    def fittable(self) -> list[str]:
        """The arms that learn from one person's likes."""
        return [arm for arm, m in ARMS.items() if has_state(m) and m.personal]

    def fit(self, arm: str, profile: Profile, stopped: Stopped) -> Iterator[Fitting]:
        """One of `fittable`, from this person's likes alone; raises Refused with the reason where it cannot be."""
        if arm not in self.fittable():
            raise Refused("choose what to fit first")
        method = ARMS[arm]
        try:
            before, given = beginning(self.lm, method, self.folder, profile), lessons(method, profile)
        except (StateError, TrainError) as error:
            raise Refused(str(error)) from error
        recipe = recipe_for(method, len(given.taught))
        path = state_path(self.lm, method, self.folder, profile.user)
        checkpoint = checkpoint_path(path, given.run(before, recipe))

        def work(on_progress: OnProgress) -> tuple[Trained, dict[str, object]]:
            out = fit(
                self.lm, method, given, before, recipe, checkpoint=checkpoint, on_progress=on_progress, stopped=stopped
            )
            told = [(method.condition(self.lm, profile, state, SAMPLE), SAMPLE) for state in (before, out.state)]
            samples = [texts[0].text for texts in decode(self.lm, told)]
            return out, {"run": given.run(before), "likes": len(likes_of(method, profile)), "samples": samples}

        return self._run(method, profile.user, recipe, work)

    def teach(self, arm: str, population: Path, stopped: Stopped) -> Iterator[Fitting]:
        """One of `teachable`, from a reactions file of many people. It resumes after a kill, with the same file.

        Raises Refused with the reason where it cannot be.
        """
        if arm not in self.teachable():
            raise Refused("choose one of the ways first")
        method = ARMS[arm]
        try:
            must_learn_here(self.lm)
        except TrainError as error:
            raise Refused(str(error)) from error

        def work(on_progress: OnProgress) -> tuple[Trained, dict[str, object]]:
            try:
                crowd = people(population)
            except CollectError as error:  # by the name the person knows
                raise CollectError(str(error).replace(str(population), population.name)) from error
            named = sha256(population)
            checkpoint = checkpoint_path(state_path(self.lm, method, self.folder, ""), named)
            rest = [person for i, person in enumerate(crowd) if i % HELD_OUT]
            out, report = learn(
                self.lm, method, rest, crowd[::HELD_OUT], TEACH, checkpoint=checkpoint, on_progress=on_progress,
                stopped=stopped,
            )  # fmt: skip
            return out, report | {"population": named}

        return self._run(method, "", TEACH, work)

    def _run(
        self,
        method: Method,
        user: str,
        recipe: Recipe,
        work: Callable[[OnProgress], tuple[Trained, dict[str, object]]],
    ) -> Iterator[Fitting]:
        if not self._busy.acquire(blocking=False):
            raise Refused("something is being taught already, or the model changed: wait, or stop it")
        told: queue.Queue[Progress | tuple[Trained, dict[str, object]] | Exception] = queue.Queue()

        def run() -> None:
            try:
                told.put(work(told.put))
            except Exception as error:  # it is told where the caller waits
                told.put(error)
            finally:
                self._busy.release()

        threading.Thread(target=run, name="teacher", daemon=True).start()
        yield Fitting(0, recipe.steps, recipe.seconds)
        curve: list[tuple[int, float, float]] = []
        while True:
            news = told.get()
            if isinstance(news, TrainError | StateError | CollectError):
                raise Refused(str(news)) from news
            if isinstance(news, Exception):
                raise news
            if isinstance(news, Progress):
                curve.append((news.step, news.loss, float("nan") if news.held_out is None else news.held_out))
                yield Fitting(news.step, news.steps, news.seconds_left, tuple(curve))
                continue
            yield self._ended(method, user, recipe, *news)
            return

    def _ended(self, method: Method, user: str, recipe: Recipe, out: Trained, report: dict[str, object]) -> Fitting:
        better = out.after < out.before
        if better:
            try:
                keep(state_path(self.lm, method, self.folder, user), self.lm, method, out, recipe, report)
            except StateError as full:
                raise Refused(str(full)) from full
            self._changed()
        if method.personal and out.ended != "stopped":
            forget_unfinished(state_path(self.lm, method, self.folder, user))
        ended = f"{out.ended}; {'kept' if better else 'no better on what was held out, so not kept'}"
        if "gain" in report:  # with the profile of somebody else it should do worse
            error = 1.96 * float(str(report["gain_error"]))
            ended += f"; a person's own profile saves {report['gain']:.3f} (+- {error:.3f}) over somebody else's"
        told = report.get("samples")
        samples = tuple(str(text) for text in told) if isinstance(told, list) else ()
        return Fitting(out.curve[-1][0], recipe.steps, 0.0, out.curve, out.before, out.after, ended, samples)
