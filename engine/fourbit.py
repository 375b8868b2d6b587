"""4-bit weights on a CPU: as bitsandbytes packs them to write fast, and as gradients need them.

On a CPU with bfloat16 units, bitsandbytes repacks a layer at its first inference and multiplies from then on with a
kernel that is several times as fast and has no derivative: a gradient ends there, without a word or with an error that
names neither.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from torch import nn


@contextmanager
def unpacked(model: nn.Module, lock: Lock) -> Iterator[None]:
    """Keep the 4-bit layers of `model` as gradients need them, until the end; decoding goes on, more slowly.

    Their scales were rounded to bfloat16 when they were packed and stay so: writing before, meanwhile and after means
    the same weights (nearly, where scales are quantised as well). `lock` is held while they change.
    """
    from bitsandbytes.nn import modules

    bnb: Any = modules  # it exports by name less than is meant for use

    layers: list[Any] = [m for m in model.modules() if isinstance(m, bnb.Linear4bit) and m.support_avx512bf16_for_cpu]
    with lock:
        for layer in layers:
            layer.support_avx512bf16_for_cpu = False
            state = layer.weight.quant_state
            if getattr(state, "packing_format_for_cpu", False):
                layer.weight.data, state = bnb._convert_weight_packed_for_cpu_inverse(layer.weight.data, state)
                if state.absmax.dim() == 2:  # of single scales it leaves the order in which they were packed (0.50)
                    state.absmax = state.absmax.T.reshape(-1).float()
                layer.weight.quant_state = state
    try:
        yield
    finally:
        with lock:
            for layer in layers:
                layer.support_avx512bf16_for_cpu = True
