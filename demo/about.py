"""About: which model writes, why it runs the way it does, what it makes of you, what may be sent, where data is."""

import gradio as gr

from demo import words
from demo.visitor import COOKIE, at, in_words
from studies.house import House
from studies.session import Studio
from studies.store import Refused

TEXT = """
### How this works
1. **Feed**: like or dislike. It teaches at once; every fifth card was written by the model, and you are told after.
2. **Compare**: two texts, no names. Sides, pairings and topics follow a balanced schedule that was fixed before.
   After your vote you learn who wrote what. A vote is counted and never teaches.
3. **Results**: strengths and rates of every way of writing, with intervals that stay honest for few people.

Where the model runs stands above. All else runs on this machine, and nothing else is sent anywhere without a yes of
yours above, or a click on the Import page that says what goes where. All that is personal lies in one folder; the
Taste page exports or deletes it:
"""


def tab(house: House, opened: gr.Tab) -> None:
    """Lay the tab out and wire it: the model is named when the person asks for it, not before."""
    gr.HTML("<h3>The model that writes</h3>")
    line = gr.HTML(elem_id="model-line")
    mine = gr.HTML(elem_id="my-taste")
    terms = gr.HTML(elem_id="sending")
    with gr.Row(elem_classes="keys"):
        yes = gr.Button("Yes, send them", elem_id="sending-yes", visible=False)
        no = gr.Button("Send nothing more", elem_id="sending-no", visible=False)
    gr.Markdown(TEXT)
    folder = gr.HTML(elem_id="data-folder")

    def sending(studio: Studio, session: str) -> tuple[str, gr.Button, gr.Button]:
        now = studio.sending(session)
        return (
            words.sending(now),
            gr.Button(visible=not now.since and bool(now.terms)),
            gr.Button(visible=bool(now.since)),
        )

    @in_words
    def about(request: gr.Request) -> tuple[str, str, str, str, gr.Button, gr.Button]:
        studio, session = at(house, request)
        mine = words.about(studio.taste(session))
        where = "on the machine that runs this app" if house.hosted else studio.whereabouts
        return words.text(studio.engine_line()), mine, words.text(where), *sending(studio, session)

    @in_words
    def agree(request: gr.Request) -> tuple[str, gr.Button, gr.Button]:
        if COOKIE not in dict(request.cookies):  # another site's page can call this as well, but not with the cookie
            raise Refused("a yes counts from this page only: reload it and try again")
        studio, session = at(house, request)
        studio.agree(session, True)
        return sending(studio, session)

    @in_words
    def withdraw(request: gr.Request) -> tuple[str, gr.Button, gr.Button]:
        studio, session = at(house, request)
        studio.agree(session, False)
        return sending(studio, session)

    control = [terms, yes, no]
    shown = [line, mine, folder, *control]
    opened.select(about, None, shown, queue=False, api_visibility="private", show_progress="hidden")
    for button, said in ((yes, agree), (no, withdraw)):
        button.click(said, None, control, queue=False, api_visibility="private", show_progress="hidden")
