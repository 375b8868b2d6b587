"""The About page's yes and no, in headless Chromium and over HTTP: what it says, what it starts, what it ends."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from collectors.item import Item, Signal
from studies.benchmarks.app_process import AppProcess
from studies.session import ME
from studies.store import Store
from tests.loopback import Loopback, serving

expect.set_options(timeout=30_000)  # milliseconds: the machine may be busy


@pytest.fixture(scope="module")
def api() -> Iterator[Loopback]:
    with serving() as heard:
        yield heard


@pytest.fixture(scope="module")
def app(tiny_folder: Path, api: Loopback, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppProcess]:
    data = tmp_path_factory.mktemp("data")
    liked = [Item("test", str(n), "joke", f"Sock {n} has left the drawer.") for n in range(5)]
    Store(data).add(ME, [(item, Signal(item.id, 1)) for item in liked])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANTHROPIC_API_KEY", "sk-made-up")
        patch.setenv("ANTHROPIC_BASE_URL", api.url)
        running = AppProcess(data, "--model", str(tiny_folder), "--summary-model", "a-model")
    running.data_dir = data
    yield running
    running.end()


def words_said(app: AppProcess) -> list[int]:
    return [row["given"] for row in Store(app.data_dir).db.rows("select given from consent order by number")]


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_yes_without_the_pages_cookie_counts_for_nothing(app: AppProcess, api: Loopback) -> None:
    """A page of another site can call what this one calls, but the browser gives it no cookie to send along."""
    config = json.loads(app._opener.open(f"{app.url}/config").read())
    yes = next(c["id"] for c in config["components"] if c["props"].get("elem_id") == "sending-yes")
    (call,) = [d["id"] for d in config["dependencies"] if [yes, "click"] in [list(t) for t in d["targets"]]]
    body = json.dumps({"fn_index": call, "data": [], "session_hash": "anybody"}).encode()
    request = urllib.request.Request(
        f"{app.url}/gradio_api/run/predict", body, {"Content-Type": "application/json", "Origin": "https://x.example"}
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20)
    assert "from this page only" in refused.value.read().decode()
    assert (words_said(app), api.requests) == ([], [])


def test_the_about_page_asks_tells_and_takes_back(app: AppProcess, api: Loopback, chromium: Any) -> None:
    page = chromium.new_page()
    page.goto(app.url)
    page.get_by_role("tab", name="About").click()
    terms = page.locator("#sending")
    expect(terms).to_contain_text("Nothing is sent: you have not said yes.")
    expect(terms).to_contain_text(api.url.removeprefix("http://"))
    expect(page.locator("#sending-no")).to_be_hidden()
    time.sleep(2.5)  # longer than likes are gathered
    assert (words_said(app), api.requests) == ([], [])
    page.locator("#sending-yes").click()
    expect(terms).to_contain_text("You said yes on ")
    until(lambda: api.requests)
    assert words_said(app) == [1]
    until(lambda: Store(app.data_dir).db.rows("select id from summary where author <> 'local'"))
    page.get_by_role("tab", name="Feed").click()
    page.get_by_role("tab", name="About").click()
    expect(page.locator("#my-taste")).to_contain_text("humor about socks")
    expect(page.locator("#my-taste")).to_contain_text(f"Written by {api.url.removeprefix('http://')}")
    expect(page.locator("#sending-yes")).to_be_hidden()
    page.locator("#sending-no").click()
    expect(terms).to_contain_text("Nothing is sent: you have not said yes.")
    asked = len(api.requests)
    app.call("react", app.call("next_card")[0], "like")
    time.sleep(3)
    assert (words_said(app), len(api.requests)) == ([1, 0], asked)
    page.close()
