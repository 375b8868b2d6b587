"""report: a study as one page; export: its tables; backup: a copy to browse; judge: language models beside people;
pregenerate: write a study's texts beforehand; simulate: what the statistics are worth, without people."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from collectors.item import CollectError
from engine.backbone import Backbone, BackboneError
from engine.claude import ApiTrouble, Claude, NotPermitted
from engine.plan import Quantize
from engine.state import StateError
from engine.weights import WeightsError
from studies.database import FILE, StoreError
from studies.detect import detectors, texts_by_arm
from studies.export import backup, export
from studies.judge import ClaudeJudge, LocalJudge
from studies.judging import judge
from studies.pregenerate import fill, people_of
from studies.records import records
from studies.report import report
from studies.session import CannotStart
from studies.store import Refused, Store
from studies.studyfile import StudyError, read


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code, 2 with a sentence on stderr where it cannot be done."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments[:1] == ["simulate"]:
        from studies import simulate

        simulate.main(arguments[1:])
        return 0
    options = _parser().parse_args(arguments)
    try:
        for line in options.command(options):
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
    except (Refused, StoreError, CannotStart) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--data-dir", type=Path, required=True, metavar="DIR", help="the folder with palate.db in it")
    one = argparse.ArgumentParser(add_help=False)
    one.add_argument("--study", metavar="ID", help="which study (default: what was judged outside of studies)")
    parser = argparse.ArgumentParser(prog="python -m studies", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="report|export|backup|judge|pregenerate|simulate")
    page = commands.add_parser("report", parents=[shared, one], help="one HTML page for a referee")
    page.add_argument("--out", type=Path, required=True, metavar="report.html")
    page.add_argument(
        "--detectors", metavar="MODEL", nargs="?", const="", help="see what this model's likelihoods detect"
    )
    page.add_argument("--seed", type=int, default=0, help="of the resampling (default: %(default)s)")
    page.set_defaults(command=_report)
    tables = commands.add_parser("export", parents=[shared, one], help="CSV, JSON lines and a dictionary of columns")
    tables.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="new or empty")
    tables.add_argument("--ids", action="store_true", help="with ids and handles: for the study's owner alone")
    tables.add_argument("--parquet", action="store_true", help="write parquet as well; needs pyarrow")
    tables.set_defaults(command=_export)
    copy = commands.add_parser("backup", parents=[shared], help="a copy of the database with readable views")
    copy.add_argument("--out", type=Path, required=True, metavar="FILE", help="new; everything personal is in it")
    copy.set_defaults(command=_backup)
    pool = commands.add_parser("pregenerate", help="write the texts of a study beforehand; broken off, it goes on")
    pool.add_argument("--study", type=Path, required=True, metavar="FILE", help="the study file")
    pool.add_argument("--data-dir", type=Path, required=True, metavar="DIR", help="the folder of the study to be")
    pool.add_argument("--quantize", choices=get_args(Quantize), default="auto", help="as in app.py")
    pool.add_argument("--base", choices=["auto", "none"], default="auto", help="as in app.py")
    pool.set_defaults(command=_pregenerate)
    judges = commands.add_parser("judge", parents=[shared, one], help="let language models judge the same pairs")
    judges.add_argument("--model", metavar="NAME", help="a local chat model (default: the embedded one)")
    judges.add_argument("--claude", metavar="NAME", help="a model of the Anthropic API instead; needs a key and --send")
    judges.add_argument("--send", action="store_true", help="yes: the pairs, with --personal likes too, go to that API")
    judges.add_argument("--personal", action="store_true", help="tell the judge what each rater likes")
    judges.set_defaults(command=_judge)
    commands.add_parser("simulate", help="the statistics on planted tastes", add_help=False)
    return parser


def _store(folder: Path) -> Store:
    if not (folder / FILE).is_file():  # opening one would make it
        raise Refused(f"{folder} holds no {FILE}: name the folder that the app was started with after --data-dir")
    return Store(folder)


def _report(options: argparse.Namespace) -> Iterator[str]:
    there = records(_store(options.data_dir), options.study)
    if options.detectors is not None:
        try:
            lm = Backbone.load(options.detectors or None)
        except (WeightsError, BackboneError) as error:
            raise CannotStart(str(error)) from error
        there = replace(there, detectors=tuple(detectors(lm, texts_by_arm(there.ballots, there.marks))))
    page = report(there, seed=options.seed)
    out: Path = options.out
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(page, encoding="utf-8")
    except OSError as error:
        raise Refused(f"{out} cannot be written ({error.strerror}): choose another --out") from error
    yield str(out)


def _export(options: argparse.Namespace) -> Iterator[str]:
    store = _store(options.data_dir)
    yield from map(str, export(store, options.out, options.study, ids=options.ids, parquet=options.parquet))


def _backup(options: argparse.Namespace) -> Iterator[str]:
    yield str(backup(_store(options.data_dir), options.out))


def _judge(options: argparse.Namespace) -> Iterator[str]:
    store = _store(options.data_dir)
    there = records(store, options.study)
    if not there.ballots:
        raise Refused("no pair was judged by people: there is nothing to stand beside")
    if not options.claude:
        try:
            local = LocalJudge(Backbone.load(options.model))
        except (WeightsError, BackboneError) as error:
            raise CannotStart(str(error)) from error
        # a small model's lean to one place is larger than what it finds funny: it is taken off
        yield from judge(store, there, local, personal=options.personal, centred=True)
        return
    claude = Claude.from_environment(options.claude)
    if not claude:
        raise CannotStart("no ANTHROPIC_API_KEY is set: set it, or leave --claude out")
    if not options.send:
        raise Refused("the pairs would go to the Anthropic API, with --personal the raters' likes as well: say --send")
    try:
        yield from judge(store, there, ClaudeJudge(claude, lambda: True), personal=options.personal)
    except (ApiTrouble, NotPermitted) as error:
        raise CannotStart(f"{error}; what was judged is kept, and the same command goes on") from error


def _pregenerate(options: argparse.Namespace) -> Iterator[str]:
    try:
        study = read(options.study)
        store = Store(options.data_dir)
        yield from fill(store, study, people_of(store, study), options.quantize, base=options.base == "auto")
    except (StudyError, CollectError, WeightsError, BackboneError, StateError) as error:
        raise CannotStart(str(error)) from error


if __name__ == "__main__":
    sys.exit(main())
