"""What ranks the feed ahead of time: the nearest are scored first, for the profile of today, and no card waits."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from collectors.item import Item, Signal
from engine.backbone import Backbone
from engine.encoder import encode
from engine.profile import Profile, build
from engine.recommend.scorer import Floats, Texts
from engine.recommend.taste import cosine
from studies.ranking import AT_ONCE, LEAST, MOST, Ranking
from studies.session import CannotStart, Studio
from studies.store import ME, Store
from tests.conftest import LIKES
from tests.studies.test_pairs import Talker
from tests.studies.test_session import until

TEXTS = [f"A goat stood on the {thing} number {n}." for n, thing in enumerate(["roof", "car", "shed", "wall"] * 50)]


class Longest:
    """Likes long texts, whoever asks; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Sequence[str]] = []

    def score(self, profile: Profile, items: Texts) -> Floats:
        self.asked.append(items.texts)
        return np.array([1000.0 * len(text) for text in items.texts], np.float32)


@pytest.fixture(scope="module")
def vectors() -> Floats:
    return encode(TEXTS)


@pytest.fixture(scope="module")
def fond() -> Profile:
    items = [Item("made", str(n), "joke", f"A goat on a roof, take {n}.") for n in range(3)]
    return build("me", [(item, Signal(item.id, 1)) for item in items])


def test_the_nearest_are_scored_first_each_once_and_not_all(fond: Profile, vectors: Floats) -> None:
    longest = Longest()
    ranking = Ranking(longest)
    while ranking.score_ahead(fond, TEXTS, vectors):
        assert len(longest.asked[-1]) <= AT_ONCE
    asked = [text for some in longest.asked for text in some]
    nearest = [TEXTS[n] for n in np.argsort(-cosine(fond, vectors), kind="stable")[:MOST]]
    assert asked == nearest


def test_what_is_scored_is_chosen_from_by_the_score_on_the_scale_of_cosines(fond: Profile, vectors: Floats) -> None:
    ranking = Ranking(Longest())
    assert ranking.of(fond, TEXTS, vectors)[1] == pytest.approx(cosine(fond, vectors))  # nothing is scored yet
    for _ in range(-(-LEAST // AT_ONCE)):
        ranking.score_ahead(fond, TEXTS, vectors)
    rows, scores = ranking.of(fond, TEXTS, vectors)
    assert len(rows) == LEAST
    lengths = [len(TEXTS[row]) for row in rows]
    assert lengths[int(scores.argmax())] == max(lengths)
    near = cosine(fond, vectors)[rows]
    assert (scores.mean(), scores.std()) == (pytest.approx(near.mean(), abs=1e-5), pytest.approx(near.std(), abs=1e-5))


def test_scores_for_another_profile_do_not_count(fond: Profile, vectors: Floats) -> None:
    ranking = Ranking(Longest())
    ranking.score_ahead(fond, TEXTS, vectors)
    later = replace(fond, digest="another like")
    assert len(ranking.of(later, TEXTS, vectors)[0]) == len(TEXTS)
    assert ranking.score_ahead(later, TEXTS, vectors)
    assert len(ranking.of(later, TEXTS, vectors)[0]) == LEAST


def test_without_likes_or_another_scorer_nothing_is_scored(fond: Profile, vectors: Floats) -> None:
    assert not Ranking(Longest()).score_ahead(Profile("new"), TEXTS, vectors)
    assert not Ranking(None).score_ahead(fond, TEXTS, vectors)
    assert Ranking(None).of(fond, TEXTS, vectors)[1] == pytest.approx(cosine(fond, vectors))


def test_equal_scores_leave_the_order_alone(fond: Profile, vectors: Floats) -> None:
    class Even:
        def score(self, profile: Profile, items: Texts) -> Floats:
            return np.zeros(len(items), np.float32)

    ranking = Ranking(Even())
    ranking.score_ahead(fond, TEXTS, vectors)
    assert len(set(ranking.of(fond, TEXTS, vectors)[1].tolist())) == 1


def test_the_feed_shows_what_the_scorer_puts_first_and_no_card_waits_for_it(tiny: Backbone, tmp_path: Path) -> None:
    longest = Longest()
    studio = Studio(Store(tmp_path), Talker(tiny), ranks=longest)
    studio.enter("a")
    liked = [Item("test", str(n), "joke", text) for n, text in enumerate(LIKES)]
    studio.store.add(ME, [(item, Signal(item.id, 1)) for item in liked])
    first = studio.next_card("a")  # explores: nobody has scored anything
    assert first is not None
    studio.react("a", first.id, "skip")
    studio.start()
    try:
        until(lambda: len(longest.asked) * AT_ONCE >= MOST)
    finally:
        studio.close()
    shown = studio.next_card("a")
    assert shown is not None
    lengths = sorted(len(text) for some in longest.asked for text in some)
    assert len(shown.text) >= lengths[-5]


def test_a_recommender_that_has_learned_nothing_is_said_at_the_start(tiny_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="ctr has learned nothing yet"):
        Studio.open(tmp_path, str(tiny_folder), rank="ctr")
    Studio.open(tmp_path, str(tiny_folder), rank="topics").close()
