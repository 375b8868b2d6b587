"""The Recommend tab: of what was imported and never seen, and of the sample, what this person may like most.

What is kept for blind pairs is never shown here, and a reaction teaches as one in the Feed does.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from collectors.item import Item
from engine.backbone import Backbone
from engine.profile import Profile
from engine.recommend.scorer import Floats, Scorer, Texts
from engine.recommend.scorers import PLAIN, TAUGHT, scorer
from engine.recommend.taste import cosine
from engine.state import StateError
from studies.store import Refused, Store, as_post
from studies.turns import Turns

LEAST = 3  # likes, from which on anything can be ranked
SHOWN_AT_ONCE = 20
MOST = 2_000  # unseen texts that are looked at
READ = 64  # texts that are encoded between two words of progress
BY_MODEL = 128  # texts, the nearest, that a scorer is asked about which needs the model
A_TURN = 16  # of them in one turn at the model
# From docs/results.md, "Which scorer knows a person?", jokes that others rated: pairs in which the joke with the higher
# rating has the higher score, and the same with somebody else's likes.
OFFLINE = {
    "nearness": (".562", ".520", "it learns from nobody else"),
    "topics": (".552", ".519", "it learns from nobody else"),
    "item_lm": (".585", ".585", "there it learned what is popular, and nobody's taste"),
    "ctr": (".606", ".594", "what it knows is mostly what people like in general"),
}


@dataclass(frozen=True, slots=True)
class Ranker:
    """A scorer that may rank. `lacks` says why it cannot, "" where it can. Offline, by other people's ratings, `right`
    is the share of pairs in their order, `wrong` that with somebody else's likes; `means` says what to make of it."""

    name: str
    lacks: str
    right: str
    wrong: str
    means: str


@dataclass(frozen=True, slots=True)
class Post:
    """A text that may come next: where it is from, its score by the scorer that was asked, and the like that is nearest
    to it, as the reason."""

    id: str
    text: str
    source: str
    score: float
    near: str


@dataclass(frozen=True, slots=True)
class Ranked:
    """The best posts, the first first, of so many; while texts are still being read `done` is under `of`."""

    posts: tuple[Post, ...]
    done: int
    of: int


class Recommending:
    """`profile` gives a session's, `changed` is told of a reaction. Verbs are safe from any thread."""

    def __init__(
        self,
        store: Store,
        lm: Backbone,
        turns: Turns,
        profile: Callable[[str], Profile],
        changed: Callable[[], None],
    ) -> None:
        self.store, self.lm, self.turns, self._profile, self._changed = store, lm, turns, profile, changed
        self._offered: dict[str, dict[str, str]] = {}  # by session: items it was shown, and the card of its reaction
        self._scored: tuple[tuple[str, str, str], dict[str, float]] = ("", "", ""), {}
        self._writing, self._times_forgotten = threading.Lock(), 0

    def busy(self) -> bool:
        return self._writing.locked()

    def forget(self) -> None:
        """Everything was deleted: what is under way writes no more."""
        self._offered, self._scored = {}, (("", "", ""), {})
        self._times_forgotten += 1

    def rankers(self) -> list[Ranker]:
        """Every scorer that can be chosen, or why it cannot."""
        found = []
        for name in (*PLAIN, *TAUGHT):
            try:
                scorer(name, self.lm, self.store.db.folder)
                lacks = ""
            except StateError as error:
                lacks = str(error)
            found.append(Ranker(name, lacks, *OFFLINE[name]))
        return found

    def best(self, session: str, name: str) -> Iterator[Ranked]:
        """The posts that this person may like most; yields how far reading is, then these. Raises Refused where nothing
        can be ranked, with what to do."""
        rater, profile = self.store.rater(session), self._profile(session)
        if name not in (*PLAIN, *TAUGHT):
            raise Refused("choose what ranks first")
        if len(profile.liked) < LEAST:
            raise Refused(f"like {LEAST - len(profile.liked)} more cards in the Feed first: there is no taste to go by")
        try:
            by = scorer(name, self.lm, self.store.db.folder)
        except StateError as error:
            raise Refused(str(error)) from error
        items = self.store.unseen(rater, "feed", MOST)
        if not items:
            raise Refused("you have seen every post: bring more on the Import page")
        missing = self.store.vectors.missing(item.text for item in items)
        born = self._times_forgotten
        for start in range(0, len(missing), READ):
            yield Ranked((), len(items) - len(missing) + start, len(items))
            with self._writing:
                if self._times_forgotten > born:
                    return
                self.store.vectors.keep(missing[start : start + READ])
        vectors = self.store.vectors([item.text for item in items])
        if name in TAUGHT:
            nearest = np.argsort(-cosine(profile, vectors), kind="stable")[:BY_MODEL]
            items, vectors = [items[row] for row in nearest], vectors[nearest]
            yield from self._score(by, name, profile, Texts(tuple(item.text for item in items), vectors))
            scores = np.array([self._scored[1][item.text] for item in items], np.float32)
        else:
            scores = by.score(profile, Texts(tuple(item.text for item in items), vectors))
        rows = np.argsort(-scores, kind="stable")[:SHOWN_AT_ONCE].tolist()
        near = nearest_likes(profile, vectors[rows])
        self._offered[session] = {items[row].id: "" for row in rows}
        yield Ranked(
            tuple(
                Post(items[row].id, items[row].text, source_of(items[row]), float(scores[row]), like)
                for row, like in zip(rows, near, strict=True)
            ),
            len(items),
            len(items),
        )

    def _score(self, by: Scorer, name: str, profile: Profile, texts: Texts) -> Iterator[Ranked]:
        """Ask a scorer that needs the model about each text once, for the profile of now."""
        of = (name, profile.digest, profile.summary)
        known = dict(self._scored[1]) if self._scored[0] == of else {}
        rows = [row for row, text in enumerate(texts.texts) if text not in known]
        for start in range(0, len(rows), A_TURN):
            yield Ranked((), len(texts) - len(rows) + start, len(texts))
            some = rows[start : start + A_TURN]
            asked = Texts(tuple(texts.texts[row] for row in some), texts.vectors[some])
            with self.turns.turn(self):
                known |= dict(zip(asked.texts, by.score(profile, asked).tolist(), strict=True))
        self._scored = of, known

    def react(self, session: str, item_id: str, choice: str) -> str:
        """Like or dislike a post that this session was shown here, or take that back with ""; returns where it is from.
        It is a card like those of the Feed: written down, shown, answered, and it teaches. Raises Refused."""
        offered = self._offered.get(session, {})
        if item_id not in offered or choice not in ("like", "dislike", ""):
            raise Refused("that post is not on this list any more: rank again")
        item = self.store.items([item_id])[item_id]
        with self._writing:
            if offered[item_id]:
                self.store.undo(session, "card", offered[item_id])
                offered[item_id] = ""
            if choice:
                card = self.store.show_card(session, as_post(item), self.lm.fingerprint)["id"]
                self.store.vote(session, card, choice, kinds=("card",))
                offered[item_id] = card
        self._changed()
        return source_of(item)


def source_of(item: Item) -> str:
    """Where a post is from, for people."""
    origin = "the sample feed" if item.maker == "project" else "your import"
    return f"from {item.community}, {origin}" if item.community else f"from {origin}"


def nearest_likes(profile: Profile, vectors: Floats) -> list[str]:
    """For each of N texts with vectors (N, E) the like of this person that is nearest to it."""
    rows = [row for row, signal in enumerate(profile.signals) if signal.sign > 0]
    nearest: Sequence[int] = (vectors @ profile.vectors[rows].T).argmax(1).tolist() if len(vectors) else []
    return [profile.items[rows[row]].text for row in nearest]
