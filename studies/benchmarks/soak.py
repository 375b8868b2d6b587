"""Visitors who come and stay: does the app of many rooms hold its memory, its votes and its tongue for half an hour?"""

import argparse
import csv
import hashlib
import json
import os
import platform
import random
import re
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from studies.benchmarks.app_process import AppProcess
from studies.benchmarks.page_client import PageClient, Refusal
from studies.house import VISITORS
from studies.store import Store

THINK = (0.5, 4.0)  # seconds between two things that a visitor does
SAMPLE_EVERY = 2.0  # seconds
WARM_UP = 1 / 3  # of the time: what grows then is what twenty rooms need
EXPECTED = (
    "still being written",  # the model has one turn for all
    "nothing to undo",
    "that was too much at once",
    "an import or a fit is under way",
)
PLACES = ("garden", "office", "train", "kitchen", "museum", "harbour", "library", "dentist's", "choir", "court")
THINGS = ("duck", "printer", "ladder", "teapot", "goose", "umbrella", "cactus", "violin", "mop", "weather")


class Visitor(threading.Thread):
    """One person with a cookie of their own. `votes` are those that the app acknowledged since they began anew:
    trial -> (choice, marks); `undone` those of them that they took back.

    `refused` counts refusals by their words, `wrong` holds what must not be.
    """

    def __init__(self, url: str, number: int, until: float, folder: Path) -> None:
        super().__init__(name=f"visitor {number}", daemon=True)
        self.url, self.number, self.until, self.folder = url, number, until, folder
        self.cookie = hashlib.sha256(f"visitor {number}".encode()).hexdigest()[:32]
        self.dice = random.Random(number)
        self.votes: dict[str, tuple[str, tuple[tuple[str, str], ...]]] = {}
        self.undone: set[str] = set()
        self.lasting: dict[str, list[str]] = {"card": [], "pair": []}  # votes that stand, the latest last
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.did: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.acknowledged = 0

    def run(self) -> None:
        acts: dict[Callable[[], None], int] = {
            self.swipe: 46, self.judge: 26, self.undo_card: 4, self.undo_vote: 3, self.bring: 5, self.look_around: 9,
            self.export: 3, self.leave: 3, self.delete: 1,
        }  # fmt: skip
        time.sleep(self.dice.uniform(0, 5))
        try:
            self.arrive()
            while time.monotonic() < self.until:
                act = self.dice.choices(list(acts), list(acts.values()))[0]
                try:
                    act()
                    self.did[act.__name__] += 1
                except Refusal as error:
                    words = re.sub(r"\d+", "N", str(error))
                    self.refused[words or f"no words, status {error.status}"] += 1
                    if not any(expected in words for expected in EXPECTED):
                        self.wrong.append(f"{act.__name__}: {error.status} {error.body[:300]}")
                time.sleep(self.dice.uniform(*THINK))
        except Exception as error:  # whatever it is, it is told at the end, and the others go on
            self.wrong.append(f"{type(error).__name__}: {error}")

    def call(self, name: str, **typed: Any) -> dict[str, Any]:
        started = time.perf_counter()
        try:
            return self.page.call(name, **typed)
        finally:
            self.seconds[name].append(time.perf_counter() - started)

    def ask(self, name: str, *data: Any) -> list[Any]:
        started = time.perf_counter()
        try:
            return self.page.ask(name, *data)
        finally:
            self.seconds[name].append(time.perf_counter() - started)

    def arrive(self) -> None:
        self.page = PageClient(self.url, self.cookie)
        self.here = self.page.stay()
        self.card = str(self.ask("next_card")[0])

    def leave(self) -> None:
        """Close the page, and open it again after a while."""
        self.here.close()
        time.sleep(self.dice.uniform(0, 2 * THINK[1]))
        self.arrive()

    def swipe(self) -> None:
        card, choice = self.card, self.dice.choice(("like", "like", "dislike", "skip"))
        self.card = str(self.ask("react", card, choice)[0])
        self.keep(card, "card", choice)

    def judge(self) -> None:
        pair, choice = str(self.ask("next_pair")[0]), self.dice.choice(("left", "right", "both", "neither", "skip"))
        marks = {side: ["sounds_ai"] for side in ("left", "right") if self.dice.random() < 0.2}
        time.sleep(self.dice.uniform(*THINK))
        self.ask("vote", pair, choice, marks.get("left", []), marks.get("right", []))
        self.keep(pair, "pair", choice, tuple((side, mark) for side, said in marks.items() for mark in said))

    def keep(self, trial: str, kind: str, choice: str, marks: tuple[tuple[str, str], ...] = ()) -> None:
        if trial in self.votes:
            self.wrong.append(f"{kind} {trial} was acknowledged twice")
        self.votes[trial] = choice, marks
        self.lasting[kind].append(trial)
        self.acknowledged += 1

    def undo_card(self) -> None:
        self.ask("undo_card")
        self.undone.add(self.lasting["card"].pop())
        self.card = str(self.ask("next_card")[0])

    def undo_vote(self) -> None:
        self.ask("undo")
        self.undone.add(self.lasting["pair"].pop())

    def bring(self) -> None:
        """Import a small table, or look at it and think better of it."""
        path = self.folder / f"likes-{self.number}.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(["text", "like"])
            for _ in range(self.dice.randint(10, 40)):
                place, thing, other = (self.dice.choice(among) for among in (PLACES, THINGS, THINGS))
                told = f"At the {place} a {thing} asked a {other} for {self.dice.randint(2, 900)} euros."
                rows.writerow([told, self.dice.choice(("1", "1", "-1", ""))])
        self.call("import-file.upload", import_file=self.page.upload(path))
        time.sleep(self.dice.uniform(*THINK))
        self.call("import-save.click" if self.dice.random() < 0.8 else "import-cancel.click")

    def look_around(self) -> None:
        self.call(self.dice.choice(("tab-results.select", "tab-taste.select", "tab-import.select", "tab-about.select")))

    def export(self) -> None:
        link = re.search(r'href="(mine/[^"]+)"', str(self.call("export-me.click")))
        zipped = self.page.get(f"/{link[1]}") if link else b""
        if zipped[:2] != b"PK":
            self.wrong.append("the export is no zip")

    def delete(self) -> None:
        self.call("delete-sure.submit", delete_sure="DELETE")
        self.votes, self.undone, self.lasting = {}, set(), {"card": [], "pair": []}
        self.leave()

    def differs(self, data_dir: Path) -> list[str]:
        """What the store has otherwise than the person was told."""
        room = data_dir / VISITORS / hashlib.sha256(self.cookie.encode()).hexdigest()[:32]
        if not room.is_dir():
            return [f"{self.name} has no room"]
        db = Store(room).db
        marks = defaultdict(set)
        for row in db.rows("select trial_id, side, kind from flag"):
            marks[row["trial_id"]].add((row["side"], row["kind"]))
        rows = db.rows("select trial_id, choice from vote")
        stored = {row["trial_id"]: (row["choice"], marks[row["trial_id"]]) for row in rows}
        told = {trial: (choice, set(said)) for trial, (choice, said) in self.votes.items()}
        undone = {row["trial_id"] for row in db.rows("select trial_id from undo")}
        found = [f"lost {trial}" for trial in told.keys() - stored.keys()]
        found += [f"not acknowledged {trial}" for trial in stored.keys() - told.keys()]
        found += [f"changed {trial}" for trial in told.keys() & stored.keys() if told[trial] != stored[trial]]
        found += [f"undo of {trial}" for trial in undone ^ self.undone]
        return found + [f"{self.name}: {row}" for row in db.rows("pragma integrity_check") if "ok" not in row.values()]


def run(minutes: float, visitors: int, *flags: str) -> dict[str, Any]:
    """Let `visitors` behave like people for so long, on an empty data folder; then count what is there."""
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder) / "data"
        app = AppProcess(data_dir, "--hosted", *flags)
        try:
            seconds = minutes * 60
            people = [Visitor(app.url, n, time.monotonic() + seconds, Path(folder)) for n in range(visitors)]
            for person in people:
                person.start()
            samples: list[tuple[float, float, int, int]] = []
            started = time.monotonic()
            while any(person.is_alive() for person in people) and time.monotonic() < started + seconds + 300:
                samples.append((time.monotonic() - started, *_held(app.process.pid)))
                time.sleep(SAMPLE_EVERY)
            stuck = [f"{person.name} hangs" for person in people if person.is_alive()]
        finally:
            app.end()
        wrong = [told for person in people for told in person.wrong] + stuck
        differences = [told for person in people for told in person.differs(data_dir)]
        said = app.said()
    times: dict[str, list[float]] = defaultdict(list)
    for person in people:
        for name, spent in person.seconds.items():
            times[name] += spent
    lately = [row for row in samples if row[0] <= seconds]
    return {
        "minutes": minutes,
        "visitors": visitors,
        "did": dict(sum((person.did for person in people), Counter()).most_common()),
        "acknowledged": sum(person.acknowledged for person in people),
        "votes_wrong": len(differences),
        "errors": len(wrong),
        "tracebacks": said.count("Traceback"),
        "raised": [block.strip()[-1500:] for block in re.findall(r"Traceback.*?\n(?=\S)[^\n]*", said, re.DOTALL)[:6]],
        "refused": dict(sum((person.refused for person in people), Counter()).most_common()),
        **_memory(lately, seconds),
        "threads": [min(row[2] for row in lately), max(row[2] for row in lately)],
        "open_files": [min(row[3] for row in lately), max(row[3] for row in lately)],
        "vote_ms_p50_p99": _quantiles(times["vote"]),
        "react_ms_p50_p99": _quantiles(times["react"]),
        "pair_ms_p50_p99": _quantiles(times["next_pair"]),
        "slowest_ms": {name: round(max(spent) * 1e3) for name, spent in sorted(times.items())},
        "told": (wrong + differences)[:20],
        "engine": app.engine(),
        "machine": f"{os.cpu_count()} x {platform.machine()}, Python {platform.python_version()}",
    }


def _held(pid: int) -> tuple[float, int, int]:
    """Resident memory in 1e6 bytes, threads and open files of a process (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text()
    number = {name: int(re.findall(rf"{name}:\s+(\d+)", status)[0]) for name in ("VmRSS", "Threads")}
    return number["VmRSS"] * 1024 / 1e6, number["Threads"], len(os.listdir(f"/proc/{pid}/fd"))


def _memory(samples: list[tuple[float, float, int, int]], seconds: float) -> dict[str, Any]:
    """Growth after warm-up in %: the last third against the second, and a line through both."""
    at, held = (np.array([row[place] for row in samples]) for place in (0, 1))
    after = at >= WARM_UP * seconds
    second, last = held[after & (at < 2 * seconds / 3)].mean(), held[at >= 2 * seconds / 3].mean()
    slope, begun = np.polyfit(at[after] - WARM_UP * seconds, held[after], 1)
    return {
        "rss_mb_each_tenth": [round(float(part.mean())) for part in np.array_split(held, 10)],
        "growth_thirds_percent": round(100 * float(last / second - 1), 2),
        "growth_line_percent": round(100 * float(slope * (1 - WARM_UP) * seconds / begun), 2),
    }


def _quantiles(spent: list[float]) -> list[int]:
    return [round(1e3 * float(np.quantile(spent, q))) for q in (0.5, 0.99)] if spent else []


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m studies.benchmarks soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30, help="how long (default: %(default)s)")
    parser.add_argument("--visitors", type=int, default=20, help="how many at a time (default: %(default)s)")
    parser.add_argument("--model", help="as in app.py; a small one leaves more of the time to the rest of the app")
    parser.add_argument("--json", action="store_true", help="one JSON line")
    return parser


def main(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    found = run(options.minutes, options.visitors, *(["--model", options.model] if options.model else []))
    print(json.dumps(found) if options.json else "\n".join(f"{name}: {value}" for name, value in found.items()))
    return int(bool(found["votes_wrong"] or found["errors"] or found["tracebacks"]))
