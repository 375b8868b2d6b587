"""LoRA: low-rank additions to the attention projections (arXiv 2106.09685), taught on likes.

`of="person"` is the per-user adapter of OPPU (arXiv 2402.04401, section 3.2): it learns from one person's likes alone,
starts from nothing, and so is the ceiling of what training can do for one person. "picked" learns from those alone that
the person picked as their best; "explained" also learns to say why the person likes them, in the person's words.
`of="population"` is the task-adapted model (TAM) that OPPU and CoPe put under it: what jokes are like, and nothing of
any one person.
"""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from collectors.item import Item
from engine.backbone import Backbone, Facility, Part
from engine.methods.base import Ask, Conditioning, Method, State
from engine.methods.parts import needs_likes, seeded
from engine.patches import LowRank, Site
from engine.profile import Profile

LEAST_LIKES = 5  # four to learn from, one held out
LEAST_REASONS = 3


@dataclass(frozen=True)
class LoRA(Method):
    name: ClassVar[str] = "lora"
    title: ClassVar[str] = "an adapter fitted to your likes alone"
    paper: ClassVar[str] = "arXiv 2402.04401 (OPPU)"
    asks: ClassVar[tuple[Facility, ...]] = ("adapter",)

    rank: int = 8
    alpha: int = 8  # the addition is scaled by alpha / rank
    parts: str = "qv"  # of the projections q, k, v and o
    dropout: float = 0.05
    of: Literal["person", "population", "picked", "explained"] = field(
        default="person", metadata={"picked": "the best of them", "explained": "and your reasons"}
    )

    @property
    def personal(self) -> bool:
        return self.of != "population"

    def lacks(self, lm: Backbone, profile: Profile) -> str | None:
        if not self.personal:
            return None
        picked = len(profile.picked)
        reasons = sum(signal.sign > 0 and signal.note != "" for signal in profile.signals)
        if self.of == "picked" and picked < LEAST_LIKES:
            return f"pick {LEAST_LIKES - picked} more of your likes as your best, on the Train page"
        if self.of == "explained" and reasons < LEAST_REASONS:
            return f"say of {LEAST_REASONS - reasons} more of your likes why you like it, on the Train page"
        return needs_likes(profile, LEAST_LIKES)

    def likes(self, profile: Profile) -> tuple[Item, ...]:
        """Those it learns from."""
        return profile.picked if self.of == "picked" else profile.liked if self.personal else ()

    def born(self, lm: Backbone, items: NDArray[np.float32]) -> State:
        """A uniform as PEFT draws it, B zero: the plain model."""
        dice, state = seeded(4), {}
        for layer in range(len(lm.layers)):
            for part in self.parts:
                ins, outs = lm.projected(layer, cast(Part, part))
                bound = 1 / math.sqrt(ins)
                state[f"{layer}.{part}.a"] = (torch.rand(ins, self.rank, generator=dice) * 2 - 1) * bound
                state[f"{layer}.{part}.b"] = torch.zeros(self.rank, outs)
        return state

    def condition(self, lm: Backbone, profile: Profile, state: State, ask: Ask) -> Conditioning:
        evidence = tuple(item.id for item in self.likes(profile))
        patches = {site: (patch,) for site, patch in self.adapter(lm, state).items()}
        return Conditioning(({"role": "user", "content": ask.instruction()},), patches=patches, evidence=evidence)

    def adapter(self, lm: Backbone, state: State) -> dict[Site, LowRank]:
        """The state as additions to the model's projections."""
        found = {}
        for name in (name.removesuffix(".a") for name in state if name.endswith(".a")):
            layer, part = name.split(".")
            a, b = state[f"{name}.a"].unsqueeze(0), state[f"{name}.b"].unsqueeze(0)  # (1, Din, r), (1, r, Dout)
            found[lm.projection(int(layer), cast(Part, part))] = LowRank(a, b, self.alpha / self.rank, self.dropout)
        return found


# CoPe's settings of the task-adapted model (arXiv 2506.12109, appendix; rank and modules as in its code)
TAM = LoRA(rank=16, alpha=16, parts="qkvo", of="population")


def write_peft(folder: Path, lm: Backbone, method: LoRA, state: State) -> None:
    """The adapter as PEFT and vLLM read it: adapter_config.json and adapter_model.safetensors in `folder`.

    For families that keep q, k and v apart: PEFT has no adapter of a part of a module.
    """
    tensors, modules = {}, set()
    for site, patch in method.adapter(lm, state).items():
        modules.add(site.module.rpartition(".")[2])
        for part, theirs in ((patch.a, "lora_A"), (patch.b, "lora_B")):
            tensors[f"base_model.model.{site.module}.{theirs}.weight"] = part[0].detach().T.contiguous().cpu()
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": f"{lm.name} with {lm.base_name} merged" if lm.base_name else lm.name,
        "r": method.rank,
        "lora_alpha": method.alpha,
        "lora_dropout": method.dropout,
        "target_modules": sorted(modules),
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=1) + "\n")
