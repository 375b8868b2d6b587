"""The schedule: balanced by construction, and the same wherever and whenever it is asked."""

import hashlib
import math
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import groupby, pairwise, permutations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency

import studies.schedule
from studies.schedule import (
    HUMAN,
    SALAD,
    TOPICS,
    Design,
    Slot,
    ask_seed,
    person_of,
    posts_needed,
    schedule_id,
    slot,
    steps,
    texts_needed,
)

ROOT = Path(studies.schedule.__file__).parents[1]
ARMS = ["none-1", "history-2", "retrieval-3", "summary-4", "human", "lora-5", "e2p-6", "cope-7"]


def block(seed: int, arms: list[str], number: int) -> list[tuple[str, str]]:
    size = len(arms) * (len(arms) - 1)
    slots = [slot(seed, arms, position) for position in range(number * size, (number + 1) * size)]
    return [(place.left, place.right) for place in slots]


def test_another_process_with_another_hash_seed_gets_the_same_slots() -> None:
    asked = (
        "from studies.schedule import slot, schedule_id, ask_seed\n"
        f"arms = {ARMS[:5]!r}\n"
        "print([slot(7, arms, n) for n in range(60)], schedule_id(7, arms), ask_seed('s', 3, 1))"
    )
    told = [f"{[slot(7, ARMS[:5], n) for n in range(60)]} {schedule_id(7, ARMS[:5])} {ask_seed('s', 3, 1)}\n"]
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        run = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, env=environment, cwd=ROOT)
        told.append(run.stdout)
    assert told[1] == told[0]
    assert told[2] == told[0]


def test_the_schedule_is_what_it_was_when_it_was_written_down() -> None:
    """A stored schedule is named by its seed and arms alone: what they mean may not change under it."""
    assert schedule_id(0, ["a", "b"]) == "f0680f754b76a64f"
    assert [slot(0, ["a", "b", "c"], n) for n in range(3)] == [
        Slot("c", "b", "the bus"),
        Slot("b", "a", "a diet"),
        Slot("a", "c", "a family dinner"),
    ]
    assert slot(12345, ["a", "b", "c", "d"], 1000) == Slot("b", "d", "a school reunion")
    places = ((0, 0), (1, 0), (0, 1), (10, 0), (1, 1))
    assert [ask_seed("abc", *place) for place in places] == [
        74510351486721,
        212695142626451,
        213837570518333,
        60655056345528,
        208058633730391,
    ]
    assert ask_seed(schedule_id(7, ["x", "y", "z"]), 3, 2) == 61320440684202


@pytest.mark.parametrize("count", range(2, 9))
@pytest.mark.parametrize("seed", [0, 1, 99])
def test_in_every_block_each_ordered_pair_comes_once(seed: int, count: int) -> None:
    arms = ARMS[:count]
    for number in range(4):
        pairs = block(seed, arms, number)
        assert Counter(pairs) == Counter(permutations(arms, 2))
        assert Counter(left for left, _ in pairs) == dict.fromkeys(arms, count - 1)  # left exactly half of the time


@pytest.mark.parametrize("count", range(2, 9))
def test_who_stops_early_has_seen_the_arms_about_equally_often(count: int) -> None:
    arms = ARMS[:count]
    for seed in range(30):
        pairs = block(seed, arms, seed % 3)
        first = [arm for pair in pairs[: count // 2] for arm in pair]
        assert len(set(first)) == len(first)
        unordered = [frozenset(pair) for pair in pairs[: len(pairs) // 2]]
        assert len(set(unordered)) == len(unordered)  # nobody meets again before all have met
        for stop in range(1, len(pairs) + 1):
            seen = Counter(arm for pair in pairs[:stop] for arm in pair)
            assert max(seen.values()) - min(seen[arm] for arm in arms) <= 2


def test_sides_and_orders_differ_from_block_to_block_and_seed_to_seed() -> None:
    arms = ARMS[:4]
    assert len({tuple(block(0, arms, number)) for number in range(20)}) == 20
    assert len({tuple(block(seed, arms, 0)) for seed in range(20)}) == 20
    tossed = Counter(block(seed, ["a", "b"], 0)[0] for seed in range(200))
    assert min(tossed[pair] for pair in (("a", "b"), ("b", "a"))) > 70  # 200 fair tosses stay above with p > .99999


@given(st.permutations(ARMS[:6]), st.integers(0, 2**40), st.integers(0, 10_000))
def test_the_order_in_which_arms_are_named_does_not_matter(arms: list[str], seed: int, position: int) -> None:
    before = list(arms)
    assert slot(seed, arms, position) == slot(seed, ARMS[:6], position)
    assert schedule_id(seed, arms) == schedule_id(seed, ARMS[:6])
    assert arms == before


def test_another_seed_or_another_arm_is_another_schedule() -> None:
    ids = {schedule_id(seed, ARMS[:count]) for seed in range(50) for count in range(2, 9)}
    assert len(ids) == 50 * 7
    topics = [[slot(seed, ARMS[:count], n).topic for n in range(10)] for seed, count in ((0, 4), (1, 4), (0, 5))]
    assert topics[0] != topics[1]
    assert topics[0] != topics[2]


@pytest.mark.parametrize("arms", [ARMS[:2], ARMS[:7]])
def test_each_cycle_has_every_topic_once(arms: list[str]) -> None:
    assert len(set(TOPICS)) == len(TOPICS)
    cycles = []
    for cycle in range(5):
        topics = [slot(3, arms, cycle * len(TOPICS) + n).topic for n in range(len(TOPICS))]
        assert sorted(topics) == sorted(TOPICS)
        cycles.append(tuple(topics))
    assert len(set(cycles)) == 5


def test_topics_do_not_hang_on_the_arms_of_a_slot() -> None:
    """With a block as long as a divisor of the topics, an arm could meet the same topics for ever."""
    arms = ARMS[:5]  # 20 trials a block, 40 topics
    met = {(place.left, place.topic) for n in range(4_000) for place in [slot(0, arms, n)]}
    assert len(met) == len(arms) * len(TOPICS)


def test_ask_seeds_do_not_collide() -> None:
    seeds = [ask_seed(name, n, attempt) for name in ("s", "t") for n in range(1_250) for attempt in range(4)]
    assert len(set(seeds)) == len(seeds) == 10_000
    assert all(0 <= seed < 2**48 for seed in seeds)
    assert max(seeds) > 2**47


@pytest.mark.parametrize("arms", [[], ["alone"]])
def test_fewer_than_two_arms_are_no_comparison(arms: list[str]) -> None:
    with pytest.raises(ValueError, match="at least two arms"):
        slot(0, arms, 0)


# ---- studies

FIVE = ("e2p", "history", "human", "none", "summary")


@pytest.mark.parametrize("arms", [FIVE, FIVE[:2], FIVE[:4]])
@pytest.mark.parametrize("slot", [0, 1, 17])
def test_a_slot_of_pairs_is_whole_blocks_and_a_tenth_of_it_again_with_sides_swapped(arms, slot):
    design = Design(3, arms, blocks=3, same=1, salad=2)
    found = steps(design, slot)
    main = [step for step in found if step.purpose == "main"]
    assert Counter((step.left, step.right) for step in main) == dict.fromkeys(permutations(arms, 2), 3)
    again = [(n, step) for n, step in enumerate(found) if step.purpose == "repeat"]
    assert len(again) == math.ceil(len(main) / 10)
    for n, step in again:
        first = found[step.of]
        assert (first.purpose, first.left, first.right, first.topic) == ("main", step.right, step.left, step.topic)
        assert step.of < n
    assert len({step.of for _, step in again}) == len(again)
    assert [step.left == step.right for step in found if step.purpose == "same"] == [True]
    assert [{step.left, step.right} for step in found if step.purpose == "salad"] == [{HUMAN, SALAD}] * 2
    assert len(found) == len(main) + len(again) + 3


def test_a_repeat_comes_long_after_its_first_time():
    lags = [n - s.of for slot in range(50) for n, s in enumerate(steps(Design(1, FIVE), slot)) if s.of >= 0]
    assert min(lags) >= 3
    assert sum(lags) / len(lags) > 8


@pytest.mark.parametrize("count", [2, 3, 4, 5, 8])
@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_arms_and_topics_of_single_texts_are_crossed(count, blocks):
    """An arm that met easier topics would look better than it is."""
    arms = tuple(f"arm {n}" for n in range(count))
    design = Design(1, arms, kinds=("card", "mark"), blocks=blocks, interleaved=True)
    rows = count * (1 + count % 2)
    for cycle in range(3):
        met = Counter(
            (step.left, step.topic)
            for slot in range(cycle * rows, (cycle + 1) * rows)
            for step in steps(design, slot)
            if step.purpose == "main"
        )
        of_topic = {topic: {met[arm, topic] for arm in arms} for topic in TOPICS}
        assert all(len(counts) == 1 for counts in of_topic.values()), "each topic by every arm, equally often"
    assert {step.topic for slot in range(40 * rows) for step in steps(design, slot)} == set(TOPICS)


def test_arms_and_topics_of_pairs_hang_together_no_more_than_by_chance():
    design = Design(1, FIVE[:4])
    met = Counter(
        (arm, step.topic)
        for slot in range(400)
        for step in steps(design, slot)
        if step.purpose == "main"
        for arm in (step.left, step.right)
    )
    table = [[met[arm, topic] for topic in TOPICS] for arm in design.arms]
    assert chi2_contingency(table).pvalue > 0.05


def test_no_topic_comes_more_often_in_a_slot_than_there_are_texts_of_an_arm_about_it():
    two = Design(2, FIVE[:2], ("pair", "mark"), topics=("a", "b"))
    for design in (Design(1, FIVE), Design(1, FIVE, blocks=3), two):
        most = [max(Counter(step.topic for step in steps(design, slot) if step.of < 0).values()) for slot in range(30)]
        assert set(most) == {texts_needed(design)}


def test_there_are_posts_for_every_slot_and_not_many_too_many():
    for design in (
        Design(1, FIVE),
        Design(1, FIVE, same=2),
        Design(2, FIVE, ("card", "pair")),
        Design(1, FIVE[:2], salad=3),
    ):
        counts = [sum(step.shows_post for step in steps(design, slot) if step.of < 0) for slot in range(200)]
        assert max(counts) == posts_needed(design)


@pytest.mark.parametrize("count", [2, 3, 4, 7])
def test_assigned_people_come_equally_often_and_are_not_tied_to_an_order(count):
    design = Design(3, FIVE[:4], kinds=("mark",))
    people = [person_of(design, slot, count) for slot in range(count * 40)]
    assert Counter(people) == dict.fromkeys(range(count), 40)
    orders = {(who, steps(design, slot)[0].left) for slot, who in enumerate(people)}
    assert len(orders) == count * 4, "each person meets each arm first"


def test_each_kind_may_have_blocks_of_its_own():
    found = steps(Design(1, FIVE[:3], kinds=("pair", "mark"), blocks=(2, 5), same=0, salad=0), 3)
    assert Counter(step.kind for step in found if step.purpose == "main") == {"pair": 12, "mark": 15}


@pytest.mark.parametrize("arms", [FIVE, FIVE[:4]])
def test_single_texts_are_balanced_over_places_and_over_what_came_before(arms):
    design = Design(2, arms, kinds=("card",), same=0, salad=0, repeat_every=1000)
    rows = [[step.left for step in steps(design, slot) if step.purpose == "main"] for slot in range(2 * len(arms))]
    assert all(sorted(row) == sorted(arms) for row in rows)
    places = Counter((n, arm) for row in rows for n, arm in enumerate(row))
    before = Counter(pair for row in rows for pair in pairwise(row))
    assert set(places.values()) == {2}
    assert len(set(before.values())) == 1
    assert len(before) == len(arms) * (len(arms) - 1)


def test_kinds_follow_each_other_or_interleave_and_repeats_stay_with_theirs():
    one = Design(5, FIVE, kinds=("pair", "card", "mark"), blocks=2)
    assert [kind for kind, _ in groupby(step.kind for step in steps(one, 4))] == ["pair", "card", "mark"]
    mixed = steps(replace(one, interleaved=True), 4)
    assert Counter(step.kind for step in mixed) == Counter(step.kind for step in steps(one, 4))
    assert len(list(groupby(step.kind for step in mixed))) > 20
    for step in mixed:
        assert step.of < 0 or (mixed[step.of].kind, mixed[step.of].topic) == (step.kind, step.topic)


def test_a_design_is_the_same_on_any_machine_and_its_name_hangs_on_everything_in_it():
    one = Design(7, FIVE)
    assert steps(one, 2) == steps(Design(7, FIVE[::-1]), 2)  # as a set of arms
    assert steps(one, 2) != steps(one, 3)
    assert hashlib.sha256(repr(steps(one, 2)).encode()).hexdigest()[:16] == "8eeef023992b49e1"
    others = [replace(one, seed=8), replace(one, blocks=2), replace(one, kinds=("card",)), replace(one, topics=("a",))]
    assert len({design.id for design in [one, *others]}) == 5
