"""Import: choose an export, see what is in it, and only then save it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import gradio as gr

from demo import own_words, words
from demo.files import brought
from demo.visitor import at, each_in_words, in_words
from studies.house import House
from studies.importing import SERVICES, Saved
from studies.session import Studio
from studies.signing import BACK

TEXT = """
### Bring your own likes
The data you can ask Reddit, TikTok, Instagram or X for, as the zip you got or any file out of it; a CSV or JSON lines
table of texts with likes or ratings. What it is is found by looking inside. Votes, likes and saves are read; messages,
sign-ins and addresses never are. No file leaves this machine, and nothing is saved before you say so.
"""
Stopped = Callable[[], bool]
TYPES = [".zip", ".json", ".jsonl", ".csv", ".tsv", ".txt", ".js"]


def tab(house: House, opened: gr.Tab) -> None:
    """Lay the tab out and wire it."""
    gr.Markdown(TEXT)
    file = gr.File(label="An export or a table", file_types=TYPES, elem_id="import-file", height=140)
    found = gr.HTML(elem_id="import-found")
    with gr.Row(elem_classes="keys"):
        cancel = gr.Button("Cancel", elem_id="import-cancel", visible=False)
        save = gr.Button("Import", elem_id="import-save", variant="primary", visible=False)
    note = gr.HTML(elem_id="import-note")
    with gr.Accordion("From the network", open=False, elem_id="import-online"):
        gr.Markdown("The address, handle or token goes to that service and to nobody else; a token is not kept.")
        source = gr.Dropdown(SERVICES, label="Source", elem_id="online-source")
        address = gr.Textbox(label="Address of the feed, instance, or handle", elem_id="online-address")
        token = gr.Textbox(label="Access token (Mastodon: Preferences, Development)", type="password")
        ask = gr.Button("Look", elem_id="online-look")
    with gr.Accordion("Reddit, with an app of your own", open=False, elem_id="import-reddit"):
        gr.Markdown(
            "For people who hold credentials of Reddit's API (Reddit approves apps by hand; everybody else takes the "
            "data export). Upvoted, downvoted, saved and hidden posts are read, and posts of your communities. What "
            f"you type and what Reddit grants stay in memory, unless you tick the box. Your app's redirect is this "
            f"page's address with {BACK}."
        )
        app_id = gr.Textbox(label="Client id", elem_id="reddit-id")
        secret = gr.Textbox(label="Client secret (empty for an installed app)", type="password")
        stay = gr.Checkbox(label="Stay signed in: keep the access in the data folder", elem_id="reddit-stay")
        with gr.Row(elem_classes="keys"):
            sign_out = gr.Button("Forget the access", elem_id="reddit-forget")
            sign_in = gr.Button("Sign in at Reddit", elem_id="reddit-sign-in")
            look_there = gr.Button("Look", elem_id="reddit-look")
        door = gr.HTML(elem_id="reddit-door")
    with gr.Accordion("Texts that are missing", open=False, elem_id="import-texts"):
        gr.Markdown(
            "TikTok's export has links only, Reddit's the words of links. Captions are asked for at www.tiktok.com, "
            "full texts at the Arctic Shift archive: the ids go there, and nothing else. Or give a dump of Reddit "
            "(.jsonl, .gz, .zst) and nothing leaves this machine."
        )
        dump = gr.File(label="A dump of Reddit", file_types=[".jsonl", ".gz", ".zst"], elem_id="dump", height=110)
        with gr.Row(elem_classes="keys"):
            captions = gr.Button("Captions from TikTok", elem_id="texts-tiktok")
            archive = gr.Button("Texts of Reddit posts", elem_id="texts-reddit")
            stop = gr.Button("Stop", elem_id="texts-stop", variant="stop")
        fetched = gr.HTML(elem_id="texts-note")
    ticket = gr.State("")

    def answers(shown: bool) -> tuple[gr.Button, gr.Button]:
        return gr.Button(visible=shown), gr.Button(visible=shown)

    @in_words
    def look_into(path: str | None, request: gr.Request) -> tuple[str, str, gr.Button, gr.Button]:
        if not path:
            return "", "", *answers(False)
        studio, session = at(house, request)
        preview = studio.imports.preview(session, brought(request, path), Path(path).name)
        return preview.ticket, own_words.preview(preview), *answers(True)

    @in_words
    def look_online(
        source: str, address: str, token: str, request: gr.Request
    ) -> tuple[str, str, gr.Button, gr.Button]:
        studio, session = at(house, request)
        preview = studio.imports.look(session, address, source or "", address, token)
        return preview.ticket, own_words.preview(preview), *answers(True)

    @in_words
    def go_to_reddit(app_id: str, secret: str, stay: bool, request: gr.Request) -> str:
        here = f"{request.url.scheme}://{request.headers['host']}"
        studio, session = at(house, request)
        return own_words.door(studio.reddit.begin(session, app_id, secret, here, stay))

    @in_words
    def forget_reddit(request: gr.Request) -> str:
        at(house, request)[0].reddit.forget()
        return words.note("No access is kept here. Reddit lists the apps you allowed at reddit.com/prefs/apps.")

    @in_words
    def look_at_reddit(request: gr.Request) -> tuple[str, str, gr.Button, gr.Button]:
        studio, session = at(house, request)
        preview = studio.reddit.look(session)
        return preview.ticket, own_words.preview(preview), *answers(True)

    @each_in_words
    def fetch(begin: Callable[[Studio, str, Stopped], Iterator[Saved]], request: gr.Request) -> Iterator[str]:
        yield words.note("Asking.")
        studio, session = at(house, request)
        studio.stop_fetching.clear()
        for now in begin(studio, session, studio.stop_fetching.is_set):
            yield own_words.fetched(now)

    def fetch_captions(request: gr.Request) -> Iterator[str]:
        yield from fetch(lambda studio, session, stopped: studio.texts.captions(session, stopped), request)

    def fetch_posts(dump: str | None, request: gr.Request) -> Iterator[str]:
        def texts(studio: Studio, session: str, stopped: Stopped) -> Iterator[Saved]:
            return studio.texts.reddit(session, brought(request, dump) if dump else None, stopped)

        yield from fetch(texts, request)

    @each_in_words
    def begin(ticket: str, request: gr.Request) -> Iterator[tuple[str, str, gr.File, gr.Button, gr.Button]]:
        studio, session = at(house, request)
        for now in studio.imports.save(session, ticket):
            yield own_words.saved(now), "", gr.File(), *answers(False)
        yield own_words.imported(now), "", gr.File(value=None), *answers(False)

    @in_words
    def forget(ticket: str, request: gr.Request) -> tuple[str, str, gr.File, gr.Button, gr.Button]:
        studio, session = at(house, request)
        studio.imports.cancel(session, ticket)
        return words.note("Nothing was saved."), "", gr.File(value=None), *answers(False)

    @in_words
    def so_far(request: gr.Request) -> str:
        studio, session = at(house, request)
        return own_words.imports(studio.own.portrait(session))

    @in_words
    def end(request: gr.Request) -> None:
        at(house, request)[0].stop_fetching.set()

    told = [note, found, file, cancel, save]
    file.upload(look_into, file, [ticket, found, cancel, save], api_visibility="private")
    file.clear(look_into, file, [ticket, found, cancel, save], queue=False, api_visibility="private")
    ask.click(look_online, [source, address, token], [ticket, found, cancel, save], api_visibility="private")
    sign_in.click(go_to_reddit, [app_id, secret, stay], door, api_visibility="private")
    sign_out.click(forget_reddit, None, door, queue=False, api_visibility="private")
    look_there.click(look_at_reddit, None, [ticket, found, cancel, save], api_visibility="private")
    captions.click(fetch_captions, None, fetched, api_visibility="private", show_progress="hidden")
    archive.click(fetch_posts, dump, fetched, api_visibility="private", show_progress="hidden")
    stop.click(end, None, None, queue=False, api_visibility="private", show_progress="hidden")
    save.click(begin, ticket, told, api_visibility="private", show_progress="hidden")
    cancel.click(forget, ticket, told, queue=False, api_visibility="private", show_progress="hidden")
    opened.select(so_far, None, note, queue=False, api_visibility="private", show_progress="hidden")
