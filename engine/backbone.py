"""The frozen language model: loading, precision, chat template, stop tokens.

Letters in shape comments, everywhere in the engine: B rows of a batch, T tokens, V vocabulary, D width.
"""

import gc
import hashlib
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import deepcopy
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from jinja2 import TemplateError
from torch import Tensor
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import DynamicCache

from engine.fourbit import unpacked
from engine.fused import StepCache, fuse
from engine.packing import pack
from engine.patches import LowRank, Patches, Site
from engine.plan import Plan, Quantize, plan, short, spare_threads
from engine.weights import find, weight_bytes

Message = dict[str, str]
Part = Literal["q", "k", "v", "o"]  # of an attention's projections
# What a model may be asked beside writing from messages: patches of its layers, a contrast of two of its distributions,
# a LoRA adapter, soft tokens, to be read from within, to be learned with. Here all of it; a server refuses the first
# ones sooner than the next.
Facility = Literal["patches", "contrast", "adapter", "prefix", "within", "learning"]

# Tokens by which chat families end a turn; what of these a tokenizer knows, stops the decoder.
END_OF_TURN = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|end|>", "<|endoftext|>", "</s>", "<eos>")
PREFIX = "\ue0f0"  # marks where soft tokens stand; a private character, which imported texts are cleaned of


class BackboneError(RuntimeError):
    """A model that cannot be used. The message is one sentence that says what to do."""


class Backbone:
    """A causal language model whose weights nobody here changes, with its tokenizer and template."""

    def __init__(self, model: Any, tokenizer: Any, name: str, how: Plan) -> None:
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.name = name
        self.plan = how
        self._read: tuple[tuple[int, ...], torch.dtype, DynamicCache] | None = None
        self.lock = threading.Lock()  # held for one decode call: no thread meets another's cache or hooks
        if not tokenizer.chat_template:
            raise BackboneError(f"{name} has no chat template: choose an instruct or chat model after --model")
        vocabulary = tokenizer.get_vocab()
        known = [vocabulary[token] for token in END_OF_TURN if token in vocabulary]
        special = sorted({*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()}, key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, filter(str.strip, special))) or "(?!)")
        configured = model.generation_config.eos_token_id
        configured = configured if isinstance(configured, list) else [configured]
        self.stop_ids = frozenset(i for i in [*known, *configured, tokenizer.eos_token_id] if i is not None)
        self.context = int(getattr(model.config.get_text_config(), "max_position_embeddings", 2048))
        self.has_system_role = self._takes_system_role()
        self.base: Patches = {}  # an adapter under all that is done with it, where it is not merged
        self.base_name = ""
        self._lay_out()
        # The last column of a batch is a view with gaps, for which the library's product copies the head for each row.
        self.model.get_output_embeddings().register_forward_pre_hook(lambda _, hidden: (hidden[0].contiguous(),))
        self.fingerprint = self._fingerprint()

    @classmethod
    def load(cls, model: str | None = None, quantize: Quantize = "auto") -> "Backbone":
        """Load what `--model` names; raises WeightsError or BackboneError with a sentence for people."""
        from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        torch.set_num_threads(spare_threads())
        weights = find(model)
        how = plan(quantize, weight_bytes(weights))
        quantized: dict[str, Any] = {}
        if how.quantization == "int8":
            quantized = {"quantization_config": BitsAndBytesConfig(load_in_8bit=True)}
        elif how.quantization == "nf4":
            nf4 = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=how.dtype)
            quantized = {"quantization_config": nf4}
        try:
            tokenizer = AutoTokenizer.from_pretrained(weights.folder)
            read: Any = AutoModelForCausalLM.from_pretrained(
                weights.folder, dtype=how.dtype, device_map=how.device, output_loading_info=True, **quantized
            )
            loaded, info = read
        except Exception as error:  # a stranger's folder can hold anything, and the libraries raise as many types
            raise BackboneError(
                f"{weights.name} cannot be loaded as a causal language model ({str(error).splitlines()[0][:200]}): "
                "choose another with --model, or leave it out for the embedded one"
            ) from error
        if info["missing_keys"]:  # the library would fill them with random numbers and go on
            raise BackboneError(
                f"{weights.name} cannot be loaded, {len(info['missing_keys'])} of its weights are missing "
                f"({min(info['missing_keys'])}, ...): fetch its files again, or choose another with --model"
            )
        return cls(loaded, tokenizer, weights.name, how)

    def _lay_out(self) -> None:
        plain = self.plan.device == "cpu" and self.plan.quantization == "none"
        self.fused = plain and bool(fuse(self.model))  # whether its steps are
        if plain:
            pack(self.model)

    def adapt(self, adapter: Mapping[Site, LowRank], name: str) -> None:
        """Put an adapter under everything, for good: merged into the weights, or, where these are quantised, as patches
        that every row carries. Called once, right after loading."""
        if self.base_name:
            raise ValueError(f"{self.name} stands on {self.base_name} already")
        self.base_name = name
        weights = {site: self.model.get_submodule(site.module).weight for site in adapter}
        if self.plan.quantization != "none" or not all(weight.is_floating_point() for weight in weights.values()):
            self.base = {site: (patch,) for site, patch in adapter.items()}
            self.fingerprint = self._fingerprint()
            return
        for module in self.model.modules():
            vars(module).pop("forward", None)  # laid out for the weights as they were
        with torch.no_grad():
            for site, patch in adapter.items():
                part = weights[site][site.start : site.stop]
                part.copy_(part.float() + (patch.a[0] @ patch.b[0] * patch.scale).T.to(part.device))
        self._read = None
        self._lay_out()
        self.fingerprint = self._fingerprint()

    def learning(self) -> AbstractContextManager[None]:
        """Whoever differentiates holds this: some weights are laid out otherwise for writing."""
        if self.plan.quantization == "nf4" and self.plan.device == "cpu":
            return unpacked(self.model, self.lock)
        return nullcontext()

    def cache(self) -> DynamicCache:
        """An empty cache for one decode call."""
        return StepCache(self.model) if self.fused else DynamicCache(config=self.model.config)

    @property
    def device(self) -> torch.device:
        return torch.device(self.model.device)

    def _fingerprint(self) -> str:
        """Names what wrote a text: the model and its arithmetic. Equal fingerprints on one machine, equal texts.

        Taken before anything is written: 4-bit weights look otherwise afterwards.
        """
        facts = (
            f"{self.name}|{self.model.config.model_type}|{self.plan.dtype}|{self.plan.quantization}|{self.plan.device}"
            + (f"|{self.base_name}" if self.base_name else "")
        )
        digest = hashlib.sha256(facts.encode())
        for parameter in self.model.parameters():  # a few numbers of each tell one training from another
            some = parameter.detach().flatten()[:: max(1, parameter.numel() // 64)]
            digest.update(some.float().cpu().numpy().tobytes())
        return digest.hexdigest()[:16]

    def refuses(self, facility: Facility) -> str | None:
        """Why it cannot be asked this, in words; None where it can."""
        return None

    def unregistered(self, adapter: str, folder: Path) -> str | None:
        """Why an adapter that lies in `folder` cannot be asked for by its name, in words; here its patches are used."""
        return None

    def facts(self) -> dict[str, str]:
        """What it is and runs on, for whoever has to report it."""
        told = {"model": self.name, "device": self.plan.device, "dtype": short(self.plan.dtype)}
        return told | {
            "quantization": self.plan.quantization, "base": self.base_name or "none", "engine": self.fingerprint
        }  # fmt: skip

    @property
    def held(self) -> int:
        """Bytes of its parameters: at least so much memory is free again once it is let go of."""
        return sum(parameter.numel() * parameter.element_size() for parameter in self.model.parameters())

    def describe(self) -> str:
        """One line for the start and for the About page."""
        size = f"{self.model.num_parameters() / 1e6:.0f}M parameters"
        kind = short(self.plan.dtype) if self.plan.quantization == "none" else self.plan.quantization
        base = f", with the adapter {self.base_name} under all" if self.base_name else ""
        return f"{self.name}, {size}, {kind} on {self.plan.device} ({self.plan.reason}){base}"

    def render(self, messages: Sequence[Message]) -> str:
        """Messages -> the prompt string, ready for the model's answer. The one place that knows templates.

        Special tokens inside a message's content are taken out: an imported text must not open a turn of its own.
        """
        messages = [{**message, "content": self._plain(message["content"])} for message in messages]
        if not self.has_system_role and messages[0]["role"] == "system":
            head, first, *rest = messages
            messages = [{"role": "user", "content": f"{head['content']}\n\n{first['content']}"}, *rest]
        return str(
            self.tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=True, enable_thinking=False
            )
        )

    def _plain(self, content: str) -> str:
        while self._special.search(content):  # again: taking one out may join the halves of another
            content = self._special.sub("", content)
        return content

    def tokens(self, text: str) -> list[int]:
        """Token ids of a string as it stands: the template has already written its special tokens."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def text(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))

    def count(self, text: str) -> int:
        """Tokens of a string as it stands."""
        return len(self.tokens(text))

    def cut(self, text: str, most: int) -> str:
        """The first `most` tokens of a text, never half a character."""
        ids = self.tokens(text)
        return text if len(ids) <= most else self.text(ids[:most]).rstrip("\ufffd")

    @property
    def width(self) -> int:
        """D, of the token embeddings."""
        return int(self.model.get_input_embeddings().weight.shape[1])

    @cached_property
    def token_norm(self) -> float:
        """The median length of a token's embedding: what a soft token is scaled to."""
        some = torch.arange(0, self.model.get_input_embeddings().weight.shape[0], 7, device=self.device)
        return float(self.embed(some).float().norm(dim=-1).median())

    @cached_property
    def weights_id(self) -> str:
        """Names the weights whatever their precision: a state learned in bfloat16 fits in 4 bits as well.

        It covers what quantisation leaves alone (norms, biases) and a part of the embeddings, rounded to bfloat16.
        """
        digest = hashlib.sha256(
            f"{self.model.config.model_type}|{self.model.get_input_embeddings().weight.shape}".encode()
        )
        plain = [p for name, p in self.model.named_parameters() if p.dim() == 1]
        for tensor in [*plain, self.model.get_input_embeddings().weight[:: self.width]]:
            digest.update(tensor.detach().bfloat16().float().cpu().numpy().tobytes())
        return digest.hexdigest()[:16]

    @cached_property
    def end_of_turn(self) -> tuple[int, ...]:
        """The tokens that the template writes after an answer, up to the one that stops the decoder."""
        turns = [{"role": "user", "content": "U"}, {"role": "assistant", "content": "be-a-probe"}]
        written = str(self.tokenizer.apply_chat_template(turns, tokenize=False))
        ids = self.tokens(written.rpartition("be-a-probe")[2])
        last = next((i for i, token in enumerate(ids) if token in self.stop_ids), None)
        return (self.tokenizer.eos_token_id,) if last is None else tuple(ids[: last + 1])

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """Module paths of the decoder layers, in order."""
        stack = self.model.get_decoder().layers
        names = {id(module): name for name, module in self.model.named_modules()}
        return tuple(names[id(layer)] for layer in stack)

    def projection(self, layer: int, which: Part) -> Site:
        """Where the attention projection of a layer is; some families fuse q, k and v in one module."""
        attention = f"{self.layers[layer]}.self_attn"
        modules = dict(self.model.get_submodule(attention).named_children())
        if f"{which}_proj" in modules:
            return Site(f"{attention}.{which}_proj")
        if which == "o" or "qkv_proj" not in modules:
            raise BackboneError(f"{self.name} has no {which} projection that is known here: choose another --model")
        config = self.model.config.get_text_config()
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        q, kv = config.num_attention_heads * size, config.num_key_value_heads * size
        start, stop = {"q": (0, q), "k": (q, q + kv), "v": (q + kv, q + 2 * kv)}[which]
        return Site(f"{attention}.qkv_proj", start, stop)

    def projected(self, layer: int, which: Part) -> tuple[int, int]:
        """The widths that a projection reads and writes."""
        site = self.projection(layer, which)
        module: Any = self.model.get_submodule(site.module)
        return module.in_features, module.out_features if site.stop is None else site.stop - site.start

    def embed(self, ids: Tensor) -> Tensor:
        """Token ids (...) -> what the first layer reads (..., D), in the model's dtype; some families scale it."""
        embedded: Tensor = self.model.get_input_embeddings()(ids)
        return embedded

    @torch.inference_mode()
    def step(self, inputs: Tensor, mask: Tensor, positions: Tensor, cache: Any) -> Tensor:
        """One forward pass over ids (B, T) or embeddings (B, T, D): the logits (B, V) of each row's last token."""
        out = self.model(
            **_named(inputs),
            attention_mask=mask,
            position_ids=positions,
            cache=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: Tensor = out.logits[:, -1].float()  # (B, V)
        return logits

    def hidden(
        self, inputs: Tensor, head: DynamicCache | None = None, weights: dict[str, Tensor] | None = None
    ) -> Tensor:
        """Hidden states (B, T, D) after the last norm, for ids (B, T) or embeddings (B, T, D); differentiable.

        Rows start where `head` ends, which they all go on from; what pads them must stand on the right, where causal
        attention does not look. `weights` stand in for those of the decoder that have their names, in this call alone.
        """
        start = head.get_seq_length() if head else 0
        rows, more = inputs.shape[:2]
        positions = torch.arange(start, start + more, device=self.device).expand(rows, -1)  # (B, T)
        with _attention_for_gradients(self.device):
            told = {**_named(inputs), "position_ids": positions, "cache": head, "use_cache": head is not None}
            out = functional_call(self.model.get_decoder(), weights or {}, (), told)
        hidden: Tensor = out.last_hidden_state
        return hidden

    def read(self, ids: Sequence[int], rows: int) -> DynamicCache:
        """Keys and values of tokens that `rows` rows begin with, computed once and remembered until others are asked
        for; no gradient flows into them."""
        dtype = self.model.dtype
        if self._read is None or self._read[:2] != (tuple(ids), dtype):
            cache, once = DynamicCache(config=self.model.config), torch.tensor([ids], device=self.device)  # (1, T)
            with torch.inference_mode(False), torch.no_grad():  # as plain tensors: they stand in a backward pass too
                self.model.get_decoder()(input_ids=once, cache=cache, use_cache=True)
            self._read = tuple(ids), dtype, cache
        cache = deepcopy(self._read[2])
        cache.batch_repeat_interleave(rows)
        return cache

    def head(self, hidden: Tensor) -> Tensor:
        """Hidden states (N, D) -> logits (N, V) in float32, for the N positions that are wanted: it is a dear layer."""
        logits: Tensor = self.model.get_output_embeddings()(hidden).float()
        cap = getattr(self.model.config.get_text_config(), "final_logit_softcapping", None)
        return torch.tanh(logits / cap) * cap if cap else logits

    @torch.inference_mode()
    def head_is_all(self) -> bool:
        """Whether `head` of `hidden` is what the model says: some families do more after it than is known here."""
        ids = torch.tensor([[1, 2, 3]], device=self.device)
        said = self.model(input_ids=ids).logits[0].float()  # (3, V)
        return torch.allclose(self.head(self.hidden(ids)[0]), said, atol=1e-2, rtol=1e-2)

    def _takes_system_role(self) -> bool:
        probe = [{"role": "system", "content": "be-a-probe"}, {"role": "user", "content": "U"}]
        try:
            return "be-a-probe" in self.tokenizer.apply_chat_template(probe, tokenize=False)
        except TemplateError:
            return False


@contextmanager
def _attention_for_gradients(device: torch.device) -> Iterator[None]:
    """On a CPU the fused attention's backward pass is slower than plain products: 19 ms a layer and not 5 for 16 rows
    of 96 tokens. They stay in the model's dtype; by default torch would make them float32, and win nothing."""
    if device.type != "cpu" or not torch.is_grad_enabled():
        yield
        return
    before = torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed()  # of all devices, whatever its name says
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(before)


def _named(inputs: Tensor) -> dict[str, Tensor]:
    return {"inputs_embeds" if inputs.is_floating_point() else "input_ids": inputs}


def let_go() -> None:
    """Give the memory of models that nobody holds any more back: theirs are rings, which Python finds by and by."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
