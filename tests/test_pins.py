"""What is installed, and what may be: bounded on both sides, and above the floors of docs/advisories.md."""

import re
from importlib.metadata import requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
FILES = sorted(ROOT.glob("requirements*.txt"))


def required(path: Path) -> list[Requirement]:
    lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("-r")]


def lowest(wanted: Requirement) -> Version:
    [bound] = [part.version for part in wanted.specifier if part.operator in (">=", "==")]
    return Version(bound)


def floors() -> dict[str, Version]:
    """The highest floor of each package."""
    page = (ROOT / "docs" / "advisories.md").read_text(encoding="utf-8")
    found: dict[str, Version] = {}
    for name, floor in re.findall(r"^\| ([\w-]+) \| ([\d.]+) \|", page, re.MULTILINE):
        found[name] = max(Version(floor), found.get(name, Version("0")))
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_requirements_are_bounded_on_both_sides(path: Path) -> None:
    for wanted in required(path):
        operators = {part.operator for part in wanted.specifier}
        assert operators in ({">=", "<"}, {"=="}), f"{path.name}: {wanted} has no bounds"


def test_what_two_files_name_they_bound_alike() -> None:
    bounds: dict[str, str] = {}
    for path in FILES:
        for wanted in required(path):
            assert bounds.setdefault(wanted.name, str(wanted.specifier)) == str(wanted.specifier), wanted.name


@pytest.mark.parametrize(("name", "floor"), floors().items(), ids=lambda value: str(value))
def test_nothing_is_below_the_floor_of_its_advisories(name: str, floor: Version) -> None:
    assert Version(version(name)) >= floor, f"{name}: pip install --upgrade -r requirements.txt"
    ours = [wanted for path in FILES for wanted in required(path) if wanted.name == name]
    brought = [wanted for wanted in map(Requirement, requires("gradio") or ()) if wanted.name == name]
    assert ours or brought
    assert all(lowest(wanted) >= floor for wanted in ours or brought)


def test_floors_are_read() -> None:
    assert floors().keys() == {"gradio", "starlette", "brotli", "ray"}
    assert floors()["gradio"] == Version("6.31.0")
