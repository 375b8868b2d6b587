"""Fair turns at the model: one at a time, whoever is waited for first, and otherwise in the order of asking."""

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LATELY = 0.7  # how much the mean of seconds a turn remembers


class Turns:
    """Everybody asks once and asks again after their turn, so nobody has two turns while another waits for the first.

    `seconds` is what a turn takes, by those that have ended; 0 before the first.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[tuple[bool, int, object]] = []  # (nobody waits for it, number, who), a heap
        self._numbers = itertools.count()
        self._taken_at = 0.0  # 0 while nobody has the turn
        self.seconds = 0.0

    @contextmanager
    def turn(self, who: object, urgent: bool = False, given_up: Callable[[], bool] = lambda: False) -> Iterator[bool]:
        """Wait for a turn and hold it; gives False, and no turn, where `given_up` came true meanwhile."""
        with self._changed:
            mine = (not urgent, next(self._numbers), who)
            heapq.heappush(self._waiting, mine)
            self._changed.wait_for(lambda: given_up() or (not self._taken_at and self._waiting[0] is mine))
            self._waiting.remove(mine)
            heapq.heapify(self._waiting)
            got = not given_up()
            if got:
                self._taken_at = time.monotonic()
            else:
                self._changed.notify_all()
        try:
            yield got
        finally:
            if got:
                self._end()

    def _end(self) -> None:
        with self._changed:
            took = time.monotonic() - self._taken_at
            self.seconds = LATELY * self.seconds + (1 - LATELY) * took if self.seconds else took
            self._taken_at = 0.0
            self._changed.notify_all()

    def look_again(self) -> None:
        """Somebody who waits may have given up."""
        with self._changed:
            self._changed.notify_all()

    def before(self, who: object) -> int:
        """How many turns come before theirs, with the one under way; 0 where it is theirs or not asked for."""
        with self._changed:
            mine = min((place for place in self._waiting if place[2] is who), default=None)
            ahead = sum(place[:2] < mine[:2] for place in self._waiting) if mine else 0
            return ahead + bool(mine and self._taken_at)

    def seconds_left(self, who: object) -> float:
        """How long until this one's turn will have ended, by what turns took lately."""
        with self._changed:
            under_way = time.monotonic() - self._taken_at if self._taken_at else 0.0
        return max(0.0, (self.before(who) + 1) * self.seconds - under_way)
