"""Losses as pure functions of log-probabilities."""

import torch
from torch import Tensor


def token_logps(logits: Tensor, targets: Tensor) -> Tensor:
    """log p of each target: `logits` (N, V) float32, `targets` (N,) ids -> (N,)."""
    return -torch.nn.functional.cross_entropy(logits, targets, reduction="none")


def dpo(chosen: Tensor, rejected: Tensor, reference_chosen: Tensor, reference_rejected: Tensor, beta: float) -> Tensor:
    """-log sigma(beta ((chosen - reference_chosen) - (rejected - reference_rejected))), all (N,): log p of whole texts,
    summed over their tokens (DPO, arXiv 2305.18290, equation 7). ln 2 where policy and reference agree."""
    return -torch.nn.functional.logsigmoid(beta * ((chosen - reference_chosen) - (rejected - reference_rejected)))
