"""What each text is to the encoder in use, kept on disk: a text is encoded once, also after a restart."""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from engine import encoder
from studies.database import Database

BATCH = 500


class Vectors:
    """Called with texts it gives their vectors (N, E), as `engine.encoder.encode` does; float16 on disk."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self._stored: set[bytes] | None = None

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.keep(self.missing(texts))
        keys = [key_of(text) for text in texts]
        wanted = list(dict.fromkeys(keys))
        found: dict[bytes, NDArray[np.float32]] = {}
        for start in range(0, len(wanted), BATCH):
            batch = {f"k{n}": key for n, key in enumerate(wanted[start : start + BATCH])}
            rows = self.db.rows(
                f"""select text_hash, data from vector where encoder = :encoder
                and text_hash in ({", ".join(f":{name}" for name in batch)})""",
                encoder=encoder.NAME,
                **batch,
            )
            found |= {row["text_hash"]: np.frombuffer(row["data"], np.float16).astype(np.float32) for row in rows}
        return np.stack([found[key] for key in keys]) if keys else np.zeros((0, encoder.WIDTH), np.float32)

    def missing(self, texts: Iterable[str]) -> list[str]:
        """Those that are not encoded yet, each once."""
        stored = self._stored
        if stored is None:
            rows = self.db.rows("select text_hash from vector where encoder = :encoder", encoder=encoder.NAME)
            stored = self._stored = {row["text_hash"] for row in rows}
        return [text for text in dict.fromkeys(texts) if key_of(text) not in stored]

    def keep(self, texts: Sequence[str]) -> None:
        """Encode these and keep what comes of it."""
        if not texts:
            return
        vectors = encoder.encode(texts).astype(np.float16)
        with self.db.atomic():
            for text, vector in zip(texts, vectors, strict=True):
                self.db.run(
                    """insert into vector (text_hash, encoder, data) values (:key, :encoder, :data)
                    on conflict do nothing""",
                    key=key_of(text),
                    encoder=encoder.NAME,
                    data=vector.tobytes(),
                )
        if self._stored is not None:
            self._stored.update(map(key_of, texts))

    def forget(self) -> None:
        """Everything was deleted."""
        self._stored = None
        encoder.forget()


def key_of(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:16]
