"""How often one visitor may do something: a bucket that fills again as time goes by."""

import threading
import time

from studies.store import Refused

KNOWN = 10_000  # buckets kept; the longest unused go first


class Limit:
    """`burst` at once, and `a_minute` from then on, for each name apart."""

    def __init__(self, burst: int, a_minute: float) -> None:
        self.burst, self.a_second = burst, a_minute / 60
        self._left: dict[str, tuple[float, float]] = {}  # name -> (how many are left, at what time)
        self._lock = threading.Lock()

    def take(self, name: str) -> None:
        """Take one; raises Refused, and takes none, where none is left."""
        with self._lock:
            now = time.monotonic()
            left, at = self._left.pop(name, (float(self.burst), now))
            left = min(self.burst, left + (now - at) * self.a_second)
            self._left[name] = (left - 1 if left >= 1 else left, now)
            while len(self._left) > KNOWN:
                del self._left[next(iter(self._left))]
        if left < 1:
            raise Refused(f"that was too much at once: wait {max(1, round((1 - left) / self.a_second))} s, then go on")
