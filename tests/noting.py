"""Work for a cluster that notes what it was given; a file of its own, so that a worker loads nothing else for it."""

import os
import time
from pathlib import Path

import torch


class Noting:
    """What a worker is, and what it was given so far."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, job: str) -> tuple[int, int, str, list[str]]:
        self.seen.append(job)
        if job == "die":
            os._exit(7)
        if job == "refuse":
            raise LookupError("there is no such thing")
        time.sleep(0.1)
        return os.getpid(), torch.get_num_threads(), str(Path.cwd()), self.seen
