"""Which arms meet, on which sides, about what: a pure function of a seed and a position.

A block is all ordered pairs of A arms, A (A - 1) trials, in which every arm stands left exactly as often as
right. Within a block the pairs come in rounds in which no arm appears twice (the circle method), so that
somebody who stops early has still seen the arms about equally often.
"""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass

# Neutral and the same for everybody: a topic taken from the profile would personalise the floor as well.
TOPICS = (
    "cats", "the dentist", "Monday mornings", "a job interview", "online meetings", "cooking for one", "the gym",
    "a first date", "airports", "assembling furniture", "the weather", "a broken printer", "houseplants", "neighbors",
    "a family dinner", "passwords", "coffee", "a road trip", "learning to dance", "the supermarket", "babysitting",
    "a haircut", "moving house", "birthday parties", "the dog next door", "a camping trip", "being late",
    "a school reunion", "self-checkout machines", "sleeping badly", "a visit to the museum", "smart homes",
    "a diet", "wedding speeches", "the bus", "homework", "pigeons", "a lost sock", "group chats", "the moon",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Slot:
    left: str
    right: str
    topic: str


def slot(seed: int, arms: Sequence[str], position: int) -> Slot:
    """The pair at `position` (0, 1, ...) of the schedule that `seed` and the set of `arms` (at least 2) define."""
    arms = sorted(arms)
    if len(arms) < 2:
        raise ValueError("a comparison needs at least two arms")
    block, place = divmod(position, len(arms) * (len(arms) - 1))
    left, right = _block(_random(seed, *arms, f"block {block}"), arms)[place]
    cycle, turn = divmod(position, len(TOPICS))
    topics = list(TOPICS)
    _random(seed, *arms, f"topics {cycle}").shuffle(topics)  # other arms, other topics: no text comes twice
    return Slot(left, right, topics[turn])


def schedule_id(seed: int, arms: Sequence[str]) -> str:
    """The name of a schedule: the same seed and arms, the same schedule on any machine."""
    return _digest(seed, *sorted(arms))[:16]


def ask_seed(schedule: str, position: int, attempt: int) -> int:
    """The sampling seed of both sides of a trial, 48 bits."""
    return int(_digest(schedule, f"ask {position} {attempt}")[:12], 16)


def _block(rng: random.Random, arms: list[str]) -> list[tuple[str, str]]:
    """All ordered pairs: every unordered pair once with sides tossed, then once more with the sides swapped."""
    order: list[str | None] = [*arms]
    rng.shuffle(order)
    if len(order) % 2:
        order.append(None)  # whoever meets None sits the round out
    rounds: list[list[tuple[str, str]]] = []
    for _ in range(len(order) - 1):
        facing = [(order[i], order[-1 - i]) for i in range(len(order) // 2)]
        rounds.append([(a, b) for a, b in facing if a is not None and b is not None])
        order = [order[0], order[-1], *order[1:-1]]
    first = [[(a, b) if rng.random() < 0.5 else (b, a) for a, b in pairs] for pairs in rounds]
    second = [[(b, a) for a, b in pairs] for pairs in first]
    block: list[tuple[str, str]] = []
    for half in (first, second):
        rng.shuffle(half)
        for pairs in half:
            rng.shuffle(pairs)
            block += pairs
    return block


def _random(seed: int, *parts: str) -> random.Random:
    return random.Random(int(_digest(seed, *parts), 16))


def _digest(seed: int | str, *parts: str) -> str:
    return hashlib.sha256("|".join([str(seed), *parts]).encode()).hexdigest()
