"""Trials of a study, written before they are shown: from the texts of the pool, or live by the thread here."""

import json
import logging
import platform
import random
import threading
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from collectors.detect import open_source
from collectors.item import CollectError, Item
from collectors.sample import Sample
from engine.backbone import Backbone
from engine.methods.base import Ask
from engine.profile import Profile, build
from engine.summary import MIN_LIKES, summarize
from studies.database import Row, StoreError
from studies.device import by_model
from studies.pairs import MAX_ATTEMPTS, void_reason_of, write_texts
from studies.register import Participant, Register
from studies.schedule import HUMAN, SALAD, Slot, Step, ask_seed, person_of, posts_needed, steps, texts_needed
from studies.store import MAX_HUMAN, Candidate, Store, Trial, new_id
from studies.studyfile import Study, StudyError

AHEAD = 2  # positions that are written before they are asked for
TOLD_EVERY = 60.0  # seconds between two events of one rater that say that nothing can be written
MOST = 5_000  # latest reactions that make a profile: who brings a hundred thousand may not keep all others waiting
PRACTICE_SEED = 0
PROJECT = Path(__file__).parents[1] / "pyproject.toml"
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Person:
    """Whom a participant's texts are for: frozen once their trials begin."""

    profile: Profile
    summary: str | None


@dataclass(frozen=True, slots=True)
class Outlook:
    """Trials voted on, of how many; the one that comes next, if it is written; positions that have to be written."""

    voted: int
    of: int
    upcoming: Row | None
    wanted: tuple[int, ...]


class Scribe:
    """Writes the trials of participants. Methods may be called from any thread; one writes at a time."""

    def __init__(self, store: Store, study: Study, humans: Sequence[Item], people: Mapping[str, Profile]) -> None:
        self.store, self.study, self.register = store, study, Register(store)
        self.humans, self.people = tuple(humans), people
        self._frozen: dict[str, Person] = {}
        self._steps: dict[int, list[Step]] = {}
        self._gone: dict[str, set[int]] = {}
        self._lock, self._practising = threading.Lock(), threading.Lock()

    def steps(self, slot: int) -> list[Step]:
        if slot not in self._steps:
            self._steps[slot] = steps(self.study.design, slot)
        return self._steps[slot]

    def person(self, who: Participant, lm: Backbone | None = None) -> Person:
        """The participant's frozen profile; with a model its summary is written, once."""
        if self.study.profile == "assigned":
            names = sorted(self.people)
            return Person(self.people[names[person_of(self.study.design, who.slot, len(names))]], None)
        if self.study.profile == "none":
            return Person(Profile(who.rater), None)
        if who.rater not in self._frozen:
            self._frozen[who.rater] = Person(profile_of(self.store, who.rater), None)
        person = self._frozen[who.rater]
        if person.summary is None and (row := self.store.latest_summary(who.rater)):
            person = Person(replace(person.profile, summary=row["text"]), row["id"])
        elif person.summary is None and lm and len(person.profile.liked) >= MIN_LIKES:
            text = by_model(summarize, lm, person.profile)
            self.store.save_summary(who.rater, text, person.profile.digest, len(person.profile.signals), lm.fingerprint)
            return self.person(who)
        self._frozen[who.rater] = person
        return person

    def practise(self, who: Participant) -> None:
        """Write the practice trials: posts of the sample, the same for everybody."""
        with self._practising:
            done = self.register.progress(who.study, who.rater)
            posts = [item for item, _ in Sample()]
            random.Random(PRACTICE_SEED).shuffle(posts)
            kind = self.study.design.kinds[0]
            for n in range(self.study.practice):
                if -n - 1 in done:
                    continue
                left, right = (Candidate(new_id(), "sample", item.text) for item in posts[2 * n : 2 * n + 2])
                self.store.write(
                    Trial(
                        id=new_id(),
                        rater=who.rater,
                        kind=kind,
                        left=left,
                        right=right if kind == "pair" else None,
                        ask=Ask(),
                        profile_digest="",
                        engine="",
                        position=-n - 1,
                        study=who.study,
                        purpose="practice",
                    )
                )

    def outlook(self, who: Participant) -> Outlook:
        """How far this participant is, and what comes next."""
        done = self.register.progress(who.study, who.rater)
        gone = self._gone_of(who)
        voted, of = 0, 0
        ready: list[Row] = []
        wanted: list[int] = []
        for position, step in enumerate(self.steps(who.slot)):
            rows = done.get(position, [])
            good = [row for row in rows if row["void_reason"] is None or row["voted"]]
            if not good and step.of in gone:
                gone.add(position)
            if position in gone:
                continue
            of += 1
            if any(row["voted"] for row in good):
                voted += 1
            elif len(ready) + len(wanted) < AHEAD:
                if good:
                    ready.append(good[-1])
                elif step.of < 0 or any(row["voted"] for row in done.get(step.of, [])):
                    wanted.append(position)  # a repeat waits until what it repeats was seen
        upcoming = ready[0] if ready and (not wanted or ready[0]["position"] < wanted[0]) else None
        return Outlook(voted, of, upcoming, tuple(wanted))

    def _gone_of(self, who: Participant) -> set[int]:
        """Positions that were given up: there was no text."""
        if who.rater not in self._gone:
            told = (row for row in self.register.events(who.study) if row["rater"] == who.rater)
            self._gone[who.rater] = {json.loads(row["told"])["position"] for row in told if row["kind"] == "given up"}
        return self._gone[who.rater]

    def write(self, who: Participant, lm: Backbone | None = None) -> int:
        """Write what is wanted, live with a model, else from the pool; returns how many trials may be shown."""
        with self._lock:
            positions = self.outlook(who).wanted
            if not positions:
                return 0
            person = self.person(who, lm)
            done = self.register.progress(who.study, who.rater)
            attempts = {position: len(done.get(position, [])) for position in positions}
            asks = {p: self._ask(who, p, attempts[p]) for p in positions}
            texts = self._texts(who, person, asks, attempts, lm)
            shown = 0
            for position in positions:
                shown += self._write_one(who, person, position, attempts[position], asks[position], texts, done, lm)
            return shown

    def _ask(self, who: Participant, position: int, attempt: int) -> Ask:
        seed = ask_seed(f"{self.study.design.id}/{who.slot}", position, attempt)
        return Ask(payload=self.steps(who.slot)[position].topic, seed=seed)

    def _texts(
        self,
        who: Participant,
        person: Person,
        asks: Mapping[int, Ask],
        attempts: Mapping[int, int],
        lm: Backbone | None,
    ) -> dict[tuple[int, str], Candidate]:
        """The generated texts of these positions, by (position, arm)."""
        arms = {
            position: [arm for arm in dict.fromkeys((step.left, step.right)) if arm not in ("", HUMAN, SALAD)]
            for position in asks
            if (step := self.steps(who.slot)[position]).of < 0
        }
        if lm:
            wanted = {
                position: (Slot(ways[0], ways[-1], asks[position].payload), asks[position])
                for position, ways in arms.items()
                if ways
            }
            return by_model(write_texts, lm, self.store.db.folder, person.profile, wanted) if wanted else {}
        pool = self.register.pooled(who.study, self._pool_of(who))
        found = {}
        for position, ways in arms.items():
            for arm in ways:
                number = self._nth(who.slot, position, arm) + attempts[position] * texts_needed(self.study.design)
                if candidate := pool.get((arm, asks[position].payload, number)):
                    found[position, arm] = self.register.candidate(candidate)
        return found

    def _pool_of(self, who: Participant) -> str:
        """For whom the texts of the pool were written: a name of `people`, or "" for nobody."""
        return self.person(who).profile.user if self.study.profile == "assigned" else ""

    def _nth(self, slot: int, position: int, arm: str) -> int:
        """How often this arm wrote about this topic before in this slot: its texts are not shown twice."""
        before = self.steps(slot)[:position]
        topic = self.steps(slot)[position].topic
        return sum(step.topic == topic and arm in (step.left, step.right) for step in before if step.of < 0)

    def _write_one(
        self,
        who: Participant,
        person: Person,
        position: int,
        attempt: int,
        ask: Ask,
        texts: Mapping[tuple[int, str], Candidate],
        done: Mapping[int, list[Row]],
        lm: Backbone | None,
    ) -> bool:
        step = self.steps(who.slot)[position]
        [first] = [row for row in done[step.of] if row["voted"]] if step.of >= 0 else [None]
        sides = self._again(first) if first else self._new(who.slot, position, attempt, texts)
        if sides is None:
            self._give_up(who, position)
            return False
        left, right = sides
        reason = void_reason_of(left, right, ask, person.profile) if step.purpose == "main" else None
        other = right.text if right else None
        if step.purpose == "main" and not reason and self.register.met(who.rater, left.text, other):
            reason = "seen before"
        self.store.write(
            Trial(
                id=new_id(),
                rater=who.rater,
                kind=step.kind,
                left=left,
                right=right,
                ask=ask,
                profile_digest=person.profile.digest,
                engine=lm.fingerprint if lm else "pool",
                summary=person.summary,
                position=position,
                attempt=attempt,
                void_reason=reason,
                study=who.study,
                purpose=step.purpose,
                repeats=first["id"] if first else None,
            )
        )
        if reason:
            self.register.note(who.study, who.rater, "replaced", {"position": position, "reason": reason})
            if attempt + 1 >= MAX_ATTEMPTS:
                self._give_up(who, position)
        return reason is None

    def _give_up(self, who: Participant, position: int) -> None:
        step = self.steps(who.slot)[position]
        self._gone_of(who).add(position)
        told = {"position": position, "arms": [step.left, step.right]}
        self.register.note(who.study, who.rater, "given up", told)

    def _again(self, first: Row) -> tuple[Candidate, Candidate | None]:
        """The texts of an earlier trial, with the sides swapped."""
        left = self.register.candidate(first["left_id"])
        return (self.register.candidate(first["right_id"]), left) if first["right_id"] else (left, None)

    def _new(
        self, slot: int, position: int, attempt: int, texts: Mapping[tuple[int, str], Candidate]
    ) -> tuple[Candidate, Candidate | None] | None:
        """The texts of a step, None where one is missing."""
        step = self.steps(slot)[position]
        post = self._post(slot, position, attempt)
        left = self._side(step.left, position, texts, post)
        right = self._side(step.right, position, texts, post) if step.right else None
        return (left, right) if left and bool(right) == bool(step.right) else None

    def _side(
        self, arm: str, position: int, texts: Mapping[tuple[int, str], Candidate], post: Item | None
    ) -> Candidate | None:
        if arm == HUMAN:
            return Candidate(f"{HUMAN}/{post.id}", HUMAN, post.text, item_id=post.id) if post else None
        if arm == SALAD:
            return Candidate(f"{SALAD}/{post.id}", SALAD, salad(post.text)) if post else None
        return texts.get((position, arm))

    def _post(self, slot: int, position: int, attempt: int) -> Item | None:
        """The next post by a person of this slot's own shuffle; a slot meets none twice."""
        order = list(self.humans)
        random.Random(f"{self.study.design.id} posts {slot}").shuffle(order)
        fresh = [step.of < 0 and step.shows_post for step in self.steps(slot)]
        n = sum(fresh[:position]) + attempt * sum(fresh)
        return order[n] if n < len(order) else None


def posts_of(study: Study) -> list[Item]:
    """The posts by people that a study's file names, those that are short enough. Raises StudyError where they cannot
    be read or a rater would meet one twice."""
    if not study.posts:
        return []
    try:
        items = [item for item, _ in open_source(study.posts) if 0 < len(item.text) <= MAX_HUMAN]
    except CollectError as error:
        raise StudyError(f"the posts by people cannot be read: {error}") from error
    if len(items) < (needed := posts_needed(study.design)):
        raise StudyError(
            f"{study.posts} has {len(items)} posts of at most {MAX_HUMAN} characters: a rater meets {needed}, "
            "and none twice"
        )
    return items


def made_with(lm: Backbone | None) -> dict[str, object]:
    """What texts are written with, for whoever has to report it: versions, machine and model."""
    told: dict[str, object] = {"palate": tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["version"]}
    told |= {"python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
    told |= {name: version(name) for name in ("torch", "transformers")}
    if lm:
        told |= lm.facts()
    return told


def profile_of(store: Store, rater: str) -> Profile:
    """What somebody liked and disliked so far, the latest of it; verdicts of studies are never in it."""
    said = [(item, signal) for item, signal in store.reactions(rater) if signal.sign]
    return build(rater, said[-MOST:], store.edits(rater), encode=store.vectors)


def salad(text: str) -> str:
    """The same words, shuffled."""
    words = text.split()
    random.Random(text).shuffle(words)
    return " ".join(words)


class Writer(threading.Thread):
    """Keeps trials ready for everybody who is there, where texts are written live."""

    def __init__(self, scribe: Scribe, lm: Backbone) -> None:
        super().__init__(name="study-writer", daemon=True)
        self.scribe, self.lm = scribe, lm
        self._there: dict[str, tuple[Participant, float]] = {}
        self._told: dict[str, float] = {}
        self._wanted, self._written, self._closing = threading.Event(), threading.Condition(), threading.Event()

    def here(self, who: Participant) -> None:
        """This participant is at their trials: write for them."""
        self._there[who.rater] = (who, time.monotonic())
        self._wanted.set()

    def wait(self, seconds: float) -> None:
        with self._written:
            self._written.wait(seconds)

    def close(self) -> None:
        self._closing.set()
        self._wanted.set()
        if self.is_alive():
            self.join()

    def run(self) -> None:
        while self._wanted.wait() and not self._closing.is_set():
            self._wanted.clear()
            for who in self._by_need():
                if self._closing.is_set():
                    return
                try:
                    while self.scribe.outlook(who).wanted:
                        self.scribe.write(who, self.lm)  # void ones are tried again, until they are given up
                except Exception as error:  # whatever a model or disk throws, the others go on
                    self._tell(who, error)
                with self._written:
                    self._written.notify_all()

    def _tell(self, who: Participant, error: Exception) -> None:
        """Log why nothing can be written, once in a while: the page asks again and again."""
        if time.monotonic() - self._told.get(who.rater, -TOLD_EVERY) < TOLD_EVERY:
            return
        self._told[who.rater] = time.monotonic()
        log.error("the texts of a participant could not be written", exc_info=error)
        told = {"why": f"{type(error).__name__}: {error}"[:200]}
        with suppress(StoreError):
            self.scribe.register.note(who.study, who.rater, "generation failed", told)

    def _by_need(self) -> Iterator[Participant]:
        """Everybody seen in the last minutes, who waits longest first."""
        since = time.monotonic() - 60 * self.scribe.study.minutes
        there = sorted(self._there.values(), key=lambda seen: seen[1])
        for who, at in there:
            if at >= since:
                yield who
            else:
                self._there.pop(who.rater, None)
