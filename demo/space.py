"""What a Hugging Face Space tells a program that runs there, by environment variables; imported before all else."""

import os
import shlex
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Space:
    """`zero_gpu`: an accelerator is lent there for seconds; `sign_in`: people may sign in, if they like; `flags` are of
    app.py, which a Space starts without any."""

    zero_gpu: bool
    sign_in: bool
    flags: tuple[str, ...]


def space() -> Space | None:
    """The Space that this process runs on, None elsewhere."""
    if not os.environ.get("SPACE_ID"):
        return None
    return Space(
        zero_gpu=os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true"),
        sign_in=bool(os.environ.get("OAUTH_CLIENT_ID") and os.environ.get("OAUTH_CLIENT_SECRET")),
        flags=tuple(shlex.split(os.environ.get("PALATE_FLAGS", ""))),
    )
