"""Who takes part in a study: slots, answers, events, what judges said, and texts written beforehand. SQL."""

import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import NoReturn

from studies.database import Row
from studies.judge import Verdict
from studies.store import Candidate, Refused, Store, now
from studies.studyfile import public

LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # of codes that people type: none looks like another
CODE = 8  # of these: 2^39
TWICE = "this person or this browser took part already, and a person takes part once: nothing was stored"


@dataclass(frozen=True, slots=True)
class Participant:
    """One rater of a study. `ended` is when they were done or gone, "" before, and `completion` how; `person` and
    `submission` are a platform's ids, "" where none came with the link."""

    rater: str
    study: str
    slot: int
    resume_code: str
    ended: str
    completion: str
    person: str = ""
    submission: str = ""


class Register:
    def __init__(self, store: Store) -> None:
        self.store, self.db = store, store.db

    def open_study(self, study: str, title: str, settings: Mapping[str, object]) -> None:
        """Make a study known. One of the same design whose other settings changed is the same study: its latest
        settings hold, and the change is an event once somebody takes part."""
        told = json.dumps(settings, default=list, ensure_ascii=False, sort_keys=True)
        with self.db.atomic():
            for row in self.db.rows("select settings from study where id = :id", id=study):
                joined = self.db.rows("select 1 from participant where study = :id limit 1", id=study)
                if row["settings"] != told and joined:
                    self.note(study, None, "settings changed", {"before": public(json.loads(row["settings"]))})
            self.db.run(
                """insert into study values (:id, :title, :settings, :at) on conflict (id) do update
                set title = excluded.title, settings = excluded.settings""",
                id=study,
                title=title,
                settings=told,
                at=now(),
            )

    # ---- people

    def of_session(self, study: str, session: str) -> Participant | None:
        rows = self.db.rows(
            """select p.* from participant p join session s on s.rater = p.rater
            where s.id = :session and p.study = :study""",
            session=session,
            study=study,
        )
        return _participant(rows[0]) if rows else None

    def of_platform(self, study: str, person: str, submission: str) -> Participant | None:
        """Whoever came to the study with the id of this person, or of this submission, in the link."""
        rows = self.db.rows(
            """select * from participant where study = :study and ((:person <> '' and platform_person = :person)
            or (:submission <> '' and platform_session = :submission))
            order by joined_at, rater limit 1""",
            study=study,
            person=person,
            submission=submission,
        )
        return _participant(rows[0]) if rows else None

    def arrive(self, session: str, study: str, person: str, submission: str) -> None:
        """A browser that takes part, or took part, comes with ids in its link. Those that were not known yet are taken
        on while it is at it. Raises Refused, and logs it, where they are of another person or another submission."""
        with self.db.atomic():
            known = self.of_session(study, session)
            if not known or known.completion == "no_consent" or not (person or submission):
                return
            if self._takes_on(known, person, submission):
                return
        self._refuse_twice(known)

    def _takes_on(self, known: Participant, person: str, submission: str) -> bool:
        """Whether the ids of a link may be this participant's; a missing one is filled in then."""
        for given, held in ((person, known.person), (submission, known.submission)):
            if given and held and given != held:
                return False
        person, submission = known.person or person, known.submission or submission
        if (person, submission) == (known.person, known.submission):
            return True
        there = self.of_platform(known.study, person, submission)
        if known.ended or (there and there.rater != known.rater):
            return False
        self.db.run(
            "update participant set platform_person = :person, platform_session = :submission where rater = :rater",
            rater=known.rater,
            person=person,
            submission=submission,
        )
        return True

    def join(self, session: str, study: str, person: str, submission: str, patience: timedelta) -> Participant:
        """Give the session a rater and the first slot that nobody holds: new, or left without a sign for `patience`.

        The same session, or the same submission from another device, is the same participant. Raises Refused, and logs
        it, where a browser or a person comes with another submission.
        """
        self.arrive(session, study, person, submission)
        with self.db.atomic():
            if known := self.of_session(study, session):
                return known
            there = self.of_platform(study, person, submission)
            if not there:
                return self._join(session, study, person, submission, patience)
            if self._takes_on(there, person, submission):
                self.hand_over(there, session)
                return there
        self._refuse_twice(there)

    def _refuse_twice(self, known: Participant) -> NoReturn:
        self.note(known.study, known.rater, "second submission", {})
        raise Refused(TWICE)

    def _join(self, session: str, study: str, person: str, submission: str, patience: timedelta) -> Participant:
        self._reclaim(study, patience)
        slot = self.db.rows(
            """select coalesce((select min(p.slot) from participant p where p.study = :study and not exists
                (select 1 from participant q where q.study = :study and q.slot = p.slot and q.left_at is null)),
            (select count(*) from participant where study = :study and left_at is null)) as slot""",
            study=study,
        )[0]["slot"]
        rater = f"p-{secrets.token_hex(8)}"
        code = "".join(secrets.choice(LETTERS) for _ in range(CODE))
        self.db.run("insert into rater values (:id, :at)", id=rater, at=now())
        self.db.run("insert into session values (:id, :rater, :at)", id=session, rater=rater, at=now())
        self.db.run(
            """insert into participant (rater, study, slot, platform_person, platform_session, resume_code,
            joined_at) values (:rater, :study, :slot, :person, :submission, :code, :at)""",
            rater=rater,
            study=study,
            slot=slot,
            person=person,
            submission=submission,
            code=code,
            at=now(),
        )
        return Participant(rater, study, slot, code, "", "", person, submission)

    def _reclaim(self, study: str, patience: timedelta) -> None:
        """Slots of people who have gone without finishing are free again: what they did stays and counts."""
        before = (datetime.now(UTC) - patience).isoformat(timespec="milliseconds")
        gone = self.db.rows(
            """update participant set left_at = :at where study = :study and left_at is null and ended_at is null
            and joined_at < :before
            and not exists (select 1 from vote v join trial t on t.id = v.trial_id
                where t.rater = participant.rater and v.at >= :before)
            and not exists (select 1 from answer a where a.rater = participant.rater and a.at >= :before)
            returning rater, slot""",
            study=study,
            before=before,
            at=now(),
        )
        for row in gone:
            self.note(study, row["rater"], "slot handed on", {"slot": row["slot"]})

    def resume(self, session: str, study: str, code: str, person: str, submission: str) -> Participant:
        """Go on as the participant with this code, on another device. Raises Refused, also for a code of a session that
        has ended: what it earned is shown where it was earned."""
        rows = self.db.rows(
            "select * from participant where resume_code = :code and study = :study",
            code=code.strip().lower(),
            study=study,
        )
        if not rows:
            raise Refused("no session has this code: check its eight letters")
        there = _participant(rows[0])
        mine = self.of_session(study, session)
        if mine and mine.rater != there.rater:
            raise Refused("this browser takes part already, with another code")
        if there.ended:
            raise Refused("the session with this code has ended")
        with self.db.atomic():
            if fits := self._takes_on(there, person, submission):
                self.hand_over(there, session)
        if not fits:
            self._refuse_twice(there)
        return there

    def hand_over(self, there: Participant, session: str) -> None:
        """What lies on the table of any device lies on this one's from now on."""
        self.store.open_session(session, there.rater)
        self.db.run(
            """update trial set session = :session where rater = :rater and shown_at is not null
            and not exists (select 1 from vote v where v.trial_id = trial.id)""",
            session=session,
            rater=there.rater,
        )
        self.note(there.study, there.rater, "resumed", {})

    def end(self, rater: str, completion: str) -> None:
        """They are done ("completed"), or will not go on, and their slot is free; the first word holds."""
        self.db.run(
            """update participant set ended_at = :at, completion = :how,
            left_at = case when :how = 'completed' then left_at else :at end
            where rater = :rater and ended_at is null""",
            rater=rater,
            how=completion,
            at=now(),
        )

    def forget(self, study: str, code: str) -> str:
        """Delete all of the participant with this code, who withdraws: votes, answers, what they brought, ids. What was
        is an event without a name. Returns the rater's former id. Raises Refused."""
        rows = self.db.rows(
            "select rater from participant where study = :study and resume_code = :code",
            study=study,
            code=code.strip().lower(),
        )
        if not rows:
            raise Refused(f"nobody in this study has the code {code}: it stands on the rater's page")
        rater = str(rows[0]["rater"])
        self.store.forget(rater)
        self.note(study, None, "withdrawn", {})
        return rater

    # ---- answers and events

    def answer(self, rater: str, answers: Mapping[str, str]) -> None:
        """Keep answers: the first to a question stands, with its time."""
        with self.db.atomic():
            for question, value in answers.items():
                self.db.run(
                    "insert into answer values (:rater, :question, :value, :at) on conflict do nothing",
                    rater=rater,
                    question=question,
                    value=value,
                    at=now(),
                )

    def answers(self, rater: str) -> dict[str, str]:
        rows = self.db.rows("select question, value from answer where rater = :rater", rater=rater)
        return {row["question"]: row["value"] for row in rows}

    def note(self, study: str, rater: str | None, kind: str, told: Mapping[str, object]) -> None:
        """Log what a report must tell."""
        self.db.run(
            "insert into event (study, rater, kind, told, at) values (:study, :rater, :kind, :told, :at)",
            study=study,
            rater=rater,
            kind=kind,
            told=json.dumps(told),
            at=now(),
        )

    def note_engine(self, study: str, told: Mapping[str, object]) -> None:
        """Log what texts are written with, once as long as it stays the same."""
        before = self.db.rows("select told from event where study = :study and kind = 'opened'", study=study)
        if json.dumps(told) not in [row["told"] for row in before]:
            self.note(study, None, "opened", told)

    def events(self, study: str) -> list[Row]:
        return self.db.rows("select * from event where study = :study order by number", study=study)

    # ---- trials of a participant

    def progress(self, study: str, rater: str) -> dict[int, list[Row]]:
        """The trials made for each position, oldest attempt first: id, kind, purpose, left_id, right_id, void_reason,
        shown_at, session, voted. Practice stands at -1, -2 and so on."""
        rows = self.db.rows(
            """select t.id, t.kind, t.purpose, t.position, t.attempt, t.left_id, t.right_id, t.void_reason, t.shown_at,
            t.session, v.at as voted from trial t left join vote v on v.trial_id = t.id
            where t.study = :study and t.rater = :rater order by t.position, t.attempt""",
            study=study,
            rater=rater,
        )
        found: dict[int, list[Row]] = {}
        for row in rows:
            found.setdefault(row["position"], []).append(row)
        return found

    def void_after(self, trial: str, reason: str) -> None:
        """A vote that was given in a way that tells nothing: it is kept and does not count."""
        self.db.run("update trial set void_reason = :reason where id = :id", id=trial, reason=reason)

    def met(self, rater: str, left: str, right: str | None) -> bool:
        """Whether a trial of this rater that may be shown, or was, holds one of these texts already."""
        return bool(
            self.db.rows(
                """select 1 from trial t join candidate c on c.id in (t.left_id, t.right_id)
                where t.rater = :rater and t.study is not null and t.void_reason is null
                and c.text in (:left, coalesce(:right, :left)) limit 1""",
                rater=rater,
                left=left,
                right=right,
            )
        )

    def arms(self, trial: str) -> tuple[str, str]:
        """Which arm wrote which side: for reports and simulated raters, never for a page."""
        [row] = self.db.rows(
            """select l.arm as left_arm, coalesce(r.arm, '') as right_arm from trial t
            join candidate l on l.id = t.left_id left join candidate r on r.id = t.right_id where t.id = :id""",
            id=trial,
        )
        return row["left_arm"], row["right_arm"]

    def candidate(self, candidate_id: str) -> Candidate:
        """A text that is known already."""
        [row] = self.db.rows("select * from candidate where id = :id", id=candidate_id)
        told = {name: row[name] for name in ("id", "arm", "text", "item_id", "tokens", "seconds", "finish", "state")}
        return Candidate(**told, evidence=tuple(json.loads(row["evidence"])))

    # ---- judges

    def keep_verdicts(self, judge: str, said: Iterable[tuple[str, Verdict]]) -> None:
        """Keep what a judge says of trials; a second verdict on one changes nothing."""
        with self.db.atomic():
            for trial, verdict in said:
                self.db.run(
                    """insert into verdict values (:trial, :judge, :choice, :score, :first, :second, :at)
                    on conflict do nothing""",
                    trial=trial,
                    judge=judge,
                    at=now(),
                    **asdict(verdict),
                )

    def verdicts(self, judge: str) -> dict[str, tuple[str, float]]:
        """Choice and score of a judge, by trial."""
        rows = self.db.rows("select trial_id, choice, score from verdict where judge = :judge", judge=judge)
        return {row["trial_id"]: (row["choice"], row["score"]) for row in rows}

    def odds(self, judge: str) -> list[tuple[float, float]]:
        """What a judge said of all pairs, in the order given and swapped, in log-odds for the text that stood first."""
        rows = self.db.rows(
            "select first, second from verdict where judge = :judge and choice in ('left', 'right', 'tie')", judge=judge
        )
        return [(row["first"], row["second"]) for row in rows]

    def judges(self) -> list[str]:
        rows = self.db.rows("select distinct judge from verdict order by judge")
        return [row["judge"] for row in rows]

    # ---- the pool

    def put(self, study: str, profile: str, topic: str, attempt: int, candidate: Candidate, engine: str) -> None:
        """Keep a text that was written beforehand, and by what."""
        with self.db.atomic():
            self.store.keep_candidate(candidate)
            self.db.run(
                "insert into pool values (:study, :profile, :arm, :topic, :attempt, :candidate, :engine)",
                study=study,
                profile=profile,
                arm=candidate.arm,
                topic=topic,
                attempt=attempt,
                candidate=candidate.id,
                engine=engine,
            )

    def texts(self, study: str, profile: str) -> set[str]:
        """All that stands in the pool for somebody: none of it is written twice."""
        rows = self.db.rows(
            """select c.text from pool p join candidate c on c.id = p.candidate_id
            where p.study = :study and p.profile = :profile""",
            study=study,
            profile=profile,
        )
        return {row["text"] for row in rows}

    def pooled(self, study: str, profile: str) -> dict[tuple[str, str, int], str]:
        """Candidate ids by (arm, topic, attempt)."""
        rows = self.db.rows(
            "select arm, topic, attempt, candidate_id from pool where study = :study and profile = :profile",
            study=study,
            profile=profile,
        )
        return {(row["arm"], row["topic"], row["attempt"]): row["candidate_id"] for row in rows}


def _participant(row: Row) -> Participant:
    return Participant(
        row["rater"],
        row["study"],
        row["slot"],
        row["resume_code"],
        row["ended_at"] or "",
        row["completion"] or "",
        row["platform_person"],
        row["platform_session"],
    )
