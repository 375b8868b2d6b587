"""Blind pairs of pictures: painted whole, kept as files, and only then written down as a trial.

The arms differ in the prompt alone. What is on a picture is not looked at: no rule can tell whether it betrays its arm.
"""

import os
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from engine.methods.base import Ask
from engine.pictures import TITLES, TOPIC, Painter, PictureError, lacks, one_colour, prompt_of
from engine.profile import Profile
from engine.summary import MIN_LIKES
from studies.database import StoreError
from studies.pairs import Person, next_slots, retire
from studies.schedule import PICTURE, ask_seed
from studies.store import Candidate, Refused, Store, new_id
from studies.wish import Wish

FOLDER = "pictures"  # of a person's data folder
PNG = ".png"


def make_pictures(
    store: Store,
    painter: Painter,
    person: Person,
    stopped: Callable[[], bool],
    on_step: Callable[[int, int], None],
) -> int:
    """Paint the next pair of this person's schedule; returns how many may be shown, 0 or 1. Then waiting pairs of other
    schedules are taken out: nobody has seen them.

    Raises PictureError, Stopped or StoreError; nothing is stored then.
    """
    profile, arms = person.profile, list(TITLES)
    schedule = person.schedule(arms)
    slots, attempts = next_slots(store, person, schedule, arms, 1, 0)
    [(position, there)] = slots.items()
    seed = ask_seed(schedule, position, attempts[position])
    ask = Ask(kind=PICTURE, payload=person.about(position, there.topic), seed=seed)
    prompts = [prompt_of(arm, ask, profile, painter.fits) for arm in (there.left, there.right)]
    began = time.perf_counter()
    pictures = painter.paint([prompt.text for prompt in prompts], [seed, seed], stopped, on_step)
    seconds = time.perf_counter() - began
    left, right = (
        Candidate(
            id=(name := new_id()),
            arm=arm,
            text=name + PNG,
            evidence=prompt.evidence,
            tokens=painter.tokens(prompt.text),
            seconds=seconds,
            prompt=prompt.text,
            left_out=prompt.left_out,
        )
        for arm, prompt in zip((there.left, there.right), prompts, strict=True)
    )
    reason = void_reason(*pictures)
    place = schedule, position, attempts[position]
    trial = person.trial("pair", left, right, ask, painter.fingerprint, reason, *place)
    files = dict(zip((left.text, right.text), pictures, strict=True))
    try:
        _keep(store, files)
        store.write(trial, person.seed, arms)
    except BaseException:
        _drop(store, files)
        raise
    if reason is None:
        retire(store, profile.user, schedule)
    return int(reason is None)


def can_be_painted(wish: Wish, profile: Profile, painter: Painter) -> None:
    """Raises Refused, with what to do, where nothing is known to tell the image model, or a subject is too long."""
    if (why := lacks(profile)) and len(profile.liked) < MIN_LIKES:
        raise Refused(f"there is nothing to compare: {why}")
    try:
        prompt_of(TOPIC, Ask(kind=PICTURE, payload=wish.about), profile, painter.fits)
    except PictureError as error:
        raise Refused(str(error)) from error


def void_reason(left: bytes, right: bytes) -> str | None:
    """Why a pair of pictures must not be shown, as a code; None where it may."""
    if one_colour(left) or one_colour(right):
        return "empty"
    return "near-duplicates" if left == right else None


def folder_of(store: Store) -> Path:
    return store.db.folder / FOLDER


def _keep(store: Store, files: Mapping[str, bytes]) -> None:
    """Have them on disk, whole. Raises StoreError."""
    folder = folder_of(store)
    try:
        folder.mkdir(exist_ok=True)
        for name, picture in files.items():
            part = folder / f"{name}.part"
            with part.open("wb") as file:
                file.write(picture)
                file.flush()
                os.fsync(file.fileno())
            part.rename(folder / name)
    except OSError as error:
        raise StoreError(
            f"pictures cannot be kept in {store.db.told or folder} ({error.strerror}): free some space; what was "
            "stored before is safe"
        ) from error


def _drop(store: Store, files: Iterable[str]) -> None:
    for name in files:
        for path in (folder_of(store) / name, folder_of(store) / f"{name}.part"):
            with suppress(OSError):
                path.unlink()
