"""What every recommender that learns from many people answers to."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from engine import encoder
from engine.backbone import Backbone
from engine.methods.base import State
from engine.optimise import Progress, Recipe, Trained
from engine.profile import Profile
from engine.recommend.scorer import Scorer
from engine.state import Facts, key


class Recommender(ABC):
    """A scorer that learns from many people. Its dataclass fields are its settings and its provenance."""

    name: ClassVar[str]
    recipe: ClassVar[Recipe]  # that is meant for it

    @abstractmethod
    def teach(
        self,
        lm: Backbone,
        people: Sequence[Profile],
        held_out: Sequence[Profile],
        recipe: Recipe,
        *,
        checkpoint: Path | None = None,
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> Trained:
        """Learn from `people`, stopped by `held_out`. Raises TrainError."""

    @abstractmethod
    def knowing(self, lm: Backbone, state: State) -> Scorer:
        """The scorer of what was learned."""

    def facts(self, lm: Backbone) -> Facts:
        """What a state must have been learned for, to be used here."""
        facts = {"recommender": f"{self.name}-{key({'settings': repr(self)})[:6]}", "backbone": lm.weights_id}
        facts |= {"encoder": encoder.NAME}
        return facts | ({"base": lm.base_name} if lm.base_name else {})

    def path(self, lm: Backbone, folder: Path) -> Path:
        """Where the data folder keeps what was learned for this model."""
        facts = self.facts(lm)
        return folder / "states" / "shared" / facts["recommender"] / f"{key(facts)}.safetensors"
