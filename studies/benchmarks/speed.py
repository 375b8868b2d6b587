"""How fast the app is for one person at home: start, first pair, pairs and votes while it writes ahead."""

import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from studies.benchmarks.app_process import AppProcess

LIKES = 12
PAIRS = 20
READING = 7.0  # seconds a person takes over a pair, rather quick


def run(*flags: str) -> dict[str, Any]:
    """Start the app on an empty data folder, swipe twelve cards, judge twenty pairs; times as a client sees them."""
    with tempfile.TemporaryDirectory() as folder:
        app = AppProcess(Path(folder), *flags)
        try:
            first = _seconds(app, "next_pair")
            for turn in range(LIKES):
                app.call("react", app.call("next_card")[0], "dislike" if turn % 4 == 3 else "like")
            waits, votes = [], []
            for turn in range(PAIRS):
                pair = app.call("next_pair")[0]
                time.sleep(READING / 2)  # the worker is writing the next pair by now
                votes.append(_seconds(app, "vote", pair, ("left", "right", "both", "neither")[turn % 4], [], []))
                time.sleep(READING / 2)
                waits.append(_seconds(app, "next_pair"))
            return {
                "start_seconds": round(app.start_seconds, 2),
                "first_pair_seconds": round(first, 2),
                "buffered_pair_ms_p95": round(float(np.percentile(waits, 95)) * 1e3, 1),
                "buffered_pair_ms_median": round(float(np.median(waits)) * 1e3, 1),
                "vote_ms_p95_while_generating": round(float(np.percentile(votes, 95)) * 1e3, 1),
                "vote_ms_median": round(float(np.median(votes)) * 1e3, 1),
                "rss_gb": round(app.memory_gb(), 2),
                "pairs": PAIRS,
                "reading_seconds": READING,
                "engine": app.engine(),
                "machine": f"{os.cpu_count()} x {platform.machine()}, Python {platform.python_version()}",
            }
        finally:
            app.end()


def _seconds(app: AppProcess, name: str, *data: Any) -> float:
    started = time.perf_counter()
    app.call(name, *data)
    return time.perf_counter() - started
