"""The frozen model: what it runs on, what it says of itself, what it refuses, and that it loads in four bits."""

import copy
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers.processors import TemplateProcessing
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

from engine.backbone import Backbone, BackboneError
from engine.decode import decode
from engine.methods.base import Ask, Conditioning
from engine.plan import HEADROOM, plan

HI = Conditioning(({"role": "user", "content": "Say hello."},))
GREEDY = Ask(temperature=0.0, repetition_penalty=1.0, max_new_tokens=4)
GB = 10**9


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """On cores that others use, two threads that wait for each other are ten times slower than one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def machine(monkeypatch, *, gpu: int | None = None, bf16: bool = False, amx: bool = False) -> None:
    """A machine with so many free bytes on its GPU, or none, and a processor with or without bfloat16."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu is not None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (gpu, 80 * GB))
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)


# ---- the plan


@pytest.mark.parametrize(
    ("here", "quantize", "weights", "expected"),
    [
        ({"gpu": 24 * GB}, "auto", 16 * GB, ("cuda", torch.bfloat16, "none")),
        ({"gpu": 24 * GB}, "auto", int(24 * GB / HEADROOM) - 1, ("cuda", torch.bfloat16, "none")),
        ({"gpu": 24 * GB}, "auto", int(24 * GB / HEADROOM) + 1, ("cuda", torch.bfloat16, "nf4")),
        ({"gpu": 24 * GB}, "auto", 23 * GB, ("cuda", torch.bfloat16, "nf4")),
        ({"gpu": 24 * GB}, "none", 23 * GB, ("cuda", torch.bfloat16, "none")),
        ({"gpu": 24 * GB}, "int8", 1 * GB, ("cuda", torch.bfloat16, "int8")),
        ({"gpu": 24 * GB}, "nf4", 1 * GB, ("cuda", torch.bfloat16, "nf4")),
        ({}, "auto", 1 * GB, ("cpu", torch.float32, "none")),
        ({"bf16": True}, "auto", 1 * GB, ("cpu", torch.bfloat16, "none")),
        ({"amx": True}, "auto", 1 * GB, ("cpu", torch.bfloat16, "none")),
        ({"bf16": True}, "none", 1 * GB, ("cpu", torch.bfloat16, "none")),
        ({}, "none", 1 * GB, ("cpu", torch.float32, "none")),
        ({}, "nf4", 1 * GB, ("cpu", torch.float32, "nf4")),
        ({"bf16": True}, "nf4", 1 * GB, ("cpu", torch.bfloat16, "nf4")),
        ({}, "int8", 1 * GB, ("cpu", torch.float32, "int8")),
    ],
)
def test_plan(monkeypatch, here, quantize, weights, expected):
    machine(monkeypatch, **here)
    chosen = plan(quantize, weights)
    assert (chosen.device, chosen.dtype, chosen.quantization) == expected
    assert len(chosen.reason.split()) >= 5
    assert "torch" not in chosen.reason  # words, not code
    assert ("GPU" in chosen.reason) == ("gpu" in here)


def test_the_plan_says_why(monkeypatch):
    machine(monkeypatch, gpu=24 * GB)
    assert "16.0 GB in bfloat16, 24.0 GB of GPU memory free" in plan("auto", 16 * GB).reason
    assert "int8 was asked for" in plan("int8", 16 * GB).reason
    machine(monkeypatch)
    assert plan().reason == "CPU that has no bfloat16 arithmetic, so float32"
    assert "nf4 was asked for" in plan("nf4").reason
    assert "slower than float32" in plan("nf4").reason
    machine(monkeypatch, amx=True)
    assert plan().reason == "CPU that has bfloat16 arithmetic, so bfloat16"


# ---- loading


@pytest.fixture(scope="module")
def saved(tiny: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model with its tokenizer, as a folder."""
    folder = tmp_path_factory.mktemp("models") / "small-model"
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=len(tiny.tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        eos_token_id=[tiny.tokenizer.eos_token_id, 77],
        initializer_range=0.4,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tiny.tokenizer.save_pretrained(folder)
    return folder


def test_a_folder_is_loaded_as_it_was_saved(saved, monkeypatch):
    machine(monkeypatch)
    lm = Backbone.load(str(saved))
    stored = load_file(saved / "model.safetensors")
    loaded = dict(lm.model.named_parameters())
    assert stored.keys() == loaded.keys()
    assert all(torch.equal(stored[name], loaded[name]) for name in stored)
    assert {p.dtype for p in loaded.values()} == {torch.float32}
    assert not any(p.requires_grad for p in loaded.values())
    assert not lm.model.training
    assert (lm.name, lm.context, lm.device.type) == ("small-model", 1024, "cpu")
    described = lm.describe()
    assert described == "small-model, 6M parameters, float32 on cpu (CPU that has no bfloat16 arithmetic, so float32)"
    machine(monkeypatch, bf16=True)
    assert {p.dtype for p in Backbone.load(str(saved)).model.parameters()} == {torch.bfloat16}


def test_every_end_of_turn_that_model_or_tokenizer_know_stops(saved, monkeypatch):
    machine(monkeypatch)
    lm = Backbone.load(str(saved))
    marks = lm.tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    assert lm.stop_ids == {*marks, 77}


def set_config(**fields: object) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    return change


def drop_layer(folder: Path) -> None:
    path = folder / "model.safetensors"
    rest = {name: tensor for name, tensor in load_file(path).items() if "layers.1." not in name}
    assert len(rest) > 5
    save_file(rest, path, metadata={"format": "pt"})


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(lambda folder: (folder / "config.json").write_text("{nope"), id="config is no json"),
        pytest.param(lambda folder: (folder / "config.json").write_text("{}"), id="config is empty"),
        pytest.param(lambda folder: (folder / "config.json").write_text("[]"), id="config is a list"),
        pytest.param(set_config(model_type="no-such-thing"), id="unknown kind"),
        pytest.param(set_config(model_type="t5"), id="no causal model"),
        pytest.param(set_config(hidden_size="wide"), id="a word for a number"),
        pytest.param(set_config(hidden_size=128), id="another width"),
        pytest.param(
            lambda folder: (folder / "model.safetensors").write_bytes(b"<html>" * 99), id="weights are a page"
        ),
        pytest.param(lambda folder: (folder / "model.safetensors").write_bytes(b""), id="weights are empty"),
        pytest.param(drop_layer, id="a layer is missing"),
        pytest.param(lambda folder: (folder / "tokenizer.json").unlink(), id="no tokenizer"),
        pytest.param(lambda folder: (folder / "tokenizer.json").write_text("{}"), id="empty tokenizer"),
    ],
)
def test_a_broken_folder_is_refused_with_a_sentence(saved, tmp_path, monkeypatch, broken):
    machine(monkeypatch)
    folder = tmp_path / "broken-model"
    shutil.copytree(saved, folder)
    broken(folder)
    with pytest.raises(BackboneError) as error:
        Backbone.load(str(folder))
    text = str(error.value)
    assert "\n" not in text
    assert text.startswith("broken-model cannot be loaded")
    assert "--model" in text


def test_a_model_that_cannot_chat_is_refused(saved, tmp_path, monkeypatch, tiny):
    machine(monkeypatch)
    folder = tmp_path / "base-model"
    shutil.copytree(saved, folder)
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(BackboneError, match="base-model has no chat template: choose an instruct or chat model"):
        Backbone.load(str(folder))
    tokenizer = copy.deepcopy(tiny.tokenizer)
    tokenizer.chat_template = None
    with pytest.raises(BackboneError, match="tiny has no chat template"):
        Backbone(tiny.model, tokenizer, "tiny", tiny.plan)


def test_the_embedded_model_loads_in_four_bits_and_writes(monkeypatch):
    machine(monkeypatch)
    lm = Backbone.load(None, "nf4")
    kinds = {type(module).__name__ for module in lm.model.modules()}
    assert "Linear4bit" in kinds
    assert lm.model.model.layers[0].self_attn.q_proj.weight.quant_state.quant_type == "nf4"
    assert lm.describe() == (
        "SmolLM2-135M-Instruct, 135M parameters, nf4 on cpu "
        "(CPU, nf4 was asked for: smaller, and slower than float32 here)"
    )
    [[row]] = decode(lm, [(HI, GREEDY)])
    assert len(row.token_ids) == 4
    assert row.text[0].isalpha()
    assert row.text.isascii()  # four bits of the real weights still give English


def test_the_small_model_in_four_bits_is_near_the_whole_one(saved, monkeypatch):
    machine(monkeypatch)
    whole, packed = Backbone.load(str(saved), "none"), Backbone.load(str(saved), "nf4")
    ids = torch.tensor([whole.tokens("One two three four five six seven eight nine ten.")])
    mask, positions = torch.ones_like(ids), torch.arange(ids.shape[1])[None]
    first, second = (lm.step(ids, mask, positions, DynamicCache(config=lm.model.config))[0] for lm in (whole, packed))
    assert first.dtype == second.dtype == torch.float32
    assert first.shape == (len(whole.tokenizer),)
    assert 0.7 < torch.corrcoef(torch.stack([first, second]))[0, 1] < 0.99999
    assert whole.fingerprint != packed.fingerprint


# ---- what it is called


def test_a_fingerprint_names_model_and_arithmetic(tiny, saved, monkeypatch):
    machine(monkeypatch)

    def called(name: str = "a", **how: object) -> str:
        other = copy.copy(tiny)
        other.name, other.plan = name, replace(tiny.plan, **how)
        return other._fingerprint()

    assert called() == called(reason="told otherwise")
    others = [
        called(),
        called("b"),
        called(dtype=torch.bfloat16),
        called(quantization="nf4"),
        called(quantization="int8"),
        called(device="cuda"),
    ]
    assert len(set(others)) == len(others)
    assert Backbone.load(str(saved)).fingerprint == Backbone.load(str(saved)).fingerprint


def test_other_weights_in_a_folder_of_the_same_name_have_another_fingerprint(saved, tmp_path, monkeypatch):
    """Equal fingerprints promise equal texts; a second checkpoint under the old name breaks that promise."""
    machine(monkeypatch)
    other = tmp_path / saved.name
    shutil.copytree(saved, other)
    weights = {name: tensor.flip(0).contiguous() for name, tensor in load_file(other / "model.safetensors").items()}
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    first, second = Backbone.load(str(saved)), Backbone.load(str(other))
    assert decode(first, [(HI, GREEDY)]) != decode(second, [(HI, GREEDY)])
    assert first.fingerprint != second.fingerprint


# ---- template and tokens


def test_a_rendered_prompt_ends_where_the_answer_begins(tiny):
    rendered = tiny.render(HI.messages)
    assert rendered.endswith("<|im_start|>user\nSay hello.<|im_end|>\n<|im_start|>assistant\n")
    ids = tiny.tokens(rendered)
    assert tiny.tokenizer.decode(ids) == rendered  # no special token is added to what the template wrote
    assert tiny.text(ids) == "system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face\nuser\n" + (
        "Say hello.\nassistant\n"
    )


def test_a_tokenizer_that_adds_a_beginning_adds_none_to_what_the_template_wrote(tiny):
    tokenizer = copy.deepcopy(tiny.tokenizer)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)]
    )
    assert tokenizer("hello")["input_ids"][0] == 0
    lm = Backbone(tiny.model, tokenizer, "beginner", tiny.plan)
    assert lm.tokens("hello") == tiny.tokens("hello")
    assert lm.tokens(lm.render(HI.messages)).count(0) == 0


def test_templates_that_think_are_told_not_to(tiny):
    tokenizer = copy.deepcopy(tiny.tokenizer)
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['content'] }}{% endfor %}"
        "{% if enable_thinking is not defined or enable_thinking %}<think>{% endif %}"
    )
    assert Backbone(tiny.model, tokenizer, "thinker", tiny.plan).render(HI.messages) == "Say hello."


def test_a_step_sees_neither_padding_nor_other_rows(tiny):
    """One row padded on the left and beside another one, in two steps, has the logits of the plain forward pass."""
    ids = tiny.tokens("a cat on a roof")
    with torch.inference_mode():
        expected = tiny.model(input_ids=torch.tensor([ids])).logits[0, -1]
    other = tiny.tokens("quite something else here, and longer than that")[: len(ids) + 3]
    assert len(other) == len(ids) + 3
    batch = torch.tensor([[9, 9, 9, *ids], other])
    mask = torch.tensor([[0] * 3 + [1] * len(ids), [1] * len(other)])
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    cache = DynamicCache(config=tiny.model.config)
    tiny.step(batch[:, :-1], mask[:, :-1], positions[:, :-1], cache)
    logits = tiny.step(batch[:, -1:], mask, positions[:, -1:], cache)
    assert logits.shape == (2, len(tiny.tokenizer))
    assert torch.allclose(logits[0], expected, atol=1e-4)
    assert not torch.allclose(logits[1], expected, atol=1e-1)
