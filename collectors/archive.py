"""An export as a person has it: a zip, a folder they unpacked, or one file out of it. Read in place, bounded.

Nothing is ever unpacked to disk, so no name in an archive can point outside it.
"""

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, BinaryIO

from collectors.item import CollectError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAX_MEMBERS = 50_000
MAX_MEMBER = 1_000_000_000  # bytes of one file when unpacked
MAX_RATIO, RATIO_FROM = 400, 10_000_000  # how far a file may shrink, asked of files above this size
# What zipfile raises for damage; the last three where a header lies or asks for what Python cannot do.
_DAMAGE = (zipfile.BadZipFile, EOFError, zlib.error, struct.error, RuntimeError, ValueError)


class Archive:
    """The files of an export by name. `names` are relative with forward slashes, in the order they stand there."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._zip: zipfile.ZipFile | None = None
        self._members: dict[str, zipfile.ZipInfo | Path] = {}
        try:
            if self.path.is_dir():
                files = (p for p in self.path.rglob("*") if p.is_file() and not p.is_symlink())
                some = sorted(islice(files, MAX_MEMBERS + 1))
                self._members = {p.relative_to(self.path).as_posix(): p for p in some}
            elif not self.path.is_file():
                why = "it is a device" if self.path.exists() else "No such file or directory"
                raise CollectError(f"Cannot read {self.path} ({why}): check the name.")
            elif zipfile.is_zipfile(self.path):
                self._zip = zipfile.ZipFile(self.path)
                self._members = {info.filename: info for info in self._zip.infolist() if _plain(info)}
            else:
                self._members = {self.path.name: self.path}
        except OSError as error:
            reason = error.strerror or str(error)
            raise CollectError(f"Cannot read {self.path} ({reason}): check name and permission.") from None
        except CollectError:
            raise
        except _DAMAGE:
            raise CollectError(f"{self.path} is a damaged zip: download the export again.") from None
        if len(self._members) > MAX_MEMBERS:
            raise CollectError(f"{self.path} holds more than {MAX_MEMBERS:,} files: it is no export of likes.")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._members)

    @property
    def is_single(self) -> bool:
        """Whether it is one file as it stands, neither zip nor folder."""
        return self._zip is None and self.path.is_file()

    def size(self, name: str) -> int:
        """Bytes of a file when unpacked, as the archive says."""
        member = self._members[name]
        return member.stat().st_size if isinstance(member, Path) else member.file_size

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """Read one file. Raises CollectError for one that is encrypted, damaged, a bomb or larger than MAX_MEMBER."""
        member = self._members[name]
        if isinstance(member, zipfile.ZipInfo):
            if member.flag_bits & 0x1:
                raise CollectError(f"{self.path} is encrypted: unpack it with its password and give the folder.")
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                # zipfile unpacks the other kinds without a bound on what one read may hold.
                raise CollectError(f"{self.path} is packed in an unusual way: unpack it and give the folder.")
            if member.file_size > max(RATIO_FROM, MAX_RATIO * member.compress_size):
                raise CollectError(f"{name} in {self.path} grows {MAX_RATIO} times and more: that is no export.")
        with self._failures(name):
            if isinstance(member, zipfile.ZipInfo):
                assert self._zip
                file = self._zip.open(member)
            else:
                file = member.open("rb")
        with file:
            yield io.BufferedReader(_Bounded(file, self._failures(name), self._too_large(name)), 1 << 16)

    def _failures(self, name: str) -> "_Failures":
        return _Failures(f"{name} in {self.path}")

    def _too_large(self, name: str) -> str:
        return f"{name} of {self.path} is larger than {MAX_MEMBER // 10**6:,} MB: ask for an export of likes only."


class _Failures:
    """While one file is opened or read: says in a CollectError what was wrong with it. What the reader of the file
    raises by itself passes.
    """

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, OSError):
            why = error.strerror or error
            raise CollectError(f"Cannot read {self._where} ({why}): try again.") from None
        if isinstance(error, _DAMAGE):
            raise CollectError(f"{self._where} is damaged ({error}): download the export again.") from None


class _Bounded(io.RawIOBase):
    """Reads at most MAX_MEMBER bytes, whatever a header promised."""

    def __init__(self, file: IO[bytes], failures: _Failures, too_large: str) -> None:
        self._file, self._failures, self._too_large, self._left = file, failures, too_large, MAX_MEMBER

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        room = memoryview(buffer)
        with self._failures:
            got = self._file.read(len(room))
        self._left -= len(got)
        if self._left < 0:
            raise CollectError(self._too_large)
        room[: len(got)] = got
        return len(got)


def _plain(info: zipfile.ZipInfo) -> bool:
    """A file: no folder, no link, no name that points elsewhere."""
    name = PurePosixPath(info.filename)
    return bool(info.filename) and not (
        info.is_dir()
        or stat.S_ISLNK(info.external_attr >> 16)
        or name.is_absolute()
        or ".." in name.parts
        or "\\" in info.filename
    )
