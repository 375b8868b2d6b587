"""All scorers by name: two that know one person alone, two that learn from many, and the local model as a judge."""

from collections.abc import Callable, Sequence
from pathlib import Path

from engine import processes
from engine.backbone import Backbone
from engine.learning import tell
from engine.optimise import Progress, Recipe, TrainError, write_curve
from engine.profile import Profile
from engine.recommend.apart import asked, control
from engine.recommend.clusters import CatalogueError
from engine.recommend.features import FeatureError
from engine.recommend.like import Like
from engine.recommend.local_judge import LocalJudge
from engine.recommend.next_text import NextText
from engine.recommend.recommender import Recommender
from engine.recommend.scorer import Scorer
from engine.recommend.taste import ByVectors, by_topic, cosine
from engine.state import StateError, load, save

NEAREST = "nearness"
PLAIN = {NEAREST: ByVectors(cosine), "topics": ByVectors(by_topic)}
TAUGHT: dict[str, Recommender] = {one.name: one for one in (NextText(), Like())}
JUDGE = "judge"
NAMES = (*PLAIN, *TAUGHT, JUDGE)


def scorer(name: str, lm: Backbone, folder: Path) -> Scorer:
    """The scorer of this name, with what the data folder keeps for this model. Raises StateError where a recommender
    has learned nothing yet, ValueError for a name that is none."""
    if name in PLAIN:
        return PLAIN[name]
    if name in NAMES and (why := lm.refuses("within")):
        raise StateError(f"{name} cannot be asked here: {why}, or take {' or '.join(PLAIN)}")
    if name == JUDGE:
        return LocalJudge(lm)
    if name not in TAUGHT:
        raise ValueError(f"{name!r} is no scorer: use one of {', '.join(NAMES)}")
    path = TAUGHT[name].path(lm, folder)
    if not path.exists():
        raise StateError(
            f"{name} has learned nothing yet for {lm.name}: run python -m engine learn {name} --population FILE "
            f"--out {folder}"
        )
    state = {name: tensor.to(lm.device) for name, tensor in load(path, TAUGHT[name].facts(lm)).items()}
    return TAUGHT[name].knowing(lm, state)


def learn(
    lm: Backbone,
    recommender: Recommender,
    people: Sequence[Profile],
    held_out: Sequence[Profile],
    recipe: Recipe,
    path: Path,
    named: str,
    *,
    checkpoint: Path | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> dict[str, object]:
    """Teach a recommender on a population whose sha256 is `named` and keep at `path` what it learned; returns its
    report. Every second of the held-out people stops it, the others judge it. Raises TrainError."""
    if both := {who.user for who in people} & {who.user for who in held_out}:
        raise TrainError(f"{len(both)} people are learned from and held out: take them out of one file")
    questions = asked(held_out[1::2])
    if not people or len(questions) < 2:
        raise TrainError(
            f"{len(held_out)} people are held out: give four at least, two stop the training, two judge it"
        )
    try:
        out = recommender.teach(lm, people, held_out[::2], recipe, checkpoint=checkpoint, on_progress=on_progress)
    except (FeatureError, CatalogueError) as error:
        raise TrainError(f"{recommender.name} cannot learn from these people: {error}") from error

    def judged_and_kept() -> dict[str, object]:
        report: dict[str, object] = {"people": len(people), "population": named}
        report |= control(recommender.knowing(lm, out.state), people, questions)
        save(path, out.state, {**recommender.facts(lm), "population": named})
        write_curve(path.with_suffix(".csv"), out.curve)
        tell(path, lm, recommender, out, recipe, report)
        return {"recommender": recommender.name, "ended": out.ended, **report}

    return processes.once(judged_and_kept)
