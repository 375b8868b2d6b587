"""What a study asks of each rater, and what it still lacks: told before anybody comes, and without a model."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from collectors.item import read_reactions
from studies.database import address, exists
from studies.pairs import title
from studies.pregenerate import ATTEMPTS, empty_places
from studies.register import Register
from studies.schedule import HUMAN, SALAD, Kind, Step, posts_needed, steps, texts_needed
from studies.store import Store
from studies.studyfile import CODES, MODEL, Study
from studies.writing import posts_of

WORDS = {"pair": 60, "card": 30, "mark": 30}  # assumed for what is shown at once: two short jokes, or one
WORDS_A_MINUTE = 240  # of reading (Brysbaert 2019)
DECISION = 3.0  # seconds to choose and press a key, assumed


def told(study: Study) -> list[str]:
    """The study in three lines: its id, what a rater does, codes that are missing."""
    kinds = [step.kind for step in steps(study.design, 0)]
    practice = f", after {study.practice} for practice" if study.practice else ""
    missing = [name for name in CODES if name not in study.codes]
    codes = f" missing: {', '.join(missing)}; who ends so gets none" if missing else ": all"
    return [
        f"study {study.design.id}: {study.title}",
        f"each rater: {len(kinds)} trials ({_counts(kinds)}){practice}, about {minutes(study)} minutes",
        f"completion codes{codes}",
    ]


def minutes(study: Study) -> int:
    """Of reading and choosing, by the assumptions above: cards to swipe, practice and trials."""
    shown: list[Kind] = [step.kind for step in steps(study.design, 0)]
    shown += [study.design.kinds[0]] * study.practice
    shown += ["card"] * (study.likes if study.profile == "likes" else 0)
    return round(sum(60 * WORDS[kind] / WORDS_A_MINUTE + DECISION for kind in shown) / 60) or 1


def checked(study: Study, folder: Path | None = None, database_url: str | None = None) -> Iterator[str]:
    """All that can be told without a model; with the data folder also how full the pool is.

    Raises StudyError or CollectError for posts or people that cannot be read, or that are too few.
    """
    yield from told(study)
    yield f"url: raters go there with their code, {study.url}" if study.url else "url: none, raters copy their code"
    planned = steps(study.design, 0)
    for kind in study.design.kinds:
        yield f"{kind}: {_counts(step.purpose for step in planned if step.kind == kind)}"
    for arm in study.design.arms:
        met = (s.kind for s in planned if s.purpose == "main" for side in (s.left, s.right) if side == arm)
        yield f"arm {arm}: {_counts(met)}; {title(arm.partition(MODEL)[0])}"
    people = _people(study)
    yield _taste(study, people)
    if study.posts:
        most = posts_needed(study.design)
        yield f"posts by people: {len(posts_of(study))} in {study.posts.name}, of which a rater meets up to {most}"
    if study.texts == "live":
        yield f"texts: written live, {sum(len(_written(step)) for step in planned)} for each rater"
    else:
        yield from _pool(study, list(people) or [""], folder, database_url)
    yield (
        f"minutes: at {WORDS['pair']} words a pair, {WORDS['card']} a single text, {WORDS_A_MINUTE} words a minute and "
        f"{DECISION:.0f} s a decision, without consent, instructions and survey"
    )


def _taste(study: Study, people: dict[str, int]) -> str:
    if study.profile == "likes":
        return f"taste: cards to swipe until {study.likes} are liked"
    if study.profile == "import":
        return f"taste: an export that each rater brings, with at least {study.likes} likes"
    if study.people:
        fewest, most = min(people.values()), max(people.values())
        return f"taste: of {len(people)} people in {study.people.name}, in turn, who like {fewest} to {most} texts each"
    return "taste: of nobody"


def _people(study: Study) -> dict[str, int]:
    """How many likes each of the people has whom raters stand in for."""
    there = read_reactions(study.people) if study.people else ()
    return {name: sum(signal is not None and signal.sign > 0 for _, signal in seen) for name, seen in there}


def _pool(study: Study, people: list[str], folder: Path | None, database_url: str | None) -> Iterator[str]:
    """What the pool must hold, and what it lacks. Where there are no tables none are made."""
    design, needed = study.design, texts_needed(study.design)
    ways = sum(arm != HUMAN for arm in design.arms)
    wanted = lacking = needed * ways * len(design.topics) * len(people)
    yield (
        f"texts: a pool, {needed} of each arm about each of {len(design.topics)} topics"
        f"{f' for each of {len(people)} people' if study.people else ''}: {wanted} to start with; pregenerate writes "
        f"{ATTEMPTS} times as many, for pairs that are too alike"
    )
    url = address(database_url)
    if folder and exists(folder, url):
        register = Register(Store(folder, url))
        lacking = sum(len(empty_places(register, study, name, attempts=1)) for name in people)
    if folder:
        there = f"lacks {lacking} of these: run python -m studies pregenerate" if lacking else "is full"
        yield f"the pool in {folder} {there}"


def _written(step: Step) -> set[str]:
    """The arms that write a text for it."""
    return {step.left, step.right} - {"", HUMAN, SALAD} if step.of < 0 else set()


def _counts(names: Iterable[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(Counter(names).items()))
