"""Patches add to a module's output for their own rows, and are gone after the call."""

import pytest
import torch
from torch import nn

from engine.backbone import Backbone
from engine.methods.cross_attention import GatedBlock
from engine.methods.parts import linear_born, norm_born, seeded
from engine.patches import LowRank, Site, attached

Q = Site("model.layers.0.self_attn.q_proj")


def low_rank(ins: int, outs: int, rank: int, seed: int, scale: float = 1.0) -> LowRank:
    dice = torch.Generator().manual_seed(seed)
    return LowRank(torch.randn(1, ins, rank, generator=dice), torch.randn(1, rank, outs, generator=dice), scale)


def out(lm: Backbone, rows: list[dict[Site, tuple[LowRank, ...]]], x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad(), attached(lm.model, rows):
        return lm.model.get_submodule(Q.module)(x)


def test_a_low_rank_patch_is_the_sum_by_hand(tiny):
    x = torch.randn(1, 5, 32)
    patch = low_rank(32, 32, 3, seed=1, scale=0.5)
    layer = tiny.model.get_submodule(Q.module)
    by_hand = x @ (layer.weight.T + 0.5 * patch.a[0] @ patch.b[0])
    assert torch.allclose(out(tiny, [{Q: (patch,)}], x), by_hand, atol=1e-4)


def test_rows_carry_their_own_patches_of_any_rank_and_others_stay_bit_identical(tiny):
    x = torch.randn(4, 5, 32)
    first, second = low_rank(32, 32, 2, seed=1, scale=2.0), low_rank(32, 32, 5, seed=2)
    plain = out(tiny, [{}] * 4, x)
    mixed = out(tiny, [{}, {Q: (first,)}, {Q: (second,)}, {Q: (first, second)}], x)
    assert torch.equal(mixed[0], plain[0])
    for row, patches in ((1, (first,)), (2, (second,)), (3, (first, second))):
        alone = out(tiny, [{Q: patches}], x[row : row + 1])
        assert torch.allclose(mixed[row], alone[0], atol=1e-5)
    added = (mixed[1] - plain[1])[None], (mixed[2] - plain[2])[None]
    both = out(tiny, [{Q: (first, second)}], x[3:])[0] - plain[3]
    assert not torch.allclose(both, added[0][0])
    assert torch.allclose(both, first.delta(x[3:], x[3:])[0] + second.delta(x[3:], x[3:])[0], atol=1e-4)


def test_a_site_may_be_a_slice_of_a_fused_output(tiny):
    x = torch.randn(2, 5, 32)
    part = Site(Q.module, 8, 24)
    plain, patched = out(tiny, [{}] * 2, x), out(tiny, [{}, {part: (low_rank(32, 16, 2, seed=1),)}], x)
    assert torch.equal(patched[0], plain[0])
    assert torch.equal(patched[1, :, :8], plain[1, :, :8])
    assert torch.equal(patched[1, :, 24:], plain[1, :, 24:])
    assert not torch.equal(patched[1, :, 8:24], plain[1, :, 8:24])


def test_an_unknown_module_leaves_no_hook_behind(tiny):
    patches = {Q: (low_rank(32, 32, 2, seed=1),), Site("model.layers.9.mlp"): (low_rank(32, 32, 2, seed=1),)}
    with pytest.raises(KeyError), attached(tiny.model, [patches]):
        pass
    assert not tiny.model.get_submodule(Q.module)._forward_hooks


def block(width: int, gates: float, seed: int = 0) -> dict[str, torch.Tensor]:
    dice = seeded(seed)
    made = norm_born("norm", width) | norm_born("memory.norm", 384) | norm_born("ff.norm", width)
    for name, ins, outs in (("q", width, 16), ("k", 384, 16), ("v", 384, 16), ("o", 16, width)):
        made |= linear_born(name, ins, outs, dice, std=0.3)
    made |= linear_born("ff.up", width, width, dice, 0.3) | linear_born("ff.down", width, width, dice, 0.3)
    return made | {"gate.attention": torch.full((1,), gates), "gate.ff": torch.full((1,), gates)}


def memory(items: int, weights: dict[str, torch.Tensor], seed: int = 1) -> GatedBlock:
    return GatedBlock(torch.randn(1, items, 384, generator=seeded(seed)), torch.ones(1, 1, items, dtype=torch.bool),
                      weights, heads=4)  # fmt: skip


def test_memories_of_any_length_share_a_batch_and_an_empty_one_adds_exactly_nothing():
    weights = block(32, gates=0.5)
    y = torch.randn(3, 5, 32, generator=seeded(3))
    patches = [memory(9, weights, 1), memory(2, weights, 2), memory(0, weights)]
    stacked = GatedBlock.stack(patches).delta(y, y)
    for row, patch in enumerate(patches[:2]):
        assert torch.allclose(stacked[row], patch.delta(y[row : row + 1], y[row : row + 1])[0], atol=1e-4)
    assert torch.equal(stacked[2], torch.zeros(5, 32))


def test_a_block_attends_as_the_librarys_attention_does():
    weights = block(32, gates=0.5)
    weights["gate.ff"] = torch.zeros(1)
    patch, y = memory(7, weights), torch.randn(1, 4, 32)
    seen = nn.functional.layer_norm(patch.memory, (384,))
    q = nn.functional.linear(nn.functional.layer_norm(y, (32,)), weights["q.weight"])
    k, v = (nn.functional.linear(seen, weights[f"{part}.weight"]) for part in ("k", "v"))
    heads = [x.unflatten(-1, (4, 4)).transpose(1, 2) for x in (q, k, v)]
    attended = nn.functional.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
    expected = torch.tanh(torch.tensor(0.5)) * nn.functional.linear(attended, weights["o.weight"])
    assert torch.allclose(patch.delta(y, y), expected, atol=1e-5)


def test_blocks_of_other_weights_are_not_stacked_together():
    one, two = block(32, 0.5), block(32, 0.5, seed=1)
    assert memory(3, one).kin() == memory(5, one).kin() != memory(3, two).kin()
