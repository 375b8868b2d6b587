"""What a Hugging Face Space tells a program that runs there, by environment variables; imported before all else."""

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

FLAGS = "PALATE_FLAGS"  # of app.py: a Space starts it without any


@dataclass(frozen=True, slots=True)
class Space:
    """`zero_gpu`: an accelerator is lent there for seconds; `sign_in`: people may sign in, if they like."""

    zero_gpu: bool
    sign_in: bool
    flags: tuple[str, ...]


def space(told: Mapping[str, str] = os.environ) -> Space | None:
    """The Space that this process runs on, None elsewhere."""
    if not told.get("SPACE_ID"):
        return None
    return Space(
        zero_gpu=told.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true"),
        sign_in=bool(told.get("OAUTH_CLIENT_ID") and told.get("OAUTH_CLIENT_SECRET")),
        flags=tuple(shlex.split(told.get(FLAGS, ""))),
    )
