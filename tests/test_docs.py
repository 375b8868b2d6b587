"""Docs that cannot go stale: generated parts are as generated, and the README's commands are the ones that CI runs."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs import reference
from engine.methods import METHODS
from engine.recommend import scorers
from studies.benchmarks import reliability
from studies.store import Store

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference.md"
LIBRARIES = "Read by libraries"  # begins the one table of variables that no file here reads


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


def test_every_table_and_file_of_the_tree_is_told_of(tmp_path: Path) -> None:
    schema, readme = (ROOT / "docs" / "schema.md").read_text(), (ROOT / "README.md").read_text()
    found = Store(tmp_path).db.rows("select name from sqlite_master where type = 'table' and name not like '%sqlite%'")
    there = {row["name"] for row in found}
    assert len(there) > 20
    assert set(re.findall(r"^\| (\w+) \|", schema, re.MULTILINE)) - {"table"} == there
    for path in [*ROOT.glob("engine/*.py"), *ROOT.glob("studies/*.py"), *ROOT.glob("collectors/*.py")]:
        if not path.name.startswith("__"):
            assert path.name in readme, f"the tree of the README lacks {path.name}"


def test_every_method_and_scorer_is_told_of() -> None:
    methods, recommend = ((ROOT / "docs" / name).read_text() for name in ("methods.md", "recommend.md"))
    assert set(METHODS) <= set(re.findall(r"^## (\w+)", methods, re.MULTILINE))
    assert set(scorers.NAMES) <= set(re.findall(r"^\| `(\w+)` \|", recommend, re.MULTILINE))


def test_every_flag_is_told_of_and_says_what_it_does() -> None:
    told = set(re.findall(r"^\| `(--[\w-]+)", REFERENCE.read_text(), re.MULTILINE))
    for path, tree in sources("app.py", "collectors", "engine", "studies", "demo"):
        lacking = set(flags_of(tree)) - told
        assert not lacking, f"docs/reference.py does not know a parser of {path}, which has {sorted(lacking)}"
    for program, parsers in reference.programs().items():
        for name, parser in parsers.items():
            for action in reference.flags(parser):
                assert action.help, f"{program} {name}: {action.dest} has no help"
                assert not action.option_strings or action.option_strings[0] in told


def test_every_environment_variable_is_told_of_and_none_besides() -> None:
    read = {name for _, tree in sources("app.py", "collectors", "engine", "studies", "demo", "tests")
            for name in variables_of(tree)}  # fmt: skip
    parts = re.split(r"\n(?=[A-Z][^\n]*\n\n\| variable)", REFERENCE.read_text().partition("\n## The app")[0])
    told = {part.split("\n", 1)[0]: set(re.findall(r"^\| `(\w+)`", part, re.MULTILINE)) for part in parts}
    [libraries] = [names for head, names in told.items() if head.startswith(LIBRARIES)]
    assert {"PALATE_CACHE", "MASTODON_TOKEN"} <= read
    assert set().union(*told.values()) - libraries == read, "docs/reference.md, Environment variables"


def test_what_is_looked_for_is_found() -> None:
    tree = ast.parse(
        "import os\nfrom os import environ\n"
        "os.environ.get('A'), os.environ['B'], os.getenv('C', ''), environ.setdefault('D', ''), 'E' in os.environ\n"
        "dict(os.environ); os.environ | {'F': ''}; parser.add_argument('-g', '--go'); parser.add_argument('here')"
    )
    assert set(variables_of(tree)) == set("ABCDE")
    assert list(flags_of(tree)) == ["--go"]
    with pytest.raises(AssertionError, match="by its name"):
        list(variables_of(ast.parse("import os\nos.environ[name]")))


def sources(*names: str) -> Iterator[tuple[Path, ast.Module]]:
    """Every Python file of these, but for this one, parsed."""
    for name in names:
        for path in [ROOT / name] if name.endswith(".py") else sorted((ROOT / name).rglob("*.py")):
            if path != Path(__file__):
                yield path.relative_to(ROOT), ast.parse(path.read_text(encoding="utf-8"))


def flags_of(tree: ast.Module) -> Iterator[str]:
    """The long flags that a file gives its parsers by name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add_argument":
            names = [given.value for given in node.args if isinstance(given, ast.Constant)]
            yield from (name for name in names if str(name).startswith("--"))


def variables_of(tree: ast.Module) -> Iterator[str]:
    """The environment variables that a file reads or sets; each must stand there by its name."""
    for node in ast.walk(tree):
        asked: ast.expr | None = None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            of, called = node.func.value, node.func.attr
            if called == "getenv" or (is_environ(of) and called in ("get", "pop", "setdefault")):
                asked = node.args[0]
        elif isinstance(node, ast.Subscript) and is_environ(node.value):
            asked = node.slice
        elif isinstance(node, ast.Compare) and is_environ(node.comparators[0]):
            asked = node.left
        if asked is not None:
            assert isinstance(asked, ast.Constant), f"ask for a variable by its name, not {ast.unparse(asked)}"
            yield str(asked.value)


def is_environ(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute | ast.Name) and ast.unparse(node).rpartition(".")[2] == "environ"


def test_pictures_of_the_readme_are_there() -> None:
    for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / picture).stat().st_size > 10_000
