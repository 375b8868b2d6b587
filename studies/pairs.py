"""Writing what will be shown: the schedule's next pairs, all in one decode, each stored before anybody sees it."""

import itertools
import json
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from collectors.item import clean_text
from engine import learning
from engine.backbone import Backbone
from engine.decode import Generation, decode
from engine.methods import ARMS, arm_id
from engine.methods.base import PRESETS, USUAL, Ask, Method
from engine.methods.history import History
from engine.methods.retrieval import Retrieval
from engine.methods.summary import Summary
from engine.pictures import TITLES
from engine.profile import Profile
from engine.summary import whole_sentences
from studies.database import Row
from studies.device import by_model
from studies.leaks import void_reason
from studies.schedule import HUMAN, PICTURE, Kind, Slot, ask_seed, schedule_id, slot
from studies.store import MAX_HUMAN, Candidate, Store, Trial, new_id
from studies.wish import ANYTHING, Wish

FLOOR = tuple(arm for arm, method in ARMS.items() if method.name == "none")  # without it a win says nothing
# Six ways to begin with: of twenty, each would be met too rarely in an evening to say anything.
OPENING = (*FLOOR, *(arm_id(method) for method in (History(), Retrieval(), Summary())))
LEFT_OUT = "it takes part once you choose it on the Train page"
QUOTES = '"\u201c\u201d'
HUMAN_SEARCH = 5_000  # unseen posts that are looked through
HUMAN_CHOICE = 50  # unseen posts among which the next is drawn
SUPERSEDED = "superseded"  # why a pair was never shown: it was written for another schedule, model or sampler
SAMPLER = ("temperature", "top_p", "top_k", "repetition_penalty", "max_new_tokens")
MAX_ATTEMPTS = 4  # a position that stays void that often is given up, so that nobody waits for ever


@dataclass(frozen=True, slots=True)
class Person:
    """Whom we write for, at this moment: the profile, which summary stands in it, the schedule's seed, what they want
    to judge, and the sampler."""

    profile: Profile
    summary: str | None
    seed: int
    wish: Wish = ANYTHING
    preset: str = USUAL  # the sampler's name

    def schedule(self, arms: Sequence[str]) -> str:
        """The name of the schedule that holds while these arms take part; each sampler has its own, so that the arms
        are balanced under each."""
        sampler = [] if self.preset == USUAL or self.wish.pictures else [f"preset {self.preset}"]
        return schedule_id(self.seed, [*arms, *self.wish.parts, *sampler])

    def about(self, position: int, topic: str) -> str:
        """What the pair at `position` is about, where the schedule says `topic`."""
        return self.wish.payload(self.seed, position, topic, self.profile)

    def trial(
        self,
        kind: Kind,
        left: Candidate,
        right: Candidate | None,
        ask: Ask,
        engine: str,
        void_reason: str | None,
        schedule: str | None = None,
        position: int | None = None,
        attempt: int = 0,
    ) -> Trial:
        """What `engine` made for this person, as it is written down."""
        return Trial(
            id=new_id(),
            rater=self.profile.user,
            kind=kind,
            left=left,
            right=right,
            ask=ask,
            profile_digest=self.profile.digest,
            engine=engine,
            summary=self.summary,
            schedule=schedule,
            position=position,
            attempt=attempt,
            void_reason=void_reason,
        )


def selected(store: Store, rater: str) -> set[str]:
    """The arms that this person lets take part: the opening until they chose, the floor always."""
    chosen = store.selected(rater)
    return {*FLOOR, *(OPENING if chosen is None else chosen)}


def lacking(store: Store, lm: Backbone, profile: Profile, chosen: Collection[str] | None = None) -> dict[str, str]:
    """Arms that cannot run for this person now, and why, in words. `chosen` take part: those that the person chose."""
    folder = store.db.folder
    chosen = selected(store, profile.user) if chosen is None else chosen
    missing = {arm: LEFT_OUT for arm in ARMS if arm not in chosen}
    missing |= {arm: why for arm, method in ARMS.items() if (why := learning.missing(lm, method, folder, profile))}
    if not _humans(store, profile, also_waiting=True):
        missing[HUMAN] = "it needs posts by people that you have not seen: import a table with some rows unrated"
    return missing


def arms_for(store: Store, lm: Backbone, person: Person) -> list[str]:
    """The arms that can run for this person now. People's posts are about anything: they meet no text about something
    that was asked for. Pictures have arms of their own."""
    if person.wish.pictures:
        return list(TITLES)
    missing = lacking(store, lm, person.profile)
    humans = [] if person.wish.parts else [HUMAN]
    return [arm for arm in [*ARMS, *humans] if arm not in missing]


def ready_pairs(store: Store, lm: Backbone, person: Person) -> int:
    """How many pairs of the schedule that holds now wait to be shown."""
    schedule = person.schedule(arms_for(store, lm, person))
    return sum(waiting["schedule"] == schedule for waiting in store.ready(person.profile.user, "pair"))


def waiting_for(store: Store, rater: str, wish: Wish) -> list[Row]:
    """Pairs that may be shown next: whoever wants pictures is shown none of the texts that are ready, and the other way
    round."""
    return [row for row in store.ready(rater, "pair") if painted(row) == wish.pictures]


def painted(trial: Row) -> bool:
    """Whether a trial shows pictures."""
    return bool(json.loads(trial["ask"])["kind"] == PICTURE)


def supersede(store: Store, rater: str, engine: str, preset: str, paints: str = "") -> int:
    """Take out what waits to be shown and was written by another model or with another sampler: nobody has seen it. So
    are pictures that another image model than `paints` painted. Returns how many were taken out."""
    sampler, out = asdict(PRESETS[preset]), 0
    for kind in ("pair", "card"):
        for waiting in store.ready(rater, kind):
            ask, made = json.loads(waiting["ask"]), waiting["engine"]
            stale = made != engine or any(ask[name] != sampler[name] for name in SAMPLER)
            if made != paints if painted(waiting) else stale:
                store.void(waiting["id"], SUPERSEDED)
                out += 1
    return out


def _humans(store: Store, profile: Profile, *, also_waiting: bool = False) -> list[Candidate]:
    """Posts by people that may be shown: unseen, and breaking no rule by themselves."""
    items = store.unseen(profile.user, "pair", HUMAN_SEARCH, MAX_HUMAN, also_waiting=also_waiting)
    nobody = Profile(profile.user)  # whether it quotes a like is asked once, of the pair
    fit = (item for item in items if void_reason(item.text, None, Ask(), nobody) is None)
    chosen = itertools.islice(fit, HUMAN_CHOICE)
    return [Candidate(f"{HUMAN}/{item.id}", HUMAN, item.text, item_id=item.id) for item in chosen]


def title(arm: str) -> str:
    """What people are told an arm is, after the vote: its method, and the settings in which it differs."""
    if arm == HUMAN:
        return "a person wrote this"
    if arm in TITLES:
        return TITLES[arm]
    method = ARMS.get(arm)
    if method is None:
        return f"{arm}, a setting of an earlier version"
    usual = type(method)()
    other = {f: getattr(method, f.name) for f in fields(method) if getattr(method, f.name) != getattr(usual, f.name)}
    told = [
        value.title
        if isinstance(value, Method)
        else field.metadata.get(value, field.name if value is True else f"{field.name} {value}")
        for field, value in other.items()
    ]
    return f"{method.title} ({', '.join(told)})" if told else method.title


def make_pairs(store: Store, lm: Backbone, person: Person, count: int) -> int:
    """Write the next `count` pairs of this person's schedule in one decode; returns how many may be shown.

    Then waiting pairs of another schedule (an arm came or went since) are taken out: nobody has seen them.
    """
    profile = person.profile
    arms = arms_for(store, lm, person)
    schedule = person.schedule(arms)
    humans = _humans(store, profile)
    slots, attempts = next_slots(store, person, schedule, arms, count, len(humans))
    sampler = replace(PRESETS[person.preset], kind=person.wish.kind)
    asks = {
        p: replace(sampler, payload=person.about(p, slots[p].topic), seed=ask_seed(schedule, p, attempts[p]))
        for p in slots
    }
    wanted = {position: (slots[position], ask) for position, ask in asks.items()}
    texts = by_model(write_texts, lm, store.db.folder, profile, wanted)
    shown = 0
    for position in slots:
        drawn = asks[position].seed % max(1, len(humans))  # another attempt, another post
        sides = [
            humans.pop(drawn) if arm == HUMAN else texts[position, arm]
            for arm in (slots[position].left, slots[position].right)
        ]
        reason = void_reason_of(sides[0], sides[1], asks[position], profile)
        place = schedule, position, attempts[position]
        trial = person.trial("pair", sides[0], sides[1], asks[position], lm.fingerprint, reason, *place)
        store.write(trial, person.seed, arms)
        shown += reason is None
    if shown:
        retire(store, profile.user, schedule)
    return shown


def retire(store: Store, rater: str, schedule: str) -> None:
    """Take out waiting pairs of other schedules than this: nobody has seen them."""
    for waiting in store.ready(rater, "pair"):
        if waiting["schedule"] != schedule:
            store.void(waiting["id"], SUPERSEDED)


def make_card(store: Store, lm: Backbone, person: Person, turn: int) -> int:
    """Write one generated text for the feed, by the arms in turn; returns how many may be shown, 0 or 1.

    Its reaction will teach and never count.
    """
    profile = person.profile
    missing = lacking(store, lm, profile)
    arms = sorted(arm for arm in ARMS if arm not in missing)
    arm = arms[turn % len(arms)]
    feed = ("feed", profile.digest)  # other likes, other topics: a restart does not write the same cards again
    topic = slot(person.seed, feed, turn).topic
    ask = replace(PRESETS[person.preset], payload=topic, seed=ask_seed(schedule_id(person.seed, feed), turn, 0))
    wanted = {0: (Slot(arm, arm, topic), ask)}
    candidate = by_model(write_texts, lm, store.db.folder, profile, wanted)[0, arm]
    reason = void_reason_of(candidate, None, ask, profile)
    store.write(person.trial("card", candidate, None, ask, lm.fingerprint, reason))
    return int(reason is None)


def next_slots(
    store: Store, person: Person, schedule: str, arms: list[str], count: int, humans: int
) -> tuple[dict[int, Slot], dict[int, int]]:
    """The next `count` slots to fill, by position, and how often each was tried: first holes that void pairs left.

    A slot that needs a post by a person is passed over while all `humans` that are left wait in other pairs.
    """
    filled = {row["position"]: row for row in store.filled(person.profile.user, schedule)}
    slots: dict[int, Slot] = {}
    attempts: dict[int, int] = {}
    for position in itertools.count():
        row = filled.get(position, {"attempts": 0, "good": 0, "superseded": 0})
        tried = row["attempts"]
        if row["good"] or tried - row["superseded"] >= MAX_ATTEMPTS:
            continue
        there = slot(person.seed, arms, position)
        needed = HUMAN in (there.left, there.right)
        if needed and not humans:
            continue
        humans -= needed
        slots[position], attempts[position] = there, tried
        if len(slots) == count:
            break
    return slots, attempts


def write_texts(
    lm: Backbone, folder: Path, profile: Profile, wanted: Mapping[int, tuple[Slot, Ask]]
) -> dict[tuple[int, str], Candidate]:
    """Decode both sides of every wanted slot in one batch; keys are (position, arm). What was learned lies in `folder`.

    A task of `studies.device`: nothing is written.
    """
    keys = [(p, arm) for p, (s, _) in wanted.items() for arm in dict.fromkeys((s.left, s.right)) if arm != HUMAN]
    told = []
    for position, arm in keys:
        ask = wanted[position][1]
        told.append((learning.conditioned(lm, ARMS[arm], folder, profile, ask), ask))
    started = time.perf_counter()
    generations = [texts[0] for texts in decode(lm, told)]
    seconds = time.perf_counter() - started
    return {
        key: Candidate(
            id=new_id(),
            arm=key[1],
            text=tidy(generation),
            evidence=conditioning.evidence,
            tokens=generation.tokens,
            seconds=seconds,
            finish=generation.finish,
            state=learning.state_name(lm, ARMS[key[1]], folder, profile.user),
        )
        for key, (conditioning, _), generation in zip(keys, told, generations, strict=True)
    }


def tidy(generation: Generation) -> str:
    """The text as it is shown, the same treatment for every arm: clean, without quotes around it all, and
    without a last sentence that the budget cut off."""
    text = clean_text(generation.text)
    if generation.finish == "budget":
        text = whole_sentences(text)
    if len(text) > 1 and text[0] in QUOTES and text[-1] in QUOTES and not any(mark in text[1:-1] for mark in QUOTES):
        text = text[1:-1].strip()
    return text


def void_reason_of(left: Candidate, right: Candidate | None, ask: Ask, profile: Profile) -> str | None:
    for side in (left, right):
        if side and side.finish == "budget" and not side.text.endswith(tuple(".!?\u2026\"'\u201d\u2019)")):
            return "truncated"
    return void_reason(left.text, right.text if right else None, ask, profile)
