"""Which arms meet, on which sides, about what: a pure function of a seed and a position.

A block is all ordered pairs of A arms, A (A - 1) trials, in which every arm stands left exactly as often as
right. Within a block the pairs come in rounds in which no arm appears twice (the circle method), so that
somebody who stops early has still seen the arms about equally often.
"""

import hashlib
import json
import math
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final, Literal

# Neutral and the same for everybody: a topic taken from the profile would personalise the floor as well.
TOPICS = (
    "cats", "the dentist", "Monday mornings", "a job interview", "online meetings", "cooking for one", "the gym",
    "a first date", "airports", "assembling furniture", "the weather", "a broken printer", "houseplants", "neighbors",
    "a family dinner", "passwords", "coffee", "a road trip", "learning to dance", "the supermarket", "babysitting",
    "a haircut", "moving house", "birthday parties", "the dog next door", "a camping trip", "being late",
    "a school reunion", "self-checkout machines", "sleeping badly", "a visit to the museum", "smart homes",
    "a diet", "wedding speeches", "the bus", "homework", "pigeons", "a lost sock", "group chats", "the moon",
)  # fmt: skip

HUMAN, SALAD = "human", "salad"  # arms of posts by people, and of such posts with their words shuffled
PICTURE: Final = "picture"  # the kind of an ask that is painted: its votes are never counted with those on texts
Kind = Literal["pair", "card", "mark"]
Purpose = Literal["main", "practice", "repeat", "same", "salad"]


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


@dataclass(frozen=True, slots=True)
class Design:
    """Who meets whom in a study, the same for all its raters: with a slot number it gives everything one of them sees.

    A block of pairs is all ordered pairs of `arms`, A (A - 1); of single texts (card, mark) every arm once. `blocks` is
    how many of each kind, one number for all kinds or one for each in their order. At least one in `repeat_every` is
    shown again later, a pair with its sides swapped; `same` pairs hold one text twice, `salad` trials a post by a
    person whose words are shuffled, beside that post or alone.
    """

    seed: int
    arms: tuple[str, ...]
    kinds: tuple[Kind, ...] = ("pair",)
    blocks: int | tuple[int, ...] = 1
    repeat_every: int = 10
    same: int = 1
    salad: int = 1
    interleaved: bool = False
    topics: tuple[str, ...] = TOPICS

    @property
    def id(self) -> str:
        return _digest(self.seed, json.dumps(asdict(self) | {"arms": sorted(self.arms)}, sort_keys=True))[:16]


@dataclass(frozen=True, slots=True)
class Step:
    """One trial of a design. `right` is "" for a single text; `of` is the position that a repeat shows again."""

    kind: Kind
    left: str
    right: str
    topic: str
    purpose: Purpose = "main"
    of: int = -1

    @property
    def shows_post(self) -> bool:
        """Whether a post by a person is needed for it, as it is or shuffled."""
        return not {HUMAN, SALAD}.isdisjoint((self.left, self.right))


def steps(design: Design, slot: int) -> list[Step]:
    """All trials of the rater in `slot` (0, 1, ...), in their order: pure, the same on any machine."""
    parts = [_part(design, kind, slot) for kind in design.kinds]
    if design.interleaved:
        order = sorted((((i + 0.5) / len(part), k, i) for k, part in enumerate(parts) for i in range(len(part))))
        flat = [(k, i) for _, k, i in order]
    else:
        flat = [(k, i) for k, part in enumerate(parts) for i in range(len(part))]
    place = {key: position for position, key in enumerate(flat)}
    # The n-th main trial is about the same topic for all rows of the Williams squares, which put every arm there
    # equally often: so arms and topics are crossed as well. Then the topics are shuffled anew.
    topics = list(design.topics)
    _random(design.seed, *sorted(design.arms), f"topics {slot // _rows(design.arms)}").shuffle(topics)
    fresh = [(k, i) for k, part in enumerate(parts) for i, trial in enumerate(part) if trial[3] < 0]
    fresh.sort(key=lambda at: parts[at[0]][at[1]][2] != "main")  # catch trials take what comes after them
    about = {at: topics[n % len(topics)] for n, at in enumerate(fresh)}
    found: list[Step] = []
    for k, i in flat:
        left, right, purpose, of = parts[k][i]
        topic = about[k, i if of < 0 else of]
        found.append(Step(design.kinds[k], left, right, topic, purpose, place[k, of] if of >= 0 else -1))
    return found


def texts_needed(design: Design) -> int:
    """How many texts an arm must have about a topic, so that no rater meets one twice outside of repeats."""
    return math.ceil(sum(step.of < 0 for step in steps(design, 0)) / len(design.topics))


def posts_needed(design: Design) -> int:
    """How many posts by people a rater meets at most, none of them twice outside of repeats."""
    planned = steps(design, 0)
    certain = sum(step.shows_post for step in planned if step.of < 0 and step.purpose != "same")
    return certain + (design.same * ("pair" in design.kinds) if HUMAN in design.arms else 0)


def person_of(design: Design, slot: int, count: int) -> int:
    """Which of `count` assigned people the rater in `slot` stands for: each once in `count` slots, in an order of its
    own each time, so that nobody is tied to one order of the arms."""
    cycle, turn = divmod(slot, count)
    return _shuffled(count, design.seed, f"people {cycle}")[turn]


def _part(design: Design, kind: Kind, slot: int) -> list[tuple[str, str, Purpose, int]]:
    """(left, right, purpose, of) of one kind; `of` counts within the part."""
    arms = sorted(design.arms)
    rng = _random(design.seed, *arms, f"{kind} slot {slot}")
    main: list[tuple[str, str]] = []
    often = design.blocks if isinstance(design.blocks, int) else design.blocks[design.kinds.index(kind)]
    for block in range(often):
        if kind == "pair":
            main += _block(rng, arms)
        else:
            main += [(arm, "") for arm in _row(design, kind, slot, block)]
    part: list[tuple[str, str, Purpose, int]] = [(left, right, "main", -1) for left, right in main]
    catches: tuple[tuple[Purpose, int], ...] = (
        ("same", design.same if kind == "pair" else 0),
        ("salad", design.salad),
    )
    for purpose, count in catches:
        for _ in range(count):
            arm, first = arms[rng.randrange(len(arms))], rng.random() < 0.5
            if purpose == "same":
                sides = (arm, arm)
            elif kind == "pair":
                sides = (HUMAN, SALAD) if first else (SALAD, HUMAN)
            else:
                sides = (SALAD, "")
            part.insert(rng.randrange(len(part) // 3, len(part) + 1), (*sides, purpose, -1))
    plain = [i for i, (_, _, purpose, _) in enumerate(part) if purpose == "main"]
    wanted = math.ceil(len(plain) / design.repeat_every)
    half = plain[: max(wanted, len(plain) // 2)]
    for of in rng.sample(half, wanted):  # of the first half, again in the last third: nothing before it moves
        left, right, _, _ = part[of]
        again: tuple[str, str] = (right, left) if kind == "pair" else (left, right)
        part.insert(rng.randrange(max(half[-1] + 1, 2 * len(part) // 3), len(part) + 1), (*again, "repeat", of))
    return part


def _row(design: Design, kind: Kind, slot: int, block: int) -> list[str]:
    """The order of arms in a block of single texts: over as many slots as there are rows, each row once in each block,
    so that in each place of a slot every arm stands equally often, and after every other one."""
    arms = sorted(design.arms)
    cycle, turn = divmod(slot, _rows(arms))
    names = list(arms)
    _random(design.seed, *arms, "williams").shuffle(names)
    rows = _shuffled(_rows(arms), design.seed, *arms, f"{kind} rows {block} {cycle}")
    return [names[i] for i in _williams(len(names), rows[turn])]


def _rows(arms: Sequence[str]) -> int:
    return len(arms) * (1 + len(arms) % 2)


def _williams(n: int, row: int) -> list[int]:
    """A row of a Williams design (Aust. J. Sci. Res. 2, 1949): one square for an even number of arms, two for odd."""
    zigzag = [0] + [(i + 1) // 2 if i % 2 else n - i // 2 for i in range(1, n)]
    order = [(place + row) % n for place in zigzag]
    return order[::-1] if row >= n else order


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


def _shuffled(count: int, seed: int, *parts: str) -> list[int]:
    order = list(range(count))
    _random(seed, *parts).shuffle(order)
    return order


def _random(seed: int, *parts: str) -> random.Random:
    return random.Random(int(_digest(seed, *parts), 16))


def _digest(seed: int | str, *parts: str) -> str:
    return hashlib.sha256("|".join([str(seed), *parts]).encode()).hexdigest()
