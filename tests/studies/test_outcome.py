"""What came of the votes: the meter, repeats, costs, topics."""

import random

import pytest

from engine.methods import ARMS
from studies.outcome import YOURS, Outcome, outcome
from studies.pairs import FLOOR
from studies.ratings import Ballot
from studies.schedule import HUMAN

KNOWS = [arm for arm in ARMS if arm not in FLOOR][:2]


def votes(count: int, share: float, arm: str = KNOWS[0], seed: int = 0, raters: int = 1) -> list[Ballot]:
    """`count` decided votes of which `arm` wins about `share` against the floor, on either side."""
    rng, found = random.Random(seed), []
    for n in range(count):
        left = rng.random() < 0.5
        wins = rng.random() < share
        sides = (arm, FLOOR[0]) if left else (FLOOR[0], arm)
        choice = "left" if wins == left else "right"
        found.append(Ballot(f"r{n % raters}", *sides, choice, trial=f"t{n}", kind="joke", topic=f"topic {n % 3}"))  # type: ignore[arg-type]
    return found


def test_nothing_is_said_of_nothing() -> None:
    told = outcome([])
    assert told == Outcome(0, (), (), {}, (), None, ())


def test_a_clear_taste_is_enough_after_some_dozens_and_chance_is_not() -> None:
    (clear,) = outcome(votes(60, 0.85)).meters
    assert clear.verdict == "enough"
    assert clear.evidence >= 20
    assert clear.low > 0.5
    chance = [outcome(votes(60, 0.5, seed=seed)).meters[0].verdict for seed in range(40)]
    assert sum(verdict == "enough" for verdict in chance) <= 4, "a false alarm in twenty, whenever one looks"


def test_it_says_about_how_many_votes_are_missing() -> None:
    assert outcome(votes(5, 1.0)).meters[0].more is None, "too few to say"
    told = outcome(votes(16, 0.8, seed=3)).meters[0]
    assert told.verdict == "not yet"
    assert told.more
    assert 1 <= told.more < 200


def test_for_one_person_their_votes_are_enough_and_for_all_one_person_never_is() -> None:
    one = votes(80, 0.9)
    assert outcome(one).meters[0].verdict == "enough"
    stranger = [Ballot("somebody else", KNOWS[0], FLOOR[0], "left")]
    assert outcome([*one, *stranger]).meters[0].verdict == "not yet"
    many = votes(200, 0.8, raters=20)
    assert outcome(many).meters[0].verdict == "enough"


def test_two_ways_are_met_together_and_each_by_itself() -> None:
    told = outcome([*votes(20, 0.9), *votes(20, 0.2, KNOWS[1], seed=1)])
    assert [meter.a for meter in told.meters] == [YOURS, *[s.arm for s in told.standings if s.arm in KNOWS]]
    assert told.meters[0].wins == sum(meter.wins for meter in told.meters[1:])


def test_people_and_pairs_without_the_floor_move_no_meter() -> None:
    told = outcome([Ballot("r", KNOWS[0], HUMAN, "left"), Ballot("r", KNOWS[0], KNOWS[1], "left")])
    assert all(meter.wins + meter.losses == 0 for meter in told.meters)


def test_repeats_are_told_apart_from_what_counts() -> None:
    first = votes(4, 1.0)
    again = [
        Ballot("r0", ballot.right, ballot.left, "right" if ballot.choice == "left" else "left", repeats=ballot.trial)
        for ballot in first[:3]
    ]
    again.append(Ballot("r0", first[3].right, first[3].left, first[3].choice, repeats=first[3].trial))
    told = outcome(first, again)
    assert told.votes == 4
    assert told.same
    assert told.same.value == pytest.approx(0.75), "three of four times the same text, one time the same side"


def test_topics_are_counted_where_they_are_told() -> None:
    told = outcome([*votes(30, 0.8), Ballot("r0", KNOWS[0], FLOOR[0], "left")])
    assert {row.topic for row in told.about} == {"topic 0", "topic 1", "topic 2"}
    assert sum(row.won + row.lost for row in told.about) == 30
