"""A set in LaMP's layout, as files, and the mark of tests that search in one by BM25."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

bench = pytest.mark.skipif(find_spec("bm25s") is None, reason="bm25s not installed: see requirements-bench.txt")


def written(folder: Path, questions: Any, golds: Any, task: str = "LaMP_2", prefix: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{prefix}questions.json").write_text(json.dumps(questions))
    outputs = {"task": task, "golds": [{"id": name, "output": gold} for name, gold in golds.items()]}
    (folder / f"{prefix}outputs.json").write_text(json.dumps(outputs))
    return folder
