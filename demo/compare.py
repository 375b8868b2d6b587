"""Compare: two texts without names, a vote, and only then who wrote them. What is seen stands in assets/compare.*."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import gradio as gr

from demo import words
from demo.visitor import at, offer
from studies.house import House
from studies.session import Waiting

MARKUP = Path(__file__).parent / "assets" / "compare.html"


def tab(house: House, opened: gr.Tab) -> None:
    """Lay the tab out and wire it."""
    gr.HTML(MARKUP.read_text(encoding="utf-8"), padding=False)

    def pair_now(request: gr.Request) -> dict[str, Any]:
        studio, session = at(house, request)
        told = studio.pair_now(session)
        if isinstance(told, Waiting):
            return asdict(told)
        return {"id": told.id, "left": told.left_text, "right": told.right_text}

    def wish(kind: str, about: str, request: gr.Request) -> None:
        studio, session = at(house, request)
        studio.wish(session, kind, about)

    def teach_from(pair: str, side: str, on: bool, request: gr.Request) -> None:
        studio, session = at(house, request)
        studio.teach_from(session, pair, side, on)

    # for programs as well
    def vote(pair: str, choice: str, left_marks: list[str], right_marks: list[str], request: gr.Request) -> str:
        studio, session = at(house, request)
        marks = [(side, mark) for side, told in (("left", left_marks), ("right", right_marks)) for mark in told]
        return words.reveal(studio.vote(session, pair, choice, marks), pair)

    def undo(request: gr.Request) -> str:
        studio, session = at(house, request)
        return words.reveal(studio.take_back_vote(session))

    def next_pair(request: gr.Request) -> tuple[str, str, str]:
        studio, session = at(house, request)
        pair = studio.next_pair(session)
        return pair.id, pair.left_text, pair.right_text

    offer(pair_now, wish, teach_from)
    offer(vote, undo, public=True)
    offer(next_pair, public=True, concurrency_limit=16, concurrency_id="pairs")
