"""The flags of every command as tables in Markdown, taken from the parsers: `docs/reference.md` shows them."""

import argparse
import re
from collections.abc import Mapping
from pathlib import Path

import app
import collectors.__main__
import engine.__main__
import engine.commands
import engine.offence
import engine.pretrained.memorised
import engine.pretrained.population
import engine.pretrained.ship
import studies.__main__
import studies.benchmarks.__main__
import studies.simulate
from studies.benchmarks import feed, hierarchy, lamp_writers, offline, soak, tables

Parser = argparse.ArgumentParser
ROOT = Path(__file__).parents[1]
OUTSIDE = {  # commands that read their flags themselves
    ("python -m engine", "models"): engine.__main__._models_parser(),
    ("python -m studies", "simulate"): studies.simulate._parser(),
}


def programs() -> dict[str, Mapping[str, Parser]]:
    """What can be started, and under each the parsers of its commands; of one without commands, under ""."""
    return {
        "python app.py": {"": app.flags()},
        "python -m collectors": _commands(collectors.__main__._parser()),
        "python -m engine": _commands(engine.commands._parser()),
        "python -m studies": _commands(studies.__main__._parser()),
        "python -m studies.benchmarks": {"": studies.benchmarks.__main__._parser()},
        "python -m studies.benchmarks NAME": {
            name: offline._parser(name, module) for name, module in offline.BENCHMARKS.items()
        },
        "python -m studies.benchmarks feed|hierarchy|writers|tables|soak": {
            "feed": feed._parser(),
            "hierarchy": hierarchy._parser(),
            "writers": lamp_writers._parser(),
            "tables": tables._parser(),
            "soak": soak._parser(),
        },
        "python -m engine.pretrained.population": {"": engine.pretrained.population._parser()},
        "python -m engine.pretrained.ship": {"": engine.pretrained.ship._parser()},
        "python -m engine.pretrained.memorised": {"": engine.pretrained.memorised._parser()},
        "python -m engine.offence": {"": engine.offence._parser()},
    }


def told(program: str) -> str:
    """The commands of a program, if it has any, and its flags, each once with the commands that know it."""
    parsers = programs()[program]
    lines = []
    if "" in parsers:
        sentence = _sentence(parsers[""].description)
        lines += [f"{sentence[0].upper()}{sentence[1:]}{'' if sentence.endswith('?') else '.'}", ""]
    else:
        lines += ["| command | what it does |", "| --- | --- |"]
        lines += [f"| `{name}` | {_sentence(parser.description)} |" for name, parser in parsers.items()] + [""]
    known: dict[tuple[str, str, str], list[str]] = {}
    for name, parser in parsers.items():
        for action in flags(parser):
            known.setdefault(_row(parser, action), []).append(name)
    order = [flag.partition(" ")[0] for flag, _, _ in known]  # what has one name stands together
    by_flag = sorted(known.items(), key=lambda pair: order.index(pair[0][0].partition(" ")[0]))
    of = "" if "" in parsers else " of |"
    lines += [f"| flag |{of} default | what it does |", f"| --- |{' --- |' if of else ''} --- | --- |"]
    for (flag, default, what), names in by_flag:
        which = "all" if len(names) == len(parsers) else ", ".join(names)
        lines.append(f"| {flag} |{f' {which} |' if of else ''} {default} | {what} |")
    return "\n".join(lines)


def flags(parser: Parser) -> list[argparse.Action]:
    """All that a command is told by, but for --help."""
    return [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]


def _commands(parser: Parser) -> dict[str, Parser]:
    [action] = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    said = {choice.dest: choice.help for choice in action._choices_actions}
    found: dict[str, Parser] = {}
    for name, command in action.choices.items():
        found[name] = OUTSIDE.get((parser.prog, name), command)
        found[name].description = said[name]
    return found


def _row(parser: Parser, action: argparse.Action) -> tuple[str, str, str]:
    """A flag, its default, and what it does; the words after "default:" go to the default."""
    values = [action.metavar] if isinstance(action.metavar, str) else list(action.metavar or ())
    flag = " ".join([*action.option_strings[:1], *values]) or action.dest
    what, _, by_default = (action.help or "").partition("(default: ")
    before, by_default = what.strip().rstrip(","), by_default.rpartition(")")[0]
    nothing = any(action.default is empty for empty in (None, False)) or action.default == []
    given = "" if nothing else _plain(action.default)
    if "%(default)s" in by_default or by_default == given:
        by_default = ""
    default = ", ".join(part for part in (given and f"`{given}`", by_default) if part)
    if action.required and not default:
        default = "*needed*"
    what = before % {**vars(action), "prog": parser.prog}
    if action.choices and not all(str(choice) in what for choice in action.choices):
        *others, last = map(str, action.choices)
        what += f"; {', '.join(others)} or {last}"
    return f"`{flag}`", default, what.replace("|", "\\|")


def _plain(default: object) -> str:
    """A default as one would type it; files of the repository by their place in it."""
    if isinstance(default, tuple | list):
        return " ".join(map(str, default))
    return str(default).removeprefix(f"{ROOT}/")


def _sentence(text: str | None) -> str:
    """The first sentence of a description, on one line, without the command that it may begin with."""
    flat = re.sub(r"^python -m [^:]*: ", "", " ".join((text or "").split()))
    return re.split(r"(?<=[.?])\s", flat)[0].rstrip(".")
