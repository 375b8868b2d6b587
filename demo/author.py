"""Study: write a study's file and see what is wrong while typing, rehearse it with made-up raters, take it along."""

import html
from collections.abc import Iterator
from typing import Any

import gradio as gr

from demo.visitor import each_in_words, in_words, refusal
from studies.house import House
from studies.workshop import MOST_RATERS, Checked, Found, Rehearsal, Workshop

TEXT = (
    "A study of your own: one file says who judges what. Begin with an example: beside each key stands what it means. "
    "Files that it names are looked for beside it; `posts.csv` of the examples is there, yours need their full path."
)
RATERS = 10


def tab(_: House, opened: gr.Tab) -> None:
    """Lay the tab out and wire it: an example is put there when the person opens it, not before."""
    workshop = Workshop()
    gr.Markdown(TEXT)
    example = gr.Dropdown([], label="Begin with", elem_id="study-example")
    text = gr.Textbox(
        "", label="The study's file (TOML)", elem_id="study-text", lines=16, max_lines=28, max_length=20_000
    )
    told = gr.HTML(elem_id="study-told")
    raters = gr.Slider(1, MOST_RATERS, RATERS, step=1, label="Simulated raters of a dry run", elem_id="study-raters")
    with gr.Row(elem_classes="keys"):
        take = gr.Button("Download study.toml", elem_id="study-take")
        stop = gr.Button("Stop", elem_id="study-stop", variant="stop")
        dry = gr.Button("Dry run", elem_id="study-dry", variant="primary")
    found = gr.HTML(elem_id="study-found")

    @in_words
    def begin(now: str, chosen: str | None) -> tuple[gr.Dropdown, str]:
        examples = workshop.examples()
        names = [title for title, _ in examples]
        return gr.Dropdown(names, value=chosen or names[-1]), now or examples[-1][1]

    @in_words
    def put(chosen: str, now: str) -> str:
        examples = dict(workshop.examples())
        if now.strip() and now not in examples.values():
            raise refusal("you have changed the file: download it, or empty the field, then choose")
        return examples[chosen]

    @in_words
    def look(now: str) -> str:
        return checked(workshop.look(now)) if now.strip() else ""

    @each_in_words
    def rehearse(now: str, count: float) -> Iterator[str]:
        for far in workshop.rehearse(now, int(count)):
            yield rehearsed(far)

    @in_words
    def end() -> None:
        workshop.stop()

    quiet: Any = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}
    opened.select(begin, [text, example], [example, text], **quiet)
    example.input(put, [example, text], text, **quiet)
    # one look at a time, and always one at the latest: whoever types is not waited for
    text.change(look, text, told, trigger_mode="always_last", **quiet)
    dry.click(rehearse, [text, raters], found, api_visibility="private", show_progress="hidden")
    stop.click(end, None, None, **quiet)
    take.click(None, text, None, js="(text) => palate.download('study.toml', text)", **quiet)


def checked(told: Checked) -> str:
    """What the file asks of each rater, or what is wrong with it and where."""
    if told.wrong:
        to = f' <button type="button" class="link" data-line="{told.line}">Go to line {told.line}</button>'
        return (
            f'<div class="note wrong" role="status"><b>Not a study yet.</b> {html.escape(told.wrong)}.'
            f"{to if told.line else ''}</div>"
        )
    first, *rest = told.lines
    rows = "".join(f"<li>{html.escape(line)}</li>" for line in rest)
    pool = "<code>python -m studies pregenerate --study study.toml --data-dir my-study</code><br>" if told.pool else ""
    return (
        f'<div class="about" role="status"><p><b>This can be run:</b> {html.escape(first)}</p><ul>{rows}</ul>'
        f"<p>Download it, and start it with a data folder of its own:<br>{pool}"
        "<code>python app.py --study study.toml --data-dir my-study</code></p></div>"
    )


def rehearsed(now: Rehearsal) -> str:
    """How far the dry run is, and what came of it."""
    if not now.ended:
        left = f", about {now.seconds_left:.0f} s left" if now.raters else ""
        bar = f'<progress max="{now.of}" value="{now.raters}" aria-label="raters"></progress>'
        return f'<div class="note" role="status">{bar} {now.raters} of {now.of} raters are through{left}.</div>'
    voids = ", ".join(f"{count} {html.escape(reason)}" for reason, count in now.voids.items())
    passed, of = now.caught
    catches = f" Catch trials passed: {passed} of {of}." if of else ""
    stopped = f" Stopped after {now.raters} of {now.of}." if now.ended == "stopped" else ""
    return (
        f'<div class="about" role="status"><h3>The dry run</h3><p><b>{now.votes} votes</b> of {now.raters} '
        f"raters count; trials that do not: {voids or 'none'}.{catches} A person takes about {now.minutes} "
        f"minutes, all {now.raters} together {now.minutes * now.raters}.{stopped}</p>"
        f"{_table('Pairs', 'strength', now.pairs, '{:+.2f}')}{_table('Single texts', 'liked', now.alone, '{:.0%}')}"
        "<p><small>Texts and raters are made up: each rater was given a taste for the arms, the first of the file "
        "the best, and votes by it, with noise. Where intervals of two arms overlap, so many raters cannot tell them "
        "apart: take more, or more blocks. How good the real texts are nobody knows beforehand.</small></p></div>"
    )


def _table(name: str, scale: str, rows: tuple[Found, ...], form: str) -> str:
    if not rows:
        return ""
    lines = "".join(
        f'<tr><th scope="row">{html.escape(row.title)}</th><td data-name="planted">{row.planted:+.2f}</td>'
        f'<td data-name="{scale}">{form.format(row.value)} '
        f"<small>{form.format(row.low)} to {form.format(row.high)}</small></td></tr>"
        for row in rows
    )
    return (
        f'<h4>{name}</h4><table class="figures"><thead><tr><th scope="col">who wrote it</th>'
        f'<th scope="col">planted</th><th scope="col">{scale}</th></tr></thead><tbody>{lines}</tbody></table>'
    )
