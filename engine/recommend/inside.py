"""What a recommender learns inside the backbone, beside what stands around it: nothing, a LoRA, or the decoder's
weights, which stand in for its own in its calls alone."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from torch import Tensor

from engine.backbone import Backbone
from engine.methods.base import State
from engine.methods.lora import LoRA
from engine.optimise import TrainError
from engine.patches import Patches, attached, together

Tuning = Literal["frozen", "lora", "full"]
ADAPTER, OWN = "lora.", "weights."  # names of what is learned there begin so


def begun(lm: Backbone, tuning: Tuning) -> State:
    """What is learned inside, as it begins: it changes nothing. Raises TrainError."""
    if tuning == "lora":
        made = LoRA().born(lm, np.zeros((0, 0), np.float32))
        return {f"{ADAPTER}{name}": tensor.to(lm.device) for name, tensor in made.items()}
    if tuning == "full":
        if lm.plan.quantization != "none":
            raise TrainError(f"{lm.name} is quantised, its weights cannot learn: choose lora, or --quantize none")
        return {f"{OWN}{name}": tensor.float() for name, tensor in _weights(lm).items()}
    return {}


def _weights(lm: Backbone) -> Mapping[str, Tensor]:
    """The decoder's, but for the table of words."""
    decoder, words = lm.model.get_decoder(), lm.model.get_input_embeddings().weight
    return {name: tensor.detach() for name, tensor in decoder.named_parameters() if tensor is not words}


def embedded(lm: Backbone, state: State, ids: Tensor) -> Tensor:
    """The words of (...) as the decoder is to read them (..., D): in the precision of what learns there."""
    words = lm.embed(ids)
    return words.float() if _own(state) else words


def hidden(lm: Backbone, state: State, inputs: Tensor) -> Tensor:
    """Hidden states (B, T, D) of embeddings (B, T, D), with what was learned inside."""
    adapter = {name.removeprefix(ADAPTER): tensor for name, tensor in state.items() if name.startswith(ADAPTER)}
    patches: Patches = {site: (patch,) for site, patch in LoRA().adapter(lm, adapter).items()} if adapter else {}
    with attached(lm.model, [together(lm.base, patches)] * len(inputs)):
        return lm.hidden(inputs, weights=_own(state) or None)


def _own(state: State) -> State:
    return {name.removeprefix(OWN): tensor for name, tensor in state.items() if name.startswith(OWN)}


def rate(name: str) -> float:
    """Of the recipe's, at which a tensor learns: the backbone's own at a tenth."""
    return 0.1 if name.startswith((ADAPTER, OWN)) else 1.0
