"""A model from the hub into the hub's own cache, with progress, and with a stop that loses nothing.

The hub's client throws a file away that is stopped half-way (huggingface_hub 2.4), and the weights of a model are often
one file. So large files are fetched here, into a part that the next try goes on with, and take their place among the
cache's blobs once they are whole; the client does the rest, and finds them there.
"""

import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from engine.weights import CHUNK, WANTED, WeightsError, sha256, trouble

SMALL = 16 * CHUNK  # bytes of a file up to which it is left to the client: begun anew at no great loss
RETRIES = 5  # breaks of the line in a row, nothing coming between them
PART = ".palate.incomplete"

OnBytes = Callable[[int, int], None]  # (bytes that are here, bytes in all)


class Stopped(Exception):
    """The person ended it; what came is kept."""


def part_of(model: str) -> int:
    """Bytes that a stopped download of this model has left for the next one."""
    return sum(part.stat().st_size for part in _blobs(model).glob(f"*{PART}"))


def fetch(model: str, on_bytes: OnBytes, stopped: Callable[[], bool]) -> None:
    """Fetch what is missing of a model. Raises WeightsError with a sentence for people, Stopped after `stopped`."""
    import httpx2
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, snapshot_download

    try:
        files = snapshot_download(model, allow_patterns=WANTED, dry_run=True)
        of = sum(file.file_size or 0 for file in files)
        here = sum(file.file_size or 0 for file in files if not file.will_download)
        large = [file for file in files if file.will_download and (file.file_size or 0) > SMALL]
        blobs = _blobs(model)
        blobs.mkdir(parents=True, exist_ok=True)
        _check_room(model, blobs, of - here - part_of(model))
        on_bytes(here + part_of(model), of)
        for file in large:
            url, size = hf_hub_url(model, file.filename, revision=file.commit_hash), file.file_size or 0
            blob = blobs / str(get_hf_file_metadata(url).etag)
            _fetch_one(url, blob, size, stopped, partial(_beside, on_bytes, here, of))
            here += size
        snapshot_download(model, allow_patterns=WANTED)
        on_bytes(of, of)
    except (OSError, ValueError, httpx2.HTTPError) as error:
        raise trouble(model, error) from error


def _beside(on_bytes: OnBytes, here: int, of: int, more: int) -> None:
    on_bytes(here + more, of)


def _fetch_one(url: str, blob: Path, size: int, stopped: Callable[[], bool], on_bytes: Callable[[int], None]) -> None:
    part = blob.with_name(blob.name + PART)
    try:
        with FileLock(f"{part}.lock", timeout=0):
            _fill(url, part, size, stopped, on_bytes)
            if part.stat().st_size != size or (len(blob.name) == 64 and sha256(part) != blob.name):
                part.unlink()
                raise WeightsError("what came of it is damaged, and was thrown away: try again")
            part.replace(blob)
    except Timeout as error:
        raise WeightsError("another program fetches it right now: wait for that one") from error


def _fill(url: str, part: Path, size: int, stopped: Callable[[], bool], on_bytes: Callable[[int], None]) -> None:
    """Append to `part` until it has `size` bytes; goes on where it ended, also after the line broke."""
    import httpx2
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status  # type: ignore[attr-defined]

    breaks = 0
    with part.open("ab") as out:
        while (had := out.tell()) < size:
            headers = {**build_hf_headers(), "Accept-Encoding": "identity", "Range": f"bytes={had}-"}
            try:
                with get_session().stream("GET", url, headers=headers) as reply:
                    hf_raise_for_status(reply)
                    if reply.status_code != 206:  # it sends all of it again
                        out.truncate(0)
                    for chunk in reply.iter_bytes(CHUNK):
                        if stopped():
                            raise Stopped
                        out.write(chunk)
                        on_bytes(out.tell())
            except httpx2.TransportError:
                breaks = breaks + 1 if out.tell() == had else 0
                if breaks > RETRIES:
                    raise
                time.sleep(1)


def _check_room(model: str, folder: Path, missing: int) -> None:
    free = shutil.disk_usage(folder).free
    if missing > free:
        raise WeightsError(
            f"{model} needs {missing / 1e9:.1f} GB more on the disk of {folder}, {free / 1e9:.1f} free: free some space"
        )


def _blobs(model: str) -> Path:
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=model, repo_type="model") / "blobs"
