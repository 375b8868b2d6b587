"""Keys and values of a decode whose length is known beforehand: written in place, never copied to grow."""

from typing import Any

from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer


class _Reserved(DynamicLayer):
    """The library's growing layer appends by copying all it holds: a sixth of a step at eight rows (log 2026-11-24)."""

    _layer_type = None  # stays out of the library's own table of layers

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.capacity = capacity

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Both (B, H, T, D); returns all so far, (B, H, T_past + T, D)."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._room = [states.new_empty(*states.shape[:2], self.capacity, states.shape[3]) for states in
                          (key_states, value_states)]  # fmt: skip
        past = self.get_seq_length()
        now = past + key_states.shape[-2]
        for room, states in zip(self._room, (key_states, value_states), strict=True):
            room[:, :, past:now] = states
        self.keys, self.values = (room[:, :, :now] for room in self._room)
        return self.keys, self.values


def reserved(config: Any, capacity: int) -> DynamicCache:
    """A cache for at most `capacity` tokens a row; sliding-window layers stay the library's."""
    cache = DynamicCache(config=config)
    cache.layers = [_Reserved(capacity) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache
