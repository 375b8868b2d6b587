"""What was chosen on the Models page: a small file in the data folder, deleted with all the rest."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from engine.methods.base import PRESETS, USUAL
from engine.plan import Quantize
from studies.database import StoreError

FILE = "settings.json"


@dataclass(frozen=True, slots=True)
class Settings:
    """`model` is a hub id or folder, None for the embedded one; `preset` names the sampler."""

    model: str | None = None
    quantize: Quantize = "auto"
    preset: str = USUAL


def read(folder: Path) -> Settings:
    """What was chosen; what is not there or cannot be read is as it is at first."""
    try:
        told = json.loads((folder / FILE).read_text(encoding="utf-8"))
        model, quantize, preset = (told.get(name) for name in ("model", "quantize", "preset"))
    except (OSError, ValueError, AttributeError):
        return Settings()
    return Settings(
        model if isinstance(model, str) else None,
        quantize if quantize in ("none", "int8", "nf4") else "auto",
        preset if preset in PRESETS else USUAL,
    )


def change(folder: Path, **chosen: Any) -> None:
    """Keep a choice, whole or not at all; the others stay. Raises StoreError."""
    unfinished = folder / f"{FILE}.unfinished"
    try:
        unfinished.write_text(json.dumps(asdict(replace(read(folder), **chosen)), indent=1) + "\n", encoding="utf-8")
        unfinished.replace(folder / FILE)
    except OSError as error:
        raise StoreError(f"{folder} cannot be written ({error.strerror}): choose a writable --data-dir") from error
