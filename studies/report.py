"""A study, or play, as one HTML page for a referee: no script, no network, and a table beside every plot.

What comes from the store is escaped where it is put on the page, by `figures` and here; raters are numbered as they
came and never named. The parts of the page are in `sections`.
"""

from collections.abc import Callable
from html import escape

from studies.records import Records
from studies.sections import alone, checks, log, pairs, protocol, trust
from studies.sections.page import Page, Section, many

ANY = frozenset({"pair", "card", "mark"})  # kinds of trials that a section is about: others have none of it
PAIR, ALONE, ASKED = frozenset({"pair"}), frozenset({"card", "mark"}), frozenset({"pair", "card"})
SECTIONS: tuple[tuple[Callable[[Page], Section | None], frozenset[str]], ...] = (
    *((make, ANY) for make in (protocol.protocol, protocol.writers, protocol.people, protocol.times, protocol.survey)),
    *((make, PAIR) for make in (pairs.strengths, pairs.rates_in_pairs, pairs.matrix, pairs.sequential, pairs.pictures)),
    *((make, ALONE) for make in (alone.rates_alone, alone.points, alone.differences)),
    *((trust.agreement, ANY), (trust.judges, ANY), (trust.detected, ASKED), (trust.recognised, ANY)),
    *((make, PAIR) for make in (checks.differences, checks.sides, checks.style)),
    *((make, ANY) for make in (checks.catches, log.voids, log.events)),
)


def report(records: Records, *, seed: int = 0) -> str:
    """The page as text, without sections that the design has no trials for. `seed` is that of the resampling: the same
    records and seed, the same page."""
    page = Page(records, seed)
    sections = [part for make, kinds in SECTIONS if kinds & records.kinds and (part := make(page))]
    name = records.study.title if records.study else "Votes outside of studies"
    contents = "".join(f'<li><a href="#{part.anchor}">{escape(part.head)}</a></li>' for part in sections)
    main = "".join(
        f'<section id="{part.anchor}"><h2>{escape(part.head)}</h2><p>{escape(part.told)}</p>'
        f"{part.body or f'<p class=none>Missing: {escape(part.lacks)}.</p>'}</section>"
        for part in sections
    )
    lead, intervals = escape(_lead(page)), escape(page.intervals)
    return PAGE.format(title=escape(name), lead=lead, intervals=intervals, contents=contents, main=main)


def _lead(page: Page) -> str:
    records = page.records
    repeats = len(records.repeats) + len(records.mark_repeats)
    votes = [many(len(records.ballots) + len(records.marks), "main vote")]
    votes += [f"{repeats} on repeats"] if repeats else []
    votes += [f"{len(records.catches)} on catch trials"] if records.catches else []
    *most, last = votes
    told = f"{', '.join(most)} and {last}," if most else last
    told += f" by {many(page.voters, 'rater')}."
    if records.assumed:
        told += " No study was named after --study: this is the only one in its folder, and nobody played there."
    if not page.voters and records.others:
        told += f" This folder holds other votes as well: name a study after --study ({', '.join(records.others)})"
        told += ", or none for play." if records.study else "."
    return told


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">
<style>
:root {{ color-scheme: light dark; --ink: #1d2433; --soft: #5a6478; --line: #d9dee8; --back: #fff; --hue: #2457a6 }}
@media (prefers-color-scheme: dark) {{
  :root {{ --ink: #e8ebf2; --soft: #a3adc0; --line: #39414f; --back: #14181f; --hue: #8ab4f8 }} }}
body {{ font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--back); max-width: 60rem;
  margin: 0 auto; padding: 1.5rem }}
h1 {{ font-size: 1.7rem; margin: 0 }} h2 {{ font-size: 1.25rem; margin: 2.2rem 0 .3rem }}
p {{ max-width: 46rem; margin: .3rem 0 .8rem }} section > p, .none {{ color: var(--soft) }}
nav ol {{ columns: 3 14rem; padding-left: 1.4rem; font-size: .92rem }} a {{ color: var(--hue) }}
h1, td, th, p, text {{ unicode-bidi: isolate }} td, th {{ overflow-wrap: anywhere }}
.wide {{ overflow-x: auto; margin: .6rem 0 1rem }} summary {{ cursor: pointer; color: var(--hue) }}
table {{ border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; min-width: 50% }}
caption {{ text-align: left; font-weight: 600; padding-bottom: .2rem }}
td, th {{ padding: .25rem .9rem .25rem 0; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; font-weight: 400; min-width: 3.5rem; white-space: pre-line }}
thead th {{ color: var(--soft); font-size: .85rem; overflow-wrap: normal }} tbody th {{ min-width: 9rem }}
figure {{ margin: .6rem 0 }} figcaption {{ font-weight: 600; font-size: .92rem }} svg {{ width: 100%; height: auto }}
.grid {{ stroke: var(--line) }} .mark {{ stroke: var(--soft); stroke-dasharray: 4 4 }}
.bar {{ stroke: var(--hue); stroke-width: 3; stroke-linecap: round }} .dot {{ fill: var(--hue); fill-opacity: .85 }}
.curve {{ fill: none; stroke: var(--soft); stroke-opacity: .5; stroke-width: 1.5 }}
.strong {{ stroke: var(--hue); stroke-opacity: 1; stroke-width: 2.5 }}
.tick {{ fill: var(--soft); font-size: 12px }} .name {{ fill: var(--ink); font-size: 13px }}
@media print {{ details > * {{ display: block }} section {{ break-inside: avoid }} }}
</style></head>
<body><header><h1>{title}</h1><p>{lead}</p><p>{intervals}</p>
<nav aria-label="Contents"><ol>{contents}</ol></nav></header>
<main>{main}</main></body></html>
"""
