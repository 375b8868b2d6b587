"""The page put together, and the server that shows it."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when gradio is imported: nothing is sent anywhere

import gradio as gr
from starlette.middleware import Middleware
from starlette.routing import Route

from demo import (
    about,
    author,
    compare,
    corner,
    feed,
    imports,
    judging,
    models,
    profile,
    recommend,
    results,
    study,
    train,
)
from demo.doors import Sayable
from demo.files import MINE, NoFiles, NoUploads, Uploads, mine
from demo.space import Space
from demo.visitor import VisitorCookie, back_from_reddit
from studies.checking import told as told  # for app.py, which imports from here alone
from studies.house import House
from studies.house import only_one as only_one
from studies.house import open_house as open_house
from studies.importing import DAY, UPLOADS
from studies.rooms import Room
from studies.session import CannotStart
from studies.signing import BACK

ASSETS = Path(__file__).parent / "assets"
AT_HOME = ("study",)  # tabs for whoever owns the machine: a dry run keeps it busy
MAX_FILE = "200mb"  # that a stranger may bring to a study; at home the machine is one's own


# In their order; the first is what the page opens on.
TABS: dict[str, Callable[[House, gr.Tab], None]] = {
    "feed": feed.tab,
    "compare": compare.tab,
    "write": corner.tab,
    "results": results.tab,
    "judge": judging.tab,
    "recommend": recommend.tab,
    "import": imports.tab,
    "taste": profile.tab,
    "train": train.tab,
    "models": models.tab,
    "study": author.tab,
    "about": about.tab,
}


def build(house: House, space: Space | None = None) -> gr.Blocks:
    """All tabs, wired to the rooms of one house."""
    page: gr.Blocks
    with gr.Blocks(title="Palate", analytics_enabled=False, delete_cache=(3600, DAY)) as page:
        gr.HTML('<h1 id="title">Palate</h1><p id="motto">Humour is personal. Prove it blind.</p>')
        if space and space.sign_in:
            gr.LoginButton(
                "Sign in to find your votes again on another device", size="sm", icon=None, elem_id="sign-in"
            )
        with gr.Tabs(elem_id="tabs"):
            for name, tab in TABS.items():
                if house.hosted and name in AT_HOME:
                    continue
                with gr.Tab(name.capitalize(), elem_id=f"tab-{name}") as opened:
                    tab(house, opened)
        gr.HTML((ASSETS / "help.html").read_text(encoding="utf-8"), elem_id="help")
    return page


def check_port(host: str, port: int) -> None:
    """Raise CannotStart if nothing can listen there. Asked first: loading a model only to fail is no fun."""
    try:
        with socket.create_server((host, port), reuse_port=False):
            pass
    except OSError as error:
        raise CannotStart(
            f"cannot listen on {host}:{port} ({error.strerror}): another program may use it, choose another --port"
        ) from error


def serve(house: House, host: str, port: int, space: Space | None = None) -> str:
    """Show the page in threads of their own; returns its address. Everything that could tell an arm is off."""
    _keep_uploads(house.folder)
    routes = [
        Route(BACK, back_from_reddit(house)),
        Route(results.REPORT, results.report_of(house)),
        Route(f"/{MINE}/{{name}}", mine(house)),
    ]
    home = not house.hosted
    doors = [Middleware(Uploads)] if home else [Middleware(NoFiles), Middleware(Uploads)]
    limit = None if home else MAX_FILE
    scripts = ["call.js", "feed.js", "compare.js", "recommend.js", "author.js"]
    page = build(house, space)
    return _launch(page, host, port, scripts, routes, doors, home=home, framed=bool(space), max_file_size=limit)


def serve_study(room: Room, host: str, port: int, space: Space | None = None) -> str:
    """The same for a study, whose doors for programs are shut as well."""
    uploads = Uploads if room.study.profile == "import" else NoUploads
    doors = [Middleware(NoFiles), Middleware(uploads)]
    _keep_uploads(room.store.db.folder)
    page = study.page(room)
    return _launch(page, host, port, ["study.js"], [], doors, home=False, framed=bool(space), max_file_size=MAX_FILE)


def _keep_uploads(folder: Path) -> None:
    """What is uploaded lies in the data folder and is deleted with all the rest. A component looks this up when it is
    made, so it must stand before the page does."""
    os.environ["GRADIO_TEMP_DIR"] = str(folder / UPLOADS)


def _launch(
    page: gr.Blocks,
    host: str,
    port: int,
    scripts: list[str],
    routes: list[Route],
    doors: list[Middleware],
    *,
    home: bool,
    framed: bool,
    max_file_size: str | None = None,
) -> str:
    names = ["refusals.js", "palate.js", *scripts]
    script = "".join(f"<script>{(ASSETS / name).read_text(encoding='utf-8')}</script>" for name in names)
    address: str
    _, address, _ = page.queue(max_size=64, api_open=home).launch(
        server_name=host,
        server_port=port,
        prevent_thread_lock=True,
        _frontend=False,  # else it asks for its own page, and ends where a busy machine takes over 3 s to show it
        quiet=True,
        show_error=home,  # to a stranger only what a verb says, never what broke
        share=False,
        max_file_size=max_file_size,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        app_kwargs={
            "middleware": [Middleware(VisitorCookie, framed=framed), Middleware(Sayable), *doors],
            "routes": routes,
        },
        css_paths=[ASSETS / "palate.css"],
        head=script,
        theme=gr.themes.Soft(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]).set(
            button_primary_background_fill="*primary_600",  # white on the theme's own is 4.47 to 1, WCAG wants 4.5
            button_primary_background_fill_hover="*primary_700",
            block_title_text_color="*primary_700",
            block_label_text_color="*primary_700",
        ),
    )
    return address
