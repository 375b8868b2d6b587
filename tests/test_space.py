"""The app as a Space runs it: told by environment variables alone, visitors over HTTP, a disk that does not last."""

import http.cookiejar
import importlib.util
import json
import re
import shlex
import sys
import threading
import time
import tomllib
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import gradio
import pytest
from playwright.sync_api import Browser

from app import main
from demo.space import space
from studies.benchmarks.app_process import AppProcess
from studies.store import Store
from tests.dataset_hub import Hub, hub
from tests.studies.test_rooms import FILE, fill, write_files

README = Path(__file__).parents[1] / "README.md"
SECRET = "a secret of the Space"
OAUTH = {
    "OAUTH_CLIENT_ID": "id",
    "OAUTH_CLIENT_SECRET": SECRET,
    "OAUTH_SCOPES": "openid profile",
    "OPENID_PROVIDER_URL": "https://huggingface.co",
}
ABLE = importlib.util.find_spec("authlib") is not None  # a Space installs it where the README says hf_oauth


def told_by_a_space(model: Path, far: Hub) -> dict[str, str]:
    return {
        "SYSTEM": "spaces",
        "SPACE_ID": "me/palate",
        "SPACE_HOST": "me-palate.hf.space",
        "SPACE_AUTHOR_NAME": "me",
        "SPACE_REPO_NAME": "palate",
        "SPACES_ZERO_GPU": "true",
        "GRADIO_SERVER_NAME": "0.0.0.0",
        "GRADIO_SSR_MODE": "true",
        "PALATE_FLAGS": f"--model '{model}' --seed 3",
        "PALATE_DATASET": "me/votes",
        "HF_TOKEN": "hf_secret",
        "HF_ENDPOINT": far.url,
        **(OAUTH if ABLE else {}),
    }


class Visitor:
    """A browser: its cookies are its own, and it keeps secure ones though no proxy speaks TLS for us here."""

    def __init__(self, app: AppProcess, session: str = "") -> None:
        self.url = app.url
        policy = http.cookiejar.DefaultCookiePolicy(secure_protocols=("http", "https"))
        jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar(policy))
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), jar)
        if session:
            self.opener.addheaders.append(("Cookie", f"session={session}"))
        self.cookie = self.ask("/").headers["Set-Cookie"] or ""

    def ask(self, path: str, body: bytes | None = None, kind: str = "application/json") -> Any:
        return self.opener.open(urllib.request.Request(f"{self.url}{path}", body, {"Content-Type": kind}), timeout=60)

    def join(self, name: str, *data: Any) -> str:
        """Ask for something that is queued; returns the event's id."""
        body = json.dumps({"data": data}).encode()
        return str(json.loads(self.ask(f"/gradio_api/call/{name}", body).read())["event_id"])

    def wait(self, name: str, event: str) -> list[Any]:
        said = self.ask(f"/gradio_api/call/{name}/{event}").read().decode()
        if "event: error" in said:
            raise RuntimeError(said)
        return list(json.loads(re.findall(r"event: complete\ndata: (.*)", said)[-1]))

    def call(self, name: str, *data: Any) -> list[Any]:
        return self.wait(name, self.join(name, *data))

    def at_once(self, name: str, *data: Any) -> list[Any]:
        """The same without the queue, as votes go."""
        try:
            return list(
                json.loads(self.ask(f"/gradio_api/run/{name}", json.dumps({"data": data}).encode()).read())["data"]
            )
        except urllib.error.HTTPError as error:
            raise RuntimeError(error.read().decode()) from error

    def upload(self, name: str, content: str) -> str:
        body = (
            f'--b\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n{content}\r\n--b--\r\n'
        ).encode()
        paths = json.loads(self.ask("/gradio_api/upload", body, "multipart/form-data; boundary=b").read())
        return str(paths[0])


def status(visitor: Visitor, path: str) -> int:
    try:
        return int(visitor.ask(path).status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.fixture(scope="module")
def far() -> Iterator[Hub]:
    with hub() as far:
        yield far


@pytest.fixture(scope="module")
def app(tiny_folder: Path, far: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppProcess]:
    data = tmp_path_factory.mktemp("data")
    running = AppProcess(data, environment=told_by_a_space(tiny_folder, far))
    running.data_dir = data
    yield running
    running.end()


def in_the_ledger(app: AppProcess) -> list[dict[str, Any]]:
    paths = (app.data_dir / "ledger").rglob("*.jsonl")
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


def plain(text: str) -> str:
    return re.sub("<[^>]+>", "", text)


def test_what_the_readme_tells_a_space_is_so() -> None:
    head = README.read_text().split("---\n")[1]
    told = dict(line.split(": ", 1) for line in head.splitlines())
    assert told["sdk"] == "gradio"
    assert told["sdk_version"] == gradio.__version__
    assert (README.parent / told["app_file"]).is_file()
    assert told["hf_oauth"] == "true"
    python = tuple(map(int, told["python_version"].strip('"').split(".")))
    least = tomllib.loads((README.parent / "pyproject.toml").read_text())["project"]["requires-python"]
    assert python >= tuple(map(int, least.removeprefix(">=").split(".")))


def test_elsewhere_nothing_is_a_space(monkeypatch: pytest.MonkeyPatch) -> None:
    assert space() is None
    monkeypatch.setenv("SPACE_ID", "me/palate")
    monkeypatch.setenv("PALATE_FLAGS", "--model 'a b'")
    here = space()
    assert here is not None
    assert here.flags == ("--model", "a b")
    assert not here.zero_gpu
    assert not here.sign_in


def test_the_cookie_is_for_the_frame_of_a_space_alone(app: AppProcess) -> None:
    cookie = Visitor(app).cookie
    assert re.match(r"palate_visitor=[0-9a-f]{32}; .*HttpOnly; SameSite=None; Secure; Partitioned", cookie)


def test_two_visitors_who_never_meet(app: AppProcess) -> None:
    ada, bob = Visitor(app), Visitor(app)
    cards = [ada.at_once("next_card"), bob.at_once("next_card")]
    assert cards[0][0] != cards[1][0]
    with pytest.raises(RuntimeError):
        bob.at_once("react", cards[0][0], "like")
    ada.at_once("react", cards[0][0], "like")
    pair = ada.call("next_pair")
    other = bob.call("next_pair")
    with pytest.raises(RuntimeError, match="not shown to you"):
        bob.at_once("vote", pair[0], "left", [], [])
    ada.at_once("vote", pair[0], "left", ["sounds_ai"], [])
    bob.at_once("vote", other[0], "both", [], [])
    assert "Withdrawn" in bob.at_once("undo")[0]
    lines = {line.get("vote") or line["undo"]: line for line in in_the_ledger(app)}
    assert lines[pair[0]]["choice"] == "left"
    assert lines[pair[0]]["flags"] == [["left", "sounds_ai"]]
    assert "undo" in lines[other[0]]
    assert lines[pair[0]]["rater"] != lines[other[0]]["rater"]
    kept = json.dumps(in_the_ledger(app))
    for text in (*pair[1:3], *other[1:3], cards[0][1]):
        assert plain(text) not in kept
    bob.call("delete", "DELETE")
    again = in_the_ledger(app)
    assert [line for line in again if line["rater"] == lines[other[0]]["rater"] and "gone" not in line] == []
    assert any(line.get("vote") == pair[0] for line in again)


def test_a_zip_is_handed_to_whose_it_is_and_to_nobody_else(app: AppProcess) -> None:
    ada, bob = Visitor(app), Visitor(app)
    for visitor in (ada, bob):
        visitor.at_once("next_card")
    link = re.findall(r'href="(mine/palate-[\d-]+\.zip)"', ada.call("export")[0])[0]
    assert ada.ask(f"/{link}").read()[:2] == b"PK"
    assert status(bob, f"/{link}") == 404
    assert status(ada, "/mine/..%2f..%2fpalate.db") == 404
    (path,) = app.data_dir.rglob(link.removeprefix("mine/"))
    for visitor in (ada, bob):
        for route in ("file=", "/file=", "file/", "%66ile="):
            assert status(visitor, f"/gradio_api/{route}{path}") in (403, 404)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{app.url}/{link}")
    assert refused.value.code == 404


def test_what_one_brought_is_read_for_nobody_else(app: AppProcess) -> None:
    ada, bob = Visitor(app), Visitor(app)
    path = ada.upload("likes.csv", "text,liked\nAda wrote this secret about ducks herself,1\n")
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    with pytest.raises(RuntimeError, match="not brought by you"):
        bob.call("look_into", file)
    dump = {**file, "path": ada.upload("dump.jsonl", '{"id": "a", "selftext": "ducks"}\n')}
    with pytest.raises(RuntimeError, match="not brought by you"):
        bob.call("fetch_posts", dump)
    for sly in (path.replace("/uploads/", "/uploads/./"), f"{path}/../likes.csv"):
        with pytest.raises(RuntimeError):
            bob.call("look_into", {**file, "path": sly})
    assert "Ada wrote this secret" in ada.call("look_into", file)[1]
    nobody = Visitor(app)
    nobody.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with pytest.raises(urllib.error.HTTPError) as refused:
        nobody.upload("likes.csv", "text\nx\n")
    assert refused.value.code == 403


def test_many_wait_and_a_vote_does_not(app: AppProcess) -> None:
    ada, bob = Visitor(app), Visitor(app)
    pair = ada.call("next_pair")[0]
    events = [bob.join("next_pair") for _ in range(24)]  # 16 run at a time: with a queue of 1 the 18th is refused
    begun = time.perf_counter()
    ada.at_once("vote", pair, "left", [], [])
    took = time.perf_counter() - begun
    assert len({bob.wait("next_pair", event)[0] for event in events}) == 1
    assert took < 2.0, "0.1 s on an idle machine"


@pytest.mark.skipif(not ABLE, reason="sign-in needs authlib, which a Space brings along")
def test_who_signs_in_finds_their_room_from_any_browser(app: AppProcess) -> None:
    from hashlib import sha256

    from itsdangerous import TimestampSigner

    def signed(secret: str, account: str, lasts: float = 3600) -> str:
        user = {"sub": account, "name": "A", "preferred_username": "a", "profile": "p", "picture": "q"}
        told = {"oauth_info": {"userinfo": user, "expires_at": time.time() + lasts, "access_token": "t", "scope": ""}}
        signer = TimestampSigner(sha256(f"{secret}-v4".encode()).hexdigest())
        return signer.sign(b64encode(json.dumps(told).encode())).decode()

    desk, phone = (Visitor(app, signed(SECRET, "77")) for _ in range(2))
    card = desk.at_once("next_card")[0]
    assert phone.at_once("next_card")[0] == card
    for stranger in (Visitor(app), *(Visitor(app, signed(*told)) for told in (("forged", "77"), (SECRET, "77", -1)))):
        assert stranger.at_once("next_card")[0] != card
    assert "sign-in" in desk.ask("/config").read().decode()


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Start the app on a Space where it will not get as far as a model; returns what it said."""

    def start(*flags: str) -> str:
        told = {"SPACE_ID": "me/palate", "FORWARDED_ALLOW_IPS": "*", "PALATE_FLAGS": shlex.join(flags)}
        for name, value in told.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["app.py", "--port", "0"])
        assert main() == 2
        return capsys.readouterr().err

    return start


def test_a_second_process_is_refused_in_words(app: AppProcess, start: Callable[..., str]) -> None:
    assert "is being served by another process" in start("--data-dir", str(app.data_dir))


def test_a_study_is_not_kept_on_a_disk_that_does_not_last(start: Callable[..., str]) -> None:
    assert "on storage that does" in start("--study", "study.toml")


def test_standings_outlive_the_disk(app: AppProcess, tiny_folder: Path, far: Hub, tmp_path: Path) -> None:
    ada = Visitor(app)
    for _ in range(2):
        pair = ada.call("next_pair")
        ada.at_once("vote", pair[0], "left", [], [])
    votes = {line["vote"] for line in in_the_ledger(app) if "vote" in line}
    app.end()
    assert far.created[0]["visibility"] == "private"
    running = AppProcess(tmp_path, environment=told_by_a_space(tiny_folder, far))
    running.data_dir = tmp_path
    assert {line["vote"] for line in in_the_ledger(running) if "vote" in line} == votes
    running.end()


@contextmanager
def site(page: str) -> Iterator[str]:
    """Another site on this machine, with one page."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, *told: Any) -> None:
            pass

    server = ThreadingHTTPServer(("localhost", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_in_the_frame_of_another_site_ids_are_read_and_a_reload_is_the_same_person(
    chromium: Browser, tmp_path: Path
) -> None:
    study, data = write_files(tmp_path, FILE), tmp_path / "data"
    fill(Store(data), study)
    told = {"SPACE_ID": "me/palate", "PALATE_FLAGS": f"--study '{study}'"}
    app = AppProcess(data, environment=told)
    framed = app.url.replace("0.0.0.0", "127.0.0.1")
    frame = '<iframe width=900 height=800 src="{}"></iframe>'
    try:
        with (
            site(frame.format(f"{framed}/?PROLIFIC_PID=P-1&SESSION_ID=S-1")) as first,
            site(frame.format(f"{framed}/")) as later,
        ):
            context = chromium.new_context()
            context.set_default_timeout(120_000)
            page = context.new_page()
            page.goto(first)
            inside = page.frame_locator("iframe")
            inside.locator("#consent-yes").click()
            inside.locator("#begin").wait_for()
            assert Store(data).db.rows("select platform_person, platform_session from participant") == [
                {"platform_person": "P-1", "platform_session": "S-1"}
            ]
            (cookie,) = [cookie for cookie in context.cookies() if cookie["name"] == "palate_visitor"]
            assert (cookie["sameSite"], cookie["secure"], cookie["httpOnly"]) == ("None", True, True)
            page.goto(later)
            inside.locator("#begin").wait_for()
            context.close()
    finally:
        app.end()
