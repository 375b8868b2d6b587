"""Every handler of the page, sent what no page sends: words or a plain error come back, nothing is stored, all goes on.

Minutes long, so only where it is asked for: PALATE_HOSTILE=4 sends each handler four inputs, PALATE_HOSTILE=200 two
hundred.
"""

import json
import os
import random
import socket
import threading
import time
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from demo.page import serve
from engine.backbone import Backbone
from studies.benchmarks.page_client import Handler, PageClient, Refusal
from studies.house import Home, Hosted, House
from studies.limits import Limit
from studies.session import Engine, Studio
from studies.store import ME, Store
from tests.studies.test_pairs import Talker

EACH = int(os.environ.get("PALATE_HOSTILE", "0"))
pytestmark = pytest.mark.skipif(not EACH, reason="minutes long: set PALATE_HOSTILE to the inputs for each handler")
# What a person did or brought; trials, texts and summaries are written by the worker, whatever the page sends.
TABLES = ("vote", "flag", "undo", "signal", "remark", "edit", "import", "chunk", "consent", "selection", "item")
# A no is a no and a choice is a choice, whoever sends what along with it: these have an empty answer that is right.
STORING = {"withdraw": {"consent"}, "choose": {"selection"}}
INTERNALS = ("Traceback", 'File "', "site-packages", "root:x:0", "sqlite3.", "object at 0x")
HALF = "\ud800"  # of a character: JSON can say it, UTF-8 cannot
ADA, EVE = "a" * 32, "e" * 32


@dataclass
class Place:
    house: House
    url: str
    stores: list[Store] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        if not self.stores:
            self.stores = list({id(room.store): room.store for room in map(self.house.room, (ADA, EVE))}.values())
        stores = self.stores
        return {t: sum(s.db.rows(f"select count(*) as n from {t}")[0]["n"] for s in stores) for t in TABLES}


@pytest.fixture(scope="module", params=["home", "hosted"])
def place(request: pytest.FixtureRequest, tiny: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder, lm = tmp_path_factory.mktemp(request.param), Talker(tiny)
    house: House = (
        Home(Studio(Store(folder), lm)) if request.param == "home" else Hosted(folder, Engine(lm, None, None))
    )
    if isinstance(house, Hosted):
        house._calls = Limit(10**6, 10**6)  # a flood is refused at once; here what comes through it is looked at
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", "")  # put back at the end: it is set when the page is served
        house.start()
        yield Place(house, serve(house, "127.0.0.1", port).rstrip("/"))
        house.close()


@pytest.fixture(scope="module")
def ada(place: Place) -> PageClient:
    """Somebody with a pair and a card on the table, a vote, a like with a reason, and an import that waits."""
    page = PageClient(place.url, ADA)
    page.values["liked"] = page.ask("next_card")[0]
    page.values["feed-id"] = page.ask("react", page.values["liked"], "like")[0]
    page.ask("vote", page.ask("next_pair")[0], "left", ["sounds_ai"], [])
    page.values["pair-id"] = page.ask("next_pair")[0]
    page.call("import-file.upload", import_file=page.upload(a_table(place)))
    return page


@pytest.fixture(scope="module")
def eve(place: Place, ada: PageClient) -> PageClient:
    page = PageClient(place.url, EVE)
    page.ask("next_card")
    page.ask("next_pair")
    return page


def a_table(place: Place) -> Path:
    path = place.house.folder / "likes.csv"
    path.write_text("text,like\n" + "\n".join(f"A goose asked for euro number {n},1" for n in range(12)))
    return path


def file_at(path: object) -> dict[str, object]:
    return {"path": path, "orig_name": "x.csv", "meta": {"_type": "gradio.FileData"}}


def hostile(dice: random.Random, place: Place, ada: PageClient) -> Any:
    """One input that no page sends."""
    deep: Any = "deep"
    for _ in range(200):
        deep = [deep]
    there = place.house.room(ADA).folder
    return dice.choice(
        [
            None, True, -1, 0, 10**30, 1e308, float("nan"), float("inf"), "", " ", "\0", "null", "DELETE\0", [], {},
            [[]], [None], [None] * 1000, ["sounds_ai", 7], {"value": 1}, {"__type__": "update", "value": "left"}, deep,
            "x" * 1_000_000, "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "' or 1=1 --", "${7*7}",
            "\u202eback\u202c\u200f\x07\x1b[31m", HALF, "\U0001f600" * 1000, "../" * 20 + "etc/passwd",
            "/etc/passwd", "file:///etc/passwd", "http://127.0.0.1:9/", file_at("/etc/passwd"), {"path": "/etc/passwd"},
            file_at("../../../../etc/passwd"), file_at(str(there / "palate.db")), file_at(None),
            [file_at("/etc/passwd")], file_at("http://127.0.0.1:9/x"), {"url": "file:///etc/passwd", "path": ""},
            ada.values["pair-id"],
            ada.values["feed-id"], ada.values["liked"], ADA, ME, "f" * 32, f"client-{ada.session}",
            {"headers": ["a"], "data": [["x", "y"]]}, {"headers": [1], "data": "x" * 1000, "metadata": None},
            [["text", True, "why"]], [[1, 2]], "left", "like",
        ]
    )  # fmt: skip


def name_of(handler: Handler) -> str:
    return str(handler["api_name"] or handler["id"])


def kind_of(name: str) -> str:
    return name.rstrip("0123456789").rstrip("_")


def ask(page: PageClient, handler: Handler, data: Any) -> tuple[bool, str]:
    """Whether it was answered, and what was said."""
    try:
        return True, json.dumps(page.send(handler, data))
    except Refusal as refusal:
        return False, f"{refusal.status} {refusal.body}"


def test_no_handler_stores_or_tells_what_it_must_not(place: Place, ada: PageClient, eve: PageClient) -> None:
    found: list[str] = []
    before = place.counts()
    for handler in eve.handlers:
        name = name_of(handler)
        dice = random.Random(f"hostile {kind_of(name)}")
        for turn in range(EACH if handler["inputs"] else min(EACH, 2)):
            data: Any = [hostile(dice, place, ada) for _ in handler["inputs"]]
            if turn % 4 == 3:
                data = dice.choice([data[:-1], [*data, None], [], [None] * 100])  # parts of the page are absent
            answered, said = ask(eve, handler, data)
            told = f"{name} {json.dumps(data)[:200]} -> {answered} {said[:300]}"
            now = place.counts()
            changed = {table for table in TABLES if now[table] != before[table]}
            if changed - (STORING.get(kind_of(name), set()) if answered else set()):
                found.append(f"stored in {changed}: {told}")
            if any(word in said for word in INTERNALS[: None if place.house.hosted else 4]):
                found.append(f"told: {told}")
            if not answered and len(said) > 20_000 + 2 * len(json.dumps(data)):  # Gradio's own words repeat it
                found.append(f"{len(said)} characters: {told}")
            before = now
    assert not found, "\n".join(found)
    if place.house.hosted:  # at home they are one person, who may have cancelled it
        ada.call("import-cancel.click")  # what she looked at waits on
    assert ada.ask("next_pair")[0] == ada.values["pair-id"]
    assert "told" in ada.ask("vote", ada.values["pair-id"], "right", [], [])[0]
    assert place.house.room(EVE).worker.is_alive()


BODIES = (
    b"", b"{", b"[]", b"null", b'{"data": []}', b'{"data": "x", "fn_index": 0}', b'{"data": [], "fn_index": -1}',
    b'{"data": [], "fn_index": 100000}', b'{"data": [], "fn_index": "vote"}', b"[" * 20_000, b'\xff\xfe{"data": []}',
    b'{"data": [], "fn_index": 0, "session_hash": {"a": 1}}', b'{"data": {"a": 1}, "fn_index": 0}',
)  # fmt: skip


@pytest.mark.parametrize("body", BODIES)
def test_what_is_no_call_is_no_call(place: Place, eve: PageClient, body: bytes) -> None:
    before = place.counts()
    for door in ("/gradio_api/run/predict", "/gradio_api/run/vote", "/gradio_api/queue/join", "/gradio_api/call/vote"):
        try:
            told = eve.post(door, body)
        except Refusal as refusal:
            told = refusal.body
        assert not [word for word in INTERNALS[: None if place.house.hosted else 4] if word in told]
    assert place.counts() == before


def test_no_file_is_served_but_to_whom_it_belongs(place: Place, ada: PageClient, eve: PageClient) -> None:
    room = place.house.room(ADA)
    mine = room.own.export_me(ADA)
    secret = [str(mine)] if place.house.hosted else []  # at home it is the one person's own file
    for path in ("/etc/passwd", f"{room.folder}/palate.db", f"{room.folder}/../palate.db", f"{mine.parent}", *secret):
        for door in (f"={path}", f"/{path}", f"={path.replace('/', '%2f')}"):
            with pytest.raises(urllib.error.HTTPError):
                eve.get(f"/gradio_api/file{door}")
    assert ada.get(f"/mine/{mine.name}")[:2] == b"PK"
    for name in ("..%2f..%2fpalate.db", "../" * 9 + "etc/passwd", "palate.db"):
        with pytest.raises(urllib.error.HTTPError):
            ada.get(f"/mine/{name}")
    if place.house.hosted:
        with pytest.raises(urllib.error.HTTPError, match="404"):
            eve.get(f"/mine/{mine.name}")


def test_a_flood_is_refused_in_words(tmp_path: Path, place: Place) -> None:
    if not isinstance(place.house, Hosted):
        pytest.skip("at home nobody floods")
    place.house._calls = Limit(2, 60)
    page = PageClient(place.url, "d" * 32)
    try:
        page.ask("next_card"), page.ask("next_card")
        with pytest.raises(Refusal, match="wait 1 s"):
            page.ask("next_card")
    finally:
        place.house._calls = Limit(10**6, 10**6)


# ---- what breaks while a person is there


def test_a_reload_and_a_second_tab_show_the_same_pair_and_one_vote_counts(place: Place) -> None:
    one, other = PageClient(place.url, ADA), PageClient(place.url, ADA)
    shown = one.ask("next_pair")[0]
    assert other.ask("next_pair")[0] == shown
    other.open()
    assert other.ask("next_pair")[0] == shown
    said: list[str] = []

    def vote(page: PageClient, choice: str) -> None:
        try:
            said.append(page.ask("vote", shown, choice, [], [])[0])
        except Refusal as refusal:
            said.append(str(refusal))

    tabs = [threading.Thread(target=vote, args=tab) for tab in ((one, "left"), (other, "right"))]
    for tab in tabs:
        tab.start()
    for tab in tabs:
        tab.join()
    assert sorted("told" in words and "nothing was stored" not in words for words in said) == [False, True]
    assert any("voted on this one already: nothing was stored" in told for told in said)
    following = {page.ask("next_pair")[0] for page in (one, other)}
    assert len(following) == 1
    assert shown not in following


def test_a_connection_lost_while_a_pair_is_written_finds_it_on_return(place: Place) -> None:
    who = "c" * 32
    page = PageClient(place.url, who)
    worker = place.house.room(who).worker
    with worker.resting:  # nothing is written meanwhile
        session = place.house.room(who)
        for row in session.store.ready(ME, "pair"):
            session.store.void(row["id"], "test")
        handler, asked = page.handler("next_pair"), worker.waited_until
        page.post(
            "/gradio_api/queue/join",
            json.dumps({"data": [], "fn_index": handler["id"], "session_hash": page.session}).encode(),
        )
        with socket.create_connection(("127.0.0.1", int(place.url.rsplit(":", 1)[1]))) as phone:
            phone.sendall(
                f"GET /gradio_api/queue/data?session_hash={page.session} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
            )
            phone.recv(100)
            until_waiting(worker, asked)
    page.open()  # it wakes up
    shown = page.ask("next_pair")[0]
    assert page.ask("next_pair")[0] == shown
    assert "told" in page.ask("vote", shown, "both", [], [])[0]


def until_waiting(worker: Any, before: float) -> None:
    deadline = time.monotonic() + 20
    while worker.waited_until == before:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_full_disk_is_told_and_with_space_again_it_goes_on(place: Place) -> None:
    page = PageClient(place.url, EVE)
    page.ask("next_pair")
    store = place.house.room(EVE).store
    counted = place.counts()["vote"]
    store.db.run("create table filler (x)")
    real = store.db.__class__.connected
    full = threading.Event()

    @contextmanager
    def connected(db: Any) -> Any:
        with real(db) as found:  # there are several, and each must find the disk full
            pages = found.conn.execute("pragma page_count").fetchone()[0] if full.is_set() and db is store.db else 10**9
            found.conn.execute(f"pragma max_page_count = {pages}")
            yield found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store.db.__class__, "connected", connected)
        full.set()
        fill(store)
        with pytest.raises(Refusal, match=r"disk .* is full.*what was stored before is safe"):
            go_on(page)
        full.clear()
        store.db.run("drop table filler")
    assert place.counts()["vote"] >= counted
    assert "told" in page.ask("vote", page.ask("next_pair")[0], "left", [], [])[0]


def go_on(page: PageClient) -> None:
    for _ in range(200):
        page.ask("vote", page.ask("next_pair")[0], "left", [], [])


def fill(store: Store) -> None:
    """Leave no free page inside the file either."""
    try:
        while True:
            store.db.run("insert into filler values (zeroblob(2000))")
    except RuntimeError:
        pass
