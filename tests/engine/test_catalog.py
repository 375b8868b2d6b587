"""The catalogue: its figures against models built without memory, published files and weights as they are loaded."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM

import engine.catalog
from engine.__main__ import main
from engine.backbone import Backbone
from engine.catalog import BESIDE, ENCODERS, KNOWN, ROWS, TOKENS, Known, estimates
from engine.plan import HEADROOM, plan

ROOT = Path(engine.catalog.__file__).parents[1]
BY_NAME = {model.name: model for model in KNOWN}
GB = 10**9


def shape(hidden: int, inner: int, layers: int, heads: int, kv: int, vocab: int, context: int, **more: Any) -> Any:
    return {
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "vocab_size": vocab,
        "max_position_embeddings": context,
        **more,
    }


TIED: Any = {"tie_word_embeddings": True}
UNTIED: Any = {"tie_word_embeddings": False}
EYES = {"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "num_attention_heads": 16}
EYES |= {"image_size": 896, "patch_size": 14, "vision_use_head": False}
GEMMA_4B = shape(2560, 10240, 34, 8, 4, 262208, 131072, head_dim=256)
# What the models' config.json on the hub say.
CONFIGS = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": ("llama", shape(576, 1536, 30, 9, 3, 49152, 8192, **TIED)),
    "HuggingFaceTB/SmolLM2-360M-Instruct": ("llama", shape(960, 2560, 32, 15, 5, 49152, 8192, **TIED)),
    "HuggingFaceTB/SmolLM2-1.7B-Instruct": ("llama", shape(2048, 8192, 24, 32, 32, 49152, 8192, **TIED)),
    "Qwen/Qwen3-0.6B": ("qwen3", shape(1024, 3072, 28, 16, 8, 151936, 40960, head_dim=128, **TIED)),
    "Qwen/Qwen3-4B-Instruct-2507": ("qwen3", shape(2560, 9728, 36, 32, 8, 151936, 262144, head_dim=128, **TIED)),
    "Qwen/Qwen2.5-1.5B-Instruct": ("qwen2", shape(1536, 8960, 28, 12, 2, 151936, 32768, **TIED)),
    "Qwen/Qwen2.5-3B-Instruct": ("qwen2", shape(2048, 11008, 36, 16, 2, 151936, 32768, **TIED)),
    "meta-llama/Llama-3.2-1B-Instruct": ("llama", shape(2048, 8192, 16, 32, 8, 128256, 131072, **TIED)),
    "meta-llama/Llama-3.2-3B-Instruct": ("llama", shape(3072, 8192, 28, 24, 8, 128256, 131072, **TIED)),
    "meta-llama/Llama-3.1-8B-Instruct": ("llama", shape(4096, 14336, 32, 32, 8, 128256, 131072, **UNTIED)),
    "google/gemma-3-1b-it": ("gemma3_text", shape(1152, 6912, 26, 4, 1, 262144, 32768, head_dim=256)),
    "google/gemma-3-4b-it": ("gemma3", {"text_config": GEMMA_4B, "vision_config": EYES}),
    "microsoft/Phi-4-mini-instruct": ("phi3", shape(3072, 8192, 32, 24, 8, 200064, 131072, pad_token_id=0, **TIED)),
    "mistralai/Mistral-7B-Instruct-v0.3": ("mistral", shape(4096, 14336, 32, 32, 8, 32768, 32768, **UNTIED)),
}
TWINS = [model for model in KNOWN if model.ready]


def machine(monkeypatch, *, free: int, gpu: bool = False, bf16: bool = True) -> None:
    """A machine with so much free memory, on its GPU or without one."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (free, 80 * GB))
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    if not gpu:
        monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=free))


def linear_weights(model: torch.nn.Module) -> int:
    """Weights of all linear layers but the head: what bitsandbytes quantises."""
    head = model.get_output_embeddings()
    return sum(m.weight.numel() for m in model.modules() if isinstance(m, torch.nn.Linear) and m is not head)


# ---- facts


@pytest.mark.parametrize("name", CONFIGS)
def test_the_figures_are_those_of_the_model_itself(name):
    kind, values = CONFIGS[name]
    config = AutoConfig.for_model(kind, **values)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    known, text = BY_NAME[name], config.get_text_config()
    head_dim = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    assert model.num_parameters() == known.parameters
    assert linear_weights(model) == known.linear
    assert (text.num_hidden_layers, text.num_key_value_heads, head_dim, text.max_position_embeddings) == (
        (known.layers, known.kv_heads, known.head_dim, known.context)
    )


def test_every_model_is_listed_once_and_counted_or_the_twin_of_one_that_is():
    assert len(BY_NAME) == len(KNOWN)
    assert {model.name for model in KNOWN if not model.ready} == set(CONFIGS)
    originals = [replace(BY_NAME[name], name="", linear=0, gated=False, ready=True) for name in CONFIGS]
    for twin in TWINS:
        assert replace(twin, name="", linear=0) in originals
        assert twin.name.startswith("unsloth/")
        assert twin.name.endswith("-bnb-4bit")


def test_gated_are_the_families_whose_licence_is_to_be_accepted():
    assert {model.name.partition("/")[0] for model in KNOWN if model.gated} == {"meta-llama", "google", "mistralai"}
    assert not any(model.gated for model in KNOWN if model.name.partition("/")[0] in {"HuggingFaceTB", "Qwen"})


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("mistralai/Mistral-7B-Instruct-v0.3", 4949453792 + 4999819336 + 4546807800),
        ("unsloth/Qwen3-4B-Instruct-2507-bnb-4bit", 2653133894),
    ],
)
def test_weights_are_as_large_as_the_published_files(monkeypatch, name, published):
    machine(monkeypatch, free=900 * GB, gpu=True)
    [estimate] = [estimate for estimate in estimates() if estimate.model.name == name]
    assert estimate.weights == pytest.approx(published, rel=0.001)


# ---- weights as they lie in memory


def held(model: torch.nn.Module) -> int:
    """Bytes of all parameters, with the scales that bitsandbytes keeps beside them."""
    total = 0
    for parameter in model.parameters():
        total += parameter.numel() * parameter.element_size()
        state = getattr(parameter, "quant_state", None)
        for scales in (state, state and state.state2):
            total += scales.absmax.numel() * scales.absmax.element_size() if scales else 0
    return total


@pytest.fixture(scope="module")
def folders(tiny: Backbone, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model of mostly linear layers, as it is and 4-bit already."""
    home = tmp_path_factory.mktemp("models")
    sizes = {"vocab_size": 500, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    config = LlamaConfig(hidden_size=512, intermediate_size=1024, eos_token_id=2, **sizes)
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(home / "plain")
    four = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)
    AutoModelForCausalLM.from_pretrained(
        home / "plain", quantization_config=four, dtype=torch.bfloat16
    ).save_pretrained(home / "ready")
    for folder in home.iterdir():
        tiny.tokenizer.save_pretrained(folder)
    return {folder.name: folder for folder in home.iterdir()}


@pytest.mark.parametrize("bf16", [True, False])
@pytest.mark.parametrize("quantize", ["none", "int8", "nf4", "ready"])
def test_the_estimate_of_weights_is_what_loading_takes(monkeypatch, folders, quantize, bf16):
    machine(monkeypatch, free=8 * GB, bf16=bf16)
    ready = quantize == "ready"
    lm = Backbone.load(str(folders["ready" if ready else "plain"]), "auto" if ready else quantize)
    with torch.device("meta"):
        whole = LlamaForCausalLM(LlamaConfig.from_pretrained(folders["plain"]))
    known = Known("a/b", whole.num_parameters(), linear_weights(whole), 2, 2, 128, 2048, "mit", ready=ready)
    monkeypatch.setattr(engine.catalog, "KNOWN", (known,))
    [estimate] = estimates("auto" if ready else quantize)
    assert estimate.weights == pytest.approx(held(lm.model), rel=0.01)
    assert estimate.runs_as == {"none": "bfloat16" if bf16 else "float32", "ready": "nf4"}.get(quantize, quantize)


# ---- verdicts


def test_memory_is_weights_cache_and_something_beside(monkeypatch):
    known = Known("a/b", 3_000_000_000, 2_500_000_000, 10, 4, 64, 2048, "mit")
    monkeypatch.setattr(engine.catalog, "KNOWN", (known,))
    machine(monkeypatch, free=20 * GB)
    [here] = estimates("none")
    assert here.weights == 6 * GB
    assert here.cache == 2 * 10 * 4 * 64 * ROWS * TOKENS * 2
    assert here.needs == 6 * GB * HEADROOM  # more than weights, cache and 1 GB
    [small] = estimates("nf4")
    assert small.weights == 2.5e9 * 0.5625 + 1 * GB
    assert small.needs == small.weights + small.cache + BESIDE  # more than 1.3 times the weights
    machine(monkeypatch, free=20 * GB, bf16=False)
    [doubled] = estimates("none")
    assert (doubled.weights, doubled.cache) == (2 * here.weights, 2 * here.cache)


def test_the_verdict_turns_where_the_memory_ends(monkeypatch):
    machine(monkeypatch, free=80 * GB)
    for estimate in estimates():
        for free, verdict in [
            (estimate.needs, "fits"),
            (estimate.needs - 1, "tight"),
            (estimate.weights + estimate.cache, "tight"),
            (estimate.weights + estimate.cache - 1, "will not fit"),
        ]:
            machine(monkeypatch, free=free)
            monkeypatch.setattr(engine.catalog, "KNOWN", (estimate.model,))
            [here] = estimates()
            assert here.verdict == verdict
            monkeypatch.undo()


@pytest.mark.parametrize("free", [2 * GB, 6 * GB, 12 * GB, 24 * GB])
def test_on_a_gpu_the_quantisation_is_the_plans(monkeypatch, free):
    machine(monkeypatch, free=free, gpu=True)
    chosen = [e for e in estimates() if not e.model.ready]
    assert [e.runs_as for e in chosen] == [
        "nf4" if plan("auto", 2 * e.model.parameters).quantization == "nf4" else "bfloat16" for e in chosen
    ]
    assert {e.free for e in chosen} == {free}
    assert all(e.needs >= int(HEADROOM * e.weights) for e in chosen)  # what the plan calls too large never fits


def words(name: str, **here: Any) -> str:
    [found] = [estimate.words for estimate in estimates(**here) if estimate.model.name == name]
    return found


def test_the_words_say_what_to_do(monkeypatch):
    llama = "meta-llama/Llama-3.2-3B-Instruct"
    machine(monkeypatch, free=int(22.6 * GB))
    assert words(llama) == "needs 8.4 GB, 22.6 free"
    machine(monkeypatch, free=int(7.9 * GB))
    assert words(llama) == (
        "needs 8.4 GB, 7.9 free: may fail in long prompts, close other programs or choose --quantize nf4 (4.3 GB)"
    )
    machine(monkeypatch, free=int(4.95 * GB))
    assert words(llama) == (
        "needs 8.4 GB, 5.0 free: choose --quantize nf4 (4.3 GB) or unsloth/Qwen3-4B-Instruct-2507-bnb-4bit"
    )
    machine(monkeypatch, free=int(4.5 * GB))
    assert words("meta-llama/Llama-3.1-8B-Instruct", quantize="nf4") == (
        "needs 8.1 GB, 4.5 free: choose meta-llama/Llama-3.2-3B-Instruct"
    )
    machine(monkeypatch, free=GB // 4)
    assert words(llama) == "needs 8.4 GB, 0.2 free: close other programs"


@pytest.mark.parametrize(("free", "gpu"), product([GB, 3 * GB, 5 * GB, 9 * GB, 16 * GB], [True, False]))
def test_what_is_advised_works(monkeypatch, free, gpu):
    machine(monkeypatch, free=free, gpu=gpu)
    here = {estimate.model.name: estimate for estimate in estimates()}
    in_four_bits = {estimate.model.name: estimate for estimate in estimates("nf4")}
    for name, estimate in here.items():
        if "--quantize nf4" in estimate.words:
            assert in_four_bits[name].verdict != "will not fit"
            assert f"({in_four_bits[name].needs / GB:.1f} GB)" in estimate.words
            assert in_four_bits[name].needs < estimate.needs
        for other in here:
            if estimate.words.endswith(f" {other}"):
                assert here[other].verdict == "fits"
        assert (estimate.verdict == "fits") == (":" not in estimate.words)


# ---- the command


def test_json_holds_every_model_in_one_line(monkeypatch, capsys):
    machine(monkeypatch, free=5 * GB)
    assert main(["models", "--json", "--quantize", "nf4"]) == 0
    [line] = capsys.readouterr().out.splitlines()
    read = json.loads(line)
    assert [one["model"]["name"] for one in read] == [model.name for model in KNOWN]
    assert {one["runs_as"] for one in read} == {"nf4"}
    assert {one["free"] for one in read} == {5 * GB}
    assert {one["verdict"] for one in read} == {"fits", "tight", "will not fit"}


def test_the_table_tells_of_licences_and_gates(monkeypatch, capsys):
    machine(monkeypatch, free=24 * GB, bf16=False)
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    models = lines[: lines.index("")]
    rows = {line.split()[0]: line for line in models if "/" in line.split(" ")[0]}
    assert list(rows) == [model.name for model in KNOWN]
    for model in KNOWN:
        assert f" {model.licence} {'*' if model.gated else ' '}" in rows[model.name]
        assert f" {model.context} " in rows[model.name]
        assert (" nf4 " if model.ready else " float32 ") in rows[model.name]
    assert " 135M " in rows["HuggingFaceTB/SmolLM2-135M-Instruct"]
    assert " 1.0B " in rows["google/gemma-3-1b-it"]
    assert any("HF_TOKEN" in line for line in lines)
    told = {line.split()[0]: line for line in lines[len(models) :] if line}
    assert all(f" {known.width} " in told[known.name] for known in ENCODERS)


def test_the_command_needs_no_network_and_no_weights(tmp_path):
    script = """
import socket, sys
def refuse(*_): raise AssertionError("the network was asked")
socket.socket.connect = socket.getaddrinfo = refuse
from engine.__main__ import main
code = main(["models"])
assert "transformers" not in sys.modules, "a library that loads models was imported"
sys.exit(code)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=os.environ | {"HOME": str(tmp_path), "PALATE_CACHE": str(tmp_path), "HF_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) > len(KNOWN)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [[], ["modells"], ["models", "--quantize", "4bit"]])
def test_a_wrong_call_ends_with_usage(capsys, arguments):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert "usage: python -m engine" in capsys.readouterr().err
