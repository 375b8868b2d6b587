"""What came of the pairs: strengths, rates, who beat whom, and whether enough is known."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import combinations

from studies.figures import NONE, Cell, forest, lines, table, whole
from studies.ratings import RESAMPLES, Standing, rates, standings
from studies.sections.alone import of_rates
from studies.sections.page import COVERAGE, MEASURED, Page, Section, bar, between, signed, title_of
from studies.sequential import ENOUGH, evidence

FEW = 20  # raters, under which a reader may doubt an interval that is drawn from them
MARGIN = 0.1  # a share of wins that is within this of one half is as good as one half


def strengths(page: Page) -> Section:
    raters = len({ballot.rater for ballot in page.records.played})
    told = (
        "Bradley-Terry strength of each arm in log-odds against the average arm: 0 is average, +0.7 wins about two of "
        "three; both and neither count half a win for each side, skipped pairs not at all. "
    )
    told += _drawn(raters) + _measured(raters)
    rows = standings(page.records.ballots, seed=page.seed)
    bars = [bar(page.arm(row.arm), row.strength, row.low, row.high, votes(row)) for row in rows]
    cells = [
        (page.arm(r.arm), signed(r.strength), between(r.low, r.high, votes(r)), r.wins, r.losses, r.ties) for r in rows
    ]
    head = ("arm", "strength", "95 % interval", "won", "lost", "tied")
    body = forest("Strength, log-odds against the average arm", bars, 0.0) + table("Standings", head, cells)
    return Section("standings", "Standings", told, body if rows else "")


def votes(row: Standing) -> int:
    """How many votes a strength comes from."""
    return row.wins + row.losses + row.ties


def _drawn(raters: int) -> str:
    if raters == 1:
        return (
            f"Intervals are 95 % and of this one rater: their votes are drawn {RESAMPLES} times, and say nothing of "
            "other people."
        )
    return (
        f"Intervals are 95 %: raters are drawn {RESAMPLES} times with all that they said, because votes of one person "
        "hang together, and the spread of the draws meets Student's t for so many raters."
    )


def _measured(raters: int) -> str:
    """How often intervals from so few raters held the truth, "" where that is not known or they are not few."""
    if not MEASURED <= raters < FEW:
        return ""
    nearest = min(COVERAGE, key=lambda n: abs(n - raters))
    return f" In simulated studies of {nearest} raters they held the truth {COVERAGE[nearest]:.1%} of the time."


def rates_in_pairs(page: Page) -> Section:
    told = (
        "How often each arm's text of a pair was liked (chosen, or both), disliked (neither) and marked as sounding "
        f"like AI, of the pairs that were not skipped. {page.bounds}"
    )
    return Section("rates", "Rates in pairs", told, of_rates(page, rates(page.records.ballots, seed=page.seed)))


def pictures(page: Page) -> Section | None:
    """Of pairs of pictures, where there were any."""
    ballots = page.records.pictures
    if not ballots:
        return None
    told = (
        f"{len(ballots)} votes on pairs of pictures, which stand here and in no other figure of this page. Both were "
        "painted by one image model from one seed; the arms differ in its prompt alone."
    )
    rows = standings(ballots, seed=page.seed)
    cells = [
        (title_of(r.arm), signed(r.strength), between(r.low, r.high, votes(r)), r.wins, r.losses, r.ties) for r in rows
    ]
    head = ("arm", "strength", "95 % interval", "won", "lost", "tied")
    body = table("Standings of pictures", head, cells) + of_rates(page, rates(ballots, seed=page.seed), "pictures")
    return Section("pictures", "Pictures", told, body)


def matrix(page: Page) -> Section:
    told = "Won-lost-tied of the arm in the row against the arm in the column; plain counts, no interval."
    met: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for b in page.records.played:
        met[b.left, b.right][{"left": "won", "right": "lost"}.get(b.choice, "tied")] += 1
        met[b.right, b.left][{"left": "lost", "right": "won"}.get(b.choice, "tied")] += 1
    there = {arm for pair in met for arm in pair}
    arms = [arm for arm in page.codes if arm in there]
    cells = [
        (page.arm(a), *(f"{n['won']}-{n['lost']}-{n['tied']}" if (n := met.get((a, b))) else NONE for b in arms))
        for a in arms
    ]
    body = table("Head to head", ("arm", *(page.codes[arm] for arm in arms)), cells) if arms else ""
    return Section("matrix", "Head to head", told, body)


def sequential(page: Page) -> Section:
    told = (
        "For each two arms, evidence for a difference that may be looked at after every vote: an e-value ever reaches "
        f"{ENOUGH:.0f} in at most one of twenty comparisons of equal arms, which is what the verdict enough says. Of "
        "decided votes alone, those of one rater taken as alike, so that one rater never suffices; the interval of the "
        f"share holds at all looks together. No difference is a share within {MARGIN:g} of one half. Pairs are taken "
        f"one by one: of many equal ones some reach the line by chance."
    )
    ballots = page.records.ballots
    met = Counter(frozenset((b.left, b.right)) for b in ballots if b.choice in ("left", "right"))
    cells: list[Sequence[Cell]] = []
    curves: list[tuple[str, Sequence[float]]] = []
    for a, b in combinations(page.codes, 2):
        if not (decided := met[frozenset((a, b))]):
            continue
        found = evidence(ballots, a, b, MARGIN)
        curves.append((str(len(curves) + 1), found.e_values))
        bounds = f"{whole(found.wins / decided)} ({between(found.low, found.high, decided, whole)})"
        now, most = f"{found.e_values[-1]:.3g}", f"{max(found.e_values):.3g}"
        name = f"{len(curves)}. {page.arm(a)} against {page.arm(b)}"
        cells.append((name, f"{found.wins}-{found.losses}", bounds, now, most, found.verdict))
    head = ("pair", "won-lost", "share of the first, interval", "e-value now", "highest", "verdict")
    body = lines(
        f"E-value after each decided vote, the pairs by number; the dashed line is {ENOUGH:.0f}", curves, ENOUGH
    )
    body += table("Each pair", head, cells)
    return Section("sequential", "Evidence so far", told, body if cells else "", "decided votes between two arms")
