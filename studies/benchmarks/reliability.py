"""How far a probability can be believed, drawn: of rows that were given about the same chance of a like, what share was
liked. A panel for each method of a result of `ctr`, its seeds together; on the dashed line all is as it was said.

python -m studies.benchmarks.reliability FOLDER: the pictures of the results that are kept.
"""

import sys
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from studies.benchmarks.ctr import BINS
from studies.benchmarks.scores import WRONG
from studies.benchmarks.tables import result

DRAWN = ("ctr_jester_answered", "ctr_movielens")  # results that have a picture
SIDE, GAP, ROW = 150, 34, 4  # of a panel, in units of its own; panels in a row
STYLE = "text{font:11px sans-serif;fill:#333}.axis{fill:none;stroke:#bbb}.fair{stroke:#999;stroke-dasharray:4 3}"


def picture(name: str, folder: Path | None = None) -> str:
    """The SVG of one result."""
    methods: dict[str, list[Mapping[str, Any]]] = {}
    for row in result(name, folder)["rows"]:
        if "calibration" in row and not row["method"].endswith(WRONG):
            methods.setdefault(row["method"], []).append(row)
    panels = [_panel(method, rows, n) for n, (method, rows) in enumerate(methods.items())]
    wide, high = ROW * (SIDE + GAP) + GAP, -(-len(panels) // ROW) * (SIDE + 2 * GAP) + GAP
    told = escape(f"Calibration of {name}: the share of likes against the probability that was said")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" role="img" aria-label="{told}">'
        f'<style>{STYLE}</style><rect width="{wide}" height="{high}" fill="#fff"/>\n' + "\n".join(panels) + "\n</svg>\n"
    )


def pooled(rows: Sequence[Mapping[str, Any]]) -> list[tuple[float, float, int]]:
    """The bins of several seeds as one: mean probability, share of likes, rows."""
    bins: dict[int, list[tuple[float, float, int]]] = {}
    for p, share, n in (one for row in rows for one in row["calibration"]):
        bins.setdefault(min(int(p * BINS), BINS - 1), []).append((p, share, n))
    found = []
    for _, some in sorted(bins.items()):
        said, liked, count = (np.array(column, float) for column in zip(*some, strict=True))
        found.append((float(said @ count / count.sum()), float(liked @ count / count.sum()), int(count.sum())))
    return found


def _panel(method: str, rows: Sequence[Mapping[str, Any]], number: int) -> str:
    left, top = GAP + number % ROW * (SIDE + GAP), GAP + number // ROW * (SIDE + 2 * GAP)
    bins = pooled(rows)
    total = sum(count for *_, count in bins)
    dots = "".join(
        f'<circle cx="{left + SIDE * p:.1f}" cy="{top + SIDE * (1 - share):.1f}" '
        f'r="{1 + 12 * (count / total) ** 0.5:.1f}" fill="#3b6fb6" fill-opacity=".55"/>'
        for p, share, count in bins
    )
    error = np.mean([row["ece"] for row in rows])
    ends = "".join(
        f'<text x="{left + SIDE * end}" y="{top + SIDE + 13}" text-anchor="middle">{end}</text>'
        f'<text x="{left - 5}" y="{top + SIDE * (1 - end) + 4:g}" text-anchor="end">{end}</text>'
        for end in (0, 1)
    )
    return (
        f'<rect class="axis" x="{left}" y="{top}" width="{SIDE}" height="{SIDE}"/>'
        f'<line class="fair" x1="{left}" y1="{top + SIDE}" x2="{left + SIDE}" y2="{top}"/>{dots}{ends}'
        f'<text x="{left + SIDE / 2:g}" y="{top - 8}" text-anchor="middle">{escape(method)}</text>'
        f'<text x="{left + SIDE - 6}" y="{top + SIDE - 8}" text-anchor="end">error {error:.3f}</text>'
    )


def main(folder: Path) -> None:
    for name in DRAWN:
        (folder / f"{name}-calibration.svg").write_text(picture(name), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
