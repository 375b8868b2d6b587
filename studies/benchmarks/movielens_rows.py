"""Rows of the next-item benchmark that ask no language model: floors, neighbours, and SASRec as a library has it.

SASRec (arXiv 1808.09781) is torch-rechub's model, with its paper's loss (one negative an item, BCE) and with the
softmax over all items, which is worth more than most architectures (arXiv 2309.07602). Both stop by NDCG@10 of the
people's validation items.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from engine.recommend.ranking import Floats, Places, ranks
from studies.benchmarks.rows import kept_best
from studies.benchmarks.runs import Row

Asked = Sequence[tuple[Places, int]]  # what somebody had, oldest first, and what came next


@dataclass(frozen=True, eq=False)
class Parts:
    """Of N films: what teaches, and what judges, while something learns (validation) and at last (test)."""

    films: int
    taught: tuple[Places, ...]
    validation: Asked
    test: Asked

    @property
    def counts(self) -> Places:
        """How many have had each film, of those who teach (N,)."""
        return np.bincount(np.concatenate(self.taught), minlength=self.films)


Known = Sequence[Places]
Made = Callable[[Known], Floats]  # histories -> scores (U, N)


def at_random(parts: Parts, seed: int) -> tuple[Made, Row]:
    def scored(known: Known) -> Floats:
        return np.random.default_rng([seed, 1]).random((len(known), parts.films))

    return scored, {}


def popularity(parts: Parts, seed: int) -> tuple[Made, Row]:
    return lambda known: np.repeat(parts.counts[None].astype(float), len(known), 0), {}


def item_knn(parts: Parts, seed: int) -> tuple[Made, Row]:
    """LensKit's item neighbours of what somebody had, fifty of them; the order of a history says nothing here."""
    from lenskit.data import ItemList, RecQuery, from_interactions_df
    from lenskit.knn import ItemKNNScorer
    from lenskit.training import TrainingOptions

    scorer, before = ItemKNNScorer(max_nbrs=50, feedback="implicit"), time.monotonic()
    users = np.repeat(np.arange(len(parts.taught)), [len(history) for history in parts.taught])
    had = pd.DataFrame({"user_id": users, "item_id": np.concatenate(parts.taught)})
    scorer.train(from_interactions_df(had), TrainingOptions(rng=0))
    took = time.monotonic() - before

    def scored(known: Known) -> Floats:
        everything, taught = ItemList(item_ids=np.arange(parts.films)), parts.counts > 0
        asked = [RecQuery(user_items=ItemList(item_ids=had[taught[had]])) for had in known]  # of others it panics
        found = np.array([scorer(query, everything).scores() for query in asked], float)
        return np.asarray(np.nan_to_num(found))  # a film without neighbours has no score: the least

    return scored, {"train_seconds": took}


# ---- SASRec


@dataclass(frozen=True, slots=True)
class SASRec:
    """Not searched. Blocks, the one head, dropout, rate, batch and Adam's betas are those of the authors' code for
    MovieLens-1M (github.com/kang205/SASRec). Width and length are ours: theirs are 50 and 200, the library's length
    is 50."""

    width: int = 64
    length: int = 100
    blocks: int = 2
    dropout: float = 0.2
    lr: float = 1e-3
    batch: int = 128
    epochs: int = 10  # between two looks
    looks: int = 30
    patience: int = 5


SASREC = SASRec()


def sasrec_bce(parts: Parts, seed: int) -> tuple[Made, Row]:
    return _sasrec(parts, seed, _bce)


def sasrec_softmax(parts: Parts, seed: int) -> tuple[Made, Row]:
    return _sasrec(parts, seed, _softmax)


def _sasrec(parts: Parts, seed: int, loss: Callable[..., Tensor]) -> tuple[Made, Row]:
    from torch_rechub.basic.features import SequenceFeature
    from torch_rechub.models.matching.sasrec import SASRec as Model

    torch.manual_seed(seed)
    dice, before = np.random.default_rng([seed, 2]), time.monotonic()
    names = (("seq", None), ("pos", "seq"), ("neg", "seq"))
    features = [
        SequenceFeature(name, parts.films + 1, SASREC.width, "concat", shared_with=of, padding_idx=0)
        for name, of in names
    ]
    model = Model(features, SASREC.length, SASREC.dropout, SASREC.blocks)
    optimizer = torch.optim.Adam(model.parameters(), lr=SASREC.lr, betas=(0.9, 0.98))

    def scored(known: Known) -> Floats:
        model.eval()
        with torch.no_grad():
            found = [_hidden(model, _padded(known[n : n + 256]))[1] for n in range(0, len(known), 256)]
            return (torch.cat(found) @ _films(model).T)[:, 1:].double().numpy()

    def judged() -> float:
        known, targets = [had for had, _ in parts.validation], np.array([n for _, n in parts.validation])
        return float(ranks(scored(known), targets, known).ndcg(10).mean())

    taught = [history[-SASREC.length - 1 :] for history in parts.taught if len(history) > 1]

    def learn() -> None:
        for _ in range(SASREC.epochs):
            order = dice.permutation(len(taught))
            for start in range(0, len(order), SASREC.batch):
                some = [taught[n] for n in order[start : start + SASREC.batch]]
                lost = loss(model, _padded([h[:-1] for h in some]), _padded([h[1:] for h in some]), dice)
                optimizer.zero_grad()
                lost.backward()
                optimizer.step()

    best = kept_best(model, learn, judged, SASREC.looks, SASREC.patience)
    size = sum(parameter.numel() for parameter in model.parameters())
    return scored, {"train_seconds": time.monotonic() - before, "trained_parameters": size, "validation_ndcg10": best}


def _padded(histories: Sequence[Places]) -> Tensor:
    """Films as 1 to N, 0 on the right: (B, T), T that of the longest, at most SASREC.length, and two at least: of one
    the library's model makes another shape."""
    longest = max(2, min(SASREC.length, max(len(history) for history in histories)))
    found = np.zeros((len(histories), longest), np.int64)
    for row, history in enumerate(histories):
        latest = history[-longest:]
        found[row, : len(latest)] = latest + 1
    return torch.from_numpy(found)


def _films(model: Any) -> Tensor:
    weight: Tensor = model.item_emb.embed_dict["seq"].weight  # (N + 1, D)
    return weight


def _hidden(model: Any, seq: Tensor) -> tuple[Tensor, Tensor]:
    """Hidden states (B, T, D), and each row's last (B, D)."""
    twice = seq if len(seq) > 1 else seq.expand(2, -1)  # of one row, too
    hidden = model.seq_forward({"seq": twice}, _films(model)[twice] + 0)[: len(seq)]  # it writes into what it is given
    last = (seq != 0).sum(1).clamp(min=1) - 1
    return hidden, hidden[torch.arange(len(seq)), last]


def _bce(model: Any, seq: Tensor, pos: Tensor, dice: np.random.Generator) -> Tensor:
    """One film drawn at random beside each that came next (section 3.5 of the paper)."""
    films, there = _films(model), pos != 0
    own = torch.zeros(len(seq), len(films), dtype=torch.bool).scatter_(1, torch.cat([seq, pos], 1), value=True)
    neg = torch.from_numpy(dice.integers(1, len(films), pos.shape))
    while bool((clash := own.gather(1, neg) & there).any()):  # none that the person had
        neg = torch.where(clash, torch.from_numpy(dice.integers(1, len(films), pos.shape)), neg)
    hidden = _hidden(model, seq)[0]
    right, wrong = (hidden * films[pos]).sum(-1)[there], (hidden * films[neg]).sum(-1)[there]
    return functional.softplus(-right).mean() + functional.softplus(wrong).mean()


def _softmax(model: Any, seq: Tensor, pos: Tensor, dice: np.random.Generator) -> Tensor:
    there = pos != 0
    return functional.cross_entropy(_hidden(model, seq)[0][there] @ _films(model)[1:].T, pos[there] - 1)


ROWS: dict[str, tuple[Callable[[Parts, int], tuple[Made, Row]], bool]] = {  # and whether it is personal
    "random": (at_random, False),
    "popularity": (popularity, False),
    "item-kNN": (item_knn, True),
    "SASRec BCE": (sasrec_bce, True),
    "SASRec softmax": (sasrec_softmax, True),
}
