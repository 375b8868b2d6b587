"""Everything personal, in an SQLite file under the data folder or in PostgreSQL: people, items, signals, trials, votes.

Every write is one statement or one transaction. A trial is written before it is shown; votes are unique by
trial; undo is an event, nothing is deleted until the person deletes all. All SQL of the project stands here and in
`studies.migrations`, `database`, `postgres`, `reactions`, `vectors`, `belongings`, `register` and `records`, and both
engines take it as it is written.
"""

import hashlib
import json
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Literal

from collectors.item import Item, Signal
from engine.methods.base import Ask
from engine.profile import Edit
from studies.database import SCHEMA, Row, opened
from studies.ratings import Ballot
from studies.reactions import Reactions, as_item
from studies.schedule import PICTURE, Kind, Purpose
from studies.vectors import Vectors, key_of

ME = "me"  # one data folder is one person; visitors of a hosted room get their own in a later step
LOCAL = "local"  # who writes a summary where nobody else was asked
SHOWN = "item"  # the arm of a card of the feed, that no method wrote; HUMAN is a post by a person in a pair
CHOICES = {
    "pair": ("left", "right", "both", "neither", "skip"),
    "card": ("like", "dislike", "skip"),
    "mark": ("funny", "not_funny", "1", "2", "3", "4", "5", "skip"),
}
Use = Literal["pair", "feed"]  # what an unseen text is wanted for
FLAGS = tuple((side, kind) for side in ("left", "right") for kind in ("sounds_ai", "offensive"))
MAX_HUMAN = 400  # characters: longer posts would stand out beside what the models write
CHUNK = 5_000  # rows of an import in one transaction


class Refused(ValueError):
    """A vote or undo that does not count. Nothing was stored; the message says why."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One text that may be shown: its arm, and what it took. `evidence` are ids of the likes it was told about.

    Of a picture `text` is the name of its file; `prompt` is what the image model was told, `tokens` as that reads them,
    and `left_out` how many statements of the person's taste did not fit into it.
    """

    id: str
    arm: str
    text: str
    item_id: str | None = None
    evidence: tuple[str, ...] = ()
    tokens: int = 0
    seconds: float = 0.0
    finish: str = "stop"
    state: str = ""  # what the arm had learned
    prompt: str = ""
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Trial:
    """What is about to be shown, written down before it is. A pair is judged and counted, a card teaches; in a study
    all judge. `repeats` is the trial that it shows again."""

    id: str
    rater: str
    kind: Kind
    left: Candidate
    right: Candidate | None
    ask: Ask
    profile_digest: str
    engine: str
    summary: str | None = None
    schedule: str | None = None
    position: int | None = None
    attempt: int = 0
    void_reason: str | None = None
    study: str | None = None
    purpose: Purpose = "main"
    repeats: str | None = None

    @property
    def role(self) -> Literal["judge", "teach"]:
        return "judge" if self.study or self.kind == "pair" else "teach"


def as_post(item: Item) -> Candidate:
    """An item as it is, which no method wrote."""
    return Candidate(f"{SHOWN}/{item.id}", SHOWN, item.text, item_id=item.id)


def new_id() -> str:
    """128 random bits: an id that cannot be guessed."""
    return secrets.token_hex(16)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Store:
    """The data folder's database; methods may be called from any thread. With the `url` of a PostgreSQL its tables
    stand in a schema there."""

    def __init__(self, folder: Path, url: str | None = None, schema: str = SCHEMA, told: str = "") -> None:
        """`told` is what people read in place of the folder, where that is none of their business."""
        self.db = opened(folder, url, schema)
        self.db.told = told
        self._reactions = Reactions(self.db)
        self.vectors = Vectors(self.db)

    # ---- people and their taste

    def open_session(self, session: str, rater: str) -> None:
        """Make the session known. The same session twice is the same session; it never changes hands."""
        with self.db.atomic():
            self.db.run("insert into rater values (:id, :at) on conflict do nothing", id=rater, at=now())
            self.db.run(
                "insert into session values (:id, :rater, :at) on conflict do nothing",
                id=session,
                rater=rater,
                at=now(),
            )

    def rater(self, session: str) -> str:
        rows = self.db.rows("select rater from session where id = :id", id=session)
        if not rows:
            raise Refused("this page's session is not known here: reload the page")
        return str(rows[0]["rater"])

    def add(self, rater: str, pairs: Iterable[tuple[Item, Signal | None]]) -> int:
        """Save an import in chunks, each all of it or nothing; the same import again changes nothing, so one that was
        broken off goes on. Returns rows seen."""
        return sum(self.add_chunks(rater, pairs))

    def add_chunks(self, rater: str, pairs: Iterable[tuple[Item, Signal | None]]) -> Iterator[int]:
        """Save an import, yielding how many rows each chunk held once it is on disk."""
        rows = iter(pairs)
        while chunk := list(islice(rows, CHUNK)):
            with self.db.atomic():
                self.db.run("insert into rater values (:id, :at) on conflict do nothing", id=rater, at=now())
                changed = self._add_items([item for item, _ in chunk])
                changed += self._add_signals(rater, [signal for _, signal in chunk if signal])
                if changed:
                    self.db.run(
                        "insert into chunk (rater, rows, at) values (:rater, :n, :at)", rater=rater, n=changed, at=now()
                    )
            yield len(chunk)

    def _add_signals(self, rater: str, signals: Sequence[Signal]) -> int:
        return self.db.many(
            """insert into signal (rater, item_id, origin, sign, strength, at, note, picked)
            values (:rater, :item_id, :origin, :sign, :strength, :at, :note, :picked)
            on conflict (rater, item_id, origin) do update
            set sign = excluded.sign, strength = excluded.strength, at = excluded.at,
            note = excluded.note, picked = excluded.picked
            where signal.sign <> excluded.sign or signal.strength <> excluded.strength
            or coalesce(signal.at, '') <> coalesce(excluded.at, '')
            or signal.note <> excluded.note or signal.picked <> excluded.picked""",
            [
                {
                    "rater": rater,
                    "item_id": signal.item_id,
                    "origin": signal.origin,
                    "sign": signal.sign,
                    "strength": signal.strength,
                    "at": signal.at and signal.at.isoformat(),
                    "note": signal.note,
                    "picked": int(signal.picked),
                }
                for signal in signals
            ],
        )

    def _add_items(self, items: Sequence[Item]) -> int:
        return self.db.many(
            """insert into item
            (id, source, source_id, kind, text, community, author_hash, maker, created_at, url, shuffle, stand_in)
            values (:id, :source, :source_id, :kind, :text, :community, :author_hash, :maker, :created_at, :url,
            :shuffle, :stand_in)
            on conflict (id) do update set text = excluded.text, stand_in = excluded.stand_in,
            author_hash = excluded.author_hash, created_at = coalesce(excluded.created_at, item.created_at)
            where (item.stand_in = 1 or item.text = '') and excluded.stand_in = 0 and excluded.text <> ''""",
            [
                {
                    "id": item.id,
                    "source": item.source,
                    "source_id": item.source_id,
                    "kind": item.kind,
                    "text": item.text,
                    "community": item.community,
                    "author_hash": item.author_hash,
                    "maker": item.maker,
                    "created_at": item.created_at and item.created_at.isoformat(),
                    "url": item.url,
                    # a fixed shuffle: the feed's order is mixed and the same after a restart
                    "shuffle": hashlib.sha256(item.id.encode()).hexdigest()[:16],
                    "stand_in": int(item.stand_in),
                }
                for item in items
            ],
        )

    def reactions(self, rater: str) -> tuple[tuple[Item, Signal], ...]:
        """What the person showed so far, oldest first, one row an item: imports, then cards as they were voted."""
        return self._reactions.of(rater)

    def remark(self, rater: str, remarks: Mapping[str, tuple[str, bool]]) -> None:
        """Keep what the person says about items: why they like each, and whether it is one of their best."""
        with self.db.atomic():
            for item_id, (note, picked) in remarks.items():
                self.db.run(
                    """insert into remark (rater, item_id, note, picked, at)
                    values (:rater, :item_id, :note, :picked, :at)""",
                    rater=rater,
                    item_id=item_id,
                    note=note,
                    picked=int(picked),
                    at=now(),
                )

    def drop_texts(self, ids: Iterable[str]) -> None:
        """Forget the texts of items that were removed at their source: they teach nothing from now on."""
        with self.db.atomic():
            changed = sum(self.db.run("update item set text = '', stand_in = 0 where id = :id", id=i) for i in ids)
            if changed:
                self.db.run("insert into chunk (rater, rows, at) select id, :n, :at from rater", n=changed, at=now())

    # ---- imports, and what belongs to the person

    def begin_import(self, rater: str, name: str, report: Mapping[str, object]) -> int:
        """Keep that an import begins, and what it was found to hold without its examples; returns its number."""
        held = {name: value for name, value in report.items() if name != "examples"}
        rows = self.db.rows(
            """insert into import (rater, name, report, saved, started_at) values (:rater, :name, :report, 0, :at)
            returning number""",
            rater=rater,
            name=name,
            report=json.dumps(held),
            at=now(),
        )
        return int(rows[0]["number"])

    def note_import(self, number: int, saved: int, *, ended: bool = False) -> None:
        self.db.run(
            "update import set saved = :saved, ended_at = :at where number = :number",
            number=number,
            saved=saved,
            at=now() if ended else None,
        )

    def imports(self, rater: str) -> list[Row]:
        """The person's imports, the latest first: name, report (JSON), saved, started_at, ended_at."""
        return self.db.rows("select * from import where rater = :rater order by number desc", rater=rater)

    def tables(self) -> list[str]:
        return sorted(self.db.tables())

    def delete_everything(self) -> None:
        """Empty every table and leave no byte of it in the files that hold them."""
        self.db.erase(self.tables())
        self._reactions.forget()
        self.vectors.forget()

    def forget(self, rater: str) -> None:
        """Delete all of one person: what they did, brought and were shown, and texts that only they had."""
        trials = "(select id from trial where rater = :rater)"
        shown = "(select left_id from trial where rater = :rater union select right_id from trial where rater = :rater)"
        with self.db.atomic():
            self.db.defer()
            had = self.db.rows("select item_id from signal where rater = :rater", rater=rater)
            met = self.db.rows(f"select id from candidate where id in {shown}", rater=rater)
            columns = self.db.tables()
            for name, there in columns.items():
                if "trial_id" in there:
                    self.db.run(f'delete from "{name}" where trial_id in {trials}', rater=rater)
            for name, there in columns.items():
                if "rater" in there:
                    self.db.run(f'delete from "{name}" where rater = :rater', rater=rater)
            self.db.run("delete from rater where id = :rater", rater=rater)
            for row in met:
                self.db.run(
                    """delete from candidate where id = :id and not exists (select 1 from pool where candidate_id = :id)
                    and not exists (select 1 from trial where left_id = :id or right_id = :id)""",
                    id=row["id"],
                )
            for row in had:
                self._drop_item(row["item_id"])
        self._reactions.forget()
        self.vectors.forget()

    def _drop_item(self, item: str) -> None:
        """Delete a text that somebody brought, and what it is to an encoder, if nobody else has it."""
        users = ("signal", "candidate", "edit", "remark")
        unused = " and ".join(f"not exists (select 1 from {table} where item_id = :id)" for table in users)
        for row in self.db.rows(f"delete from item where id = :id and {unused} returning text", id=item):
            self.db.run("delete from vector where text_hash = :key", key=key_of(row["text"]))

    def edit(self, rater: str, edits: Iterable[Edit]) -> None:
        """Keep what the person did to their profile; the latest of a kind and an item holds."""
        with self.db.atomic():
            for edit in edits:
                self.db.run(
                    "insert into edit (rater, kind, item_id, value, at) values (:rater, :kind, :item_id, :value, :at)",
                    rater=rater,
                    **asdict(edit),
                    at=now(),
                )

    def edits(self, rater: str) -> tuple[Edit, ...]:
        """All of them, oldest first."""
        rows = self.db.rows("select kind, item_id, value from edit where rater = :rater order by number", rater=rater)
        return tuple(Edit(**row) for row in rows)

    def items(self, ids: Iterable[str]) -> dict[str, Item]:
        return self._reactions.items(ids)

    def save_summary(
        self,
        rater: str,
        text: str,
        profile_digest: str,
        reactions: int,
        engine: str,
        author: str = LOCAL,
        taste: str | None = None,
    ) -> None:
        """Keep a new version of the summary, who wrote it, and from how many reactions; `taste` is JSON."""
        self.db.run(
            """insert into summary (id, rater, text, profile_digest, reactions, engine, author, taste, made_at)
            values (:id, :rater, :text, :digest, :reactions, :engine, :author, :taste, :at)""",
            id=new_id(),
            rater=rater,
            text=text,
            digest=profile_digest,
            reactions=reactions,
            engine=engine,
            author=author,
            taste=taste,
            at=now(),
        )

    def latest_summary(self, rater: str) -> Row | None:
        """The newest summary: id, text, profile_digest, reactions, engine, author, taste."""
        rows = self.db.rows("select * from summary where rater = :rater order by number desc limit 1", rater=rater)
        return rows[0] if rows else None

    def say(self, rater: str, recipient: str, given: bool, told: str) -> None:
        """Keep that a person said yes to sending likes to `recipient`, or withdrew it, and the words they were told."""
        self.db.run(
            "insert into consent (rater, given, recipient, told, at) values (:rater, :given, :recipient, :told, :at)",
            rater=rater,
            given=int(given),
            recipient=recipient,
            told=told,
            at=now(),
        )

    def consent(self, rater: str) -> Row | None:
        """The yes that holds: recipient, told, at. None where none was said, or the latest word is a no."""
        rows = self.db.rows("select * from consent where rater = :rater order by number desc limit 1", rater=rater)
        return rows[0] if rows and rows[0]["given"] else None

    # ---- which arms take part

    def select(self, rater: str, arms: Sequence[str]) -> None:
        """Keep which arms this person lets take part; the latest choice holds."""
        self.db.run(
            "insert into selection (rater, arms, at) values (:rater, :arms, :at)",
            rater=rater,
            arms=json.dumps(sorted(arms)),
            at=now(),
        )

    def selected(self, rater: str) -> list[str] | None:
        """The arms that take part, None where the person never chose."""
        rows = self.db.rows("select arms from selection where rater = :rater order by number desc limit 1", rater=rater)
        return json.loads(rows[0]["arms"]) if rows else None

    # ---- trials: written before they are shown

    def write(self, trial: Trial, seed: int | None = None, arms: Sequence[str] = ()) -> None:
        """Write a trial with its texts; for a pair also the schedule it belongs to, with seed and arms."""
        with self.db.atomic():
            if trial.schedule is not None:
                self.db.run(
                    "insert into schedule values (:id, :seed, :arms, :at) on conflict do nothing",
                    id=trial.schedule,
                    seed=seed,
                    arms=json.dumps(sorted(arms)),
                    at=now(),
                )
            for candidate in (trial.left, trial.right):
                if candidate:
                    self.keep_candidate(candidate)
            self.db.run(
                """insert into trial (id, rater, kind, role, left_id, right_id, schedule, position, attempt, ask,
                profile_digest, summary, engine, void_reason, study, purpose, repeats, made_at)
                values (:id, :rater, :kind, :role, :left_id, :right_id, :schedule, :position, :attempt, :ask,
                :profile_digest, :summary, :engine, :void_reason, :study, :purpose, :repeats, :at)""",
                id=trial.id,
                rater=trial.rater,
                kind=trial.kind,
                role=trial.role,
                left_id=trial.left.id,
                right_id=trial.right.id if trial.right else None,
                schedule=trial.schedule,
                position=trial.position,
                attempt=trial.attempt,
                ask=json.dumps(asdict(trial.ask)),
                profile_digest=trial.profile_digest,
                summary=trial.summary,
                engine=trial.engine,
                void_reason=trial.void_reason,
                study=trial.study,
                purpose=trial.purpose,
                repeats=trial.repeats,
                at=now(),
            )

    def keep_candidate(self, candidate: Candidate) -> None:
        """Keep a text that may be shown; one that is known already changes nothing."""
        self.db.run(
            """insert into candidate (id, arm, item_id, text, evidence, tokens, seconds, finish, state, prompt,
            left_out, made_at)
            values (:id, :arm, :item_id, :text, :evidence, :tokens, :seconds, :finish, :state, :prompt, :left_out, :at)
            on conflict (id) do nothing""",
            **asdict(candidate) | {"evidence": json.dumps(candidate.evidence), "at": now()},
        )

    def filled(self, rater: str, schedule: str) -> list[Row]:
        """The positions of this schedule that were tried, in order: position, attempts, good (how many not void),
        superseded (how many were fit to be shown, and taken out)."""
        return self.db.rows(
            """select position, count(*) as attempts, sum(case when void_reason is null then 1 else 0 end) as good,
            sum(case when void_reason = 'superseded' then 1 else 0 end) as superseded
            from trial where rater = :rater and schedule = :schedule group by position order by position""",
            rater=rater,
            schedule=schedule,
        )

    def ready(self, rater: str, kind: str) -> list[Row]:
        """Trials that wait to be shown, oldest first: id, schedule, ask (JSON), engine."""
        return self.db.rows(
            """select id, schedule, ask, engine from trial where rater = :rater and kind = :kind and shown_at is null
            and void_reason is null order by made_at, position""",
            rater=rater,
            kind=kind,
        )

    def void(self, trial: str, reason: str) -> None:
        """Take a trial out that nobody has seen."""
        self.db.run(
            "update trial set void_reason = :reason where id = :id and shown_at is null", id=trial, reason=reason
        )

    def repeat(self, trial: str) -> str:
        """Write a trial anew, with another id and not shown yet; returns the id."""
        again = new_id()
        self.db.run(
            """insert into trial (id, rater, kind, role, left_id, right_id, schedule, position, attempt, ask,
            profile_digest, summary, engine, made_at)
            select :again, rater, kind, role, left_id, right_id, schedule, position, attempt, ask,
            profile_digest, summary, engine, :at from trial where id = :trial""",
            again=again,
            trial=trial,
            at=now(),
        )
        return again

    def cards_written(self, rater: str) -> int:
        """How many cards hold a generated text, shown or not."""
        rows = self.db.rows(
            """select count(distinct c.id) as n from trial t join candidate c on c.id = t.left_id
            where t.rater = :rater and t.kind = 'card' and c.arm <> :shown""",
            rater=rater,
            shown=SHOWN,
        )
        return int(rows[0]["n"])

    def cards_shown(self, rater: str) -> int:
        rows = self.db.rows(
            "select count(*) as n from trial where rater = :rater and kind = 'card' and shown_at is not null",
            rater=rater,
        )
        return int(rows[0]["n"])

    def open_trial(self, session: str, kind: str) -> Row | None:
        """What the session sees right now: shown to it last and not voted on. A reload shows it again."""
        return next(iter(reversed(self.open_trials(session, kind))), None)

    def open_trials(self, session: str, kind: str) -> list[Row]:
        """All that lies on the session's table, shown to it and not voted on, in that order."""
        return self.db.rows(
            f"""{_SEEN} where t.session = :session and t.kind = :kind and t.shown_at is not null
            and not exists (select 1 from vote v where v.trial_id = t.id) order by t.shown_at, t.made_at""",
            session=session,
            kind=kind,
        )

    def seen(self, trial: str, session: str) -> Row | None:
        """A trial that lies on this session's table."""
        rows = self.db.rows(f"{_SEEN} where t.id = :trial and t.session = :session", trial=trial, session=session)
        return rows[0] if rows else None

    def show(self, trial: str, session: str) -> Row | None:
        """Hand a waiting trial to a session, in one statement: of two who ask, one gets it."""
        won = self.db.rows(
            """update trial set session = :session, shown_at = :at where id = :trial and shown_at is null
            and void_reason is null and rater = (select rater from session where id = :session) returning id""",
            trial=trial,
            session=session,
            at=now(),
        )
        return self.db.rows(f"{_SEEN} where t.id = :trial", trial=trial)[0] if won else None

    def show_card(self, session: str, text: Candidate, engine: str) -> Row:
        """Write a card with this text down and lay it on the session's table."""
        card = Trial(new_id(), self.rater(session), "card", text, None, Ask(), "", engine)
        self.write(card)
        row = self.show(card.id, session)
        assert row, "nobody else knows of it"
        return row

    def unseen(
        self, rater: str, use: Use, limit: int = 1, longest: int = 20_000, *, also_waiting: bool = False
    ) -> list[Item]:
        """Texts this person has neither rated nor been shown, in a fixed shuffle: half of the posts by people that were
        imported for the "pair"s, the other half and the sample for the "feed". That takes the posts a person will
        like, so what blind pairs are measured against must not be what it left over.

        Those in trials that wait to be shown are left out as well, unless `also_waiting`.
        """
        found: list[Row] = []
        for maker in ("person",) if use == "pair" else ("person", "project"):
            found += self.db.rows(
                """select i.* from item i where i.maker = :maker and length(i.text) <= :longest
                and i.text <> '' and i.stand_in = 0
                and (i.maker = 'project' or (substr(i.shuffle, 16) < '8') = (:use = 'feed'))
                and not exists (select 1 from signal s where s.item_id = i.id and s.rater = :rater)
                and not exists (
                    select 1 from candidate c
                    join trial t on (t.left_id = c.id or t.right_id = c.id)
                    where c.item_id = i.id and t.rater = :rater
                    and (t.shown_at is not null or (t.void_reason is null and not :also_waiting)))
                order by i.shuffle limit :limit""",
                rater=rater,
                maker=maker,
                use=use,
                limit=limit,
                longest=longest,
                also_waiting=also_waiting,
            )
        return [as_item(row) for row in sorted(found, key=lambda row: row["shuffle"])[:limit]]

    # ---- votes

    def vote(
        self,
        session: str,
        trial: str,
        choice: str,
        flags: Sequence[tuple[str, str]] = (),
        *,
        kinds: Sequence[str] = ("pair", "card"),
        viewed_ms: int | None = None,
        hidden: bool = False,
    ) -> Row:
        """Store a vote with its marks on a trial of one of `kinds`; returns it with its arms, which may be named now.

        `viewed_ms` is how long the page says that the texts were in view, `hidden` whether it was hidden meanwhile.

        One statement decides: the trial must be this session's, shown, not void and not voted on. Anything
        else raises Refused and stores nothing. A vote that went missing on its way to the database, so that nobody can
        say whether it arrived, may be given again: it is stored once.
        """
        if any(flag not in FLAGS for flag in flags):
            raise Refused("that mark is not known: use left or right with sounds_ai or offensive")
        with self.db.atomic():
            fitting = {f"kind{n}": kind for n, kind in enumerate(kinds) if choice in CHOICES[kind]}
            names = ", ".join(f":{name}" for name in fitting) or "''"
            this, at = ("vote", session, trial, choice, frozenset(flags)), now()
            won = self.db.rows(
                f"""insert into vote (trial_id, choice, at, viewed_ms, hidden)
                select t.id, :choice, :at, :viewed, :hidden from trial t
                where t.id = :trial and t.session = :session and t.kind in ({names})
                and t.shown_at is not null and t.void_reason is null
                on conflict (trial_id) do nothing returning trial_id""",
                trial=trial,
                session=session,
                choice=choice,
                at=at,
                viewed=viewed_ms,
                hidden=int(hidden),
                **fitting,
            )
            if not won:
                at = self._arrived(trial, self.db.unsure(this))
            if not at:
                raise Refused(self._why_refused(session, trial, choice, kinds))
            self.db.if_unsure(this, at)
            if not won:
                return self._revealed(trial)
            for side, kind in dict.fromkeys(flags):
                self.db.run(
                    "insert into flag values (:trial, :side, :kind, :at)", trial=trial, side=side, kind=kind, at=now()
                )
            if choice in ("like", "dislike"):
                self._keep_generated(trial)
        return self._revealed(trial)

    def _revealed(self, trial: str) -> Row:
        return self.db.rows(f"{_REVEALED} where t.id = :trial", trial=trial)[0]

    def _keep_generated(self, trial: str) -> None:
        """A generated text that taught becomes an item by a model, so that the profile can hold it."""
        rows = self.db.rows(
            """select c.* from trial t join candidate c on c.id = t.left_id
            where t.id = :id and t.role = 'teach' and c.item_id is null""",
            id=trial,
        )
        for row in rows:
            item = Item("palate", row["id"], "joke", row["text"], maker="model")
            self._add_items([item])
            self.db.run("update candidate set item_id = :item where id = :id", item=item.id, id=row["id"])

    def _arrived(self, trial: str, at: str | None) -> str:
        """When the vote on a trial was given, if that is the time in question."""
        rows = self.db.rows("select at from vote where trial_id = :id and at = :at", id=trial, at=at) if at else []
        return str(rows[0]["at"]) if rows else ""

    def _why_refused(self, session: str, trial: str, choice: str, kinds: Sequence[str]) -> str:
        rows = self.db.rows(
            """select t.session, t.kind, v.trial_id as voted from trial t left join vote v on v.trial_id = t.id
            where t.id = :trial""",
            trial=trial,
        )
        if not rows or rows[0]["session"] != session or rows[0]["kind"] not in kinds:
            return "this pair was not shown to you: nothing was stored"
        if choice not in CHOICES[rows[0]["kind"]]:
            return f"{choice!r} is no choice here: use one of {', '.join(CHOICES[rows[0]['kind']])}"
        return "you have voted on this one already: nothing was stored"

    def liked_card(self, session: str, trial: str) -> str | None:
        """The item of a card that this session liked, None for any other."""
        rows = self.db.rows(
            """select c.item_id from vote v join trial t on t.id = v.trial_id join candidate c on c.id = t.left_id
            where t.id = :trial and t.session = :session and t.kind = 'card' and v.choice = 'like'
            and not exists (select 1 from undo u where u.trial_id = v.trial_id)""",
            trial=trial,
            session=session,
        )
        return rows[0]["item_id"] if rows else None

    def side_of(self, session: str, trial: str, side: str) -> Row | None:
        """The text on one side of a pair that this session voted on, as a candidate; None for anything else."""
        rows = self.db.rows(
            """select c.* from vote v join trial t on t.id = v.trial_id
            join candidate c on c.id = case :side when 'left' then t.left_id when 'right' then t.right_id end
            where t.id = :trial and t.session = :session and t.kind = 'pair' and t.study is null""",
            trial=trial,
            session=session,
            side=side,
        )
        return rows[0] if rows else None

    def liked_as_card(self, session: str, candidate: str) -> str | None:
        """The card by which this session likes a text, as long as that stands."""
        rows = self.db.rows(
            """select t.id from vote v join trial t on t.id = v.trial_id
            where t.session = :session and t.kind = 'card' and t.left_id = :candidate and v.choice = 'like'
            and not exists (select 1 from undo u where u.trial_id = t.id)""",
            session=session,
            candidate=candidate,
        )
        return rows[0]["id"] if rows else None

    def undo(self, session: str, kind: str, trial: str | None = None) -> Row:
        """Withdraw the session's latest vote of a kind that still stands, or that on one trial; raises Refused if there
        is none. Asked again after nobody could say whether it was withdrawn, it withdraws that one and no other."""
        this = ("undo", session, kind, trial)
        with self.db.atomic():
            latest = "v.number desc limit 1"
            mine = """from vote v join trial t on t.id = v.trial_id where t.session = :session and t.kind = :kind
                and (t.id = :trial or :trial is null)"""
            undone = "exists (select 1 from undo u where u.trial_id = v.trial_id)"
            last = self.db.rows(
                f"select v.trial_id, {undone} as undone {mine} order by {latest}",
                session=session,
                kind=kind,
                trial=trial,
            )
            if last and last[0]["undone"] and last[0]["trial_id"] == self.db.unsure(this):
                won = last
            else:
                won = self.db.rows(
                    f"""insert into undo (trial_id, at) select v.trial_id, :at {mine} and not {undone}
                    order by {latest} on conflict (trial_id) do nothing returning trial_id""",
                    session=session,
                    kind=kind,
                    trial=trial,
                    at=now(),
                )
            if not won:
                raise Refused("there is nothing to undo")
            self.db.if_unsure(this, won[0]["trial_id"])
        return self._revealed(won[0]["trial_id"])

    def ballots(self, purpose: Literal["main", "repeat"] = "main", *, pictures: bool = False) -> list[Ballot]:
        """Every vote outside of studies that counts: on a pair of texts, or of `pictures`, not void, not withdrawn.
        Votes on pairs that were shown again are a matter of their own."""
        rows = self.db.rows(
            f"""select t.id, t.rater, t.ask, t.repeats, l.arm as left_arm, r.arm as right_arm, v.choice
            {_COUNTED} order by v.number""",
            purpose=purpose,
        )
        marks: dict[str, set[str]] = {}
        for row in self.db.rows("select trial_id, side from flag where kind = 'sounds_ai'"):
            marks.setdefault(row["trial_id"], set()).add(row["side"])
        found = []
        for row in rows:
            ask, marked = json.loads(row["ask"]), frozenset(marks.get(row["id"], ()))
            if (ask["kind"] == PICTURE) != pictures:
                continue
            found.append(
                Ballot(
                    row["rater"], row["left_arm"], row["right_arm"], row["choice"], marked, row["id"],
                    repeats=row["repeats"] or "", kind=ask["kind"], topic=ask["payload"],
                )
            )  # fmt: skip
        return found

    def may_see(self, rater: str, picture: str) -> bool:
        """Whether this is the name of a picture that the person was shown."""
        return bool(
            self.db.rows(
                """select 1 from candidate c join trial t on c.id in (t.left_id, t.right_id)
                where c.text = :picture and c.prompt <> '' and t.rater = :rater and t.shown_at is not null""",
                picture=picture,
                rater=rater,
            )
        )

    def show_again(self, trial: str, session: str) -> Row | None:
        """Put a judged pair on the table once more, its sides swapped."""
        again = new_id()
        self.db.run(
            """insert into trial (id, rater, kind, role, left_id, right_id, schedule, position, attempt, ask,
            profile_digest, summary, engine, purpose, repeats, made_at)
            select :again, rater, kind, role, right_id, left_id, schedule, null, attempt, ask,
            profile_digest, summary, engine, 'repeat', id, :at from trial where id = :trial""",
            again=again,
            trial=trial,
            at=now(),
        )
        return self.show(again, session)

    def costs(self, rater: str) -> list[Row]:
        """What the texts of pairs took that a person was shown: arm, tokens, seconds."""
        return self.db.rows(
            """select c.arm, c.tokens, c.seconds from trial t join candidate c on c.id in (t.left_id, t.right_id)
            where t.rater = :rater and t.kind = 'pair' and t.study is null and t.purpose = 'main'
            and t.shown_at is not null and c.tokens > 0""",
            rater=rater,
        )

    def counts(self, rater: str) -> dict[str, int]:
        """Likes, dislikes and counted votes of one person, for progress lines."""
        signs = [signal.sign for _, signal in self.reactions(rater)]
        [votes] = self.db.rows(f"select count(*) as n {_COUNTED} and t.rater = :rater", purpose="main", rater=rater)
        return {"likes": signs.count(1), "dislikes": signs.count(-1), "votes": votes["n"]}


# Votes outside of studies that count, on texts and on pictures.
_COUNTED = """from vote v join trial t on t.id = v.trial_id
join candidate l on l.id = t.left_id join candidate r on r.id = t.right_id
where t.role = 'judge' and t.study is null and t.void_reason is null and t.purpose = :purpose
and not exists (select 1 from undo u where u.trial_id = t.id)"""
# What may be shown before the vote has no arm in it; what may be shown after, has.
_SEEN = """select t.id, t.kind, t.study, l.text as left_text, r.text as right_text, i.community, i.source,
l.prompt <> '' as pictures
from trial t join candidate l on l.id = t.left_id left join candidate r on r.id = t.right_id
left join item i on i.id = l.item_id and t.kind = 'card'"""
_REVEALED = """select t.id, t.kind, t.study, t.purpose, t.shown_at, t.engine, t.ask, l.text as left_text,
r.text as right_text, l.item_id,
l.arm as left_arm, l.evidence as left_evidence, l.tokens as left_tokens, l.seconds as left_seconds,
l.prompt as left_prompt, l.left_out as left_left_out,
r.arm as right_arm, r.evidence as right_evidence, r.tokens as right_tokens, r.seconds as right_seconds,
r.prompt as right_prompt, r.left_out as right_left_out
from trial t join candidate l on l.id = t.left_id left join candidate r on r.id = t.right_id"""
