"""Fused steps say what the library's own say, for every row, with patches and without."""

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, DynamicCache, LlamaConfig, MistralConfig, Qwen2Config

from engine import fused
from engine.fused import ROOM, StepCache, fuse
from engine.packing import pack

SIZES = dict(vocab_size=200, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
             num_key_value_heads=2, initializer_range=0.3)  # fmt: skip


def model_of(config, dtype=torch.float32):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config(**SIZES), dtype=dtype).eval().requires_grad_(False)
    for name, bias in model.named_parameters():
        if name.endswith("bias"):  # born as zeros, which would hide a forgotten one
            nn.init.normal_(bias)
    return model


@torch.inference_mode()
def steps(model, cache, many: int, rows: int = 3) -> torch.Tensor:
    """Logits (rows, many, V) of single steps after prompts of unequal length."""
    ids = torch.randint(200, (rows, 7 + many), generator=torch.Generator().manual_seed(1))
    mask = torch.ones(rows, 7, dtype=torch.long)
    for row in range(rows):
        mask[row, : 1 + row] = 0
    said = []
    for turn in range(many):
        new = ids[:, :7] if turn == 0 else ids[:, 6 + turn : 7 + turn]
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -new.shape[1] :]
        out = model(input_ids=new, attention_mask=mask, position_ids=positions, cache=cache, use_cache=True)
        said.append(out.logits[:, -1])
        mask = torch.cat([mask, mask.new_ones(rows, 1)], -1)
    return torch.stack(said, 1)


@pytest.mark.parametrize("config", [LlamaConfig, Qwen2Config])
def test_a_step_says_what_the_librarys_says_also_after_the_room_has_grown(config):
    plain, ours = model_of(config), model_of(config)
    assert fuse(ours) == 6, "attention and feed-forward of three layers"
    assert pack(ours)
    many = 2 * ROOM + 3
    right = steps(plain, DynamicCache(config=plain.config), many)
    assert torch.allclose(steps(ours, StepCache(ours), many), right, atol=1e-4)
    assert torch.allclose(steps(ours, DynamicCache(config=ours.config), many), right, atol=1e-4), "with any other cache"


def test_a_row_says_the_same_alone_and_among_others():
    ours = model_of(LlamaConfig)
    assert fuse(ours)
    assert pack(ours)
    together = steps(ours, StepCache(ours), 40)
    ids = steps(ours, StepCache(ours), 40, rows=1)
    assert torch.allclose(together[:1], ids, atol=1e-5)


@pytest.mark.parametrize("part", ["self_attn.q_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp"])
def test_what_hooks_add_to_a_part_counts(part):
    plain, ours = model_of(Qwen2Config), model_of(Qwen2Config)
    assert fuse(ours)
    assert pack(ours)
    without = steps(ours, StepCache(ours), 4)
    for model in (plain, ours):
        model.get_submodule(f"model.layers.1.{part}").register_forward_hook(lambda module, args, y: y + 0.5)
    right = steps(plain, DynamicCache(config=plain.config), 4)
    assert torch.allclose(steps(ours, StepCache(ours), 4), right, atol=1e-4)
    assert not torch.allclose(without, right, atol=1e-2)


def test_gradients_are_the_librarys():
    plain, ours = model_of(LlamaConfig), model_of(LlamaConfig)
    assert fuse(ours)
    assert pack(ours)
    found = []
    for model in (plain, ours):
        x = torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(2)).requires_grad_()
        model(inputs_embeds=x).logits.logsumexp(-1).sum().backward()
        found.append(x.grad)
    assert torch.equal(*found)


def test_fusing_twice_is_fusing_once():
    ours = model_of(LlamaConfig)
    for _ in range(2):
        assert fuse(ours) == 6
        assert pack(ours) == 22
    assert vars(ours.model.layers[0].mlp.up_proj)["forward"].__func__ is nn.Linear.forward, "not packed as well"


def test_families_built_otherwise_and_sliding_windows_are_left_alone():
    assert fuse(model_of(MistralConfig)) == 0
    windowed = model_of(
        lambda **sizes: Qwen2Config(use_sliding_window=True, sliding_window=4, max_window_layers=0, **sizes)
    )
    assert fuse(windowed) == 3, "only the feed-forward parts"
    assert pack(windowed)
    assert torch.allclose(
        steps(windowed, StepCache(windowed), 9),
        steps(model_of(lambda **sizes: windowed.config), DynamicCache(config=windowed.config), 9),
        atol=1e-4,
    )


def wrong(*_: object) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.zeros(1), torch.zeros(1)


def raising(*_: object) -> tuple[torch.Tensor, torch.Tensor]:
    raise TypeError("unexpected keyword")


@pytest.mark.parametrize("step", [wrong, raising])
def test_where_the_library_has_changed_nothing_is_fused(monkeypatch, step):
    ours = model_of(LlamaConfig)
    before = steps(ours, DynamicCache(config=ours.config), 3)
    monkeypatch.setattr(fused.StepCache, "step", step)
    assert fuse(ours) == 0
    assert "forward" not in vars(ours.model.layers[0].self_attn)
    assert torch.equal(steps(ours, DynamicCache(config=ours.config), 3), before)
