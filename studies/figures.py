"""Tables and plots of a report: plain HTML and SVG, everything from outside escaped here."""

import math
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from itertools import accumulate

NONE = "\u2013"
Cell = str | int
Bar = tuple[str, float, float, float]  # label, value, low, high


def whole(value: float) -> str:
    return f"{value:.0%}" if math.isfinite(value) else NONE


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """A table whose first column names its rows. Every cell is escaped."""
    names = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join(
        f'<tr><th scope="row">{escape(str(row[0]))}</th>'
        + "".join(f"<td>{escape(str(cell))}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="wide" tabindex="0"><table><caption>{escape(caption)}</caption>'
        f"<thead><tr>{names}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def fold(table: str) -> str:
    return f"<details><summary>Show each</summary>{table}</details>" if table else ""


FEW_CURVES = 6
WIDTH, LABELS, ROW, EDGE, LEFT = 760, 270, 26, 24, 60  # of plots, in units of their own
LETTERS, LINE = 34, 15  # that a line of a label holds, and its height


def forest(caption: str, bars: Sequence[Bar], mark: float | None, span: tuple[float, float] | None = None) -> str:
    """Values with their intervals, a row for each label; `mark` is where a dashed line stands. A value that is either
    of its bounds has no interval. Values in the `span` 0 to 1 are shares."""
    shown = [bar for bar in bars if all(map(math.isfinite, bar[1:]))]
    if not shown:
        return ""
    ends = [end for bar in shown for end in bar[1:]] + ([] if mark is None else [mark])
    ticks = even_ticks(*(span or (min(ends), max(ends))))
    low, high = min(ticks[0], *ends), max(ticks[-1], *ends)

    def x(value: float) -> float:
        return round(LABELS + (value - low) / (high - low) * (WIDTH - LABELS - EDGE), 1)

    labels = {label: textwrap.wrap(label, LETTERS) or [""] for label, *_ in shown}
    *tops, floor = accumulate((max(ROW, LINE * len(lines) + 9) for lines in labels.values()), initial=0)
    middle = {label: (top + below) / 2 for label, top, below in zip(labels, tops, [*tops[1:], floor], strict=True)}
    floor += 6
    show = whole if span == (0.0, 1.0) else "{:g}".format if span else _plain
    parts = _grid([(x(tick), show(tick)) for tick in ticks], floor)
    if mark is not None:
        parts += f'<line class="mark" x1="{x(mark)}" x2="{x(mark)}" y1="0" y2="{floor}"/>'
    for label, lines in labels.items():
        parts += _label(lines, middle[label])
    drawn: Counter[str] = Counter()
    for label, value, left, right in shown:
        y = middle[label]
        if left < right:
            parts += f'<line class="bar" x1="{x(left)}" x2="{x(right)}" y1="{y}" y2="{y}"/>'
        y += (0, -4, 4, -8, 8)[drawn[label] % 5]  # of many on one line, equal ones do not hide each other
        drawn[label] += 1
        parts += f'<circle class="dot" cx="{x(value)}" cy="{y}" r="{5 if left < right else 3.5}"/>'
    return _figure(caption, parts, floor + 24)


def lines(caption: str, curves: Sequence[tuple[str, Sequence[float]]], mark: float) -> str:
    """Curves over the number of votes, few ones named, of many those beyond `mark`. The scale of the values is
    logarithmic and ends at a thousandth and a million."""
    logs = {name: [math.log10(min(max(value, 1e-3), 1e6)) for value in values] for name, values in curves}
    if not logs:
        return ""
    most = max(len(values) for values in logs.values())
    level = math.log10(mark)
    low = min(-1.0, *(min(values) for values in logs.values()))
    high = max(level + 0.5, *(max(values) for values in logs.values()))
    floor = 240

    def at(step: int, value: float) -> tuple[float, float]:
        x = LEFT + (WIDTH - 2 * LEFT) * step / most
        return round(x, 1), round(floor - (floor - 8) * (value - low) / (high - low), 1)

    parts = ""
    for power in range(math.ceil(low), math.floor(high) + 1):
        x, y = at(0, power)
        parts += f'<line class="grid" x1="{x}" x2="{WIDTH - LEFT}" y1="{y}" y2="{y}"/>'
        parts += f'<text class="tick" x="{x - 8}" y="{y + 4:.1f}" text-anchor="end">{10.0**power:g}</text>'
    x, y = at(0, level)
    parts += f'<line class="mark" x1="{x}" x2="{WIDTH - LEFT}" y1="{y}" y2="{y}"/>'
    placed: list[tuple[float, float]] = []
    for name, values in sorted(logs.items(), key=lambda curve: -curve[1][-1]):
        beyond = max(values) >= level
        points = " ".join("{},{}".format(*at(step, value)) for step, value in enumerate([0.0, *values]))
        parts += f'<polyline class="{"curve strong" if beyond else "curve"}" points="{points}"/>'
        if beyond or len(logs) <= FEW_CURVES:
            x, y = at(len(values), values[-1])
            while any(abs(x - other) < 20 and abs(y - there) < 14 for other, there in placed):
                y += 1  # no name upon another
            placed.append((x, y))
            parts += f'<text class="name" x="{x + 6:.1f}" y="{y + 4:.1f}">{escape(name)}</text>'
    parts += f'<text class="tick" x="{LEFT}" y="{floor + 18}">0</text>'
    parts += f'<text class="tick" x="{WIDTH - LEFT}" y="{floor + 18}" text-anchor="end">{most} votes</text>'
    return _figure(caption, parts, floor + 24)


def _figure(caption: str, parts: str, height: float) -> str:
    return (
        f'<figure><figcaption>{escape(caption)}</figcaption><svg role="img" viewBox="0 0 {WIDTH} {height}" '
        f'aria-label="{escape(caption)}; the numbers stand in the table below">{parts}</svg></figure>'
    )


def _grid(ticks: Iterable[tuple[float, str]], floor: float) -> str:
    return "".join(
        f'<line class="grid" x1="{x}" x2="{x}" y1="0" y2="{floor}"/>'
        f'<text class="tick" x="{x}" y="{floor + 16}" text-anchor="middle">{escape(name)}</text>'
        for x, name in ticks
    )


def _label(lines: Sequence[str], middle: float) -> str:
    """A label of one or more lines, whole: what was cut could not be told from another."""
    first = middle + 4.5 - LINE * (len(lines) - 1) / 2
    return "".join(
        f'<text class="name" x="{LABELS - 12}" y="{first + LINE * n:g}" text-anchor="end">{escape(line)}</text>'
        for n, line in enumerate(lines)
    )


def _plain(value: float) -> str:
    return f"{value:+g}" if value else "0"


def even_ticks(low: float, high: float) -> list[float]:
    """Four to nine round numbers that hold the span."""
    width = max(high - low, 0.1)  # of equal values a scale must say something too
    step = 10.0 ** math.floor(math.log10(width))
    step *= next(part for part in (0.2, 0.5, 1.0, 2.0) if width / (step * part) <= 6)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(n * step, 10) for n in range(first, max(last, first + 1) + 1)]


# No script may run and nothing be fetched, whatever a text holds. Marks of writing direction stay within their cell.
