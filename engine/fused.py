"""Decode steps of small models on a CPU with fewer and larger operations, for families built as Llama is.

With one token a row, the library's step spends half of its time on some 1,500 small operations, on copying keys and
values to append to them, and in an attention kernel made for long sequences. Here q, k and v are one product and gate
and up another, keys and values are appended in place, and attention is two batched products. The results differ from
the library's by rounding only, which is tried on the loaded model before it is used (log 2026-11-24).
"""

from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from engine.packing import Packed, packable

ROOM = 32  # tokens by which keys and values grow at once
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1}  # spread that rounding may add, as a share of the logits' own


class InPlace(DynamicLayer):
    """Keys and values of a layer in tensors with room for more, (B, K, R, D); zeros where nothing is yet."""

    all_keys: Tensor | None = None
    all_values: Tensor | None = None

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Append (B, K, T, D); returns all there are, as views."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        had = self.get_seq_length()
        has, room = had + key_states.shape[-2], self.room_for(key_states.shape[-2])
        if self.all_keys is None or self.all_values is None or room > self.all_keys.shape[-2]:
            self.all_keys = _with_room(self.keys if had else None, key_states, room)
            self.all_values = _with_room(self.values if had else None, value_states, room)
        self.all_keys[:, :, had:has] = key_states
        self.all_values[:, :, had:has] = value_states
        self.keys, self.values = self.all_keys[:, :, :has], self.all_values[:, :, :has]
        return self.keys, self.values

    def room_for(self, more: int) -> int:
        """R, once so many tokens more have been appended."""
        return -(-(self.get_seq_length() + more) // ROOM) * ROOM


def _with_room(held: Tensor | None, like: Tensor, room: int) -> Tensor:
    roomy = like.new_zeros(*like.shape[:2], room, like.shape[3])
    if held is not None:
        roomy[:, :, : held.shape[2]] = held
    return roomy


class StepCache(DynamicCache):
    """A cache of one decode call; it also remembers what all layers of a step need in the same form."""

    def __init__(self, model: Any) -> None:
        super().__init__(config=model.config)
        self.layers = [InPlace() if type(layer) is DynamicLayer else layer for layer in self.layers]
        self._step: tuple[Tensor, Tensor, Tensor] | None = None

    def step(self, mask: Tensor, sin: Tensor, room: int) -> tuple[Tensor, Tensor]:
        """For a step's mask (B, 1, 1, T) and sines (B, 1, D): what is added to scores (B, 1, 1, R), and the sines with
        the sign that turning by half a head asks for."""
        if self._step is None or self._step[0] is not mask:
            unseen = ~functional.pad(mask, (0, room - mask.shape[-1]))
            added = torch.zeros_like(unseen, dtype=sin.dtype).masked_fill_(unseen, torch.finfo(sin.dtype).min)
            first, second = sin.chunk(2, -1)
            self._step = mask, added, torch.cat([-first, second], -1)
        return self._step[1:]


def fuse(model: Any) -> int:
    """Give every attention and feed-forward module of a known kind its fused form; returns how many have one.

    None does where the fused model does not say what the plain one says. To be called before `pack`, which leaves
    gate and up alone then: they are needed apart only where a patch hangs on them.
    """
    from transformers.models.llama.modeling_llama import LlamaAttention, LlamaMLP  # late: a second and a half
    from transformers.models.qwen2.modeling_qwen2 import Qwen2Attention, Qwen2MLP

    modules = [m for m in model.modules() if type(m) in (LlamaAttention, Qwen2Attention, LlamaMLP, Qwen2MLP)]
    modules = [m for m in modules if getattr(m, "sliding_window", None) is None and _whole(m)]
    if not modules or not packable(model) or not ("forward" in vars(modules[0]) or _took(model, modules)):
        return 0
    for module in filter(_feeds_forward, modules):
        for layer in (module.gate_proj, module.up_proj):
            layer.forward = MethodType(nn.Linear.forward, layer)
    return len(modules)


def _took(model: Any, modules: list[Any]) -> bool:
    """Fuse, and see whether the model still says the same; take it back where it does not."""
    plain = _said(model, DynamicCache(config=model.config))
    try:
        for module in modules:
            module.forward = MethodType((_FeedForward if _feeds_forward(module) else _Attention)(module), module)
        apart = (_said(model, StepCache(model)) - plain).std() / plain.std()
        same = bool(apart < TOLERANCE[model.dtype])
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError):  # the library has changed
        same = False
    for module in () if same else modules:
        vars(module).pop("forward", None)
    return same


def _feeds_forward(module: nn.Module) -> bool:
    return hasattr(module, "up_proj")


def _whole(module: nn.Module) -> bool:
    """Whether its projections are plain ones: those of a model that came in 4 bits are not."""
    return all(type(part) is nn.Linear for name, part in module.named_children() if name.endswith("_proj"))


class _Attention:
    """q, k and v of one token a row in one product; attention over all the room there is, in two."""

    def __init__(self, module: Any) -> None:
        self.joined = joined(module.q_proj, module.k_proj, module.v_proj)
        self.queries, self.keys = (layer.out_features // module.head_dim for layer in (module.q_proj, module.k_proj))

    def __call__(
        self,
        module: Any,
        hidden_states: Tensor,
        position_embeddings: tuple[Tensor, Tensor],
        attention_mask: Tensor | None = None,
        cache: Any = None,
        **others: Any,
    ) -> tuple[Tensor, None]:
        if hidden_states.shape[1] != 1 or not isinstance(cache, StepCache) or attention_mask is None:
            plain: tuple[Tensor, None] = type(module).forward(
                module, hidden_states, position_embeddings, attention_mask, cache, **others
            )
            return plain
        b, d, h, k = len(hidden_states), module.head_dim, self.queries, self.keys
        heads = self._projected(module, hidden_states).view(b, h + 2 * k, d)
        cos, sin = position_embeddings  # (B, 1, D)
        layer = cache.layers[module.layer_idx]
        added, signed = cache.step(attention_mask, sin, layer.room_for(1))
        turned = torch.addcmul(heads[:, : h + k] * cos, heads[:, : h + k].roll(d // 2, -1), signed)  # (B, H + K, D)
        cache.update(turned[:, h:].unsqueeze(2), heads[:, h + k :].unsqueeze(2), module.layer_idx)
        q = turned[:, :h].reshape(b * k, h // k, d)
        scores = q @ layer.all_keys.flatten(0, 1).transpose(1, 2)  # (B K, H / K, R)
        shares = torch.add(added, scores.view(b, k, h // k, -1), alpha=module.scaling).softmax(-1)
        attended = shares.flatten(0, 1) @ layer.all_values.flatten(0, 1)  # (B K, H / K, D)
        return module.o_proj(attended.view(b, 1, h * d)), None

    def _projected(self, module: Any, x: Tensor) -> Tensor:
        parts = (module.q_proj, module.k_proj, module.v_proj)
        if any(part._forward_hooks for part in parts):  # somebody's patches
            return torch.cat([part(x) for part in parts], -1)
        return self.joined(x)


class _FeedForward:
    """Gate and up in one product, for any number of tokens."""

    def __init__(self, module: Any) -> None:
        self.joined = joined(module.gate_proj, module.up_proj)

    def __call__(self, module: Any, x: Tensor) -> Tensor:
        if not torch.is_inference_mode_enabled() or module.gate_proj._forward_hooks or module.up_proj._forward_hooks:
            plain: Tensor = type(module).forward(module, x)
            return plain
        gate, up = self.joined(x).chunk(2, -1)
        down: Tensor = module.down_proj(module.act_fn(gate) * up)
        return down


def joined(*layers: nn.Linear) -> Packed:
    """Linear layers of one input as one product."""
    biases = [layer.bias.detach() for layer in layers if layer.bias is not None]
    weights = torch.cat([layer.weight.detach() for layer in layers])
    return Packed(weights, torch.cat(biases) if biases else None)


@torch.inference_mode()
def _said(model: Any, cache: DynamicCache) -> Tensor:
    """What the model says to two rows of unequal length and then to two more tokens of each, (2, 3, V)."""
    ids = torch.arange(10).view(2, 5) % model.config.vocab_size
    mask = torch.tensor([[0, 1, 1, 1, 1], [0, 0, 0, 1, 1]])
    said = []
    for _ in range(3):
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        out = model(input_ids=ids, attention_mask=mask, position_ids=positions, cache=cache, use_cache=True)
        said.append(out.logits[:, -1].float())
        ids, mask = ids[:, -1:], torch.cat([mask, mask.new_ones(2, 1)], -1)
    return torch.stack(said, 1)
