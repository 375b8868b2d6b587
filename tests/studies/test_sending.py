"""Likes leave this machine after a yes and never without: the whole room, the real library, a server that counts."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

import studies.worker
from collectors.item import Item, Signal
from demo import words
from engine.backbone import Backbone
from engine.claude import Claude
from engine.summary import MIN_LIKES
from studies.session import ME, Studio
from studies.store import LOCAL, Refused, Row, Store
from tests.loopback import TASTE, Loopback, fault, message, serving
from tests.studies.test_pairs import Talker, one_thread  # noqa: F401 - a fixture for every test here
from tests.studies.test_session import add_likes, react, ready, settled, until

TEXT = "This person enjoys humor about socks. They like deadpan, told in this tone: dry."
Open = Callable[..., Studio]


@pytest.fixture
def api() -> Iterator[Loopback]:
    with serving() as heard:
        yield heard


@pytest.fixture
def open_room(tmp_path: Path, tiny: Backbone, api: Loopback, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Opens the room of one folder, with a key set; the page "a" has entered. `changed` goes to the client."""
    monkeypatch.setattr(studies.worker, "GATHER", 0.2)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-made-up")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", api.url)
    opened: list[Studio] = []

    def open_room(**changed: object) -> Studio:
        claude = Claude.from_environment("a-model")
        studio = Studio(Store(tmp_path), Talker(tiny), claude=claude and replace(claude, **changed))  # type: ignore[arg-type]
        studio.enter("a")
        opened.append(studio)
        studio.start()
        return studio

    yield open_room
    api.released.set()
    for studio in opened:
        studio.close()


def summaries(studio: Studio) -> list[Row]:
    return studio.store.db.rows("select * from summary order by number")


def by(studio: Studio) -> list[str]:
    return [row["author"] for row in summaries(studio)]


def at_rest(studio: Studio) -> None:
    """Wait until every reaction was seen and what could be asked was asked."""
    settled(studio)
    time.sleep(0.6)


def like_again(studio: Studio, n: int) -> None:
    item = Item("test", f"another {n}", "joke", f"Another sock, number {n}, has a lawyer.")
    studio.store.add(ME, [(item, Signal(item.id, 1))])
    studio.worker.poke()


# ---- yes and no


def test_without_a_yes_no_request_is_made_though_a_key_is_set(open_room: Open, api: Loopback) -> None:
    studio = open_room()
    add_likes(studio, 6)
    react(studio, 2)
    until(lambda: by(studio))
    studio.vote("a", studio.next_pair("a").id, "left")
    studio.taste("a")
    studio.sending("a")
    studio.agree("a", False)
    react(studio, 5)
    until(lambda: len(by(studio)) == 2)
    at_rest(studio)
    assert set(by(studio)) == {LOCAL}
    assert api.requests == []
    studio.agree("a", True)  # and that nothing came is not because nothing can
    until(lambda: api.requests)


def test_after_a_yes_the_api_writes_it_and_what_is_kept_says_who(open_room: Open, api: Loopback) -> None:
    studio = open_room()
    add_likes(studio, MIN_LIKES)
    studio.worker.poke()
    until(lambda: by(studio) == [LOCAL])
    assert studio.taste("a").author == ""
    assert studio.agree("a", True).since
    until(lambda: len(by(studio)) == 2)
    newest = summaries(studio)[1]
    assert newest["text"] == TEXT
    assert (newest["author"], newest["engine"]) == (studio.claude.recipient, "a-model")  # type: ignore[union-attr]
    assert newest["profile_digest"] == studio.worker.profile.digest
    taste = json.loads(newest["taste"])
    liked = [item.id for item, _ in studio.store.reactions(ME)]
    sent = {post["id"]: post["text"] for post in api.told()["liked"]}
    shown = [studio.store.items([i])[i].text for i in taste["topics"][0]["evidence"]]
    assert shown == [sent["L1"], sent["L2"]]
    assert set(taste["topics"][0]["evidence"]) < set(liked)
    assert taste["devices"] == TASTE["devices"]
    told = studio.taste("a")
    assert (told.summary, told.author, told.trouble) == (TEXT, newest["author"], "")
    settled(studio)
    for _ in range(4):
        pair = studio.next_pair("a")
        studio.vote("a", pair.id, "both")
    (row,) = studio.store.db.rows("select summary from trial where id = :id", id=pair.id)
    assert row["summary"] == newest["id"]


def test_a_yes_and_its_end_are_kept_with_the_words_and_the_time(open_room: Open, api: Loopback) -> None:
    studio = open_room()
    before = studio.sending("a")
    assert before.since == ""
    assert api.url.removeprefix("http://") in before.terms
    assert "a-model" in before.terms
    assert "40" in before.terms
    assert "20" in before.terms
    assert "300" in before.terms
    for yes in (True, False, True, False):
        assert bool(studio.agree("a", yes).since) is yes
    rows = studio.store.db.rows("select * from consent order by number")
    assert [row["given"] for row in rows] == [1, 0, 1, 0]
    assert {(row["rater"], row["told"], row["recipient"]) for row in rows} == {
        (ME, before.terms, api.url.removeprefix("http://"))
    }
    assert all(datetime.fromisoformat(row["at"]).tzinfo for row in rows)
    with pytest.raises(Refused):
        studio.agree("?", True)
    assert len(studio.store.db.rows("select * from consent")) == 4


def test_after_the_end_of_a_yes_nothing_is_sent_and_the_summary_is_local_again(open_room: Open, api: Loopback) -> None:
    studio = open_room()
    studio.agree("a", True)
    add_likes(studio, MIN_LIKES)
    studio.worker.poke()
    until(lambda: by(studio) == [studio.claude.recipient])  # type: ignore[union-attr]
    studio.agree("a", False)
    until(lambda: by(studio)[1:] == [LOCAL])
    react(studio, 6)
    at_rest(studio)
    assert len(api.requests) == 1
    assert studio.taste("a").author == ""


def test_the_answer_to_what_was_under_way_when_the_yes_ended_is_dropped(open_room: Open, api: Loopback) -> None:
    waiting = threading.Event()
    api.reply = lambda n: (200, message()) if waiting.wait(20) else (500, "")
    studio = open_room()
    studio.agree("a", True)
    add_likes(studio, MIN_LIKES)
    studio.worker.poke()
    until(lambda: api.requests)
    studio.agree("a", False)
    waiting.set()
    at_rest(studio)
    assert by(studio) == [LOCAL]
    assert len(api.requests) == 1
    assert studio.taste("a").trouble == ""


def test_the_yes_outlives_a_restart_and_what_is_known_is_not_asked_again(open_room: Open, api: Loopback) -> None:
    studio = open_room()
    studio.agree("a", True)
    add_likes(studio, MIN_LIKES)
    studio.worker.poke()
    until(lambda: summaries(studio))
    studio.close()
    again = open_room()
    at_rest(again)
    assert len(api.requests) == 1
    like_again(again, 1)
    until(lambda: len(summaries(again)) == 2)
    assert len(api.requests) == 2


def test_a_yes_holds_for_the_host_it_was_said_to(open_room: Open, api: Loopback) -> None:
    with serving() as elsewhere:
        studio = open_room(url=elsewhere.url)
        studio.agree("a", True)
        studio.close()
        again = open_room()  # the address in the environment is another one now
        assert again.sending("a").since == ""
        add_likes(again, MIN_LIKES)
        again.worker.poke()
        until(lambda: by(again) == [LOCAL])
        at_rest(again)
        assert (api.requests, elsewhere.requests) == ([], [])


def test_without_a_key_it_is_local_and_says_so(open_room: Open, api: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    studio = open_room()
    assert studio.sending("a").terms == ""
    with pytest.raises(Refused, match="ANTHROPIC_API_KEY"):
        studio.agree("a", True)
    add_likes(studio, MIN_LIKES)
    studio.worker.poke()
    until(lambda: by(studio) == [LOCAL])
    assert "no ANTHROPIC_API_KEY" in words.sending(studio.sending("a"))
    assert api.requests == []


def test_a_yes_said_with_a_key_can_be_ended_without_one(open_room: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    studio = open_room()
    studio.agree("a", True)
    studio.close()
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    studio = open_room()
    assert studio.sending("a").since
    assert studio.agree("a", False).since == ""


# ---- when it is asked


def test_a_burst_of_swipes_is_one_request(open_room: Open, api: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    assert studies.worker.GATHER == 0.2  # the fixture's; the app's is 2 s
    monkeypatch.setattr(studies.worker, "GATHER", 2.5)
    studio = open_room()
    studio.agree("a", True)
    add_likes(studio, MIN_LIKES)
    for n in range(6):
        like_again(studio, n)
        time.sleep(0.1)
    until(lambda: summaries(studio))
    at_rest(studio)
    assert len(api.requests) == 1
    assert len(api.told()["liked"]) == MIN_LIKES + 6
    like_again(studio, 7)
    until(lambda: len(summaries(studio)) == 2)
    assert [len(api.told(n)["liked"]) for n in range(2)] == [MIN_LIKES + 6, MIN_LIKES + 7]


def test_likes_of_before_are_not_lost_while_a_request_is_under_way(open_room: Open, api: Loopback) -> None:
    waiting = threading.Event()
    api.reply = lambda n: (200, message()) if n or waiting.wait(20) else (500, "")
    studio = open_room()
    studio.agree("a", True)
    add_likes(studio, MIN_LIKES)
    studio.worker.poke()
    until(lambda: api.requests)
    like_again(studio, 1)
    waiting.set()
    until(lambda: len(summaries(studio)) == 2)
    assert len(api.told()["liked"]) == MIN_LIKES + 1


def test_nothing_is_asked_with_too_few_likes_or_when_nothing_changed(open_room: Open, api: Loopback) -> None:
    studio = open_room()
    studio.agree("a", True)
    add_likes(studio, MIN_LIKES - 1)
    react(studio, 3, "skip")
    at_rest(studio)
    assert api.requests == []
    shown = studio.next_card("a")
    assert shown is not None
    studio.react("a", shown.id, "like")
    until(lambda: summaries(studio))
    for n in range(3):
        studio.vote("a", studio.next_pair("a").id, ("left", "both", "skip")[n])
    react(studio, 2, "skip")
    at_rest(studio)
    assert len(api.requests) == 1


def test_a_slow_api_keeps_no_pair_and_no_verb_waiting(open_room: Open, api: Loopback) -> None:
    api.reply = lambda n: (200, message()) if api.released.wait(30) else (500, "")
    studio = open_room()
    studio.agree("a", True)
    add_likes(studio, MIN_LIKES)
    studio.worker.poke()
    until(lambda: api.requests)
    written = len(studio.store.db.rows("select id from trial where kind = 'pair'"))
    started = time.monotonic()
    for _ in range(6):
        studio.vote("a", studio.next_pair("a").id, "left")
    react(studio, 2)
    studio.taste("a")
    until(lambda: ready(studio)[0] >= 2)
    assert time.monotonic() - started < 15  # the API would take 20 s, and 20 more
    assert len(studio.store.db.rows("select id from trial where kind = 'pair'")) >= written + 5
    assert (len(api.requests), summaries(studio)) == (1, [])
    assert studio.lm.lock.acquire(timeout=2)
    studio.lm.lock.release()
    started = time.monotonic()
    studio.close()
    assert time.monotonic() - started < 3


# ---- when it fails


def test_a_refused_key_is_told_in_one_sentence_and_not_tried_on_every_reaction(open_room: Open, api: Loopback) -> None:
    api.reply = lambda n: (401, fault("authentication_error"))
    studio = open_room()
    studio.agree("a", True)
    add_likes(studio, MIN_LIKES)
    studio.worker.poke()
    until(lambda: by(studio) == [LOCAL])
    react(studio, 6)
    until(lambda: by(studio) == [LOCAL, LOCAL])
    at_rest(studio)
    assert len(api.requests) == 1
    told = studio.taste("a")
    assert "refused the key" in told.trouble
    assert "sk-made-up" not in told.trouble
    for page in (words.taste(told), words.about(told)):
        assert page.count("refused the key") == 1
        assert "the model that writes goes on instead" in page
    assert studio.next_pair("a").left_text
    api.reply = lambda n: (200, message())
    studio.agree("a", True)  # said again, it is worth another try
    until(lambda: by(studio)[2:] == [studio.claude.recipient])  # type: ignore[union-attr]
    assert studio.taste("a").trouble == ""


@pytest.mark.parametrize("wrong", ["no JSON", "a fault", "a time-out"])
def test_what_may_pass_is_tried_again_with_the_next_like(open_room: Open, api: Loopback, wrong: str) -> None:
    def reply(n: int) -> tuple[int, object]:
        if wrong == "a time-out":
            api.released.wait(20)
        return (500, fault()) if wrong == "a fault" else (200, message("no JSON"))

    api.reply, api.headers["retry-after-ms"] = reply, "1"
    studio = open_room(timeout=0.5, retries=0)
    studio.agree("a", True)
    add_likes(studio, MIN_LIKES)
    studio.worker.poke()
    until(lambda: by(studio) == [LOCAL])
    asked = len(api.requests)
    at_rest(studio)
    assert len(api.requests) == asked == 1  # the same likes are not sent again
    assert studio.taste("a").trouble
    api.reply = lambda n: (200, message())
    like_again(studio, 1)
    until(lambda: by(studio)[1:] == [studio.claude.recipient])  # type: ignore[union-attr]
    assert studio.taste("a").trouble == ""


def test_the_summary_before_a_failure_stays_until_it_is_old(open_room: Open, api: Loopback) -> None:
    studio = open_room()
    studio.agree("a", True)
    add_likes(studio, MIN_LIKES)
    studio.worker.poke()
    until(lambda: summaries(studio))
    api.reply = lambda n: (200, message("no JSON"))
    like_again(studio, 1)
    until(lambda: studio.taste("a").trouble)
    at_rest(studio)
    assert len(summaries(studio)) == 1
    react(studio, 4)
    until(lambda: by(studio)[1:] == [LOCAL])


def test_what_the_api_says_is_text_on_the_page(open_room: Open, api: Loopback) -> None:
    markup = {"topics": [{"label": "<b>socks</b>", "evidence": ["L1"]}], "tone": "<script>"}
    api.reply = lambda n: (200, message(TASTE | markup)) if not n else (400, fault("x", "<img src=x>"))
    studio = open_room()
    studio.agree("a", True)
    add_likes(studio, MIN_LIKES)
    studio.worker.poke()
    until(lambda: summaries(studio))
    like_again(studio, 1)
    until(lambda: studio.taste("a").trouble)
    line = words.note(words.taste(studio.taste("a")))  # plain text, which the page sets as such
    page = words.about(studio.taste("a")) + line + words.sending(studio.sending("a"))
    assert "&lt;script&gt;" in page
    assert "&lt;img src=x&gt;" in page
    assert not [tag for tag in ("<b>socks", "<script", "<img") if tag in page]
