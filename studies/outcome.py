"""What came of a person's votes so far: who is ahead, whether that is enough to go by, and what each way costs."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from engine.pictures import TOPIC
from studies.agreement import Interval, repeatability
from studies.pairs import FLOOR
from studies.ratings import Ballot, Rate, Standing, rates, standings
from studies.schedule import HUMAN
from studies.sequential import ENOUGH, evidence

YOURS, WITHOUT = "with your profile", "without"
UNKNOWING = (*FLOOR, TOPIC)  # arms that nothing is told of the person, of texts and of pictures
ALONE = np.zeros(1)  # of one person alone is asked what that person's taste is: their votes are independent looks at it
FEW = 8  # decided votes, below which nobody can say how many more it takes


@dataclass(frozen=True, slots=True)
class Meter:
    """How far the votes have come between `a` and everything that was written without a profile: evidence of ENOUGH is
    enough, whenever one looks. `more` is about how many decided votes are missing, None where nothing can be said."""

    a: str
    wins: int
    losses: int
    evidence: float
    low: float
    high: float
    verdict: str
    more: int | None


@dataclass(frozen=True, slots=True)
class Cost:
    """What a text of an arm takes: tokens, and seconds of the decode that wrote it with others; medians of `texts`."""

    texts: int
    tokens: float
    seconds: float


@dataclass(frozen=True, slots=True)
class About:
    """Decided votes between a text with the profile and one without, about one thing."""

    kind: str
    topic: str
    won: int
    lost: int


@dataclass(frozen=True, slots=True)
class Outcome:
    votes: int
    standings: tuple[Standing, ...]
    rates: tuple[Rate, ...]
    costs: dict[str, Cost]
    meters: tuple[Meter, ...]  # of all ways that know the person together first, then each by itself
    same: Interval | None  # how often the person chose the same again
    about: tuple[About, ...]  # the most judged first


def outcome(ballots: Sequence[Ballot], again: Sequence[Ballot] = (), costs: dict[str, Cost] | None = None) -> Outcome:
    """Of one or many people's votes; `again` are those on pairs that were shown once more with the sides swapped."""
    ranked = standings(ballots)
    personal = [standing.arm for standing in ranked if standing.arm not in (*UNKNOWING, HUMAN)]
    raters = {ballot.rater for ballot in ballots}
    groups = [(YOURS, set(personal)), *((arm, {arm}) for arm in personal)] if len(personal) > 1 else []
    groups = groups or [(arm, {arm}) for arm in personal]
    return Outcome(
        votes=sum(ballot.choice != "skip" for ballot in ballots),
        standings=tuple(ranked),
        rates=tuple(rates(ballots)),
        costs=costs or {},
        meters=tuple(_meter(name, _against_floor(ballots, arms), len(raters) == 1) for name, arms in groups),
        same=repeatability(ballots, again).same,
        about=tuple(_about(ballots, set(personal))),
    )


def _against_floor(ballots: Sequence[Ballot], arms: set[str]) -> list[Ballot]:
    """The votes between one of `arms` and the floor, the sides named YOURS and WITHOUT."""
    named = {**dict.fromkeys(arms, YOURS), **dict.fromkeys(UNKNOWING, WITHOUT)}
    met = [ballot for ballot in ballots if {named.get(ballot.left), named.get(ballot.right)} == {YOURS, WITHOUT}]
    return [replace(ballot, left=named[ballot.left], right=named[ballot.right]) for ballot in met]


def _meter(name: str, met: Sequence[Ballot], alone: bool) -> Meter:
    found = evidence(met, YOURS, WITHOUT, alike=ALONE) if alone else evidence(met, YOURS, WITHOUT)
    e, decided = found.e_values[-1] if found.e_values else 1.0, found.wins + found.losses
    more = None
    if found.verdict == "not yet" and decided >= FEW and e > 1.2:  # evidence grows about evenly, in logarithms
        more = max(1, math.ceil(decided * (math.log(ENOUGH) / math.log(e) - 1)))
    return Meter(name, found.wins, found.losses, e, found.low, found.high, found.verdict, more)


def _about(ballots: Sequence[Ballot], personal: set[str]) -> list[About]:
    won: Counter[tuple[str, str]] = Counter()
    lost: Counter[tuple[str, str]] = Counter()
    for ballot in _against_floor(ballots, personal):
        if ballot.choice in ("left", "right") and ballot.topic:
            chosen = ballot.left if ballot.choice == "left" else ballot.right
            (won if chosen == YOURS else lost)[ballot.kind, ballot.topic] += 1
    keys = sorted({*won, *lost}, key=lambda key: (-won[key] - lost[key], key))
    return [About(*key, won[key], lost[key]) for key in keys]
