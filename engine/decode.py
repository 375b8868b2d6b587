"""The one decoder: every method's request becomes rows of one batch, so a comparison is fair by construction.

All rows share the model, one prefill and one loop; each has its own sampler settings, its own patches and its own
source of randomness. A row's text depends on its prompt, its seed and its sample index - never on its batch-mates,
on its place in the batch or on which method asked (exactly so in float32 on one machine).
"""

import hashlib
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.alone import Alone
from engine.backbone import Backbone
from engine.choices import Trie
from engine.methods.base import Ask, Conditioning, Contrast
from engine.patches import Patches, attached, together
from engine.prompt import Prompt, prompt
from engine.remote import Remote

Logits = NDArray[np.float64]
OnText = Callable[[int, int, str], None]  # (request, sample, text so far)
SERVER_SEEDS = 1 << 31  # some servers take no larger one
_alone = Alone("decoder")


class WindowError(ValueError):
    """A prompt that the model cannot read at once. Nothing is ever cut to fit; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One text. `finish` says why it ended: the model's end of turn, the token budget, or the caller. A server tells
    how many tokens it wrote, and not which."""

    text: str
    token_ids: tuple[int, ...]
    finish: Literal["stop", "budget", "stopped"]
    counted: int = 0

    @property
    def tokens(self) -> int:
        return len(self.token_ids) or self.counted


class _Row:
    """One sample of one request while it grows; with a contrast, the amateur's row is fed the same tokens."""

    def __init__(
        self, request: int, sample: int, told: Prompt, conditioning: Conditioning, ask: Ask, choices: Trie | None
    ) -> None:
        self.request, self.sample, self.prompt, self.ask, self.choices = request, sample, told, ask, choices
        self.contrast = conditioning.contrast
        self.random = np.random.Generator(np.random.PCG64(row_seed(ask.seed, sample)))
        self.ids: list[int] = []
        self.finish: Literal["stop", "budget", "stopped"] | None = None

    def take(self, logits: Logits, amateur: Logits | None, stop_ids: frozenset[int]) -> int:
        """Draw the next token from `logits` (V,) and note whether the row has ended."""
        uniform = self.random.random()  # exactly one draw a step, whatever the sampler does with it
        logits = penalised(logits, self.ask.repetition_penalty, [*self.prompt.ids, *self.ids])
        if self.choices:  # before the contrast: its mask is relative to the likeliest token that may come
            logits = allowed(logits, self.choices.after(self.ids), stop_ids)
        if self.contrast and amateur is not None:
            logits = contrasted(logits, amateur, self.contrast)
        token = draw(logits, self.ask, uniform)
        if token in stop_ids:
            self.finish = "stop"
            return token
        self.ids.append(token)
        if self.choices and not self.choices.after(self.ids).next:
            self.finish = "stop"
        elif len(self.ids) >= self.ask.max_new_tokens:
            self.finish = "budget"
        return token


def row_seed(seed: int, sample: int) -> int:
    """The seed of one row: 128 bits of sha256, so neighbouring seeds share nothing."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{sample}".encode()).digest()[:16], "big")


def penalised(logits: Logits, penalty: float, seen: Sequence[int]) -> Logits:
    """`logits` (V,) with every token of `seen` made less likely (CTRL, arXiv 1909.05858, section 4.1), over prompt
    and answer as transformers applies it."""
    if penalty == 1.0:
        return logits
    scores = logits.copy()
    ids = np.unique(np.asarray(seen, dtype=np.int64))
    scores[ids] = np.where(scores[ids] > 0, scores[ids] / penalty, scores[ids] * penalty)
    return scores


def allowed(logits: Logits, node: Trie, stop_ids: Collection[int]) -> Logits:
    """`logits` (V,) with -inf for every token that leads to no label; the end of turn may come where one is whole."""
    tokens = [*node.next, *(stop_ids if node.ends else ())]
    scores = np.full_like(logits, -np.inf)
    scores[tokens] = logits[tokens]
    return scores


def contrasted(expert: Logits, amateur: Logits, contrast: Contrast) -> Logits:
    """log p_e - lambda log p_a where p_e reaches the plausible share of its best token, -inf elsewhere; (V,).

    CoPe, arXiv 2506.12109, section 3.3; the mask is that of arXiv 2210.15097, equation 3. Both distributions are
    taken at temperature 1; the sampler acts on what comes out. Lambda 0 leaves the expert's argmax.
    """
    log_e, log_a = _log_softmax(expert), _log_softmax(amateur)
    keep = log_e >= np.log(contrast.plausibility) + log_e.max()
    scores = np.full_like(log_e, -np.inf)
    scores[keep] = log_e[keep] - contrast.weight * log_a[keep]
    return scores


def draw(logits: Logits, ask: Ask, uniform: float) -> int:
    """One token from `logits` (V,): temperature, top-k, top-p, then inversion.

    Top-p keeps the smallest set that reaches p (arXiv 1904.09751, section 3.1). `uniform` in [0, 1) is inverted
    through the cumulative probabilities over token ids in order. Temperature 0 is the argmax.
    """
    if ask.temperature == 0:
        return int(logits.argmax())
    order = np.arange(len(logits))
    if 0 < ask.top_k < len(logits):  # without sorting a whole vocabulary; of equal scores the lower ids stay
        least = torch.topk(torch.from_numpy(logits), ask.top_k).values[-1].item()
        order = np.flatnonzero(logits >= least)
    order = order[np.argsort(-logits[order], kind="stable")][: ask.top_k or None]  # most probable first
    weights = np.exp((logits[order] - logits[order[0]]) / ask.temperature)
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

    A request with a score is drawn `samples` times for each text asked for, and the best are returned, best first.
    `on_text` is called with the text so far after each token of each row; `stopped` is asked once a step and
    ends every row that is still growing. Raises ValueError if a prompt and its budget exceed the model's window.

    A server writes row by row, with its own randomness from the same seeds; `on_text` is called once a row then, from
    any thread, and `stopped` is asked before each. Raises ServerError where it does not answer.
    """
    if isinstance(lm, Remote):
        return _elsewhere(lm, requests, on_text, stopped)
    rows: list[_Row] = []
    told: list[tuple[Prompt, Patches]] = []  # what the batch is made of: the rows, then the amateurs of some
    amateurs: list[tuple[Prompt, Patches]] = []
    amateur_of: dict[int, int] = {}
    for index, (conditioning, ask) in enumerate(requests):
        given = _told(lm, conditioning, ask)
        rival = _told(lm, conditioning.contrast.amateur, ask) if conditioning.contrast else None
        choices = Trie.of([lm.tokens(label) for label in ask.choices]) if ask.choices else None
        for sample in range(ask.n * (conditioning.score.samples if conditioning.score else 1)):
            if rival:
                amateur_of[len(rows)] = len(amateurs)
                amateurs.append(rival)
            rows.append(_Row(index, sample, given[0], conditioning, ask, choices))
            told.append(given)
    if rows:
        beside = {b: len(rows) + a for b, a in amateur_of.items()}
        gone = threading.Event()

        def grow() -> None:
            with lm.lock, torch.inference_mode(), attached(lm.model, [patches for _, patches in (*told, *amateurs)]):
                _grow(
                    lm,
                    rows,
                    [given for given, _ in (*told, *amateurs)],
                    beside,
                    on_text,
                    lambda: gone.is_set() or stopped(),
                )

        try:
            _alone.do(grow)
        except BaseException:  # of one who waits and is interrupted, the rows end with their next token
            gone.set()
            raise
    texts: list[list[Generation]] = [[] for _ in requests]
    for row in rows:
        texts[row.request].append(Generation(lm.text(row.ids).strip(), tuple(row.ids), row.finish or "stopped"))
    return [_best(found, conditioning, ask) for found, (conditioning, ask) in zip(texts, requests, strict=True)]


def _elsewhere(
    lm: Remote, requests: Sequence[tuple[Conditioning, Ask]], on_text: OnText | None, stopped: Callable[[], bool]
) -> list[list[Generation]]:
    rows = [
        (index, sample)
        for index, (conditioning, ask) in enumerate(requests)
        for sample in range(ask.n * (conditioning.score.samples if conditioning.score else 1))
    ]

    def grown(row: tuple[int, int]) -> Generation:
        if stopped():
            return Generation("", (), "stopped")
        conditioning, ask = requests[row[0]]
        written = lm.write(conditioning, ask, row_seed(ask.seed, row[1]) % SERVER_SEEDS)
        if on_text:
            on_text(*row, written.text)
        return Generation(written.text, (), written.finish, written.tokens)

    pool = ThreadPoolExecutor(lm.at_once)
    try:
        drawn = list(pool.map(grown, rows))
    finally:
        pool.shutdown(cancel_futures=True)  # what waits behind one that failed is not asked
    texts = [[text for (index, _), text in zip(rows, drawn, strict=True) if index == i] for i in range(len(requests))]
    return [_best(found, conditioning, ask) for found, (conditioning, ask) in zip(texts, requests, strict=True)]


def _told(lm: Backbone, conditioning: Conditioning, ask: Ask) -> tuple[Prompt, Patches]:
    given = prompt(lm, conditioning)
    if len(given) + ask.max_new_tokens > lm.context:
        raise WindowError(
            f"a prompt of {len(given)} tokens and {ask.max_new_tokens} new ones exceed the window of {lm.context} that "
            f"{lm.name} reads at once: nothing was cut, choose a model with a larger window"
        )
    return given, together(lm.base, conditioning.patches)


def _grow(
    lm: Backbone,
    rows: list[_Row],
    prompts: list[Prompt],
    amateur_of: dict[int, int],
    on_text: OnText | None,
    stopped: Callable[[], bool],
) -> None:
    """Fill the rows. `prompts` has one for each row, then the amateurs'; `amateur_of` maps the first to the second."""
    inputs, mask = _left_pad(lm, prompts)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)  # (B, T): padding does not count
    cache = lm.cache()
    logits = lm.step(inputs, mask, positions, cache)  # (B, V)
    while True:
        scores = logits.double().cpu().numpy()
        drawn = [0] * len(prompts)  # an ended row is fed anything: its output is not read, no other row can see it
        for b, row in enumerate(rows):
            if not row.finish:
                amateur = amateur_of.get(b)
                drawn[b] = row.take(scores[b], None if amateur is None else scores[amateur], lm.stop_ids)
                if amateur is not None:
                    drawn[amateur] = drawn[b]
        if on_text:
            for row in rows:
                on_text(row.request, row.sample, lm.text(row.ids).rstrip("\ufffd").strip())  # no half characters
        if all(row.finish for row in rows) or stopped():
            return
        ids = torch.tensor(drawn, device=lm.device).unsqueeze(-1)  # (B, 1)
        mask = torch.cat([mask, mask.new_ones(len(prompts), 1)], dim=-1)  # (B, T + 1)
        positions = positions[:, -1:] + 1  # (B, 1)
        logits = lm.step(ids, mask, positions, cache)


def _left_pad(lm: Backbone, prompts: list[Prompt]) -> tuple[Tensor, Tensor]:
    """Inputs and mask (B, T): prompts end together, so the last column is every row's last token. The inputs are
    ids (B, T), or embeddings (B, T, D) where any prompt has a prefix.

    One column more than the longest is padding for all: without any the library drops the mask, and its attention
    without a mask took a step of eight rows from 24 to 38 ms (log 2026-11-24).
    """
    longest = 1 + max(map(len, prompts))
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=lm.device)
    if all(p.prefix is None for p in prompts):
        return torch.tensor([[0] * (longest - len(p)) + list(p.ids) for p in prompts], device=lm.device), mask
    rows = [torch.nn.functional.pad(p.embedded(lm), (0, 0, longest - len(p), 0)) for p in prompts]
    return torch.stack(rows), mask


def _best(found: list[Generation], conditioning: Conditioning, ask: Ask) -> list[Generation]:
    if conditioning.score is None:
        return found
    order = np.argsort(-np.asarray(conditioning.score.of([text.text for text in found])), kind="stable")
    return [found[i] for i in order[: ask.n]]


def _log_softmax(logits: Logits) -> Logits:
    shifted = logits - logits.max()
    return np.asarray(shifted - np.log(np.exp(shifted).sum()))
