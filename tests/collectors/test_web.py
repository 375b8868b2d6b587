import gzip
import socket
import threading
import time
import tomllib
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from collectors.guard import Unreachable, is_public
from collectors.item import CollectError
from collectors.web import USER_AGENT, Answer, Web, pause
from tests.collectors.stand_in import as_json, standing_in


@pytest.fixture(scope="module")
def web():
    with Web(public_only=False, seconds=5, max_bytes=10_000) as client:
        yield client


@pytest.fixture(scope="module")
def public():
    with Web(seconds=5) as client:
        yield client


@contextmanager
def dripping(head: bytes):
    """A server that sends `head`, then a byte every 50 ms for ever."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            connection, _ = server.accept()
            with connection:
                connection.sendall(head)
                while not ended.wait(0.05):
                    try:
                        connection.sendall(b"x")
                    except OSError:
                        return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        ended.set()
        thread.join(5)


def answering(*replies):
    """The replies in their order, the last one for ever; what was asked goes to `.seen`."""
    seen = []

    def answer(method, path, query, headers, body):
        seen.append((path, query, headers))
        return replies[min(len(seen), len(replies)) - 1]

    answer.seen = seen
    return answer


def test_an_answer_with_what_was_asked(web):
    answer = answering((418, {"X-Odd": "Yes", "Set-Cookie": "a=b"}, b"tea"))
    with standing_in(answer) as service:
        got = web.get(f"{service.url}/x", params={"q": "a b&c"}, headers={"Authorization": "Bearer t"})
        web.get(f"{service.url}/y")
    assert (got.status, got.headers["x-odd"], got.body) == (418, "Yes", b"tea")
    assert got.url == f"{service.url}/x?q=a+b%26c"
    path, query, headers = answer.seen[0]
    assert (path, query) == ("/x", {"q": ["a b&c"]})
    assert headers["user-agent"] == USER_AGENT
    assert headers["authorization"] == "Bearer t"
    assert "cookie" not in answer.seen[1][2]


def test_it_says_which_palate_asks():
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    assert f"Palate/{project['version']}" == USER_AGENT


def test_redirects_are_followed_a_while_and_no_other_host_gets_the_token(web):
    here = answering((302, {"Location": "/next"}, b""), (200, {}, b"there"))
    with standing_in(here) as service:
        got = web.get(f"{service.url}/first", headers={"Authorization": "Bearer t"})
    assert (got.body, got.url) == (b"there", f"{service.url}/next")
    assert here.seen[1][2]["authorization"] == "Bearer t"
    there = answering((200, {}, b"other"))
    with standing_in(there) as other, standing_in(answering((307, {"Location": other.url}, b""))) as service:
        assert web.get(service.url, headers={"Authorization": "Bearer t"}).body == b"other"
    assert "authorization" not in there.seen[0][2]
    with standing_in(answering((302, {"Location": "/again"}, b""))) as service:
        with pytest.raises(CollectError, match="redirects more than 5 times"):
            web.get(service.url)
        assert len(service.calls) == 6


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://example.org/x", "gopher://example.org"])
def test_only_the_web_is_asked(web, to):
    with pytest.raises(CollectError, match="is no web address"):
        web.get(to)
    redirected = standing_in(answering((302, {"Location": to}, b"")))
    with redirected as service, pytest.raises(CollectError, match="is no web address"):
        web.get(service.url)


@pytest.mark.parametrize("url", ["", "example.org", "http://", "http://[::1", "http://a\nb/", f"http://{'a' * 70}.b/"])
def test_an_address_that_is_none(web, url):
    with pytest.raises(CollectError, match=r"is no web address|There is no host"):
        web.get(url)


HOSTS = ("127.0.0.1", "localhost", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0.0.0.0", "[::ffff:127.0.0.1]")


@pytest.mark.parametrize("host", HOSTS)
def test_this_machine_is_not_asked_however_it_is_written(public, host):
    with standing_in(answering((200, {}, b"secret"))) as service:
        port = service.url.rpartition(":")[2]
        with pytest.raises(CollectError, match=r"only public addresses|is no web address"):
            public.get(f"http://{host}:{port}/")
    assert not service.calls


@pytest.mark.parametrize(
    "host", ["[::1]", "10.0.0.1", "169.254.169.254", "100.64.0.1", "[fe80::1]", "[::]", "224.0.0.1"]
)
def test_nor_is_its_network(public, host):
    with pytest.raises(CollectError, match="only public addresses"):
        public.get(f"http://{host}/")


def test_which_addresses_are_public():
    public = "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"
    private = (
        "0.0.0.0", "10.1.2.3", "100.127.0.1", "127.0.0.2", "169.254.0.1", "172.16.0.1", "192.168.1.1", "224.0.0.1",
        "240.0.0.1", "255.255.255.255", "::", "::1", "::7f00:1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "64:ff9b:1::1",
        "2002:a00:1::1", "2001::1", "fc00::1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "ff0e::1", "100::1",
    )  # fmt: skip
    assert [a for a in public if not is_public(a)] == []
    assert [a for a in private if is_public(a)] == []


def resolving(monkeypatch, **names):
    """Names that resolve as told, each time to the next of their lists."""
    asked = []
    real = socket.getaddrinfo

    def look_up(host, port, *args, **kwargs):
        if host not in names:
            return real(host, port, *args, **kwargs)
        addresses = names[host][min(asked.count(host), len(names[host]) - 1)]
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


def test_a_name_that_leads_home_is_refused(public, monkeypatch):
    resolving(monkeypatch, evil=[["127.0.0.1"]], half=[["8.8.8.8", "10.0.0.1"]])
    with standing_in(answering((200, {}, b"secret"))) as service:
        for name in ("evil", "half"):
            with pytest.raises(CollectError, match=f"{name} is on this machine"):
                public.get(service.url.replace("127.0.0.1", name))
    assert not service.calls


def test_the_judged_address_is_the_dialled_one(public, monkeypatch):
    """A name that is public when asked first and private the second time is asked once."""
    asked = resolving(monkeypatch, rebind=[["8.8.8.8"], ["127.0.0.1"]])
    dialled = []
    monkeypatch.setattr(socket, "create_connection", lambda address, *a, **k: dialled.append(address) or fail())

    def fail():
        raise ConnectionRefusedError(111, "Connection refused")

    with pytest.raises(Unreachable, match="rebind cannot be reached"):
        public.get("http://rebind:81/")
    assert (asked, dialled) == (["rebind"], [("8.8.8.8", 81)])


def test_a_redirect_home_is_refused(monkeypatch):
    monkeypatch.setattr("collectors.guard.is_public", lambda address: address != "127.0.0.9")
    home = standing_in(answering((302, {"Location": "http://127.0.0.9:1/"}, b"")))
    refused = pytest.raises(CollectError, match=r"127\.0\.0\.9 is on this machine")
    with Web(seconds=5) as web, home as service, refused:
        web.get(service.url)


def test_the_next_address_of_a_name_is_tried(web, monkeypatch):
    resolving(monkeypatch, two=[["127.0.0.9", "127.0.0.1"]])  # nothing listens at the first
    with standing_in(answering((200, {}, b"here"))) as service:
        assert web.get(service.url.replace("127.0.0.1", "two")).body == b"here"


def test_what_is_not_there(web, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1 cannot be reached"):
        web.get(f"http://127.0.0.1:{port}/")
    with pytest.raises(Unreachable, match=r"There is no host nowhere\.invalid"):
        web.get("http://nowhere.invalid/")
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: time.sleep(3) or [])
    with Web(seconds=0.2) as hasty, pytest.raises(Unreachable, match=r"within 0\.2 s"):
        hasty.get("http://slow-name.example/")


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nX-Long: ", b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n"])
def test_a_server_that_drips_ends_too(head):
    with dripping(head) as url, Web(public_only=False, seconds=0.5) as web:
        began = time.monotonic()
        with pytest.raises(Unreachable, match=r"no whole answer within 0\.5 s"):
            web.get(url)
        assert time.monotonic() - began < 2


def test_a_server_that_hangs_or_breaks_off(web):
    hasty = Web(public_only=False, seconds=0.3)
    with standing_in(answering("hang")) as service, hasty, pytest.raises(Unreachable, match=r"within 0\.3 s"):
        hasty.get(service.url)
    with standing_in(answering("cut")) as service, pytest.raises(Unreachable, match="broke off"):
        web.get(service.url)
    with dripping(b"SSH-2.0-x\r\n\r\n") as url, pytest.raises(Unreachable, match="does not speak HTTP"):
        web.get(url)


def test_too_large(web):
    with standing_in(answering((200, {}, b"x" * 10_000), (200, {}, b"x" * 10_001))) as service:
        assert len(web.get(service.url).body) == 10_000
        with pytest.raises(CollectError, match=r"more than 0\.01 MB"):
            web.get(service.url)


def test_packed_answers_are_unpacked_and_bounded(web):
    bomb = gzip.compress(b"\0" * 50_000_000)
    packed = {"Content-Encoding": "gzip"}
    replies = [(200, packed, gzip.compress(b"joke")), (200, packed, bomb), (200, packed, gzip.compress(b"joke")[:-4])]
    replies += [(200, packed, b"no gzip"), (200, {"Content-Encoding": "br"}, b"?"), (204, packed, b"")]
    with standing_in(answering(*replies)) as service:
        assert web.get(service.url).body == b"joke"
        with pytest.raises(CollectError, match="more than"):
            web.get(service.url)
        for _ in range(2):
            with pytest.raises(Unreachable, match="damaged"):
                web.get(service.url)
        with pytest.raises(CollectError, match="not asked for"):
            web.get(service.url)
        assert web.get(service.url).body == b""


def test_proxies_of_the_environment_are_not_used(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with Web(public_only=False, seconds=5) as web, standing_in(answering((200, {}, b"direct"))) as service:
        assert web.get(service.url).body == b"direct"


def test_json_or_a_sentence(web):
    with standing_in(answering(as_json([1]), (200, {}, b"<html>"), (200, {}, b"[" * 9_000))) as service:
        assert web.get(service.url).json() == [1]
        for _ in range(2):
            with pytest.raises(Unreachable, match="no JSON"):
                web.get(service.url).json()


def test_how_long_to_wait():
    def said(value):
        return Answer(429, {"retry-after": value}, b"", "").retry_after()

    assert Answer(429, {}, b"", "").retry_after() is None
    assert (said("7"), said("soon"), said("-3"), said("Thu, 01 Jan 1970 00:00:00 GMT")) == (7, None, None, 0)
    assert 50 < said(format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)) <= 60


def test_a_pause_ends_when_stopped():
    began = time.monotonic()
    pause(30, lambda: time.monotonic() - began > 0.1)
    pause(0, lambda: False)
    assert time.monotonic() - began < 2
