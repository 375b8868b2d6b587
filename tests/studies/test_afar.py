"""Votes kept on the hub as well: the real library against a stand-in of the hub on this machine."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from engine.backbone import Backbone
from studies.afar import Copies, fetch
from studies.house import Hosted
from studies.ledger import Ledger
from studies.session import CannotStart, Engine
from tests.dataset_hub import Hub, hub
from tests.studies.test_ledger import ADA, BOB, VOTE
from tests.studies.test_session import Talker

SELDOM = 1_000.0  # minutes


@pytest.fixture
def far() -> Iterator[Hub]:
    with hub() as far:
        yield far


def api(far: Hub) -> HfApi:
    return HfApi(endpoint=far.url, token="hf_secret")


def test_votes_outlive_the_disk(far: Hub, tmp_path: Path) -> None:
    assert fetch(tmp_path / "one", "me/votes", api(far)) == 0
    ledger = Ledger(tmp_path / "one")
    copies = Copies(ledger, "me/votes", api(far), SELDOM)
    for n in range(3):
        ledger.write(ADA, vote=f"{n}", **VOTE)
    ledger.close()
    ledger.write(BOB, vote="3", **VOTE)
    copies.last()
    assert far.created[0]["visibility"] == "private"
    assert (len(far.files), far.commits, far.squashed) == (2, 1, 1)
    assert far.tokens == {"Bearer hf_secret"}
    copies.trigger().result(20)
    assert far.commits == 1, "nothing new, nothing sent"

    assert fetch(tmp_path / "two", "me/votes", api(far)) == 2
    again = Ledger(tmp_path / "two")
    assert again.ballots() == ledger.ballots()
    assert fetch(tmp_path / "two", "me/votes", api(far)) == 0
    copies.stop()


def test_who_deletes_everything_is_gone_there_as_well(far: Hub, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    copies = Copies(ledger, "me/votes", api(far), SELDOM)
    ledger.write(ADA, vote="1", **VOTE)
    ledger.write(BOB, vote="2", **VOTE)
    copies.last()
    ledger.write(ADA, gone=True)
    copies.last()
    lines = [json.loads(line) for content in far.files.values() for line in content.splitlines()]
    assert [sorted(line) for line in lines if line["rater"] == ADA] == [["at", "gone", "rater"]]
    assert sum(line["rater"] == BOB for line in lines) == 1
    copies.stop()


def test_a_copy_that_fails_is_told_and_made_later(
    far: Hub, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("huggingface_hub"), "propagate", True)
    ledger = Ledger(tmp_path)
    copies = Copies(ledger, "me/votes", api(far), SELDOM)
    copies.trigger().result(20)
    far.down = True
    ledger.write(ADA, vote="1", **VOTE)
    copies.last()
    assert "Error while pushing to Hub" in caplog.text
    assert far.files == {}
    ledger.write(ADA, vote="2", **VOTE)
    assert len(ledger.ballots()) == 2
    far.down = False
    copies.last()
    assert len(far.files) == 2
    copies.stop()


def test_a_hub_that_cannot_be_read_or_a_public_dataset_is_no_place(far: Hub, tmp_path: Path) -> None:
    far.private = False
    with pytest.raises(CannotStart, match="me/votes is public"):
        fetch(tmp_path, "me/votes", api(far))
    far.down = True
    with pytest.raises(CannotStart, match="HF_TOKEN"):
        fetch(tmp_path, "me/votes", api(far))


def test_a_house_goes_on_where_another_ended(far: Hub, tmp_path: Path, tiny: Backbone) -> None:
    engine = Engine(Talker(tiny), None, None)  # type: ignore[arg-type]
    house = Hosted(tmp_path / "one", engine, dataset="me/votes", api=api(far))
    room = house.room(ADA)
    pair = room.next_pair(ADA)
    room.vote(ADA, pair.id, "left")
    house.last()
    told = house.outcome()
    house.close()
    assert len(told.standings) == 2
    assert pair.left_text.encode() not in b"".join(far.files.values())
    again = Hosted(tmp_path / "two", engine, dataset="me/votes", api=api(far))
    assert again.outcome() == told
    again.close()
