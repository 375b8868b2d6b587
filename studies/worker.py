"""The one thread that writes: it keeps two pairs and a card ready while the person reads."""

import logging
import threading
from dataclasses import replace

from engine.backbone import Backbone
from engine.profile import MAX_SIGNALS, Profile, build, digest
from engine.summary import MIN_LIKES, summarize
from studies.database import Row
from studies.pairs import Person, make_card, make_pairs, ready_pairs
from studies.store import Store

READY_PAIRS = 2  # at least; for a moment there may be one more
SUMMARY_EVERY = 5  # reactions more (or fewer) after which the summary is written anew
FRUITLESS = 8  # rounds in a row whose texts could not be shown, before it stops and says so
log = logging.getLogger(__name__)


class Worker(threading.Thread):
    """Owns the profile of one person. Start it with `start()`, end it with `close()`.

    `failure` holds what last went wrong, in words, and `failures` counts; the next reaction or request tries again.
    """

    def __init__(self, store: Store, lm: Backbone, rater: str, seed: int) -> None:
        super().__init__(name="worker", daemon=True)
        self.store, self.lm, self.rater, self.seed = store, lm, rater, seed
        self.profile = Profile(rater)
        self.failure = ""
        self.failures = 0
        self._changed = threading.Condition()  # a pair became ready, or a round failed
        self._wanted = threading.Event()  # something may need doing
        self._closing = threading.Event()
        self._summary: Row | None = None
        self._reactions = 0
        self._fruitless = 0

    def run(self) -> None:
        self.poke()
        while self._wanted.wait():
            self._wanted.clear()
            if self._closing.is_set():
                return
            try:
                while not self._closing.is_set() and self._one_step():
                    with self._changed:
                        self._changed.notify_all()
            except Exception as error:  # whatever a model or disk throws, the app goes on and says so
                log.exception("the next texts could not be written")
                with self._changed:
                    self.failure = f"{type(error).__name__}: {error}"
                    self.failures += 1
                    self._changed.notify_all()

    def close(self) -> None:
        """End the thread after the decode that is under way."""
        self._closing.set()
        self._wanted.set()
        if self.is_alive():
            self.join()

    def poke(self) -> None:
        """Something changed: a reaction, an import, a pair taken."""
        self._wanted.set()

    def wait(self, seconds: float) -> None:
        """Wait until something became ready or failed, at most `seconds`."""
        with self._changed:
            self._changed.wait(seconds)

    def _one_step(self) -> bool:
        """Do the most urgent thing; False when there is nothing to do."""
        person = self._person()
        if not self.store.ready(self.rater, "pair"):
            return self._fruit(make_pairs(self.store, self.lm, person, 1))  # somebody may wait: one is quicker than two
        if self._summary_is_old(person):
            text = summarize(self.lm, person.profile)
            self.store.save_summary(self.rater, text, person.profile.digest, self._reactions, self.lm.fingerprint)
            return True
        if ready_pairs(self.store, self.lm, person) < READY_PAIRS:
            # two at once: four rows cost hardly more than two, so this is nearly twice the pairs a minute
            return self._fruit(make_pairs(self.store, self.lm, person, READY_PAIRS))
        if not self.store.ready(self.rater, "card"):
            turn = self.store.cards_written(self.rater)
            return self._fruit(make_card(self.store, self.lm, person, turn))
        return False

    def _fruit(self, shown: int) -> bool:
        self._fruitless = 0 if shown else self._fruitless + 1
        if self._fruitless >= FRUITLESS:
            self._fruitless = 0
            raise RuntimeError("the model wrote nothing that could be shown: try again, or another --model")
        return True

    def _person(self) -> Person:
        reactions = self.store.reactions(self.rater)
        self._reactions = len(reactions)  # of all time, those beyond MAX_SIGNALS counted as well
        reactions = reactions[-MAX_SIGNALS:]
        self._summary = self.store.latest_summary(self.rater)
        if digest([signal for _, signal in reactions]) != self.profile.digest:
            self.profile = build(self.rater, reactions)
        if self._summary:
            self.profile = replace(self.profile, summary=self._summary["text"])
        return Person(self.profile, self._summary["id"] if self._summary else None, self.seed)

    def _summary_is_old(self, person: Person) -> bool:
        if len(person.profile.liked) < MIN_LIKES:
            return False
        return self._summary is None or abs(self._reactions - self._summary["reactions"]) >= SUMMARY_EVERY
