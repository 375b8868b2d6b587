"""Judge: the model on this machine judges the pairs that the person has judged, and stands beside them."""

import html
from collections.abc import Iterator
from typing import Any

import gradio as gr

from demo import words
from demo.visitor import at, each_in_words, in_words
from studies.agreement import Interval
from studies.house import House
from studies.own_judge import LEAST, Apart, Beside, Judging, Session
from studies.ratings import MIN_VOTES

TEXT = (
    "The model on this machine judges the pairs that you judged on the Compare page: in both orders, once without "
    "knowing you and once told what you like. Pairs that you have not judged are not touched."
)
LISTED = 5  # pairs that are seen at once
MOST = 30


def tab(house: House, opened: gr.Tab) -> None:
    """Lay the tab out and wire it: nothing is fetched before the person opens it."""
    gr.Markdown(TEXT)
    with gr.Row(elem_classes="keys"):
        go = gr.Button("Let the model judge the same pairs", elem_id="judge-go", variant="primary")
        stop = gr.Button("Stop", elem_id="judge-stop", variant="stop")
    note = gr.HTML(elem_id="judge-note")
    shown = gr.HTML(elem_id="judged", padding=False)

    @in_words
    def look(request: gr.Request) -> str:
        studio, session = at(house, request)
        return report(studio.judging.session(session))

    @each_in_words
    def judge(request: gr.Request) -> Iterator[str]:
        studio, session = at(house, request)
        for now in studio.judging.judge(session):
            yield progress(now)

    def follow(request: gr.Request) -> Iterator[str]:
        """Whoever comes back while it goes on sees how far it is."""
        yield from judge(request) if at(house, request)[0].judging.busy() else ()

    @in_words
    def end(request: gr.Request) -> None:
        at(house, request)[0].judging.stop()

    quiet: Any = {"api_visibility": "private", "show_progress": "hidden"}
    many: Any = {"concurrency_limit": 16, "concurrency_id": "judge"}
    opened.select(look, None, shown, queue=False, **quiet).then(follow, None, note, **quiet, **many).then(
        look, None, shown, queue=False, **quiet
    )
    go.click(judge, None, note, **quiet, **many).then(look, None, shown, queue=False, **quiet)
    stop.click(end, None, None, queue=False, **quiet)


def progress(now: Judging) -> str:
    if now.ended:
        return words.note(f"{now.ended[0].upper()}{now.ended[1:]}.")
    left = f", about {now.seconds_left:.0f} s left" if now.done else ""
    bar = f'<progress max="{max(1, now.of)}" value="{now.done}" aria-label="verdicts"></progress>'
    return f'<div class="note">{bar} {now.done} of {now.of} verdicts{left}.</div>'


def report(told: Session) -> str:
    """All of it; for few pairs, what to do about it."""
    if told.pairs < LEAST:
        return (
            f'<p id="judge-few">You have judged <b>{told.pairs} of {LEAST}</b> pairs. Judge '
            f"{LEAST - told.pairs} more, then the model may judge the same ones, and you see where it finds something "
            'else funny. <button type="button" class="link" data-tab="compare">Judge a pair</button></p>'
        )
    waiting = f" {told.waiting} of them lack a verdict: press the button above." if told.waiting else ""
    lacks = f" The model cannot judge here: {html.escape(told.lacks)}." if told.lacks else ""
    head = f'<p id="judge-head"><b>{told.pairs} pairs judged by you.</b>{waiting}{lacks}</p>'
    return head + table(told) + apart(told) if told.judges else head


def table(told: Session) -> str:
    """One row a judge, and the person beside themselves as the ceiling."""
    names = ("who", "pairs", "the same side", "kappa", "AUC", "no side")
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    rows = "".join(_row(judge) for judge in told.judges)
    asked = told.own.same.n if told.own.same else 0
    own = (
        f'<tr class="ceiling"><th scope="row">you, asked again</th><td data-name="pairs">{asked}</td>'
        f'<td data-name="the same side">{_share(told.own.decided)}</td><td data-name="kappa">{_number(told.own.kappa)}'
        '</td><td data-name="AUC">-</td><td data-name="no side">-</td></tr>'
    )
    return (
        '<div class="wide" tabindex="0" role="region" aria-label="Judges beside you"><table class="figures">'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}{own}</tbody></table></div>"
        "<details><summary>How to read this</summary><p>The same side: how often the two agree where both chose one; "
        "chance is half. Kappa takes chance off: 0 is chance, 1 always the same. AUC: how often the judge's score puts "
        "the text you chose above one you did not, .5 is chance. No side: a verdict that did not survive the swap. "
        "After each figure stands its 95 % interval. You, asked again, is the ceiling: nobody can predict you better "
        "than you do. One pair in ten is asked again on the Compare page. A judged text that you let teach is left out "
        "of what a judge is told of you.</p></details>"
    )


def _row(judge: Beside) -> str:
    found = judge.agreement
    return (
        f'<tr><th scope="row">{html.escape(judge.name)}</th><td data-name="pairs">{judge.pairs}</td>'
        f'<td data-name="the same side">{_share(found.accuracy)}</td><td data-name="kappa">{_number(found.kappa)}</td>'
        f'<td data-name="AUC">{_number(found.auc)}</td><td data-name="no side">{judge.ties:.0%}</td></tr>'
    )


def _share(found: Interval | None) -> str:
    if found is None:
        return "none yet"
    bounds = f"{found.low:.0%} to {found.high:.0%}" if found.n >= MIN_VOTES else "too few for an interval"
    return f"{found.value:.0%} of {found.n} <small>{bounds}</small>"


def _number(found: Interval | None) -> str:
    if found is None:
        return "-"
    bounds = f"{found.low:.2f} to {found.high:.2f}" if found.n >= MIN_VOTES else ""
    return f"{found.value:.2f} <small>{bounds}</small>"


def apart(told: Session) -> str:
    """The pairs of which a judge chose the other side, by name: all of them were judged before."""
    held = f" {told.held} are left out until you were asked again about one of them." if told.held else ""
    if not told.apart:
        return f"<h3>Where you differ</h3><p>No judge chose the other side of a pair that may be named.{held}</p>"
    some, more = told.apart[:LISTED], told.apart[LISTED:MOST]
    rest = f"<details><summary>{len(more)} more</summary>{''.join(map(_apart, more))}</details>" if more else ""
    counted = f"<p>Of {len(told.apart)} pairs a judge chose the other side, the latest first.{held}</p>"
    return f"<h3>Where you differ</h3>{counted}{''.join(map(_apart, some))}{rest}"


def _apart(pair: Apart) -> str:
    told = (("left", pair.left_title, pair.left_text), ("right", pair.right_title, pair.right_text))
    sides = "".join(
        f'<div class="side{" chosen" if pair.said == side else ""}"><b>{side.capitalize()}: {html.escape(title)}</b>'
        f"{words.text(text)}</div>"
        for side, title, text in told
    )
    said = "; ".join(f"{html.escape(name)}: {'no side' if choice == 'tie' else choice}" for name, choice in pair.judged)
    return f'<div class="told apart"><div class="sides">{sides}</div><p>You: <b>{pair.said}</b>; {said}.</p></div>'
