"""Names of authors, hashed with a salt that never leaves this installation: the same author stays the same here, and
two installations cannot compare theirs."""

import hashlib
import os
import secrets
from functools import cache
from pathlib import Path


def pseudonym(source: str, author: str) -> str:
    """16 hex digits for an author of a source, "" for nobody."""
    gone = author.strip().lower() in ("", "[deleted]", "[removed]")
    return "" if gone else hashlib.blake2b(f"{source}|{author}".encode(), digest_size=8, key=_salt()).hexdigest()


@cache
def _salt() -> bytes:
    """32 random bytes, made once beside the cached weights and readable by their owner only."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "palate"
    folder = Path(os.environ.get("PALATE_CACHE") or cache).expanduser()
    path = folder / "salt"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(secrets.token_bytes(32))
    except FileExistsError:
        pass
    except OSError:  # nowhere to keep it: this run's hashes are its own
        return secrets.token_bytes(32)
    return path.read_bytes() or secrets.token_bytes(32)
