"""About: which model writes, why it runs the way it does, what it makes of you, and where your data is."""

import gradio as gr

from demo import words
from demo.visitor import session_of
from studies.session import Studio

TEXT = """
### How this works
1. **Feed**: like or dislike. It teaches at once; every fifth card was written by the model, and you are told after.
2. **Compare**: two texts, no names. Sides, pairings and topics follow a balanced schedule that was fixed before.
   After your vote you learn who wrote what. A vote is counted and never teaches.
3. **Results**: strengths and rates of every way of writing, with intervals that stay honest for few people.

Everything runs on this machine. Nothing is sent anywhere. All that is personal lies in one folder:
"""


def tab(studio: Studio, opened: gr.Tab) -> None:
    """Lay the tab out and wire it: the model is named when the person asks for it, not before."""
    gr.HTML("<h3>The model that writes</h3>")
    line = gr.HTML(elem_id="model-line")
    mine = gr.HTML(elem_id="my-taste")
    gr.Markdown(TEXT)
    folder = gr.HTML(elem_id="data-folder")

    def about(request: gr.Request) -> tuple[str, str, str]:
        taste = studio.taste(session_of(studio, request))
        return words.text(studio.engine_line()), words.about(taste), words.text(str(studio.folder))

    opened.select(about, None, [line, mine, folder], queue=False, api_visibility="private", show_progress="hidden")
