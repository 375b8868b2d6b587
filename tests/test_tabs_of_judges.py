"""Judge, Recommend and Study in headless Chromium, wide and narrow, by keys; no error on the console."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from collectors.item import Item, Signal
from engine.methods import ARMS, Ask
from studies.benchmarks.app_process import AppProcess
from studies.pairs import FLOOR
from studies.store import ME, Candidate, Store, Trial, new_id
from tests.names import names_in
from tests.studies.test_judge import CATS, CODE
from tests.test_browser import HOSTILE, shot
from tests.test_study_page import press_on
from tests.test_tabs import violations

WIDE, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def app(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppProcess]:
    """Somebody who likes cats and something hostile, and judged twelve pairs."""
    data = tmp_path_factory.mktemp("data")
    store = Store(data)
    store.open_session("before", ME)
    liked = [Item("test", str(n), "joke", words) for n, words in enumerate([*CATS, HOSTILE[1]])]
    store.add(ME, [(item, Signal(item.id, 1)) for item in liked])
    arms = (FLOOR[0], next(arm for arm in ARMS if arm.startswith("history")))
    for n in range(12):
        sides = [
            Candidate(new_id(), arm, f"{words[n % 4]} ({n})", tokens=9)
            for arm, words in zip(arms, (CATS, CODE), strict=True)
        ]
        trial = Trial(new_id(), ME, "pair", *sides, Ask(payload="cats"), "", "", schedule="s", position=n)
        store.write(trial, seed=0, arms=arms)
        store.show(trial.id, "before")
        store.vote("before", trial.id, "right" if n % 3 == 0 else "left")
    running = AppProcess(data, "--model", str(tiny_folder))
    running.data_dir = data
    yield running
    running.end()
    assert "Traceback" not in running.said()


@pytest.fixture
def page(chromium: Browser, app: AppProcess) -> Iterator[Page]:
    context = chromium.new_context(viewport=WIDE, reduced_motion="reduce", accept_downloads=True)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    page.goto(app.url)
    page.wait_for_selector("#feed-card")
    assert names_in(page.content(), *page.locator(".said").all_inner_texts()) == [], "before a tab is opened"
    yield page
    context.close()
    assert errors == []


def go_to(page: Page, tab: str) -> None:
    """Press the tab, wherever the bar keeps it."""
    page.evaluate("tab => window.palate.open(tab)", tab)


def narrow(page: Page, name: str) -> None:
    """As on a phone: nothing sticks out, and what can be told of it automatically is accessible."""
    assert violations(page) == []
    page.screenshot(path=shot(name), full_page=True)
    page.set_viewport_size(PHONE)
    page.wait_for_timeout(300)
    page.screenshot(path=shot(f"{name}-phone"), full_page=True)
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 390, f"a phone would have to scroll sideways: {width} px"


def test_the_model_judges_the_same_pairs(page: Page) -> None:
    go_to(page, "judge")
    page.wait_for_function("document.querySelector('#judge-head')?.innerText.includes('12 pairs judged by you')")
    page.focus("#tab-judge-button")
    press_on(page, "#judge-go")
    page.wait_for_function(
        "document.querySelector('#judge-note').innerText.includes('Every pair is judged')", timeout=60_000
    )
    page.wait_for_function("document.querySelectorAll('#judged .figures tbody tr').length === 4")
    assert "you, asked again" in page.inner_text("#judged .figures")
    assert page.locator("#judged .apart").count() >= 1
    narrow(page, "judge")


def test_a_post_is_recommended_with_its_reason_and_teaches(page: Page, app: AppProcess) -> None:
    go_to(page, "recommend")
    page.wait_for_selector(".posts .post", timeout=120_000)
    assert page.locator(".post").count() == 20
    assert "near to:" in page.inner_text(".post")
    assert page.title() == "Palate"
    likes = len(Store(app.data_dir).reactions(ME))
    page.focus("#recommend-again")
    press_on(page, ".post [data-say=like]")
    page.wait_for_function("document.querySelector('#recommend-note').innerText.includes('liked')")
    assert page.get_attribute(".post [data-say=like]", "aria-pressed") == "true"
    assert len(Store(app.data_dir).reactions(ME)) == likes + 1
    page.click(".post [data-say=like]")
    page.wait_for_function("!document.querySelector('.post').dataset.sending")
    assert page.get_attribute(".post [data-say=like]", "aria-pressed") == "false"
    assert len(Store(app.data_dir).reactions(ME)) == likes
    narrow(page, "recommend")


def test_a_study_is_written_rehearsed_and_taken_along(page: Page) -> None:
    go_to(page, "study")
    page.wait_for_function("document.querySelector('#study-told').innerText.includes('This can be run')")
    box = page.locator("#study-text textarea")
    text = box.input_value()
    box.press("Control+Home")
    box.press_sequentially("sede = 1\n")
    page.wait_for_function("document.querySelector('#study-told').innerText.includes(\"'sede' is not known\")")
    page.click("#study-told [data-line]")
    chosen = "(({value, selectionStart, selectionEnd}) => value.slice(selectionStart, selectionEnd))"
    assert page.evaluate(f"{chosen}(document.activeElement)") == "sede = 1"
    page.keyboard.press("Delete")
    page.keyboard.press("Delete")
    page.wait_for_function("document.querySelector('#study-told').innerText.includes('This can be run')")
    assert box.input_value() == text
    with page.expect_download() as taken:
        press_on(page, "#study-take")
    assert taken.value.suggested_filename == "study.toml"
    assert taken.value.path().read_text() == text
    page.fill("#study-raters input[type=number]", "2")
    page.keyboard.press("Tab")
    press_on(page, "#study-dry")
    page.wait_for_function("document.querySelector('#study-found').innerText.includes('votes of 2')", timeout=60_000)
    assert page.locator("#study-found .figures tbody tr").count() == 3
    narrow(page, "study")
