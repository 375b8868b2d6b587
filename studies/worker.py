"""The thread that writes: it keeps two pairs and a card ready while the person reads. Beside it the one that asks an
API for the summary, after a yes: a slow answer keeps no pair waiting.
"""

import json
import logging
import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import asdict, replace

from collectors.item import Item, Signal
from engine.backbone import Backbone
from engine.claude import ApiTrouble, Claude, NotPermitted
from engine.decode import WindowError
from engine.pictures import Painter, PictureError, Stopped, lacks
from engine.profile import MAX_SIGNALS, Book, Edit, Profile, digest, remarked, representatives
from engine.recommend.scorer import Scorer
from engine.server import ServerError
from engine.summary import MIN_LIKES, summarize, summarize_by, to_send
from studies import settings
from studies.database import Row, StoreError
from studies.device import by_model
from studies.pairs import Person, make_card, make_pairs, ready_pairs, waiting_for
from studies.pictures import make_pictures
from studies.ranking import Ranking
from studies.statements import carried, without, wrong_in
from studies.store import LOCAL, Store
from studies.turns import Turns
from studies.wish import ANYTHING

READY_PAIRS = 2  # at least; for a moment there may be one more
SUMMARY_EVERY = 5  # reactions more (or fewer) after which the summary is written anew
GATHER = 2.0  # seconds in which reactions gather before an API is asked: a burst of swipes is one request
AT_ONCE = 64  # texts that are encoded before anything is written, and in one go while more are waiting
FIRST = 2_000  # of a large import the latest are read first, and make the profile until all are
AHEAD = 400  # texts of the feed that are read before anybody asks for them
ASKS_AGAIN = 3.0  # seconds within which a page that waits asks again
AGAIN = 5.0  # seconds after which a server that did not answer is asked again
FRUITLESS = 8  # rounds in a row whose texts could not be shown, before it stops and says so
log = logging.getLogger(__name__)


class Worker(threading.Thread):
    """Owns the profile of one person. Start it with `start()`, end it with `close()`.

    `seen` are the reactions and edits that the profile is of; `unread` how many of their texts wait to be encoded,
    which is done when nothing is to be written.

    `failure` holds what last went wrong, in words, `trouble` what of it a guest may read, and `failures` counts; the
    next reaction or request tries again, and a server that is away is tried again by itself.
    """

    def __init__(
        self,
        store: Store,
        lm: Backbone,
        rater: str,
        seed: int,
        claude: Claude | None = None,
        scorer: Scorer | None = None,
        turns: Turns | None = None,
        painter: Painter | None = None,
    ) -> None:
        super().__init__(name="worker", daemon=True)
        self.painter = painter
        self.painting: tuple[int, int, float] | None = None  # steps done of a pair of pictures, of how many, since when
        self.ranking = Ranking(scorer)
        self.turns = turns or Turns()
        self.wish = ANYTHING  # what the person wants to judge
        self.waited_until = 0.0  # while a page waits for a pair it asks every second; a turn for it comes first
        self.context = copy_context()  # of whose request the model works: an accelerator that is lent asks for that
        self.store, self.lm, self.rater, self.seed = store, lm, rater, seed
        self.seen: tuple[tuple[tuple[Item, Signal], ...], tuple[Edit, ...]] = ((), ())
        self.unread = 0
        self.resting = threading.RLock()  # held during a step: who holds it deletes without anybody writing meanwhile
        self.book = Book(rater, store.vectors)
        self.profile = self.book.profile(())
        self._missing: list[str] = []
        self.failure = self.trouble = ""
        self.failures = 0
        self.failing = False  # whether the latest try went wrong
        self._changed = threading.Condition()  # a pair became ready, or a round failed
        self._wanted = threading.Event()  # something may need doing
        self.writer = ApiWriter(store, claude, rater, lambda: self.profile, self._wanted.set)
        self._closing = threading.Event()
        self._summary: Row | None = None
        self._reactions = 0
        self._fruitless = 0

    def run(self) -> None:
        self.writer.start()
        self.poke()
        away = False  # a server that did not answer is asked again by itself
        while self._wanted.wait(AGAIN if away else None) or away:
            self._wanted.clear()
            if self._closing.is_set():
                return
            try:
                while not self._closing.is_set() and self._one_step():
                    with self._changed:
                        self.failing = False
                        self._changed.notify_all()
                away = False
            except ServerError as error:
                if not away:
                    log.warning("the next texts could not be written: %s", error)
                away = not error.lasting
                self._fail(str(error), "the model does not answer")
            except Exception as error:  # whatever a model or disk throws, the app goes on and says so
                away = False
                log.exception("the next texts could not be written")
                known = isinstance(error, StoreError | WindowError | PictureError)
                plain = isinstance(error, WindowError | PictureError)
                why = str(error) if plain else f"{type(error).__name__}: {error}"
                self._fail(why, str(error) if known else "the model failed")

    def _fail(self, why: str, trouble: str) -> None:
        with self._changed:
            self.failure, self.trouble = why, trouble
            self.failures += 1
            self.failing = True
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """Whether it writes no more."""
        return self._closing.is_set()

    def close(self) -> None:
        """End the thread after the decode that is under way."""
        self._closing.set()
        self.writer.close()
        self._wanted.set()
        self.turns.look_again()
        if self.is_alive():
            self.join()

    def poke(self) -> None:
        """Something changed: a reaction, an import, a pair taken, a yes or no."""
        self._wanted.set()
        self.writer.poke()

    def somebody_waits(self) -> None:
        """A page asked for a pair that is not there yet, and will ask again: its turn comes before writing ahead."""
        self.waited_until = time.monotonic() + ASKS_AGAIN

    def seconds_left(self) -> float:
        """How long until what a page waits for is there, by how far it is or by what turns took lately."""
        if painting := self.painting:
            done, of, began = painting
            return (time.monotonic() - began) / done * (of - done)
        return self.turns.seconds_left(self)

    def wait(self, seconds: float) -> None:
        """Wait until something became ready or failed, at most `seconds`."""
        with self._changed:
            self._changed.wait(seconds)

    def _one_step(self) -> bool:
        """Do the most urgent thing; False when there is nothing to do. What the model writes waits for its turn, and is
        chosen anew then: the person went on meanwhile."""
        with self.resting:
            needs_model, work = self._most_urgent()
            if not needs_model:
                return work()
        with self.turns.turn(self, lambda: time.monotonic() < self.waited_until, self._closing.is_set) as mine:
            if not mine:
                return False
            with self.resting:
                return self.context.copy().run(self._most_urgent()[1])

    def forget(self) -> None:
        """Begin anew: everything was deleted."""
        self.seen, self._missing = ((), ()), []
        self.book = Book(self.rater, self.store.vectors)
        self.profile = self.book.profile(())
        self.wish = ANYTHING
        self.ranking = Ranking(self.ranking.scorer)

    def _most_urgent(self) -> tuple[bool, Callable[[], bool]]:
        """Whether the model is needed for it, and what is to be done."""
        person = self._person()
        if self._summary_is_old(person) and person.wish.pictures and lacks(person.profile):
            return True, lambda: self._summarize(person)  # there is nothing yet that a picture could be told
        if not waiting_for(self.store, self.rater, person.wish):
            return True, lambda: self._write_pairs(person, 1)  # somebody may wait: one is quicker than two
        if self._summary_is_old(person):
            return True, lambda: self._summarize(person)
        if ready_pairs(self.store, self.lm, person) < READY_PAIRS:
            # two at once: four rows cost hardly more than two, so this is nearly twice the pairs a minute
            return True, lambda: self._write_pairs(person, READY_PAIRS)
        if not self.store.ready(self.rater, "card"):
            return True, lambda: self._write_card(person)
        return False, self._read_ahead

    def _write_pairs(self, person: Person, count: int) -> bool:
        if person.wish.pictures and self.painter:
            return self._paint(person, self.painter)
        return self._fruit(make_pairs(self.store, self.lm, person, count))

    def _paint(self, person: Person, painter: Painter) -> bool:
        """One pair of pictures, which is given up where the person wants something else meanwhile."""
        began = time.monotonic()

        def on_step(done: int, of: int) -> None:
            self.painting = done, of, began

        try:
            shown = make_pictures(
                self.store, painter, person, lambda: self._closing.is_set() or self.wish != person.wish, on_step
            )
        except Stopped:
            return True
        finally:
            self.painting = None
        return self._fruit(shown)

    def _write_card(self, person: Person) -> bool:
        return self._fruit(make_card(self.store, self.lm, person, self.store.cards_written(self.rater)))

    def _summarize(self, person: Person) -> bool:
        wrong = wrong_in(self._summary)
        text = without(by_model(summarize, self.lm, person.profile), wrong, self.store.vectors)
        self.store.save_summary(
            self.rater, text, person.profile.digest, self._reactions, self.lm.fingerprint, taste=carried({}, wrong)
        )
        return True

    def _read_ahead(self) -> bool:
        """Encode what was imported, then texts of the feed before they are chosen from, and score these; False when all
        is done."""
        if self._missing:
            self.store.vectors.keep(self._missing[:AT_ONCE])
            del self._missing[:AT_ONCE]
            return True
        coming = [item.text for item in self.store.unseen(self.rater, "feed", AHEAD)]
        missing = self.store.vectors.missing(coming)
        self.store.vectors.keep(missing[:AT_ONCE])
        if missing or self.ranking.scorer is None:
            return bool(missing)
        return self.ranking.score_ahead(self.profile, coming, self.store.vectors(coming))

    def _fruit(self, shown: int) -> bool:
        self._fruitless = 0 if shown else self._fruitless + 1
        if self._fruitless >= FRUITLESS:
            self._fruitless = 0
            raise RuntimeError("the model wrote nothing that could be shown: try again, or another --model")
        return True

    def _person(self) -> Person:
        self.read()
        self.read_summary()
        preset = settings.read(self.store.db.folder).preset
        return Person(self.profile, self._summary["id"] if self._summary else None, self.seed, self.wish, preset)

    def read_summary(self) -> None:
        """Let the latest summary stand in the profile."""
        self._summary = self.store.latest_summary(self.rater)
        if self._summary:
            taste = json.loads(self._summary["taste"] or '{"topics": []}')
            named = tuple(like for topic in taste["topics"] for like in topic["evidence"])
            self.profile = replace(self.profile, summary=self._summary["text"], summary_evidence=named)

    def read(self) -> None:
        """Bring the profile up to what the person showed and did since."""
        seen = self.store.reactions(self.rater), self.store.edits(self.rater)
        reactions, edits = seen
        changed = reactions is not self.seen[0] or edits != self.seen[1]
        if changed:
            latest = [item.text for item, _ in reversed(reactions) if item.text]  # the latest are read first
            self._missing = self.store.vectors.missing(latest[:MAX_SIGNALS])
            if len(self._missing) <= AT_ONCE:
                self.store.vectors.keep(self._missing)
                self._missing = []
        elif len(self._missing) == self.unread:
            return
        partial, self.unread = bool(self.unread), len(self._missing)
        self._reactions = len(reactions)
        if self._missing:
            waiting = set(self._missing)
            reactions = tuple(pair for pair in reactions[-FIRST:] if pair[0].text not in waiting)
        same = edits == self.seen[1] and not partial and not self._missing
        known = remarked(self.profile, self.seen[0], reactions) if same else None
        self.profile = known or self.book.profile(reactions, edits)
        self.seen = seen
        self.writer.poke()

    def _summary_is_old(self, person: Person) -> bool:
        if len(person.profile.liked) < MIN_LIKES or self.writer.takes_it() or (self.unread and self._summary):
            return False
        if self._summary is None or (self._summary["author"] != LOCAL and not self.writer.permitted()):
            return True
        return bool(abs(self._reactions - self._summary["reactions"]) >= SUMMARY_EVERY)


class ApiWriter(threading.Thread):
    """Asks the API for the summary as likes arrive, while the person's yes stands; it touches no model and no lock.

    `trouble` is what last went wrong, in words, until an answer comes; meanwhile the local model writes the summary.
    """

    def __init__(
        self,
        store: Store,
        claude: Claude | None,
        rater: str,
        profile: Callable[[], Profile],
        changed: Callable[[], None],
    ) -> None:
        super().__init__(name="api-writer", daemon=True)
        self.store, self.claude, self.rater = store, claude, rater
        self.trouble = ""
        self._profile, self._changed = profile, changed
        self._lasting = False  # a refused key is refused again: wait for another yes
        self._tried = ""  # the digest that was asked about last: no answer is asked for twice
        self._wanted = threading.Event()
        self._closing = threading.Event()

    def run(self) -> None:
        while self.claude and self._wanted.wait() and not self._closing.is_set():
            self._wanted.clear()
            try:
                if not self._write(self.claude):
                    continue
            except NotPermitted:
                log.info("the yes was withdrawn: what was under way has ended")
            except Exception as error:  # whatever it is, the local model writes on and the page says so
                self._lasting = isinstance(error, ApiTrouble) and error.lasting
                self.trouble = str(error) if isinstance(error, ApiTrouble) else f"{type(error).__name__}: {error}"
                log.warning("no summary by the API: %s", self.trouble)
            self._changed()

    def close(self) -> None:
        """Send nothing more. A request under way is left to its time-out, and its answer dropped."""
        self._closing.set()
        self._wanted.set()

    def poke(self) -> None:
        self._wanted.set()

    def start_over(self) -> None:
        """The person said yes or no: what failed before may work now."""
        self.trouble, self._lasting, self._tried = "", False, ""
        self.poke()

    def permitted(self) -> bool:
        """Whether there is a key, and a yes that holds for its host."""
        yes = self.store.consent(self.rater) if self.claude else None
        return bool(self.claude and yes and yes["recipient"] == self.claude.recipient)

    def takes_it(self) -> bool:
        """Whether the local model may leave the summary to the API."""
        return not self.trouble and self.permitted()

    def _may_send(self) -> bool:
        return self.permitted() and not self._closing.is_set()

    def _write(self, claude: Claude) -> bool:
        """Ask for a summary and keep it, if the likes have changed; returns whether it did."""
        if self._due(claude) is None or self._closing.wait(GATHER):
            return False
        latest = self._due(claude)  # as they are now: some may have been taken back
        if latest is None:
            return False
        self._tried = digest(latest)
        likes, dislikes = ([item for item, signal in latest if signal.sign == sign] for sign in (1, -1))
        found = summarize_by(claude, *to_send(likes, dislikes, representatives(self._profile())), self._may_send)
        if not self._may_send():
            raise NotPermitted
        wrong = wrong_in(self.store.latest_summary(self.rater))
        text, taste = without(found.text, wrong, self.store.vectors), carried(asdict(found), wrong)
        self.trouble = ""  # before the summary is there: who sees it sees no trouble beside it
        self.store.save_summary(self.rater, text, self._tried, len(latest), claude.model, claude.recipient, taste)
        return True

    def _due(self, claude: Claude) -> list[tuple[Item, Signal]] | None:
        """What may be told, if it calls for a request; None if not. It is what still stands of what is in the profile:
        the person may have muted a topic or taken a like out."""
        if self._lasting or not self.permitted():
            return None
        standing = {item.id: signal for item, signal in self.store.reactions(self.rater)}
        profile = self._profile()
        latest = [(item, standing[item.id]) for item in profile.items if item.id in standing]
        if sum(signal.sign > 0 for _, signal in latest) < MIN_LIKES:
            return None
        newest = self.store.latest_summary(self.rater)
        told = newest["profile_digest"] if newest and newest["author"] == claude.recipient else ""
        return None if digest(latest) in (self._tried, told) else latest
