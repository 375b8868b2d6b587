"""Packed weights say what the plain ones say, and are used for inference only."""

import pytest
import torch
from torch import nn

from engine import packing
from engine.packing import pack


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, 8, 200])
def test_a_packed_layer_multiplies_as_the_plain_one(dtype, bias, rows):
    torch.manual_seed(0)
    plain = nn.Linear(96, 64, bias=bias).to(dtype)
    packed = nn.Linear(96, 64, bias=bias).to(dtype)
    packed.load_state_dict(plain.state_dict())
    assert pack(packed) == 1
    x = torch.randn(2, rows, 96).to(dtype)
    with torch.inference_mode():
        assert packed(x).shape == (2, rows, 64)
        assert torch.allclose(packed(x), plain(x), atol=1e-5 if dtype == torch.float32 else 2e-2)


def test_whoever_learns_gets_the_plain_weight_and_its_gradients():
    layer = nn.Linear(8, 4)
    pack(layer)
    x = torch.randn(3, 8, requires_grad=True)
    layer(x).sum().backward()
    assert torch.allclose(x.grad, layer.weight.sum(0).expand(3, 8))
    with torch.no_grad():
        layer.weight.zero_()
        assert torch.equal(layer(x), layer.bias.expand(3, 4)), "outside inference the weight as it stands counts"


def test_hooks_of_a_packed_layer_still_run():
    layer = nn.Linear(8, 4)
    pack(layer)
    with torch.inference_mode():
        before = layer(torch.ones(1, 8))
        handle = layer.register_forward_hook(lambda module, args, y: y + 1)
        assert torch.equal(layer(torch.ones(1, 8)), before + 1)
        handle.remove()


def test_large_models_and_layers_of_another_kind_are_left_alone(monkeypatch):
    class Own(nn.Linear):
        pass

    assert pack(nn.Sequential(Own(8, 4), nn.Conv1d(2, 2, 1))) == 0
    monkeypatch.setattr(packing, "LARGEST", 100)
    assert pack(nn.Linear(8, 4)) == 0


def test_where_torch_has_no_such_operation_nothing_is_packed(monkeypatch):
    def missing(*_: object) -> torch.Tensor:
        raise AttributeError("no such operation")

    monkeypatch.setattr(torch.ops.mkldnn, "_reorder_linear_weight", missing)
    layer = nn.Linear(8, 4)
    assert pack(layer) == 0
    assert "forward" not in vars(layer)
