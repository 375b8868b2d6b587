"""python -m collectors preview PATH: what an import would hold, before anything is saved."""

import argparse
import json
import sys
from collections.abc import Sequence

from collectors.item import CollectError, Collector
from collectors.sample import Sample
from collectors.table import ROLES, Table


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        report = _read_through(_source(options)).report()
    except CollectError as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(report.as_json()) if options.json else report.sentences())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m collectors", description=__doc__)
    preview = parser.add_subparsers(required=True, metavar="preview").add_parser("preview")
    preview.add_argument("path", metavar="PATH", help="a CSV, TSV or JSON lines file, or the word: sample")
    preview.add_argument(
        "--column",
        type=_column,
        action="append",
        default=[],
        metavar="ROLE=NAME",
        help='as in rating=stars; "" for none',
    )
    preview.add_argument("--scale", type=_scale, metavar="LOW:HIGH", help="range of ratings, as in --scale=-10:10")
    preview.add_argument("--json", action="store_true", help="print the report as one line of JSON")
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
    return Table(options.path, scale=options.scale, **dict(options.column))


def _read_through(source: Collector) -> Collector:
    for _ in source:
        pass  # previewing keeps nothing but the counts
    return source


if __name__ == "__main__":
    sys.exit(main())
