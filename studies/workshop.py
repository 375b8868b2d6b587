"""The Study tab: a study's file checked while it is typed, and rehearsed by raters of known taste on made-up texts."""

import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from collectors.item import CollectError
from studies.checking import checked, minutes
from studies.database import StoreError
from studies.made_up import fill
from studies.pairs import title
from studies.ratings import mark_rates, standings
from studies.records import Records, records
from studies.rooms import Room
from studies.simulate import PLAIN, Population, pooled, sit
from studies.store import Refused, Store
from studies.studyfile import MODEL, Study, StudyError, read

EXAMPLES = Path(__file__).parent / "examples"
BEST = 0.6  # log-odds of the first arm; the last has as much less than nothing, the others lie evenly between
MOST_RATERS = 40
MOST_TRIALS = 500  # a rater: more would keep the page busy at each key, and no rater does them
MOST_CHARACTERS = 20_000
LINE = re.compile(r"line (\d+)")


@dataclass(frozen=True, slots=True)
class Checked:
    """What a file asks of its raters, in `lines`; or what is wrong with it, and in which line, 0 where nobody knows.
    `pool` says whether its texts are written beforehand."""

    lines: tuple[str, ...] = ()
    wrong: str = ""
    line: int = 0
    pool: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """An arm: what was planted in the raters, in log-odds, and what the study finds, with its 95 % interval. Of pairs
    both are on the scale of standings; of single texts `value` is the share that was liked."""

    title: str
    planted: float
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """How far a dry run is, and what came of it: raters through, of how many, votes that count and trials that do not,
    by reason; catch trials passed, of how many; about how long one person takes. `ended` is "" while it goes on."""

    raters: int
    of: int
    votes: int = 0
    seconds_left: float = 0.0
    minutes: int = 0
    voids: Mapping[str, int] = field(default_factory=dict)
    caught: tuple[int, int] = (0, 0)
    pairs: tuple[Found, ...] = ()
    alone: tuple[Found, ...] = ()
    ended: str = ""


class Workshop:
    """Keeps nothing: a file is checked as a copy, a dry run has a folder of its own that is deleted."""

    def __init__(self) -> None:
        self._busy, self._stopping = threading.Lock(), threading.Event()

    def examples(self) -> list[tuple[str, str]]:
        """(title, text) of each example."""
        return [(read(path).title, path.read_text(encoding="utf-8")) for path in sorted(EXAMPLES.glob("*.toml"))]

    def look(self, text: str) -> Checked:
        """What the file asks of its raters, or what is wrong with it."""
        try:
            with _copied(text) as study:
                return Checked(tuple(checked(study)), pool=study.texts == "pool")
        except (StudyError, CollectError) as error:
            line = LINE.search(str(error))
            return Checked(wrong=str(error), line=int(line[1]) if line else 0)

    def stop(self) -> None:
        self._stopping.set()

    def rehearse(self, text: str, raters: int) -> Iterator[Rehearsal]:
        """Let so many simulated raters go through the study by the verbs of its page, from the consent to the end, and
        yield how far it is after each. Their texts are made up and nobody brings likes. Raises Refused where the file
        is wrong."""
        if not self._busy.acquire(blocking=False):
            raise Refused("a dry run is under way: stop it, or wait for its end")
        self._stopping.clear()
        try:
            with _copied(text) as study, tempfile.TemporaryDirectory() as folder:
                yield from self._rehearse(study, Path(folder), min(max(int(raters), 1), MOST_RATERS))
        except (StudyError, CollectError, StoreError) as error:
            raise Refused(str(error)) from error
        finally:
            self._busy.release()

    def _rehearse(self, study: Study, folder: Path, raters: int) -> Iterator[Rehearsal]:
        yield (now := Rehearsal(0, raters, minutes=minutes(study)))
        store = Store(folder)
        dry = replace(study, texts="pool", profile="none", people=None)
        fill(store, dry)
        room = Room(store, dry, clocked=False)
        arms = dry.design.arms
        rng = np.random.default_rng(dry.design.seed)
        planted = np.linspace(BEST, -BEST, len(arms))
        like = replace(PLAIN, strengths=tuple(planted.tolist()))
        began = time.monotonic()
        for n in range(raters):
            if self._stopping.is_set():
                break
            tastes = planted + like.spread * rng.standard_normal(len(arms))
            sit(room, f"rater {n}", dict(zip(arms, tastes.tolist(), strict=True)), rng, like)
            left = (time.monotonic() - began) / (n + 1) * (raters - n - 1)
            now = replace(now, raters=n + 1, seconds_left=left)
            if n + 1 < raters:
                yield now
        there = records(store, room.id)
        yield replace(
            now,
            votes=sum(rater.votes for rater in there.raters),
            seconds_left=0.0,
            voids=there.voids,
            caught=(sum(catch.passed for catch in there.catches), len(there.catches)),
            pairs=tuple(_pairs(there, like)),
            alone=tuple(_alone(there, like)),
            ended="stopped" if now.raters < raters else "done",
        )


@contextmanager
def _copied(text: str) -> Iterator[Study]:
    """The study of this text, as long as its copy is there, with the example's posts beside it. Raises StudyError."""
    if len(text) > MOST_CHARACTERS:
        raise StudyError(f"the file has {len(text)} characters: {MOST_CHARACTERS} are enough")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.toml"
        path.write_text(text, encoding="utf-8")
        for posts in EXAMPLES.glob("*.csv"):
            shutil.copy(posts, folder)
        try:
            study = read(path)
            _bounded(study)
            yield study
        except (StudyError, CollectError) as error:
            raise type(error)(str(error).replace(f"{folder}/", "")) from error


def _bounded(study: Study) -> None:
    design = study.design
    blocks = design.blocks if isinstance(design.blocks, tuple) else (design.blocks,) * len(design.kinds)
    arms = len(design.arms)
    main = sum(
        often * (arms * (arms - 1) if kind == "pair" else arms)
        for often, kind in zip(blocks, design.kinds, strict=True)
    )
    if (trials := main + (design.same + design.salad) * len(design.kinds) + study.practice) > MOST_TRIALS:
        raise StudyError(
            f"blocks: each rater would judge {trials} and more trials; {MOST_TRIALS} are more than anybody does"
        )


def _pairs(there: Records, like: Population) -> Iterator[Found]:
    """Every arm of pairs, the strongest first: by what endless votes of such raters would say, and by these."""
    planted = dict(zip(there.arms, pooled(like).tolist(), strict=True))
    for row in standings(there.ballots):
        yield Found(_titled(row.arm), planted[row.arm], row.strength, row.low, row.high)


def _alone(there: Records, like: Population) -> Iterator[Found]:
    """Every arm of single texts, the most liked first."""
    planted = dict(zip(there.arms, like.strengths, strict=True))
    liked = [row for row in mark_rates(there.marks) if row.kind == "like"]
    for row in sorted(liked, key=lambda row: -row.value):
        yield Found(_titled(row.arm), planted[row.arm], row.value, row.low, row.high)


def _titled(arm: str) -> str:
    way, _, model = arm.partition(MODEL)
    return f"{title(way)} ({model})" if model else title(way)
