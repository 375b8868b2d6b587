"""What a person wants to judge: kinds and topics, each a schedule of its own."""

from dataclasses import replace

import pytest

from engine.methods.base import Ask
from engine.profile import Profile
from studies.schedule import TOPICS
from studies.store import Refused
from studies.wish import ANYTHING, MAX_ABOUT, MINE, POOLS, POSTS, SCENES, Wish


@pytest.mark.parametrize("kind", POOLS)
def test_over_a_cycle_everything_of_the_pool_comes_once(kind: str, profile: Profile) -> None:
    wish, pool = Wish.of(kind, "", pictures=True), POOLS[kind]
    asked = [wish.payload(7, position, TOPICS[position % len(TOPICS)], profile) for position in range(len(pool))]
    assert sorted(asked) == sorted(pool)


def test_the_order_is_a_function_of_seed_and_position(profile: Profile) -> None:
    wish = Wish("caption")
    first = [wish.payload(7, position, "", profile) for position in range(30)]
    assert first == [wish.payload(7, position, "", profile) for position in range(30)]
    assert first != [wish.payload(8, position, "", profile) for position in range(30)]


def test_pools_hold_no_text_twice_and_none_that_is_long() -> None:
    for pool in (SCENES, POSTS):
        assert len(set(pool)) == len(pool) == 24
        assert max(map(len, pool)) <= MAX_ABOUT


def test_ones_own_topics_take_turns_and_without_any_the_neutral_one_stands(profile: Profile) -> None:
    assert Wish("joke", MINE).payload(0, 0, "cats", replace(profile, topics=())) == "cats"
    topics = [topic.label for topic in profile.topics if len(topic.examples) > 1]
    if topics:
        asked = {Wish("joke", MINE).payload(0, position, "cats", profile) for position in range(len(topics))}
        assert asked == set(topics)


def test_what_is_named_is_asked_for_and_is_one_short_line(profile: Profile) -> None:
    wish = Wish.of("reply", "my\nboss \u202e" + "x" * 500)
    assert len(wish.about) == MAX_ABOUT
    assert "\n" not in wish.about
    assert wish.payload(0, 5, "cats", profile) == wish.about


def test_another_wish_is_another_schedule_and_no_wish_is_the_one_of_old() -> None:
    assert ANYTHING.parts == () == Wish.of("joke", "").parts
    parts = [Wish.of(kind, about, pictures=True).parts for kind in POOLS for about in ("", MINE, "ducks")]
    assert len(set(parts)) == len(parts)


@pytest.mark.parametrize("kind", ["", "task", "JOKE", "sonnet", "None", "picture"])
def test_a_kind_that_is_none_is_refused(kind: str) -> None:
    with pytest.raises(Refused, match="no such kind"):
        Wish.of(kind, "")


@pytest.mark.parametrize("kind", POOLS)
def test_every_kind_is_put_in_words_with_what_it_is_about(kind: str) -> None:
    said = Ask(kind, "two snails").instruction()  # type: ignore[arg-type]
    assert kind in said
    assert "two snails" in said
