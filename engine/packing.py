"""Weights of a small model laid out for the processor once, so that a decode step reads them at full speed.

A step multiplies a few rows with every weight. torch lays a weight out anew for each product; oneDNN can keep it laid
out, as torch's own compiler has it do for frozen models. Measured here at eight rows: bfloat16 1.6 times as fast and
the same bits, float32 2.3 times (log 2026-11-24). The plain weights stay for training, so the layout costs their memory
once more: only small models are packed.
"""

from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

LARGEST = 1_200_000_000  # bytes of weights; larger models would feel the second copy
ROWS = 8  # the layout is chosen for so many; others work as well


def packable(model: nn.Module) -> bool:
    """Whether this torch can, and the second copy of the weights would not be felt."""
    weights = (layer.weight for layer in _layers(model))
    return sum(weight.numel() * weight.element_size() for weight in weights) <= LARGEST and _works()


def pack(model: nn.Module) -> int:
    """Give plain linear layers on the CPU a packed weight for inference; returns how many have a forward of their own
    now. Those that had one already are left as they are."""
    ready = [layer for layer in _layers(model) if layer.weight.device.type == "cpu"] if packable(model) else []
    for layer in ready:
        if "forward" not in vars(layer):
            layer.forward = MethodType(_Forward(layer), layer)  # type: ignore[method-assign]  # of this one instance
    return len(ready)


def _layers(model: nn.Module) -> list[nn.Linear]:
    return [module for module in model.modules() if type(module) is nn.Linear]


class Packed:
    """The product of x (..., I) with a weight (O, I) that is laid out once, and a bias (O,); in inference only."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        with torch.inference_mode():
            self.weight: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, ROWS)
        self.bias = bias

    def __call__(self, x: Tensor) -> Tensor:
        multiply: Any = torch.ops.mkldnn._linear_pointwise
        y: Tensor = multiply(x, self.weight, self.bias, "none", [], "")
        return y


class _Forward:
    def __init__(self, layer: nn.Linear) -> None:
        self.packed = Packed(layer.weight, layer.bias)

    def __call__(self, layer: nn.Linear, x: Tensor) -> Tensor:
        if not torch.is_inference_mode_enabled():  # somebody learns, or wants the library as it is
            return functional.linear(x, layer.weight, layer.bias)
        return self.packed(x)


def _works() -> bool:
    """The operation is torch's own, and not one it promises: where it is missing or wrong, nothing is packed."""
    with torch.inference_mode():
        layer, x = nn.Linear(32, 16), torch.randn(3, 32)
        try:
            return bool(torch.allclose(Packed(layer.weight, layer.bias)(x), layer(x), atol=1e-4))
        except (AttributeError, RuntimeError):
            return False
