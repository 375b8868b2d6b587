"""Compare: two texts or pictures without names, a vote, and only then who made them. What is seen stands in
assets/compare.*."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import gradio as gr

from demo import words
from demo.files import MINE
from demo.visitor import at, offer
from studies.house import House
from studies.session import BlindPair, BlindPictures, Waiting

MARKUP = Path(__file__).parent / "assets" / "compare.html"
OFFER = '    <label><input type="radio" name="kind" value="picture"> Pictures</label>\n  </span>'


def tab(house: House, opened: gr.Tab) -> None:
    """Lay the tab out and wire it."""
    markup = MARKUP.read_text(encoding="utf-8")
    gr.HTML(markup.replace("  </span>", OFFER, 1) if house.paints else markup, padding=False)

    def pair_now(request: gr.Request) -> dict[str, Any]:
        studio, session = at(house, request)
        told = studio.pair_now(session)
        if isinstance(told, Waiting):
            return asdict(told)
        left, right = sides(told)
        return {"id": told.id, "left": left, "right": right, "pictures": isinstance(told, BlindPictures)}

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
        return pair.id, *sides(pair)

    offer(pair_now, wish, teach_from)
    offer(vote, undo, public=True)
    offer(next_pair, public=True, concurrency_limit=16, concurrency_id="pairs")


def sides(pair: BlindPair | BlindPictures) -> tuple[str, str]:
    """What stands left and right: texts, or where the pictures are, relative to the page."""
    if isinstance(pair, BlindPictures):
        return f"{MINE}/{pair.left}", f"{MINE}/{pair.right}"
    return pair.left_text, pair.right_text
