"""What came of the votes, to markup: the page shows it, and the same is the report to take along."""

import html
import math
from dataclasses import dataclass

from studies.outcome import YOURS, About, Meter, Outcome
from studies.pairs import title
from studies.ratings import MIN_VOTES, Rate, Standing
from studies.sequential import ENOUGH

SPAN = 3.0  # log-odds to each side that the little pictures show
WIDE, HIGH = 160, 22  # pixels of one
ABOUT = 12  # rows of what it was about


@dataclass(frozen=True, slots=True)
class Of:
    """What a report is of: begins the ids of its parts, and how it calls what it counts."""

    name: str
    title: str
    who: str
    marked: str


TEXTS = Of("results", "Standings", "who wrote it", "sounds AI")
PICTURES = Of("pictures", "Standings of pictures", "what it was told", "looks AI")


def report(told: Outcome, of: Of = TEXTS) -> str:
    """All of it; for few votes, what is missing and what to do about it."""
    if not told.votes:
        return (
            '<p id="results-note">No votes yet: judge a few blind pairs first. After ten each way gets an interval, '
            'after some dozens the meter below may say "enough". '
            '<button type="button" class="link" data-tab="compare">Judge a pair</button></p>'
        )
    return headline(told, of) + meters(told) + table(told, of) + repeats(told) + about(told.about)


def both(texts: Outcome, pictures: Outcome) -> str:
    """Texts, and under them pictures where any were judged: no vote on one counts for the other."""
    if not pictures.votes:
        return report(texts)
    told = "<h2>Pictures</h2><p>Votes on pictures count here and nowhere above.</p>"
    return f"{report(texts)}{told}{report(pictures, PICTURES)}"


def headline(told: Outcome, of: Of) -> str:
    thin = sum(_played(s) < MIN_VOTES for s in told.standings)
    much = f" {thin} of {len(told.standings)} have under {MIN_VOTES} votes: too few for an interval." if thin else ""
    return (
        f'<p id="{of.name}-note"><b>{told.votes} vote{"s" * (told.votes > 1)}.</b>{much}</p>'
        "<details><summary>How to read this</summary><p>Strength is in log-odds against the average way: 0 is average, "
        "+0.7 wins two of three. The bar is its 95 % interval. Rates are of the votes that were not skipped. A pair "
        "that comes again with its sides swapped says how well you agree with yourself, and counts nowhere "
        "else.</p></details>"
    )


def meters(told: Outcome) -> str:
    """Whether it is enough to go by: the question first that needs fewest votes."""
    if not told.meters:
        return (
            "<h3>Enough votes?</h3><p>Nothing that knows you has been judged yet: like a few cards, and such texts "
            "come.</p>"
        )
    return "<h3>Enough votes?</h3>" + "".join(_meter(meter) for meter in told.meters)


def _meter(meter: Meter) -> str:
    name = "What knows you" if meter.a == YOURS else html.escape(title(meter.a)).capitalize()
    decided = meter.wins + meter.losses
    filled = min(1.0, max(0.0, math.log(max(meter.evidence, 1.0)) / math.log(ENOUGH)))
    if meter.verdict == "enough":
        better = "better" if meter.wins > meter.losses else "worse"
        said = f"enough: {better} than what does not know you, whenever one looks"
    elif meter.verdict == "not yet":
        more = f", about {meter.more} more if it goes on like this" if meter.more else ""
        said = f"not yet{more}" if decided else "no decided vote yet"
    else:
        said = f"enough to say: {meter.verdict.replace('0.', '.')} in the share won"
    won = f"{meter.wins} of {decided} won, between {meter.low:.0%} and {meter.high:.0%} surely" if decided else ""
    return (
        f'<div class="meter"><b>{name}</b> against no profile: {said}. '
        f'<meter min="0" max="1" value="{filled:.3f}" aria-label="evidence, of what is enough"></meter> '
        f"<small>{won}</small></div>"
    )


def table(told: Outcome, of: Of) -> str:
    """One row a way, strongest first."""
    by_arm = {(rate.arm, rate.kind): rate for rate in told.rates}
    head = "".join(
        f'<th scope="col">{name}</th>'
        for name in (of.who, "strength", "won-lost-tied", "liked", "disliked", of.marked, "cost")
    )
    rows = []
    for s in told.standings:
        rates = "".join(
            f'<td data-name="{name}">{_percent(by_arm[s.arm, kind])}</td>'  # type: ignore[index]
            for kind, name in (("like", "liked"), ("dislike", "disliked"), ("sounds_ai", of.marked))
        )
        cost = told.costs.get(s.arm)
        took = f"{cost.tokens:.0f} tokens, {cost.seconds:.1f} s" if cost else "none"
        rows.append(
            f'<tr><th scope="row">{html.escape(title(s.arm))}</th><td data-name="strength">{_strength(s)}</td>'
            f'<td data-name="won-lost-tied">{s.wins}-{s.losses}-{s.ties}</td>{rates}'
            f'<td data-name="cost">{took}</td></tr>'
        )
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{of.title}">'
        f'<table id="{of.name}-table" class="standings">'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _strength(s: Standing) -> str:
    if _played(s) < MIN_VOTES:
        return f"{s.strength:+.2f}<br><small>too few votes</small>"
    at, low, high = (_across(value) for value in (s.strength, s.low, s.high))
    picture = (
        f'<svg width="{WIDE}" height="{HIGH}" role="img" aria-label="{s.low:+.2f} to {s.high:+.2f}">'
        f'<line x1="{WIDE / 2}" x2="{WIDE / 2}" y1="0" y2="{HIGH}" stroke="currentColor" stroke-dasharray="2 3"/>'
        f'<line x1="{low}" x2="{high}" y1="{HIGH / 2}" y2="{HIGH / 2}" stroke="currentColor" stroke-width="2"/>'
        f'<circle cx="{at}" cy="{HIGH / 2}" r="5" fill="currentColor"/></svg>'
    )
    return f"{picture}<br>{s.strength:+.2f} <small>{s.low:+.2f} to {s.high:+.2f}</small>"


def _across(value: float) -> float:
    return round(WIDE / 2 * (1 + max(-1.0, min(1.0, value / SPAN))), 1)


def repeats(told: Outcome) -> str:
    if not told.same:
        return "<h3>Do you agree with yourself?</h3><p>One pair in ten comes again, sides swapped. None so far.</p>"
    n = told.same.n
    said = f"You said the same again in {told.same.value:.0%} of {n} pair{'s' * (n > 1)} that came twice"
    bounds = f" (between {told.same.low:.0%} and {told.same.high:.0%})" if n >= MIN_VOTES else ""
    return f"<h3>Do you agree with yourself?</h3><p>{said}{bounds}. No method can do better than that.</p>"


def about(rows: tuple[About, ...]) -> str:
    """Votes between a text with the profile and one without, by what it was about."""
    if not rows:
        return ""
    lines = "".join(
        f"<tr><td>{html.escape(row.kind)}</td><td>{html.escape(row.topic)}</td>"
        f"<td>{row.won} of {row.won + row.lost}</td></tr>"
        for row in rows[:ABOUT]
    )
    more = f"<p><small>and {len(rows) - ABOUT} more</small></p>" if len(rows) > ABOUT else ""
    return (
        "<details><summary>By topic: how often what knows you won</summary><table><thead><tr>"
        '<th scope="col">kind</th><th scope="col">about</th><th scope="col">won</th></tr></thead>'
        f"<tbody>{lines}</tbody></table>{more}<p><small>A few votes a topic say little by themselves.</small></p>"
        "</details>"
    )


def page(told: str, engine: str, at: str) -> str:
    """A report as a file of its own, readable without Palate."""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Palate: what came of the votes</title>'
        "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
        "td,th{padding:.3rem .8rem .3rem 0;text-align:left;vertical-align:top}button{display:none}</style>"
        f"<h1>What came of the votes</h1><p>{html.escape(at)}. {html.escape(engine)}</p>{told}</html>"
    )


def _played(s: Standing) -> int:
    return s.wins + s.losses + s.ties


def _percent(rate: Rate) -> str:
    return f"{rate.value:.0%} <small>{rate.low:.0%} to {rate.high:.0%}</small>"
