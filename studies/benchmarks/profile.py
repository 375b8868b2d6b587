"""What a large export costs: importing 200,000 votes, reading them, and the profile after one more like."""

import csv
import io
import random
import resource
import statistics
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from collectors.item import Item, Signal
from collectors.sample import Sample
from engine import encoder
from engine.methods.base import Ask
from studies.importing import Imports
from studies.store import SHOWN, Candidate, Store, Trial, new_id
from studies.vectors import key_of
from studies.worker import Worker

VOTES = 200_000
SIZES = (10_000, 100_000)
TIMES = 9
TASTES = 60  # directions in which the vectors of made-up likes lie, so that there are topics to find
ME = "me"


def run() -> dict[str, object]:
    """Seconds and gigabytes, by name."""
    found: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        found |= importing(Path(folder))
    for size in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            found |= {f"{name}_{size}": value for name, value in rebuilding(Path(folder), size).items()}
    return found


def importing(folder: Path) -> dict[str, object]:
    """A made-up vote export of VOTES rows through preview and save, and how fast its texts are encoded."""
    texts = made_up(VOTES)
    rows = io.StringIO()
    table = csv.writer(rows)
    table.writerow(("id", "permalink", "direction"))
    for n, text in enumerate(texts):
        key = np.base_repr(40_000_000 + n, 36).lower()
        slug = "_".join(text.lower().split())[:50]
        link = f"https://www.reddit.com/r/sub{n % 97}/comments/{key}/{slug}/"
        table.writerow((key, link, "down" if n % 4 == 3 else "up"))
    export = folder / "export.zip"
    with zipfile.ZipFile(export, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("post_votes.csv", rows.getvalue())
    del rows
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    store = Store(folder / "data")
    store.open_session("a", ME)
    imports = Imports(store, lambda: None)
    started = time.perf_counter()
    seen = imports.preview("a", export)
    looked = time.perf_counter()
    for _ in imports.save("a", seen.ticket):
        pass
    saved = time.perf_counter()
    store.vectors.keep([item.text for item, _ in store.reactions(ME)[:512]])  # the encoder is loaded
    batch = [item.text for item, _ in store.reactions(ME)[1_000:2_000]]
    reading = time.perf_counter()
    store.vectors.keep(batch)
    return {
        "votes": seen.report.kept,
        "preview_seconds": round(looked - started, 1),
        "import_seconds": round(saved - looked, 1),
        "import_more_gb": round((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e6, 2),
        "texts_encoded_a_second": round(len(set(batch)) / (time.perf_counter() - reading)),
    }


def rebuilding(folder: Path, size: int) -> dict[str, object]:
    """`size` reactions with vectors around TASTES directions; then likes of the feed, each until the profile has it."""
    store = Store(folder)
    store.open_session("a", ME)
    store.add(ME, Sample())
    dice = np.random.default_rng(0)
    centres = dice.normal(size=(TASTES, encoder.WIDTH))
    texts = list(dict.fromkeys(made_up(size + size // 4)))[:size]
    likes = [Item("made", str(n), "joke", text) for n, text in enumerate(texts)]
    store.add(ME, ((item, Signal(item.id, 1 if n % 4 else -1)) for n, item in enumerate(likes)))
    vectors = centres[dice.integers(TASTES, size=size)] + dice.normal(size=(size, encoder.WIDTH))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    with store.db.atomic():
        for text, vector in zip(texts, vectors.astype(np.float16), strict=True):
            store.db.run(
                "insert into vector values (:key, :name, :data) on conflict do nothing",
                key=key_of(text), name=encoder.NAME, data=vector.tobytes(),
            )  # fmt: skip
    worker = Worker(store, None, ME, 0)  # type: ignore[arg-type]  # nothing is written here
    started = time.perf_counter()
    worker.read()
    first = time.perf_counter() - started
    spent = []
    for item in cards(store):
        trial = Trial(
            new_id(), ME, "card", Candidate(f"{SHOWN}/{item.id}", SHOWN, item.text, item.id), None, Ask(), "", ""
        )
        store.write(trial)
        store.show(trial.id, "a")
        store.vote("a", trial.id, "like")
        started = time.perf_counter()
        worker.read()
        spent.append(time.perf_counter() - started)
        assert worker.profile.items[-1].id == item.id
    return {
        "whole_profile_seconds": round(first, 2),
        "topics": len(worker.profile.topics),
        "after_one_like_ms": round(1e3 * statistics.median(spent[1:])),  # the first loads the encoder
        "after_one_like_worst_ms": round(1e3 * max(spent[1:])),
    }


def cards(store: Store) -> Iterator[Item]:
    for _ in range(TIMES + 1):
        [item] = store.unseen(ME, "feed")
        yield item


def made_up(count: int) -> list[str]:
    """Lines of words of the sample feed, for their number and length and no other purpose."""
    words = sorted({word for item, _ in Sample() for word in item.text.split()})
    dice = random.Random(0)
    return [" ".join(dice.choices(words, k=9)) for _ in range(count)]
