"""What else is in the votes: raters who differ, a lean to one side, the pull of style, trials with a right answer."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from studies.effects import heterogeneity, side_bias, styled
from studies.figures import fold, forest, table
from studies.ratings import standings
from studies.sections.page import Page, Section, bar, between, many, percent, signed, signed_rows
from studies.sections.pairs import votes


def differences(page: Page) -> Section:
    told = (
        "How far raters differ in which arms they like, as the standard deviation of an arm's strength between them, "
        "and each rater's strength of each arm, drawn towards everybody's by as much as their few votes leave open "
        "(empirical Bayes; 95 % intervals of the posterior, which leave out what is unsure of the spread itself). Of "
        "a rater with too few pair votes in all no interval is given."
    )
    found = heterogeneity(page.records.ballots)
    if not found.raters:
        lacks = "counted pair votes of at least two raters"
        return Section("heterogeneity", "Differences between raters", told, "", lacks)
    given = Counter(ballot.rater for ballot in page.records.played)
    rows = sorted(found.raters, key=lambda row: (page.order(row.arm), page.place(row.rater)))
    cells = [
        (page.arm(r.arm), page.rater(r.rater), signed(r.strength), between(r.low, r.high, given[r.rater])) for r in rows
    ]
    dots = [(page.arm(r.arm), r.strength, r.strength, r.strength) for r in rows]
    body = table("Spread", ("what", "value"), [("standard deviation, log-odds", f"{found.sd:.2f}")])
    body += forest("Each dot is a rater: strength, log-odds", dots, 0.0)
    body += fold(table("Each rater", ("arm", "rater", "strength", "95 % interval"), cells))
    return Section("heterogeneity", "Differences between raters", told, body)


def sides(page: Page) -> Section:
    told = (
        "How often the left side won where one did; in a balanced design anything but one half is a habit of the eye, "
        "which the balance keeps out of the standings. p is that of such a lean by chance, votes of a rater turned "
        f"around together. {page.bounds}"
    )
    decided = [ballot for ballot in page.records.ballots if ballot.choice in ("left", "right")]
    if not decided:
        return Section("sides", "Side bias", told, "")
    found = side_bias(page.records.ballots, seed=page.seed)
    cells = [("left", percent(found.share, found.low, found.high, found.n), f"{found.p:.3f}", found.n)]
    head = ("side", "share and 95 % interval", "p", "decided votes")
    bars = [bar("left", found.share, found.low, found.high, found.n)]
    body = forest("Share of the left side", bars, 0.5, (0.0, 1.0))
    return Section("sides", "Side bias", told, body + table("Side bias", head, cells))


def style(page: Page) -> Section:
    told = (
        "Standings as they would be if all texts were alike in length and looks; beside them what one standard "
        f"deviation more of a style is worth in log-odds, and the left side. {page.bounds}"
    )
    played = page.records.played
    if not played:
        return Section("style", "Style control", told, "")
    found = styled(played, seed=page.seed)
    named = [(row.name, row.value, row.low, row.high, len(played)) for row in found.coefficients]
    arms = [(page.arm(row.arm), row.strength, row.low, row.high, votes(row)) for row in found.standings]
    body = forest("Strength with style held equal", [bar(*row) for row in arms], 0.0)
    body += table("Standings with style held equal", ("arm", "strength", "95 % interval"), signed_rows(arms))
    body += table("What style is worth", ("what", "log-odds", "95 % interval"), signed_rows(named))
    return Section("style", "Style control", told, body if arms else "")


def catches(page: Page) -> Section | None:
    """None where there are none by design, and none came."""
    records = page.records
    design: Mapping[str, Any] = records.study.settings.get("design", {}) if records.study else {"same": 0, "salad": 0}
    same = design.get("same", 1) if "pair" in design.get("kinds", ["pair"]) else 0
    if not records.catches and not (same or design.get("salad", 1)):
        return None
    told = (
        "Trials with a right answer. The same text twice passes by both, neither or skip; a post beside its own words "
        "shuffled, or those alone, unless the shuffled words are liked. They filter no vote and nobody's pay: the last "
        f"table only says what the standings would be without raters who failed two. {page.bounds}"
    )
    rows = [
        page.of_share(name, [(catch.rater, catch.passed) for catch in records.catches if catch.purpose == purpose])
        for purpose, name in (("same", "the same text twice"), ("salad", "shuffled words"))
    ]
    failed = Counter(catch.rater for catch in records.catches if not catch.passed)
    head = ("trials", "passed", "how many")
    body = table("Catch trials", head, [row for row in rows if row]) if records.catches else ""
    each = [(page.rater(r.id), failed[r.id]) for r in records.raters if failed[r.id]]
    body += table("Who failed some", ("rater", "failed"), each) if each else ""
    if without := {rater for rater, count in failed.items() if count > 1}:
        kept = standings([ballot for ballot in records.ballots if ballot.rater not in without], seed=page.seed)
        bars = [(page.arm(row.arm), row.strength, row.low, row.high, votes(row)) for row in kept]
        told_of = f"Standings without the {many(len(without), 'rater')} who failed two or more"
        body += table(told_of, ("arm", "strength", "95 % interval"), signed_rows(bars)) if bars else ""
    return Section("catches", "Catch trials", told, body, "counted votes on catch trials")
