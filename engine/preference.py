"""Learning from pairs: whom a text is preferred to, and direct preference optimisation (arXiv 2305.18290)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from engine.backbone import Backbone
from engine.decode import decode
from engine.losses import dpo
from engine.methods.base import Ask, State
from engine.optimise import Recipe
from engine.train import Example, Objective, Say, each, losses

SAMPLED = Ask(n=3, temperature=1.0, top_p=0.95, top_k=0, repetition_penalty=1.0)  # CoPe, appendix


def dpo_objective(reference: Say, frozen: State, beta: float) -> Objective:
    """The DPO loss of each example against what `reference` says with the state `frozen`, each with weight 1."""
    known: dict[Example, tuple[float, float]] = {}

    def objective(
        lm: Backbone, say: Say, state: State, examples: Sequence[Example], longest: int
    ) -> tuple[Tensor, Tensor]:
        new = [example for example in examples if example not in known]
        if new:
            with torch.no_grad():
                chosen, rejected = _log_likelihoods(lm, reference, frozen, new, longest)
            known.update(zip(new, zip(chosen.tolist(), rejected.tolist(), strict=True), strict=True))
        chosen, rejected = _log_likelihoods(lm, say, state, examples, longest)
        right, wrong = torch.tensor([known[example] for example in examples], device=lm.device).T
        return dpo(chosen, rejected, right, wrong, beta), torch.ones(len(examples), device=lm.device)

    return objective


def _log_likelihoods(
    lm: Backbone, say: Say, state: State, examples: Sequence[Example], longest: int
) -> tuple[Tensor, Tensor]:
    """log p of the chosen (B,) and of the rejected texts (B,), summed over their tokens."""
    rejected = [replace(example, target=example.rejected or "") for example in examples]
    means, counts = losses(lm, say, state, [*examples, *rejected], longest)
    chosen_sums, rejected_sums = (-means * counts).chunk(2)
    return chosen_sums, rejected_sums


def pseudo_negatives(
    lm: Backbone,
    base: Say,
    user: Say,
    state: State,
    examples: Sequence[Example],
    recipe: Recipe,
    mode: Literal["max", "min"] = "max",
) -> list[Example]:
    """Each liked text beside the one of three texts by the base that the person's model finds least like them.

    By the implicit reward log p_user - log p_base, the mean over the answer's tokens alone, with the template and the
    tokens of training; `max` keeps the largest difference the other way, as CoPe does (arXiv 2506.12109, section 3.2;
    its code averages over the prompt as well, without a template), `min` the smallest.
    """
    longest = recipe.max_target_tokens  # a shorter text would be taught to end where it was only cut
    asks = [
        replace(SAMPLED, payload=e.ask.payload, kind=e.ask.kind, seed=recipe.seed + i, max_new_tokens=longest)
        for i, e in enumerate(examples)
    ]
    drawn: list[list[str]] = []
    for start in range(0, len(examples), recipe.batch):
        part = range(start, min(start + recipe.batch, len(examples)))
        written = decode(lm, [(base(examples[i].profile, {}, asks[i]), asks[i]) for i in part])
        drawn += [[text.text for text in several if text.text] or ["..."] for several in written]
    candidates = [
        replace(example, target=text) for example, texts in zip(examples, drawn, strict=True) for text in texts
    ]
    reward = each(lm, base, {}, candidates, recipe)[0] - each(lm, user, state, candidates, recipe)[0]  # (N,), a token
    pairs, start = [], 0
    for example, texts in zip(examples, drawn, strict=True):
        mine = reward[start : start + len(texts)]
        pairs.append(replace(example, rejected=texts[int(mine.argmin() if mode == "max" else mine.argmax())]))
        start += len(texts)
    return pairs


def own_pairs(examples: Sequence[Example], disliked: Sequence[str], seed: int) -> list[Example]:
    """Likes beside dislikes of the same person, each dislike once, as long as there are both."""
    order = np.random.default_rng(seed).permutation(len(disliked))
    return [replace(e, rejected=disliked[i]) for e, i in zip(examples, order, strict=False)]
