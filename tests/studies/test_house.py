"""Many visitors in one house: rooms apart, one model, fair turns, limits."""

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from collectors.item import Item, Signal
from engine.backbone import Backbone
from studies import pairs
from studies.house import VISITORS, Home, Hosted
from studies.importing import UPLOADS
from studies.outcome import outcome
from studies.session import BlindPair, Engine, NotReady, Studio, Waiting
from studies.store import ME, Refused, Store
from tests.conftest import LIKES
from tests.postgres import Server
from tests.studies.test_session import Talker, until

ADA, BOB = "a" * 32, "b" * 32


@pytest.fixture
def hosted(tmp_path: Path, tiny: Backbone) -> Iterator[Hosted]:
    house = Hosted(tmp_path, Engine(Talker(tiny), None, None))  # type: ignore[arg-type]
    house.start()
    yield house
    house.close()


def bytes_under(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_at_home_every_page_is_the_same_person(tmp_path: Path, tiny: Backbone) -> None:
    house = Home(Studio(Store(tmp_path), Talker(tiny)))  # type: ignore[arg-type]
    assert house.room(ADA) is house.room(BOB)
    assert house.room(ADA).store.rater(BOB) == ME


def test_what_one_visitor_brings_is_out_of_reach_of_another(hosted: Hosted) -> None:
    ada, bob = hosted.room(ADA), hosted.room(BOB)
    items = [Item("secret", str(n), "post", f"ada wrote this herself, number {n}") for n in range(30)]
    ada.store.add(ME, [(item, Signal(item.id, 1) if n < 8 else None) for n, item in enumerate(items)])
    ada.worker.poke(), bob.worker.poke()
    pair = bob.next_pair(BOB)
    for _ in range(12):
        card = bob.next_card(BOB)
        assert card
        assert "ada wrote" not in card.text
        bob.react(BOB, card.id, "like")
    assert "ada wrote" not in pair.left_text + pair.right_text
    assert not {item.id for item in items} & {item.id for item in bob.store.unseen(ME, "feed", 1_000)}
    assert b"ada wrote" in bytes_under(ada.folder)
    assert b"ada wrote" not in bytes_under(bob.folder)
    with pytest.raises(Refused):
        ada.vote(BOB, pair.id, "left")
    with pytest.raises(Refused):
        bob.vote(ADA, pair.id, "left")
    assert bob.store.ballots() == [] == ada.store.ballots()
    bob.vote(BOB, pair.id, "left")
    assert (len(ada.outcome(ADA).standings), len(bob.outcome(BOB).standings)) == (0, 2)


def test_one_visitor_deletes_everything_and_the_other_keeps_all(hosted: Hosted) -> None:
    ada, bob = hosted.room(ADA), hosted.room(BOB)
    for studio, session in ((ada, ADA), (bob, BOB)):
        pair = studio.next_pair(session)
        studio.vote(session, pair.id, "left")
    ada.own.delete_me(ADA)
    assert ada.store.ballots() == []
    assert len(bob.store.ballots()) == 1
    hosted.room(ADA).next_card(ADA)


def test_rooms_in_postgresql_are_apart_and_there_again_after_a_restart(
    tmp_path: Path, tiny: Backbone, postgres: Server
) -> None:
    url = postgres.database()
    house = Hosted(tmp_path, Engine(Talker(tiny), None, None), url=url)  # type: ignore[arg-type]
    house.start()
    ada, bob = house.room(ADA), house.room(BOB)
    ada.store.add(ME, [(Item("secret", "1", "post", "ada wrote this herself"), Signal("secret:1", 1))])
    assert len(ada.store.reactions(ME)) == 1
    assert bob.store.reactions(ME) == ()
    judged = [room.next_pair(name) for room, name in ((ada, ADA), (bob, BOB))]
    with pytest.raises(Refused):
        bob.vote(BOB, judged[0].id, "left")
    for pair, (room, name) in zip(judged, ((ada, ADA), (bob, BOB)), strict=True):
        room.vote(name, pair.id, "left")
    assert b"ada wrote" not in bytes_under(tmp_path), "it stands in the database"
    ada.own.delete_me(ADA)
    assert (ada.store.ballots(), len(bob.store.ballots()), house.outcome().votes) == ([], 1, 1)
    house.close()
    again = Hosted(tmp_path, Engine(Talker(tiny), None, None), url=url)  # type: ignore[arg-type]
    assert [vote.trial for vote in again.room(BOB).store.ballots()] == [judged[1].id]
    assert again.room(ADA).store.reactions(ME) == ()
    assert again.room(BOB).next_pair(BOB).id != judged[1].id
    again.close()


def test_everybodys_votes_are_told_together(hosted: Hosted) -> None:
    for name in (ADA, BOB):
        room = hosted.room(name)
        room.vote(name, room.next_pair(name).id, "left")
    assert outcome(hosted.ballots()).votes == 2
    assert hosted.room(ADA).outcome(ADA).votes == 1
    hosted.room(ADA).own.delete_me(ADA)
    assert outcome(hosted.ballots()).votes == 1


def test_names_of_visitors_do_not_stand_on_the_disk(hosted: Hosted) -> None:
    room = hosted.room(ADA)
    assert ADA not in str(room.folder)
    assert hosted.room(ADA) is room


def test_visitors_meet_the_arms_in_orders_of_their_own(hosted: Hosted) -> None:
    assert hosted.room(ADA).worker.seed != hosted.room(BOB).worker.seed


def test_the_model_is_shared_and_whoever_waits_is_told_how_long(hosted: Hosted) -> None:
    with hosted.turns.turn("somebody"):
        ada = hosted.room(ADA)
        until(lambda: ada.worker.turns.before(ada.worker) == 1)
        told = ada.pair_now(ADA)
        assert isinstance(told, Waiting)
        assert told.before == 1
    assert isinstance(ada.next_pair(ADA, patience=20), BlindPair)


def test_a_page_that_waits_has_its_turn_before_those_that_write_ahead(hosted: Hosted) -> None:
    with hosted.turns.turn("somebody"):
        ada, bob = hosted.room(ADA), hosted.room(BOB)
        until(lambda: {ada.worker.turns.before(ada.worker), bob.worker.turns.before(bob.worker)} == {1, 2})
        last = max((ada, bob), key=lambda room: room.worker.turns.before(room.worker))
        last.pair_now(ADA if last is ada else BOB)
        until(lambda: last.worker.turns.before(last.worker) == 1)


def test_a_house_that_is_full_says_so_and_lets_people_in_again(tmp_path: Path, tiny: Backbone) -> None:
    house = Hosted(tmp_path, Engine(Talker(tiny), None, None), most=2)  # type: ignore[arg-type]
    first = house.room(ADA)
    house.room(BOB)
    with pytest.raises(Refused, match="too many people"):
        house.room("c" * 32)
    card = first.next_card(ADA)
    house.idle = 0.0
    house.room("c" * 32)
    house.idle = 60.0
    until(lambda: not first.worker.is_alive())
    again = house.room(ADA)
    assert again is not first
    assert again.next_card(ADA) == card, "the room was closed, not emptied"
    house.close()


def test_too_many_calls_and_too_many_newcomers_are_refused(hosted: Hosted) -> None:
    def calls(names: Iterator[str]) -> None:
        for name in names:
            hosted.room(name, "10.1.2.3")

    with pytest.raises(Refused, match="wait"):
        calls(ADA for _ in range(200))
    hosted.room(BOB)
    with pytest.raises(Refused, match="wait"):
        calls(f"client-{n}" for n in range(60))
    assert len(list((hosted.folder / VISITORS).iterdir())) < 60


def test_visitors_who_stay_away_are_forgotten(tmp_path: Path, tiny: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(Talker(tiny), None, None)  # type: ignore[arg-type]
    house = Hosted(tmp_path, engine)
    gone, there = house.room(ADA).folder, house.room(BOB).folder
    house.close()
    for path in [gone, *gone.rglob("*")]:
        os.utime(path, (1, 1))
    Hosted(tmp_path, engine).start()
    assert not gone.exists()
    assert there.exists()


def test_what_the_owner_taught_serves_visitors_and_outlives_their_deletion(hosted: Hosted) -> None:
    taught = hosted.folder / "states" / "shared" / "arm"
    taught.mkdir(parents=True)
    (taught / "key.safetensors").write_bytes(b"weights")
    room = hosted.room(ADA)
    lent = room.folder / "states" / "shared" / "arm" / "key.safetensors"
    assert lent.read_bytes() == b"weights"
    zipped = room.own.export_me(ADA)
    assert b"weights" not in zipped.read_bytes()
    room.own.delete_me(ADA)
    assert not lent.exists()
    assert (taught / "key.safetensors").exists()
    hosted.room(ADA)
    assert lent.exists()


def uploaded(house: Hosted) -> Path:
    """The same file from whoever brings it: the page keeps one copy of what is alike."""
    path = house.folder / UPLOADS / "its-hash" / "class.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("text,like\n" + "\n".join(f"zeppelin marmalade number {n},1" for n in range(12)))
    return path


def test_two_who_bring_the_same_file_each_save_it(hosted: Hosted) -> None:
    ada, bob = hosted.room(ADA), hosted.room(BOB)
    hers = ada.imports.preview(ADA, uploaded(hosted))
    his = bob.imports.preview(BOB, uploaded(hosted))
    assert [now.rows for now in ada.imports.save(ADA, hers.ticket)] == [12]
    assert [now.rows for now in bob.imports.save(BOB, his.ticket)] == [12]
    with pytest.raises(Refused, match="choose it again"):
        bob.imports.preview(BOB, hosted.folder / UPLOADS / "its-hash" / "class.csv")


def test_delete_me_takes_back_what_the_page_holds_for_a_visitor(hosted: Hosted) -> None:
    ada, bob = hosted.room(ADA), hosted.room(BOB)
    list(ada.imports.save(ADA, ada.imports.preview(ADA, uploaded(hosted)).ticket))
    ada.imports.preview(ADA, uploaded(hosted))
    hers, his = ada.own.export_me(ADA), bob.own.export_me(BOB)
    assert hosted.folder / UPLOADS in hers.parents, "the page serves nothing from anywhere else"
    assert b"zeppelin" in bytes_under(hosted.folder)
    ada.own.delete_me(ADA)
    assert not hers.exists()
    assert his.exists()
    assert b"zeppelin" not in bytes_under(hosted.folder)


def test_a_visitor_teaches_nothing_that_others_use(hosted: Hosted, tmp_path: Path) -> None:
    room = hosted.room(ADA)
    with pytest.raises(Refused, match="whoever runs this app"):
        room.teach(ADA, room.teacher.teachable()[0], tmp_path / "crowd.jsonl", lambda: False)
    assert not room.teacher.busy()


def test_a_guest_is_told_that_the_model_failed_and_not_how(hosted: Hosted, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*told: object) -> None:
        raise OSError("/home/owner/secret")

    with monkeypatch.context() as patch:
        patch.setattr(pairs, "decode", breaks)
        room = hosted.room(ADA)
        with pytest.raises(NotReady, match=r"could be written \(the model failed\): try again") as told:
            room.next_pair(ADA)
    assert "secret" not in str(told.value)
    assert "secret" in room.worker.failure, "the owner's log has it"
    until(lambda: comes(room))


def comes(room: Studio) -> bool:
    with suppress(NotReady):  # a round that began before may still have failed
        return bool(room.next_pair(ADA).left_text)
    return False


def test_many_come_at_once(hosted: Hosted) -> None:
    names = [f"{n:032x}" for n in range(12)]
    failed: list[BaseException] = []

    def visit(name: str) -> None:
        try:
            room = hosted.room(name)
            for text in LIKES[:3]:
                card = room.next_card(name)
                assert card, text
                room.react(name, card.id, "like")
            pair = room.next_pair(name)
            room.vote(name, pair.id, "right")
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=visit, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    assert all(len(hosted.room(name).store.ballots()) == 1 for name in names)
