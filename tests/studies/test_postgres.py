"""What is PostgreSQL's alone: its schema, its order of writes, and that a server which is away, ends or is killed loses
nothing that was acknowledged. A real server throughout."""

import json
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

import studies
from collectors.item import Item, Signal
from engine.backbone import Backbone
from studies import postgres as engine
from studies.__main__ import main
from studies.database import StoreError, exists, forget_unused
from studies.migrations import POSTGRES, migrations
from studies.postgres import by_name, place
from studies.rooms import Room
from studies.session import TROUBLE, Studio
from studies.store import Refused, Store
from studies.studyfile import read
from tests.postgres import Door, Server, free_port
from tests.studies.test_pairs import Talker
from tests.studies.test_records import ARMS, RATERS, STUDY, judge, small_study
from tests.studies.test_rooms import begin, fill, write_files
from tests.studies.test_rooms import shown as shown_in
from tests.studies.test_store import at_once, card, dump, joke, joke_in, known, like, pair, shown, signs, voted

STAGE = Room.stage


@pytest.fixture
def url(postgres: Server) -> Iterator[str]:
    """Of a database that is empty."""
    url = postgres.database()
    yield url
    with suppress(KeyError):
        engine._pools.pop(url).close()
    postgres.ask(f"drop database {url.rpartition('/')[2]} with (force)")


@pytest.fixture
def door(postgres: Server, url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    """Through which the database is reached; nobody waits long for it."""
    monkeypatch.setattr(engine, "PATIENCE", 1.5)
    door = Door(postgres.port, url)
    yield door
    engine._pools.pop(door.url).close()
    door.close()


@pytest.fixture
def store(tmp_path: Path, door: Door) -> Store:
    return known(Store(tmp_path, door.url))


def choices(store: Store) -> dict[str, str]:
    return {row["trial_id"]: row["choice"] for row in store.db.rows("select trial_id, choice from vote")}


# ---- the schema


def test_both_have_the_same_tables_made_by_the_same_steps(tmp_path: Path, url: str, postgres: Server) -> None:
    here, there = Store(tmp_path).db, Store(tmp_path, url).db
    assert there.tables() == here.tables() | {"signal": here.tables()["signal"] | {"rowid"}}
    assert [name for name, _ in POSTGRES] == [step.name for step in migrations._migrations]
    assert [name for (name,) in postgres.ask("select name from palate._migrations", url)] == [n for n, _ in POSTGRES]
    texts = "from information_schema.columns where table_schema = 'palate' and data_type = 'text'"
    loose = postgres.ask(f"select table_name, column_name {texts} and collation_name is distinct from 'C'", url)
    assert loose == [("_migrations", "name")], "texts compare byte by byte, whatever the server's language"
    narrow = "select column_name from information_schema.columns where data_type in ('integer', 'real')"
    assert postgres.ask(f"{narrow} and table_schema = 'palate' and table_name <> 'taught'", url) == []
    kept = "select conrelid::regclass::text, confrelid::regclass::text from pg_constraint where contype = 'f'"
    held = {(one.split(".")[-1], other.split(".")[-1]) for one, other in postgres.ask(kept, url)}
    with closing(sqlite3.connect(tmp_path / "palate.db")) as file:
        wanted = {
            (table, row[2]) for table in here.tables() for row in file.execute(f'pragma foreign_key_list("{table}")')
        }
    assert held == wanted, "nothing lost its reference when its table was made anew"


def test_eight_that_start_at_once_make_the_tables_once(tmp_path: Path, url: str) -> None:
    assert not exists(tmp_path, url)
    assert all(isinstance(one, Store) for one in at_once([partial(Store, tmp_path, url)] * 8))
    assert exists(tmp_path, url)


def test_two_folders_in_one_database_know_nothing_of_each_other(tmp_path: Path, url: str) -> None:
    """They share their connections, and a visitor of a hosted room has a folder of their own."""
    one, other = (known(Store(tmp_path / name, url, name)) for name in ("one", "other"))
    mine = voted(one, pair(one), "left")
    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda n: len((one if n % 2 else other).ballots()), range(40)))
    assert told == [0, 1] * 20
    other.delete_everything()
    assert choices(one) == {mine: "left"}
    with pytest.raises(ValueError, match="no name of a schema"):
        Store(tmp_path, url, 'a"; drop schema one; --')


def test_a_statement_is_translated_outside_of_quotes_only() -> None:
    assert by_name("select ':no', '50%' where a = :a and b::text like :b_2") == (
        "select ':no', '50%%' where a = %(a)s and b::text like %(b_2)s"
    )


# ---- one writes at a time


def test_numbers_grow_as_they_are_committed(tmp_path: Path, url: str) -> None:
    """Reactions are read on from the last number: one that was committed later and is smaller would be lost."""
    store = known(Store(tmp_path, url))
    first, second = (shown(store, card(store, joke_in(store, n))) for n in (1, 2))
    inside, go_on = threading.Event(), threading.Event()

    def slowly() -> None:
        with store.db.atomic():
            store.vote("a", first, "like")
            inside.set()
            go_on.wait(20)

    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(slowly)
        assert inside.wait(20)
        quick = pool.submit(store.vote, "a", second, "like")
        time.sleep(0.2)
        assert not quick.done(), "it waits"
        assert signs(store) == [], "and who only reads does not"
        go_on.set()
        assert slow.result(20) is None
        assert quick.result(20)["id"] == second
    assert [row["trial_id"] for row in store.db.rows("select trial_id from vote order by number")] == [first, second]
    assert signs(store) == [("1", 1), ("2", 1)]


def test_reactions_that_are_read_while_eight_vote_are_all_there(tmp_path: Path, url: str) -> None:
    store = known(Store(tmp_path, url))
    trials = [shown(store, card(store, joke_in(store, n))) for n in range(40)]
    ended = threading.Event()

    def look() -> int:
        while not ended.is_set():
            store.reactions("me")
        return len(store.reactions("me"))

    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(look)
        at_once([partial(list, map(partial(vote_on, store), trials[n::8])) for n in range(8)])
        ended.set()
        assert looking.result(20) == 40


def vote_on(store: Store, trial: str) -> str:
    return str(store.vote("a", trial, "like")["id"])


def test_a_transaction_in_which_an_error_was_swallowed_is_not_taken_for_stored(tmp_path: Path, url: str) -> None:
    store = known(Store(tmp_path, url))

    def swallow() -> None:
        with store.db.atomic():
            store.say("me", "api.example", True, "words")
            with suppress(psycopg.IntegrityError):
                store.db.run("insert into rater values ('me', 'again')")

    with pytest.raises(StoreError, match="nothing of this was stored"):
        swallow()
    assert store.consent("me") is None
    store.say("me", "api.example", True, "words")
    assert store.consent("me")


def test_what_a_browser_may_send_is_refused_and_does_not_break_it(tmp_path: Path, url: str) -> None:
    store = known(Store(tmp_path, url))
    with pytest.raises(Refused, match="not shown to you"):
        store.vote("a", "a null \0 character", "left")
    store.say("me", "api.example", True, "100% of \0 :these")
    assert (store.consent("me") or {})["told"] == "100% of \ufffd :these"


# ---- trouble with the server


def test_an_address_is_told_without_its_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert place("postgresql://ann:s3cret@db.example:5433/palate") == "db.example:5433/palate"
    assert place("host=db.example password=s3cret dbname=palate") == "db.example/palate"
    port = free_port()
    for wrong, words in (
        (f"postgresql://ann:s3cret@127.0.0.1:{port}/palate", f"127.0.0.1:{port}/palate cannot be opened.*it runs"),
        ("postgresql://ann:s3cret@@127.0.0.1/palate", "cannot be read.*%40 for an @"),
        ("postgresql://ann:pa/s3cret@127.0.0.1/palate", "cannot be read.*%2F for a /"),
        ("host=127.0.0.1 s3cret", "cannot be read"),
        ("s3cret", "cannot be read"),
    ):
        with pytest.raises(StoreError, match=words) as told:
            Store(tmp_path, wrong)
        assert "s3cret" not in str(told.value)
        assert "\n" not in str(told.value)
        error: BaseException | None = told.value
        while error := error.__cause__:
            assert "s3cret" not in str(error)


def test_a_server_that_refuses_is_told_in_words(tmp_path: Path, url: str, postgres: Server) -> None:
    narrow = postgres.database("encoding 'SQL_ASCII' template template0")
    with pytest.raises(StoreError, match=r"cannot hold Unicode.*UTF8"):
        Store(tmp_path, narrow)
    postgres.ask("create role reader login")
    theirs = url.replace("palate@", "reader@")
    with pytest.raises(StoreError, match=r"cannot be written.*permission denied.*let its user create a schema"):
        Store(tmp_path, theirs)
    store = known(Store(tmp_path, url))
    trial = shown(store, pair(store))
    with psycopg.connect(url) as other:
        key = store.db._begin.partition("; ")[2]  # type: ignore[attr-defined]
        other.execute(key)
        engine._pools[url].close()
        del engine._pools[url]
        quick = engine.SETTINGS.replace("30s", "100ms")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(engine, "SETTINGS", quick)
            again = Store(tmp_path / "other", url, "elsewhere")  # another schema has another lock
            known(again)
            store.db._pool = again.db._pool  # type: ignore[attr-defined]
            with pytest.raises(StoreError, match="in use by another program"):
                store.vote("a", trial, "left")
    assert store.vote("a", trial, "left")["id"] == trial


def test_without_psycopg_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(studies, "postgres")
    monkeypatch.delitem(sys.modules, "studies.postgres")
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreError, match=r"pip install -r requirements-postgres\.txt"):
        Store(tmp_path, "postgresql://127.0.0.1/palate")


def test_acknowledged_votes_are_on_disk_whatever_the_server_was_told(
    tmp_path: Path, url: str, postgres: Server
) -> None:
    postgres.ask(f"alter database {url.rpartition('/')[2]} set synchronous_commit = off")
    store = Store(tmp_path, url)
    assert store.db.rows("select current_setting('synchronous_commit') as s") == [{"s": "on"}]


@pytest.mark.parametrize("end", [Server.stop, Server.kill])
def test_a_server_that_ends_and_comes_back_loses_nothing(
    tmp_path: Path, url: str, postgres: Server, monkeypatch: pytest.MonkeyPatch, end: Callable[[Server], None]
) -> None:
    monkeypatch.setattr(engine, "PATIENCE", 1.5)
    store = known(Store(tmp_path, url))
    kept = [voted(store, pair(store), "left") for _ in range(3)]
    liked = voted(store, card(store, joke_in(store, 1)), "like")
    lies_there = shown(store, pair(store))
    at_once([partial(store.reactions, "me")] * 4)  # several connections that will be dead
    end(postgres)
    try:
        started = time.monotonic()
        for _ in range(2):
            with pytest.raises(StoreError, match="is away: do this once more in a moment") as told:
                store.vote("a", lies_there, "right")
        assert "\n" not in str(told.value)
        assert time.monotonic() - started < 5
        with pytest.raises(StoreError, match="away"):
            store.open_trial("a", "pair")
        with pytest.raises(StoreError, match=r"cannot be opened.*refused"):
            Store(tmp_path, url)
    finally:
        postgres.start()
    assert (store.open_trial("a", "pair") or {})["id"] == lies_there, "the very next call finds it"
    assert choices(store) == dict.fromkeys(kept, "left") | {liked: "like"}
    assert store.vote("a", lies_there, "right")["id"] == lies_there
    assert signs(store) == [("1", 1)]


def test_a_vote_whose_answer_was_lost_may_be_given_again(store: Store, door: Door) -> None:
    """Nobody can say whether it arrived. It did, or it did not: given again it is stored once, and acknowledged."""
    for arrives in (True, False):
        before, trial = choices(store), shown(store, pair(store))
        door.shut_on_commit(through=arrives)
        with pytest.raises(StoreError, match="away: do this once more in a moment; nothing is stored twice"):
            store.vote("a", trial, "left", [("left", "sounds_ai")])
        with pytest.raises(StoreError, match="is away"):
            store.vote("a", trial, "left", [("left", "sounds_ai")])
        door.open = True
        store.open_session("a", "me")  # a write waits for the one before, which may not have ended yet
        assert (trial in choices(store)) is arrives
        if arrives:
            with pytest.raises(Refused, match="already"):
                store.vote("a", trial, "right")  # another choice is another vote
        row = store.vote("a", trial, "left", [("left", "sounds_ai")])
        assert (row["id"], row["left_arm"]) == (trial, "plain-000000")
        assert choices(store) == before | {trial: "left"}
        with pytest.raises(Refused, match="already"):
            store.vote("a", trial, "left", [("left", "sounds_ai")])
    assert len(store.db.rows("select * from flag")) == 2


def test_a_vote_that_is_stored_while_what_is_told_of_it_cannot_be_read_may_be_given_again(
    tmp_path: Path, door: Door
) -> None:
    """Seen with PostgreSQL away for half a minute: a rater was refused from then on, for a vote that was stored."""
    path = write_files(tmp_path)
    store = Store(tmp_path / "data", door.url)
    fill(store, path)
    room = Room(store, read(path), clocked=False)
    begin(room, "a")
    there = shown_in(room, "a")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Room, "stage", lambda self, session: (door.shut(), STAGE(self, session))[1])
        with pytest.raises(StoreError, match="is away"):
            room.vote("a", there.id, "left")
    door.open = True
    assert choices(store) == {there.id: "left"}
    with pytest.raises(Refused, match="already"):
        room.vote("a", there.id, "right")
    assert room.vote("a", there.id, "left").step == "trials"
    with pytest.raises(Refused, match="already"):
        room.vote("a", there.id, "left")


def test_an_undo_whose_answer_was_lost_withdraws_no_other_vote(store: Store, door: Door) -> None:
    for arrives in (True, False):
        one, two = voted(store, pair(store), "left"), voted(store, pair(store), "right")
        door.shut_on_commit(through=arrives)
        with pytest.raises(StoreError, match="do this once more"):
            store.undo("a", "pair")
        door.open = True
        assert store.undo("a", "pair")["id"] == two
        undone = {row["trial_id"] for row in store.db.rows("select trial_id from undo")}
        assert (two in undone, one in undone) == (True, False)
        assert store.undo("a", "pair")["id"] == one, "asked for once more it is another one"
    voted(store, pair(store), "left")
    late = voted(store, pair(store), "left")
    door.shut_on_commit(through=True)
    with pytest.raises(StoreError, match="do this once more"):
        store.undo("a", "pair")
    door.open = True
    newer = voted(store, pair(store), "both")
    assert store.undo("a", "pair")["id"] == newer, "by then another vote is the latest"
    assert late in {row["trial_id"] for row in store.db.rows("select trial_id from undo")}


def test_an_import_whose_answer_was_lost_may_be_made_again(store: Store, door: Door) -> None:
    feed = [like(joke(n)) for n in range(30)]
    door.shut_on_commit(through=True)
    with pytest.raises(StoreError, match="do this once more"):
        store.add("me", feed)
    door.open = True
    store.open_session("a", "me")  # which waits until that has ended
    before = dump(store)
    assert store.add("me", feed) == 30
    assert dump(store) == before
    assert len(store.reactions("me")) == 30


def test_a_participant_votes_on_after_an_answer_was_lost(tmp_path: Path, door: Door) -> None:
    path = write_files(tmp_path)
    store = Store(tmp_path / "data", door.url)
    fill(store, path)
    room = Room(store, read(path), clocked=False)
    begin(room, "a")
    there = shown_in(room, "a")
    door.shut_on_commit(through=True)
    with pytest.raises(StoreError, match="do this once more"):
        room.vote("a", there.id, "left")
    door.open = True
    stage = room.vote("a", there.id, "left")
    assert stage.step == "trials"
    assert choices(store) == {there.id: "left"}
    assert shown_in(room, "a").id != there.id
    door.shut_on_commit(through=True)
    with pytest.raises(StoreError, match="do this once more"):
        room.consent("b", True)
    door.open = True
    assert room.consent("b", True).step == "instructions"
    slots = store.db.rows("select slot from participant order by slot")
    assert [row["slot"] for row in slots] == [0, 1], "nobody takes two places"


def test_the_app_goes_on_by_itself(tmp_path: Path, door: Door, tiny: Backbone) -> None:
    studio = Studio(Store(tmp_path, door.url), Talker(tiny))
    studio.enter("a")
    studio.start()
    try:
        there = studio.next_pair("a")
        door.shut()
        for ask in (lambda: studio.vote("a", there.id, "left"), lambda: studio.next_card("a")):
            with pytest.raises(TROUBLE, match="is away"):
                ask()
        door.open = True
        assert studio.vote("a", there.id, "left").choice == "left"
        assert studio.next_pair("a").id != there.id
    finally:
        door.open = True
        studio.close()


# ---- around it


def test_commands_know_a_database_by_its_address_or_by_the_environment(
    tmp_path: Path, url: str, postgres: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small_study(tmp_path / "data", lambda folder: Store(folder, url))
    folder, copy = str(tmp_path / "data"), tmp_path / "copy.db"
    empty = postgres.database()
    assert main(["report", "--data-dir", folder, "--database-url", empty, "--out", str(tmp_path / "r.html")]) == 2
    assert "holds no schema palate" in capsys.readouterr().err
    assert not exists(tmp_path, empty), "nothing was made there"
    tables = ["export", "--data-dir", folder, "--study", STUDY]
    assert main([*tables, "--database-url", url, "--out", str(tmp_path / "tables")]) == 0
    monkeypatch.setenv("PALATE_DATABASE_URL", url)
    assert main(["backup", "--data-dir", folder, "--out", str(copy)]) == 0
    still = tmp_path / "still"
    still.mkdir()
    copy.rename(still / "palate.db")
    monkeypatch.delenv("PALATE_DATABASE_URL")
    tables[2] = str(still)
    assert main([*tables, "--out", str(tmp_path / "from copy")]) == 0, "a copy is a data folder's file"
    for name in ("trials.csv", "answers.csv", "participants.csv", "events.csv"):
        assert (tmp_path / "tables" / name).read_text() == (tmp_path / "from copy" / name).read_text()
    monkeypatch.setenv("PALATE_DATABASE_URL", url)
    code = Store(tmp_path / "data", url).db.rows("select resume_code from participant where slot = 0")[0]["resume_code"]
    assert main(["forget", "--data-dir", folder, "--study", STUDY, "--code", code]) == 0
    assert RATERS[0] not in json.dumps(Store(tmp_path / "data", url).db.rows("select * from trial"))


def test_a_copy_holds_every_row_in_its_order(tmp_path: Path, url: str) -> None:
    store = small_study(tmp_path / "data", lambda folder: Store(folder, url))
    likes = [(Item("test", str(n), "joke", f"A text, number {n}."), Signal(f"test:{n}", 1)) for n in (3, 1, 2)]
    store.add(RATERS[0], likes)
    judge(store, RATERS[0], *ARMS[:2], "left", position=40)
    (tmp_path / "copy").mkdir()
    with store.db.copy(tmp_path / "copy" / "palate.db"):
        pass
    again = Store(tmp_path / "copy")
    for table in store.tables():
        here, there = (
            {json.dumps(dict(sorted(row.items())), default=repr) for row in rows}
            for rows in (again.db.rows(f"select * from {table}"), store.db.rows(f"select * from {table}"))
        )
        if table != "signal":
            assert here == there, table
    assert again.reactions(RATERS[0]) == store.reactions(RATERS[0])
    assert [item.source_id for item, _ in again.reactions(RATERS[0])] == ["3", "1", "2"]


def test_delete_everything_leaves_new_files(tmp_path: Path, url: str, postgres: Server) -> None:
    store = known(Store(tmp_path, url))
    store.add("me", [like(joke(1, text="zeppelin marmalade"))])
    store.vectors(["zeppelin marmalade"])
    path = f"{postgres.folder}/data/" + postgres.ask("select pg_relation_filepath('palate.item')", url)[0][0]
    store.delete_everything()
    postgres.ask("checkpoint", url)
    assert not Path(path).exists() or b"zeppelin" not in Path(path).read_bytes()
    assert all(not rows for rows in dump(store).values())
    assert store.reactions("me") == ()


def test_rows_that_are_read_one_by_one_leave_room_for_other_questions(tmp_path: Path, url: str) -> None:
    store = known(Store(tmp_path, url))
    store.add("me", [like(joke(n)) for n in range(300)])
    met: list[Any] = []
    for row in store.db.each("select id from item"):
        met.append(row["id"])
        assert store.rater("a") == "me"
    assert len(set(met)) == 300


def test_schemas_of_visitors_that_nobody_opened_for_long_are_dropped(
    tmp_path: Path, url: str, postgres: Server
) -> None:
    for name in ("visitor_old", "visitor_new", "palate"):
        known(Store(tmp_path / name, url, name))
    postgres.ask("comment on schema visitor_old is '2026-01-01T00:00:00+00:00'", url)
    postgres.ask("comment on schema palate is '2026-01-01T00:00:00+00:00'", url)
    forget_unused(url, "visitor_", 3600)
    assert [exists(tmp_path, url, name) for name in ("visitor_old", "visitor_new", "palate")] == [False, True, True]
    assert (tmp_path / "visitor_new" / "palate.opened").exists(), "by which its folder is kept as well"
