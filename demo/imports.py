"""Import: choose an export, see what is in it, and only then save it."""

from collections.abc import Iterator
from pathlib import Path

import gradio as gr

from demo import own_words, words
from demo.visitor import in_words, session_of
from studies.session import TROUBLE, Studio

TEXT = """
### Bring your own likes
The data you can ask Reddit, TikTok, Instagram or X for, as the zip you got or any file out of it; a CSV or JSON lines
table of texts with likes or ratings. What it is is found by looking inside. Votes, likes and saves are read; messages,
sign-ins and addresses never are. Nothing leaves this machine, and nothing is saved before you say so.
"""
TYPES = [".zip", ".json", ".jsonl", ".csv", ".tsv", ".txt", ".js"]


def tab(studio: Studio, opened: gr.Tab) -> None:
    """Lay the tab out and wire it."""
    gr.Markdown(TEXT)
    file = gr.File(label="An export or a table", file_types=TYPES, elem_id="import-file", height=140)
    found = gr.HTML(elem_id="import-found")
    with gr.Row(elem_classes="keys"):
        cancel = gr.Button("Cancel", elem_id="import-cancel", visible=False)
        save = gr.Button("Import", elem_id="import-save", variant="primary", visible=False)
    note = gr.HTML(elem_id="import-note")
    ticket = gr.State("")

    def answers(shown: bool) -> tuple[gr.Button, gr.Button]:
        return gr.Button(visible=shown), gr.Button(visible=shown)

    @in_words
    def look(path: str | None, request: gr.Request) -> tuple[str, str, gr.Button, gr.Button]:
        if not path:
            return "", "", *answers(False)
        preview = studio.imports.preview(session_of(studio, request), Path(path), Path(path).name)
        return preview.ticket, own_words.preview(preview), *answers(True)

    def begin(ticket: str, request: gr.Request) -> Iterator[tuple[str, str, gr.File, gr.Button, gr.Button]]:
        try:
            for now in studio.imports.save(session_of(studio, request), ticket):
                yield own_words.saved(now), "", gr.File(), *answers(False)
        except TROUBLE as error:
            raise gr.Error(str(error), title="Not done", duration=8, print_exception=False) from error
        yield own_words.imported(now), "", gr.File(value=None), *answers(False)

    @in_words
    def forget(ticket: str, request: gr.Request) -> tuple[str, str, gr.File, gr.Button, gr.Button]:
        studio.imports.cancel(session_of(studio, request), ticket)
        return words.note("Nothing was saved."), "", gr.File(value=None), *answers(False)

    @in_words
    def so_far(request: gr.Request) -> str:
        return own_words.imports(studio.own.portrait(session_of(studio, request)))

    told = [note, found, file, cancel, save]
    file.upload(look, file, [ticket, found, cancel, save], api_visibility="private")
    file.clear(look, file, [ticket, found, cancel, save], queue=False, api_visibility="private")
    save.click(begin, ticket, told, api_visibility="private", show_progress="hidden")
    cancel.click(forget, ticket, told, queue=False, api_visibility="private", show_progress="hidden")
    opened.select(so_far, None, note, queue=False, api_visibility="private", show_progress="hidden")
