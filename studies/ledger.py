"""What the visitors of a hosted room voted, all of them, for good: who of them, which arms, what was chosen. Never a
text, a topic or a name: a visitor is the hash by which their folder is called.

Lines are only ever added, to a segment of this process alone, and are on disk when `write` returns. A segment that is
full or old enough is closed: it moves into `closed/`, and changes no more unless a visitor deletes everything. So what
is closed may be copied elsewhere at any time (`studies.afar`), and what is read from there adds up.
"""

import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from studies.database import StoreError
from studies.outcome import Outcome, outcome
from studies.ratings import Ballot
from studies.schedule import PICTURE
from studies.store import CHOICES, FLAGS, now

FOLDER, CLOSED = "ledger", "closed"
LINES, SECONDS = 500, 10 * 60.0  # of a segment, after which it is closed with the next line
log = logging.getLogger(__name__)


class Ledger:
    """Opens the ledger in a data folder with all that was kept before; methods may be called from any thread.

    `damaged` counts lines that cannot be read, as a kill or a full disk leaves them: they are passed over.
    """

    def __init__(self, folder: Path, lines: int = LINES, seconds: float = SECONDS) -> None:
        self.folder, self.closed = folder / FOLDER, folder / FOLDER / CLOSED
        self.closed.mkdir(parents=True, exist_ok=True)
        self.most, self.seconds = lines, seconds
        self.lock = threading.Lock()  # held while lines are added and while segments move or change
        self.damaged = 0
        self._open: TextIO | None = None
        self._lines, self._since = 0, 0.0
        self._ballots: dict[str, Ballot] = {}  # by trial, in the order of voting
        self._changes = 0
        self._told: tuple[int, Outcome, Outcome] | None = None  # after how many changes it was reckoned
        self._reckoning = threading.Lock()
        for left in self.folder.glob("*.jsonl"):  # an earlier run was killed
            left.rename(self.closed / left.name)
        self._read()

    def write(self, rater: str, **what: Any) -> None:
        """Add one line on this visitor and have it on disk: a vote (`vote`, `left`, `right`, `choice`, `flags`,
        `engine`, of pictures also `kind`), one taken back (`undo`), or that they deleted everything (`gone`). Raises
        StoreError."""
        line = {"rater": rater, "at": now(), **what}
        try:
            with self.lock:
                if self._open and (self._lines >= self.most or time.monotonic() - self._since > self.seconds):
                    self._close()
                if not self._open:
                    # By age: what is told in one millisecond counts in the order in which it was told.
                    name = f"votes-{time.time_ns()}-{uuid.uuid4().hex[:8]}.jsonl"
                    self._open = (self.folder / name).open("a", encoding="utf-8")
                    self._lines, self._since = 0, time.monotonic()
                self._open.write(json.dumps(line) + "\n")
                self._open.flush()
                os.fsync(self._open.fileno())
                self._lines += 1
                self._count(line)
                if "gone" in what:
                    self._close()
                    self._rewrite(rater)
        except OSError as error:
            raise StoreError(f"{self.folder} cannot be written ({error.strerror}): free some space") from error

    def close(self) -> None:
        """Close the segment under way."""
        with self.lock:
            self._close()

    def close_old(self) -> None:
        """Close the segment under way if it is old enough, so that it can be copied though nobody votes any more."""
        with self.lock:
            if time.monotonic() - self._since > self.seconds:
                self._close()

    def ballots(self, *, pictures: bool = False) -> list[Ballot]:
        """Every vote that counts, of everybody, on texts or on pictures."""
        with self.lock:
            return [ballot for ballot in self._ballots.values() if (ballot.kind == PICTURE) == pictures]

    def outcome(self, *, pictures: bool = False) -> Outcome:
        """What came of everybody's votes, reckoned anew only after a vote came; no vote waits for it."""
        with self._reckoning:
            with self.lock:
                changes = self._changes
            if self._told is None or self._told[0] != changes:
                self._told = changes, outcome(self.ballots()), outcome(self.ballots(pictures=True))
            _, texts, painted = self._told
            return painted if pictures else texts

    def _count(self, line: dict[str, Any]) -> None:
        """Let a line count; raises KeyError, TypeError or ValueError for one that is none."""
        rater = line["rater"]
        if "vote" in line:
            sides = {side for side, kind in line["flags"] if kind == "sounds_ai"}
            if line["choice"] not in CHOICES["pair"] or not sides.issubset(side for side, _ in FLAGS):
                raise ValueError("no vote")
            there = Ballot(
                str(rater), str(line["left"]), str(line["right"]), line["choice"], frozenset(sides),
                kind=str(line.get("kind", "")),
            )  # fmt: skip
            self._ballots.setdefault(str(line["vote"]), there)
        elif "undo" in line:
            self._ballots.pop(line["undo"], None)
        elif line["gone"]:
            for trial in [trial for trial, ballot in self._ballots.items() if ballot.rater == rater]:
                del self._ballots[trial]
        self._changes += 1

    def _read(self) -> None:
        lines = []
        for path in sorted(self.closed.glob("*.jsonl")):
            for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    line = json.loads(text)
                    lines.append((str(line["at"]), "vote" not in line, line))
                except (ValueError, KeyError, TypeError):
                    self.damaged += 1
        for *_, line in sorted(lines, key=lambda found: found[:2]):  # what was taken back comes after its vote
            try:
                self._count(line)
            except (KeyError, TypeError, ValueError):
                self.damaged += 1
        if self.damaged:
            log.warning("%d lines of %s cannot be read and do not count", self.damaged, self.folder)

    def _close(self) -> None:
        if self._open:
            self._open.close()
            name = Path(self._open.name).name
            self._open = None
            (self.folder / name).rename(self.closed / name)

    def _rewrite(self, rater: str) -> None:
        """Leave of this visitor in the closed segments only that they are gone: a copy of before may come back."""
        for path in self.closed.glob("*.jsonl"):
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
            kept = [line for line in lines if rater not in line or '"gone"' in line]
            if kept != lines:
                part = path.with_suffix(".part")
                part.write_text("".join(kept), encoding="utf-8")
                part.rename(path)


Tell = Callable[..., None]  # `Ledger.write` for one visitor
