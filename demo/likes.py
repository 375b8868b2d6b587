"""A person's likes as a table: which are their best, and why they like them. What an adapter can learn from."""

from collections.abc import Sequence

import gradio as gr
from gradio.events import Dependency

from demo import words
from demo.visitor import at, in_words
from studies.house import House
from studies.session import Liked

Rows = list[list[object]]  # text, best, why

SHOWN = 200  # the latest
COLUMNS = ["what you liked", "best", "why you like it"]
WIDTHS: list[str | int] = ["48%", "16%", "36%"]


def lay_out(house: House, opened: gr.Tab) -> Dependency:
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

    loaded = gr.State([])  # the likes as the table got them: what differs was typed since

    @in_words
    def mine(now: Rows, had: list[Liked], request: gr.Request) -> tuple[Rows, list[Liked]]:
        studio, session = at(house, request)
        stored = studio.likes(session)[:SHOWN]
        unsaved = {liked.text: liked for liked in typed(now, had)}
        return as_rows([unsaved.get(liked.text, liked) for liked in stored]), stored

    @in_words
    def kept(now: Rows, had: list[Liked], request: gr.Request) -> tuple[str, list[Liked]]:
        studio, session = at(house, request)
        changed = studio.remark(session, typed(now, had))
        return words.note(f"Kept: {changed} changed." if changed else "Nothing has changed."), as_likes(now)

    @in_words
    def drafted(now: Rows, request: gr.Request) -> tuple[Rows, str]:
        studio, _ = at(house, request)
        likes = as_likes(now)
        bare = sorted((liked for liked in likes if not liked.why), key=lambda liked: not liked.picked)
        texts = [liked.text for liked in bare]
        drafts = dict(zip(texts, studio.draft_reasons(texts), strict=False))
        filled = [Liked(liked.text, liked.picked, drafts.get(liked.text, liked.why)) for liked in likes]
        told = f"{len(drafts)} drafted by the model, which does not know you: change them. Nothing is kept yet."
        return as_rows(filled), words.note(told if drafts else "Every like here has its reason.")

    table = [rows, loaded]
    opened.select(mine, table, table, queue=False, api_visibility="private", show_progress="hidden")
    draft.click(drafted, rows, [rows, note], api_visibility="private", show_progress="full")  # it covers the table
    return keep.click(kept, table, [note, loaded], queue=False, api_visibility="private", show_progress="hidden")


def as_rows(likes: Sequence[Liked]) -> Rows:
    return [[liked.text, liked.picked, liked.why] for liked in likes]


def as_likes(rows: Rows) -> list[Liked]:
    """What the page sends back; a cell that was never filled is empty."""
    return [Liked(str(text), picked in (True, "true"), str(why or "")) for text, picked, why in rows]


def typed(rows: Rows, loaded: Sequence[Liked]) -> list[Liked]:
    """The rows that differ from those that were loaded: another page may have kept something since."""
    return [liked for liked in as_likes(rows) if liked.text and liked not in loaded]
