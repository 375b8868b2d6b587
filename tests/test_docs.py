"""Docs that cannot go stale: generated parts are as generated, and the README's commands are the ones that CI runs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from studies.benchmarks import reliability

ROOT = Path(__file__).parents[1]


def test_the_generated_parts_are_fresh() -> None:
    pages = ["README.md", *(str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("docs/*.md")))]
    command = [sys.executable, "-m", "cogapp", "--check", *pages]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"run: make docs\n{done.stdout}"


def test_pictures_of_results_are_fresh() -> None:
    for name in reliability.DRAWN:
        kept = ROOT / "docs" / "images" / f"{name}-calibration.svg"
        assert kept.read_text(encoding="utf-8") == reliability.picture(name), "run: make docs"
        assert f"images/{kept.name}" in (ROOT / "docs" / "results.md").read_text(encoding="utf-8")


def test_several_seeds_are_drawn_as_one() -> None:
    rows = [{"calibration": [[0.1, 0.0, 10], [0.9, 1.0, 5]]}, {"calibration": [[0.12, 0.3, 30]]}]
    [low, high] = reliability.pooled(rows)
    assert low == (pytest.approx(0.115), pytest.approx(0.225), 40)
    assert high == (pytest.approx(0.9), 1.0, 5)


def test_ci_runs_what_the_readme_says() -> None:
    readme, ci = (ROOT / "README.md").read_text(), (ROOT / ".ci" / "run").read_text()
    assert "pip install -r requirements-dev.txt && python -m pytest" in readme
    assert re.search(r"pip install .*-r requirements-dev.txt\n", ci)
    assert ci.rstrip().endswith("python -m pytest")


def test_every_table_and_file_of_the_tree_is_told_of() -> None:
    schema, readme = (ROOT / "docs" / "schema.md").read_text(), (ROOT / "README.md").read_text()
    for table in re.findall(r"create table (\w+?)(?:_new)? \(", (ROOT / "studies" / "migrations.py").read_text()):
        assert f"\n| {table} |" in schema
    for path in [*ROOT.glob("engine/*.py"), *ROOT.glob("studies/*.py"), *ROOT.glob("collectors/*.py")]:
        if not path.name.startswith("__"):
            assert path.name in readme, f"the tree of the README lacks {path.name}"


def test_pictures_of_the_readme_are_there() -> None:
    for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / picture).stat().st_size > 10_000
