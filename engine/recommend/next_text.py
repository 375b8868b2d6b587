"""What somebody may like next, by the language model that reads likes as tokens (`item_lm`), as a scorer of any text.

It learns what many people liked after what. A text that they had is a learned vector; any other stands there by the
vector of its text, in the cluster whose middle is nearest, as if it alone had joined them: so a text's score does not
hang on which other ones are asked about.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from engine.backbone import Backbone
from engine.methods.base import State
from engine.optimise import Progress, Recipe, Trained, TrainError
from engine.profile import Profile
from engine.recommend import item_lm
from engine.recommend.clusters import catalogue
from engine.recommend.item_lm import ItemLM, Shop
from engine.recommend.recommender import Recommender
from engine.recommend.scorer import Floats, Scorer, Texts

KEPT = ("names", "sizes", "middles")  # of the catalogue, beside what was learned


@dataclass(frozen=True)
class NextText(Recommender):
    name: ClassVar[str] = "item_lm"
    recipe: ClassVar[Recipe] = Recipe(steps=400, batch=16, accumulate=1, lr=1e-3)

    inner: ItemLM = field(default_factory=lambda: ItemLM(told="Texts that somebody liked, oldest first:"))

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
        """Stopped by the last like of each held-out person that is also among the texts that teach."""
        vectors = {i.text: v for who in people for i, v in zip(who.items, who.vectors, strict=True)}
        items = catalogue(tuple(vectors), np.stack([*vectors.values()]))
        histories = [items.numbers(likes(who)) for who in people]
        counts = np.bincount(np.concatenate(histories), minlength=len(items))
        shop = Shop(items, counts, items.ids)
        known = [items.numbers([text for text in likes(who) if text in vectors]) for who in held_out]
        stop = [(had[:-1], int(had[-1])) for had in known if len(had)]
        if not stop:
            raise TrainError("no held-out person likes a text that somebody learned from: hold out others")
        state = item_lm.with_backbone(lm, self.inner, item_lm.born(lm, self.inner, shop))
        out = item_lm.teach(
            lm, self.inner, shop, state, histories, stop, recipe, checkpoint=checkpoint, on_progress=on_progress
        )
        kept = (named(items.ids), torch.from_numpy(items.sizes).float(), torch.from_numpy(items.middles))
        found = {name: tensor.to(lm.device) for name, tensor in zip(KEPT, kept, strict=True)}
        return replace(out, state=out.state | found)

    def knowing(self, lm: Backbone, state: State) -> Scorer:
        return _Knowing(lm, self.inner, state)


def likes(profile: Profile) -> list[str]:
    """The texts that a person likes, each once, oldest first."""
    return list(dict.fromkeys(item.text for item in profile.liked))


def named(texts: Sequence[str]) -> Tensor:
    """Texts by 64 bits of their sha256, as four numbers that a float holds exactly (N, 4)."""
    digests = [hashlib.sha256(text.encode()).digest()[:8] for text in texts]
    return torch.from_numpy(np.frombuffer(b"".join(digests), "<u2").reshape(-1, 4).astype(np.float32))


class _Knowing:
    """What was learned, for the people and texts of today."""

    def __init__(self, lm: Backbone, method: ItemLM, state: State) -> None:
        self.lm, self.method = lm, method
        self.learned = {name: tensor for name, tensor in state.items() if name not in KEPT}
        self.number = {tuple(row): n for n, row in enumerate(state["names"].tolist())}
        sizes = state["sizes"].long()
        self.sizes, self.cluster = sizes.tolist(), torch.repeat_interleave(torch.arange(len(sizes)), sizes.cpu())
        self.middles = state["middles"].cpu()

    @torch.no_grad()
    def score(self, profile: Profile, items: Texts) -> Floats:
        """log p of each text as what this person likes next (N,)."""
        if not len(items):
            return np.zeros(0, np.float32)
        vectors = {item.text: vector for item, vector in zip(profile.items, profile.vectors, strict=True)}
        told = likes(profile)[-self.method.longest :]
        had = Texts(tuple(told), np.stack([vectors[text] for text in told]) if told else items.vectors[:0])
        read = [*self.lm.tokens(self.method.told), *(~n for n in range(len(told)))]
        with self.lm.lock:
            state = self.learned | ({"items": self._rows(had)[0]} if told else {})
            q = item_lm.queries(self.lm, state, torch.tensor([read], device=self.lm.device))[1][0, -1]  # (E + 1,)
        rows, cluster, known = self._rows(items)
        said = rows @ q  # (N,)
        level = (self.learned["clusters"] @ q).log_softmax(0)[cluster]
        parts = (self.learned["items"] @ q).split(self.sizes)
        normal = torch.stack([part.logsumexp(0) for part in parts])[cluster]  # of the text's cluster, without it if new
        found = said + level - torch.where(known, normal, torch.logaddexp(normal, said))
        return np.asarray(found.float().cpu().numpy())

    def _rows(self, items: Texts) -> tuple[Tensor, Tensor, Tensor]:
        """Of each text its row of the table (N, E + 1), its cluster (N,), and whether somebody learned from it (N,)."""
        device = self.learned["items"].device
        numbers = torch.tensor([self.number.get(tuple(row), -1) for row in named(items.texts).tolist()]).long()
        vectors = torch.from_numpy(items.vectors)
        new = functional.pad(vectors, (0, 1)).to(device)  # nobody had it: the logarithm of one
        known = numbers >= 0
        place = numbers.clamp(min=0)
        nearest = (self.middles.norm(dim=1) ** 2 / 2 - vectors @ self.middles.T).argmin(1)  # as `Catalogue.joined`
        rows = torch.where(known.to(device)[:, None], self.learned["items"][place.to(device)], new)
        return rows, torch.where(known, self.cluster[place], nearest).to(device), known.to(device)
