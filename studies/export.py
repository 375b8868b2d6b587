"""What a study or play gave, as tables for research with a dictionary of their columns, and a copy to browse.

`FILES` is the one table from which every file and the dictionary are written. Unless ids are asked for nothing names a
person: raters are numbers, and handles, addresses and ids in what people wrote are masked.
"""

import csv
import json
import os
import re
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from engine.methods import ARMS
from engine.methods.base import Ask
from engine.pictures import TITLES
from studies import records
from studies.database import Row
from studies.pairs import title
from studies.schedule import HUMAN
from studies.store import CHOICES, Refused, Store

MIN_ID = 6  # characters of an id that is looked for in texts: shorter ones are words
MASKED = "[withheld]"
HANDLES = re.compile(
    r"(?<![\w/.])(?:[\w.+-]+@[\w-]+\.[\w.-]*\w|@(?=\w*[A-Za-z])\w[\w.-]*\w(?:@[\w-]+\.[\w.-]*\w)?|/?u/[\w-]{3,20}\b)"
)
ADDRESSES = re.compile(
    r"\b\d{1,3}(?:\.\d{1,3}){3}\b"
    r"|(?<![\w:])(?:[0-9a-fA-F]{1,4}:){3,7}[0-9a-fA-F]{1,4}(?![\w:])"
    r"|(?<![\w:])(?:[0-9a-fA-F]{1,4}:)+(?::[0-9a-fA-F]{1,4})+(?![\w:])"
)
TYPES: dict[str, Any] = {"number": "Int64", "real": "Float64", "text": "string"}
Kind = Literal["number", "real", "text"]
TIME = "ISO 8601, UTC"
YES = "0, 1"


class Cast:
    """Numbers in place of ids, in the order they are first asked for, and what else must not be told."""

    def __init__(self, store: Store, study: str | None, ids: bool) -> None:
        self.ids = ids
        self._numbers: defaultdict[str, dict[str, int]] = defaultdict(dict)
        for person in records.participants(store, study):
            self.number("rater", person["rater"])
        known = sorted((value for value in records.hidden(store) if len(value) >= MIN_ID), key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known)) or r"(?!)")  # (?!) matches nothing

    def number(self, of: str, name: str | None) -> int | None:
        """1, 2, ... for each name of its kind; None for none."""
        return self._numbers[of].setdefault(name, len(self._numbers[of]) + 1) if name else None

    def text(self, text: str | None) -> str | None:
        """A text as it may be told: known ids and handles masked."""
        if self.ids or text is None:
            return text
        return HANDLES.sub(MASKED, self._known.sub(MASKED, text))

    def told(self, text: str | None) -> str | None:
        """What somebody typed, or what was logged of them: network addresses are masked as well."""
        text = self.text(text)
        return text if self.ids or text is None else ADDRESSES.sub(MASKED, text)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of an export; `ids` says that it is written on request only."""

    name: str
    meaning: str
    read: Callable[[Row, Cast], Any]
    kind: Kind = "text"
    unit: str = ""
    values: str = ""
    ids: bool = False


def _same(name: str, meaning: str, kind: Kind = "text", unit: str = "", values: str = "") -> Column:
    """A column that holds what the store holds."""
    return Column(name, meaning, lambda row, cast: row[name], kind, unit, values)


def _masked(name: str, meaning: str) -> Column:
    return Column(name, meaning, lambda row, cast: cast.text(row[name]))


def _id(name: str, key: str, meaning: str) -> Column:
    return Column(name, meaning, lambda row, cast: row[key], ids=True)


def _ask(row: Row) -> Any:
    return json.loads(row["ask"])


def _side(side: str) -> tuple[Column, ...]:
    of = f"of the {side} text" if side == "right" else f"of the {side} text, or of the only one"
    evidence = f"{side}_evidence"
    return (
        _same(
            f"{side}_arm", f"the arm {of}: a way of writing, or human for a post by a person, salad for one shuffled"
        ),
        _masked(
            f"{side}_text",
            f"the text {of} as it was shown, or the name of a picture's file; without ids, handles in it are masked",
        ),
        _masked(f"{side}_prompt", f"what the image model was told, {of}; empty for texts"),
        _same(f"{side}_left_out", f"statements of the rater's taste that did not fit into that, {of}", "number"),
        _same(f"{side}_tokens", f"length {of}, 0 for a post by a person", "number", "tokens"),
        _same(f"{side}_seconds", f"what the batch took that wrote it, {of}", "real", "s"),
        _same(f"{side}_finish", f"why the model stopped, {of}", values="stop, budget, or other words of the engine"),
        Column(
            f"{side}_engine",
            f"fingerprint of the model that wrote it and its arithmetic, {of}",
            lambda row, cast: row[f"{side}_engine"] if row[f"{side}_tokens"] else None,
        ),
        _same(f"{side}_state", f"which learned state wrote it, {of}; empty where nothing is learned"),
        Column(
            f"{side}_likes",
            f"how many of the rater's likes the prompt held, {of}",
            lambda row, cast: len(json.loads(row[evidence])) if row[evidence] else None,
            "number",
        ),
        _same(
            f"{side}_sounds_ai", f"marked as sounding like AI, {of}; of kind mark nobody is asked", "number", values=YES
        ),
        _same(f"{side}_offensive", f"the rater marked it as offensive, {of}", "number", values=YES),
        _id(f"{side}_item", f"{side}_item_id", f"the post's id, {of}"),
        _id(evidence, evidence, f"the ids of those likes, {of}, a JSON list"),
    )


def _number(name: str, of: str, key: str, meaning: str) -> Column:
    """A column of numbers in place of the ids in `key`."""
    return Column(name, meaning, lambda row, cast: cast.number(of, row[key]), "number")


_RATER = _number("rater", "rater", "rater", "the person, numbered as they came")
_RATER_ID = _id("rater_id", "rater", "the person's id in the store")
_KINDS = "pair: two texts; card: one of the feed, to like or dislike; mark: one, to say whether it is funny"
_CHOICES = "; ".join(f"{kind}: {', '.join(choices)}" for kind, choices in CHOICES.items())

TRIALS = (
    _number("trial", "trial", "id", "the trial, numbered"),
    _id("trial_id", "id", "the trial's id in the store"),
    _RATER,
    _RATER_ID,
    _id("session_id", "session", "the id of the browser session that it was shown to"),
    _same("kind", "what was shown", values=_KINDS),
    _same("purpose", "what it is for; results are of main alone", values="main, practice, repeat, same, salad"),
    _number("repeats", "trial", "repeats", "the trial whose texts it shows again"),
    _same("schedule", "the schedule that its place is counted in; in play it changes with the arms"),
    _same("position", "its place there, from 0", "number"),
    _same("attempt", "how often this place had been written for before", "number"),
    Column("topic", "what the texts were asked to be about", lambda row, cast: cast.text(_ask(row)["payload"])),
    _masked("ask", "the request and the sampler, a JSON object; a text written beforehand had a seed of its own"),
    _number("profile", "profile", "profile_digest", "the state of the rater's taste"),
    *_side("left"),
    *_side("right"),
    _same("choice", "the vote; empty where none was given", values=_CHOICES),
    Column(
        "counted",
        "a vote was given, not withdrawn, and the trial is neither void nor practice",
        lambda row, cast: int(records.counts(row, *records.COUNTED)),
        "number",
        values=YES,
    ),
    _same("void_reason", "why it does not count, in words; empty where nothing speaks against it"),
    _same("made_at", "when it was written down", unit=TIME),
    _same("shown_at", "when it was shown; empty for never", unit=TIME),
    _same("voted_at", "when the vote came", unit=TIME),
    _same("viewed_ms", "how long the texts were in view before the vote", "number", "ms"),
    _same("hidden", "the page was hidden meanwhile", "number", values=YES),
    _same("undone_at", "when the vote was withdrawn; empty for never", unit=TIME),
)

PARTICIPANTS = (
    _RATER,
    _RATER_ID,
    _same("slot", "the place in the design that they hold or held", "number"),
    _same("joined_at", "when they came", unit=TIME),
    _same("left_at", "when their slot became free for somebody else; empty for never", unit=TIME),
    _same("ended_at", "when they ended; empty for never", unit=TIME),
    _same("completion", "how they ended", values="completed, left, no_consent"),
    _id("platform_person", "platform_person", "their id on the platform that sent them"),
    _id("platform_session", "platform_session", "the id of their submission there"),
)

ANSWERS = (
    _RATER,
    _RATER_ID,
    _same("question", "survey: and the question's id in the study file; without that, what the page keeps by itself"),
    Column(
        "value",
        "the answer; without ids, handles and addresses in it are masked; of consent, agreed: its words are a setting",
        lambda row, cast: "agreed" if row["question"] == "consent" else cast.told(row["value"]),
    ),
    _same("at", "when it was given", unit=TIME),
)

EVENTS = (
    _same("number", "the event, in the order they came", "number"),
    Column("rater", "whom it concerns; empty for nobody", lambda r, c: c.number("rater", r["rater"]), "number"),
    _RATER_ID,
    _same("kind", "what happened"),
    Column("told", "what is known of it, a JSON object; masked like answers", lambda row, cast: cast.told(row["told"])),
    _same("at", "when it happened", unit=TIME),
)


def _chosen(row: Row, cast: Cast, *, other: bool = False) -> str | None:
    side = row["choice"] if not other else {"left": "right", "right": "left"}[row["choice"]]
    return cast.text(row[f"{side}_text"])


PREFERENCES = (
    Column(
        "prompt",
        "the request in words, the same for both texts, without what either arm was told of the rater",
        lambda row, cast: cast.text(Ask(kind=_ask(row)["kind"], payload=_ask(row)["payload"]).instruction()),
    ),
    Column("chosen", "the text that was chosen", _chosen),
    Column("rejected", "the other text", lambda row, cast: _chosen(row, cast, other=True)),
)

FILES: Mapping[str, tuple[Column, ...]] = {
    "trials": TRIALS,
    "participants": PARTICIPANTS,
    "answers": ANSWERS,
    "events": EVENTS,
    "preferences": PREFERENCES,
}
ABOUT = {
    "trials": "One row is one trial that was written to be judged, shown or not; cards of the feed are not among them.",
    "participants": "One row is one person who came to the study.",
    "answers": "One row is one answer to the survey, or one step that a participant went past, such as consent.",
    "events": "One row is one thing that happened while the study ran.",
    "preferences": (
        "One line is one counted vote of a main pair of texts that chose a side, in the preference format of TRL. It "
        "is for research: these are votes of judges, and Palate itself never trains on them. As JSON lines only."
    ),
}


def export(
    store: Store, folder: Path, study: str | None = None, *, ids: bool = False, parquet: bool = False
) -> list[Path]:
    """Write tables, preferences, dictionary and settings of the study; returns the files' paths.

    `folder` must be new or empty. Without a study it is what was judged in play. After an error there is nothing of it.
    Raises Refused.
    """
    if parquet and find_spec("pyarrow") is None:
        raise Refused("parquet needs pyarrow, which is not installed: pip install -r requirements-studies.txt")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Refused(f"{folder} holds something already: name a new folder")
    about = records.about(store, study)
    tables = _tables(store, study, ids)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))  # for its owner's eyes only
        try:
            for name, table in tables.items():
                _write(part, name, table, _columns(name, ids), parquet)
            _write_dictionary(part, ids)
            if about:
                told = {"id": about.id, "title": about.title, "opened": about.opened, "settings": about.settings}
                _write_json(part / "study.json", told)
            with suppress(FileNotFoundError):
                folder.rmdir()
            part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise Refused(f"{folder} cannot be written ({error.strerror}): choose another or free some space") from error
    return sorted(folder.iterdir())


def dictionary(*, ids: bool = False) -> dict[str, list[dict[str, str]]]:
    """Every column of every file: name, meaning, type, unit, values."""
    return {
        name: [
            {"name": c.name, "meaning": c.meaning, "type": c.kind, "unit": c.unit, "values": c.values}
            for c in _columns(name, ids)
        ]
        for name in FILES
    }


def backup(store: Store, to: Path) -> Path:
    """Copy the database as it is at one moment to a new file, with views of readable names; returns its path.

    Everything personal is in it. Raises Refused.
    """
    if to.exists():
        raise Refused(f"{to} is there already: name a new file")
    part = to.with_name(f".{to.name}.part")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        part.unlink(missing_ok=True)
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        try:
            records.copy(store, part, {arm: title(arm) for arm in (*ARMS, HUMAN, *TITLES)})
            return part.rename(to)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise Refused(f"{to} cannot be written ({error.strerror}): choose another or free some space") from error


def _columns(name: str, ids: bool) -> list[Column]:
    return [column for column in FILES[name] if ids or not column.ids]


def _tables(store: Store, study: str | None, ids: bool) -> dict[str, list[Row]]:
    """The rows of each file, as they will be written."""
    cast = Cast(store, study, ids)
    judged = [row for row in records.trials(store, study) if row["role"] == "judge"]
    for row in judged:
        cast.number("trial", row["id"])  # in this order, also where one repeats a later one
    decided = [
        row
        for row in judged
        if records.counts(row, "main") and row["choice"] in ("left", "right") and not row["left_prompt"]
    ]
    found = {
        "trials": judged,
        "participants": records.participants(store, study),
        "answers": records.answers(store, study),
        "events": records.events(store, study),
        "preferences": decided,
    }
    return {
        name: [{column.name: column.read(row, cast) for column in _columns(name, ids)} for row in rows]
        for name, rows in found.items()
    }


def _write(folder: Path, name: str, rows: Sequence[Row], columns: Sequence[Column], parquet: bool) -> None:
    with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as lines:
        lines.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if name == "preferences":
        return
    with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, [column.name for column in columns], lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    if parquet:
        data = {c.name: pd.array([row[c.name] for row in rows], dtype=TYPES[c.kind]) for c in columns}
        pd.DataFrame(data).to_parquet(folder / f"{name}.parquet", engine="pyarrow", index=False)


def _write_dictionary(folder: Path, ids: bool) -> None:
    told = dictionary(ids=ids)
    _write_json(folder / "dictionary.json", told)
    (folder / "dictionary.md").write_text("\n".join(_as_markdown(told)), encoding="utf-8")


def _write_json(path: Path, told: object) -> None:
    path.write_text(json.dumps(told, indent=1, ensure_ascii=False), encoding="utf-8")


def _as_markdown(told: Mapping[str, Iterable[Mapping[str, str]]]) -> Iterable[str]:
    yield "# What the columns mean\n"
    yield "CSV and JSON lines; empty is null. A spreadsheet may take a text for a formula: import it as text.\n"
    for name, columns in told.items():
        yield f"## {name}\n\n{ABOUT[name]}\n"
        yield "| column | meaning | type | unit | values |\n| --- | --- | --- | --- | --- |"
        for column in columns:
            yield "| " + " | ".join(column[key] for key in ("name", "meaning", "type", "unit", "values")) + " |"
        yield ""
