from datetime import UTC, datetime

import pytest

from collectors import mastodon as module
from collectors.item import CollectError, Item, Signal
from collectors.markup import plain_text
from collectors.mastodon import Mastodon
from collectors.pseudonym import pseudonym
from collectors.web import Web
from tests.collectors.stand_in import as_json, standing_in

TOKEN = "a-token"


@pytest.fixture(scope="module")
def web():
    with Web(public_only=False, seconds=5) as client:
        yield client


def status(n, **changes):
    return {
        "id": str(n),
        "uri": f"https://far.example/users/bob/statuses/{n}",
        "url": f"https://far.example/@bob/{n}",
        "created_at": "2024-03-01T10:00:00.000Z",
        "visibility": "public",
        "spoiler_text": "",
        "content": f"<p>Joke {n}</p>",
        "reblog": None,
        "account": {"acct": "bob@far.example"},
    } | changes


class Instance:
    """Pages of two statuses, newest first, as Mastodon's own links say."""

    def __init__(self, favourites=(), bookmarks=()):
        self.lists = {"/api/v1/favourites": list(favourites), "/api/v1/bookmarks": list(bookmarks)}
        self.asked = []
        self.link = "https://elsewhere.example{path}?limit=40&max_id={last}"  # only its max_id may be used

    def __call__(self, method, path, query, headers, body):
        self.asked.append((path.rpartition("/")[2], query))
        if headers.get("authorization") != f"Bearer {TOKEN}":
            return as_json({"error": "The access token is invalid"}, 401)
        rows = self.lists[path]
        after = query.get("max_id", [""])[0]
        start = int(after) if after else 0
        page, last = rows[start : start + 2], start + 2
        link = f'<{self.link.format(path=path, last=last)}>; rel="next", <https://x.example?min_id=0>; rel="prev"'
        return as_json(page, headers={"Link": link if last < len(rows) else '<https://x.example?min_id=9>; rel="prev"'})


def test_all_pages_of_both_lists(web):
    instance = Instance([status(n) for n in range(5)], [status(1), status(9)])
    with standing_in(instance) as service:
        collector = Mastodon(service.url, TOKEN, web=web)
        got = list(collector)
        assert list(collector) == got  # from the start again
    item = Item(
        "mastodon", "https://far.example/users/bob/statuses/0", "post", "Joke 0",
        author_hash=pseudonym("mastodon", "bob@far.example"), created_at=datetime(2024, 3, 1, 10, tzinfo=UTC),
        url="https://far.example/@bob/0",
    )  # fmt: skip
    assert got[0] == (item, Signal(item.id, 1, origin="mastodon:favourites"))
    assert got[5][1].origin == "mastodon:bookmarks"
    report = collector.report()
    assert (report.found, report.kept, report.likes) == (7, 7, 6)
    assert report.lists == {"favourites": 5, "bookmarks": 2}
    firsts = [("favourites", {"limit": ["40"]}), ("favourites", {"limit": ["40"], "max_id": ["2"]})]
    assert instance.asked[:2] == firsts
    assert len(instance.asked) == 8


def test_no_more_than_wanted(web):
    instance = Instance([status(n) for n in range(9)], [status(9)])
    with standing_in(instance) as service:
        assert len(list(Mastodon(service.url, TOKEN, ["favourites"], limit=3, web=web))) == 3
    assert len(instance.asked) == 2


def test_a_list_that_never_ends_ends(web):
    instance = Instance([status(n) for n in range(9)])
    instance.link = "https://x.example?max_id=2"
    with standing_in(instance) as service:
        collector = Mastodon(service.url, TOKEN, ["favourites"], web=web)
        assert len(list(collector)) == 4
    assert len(instance.asked) == 2


def test_what_is_taken_and_what_is_not(web):
    rows = [
        status(
            1, content='<p>One<br>two &amp; <a href="x"><span class="invisible">https://</span>b.c</a></p><p>Three</p>'
        ),
        status(2, spoiler_text="Pun", content="<p>No</p>"),
        status(3, content="", reblog=status(4, account={"acct": "carol"})),
        status(5, visibility="private"),
        status(6, visibility="direct"),
        status(7, content="<p></p>"),
        status(8, uri=None),
        5,
        status(9, account=None, created_at=3, url="javascript:x", visibility="unlisted"),
        status(9),
    ]
    with standing_in(Instance(rows)) as service:
        host = service.url.removeprefix("http://")
        collector = Mastodon(service.url, TOKEN, ["favourites"], web=web)
        items = [item for item, _ in collector]
    assert [item.text for item in items] == ["One\ntwo & https://b.c\n\nThree", "Pun\n\nNo", "Joke 4", "Joke 9"]
    assert items[2].author_hash == pseudonym("mastodon", f"carol@{host}")
    assert items[2].source_id.endswith("/4")
    assert (items[3].author_hash, items[3].created_at) == ("", None)
    assert items[3].url == ""
    assert collector.report().skipped == {"not public": 2, "no text": 1, "status not understood": 2, "duplicate": 1}


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (as_json({}, 403), "does not accept this token"),
        (as_json({}, 404), "is it a Mastodon server"),
        (as_json({}), "no list of statuses"),
        ((200, {}, b"<html>"), "no JSON"),
        ((429, {"Retry-After": "240"}, b""), "asked too much: try again in 4 minutes"),
        ((429, {}, b""), "in five minutes"),
        ((500, {}, b""), "status 500"),
        ("cut", "broke off"),
    ],
)
def test_what_can_go_wrong(web, reply, says):
    with standing_in(lambda *_: reply) as service, pytest.raises(CollectError, match=says):
        list(Mastodon(service.url, TOKEN, web=web))


def test_a_wrong_token_a_wrong_instance_and_one_that_hangs(web):
    with standing_in(Instance()) as service, pytest.raises(CollectError, match="does not accept this token"):
        list(Mastodon(service.url, "wrong", web=web))
    with pytest.raises(CollectError, match=r"no host nowhere\.invalid"):
        list(Mastodon("nowhere.invalid", TOKEN))
    hanging = standing_in(lambda *_: "hang")
    with Web(public_only=False, seconds=0.2) as hasty, hanging as service, pytest.raises(CollectError, match="within"):
        list(Mastodon(service.url, TOKEN, web=hasty))


def test_the_token_goes_nowhere_unsafe(web):
    with pytest.raises(CollectError, match="by https"):
        Mastodon("http://mastodon.social", TOKEN)
    for private in ("127.0.0.1", "https://localhost:3000", "https://[::1]", "10.0.0.7"):
        with pytest.raises(CollectError, match=r"only public addresses|is no instance"):
            list(Mastodon(private, TOKEN))
    with standing_in(Instance([status(1)])) as other:
        moved = standing_in(lambda *_: (302, {"Location": f"{other.url}/api/v1/favourites"}, b""))
        with moved as service, pytest.raises(CollectError, match="does not accept this token"):
            list(Mastodon(service.url, TOKEN, web=web))


def test_how_an_instance_may_be_written():
    for said in ("mastodon.social", " https://mastodon.social/ ", "@ann@mastodon.social", "https://MASTODON.social"):
        assert module._address(said, True)[1] == "mastodon.social"
    for said in (
        "",
        "ftp://x.y",
        "https://a.b/path",
        "https://me:pw@a.b",
        "a b",
        "https://a.b:port",
        "a.b?x",
        "https://",
    ):
        with pytest.raises(CollectError, match=r"is no instance|by https"):
            module._address(said, True)
    for token in ("", "two\nlines", "x" * 600):
        with pytest.raises(CollectError, match="no access token"):
            Mastodon("mastodon.social", token)
    with pytest.raises(CollectError, match="blocks is no list"):
        Mastodon("mastodon.social", TOKEN, ["blocks"])


def test_markup():
    listed = "<h1>A</h1>\n<ul><li>b</li><li>c</li></ul>"
    said = f"{listed}<script>x()</script><style>p{{}}</style>d<![x[y]]><!-- no -->e &lt;f&gt;"
    assert plain_text(said) == "A\n\nb\nc\n\nd e <f>"
    assert plain_text("no  markup\nat all") == "no markup at all"
    assert plain_text("<p>a</p><p></p><p></p><p>b") == "a\n\nb"
    assert plain_text("a<b") == "a<b"
