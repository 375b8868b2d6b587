"""Studies through their verbs: what a participant meets, in which order, and what becomes of leavers and accidents."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from collectors.item import Item, Signal, write_reactions
from engine.backbone import Backbone
from engine.methods import ARMS, arm_id
from engine.methods.history import History
from engine.methods.none import NoProfile
from engine.recommend.local_judge import LocalJudge
from studies import judging, writing
from studies.__main__ import main
from studies.database import Sqlite
from studies.made_up import fill as deal
from studies.records import records
from studies.register import Register
from studies.report import report
from studies.rooms import Room, Shown
from studies.schedule import HUMAN, steps
from studies.store import Candidate, Refused, Store, new_id
from studies.studyfile import StudyError, read
from studies.vectors import key_of

FILE = """
[study]
title = "Ducks"
seed = 7
practice = 1
kinds = ["pair"]
consent = "You read jokes."
instructions = "Choose the funnier one."
same = 1
salad = 1
[arms]
methods = ["none", "history", "human"]
human_posts = "posts.csv"
texts = "pool"
[profile]
source = "assigned"
people = "people.jsonl"
[[survey]]
id = "age"
text = "How old are you?"
options = ["under 40", "over 40"]
required = true
[completion]
completed = "DONE1"
no_consent = "NO1"
left = "LEFT1"
url = "https://example.org/?cc={code}"
"""
NONE, HISTORY = arm_id(NoProfile("plain")), arm_id(History())


def write_files(folder: Path, text: str = FILE) -> Path:
    """A study file and what it names, in a folder; returns the file."""
    (folder / "posts.csv").write_text(
        "\n".join(["text", *(f"A person was here ({n}) and left before the bus came." for n in range(40))])
    )
    likes = [Item("made", str(n), "joke", f"Sock number {n} has left the drawer for good.") for n in range(6)]
    write_reactions(folder / "people.jsonl", [("ann", [(item, Signal(item.id, 1)) for item in likes])])
    path = folder / "study.toml"
    path.write_text(text)
    return path


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    return partial(write_files, tmp_path)


def fill(store: Store, path: Path, engine: str = "e") -> None:
    """A pool as pregenerate leaves it, with texts of our own."""
    study = read(path)
    held = Register(store)
    held.open_study(study.design.id, study.title, study.settings)
    for arm in study.design.arms:
        for topic in study.design.topics if arm != HUMAN else ():
            text = f"There was once {topic}, and nobody of us saw it coming at noon."
            if arm == NONE:
                text = f"My uncle keeps a drawer for {topic} which he opens on birthdays only."
            held.put(study.design.id, "ann", topic, 0, Candidate(new_id(), arm, text), engine)


@pytest.fixture
def room(tmp_path: Path, written: Callable[..., Path], opened: Callable[[Path], Store]) -> Iterator[Room]:
    store = opened(tmp_path / "data")
    fill(store, written())
    room = Room(store, read(written()), clocked=False)
    yield room
    room.close()


def begin(room: Room, session: str, **ids: str) -> None:
    assert room.stage(session).step == "consent"
    assert room.consent(session, True, **ids).step == "instructions"
    room.understood(session)


def shown(room: Room, session: str) -> Shown:
    there = room.show(session)
    assert there
    return there


def judge(room: Room, session: str, count: int = 1000, choice: str = "left") -> list[Shown]:
    """Vote on what comes, until another step; returns what was shown."""
    met = []
    while len(met) < count and room.stage(session).step in ("practice", "trials"):
        if there := room.show(session):  # none where the last ones were given up meanwhile
            met.append(there)
            room.vote(session, there.id, choice)
    return met


def trials(room: Room, rater: str = "") -> list[dict[str, Any]]:
    return room.store.db.rows(
        """select t.*, l.arm as left_arm, r.arm as right_arm, v.choice, l.text as left_text, r.text as right_text
        from trial t join candidate l on l.id = t.left_id left join candidate r on r.id = t.right_id
        left join vote v on v.trial_id = t.id where t.study is not null and (t.rater = :rater or :rater = '')
        order by t.rater, t.position, t.attempt""",
        rater=rater,
    )


def test_a_participant_walks_from_consent_to_the_code(room: Room) -> None:
    with pytest.raises(Refused, match="not known"):
        room.show("a")
    begin(room, "a", person="P1", submission="S1")
    assert room.stage("a").step == "practice"
    met = judge(room, "a")
    planned = room.scribe.steps(0)
    assert len(met) == 1 + len(planned)
    stage = room.stage("a")
    assert stage.step == "survey"
    with pytest.raises(Refused, match="please answer"):
        room.survey("a", {})
    with pytest.raises(Refused, match="one of the answers"):
        room.survey("a", {"age": "12"})
    end = room.survey("a", {"age": "over 40"})
    assert (end.step, end.code, end.url) == ("end", "DONE1", "https://example.org/?cc=DONE1")
    assert room.stage("a") == end
    for verb in (room.show, room.leave, room.understood, lambda session: room.survey(session, {"age": "under 40"})):
        with pytest.raises(Refused, match="has ended"):
            verb("a")
    assert room.register.answers(room.register.of_session(room.id, "a").rater)["survey:age"] == "over 40"


def test_what_is_shown_is_what_the_design_says(room: Room) -> None:
    begin(room, "a")
    judge(room, "a")
    planned = steps(room.study.design, 0)
    rows = [row for row in trials(room) if row["position"] >= 0 and not row["void_reason"]]
    assert [row["position"] for row in rows] == list(range(len(planned)))
    for row, step in zip(rows, planned, strict=True):
        assert (row["purpose"], row["kind"], row["role"]) == (step.purpose, step.kind, "judge")
        assert (row["left_arm"], row["right_arm"]) == (step.left, step.right)
        assert json.loads(row["ask"])["payload"] == step.topic
        if step.of >= 0:
            first = rows[step.of]
            assert (row["left_text"], row["right_text"]) == (first["right_text"], first["left_text"])
            assert row["repeats"] == first["id"]
        if step.purpose == "same":
            assert row["left_text"] == row["right_text"]
        if step.purpose == "salad":
            assert sorted(row["left_text"].split()) == sorted(row["right_text"].split())
            assert row["left_text"] != row["right_text"]
    main = Counter((row["left_arm"], row["right_arm"]) for row in rows if row["purpose"] == "main")
    assert set(main.values()) == {1}
    assert len(main) == 6
    posts = [
        r[f"{s}_text"] for r in rows for s in ("left", "right") if r[f"{s}_arm"] == HUMAN and r["purpose"] == "main"
    ]
    assert len(posts) == len(set(posts))  # no post twice


def test_nothing_of_a_study_teaches_or_counts_in_play(room: Room) -> None:
    begin(room, "a")
    judge(room, "a")
    assert room.store.ballots() == []
    who = room.register.of_session(room.id, "a")
    assert who
    assert room.store.reactions(who.rater) == ()


def test_a_refresh_shows_the_same_trial_and_a_restart_as_well(room: Room, opened: Callable[[Path], Store]) -> None:
    begin(room, "a")
    judge(room, "a", 4)
    there = shown(room, "a")
    assert room.show("a") == there
    again = Room(opened(room.store.db.folder), room.study)
    assert again.show("a") == there
    assert again.vote("a", there.id, "both").done == 4
    with pytest.raises(Refused, match="already"):
        room.vote("a", there.id, "left")


def test_on_another_device_the_code_goes_on_and_the_first_one_votes_no_more(room: Room) -> None:
    begin(room, "a")
    judge(room, "a", 3)
    there = shown(room, "a")
    code = room.stage("a").resume_code
    with pytest.raises(Refused, match="no session has this code"):
        room.resume("phone", "abcdefgh")
    assert room.resume("phone", f" {code.upper()} ").step == "trials"
    assert room.show("phone") == there
    with pytest.raises(Refused, match="not shown to you"):
        room.vote("a", there.id, "left")
    room.vote("phone", there.id, "left")
    following = shown(room, "phone")
    assert room.show("a") == following  # who comes back to the first device finds it there
    room.vote("a", following.id, "left")
    begin(room, "b")
    with pytest.raises(Refused, match="takes part already"):
        room.resume("b", code)


def test_one_submission_of_a_platform_is_one_participant(room: Room) -> None:
    begin(room, "a", person="P", submission="S")
    judge(room, "a", 3)
    assert room.consent("b", True, person="P", submission="S").step == "trials"
    assert room.consent("c", True, person="P").step == "trials"
    assert len(room.store.db.rows("select * from participant")) == 1


def test_a_person_takes_part_once(room: Room) -> None:
    begin(room, "a", person="P", submission="S")
    with pytest.raises(Refused, match="took part already"):  # in another browser
        room.consent("b", True, person="P", submission="S2")
    assert room.stage("b").step == "consent"
    for ids in ({"person": "P", "submission": "S2"}, {"person": "Q", "submission": "S"}, {"person": "Q"}):
        came = room.arrive("a", **ids)  # in the same one
        assert (came.step, came.code, came.done) == ("end", "", 0)
        assert "took part already" in came.told
    assert room.arrive("a", person="P", submission="S").step == room.arrive("a").step == "practice"
    kinds = Counter(row["kind"] for row in room.register.events(room.id))
    assert kinds["second submission"] == 4
    assert len(room.store.db.rows("select * from participant")) == 1


def test_ids_that_come_later_are_taken_on_unless_they_are_somebody_elses(room: Room) -> None:
    begin(room, "a")
    assert room.arrive("a", person="P").step == "practice"
    assert room.arrive("a", person="P", submission="S").step == "practice"
    [who] = room.store.db.rows("select * from participant")
    assert (who["platform_person"], who["platform_session"]) == ("P", "S")
    begin(room, "b")
    assert room.arrive("b", person="P", submission="S").step == "end"
    judge(room, "b")
    assert room.survey("b", {"age": "over 40"}).code == "DONE1"
    assert room.arrive("b").code == "DONE1"
    newcomer = room.arrive("b", person="Q", submission="S3")  # at a machine that somebody used without a link's ids
    assert (newcomer.code, "took part already" in newcomer.told) == ("", True)
    assert len(room.store.db.rows("select * from participant where platform_person = 'Q'")) == 0


def test_a_code_is_of_no_use_to_a_stranger(room: Room) -> None:
    begin(room, "a", person="P", submission="S")
    code = room.stage("a").resume_code
    with pytest.raises(Refused, match="took part already"):
        room.resume("b", code, person="Q", submission="S2")
    assert room.stage("b").step == "consent"
    judge(room, "a")
    room.survey("a", {"age": "over 40"})
    with pytest.raises(Refused, match="has ended"):
        room.resume("b", code)


def test_the_words_that_were_agreed_to_stand(room: Room, written: Callable[..., Path]) -> None:
    begin(room, "a")
    changed = Room(room.store, read(written(FILE.replace("You read jokes.", "You read other jokes."))), clocked=False)
    changed.consent("a", True)
    who = room.register.of_session(room.id, "a")
    assert who
    assert room.register.answers(who.rater)["consent"] == "You read jokes."


def test_who_withdraws_is_nowhere_any_more(
    room: Room, opened: Callable[[Path], Store], capsys: pytest.CaptureFixture[str]
) -> None:
    begin(room, "a", person="PERSON-17", submission="SUBMISSION-17")
    begin(room, "b")
    for session in ("a", "b"):
        judge(room, session)
        room.survey(session, {"age": "over 40"})
    gone, stays = (room.register.of_session(room.id, session) for session in "ab")
    assert gone
    assert stays
    likes = [(Item("made", "own", "joke", "A text that only this rater brought."), Signal("made:own", 1))]
    room.store.add(gone.rater, likes)
    room.store.vectors(["A text that only this rater brought."])
    before = records(room.store, room.id)
    code = room.stage("a").resume_code
    folder = str(room.store.db.folder)
    assert main(["forget", "--data-dir", folder, "--study", room.id, "--code", code]) == 0
    after = records(opened(room.store.db.folder), room.id)
    assert [rater.id for rater in after.raters] == [stays.rater]
    assert {ballot.rater for ballot in after.ballots} == {stays.rater}
    assert len(after.ballots) == len(before.ballots) / 2
    assert [event.kind for event in after.events if event.kind == "withdrawn"] == ["withdrawn"]
    for table in room.store.tables():
        told = json.dumps(room.store.db.rows(f'select * from "{table}"'), default=repr)
        for trace in (gone.rater, "PERSON-17", "SUBMISSION-17", code, "only this rater brought"):
            assert trace not in told, table
    key = key_of("A text that only this rater brought.")
    assert room.store.db.rows("select 1 from vector where text_hash = :key", key=key) == []
    if isinstance(room.store.db, Sqlite):  # PostgreSQL looks by itself before it commits
        assert room.store.db.rows("pragma foreign_key_check") == []
    assert main(["forget", "--data-dir", folder, "--study", room.id, "--code", code]) == 2
    assert "nobody in this study has the code" in capsys.readouterr().err


def test_no_text_is_shown_twice_to_a_rater(tmp_path: Path, written: Callable[..., Path]) -> None:
    path = written(FILE.replace('["pair"]', '["mark"]').replace("same = 1", "same = 0\nblocks = 3"))
    store = Store(tmp_path / "data")
    fill(store, path)
    store.db.run("update candidate set text = 'One and the same joke is told again and again.' where arm = :a", a=NONE)
    room = Room(store, read(path), clocked=False)
    begin(room, "a")
    judge(room, "a", choice="funny")
    again = Counter(row["left_text"] for row in trials(room) if row["choice"] and row["purpose"] == "main")
    assert set(again.values()) == {1}
    assert "seen before" in {row["void_reason"] for row in trials(room)}


def test_two_studies_in_one_folder_know_nothing_of_each_other(room: Room, written: Callable[..., Path]) -> None:
    path = written(FILE.replace("seed = 7", "seed = 8").replace("DONE1", "DONE2"))
    fill(room.store, path)
    other = Room(room.store, read(path), clocked=False)
    begin(room, "a", person="P", submission="S")
    code = room.stage("a").resume_code
    judge(room, "a")
    room.survey("a", {"age": "over 40"})
    assert room.stage("a").code == "DONE1"
    assert other.stage("a").step == "consent"
    with pytest.raises(Refused, match="no session has this code"):
        other.resume("x", code)
    begin(other, "b", person="P", submission="S")  # another study of the same platform
    assert other.stage("b").step == "practice"


def test_a_no_keeps_no_ids(room: Room) -> None:
    room.consent("a", False, person="P", submission="S")
    [who] = room.store.db.rows("select * from participant")
    assert (who["platform_person"], who["platform_session"], who["completion"]) == ("", "", "no_consent")
    assert room.arrive("a", person="P", submission="S").code == "NO1"  # a reload
    [who] = room.store.db.rows("select * from participant")
    assert (who["platform_person"], who["platform_session"]) == ("", "")


def test_settings_that_change_are_logged_without_what_nobody_may_read(room: Room, written: Callable[..., Path]) -> None:
    begin(room, "a")
    Room(room.store, read(written(FILE.replace("DONE1", "DONE2"))))
    [told] = [row["told"] for row in room.register.events(room.id) if row["kind"] == "settings changed"]
    assert "DONE1" not in told
    assert str(room.store.db.folder.parent) not in told
    assert "Choose the funnier one." in told


def test_what_texts_are_written_with_is_logged_once(room: Room) -> None:
    Room(room.store, room.study)
    [event] = [row for row in room.register.events(room.id) if row["kind"] == "opened"]
    assert json.loads(event["told"]).keys() >= {"palate", "python", "torch", "transformers", "machine"}


def test_marks_are_of_the_scale_of_the_study(tmp_path: Path, written: Callable[..., Path]) -> None:
    path = written(FILE.replace('["pair"]', '["mark"]\nscale = "five"').replace("same = 1", "same = 0"))
    fill(store := Store(tmp_path / "data"), path)
    room = Room(store, read(path), clocked=False)
    begin(room, "a")
    there = shown(room, "a")
    with pytest.raises(Refused, match="use one of 1, 2, 3, 4, 5, skip"):
        room.vote("a", there.id, "funny")
    with pytest.raises(Refused, match="nothing else is asked"):
        room.vote("a", there.id, "4", [("left", "sounds_ai")])
    room.vote("a", there.id, "4")
    assert [row["choice"] for row in store.db.rows("select choice from vote")] == ["4"]


def test_many_who_come_at_once_all_get_in_and_slots_of_their_own(room: Room) -> None:
    told: list[str] = []

    def come(n: int) -> None:
        try:
            told.append(room.consent(f"s{n}", True).step)
        except Exception as error:
            told.append(repr(error))

    threads = [threading.Thread(target=come, args=(n,)) for n in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == ["instructions"] * 24
    slots = room.store.db.rows("select slot from participant order by slot")
    assert [row["slot"] for row in slots] == list(range(24))


def test_who_says_no_is_kept_as_that_and_takes_no_slot(room: Room) -> None:
    end = room.consent("a", False)
    assert (end.step, end.code) == ("end", "NO1")
    begin(room, "b")
    who = room.register.of_session(room.id, "b")
    assert who
    assert who.slot == 0
    assert room.consent("b", False).code == "LEFT1"  # a yes that is taken back later


def test_the_slot_of_a_leaver_goes_to_the_next_and_is_logged(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    def kinds() -> list[str]:
        return [row["kind"] for row in room.register.events(room.id) if row["kind"] != "opened"]

    for session in ("a", "b", "c"):
        begin(room, session)
    judge(room, "b", 3)
    there = shown(room, "b")
    assert room.leave("b").code == "LEFT1"
    with pytest.raises(Refused, match="has ended"):
        room.vote("b", there.id, "left")
    begin(room, "d")
    slots = [(who := room.register.of_session(room.id, s)) and who.slot for s in "abcd"]
    assert slots == [0, 1, 2, 1]
    assert kinds() == ["left"]
    # nobody heard of a and c for half an hour
    room.store.db.run("update participant set joined_at = '2026-01-01' where slot in (0, 2)")
    room.store.db.run("update answer set at = '2026-01-01'")
    begin(room, "e")
    begin(room, "f")
    slots = [(who := room.register.of_session(room.id, s)) and who.slot for s in "ef"]
    assert slots == [0, 2]
    assert kinds() == ["left", "slot handed on", "slot handed on"]
    assert judge(room, "a", 2)  # who comes back after all may go on


def test_a_vote_faster_than_reading_is_kept_and_does_not_count(room: Room) -> None:
    begin(room, "a")
    judge(room, "a", 1)
    room = Room(room.store, room.study)
    fast = shown(room, "a")
    room.vote("a", fast.id, "left", viewed_ms=60_000)  # our clock says otherwise
    reasons = {row["id"]: row["void_reason"] for row in trials(room)}
    assert reasons[fast.id] == "too fast"
    for viewed, hidden, reason in ((100, False, "too fast"), (100, True, "hidden"), (60_000, True, None)):
        there = shown(room, "a")
        room.store.db.run("update trial set shown_at = '2026-01-01T00:00:00+00:00' where id = :id", id=there.id)
        room.vote("a", there.id, "left", viewed_ms=viewed, hidden=hidden)
        assert {row["id"]: row["void_reason"] for row in trials(room)}[there.id] == reason
    there = shown(room, "a")  # a clock that jumped back says nothing
    room.store.db.run("update trial set shown_at = '2999-01-01T00:00:00+00:00' where id = :id", id=there.id)
    room.vote("a", there.id, "left", viewed_ms=60_000)
    assert {row["id"]: row["void_reason"] for row in trials(room)}[there.id] is None
    assert len({row["position"] for row in trials(room) if row["choice"]}) == 6  # void or not, they are not asked again


def test_eight_threads_and_fifty_trials_are_fifty_votes(tmp_path: Path, written: Callable[..., Path]) -> None:
    text = FILE.replace('"none", "history", "human"', '"none", "none-8900f4"').replace("same = 1", "same = 0")
    text = text.replace("salad = 1", "salad = 0\nblocks = 25").replace("practice = 1", "practice = 0")
    study = read(written(text.replace('"assigned"', '"none"').replace('people = "people.jsonl"', "")))
    store = Store(tmp_path / "data")
    deal(store, study)
    room = Room(store, study, clocked=False)
    begin(room, "a")
    stored = []

    def vote(trial: str) -> None:
        with suppress(Refused):
            room.vote("a", trial, "left")
            stored.append(trial)

    for _ in range(50):
        there = shown(room, "a")
        threads = [threading.Thread(target=vote, args=(there.id,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(stored) == len(set(stored)) == 50 == len(store.db.rows("select * from vote"))


def test_a_text_that_may_not_be_shown_is_replaced_and_a_place_without_any_is_given_up(
    tmp_path: Path, written: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, path = Store(tmp_path / "data"), written()
    fill(store, path)
    design = read(path).design
    first = next(step for step in steps(design, 0) if step.purpose == "main" and NONE in (step.left, step.right))
    bad = "I'm sorry, but I can't help with a joke about that, ask another."
    store.db.run(
        """update candidate set text = :bad where id in
        (select candidate_id from pool where arm = :arm and topic = :topic)""",
        bad=bad,
        arm=NONE,
        topic=first.topic,
    )
    room = Room(store, read(path), clocked=False)
    begin(room, "a")
    judge(room, "a")
    kinds = [(row["kind"], json.loads(row["told"])) for row in room.register.events(room.id)]
    assert ("replaced", "refusal") in [(kind, told.get("reason")) for kind, told in kinds]
    assert [kind for kind, _ in kinds].count("given up") == 1
    assert room.stage("a").step == "survey"
    [void] = [row for row in trials(room) if row["void_reason"]]
    assert (void["void_reason"], void["choice"]) == ("refusal", None)
    again = Room(Store(room.store.db.folder), room.study)  # what was given up stays given up
    assert again.stage("a").step == "survey"


def test_two_texts_of_the_pool_that_are_too_alike_are_followed_by_two_others(
    tmp_path: Path, written: Callable[..., Path]
) -> None:
    store, path = Store(tmp_path / "data"), written()
    fill(store, path)
    study = read(path)
    planned = steps(study.design, 0)
    both = next(step for step in planned if step.purpose == "main" and {step.left, step.right} == {NONE, HISTORY})
    store.db.run(
        """update candidate set text = 'One and the same joke was told by two at once.' where id in
        (select candidate_id from pool where topic = :topic)""",
        topic=both.topic,
    )
    held = Register(store)
    for arm, text in ((NONE, "A goose paid for the round."), (HISTORY, "The ferry leaves when the dog has sat down.")):
        held.put(study.design.id, "ann", both.topic, 1, Candidate(new_id(), arm, text), "e")
    room = Room(store, study, clocked=False)
    begin(room, "a")
    judge(room, "a")
    at = planned.index(both)
    rows = sorted((row for row in trials(room) if row["position"] == at), key=lambda row: row["attempt"])
    assert [row["void_reason"] for row in rows] == ["near-duplicates", None]
    assert {rows[1]["left_text"], rows[1]["right_text"]} >= {"A goose paid for the round."}
    assert "given up" not in [row["kind"] for row in room.register.events(room.id)]


def test_a_pool_that_lacks_texts_is_told_before_anybody_comes(tmp_path: Path, written: Callable[..., Path]) -> None:
    with pytest.raises(StudyError, match="pool lacks 80 texts"):
        Room(Store(tmp_path / "data"), read(written()))


def test_an_arm_that_cannot_run_is_told_before_anybody_comes(
    tmp_path: Path, written: Callable[..., Path], tiny: Backbone
) -> None:
    text = FILE.replace('"history"', '"lora"').replace('texts = "pool"', 'texts = "live"')
    with pytest.raises(StudyError, match=r"lora-\w+ cannot run here"):
        Room(Store(tmp_path / "data"), read(written(text)), tiny)


def test_live_texts_are_written_for_the_likes_of_each(
    tmp_path: Path, written: Callable[..., Path], tiny: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = FILE.replace('texts = "pool"', 'texts = "live"').replace(
        'source = "assigned"', 'source = "likes"\nlikes = 3'
    )
    room = Room(Store(tmp_path / "data"), read(written(text.replace('people = "people.jsonl"', ""))), tiny)
    room.start()
    try:
        begin(room, "a")
        for _ in range(2):
            room.vote("a", shown(room, "a").id, "like")
        shown(room, "a")
        room.resume("phone", room.stage("a").resume_code)
        here, there = shown(room, "a"), shown(room, "phone")
        room.vote("phone", there.id, "like")
        with pytest.raises(Refused, match="settled"):
            room.vote("a", here.id, "like")
        who = room.register.of_session(room.id, "a")
        assert who
        assert len(room.store.reactions(who.rater)) == 3
        met = judge(room, "a", 6)
        assert len(met) == 6
        rows = [row for row in trials(room) if HISTORY in (row["left_arm"], row["right_arm"])]
        assert rows
        assert {row["profile_digest"] for row in rows} == {room.scribe.person(who).profile.digest}
        assert all(row["summary"] for row in rows)
        assert set(ARMS) >= {row["left_arm"] for row in rows} - {HUMAN}
    finally:
        room.close()


def test_who_brings_their_likes_does_so_once_and_before_the_trials(
    tmp_path: Path, written: Callable[..., Path], tiny: Backbone
) -> None:
    text = (
        FILE.replace('"pool"', '"live"')
        .replace('"assigned"', '"import"')
        .replace('people = "people.jsonl"', "likes = 7")
    )
    room = Room(Store(tmp_path / "data"), read(written(text)), tiny, clocked=False)
    mine = tmp_path / "mine.csv"
    mine.write_text("text,like\n" + "\n".join(f"A heron number {n} came late to work,1" for n in range(5)))
    room.start()
    try:
        begin(room, "a")
        assert room.stage("a").step == "import"
        seen = room.look_into("a", mine)
        assert seen.report.likes == 5
        with pytest.raises(Refused, match="nothing to judge"):
            room.show("a")
        assert "makes 5 likes, and this study needs 7" in room.bring("a", seen.ticket).told
        assert (room.stage("a").step, room.stage("a").done) == ("import", 5)
        mine.write_text("text,like\n" + "\n".join(f"A stork number {n} came late to work,1" for n in range(5)))
        seen = room.look_into("a", mine)
        begun = room.store.begin_import(room.register.of_session(room.id, "a").rater, "cut short", {})
        room.store.db.run("update import set ended_at = null where number <> :number", number=begun)
        assert room.bring("a", seen.ticket).step == "practice"
        with pytest.raises(Refused, match="nothing to import"):
            room.look_into("a", mine)
        assert len(judge(room, "a", 4)) == 4
        begin(room, "b")
        assert room.stage("b").step == "import"  # nobody's likes are anybody else's
    finally:
        room.close()


def test_texts_that_never_may_be_shown_are_given_up_with_an_event(
    tmp_path: Path, written: Callable[..., Path], tiny: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "void_reason_of", lambda *_: "refusal")
    text = FILE.replace('"pool"', '"live"').replace('"assigned"', '"none"').replace('people = "people.jsonl"', "")
    room = Room(
        Store(tmp_path / "data"), read(written(text.replace('"history"', '"none-8900f4"'))), tiny, clocked=False
    )
    room.start()
    try:
        begin(room, "a")
        judge(room, "a")
        kinds = Counter(row["kind"] for row in room.register.events(room.id))
        assert kinds == {"opened": 1, "replaced": 6 * writing.MAX_ATTEMPTS, "given up": 6}
        assert room.stage("a").step == "survey"  # the catch trials alone were shown
    finally:
        room.close()


def test_a_model_that_breaks_is_an_event_once_in_a_while_and_not_at_each_look(
    tmp_path: Path, written: Callable[..., Path], tiny: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(writing, "write_texts", broken)
    text = FILE.replace('"pool"', '"live"').replace('"assigned"', '"none"').replace('people = "people.jsonl"', "")
    text = text.replace('"history"', '"none-8900f4"').replace("practice = 1", "practice = 0")
    room = Room(Store(tmp_path / "data"), read(written(text)), tiny, clocked=False)
    room.start()
    try:
        begin(room, "a")
        begin(room, "b")
        for _ in range(5):
            assert room.show("a", 0.1) is None
            assert room.show("b", 0.1) is None
        told = [row for row in room.register.events(room.id) if row["kind"] == "generation failed"]
        assert len({row["rater"] for row in told}) == len(told) == 2
        assert "out of memory" in told[0]["told"]
    finally:
        room.close()


@pytest.mark.parametrize("opened", ["sqlite"], indirect=True)
def test_a_full_disk_is_told_and_nothing_is_half_stored(room: Room) -> None:
    begin(room, "a")
    there = shown(room, "a")
    before = room.store.db.rows("select count(*) as n from vote")
    room.store.db.run(
        "create trigger full before insert on vote begin select raise(abort, 'database or disk is full'); end"
    )
    with pytest.raises(Exception, match="disk"):
        room.vote("a", there.id, "left")
    assert room.store.db.rows("select count(*) as n from vote") == before
    room.store.db.run("drop trigger full")
    assert room.show("a") == there
    room.vote("a", there.id, "left")


def test_a_judge_stands_beside_the_votes_once_and_in_the_report(
    room: Room, tiny: Backbone, written: Callable[..., Path]
) -> None:
    text = FILE.replace('["pair"]', '["pair", "mark"]')
    fill(room.store, written(text))
    room = Room(room.store, read(written(text)), clocked=False)
    begin(room, "a")
    while room.stage("a").step in ("practice", "trials"):
        there = shown(room, "a")
        room.vote("a", there.id, "left" if there.kind == "pair" else "funny")
    there = records(room.store, room.id)
    local = LocalJudge(tiny)
    assert list(judging.judge(room.store, there, local, centred=True))[-1].endswith("9 new verdicts, 9 in all")
    assert list(judging.judge(room.store, there, local, centred=True))[-1].endswith("0 new verdicts, 9 in all")
    assert list(judging.judge(room.store, there, local, personal=True))[-1].endswith("0 new verdicts, 0 in all")
    again = records(room.store, room.id)
    [(name, said)] = again.judges.items()
    assert name == local.name
    assert said.keys() == {ballot.trial for ballot in again.ballots} | {mark.trial for mark in again.marks}
    page = report(again)
    assert name in page.partition("Judges beside people")[2][:1500]
