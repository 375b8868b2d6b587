"""Fills the pool of a study, model by model: one in memory at a time. Broken off, it goes on where it was."""

import gc
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from collectors.item import CollectError, read_reactions
from engine.backbone import Backbone
from engine.learning import missing, stand_on
from engine.methods import ARMS
from engine.methods.base import Ask
from engine.plan import Quantize
from engine.profile import Profile, build
from engine.summary import MIN_LIKES, summarize
from studies.pairs import MAX_ATTEMPTS, void_reason_of, write_texts
from studies.register import Register
from studies.schedule import HUMAN, Slot, ask_seed, texts_needed
from studies.store import Store, new_id
from studies.studyfile import MODEL, Study, StudyError
from studies.writing import made_with

AT_ONCE = 8  # texts of one decode
ATTEMPTS = 2  # at a trial that have texts of their own: two that are too alike are followed by two others


def fill(
    store: Store, study: Study, people: dict[str, Profile], quantize: Quantize = "auto", *, base: bool = True
) -> Iterator[str]:
    """Write every text that a rater may meet, for each of `people` (or for nobody); yields lines of progress.

    With `base` all stand on the task-adapted model, where there is one. Raises StudyError for an arm that cannot run.
    """
    register = Register(store)
    register.open_study(study.design.id, study.title, study.settings)
    ways = [arm for arm in study.design.arms if arm != HUMAN]
    of_model: dict[str, list[str]] = {}
    for arm in ways:
        of_model.setdefault(arm.partition(MODEL)[2], []).append(arm)
    for model, arms in of_model.items():
        lacks = {
            name: [p for p in empty_places(register, study, name, ATTEMPTS) if p[0] in arms] for name in people or [""]
        }
        if not any(lacks.values()):
            continue
        yield f"loading {model or 'the default model'}"
        lm = Backbone.load(model or None, quantize)
        if base:
            stand_on(lm, store.db.folder)
        register.note_engine(study.design.id, made_with(lm))
        for name, places in lacks.items():
            yield from _fill_for(store, study, lm, people.get(name, Profile("")), name, places)
        del lm
        gc.collect()
    yield "the pool is full"


def empty_places(register: Register, study: Study, name: str, attempts: int) -> list[tuple[str, str, int]]:
    """The (arm, topic, number) of which the pool for `name` lacks the text, for so many attempts at a trial."""
    there = register.pooled(study.design.id, name)
    ways = [arm for arm in study.design.arms if arm != HUMAN]
    places = product(ways, study.design.topics, range(attempts * texts_needed(study.design)))
    return [place for place in places if place not in there]


def people_of(store: Store, study: Study) -> dict[str, Profile]:
    """The people of a study's file, by name; none where it names no file. Raises StudyError."""
    try:
        return {
            name: build(name, [(item, signal) for item, signal in reactions if signal], encode=store.vectors)
            for name, reactions in (read_reactions(study.people) if study.people else ())
        }
    except CollectError as error:
        raise StudyError(f"the people cannot be read: {error}") from error


def _fill_for(
    store: Store, study: Study, lm: Backbone, profile: Profile, name: str, places: list[tuple[str, str, int]]
) -> Iterator[str]:
    register = Register(store)
    if len(profile.liked) >= MIN_LIKES and not profile.summary:
        profile = replace(profile, summary=summarize(lm, profile))
    for arm in dict.fromkeys(arm for arm, _, _ in places):
        if why := missing(lm, ARMS[arm.partition(MODEL)[0]], store.db.folder, profile):
            raise StudyError(f"the arm {arm} cannot run for {name or 'nobody'}: {why}")
    left, tried, done = list(places), 0, 0
    taken = register.texts(study.design.id, name)
    while left and tried < MAX_ATTEMPTS:
        failed = []
        for start in range(0, len(left), AT_ONCE):
            batch = left[start : start + AT_ONCE]
            asks = [
                Ask(payload=topic, seed=ask_seed(f"{study.design.id}/{name}/{arm}/{topic}/{n}", 0, tried))
                for arm, topic, n in batch
            ]
            ways = [arm.partition(MODEL)[0] for arm, _, _ in batch]
            pairs = enumerate(zip(ways, asks, strict=True))
            wanted = {i: (Slot(way, way, ask.payload), ask) for i, (way, ask) in pairs}
            written = write_texts(lm, store.db.folder, profile, wanted)
            for i, (arm, topic, n) in enumerate(batch):
                text = written[i, ways[i]]
                if text.text in taken or void_reason_of(text, None, asks[i], profile):
                    failed.append((arm, topic, n))
                    continue
                taken.add(text.text)
                register.put(study.design.id, name, topic, n, replace(text, id=new_id(), arm=arm), lm.fingerprint)
                done += 1
            yield f"{name or 'nobody'}: {done} of {len(places)} texts"
        left, tried = failed, tried + 1
    for arm, topic, _ in left:
        yield f"no text of {arm} about {topic} that may be shown, in {MAX_ATTEMPTS} tries"
