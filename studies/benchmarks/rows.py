"""Some rows of a benchmark instead of all."""

from collections.abc import Iterable, Sequence

from studies.benchmarks.runs import CannotRun, Cell
from studies.benchmarks.scores import WRONG

ALL = ("all",)


def of_methods(cells: Iterable[Cell], methods: Sequence[str]) -> list[Cell]:
    """The cells of these methods, their controls among them; of every one for "all". Raises CannotRun for a name that
    no cell has."""
    if "all" in methods and len(methods) > 1:
        raise CannotRun('"all" is every method: name it alone, or name others')
    told = [(cell, str(cell.of["method"]).removesuffix(WRONG)) for cell in cells]
    known = dict.fromkeys(name for _, name in told)
    if unknown := [name for name in methods if name not in (*known, *ALL)]:
        raise CannotRun(f"{unknown[0]!r} is no method here: use all, {', '.join(known)}")
    return [cell for cell, name in told if name in methods or "all" in methods]
