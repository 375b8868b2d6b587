"""The schedule: balanced by construction, and the same wherever and whenever it is asked."""

import os
import subprocess
import sys
from collections import Counter
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import studies.schedule
from studies.schedule import TOPICS, Slot, ask_seed, schedule_id, slot

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
