"""One's own profile and data: imports looked at before they are saved, topics changed, all exported, all deleted."""

import csv
import io
import json
import os
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from collectors.item import Item, Signal
from collectors.sample import Sample
from engine.backbone import Backbone
from studies import importing
from studies import store as stores
from studies.database import StoreError
from studies.session import ME, Studio
from studies.store import Refused
from tests.studies.test_session import Open, open_room, react, until  # noqa: F401 - fixtures for the tests here

SECRET = "zeppelin marmalade"  # stands in what is imported and nowhere else


@pytest.fixture
def export(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    def export(votes: int = 12, name: str = "export.zip") -> Path:
        """A Reddit export of so many votes, every fourth a dislike."""
        rows = io.StringIO()
        table = csv.writer(rows)
        table.writerow(("id", "permalink", "direction"))
        for n in range(votes):
            slug = f"{'zeppelin_marmalade' if n % 2 else 'a_heron_in_the_office'}_number_{n}"
            link = f"https://www.reddit.com/r/Jokes/comments/5t{n:04d}/{slug}/"
            table.writerow((f"5t{n:04d}", link, "down" if n % 4 == 3 else "up"))
        path = tmp_path_factory.mktemp("export") / name
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("post_votes.csv", rows.getvalue())
        return path

    return export


def bring(studio: Studio, path: Path) -> int:
    """Look and save; returns the rows saved."""
    *_, last = studio.imports.save("a", studio.imports.preview("a", path).ticket)
    return last.rows


def caught_up(studio: Studio) -> None:
    until(lambda: studio.worker.seen[0] is studio.store.reactions(ME) and not studio.worker.unread)


def test_nothing_is_saved_before_a_yes_and_nothing_twice(open_room: Open, export: Callable[..., Path]) -> None:
    studio = open_room(start=False)
    before = studio.store.db.rows("select count(*) as n from item")
    seen = studio.imports.preview("a", export())
    assert (seen.report.found, seen.report.kept, seen.report.likes, seen.report.dislikes) == (12, 12, 9, 3)
    assert seen.report.lists == {"post_votes": 12}
    assert len(seen.report.examples) == 10
    assert studio.store.db.rows("select count(*) as n from item") == before
    with pytest.raises(Refused, match="not waiting"):
        next(studio.imports.save("b", seen.ticket))  # another page's
    assert [now.rows for now in studio.imports.save("a", seen.ticket)] == [12]
    with pytest.raises(Refused, match="not waiting"):
        next(studio.imports.save("a", seen.ticket))
    first = studio.store.reactions(ME)
    assert bring(studio, export(name="again.zip")) == 12
    assert studio.store.reactions(ME) == first
    assert [row["name"] for row in studio.store.imports(ME)] == ["again.zip", "export.zip"]


def test_a_cancelled_import_leaves_nothing(open_room: Open, export: Callable[..., Path]) -> None:
    studio = open_room(start=False)
    uploads = studio.folder / "uploads"
    uploads.mkdir()
    uploaded = export().rename(uploads / "export.zip")
    seen = studio.imports.preview("a", uploaded)
    studio.imports.cancel("a", seen.ticket)
    assert not uploaded.exists()
    assert studio.store.reactions(ME) == ()


def test_what_was_uploaded_and_never_answered_for_is_gone_after_a_day(
    open_room: Open, export: Callable[..., Path]
) -> None:
    studio = open_room(start=False)
    uploads = studio.folder / "uploads" / "a1b2"
    uploads.mkdir(parents=True)
    old, new = (export(name=name).rename(uploads / name) for name in ("old.zip", "new.zip"))
    os.utime(old, (time.time() - importing.DAY - 60,) * 2)
    studio.start()
    assert (old.exists(), new.exists()) == (False, True)


def test_an_import_that_breaks_off_keeps_whole_chunks_and_goes_on(
    open_room: Open,
    export: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    studio = open_room(start=False)
    monkeypatch.setattr(stores, "CHUNK", 5)
    path = export(23)
    saving = studio.imports.save("a", studio.imports.preview("a", path).ticket)
    assert [next(saving).rows, next(saving).rows] == [5, 10]
    studio.store.db.run(
        "create trigger t before insert on item when new.source_id = 't3_5t0014' "
        "begin select raise(abort, 'disk is full'); end"
    )
    with pytest.raises(StoreError, match="full"):
        next(saving)
    assert len(studio.store.reactions(ME)) == 10  # nothing of the third chunk
    [row] = studio.store.imports(ME)
    assert (row["saved"], row["ended_at"]) == (10, None)
    studio.store.db.run("drop trigger t")
    assert bring(studio, path) == 23
    assert len(studio.store.reactions(ME)) == 23
    assert studio.store.imports(ME)[0]["ended_at"]


def test_what_cannot_be_read_is_told_in_one_sentence_by_its_name(open_room: Open, tmp_path: Path) -> None:
    studio = open_room(start=False)
    wrong = tmp_path / "uploads-of-mine.zip"
    wrong.write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(Refused) as told:
        studio.imports.preview("a", wrong, "holiday.zip")
    assert str(tmp_path) not in str(told.value)
    assert "holiday.zip" in str(told.value)


def test_a_real_text_takes_the_place_of_the_words_of_a_link_and_not_the_other_way(open_room: Open) -> None:
    store = open_room(start=False).store
    words = Item("reddit", "t3_a", "post", "A goat walks", "Jokes", stand_in=True)
    full = Item("reddit", "t3_a", "post", "A goat walks into a bar.\n\nIt eats the menu.", "Jokes")
    empty = Item("reddit", "t3_a", "post", "", "Jokes")
    for item, kept in ((empty, ""), (words, ""), (full, full.text), (words, full.text), (empty, full.text)):
        store.add(ME, [(item, Signal(item.id, 1))])
        [(now, _)] = store.reactions(ME)
        assert now.text == kept or (kept == "" and now.text in ("", words.text))
    assert not now.stand_in


def test_words_of_a_link_are_never_shown_as_a_post_by_a_person(open_room: Open) -> None:
    store = open_room(start=False).store
    store.add(ME, [(Item("reddit", "t3_a", "post", "A goat walks", stand_in=True), None)])
    store.add(ME, [(Item("tiktok", "1", "post", ""), None)])
    assert [*store.unseen(ME, "pair"), *store.unseen(ME, "feed", 999)] == [
        item for item in store.unseen(ME, "feed", 999) if item.maker == "project"
    ]


def test_what_the_person_does_to_a_topic_is_in_the_profile_at_once(
    open_room: Open, export: Callable[..., Path]
) -> None:
    studio = open_room()
    bring(studio, export(40))
    caught_up(studio)
    until(lambda: bool(studio.own.portrait("a").summary))
    told = studio.own.portrait("a")
    assert told.because
    assert set(told.because) <= {item.text for item in studio.worker.profile.liked}
    first = told.topics[0]
    digest = studio.worker.profile.digest
    studio.own.edit("a", "name", [first.anchor], "herons & co")
    assert "herons & co" in [topic.label for topic in studio.own.portrait("a").topics]
    studio.own.edit("a", "mute", [first.anchor])
    told = studio.own.portrait("a")
    assert [topic.label for topic in told.muted] == ["herons & co"]
    assert studio.worker.profile.digest != digest
    gone = {item.id for item in studio.own.members("a", first.anchor)}
    assert gone
    assert not gone & {item.id for item in studio.worker.profile.items}
    studio.own.edit("a", "mute", [first.anchor], "")
    studio.own.edit("a", "name", [first.anchor], "")
    assert studio.own.portrait("a").topics[0] == first
    assert studio.worker.profile.digest == digest
    with pytest.raises(Refused, match="not in your profile"):
        studio.own.edit("a", "out", ["reddit:t3_nobody"])
    with pytest.raises(Refused, match="not in your profile"):
        studio.own.edit("a", "steal", [first.anchor])


def test_a_large_import_is_read_in_the_background_the_latest_first(
    open_room: Open,
    export: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("studies.worker.AT_ONCE", 16)
    monkeypatch.setattr("studies.worker.FIRST", 40)
    studio = open_room(start=False)
    bring(studio, export(100))
    studio.worker.read()
    assert studio.worker.unread == 100
    assert studio.worker.profile.items == ()
    reached = []
    for _ in range(20):
        if studio.worker.unread == 0:
            break
        studio.store.vectors.keep(studio.worker._missing[:16])
        del studio.worker._missing[:16]
        studio.worker.read()
        reached.append(len(studio.worker.profile.items))
    assert reached == [16, 32, 40, 40, 40, 40, 100]
    again = Studio(studio.store, studio.lm)
    again.worker.read()  # what was encoded is not encoded again
    assert (again.worker.unread, again.worker.profile.digest) == (0, studio.worker.profile.digest)


def test_the_map_has_a_place_for_every_like(open_room: Open, export: Callable[..., Path]) -> None:
    studio = open_room()
    bring(studio, export(24))
    caught_up(studio)
    points = studio.own.taste_map("a")
    assert len(points) == len(studio.worker.profile.liked) == 18
    assert len({(point.x, point.y) for point in points}) > 10
    assert {point.topic for point in points} & {topic.label for topic in studio.worker.profile.topics}
    assert points == studio.own.taste_map("a")


def test_everything_is_in_the_export_in_readable_form(open_room: Open, export: Callable[..., Path]) -> None:
    studio = open_room(start=False)
    bring(studio, export())
    states = studio.folder / "states" / ME
    states.mkdir(parents=True)
    (states / "x.safetensors").write_bytes(b"fitted")
    path = studio.own.export_me("a")
    with zipfile.ZipFile(path) as file:
        told = {name: file.read(name).decode() for name in file.namelist()}
    tables = set(studio.store.tables()) - {"vector"}
    assert {f"{table}.jsonl" for table in tables} | {"README.txt", f"states/{ME}/x.safetensors"} == set(told)
    for table in tables:
        rows = [json.loads(line) for line in told[f"{table}.jsonl"].splitlines()]
        assert rows == studio.store.db.rows(f'select * from "{table}"')
        assert table in told["README.txt"]
    assert SECRET in told["item.jsonl"].lower()


def held(folder: Path) -> list[str]:
    """The files in which a word of the import stands, in any case and form that we write."""
    words = [SECRET, SECRET.replace(" ", "_"), "zeppelin"]
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            data = path.read_bytes().lower()
            found += [path.name for word in words if word.encode() in data or word.encode("utf-16-le") in data]
    return found


def test_delete_me_leaves_no_byte_of_what_was_imported(open_room: Open, export: Callable[..., Path]) -> None:
    studio = open_room()
    bring(studio, export(60))
    caught_up(studio)
    react(studio, 3)
    pair = studio.next_pair("a")
    studio.vote("a", pair.id, "left")
    studio.own.edit("a", "name", [studio.store.reactions(ME)[0][0].id], SECRET)
    studio.own.export_me("a")
    (studio.folder / "states" / ME).mkdir(parents=True, exist_ok=True)
    (studio.folder / "states" / ME / "x").write_text(SECRET)
    assert {"palate.db-wal", "x"} <= set(held(studio.folder))
    looked_at = studio.imports.preview("a", export())
    (studio.folder / "reddit.json").write_text("{}")
    studio.own.delete_me("a")
    assert held(studio.folder) == []
    assert not (studio.folder / "reddit.json").exists()
    with pytest.raises(Refused, match="not waiting"):
        next(studio.imports.save("a", looked_at.ticket))
    assert studio.worker.profile.items == ()
    until(lambda: bool(studio.store.ready(ME, "pair")))  # the app goes on
    assert held(studio.folder) == []
    assert studio.store.reactions(ME) == ()
    assert [row["n"] for row in studio.store.db.rows("select count(*) as n from vote")] == [0]
    card = studio.next_card("a")
    assert card
    assert card.text in {item.text for item, _ in Sample()}
    studio.close()
    assert held(studio.folder) == []


def test_delete_me_waits_for_nobody_who_writes(open_room: Open, export: Callable[..., Path], tiny: Backbone) -> None:
    studio = open_room(start=False)
    saving = studio.imports.save("a", studio.imports.preview("a", export()).ticket)
    next(saving)
    with pytest.raises(Refused, match="under way"):
        studio.own.delete_me("a")
    list(saving)
    studio.own.delete_me("a")
    assert studio.store.reactions(ME) == ()


def test_the_feed_follows_the_taste_and_explores(open_room: Open) -> None:
    """Likes of one of the sample's twelve communities: more of it comes than by chance, and others still do."""
    studio = open_room()
    until(lambda: not studio.store.vectors.missing(item.text for item, _ in Sample()))
    of = {item.text: item.community for item, _ in Sample()}
    met: list[str] = []
    for _ in range(45):
        card = studio.next_card("a")
        assert card
        community = of.get(card.text, "")  # of the model's own: none
        met.append(community)
        studio.react("a", card.id, "like" if community == "stacktrace" else "dislike")
        caught_up(studio)
    late = [community for community in met[15:] if community]
    assert late.count("stacktrace") >= 3 * len(late) / 12
    assert len(set(late)) >= 4


def test_a_text_that_comes_later_is_in_the_profile_at_once(open_room: Open) -> None:
    """As many reactions as before, with the same signs: it is the text that changed."""
    studio = open_room(start=False)
    liked = [Item("tiktok", str(n), "post", "") for n in range(3)] + [Item("x", "1", "post", "A goat, at last.")]
    studio.store.add(ME, [(item, Signal(item.id, 1)) for item in liked])
    studio.worker.read()
    assert [item.text for item in studio.worker.profile.items] == ["A goat, at last."]
    studio.store.add(ME, [(replace(liked[1], text="A caption about herons"), None)])
    studio.worker.read()
    assert {item.text for item in studio.worker.profile.liked} == {"A goat, at last.", "A caption about herons"}
    studio.store.remark(ME, {liked[1].id: ("herons", True)})
    before = studio.worker.profile.vectors
    studio.worker.read()
    assert [signal.note for signal in studio.worker.profile.signals if signal.picked] == ["herons"]
    assert studio.worker.profile.vectors is before  # a remark costs no reading
