"""kill -9 right after an acknowledged vote, again and again on one data folder: is every vote there, once?"""

import tempfile
from pathlib import Path
from typing import Any

from studies.benchmarks.app_process import AppProcess
from studies.store import Store


def run(times: int, *flags: str) -> dict[str, Any]:
    """Start the app, vote, kill it at the acknowledgement, `times` over; then count what the store holds."""
    acknowledged: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(times):
            app = AppProcess(Path(folder), *flags)
            try:
                pair = app.call("next_pair")[0]
                app.call("vote", pair, "left", ["sounds_ai"], [])
            finally:
                app.kill()
            acknowledged.append(pair)
        app = AppProcess(Path(folder), *flags)
        app.end()
        db = Store(Path(folder)).db
        stored = [row["trial_id"] for row in db.rows("select trial_id from vote")]
        flags_stored = db.rows("select count(*) as n from flag")[0]["n"]
        check = db.rows("pragma integrity_check")[0]["integrity_check"]
    return {
        "kills": times,
        "starts": times + 1,
        "lost": len(set(acknowledged) - set(stored)),
        "doubled": len(stored) - len(set(stored)),
        "not_acknowledged": len(set(stored) - set(acknowledged)),
        "marks_lost": times - flags_stored,
        "integrity": check,
    }
