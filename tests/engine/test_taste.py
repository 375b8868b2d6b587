"""One taste: scorers against their definition, and a spread of texts against its formula, literally."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.item import Item, Signal
from engine.encoder import encode
from engine.methods.base import Ask
from engine.methods.topics import Topics
from engine.profile import Profile, build
from engine.recommend.taste import DISLIKES, LIKES, by_topic, nearness, spread, topics
from engine.topics import leaders, unrelated

CATS = ("My cat wakes me at five for breakfast.", "The cat has knocked my cup off the table again.")
OFFICE = ("The meeting was about having fewer meetings.", "My manager scheduled a meeting to plan the meeting.")
TAX = ("I did my tax return and owe them an apology.", "The tax office sent a birthday card with a deadline.")


def person(*liked: str, disliked: Sequence[str] = ()) -> Profile:
    texts = [*liked, *disliked]
    items = [Item("made", str(n), "joke", text) for n, text in enumerate(texts)]
    return build("a", [(item, Signal(item.id, 1 if n < len(liked) else -1)) for n, item in enumerate(items)])


def unit(dice: np.random.Generator, rows: int, width: int = 6) -> np.ndarray:
    vectors = dice.normal(size=(rows, width)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


# ---- scorers


@pytest.mark.parametrize("scorer", [nearness, by_topic])
def test_what_is_like_a_like_comes_first_and_what_is_like_a_dislike_last(scorer):
    profile = person(*CATS, disliked=TAX)
    texts = ["A cat sleeps on my keyboard.", "A goat stands on the roof.", "The tax return is due again."]
    assert np.argsort(-scorer(profile, encode(texts))).tolist() == [0, 1, 2]


@pytest.mark.parametrize("scorer", [nearness, by_topic])
@pytest.mark.parametrize("profile", [Profile("new"), person(disliked=TAX)], ids=["nobody yet", "dislikes alone"])
def test_who_likes_nothing_finds_all_texts_alike(scorer, profile):
    assert scorer(profile, encode([*CATS, *TAX])).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("scorer", [nearness, by_topic])
def test_no_text_has_no_score(scorer):
    assert scorer(person(*CATS), encode([])).shape == (0,)


def test_nearness_is_the_mean_cosine_to_the_likes_less_that_to_the_dislikes():
    profile, texts = person(*CATS, *OFFICE, disliked=TAX), encode(["A cat came to the meeting.", "A goat."])
    expected = [
        np.mean([text @ like for like in encode([*CATS, *OFFICE])]) - np.mean([text @ other for other in encode(TAX)])
        for text in texts
    ]
    assert nearness(profile, texts) == pytest.approx(expected, abs=1e-6)


def test_by_topic_is_the_nearest_topic_of_the_likes_less_the_nearest_of_the_dislikes():
    profile, texts = person(*CATS, *OFFICE, disliked=TAX), encode(["A cat came to the meeting.", "A goat.", *TAX])
    liked, disliked = (leaders(encode(list(some)), unrelated()) for some in ((*CATS, *OFFICE), TAX))
    assert len(liked) > 1
    expected = [
        max(float(text @ topic.centre) for topic in liked) - max(float(text @ topic.centre) for topic in disliked)
        for text in texts
    ]
    assert by_topic(profile, texts) == pytest.approx(expected, abs=1e-6)


def test_of_two_tastes_each_is_near_by_topic_whatever_the_other_is():
    """The mean of both is what a second taste takes a text away from."""
    text = encode(["The cat has opened the fridge."])
    one, two = person(*CATS), person(*CATS, *OFFICE)
    assert by_topic(two, text) == pytest.approx(by_topic(one, text))
    assert nearness(two, text)[0] < nearness(one, text)[0] - 0.1


def test_the_topics_that_score_are_those_that_become_soft_tokens(tiny):
    profile, method = person(*CATS, *OFFICE, disliked=TAX), Topics()
    state = method.born(tiny, profile.vectors) | {"threshold": torch.tensor(unrelated())}
    told = method.condition(tiny, profile, state, Ask())
    (rows, likes), (_, dislikes) = topics(profile, 1, LIKES, unrelated()), topics(profile, -1, DISLIKES, unrelated())
    assert told.evidence == tuple(profile.items[row].id for row in rows)
    assert told.prefix is not None
    assert len(told.prefix) == len(likes) + len(dislikes)


def test_no_more_topics_are_taken_than_are_asked_for_the_largest_first():
    profile = person(CATS[0], *OFFICE)
    rows, vectors = topics(profile, 1, 1, unrelated())
    assert vectors.shape == (1, profile.vectors.shape[1])
    assert profile.items[rows[0]].text in OFFICE
    assert topics(profile, -1, 1, unrelated())[0] == []


# ---- spread


def slowly(scores: np.ndarray, vectors: np.ndarray, k: int, weight: float, beside: np.ndarray) -> list[int]:
    """Maximal marginal relevance as it is written, every cosine anew in every step."""
    picked: list[int] = []
    while len(picked) < min(k, len(scores)):
        worth = {}
        for n in range(len(scores)):
            if n not in picked:
                before = [*beside, *(vectors[other] for other in picked)]
                like = max([0.0, *(float(vectors[n] @ other) for other in before)])
                worth[n] = weight * float(scores[n]) - (1 - weight) * like
        picked.append(max(worth, key=lambda n: worth[n]))
    return picked


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(0, 25),
    k=st.integers(0, 30),
    weight=st.sampled_from([0.0, 0.3, 0.8, 1.0]),
    before=st.integers(0, 3),
    seed=st.integers(0, 999),
)
def test_the_quick_way_is_the_formula(n: int, k: int, weight: float, before: int, seed: int) -> None:
    dice = np.random.default_rng(seed)
    vectors, beside = unit(dice, n), unit(dice, before)
    scores = dice.normal(size=n).astype(np.float32)
    found = spread(scores, vectors, k, weight, beside)
    if weight:  # else the first of all is as good as any
        assert found == slowly(scores, vectors, k, weight, beside)
    assert len(set(found)) == len(found) == min(k, n)


def test_with_all_the_weight_on_the_score_it_is_the_order_of_scores():
    scores = np.array([0.1, 0.5, 0.3], np.float32)
    assert spread(scores, np.ones((3, 1), np.float32), 3, 1.0) == [1, 2, 0]


def test_a_joke_told_twice_waits_until_others_have_been_told():
    east, north = np.eye(2, dtype=np.float32)
    vectors = np.stack([east, east, north])
    scores = np.array([0.9, 0.8, 0.5], np.float32)
    assert spread(scores, vectors, 3, 0.5) == [0, 2, 1]
    assert spread(scores, vectors, 1, 0.5, east[None]) == [2]


def test_what_is_given_stays_as_it_was():
    scores, vectors = np.array([0.1, 0.5], np.float32), np.eye(2, dtype=np.float32)
    spread(scores, vectors, 2, 0.5)
    assert scores.tolist() == pytest.approx([0.1, 0.5])
