"""A study in headless Chromium by keys alone, and over HTTP as a forger would try it."""

import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from demo.study import PREVIEW, ids_of
from studies.benchmarks.app_process import AppProcess
from studies.benchmarks.study_client import Participant
from studies.leaks import words
from studies.rooms import FASTEST, LEAST_SECONDS
from studies.store import Store
from tests.names import names_in, names_in_sight
from tests.studies.test_rooms import FILE, fill, write_files
from tests.test_browser import RECORD, shot


def test_ids_are_read_from_the_links_of_either_platform():
    assert ids_of({"PROLIFIC_PID": "P", "STUDY_ID": "x", "SESSION_ID": "S"}) == ("P", "S")
    assert ids_of({"workerId": "W", "assignmentId": "A", "hitId": "H"}) == ("W", "A")
    assert ids_of({"assignmentId": PREVIEW, "hitId": "H"}) == ("", PREVIEW)  # a preview names no worker
    assert ids_of({"SESSION_ID": "S"}) == ("", "S")
    assert ids_of({"utm": "x"}) == ("", "")


BUTTONS = {"pair": "#choose-left", "mark": "#feed-like-mark", "card": "#feed-like"}
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    text = FILE.replace('kinds = ["pair"]', 'kinds = ["pair", "card", "mark"]\ninterleaved = true')
    text = text.replace('"none", "history", "human"', '"none", "human"').replace("salad = 1", "salad = 0")
    return write_files(folder, text.replace("same = 1", "same = 0"))


@pytest.fixture(scope="module")
def app(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppProcess]:
    data = tmp_path_factory.mktemp("data")
    fill(Store(data), study)
    app = AppProcess(data, "--study", str(study))
    app.data_dir = data
    yield app
    app.end()


def press_on(page: Page, selector: str) -> None:
    """Reach a control by Tab and press it, as somebody without a mouse does."""
    for _ in range(40):
        if page.evaluate("s => document.activeElement?.matches(s)", selector):
            ring = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert ring != "none", f"the focus on {selector} cannot be seen"
            page.keyboard.press("Space" if selector.endswith("input") else "Enter")
            return
        page.keyboard.press("Tab")
    pytest.fail(f"{selector} cannot be reached by Tab")


def accessible(page: Page) -> None:
    found = Axe().run(page, options=RULES).response["violations"]
    told = [f"{each['id']}: {node['html'][:160]} {node['failureSummary']}" for each in found for node in each["nodes"]]
    assert told == []


def refusal(page: Page) -> str:
    """What the page says to something that was refused."""
    page.wait_for_selector("#refusal")
    assert page.get_attribute("#refusal", "role") == "alert"
    return page.inner_text("#refusal")


def trial_of(page: Page) -> str:
    return page.get_attribute("#left-text [data-trial]", "data-trial") or ""


@pytest.mark.parametrize("width", [1280, 390])
def test_a_study_is_walked_by_keys_with_a_refresh_and_another_device(
    chromium: Browser,
    app: AppProcess,
    width: int,
) -> None:
    context = chromium.new_context(viewport={"width": width, "height": 800}, reduced_motion="reduce")
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    page.add_init_script(RECORD)
    page.goto(f"{app.url}/?PROLIFIC_PID=P-{width}&SESSION_ID=S-{width}")
    page.wait_for_selector("#consent-yes")
    accessible(page)
    press_on(page, "#consent-yes")
    page.wait_for_selector("#begin")
    accessible(page)
    press_on(page, "#begin")
    page.wait_for_selector("#left-text [data-trial]")
    checked: set[str] = set()
    texts: list[str] = []
    moved = 0
    while not page.is_visible("#survey-done"):
        trial = trial_of(page)
        kind = next(kind for kind, button in BUTTONS.items() if page.is_visible(button))
        if kind not in checked:
            accessible(page)
            checked.add(kind)
            page.screenshot(path=shot(f"study-{kind}-{width}"))
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it must not scroll sideways"
        if kind == "pair":
            page.keyboard.press("1")
            page.wait_for_function("document.querySelector('#left-marks input').checked")
        if moved == 3:
            page.reload()
            page.wait_for_selector("#left-text [data-trial]")
            assert trial_of(page) == trial, "a refresh shows the same"
        if moved == 5:
            code = page.inner_text("#study-progress b")
            context.close()
            context = chromium.new_context(viewport={"width": width, "height": 800}, reduced_motion="reduce")
            page = context.new_page()
            page.add_init_script(RECORD)
            page.goto(app.url)
            page.wait_for_selector("#resume button")
            press_on(page, "#resume button")
            page.wait_for_selector("#resume-code input, #resume-code textarea")
            page.focus("#resume-code input, #resume-code textarea")
            page.keyboard.type("abcdefgh")
            page.keyboard.press("Enter")
            assert refusal(page) == "no session has this code: check its eight letters"
            accessible(page)
            page.focus("#resume-code input, #resume-code textarea")
            page.keyboard.press("Control+A")
            page.keyboard.type(code)
            page.keyboard.press("Enter")
            page.wait_for_selector("#left-text [data-trial]")
            assert trial_of(page) == trial, "another device goes on where the first stopped"
        said = page.locator("#trial .said").all_inner_texts()
        texts += said
        count = sum(len(words(text)) for text in said)
        page.wait_for_timeout(1000 * (max(LEAST_SECONDS, count / FASTEST) + 0.1))  # as the fastest reader
        page.keyboard.press("ArrowRight")
        page.wait_for_function(
            "old => (document.querySelector('#left-text [data-trial]')?.dataset.trial ?? '') !== old"
            " || document.querySelector('#survey-done')?.offsetParent",
            arg=trial,
        )
        moved += 1
    assert checked == {"pair", "card", "mark"}
    received = "".join(page.evaluate("window.received"))
    assert names_in(received, *texts) == []
    assert names_in_sight(page.inner_text("body"), *texts) == []
    accessible(page)
    press_on(page, "#survey-done")
    assert refusal(page) == "please answer: How old are you?"
    press_on(page, "#survey-age input")
    page.wait_for_selector("#refusal", state="hidden")
    press_on(page, "#survey-done")
    page.wait_for_selector("#completion")
    assert page.inner_text("#completion") == "DONE1"
    accessible(page)
    page.goto(f"{app.url}/?PROLIFIC_PID=P-8&SESSION_ID=S-other")
    page.wait_for_selector("#end p")
    assert "took part already" in page.inner_text("#end")
    assert page.query_selector("#completion") is None, "another submission gets no code"
    assert errors == []
    assert "Traceback" not in app.said()
    context.close()
    store = Store(app.data_dir)
    [who] = store.db.rows("select * from participant where platform_session = :id", id=f"S-{width}")
    assert (who["platform_person"], who["platform_session"], who["completion"]) == (
        f"P-{width}",
        f"S-{width}",
        "completed",
    )
    shown = "select void_reason from trial where rater = :rater and shown_at is not null"
    kept = Counter(row["void_reason"] for row in store.db.rows(shown, rater=who["rater"]))
    assert kept == {None: moved}


def test_nothing_tells_an_arm_and_forgers_store_nothing(app: AppProcess) -> None:
    for path in ("/", "/config"):
        assert names_in(urllib.request.urlopen(f"{app.url}{path}").read().decode()) == []
    for path in ("/gradio_api/runs", "/monitoring/summary", "/gradio_api/run/vote"):
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(urllib.request.Request(f"{app.url}{path}", b"{}" if "vote" in path else None))
    for door in ("upload", "upload/", "upload%0A", "/upload?x=1", "upload%20"):  # nobody is asked for a file here
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(urllib.request.Request(f"{app.url}/gradio_api/{door}", b"x"))
    mine, other = Participant(app.url), Participant(app.url)
    for each in (mine, other):
        each.begin()
    trial = mine.trial
    votes = Store(app.data_dir)
    before = len(votes.db.rows("select * from vote"))

    def stored() -> int:
        return len(votes.db.rows("select * from vote")) - before

    assert "not shown to you" in other.vote(trial=trial, choice="left")
    assert "no choice here" in mine.vote(trial=trial, choice="best")
    assert "no choice here" in mine.vote(trial=trial, choice="funny")
    assert "not shown to you" in mine.vote(trial="0" * 32, choice="left")
    assert "not in the list of choices" in mine.vote(trial=trial, choice="left", flags=["human"])
    assert stored() == 0
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(mine.vote(trial=trial, choice="left"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stored() == 1
    assert sum(answer == "" for answer in answers) == 1
    assert sum("already" in answer for answer in answers) == 7


def test_likes_are_brought_in_two_goes_and_no_file_stays(chromium: Browser, tiny_folder: Path, tmp_path: Path) -> None:
    text = FILE.replace('"pool"', '"live"').replace('"assigned"', '"import"').replace("salad = 1", "salad = 0")
    text = text.replace('people = "people.jsonl"', "likes = 5").replace('"history", "human"', '"none-8900f4"')
    study, data = (
        write_files(tmp_path, text.replace("seed = 7", 'seed = 7\ndebriefing = "It was about **ducks**."')),
        tmp_path / "data",
    )
    app = AppProcess(data, "--study", str(study), "--model", str(tiny_folder))
    context = chromium.new_context()
    page = context.new_page()
    try:
        page.goto(app.url)
        page.click("#consent-yes")
        page.click("#begin")
        for name, rows, told in (("few", 3, "That makes 3 likes"), ("bad", 0, ""), ("more", 3, "")):
            (tmp_path / f"{name}.csv").write_text(
                "text,like\n" + "".join(f"The {name} heron number {n} came late,1\n" for n in range(rows))
                if rows
                else "?"
            )
            page.wait_for_selector("#import-file input[type=file]", state="attached")
            page.set_input_files("#import-file input[type=file]", str(tmp_path / f"{name}.csv"))
            if name == "bad":
                assert "bad.csv" in refusal(page)
                page.click("#import-file button[aria-label*=lear], #import-file button[aria-label*=emove]")
                continue
            page.click("#import-save")
            if told:
                page.wait_for_function(
                    "told => document.querySelector('#import-found').innerText.includes(told)", arg=told
                )
                assert "3 of 5" in page.inner_text("#study-progress")
        page.wait_for_selector("#left-text [data-trial]")
        left = [path.name for path in (data / "uploads").rglob("*") if path.is_file() and path.stat().st_size > 1]
        assert left == []
        page.on("dialog", lambda dialog: dialog.accept())
        page.click("#leave")
        page.wait_for_selector("#completion")
        assert page.inner_text("#completion") == "LEFT1"
        assert "It was about ducks." in page.inner_text("#debriefing")
    finally:
        context.close()
        app.end()
