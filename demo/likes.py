"""A person's likes as a table: which are their best, and why they like them. What an adapter can learn from."""

from collections.abc import Sequence

import gradio as gr
from gradio.events import Dependency

from demo import words
from demo.visitor import in_words, session_of
from studies.session import Liked, Studio

SHOWN = 200  # the latest
COLUMNS = ["what you liked", "best", "why you like it"]
WIDTHS: list[str | int] = ["54%", "10%", "36%"]


def table(studio: Studio, opened: gr.Tab) -> Dependency:
    """Lay it out and wire it; returns what happens when the person keeps what they said."""
    with gr.Accordion("Your best, and why you like them", open=False, elem_id="likes"):
        gr.Markdown(
            "Tick what made you laugh most: an adapter can learn from those alone. Say why you like something, and "
            "another learns to say it too. Double-click a cell to write in it."
        )
        rows = gr.Dataframe(
            elem_id="likes-table", headers=COLUMNS, column_widths=WIDTHS, datatype=["str", "bool", "str"], type="array",
            static_columns=[0], column_count=3, wrap=True, max_height=420,
            interactive=True, show_label=False,
        )  # fmt: skip
        with gr.Row(elem_classes="keys"):
            draft = gr.Button("Draft reasons", elem_id="likes-draft")
            keep = gr.Button("Keep", elem_id="likes-keep", variant="primary")
        note = gr.HTML(elem_id="likes-note")

    @in_words
    def mine(request: gr.Request) -> list[list[object]]:
        return as_rows(studio.likes(session_of(studio, request))[:SHOWN])

    @in_words
    def kept(said: Sequence[Sequence[object]], request: gr.Request) -> str:
        changed = studio.remark(session_of(studio, request), as_likes(said))
        return words.note(f"Kept: {changed} changed." if changed else "Nothing has changed.")

    @in_words
    def drafted(said: Sequence[Sequence[object]], request: gr.Request) -> tuple[list[list[object]], str]:
        session_of(studio, request)
        likes = as_likes(said)
        bare = sorted((liked for liked in likes if not liked.why), key=lambda liked: not liked.picked)
        texts = [liked.text for liked in bare]
        drafts = dict(zip(texts, studio.draft_reasons(texts), strict=False))
        filled = [Liked(liked.text, liked.picked, drafts.get(liked.text, liked.why)) for liked in likes]
        told = f"{len(drafts)} drafted by the model, which does not know you: change them. Nothing is kept yet."
        return as_rows(filled), words.note(told if drafts else "Every like here has its reason.")

    opened.select(mine, None, rows, queue=False, api_visibility="private", show_progress="hidden")
    draft.click(drafted, rows, [rows, note], api_visibility="private", show_progress="minimal")
    return keep.click(kept, rows, note, queue=False, api_visibility="private", show_progress="hidden")


def as_rows(likes: Sequence[Liked]) -> list[list[object]]:
    return [[liked.text, liked.picked, liked.why] for liked in likes]


def as_likes(rows: Sequence[Sequence[object]]) -> list[Liked]:
    """What the page sends back; a cell that was never filled is empty."""
    return [Liked(str(text), picked in (True, "true"), str(why or "")) for text, picked, why in rows]
