"""A set in LaMP's layout, as files."""

import json
from pathlib import Path
from typing import Any


def written(folder: Path, questions: Any, golds: Any, task: str = "LaMP_2", prefix: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{prefix}questions.json").write_text(json.dumps(questions))
    outputs = {"task": task, "golds": [{"id": name, "output": gold} for name, gold in golds.items()]}
    (folder / f"{prefix}outputs.json").write_text(json.dumps(outputs))
    return folder
