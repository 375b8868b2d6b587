"""Examples of a population: a target never sits in its own profile."""

import json
from collections import Counter
from dataclasses import replace

import pytest

from collectors.item import CollectError, Item, Signal, write_reactions
from engine.population import LEAST_LIKES, examples, people


@pytest.fixture(scope="module")
def crowd(tmp_path_factory):
    path = tmp_path_factory.mktemp("population") / "people.jsonl"
    texts = [f"The {animal} {verb} the {thing} today." for animal in ("goat", "pigeon", "badger")
             for verb in ("borrowed", "painted", "buried") for thing in ("ladder", "trumpet", "carpet")]  # fmt: skip

    def one(name: str, likes: list[int], dislikes: list[int]):
        rows = [(Item("made", str(i), "joke", texts[i]), Signal(f"made:{i}", 1)) for i in likes]
        rows += [(Item("made", str(i), "joke", texts[i]), Signal(f"made:{i}", -1)) for i in dislikes]
        return name, [*rows, (Item("made", "unseen", "joke", "Nobody rated this one."), None)]

    write_reactions(
        path, [one("ann", list(range(8)), [20]), one("bob", list(range(8, 16)), []), one("few", [1, 2], [3])]
    )
    return people(path)


def test_people_with_too_few_likes_are_left_out_and_unrated_items_too(crowd):
    assert [profile.user for profile in crowd] == ["ann", "bob"]
    assert all(len(profile.liked) >= LEAST_LIKES for profile in crowd)
    assert len(crowd[0].items) == 9
    assert crowd[0].vectors.shape == (9, 384)
    assert crowd[0].topics == ()


def test_a_target_is_a_like_that_its_profile_does_not_hold(crowd):
    made = examples(crowd, 5)
    assert len(made) == 10
    for example in made:
        whole = next(profile for profile in crowd if profile.user == example.profile.user)
        assert example.target in {item.text for item in whole.liked}
        assert example.target not in {item.text for item in example.profile.items}
        assert len(example.profile.items) == len(whole.items) - 1 == len(example.profile.vectors)
        assert (example.profile.vector == example.profile.vectors[: len(example.profile.liked)].mean(0)).all()
    assert len({(example.profile.user, example.target) for example in made}) == 10


def test_a_text_that_many_like_is_a_target_only_so_often(crowd):
    many = [replace(crowd[0], user=str(n)) for n in range(20)]
    count = Counter(example.target for example in examples(many, 2, most=3))
    assert len(count) == len({item.text for item in crowd[0].liked})
    assert set(count.values()) == {3}


def test_every_second_request_names_a_word_of_its_target(crowd):
    made = examples(crowd, 5)
    named = [example for example in made if example.ask.payload != "anything"]
    assert len(named) == 4  # the second and the fourth of each
    assert all(example.ask.payload in example.target.lower() for example in named)


def test_the_same_seed_gives_the_same_examples_whoever_else_is_there(crowd):
    def told(made):
        return [(example.profile.user, example.target) for example in made]

    assert told(examples(crowd, 3)) == told(examples(crowd, 3))
    assert told(examples(crowd[1:], 3)) == told(examples(crowd, 3))[3:]
    assert told(examples(crowd, 3, seed=1)) != told(examples(crowd, 3))


def test_a_file_that_is_none_is_a_sentence(tmp_path):
    (tmp_path / "broken.jsonl").write_text(json.dumps({"user": "a"}))
    with pytest.raises(CollectError, match="Line 1"):
        people(tmp_path / "broken.jsonl")
