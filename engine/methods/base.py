"""The one interface of all methods: what is asked, what a method answers, and the method itself.

A method touches generation only through the record it returns (`Conditioning`); the decoder does the rest,
the same for all. This step's methods speak through the messages; soft prefixes, patches, contrast and scores
get their fields when the first method needs them.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from engine.backbone import Backbone, Message
from engine.profile import Profile

State = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Ask:
    """What is wanted, and the sampler. The sampler stands here, not in a method, so it is equal for all arms."""

    kind: Literal["joke", "post"] = "joke"
    payload: str = "anything"  # the topic; what retrieval searches with
    n: int = 1
    seed: int = 0
    temperature: float = 0.8
    top_p: float = 0.95
    top_k: int = 50
    repetition_penalty: float = 1.1
    max_new_tokens: int = 56

    def instruction(self) -> str:
        """The request in words, the same for every method."""
        wanted = "Tell one short, funny joke" if self.kind == "joke" else "Write one short, funny social media post"
        return f"{wanted} about {self.payload}. Write only the {self.kind}, in one to three sentences."


@dataclass(frozen=True, slots=True)
class Conditioning:
    """What a method says to the model. `evidence` names the liked items it used, so the app can tell why."""

    messages: tuple[Message, ...]
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True)
class Method(ABC):
    """A way of personalising a frozen model. Its dataclass fields are its hyperparameters and its provenance."""

    name: ClassVar[str]
    title: ClassVar[str]  # for people, after the vote
    paper: ClassVar[str]

    def lacks(self, lm: Backbone, profile: Profile) -> str | None:
        """Why it cannot run for this person on this model, in words; None where it can."""
        return None

    def learn(self, lm: Backbone, profiles: list[Profile]) -> State:
        """What it takes from a population, once."""
        return {}

    def fit(self, lm: Backbone, profile: Profile, shared: State) -> State:
        """What it takes from one person."""
        return shared

    @abstractmethod
    def condition(self, lm: Backbone, profile: Profile, state: State, ask: Ask) -> Conditioning:
        """Turn a request for this person into what the decoder is told."""
