"""One thread that does a kind of work for all others.

What torch and oneDNN compile and buffer for a shape they keep for each thread, and a room of a visitor is a thread: two
dozen decodes of many lengths kept 25 MB in one thread and 129 MB in twenty, and the process 0.8 GB more (log
2026-11-29).
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class Alone:
    """Does one piece of work after the other, in a thread of that name."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._begin()
        os.register_at_fork(after_in_child=self._begin)  # a forked process has no thread but the one that forked

    def _begin(self) -> None:
        self._pool = ThreadPoolExecutor(1, self._name)

    def do(self, work: Callable[[], T]) -> T:
        """What `work` returns or raises. It goes on if whoever waits is interrupted: let it ask whether to stop."""
        return self._pool.submit(work).result()
