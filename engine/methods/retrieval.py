"""Retrieval (RAP): of everything the person liked, the items nearest to the request stand in the prompt.

The query is the payload, never the instruction, which would find the same items every time (LaMP, arXiv
2304.11406, section 3.2). Exact inner-product search by FAISS over unit vectors, that is by cosine.
"""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import faiss

from engine.backbone import Backbone
from engine.encoder import WIDTH, encode
from engine.methods.base import Ask, Conditioning, Method, State
from engine.methods.history import History
from engine.profile import Profile


@dataclass(frozen=True)
class Retrieval(Method):
    name: ClassVar[str] = "retrieval"
    title: ClassVar[str] = "those of your likes nearest to the topic"
    paper: ClassVar[str] = "arXiv 2304.11406 (LaMP)"

    inner: History = field(default_factory=History)  # what is told about the items found

    def lacks(self, lm: Backbone, profile: Profile) -> str | None:
        missing = self.inner.k + 1 - len(profile.liked)  # with k likes or fewer it would say what `history` says
        return f"it needs {missing} more like{'s' * (missing > 1)}" if missing > 0 else None

    def condition(self, lm: Backbone, profile: Profile, state: State, ask: Ask) -> Conditioning:
        liked = [i for i, signal in enumerate(profile.signals) if signal.sign > 0]
        index = faiss.IndexFlatIP(WIDTH)
        index.add(profile.vectors[liked])  # (n_liked, 384)
        _, found = index.search(encode([ask.payload]), min(self.inner.k, len(liked)))  # (1, k)
        rows = [liked[i] for i in reversed(found[0])]  # nearest last, next to the request
        narrowed = replace(
            profile,
            items=tuple(profile.items[i] for i in rows),
            signals=tuple(profile.signals[i] for i in rows),
            vectors=profile.vectors[rows],
        )
        return self.inner.condition(lm, narrowed, state, ask)
