"""The real atproto library against a stand-in on this machine: view, directory and the person's server in one."""

import sys
from datetime import UTC, datetime

import pytest

from collectors.bluesky import BATCH, PAGE, Bluesky, account_of
from collectors.guard import Unreachable
from collectors.item import CollectError, Item, Signal
from collectors.pseudonym import pseudonym
from collectors.web import Web
from tests.collectors.stand_in import as_json, standing_in

DID, AUTHOR = f"did:plc:{'a' * 24}", f"did:plc:{'b' * 24}"
AT = "2026-01-14T10:00:00.000Z"
RESOLVE, LIKES, POSTS = (
    f"/xrpc/{call}"
    for call in ("com.atproto.identity.resolveHandle", "com.atproto.repo.listRecords", "app.bsky.feed.getPosts")
)
SERVICE = {"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": "https://pds.example"}


def uri_of(n):
    return f"at://{AUTHOR}/app.bsky.feed.post/p{n}"


def like(n, uri=None):
    value = {"$type": "app.bsky.feed.like", "createdAt": AT, "subject": {"uri": uri or uri_of(n), "cid": "c"}}
    return {"uri": f"at://{DID}/app.bsky.feed.like/{n}", "cid": "c", "value": value}


def post(uri, **record):
    text = f"Post {uri.rpartition('/p')[2]}"
    said = {"$type": "app.bsky.feed.post", "text": text, "createdAt": "2026-01-01T00:00:00Z"}
    author = {"did": AUTHOR, "handle": "bob.example"}
    return {"uri": uri, "cid": "c", "indexedAt": AT, "author": author, "record": said | record}


class Network:
    """`instead` answers first, by path, once for each that stands there."""

    def __init__(self, likes=()):
        self.likes, self.gone, self.records, self.instead = list(likes), set(), {}, {}
        self.server = ""  # where the account lies; here, unless a test says otherwise
        self.asked = []

    def __call__(self, method, path, query, headers, body):
        self.asked.append((path, query))
        assert method == "GET"
        if self.instead.get(path):
            return self.instead[path].pop(0)
        if path == RESOLVE:
            assert query == {"handle": ["ann.example"]}
            return as_json({"did": DID})
        if path in (f"/{DID}", "/.well-known/did.json"):
            did = DID if path == f"/{DID}" else "did:web:ann.example"
            return as_json({"id": did, "service": [SERVICE | {"serviceEndpoint": self.server}]})
        if path == LIKES:
            assert query["collection"] == ["app.bsky.feed.like"]
            start, size = int(query.get("cursor", ["0"])[0]), int(query["limit"][0])
            more = {"cursor": str(start + size)} if start + size < len(self.likes) else {}
            return as_json({"records": self.likes[start : start + size], **more})
        assert path == POSTS
        assert 1 <= len(query["uris"]) <= BATCH
        there = [uri for uri in query["uris"] if uri not in self.gone]
        return as_json({"posts": [post(uri, **self.records.get(uri, {})) for uri in there]})


def asking(network, service, account="ann.example", seconds=5.0, **settings):
    network.server = network.server or service.url
    web = Web(public_only=False, seconds=seconds)
    return Bluesky(account, appview=service.url, plc=service.url, web=web, **settings)


def collected(network, **settings):
    with standing_in(network) as service:
        collector = asking(network, service, **settings)
        return list(collector), collector.report()


def broken(network, seconds=0.3, **settings):
    """What came before the break, and the error."""
    got = []
    with standing_in(network) as service:
        collector = asking(network, service, seconds=seconds, **settings)
        with pytest.raises(CollectError) as failed:
            got += collector  # a list takes what comes before the error
    return got, failed.value


def test_two_pages_of_likes():
    network = Network(like(n) for n in range(130))
    network.gone = {uri_of(1), uri_of(101)}
    got, report = collected(network)
    assert len(got) == 128
    assert got[0] == (
        Item(
            "bluesky",
            uri_of(0),
            "post",
            "Post 0",
            author_hash=pseudonym("bluesky", AUTHOR),
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
            url=f"https://bsky.app/profile/{AUTHOR}/post/p0",
        ),
        Signal(f"bluesky:{uri_of(0)}", 1, at=datetime(2026, 1, 14, 10, tzinfo=UTC), origin="bluesky:likes"),
    )
    assert [item.source_id for item, _ in got[-2:]] == [uri_of(128), uri_of(129)]
    assert (report.found, report.likes, report.skipped) == (130, 128, {"deleted": 2})
    assert report.lists == {"likes": 130}
    # The handle, its document, four batches of the first page, two of the second.
    paths = [path for path, _ in network.asked]
    assert paths == [RESOLVE, f"/{DID}", LIKES, *[POSTS] * 4, LIKES, *[POSTS] * 2]
    assert network.asked[2][1]["limit"] == [str(PAGE)]
    assert network.asked[2][1]["repo"] == [DID]


def test_the_limit_bounds_what_is_asked_for():
    network = Network(like(n) for n in range(130))
    got, _ = collected(network, limit=30)
    assert len(got) == 30
    assert [query["limit"] for path, query in network.asked if path == LIKES] == [["30"]]


def test_what_is_no_post_or_says_nothing_is_counted():
    feed = f"at://{AUTHOR}/app.bsky.feed.generator/cats"
    odd = {"uri": "at://x", "cid": "c", "value": {"$type": "app.bsky.feed.like", "subject": "words"}}
    network = Network([like(0, feed), odd, like(1), like(1), like(2), like(3)])
    network.records = {uri_of(2): {"text": ""}, uri_of(3): {"text": None}}
    got, report = collected(network)
    assert [item.text for item, _ in got] == ["Post 1"]
    assert report.skipped == {"not a post": 2, "duplicate": 1, "no text": 2}


def test_one_post_that_is_not_understood_does_not_cost_the_others():
    network = Network(like(n) for n in range(8))
    good = network.__call__

    def answer(method, path, query, headers, body):
        if path != POSTS:
            return good(method, path, query, headers, body)
        return as_json({"posts": [post(uri) | ({"cid": 5} if uri == uri_of(3) else {}) for uri in query["uris"]]})

    with standing_in(answer) as service:
        collector = asking(network, service)
        got = [item.text for item, _ in collector]
    assert "Post 3" not in got
    assert len(got) == 7
    assert collector.report().skipped == {"post not understood": 1}


def test_a_page_that_comes_again_ends_it():
    network = Network()
    network.instead[LIKES] = [as_json({"records": [like(n)], "cursor": "same"}) for n in range(5)]
    got, _ = collected(network)
    assert len(got) == 2


def test_an_identity_kept_on_a_web_site(monkeypatch):
    network = Network([like(1)])
    with standing_in(network) as service:
        collector = asking(network, service, "did:web:ann.example")
        get = Web.get

        def here(self, url, *rest):
            return get(self, url.replace("https://ann.example", service.url), *rest)

        monkeypatch.setattr(Web, "get", here)
        assert len(list(collector)) == 1
    assert [path for path, _ in network.asked] == ["/.well-known/did.json", LIKES, POSTS]


@pytest.mark.parametrize(
    "said",
    [
        "ann.bsky.social",
        " @Ann.bsky.social\n",
        "\u202aann.bsky.social\u202c",
        "https://bsky.app/profile/ann.bsky.social",
        "https://bsky.app/profile/ann.bsky.social/post/3k?x=1",
        "at://ann.bsky.social",
    ],
)
def test_ways_to_write_an_account(said):
    assert account_of(said) == "ann.bsky.social"


def test_an_identity_is_an_account():
    assert account_of(f"https://bsky.app/profile/{DID}") == DID
    assert account_of("did:web:ann.example") == "did:web:ann.example"


@pytest.mark.parametrize(
    "said", ["", "ann", "ann bob.social", "a/../b.c", "did:plc:x", "did:web:a/b", "https://x.example/ann", "é.example"]
)
def test_what_is_no_account(said):
    with pytest.raises(CollectError, match="is no Bluesky account"):
        Bluesky(said)


@pytest.mark.parametrize(
    ("path", "answer", "said"),
    [
        (RESOLVE, as_json({"error": "InvalidRequest", "message": "Unable to resolve handle"}, 400), "has no account"),
        (RESOLVE, as_json({"did": "did:plc:../../x"}), "cannot be read"),
        (RESOLVE, as_json({}, 429, {"Retry-After": "12"}), "in 12 seconds"),
        (RESOLVE, as_json({}, 429), "in five minutes"),
        (RESOLVE, as_json({}, 503), "status 503"),
        (RESOLVE, "hang", "no whole answer within 0.3 s"),
        (f"/{DID}", as_json({}, 404), "does not exist"),
        (f"/{DID}", as_json({}, 500), "status 500"),
        (f"/{DID}", as_json({"id": AUTHOR}), "names no server"),
        (f"/{DID}", as_json({"id": DID, "service": 5}), "names no server"),
        (f"/{DID}", as_json({"id": AUTHOR, "service": [SERVICE]}), "names no server"),  # somebody else's
        (f"/{DID}", as_json([]), "names no server"),
        (f"/{DID}", (200, {}, b"<html>"), "no JSON"),
        (f"/{DID}", "cut", "broke off"),
        (LIKES, as_json({"error": "RepoNotFound"}, 400), "has no likes"),
        (LIKES, as_json({}, 401), "status 401"),
        (LIKES, as_json({}, 502), "status 502"),
        (LIKES, as_json({"records": 5}), "cannot be read"),
        (LIKES, (200, {"Content-Type": "application/json"}, b"{"), "cannot be read"),
        (LIKES, (200, {"Content-Type": "text/html"}, b"<html>"), "cannot be read"),
        (LIKES, "cut", "broke off"),
        (LIKES, "hang", "no whole answer within 0.3 s"),
        (POSTS, "cut", "broke off"),
        (POSTS, as_json({}, 400), "status 400"),
    ],
)
def test_what_goes_wrong_is_one_sentence(path, answer, said):
    network = Network([like(1)])
    network.instead[path] = [answer]
    got, error = broken(network, seconds=0.3 if answer == "hang" else 20)  # a busy machine breaks off late as well
    assert not got
    assert said in str(error)
    assert str(error).count(". ") == 0


def test_what_came_before_a_break_is_kept():
    network = Network(like(n) for n in range(130))
    good, calls = network.__call__, []

    def answer(method, path, *rest):
        calls.append(path)
        return "cut" if calls.count(POSTS) == 3 else good(method, path, *rest)

    got = []
    with standing_in(answer) as service, pytest.raises(Unreachable, match=r"After 50 items: .* broke off"):
        got += asking(network, service)
    assert len(got) == 50


@pytest.mark.parametrize(
    "server",
    ["http://127.0.0.1:9", "https://localhost", "http://10.0.0.1", "http://169.254.169.254", "http://[::1]:80"],
)
def test_a_server_on_a_private_address_is_not_asked(server):
    """The directory is public, the document in it is written by anybody: here it is given, so that no network is."""
    network = Network([like(1)])
    network.server = server

    class Guarded(Web):
        def get(self, url, *rest):
            return here.get(url, *rest) if url.startswith(service.url) else super().get(url, *rest)

    with standing_in(network) as service, Web(public_only=False) as here, Guarded(seconds=2) as web:
        collector = Bluesky("ann.example", appview=service.url, plc=service.url, web=web)
        with pytest.raises(CollectError, match="only public addresses are asked"):
            list(collector)
    assert [path for path, _ in network.asked] == [RESOLVE, f"/{DID}"]


def test_without_a_web_of_a_test_nothing_private_is_asked():
    with standing_in(Network()) as service:
        with pytest.raises(CollectError, match="only public addresses are asked"):
            list(Bluesky("ann.example", appview=service.url))
        with pytest.raises(CollectError, match="only public addresses are asked"):
            list(Bluesky("did:web:localhost"))
        assert service.calls == []


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "atproto_client", None)
    with pytest.raises(CollectError, match=r"requirements-sources\.txt"):
        list(Bluesky("ann.example"))
