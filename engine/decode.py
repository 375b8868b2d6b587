"""The one decoder: every method's request becomes rows of one batch, so a comparison is fair by construction.

All rows share the model, one prefill and one loop; each has its own sampler settings and its own source of
randomness. A row's text depends on its prompt, its seed and its sample index - never on its batch-mates, on
its place in the batch or on which method asked (exactly so in float32 on one machine).
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache

from engine.backbone import Backbone
from engine.methods.base import Ask, Conditioning

OnText = Callable[[int, int, str], None]  # (request, sample, text so far)


@dataclass(frozen=True, slots=True)
class Generation:
    """One text. `finish` says why it ended: the model's end of turn, the token budget, or the caller."""

    text: str
    token_ids: tuple[int, ...]
    finish: Literal["stop", "budget", "stopped"]


class _Row:
    """One sample of one request while it grows."""

    def __init__(self, request: int, sample: int, prompt: list[int], ask: Ask) -> None:
        self.request, self.sample, self.prompt, self.ask = request, sample, prompt, ask
        self.random = np.random.Generator(np.random.PCG64(row_seed(ask.seed, sample)))
        self.ids: list[int] = []
        self.finish: Literal["stop", "budget", "stopped"] | None = None

    def take(self, logits: NDArray[np.float64], stop_ids: frozenset[int]) -> int:
        """Draw the next token from `logits` (V,) and note whether the row has ended."""
        uniform = self.random.random()  # exactly one draw a step, whatever the sampler does with it
        token = draw(logits, self.ask, uniform, self.prompt + self.ids)
        if token in stop_ids:
            self.finish = "stop"
            return token
        self.ids.append(token)
        if len(self.ids) >= self.ask.max_new_tokens:
            self.finish = "budget"
        return token


def row_seed(seed: int, sample: int) -> int:
    """The seed of one row: 128 bits of sha256, so neighbouring seeds share nothing."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{sample}".encode()).digest()[:16], "big")


def draw(logits: NDArray[np.float64], ask: Ask, uniform: float, seen: Sequence[int]) -> int:
    """One token from `logits` (V,): repetition penalty, temperature, top-k, top-p, then inversion.

    The penalty is CTRL's (arXiv 1909.05858, section 4.1), over prompt and answer as transformers applies it;
    top-p keeps the smallest set that reaches p (arXiv 1904.09751, section 3.1). `uniform` in [0, 1) is inverted
    through the cumulative probabilities over token ids in order. Temperature 0 is the argmax.
    """
    scores = logits.astype(np.float64, copy=True)
    if ask.repetition_penalty != 1.0:
        ids = np.unique(np.asarray(seen, dtype=np.int64))
        scores[ids] = np.where(
            scores[ids] > 0, scores[ids] / ask.repetition_penalty, scores[ids] * ask.repetition_penalty
        )
    if ask.temperature == 0:
        return int(scores.argmax())
    scores /= ask.temperature
    order = np.arange(len(scores))
    if 0 < ask.top_k < len(scores):  # found without sorting a whole vocabulary; of equal scores the lower ids stay
        order = np.flatnonzero(scores >= np.partition(scores, -ask.top_k)[-ask.top_k])
    order = order[np.argsort(-scores[order], kind="stable")][: ask.top_k or None]  # most probable first
    weights = np.exp(scores[order] - scores[order[0]])
    weights /= weights.sum()
    if ask.top_p < 1.0:
        kept = int(np.searchsorted(np.cumsum(weights), ask.top_p)) + 1
        order, weights = order[:kept], weights[:kept]
    by_id = np.argsort(order)
    order, cumulative = order[by_id], np.cumsum(weights[by_id])
    place = int(np.searchsorted(cumulative, uniform * cumulative[-1], side="right"))
    return int(order[min(place, len(order) - 1)])


def decode(
    lm: Backbone,
    requests: Sequence[tuple[Conditioning, Ask]],
    *,
    on_text: OnText | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> list[list[Generation]]:
    """Write `ask.n` texts for each request, all in one batch; the result is aligned with `requests`.

    `on_text` is called with the text so far after each token of each row; `stopped` is asked once a step and
    ends every row that is still growing. Raises ValueError if a prompt and its budget exceed the model's window.
    """
    rows: list[_Row] = []
    for index, (conditioning, ask) in enumerate(requests):
        prompt = lm.tokens(lm.render(conditioning.messages))
        if len(prompt) + ask.max_new_tokens > lm.context:
            raise ValueError(
                f"a prompt of {len(prompt)} tokens and {ask.max_new_tokens} new ones exceed the window of {lm.context}"
            )
        rows += [_Row(index, sample, prompt, ask) for sample in range(ask.n)]
    if rows:
        with lm.lock:
            _grow(lm, rows, on_text, stopped)
    texts: list[list[Generation]] = [[] for _ in requests]
    for row in rows:
        texts[row.request].append(Generation(lm.text(row.ids).strip(), tuple(row.ids), row.finish or "stopped"))
    return texts


def _grow(lm: Backbone, rows: list[_Row], on_text: OnText | None, stopped: Callable[[], bool]) -> None:
    ids, mask = _left_pad([row.prompt for row in rows], lm.device)  # (B, T) each
    positions = (mask.cumsum(-1) - 1).clamp(min=0)  # (B, T): padding does not count
    cache = DynamicCache(config=lm.model.config)
    logits = lm.step(ids, mask, positions, cache)  # (B, V)
    while True:
        scores = logits.double().cpu().numpy()
        # an ended row is fed its last token again: its output is not read, and no other row can see it
        drawn = [row.prompt[-1] if row.finish else row.take(scores[b], lm.stop_ids) for b, row in enumerate(rows)]
        if on_text:
            for row in rows:
                on_text(row.request, row.sample, lm.text(row.ids).rstrip("\ufffd").strip())  # no half characters
        if all(row.finish for row in rows) or stopped():
            return
        ids = torch.tensor(drawn, device=lm.device).unsqueeze(-1)  # (B, 1)
        mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=-1)  # (B, T + 1)
        positions = positions[:, -1:] + 1  # (B, 1)
        logits = lm.step(ids, mask, positions, cache)


def _left_pad(prompts: list[list[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids and mask, both (B, T): prompts end together, so the last column is every row's last token."""
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(p)) + p for p in prompts], device=device)
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=device)
    return ids, mask
