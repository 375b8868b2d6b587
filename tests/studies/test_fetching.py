"""Texts that are missing come from their source or a dump, once, and what was removed there is dropped here."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import studies.fetching
from collectors.captions import captions
from collectors.item import Item, Signal
from collectors.online import Online
from collectors.rss import Feed
from collectors.web import Web
from studies import importing
from studies.fetching import Fetching
from studies.session import ME
from studies.store import Refused, Store
from tests.collectors.stand_in import as_json, standing_in


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "data")
    store.open_session("a", ME)
    liked = [Item("tiktok", str(10**18 + n), "post", "") for n in range(60)]
    watched = Item("tiktok", "7", "post", "")
    posts = [Item("reddit", f"t3_p{n}", "post", f"Words of link {n}", "Jokes", stand_in=True) for n in range(3)]
    store.add(ME, [(item, Signal(item.id, 1, origin="likes")) for item in liked])
    store.add(ME, [(watched, Signal(watched.id, 0, 0.1, origin="watched"))])
    store.add(ME, [(item, Signal(item.id, 1, origin="reddit:post_votes")) for item in posts])
    return store


def texts(store: Store) -> dict[str, str]:
    return {item.source_id: item.text for item, _ in store.reactions(ME)}


def test_captions_are_kept_as_they_come_and_asked_for_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(method: str, path: str, query: dict[str, list[str]], headers: Any, body: bytes) -> Any:
        video = query["url"][0].rsplit("/", 1)[1]
        asked.append(video)
        return as_json({"title": f"caption of {video}"}) if int(video) % 2 else as_json({}, 404)

    with standing_in(answer) as service, Web(public_only=False) as web:
        here: Callable[..., Iterator[tuple[str, str | None]]] = lambda ids, cache, **said: captions(  # noqa: E731
            ids, cache, web=web, base=f"{service.url}/oembed", **said
        )
        monkeypatch.setattr(studies.fetching, "captions", here)
        fetching = Fetching(store, lambda: None)
        assert fetching.waiting("a") == {"tiktok": 61, "reddit": 3}
        steps = list(fetching.captions("a", lambda: False))
        assert [now.rows for now in steps] == [25, 31]
        assert texts(store)["7"] == "caption of 7"
        assert len(asked) == len(set(asked)) == 61
        assert fetching.waiting("a")["tiktok"] == 30  # the videos that are gone
        list(fetching.captions("a", lambda: False))
        assert len(asked) == 61


def test_a_dump_gives_full_texts_and_takes_away_what_was_removed(store: Store, tmp_path: Path) -> None:
    rows = [
        {"id": "p0", "name": "t3_p0", "title": "A goat", "selftext": "It eats.", "subreddit": "Jokes", "author": "x"},
        {"id": "p1", "name": "t3_p1", "title": "Gone", "selftext": "[removed]", "subreddit": "Jokes", "author": "x"},
        {"id": "q", "name": "t3_q", "title": "Nobody asked", "selftext": "", "subreddit": "Jokes", "author": "x"},
    ]
    dump = tmp_path / "RS.jsonl"
    dump.write_text("\n".join(json.dumps({**row, "created_utc": 1486934012}) for row in rows))
    fetching = Fetching(store, lambda: None)
    [last] = list(fetching.reddit("a", dump, lambda: False))
    assert (last.rows, last.of) == (1, 3)
    now = texts(store)
    assert (now["t3_p0"], now["t3_p1"], now["t3_p2"]) == ("A goat\n\nIt eats.", "", "Words of link 2")
    assert "t3_q" not in now


def test_a_dump_that_cannot_be_read_is_one_sentence(store: Store, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="texts are kept"):
        list(Fetching(store, lambda: None).reddit("a", tmp_path / "nowhere.jsonl", lambda: False))


def test_a_source_on_the_network_is_asked_once_and_shown_before_it_is_saved(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = b"""<rss version="2.0"><channel><title>Ducks</title>
    <item><title>A duck</title><description>Quack &amp; co.</description><guid>1</guid></item></channel></rss>"""
    with standing_in(lambda *said: (200, {"Content-Type": "application/rss+xml"}, feed)) as service:
        with Web(public_only=False) as web:
            monkeypatch.setitem(importing.ONLINE, "feed", Online("Feed", lambda url, token: Feed(url, web=web)))
            imports = importing.Imports(store, lambda: None)
            seen = imports.look("a", "ducks", "feed", f" {service.url}/rss ")
            assert (seen.report.kept, seen.report.examples) == (1, ("A duck\n\nQuack & co.",))
            [*_, last] = imports.save("a", seen.ticket)
        assert len(service.calls) == 1
    assert last.rows == 1
    assert [item.text for item in [*store.unseen(ME, "pair"), *store.unseen(ME, "feed")]] == ["A duck\n\nQuack & co."]
    with pytest.raises(Refused, match="public address"):
        importing.Imports(store, lambda: None).look("a", "x", "mastodon", "127.0.0.1", "token")
    with pytest.raises(Refused, match="address first"):
        importing.Imports(store, lambda: None).look("a", "x", "mastodon", " ", "token")
