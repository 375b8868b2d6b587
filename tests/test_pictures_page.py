"""Pictures on the page: two of them without names, a vote, and then what each was told; each visitor's own alone."""

import sys
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from app import main
from collectors.item import Item, Signal
from demo.files import MINE, mine
from demo.visitor import COOKIE
from engine.backbone import Backbone
from engine.pictures import LEAD, TITLES, Painter
from studies.benchmarks.app_process import AppProcess
from studies.house import Hosted
from studies.session import Engine
from studies.store import ME, Store
from tests.conftest import LIKES
from tests.names import names_in, names_in_sight
from tests.studies.test_pictures import ADA, BOB, SUMMARY, like, pictures
from tests.studies.test_session import Talker
from tests.test_browser import RECORD, shot, wait_for_card
from tests.test_tabs import RULES

PICTURES = "document.querySelectorAll('#pair img').length === 2"


def test_a_pair_of_pictures_is_judged_and_then_told(
    chromium: Browser, tiny_folder: Path, tiny_pipeline: Path, tmp_path: Path
) -> None:
    store = Store(tmp_path / "data")
    items = [Item("test", str(n), "joke", text) for n, text in enumerate(LIKES)]
    store.add(ME, [(item, Signal(item.id, 1)) for item in items])
    store.save_summary(ME, SUMMARY, "digest", len(items), "tiny")
    flags = ("--model", str(tiny_folder), "--image-model", str(tiny_pipeline), "--image-steps", "2")
    app = AppProcess(tmp_path / "data", *flags)
    context = chromium.new_context(viewport={"width": 1280, "height": 860})
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.add_init_script(RECORD)
    try:
        page.goto(app.url)
        wait_for_card(page)
        page.keyboard.press("c")
        page.click("#wish [value=picture]")
        page.wait_for_function(f"{PICTURES} || document.querySelector('#left-text .said')?.textContent.length > 3")
        if not page.evaluate(PICTURES):  # a text lay on the table already
            page.keyboard.press("s")
            page.wait_for_selector("#reveal .told")
            page.evaluate("window.received.length = 0")
            page.keyboard.press("n")
        page.wait_for_function(PICTURES, timeout=60_000)
        assert [image.get_attribute("alt") for image in page.locator("#pair img").all()] == [
            "Left picture", "Right picture"
        ]  # fmt: skip
        assert page.evaluate("[...document.querySelectorAll('#pair img')].map((one) => one.naturalWidth)") == [64, 64]
        assert page.locator("#pair section").first.get_attribute("aria-label") == "Left picture"
        assert page.inner_text("#left-marks").count("Looks AI") == 1
        assert names_in_sight(page.inner_text("#tabs")) == []
        received = page.evaluate("window.received.splice(0).join('')")
        for told in (page.content(), received):
            assert names_in(told) == []
            assert LEAD.strip() not in told
            assert SUMMARY not in told
        assert received.count(".png") == 2, "what is searched is what was received"
        assert Axe().run(page, context="#pair", options=RULES).response["violations"] == []
        page.keyboard.press("2")
        page.wait_for_selector("#right-marks input:checked")
        page.screenshot(path=shot("compare-pictures"))
        page.keyboard.press("ArrowLeft")
        page.wait_for_selector("#reveal .told")
        revealed = page.inner_text("#reveal")
        assert all(title in revealed for title in TITLES.values())
        assert f"{LEAD.strip()} {SUMMARY}" in revealed
        assert "Teach from this" not in revealed
        page.keyboard.press("r")
        page.wait_for_function("document.querySelector('#pictures-note')?.innerText.includes('1 vote')")
        assert page.inner_text("#results-note").startswith("No votes yet")
        page.keyboard.press("c")
        page.wait_for_function(PICTURES, timeout=60_000)
        page.click("#wish [value=joke]")
        page.keyboard.press("s")
        page.wait_for_selector("#reveal .told")
        page.keyboard.press("n")
        page.wait_for_function("document.querySelector('#left-text .said')?.textContent.length > 3", timeout=60_000)
        assert page.locator("#pair section").first.get_attribute("aria-label") == "Left text"
        assert page.inner_text("#left-marks").count("Sounds AI") == 1
        page.set_viewport_size({"width": 390, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    finally:
        context.close()
        app.end()
    assert errors == []
    assert "Traceback" not in app.said()


def test_pictures_are_handed_to_their_own_visitor_alone(tmp_path: Path, tiny: Backbone, tiny_pipeline: Path) -> None:
    house = Hosted(tmp_path, Engine(Talker(tiny), None, None, Painter.load(str(tiny_pipeline), 2)))  # type: ignore[arg-type]
    app = Starlette(routes=[Route(f"/{MINE}/{{name}}", mine(house))])
    try:
        ada = house.room(ADA)
        like(ada)
        ada.wish(ADA, "picture", "")
        shown = pictures(ada, ADA)
        told = TestClient(app, cookies={COOKIE: ADA}).get(f"/{MINE}/{shown.left}")
        assert (told.status_code, told.headers["content-type"]) == (200, "image/png")
        assert told.content.startswith(b"\x89PNG")
        assert {"last-modified", "etag", "content-disposition"}.isdisjoint(told.headers), "nothing but what is on it"
        for visitor in ({COOKIE: BOB}, {}):
            assert TestClient(app, cookies=visitor).get(f"/{MINE}/{shown.left}").status_code == 404
        for name in ("..%2Fpalate.db", f"{'0' * 32}.png", "..%2F..%2Fpalate.png"):
            assert TestClient(app, cookies={COOKIE: ADA}).get(f"/{MINE}/{name}").status_code == 404
        (ada.folder / "pictures" / shown.left).unlink()
        assert TestClient(app, cookies={COOKIE: ADA}).get(f"/{MINE}/{shown.left}").status_code == 404
    finally:
        house.close()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--image-steps", "2"), "for the model that --image-model names"),
        (("--study", "x.toml", "--image-model", "x"), "leave --image-model out"),
    ],
)
def test_flags_that_do_not_go_together_end_the_start_in_a_sentence(
    flags: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["app.py", "--port", "0", "--data-dir", str(tmp_path), *flags])
    assert main() == 2
    assert said in capsys.readouterr().err
