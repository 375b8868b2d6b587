"""Fair turns at the model: one at a time, whoever is waited for first, and otherwise in the order of asking."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LATELY = 0.7  # how much the mean of seconds a turn remembers


Asked = Callable[[], bool]


def never() -> bool:
    return False


class Turns:
    """Everybody asks once and asks again after their turn, so nobody has two turns while another waits for the first.

    `seconds` is what a turn takes, by those that have ended; 0 before the first.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[tuple[int, object, Asked]] = []  # number, who, whether somebody waits for it
        self._numbers = itertools.count()
        self._taken_at = 0.0  # 0 while nobody has the turn
        self.seconds = 0.0

    @contextmanager
    def turn(self, who: object, urgent: Asked = never, given_up: Asked = never) -> Iterator[bool]:
        """Wait for a turn and hold it; gives False, and no turn, where `given_up` came true meanwhile."""
        with self._changed:
            mine = (next(self._numbers), who, urgent)
            self._waiting.append(mine)
            self._changed.wait_for(lambda: given_up() or (not self._taken_at and self._in_order()[0] is mine))
            self._waiting.remove(mine)
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

    def _in_order(self) -> list[tuple[int, object, Asked]]:
        return sorted(self._waiting, key=lambda place: (not place[2](), place[0]))

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
            order = [place[1] for place in self._in_order()]
            return order.index(who) + bool(self._taken_at) if who in order else 0

    def seconds_left(self, who: object) -> float:
        """How long until this one's turn will have ended, by what turns took lately."""
        with self._changed:
            under_way = time.monotonic() - self._taken_at if self._taken_at else 0.0
        return max(0.0, (self.before(who) + 1) * self.seconds - under_way)
