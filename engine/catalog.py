"""Models that are known to work well here, and whether each fits in the memory that is free now.

Nothing is loaded or fetched: the figures follow from what the models' configurations say (a test builds each of them
without memory and counts), and from the plan that `Backbone.load` would choose.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import psutil
import torch

from engine import encoder
from engine.plan import HEADROOM, Plan, Quantize, plan

ROWS, TOKENS = 8, 1024  # of one decode: what the cache of keys and values is reckoned for
# Beside weights and cache: activations of a long prompt, the libraries, the page and the sentence encoder. With the
# embedded model the whole app took 1.30 GB, 0.27 GB of them weights (log 2026-11-24).
BESIDE = 10**9
# Bytes of a quantised weight: nf4 has a float32 scale for 64 weights. Twins that are 4-bit on the hub have their
# scales quantised as well: a byte for 64 weights and a float32 for 256 scales.
INT8, NF4, READY = 1.0, 0.5 + 4 / 64, 0.5 + 1 / 64 + 4 / (64 * 256)
OPEN = ("apache-2.0", "mit")  # licences that ask nothing of whoever runs a model
# Weights that a CPU can read for each token: at 24 GB/s of memory 0.17 s a step, and about 10 s a pair of 56 tokens.
BEARABLE = 4 * 10**9


@dataclass(frozen=True, slots=True)
class Known:
    """A chat model on the hub. `linear` of its parameters are quantised; embeddings, head and norms are not."""

    name: str
    parameters: int
    linear: int
    layers: int
    kv_heads: int
    head_dim: int
    context: int
    licence: str
    gated: bool = False  # the hub asks for an account that has accepted the licence
    ready: bool = False  # 4-bit on the hub already, whatever --quantize says


@dataclass(frozen=True, slots=True)
class KnownEncoder:
    """A sentence encoder for `--encoder`. `width` is that of its vectors; on the hub unless it is embedded."""

    name: str
    parameters: int
    width: int
    licence: str
    good_for: str


ENCODERS = (
    KnownEncoder(encoder.EMBEDDED, 22_713_216, encoder.EMBEDDED_WIDTH, "apache-2.0", "embedded; English; the fastest"),
    KnownEncoder("BAAI/bge-small-en-v1.5", 33_360_000, 384, "mit", "English"),
    KnownEncoder("sentence-transformers/all-mpnet-base-v2", 109_486_464, 768, "apache-2.0", "English; finer"),
    KnownEncoder("sentence-transformers/sentence-t5-base", 110_218_368, 768, "apache-2.0", "English; a T5 encoder"),
    KnownEncoder("sentence-transformers/sentence-t5-large", 335_726_080, 768, "apache-2.0", "English; finer, slow"),
    KnownEncoder(
        "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2", 117_653_760, 384, "apache-2.0", "50 languages"
    ),
)

Verdict = Literal["fits", "tight", "will not fit"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a model needs on this machine, in bytes, and in words what to do."""

    model: Known
    runs_as: str
    weights: int
    cache: int
    needs: int
    free: int
    verdict: Verdict
    words: str


_ORIGINALS = (
    Known("HuggingFaceTB/SmolLM2-135M-Instruct", 134_515_008, 106_168_320, 30, 3, 64, 8192, "apache-2.0"),
    Known("HuggingFaceTB/SmolLM2-360M-Instruct", 361_821_120, 314_572_800, 32, 5, 64, 8192, "apache-2.0"),
    Known("HuggingFaceTB/SmolLM2-1.7B-Instruct", 1_711_376_384, 1_610_612_736, 24, 32, 64, 8192, "apache-2.0"),
    Known("Qwen/Qwen3-0.6B", 596_049_920, 440_401_920, 28, 8, 128, 40960, "apache-2.0"),
    Known("Qwen/Qwen3-4B-Instruct-2507", 4_022_468_096, 3_633_315_840, 36, 8, 128, 262144, "apache-2.0"),
    Known("Qwen/Qwen2.5-1.5B-Instruct", 1_543_714_304, 1_310_195_712, 28, 2, 128, 32768, "apache-2.0"),
    Known("Qwen/Qwen2.5-3B-Instruct", 3_085_938_688, 2_774_532_096, 36, 2, 128, 32768, "qwen-research"),
    Known("meta-llama/Llama-3.2-1B-Instruct", 1_235_814_400, 973_078_528, 16, 8, 64, 131072, "llama3.2", gated=True),
    Known("meta-llama/Llama-3.2-3B-Instruct", 3_212_749_824, 2_818_572_288, 28, 8, 128, 131072, "llama3.2", gated=True),
    Known("meta-llama/Llama-3.1-8B-Instruct", 8_030_261_248, 6_979_321_856, 32, 8, 128, 131072, "llama3.1", gated=True),
    Known("google/gemma-3-1b-it", 999_885_952, 697_761_792, 26, 1, 256, 32768, "gemma", gated=True),
    Known("google/gemma-3-4b-it", 4_300_079_472, 3_619_713_024, 34, 4, 256, 131072, "gemma", gated=True),
    Known("microsoft/Phi-4-mini-instruct", 3_836_021_760, 3_221_225_472, 32, 8, 128, 131072, "mit"),
    Known(
        "mistralai/Mistral-7B-Instruct-v0.3", 7_248_023_552, 6_979_321_856, 32, 8, 128, 32768, "apache-2.0", gated=True
    ),
)
_TWINS = {  # 4-bit copies that need no account; the licence of the original holds for them as well
    "unsloth/Qwen3-4B-Instruct-2507-bnb-4bit": "Qwen/Qwen3-4B-Instruct-2507",
    "unsloth/Qwen2.5-1.5B-Instruct-bnb-4bit": "Qwen/Qwen2.5-1.5B-Instruct",
    "unsloth/Qwen2.5-3B-Instruct-bnb-4bit": "Qwen/Qwen2.5-3B-Instruct",
    "unsloth/Llama-3.2-1B-Instruct-bnb-4bit": "meta-llama/Llama-3.2-1B-Instruct",
    "unsloth/Llama-3.2-3B-Instruct-bnb-4bit": "meta-llama/Llama-3.2-3B-Instruct",
    "unsloth/Meta-Llama-3.1-8B-Instruct-bnb-4bit": "meta-llama/Llama-3.1-8B-Instruct",
    "unsloth/gemma-3-1b-it-bnb-4bit": "google/gemma-3-1b-it",
    "unsloth/Phi-4-mini-instruct-bnb-4bit": "microsoft/Phi-4-mini-instruct",
    "unsloth/mistral-7b-instruct-v0.3-bnb-4bit": "mistralai/Mistral-7B-Instruct-v0.3",
}
_BY_NAME = {model.name: model for model in _ORIGINALS}
KNOWN = (
    *_ORIGINALS,
    *(replace(_BY_NAME[of], name=twin, gated=False, ready=True) for twin, of in _TWINS.items()),
    # Whether its part that reads pictures, unused here, is in 4 bits as well is not known: counted as if it were not.
    Known("unsloth/gemma-3-4b-it-bnb-4bit", 4_300_079_472, 3_208_642_560, 34, 4, 256, 131072, "gemma", ready=True),
)


def estimates(quantize: Quantize = "auto", spare: int = 0, other: Known | None = None) -> tuple[Estimate, ...]:
    """What each known model would need here and now, and behind them an `other`. `spare` bytes would be free as well:
    those of the model in use."""
    models = (*KNOWN, other) if other else KNOWN
    plans = [_plan(model, quantize) for model in models]
    free = free_memory(plans[0].device) + spare
    here = [_estimate(model, how, free) for model, how in zip(models, plans, strict=True)]
    largest = max((e.model for e in here if e.verdict == "fits"), key=lambda model: model.parameters, default=None)
    return tuple(replace(e, words=_words(e, how, largest)) for e, how in zip(here, plans, strict=True))


def best(here: Sequence[Estimate]) -> Estimate | None:
    """The largest that fits, asks for no account and for no licence to be agreed to, and on a CPU is not too slow."""
    on_gpu = torch.cuda.is_available()
    may = [
        e
        for e in here
        if e.verdict == "fits" and not e.model.gated and e.model.licence in OPEN
        and (on_gpu or (e.weights <= BEARABLE and e.runs_as not in ("int8", "nf4")))
    ]  # fmt: skip
    return max(may, key=lambda e: e.model.parameters, default=None)


def to_fetch(model: Known) -> int:
    """Bytes of its weight files on the hub, where the originals are in bfloat16."""
    return _weights(model, "none", torch.bfloat16)


def described(name: str, config: Mapping[str, Any], weight_bytes: int) -> Known:
    """Any model, by what its config.json says and the bytes of its weight files."""
    text = config.get("text_config", config)
    hidden, heads = int(text.get("hidden_size", 0)), int(text.get("num_attention_heads", 1))
    ready = "quantization_config" in config
    wide = "float32" in (text.get("dtype"), text.get("torch_dtype"), config.get("dtype"), config.get("torch_dtype"))
    parameters = int(weight_bytes / (READY if ready else 4 if wide else 2))
    embeddings = int(text.get("vocab_size", 0)) * hidden
    return Known(
        name,
        parameters,
        parameters if ready else max(0, parameters - embeddings),
        int(text.get("num_hidden_layers", 0)),
        int(text.get("num_key_value_heads") or heads),
        int(text.get("head_dim") or hidden // heads),
        int(text.get("max_position_embeddings", 2048)),
        "see its page",
        ready=ready,
    )


def _plan(model: Known, quantize: Quantize) -> Plan:
    how = plan(quantize, _weights(model, "none", torch.bfloat16))
    # Of what is 4-bit already the library leaves all else as it is in the file, whatever precision it is asked for.
    return replace(how, quantization="nf4", dtype=torch.bfloat16) if model.ready else how


def _estimate(model: Known, how: Plan, free: int) -> Estimate:
    weights = _weights(model, how.quantization, how.dtype)
    # Keys and values of every layer in full: for the layers of Gemma that see a window only this is too much.
    cache = 2 * model.layers * model.kv_heads * model.head_dim * ROWS * TOKENS * how.dtype.itemsize
    needs = max(int(weights * HEADROOM), weights + cache + BESIDE)  # never less than the plan asks for
    verdict: Verdict = "fits" if needs <= free else "tight" if weights + cache <= free else "will not fit"
    return Estimate(
        model=model,
        runs_as=str(how.dtype).removeprefix("torch.") if how.quantization == "none" else how.quantization,
        weights=weights,
        cache=cache,
        needs=needs,
        free=free,
        verdict=verdict,
        words="",
    )


def _weights(model: Known, quantization: str, dtype: torch.dtype) -> int:
    each = READY if model.ready else {"none": dtype.itemsize, "int8": INT8, "nf4": NF4}[quantization]
    return int(model.linear * each) + (model.parameters - model.linear) * dtype.itemsize


def free_memory(device: str) -> int:
    """Bytes that could be taken now, of the GPU or of the machine."""
    return int(torch.cuda.mem_get_info()[0] if device == "cuda" else psutil.virtual_memory().available)


def _words(here: Estimate, how: Plan, largest: Known | None) -> str:
    room = f"needs {here.needs / 1e9:.1f} GB, {here.free / 1e9:.1f} free"
    if here.verdict == "fits":
        return room
    smaller = _estimate(here.model, replace(how, quantization="nf4"), here.free)
    ways = []
    if smaller.needs < here.needs and smaller.verdict != "will not fit":
        ways.append(f"--quantize nf4 ({smaller.needs / 1e9:.1f} GB)")
    if here.verdict == "tight":
        return f"{room}: may fail in long prompts, close other programs{''.join(f' or choose {way}' for way in ways)}"
    if largest:
        ways.append(largest.name)
    return f"{room}: {'choose ' + ' or '.join(ways) if ways else 'close other programs'}"
