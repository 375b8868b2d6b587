"""python -m engine models | learn | fit | cope | generate."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from engine.catalog import ENCODERS, ROWS, TOKENS, Estimate, estimates


def main(arguments: Sequence[str] | None = None) -> int:
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given[:1] == ["models"]:  # at once: nothing that loads models is imported for it
        return _models(_models_parser().parse_args(given[1:]))
    from engine import commands

    return commands.main(given)


def _models_parser() -> argparse.ArgumentParser:
    models = argparse.ArgumentParser(prog="python -m engine models", description="which chat models fit here")
    models.add_argument(
        "--quantize",
        choices=["auto", "none", "int8", "nf4"],
        default="auto",
        help="reckon with these weights, as app.py would load them (default: %(default)s)",
    )
    models.add_argument("--json", action="store_true", help="print one line of JSON, sizes in bytes")
    return models


def _models(options: argparse.Namespace) -> int:
    known = estimates(options.quantize)
    if options.json:
        print(json.dumps([asdict(estimate) for estimate in known]))
        return 0
    _table([("model", "params", "licence", "context", "runs as", "", ""), *map(_row, known)])
    print(f"\nMemory is for {ROWS} texts of {TOKENS} tokens at once. Start one with: python app.py --model NAME")
    print("* gated: accept its licence on https://huggingface.co/NAME and give a token by HF_TOKEN or `hf auth login`.")
    print()
    encoders = [(e.name, _size(e.parameters), e.licence, str(e.width), e.good_for) for e in ENCODERS]
    _table([("sentence encoder", "params", "licence", "width", ""), *encoders])
    print(
        "\nAny of the sentence-transformers kind will do: python app.py --encoder NAME. What comes taught with Palate"
    )
    print(f"is for {ENCODERS[0].name}; with another, teach the methods first: python -m engine learn --encoder NAME.")
    return 0


def _table(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _row(estimate: Estimate) -> tuple[str, ...]:
    model = estimate.model
    licence = model.licence + (" *" if model.gated else "")
    return (
        model.name,
        _size(model.parameters),
        licence,
        str(model.context),
        estimate.runs_as,
        estimate.verdict,
        estimate.words,
    )


def _size(parameters: int) -> str:
    millions = parameters / 1e6
    return f"{millions:.0f}M" if millions < 950 else f"{millions / 1000:.1f}B"


if __name__ == "__main__":
    sys.exit(main())
