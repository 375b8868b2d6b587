"""Compare: two texts without names, a vote, and only then who wrote them."""

import gradio as gr

from demo import words
from demo.visitor import at, in_words
from studies.house import House

MARKS = ("sounds_ai", "offensive")
CHOICES = (
    ("choose-left", "← Left", "left"),
    ("choose-both", "↑ Both", "both"),
    ("choose-neither", "↓ Neither", "neither"),
    ("choose-right", "Right →", "right"),
)


def tab(house: House, opened: gr.Tab) -> None:
    """Lay the tab out and wire it."""
    with gr.Row(elem_id="pair", equal_height=True):
        with gr.Column(min_width=280):
            left = gr.HTML(elem_id="left-text", value=words.text("..."))
            left_marks = gr.CheckboxGroup(
                [("1  Sounds AI", "sounds_ai"), ("3  Offensive", "offensive")], elem_id="left-marks", show_label=False
            )
        with gr.Column(min_width=280):
            right = gr.HTML(elem_id="right-text", value=words.text("..."))
            right_marks = gr.CheckboxGroup(
                [("2  Sounds AI", "sounds_ai"), ("4  Offensive", "offensive")], elem_id="right-marks", show_label=False
            )
    with gr.Row(elem_classes="keys"):
        choices = [(gr.Button(label, elem_id=name, variant="primary"), choice) for name, label, choice in CHOICES]
    with gr.Row(elem_classes="keys"):
        choices.append((gr.Button("S  Skip", elem_id="skip-pair"), "skip"))
        undo = gr.Button("U  Undo", elem_id="undo")
        following = gr.Button("N  Next pair", elem_id="next-pair")
    reveal = gr.HTML(elem_id="reveal")
    pair_id = gr.Textbox(visible="hidden", elem_id="pair-id", show_label=False)
    choice = gr.Textbox(visible="hidden", elem_id="pair-choice", show_label=False)

    @in_words
    def next_pair(request: gr.Request) -> tuple[str, str, str, list[str], list[str], str]:
        studio, session = at(house, request)
        pair = studio.next_pair(session)
        left, right = words.text(pair.left_text, pair.id), words.text(pair.right_text, pair.id)
        return pair.id, left, right, [], [], ""

    @in_words
    def vote(pair: str, choice: str, left_marks: list[str], right_marks: list[str], request: gr.Request) -> str:
        marks = [("left", mark) for mark in left_marks] + [("right", mark) for mark in right_marks]
        studio, session = at(house, request)
        return words.reveal(studio.vote(session, pair, choice, marks))

    @in_words
    def undo_vote(request: gr.Request) -> str:
        studio, session = at(house, request)
        return words.reveal(studio.take_back_vote(session))

    shown = [pair_id, left, right, left_marks, right_marks, reveal]
    sides = [left, right]
    following.click(
        next_pair,
        None,
        shown,
        api_name="next_pair",
        concurrency_limit=16,
        concurrency_id="pairs",
        show_progress_on=sides,
    )
    opened.select(next_pair, None, shown, api_visibility="private", concurrency_id="pairs", show_progress_on=sides)
    for button, said in choices:
        button.click(
            vote,
            [pair_id, choice, left_marks, right_marks],
            reveal,
            js=f"(pair, choice, left, right) => [pair, '{said}', left, right]",
            api_name="vote" if said == "left" else None,
            api_visibility="public" if said == "left" else "private",
            queue=False,
            show_progress="hidden",
        )
    undo.click(undo_vote, None, reveal, api_name="undo", queue=False, show_progress="hidden")
