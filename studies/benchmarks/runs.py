"""How an offline benchmark is run and kept: cell by cell, so that a kill loses one, and with all that a rerun needs.

An experiment is a JSON file in `studies/experiments` that says which benchmark, and only those settings that differ
from its defaults. Its result is a JSON file of the same name in `studies/results`. Neither is edited: another question
is another experiment. Cells that are done lie in the work folder, with what was predicted in each.
"""

import gzip
import hashlib
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol

import psutil
from filelock import FileLock, Timeout

from engine import cluster
from studies.benchmarks.controls import with_controls

Row = dict[str, Any]
ROOT = Path(__file__).parents[2]
EXPERIMENTS, RESULTS = ROOT / "studies" / "experiments", ROOT / "studies" / "results"
# settings that say where files lie; what is in them stands in the result by its hash
FOLDERS = ("data", "train", "states", "populations")
# settings that say which cells there are and not what is in one: with other rows a run goes on from those it has
CHOOSING = ("controls", "ks", "methods", "retrievers", "seeds", "trained", "ways")
SHARED = (
    "detect.py",
    "judge.py",
    "benchmarks/adapters.py",
    "benchmarks/jester.py",
    "benchmarks/jester_intervals.py",
    "benchmarks/movielens_files.py",
    "benchmarks/rows.py",
    "benchmarks/scores.py",
    "benchmarks/tagging.py",
)
PACKAGES = (
    "bm25s",
    "lenskit",
    "nltk",
    "numpy",
    "pandas",
    "rouge-score",
    "sacrebleu",
    "scikit-learn",
    "scipy",
    "sentence-transformers",
    "torch",
    "torch-rechub",
    "transformers",
)


class CannotRun(ValueError):
    """A benchmark that cannot begin: its data or its settings. One sentence that says what to do."""


@dataclass(frozen=True, eq=False)
class Done:
    """What a cell found: the figures of its row, and its predictions as JSON values, one a line."""

    figures: Row
    predictions: Iterable[Any] = ()


@dataclass(frozen=True, eq=False)
class Cell:
    """One row of a table to be: `of` names it (method, seed, protocol), `make` computes it."""

    of: Row
    make: Callable[[], Done]

    @property
    def key(self) -> str:
        return hashlib.sha256(json.dumps(self.of, sort_keys=True).encode()).hexdigest()[:16]


class Benchmark(Protocol):
    """A module that measures one kind of task. `Settings` is a frozen dataclass of plain values, `data` among them."""

    __name__: str
    __file__: str | None
    Settings: Any

    def files(self, settings: Any) -> list[Path]:
        """The data that is read. Raises CannotRun."""

    def cells(self, settings: Any) -> Iterator[Cell]:
        """All that there is to compute, in order. Raises CannotRun."""


def settings_of(benchmark: Benchmark, told: Mapping[str, Any]) -> Any:
    """The defaults with what an experiment or a flag says. Raises CannotRun for what is not known."""
    known = benchmark.Settings.__dataclass_fields__
    if unknown := sorted(set(told) - set(known)):
        raise CannotRun(f"{unknown[0]!r} is no setting here: use {', '.join(sorted(known))}")
    return benchmark.Settings(**{k: tuple(v) if isinstance(v, list) else v for k, v in told.items()})


def plain(settings: Any) -> Row:
    """All settings but where data lies."""
    return {key: value for key, value in asdict(settings).items() if key not in FOLDERS}


def _modules(benchmark: Benchmark) -> list[Path]:
    """The files that compute its cells: its own, those beside it whose names begin with its, what benchmarks share, and
    the engine."""
    own = Path(benchmark.__file__ or "")
    mine = {own, *own.parent.glob(f"{own.stem}_*.py")}
    return sorted(mine | {ROOT / "studies" / name for name in SHARED} | {*(ROOT / "engine").rglob("*.py")})


def run(
    benchmark: Benchmark, settings: Any, work: Path, only: int | None = None, ray: str | None = None
) -> Iterator[str | Row]:
    """Compute every cell that the work folder does not hold yet. Yields lines of progress, then the result.

    A cell that fails is told and does not stop the rest; the same command tries it again. Processes that run at once on
    one work folder share the cells, and compute none twice that succeeds; with `only` those of one seed, so that what
    it learns stays in one process: each learns for itself. With `ray` workers of a cluster share them in the same way
    (`engine.cluster`), and what each has computed is told when it is done. Raises CannotRun, and ClusterError.
    """
    data = dict(_named_files(benchmark.files(settings)))
    told = plain(settings)
    same = {key: value for key, value in told.items() if key not in CHOOSING}
    code = [_digest(path) for path in _modules(benchmark)]
    held = work / hashlib.sha256(json.dumps([benchmark.__name__, code, same, data]).encode()).hexdigest()[:16]
    held.mkdir(parents=True, exist_ok=True)
    wanted = [cell for cell in benchmark.cells(settings) if only is None or cell.of.get("seed") == only]
    if not wanted:
        raise CannotRun(f"there is no cell of seed {only}: leave --only out")
    todo = [cell for cell in wanted if not _path(cell, held).is_file()]
    errors: dict[str, str] = {}
    yield from _beside(benchmark, settings, todo, held, errors, ray) if ray and todo else _here(todo, held, errors)
    done = [(cell.of, path) for cell in wanted if (path := _path(cell, held)).is_file()]
    found = [(of, json.loads(path.read_text(encoding="utf-8")), _predictions(path)) for of, path in done]
    failed = [{**cell.of, "error": errors[cell.key]} for cell in wanted if not _path(cell, held).is_file()]
    name = benchmark.__name__.rpartition(".")[2]
    rows = with_controls(name, found)
    yield {
        "benchmark": name,
        "settings": told,
        "data": data,
        **_machine(),
        "wall_seconds": round(sum(row["seconds"] for row in rows), 1),  # of whatever run computed them
        "rows": rows,
        "failed": failed,
    }


def _here(todo: Sequence[Cell], held: Path, errors: dict[str, str]) -> Iterator[str]:
    spent: list[float] = []
    for n, cell in enumerate(_in_turn(todo, held)):
        if _path(cell, held).is_file():  # by now: another process was at it
            continue
        yield f"{n + 1} of {len(todo)}, {_left(spent, len(todo) - n)}: {_named(cell.of)}"
        before = time.monotonic()
        if error := _tried(cell, held):
            errors[cell.key] = error
            yield f"failed: {error}"
        else:
            spent.append(time.monotonic() - before)


def _beside(
    benchmark: Benchmark, settings: Any, todo: Sequence[Cell], held: Path, errors: dict[str, str], ray: str
) -> Iterator[str]:
    yield f"{len(todo)} cells are shared by workers of Ray"
    names, began = {cell.key: _named(cell.of) for cell in todo}, time.monotonic()
    work = partial(_one, benchmark, settings, held)
    for n, (key, error) in enumerate(cluster.each(work, list(names), ray, names.__getitem__), 1):
        spent = [(time.monotonic() - began) / n]  # of all workers together
        yield f"{n} of {len(todo)} done, {_left(spent, len(todo) - n)}: {names[key]}"
        if error:
            errors[key] = error
            yield f"failed: {error}"


def _one(benchmark: Benchmark, settings: Any, held: Path, key: str) -> str:
    """In a worker: compute the cell, unless it is there; why it failed, or ""."""
    [cell] = [cell for cell in benchmark.cells(settings) if cell.key == key]
    with FileLock(_path(cell, held).with_suffix(".lock")):
        return "" if _path(cell, held).is_file() else _tried(cell, held)


def _tried(cell: Cell, held: Path) -> str:
    """Compute and keep; why it failed, or ""."""
    before = time.monotonic()
    try:
        _keep(_path(cell, held), cell, cell.make(), before)
    except (CannotRun, EOFError, MemoryError, OSError, RuntimeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"[:300]
    return ""


def _path(cell: Cell, held: Path) -> Path:
    return held / f"{cell.key}.json"


def _in_turn(cells: Sequence[Cell], held: Path) -> Iterator[Cell]:
    """Each cell while nobody else is at it; those that another process is at come last, done or left behind by then."""
    busy = []
    for cell in cells:
        try:
            with FileLock(_path(cell, held).with_suffix(".lock"), timeout=0):
                yield cell
        except Timeout:
            busy.append(cell)
    for cell in busy:
        with FileLock(_path(cell, held).with_suffix(".lock")):
            yield cell


def _named_files(paths: Iterable[Path]) -> Iterator[tuple[str, str]]:
    """Name and digest of each, in their order; a name that comes again is another file, of those who teach or of those
    who are judged."""
    told: list[str] = []
    for path in paths:
        told.append(f"{path.parent.name}/{path.name}")
        again = told.count(told[-1])
        yield told[-1] + f" ({again})" * (again > 1), _digest(path)


def save(result: Row, name: str, folder: Path = RESULTS) -> Path:
    """Keep a result under its experiment's name. Raises CannotRun where one is there already: it is not edited."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    if path.exists():
        raise CannotRun(f"{path} is there already: a result is not edited, name another experiment")
    part = path.with_suffix(".part")
    part.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    part.rename(path)
    return path


def _keep(path: Path, cell: Cell, done: Done, before: float) -> None:
    """Predictions first: a row that is there is whole."""
    with gzip.open(_predictions(path), "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in done.predictions)
    figures = {k: round(v, 5) if isinstance(v, float) else v for k, v in done.figures.items()}
    row = {**cell.of, **figures, "seconds": round(time.monotonic() - before, 2), "peak_mb": peak_mb()}
    part = path.with_suffix(".part")
    part.write_text(json.dumps(row), encoding="utf-8")
    os.replace(part, path)


def peak_mb() -> int:
    """MB that this process held at most so far; on Linux not less than its parent held when it began."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10))


def alone(part: Callable[..., Row], *given: Any) -> Row:
    """What is measured in a process of its own, which counts memory from the beginning."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as one:
        return one.submit(part, *given).result()


def tell(row: Row, as_json: bool) -> None:
    """Print a row as soon as it is known."""
    told = json.dumps(row) if as_json else ", ".join(f"{name} {value}" for name, value in row.items())
    sys.stdout.write(f"{told}\n")
    sys.stdout.flush()


def _predictions(path: Path) -> Path:
    return path.with_suffix(".predictions.jsonl.gz")


def _machine() -> Row:
    git = ["git", "-C", str(ROOT)]
    commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=False).stdout
    return {
        "commit": commit + ("+" if changed.strip() else ""),  # a plus: with changes that were not committed
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "machine": f"{platform.machine()}, {psutil.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GB",
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _left(spent: Sequence[float], left: int) -> str:
    return f"about {sum(spent) / len(spent) * left / 60:.0f} min left" if spent else "time left not known yet"


def _named(of: Row) -> str:
    return ", ".join(f"{key} {value}" for key, value in of.items())
