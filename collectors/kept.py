"""What a service answered, kept on disk, so that nothing is asked twice and a kill costs one answer at most."""

import json
import os
import time
from pathlib import Path
from typing import Any, BinaryIO

from collectors.item import CollectError

MAX_LINE = 1_000_000  # bytes of one line; a longer one is not ours


class Kept:
    """One file of JSON lines, {"id", "at" (Unix seconds), "value"}, appended to by one process at a time. A line that
    cannot be read, such as a half-written last one, counts as not there. Raises CollectError where nothing can be kept.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._places: dict[str, tuple[int, float]] = {}  # id -> where its latest line begins, and when it was written
        self._outdated = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = _open(path)
        except OSError as error:
            raise self._failed(error) from None
        self._index()

    def __enter__(self) -> "Kept":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def age(self, key: str) -> float:
        """Seconds since it was kept."""
        return time.time() - self._places[key][1]

    def __getitem__(self, key: str) -> Any:
        self._file.seek(self._places[key][0])
        return json.loads(self._file.readline(MAX_LINE))["value"]

    def keep(self, key: str, value: object) -> None:
        """On disk when this returns; `value` is plain JSON."""
        at = time.time()
        line = json.dumps({"id": key, "at": at, "value": value}) + "\n"
        self._outdated |= key in self._places
        try:
            place = self._file.seek(0, os.SEEK_END)
            self._file.write(line.encode())
            self._file.flush()
        except OSError as error:
            raise self._failed(error) from None
        self._places[key] = (place, at)

    def close(self) -> None:
        """Lines that a later one replaced leave the disk here: a text that its author removed must be gone."""
        if self._file.closed:
            return
        try:
            if self._outdated:
                part = self._path.with_name(self._path.name + ".part")
                part.unlink(missing_ok=True)
                with _open(part) as fresh:
                    for place, _ in self._places.values():
                        self._file.seek(place)
                        fresh.write(self._file.readline(MAX_LINE))
                os.replace(part, self._path)
        except OSError as error:
            raise self._failed(error) from None
        finally:
            self._file.close()

    def _index(self) -> None:
        place = self._file.seek(0)
        line = b"\n"
        while following := self._file.readline(MAX_LINE):
            line = following
            try:
                row = json.loads(line)
                key, at = str(row["id"]), float(row["at"])
                row["value"]
            except (ValueError, KeyError, TypeError, RecursionError):
                self._outdated = True
            else:
                self._outdated |= key in self._places
                self._places[key] = (place, at)
            place += len(line)
        if not line.endswith(b"\n"):
            self._file.write(b"\n")

    def _failed(self, error: OSError) -> CollectError:
        return CollectError(f"Cannot keep {self._path} ({error.strerror}): check folder, permission and space.")


def _open(path: Path) -> BinaryIO:
    """For reading and appending, readable by its owner only: it shows what somebody liked."""
    return os.fdopen(os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600), "r+b")
