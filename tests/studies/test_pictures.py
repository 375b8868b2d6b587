"""Blind pairs of pictures, by a tiny random model: painted and stored before they are shown, apart from all texts."""

import json
import resource
import time
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from collectors.item import Item, Signal
from engine.backbone import Backbone
from engine.pictures import LEAD, TASTE, TITLES, TOPIC, Painter
from studies import export, records
from studies.database import StoreError
from studies.house import Home, Hosted
from studies.own_judge import LEAST
from studies.pairs import SUPERSEDED, title, waiting_for
from studies.pictures import FOLDER, make_pictures, void_reason
from studies.report import report
from studies.schedule import PICTURE
from studies.session import BlindPair, BlindPictures, CannotStart, Engine, Studio, Waiting
from studies.store import ME, Refused, Row, Store
from studies.wish import SCENES, Wish
from tests.conftest import LIKES
from tests.names import names_in
from tests.postgres import Server
from tests.studies.test_session import Talker, one_thread, until  # noqa: F401 - a fixture for every test here
from tests.tiny_pictures import ROUNDING, apart

SUMMARY = "This person enjoys deadpan jokes about machines."
ADA, BOB = "a" * 32, "b" * 32


@pytest.fixture(scope="module")
def painter(tiny_pipeline: Path) -> Painter:
    return Painter.load(str(tiny_pipeline), 2)


def like(studio: Studio, count: int = 6) -> None:
    items = [Item("test", str(n), "joke", text) for n, text in enumerate(LIKES[:count])]
    studio.store.add(ME, [(item, Signal(item.id, 1)) for item in items])
    studio.store.save_summary(ME, SUMMARY, "digest", count, studio.lm.fingerprint)


@pytest.fixture
def room(tmp_path: Path, tiny: Backbone, painter: Painter) -> Iterator[Studio]:
    """Somebody who likes six things and wants pictures."""
    studio = Studio(Store(tmp_path), Talker(tiny), painter=painter)
    studio.enter("a")
    like(studio)
    studio.start()
    studio.wish("a", PICTURE, "")
    yield studio
    studio.close()


def pictures(studio: Studio, session: str = "a") -> BlindPictures:
    shown = studio.next_pair(session)
    assert isinstance(shown, BlindPictures)
    return shown


def sides(studio: Studio, trial: str) -> tuple[Row, list[Row]]:
    """The trial, and its two candidates, left first."""
    [row] = studio.store.db.rows("select * from trial where id = :id", id=trial)
    ids = row["left_id"], row["right_id"]
    return row, [studio.store.db.rows("select * from candidate where id = :id", id=one)[0] for one in ids]


def two_wait(studio: Studio) -> None:
    until(lambda: len(waiting_for(studio.store, ME, studio.worker.wish)) >= 2)


def files(studio: Studio) -> set[str]:
    folder = studio.folder / FOLDER
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def test_a_whole_trial(room: Studio) -> None:
    """Stored before it is shown, nothing that names an arm until the vote, then what the model was told and why."""
    shown = pictures(room)
    trial, found = sides(room, shown.id)
    assert [one["text"] for one in found] == [shown.left, shown.right]
    assert files(room) >= {shown.left, shown.right}
    for name in (shown.left, shown.right):
        assert name.removesuffix(".png").isalnum()
        assert names_in(name) == []
        png = room.own.picture("a", name).read_bytes()
        assert png.startswith(b"\x89PNG")
    assert sorted(one["arm"] for one in found) == sorted(TITLES)
    by_arm = {one["arm"]: one for one in found}
    ask = json.loads(trial["ask"])
    assert ask["payload"] in SCENES
    assert by_arm[TOPIC]["prompt"] == f"A funny picture: {ask['payload']}."
    assert by_arm[TASTE]["prompt"] == f"A funny picture: {ask['payload']}.{LEAD}{SUMMARY}"
    assert room.pair_now("a") == shown, "a reload shows it again"
    told = room.vote("a", shown.id, "left", [("right", "sounds_ai")])
    assert (told.left.arm, told.right.arm) == tuple(one["arm"] for one in found)
    taste = told.left if told.left.arm == TASTE else told.right
    assert taste.prompt == by_arm[TASTE]["prompt"]
    assert set(taste.because) <= set(LIKES)
    assert taste.because
    assert [side.because for side in (told.left, told.right) if side.arm == TOPIC] == [()]
    assert title(TOPIC) != title(TASTE)
    with pytest.raises(Refused, match="only texts teach"):
        room.teach_from("a", shown.id, "left", True)
    with pytest.raises(Refused, match="voted on this one already"):
        room.vote("a", shown.id, "right")


def test_both_sides_have_one_seed_and_each_arm_stands_left_as_often(room: Studio) -> None:
    left = []
    for _ in range(4):
        shown = pictures(room)
        row, (first, _) = sides(room, shown.id)
        left.append(first["arm"])
        ask = json.loads(row["ask"])
        both = room.painter.paint([one["prompt"] for one in sides(room, shown.id)[1]], [ask["seed"]] * 2)
        stored = [room.own.picture("a", name).read_bytes() for name in (shown.left, shown.right)]
        assert max(apart(*pair) for pair in zip(both, stored, strict=True)) <= ROUNDING
        room.vote("a", shown.id, "skip")
    assert left.count(TOPIC) == left.count(TASTE) == 2


def test_votes_on_pictures_and_on_texts_are_never_counted_together(room: Studio, tmp_path: Path) -> None:
    for n in range(3):
        room.vote("a", pictures(room).id, ("left", "right", "both")[n])
    room.wish("a", "joke", "")
    for _ in range(2):
        shown = room.next_pair("a")
        assert isinstance(shown, BlindPair), "no picture is shown to whoever wants jokes"
        room.vote("a", shown.id, "left")
    texts, painted = room.outcome("a"), room.outcome("a", pictures=True)
    assert (texts.votes, painted.votes) == (2, 3)
    assert {s.arm for s in painted.standings} == set(TITLES)
    assert not {s.arm for s in texts.standings} & set(TITLES)
    assert [meter.a for meter in painted.meters] == [TASTE], "against what knows nobody"
    assert {rate.arm for rate in painted.rates} == set(TITLES)
    assert room.taste("a").votes == 5
    there = records.records(room.store, None)
    assert [len(there.ballots), len(there.pictures), len(there.played)] == [2, 3, 2]
    assert not {side.arm for written in there.written for side in written.sides} & set(TITLES)
    page = report(there)
    assert "Standings of pictures" in page
    assert page.count(title(TASTE)) == page[page.index('id="pictures"') :].count(title(TASTE)), "in that section alone"
    assert room.judging.session("a").pairs == 2 < LEAST, "a model of words judges no pictures"
    export.export(room.store, tmp_path / "out")
    rows = [json.loads(line) for line in (tmp_path / "out" / "trials.jsonl").read_text().splitlines()]
    assert {row["left_prompt"] != "" for row in rows} == {True, False}
    chosen = (tmp_path / "out" / "preferences.jsonl").read_text()
    assert len(chosen.splitlines()) == 2
    assert ".png" not in chosen


def test_a_pair_that_comes_again_is_of_the_same_kind(room: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studies.session.REPEAT_EVERY", 3)
    monkeypatch.setattr("studies.session.REPEAT_AFTER", 1)
    seen = []
    for _ in range(4):
        seen.append(pictures(room))
        room.vote("a", seen[-1].id, "left")
    old = {(one.right, one.left): one.id for one in seen[:-1]}
    assert (seen[-1].left, seen[-1].right) in old, "the sides swapped"
    again = room.outcome("a", pictures=True).same
    assert again is not None
    assert again.n == 1
    assert room.outcome("a").same is None


def test_tables_in_postgresql_keep_them_as_well(
    tmp_path: Path, tiny: Backbone, painter: Painter, postgres: Server
) -> None:
    with postgres.stores() as stores:
        studio = Studio(stores(tmp_path)[0], Talker(tiny), painter=painter)
        studio.enter("a")
        like(studio)
        studio.worker.wish = Wish(PICTURE)
        assert make_pictures(studio.store, painter, studio.worker._person(), lambda: False, lambda done, of: None) == 1
        shown = studio.pair_now("a")
        assert isinstance(shown, BlindPictures)
        assert studio.own.picture("a", shown.left).is_file()
        told = studio.vote("a", shown.id, "both")
        assert LEAD in told.left.prompt + told.right.prompt
        assert [len(studio.store.ballots()), len(studio.store.ballots(pictures=True))] == [0, 1]


def test_undo_withdraws_a_vote_on_pictures(room: Studio) -> None:
    shown = pictures(room)
    room.vote("a", shown.id, "left")
    assert room.take_back_vote("a").choice == "undone"
    assert room.outcome("a", pictures=True).votes == 0


def test_only_what_was_shown_is_handed_out(room: Studio) -> None:
    shown = pictures(room)
    two_wait(room)
    [waiting, *_] = files(room) - {shown.left, shown.right}
    for name in (waiting, "../palate.db", "x.png", f"{FOLDER}/{shown.left}", f"{shown.left}/"):
        with pytest.raises(Refused, match="no such picture of yours"):
            room.own.picture("a", name)


def test_what_was_painted_is_taken_along_and_deleted(room: Studio) -> None:
    shown = pictures(room)
    with zipfile.ZipFile(room.own.export_me("a")) as taken:
        assert {f"{FOLDER}/{shown.left}", f"{FOLDER}/{shown.right}"} <= set(taken.namelist())
        assert taken.read(f"{FOLDER}/{shown.left}") == room.own.picture("a", shown.left).read_bytes()
    room.own.delete_me("a")
    assert files(room) == set()
    with pytest.raises(Refused):
        room.own.picture("a", shown.left)
    assert SUMMARY.encode() not in b"".join(path.read_bytes() for path in room.folder.rglob("*") if path.is_file())


def test_without_room_nothing_of_the_pair_is_stored_and_it_says_so(room: Studio) -> None:
    first = pictures(room)
    two_wait(room)
    room.worker.close()
    before = files(room), room.store.db.rows("select count(*) as n from trial")
    person = room.worker._person()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))  # as a full disk: a write ends in an error
    try:
        with pytest.raises(StoreError, match="free some space; what was stored before is safe"):
            make_pictures(room.store, room.painter, person, lambda: False, lambda done, of: None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (files(room), room.store.db.rows("select count(*) as n from trial")) == before
    assert room.own.picture("a", first.left).read_bytes()
    full = "select raise(abort, 'database or disk is full')"
    room.store.db.run(f"create trigger full before insert on trial begin {full}; end")
    with pytest.raises(StoreError, match="disk"):
        make_pictures(room.store, room.painter, person, lambda: False, lambda done, of: None)
    assert files(room) == before[0], "no picture without its trial"


def test_whoever_wants_something_else_waits_for_no_picture(room: Studio, painter: Painter) -> None:
    two_wait(room)
    slow = Slow(painter.pipe, painter.name, 900)
    room.worker.painter = slow
    while isinstance(shown := room.pair_now("a"), BlindPictures):
        room.vote("a", shown.id, "left")
    until(lambda: slow.steps_done > 2)
    told = room.pair_now("a")
    assert isinstance(told, Waiting)
    assert 10 < told.seconds_left < 1_000, "by how far it is"
    room.wish("a", "joke", "")
    assert isinstance(room.next_pair("a", patience=20), BlindPair)
    assert slow.stopped


class Slow(Painter):
    """The same in many slow steps."""

    steps_done, stopped = 0, False

    def paint(self, prompts: Any, seeds: Any, stopped: Any, on_step: Any) -> list[bytes]:
        def counted(done: int, of: int) -> None:
            self.steps_done = done
            on_step(done, of)
            time.sleep(0.02)

        try:
            return super().paint(prompts, seeds, stopped, counted)
        finally:
            self.stopped = stopped()


def test_what_cannot_be_painted_is_refused_and_the_wish_stays(room: Studio) -> None:
    before = room.worker.wish
    with pytest.raises(Refused, match="name it in fewer words"):
        room.wish("a", PICTURE, "xyz " * 29)
    assert room.worker.wish is before
    room.wish("a", PICTURE, "a dog")
    until(lambda: any(json.loads(row["ask"])["payload"] == "a dog" for row in room.store.ready(ME, "pair")))


def test_pictures_are_offered_only_where_they_can_be_painted(tmp_path: Path, tiny: Backbone) -> None:
    studio = Studio(Store(tmp_path), Talker(tiny))
    studio.enter("a")
    with pytest.raises(Refused, match=r"no such kind here: use one of joke, post, caption, reply$"):
        studio.wish("a", PICTURE, "")
    assert not Home(studio).paints
    with pytest.raises(Refused, match="no such kind"):
        next(studio.corner.write("a", "none-79049c", PICTURE, ""))


def test_before_anything_is_liked_there_is_nothing_to_compare(tmp_path: Path, tiny: Backbone, painter: Painter) -> None:
    studio = Studio(Store(tmp_path), Talker(tiny, 5, 6), painter=painter)
    studio.enter("a")
    with pytest.raises(Refused, match=r"nothing to compare.*like three cards first"):
        studio.wish("a", PICTURE, "")
    items = [Item("test", str(n), "joke", text) for n, text in enumerate(LIKES[:3])]
    studio.store.add(ME, [(item, Signal(item.id, 1)) for item in items])
    studio.start()
    try:
        studio.wish("a", PICTURE, "")  # the summary is written first: a picture would have nothing to be told
        shown = pictures(studio)
        trial, found = sides(studio, shown.id)
        summary = studio.store.latest_summary(ME)
        assert summary is not None
        assert trial["summary"] == summary["id"]
        assert summary["text"] in next(one["prompt"] for one in found if one["arm"] == TASTE)
    finally:
        studio.close()


def test_another_image_model_or_none_shows_nothing_of_the_one_before(room: Studio, tiny: Backbone) -> None:
    two_wait(room)
    room.worker.close()
    room.supersede()
    waiting = waiting_for(room.store, ME, room.worker.wish)
    assert len(waiting) >= 2, "the same model: they stand"
    Studio(room.store, room.lm).supersede()
    assert waiting_for(room.store, ME, room.worker.wish) == []
    assert {sides(room, row["id"])[0]["void_reason"] for row in waiting} == {SUPERSEDED}


def test_two_pictures_that_are_alike_or_empty_are_not_shown(painter: Painter) -> None:
    [cat], [dog] = painter.paint(["a cat"], [1]), painter.paint(["a dog"], [1])
    black = BytesIO()
    Image.new("RGB", (64, 64)).save(black, "PNG")
    assert void_reason(cat, dog) is None
    assert void_reason(cat, cat) == "near-duplicates"
    assert void_reason(cat, black.getvalue()) == "empty"


def test_visitors_see_no_picture_of_another_and_the_ledger_counts_apart(
    tmp_path: Path, tiny: Backbone, painter: Painter
) -> None:
    house = Hosted(tmp_path, Engine(Talker(tiny), None, None, painter))  # type: ignore[arg-type]
    try:
        assert house.paints
        ada, bob = house.room(ADA), house.room(BOB)
        like(ada)
        ada.wish(ADA, PICTURE, "")
        shown = pictures(ada, ADA)
        assert ada.own.picture(ADA, shown.left).is_file()
        with pytest.raises(Refused):
            bob.own.picture(BOB, shown.left)
        with pytest.raises(Refused):
            ada.own.picture(BOB, shown.left)
        ada.vote(ADA, shown.id, "left")
        bob.vote(BOB, bob.next_pair(BOB).id, "right")
        assert [len(house.ballots()), len(house.ballots(pictures=True))] == [1, 1]
        texts, painted = house.outcome(), house.outcome(pictures=True)
        assert (texts.votes, painted.votes) == (1, 1)
        assert not {row.arm for row in (*texts.standings, *texts.rates)} & set(TITLES)
        assert {row.arm for row in (*painted.standings, *painted.rates)} == set(TITLES)
        house.close()
        again = Hosted(tmp_path, house.engine)
        assert [len(again.ballots()), len(again.ballots(pictures=True))] == [1, 1], "the same after a restart"
        again.close()
    finally:
        house.close()


def test_what_is_missing_for_pictures_ends_the_start_in_words(tmp_path: Path, tiny_folder: Path) -> None:
    with pytest.raises(CannotStart, match=r"no model_index.json"):
        Engine.load(tmp_path, str(tiny_folder), base=False, image_model=str(tiny_folder))
    with pytest.raises(CannotStart, match="leave --image-model out"):
        Engine.load(tmp_path, gpu=lambda task: task, image_model="x/y")
