"""Feed: one card at a time; a like or dislike teaches at once. What is seen and pressed stands in assets/feed.*."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import gradio as gr

from demo import words
from demo.visitor import at, offer
from studies.house import House
from studies.session import Card, Studio

MARKUP = Path(__file__).parent / "assets" / "feed.html"
MAX_VIEWED = 24 * 3600 * 1000  # milliseconds: a page says whatever it likes


def tab(house: House, opened: gr.Tab) -> None:
    """Lay the tab out and wire it."""
    gr.HTML(MARKUP.read_text(encoding="utf-8"), padding=False)

    def told(studio: Studio, session: str, first: Card | None = None) -> dict[str, Any]:
        """All that the page shows beside what was just said; `first` lies on top."""
        taste = studio.taste(session)
        return {
            "cards": [asdict(card) for card in sorted(studio.cards(session), key=lambda card: card != first)],
            "note": words.taste(taste),
            "empty": words.EMPTY,
            "likes": taste.likes,
            "dislikes": taste.dislikes,
            "votes": taste.votes,
            "small": studio.small and not house.hosted,
        }

    def cards(request: gr.Request) -> dict[str, Any]:
        return told(*at(house, request))

    def swipe(card: str, choice: str, viewed: float, request: gr.Request) -> dict[str, Any]:
        studio, session = at(house, request)
        was = studio.react(session, card, choice, int(min(max(0, viewed), MAX_VIEWED)))
        return {"said": was.source} | told(studio, session)

    def undo_card(request: gr.Request) -> dict[str, Any]:
        studio, session = at(house, request)
        return told(studio, session, studio.take_back_card(session))

    def say_why(card: str, said: str, request: gr.Request) -> str:
        studio, session = at(house, request)
        studio.say_why(session, card, said)
        return "Noted. The Train page has all you said."

    # for programs
    def next_card(request: gr.Request) -> tuple[str, str, str]:
        studio, session = at(house, request)
        card = studio.next_card(session)
        return card.id if card else "", words.card(card), words.note(words.taste(studio.taste(session)))

    def react(card: str, choice: str, request: gr.Request) -> tuple[str, str, str]:
        studio, session = at(house, request)
        was = studio.react(session, card, choice)
        following = studio.next_card(session)
        said = f"That one was {was.source}. {words.taste(studio.taste(session))}"
        return following.id if following else "", words.card(following), words.note(said)

    offer(cards, swipe, undo_card, say_why)
    offer(next_card, react, public=True)
