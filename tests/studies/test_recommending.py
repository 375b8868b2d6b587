"""The Recommend tab: the best that nobody saw by each scorer, and why; never what is kept for pairs."""

from pathlib import Path

import numpy as np
import pytest

from collectors.item import Item, Signal
from engine.backbone import Backbone
from engine.recommend import scorers
from engine.recommend.scorer import Floats, Texts
from studies import recommending
from studies.recommending import BY_MODEL, OFFLINE, SHOWN_AT_ONCE, Ranked
from studies.session import Studio
from studies.store import ME, Refused, Store
from tests.studies.test_judge import CATS, CODE

IMPORTED = [Item("test", f"{n}", "joke", f"{(CATS, CODE)[n % 2][n // 2 % 4]} Number {n}.", "cats") for n in range(60)]


@pytest.fixture
def studio(tmp_path: Path, tiny: Backbone, monkeypatch: pytest.MonkeyPatch) -> Studio:
    monkeypatch.setattr(recommending, "MOST", 60)  # so few have to be read
    monkeypatch.setattr(recommending, "READ", 25)
    studio = Studio(Store(tmp_path), tiny)  # its worker is not started: it writes nothing
    studio.enter("a")
    liked = [Item("test", f"liked {n}", "joke", words) for n, words in enumerate(CATS)]
    studio.store.add(ME, [(item, Signal(item.id, 1)) for item in liked])
    studio.store.add(ME, [(item, None) for item in IMPORTED])
    studio.worker.read()
    return studio


def best(studio: Studio, name: str = "nearness") -> Ranked:
    *_, last = studio.recommending.best("a", name)
    return last


@pytest.mark.parametrize("name", ["nearness", "topics"])
def test_the_nearest_unseen_come_first_with_the_like_they_are_near_to(studio: Studio, name: str) -> None:
    told = best(studio, name)
    assert len(told.posts) == SHOWN_AT_ONCE
    scores = [post.score for post in told.posts]
    assert scores == sorted(scores, reverse=True)
    first = told.posts[0]
    assert "from cats, your import" in {post.source for post in told.posts}
    assert first.text.startswith(first.near), "the very like that it repeats"
    assert told.done == told.of == 60


def test_what_is_kept_for_pairs_and_what_lies_on_the_table_is_not_there(studio: Studio) -> None:
    kept = {item.id for item in studio.store.unseen(ME, "pair", 999)}
    assert kept
    lying = {card.text for card in studio.cards("a")}
    told = best(studio)
    assert kept.isdisjoint(post.id for post in told.posts)
    assert lying.isdisjoint(post.text for post in told.posts)


def test_a_reaction_teaches_as_a_card_does_and_can_be_taken_back(studio: Studio) -> None:
    post = best(studio).posts[0]
    assert studio.recommending.react("a", post.id, "like") == post.source
    assert signs(studio)[post.id] == 1
    assert post.id not in {one.id for one in best(studio).posts}
    [card] = studio.store.db.rows("select kind, role, shown_at from trial where role = 'teach'")
    assert (card["kind"], bool(card["shown_at"])) == ("card", True)
    with pytest.raises(Refused, match="rank again"):
        studio.recommending.react("a", post.id, "dislike")  # the list of now has it no more
    other = best(studio).posts[0]
    studio.recommending.react("a", other.id, "like")
    studio.recommending.react("a", other.id, "dislike")
    assert signs(studio)[other.id] == -1
    studio.recommending.react("a", other.id, "")
    assert other.id not in signs(studio)


def signs(studio: Studio) -> dict[str, int]:
    return {item.id: signal.sign for item, signal in studio.store.reactions(ME)}


@pytest.mark.parametrize(
    ("post", "choice"), [("test:no such", "like"), ("", "like"), ("first", "left"), ("first", "skip")]
)
def test_what_was_not_offered_is_refused(studio: Studio, post: str, choice: str) -> None:
    told, before = best(studio), signs(studio)
    with pytest.raises(Refused, match="rank again"):
        studio.recommending.react("a", told.posts[0].id if post == "first" else post, choice)
    [kept] = studio.store.unseen(ME, "pair", 1)
    with pytest.raises(Refused, match="rank again"):
        studio.recommending.react("a", kept.id, "like")
    assert signs(studio) == before


def test_texts_that_nobody_has_read_are_read_first_and_that_is_told(studio: Studio) -> None:
    *reading, last = studio.recommending.best("a", "nearness")
    assert [told.posts for told in reading] == [()] * len(reading)
    assert reading[0].of == last.of
    assert [told.done for told in reading] == sorted(told.done for told in reading)
    assert len([*studio.recommending.best("a", "nearness")]) == 1, "each once"


def test_after_a_deletion_nothing_is_written(studio: Studio) -> None:
    coming = studio.recommending.best("a", "nearness")
    next(coming)
    studio.own.delete_me("a")
    assert [*coming] == []
    assert studio.store.db.rows("select count(*) as n from vector") == [{"n": 0}]


def test_those_that_learn_say_why_they_cannot(studio: Studio) -> None:
    told = {ranker.name: ranker for ranker in studio.recommending.rankers()}
    assert told.keys() == OFFLINE.keys() == set(scorers.NAMES) - {scorers.JUDGE}
    assert (told["nearness"].lacks, told["topics"].lacks) == ("", "")
    assert "has learned nothing yet" in told["ctr"].lacks
    with pytest.raises(Refused, match="has learned nothing yet"):
        next(studio.recommending.best("a", "item_lm"))
    with pytest.raises(Refused, match="choose what ranks"):
        next(studio.recommending.best("a", "judge"))


def test_a_scorer_that_needs_the_model_is_asked_about_the_nearest_once(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    class Longest:
        def score(self, profile: object, items: Texts) -> Floats:
            asked.extend(items.texts)
            return np.array([len(text) for text in items.texts], np.float32)

    monkeypatch.setattr(recommending, "scorer", lambda name, *_: Longest())
    told = best(studio, "ctr")
    assert told.posts[0].score == max(len(text) for text in asked)
    assert len(asked) == len(set(asked)) == min(BY_MODEL, 60)
    best(studio, "ctr")
    assert len(asked) == len(set(asked))


def test_nobody_without_likes_is_recommended_anything(tmp_path: Path, tiny: Backbone) -> None:
    studio = Studio(Store(tmp_path), tiny)
    studio.enter("a")
    with pytest.raises(Refused, match="like 3 more cards"):
        next(studio.recommending.best("a", "nearness"))


def test_the_figures_are_those_of_the_benchmark() -> None:
    table = (Path(__file__).parents[2] / "docs" / "results.md").read_text().split("## Which scorer knows a person?")[1]
    for name, (right, wrong, _) in OFFLINE.items():
        [row] = [line for line in table.split("\n") if line.startswith(f"| {name} |")]
        assert [cell.split()[0] for cell in row.split("|")[2:4]] == [right, wrong]
