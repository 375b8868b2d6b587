"""The import laws of pyproject.toml, and that they can be broken."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
LINT = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]


def test_arrows_point_one_way() -> None:
    done = subprocess.run(LINT, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "6 kept, 0 broken" in done.stdout


def test_a_wrong_arrow_is_caught(tmp_path: Path) -> None:
    for package in ("collectors", "engine", "studies", "demo"):
        for source in (ROOT / package).rglob("*.py"):
            target = tmp_path / source.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(source.read_text())
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    with (tmp_path / "engine" / "encoder.py").open("a") as encoder:
        encoder.write("\nimport sqlite3\nimport studies.store\n")
    done = subprocess.run(LINT, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "arrows point one way BROKEN" in done.stdout
    assert "the engine knows no page and no SQL BROKEN" in done.stdout


def test_app_imports_only_the_page_and_where_it_runs() -> None:
    lines = (ROOT / "app.py").read_text().splitlines()
    ours = [line.strip() for line in lines if any(f"{p}." in line for p in ("collectors", "engine", "studies", "demo"))]
    imports = [line for line in ours if line.startswith(("from", "import"))]
    assert {line.partition(" import ")[0] for line in imports} == {"from demo.space", "from demo.page"}
