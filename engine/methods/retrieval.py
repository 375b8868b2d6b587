"""Retrieval (RAP): of everything the person liked, only the items nearest to the request go to another method.

The query is the payload, never the instruction, which would find the same items every time (LaMP, arXiv
2304.11406, section 3.2), and an item never retrieves itself. Exact inner-product search by FAISS over unit vectors,
that is by cosine.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import faiss
import numpy as np
from numpy.typing import NDArray

from collectors.item import Item
from engine.backbone import Backbone
from engine.encoder import encode
from engine.methods.base import Ask, Conditioning, Method, State
from engine.methods.history import History
from engine.methods.parts import needs_likes
from engine.profile import Profile, narrowed


@dataclass(frozen=True)
class Retrieval(Method):
    name: ClassVar[str] = "retrieval"
    title: ClassVar[str] = "those of your likes nearest to the topic"
    paper: ClassVar[str] = "arXiv 2304.11406 (LaMP)"

    inner: Method = field(default_factory=History)  # what is made of the items found
    k: int = 4

    @property
    def learned_as(self) -> Method:
        return self.inner.learned_as

    def born(self, lm: Backbone, items: NDArray[np.float32]) -> State:
        return self.inner.born(lm, items)

    def lacks(self, lm: Backbone, profile: Profile) -> str | None:
        # with k likes or fewer it would say what the inner method says
        return needs_likes(profile, self.k + 1) or self.inner.lacks(lm, profile)

    def shortened(self, lm: Backbone, items: Sequence[Item]) -> int:
        return self.inner.shortened(lm, items)

    def condition(self, lm: Backbone, profile: Profile, state: State, ask: Ask) -> Conditioning:
        liked = [
            i
            for i, (item, signal) in enumerate(zip(profile.items, profile.signals, strict=True))
            if signal.sign > 0 and item.text != ask.payload
        ]
        vectors = profile.vectors[liked]  # (n_liked, E)
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(vectors)
        _, found = index.search(encode([ask.payload]), min(self.k, len(liked)))  # (1, k)
        nearest_last = [liked[i] for i in reversed(found[0])]  # next to the request
        return self.inner.condition(lm, narrowed(profile, nearest_last), state, ask)
