"""Learn: teach methods on a population; fit: go on for one person; cope: adapter, refinement and contrast in one go;
generate: write; models: which fit here."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from operator import itemgetter
from pathlib import Path

from collectors.item import CollectError, Item, Signal, read_reactions
from engine import cluster, encoder, processes
from engine.backbone import Backbone, BackboneError
from engine.decode import decode
from engine.fitting import beginning, fit, lessons, likes_of, recipe_for
from engine.learning import (
    checkpoint_path,
    conditioned,
    forget_unfinished,
    has_state,
    keep,
    learn,
    missing,
    provenance,
    stand_on,
    state_path,
)
from engine.methods import ARMS, BASES, METHODS, Ask, arm_id
from engine.methods.base import Method, Score
from engine.methods.dpo import DPO
from engine.methods.lora import LoRA
from engine.optimise import Progress, Recipe, TrainError
from engine.population import people
from engine.profile import Profile, build
from engine.recommend import scorers
from engine.recommend.scorer import encoded
from engine.remote import opened
from engine.state import StateError
from engine.summary import summarize
from engine.weights import WeightsError, sha256

LORA, REFINED = arm_id(LoRA()), arm_id(DPO())
TASK = Recipe(steps=300, lr=1e-3)  # of a task-adapted model (log 2026-11-24)
FLAGS = {  # what the fields of a recipe mean
    "steps": "steps at most",
    "batch": "examples that are in memory at once",
    "accumulate": "such batches in one step",
    "lr": "learning rate after the warm-up",
    "warmup": "share of the steps in which the rate rises",
    "weight_decay": "of AdamW",
    "clip": "longest gradient",
    "max_target_tokens": "tokens of a text that are learned from",
    "evaluate_every": "steps from one look at the held-out people to the next",
    "patience": "looks without a better one, after which it ends",
    "seconds": "longest time",
    "seed": "of the order, of dropout and of who is held out",
}
TROUBLE = (
    CollectError,
    BackboneError,
    WeightsError,
    StateError,
    TrainError,
    encoder.EncoderError,
    cluster.ClusterError,
)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        encoder.use(options.encoder)
        code: int = options.command(options)
    except TROUBLE as error:
        print(error, file=sys.stderr)
        return 2
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m engine", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="models|learn|fit|cope|generate")
    running = argparse.ArgumentParser(add_help=False)
    running.add_argument("--model", help="as in app.py")
    running.add_argument("--encoder", help="as in app.py")
    running.add_argument("--quantize", choices=["auto", "none", "int8", "nf4"], default="auto", help="as in app.py")
    running.add_argument("--base", choices=["auto", "none"], default="auto", help="as in app.py")
    learning = commands.add_parser(
        "learn", parents=[running, _recipe_flags()], help="teach methods and recommenders on a population"
    )
    learning.add_argument(
        "methods",
        nargs="+",
        metavar="METHOD",
        help=f"arm ids, of {', '.join(METHODS)}, or of {', '.join(scorers.TAUGHT)}",
    )
    learning.add_argument("--population", type=Path, required=True, help="a reactions file of many people")
    learning.add_argument("--held-out", type=Path, help="one of other people (default: every tenth of the population)")
    learning.add_argument("--out", type=Path, default=Path("palate-data"), help="the data folder that app.py reads")
    learning.set_defaults(command=_learn)
    personal = argparse.ArgumentParser(add_help=False)
    personal.add_argument("--data-dir", type=Path, default=Path("palate-data"), help="as in app.py")
    asking = argparse.ArgumentParser(add_help=False)
    asking.add_argument("--profile", type=Path, required=True, help="a reactions file of one person")
    asking.add_argument("--topic", default="anything", help="what the texts are to be about")
    asking.add_argument("--n", type=int, default=1, help="texts by each method")
    asking.add_argument("--seed", dest="text_seed", type=int, default=0, help="of the texts")
    asking.add_argument("--json", action="store_true", help="one line of JSON a text")
    fitting = commands.add_parser(
        "fit", parents=[running, personal, _recipe_flags()], help="go on with one person's likes alone"
    )
    fitting.add_argument(
        "methods", nargs="+", metavar="METHOD", help="arm ids, or methods that are fitted to one person"
    )
    whose = "a reactions file of one person, or of several: each is fitted to their own likes alone"
    fitting.add_argument("--profile", type=Path, required=True, help=whose)
    cluster.flag(fitting, "fit several people")
    fitting.set_defaults(command=_fit)
    chain = commands.add_parser(
        "cope", parents=[running, personal, asking], help="an adapter of one's own, refined and contrasted"
    )
    chain.add_argument("--population", type=Path, help="many people, for a task-adapted model where there is none yet")
    chain.set_defaults(command=_cope, best_of=1, by=None, **dict.fromkeys(field.name for field in fields(Recipe)))
    writing = commands.add_parser(
        "generate", parents=[running, personal, asking], help="write for one person, all methods in one batch"
    )
    writing.add_argument("--engine", choices=["process", "openai", "vllm"], default="process", help="as in app.py")
    writing.add_argument("--base-url", metavar="URL", help="as in app.py")
    writing.add_argument("--methods", nargs="+", default=["all"], metavar="METHOD", help="arm ids, methods, or all")
    writing.add_argument("--best-of", type=int, default=1, metavar="N", help="draw N texts for each one, keep the best")
    writing.add_argument("--by", choices=scorers.NAMES, help="which scorer says what is best (default: nearness)")
    writing.set_defaults(command=_generate)
    commands.add_parser("models", add_help=False, help="known chat models and the memory they need here")
    return parser


def _recipe_flags() -> argparse.ArgumentParser:
    """A flag for each field of a recipe; None leaves it to what learns."""
    flags = argparse.ArgumentParser(add_help=False)
    for field in fields(Recipe):
        kind = float if field.name == "seconds" else type(field.default)
        told = f"{FLAGS[field.name]} (default: that of what learns)"
        flags.add_argument(f"--{field.name.replace('_', '-')}", type=kind, help=told)
    return flags


def _named(names: Sequence[str]) -> dict[str, Method]:
    """Arms by id or by method name, adapters that stand under all arms as "tam"; "all" is all of the arms."""
    known = {a: {"all", a, m.name} for a, m in ARMS.items()} | {a: {a, "tam"} for a in BASES}
    found = {a: m for a, m in {**ARMS, **BASES}.items() if known[a] & set(names)}
    unknown = [name for name in names if not any(name in meant for meant in known.values())]
    if unknown:
        raise TrainError(f"{unknown[0]} is no method: use {', '.join(METHODS)}, or one of the arms {', '.join(ARMS)}")
    return found


def _recipe(options: argparse.Namespace, defaults: Recipe) -> Recipe:
    given = {field.name: getattr(options, field.name) for field in fields(Recipe)}
    return replace(defaults, **{name: value for name, value in given.items() if value is not None})


def _told(progress: Progress) -> None:
    if progress.held_out is not None:
        print(
            f"  step {progress.step}/{progress.steps}: loss {progress.loss:.3f}, held-out {progress.held_out:.4f}, "
            f"{progress.seconds_left / 60:.1f} min left",
            flush=True,
        )


def _loaded(options: argparse.Namespace, folder: Path) -> Backbone:
    lm = Backbone.load(options.model, options.quantize)
    if options.base == "auto":
        stand_on(lm, folder)
    return lm


def _say(line: str) -> None:
    """Print a line, once however many processes learn."""
    if processes.first():
        print(line, flush=True)


def _learn(options: argparse.Namespace) -> int:
    with processes.together():
        if processes.size() > 1:
            _say(f"{processes.size()} processes share the examples of each step")
        return _taught(options)


def _taught(options: argparse.Namespace) -> int:
    recommenders = [scorers.TAUGHT[name] for name in dict.fromkeys(options.methods) if name in scorers.TAUGHT]
    names = [name for name in options.methods if name not in scorers.TAUGHT]
    methods = {arm: method for arm, method in _named(names).items() if not method.personal}
    bases = methods.keys() & BASES.keys()
    lm = Backbone.load(options.model, options.quantize) if bases else _loaded(options, options.out)
    population, named = people(options.population), sha256(options.population)
    others = people(options.held_out) if options.held_out else population[::10]
    population = population if options.held_out else [p for i, p in enumerate(population) if i % 10]
    for arm, method in sorted(methods.items(), key=lambda pair: pair[0] not in bases):  # what stands under all, first
        if not has_state(method):
            continue
        if bases and arm not in bases and options.base == "auto":
            stand_on(lm, options.out)
        _say(arm)
        path = state_path(lm, method, options.out, "")
        recipe, checkpoint = _recipe(options, Recipe()), checkpoint_path(path, named)
        out, report = learn(lm, method, population, others, recipe, checkpoint=checkpoint, on_progress=_told)
        report |= {"population": named}
        processes.once(partial(keep, path, lm, method, out, recipe, report))
        _say(json.dumps({"arm": arm, "ended": out.ended, **report}))
    if recommenders and options.base == "auto":
        stand_on(lm, options.out)  # also on one that was taught just now
    for one in recommenders:
        _say(one.name)
        path = one.path(lm, options.out)
        recipe, checkpoint = _recipe(options, one.recipe), checkpoint_path(path, named)
        told = scorers.learn(lm, one, population, others, recipe, path, named, checkpoint=checkpoint, on_progress=_told)
        _say(json.dumps(told))
    return 0


def _person(path: Path) -> Profile:
    (user, reactions), *others = read_reactions(path)
    if others:
        raise CollectError(f"{path} holds {len(others) + 1} people: give a file of one.")
    return build(user, [(item, signal) for item, signal in reactions if signal])


def _fit(options: argparse.Namespace) -> int:
    people = list(read_reactions(options.profile))
    fits = _Fits(options, _named(options.methods))
    for (user, _), told in cluster.each(fits, people, options.ray, itemgetter(0)):
        for line in told if options.ray else ():
            print(f"{user}: {line}", flush=True)
    return 0


@dataclass
class _Fits:
    """Fits one person after the other, each to their own likes alone, on a model that is loaded for the first."""

    options: argparse.Namespace
    methods: Mapping[str, Method]

    @cached_property
    def lm(self) -> Backbone:
        if self.options.ray:  # a worker is another process
            encoder.use(self.options.encoder)
        return _loaded(self.options, self.options.data_dir)

    def __call__(self, person: tuple[str, list[tuple[Item, Signal | None]]]) -> list[str]:
        """What was fitted, or why not: printed here, and returned to where it was asked for. Raises TrainError."""
        user, reactions = person
        profile = build(user, [(item, signal) for item, signal in reactions if signal])
        told = []
        for arm, method in self.methods.items():
            if arm not in self.options.methods and (why := method.lacks(self.lm, profile)):  # one of several
                told.append(f"{arm}: {why}")
                print(told[-1], file=sys.stderr)
                continue
            try:
                told.append(_fit_one(self.lm, arm, profile, self.options))
            except TrainError as error:
                raise TrainError(f"{user}: {error}") from error
        return told


def _fit_one(lm: Backbone, arm: str, profile: Profile, options: argparse.Namespace) -> str:
    method = ARMS[arm]
    before = beginning(lm, method, options.data_dir, profile)
    given = lessons(method, profile, options.seed or 0)
    recipe = _recipe(options, recipe_for(method, len(given.taught)))
    path = state_path(lm, method, options.data_dir, profile.user)
    checkpoint = checkpoint_path(path, given.run(before, recipe))
    out = fit(lm, method, given, before, recipe, checkpoint=checkpoint, on_progress=_told)
    keep(path, lm, method, out, recipe, {"run": given.run(before), "likes": len(likes_of(method, profile))})
    forget_unfinished(path)
    print(told := f"{arm}: held-out loss {out.before:.4f} -> {out.after:.4f} ({out.ended}), {path}", flush=True)
    return told


def _cope(options: argparse.Namespace) -> int:
    """The chain of CoPe (arXiv 2506.12109, figure 2); a stage that is done for these likes is not run again."""
    profile, folder = _person(options.profile), options.data_dir
    lm = _loaded(options, folder)
    if options.population and not lm.base_name:
        [(arm, base)] = BASES.items()
        crowd, named = people(options.population), sha256(options.population)
        if profile.user in {person.user for person in crowd}:
            raise TrainError(f"{profile.user} is among the people of {options.population}: take them out of it first")
        path = state_path(lm, base, folder, "")
        print(f"task-adapted model ({arm}) from {len(crowd)} people", flush=True)
        rest = [person for i, person in enumerate(crowd) if i % 10]
        recipe = _recipe(options, TASK)
        out, report = learn(
            lm, base, rest, crowd[::10], recipe, checkpoint=checkpoint_path(path, named), on_progress=_told
        )
        keep(path, lm, base, out, recipe, report | {"population": named})
        stand_on(lm, folder)
    for arm in (LORA, REFINED):
        method = ARMS[arm]
        path = state_path(lm, method, folder, profile.user)
        before = beginning(lm, method, folder, profile)
        if lessons(method, profile).run(before) == provenance(path).get("run"):
            print(f"{arm}: fitted to these likes already", flush=True)
        else:
            _fit_one(lm, arm, profile, options)
    chain = {arm: m for arm, m in ARMS.items() if arm in (next(iter(ARMS)), LORA, REFINED) or m.name == "cope"}
    return _write(lm, profile, chain, options)


def _generate(options: argparse.Namespace) -> int:
    profile = _person(options.profile)
    lm = opened(options.engine, options.base_url, options.model, options.quantize)
    if options.base == "auto":
        stand_on(lm, options.data_dir)
    return _write(lm, replace(profile, summary=summarize(lm, profile)), _named(options.methods), options)


def _write(lm: Backbone, profile: Profile, arms: Mapping[str, Method], options: argparse.Namespace) -> int:
    ask = Ask(payload=options.topic, n=options.n, seed=options.text_seed)
    best = None
    if options.best_of < 2 and options.by:
        raise TrainError(f"there is one text and nothing for {options.by} to choose from: say --best-of 2 or more")
    if options.best_of > 1:
        chosen = scorers.scorer(options.by or scorers.NEAREST, lm, options.data_dir)
        best = Score(lambda texts: chosen.score(profile, encoded(texts)), options.best_of)
    told = {}
    for arm, method in arms.items():
        if why := missing(lm, method, options.data_dir, profile):
            print(f"{arm}: {why}", file=sys.stderr)
        else:
            given = conditioned(lm, method, options.data_dir, profile, ask)
            told[arm] = (replace(given, score=best) if best else given), ask
    for arm, texts in zip(told, decode(lm, list(told.values())), strict=True):
        score = told[arm][0].score
        for n, text in enumerate(texts):
            row = {"arm": arm, "n": n, "text": text.text, "tokens": text.tokens, "finish": text.finish}
            row |= {"drawn": score.samples if score else 1}
            print(json.dumps(row) if options.json else f"[{arm}] {text.text}")
    return 0
