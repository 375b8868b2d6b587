"""Fifty raters at once on a running study, over HTTP: votes lost, doubled, how long each took, and after a kill."""

import random
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
from scipy.stats import kruskal

from studies.benchmarks.app_process import AppProcess
from studies.benchmarks.study_client import Participant
from studies.made_up import fill, study_file
from studies.register import Register
from studies.store import Store
from studies.studyfile import read

RATERS, TRIALS = 50, 20
THINK = (1.0, 3.0)  # seconds between two votes of one rater


def run() -> dict[str, object]:
    """Votes, lost, doubled, p50 and p95 in milliseconds; and the same with a kill -9 after half of the votes."""
    found: dict[str, object] = {}
    for name, kill in (("", False), ("killed_", True)):
        with tempfile.TemporaryDirectory() as folder:
            found |= {f"{name}{key}": value for key, value in _once(Path(folder), kill=kill).items()}
    return found


def _once(folder: Path, *, kill: bool) -> dict[str, object]:
    file = study_file(folder, seed=3, blocks=1, same=0)
    fill(Store(folder / "data"), read(file))
    app = AppProcess(folder / "data", "--study", str(file))
    raters = [_Rater(number) for number in range(RATERS)]
    try:
        spent = _vote(app, raters, TRIALS // 2 if kill else TRIALS)
        changed = 0
        if kill:
            before = {rater.number: rater.there.trial for rater in raters}
            app.kill()
            app = AppProcess(folder / "data", "--study", str(file))
            for rater in raters:
                rater.come(app.url)
            changed = sum(before[rater.number] != rater.there.trial for rater in raters)
            spent += _vote(app, raters, TRIALS - TRIALS // 2)
        memory = app.memory_gb()
    finally:
        app.end()
    store = Store(folder / "data")
    votes = store.db.rows("select trial_id, count(*) as n from vote group by trial_id")
    stored = Counter(row["trial_id"] for row in votes)
    said = Counter(trial for rater in raters for trial in rater.voted)
    return {
        "votes": sum(said.values()),
        "lost": len(said.keys() - stored.keys()),
        "doubled": sum(row["n"] - 1 for row in votes) + sum(n - 1 for n in said.values()),
        "refused": sum(rater.refused for rater in raters),
        "vote_p50_ms": round(1e3 * float(np.quantile(spent, 0.5))),
        "vote_p95_ms": round(1e3 * float(np.quantile(spent, 0.95))),
        "vote_worst_ms": round(1e3 * max(spent)),
        "pace_p": round(_pace(store, raters), 3),
        "memory_gb": round(memory, 2),
    } | ({"another_next_trial": changed} if kill else {})


def _pace(store: Store, raters: list["_Rater"]) -> float:
    """How likely response times differ that much between arms by chance (Kruskal and Wallis): a small p would mean that
    a page may know an arm by how long its text took to come."""
    register = Register(store)
    times: dict[str, list[float]] = {}
    for trial, seconds in (came for rater in raters for came in rater.came):
        for arm in register.arms(trial):
            times.setdefault(arm, []).append(seconds)
    return float(kruskal(*times.values()).pvalue)


class _Rater:
    def __init__(self, number: int) -> None:
        self.number, self.cookie = number, f"{number:032x}"
        self.voted: list[str] = []
        self.came: list[tuple[str, float]] = []  # trial, and how long after the vote before it
        self.refused = 0
        self.there: Participant

    def come(self, url: str) -> None:
        self.there = Participant(url, self.cookie)
        self.there.call("look")

    def vote(self, count: int, spent: list[float]) -> None:
        dice = random.Random(f"{self.number} {count}")
        for _ in range(count):
            time.sleep(dice.uniform(*THINK))
            trial = self.there.trial
            started = time.perf_counter()
            if self.there.vote(dice.choice(("left", "right", "both", "neither"))):
                self.refused += 1
            else:
                self.voted.append(trial)
            seconds = time.perf_counter() - started
            spent.append(seconds)
            if self.there.trial not in ("", trial):
                self.came.append((self.there.trial, seconds))


def _vote(app: AppProcess, raters: list[_Rater], count: int) -> list[float]:
    spent: list[float] = []

    def one(rater: _Rater) -> None:
        if not rater.voted:
            rater.there = Participant(app.url, rater.cookie)
            rater.there.begin()
        rater.vote(count, spent)

    threads = [threading.Thread(target=one, args=(rater,)) for rater in raters]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return spent
