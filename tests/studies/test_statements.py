"""Sentences of a summary that are wrong: out at once, and out when they come again."""

import numpy as np
import pytest

from studies.session import Studio
from studies.statements import carried, sentences, without, wrong_in
from studies.store import ME, Refused
from tests.studies.test_pairs import one_thread  # noqa: F401 - a fixture for every test here
from tests.studies.test_session import add_likes, open_room, room, until  # noqa: F401 - fixtures


def test_a_summary_falls_into_its_sentences() -> None:
    assert sentences("They like cats. They hate dogs!  And?") == ["They like cats.", "They hate dogs!", "And?"]
    assert sentences("") == []
    assert sentences("no end") == ["no end"]


def test_what_says_the_same_again_is_left_out_and_what_does_not_stays() -> None:
    from engine.encoder import encode

    told = "This person enjoys jokes about cats. They like short sentences."
    assert without(told, ["This person enjoys jokes about cats."], encode) == "They like short sentences."
    assert without(told, ["The person likes jokes about cats."], encode) == "They like short sentences."
    assert without(told, ["They collect stamps."], encode) == told
    assert without("", ["x"], lambda texts: np.zeros((len(texts), 2))) == ""


def test_what_is_kept_beside_a_summary() -> None:
    assert carried({}, []) is None
    assert wrong_in({"taste": carried({"topics": [1]}, ["a"])}) == ["a"]
    assert wrong_in({"taste": None}) == [] == wrong_in(None)


def test_a_wrong_sentence_goes_at_once_and_the_next_summary_does_without_it(room: Studio) -> None:  # noqa: F811
    add_likes(room, 6)
    room.worker.poke()
    until(lambda: room.store.latest_summary(ME))
    newest = room.store.latest_summary(ME)
    assert newest
    room.store.save_summary(
        ME, "They like socks. They fear Mondays.", newest["profile_digest"], newest["reactions"], newest["engine"]
    )
    room.own.call_wrong("a", "They fear Mondays.")
    until(lambda: room.own.portrait("a").summary == "They like socks.")
    assert wrong_in(room.store.latest_summary(ME)) == ["They fear Mondays."]
    with pytest.raises(Refused, match="has changed"):
        room.own.call_wrong("a", "They fear Mondays.")
    versions = len(room.store.db.rows("select * from summary"))
    add_likes(room, 14)
    room.worker.poke()
    until(lambda: len(room.store.db.rows("select * from summary")) > versions)
    assert wrong_in(room.store.latest_summary(ME)) == ["They fear Mondays."], "it is carried on"
