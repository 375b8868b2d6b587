"""Writers: a set in LaMP's layout whose answers are texts, made of LLMFAO's answers (github.com/dustalov/llmfao, CC BY
4.0).

`python -m studies.benchmarks writers --data DIR --out DIR` reads `pairs_crowd.jsonl.gz`: 59 writers and the same
thirteen prompts, most of them answered by all. The writers are language models of 2023, each with an unmistakable
manner: how long, how ordered, in which phrases, whether to the point. So a score here tells whether a method takes on
the manner of a writer, and nothing of the style or the taste of people.

Whoever `lamp.py` judges is asked the four open prompts, and their past are the nine others. Whoever teaches is asked
those nine, each with the eight others as the past, so that nobody who teaches knows what the others are judged by.
"""

import argparse
import gzip
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from studies.benchmarks import lamp
from studies.benchmarks.runs import CannotRun

TASK = "writers"
PAIRS = "pairs_crowd.jsonl.gz"
OPEN = ("k8s", "holidays", "product-description", "taiwan")  # a haiku, a joke, a charger to sell, Taiwan
ASKED = "Write the answer that this writer gives to: {prompt}"
ENDS = ("</s>", "<s>")  # tokens of a model that its server forgot to take out


def answers(folder: Path) -> dict[str, dict[str, tuple[str, str]]]:
    """Each writer's answers: prompt's short name -> (prompt, answer), in the order of the short names, the empty ones
    left out. Raises CannotRun."""
    path = folder / PAIRS
    if not path.is_file():
        raise CannotRun(f"{path} is not there: give the folder of LLMFAO's files after --data")
    told: dict[str, dict[str, tuple[str, str]]] = {}
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for row in map(json.loads, file):
                for side in ("x", "y"):
                    if text := cleaned(row[f"result_{side}"]):
                        told.setdefault(str(row[f"model_{side}"]), {})[row["slug"]] = (row["text"].strip(), text)
        return {writer: dict(sorted(told[writer].items())) for writer in sorted(told, key=int)}
    except (OSError, EOFError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise CannotRun(f"{path} cannot be read ({type(error).__name__}: {error}): fetch it again") from error


def cleaned(text: str) -> str:
    for end in ENDS:
        text = text.replace(end, "")
    return text.strip()


def laid_out(told: dict[str, dict[str, tuple[str, str]]]) -> tuple[list[object], dict[str, object]]:
    """The questions and the outputs, as LaMP's files hold them."""
    questions: list[object] = []
    golds = []
    for writer, by_slug in told.items():
        past = [slug for slug in by_slug if slug not in OPEN]
        for slug in [slug for slug in by_slug if slug in OPEN] if lamp.held_out(writer) else past:
            name = f"{writer}-{slug}"
            profile = [
                {"id": f"{writer}-{other}", "text": by_slug[other][0], "title": by_slug[other][1]}
                for other in past
                if other != slug
            ]
            asked = ASKED.format(prompt=by_slug[slug][0])
            questions.append({"id": name, "user_id": writer, "input": asked, "profile": profile})
            golds.append({"id": name, "output": by_slug[slug][1]})
    return questions, {"task": TASK, "golds": golds}


def write(data: Path, out: Path) -> str:
    """Write both files; returns a line that says what is in them. Raises CannotRun."""
    told = answers(data)
    questions, outputs = laid_out(told)
    out.mkdir(parents=True, exist_ok=True)
    (out / "questions.json").write_text(json.dumps(questions, indent=1) + "\n", encoding="utf-8")
    (out / "outputs.json").write_text(json.dumps(outputs, indent=1) + "\n", encoding="utf-8")
    judged = sum(map(lamp.held_out, told))
    return f"{out}: {len(told) - judged} writers teach, {judged} are judged, {len(questions)} questions"


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code: 2 where the data cannot be read."""
    options = _parser().parse_args(arguments)
    try:
        sys.stdout.write(f"{write(options.data, options.out)}\n")
    except CannotRun as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m studies.benchmarks writers", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help=f"where LLMFAO's {PAIRS} is")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="where questions and outputs are written"
    )
    return parser
