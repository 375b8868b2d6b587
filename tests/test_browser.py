"""A person's walk in headless Chromium: Feed, Compare, five votes by keyboard, Results."""

import json
import os
import re
import zipfile
from pathlib import Path
from urllib.parse import quote

from playwright.sync_api import Page, Route

from collectors.item import Item, Signal, write_reactions
from collectors.sample import Sample
from studies.benchmarks.app_process import AppProcess
from studies.store import ME, Store
from tests.names import names_in, names_in_sight

SETTLED = 300  # milliseconds: a card takes no answer while it comes
SHOTS = Path(os.environ.get("PALATE_SHOTS", Path(__file__).parent / "shots"))
HOSTILE = (
    "hostile <script>document.title = 'taken'</script> walks into a bar",
    "hostile <img src=x onerror=\"document.title = 'taken'\"> and a duck",
    "hostile ${document.title = 'taken'} {{value}} about templates",
    "hostile \u202eto left\u202c and \u200fback \x07 again",
)
# Keeps every byte that the page's own code receives, streams included.
RECORD = """
window.received = [];
const fetched = window.fetch;
window.fetch = async (...args) => {
  const reply = await fetched(...args);
  const reader = reply.clone().body?.getReader(), text = new TextDecoder();
  const pump = async () => {
    for (let part = await reader.read(); !part.done; part = await reader.read())
      window.received.push(text.decode(part.value, {stream: true}));
  };
  if (reader) pump().catch(() => {});
  return reply;
};
window.EventSource = class extends EventSource {
  constructor(...args) {
    super(...args);
    this.addEventListener("message", (event) => window.received.push(event.data));
  }
};
"""

# Presses Like and looks, in the same breath and once the browser has painted, at what a person sees.
PRESSED = """async () => {
  const began = performance.now();
  document.querySelector("#feed-like").click();
  await new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)));
  return {
    next: document.querySelector("#feed-card .said").innerText,
    answered: document.querySelector("#feed .answered .said")?.innerText,
    milliseconds: performance.now() - began,
  };
}"""


def text_of(page: Page, selector: str) -> str:
    return page.inner_text(f"{selector} .said")


def wait_for_card(page: Page) -> None:
    page.wait_for_function("(document.querySelector('#feed-card .said')?.innerText ?? '...') !== '...'")


def answer(page: Page, key: str) -> str:
    """Press a key for the card in view, once it has settled there, and wait for the next; returns what it said."""
    shown = text_of(page, "#feed-card")
    page.wait_for_timeout(SETTLED)
    page.keyboard.press(key)
    page.wait_for_function("old => document.querySelector('#feed-card .said').innerText !== old", arg=shown)
    return shown


def wait_for_pair(page: Page) -> None:
    page.wait_for_function("document.querySelector('#left-text .said')?.textContent.length > 3", timeout=90_000)
    page.wait_for_function("!document.querySelector('#reveal .told')", timeout=90_000)


def test_the_walk(chromium, tmp_path: Path) -> None:
    """With the real embedded model and a new person."""
    app = AppProcess(tmp_path)
    page: Page = chromium.new_page(viewport={"width": 1280, "height": 860})
    errors: list[str] = []
    strangers: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    page.on("request", lambda r: strangers.append(r.url) if not r.url.startswith((app.url, "data:", "blob:")) else None)

    page.add_init_script(RECORD)
    try:
        page.goto(app.url)
        wait_for_card(page)
        first = answer(page, "ArrowRight")
        page.keyboard.press("u")
        page.wait_for_function("old => document.querySelector('#feed-card .said').innerText === old", arg=first)
        page.wait_for_function("document.querySelector('#feed-said').innerText.includes('Taken back')")
        for turn in range(8):
            answer(page, "ArrowLeft" if turn % 4 == 3 else "ArrowRight")
        page.wait_for_function("document.querySelector('#feed-note').innerText.includes('6 liked, 2 disliked')")
        page.wait_for_timeout(700)  # the card has come to rest
        page.screenshot(path=shot("feed"))

        page.keyboard.press("c")
        for turn, key in enumerate(("ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "s")):
            wait_for_pair(page)
            pair = text_of(page, "#left-text"), text_of(page, "#right-text")
            assert names_in_sight(page.inner_text("body"), *pair) == []
            assert names_in(page.content(), *pair) == []
            received = page.evaluate("window.received.splice(0).join('')")
            words = re.findall(r"[a-z]{4,}", pair[0])
            assert all(word in received for word in words), "what is searched is what was received"
            assert names_in(received, *pair) == []
            if turn == 0:
                page.keyboard.press("2")
                page.wait_for_selector("#right-marks input:checked")
                page.screenshot(path=shot("compare"))
            page.keyboard.press(key)
            page.wait_for_selector("#reveal .told")
            assert len(names_in(page.inner_html("#reveal"))) >= 2, "the vote names both sides: the search finds names"
            if turn == 1:
                page.screenshot(path=shot("reveal"), full_page=True)
            page.evaluate("window.received.length = 0")
            page.keyboard.press("n")
        page.keyboard.press("r")
        page.wait_for_function("document.querySelector('#results-note')?.innerText.includes('4 votes')")
        page.wait_for_function("document.querySelector('#results-table')?.textContent.includes('no profile')")
        page.screenshot(path=shot("results"))

        assert "SmolLM2" not in page.content()
        page.keyboard.press("w")
        page.wait_for_function("document.querySelector('#write-way input')?.value.length > 3")
        page.fill("#write-about input, #write-about textarea", "pigeons")
        page.keyboard.press("Control+Enter")
        page.wait_for_function("document.querySelector('#write-note').innerText.includes('Version 1')", timeout=90_000)
        first = text_of(page, "#write-text")
        page.keyboard.press("Control+Enter")
        page.wait_for_function("document.querySelector('#write-note').innerText.includes('Writing about')")
        page.keyboard.press("Escape")
        page.wait_for_function("document.querySelector('#write-note').innerText.includes('Version 2')", timeout=90_000)
        page.screenshot(path=shot("write"))
        page.keyboard.press("ArrowLeft")
        page.wait_for_function("old => document.querySelector('#write-text .said').innerText === old", arg=first)
        page.evaluate("window.palate.open('taste')")
        page.wait_for_function("document.querySelector('#portrait')?.innerText.includes('6 liked')")
        page.screenshot(path=shot("taste"), full_page=True)
        page.keyboard.press("t")
        page.wait_for_function("document.querySelector('#ways').innerText.includes('your taste as soft tokens')")
        page.click("#fit")
        page.wait_for_function("document.querySelector('#fit-note').innerText.includes('Step')", timeout=90_000)
        page.click("#fit-stop")
        page.wait_for_function("document.querySelector('#fit-note').innerText.includes('Stopped')", timeout=90_000)
        page.wait_for_function("document.querySelector('#fit-plot').innerText.includes('held-out likes')")
        page.screenshot(path=shot("train"), full_page=True)
        page.keyboard.press("a")
        page.wait_for_function("document.querySelector('#model-line').innerText.includes('SmolLM2-135M-Instruct')")
        page.set_viewport_size({"width": 390, "height": 844})
        page.keyboard.press("c")
        wait_for_pair(page)
        page.screenshot(path=shot("compare-phone"), full_page=True)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 390, f"a phone would have to scroll sideways: {width} px"
    finally:
        page.close()
        app.end()
    assert errors == []
    assert strangers == []
    assert "Traceback" not in app.said()


def test_a_way_is_taught_from_the_page(chromium, tiny_folder: Path, tmp_path: Path) -> None:
    people = []
    for n in range(40):
        items = [Item("made", f"{n}-{k}", "joke", f"Number {k} of user {n} left the house for good.") for k in range(5)]
        people.append((f"user{n}", [(item, Signal(item.id, 1)) for item in items]))
    write_reactions(tmp_path / "crowd.jsonl", people)
    (tmp_path / "broken.jsonl").write_text("no line of JSON")
    app = AppProcess(tmp_path / "data", "--model", str(tiny_folder))
    context = chromium.new_context()
    page: Page = context.new_page()
    try:
        page.goto(app.url)
        wait_for_card(page)
        page.keyboard.press("t")
        page.wait_for_function("document.querySelector('#ways').innerText.includes('your taste as soft tokens')")
        page.click("#teach")
        page.wait_for_function("document.body.innerText.includes('choose a way and a file first')")
        page.click("#teach-arm input")
        page.get_by_role("option", name="your topics as soft tokens").click()
        page.set_input_files("#teach-file input", tmp_path / "broken.jsonl")
        page.wait_for_function("document.querySelector('#teach-file').innerText.includes('broken')")
        page.click("#teach")
        page.wait_for_function("document.body.innerText.includes('Line 1 of broken.jsonl is not')", timeout=60_000)
        page.click("#teach-file button[aria-label='Clear']")
        page.set_input_files("#teach-file input", tmp_path / "crowd.jsonl")
        page.wait_for_function("document.querySelector('#teach-file').innerText.includes('crowd')")
        page.click("#teach")
        page.wait_for_function("document.querySelector('#fit-note').innerText.includes('Step')", timeout=60_000)
        page.click("#fit-stop")
        told = "document.querySelector('#fit-note').innerText.includes('own profile saves')"
        page.wait_for_function(told, timeout=60_000)
        page.screenshot(path=shot("teach"), full_page=True)
        assert [path.name for path in (tmp_path / "data" / "uploads").rglob("crowd*")] == ["crowd.jsonl"]
    finally:
        context.close()
        app.end()
    assert "Traceback" not in app.said()


def test_a_person_says_why_and_picks_the_best(chromium, tiny_folder: Path, tmp_path: Path) -> None:
    hostile = HOSTILE[1]
    (tmp_path / "liked.jsonl").write_text(json.dumps({"text": hostile, "rating": 5}) + "\n")
    app = AppProcess(tmp_path / "data", "--model", str(tiny_folder), "--import", str(tmp_path / "liked.jsonl"))
    context = chromium.new_context()
    page: Page = context.new_page()
    try:
        page.goto(app.url)
        wait_for_card(page)
        assert not page.is_visible("#feed-why")
        first = text_of(page, "#feed-card")
        page.keyboard.press("ArrowRight")
        page.fill("#feed-why input", "It lives in a sock.")
        page.keyboard.press("Enter")
        page.wait_for_function("document.querySelector('#feed-note').innerText.includes('Noted')")
        assert not page.is_visible("#feed-why")
        page.click("#tab-train-button")
        page.click("#likes button")
        page.wait_for_selector("#likes-table")
        page.wait_for_function("document.querySelector('#likes-table').innerText.includes('It lives in a sock.')")
        table = page.inner_text("#likes-table")
        assert first.split("\n")[0] in table
        assert hostile in table, "shown letter by letter"
        page.locator("#likes-table .bool-cell input").first.check()
        page.click("[data-testid=cell-0-2]")
        page.keyboard.press("c")  # elsewhere on the page this opens Compare
        page.dblclick("[data-testid=cell-0-2]")
        page.keyboard.type("cats have reasons")
        page.keyboard.press("Enter")
        page.wait_for_function("document.querySelector('#likes-table').innerText.includes('cats have reasons')")
        page.click("#tab-feed-button")
        page.click("#tab-train-button")
        page.wait_for_timeout(1_000)
        assert "cats have reasons" in page.inner_text("#likes-table"), "a look elsewhere costs nothing that was typed"
        page.click("#likes-draft")
        page.wait_for_function("document.querySelector('#likes-note').innerText.includes('1 drafted by the model')")
        page.click("#likes-keep")
        page.wait_for_function("document.querySelector('#likes-note').innerText.includes('Kept')")
        page.wait_for_function("document.querySelector('#ways-lacking').innerText.includes('pick 4 more of your')")
        page.reload()
        page.click("#tab-train-button")
        page.click("#likes button")
        page.wait_for_selector("#likes-table")
        page.wait_for_function("document.querySelector('#likes-table').innerText.includes('cats have reasons')")
        assert page.locator("#likes-table .bool-cell input").first.is_checked()
        page.screenshot(path=shot("likes"), full_page=True)
        assert page.title() == "Palate"
    finally:
        context.close()
        app.end()
    assert "Traceback" not in app.said()


def test_hasty_keys_a_slow_line_and_a_busy_server(chromium, tiny_folder: Path, tmp_path: Path) -> None:
    """Each answer is about a card that was seen; it shows at once, and comes back where the server says no."""
    app = AppProcess(tmp_path / "data", "--model", str(tiny_folder))
    context = chromium.new_context()
    page: Page = context.new_page()

    def slowly(route: Route) -> None:
        page.wait_for_timeout(1_000)
        route.continue_()

    try:
        context.route("**/run/predict*", slowly)
        page.goto(app.url, wait_until="domcontentloaded")
        page.wait_for_selector("#feed-like")
        for _ in range(3):
            page.keyboard.press("ArrowRight")  # at a skeleton
        wait_for_card(page)
        page.wait_for_timeout(SETTLED)
        first = text_of(page, "#feed-card")
        took = page.evaluate(PRESSED)
        assert took["next"] != first
        assert took["answered"] == first
        assert took["milliseconds"] < 100, "seen long before the server's word"
        page.keyboard.press("ArrowLeft")  # while the next card still comes
        page.wait_for_timeout(SETTLED)
        answer(page, "s")
        assert page.locator("#feed .card").count() <= 4
        page.wait_for_function("document.querySelector('#feed-note').innerText.includes('1 liked, 0 disliked')")
        page.wait_for_timeout(3_000)  # whatever was under way has come
        assert not page.is_visible("#refusal")
        context.unroute("**/run/predict*")
        page.keyboard.press("u")
        page.wait_for_function("document.querySelector('#feed-said').innerText.includes('Taken back')")
        answer(page, "ArrowLeft")
        page.wait_for_function("document.querySelector('#feed-note').innerText.includes('1 liked, 1 disliked')")
        context.route("**/run/predict*", lambda route: route.fulfill(status=503, body="busy"))
        second = text_of(page, "#feed-card")
        page.wait_for_timeout(SETTLED)
        page.keyboard.press("ArrowRight")
        page.wait_for_selector("#refusal:not([hidden])")  # a no in words, and the card waits for another try
        page.wait_for_function("old => document.querySelector('#feed-card .said').innerText === old", arg=second)
        assert page.locator("#feed-card.answered").count() == 0
        context.unroute("**/run/predict*")
        answer(page, "ArrowRight")
        page.wait_for_function("document.querySelector('#feed-note').innerText.includes('2 liked, 1 disliked')")
        page.keyboard.press("c")
        wait_for_pair(page)
        for key in ("ArrowLeft", "ArrowRight", "ArrowLeft"):
            page.keyboard.press(key)
        page.wait_for_selector("#reveal .told")
        page.keyboard.press("ArrowRight")  # judged, and the next pair not asked for
        page.wait_for_timeout(1_000)
        assert not page.is_visible("#refusal")
    finally:
        context.close()
        app.end()
    store = Store(tmp_path / "data")
    assert sorted(signal.sign for _, signal in store.reactions(ME) if signal.sign) == [-1, 1, 1]
    assert len(store.ballots()) == 1
    viewed = [row["viewed_ms"] for row in store.db.rows("select viewed_ms from vote where choice = 'like'")]
    assert all(SETTLED / 2 < seen < 60_000 for seen in viewed), "what was looked at was measured"


def test_hostile_texts_are_shown_as_text(chromium, tiny_folder: Path, tmp_path: Path) -> None:
    rows = [{"text": f"{text} {n}"} for text in HOSTILE for n in range(5)]  # the blind pairs take some for themselves
    (tmp_path / "hostile.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = tmp_path / "data"
    Store(data).add(ME, [(item, Signal(item.id, 0)) for item, _ in Sample()])  # met: what is imported is left
    app = AppProcess(data, "--model", str(tiny_folder), "--import", str(tmp_path / "hostile.jsonl"))
    context = chromium.new_context()
    page: Page = context.new_page()
    try:
        imported = Store(data).unseen(ME, "feed", 99, also_waiting=True)
        page.goto(app.url)
        wait_for_card(page)
        api = f"{app.url}/gradio_api/run"
        seen: set[str] = set()
        while len(seen) < len(imported):
            for text in page.locator("#feed .card .said[data-trial]").all():
                seen |= {text.inner_text()} if "hostile" in text.inner_text() else set()  # the model writes some
                card = text.get_attribute("data-trial")
                page.request.post(f"{api}/react", data={"data": [card, "skip"]})
            page.reload()
            wait_for_card(page)
        harmless = [*HOSTILE[:3], "hostile to left and back again"]
        assert {text[:-2] for text in seen} == set(harmless), "shown letter by letter"
        assert page.title() == "Palate"
        page.keyboard.press("c")
        page.wait_for_selector("#undo")
        page.keyboard.press("u")  # no pair was voted on
        page.wait_for_selector("#refusal[role=alert]")
        assert page.inner_text("#refusal") == "there is nothing to undo"
        page.keyboard.press("f")
        page.wait_for_selector("#refusal", state="hidden")
        app.end()
        page.keyboard.press("u")
        page.wait_for_selector("#refusal")
        assert "does not answer" in page.inner_text("#refusal")
    finally:
        context.close()
        app.end()


def shot(name: str) -> Path:
    SHOTS.mkdir(parents=True, exist_ok=True)
    return SHOTS / f"{name}.png"


def test_an_export_is_looked_at_imported_changed_and_deleted(chromium, tiny_folder: Path, tmp_path: Path) -> None:
    export = tmp_path / "export.zip"
    slugs = ["ducks_in_the_office", "a_duck_and_a_pond", "my_duck_is_late", HOSTILE[0].replace(" ", "_")]
    links = [f"/r/Jokes/comments/{n}abc/{quote(slug, safe='')}/" for n, slug in enumerate(slugs)]
    rows = ["id,permalink,direction", *(f"{n}abc,{link},up" for n, link in enumerate(links))]
    with zipfile.ZipFile(export, "w") as file:
        file.writestr("post_votes.csv", "\n".join(rows))
        file.writestr("messages.csv", "id,body\n1,PRIVATE\n")
    app = AppProcess(tmp_path / "data", "--model", str(tiny_folder))
    context = chromium.new_context()
    page: Page = context.new_page()
    try:
        page.goto(app.url)
        wait_for_card(page)
        page.click("#tab-import-button")
        page.set_input_files("#import-file input[type=file]", export)
        page.wait_for_selector("#import-save", timeout=20_000)
        told = page.inner_text("#import-found")
        assert "reddit export" in told
        assert "<script>" in told, "shown letter by letter"
        assert "PRIVATE" not in told
        page.screenshot(path=shot("import"), full_page=True)
        page.click("#import-cancel")
        page.wait_for_function("document.querySelector('#import-note').innerText.includes('Nothing was saved')")
        page.set_input_files("#import-file input[type=file]", export)
        page.wait_for_selector("#import-save", timeout=20_000)
        page.click("#import-save")
        page.wait_for_function("document.querySelector('#import-note').innerText.includes('4 rows are saved')")
        answer = page.request.get(f"{app.url}/reddit/signed-in?state=forged&code=x")
        assert (answer.status, "does not belong" in answer.text()) == (400, True)
        page.click("#tab-taste-button")
        page.wait_for_function("document.querySelector('#portrait').innerText.includes('4 liked')", timeout=20_000)
        page.click("#portrait-edit button")
        page.click("#topic input")
        page.get_by_role("option").first.click()
        page.fill("#topic-name textarea, #topic-name input", "waterfowl")
        page.click("#topic-rename")
        page.wait_for_function("document.querySelector('#portrait').innerText.includes('waterfowl')", timeout=20_000)
        page.screenshot(path=shot("taste-edited"), full_page=True)
        assert page.title() == "Palate"
        page.click("#delete-me")
        page.fill("#delete-sure textarea, #delete-sure input", "DELETE")
        page.press("#delete-sure textarea, #delete-sure input", "Enter")
        page.wait_for_function("document.querySelector('#portrait-note').innerText.includes('Deleted')", timeout=30_000)
        left = b"".join(path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()).lower()
        assert b"duck_and_a_pond" not in left
        assert b"duck and a pond" not in left
        assert b"waterfowl" not in left
    finally:
        context.close()
        app.end()
