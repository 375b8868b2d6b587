"""Jobs that do not need each other: one after the other here or, with `--ray`, side by side in workers of a cluster.

A job is plain data, and what does it reads and writes files by itself: so the same is done here and there, with the
same result, and little is sent around. `work` goes to each worker once, and stays: what it loads (a model, above all)
it loads once. Jobs that stand side by side may share what was learned, so a worker has a stretch of them, in their
order, and when it is through takes from the end of the longest one left.
"""

import argparse
import os
import socket
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import torch

HERE = "local"  # a cluster of this machine, for as long as the jobs take
OBJECTS = 100 * 2**20  # bytes of memory that processes share; what jobs are and what they say is small
Job = TypeVar("Job")
Told = TypeVar("Told")


class ClusterError(RuntimeError):
    """A cluster that is not there, or a worker that died. The message is one sentence that says what to do."""


def flag(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument(
        "--ray",
        nargs="?",
        const=HERE,
        metavar="ADDRESS",
        help=f"{what} side by side, by Ray: in as many processes as this machine has cores (or GPUs), or in those of "
        "the cluster at ADDRESS",
    )


def each(
    work: Callable[[Job], Told], jobs: Sequence[Job], cluster: str | None, name: Callable[[Job], str] = str
) -> Iterator[tuple[Job, Told]]:
    """What `work` says to each job, as soon as it is done; without a cluster here, in order.

    What it raises ends the run, and so does a worker that dies: ClusterError, with the job's `name`.
    """
    if cluster is None or not jobs:
        yield from ((job, work(job)) for job in jobs)
        return
    with _joined(cluster) as ray:
        most, needs = workers_of(ray.available_resources())
        worker = ray.remote(**needs)(_Worker)
        running, stretches = {}, stretches_of(len(jobs), most)
        for own in stretches:
            at = own.popleft()
            one = worker.remote(Path.cwd(), work)
            running[one.do.remote(jobs[at])] = at, own, one
        while running:
            [done], _ = ray.wait(list(running))
            at, own, one = running.pop(done)
            told = _got(ray, done, name(jobs[at]))
            if (then := next_of(own, stretches)) is not None:
                running[one.do.remote(jobs[then])] = then, own, one
            del one  # who has nothing to do goes, and leaves its place to one that waits for it
            yield jobs[at], told


def stretches_of(jobs: int, workers: int) -> list[deque[int]]:
    """Numbers of jobs, about as many for each worker; none is empty."""
    workers = min(jobs, workers)
    ends = [jobs * n // workers for n in range(workers + 1)]
    return [deque(range(start, end)) for start, end in pairwise(ends)]


def next_of(own: deque[int], stretches: Sequence[deque[int]]) -> int | None:
    """The next of one's own, or the last of the longest stretch; None where nothing is left."""
    if own:
        return own.popleft()
    longest = max(stretches, key=len)
    return longest.pop() if longest else None


def workers_of(resources: dict[str, float]) -> tuple[int, dict[str, int]]:
    """How many workers a cluster has room for, and what each holds: a GPU where there are any, else a core."""
    cores, gpus = (max(0, int(resources.get(name, 0))) for name in ("CPU", "GPU"))
    return (gpus, {"num_cpus": 1, "num_gpus": 1}) if gpus else (max(1, cores), {"num_cpus": 1})


class _Worker:
    """One process of the cluster."""

    def __init__(self, folder: Path, work: Callable[[Any], Any]) -> None:
        os.chdir(folder)  # so that paths mean what they mean where the run was started
        torch.set_num_threads(1)  # the other cores have workers of their own
        self._work = work

    def do(self, job: Any) -> Any:
        return self._work(job)


@contextmanager
def _joined(cluster: str) -> Iterator[Any]:
    """Ray, connected. Its own cluster listens beyond this machine as well, and asks for a token (Ray's default)."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # 15 by default: whatever else runs would go first
    try:
        ray: Any = import_module("ray")  # late: most never need it
    except ImportError as error:
        raise ClusterError("--ray needs Ray: pip install -r requirements-ray.txt") from error
    with tempfile.TemporaryDirectory(prefix="palate-ray-", ignore_cleanup_errors=True) as logs:
        own = {"include_dashboard": False, "object_store_memory": OBJECTS, "_temp_dir": logs} if cluster == HERE else {}
        try:
            if cluster != HERE:
                _knock(cluster)
            ray.init(cluster, log_to_driver=False, logging_level="ERROR", **own)
        except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            raise ClusterError(
                f"no Ray cluster can be used at {cluster} ({_in_short(error)}): start one by ray start --head and give "
                "the HOST:PORT that it tells, or leave it out"
            ) from error
        try:
            yield ray
        finally:
            ray.shutdown()


def _knock(address: str) -> None:
    """Raise OSError or ValueError where nobody listens: Ray itself goes on asking for a quarter of an hour."""
    host, _, port = address.rpartition(":")
    socket.create_connection((host, int(port)), timeout=5).close()


def _got(ray: Any, done: Any, name: str) -> Any:
    """What a job said; what it raised is raised here, as it was."""
    try:
        return ray.get(done)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except ray.exceptions.RayError as error:
        raise ClusterError(
            f"{name}: its worker died ({_in_short(error)}): each needs Palate in the same folder as here and the "
            "memory of a whole run; a cluster of ray start --head --num-cpus 2 has two"
        ) from error


def _in_short(error: Exception) -> str:
    """The end of what may be a page."""
    return str(error).strip().rpartition("\n")[2].strip()[:200]
