"""How fast the engine decodes and trains, as ratios within one run: against the library, and against the memory.

Nothing here speaks HTTP; it loads the model into this process, with a thread on every core.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy, deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from collectors.item import Item, Signal
from collectors.sample import Sample
from engine.backbone import Backbone
from engine.decode import decode
from engine.fitting import beginning, fit, lessons, recipe_for
from engine.learning import born_on, says
from engine.methods.base import Ask, Conditioning, State
from engine.methods.e2p import E2P
from engine.methods.lora import LoRA
from engine.patches import Patches, attached
from engine.profile import Profile, build
from engine.prompt import prompt
from engine.train import Example, losses, target_ids
from engine.weights import find

ROWS, NEW = 8, 64
RUNS = 5
GREEDY = Ask(temperature=0.0, repetition_penalty=1.0, max_new_tokens=NEW)
TEXT = "a goat a brass band and a lighthouse keeper meet at the end of a very long day to argue about the tides "


def run(model: str | None = None) -> dict[str, Any]:
    lm = Backbone.load(model)
    endless = copy(lm)
    endless.stop_ids = frozenset()  # exactly NEW tokens, for all alike
    with _all_threads():
        return {**decoding(endless), **stepping(endless), **training(lm, model), **fitting(lm)}


@contextmanager
def _all_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    yield
    torch.set_num_threads(threads)


def requests(lm: Backbone) -> list[Conditioning]:
    """ROWS prompts of about 38 to 166 tokens."""
    bare = len(prompt(lm, _asking(0)).ids)
    return [_asking(max(1, 38 + 18 * row - bare)) for row in range(ROWS)]


def _asking(words: int) -> Conditioning:
    return Conditioning(({"role": "user", "content": " ".join((TEXT * 20).split()[:words])},))


def decoding(lm: Backbone) -> dict[str, float]:
    """Our one batch against the library's `generate`, prompt after prompt and as one left-padded batch."""
    told = requests(lm)
    ids = [torch.tensor([prompt(lm, conditioning).ids], device=lm.device) for conditioning in told]
    longest = max(row.shape[1] for row in ids)
    padded = torch.cat([torch.nn.functional.pad(row, (longest - row.shape[1], 0)) for row in ids])
    mask = torch.cat([torch.nn.functional.pad(torch.ones_like(row), (longest - row.shape[1], 0)) for row in ids])
    fixed = {"max_new_tokens": NEW, "min_new_tokens": NEW, "do_sample": False, "use_cache": True}

    def one_by_one() -> None:
        for row in ids:
            lm.model.generate(row, attention_mask=torch.ones_like(row), **fixed)

    ours, each, batched = _medians(
        lambda: decode(lm, [(conditioning, GREEDY) for conditioning in told]),
        one_by_one,
        lambda: lm.model.generate(padded, attention_mask=mask, **fixed),
    )
    return {
        "decode_seconds": round(ours, 2),
        "decode_speedup": round(each / ours, 2),
        "decode_vs_batched": round(batched / ours, 2),
    }


def stepping(lm: Backbone) -> dict[str, float]:
    """One step of the loop against reading all weights once; patched: LoRA on q and v of every layer, every row."""
    big = torch.ones(1 << 28)  # 1 GiB
    bandwidth = max(big.numel() * 4 / _seconds(big.sum) for _ in range(5))
    floor = sum(p.numel() * p.element_size() for p in lm.model.parameters()) / bandwidth
    one, many = _step(lm, [{}]), _step(lm, [{}] * ROWS)
    patched = _step(lm, [low_rank_everywhere(lm)] * ROWS)
    people = _step(lm, [low_rank_everywhere(lm) for _ in range(ROWS)])
    return {
        "bandwidth_gb_s": round(bandwidth / 1e9, 1),
        "step_ms_b1": round(one * 1e3, 1),
        "step_ms_b8": round(many * 1e3, 1),
        "step_b8_over_b1": round(many / one, 2),
        "floor_ratio_b8": round(many / floor, 2),
        "floor_ratio_b8_patched": round(patched / floor, 2),
        "adapter_rows_overhead": round(people / many, 2),
    }


def low_rank_everywhere(lm: Backbone) -> Patches:
    method = LoRA()
    return {site: (patch,) for site, patch in method.adapter(lm, born_on(lm, method)).items()}


@torch.inference_mode()
def _step(lm: Backbone, patches: list[Patches]) -> float:
    """Median seconds of one step after a prompt of 166 tokens a row, of rows with these patches."""
    rows = len(patches)
    ids = torch.randint(100, 1000, (rows, 166), generator=torch.Generator().manual_seed(0)).to(lm.device)
    mask = torch.ones_like(ids)
    mask[:, 0] = 0  # as the decoder pads
    cache = lm.cache()
    seconds = []
    with attached(lm.model, patches):
        lm.step(ids, mask, (mask.cumsum(-1) - 1).clamp(min=0), cache)
        for turn in range(NEW):
            mask = torch.cat([mask, mask.new_ones(rows, 1)], -1)
            positions = torch.full((rows, 1), 166 + turn, device=lm.device)
            seconds.append(_seconds(lambda: lm.step(ids[:, :1], mask, positions, cache)))  # noqa: B023  # called here
    return float(np.median(seconds))


def training(lm: Backbone, model: str | None) -> dict[str, Any]:
    """An e2p step, 16 rows of 96 tokens with 32 targets each, against the stock labels loss in bfloat16 and float32.

    The stock loss runs on models as the library loads them; the gradients are compared in float32.
    """
    method = E2P(dropout=0.0)
    dice = np.random.default_rng(0)
    state = method.born(lm, dice.normal(size=(4, 384)).astype(np.float32))
    examples = [_example(lm, row, dice) for row in range(16)]
    folder = find(model).folder
    stock: dict[torch.dtype, Any] = {
        kind: AutoModelForCausalLM.from_pretrained(folder, dtype=kind, device_map=lm.device).requires_grad_(False)
        for kind in (torch.bfloat16, torch.float32)
    }
    ours, *theirs = _medians(
        lambda: _ours(lm, method, state, examples),
        lambda: _stock(stock[torch.bfloat16], lm, method, state, examples),
        lambda: _stock(stock[torch.float32], lm, method, state, examples),
        runs=3,
    )
    exact = Backbone(deepcopy(stock[torch.float32]), lm.tokenizer, lm.name, replace(lm.plan, dtype=torch.float32))
    mine = _ours(exact, method, state, examples[:2])
    right = _stock(stock[torch.float32], exact, method, state, examples[:2])
    apart = max(float((mine[n] - right[n]).abs().max() / right[n].abs().max().clamp(min=1e-12)) for n in mine)
    return {
        "train_step_seconds": round(ours, 2),
        "train_speedup": round(min(theirs) / ours, 2),
        "train_stock_bf16_seconds": round(theirs[0], 2),
        "train_stock_fp32_seconds": round(theirs[1], 2),
        "train_gradients_apart": float(f"{apart:.1e}"),
    }


def fitting(lm: Backbone) -> dict[str, float]:
    """An adapter of one person's own: 50 likes of the sample feed, two epochs."""
    items = [item for item, _ in Sample()][::5][:50]
    profile = build("somebody", [(item, Signal(item.id, 1)) for item in items], topics=False)
    method = LoRA()
    given = lessons(method, profile)
    out = fit(lm, method, given, beginning(lm, method, Path(), profile), recipe_for(method, len(given.taught)))
    return {
        "per_user_fit_seconds": round(out.seconds, 1),
        "per_user_fit_before": round(out.before, 4),
        "per_user_fit_after": round(out.after, 4),
    }


def _example(lm: Backbone, row: int, dice: np.random.Generator) -> Example:
    """63 prompt tokens, a soft token and 32 targets: 96 in all."""
    vectors = dice.normal(size=(4, 384)).astype(np.float32)
    items = tuple(Item("made", f"{row}-{i}", "joke", "x") for i in range(4))
    profile = Profile("x", items, tuple(Signal(item.id, 1) for item in items), vectors=vectors, vector=vectors.mean(0))
    words = (TEXT * 10).split()
    payload = next(" ".join(words[:n]) for n in range(1, 99) if _prompt_size(lm, " ".join(words[:n])) >= 63)
    return Example(profile, Ask(payload=payload), " ".join(words[row : row + 60]))


def _prompt_size(lm: Backbone, payload: str) -> int:
    return len(lm.tokens(lm.render([{"role": "user", "content": Ask(payload=payload).instruction()}])))


def _ours(lm: Backbone, method: E2P, state: State, examples: list[Example]) -> State:
    live = {name: tensor.clone().requires_grad_() for name, tensor in state.items()}
    losses(lm, says(lm, method), live, examples, 32)[0].mean().backward()
    return {name: tensor.grad for name, tensor in live.items() if tensor.grad is not None}


def _stock(model: Any, lm: Backbone, method: E2P, state: State, examples: list[Example]) -> State:
    """What one writes first: all rows in one batch, labels -100 outside the targets, the library's loss."""
    live = {name: tensor.clone().requires_grad_() for name, tensor in state.items()}
    rows, labels = [], []
    for example in examples:
        told = prompt(lm, method.condition(lm, example.profile, live, example.ask))
        target = target_ids(lm, example, 32)
        rows.append(torch.cat([told.embedded(lm), lm.embed(torch.tensor(target, device=lm.device))]))
        labels.append(torch.tensor([-100] * len(told) + list(target), device=lm.device))
    pad = torch.nn.utils.rnn.pad_sequence
    inputs, wanted = pad(rows, batch_first=True), pad(labels, batch_first=True, padding_value=-100)
    mask = pad([torch.ones(len(row), dtype=torch.long, device=lm.device) for row in rows], batch_first=True)
    model(inputs_embeds=inputs.to(model.dtype), attention_mask=mask, labels=wanted).loss.backward()
    return {name: tensor.grad for name, tensor in live.items() if tensor.grad is not None}


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _medians(*calls: Callable[[], object], runs: int = RUNS) -> list[float]:
    """Alternating, after one round that is not counted: a slow minute of the machine is shared by all."""
    rounds = [[_seconds(call) for call in calls] for _ in range(runs + 1)][1:]
    return [float(np.median([one[place] for one in rounds])) for place in range(len(calls))]
