"""What breaks while a page is open, in a browser: no line, an app that is killed, the back button, a phone that sleeps.
Nothing acknowledged is lost, the person is told, and the page goes on by itself: no test here reloads it."""

import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page

from studies.benchmarks.app_process import AppProcess
from studies.store import Store
from tests.test_browser import SETTLED, answer, wait_for_card, wait_for_pair


class Place:
    """The app in a folder, which can be killed and come back where it was."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder, self.model = folder, str(model)
        self.app = AppProcess(folder, "--model", self.model)

    def come_back(self) -> None:
        self.app = AppProcess(self.folder, "--model", self.model, "--port", str(urlsplit(self.app.url).port))

    def votes(self) -> list[str]:
        return [row["trial_id"] for row in Store(self.folder).db.rows("select trial_id from vote order by at")]


@pytest.fixture(scope="module")
def place(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = Place(tmp_path_factory.mktemp("data"), tiny_folder)
    yield place
    place.app.end()


@pytest.fixture
def page(chromium: Browser, place: Place) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.goto(place.app.url)
    wait_for_card(page)
    page.evaluate("window.same = true")  # gone with a reload
    yield page
    context.close()


def card(page: Page) -> str:
    return str(page.get_attribute("#feed-card .said", "data-trial"))


def pair(page: Page) -> str:
    return str(page.get_attribute("#left-text .said", "data-trial"))


def test_without_a_line_a_card_comes_back_and_with_one_its_answer_is_stored(page: Page, place: Place) -> None:
    before, shown = place.votes(), card(page)
    page.wait_for_timeout(SETTLED)
    page.context.set_offline(True)
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#refusal", state="visible")
    assert "this page goes on once it is there again" in page.inner_text("#refusal")
    page.wait_for_function("id => document.querySelector('#feed-card .said').dataset.trial === id", arg=shown)
    assert place.votes() == before
    page.context.set_offline(False)
    answer(page, "ArrowRight")
    page.wait_for_selector("#refusal", state="hidden")
    page.wait_for_function("document.querySelector('#feed-said').innerText.includes('That one was')")
    assert place.votes() == [*before, shown]


def test_an_app_that_was_killed_and_is_there_again_is_found_by_the_open_page(page: Page, place: Place) -> None:
    answer(page, "ArrowRight")
    page.wait_for_function("document.querySelector('#feed-said').innerText.includes('That one was')")
    page.keyboard.press("c")
    wait_for_pair(page)
    before, shown = place.votes(), pair(page)
    place.app.kill()
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector("#refusal", state="visible")
    assert pair(page) == shown, "it may be voted on once more"
    place.come_back()
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector("#reveal .told")
    page.wait_for_selector("#refusal", state="hidden")
    page.keyboard.press("n")
    page.wait_for_function("id => document.querySelector('#left-text .said').dataset.trial !== id", arg=shown)
    wait_for_pair(page)
    assert place.votes() == [*before, shown]
    page.keyboard.press("f")
    page.wait_for_selector("#feed-like", state="visible")
    answer(page, "ArrowLeft")
    page.wait_for_function("document.querySelector('#feed-said').innerText.includes('That one was')")
    assert len(place.votes()) == len(before) + 2
    assert page.evaluate("window.same")


def test_a_pair_that_is_waited_for_comes_though_the_app_was_killed_meanwhile(page: Page, place: Place) -> None:
    page.keyboard.press("c")
    wait_for_pair(page)
    page.keyboard.press("ArrowUp")
    page.wait_for_selector("#reveal .told")
    place.app.kill()
    page.keyboard.press("n")
    page.wait_for_selector("#refusal", state="visible")
    place.come_back()
    wait_for_pair(page)
    page.wait_for_selector("#refusal", state="hidden")
    assert page.evaluate("window.same")


def test_the_back_button_shows_the_same_card_and_the_same_pair(page: Page) -> None:
    shown = card(page)
    page.keyboard.press("c")
    wait_for_pair(page)
    judged = pair(page)
    page.goto("about:blank")
    page.go_back()
    wait_for_card(page)
    assert card(page) == shown
    page.keyboard.press("c")
    wait_for_pair(page)
    assert pair(page) == judged


def test_a_phone_that_slept_goes_on(page: Page) -> None:
    page.keyboard.press("c")
    wait_for_pair(page)
    page.keyboard.press("ArrowDown")
    page.wait_for_selector("#reveal .told")
    power = page.context.new_cdp_session(page)
    page.keyboard.press("n")
    power.send("Page.setWebLifecycleState", {"state": "frozen"})
    time.sleep(3)
    power.send("Page.setWebLifecycleState", {"state": "active"})
    wait_for_pair(page)
    assert page.evaluate("window.same")
