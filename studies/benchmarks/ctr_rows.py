"""Rows of like prediction that ask no language model: the share of likes, a regression, factorisation machines, boosted
trees, and the encoder that LLM-CTR stands on, alone.

All see the same fields and, with text, the same vector of it. What has a ridge, a size or a moment to stop has it from
the rows that stop, by AUC. The machines are torch-rechub's layers (FM: Rendle 2010; DeepFM, arXiv 1703.04247).
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from engine.recommend.ctr import LLMCTR, encoded
from engine.recommend.features import Shown
from engine.state import parameters
from studies.benchmarks.rows import kept_best
from studies.benchmarks.runs import Row
from studies.benchmarks.scores import Floats

Made = Callable[[Shown], Floats]  # rows -> p of a like
INVERSE_RIDGES = (1.0, 1e-1, 1e-2, 1e-3, 1e-4)  # of equal ones the first
TREES = 300


def regression(taught: Shown, stop: Shown, text: bool, seed: int) -> tuple[Made, Row]:
    from sklearn.linear_model import LogisticRegression

    before = time.monotonic()
    rows, looked_at = _one_hot(taught, text), _one_hot(stop, text)
    models = [LogisticRegression(C=c, max_iter=300).fit(rows, taught.labels) for c in INVERSE_RIDGES]
    best = max(models, key=lambda model: _auc(stop, model.predict_proba(looked_at)[:, 1]))
    figures = {"train_seconds": time.monotonic() - before, "trained_parameters": int(best.coef_.size) + 1}
    return lambda shown: np.asarray(best.predict_proba(_one_hot(shown, text))[:, 1]), figures


def _one_hot(shown: Shown, text: bool) -> Any:
    from scipy import sparse

    rows = np.repeat(np.arange(len(shown)), len(shown.fields.sizes))
    places = (shown.ids + shown.fields.starts).ravel()
    wide = sum(shown.fields.sizes)
    found = sparse.csr_matrix((np.ones(len(places), np.float32), (rows, places)), (len(shown), wide))
    return sparse.hstack([found, sparse.csr_matrix(shown.vectors[shown.items])]).tocsr() if text else found


def trees(taught: Shown, stop: Shown, text: bool, seed: int) -> tuple[Made, Row]:
    """Scikit-learn's histogram gradient boosting; fields of few values as kinds, else by their number."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    before = time.monotonic()
    kinds = [n for n, size in enumerate(taught.fields.sizes) if size <= 255]
    model = HistGradientBoostingClassifier(
        max_iter=TREES, learning_rate=0.05, categorical_features=kinds, early_stopping=False, random_state=seed
    )
    model.fit(_side_by_side(taught, text), taught.labels)
    looks = [_auc(stop, p[:, 1]) for p in model.staged_predict_proba(_side_by_side(stop, text))]
    best = int(np.argmax(looks))

    def scored(shown: Shown) -> Floats:
        stages = model.staged_predict_proba(_side_by_side(shown, text))
        return np.asarray(next(p[:, 1] for n, p in enumerate(stages) if n == best))

    return scored, {"train_seconds": time.monotonic() - before, "trees": best + 1}


def _side_by_side(shown: Shown, text: bool) -> NDArray[np.float32]:
    parts = [shown.ids.astype(np.float32), *([shown.vectors[shown.items]] if text else ())]
    return np.concatenate(parts, 1)


# ---- factorisation machines


@dataclass(frozen=True, slots=True)
class Machine:
    """Widths as in the library's own example; the rate and the penalty were not searched."""

    width: int = 16
    deep: tuple[int, ...] = (256, 128)
    dropout: float = 0.2
    lr: float = 1e-3
    decay: float = 1e-5
    batch: int = 512
    looks: int = 40  # of 50 steps each
    patience: int = 5


MACHINE = Machine()


class _Machine(nn.Module):
    """The vectors of all fields, the text's led there by a linear layer; their sum, their products and, where it is
    deep, a network on them and on the text's own vector."""

    def __init__(self, shown: Shown, text: bool, deep: bool) -> None:
        from torch_rechub.basic.layers import FM, LR, MLP

        super().__init__()
        fields, wide = len(shown.fields.sizes) + text, shown.vectors.shape[1] * text
        self.vectors = nn.Embedding(sum(shown.fields.sizes), MACHINE.width)
        nn.init.normal_(self.vectors.weight, std=0.01)
        self.text = nn.Linear(wide, MACHINE.width) if text else None
        self.linear, self.products = LR(fields * MACHINE.width), FM(reduce_sum=True)
        ins = fields * MACHINE.width + wide
        self.deep = MLP(ins, dims=list(MACHINE.deep), activation="relu", dropout=MACHINE.dropout) if deep else None

    def forward(self, shown: Shown) -> Tensor:
        """Log-odds (B,)."""
        found = self.vectors(torch.from_numpy(shown.ids + shown.fields.starts))  # (B, F, W)
        more = torch.from_numpy(shown.vectors[shown.items]) if self.text else None
        if self.text is not None:
            found = torch.cat([found, self.text(more)[:, None]], 1)
        said: Tensor = self.linear(found.flatten(1)) + self.products(found)
        if self.deep is not None:
            said = said + self.deep(found.flatten(1) if more is None else torch.cat([found.flatten(1), more], 1))
        return said[:, 0]


def fm(taught: Shown, stop: Shown, text: bool, seed: int) -> tuple[Made, Row]:
    return _machine(taught, stop, text, seed, deep=False)


def deep_fm(taught: Shown, stop: Shown, text: bool, seed: int) -> tuple[Made, Row]:
    return _machine(taught, stop, text, seed, deep=True)


def _machine(taught: Shown, stop: Shown, text: bool, seed: int, *, deep: bool) -> tuple[Made, Row]:
    torch.manual_seed(seed)
    dice, before = np.random.default_rng([seed, 8]), time.monotonic()
    model = _Machine(taught, text, deep)
    optimizer = torch.optim.AdamW(model.parameters(), lr=MACHINE.lr, weight_decay=MACHINE.decay)

    def scored(shown: Shown) -> Floats:
        model.eval()
        with torch.no_grad():
            parts = [model(shown.at(np.arange(n, min(n + 4096, len(shown))))) for n in range(0, len(shown), 4096)]
        return np.asarray(torch.sigmoid(torch.cat(parts)).double().numpy())

    def learn() -> None:
        for _ in range(50):
            some = taught.at(dice.integers(0, len(taught), MACHINE.batch))
            labels = torch.from_numpy(some.labels).float()
            loss = nn.functional.binary_cross_entropy_with_logits(model(some), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    best = kept_best(model, learn, lambda: _auc(stop, scored(stop)), MACHINE.looks, MACHINE.patience)
    size = sum(parameter.numel() for parameter in model.parameters())
    return scored, {"train_seconds": time.monotonic() - before, "trained_parameters": size, "validation_auc": best}


# ---- what LLM-CTR stands on


def encoder_alone(taught: Shown, stop: Shown, text: bool, seed: int) -> tuple[Made, Row]:
    found = encoded(LLMCTR(text="vector" if text else "none"), taught, stop, seed)
    size = parameters(found.trained.state)
    figures = {
        "train_seconds": found.trained.seconds,
        "trained_parameters": size,
        "validation_auc": -found.trained.after,
    }
    return found.predicted, figures


def _auc(shown: Shown, said: Sequence[float] | Floats) -> float:
    return float(roc_auc_score(shown.labels, said))


Fit = Callable[[Shown, Shown, bool, int], tuple[Made, Row]]
ROWS: dict[str, Fit] = {
    "logistic regression": regression,
    "FM": fm,
    "DeepFM": deep_fm,
    "boosted trees": trees,
    "encoder alone": encoder_alone,
}
