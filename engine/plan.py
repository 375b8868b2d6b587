"""Where and how precisely a model runs on this machine."""

import os
from dataclasses import dataclass
from typing import Literal

import torch

Quantize = Literal["auto", "none", "int8", "nf4"]
# For every shape of a matrix product oneDNN keeps a compiled kernel, and torch, in every thread, what it was made ready
# with: by default of 1,024 shapes each. Two dozen decodes of many lengths kept 98 MB so, with these bounds 5 MB. A step
# of the decoder has a handful of shapes. Read when the first product is computed.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
os.environ.setdefault("LRU_CACHE_CAPACITY", "16")  # a thread
HEADROOM = 1.3  # weights times this must fit in free memory: cache, activations and allocator slack


@dataclass(frozen=True, slots=True)
class Plan:
    """Where and how precisely the model runs, and why, in words for the person who started it."""

    device: str
    dtype: torch.dtype
    quantization: Literal["none", "int8", "nf4"]
    reason: str


def plan(quantize: Quantize = "auto", weight_bytes: int = 0) -> Plan:
    """Choose device, dtype and quantization, here and nowhere else. `weight_bytes` counts bfloat16 weights."""
    if torch.cuda.is_available():
        free, _ = torch.cuda.mem_get_info()
        sizes = f"weights need {weight_bytes / 1e9:.1f} GB in bfloat16, {free / 1e9:.1f} GB of GPU memory free"
        if quantize == "auto":
            fits = weight_bytes * HEADROOM <= free
            return Plan("cuda", torch.bfloat16, "none" if fits else "nf4", f"GPU, {sizes}")
        return Plan("cuda", torch.bfloat16, quantize, f"GPU, {quantize} was asked for, {sizes}")
    # Only these make bfloat16 fast: without them a batch's prefill was measured at five times float32 (log 2026-11-21).
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    dtype = torch.bfloat16 if native else torch.float32
    if quantize in ("int8", "nf4"):
        return Plan(
            "cpu", dtype, quantize, f"CPU, {quantize} was asked for: smaller, and slower than {short(dtype)} here"
        )
    has = "has" if native else "has no"
    return Plan("cpu", dtype, "none", f"CPU that {has} bfloat16 arithmetic, so {short(dtype)}")


def spare_threads() -> int:
    """Threads for arithmetic: one core is left to the server and the browser. Fewer where OMP_NUM_THREADS says so.

    Threads spin while they wait for each other. With one on every core, a single busy neighbour made a pair take
    over 60 s instead of 5 on two cores; with one core left, it changes nothing (log 2026-11-21).
    """
    return max(1, min(torch.get_num_threads(), (os.cpu_count() or 1) - 1))


def short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
