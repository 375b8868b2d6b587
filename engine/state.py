"""What a method has learned, on disk: one safetensors file a state, with the facts it belongs to in its header."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from engine.methods.base import State

Facts = Mapping[str, str]


class StateError(RuntimeError):
    """A state that cannot be used. The message is one sentence that says what to do."""


def key(facts: Facts) -> str:
    """Names the file: 16 hex digits of the facts' sha256."""
    return hashlib.sha256(json.dumps(dict(facts), sort_keys=True).encode()).hexdigest()[:16]


def content(state: State) -> str:
    """sha256 of the tensors, rounded to bfloat16: the same for a state as it was learned and as it is shipped."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode() + state[name].detach().bfloat16().cpu().view(torch.int16).numpy().tobytes())
    return digest.hexdigest()


def save(path: Path, state: State, facts: Facts, dtype: torch.dtype = torch.float32) -> None:
    """Write whole or not at all: to a temporary name, then renamed. Raises StateError where there is no room."""
    unfinished = path.with_suffix(".unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: t.detach().to(dtype).contiguous().cpu() for name, t in state.items()}, unfinished, dict(facts))
        unfinished.replace(path)
    except (SafetensorError, OSError) as error:
        unfinished.unlink(missing_ok=True)
        raise StateError(f"{path} cannot be written ({error}): free some space; what was there before stays") from error


def load(path: Path, facts: Facts) -> State:
    """Read a state that must belong to `facts`, as float32; StateError. What else its header holds is not asked about,
    but for the base: one that was learned over an adapter does not fit a model without."""
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            wrong = [name for name in dict.fromkeys((*facts, "base")) if header.get(name, "") != facts.get(name, "")]
            if wrong:
                raise StateError(
                    f"{path} was learned for another {wrong[0]} ({header.get(wrong[0]) or 'none'}, here "
                    f"{facts.get(wrong[0]) or 'none'}): learn it anew"
                )
            state = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118  # no mapping
    except (SafetensorError, OSError) as error:
        raise StateError(f"{path} cannot be read ({error}): delete it and learn it anew") from error
    broken = [name for name, tensor in state.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise StateError(f"{path} holds values that are no numbers ({broken[0]}): delete it and learn it anew")
    return state


def parameters(state: State) -> int:
    return sum(tensor.numel() for tensor in state.values())
