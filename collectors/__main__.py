"""preview: what an import would hold, before anything is saved; convert: write it as a reactions file."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from collectors.detect import SOURCES, open_source
from collectors.item import CollectError, Collector, write_reactions
from collectors.online import ONLINE
from collectors.sample import Sample
from collectors.table import ROLES


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        report = options.command(options).report()
    except CollectError as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(report.as_json()) if options.json else report.sentences())
    return 0


def _parser() -> argparse.ArgumentParser:
    table = argparse.ArgumentParser(add_help=False)
    table.add_argument(
        "path",
        metavar="PATH",
        help="an export (zip, folder or file), a table, a handle or address, or the word: sample",
    )
    table.add_argument(
        "--source",
        choices=["auto", *SOURCES, *ONLINE],
        default="auto",
        help="what it is (default: found by looking inside)",
    )
    table.add_argument(
        "--column",
        type=_column,
        action="append",
        default=[],
        metavar="ROLE=NAME",
        help='as in rating=stars; "" for none',
    )
    table.add_argument("--scale", type=_scale, metavar="LOW:HIGH", help="range of ratings, as in --scale=-10:10")
    table.add_argument("--json", action="store_true", help="print the report as one line of JSON")
    parser = argparse.ArgumentParser(prog="python -m collectors", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="preview|convert")
    commands.add_parser("preview", parents=[table], help="what an import would hold; nothing is saved").set_defaults(
        command=_preview
    )
    convert = commands.add_parser("convert", parents=[table], help="write it as a reactions file")
    convert.add_argument(
        "out", metavar="OUT.jsonl", help="where the reactions go, a line each; what has no text is left out"
    )
    convert.add_argument("--user", default="me", metavar="NAME", help="whose reactions they are (default: %(default)s)")
    convert.set_defaults(command=_convert)
    return parser


def _column(text: str) -> tuple[str, str]:
    role, _, name = text.partition("=")
    if role not in ROLES:
        raise argparse.ArgumentTypeError(f"{role!r} is no role of a column: use one of {', '.join(ROLES)}")
    return role, name


def _scale(text: str) -> tuple[float, float]:
    low, _, high = text.partition(":")
    try:
        return float(low), float(high)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not LOW:HIGH, such as 1:5") from None


def _source(options: argparse.Namespace) -> Collector:
    if options.path == "sample":
        return Sample()
    if options.source in ONLINE:
        return ONLINE[options.source].open(options.path, os.environ.get("MASTODON_TOKEN", ""))
    columns = dict(options.column) | ({"scale": options.scale} if options.scale else {})
    return open_source(options.path, options.source, **columns)


def _preview(options: argparse.Namespace) -> Collector:
    source = _source(options)
    for _ in source:
        pass  # previewing keeps nothing but the counts
    return source


def _convert(options: argparse.Namespace) -> Collector:
    source = _source(options)
    if Path(options.out).resolve() == Path(options.path).resolve():
        raise CollectError(f"{options.out} is the file to be read: name another one.")
    write_reactions(options.out, [(options.user, (pair for pair in source if pair[0].text))])  # one row at a time
    return source


if __name__ == "__main__":
    sys.exit(main())
