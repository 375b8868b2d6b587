"""The Write corner: one way of writing, named beforehand, as it writes. Nothing of it is stored, counted or taught."""

import queue
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import copy_context
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from engine import learning
from engine.backbone import Backbone
from engine.decode import Generation, decode
from engine.methods import ARMS
from engine.methods.base import PRESETS, Ask
from engine.profile import Profile
from studies import settings
from studies.device import by_model, lent
from studies.pairs import lacking, tidy, title
from studies.store import Refused, Store
from studies.turns import Turns
from studies.wish import POOLS, Wish

EVERY = 0.1  # seconds between two looks at a text that grows


@dataclass(frozen=True, slots=True)
class Draft:
    """A text so far. `before` counts the turns that come first; `ended` is "" until it is whole, cut off or stopped."""

    text: str
    about: str
    before: int = 0
    tokens: int = 0
    seconds: float = 0.0
    ended: str = ""


def write_one(lm: Backbone, folder: Path, profile: Profile, arm: str, ask: Ask, **watched: Any) -> Generation:
    """One text by one way; a task of `studies.device` unless it is `watched`, as `decode` says."""
    return decode(lm, [(learning.conditioned(lm, ARMS[arm], folder, profile, ask), ask)], **watched)[0][0]


class Corner:
    """`profile` gives a session's. One text at a time; `stop` ends the one that is being written."""

    def __init__(self, store: Store, lm: Backbone, turns: Turns, profile: Callable[[str], Profile]) -> None:
        self.store, self.lm, self.turns, self._profile = store, lm, turns, profile
        self._busy, self._stopping = threading.Lock(), threading.Event()

    def ways(self, session: str) -> list[tuple[str, str]]:
        """(title, arm) of every way that can write for this person now, whether it takes part in pairs or not."""
        missing = lacking(self.store, self.lm, self._profile(session), chosen=ARMS)
        return [(title(arm), arm) for arm in ARMS if arm not in missing]

    def stop(self) -> None:
        self._stopping.set()

    def write(self, session: str, arm: str, kind: str, about: str) -> Iterator[Draft]:
        """Write one text and yield it as it grows. Raises Refused with the reason where it cannot be."""
        wish, profile = Wish.of(kind, about), self._profile(session)
        if arm not in {one for _, one in self.ways(session)}:
            raise Refused("choose who writes first")
        payload = wish.about or secrets.choice(POOLS[wish.kind])
        sampler = PRESETS[settings.read(self.store.db.folder).preset]
        ask = replace(sampler, kind=wish.kind, payload=payload, seed=secrets.randbits(48))
        if not self._busy.acquire(blocking=False):
            raise Refused("a text is being written already: stop it, or wait for its end")
        self._stopping.clear()
        news: queue.Queue[str | Generation | Exception] = queue.Queue()
        work = partial(copy_context().run, self._decode, arm, profile, ask, news.put)  # as the caller's own request
        threading.Thread(target=work, name="corner", daemon=True).start()
        yield from self._told(news, payload)

    def _decode(
        self, arm: str, profile: Profile, ask: Ask, tell: Callable[[str | Generation | Exception], None]
    ) -> None:
        try:
            folder = self.store.db.folder
            with self.turns.turn(self, lambda: True, self._stopping.is_set) as mine:
                if not mine:
                    return tell(Generation("", (), "stopped"))
                if lent(self.lm):  # it comes whole: nothing leaves the other process before
                    tell(by_model(write_one, self.lm, folder, profile, arm, ask))
                else:  # of several tries, of which the best is kept, the first is shown while they grow
                    shown = {"on_text": lambda _, sample, text: None if sample else tell(text)}
                    tell(write_one(self.lm, folder, profile, arm, ask, stopped=self._stopping.is_set, **shown))
        except Exception as error:  # it is told where the caller waits
            tell(error)
        finally:
            self._busy.release()

    def _told(self, news: "queue.Queue[str | Generation | Exception]", about: str) -> Iterator[Draft]:
        began, text = time.monotonic(), ""
        while True:
            try:
                said = news.get(timeout=1.0)
                while isinstance(said, str) and not news.empty():
                    said = news.get_nowait()
            except queue.Empty:
                yield Draft(text, about, self.turns.before(self), seconds=time.monotonic() - began)
                continue
            if isinstance(said, Exception):
                raise Refused(f"it could not be written ({said}): try another way or another model") from said
            if isinstance(said, Generation):
                whole = tidy(said) or said.text
                yield Draft(whole, about, 0, said.tokens, time.monotonic() - began, said.finish)
                return
            text = said
            yield Draft(text, about, seconds=time.monotonic() - began)
            time.sleep(EVERY)
