"""What a recommender needs while it learns, reckoned from the model's configuration before anything is loaded.

Memory is weights, what learns with its gradients and moments, and what each layer keeps of a batch for the way back.
"""

from dataclasses import dataclass
from typing import Any

import psutil
import torch

from engine.backbone import BackboneError
from engine.catalog import INT8, NF4
from engine.methods.lora import LoRA
from engine.plan import Plan, Quantize, plan
from engine.recommend.inside import Tuning
from engine.weights import find

BESIDE = 600 * 10**6  # the libraries and the tokenizer, measured (log 2026-11-29)
PACKED = 2  # copies of the weights on a CPU: one is laid out anew for writing (engine.packing), up to its limit
# of what learns, in float32: as it was given, as it is, the best so far and the one that takes its place, gradient, two
# moments; of items, whose gradients are sparse, there are none, but their vectors beside, and what made their clusters
COPIES, ITEM_COPIES = 7, 9


@dataclass(frozen=True, slots=True)
class Needs:
    """Bytes, by what they are for."""

    beside: int
    weights: int
    learned: int
    batch: int

    @property
    def total(self) -> int:
        return self.beside + self.weights + self.learned + self.batch

    def words(self) -> str:
        parts = {"weights": self.weights, "what learns": self.learned, "a batch": self.batch, "else": self.beside}
        told = ", ".join(f"{name} {size / 1e9:.1f}" for name, size in parts.items())
        return f"needs {self.total / 1e9:.1f} GB ({told}), {free() / 1e9:.1f} free"


def configured(model: str | None, quantize: Quantize = "auto") -> tuple[Any, Plan]:
    """A model's configuration and how it would run here; no weight is read. Raises WeightsError and BackboneError."""
    from transformers import AutoConfig

    weights = find(model)
    try:
        config = AutoConfig.from_pretrained(weights.folder)
    except (OSError, ValueError) as error:
        raise BackboneError(
            f"{weights.name} has no configuration that can be read ({error}): choose another"
        ) from error
    size = sum(path.stat().st_size for path in weights.folder.glob("*.safetensors"))
    return config, plan(quantize, size)


@dataclass(frozen=True, slots=True)
class Task:
    """So many items, their vectors `width` numbers each; at once `rows` sequences of `tokens`; adapters of `hidden`."""

    items: int
    clusters: int
    rows: int
    tokens: int
    width: int = 384
    hidden: int = 512


def needs(config: Any, how: Plan, tuning: Tuning, task: Task) -> Needs:
    """What `item_lm.teach` needs, within a fifth of what was measured (log 2026-11-29)."""
    text, width, hidden = config.get_text_config(), task.width, task.hidden
    layers, wide, inner = text.num_hidden_layers, text.hidden_size, text.intermediate_size
    heads = text.num_attention_heads
    size = getattr(text, "head_dim", None) or wide // heads
    q, kv = heads * size, text.num_key_value_heads * size
    decoder = layers * (wide * (2 * q + 2 * kv) + 3 * wide * inner)
    words = text.vocab_size * wide * (1 if text.tie_word_embeddings else 2)
    each = {"none": float(how.dtype.itemsize), "int8": INT8, "nf4": NF4}[how.quantization]
    copies = PACKED if how.device == "cpu" and how.quantization == "none" else 1
    inside = {"frozen": 0, "lora": layers * LoRA().rank * (2 * wide + q + kv), "full": decoder}[tuning]
    around = 2 * (width * hidden + hidden * wide) + task.clusters * (width + 1)
    learned = 4 * (COPIES * (inside + around) + ITEM_COPIES * task.items * (width + 1))
    precise = 4 if tuning == "full" else how.dtype.itemsize
    # of each token and layer: both norms in float32, twice each; queries and keys before and after they are turned, and
    # values; what the attention gives; three of the inner width; and the attention's weights themselves
    kept = 16 * wide + precise * (3 * q + 3 * kv + kv + q + 3 * inner) + 2 * precise * heads * task.tokens
    if tuning == "lora":  # the inputs of two projections in float32, what dropout leaves of them, and its mask
        kept += 2 * (4 + 4 + 2) * wide
    if tuning == "full":
        kept += precise * (2 * wide + q + inner)
    return Needs(
        BESIDE,
        int(copies * each * decoder + how.dtype.itemsize * words),
        int(learned),
        task.rows * task.tokens * layers * kept,
    )


def free() -> int:
    return int(torch.cuda.mem_get_info()[0]) if torch.cuda.is_available() else int(psutil.virtual_memory().available)
