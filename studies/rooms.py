"""The verbs of a study's page. Nothing that a verb returns names an arm: not before the vote, and not after it."""

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, get_args

from collectors.item import Item, Signal
from collectors.sample import Sample
from engine import encoder, learning
from engine.backbone import Backbone
from engine.methods import ARMS
from engine.plan import Quantize
from engine.profile import build
from engine.remote import Runs, opened
from studies.database import Row, address
from studies.importing import UPLOADS, Imports, Preview, sweep
from studies.leaks import words
from studies.pregenerate import empty_places, people_of
from studies.register import Participant, Register
from studies.schedule import HUMAN, Kind
from studies.session import CANNOT_OPEN, CannotStart
from studies.store import Refused, Store, as_post
from studies.studyfile import Study, StudyError, read
from studies.writing import Scribe, Writer, made_with, posts_of, profile_of

Step = Literal["consent", "instructions", "import", "likes", "practice", "trials", "survey", "end"]
FASTEST = 12.0  # words a second, nearly three times as fast as people read (Brysbaert 2019): nobody has read it
LEAST_SECONDS = 0.8
PATIENCE = 20.0  # seconds that a request waits for a text; then the page asks again
POSTS = "posts"  # the rater under whom a study's posts by people are kept
IMPORT_PATIENCE = 60.0  # seconds that an import waits for those of others
MAX_ID = 100  # characters of a platform's ids
MARKS = {"five": ("1", "2", "3", "4", "5", "skip"), "funny": ("funny", "not_funny", "skip")}


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a participant stands: the step, how much of it is done, the code for going on elsewhere, and at the end
    what to hand in, or why there is nothing."""

    step: Step
    done: int = 0
    of: int = 0
    resume_code: str = ""
    code: str = ""
    url: str = ""
    told: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """All that the browser gets of a trial: `right` is "" for a single text."""

    id: str
    kind: Kind
    left: str
    right: str


class Room:
    """One study in one data folder. Verbs are safe from any thread. Simulated raters read in no time: with `clocked`
    off their votes are not void for it."""

    def __init__(self, store: Store, study: Study, lm: Backbone | None = None, *, clocked: bool = True) -> None:
        self.store, self.study, self._clocked = store, study, clocked
        self.register = Register(store)
        store.add(POSTS, Sample())
        self.scribe = Scribe(store, study, self._posts(), people_of(store, study))
        self.id = study.design.id
        self.register.open_study(self.id, study.title, study.settings)
        self.register.note_engine(self.id, made_with(lm))
        self._marks = MARKS[study.scale]
        self.imports = Imports(store, lambda: None)
        self.writer = Writer(self.scribe, lm) if lm and study.texts == "live" else None
        if lm and self.writer:
            self._can_run(lm)
        elif study.texts == "pool":
            self._pool_is_full()

    @classmethod
    def open(
        cls,
        file: Path,
        data_dir: Path,
        model: str | None = None,
        quantize: Quantize = "auto",
        sentence_encoder: str | None = None,
        base: bool = True,
        database_url: str | None = None,
        runs: Runs = "process",
        base_url: str | None = None,
    ) -> "Room":
        """Open the data folder, its tables where `Studio.open` has them, and a model as `Engine.load` does where texts
        are written live; raises CannotStart."""
        try:
            study = read(file)
            encoder.use(sentence_encoder)
            store = Store(data_dir, address(database_url))
            lm = opened(runs, base_url, model, quantize) if study.texts == "live" else None
            if lm and base:
                learning.stand_on(lm, data_dir)
            return cls(store, study, lm)
        except (StudyError, *CANNOT_OPEN) as error:
            raise CannotStart(str(error)) from error

    def engine_line(self) -> str:
        """Which model writes, and how it runs; "" where texts come from the pool."""
        return self.writer.lm.describe() if self.writer else ""

    def start(self) -> None:
        sweep(self.store.db.folder / UPLOADS)
        if self.writer:
            self.writer.start()

    def close(self) -> None:
        if self.writer:
            self.writer.close()

    # ---- what is checked before the first rater comes

    def _posts(self) -> list[Item]:
        items = posts_of(self.study)
        self.store.add(POSTS, ((item, None) for item in items))
        return items

    def _can_run(self, lm: Backbone) -> None:
        """Every arm, for somebody with as many likes as each rater will have. Raises StudyError."""
        likes = [item for item, _ in Sample()][: self.study.likes if self.study.profile != "none" else 0]
        nobody = build("nobody", [(item, Signal(item.id, 1)) for item in likes], encode=self.store.vectors)
        nobody = replace(nobody, summary="They like jokes.") if likes else nobody
        for arm in self.study.design.arms:
            if arm == HUMAN:
                continue
            if why := learning.missing(lm, ARMS[arm], self.store.db.folder, nobody):
                raise StudyError(f"the arm {arm} cannot run here: {why}")

    def _pool_is_full(self) -> None:
        """Whether the pool holds every text that a rater may meet. Raises StudyError."""
        for name in self.scribe.people or [""]:
            if lacks := empty_places(self.register, self.study, name, attempts=1):
                raise StudyError(
                    f"the pool lacks {len(lacks)} texts, such as one of {lacks[0][0]} about {lacks[0][1]}: "
                    "run python -m studies pregenerate first"
                )

    # ---- verbs

    def arrive(self, session: str, person: str = "", submission: str = "") -> Stage:
        """The page was opened, with the ids that a platform wrote into the link."""
        try:
            self.register.arrive(session, self.id, person[:MAX_ID], submission[:MAX_ID])
        except Refused as error:
            return Stage("end", told=str(error))
        return self.stage(session)

    def stage(self, session: str) -> Stage:
        """Where the session stands; nobody is made a participant by looking."""
        who = self.register.of_session(self.id, session)
        if who is None:
            return Stage("consent")
        if who.ended:
            code = self.study.codes.get(who.completion, "")
            return Stage("end", 1, 1, who.resume_code, code, self.study.url.replace("{code}", code) if code else "")
        said = self.register.answers(who.rater)
        if "instructions" not in said:
            return Stage("instructions", resume_code=who.resume_code)
        if self.study.profile in ("likes", "import") and "likes" not in said:
            likes = sum(signal.sign > 0 for _, signal in self.store.reactions(who.rater))
            brought = any(row["ended_at"] for row in self.store.imports(who.rater))
            if likes < self.study.likes or (self.study.profile == "import" and not brought):
                step: Step = "import" if self.study.profile == "import" else "likes"
                return Stage(step, likes, self.study.likes, who.resume_code)
        if (left := self._practice_left(who)) > 0:
            return Stage("practice", self.study.practice - left, self.study.practice, who.resume_code)
        outlook = self.scribe.outlook(who)
        if outlook.voted < outlook.of:
            return Stage("trials", outlook.voted, outlook.of, who.resume_code)
        if self.study.survey and "survey" not in said:
            return Stage("survey", resume_code=who.resume_code)
        self.register.end(who.rater, "completed")
        return self.stage(session)

    def consent(self, session: str, yes: bool, person: str = "", submission: str = "") -> Stage:
        """Yes takes part; no ends it, and keeps nothing but that there was one. A no after a yes leaves. Ids of a
        platform come from its link. Raises Refused for a second submission."""
        person, submission = person[:MAX_ID], submission[:MAX_ID]
        patience = timedelta(minutes=self.study.minutes)
        if not yes and not self.register.of_platform(self.id, person, submission):
            person = submission = ""
        who = self.register.join(session, self.id, person, submission, patience)
        if who.ended:
            return self.stage(session)
        if yes:
            self.register.answer(who.rater, {"consent": self.study.consent})
        elif "consent" in self.register.answers(who.rater):
            return self.leave(session)
        else:
            self.register.end(who.rater, "no_consent")
        return self.stage(session)

    def resume(self, session: str, code: str, person: str = "", submission: str = "") -> Stage:
        """Go on where another device stopped. Raises Refused."""
        self.register.resume(session, self.id, code, person[:MAX_ID], submission[:MAX_ID])
        return self.stage(session)

    def understood(self, session: str) -> Stage:
        """The instructions were read."""
        who = self._who(session)
        self.register.answer(who.rater, {"instructions": "read"})
        return self.stage(session)

    def look_into(self, session: str, path: Path) -> Preview:
        """What an export holds that a participant would bring. Raises Refused."""
        self._importing(session)
        return self.imports.preview(session, path, path.name)

    def bring(self, session: str, ticket: str) -> Stage:
        """Import it and read its texts; from then on the profile stands. Where it holds too few likes they are kept,
        the step says so, and another export adds to them. Raises Refused."""
        self._importing(session)
        for _ in self.imports.save(session, ticket, patience=IMPORT_PATIENCE):
            pass
        who = self._who(session)
        profile_of(self.store, who.rater)  # in this person's time, or everybody would wait for it later
        stage = self.stage(session)
        if stage.step != "import":
            return stage
        return replace(
            stage, told=f"That makes {stage.done} likes, and this study needs {stage.of}: bring another export too."
        )

    def _importing(self, session: str) -> None:
        if self.stage(session).step != "import":
            raise Refused("there is nothing to import now: reload the page")

    def show(self, session: str, patience: float = PATIENCE) -> Shown | None:
        """The text or pair to judge now, None while it is being written. Raises Refused where there is none."""
        who = self._who(session)
        step = self.stage(session).step
        if step == "likes":
            return self._card(session, who)
        if step == "practice":
            self.scribe.practise(who)
            rows = self.register.progress(who.study, who.rater)
            left = (rows[-n][0] for n in range(1, self.study.practice + 1) if not rows[-n][0]["voted"])
            trial: Row | None = next(left, None)  # none where another window has just judged the last
        elif step == "trials":
            trial = self._next_trial(who, patience)
        else:
            raise Refused("there is nothing to judge now: reload the page")
        if trial is None:
            return None
        if not trial["shown_at"]:
            self.store.show(trial["id"], session)
        elif trial["session"] != session:  # it lies on the table of another device of theirs
            self.register.hand_over(who, session)
        row = self.store.seen(trial["id"], session)
        if row is None:
            raise Refused("you go on elsewhere at this moment: reload the page")
        return Shown(row["id"], row["kind"], row["left_text"], row["right_text"] or "")

    def _next_trial(self, who: Participant, patience: float) -> Row | None:
        if not self.writer:
            while not (outlook := self.scribe.outlook(who)).upcoming and outlook.wanted:
                self.scribe.write(who)  # a void one is followed by another attempt, until the position is given up
            return outlook.upcoming
        deadline = time.monotonic() + patience
        while True:
            self.writer.here(who)
            outlook = self.scribe.outlook(who)
            if outlook.upcoming or outlook.voted == outlook.of or time.monotonic() > deadline:
                return outlook.upcoming
            self.writer.wait(0.5)

    def _card(self, session: str, who: Participant) -> Shown | None:
        row = self.store.open_trial(session, "card")
        if not row:
            cards = [item for item, _ in Sample()]
            random.Random(f"{self.id} cards {who.slot}").shuffle(cards)
            if (met := self.store.cards_shown(who.rater)) >= len(cards):
                self.register.answer(who.rater, {"likes": "no card left"})
                return None
            row = self.store.show_card(session, as_post(cards[met]), "")
        return Shown(row["id"], "card", row["left_text"], "") if row else None

    def vote(
        self,
        session: str,
        trial: str,
        choice: str,
        flags: Sequence[tuple[str, str]] = (),
        viewed_ms: int | None = None,
        hidden: bool = False,
    ) -> Stage:
        """Store the verdict. Raises Refused and stores nothing for anything but one's own trial, once.

        One that was faster than anybody reads is kept and does not count; so is one whose page was hidden meanwhile.
        """
        who = self._who(session)
        with self.store.db.atomic():
            there = self.store.seen(trial, session)
            if there and there["kind"] == "mark" and choice not in self._marks:
                raise Refused(f"{choice!r} is no choice here: use one of {', '.join(self._marks)}")
            if there and there["kind"] == "mark" and flags:
                raise Refused("of a mark nothing else is asked: nothing was stored")
            if there and not there["study"] and self.stage(session).step != "likes":
                raise Refused("what you like is settled by now: reload the page")
            row = self.store.vote(
                session, trial, choice, flags, kinds=get_args(Kind), viewed_ms=viewed_ms, hidden=hidden
            )
            if self._clocked and row["study"] and choice != "skip" and (reason := _not_read(row, viewed_ms, hidden)):
                self.register.void_after(trial, reason)
        stage = self.stage(session)
        if self.writer and stage.step in ("practice", "trials"):  # from here on the profile is frozen
            self.writer.here(who)
        return stage

    def survey(self, session: str, answers: Mapping[str, str]) -> Stage:
        """Keep the answers. Raises Refused while one that must be given is missing, or is none of its options."""
        who = self._who(session)
        if self.stage(session).step != "survey":
            raise Refused("there is nothing to hand in now: reload the page")
        kept = {}
        for question in self.study.survey:
            said = str(answers.get(question.id) or "").strip()[:2000]
            if question.required and not said:
                raise Refused(f"please answer: {question.text}")
            if said and question.options and said not in question.options:
                raise Refused(f"please choose one of the answers to: {question.text}")
            kept[f"survey:{question.id}"] = said
        self.register.answer(who.rater, kept | {"survey": "given"})
        return self.stage(session)

    def leave(self, session: str) -> Stage:
        """Stop here; what was judged counts, and the slot goes to somebody else."""
        who = self._who(session)
        self.register.note(who.study, who.rater, "left", {"voted": self.scribe.outlook(who).voted})
        self.register.end(who.rater, "left")
        return self.stage(session)

    def _who(self, session: str) -> Participant:
        who = self.register.of_session(self.id, session)
        if who is None:
            raise Refused("this page's session is not known here: reload the page")
        if who.ended:
            raise Refused("your session has ended: nothing was stored")
        return who

    def _practice_left(self, who: Participant) -> int:
        rows = self.register.progress(who.study, who.rater)
        done = sum(any(row["voted"] for row in rows.get(-n - 1, [])) for n in range(self.study.practice))
        return self.study.practice - done


def _not_read(row: Row, viewed_ms: int | None, hidden: bool) -> str:
    """Why this vote tells nothing, "" where it may. Of two clocks, the page's and ours, neither is trusted to add time,
    and a clock of ours that jumped back is left out."""
    text = f"{row['left_text']} {row['right_text'] or ''}"
    least = max(LEAST_SECONDS, len(words(text)) / FASTEST)
    ours = (datetime.now(UTC) - datetime.fromisoformat(row["shown_at"])).total_seconds()
    theirs = least if viewed_ms is None else viewed_ms / 1e3
    if 0 <= ours < least:
        return "too fast"
    return ("hidden" if hidden else "too fast") if theirs < least else ""
