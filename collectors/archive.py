"""An export as a person has it: a zip, a folder they unpacked, or one file out of it. Read in place, bounded.

Nothing is ever unpacked to disk, so no name in an archive can point outside it.
"""

import io
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from collectors.item import CollectError

MAX_MEMBERS = 50_000
MAX_MEMBER = 1_000_000_000  # bytes of one file when unpacked
MAX_RATIO, RATIO_FROM = 400, 10_000_000  # how far a file may shrink, asked of files above this size


class Archive:
    """The files of an export by name. `names` are relative with forward slashes, in the order they stand there."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._zip: zipfile.ZipFile | None = None
        self._members: dict[str, zipfile.ZipInfo | Path] = {}
        try:
            if self.path.is_dir():
                files = sorted(p for p in self.path.rglob("*") if p.is_file() and not p.is_symlink())
                self._members = {p.relative_to(self.path).as_posix(): p for p in files[: MAX_MEMBERS + 1]}
            elif not self.path.is_file():
                why = "it is a device" if self.path.exists() else "No such file or directory"
                raise CollectError(f"Cannot read {self.path} ({why}): check the name.")
            elif zipfile.is_zipfile(self.path):
                self._zip = zipfile.ZipFile(self.path)
                self._members = {info.filename: info for info in self._zip.infolist() if _plain(info)}
            else:
                self._members = {self.path.name: self.path}
        except OSError as error:
            raise CollectError(f"Cannot read {self.path} ({error.strerror}): check name and permission.") from None
        except (zipfile.BadZipFile, ValueError, NotImplementedError):
            raise CollectError(f"{self.path} is a damaged zip: download the export again.") from None
        if len(self._members) > MAX_MEMBERS:
            raise CollectError(f"{self.path} holds more than {MAX_MEMBERS:,} files: it is no export of likes.")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._members)

    def size(self, name: str) -> int:
        """Bytes of a file when unpacked, as the archive says."""
        member = self._members[name]
        return member.stat().st_size if isinstance(member, Path) else member.file_size

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """Read one file. Raises CollectError for one that is encrypted, damaged, a bomb or larger than MAX_MEMBER."""
        member = self._members[name]
        try:
            if isinstance(member, Path):
                with member.open("rb") as file:
                    yield io.BufferedReader(_Bounded(file, self._too_large(name)), 1 << 16)
                return
            if member.flag_bits & 0x1:
                raise CollectError(f"{self.path} is encrypted: unpack it with its password and give the folder.")
            if member.file_size > max(RATIO_FROM, MAX_RATIO * member.compress_size):
                raise CollectError(f"{name} in {self.path} grows {MAX_RATIO} times and more: that is no export.")
            assert self._zip
            with self._zip.open(member) as file:
                yield io.BufferedReader(_Bounded(file, self._too_large(name)), 1 << 16)
        except (zipfile.BadZipFile, EOFError, NotImplementedError, zlib.error) as error:
            raise CollectError(f"{name} in {self.path} is damaged ({error}): download the export again.") from None
        except OSError as error:
            raise CollectError(f"Cannot read {name} of {self.path} ({error.strerror or error}): try again.") from None

    def _too_large(self, name: str) -> str:
        return f"{name} of {self.path} is larger than {MAX_MEMBER // 10**6:,} MB: ask for an export of likes only."


class _Bounded(io.RawIOBase):
    """Reads at most MAX_MEMBER bytes, whatever a header promised."""

    def __init__(self, file: BinaryIO | zipfile.ZipExtFile, why: str) -> None:  # type: ignore[valid-type]
        self._file, self._why, self._left = file, why, MAX_MEMBER

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        got = self._file.read(len(buffer))
        self._left -= len(got)
        if self._left < 0:
            raise CollectError(self._why)
        buffer[: len(got)] = got
        return len(got)


def _plain(info: zipfile.ZipInfo) -> bool:
    """A file: no folder, no link, no name that points elsewhere."""
    name = PurePosixPath(info.filename)
    return not (
        info.is_dir()
        or stat.S_ISLNK(info.external_attr >> 16)
        or name.is_absolute()
        or ".." in name.parts
        or "\\" in info.filename
    )
