"""Losses as pure functions of log-probabilities."""

import torch
from torch import Tensor


def token_logps(logits: Tensor, targets: Tensor) -> Tensor:
    """log p of each target: `logits` (N, V) float32, `targets` (N,) ids -> (N,)."""
    return -torch.nn.functional.cross_entropy(logits, targets, reduction="none")
