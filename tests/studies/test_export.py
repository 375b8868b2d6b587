"""The export: what stands in it, what must not, and that the dictionary and the columns are one."""

import asyncio
import csv
import json
import sqlite3
import stat
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from datasette.app import Datasette

from engine.methods.base import Ask
from studies.__main__ import main
from studies.export import EVENTS, FILES, TRIALS, Cast, backup, dictionary, export
from studies.schedule import HUMAN
from studies.store import CHOICES, Refused, Store, now
from tests.studies.test_records import ARMS, RATERS, SETTINGS, STUDY, judge, note, small_study, text

HIDDEN = ("p-aaaaaaaa", "p-bbbbbbbb", "PERSON-", "SUBMISSION-", "resume0x", "-session", "mallory", "t3_secret")
HIDDEN += ("203.0.113.9", "2001:db8::7", "somebody@example.org", "u/spez_of_old", "reddit/")


@pytest.fixture
def store(tmp_path: Path, opened: Callable[[Path], Store]) -> Store:
    """The small study, with ids and handles in every place where people or logs may have left some."""
    store = small_study(tmp_path / "data", opened)
    said = f"@mallory_x met u/spez_of_old, wrote to somebody@example.org; {RATERS[1]} and PERSON-{RATERS[0]} laughed."
    judge(store, RATERS[0], text(HUMAN, said), ARMS[0], "left", position=9)
    told = {"ip": "203.0.113.9", "six": "2001:db8::7", "person": f"PERSON-{RATERS[1]}", "code": "resume0x"}
    store.db.run(
        "insert into event (study, rater, kind, told, at) values (:study, :who, 'joined', :told, :at)",
        study=STUDY,
        who=RATERS[1],
        told=json.dumps(told),
        at=now(),
    )
    [pooled] = store.db.rows("select right_id as id from trial where position = 3 and purpose = 'same' limit 1")
    store.db.run("insert into pool values (:study, '', 'a', 'pigeons', 0, :id, 'e2')", study=STUDY, id=pooled["id"])
    ask = json.dumps(asdict(Ask(payload="pigeons of @mallory_x", seed=7)))
    store.db.run("update trial set ask = :ask where position = 1", ask=ask)
    return store


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def found_in(folder: Path, words: tuple[str, ...]) -> set[str]:
    told = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file()).decode()
    return {word for word in words if word in told}


def test_every_trial_is_a_row(store: Store, tmp_path: Path) -> None:
    paths = export(store, tmp_path / "out", STUDY)
    assert {path.name for path in paths} == {
        *(f"{name}.{kind}" for name in ("trials", "participants", "answers", "events") for kind in ("csv", "jsonl")),
        *("preferences.jsonl", "dictionary.md", "dictionary.json", "study.json"),
    }
    trials = rows(tmp_path / "out" / "trials.csv")
    assert len(trials) == 22, "practice, void and withdrawn ones among them"
    first = next(row for row in trials if row["purpose"] == "main")
    assert (first["rater"], first["left_arm"], first["right_arm"], first["choice"]) == ("1", *ARMS[:2], "right")
    assert (first["topic"], first["left_sounds_ai"], first["right_sounds_ai"]) == ("pigeons", "1", "0")
    assert (first["viewed_ms"], first["hidden"], first["counted"], first["left_likes"]) == ("4200", "0", "1", "1")
    assert (first["left_engine"], first["right_engine"]) == ("e1", "e1")
    alone = next(row for row in trials if row["kind"] == "mark" and row["choice"])
    assert (alone["left_sounds_ai"], alone["right_text"], alone["right_sounds_ai"]) == ("1", "", ""), "nobody was asked"
    assert next(row for row in trials if row["void_reason"] == "empty")["left_sounds_ai"] == ""
    assert (first["position"], first["attempt"], first["void_reason"]) == ("0", "0", "")
    assert first["left_text"].startswith(f"{ARMS[0]} wrote ")
    same = next(row for row in trials if row["purpose"] == "same")
    assert (same["left_engine"], same["right_engine"]) == ("e2", "e2"), "written beforehand, by another model"
    post = next(row for row in trials if row["purpose"] == "salad")
    assert (post["left_engine"], post["right_engine"]) == ("", "")
    repeat = next(row for row in trials if row["purpose"] == "repeat")
    assert repeat["repeats"] == first["trial"]
    assert sum(row["counted"] == "1" for row in trials) == 17
    assert [row["void_reason"] for row in trials if row["void_reason"]] == ["too fast", "empty", "empty"]
    assert sum(bool(row["undone_at"]) for row in trials) == 1
    people = rows(tmp_path / "out" / "participants.csv")
    assert [(row["rater"], row["slot"], row["completion"]) for row in people] == [
        ("1", "0", "completed"),
        ("2", "1", ""),
        ("3", "2", ""),
    ]


def test_the_protocol_goes_with_it_and_no_code(store: Store, tmp_path: Path) -> None:
    export(store, tmp_path / "out", STUDY, ids=True)
    told = json.loads((tmp_path / "out" / "study.json").read_text())
    assert (told["id"], told["settings"]["design"]["seed"], told["settings"]["people"]) == (STUDY, 41, "people.jsonl")
    assert found_in(tmp_path / "out", ("CODE-FOR-PAY", "/home/somebody", "cc=")) == set()
    export(store, tmp_path / "play")
    assert not (tmp_path / "play" / "study.json").exists()


@pytest.mark.parametrize("ids", [False, True])
def test_former_settings_tell_no_code_and_no_folder(store: Store, tmp_path: Path, ids: bool) -> None:
    note(store, "settings changed", {"before": SETTINGS | {"minutes": 7}})
    export(store, tmp_path / "out", STUDY, ids=ids)
    told = [row["told"] for row in rows(tmp_path / "out" / "events.csv") if row["kind"] == "settings changed"]
    assert json.loads(told[0])["before"]["minutes"] == 7
    assert found_in(tmp_path / "out", ("CODE-FOR-PAY", "/home/somebody", "cc=")) == set()


def test_consent_is_told_in_a_word(store: Store, tmp_path: Path) -> None:
    for question, value in (("consent", "A long text that everybody read. " * 9), ("survey:consent", "of my dog")):
        store.db.run(
            "insert into answer values (:who, :question, :value, :at)",
            who=RATERS[1],
            question=question,
            value=value,
            at=now(),
        )
    export(store, tmp_path / "out", STUDY)
    told = {row["question"]: row["value"] for row in rows(tmp_path / "out" / "answers.csv")}
    assert told == {"age": "41, write to [withheld]", "consent": "agreed", "survey:consent": "of my dog"}
    assert found_in(tmp_path / "out", ("A long text",)) == set()


def test_csv_and_json_lines_say_the_same(store: Store, tmp_path: Path) -> None:
    judge(store, RATERS[2], text(HUMAN, 'two\nlines, "quoted" \u2013 and =1+1; \u200f'), ARMS[0], "right", position=10)
    export(store, tmp_path / "out", STUDY)
    for name in ("trials", "participants", "answers", "events"):
        flat = [
            {key: "" if value is None else str(value) for key, value in line.items()}
            for line in lines(tmp_path / "out" / f"{name}.jsonl")
        ]
        assert flat == rows(tmp_path / "out" / f"{name}.csv")


def test_nobody_can_be_found_in_it(store: Store, tmp_path: Path) -> None:
    export(store, tmp_path / "out", STUDY)
    assert found_in(tmp_path / "out", HIDDEN) == set()
    told = lines(tmp_path / "out" / "answers.jsonl")[0]["value"]
    assert told == "41, write to [withheld]"
    joke = next(row for row in rows(tmp_path / "out" / "trials.csv") if "laughed" in row["left_text"])
    assert joke["left_text"] == "[withheld] met [withheld], wrote to [withheld]; [withheld] and [withheld] laughed."


def test_ids_are_there_on_request(store: Store, tmp_path: Path) -> None:
    export(store, tmp_path / "out", STUDY, ids=True)
    assert found_in(tmp_path / "out", HIDDEN) == set(HIDDEN)
    people = rows(tmp_path / "out" / "participants.csv")
    assert people[0]["platform_person"] == f"PERSON-{RATERS[0]}"
    assert "resume_code" not in people[0], "a code lets anybody in"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("meet me @ 5, or @ noon", None),
        ("the ratio is 3:2 and it is 10:30", None),
        ("a/b testing, and/or u/", None),
        ("at 12:30:45 of 2026-11-25T09:00:00.000+00:00, version 1.2.3", None),
        ("from 198.51.100.7 and fe80::1:2, 2001:db8:0:0:0:0:0:1.", "from [withheld] and [withheld], [withheld]."),
        ("ask @some.body.", "ask [withheld]."),
        ("toot @me@social.example now", "toot [withheld] now"),
        ("/u/somebody said", "[withheld] said"),
        ("mail a.b+c@mail.example.org, quick", "mail [withheld], quick"),
    ],
)
def test_handles_are_masked_and_nothing_else(tmp_path: Path, said: str, told: str | None) -> None:
    assert Cast(Store(tmp_path), None, ids=False).told(said) == (told or said)
    assert Cast(Store(tmp_path), None, ids=True).told(said) == said


@pytest.mark.parametrize("ids", [False, True])
def test_the_dictionary_has_every_column_and_no_other(store: Store, tmp_path: Path, ids: bool) -> None:
    export(store, tmp_path / "out", STUDY, ids=ids)
    told = json.loads((tmp_path / "out" / "dictionary.json").read_text())
    assert told == dictionary(ids=ids)
    page = (tmp_path / "out" / "dictionary.md").read_text()
    for name in FILES:
        columns = [column["name"] for column in told[name]]
        for line in lines(tmp_path / "out" / f"{name}.jsonl"):
            assert list(line) == columns
        for column in told[name]:
            assert column["meaning"]
            assert f"| {column['name']} | {column['meaning']} |" in page
        assert len(set(columns)) == len(columns)
    assert all("|" not in value for columns in told.values() for column in columns for value in column.values())
    assert "never trains on them" in page


def test_values_are_as_the_dictionary_says(store: Store, tmp_path: Path) -> None:
    export(store, tmp_path / "out", STUDY)
    for name, columns in (("trials", TRIALS), ("events", EVENTS)):
        for line in lines(tmp_path / "out" / f"{name}.jsonl"):
            for column in columns:
                value = line.get(column.name)
                kinds = {"number": (int,), "real": (int, float), "text": (str,)}[column.kind]
                assert value is None or isinstance(value, kinds), column.name
                if column.values == "0, 1":
                    assert value in (0, 1, None), column.name
    purposes = next(column.values for column in TRIALS if column.name == "purpose")
    assert {str(line["purpose"]) for line in lines(tmp_path / "out" / "trials.jsonl")} <= set(purposes.split(", "))
    choices = next(column.values for column in TRIALS if column.name == "choice")
    assert all(choice in choices for kind in CHOICES.values() for choice in kind)


def test_preferences_are_decided_main_pairs(store: Store, tmp_path: Path) -> None:
    export(store, tmp_path / "out", STUDY)
    told = lines(tmp_path / "out" / "preferences.jsonl")
    assert len(told) == 4
    assert all(list(line) == ["prompt", "chosen", "rejected"] for line in told)
    assert told[0]["prompt"] == Ask(payload="pigeons").instruction()
    assert str(told[0]["chosen"]).startswith(ARMS[1])
    assert str(told[0]["rejected"]).startswith(ARMS[0])
    assert str(told[2]["chosen"]).endswith("laughed.") or str(told[1]["chosen"]).startswith(ARMS[1])


def test_play_is_exported_without_a_study(store: Store, tmp_path: Path) -> None:
    store.open_session("me-session", "me")
    judge(store, "me", *ARMS[:2], "left", study=None)
    judge(store, "me", text("item", "a card of the feed"), None, "like", kind="card", study=None)
    export(store, tmp_path / "out")
    assert [row["choice"] for row in rows(tmp_path / "out" / "trials.csv")] == ["left"]
    assert [row["slot"] for row in rows(tmp_path / "out" / "participants.csv")] == [""]
    export(Store(tmp_path / "empty"), tmp_path / "nothing")
    assert rows(tmp_path / "nothing" / "trials.csv") == []


def test_what_is_there_is_not_touched(store: Store, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(Refused, match="holds something already"):
        export(store, tmp_path / "out", STUDY)
    with pytest.raises(Refused, match="no study"):
        export(store, tmp_path / "other", "nope")
    with pytest.raises(Refused, match="cannot be written"):
        export(store, tmp_path / "out" / "mine.txt" / "below", STUDY)
    assert not (tmp_path / "other").exists()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_parquet_holds_the_same_or_says_what_it_needs(store: Store, tmp_path: Path) -> None:
    if find_spec("pyarrow") is None:
        with pytest.raises(Refused, match="pip install"):
            export(store, tmp_path / "out", STUDY, parquet=True)
        assert not (tmp_path / "out").exists()
        return
    export(store, tmp_path / "out", STUDY, parquet=True)
    for name in ("trials", "participants", "answers", "events"):
        table = pd.read_parquet(tmp_path / "out" / f"{name}.parquet")
        whole = lines(tmp_path / "out" / f"{name}.jsonl")
        assert list(table.columns) == list(whole[0])
        assert [[None if pd.isna(v) else v for v in row] for row in table.itertuples(index=False)] == [
            list(line.values()) for line in whole
        ]


def test_a_backup_opens_by_itself(store: Store, tmp_path: Path) -> None:
    path = backup(store, tmp_path / "copies" / "copy.db")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["copy.db"], "one file, whole"
    judge(store, RATERS[2], *ARMS[:2], "left", position=11)  # afterwards
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as copy:
        copy.row_factory = sqlite3.Row
        assert copy.execute("pragma integrity_check").fetchone()[0] == "ok"
        votes = copy.execute("select * from votes_readable order by vote").fetchall()
        assert len(votes) == 20
        assert sum(vote["counted"] for vote in votes) == 17
        first = next(vote for vote in votes if vote["purpose"] == "main")
        assert (first["rater"], first["topic"], first["chosen_arm"], first["marks"]) == (
            1,
            "pigeons",
            ARMS[1],
            "left sounds_ai",
        )
        assert copy.execute("select count(*) from trials_readable").fetchone()[0] == 22
        assert [row["number"] for row in copy.execute("select number from raters_readable")] == [1, 2, 3]
        titles = dict(copy.execute("select arm, title from arm_title").fetchall())
        assert titles, "arms of this version have names"
    with pytest.raises(Refused, match="there already"):
        backup(store, path)
    assert "arm_title" not in store.tables(), "the live one is as it was"


def test_a_copy_taken_while_votes_come_in_is_whole(store: Store, tmp_path: Path) -> None:
    done = threading.Event()

    def vote_on() -> None:
        for position in range(100, 100_000):
            if done.is_set():
                return
            judge(store, RATERS[2], *ARMS[:2], "left", position=position)

    writing = threading.Thread(target=vote_on)
    writing.start()
    try:
        met: set[int] = set()
        for n in range(200):
            with closing(sqlite3.connect(backup(store, tmp_path / f"{n}.db"))) as copy:
                assert copy.execute("pragma foreign_key_check").fetchall() == []
                met.add(copy.execute("select count(*) from vote").fetchone()[0])
            if len(met) >= 5:
                break
    finally:
        done.set()
        writing.join()
    assert len(met) >= 5, "votes came in between the copies"


@pytest.mark.parametrize("opened", ["sqlite"], indirect=True)
def test_commands(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(store.db.folder)
    assert main(["export", "--data-dir", folder, "--out", str(tmp_path / "out"), "--study", STUDY]) == 0
    assert str(tmp_path / "out" / "trials.csv") in capsys.readouterr().out
    assert main(["backup", "--data-dir", folder, "--out", str(tmp_path / "copy.db")]) == 0
    assert (tmp_path / "copy.db").is_file()
    capsys.readouterr()
    for wrong in (
        ["export", "--data-dir", folder, "--out", str(tmp_path / "out"), "--study", STUDY],
        ["export", "--data-dir", str(tmp_path / "nowhere"), "--out", str(tmp_path / "other")],
        ["report", "--data-dir", folder, "--out", str(tmp_path / "r.html"), "--study", "nope"],
        ["report", "--data-dir", folder, "--out", str(tmp_path / "out"), "--study", STUDY],
        ["backup", "--data-dir", folder, "--out", str(tmp_path / "copy.db")],
    ):
        assert main(wrong) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.count("\n") == 1
    assert not (tmp_path / "nowhere").exists()


def test_a_broken_study_file_is_told_of_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "study.toml"
    for said in ("", "[study", "[study]\n[arms]\nmethods = ['nothing']\n"):
        file.write_text(said)
        assert main(["pregenerate", "--study", str(file), "--data-dir", str(tmp_path / "data")]) == 2
        told = capsys.readouterr()
        assert str(file) in told.err
        assert told.err.count("\n") == 1
        assert told.out == ""
    assert not (tmp_path / "data").exists()


def test_simulate_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr("studies.simulate.main", asked.append)
    assert main(["simulate", "--runs", "3"]) == 0
    assert asked == [["--runs", "3"]]


def test_datasette_shows_a_backup_by_readable_names(store: Store, tmp_path: Path) -> None:
    path = backup(store, tmp_path / "copy.db")

    async def asked() -> Any:
        page = await Datasette([str(path)]).client.get("/copy/votes_readable.json?_shape=array&_size=3")
        return page.json()

    rows = asyncio.run(asked())
    assert len(rows) == 3
    assert {"rater", "choice"} <= rows[0].keys()
