"""What came of the texts that were shown alone: rates, marks from 1 to 5, and each two arms side by side."""

from collections import defaultdict
from collections.abc import Sequence

from studies.agreement import between_marks
from studies.figures import NONE, Cell, forest, table
from studies.ratings import FIVE, Mark, Rate, mark_rates
from studies.sections.page import Page, Section, bar, between, of_interval, percent, plain, signed, signed_whole
from studies.singles import Difference, five_points, like_differences, point_differences

VERDICTS = "counted verdicts on single texts"


def rates_alone(page: Page) -> Section:
    told = (
        "How often each arm's texts were liked and disliked when they were shown alone: liked is like, funny, 4 or 5; "
        "disliked is dislike, not funny, 1 or 2; a 3 is neither. Skipped ones are left out. Whether a text sounds like "
        f"AI is asked of cards of the feed, not of marks. {page.bounds}"
    )
    body = "".join(
        of_rates(page, mark_rates(marks, seed=page.seed), name) for name, marks in _by_kind(page.records.marks).items()
    )
    return Section("marks", "Rates of single texts", told, body, VERDICTS)


def of_rates(page: Page, rows: Sequence[Rate], of: str = "") -> str:
    """Plots and a table of rates, whose captions say `of` what; "" without any."""
    rows = sorted(rows, key=lambda row: page.order(row.arm))
    body, ending = "", f", {of}" if of else ""
    for kind, name in (("like", "Liked"), ("dislike", "Disliked"), ("sounds_ai", "Sounds like AI")):
        bars = [bar(page.arm(r.arm), r.value, r.low, r.high, r.n) for r in rows if r.kind == kind]
        body += forest(f"{name}{ending}", bars, None, (0.0, 1.0)) if bars else ""
    by_arm: defaultdict[str, dict[str, Rate]] = defaultdict(dict)
    for row in rows:
        by_arm[row.arm][row.kind] = row
    asked = any(row.kind == "sounds_ai" for row in rows)
    kinds = ("like", "dislike", "sounds_ai") if asked else ("like", "dislike")
    cells = [
        [page.arm(arm), *(_percent(found.get(kind)) for kind in kinds), str(found["like"].n)]
        for arm, found in by_arm.items()
    ]
    head = ("arm", "liked", "disliked", *(["sounds like AI"] if asked else []), "texts judged")
    return body + table(f"Rates{ending}", head, cells) if rows else ""


def points(page: Page) -> Section | None:
    """None where no mark from 1 to 5 is asked for."""
    rows = sorted(five_points(page.records.marks, seed=page.seed), key=lambda row: page.order(row.arm))
    scale = page.records.study.settings.get("scale") if page.records.study else ""
    if not rows and not ("mark" in page.records.kinds and scale == "five"):
        return None
    told = (
        "The mean mark of each arm from 1 to 5, 5 being the best, of all its marks alike, and how often each was "
        "given. Ordinal alpha is Krippendorff's, which takes a 4 beside a 5 for nearer than a 1: how far raters agreed "
        f"who marked the same texts, 1 for wholly, 0 for no more than by chance. {page.bounds}"
    )
    bars = [bar(page.arm(r.arm), r.mean.value, r.mean.low, r.mean.high, r.mean.n) for r in rows]
    cells: list[Sequence[Cell]] = [
        (page.arm(r.arm), plain(r.mean.value), between(r.mean.low, r.mean.high, r.mean.n, plain), *r.counts, r.mean.n)
        for r in rows
    ]
    body = forest("Mean mark", bars, None, (1.0, 5.0))
    body += table("Marks", ("arm", "mean", "95 % interval", *FIVE, "marks"), cells)
    alpha = of_interval("ordinal alpha", between_marks(page.records.marks, FIVE, seed=page.seed), plain)
    body += table("Between raters on the same texts", ("what", "value", "marks"), [alpha]) if alpha else ""
    return Section("points", "Marks from 1 to 5", told, body if rows else "", "counted marks from 1 to 5")


def differences(page: Page) -> Section:
    told = (
        "Each two arms beside each other: by how much the first is above the second, of each rater by itself and then "
        "on average over the raters who judged both, so that how strict somebody is has no part in it. Shares are in "
        "percentage points, mean marks in marks. Nothing is corrected for the number of pairs: of many equal ones one "
        f"in twenty leaves 0 out by chance. {page.bounds}"
    )
    body = ""
    for name, marks in _by_kind(page.records.marks).items():
        given = [mark for mark in marks if mark.choice not in FIVE]
        body += _compared(page, f"Share that was liked, {name}", like_differences(given, seed=page.seed), liked=True)
        body += _compared(page, "Mean mark", point_differences(marks, seed=page.seed))
    lacks = "raters with counted verdicts on single texts of two arms"
    return Section("differences", "Single texts: each two arms", told, body, lacks)


def _compared(page: Page, caption: str, rows: Sequence[Difference], *, liked: bool = False) -> str:
    if not rows:
        return ""
    show = signed_whole if liked else signed
    by = 100.0 if liked else 1.0
    cells = [
        (
            f"{page.arm(row.a)} against {page.arm(row.b)}",
            show(row.value.value),
            between(row.value.low, row.value.high, row.value.n, show),
            row.raters,
            row.value.n,
        )
        for row in rows
    ]
    bars = [
        bar(
            f"{page.codes[row.a]} against {page.codes[row.b]}",
            by * row.value.value,
            by * row.value.low,
            by * row.value.high,
            row.value.n,
        )
        for row in rows
    ]
    head = ("pair", "difference", "95 % interval", "raters", "verdicts")
    return forest(f"{caption}: difference", bars, 0.0) + table(f"{caption}: each two arms", head, cells)


def _by_kind(marks: Sequence[Mark]) -> dict[str, list[Mark]]:
    """Verdicts that were not skipped: of cards of the feed, and marks."""
    given = [mark for mark in marks if mark.choice != "skip"]
    return {"cards": [mark for mark in given if mark.of_feed], "marks": [mark for mark in given if not mark.of_feed]}


def _percent(rate: Rate | None) -> str:
    return percent(rate.value, rate.low, rate.high, rate.n) if rate else NONE
