"""Write: one way of writing, by name, while it writes. Not blind, and so never counted."""

from collections.abc import Iterator
from typing import Any

import gradio as gr

from demo import words
from demo.visitor import at, each_in_words, in_words
from studies.corner import Draft
from studies.house import House

KINDS = [("Joke", "joke"), ("Post", "post"), ("Caption", "caption"), ("Reply", "reply")]
KEPT = 20  # versions
Versions = list[tuple[str, str]]  # text, what is told of it


def tab(house: House, opened: gr.Tab) -> None:
    """Lay the tab out and wire it: the ways are named when the person opens it, not before."""
    gr.Markdown("Here you choose who writes and watch. It is not blind, so nothing here is counted or teaches.")
    with gr.Row():
        way = gr.Dropdown([], label="Who writes", elem_id="write-way", min_width=260)
        kind = gr.Radio(KINDS, value="joke", label="What", elem_id="write-kind", min_width=260)
        about = gr.Textbox(label="About (empty: anything)", elem_id="write-about", max_length=120, min_width=260)
    shown = gr.HTML(words.text("..."), elem_id="write-text")
    note = gr.HTML(elem_id="write-note")
    with gr.Row(elem_classes="keys"):
        older = gr.Button("← Before", elem_id="write-older")
        newer = gr.Button("After →", elem_id="write-newer")
        copy = gr.Button("Copy", elem_id="write-copy")
        stop = gr.Button("Esc  Stop", elem_id="write-stop", variant="stop")
        go = gr.Button("Ctrl+Enter  Write", elem_id="write-go", variant="primary")
    versions: Any = gr.State([])
    place: Any = gr.State(0)

    @in_words
    def ways(now: str | None, request: gr.Request) -> gr.Dropdown:
        studio, session = at(house, request)
        told = studio.corner.ways(session)
        known = {arm for _, arm in told}
        return gr.Dropdown(told, value=now if now in known else told[-1][1])

    @each_in_words
    def write(
        way: str | None, kind: str, about: str, kept: Versions, request: gr.Request
    ) -> Iterator[tuple[str, str, Versions, int]]:
        studio, session = at(house, request)
        for draft in studio.corner.write(session, way or "", kind, about):
            yield words.text(draft.text or "..."), words.note(told(draft, len(kept) + 1)), kept, len(kept)
        if draft.text:
            kept = [*kept, (draft.text, told(draft, len(kept) + 1))][-KEPT:]
        yield words.text(draft.text or "..."), words.note(told(draft, len(kept))), kept, max(0, len(kept) - 1)

    def turn(step: int, place: int, kept: Versions) -> tuple[str, str, int]:
        if not kept:
            return words.text("..."), "", 0
        place = min(max(place + step, 0), len(kept) - 1)
        text, said = kept[place]
        return words.text(text), words.note(said), place

    @in_words
    def end(request: gr.Request) -> None:
        at(house, request)[0].corner.stop()

    quiet: Any = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}
    opened.select(ways, way, way, **quiet)
    go.click(
        write, [way, kind, about, versions], [shown, note, versions, place],
        api_visibility="private", show_progress="hidden", concurrency_limit=16, concurrency_id="corner",
    )  # fmt: skip
    stop.click(end, None, None, **quiet)
    for button, step in ((older, -1), (newer, 1)):
        button.click(turn, [gr.State(step), place, versions], [shown, note, place], **quiet)
    copy.click(None, None, None, js="() => palate.copy('#write-text .said')", **quiet)


def told(draft: Draft, number: int) -> str:
    """The line under the text."""
    if draft.before:
        return f"{draft.before} {'text comes' if draft.before == 1 else 'texts come'} before it."
    if not draft.ended:
        return f"Writing about {draft.about}: {draft.seconds:.0f} s."
    why = {"stop": "", "budget": ", cut off where it had its share of tokens", "stopped": ", stopped"}[draft.ended]
    return f"Version {number}, about {draft.about}: {draft.tokens} tokens in {draft.seconds:.1f} s{why}."
