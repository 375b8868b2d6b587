import sys
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from collectors.item import CollectError
from collectors.markup import plain_text
from collectors.pseudonym import pseudonym
from collectors.rss import Feed
from collectors.web import Web
from tests.collectors.stand_in import standing_in

RSS = """<?xml version="1.0" encoding="utf-8"?>
<rss version="2.0"><channel><title>Daily &amp; dry</title><link>https://a.example/</link>
<item><title>First</title>
<description>&lt;p&gt;A &lt;b&gt;bold&lt;/b&gt; cat.&lt;/p&gt;&lt;script&gt;x&lt;/script&gt;</description>
<guid>urn:1</guid><link>https://a.example/1</link><author>ann@a.example (Ann)</author>
<pubDate>Fri, 01 Mar 2024 12:00:00 +0200</pubDate></item>
<item><title>A long tale that</title><description>A long tale that goes on.</description><link>/2</link></item>
<item><title>First again</title><guid>urn:1</guid></item>
<item><guid>urn:4</guid><link>javascript:alert(1)</link></item>
<item><description>Caf\u00e9\u202e</description><pubDate>once</pubDate></item>
</channel></rss>"""
ATOM = """<feed xmlns="http://www.w3.org/2005/Atom"><title type="html">r/&lt;b&gt;Jokes&lt;/b&gt;</title>
<entry><id>t3_a</id><title>Why?</title><author><name>/u/bob</name></author><updated>2024-03-01T10:00:00+00:00</updated>
<content type="html">&lt;div&gt;&lt;p&gt;Because.&lt;/p&gt;&lt;/div&gt;</content><link href="https://r.example/a"/></entry>
<entry><id>t3_b</id><title>B</title><summary>b</summary></entry></feed>"""


@pytest.fixture(scope="module")
def web():
    with Web(public_only=False, seconds=5, max_bytes=100_000) as client:
        yield client


def serving(body, status=200, kind="application/rss+xml"):
    body = body.encode() if isinstance(body, str) else body
    return standing_in(lambda *_: (status, {"Content-Type": kind}, body))


def test_an_rss_feed(web):
    with serving(RSS) as service:
        feed = Feed(f"{service.url}/feed", web=web)
        got = list(feed)
        assert service.calls == [("GET", "/feed")]
    items = [item for item, signal in got if signal is None]
    assert [item.text for item in items] == ["First\n\nA bold cat.", "A long tale that goes on.", "Caf\u00e9"]
    first = items[0]
    assert (first.source, first.source_id, first.kind) == ("rss", sha256(b"urn:1").hexdigest()[:16], "post")
    assert (first.community, first.url, first.maker) == ("Daily & dry", "https://a.example/1", "person")
    assert first.author_hash == pseudonym("rss", "ann@a.example (Ann)")
    assert first.created_at == datetime(2024, 3, 1, 10, tzinfo=UTC)
    assert (items[1].url, items[1].author_hash) == (f"{service.url}/2", "")
    assert (items[2].created_at, items[2].url) == (None, "")
    report = feed.report()
    assert (report.source, report.found, report.kept, report.unrated) == ("feed", 5, 3, 3)
    assert report.skipped == {"duplicate": 1, "no text": 1}


def test_an_atom_feed_from_a_file(tmp_path):
    path = tmp_path / "feed.xml"
    path.write_text(ATOM)
    feed = Feed(path, limit=1)
    ((item, signal),) = feed
    assert signal is None
    assert (item.text, item.community, item.url) == ("Why?\n\nBecause.", "r/Jokes", "https://r.example/a")
    assert (item.author_hash, item.created_at) == (pseudonym("rss", "/u/bob"), datetime(2024, 3, 1, 10, tzinfo=UTC))
    assert feed.report().skipped == {"over the limit of 1 entries": 1}


def test_the_encoding_of_the_header_counts(web):
    old = RSS.replace("First", "\u0448\u0443\u0442\u043a\u0430").replace("utf-8", "").replace(' encoding=""', "")
    with serving(old.encode("cp1251", "ignore"), kind="text/xml; charset=windows-1251") as service:
        item, _ = next(iter(Feed(service.url, web=web)))
    assert item.text.startswith("\u0448\u0443\u0442\u043a\u0430\n")


BROKEN = (
    '<?xml version="1.0" encoding="u\xfff"?><rss version="2.0">'.encode("latin-1"),
    b"",
    b"{}",
    b"<html><p>Hi",
    b"\0\1",
)


@pytest.mark.parametrize("content", BROKEN)
def test_what_is_no_feed(web, tmp_path, content):
    with serving(content) as service, pytest.raises(CollectError, match=r"is no feed: give the address"):
        list(Feed(service.url, web=web))
    (tmp_path / "feed").write_bytes(content)
    with pytest.raises(CollectError, match="is no feed"):
        list(Feed(tmp_path / "feed"))


def test_a_feed_cannot_make_us_read_or_fetch_something_else(web, tmp_path):
    """Bytes that are a file's name, an entity that names a file, entities that grow, and an address inside."""
    secret = tmp_path / "secret.xml"
    secret.write_text(RSS.replace("First", "SECRET"))
    with serving(str(secret)) as service, pytest.raises(CollectError, match="is no feed"):
        list(Feed(service.url, web=web))
    for inner in (f'<!ENTITY a SYSTEM "{secret}">', '<!ENTITY b "hahaha"><!ENTITY a "' + "&b;" * 9_000 + '">'):
        feed = RSS.replace("<rss", f"<!DOCTYPE x [{inner}]><rss").replace("First", "First &a;", 1)
        with serving(feed) as service:
            texts = " ".join(item.text for item, _ in Feed(service.url, web=web))
            assert len(service.calls) == 1
        assert "SECRET" not in texts
        assert "hahaha" not in texts


def test_what_cannot_be_fetched(web, tmp_path, monkeypatch):
    with serving(RSS) as service, pytest.raises(CollectError, match="only public addresses"):
        list(Feed(service.url))
    with serving(RSS, 404) as service, pytest.raises(CollectError, match="status 404"):
        list(Feed(service.url, web=web))
    with serving("x" * 100_001) as service, pytest.raises(CollectError, match="more than"):
        list(Feed(service.url, web=web))
    with pytest.raises(CollectError, match="is no web address"):
        list(Feed("file:///etc/passwd"))
    with pytest.raises(CollectError, match="Cannot read"):
        list(Feed(tmp_path))
    (tmp_path / "big").write_bytes(b"x" * 5_000_001)
    with pytest.raises(CollectError, match="larger than 5 MB"):
        list(Feed(tmp_path / "big"))
    monkeypatch.setitem(sys.modules, "feedparser", None)
    (tmp_path / "feed").write_text(RSS)
    with pytest.raises(CollectError, match=r"pip install -r requirements-sources\.txt"):
        list(Feed(tmp_path / "feed"))


MARKS = ["<", ">", "!", "[", "]", "--", "&", "#x", "p", "/", "script", "br", " ", "\n", "?", '"', "=", "<![", "<!"]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(MARKS)))
@example(["<<!x>![x[y]]>"])
@example(["<![x[y]]>"])
def test_no_markup_breaks_the_reader(parts):
    plain_text("".join(parts))
