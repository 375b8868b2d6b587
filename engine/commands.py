"""Learn: teach methods on a population; fit: go on for one person; generate: write; models: which fit here."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

from collectors.item import CollectError, read_reactions
from engine import encoder
from engine.backbone import Backbone, BackboneError
from engine.decode import decode
from engine.learning import (
    beginning,
    checkpoint_path,
    fit,
    keep,
    learn,
    learns,
    missing,
    recipe_for,
    state_of,
    state_path,
)
from engine.methods import ARMS, BASES, METHODS, Ask
from engine.methods.base import Method
from engine.population import people
from engine.profile import Profile, build
from engine.state import StateError
from engine.summary import summarize
from engine.train import Progress, Recipe, TrainError
from engine.weights import WeightsError, sha256

TROUBLE = (CollectError, BackboneError, WeightsError, StateError, TrainError, encoder.EncoderError)


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
    commands = parser.add_subparsers(required=True, metavar="models|learn|fit|generate")
    running = argparse.ArgumentParser(add_help=False)
    running.add_argument("--model", help="as in app.py")
    running.add_argument("--encoder", help="as in app.py")
    running.add_argument("--quantize", choices=["auto", "none", "int8", "nf4"], default="auto")
    learning = commands.add_parser(
        "learn", parents=[running, _recipe_flags(Recipe())], help="teach methods on a population"
    )
    learning.add_argument("methods", nargs="+", metavar="METHOD", help=f"arm ids, or of {', '.join(METHODS)}")
    learning.add_argument("--population", type=Path, required=True, help="a reactions file of many people")
    learning.add_argument("--held-out", type=Path, help="one of others (default: every tenth of the population)")
    learning.add_argument("--out", type=Path, default=Path("palate-data"), help="the data folder that app.py reads")
    learning.set_defaults(command=_learn)
    fitting = commands.add_parser(
        "fit", parents=[running, _recipe_flags(None)], help="go on with one person's likes alone"
    )
    fitting.add_argument("methods", nargs="+", metavar="METHOD")
    fitting.add_argument("--profile", type=Path, required=True, help="a reactions file of one person")
    fitting.add_argument("--data-dir", type=Path, default=Path("palate-data"))
    fitting.set_defaults(command=_fit)
    writing = commands.add_parser("generate", parents=[running], help="write for one person, all methods in one batch")
    writing.add_argument("--profile", type=Path, required=True)
    writing.add_argument("--methods", nargs="+", default=["all"], metavar="METHOD")
    writing.add_argument("--topic", default="anything")
    writing.add_argument("--n", type=int, default=1)
    writing.add_argument("--seed", type=int, default=0)
    writing.add_argument("--data-dir", type=Path, default=Path("palate-data"))
    writing.add_argument("--json", action="store_true", help="one line of JSON a text")
    writing.set_defaults(command=_generate)
    commands.add_parser("models", add_help=False, help="known chat models and the memory they need here")
    return parser


def _recipe_flags(defaults: Recipe | None) -> argparse.ArgumentParser:
    """A flag for each field of a recipe; without `defaults` they are None, and the method decides."""
    flags = argparse.ArgumentParser(add_help=False)
    for field in fields(Recipe):
        default = getattr(defaults, field.name, None)
        kind = float if field.name == "seconds" else type(field.default)
        said = "by the method and the number of likes" if defaults is None else "%(default)s"
        flags.add_argument(f"--{field.name.replace('_', '-')}", type=kind, default=default, help=f"(default: {said})")
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


def _learn(options: argparse.Namespace) -> int:
    lm, recipe = Backbone.load(options.model, options.quantize), _recipe(options, Recipe())
    population, named = people(options.population), sha256(options.population)
    others = people(options.held_out) if options.held_out else population[::10]
    population = population if options.held_out else [p for i, p in enumerate(population) if i % 10]
    for arm, method in _named(options.methods).items():
        if not learns(method) or method.learned_as is not method or method.personal:
            continue
        print(arm, flush=True)
        path = state_path(lm, method, options.out, "")
        checkpoint = checkpoint_path(path, named)
        out, report = learn(lm, method, population, others, recipe, checkpoint=checkpoint, on_progress=_told)
        report |= {"population": named}
        keep(path, lm, method, out, recipe, report)
        print(json.dumps({"arm": arm, "ended": out.ended, **report}), flush=True)
    return 0


def _person(path: Path) -> Profile:
    (user, reactions), *others = read_reactions(path)
    if others:
        raise CollectError(f"{path} holds {len(others) + 1} people: give a file of one.")
    return build(user, [(item, signal) for item, signal in reactions if signal])


def _fit(options: argparse.Namespace) -> int:
    lm, profile = Backbone.load(options.model, options.quantize), _person(options.profile)
    for arm, method in _named(options.methods).items():
        before = beginning(lm, method, options.data_dir, profile)
        recipe = _recipe(options, recipe_for(method, len(profile.liked)))
        path = state_path(lm, method, options.data_dir, profile.user)
        checkpoint = checkpoint_path(path, profile.digest)
        out = fit(lm, method, profile, before, recipe, checkpoint=checkpoint, on_progress=_told)
        keep(path, lm, method, out, recipe, {"profile": profile.digest})
        print(f"{arm}: held-out loss {out.before:.4f} -> {out.after:.4f} ({out.ended}), {path}")
    return 0


def _generate(options: argparse.Namespace) -> int:
    lm, profile = Backbone.load(options.model, options.quantize), _person(options.profile)
    profile = replace(profile, summary=summarize(lm, profile))
    ask = Ask(payload=options.topic, n=options.n, seed=options.seed)
    told = {}
    for arm, method in _named(options.methods).items():
        if why := missing(lm, method, options.data_dir, profile):
            print(f"{arm}: {why}", file=sys.stderr)
        else:
            state = state_of(lm, method, options.data_dir, profile.user) or {}
            told[arm] = method.condition(lm, profile, state, ask), ask
    for arm, texts in zip(told, decode(lm, list(told.values())), strict=True):
        for n, text in enumerate(texts):
            row = {"arm": arm, "n": n, "text": text.text, "tokens": len(text.token_ids), "finish": text.finish}
            print(json.dumps(row) if options.json else f"[{arm}] {text.text}")
    return 0
