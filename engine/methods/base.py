"""The one interface of all methods: what is asked, what a method answers, and the method itself.

A method touches generation only through the record it returns (`Conditioning`); the decoder does the rest,
the same for all.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from collectors.item import Item
from engine.backbone import PREFIX, Backbone, Facility, Message
from engine.patches import Patches
from engine.profile import Profile

State = dict[str, Tensor]

INSTRUCTIONS = {
    "joke": "Tell one short, funny joke about {}. Write only the joke, in one to three sentences.",
    "post": "Write one short, funny social media post about {}. Write only the post, in one to three sentences.",
    "caption": "Write one short, funny caption for this picture: {}. Write only the caption, in one sentence.",
    "picture": "A funny picture: {}.",  # said to an image model, which is no writer
    "reply": 'Write one short, funny reply to this post: "{}" Write only the reply, in one to three sentences.',
}


@dataclass(frozen=True, slots=True)
class Ask:
    """What is wanted, and the sampler. The sampler stands here, not in a method, so it is equal for all arms."""

    kind: Literal["joke", "post", "caption", "reply", "picture", "task"] = "joke"
    payload: str = (
        "anything"  # topic, picture in words, post to answer, or a task's whole text: what retrieval looks for
    )
    n: int = 1
    seed: int = 0
    temperature: float = 0.8
    top_p: float = 0.95
    top_k: int = 50
    repetition_penalty: float = 1.1
    max_new_tokens: int = 56
    choices: tuple[str, ...] = ()  # of a task: the answer is one of these, and nothing else

    def __post_init__(self) -> None:
        object.__setattr__(self, "choices", tuple(self.choices))  # a list, where it was kept as JSON

    def instruction(self) -> str:
        """The request in words, the same for every method."""
        if self.kind == "task":
            return self.payload
        return INSTRUCTIONS[self.kind].format(self.payload)


USUAL = "usual"
PRESETS = {  # samplers by name, each equal for all arms; whoever asks puts in what is wanted and the seed
    "careful": Ask(temperature=0.5, top_p=0.9, top_k=20, repetition_penalty=1.1),
    USUAL: Ask(),
    "wild": Ask(temperature=1.1, top_p=0.98, top_k=200, repetition_penalty=1.15, max_new_tokens=72),
}


@dataclass(frozen=True, eq=False)
class Contrast:
    """A second model whose opinion is taken off the first's, token by token (CoPe, arXiv 2506.12109, section 3.3).

    `weight` is lambda; a token stays possible where the expert gives it at least `plausibility` of its best token's
    probability (contrastive decoding, arXiv 2210.15097, section 3.2).
    """

    amateur: "Conditioning"
    weight: float = 0.1
    plausibility: float = 0.1


@dataclass(frozen=True, eq=False)
class Score:
    """Best of n: `samples` texts are drawn for each one asked for, and the one that `of` puts highest is kept."""

    of: Callable[[Sequence[str]], NDArray[np.floating]]
    samples: int


@dataclass(frozen=True, eq=False)
class Conditioning:
    """What a method says to the model, in five slots. `evidence` names the items it used, so the app can tell why.

    `prefix` (P, D), float32, scaled as token embeddings are, stands where the messages hold `PREFIX`, exactly once;
    without a marker, before the content of the first user turn. `adapter` names the patches as one, for a server with
    which it is registered; `engine.learning` fills it in.
    """

    messages: tuple[Message, ...]
    prefix: Tensor | None = None
    patches: Patches = field(default_factory=dict)
    contrast: Contrast | None = None
    score: Score | None = None
    evidence: tuple[str, ...] = ()
    adapter: str = ""


@dataclass(frozen=True)
class Method(ABC):
    """A way of personalising a frozen model. Its dataclass fields are its hyperparameters and its provenance."""

    name: ClassVar[str]
    title: ClassVar[str]  # for people, after the vote
    paper: ClassVar[str]
    asks: ClassVar[tuple[Facility, ...]] = ()  # of the model, beside messages

    @property
    def needs(self) -> frozenset[Facility]:
        """What it asks of the model beside messages, itself and through the methods it wraps."""
        wrapped = (getattr(self, field.name) for field in fields(self))
        return frozenset(self.asks).union(*(method.needs for method in wrapped if isinstance(method, Method)))

    @property
    def personal(self) -> bool:
        """Whether its state is learned from one person, and not from a population."""
        return False

    def lacks(self, lm: Backbone, profile: Profile) -> str | None:
        """Why it cannot run for this person on this model, in words; None where it can."""
        return None

    def born(self, lm: Backbone, items: NDArray[np.float32]) -> State:
        """What it learns from a population, before it has learned: {} where there is nothing to learn.

        `items` (N, E) are vectors of the population's items, to calibrate on. `engine.train` teaches the rest: a
        method says what it has and what it does with it, never how it is trained.
        """
        return {}

    def shortened(self, lm: Backbone, items: Sequence[Item]) -> int:
        """How many of the items that it was told about do not stand whole in what the model reads."""
        return 0

    @property
    def learned_as(self) -> "Method":
        """Whose state it uses: its own, or that of the method it wraps."""
        return self

    @property
    def goes_on_from(self) -> "Method | None":
        """For a personal method, whose state its own begins as; None: it begins as it is born."""
        return None

    @abstractmethod
    def condition(self, lm: Backbone, profile: Profile, state: State, ask: Ask) -> Conditioning:
        """Turn a request for this person into what the decoder is told; differentiable in `state`."""


__all__ = ["PREFIX", "PRESETS", "USUAL", "Ask", "Conditioning", "Contrast", "Method", "Score", "State"]
