"""check: what a study asks of its raters, and what it lacks; pregenerate: write its texts beforehand; report: a study
as one page; export: its tables; backup: a copy to browse; judge: language models beside people; simulate: what the
statistics are worth, without people."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from studies.store import Store

# What needs torch is imported late, where it is used: --help answers at once.


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
    except _trouble() as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _trouble() -> tuple[type[Exception], ...]:
    """What a command may raise whose message is for people."""
    from collectors.item import CollectError
    from engine.backbone import BackboneError
    from engine.encoder import EncoderError
    from engine.state import StateError
    from engine.weights import WeightsError
    from studies.database import StoreError
    from studies.store import Refused
    from studies.studyfile import StudyError

    return Refused, StudyError, StoreError, CollectError, WeightsError, BackboneError, StateError, EncoderError


def _parser() -> argparse.ArgumentParser:
    url = argparse.ArgumentParser(add_help=False)
    url.add_argument("--database-url", metavar="URL", help="as in app.py (default: PALATE_DATABASE_URL)")
    shared = argparse.ArgumentParser(add_help=False, parents=[url])
    shared.add_argument("--data-dir", type=Path, required=True, metavar="DIR", help="the folder that the app was given")
    one = argparse.ArgumentParser(add_help=False)
    one.add_argument("--study", metavar="ID", help="which study (default: play, or the folder's only study)")
    parser = argparse.ArgumentParser(prog="python -m studies", description=__doc__)
    commands = parser.add_subparsers(
        required=True, metavar="check|pregenerate|report|export|backup|forget|judge|simulate"
    )
    asked = commands.add_parser(
        "check", parents=[url], help="what a rater would meet, and what is missing; starts nothing"
    )
    asked.add_argument("--study", type=Path, required=True, metavar="FILE", help="the study file")
    asked.add_argument("--data-dir", type=Path, metavar="DIR", help="the folder of the study to be: is its pool full?")
    asked.set_defaults(command=_check)
    page = commands.add_parser("report", parents=[shared, one], help="one HTML page for a referee")
    page.add_argument("--out", type=Path, required=True, metavar="report.html", help="the page")
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
    pool = commands.add_parser(
        "pregenerate", parents=[url], help="write the texts of a study beforehand; broken off, it goes on"
    )
    pool.add_argument("--study", type=Path, required=True, metavar="FILE", help="the study file")
    pool.add_argument("--data-dir", type=Path, required=True, metavar="DIR", help="the folder of the study to be")
    pool.add_argument("--quantize", choices=["auto", "none", "int8", "nf4"], default="auto", help="as in app.py")
    pool.add_argument("--base", choices=["auto", "none"], default="auto", help="as in app.py")
    pool.set_defaults(command=_pregenerate)
    gone = commands.add_parser("forget", parents=[shared], help="delete all of a rater who withdraws, by their code")
    gone.add_argument("--study", metavar="ID", required=True, help="the id of the study")
    gone.add_argument("--code", required=True, help="the eight letters on the rater's page")
    gone.set_defaults(command=_forget)
    judges = commands.add_parser("judge", parents=[shared, one], help="let language models judge the same pairs")
    judges.add_argument("--model", metavar="NAME", help="a local chat model (default: the embedded one)")
    which = judges.add_mutually_exclusive_group()
    which.add_argument("--claude", metavar="NAME", help="a model of the Anthropic API instead; needs a key and --send")
    which.add_argument(
        "--taste", nargs="?", const="nearness", choices=["nearness", "topics", "item_lm", "ctr"],
        help="a scorer of the feed instead, which knows each rater's likes (default: nearness)",
    )  # fmt: skip
    judges.add_argument("--send", action="store_true", help="yes: the pairs, with --personal likes too, go to that API")
    judges.add_argument("--personal", action="store_true", help="tell the judge what each rater likes")
    judges.set_defaults(command=_judge)
    commands.add_parser("simulate", help="the statistics on planted tastes", add_help=False)
    return parser


def _store(options: argparse.Namespace) -> "Store":
    from studies.database import FILE, SCHEMA, address, exists
    from studies.store import Refused, Store

    folder, url = options.data_dir, address(options.database_url)
    if not exists(folder, url):  # opening one would make it
        if url:
            raise Refused(f"that database holds no schema {SCHEMA}: name the one that the app was started with")
        raise Refused(f"{folder} holds no {FILE}: name the folder that the app was started with after --data-dir")
    return Store(folder, url)


def _check(options: argparse.Namespace) -> Iterator[str]:
    from studies.checking import checked
    from studies.studyfile import read

    yield from checked(read(options.study), options.data_dir, options.database_url)


def _report(options: argparse.Namespace) -> Iterator[str]:
    from engine.backbone import Backbone
    from studies.detect import detectors, texts_by_arm
    from studies.records import pick, records
    from studies.report import report
    from studies.store import Refused

    store = _store(options)
    study = pick(store, options.study)
    there = replace(records(store, study), assumed=study != options.study)
    if options.detectors is not None:
        lm = Backbone.load(options.detectors or None)
        there = replace(there, detectors=tuple(detectors(lm, texts_by_arm(there.ballots, there.marks))))
    page = report(there, seed=options.seed)
    out: Path = options.out
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(page, encoding="utf-8")
    except OSError as error:
        raise Refused(f"{out} cannot be written ({error.strerror}): choose another --out") from error
    yield str(out)


def _forget(options: argparse.Namespace) -> Iterator[str]:
    from studies.register import Register

    Register(_store(options)).forget(options.study, options.code)
    yield "deleted: reports and exports made from now on know nothing of this rater"


def _export(options: argparse.Namespace) -> Iterator[str]:
    from studies.export import export
    from studies.records import pick

    store = _store(options)
    yield from map(
        str, export(store, options.out, pick(store, options.study), ids=options.ids, parquet=options.parquet)
    )


def _backup(options: argparse.Namespace) -> Iterator[str]:
    from studies.export import backup

    yield str(backup(_store(options), options.out))


def _judge(options: argparse.Namespace) -> Iterator[str]:
    from engine.backbone import Backbone
    from engine.claude import ApiTrouble, Claude, NotPermitted
    from engine.learning import stand_on
    from engine.recommend.local_judge import LocalJudge
    from engine.recommend.scorers import PLAIN, scorer
    from studies.judge import ClaudeJudge, TasteJudge
    from studies.judging import judge
    from studies.records import records
    from studies.store import Refused

    if options.model and (options.claude or options.taste in PLAIN):
        raise Refused(f"{options.claude or options.taste} needs no local model: leave --model out")
    store = _store(options)
    there = records(store, options.study)
    if not there.ballots:
        raise Refused("no pair was judged by people: there is nothing to stand beside")
    if options.taste:
        if options.taste in PLAIN:
            judge_of = TasteJudge(PLAIN[options.taste], options.taste)
        else:
            lm = Backbone.load(options.model)
            stand_on(lm, options.data_dir)  # as whatever learned there did
            judge_of = TasteJudge(scorer(options.taste, lm, options.data_dir), f"{options.taste} on {lm.name}")
        yield from judge(store, there, judge_of, personal=True, centred=True)
        return
    if not options.claude:
        local = LocalJudge(Backbone.load(options.model))
        # a small model's lean to one place is larger than what it finds funny: it is taken off
        yield from judge(store, there, local, personal=options.personal, centred=True)
        return
    claude = Claude.from_environment(options.claude)
    if not claude:
        raise Refused("no ANTHROPIC_API_KEY is set: set it, or leave --claude out")
    if not options.send:
        raise Refused("the pairs would go to the Anthropic API, with --personal the raters' likes as well: say --send")
    try:
        yield from judge(store, there, ClaudeJudge(claude, lambda: True), personal=options.personal)
    except (ApiTrouble, NotPermitted) as error:
        raise Refused(f"{error}; what was judged is kept, and the same command goes on") from error


def _pregenerate(options: argparse.Namespace) -> Iterator[str]:
    from studies.database import address
    from studies.pregenerate import fill, people_of
    from studies.store import Store
    from studies.studyfile import read

    study = read(options.study)
    store = Store(options.data_dir, address(options.database_url))
    yield from fill(store, study, people_of(store, study), options.quantize, base=options.base == "auto")


if __name__ == "__main__":
    sys.exit(main())
