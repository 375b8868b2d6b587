"""Writing what will be shown: the schedule's next pairs, all in one decode, each stored before anybody sees it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, fields

from collectors.item import clean_text
from engine.backbone import Backbone
from engine.decode import Generation, decode
from engine.methods import ARMS
from engine.methods.base import Ask, Method
from engine.profile import Profile
from engine.summary import whole_sentences
from studies.leaks import void_reason
from studies.schedule import Slot, ask_seed, schedule_id, slot
from studies.store import HUMAN, MAX_HUMAN, Candidate, Store, Trial, new_id

MAX_ATTEMPTS = 4  # a position that stays void that often is given up, so that nobody waits for ever


@dataclass(frozen=True, slots=True)
class Person:
    """Whom we write for, at this moment: the profile, which summary stands in it, and the schedule's seed."""

    profile: Profile
    summary: str | None
    seed: int


def lacking(store: Store, lm: Backbone, profile: Profile) -> dict[str, str]:
    """Arms that cannot run for this person now, and why, in words."""
    missing = {arm: why for arm, method in ARMS.items() if (why := method.lacks(lm, profile))}
    if not _humans(store, profile.user):
        missing[HUMAN] = "it needs posts by people that you have not seen: import a table with some rows unrated"
    return missing


def _humans(store: Store, rater: str, count: int = 1) -> list[Candidate]:
    items = store.unseen(rater, ("person",), limit=count, longest=MAX_HUMAN)
    return [Candidate(f"{HUMAN}/{item.id}", HUMAN, item.text, item_id=item.id) for item in items]


def title(arm: str) -> str:
    """What people are told an arm is, after the vote: its method, and the settings in which it differs."""
    if arm == HUMAN:
        return "a person wrote this"
    method: Method = ARMS[arm]
    told = [f"{f.name} {getattr(method, f.name)}" for f in fields(method) if getattr(method, f.name) != f.default]
    told = [text for text in told if "(" not in text]  # nested settings are the same for every arm of today
    return f"{method.title} ({', '.join(told)})" if told else method.title


def make_pairs(store: Store, lm: Backbone, person: Person, count: int) -> int:
    """Write the next `count` pairs of this person's schedule in one decode; returns how many may be shown.

    Waiting pairs of another schedule (an arm came or went since) are taken out first: nobody has seen them.
    """
    profile = person.profile
    missing = lacking(store, lm, profile)
    arms = [arm for arm in [*ARMS, HUMAN] if arm not in missing]
    schedule = schedule_id(person.seed, arms)
    for waiting in store.ready(profile.user, "pair"):
        if waiting["schedule"] != schedule:
            store.void(waiting["id"], "superseded")
    places = _next_places(store, profile.user, schedule, count)
    slots = {position: slot(person.seed, arms, position) for position, _ in places}
    humans = _humans(store, profile.user, count)
    if len(humans) < sum(HUMAN in (s.left, s.right) for s in slots.values()):  # the last posts run out in this batch
        places = places[:1]
    asks = {p: Ask(payload=slots[p].topic, seed=ask_seed(schedule, p, attempt)) for p, attempt in places}
    texts = _write(lm, profile, {position: (slots[position], ask) for position, ask in asks.items()})
    shown = 0
    for position, attempt in places:
        sides = [
            humans.pop() if arm == HUMAN else texts[position, arm]
            for arm in (slots[position].left, slots[position].right)
        ]
        reason = _void_reason(sides[0], sides[1], asks[position], profile)
        trial = Trial(
            id=new_id(),
            rater=profile.user,
            kind="pair",
            left=sides[0],
            right=sides[1],
            ask=asks[position],
            profile_digest=profile.digest,
            engine=lm.fingerprint,
            summary=person.summary,
            schedule=schedule,
            position=position,
            attempt=attempt,
            void_reason=reason,
        )
        store.write(trial, person.seed, arms)
        shown += reason is None
    return shown


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
    ask = Ask(payload=topic, seed=ask_seed(schedule_id(person.seed, feed), turn, 0))
    candidate = _write(lm, profile, {0: (Slot(arm, arm, topic), ask)})[0, arm]
    reason = _void_reason(candidate, None, ask, profile)
    store.write(
        Trial(
            id=new_id(),
            rater=profile.user,
            kind="card",
            left=candidate,
            right=None,
            ask=ask,
            profile_digest=profile.digest,
            engine=lm.fingerprint,
            summary=person.summary,
            void_reason=reason,
        )
    )
    return int(reason is None)


def _next_places(store: Store, rater: str, schedule: str, count: int) -> list[tuple[int, int]]:
    """The next (position, attempt) to fill: first holes that void pairs left, then new ones."""
    filled = store.filled(rater, schedule)
    holes = [(row["position"], row["attempts"]) for row in filled if not row["good"] and row["attempts"] < MAX_ATTEMPTS]
    first = filled[-1]["position"] + 1 if filled else 0
    return (holes + [(first + i, 0) for i in range(count)])[:count]


def _write(lm: Backbone, profile: Profile, wanted: Mapping[int, tuple[Slot, Ask]]) -> dict[tuple[int, str], Candidate]:
    """Decode both sides of every wanted slot in one batch; keys are (position, arm)."""
    keys = [(p, arm) for p, (s, _) in wanted.items() for arm in dict.fromkeys((s.left, s.right)) if arm != HUMAN]
    told = [(ARMS[arm].condition(lm, profile, {}, wanted[p][1]), wanted[p][1]) for p, arm in keys]
    started = time.perf_counter()
    generations = [texts[0] for texts in decode(lm, told)]
    seconds = time.perf_counter() - started
    return {
        key: Candidate(
            id=new_id(),
            arm=key[1],
            text=tidy(generation),
            evidence=conditioning.evidence,
            tokens=len(generation.token_ids),
            seconds=seconds,
            finish=generation.finish,
        )
        for key, (conditioning, _), generation in zip(keys, told, generations, strict=True)
    }


def tidy(generation: Generation) -> str:
    """The text as it is shown, the same treatment for every arm: clean, without quotes around it all, and
    without a last sentence that the budget cut off."""
    text = clean_text(generation.text)
    if generation.finish == "budget":
        text = whole_sentences(text)
    if len(text) > 1 and text[0] in '"\u201c' and text[-1] in '"\u201d' and text.count(text[0]) <= 2:
        text = text[1:-1].strip()
    return text


def _void_reason(left: Candidate, right: Candidate | None, ask: Ask, profile: Profile) -> str | None:
    for side in (left, right):
        if side and side.finish == "budget" and not side.text.endswith(tuple(".!?\u2026\"'\u201d\u2019)")):
            return "truncated"
    return void_reason(left.text, right.text if right else None, ask, profile)
