"""Results: which way wins, how sure that is, how often each was liked, disliked or taken for a machine."""

import time
from collections.abc import Callable

import gradio as gr
from starlette.requests import Request
from starlette.responses import Response

from demo import standings
from demo.visitor import at, in_words, session_of
from studies.house import House
from studies.session import TROUBLE

REPORT = "/report"  # where the browser fetches the report as a file


def tab(house: House, opened: gr.Tab) -> None:
    """Lay the tab out and wire it: nothing is fetched before the person opens it."""
    whose = gr.Radio(
        [("Your votes", "mine"), ("Everybody's", "all")], value="mine", elem_id="results-whose", show_label=False,
        visible=house.hosted,
    )  # fmt: skip
    shown = gr.HTML(elem_id="results", padding=False)

    @in_words
    def results(whose: str, request: gr.Request) -> str:
        studio, session = at(house, request)
        if whose == "all":
            return standings.both(house.outcome(), house.outcome(pictures=True))
        told, pictures = studio.outcome(session), studio.outcome(session, pictures=True)
        any_votes = told.votes or pictures.votes
        take = f'<p><a class="own" href="{REPORT}" download>Download this as a page</a></p>' if any_votes else ""
        return standings.both(told, pictures) + take

    for event in (opened.select, whose.change):
        event(results, whose, shown, api_visibility="private", show_progress="hidden")


def report_of(house: House) -> Callable[[Request], Response]:
    """The caller's report as a file."""

    def download(request: Request) -> Response:
        try:
            session = session_of(request)
            room = house.room(session)
            told = standings.both(room.outcome(session), room.outcome(session, pictures=True))
        except TROUBLE as error:
            return Response(str(error), 400)
        text = standings.page(told, house.engine_line(), time.strftime("%Y-%m-%d %H:%M"))
        name = f"palate-{time.strftime('%Y%m%d-%H%M')}.html"
        return Response(text, media_type="text/html", headers={"Content-Disposition": f'attachment; filename="{name}"'})

    return download
