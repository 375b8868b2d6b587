"""What a report or an export reads: the trials of a study, or of play, with their votes, and what became of each."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.methods.base import Ask
from studies.database import Row
from studies.detect import Detector
from studies.ratings import LIKES, Ballot, Mark
from studies.register import Register
from studies.schedule import SALAD
from studies.store import FLAGS, Refused, Store
from studies.studyfile import public, without_folders

CHANGED = "settings changed"  # the event that keeps what a study's settings were before
COUNTED = ("main", "repeat", "same", "salad")  # what trials are for whose votes are looked at; practice is not
# Of a copy that somebody browses: what the tables say, with names. Raters are numbered as in reports and exports.
READABLE = """
create view raters_readable as
select r.id as rater, p.study, s.title as study_title,
    row_number() over (partition by p.study order by coalesce(p.joined_at, r.created_at), p.slot, r.id) as number,
    p.slot, p.joined_at, p.left_at, p.ended_at, p.completion
from rater r left join participant p on p.rater = r.id left join study s on s.id = p.study
where p.rater is not null or exists (select 1 from trial t where t.rater = r.id and t.role = 'judge');
create view trials_readable as
select t.id as trial, t.study, r.number as rater, t.kind, t.role, t.purpose, t.position, t.attempt,
    json_extract(t.ask, '$.payload') as topic, l.arm as left_arm, lt.title as left_title, l.text as left_text,
    x.arm as right_arm, xt.title as right_title, x.text as right_text, t.void_reason, t.made_at, t.shown_at
from trial t left join raters_readable r on r.rater = t.rater
join candidate l on l.id = t.left_id left join candidate x on x.id = t.right_id
left join arm_title lt on lt.arm = l.arm left join arm_title xt on xt.arm = x.arm;
create view votes_readable as
select v.number as vote, t.*, v.choice,
    case v.choice when 'left' then t.left_arm when 'right' then t.right_arm end as chosen_arm,
    (select group_concat(f.side || ' ' || f.kind, ', ') from flag f where f.trial_id = t.trial) as marks,
    v.at as voted_at, v.viewed_ms, v.hidden, u.at as undone_at,
    t.void_reason is null and u.at is null and t.purpose <> 'practice' as counted
from vote v join trials_readable t on t.trial = v.trial_id left join undo u on u.trial_id = v.trial_id;
create view answers_readable as
select r.study, r.number as rater, a.question, a.value, a.at from answer a join raters_readable r on r.rater = a.rater;
create view events_readable as
select e.number, e.study, r.number as rater, e.kind, e.told, e.at
from event e left join raters_readable r on r.rater = e.rater;
"""


@dataclass(frozen=True, slots=True)
class Catch:
    """A counted vote on a trial that has a right answer; `purpose` is same or salad."""

    trial: str
    rater: str
    kind: str
    purpose: str
    choice: str
    passed: bool


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a study; `rater` is "" where it concerns nobody in particular."""

    kind: str
    rater: str
    told: str
    at: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a rater answered; the question is as it is kept: of the survey, or one of those that a page asks itself."""

    rater: str
    question: str
    value: str


@dataclass(frozen=True, slots=True)
class Side:
    """A text of a trial: its arm, what wrote it (fingerprint and learned state, "" where neither is known) and what
    that took, in tokens and in seconds of its batch. A post by a person took none."""

    id: str
    arm: str
    tokens: int
    seconds: float
    engine: str
    state: str


@dataclass(frozen=True, slots=True)
class Written:
    """A trial that was written to be judged, shown or not. `void` is why it does not count, `choice` its vote, `viewed`
    for how many milliseconds its texts were in view before that; "" and None where there is none."""

    rater: str
    kind: str
    purpose: str
    ask: Ask
    sides: tuple[Side, ...]
    void: str
    choice: str
    viewed: int | None
    shown: bool
    undone: bool

    @property
    def counted(self) -> bool:
        """Whether its vote stands."""
        return bool(self.choice) and not self.undone and not self.void


@dataclass(frozen=True, slots=True)
class Rater:
    """A person who judged or may judge. Times are ISO 8601 in UTC, "" for never; `left` is when their slot became
    free, `completion` how they ended, "" while they have not; `votes` are those that count."""

    id: str
    joined: str
    ended: str
    left: str
    completion: str
    votes: int


@dataclass(frozen=True, slots=True)
class About:
    """A study as it was opened; of its settings what anybody may read."""

    id: str
    title: str
    settings: Mapping[str, Any]
    opened: str


@dataclass(frozen=True, slots=True)
class Records:
    """All of a study, or of play where `study` is None; votes in the order they were given, raters as they came.

    `ballots` and `marks` are the counted votes on main trials, `repeats` and `mark_repeats` those on trials that show
    an earlier one again. `pictures` are the counted main votes on pairs of pictures, which are in none of the others.
    `written` are all other trials; `topics` says by trial what the texts of the counted votes were
    asked to be about, `others` names the studies that the folder holds besides. Practice is in none of them.
    """

    study: About | None
    ballots: tuple[Ballot, ...]
    repeats: tuple[Ballot, ...]
    marks: tuple[Mark, ...]
    mark_repeats: tuple[Mark, ...]
    catches: tuple[Catch, ...]
    written: tuple[Written, ...]
    topics: Mapping[str, str]
    events: tuple[Event, ...]
    raters: tuple[Rater, ...]
    others: tuple[str, ...]
    answers: tuple[Answer, ...] = ()
    # by judge and trial: choice and score
    judges: Mapping[str, Mapping[str, tuple[str, float]]] = field(default_factory=dict)
    detectors: tuple[Detector, ...] = ()  # what automatic ones find, where they were asked
    pictures: tuple[Ballot, ...] = ()
    assumed: bool = False  # nobody named this study: it is the only one of the folder

    @property
    def played(self) -> tuple[Ballot, ...]:
        """Counted votes on main pairs that were not skipped."""
        return tuple(ballot for ballot in self.ballots if ballot.choice != "skip")

    @property
    def trials(self) -> int:
        """How many were written."""
        return len(self.written)

    @property
    def voids(self) -> dict[str, int]:
        """How many of them do not count, by reason, the most frequent first."""
        return dict(Counter(trial.void for trial in self.written if trial.void).most_common())

    @property
    def undone(self) -> int:
        """How many votes were withdrawn."""
        return sum(trial.undone for trial in self.written)

    @property
    def kinds(self) -> frozenset[str]:
        """Kinds of trials, pair, card or mark, that the design has or that were written; play is of pairs."""
        design = self.study.settings.get("design", {}) if self.study else {}
        return frozenset(design.get("kinds", ("pair",))) | {trial.kind for trial in self.written}

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms that are compared: those of the design in their order, then others with counted votes."""
        design = self.study.settings.get("design", {}) if self.study else {}
        voted = {arm for ballot in self.ballots for arm in (ballot.left, ballot.right)}
        voted |= {mark.arm for mark in self.marks}
        return tuple(dict.fromkeys([*map(str, design.get("arms", ())), *sorted(voted)]))

    @property
    def event_counts(self) -> dict[str, int]:
        """How often each kind of event happened, the most frequent first."""
        return dict(Counter(event.kind for event in self.events).most_common())


def records(store: Store, study: str | None) -> Records:
    """Read a study, or with None what was judged outside of studies. Raises Refused for a study that is not here."""
    known = about(store, study)
    judged = [row for row in trials(store, study) if row["role"] == "judge" and row["purpose"] != "practice"]
    rows = [row for row in judged if not row["left_prompt"]]
    painted = sorted((row for row in judged if row["left_prompt"] and counts(row, "main")), key=_order)
    counted = sorted((row for row in rows if counts(row, *COUNTED)), key=_order)
    votes = Counter(row["rater"] for row in counted)
    held = Register(store)
    return Records(
        study=known,
        ballots=tuple(_ballot(row) for row in counted if counts(row, "main") and row["kind"] == "pair"),
        repeats=tuple(_ballot(row) for row in counted if counts(row, "repeat") and row["kind"] == "pair"),
        marks=tuple(_mark(row) for row in counted if counts(row, "main") and row["kind"] != "pair"),
        mark_repeats=tuple(_mark(row) for row in counted if counts(row, "repeat") and row["kind"] != "pair"),
        catches=tuple(_catch(row) for row in counted if counts(row, "same", "salad")),
        written=tuple(_written(row) for row in rows),
        topics={row["id"]: json.loads(row["ask"])["payload"] for row in counted},
        events=tuple(Event(row["kind"], row["rater"] or "", row["told"], row["at"]) for row in events(store, study)),
        raters=tuple(
            Rater(
                p["rater"],
                p["joined_at"],
                p["ended_at"] or "",
                p["left_at"] or "",
                p["completion"] or "",
                votes[p["rater"]],
            )
            for p in participants(store, study)
        ),
        others=tuple(other for other in studies(store) if other != study),
        answers=tuple(Answer(row["rater"], row["question"], row["value"]) for row in answers(store, study)),
        judges={name: held.verdicts(name) for name in held.judges()},
        pictures=tuple(_ballot(row) for row in painted),
    )


def pick(store: Store, study: str | None) -> str | None:
    """The study that is meant: the one that is named; else None for play, but the only study of a folder in which
    nobody played. Raises Refused where there are several."""
    here = studies(store)
    voted = "select 1 from trial t join vote v on v.trial_id = t.id where t.study is null and t.role = 'judge' limit 1"
    if study or not here or store.db.rows(voted):
        return study
    if len(here) > 1:
        raise Refused(f"nobody played in this folder, and it holds several studies: name one, {', '.join(here)}")
    return here[0]


def counts(row: Row, *purposes: str) -> bool:
    """Whether a row of `trials` holds a vote that stands, on a trial for one of these purposes that is not void."""
    return bool(row["choice"]) and not row["undone_at"] and not row["void_reason"] and row["purpose"] in purposes


def studies(store: Store) -> list[str]:
    """The ids of the studies in this folder, as they were opened."""
    return [str(row["id"]) for row in store.db.rows("select id from study order by opened_at, id")]


def trials(store: Store, study: str | None) -> list[Row]:
    """Every trial ever written for a study, or for play, as one row with both texts, its vote and the marks on it.

    Each mark is a column, as `left_sounds_ai`, 0 or 1; what did not come to be is None.
    """
    # a mark on a side is one row of flag at most; their names are constants of ours
    marks = ", ".join(
        f"""case when v.number is not null and {side[0]}.id is not null then
        (select count(*) from flag f where f.trial_id = t.id and f.side = '{side}' and f.kind = '{kind}') end
        as {side}_{kind}"""
        for side, kind in FLAGS
    )
    sides = ", ".join(
        f"{side[0]}.{name} as {side}_{name}"
        for side in ("left", "right")
        for name in (
            "id",
            "arm",
            "text",
            "item_id",
            "evidence",
            "tokens",
            "seconds",
            "finish",
            "state",
            "prompt",
            "left_out",
        )
    )
    rows = store.db.rows(
        f"""select t.id, t.rater, t.session, t.kind, t.role, t.purpose, t.repeats, t.schedule, t.position, t.attempt,
        t.ask, t.profile_digest, coalesce(lp.engine, t.engine) as left_engine,
        coalesce(rp.engine, t.engine) as right_engine, t.void_reason, t.made_at, t.shown_at, {sides}, {marks},
        v.number as vote_number, v.choice, v.at as voted_at, v.viewed_ms, v.hidden, u.at as undone_at
        from trial t join candidate l on l.id = t.left_id left join candidate r on r.id = t.right_id
        left join vote v on v.trial_id = t.id left join undo u on u.trial_id = t.id
        left join pool lp on lp.candidate_id = l.id left join pool rp on rp.candidate_id = r.id
        join rater a on a.id = t.rater left join participant p on p.rater = t.rater
        where {_of("t")}
        order by coalesce(p.joined_at, a.created_at), t.rater, t.made_at, t.position, t.attempt, t.id""",
        study=study,
    )
    for row in rows:  # an arm may name a folder with a model in it
        row["left_arm"], row["right_arm"] = (
            row[side] and without_folders(row[side]) for side in ("left_arm", "right_arm")
        )
    return rows


def participants(store: Store, study: str | None) -> list[Row]:
    """Who takes or took part, in the order they came; outside of studies, whoever else was to judge something."""
    return store.db.rows(
        f"""select r.id as rater, p.slot, coalesce(p.joined_at, r.created_at) as joined_at, p.left_at, p.ended_at,
        p.completion, p.platform_person, p.platform_session from rater r left join participant p on p.rater = r.id
        where {_of("p")} and (p.rater is not null
            or exists (select 1 from trial t where t.rater = r.id and t.role = 'judge'))
        order by 3, p.slot, r.id""",
        study=study,
    )


def answers(store: Store, study: str | None) -> list[Row]:
    """What they answered: rater, question, value, at."""
    return store.db.rows(
        f"""select a.* from answer a join participant p on p.rater = a.rater
        where {_of("p")} order by p.joined_at, p.slot, a.at, a.question""",
        study=study,
    )


def events(store: Store, study: str | None) -> list[Row]:
    """What happened: number, study, rater, kind, told, at; as it came, without folders. Former settings are told like
    present ones: what anybody may read of them."""
    rows = Register(store).events(study) if study else []
    return [row | {"told": _readable(row["kind"], row["told"])} for row in rows]


def _readable(kind: str, told: str) -> str:
    if kind == CHANGED:
        said = json.loads(told)
        told = json.dumps(said | {"before": public(said.get("before", {}))}, ensure_ascii=False)
    return without_folders(told)


def copy(store: Store, to: Path, titles: Mapping[str, str]) -> None:
    """Copy the whole database into the SQLite file `to`, as it is at one moment, and add `READABLE` and `titles` of
    arms."""
    with store.db.copy(to) as still:
        still.execute("create table arm_title (arm text primary key, title text not null)")
        still.executemany("insert into arm_title values (?, ?)", titles.items())
        still.executescript(READABLE)


def hidden(store: Store) -> list[str]:
    """What may stand in no export: every id by which somebody could find a rater or pose as one."""
    rows = store.db.rows(
        """select id as value from rater union select id from session union select platform_person from participant
        union select platform_session from participant union select resume_code from participant"""
    )
    return [row["value"] for row in rows if row["value"]]


def _of(table: str) -> str:
    return f"({table}.study = :study or (:study is null and {table}.study is null))"


def about(store: Store, study: str | None) -> About | None:
    """The study as it was opened, None for play. Raises Refused for one that is not here."""
    if study is None:
        return None
    rows = store.db.rows("select * from study where id = :id", id=study)
    if not rows:
        here = ", ".join(studies(store)) or "none"
        raise Refused(f"there is no study {study!r} in this folder: it holds {here}")
    row = rows[0]
    return About(row["id"], row["title"], public(json.loads(row["settings"])), row["opened_at"])


def _order(row: Row) -> int:
    return int(row["vote_number"])


def _ballot(row: Row) -> Ballot:
    marked = frozenset(side for side in ("left", "right") if row[f"{side}_sounds_ai"])
    return Ballot(
        row["rater"],
        row["left_arm"],
        row["right_arm"],
        row["choice"],
        marked,
        row["id"],
        row["left_text"],
        row["right_text"],
        row["repeats"] or "",
    )


def _mark(row: Row) -> Mark:
    return Mark(
        row["rater"],
        row["left_arm"],
        row["choice"],
        bool(row["left_sounds_ai"]),
        row["id"],
        row["left_text"],
        row["repeats"] or "",
    )


def _written(row: Row) -> Written:
    return Written(
        row["rater"],
        row["kind"],
        row["purpose"],
        Ask(**json.loads(row["ask"])),
        tuple(_side(row, side) for side in ("left", "right") if row[f"{side}_id"]),
        row["void_reason"] or "",
        row["choice"] or "",
        row["viewed_ms"],
        bool(row["shown_at"]),
        bool(row["undone_at"]),
    )


def _side(row: Row, side: str) -> Side:
    tokens = row[f"{side}_tokens"]
    engine = row[f"{side}_engine"] if tokens else ""  # of a post by a person the trial's engine wrote nothing
    return Side(
        row[f"{side}_id"],
        row[f"{side}_arm"],
        tokens,
        row[f"{side}_seconds"],
        engine,
        row[f"{side}_state"] or "",
    )


def _catch(row: Row) -> Catch:
    """Whether a trial with a right answer was answered so.

    Of one text shown twice neither side is better; shuffled words are not funny. Who likes neither passes as well: a
    post by a person need not amuse anybody.
    """
    choice = row["choice"]
    if row["purpose"] == "same":
        passed = choice in ("both", "neither", "skip")
    elif row["kind"] == "pair":
        salad = {side for side in ("left", "right") if row[f"{side}_arm"] == SALAD}
        passed = choice != "both" and choice not in salad
    else:
        passed = choice not in LIKES
    return Catch(row["id"], row["rater"], row["kind"], row["purpose"], choice, passed)
