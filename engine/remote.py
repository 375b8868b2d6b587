"""A model that runs elsewhere, behind an OpenAI-style server: what is said to it in messages works on any of them.

With the same model on this disk, a vLLM server also takes soft tokens (`--enable-prompt-embeds`: the whole prompt goes
there as embeddings) and adapters that were registered with it (`--enable-lora`). Written to vLLM's documented API.
"""

import base64
import hashlib
import io
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import safe_open
from torch import Tensor, nn

from engine.backbone import Backbone, BackboneError, Facility, Message
from engine.methods.base import Ask, Conditioning
from engine.plan import Plan, Quantize
from engine.prompt import prompt
from engine.server import Card, Server, ServerError, kind_of, sampler
from engine.weights import find

Runs = Literal["process", "openai", "vllm"]
FRESH = 30.0  # seconds that a list of adapters is believed
AT_ONCE = 8  # requests under way
# What chat templates write around turns: taken out of contents here, where there is no tokenizer that knows its own.
MARKS = re.compile(
    r"<\|[^|<>\n]{1,40}\|>|<\uff5c[^\uff5c<>\n]{1,40}\uff5c>|</?s>|<(?:bos|eos|pad|unk)>|<(?:start|end)_of_turn>"
    r"|<\|?turn\|?>|\[/?INST\]|<</?SYS>>|</?think>"
)
PIECE = re.compile(r"\s*(?:[A-Za-z]{1,4}|[^\s])")  # about a token
HERE = "use the engine in process (leave --engine out)"
NOT_THINKING = {"enable_thinking": False}
FINISHES: dict[object, Literal["stop", "budget"]] = {"stop": "stop", "length": "budget"}
REFUSALS: dict[Facility, str] = {
    "prefix": f"this server takes no soft tokens: {HERE}, or vLLM with --enable-prompt-embeds (--engine vllm)",
    "adapter": f"this server takes no adapter of yours: {HERE}, or vLLM with --enable-lora (--engine vllm)",
    "patches": f"a server lets nobody add to its layers: {HERE}",
    "contrast": f"a server tells no probabilities to contrast, token by token: {HERE}",
    "within": f"a server does not let its model be read from within: {HERE}",
    "learning": "a server teaches nothing: to learn, start with the same model, without --engine and with --base none",
}


@dataclass(frozen=True, slots=True)
class Written:
    """A text, how many tokens it had, and why it ended."""

    text: str
    tokens: int
    finish: Literal["stop", "budget", "stopped"]


class Remote(Backbone):
    """A Backbone whose weights are elsewhere. `local` is its model without layers' weights and its tokenizer, where the
    same model lies here: then prompts are made here, as for a model in this process."""

    def __init__(self, server: Server, card: Card, local: tuple[Any, Any] | None = None) -> None:
        self.server, self.card, self.kind = server, card, kind_of(card)
        self.at_once = 1 if self.kind == "transformers" else AT_ONCE  # it works in turn, and a seed is of its process
        self.local, self.embeds = local is not None, False
        self._adapters: tuple[float, frozenset[str]] = (-FRESH, frozenset())
        plan = Plan("server", torch.float32, "none", "where it is served")
        if local:
            super().__init__(*local, str(card["id"]), plan)
            self.context = int(card.get("max_model_len") or self.context)
            self.embeds = self._takes_embeds()
        else:
            self.name, self.plan, self.base, self.base_name = str(card["id"]), plan, {}, ""
            self.has_system_role = self._takes_system_role()
        self.fingerprint = self._fingerprint()

    @classmethod
    def connect(cls, base_url: str, model: str | None) -> "Remote":
        """What speaks in messages. Without a name the server must have one model alone. Raises ServerError."""
        server = Server.at(base_url)
        cards = served(server)
        if not model:
            return cls(server, the_only(server, cards))
        named = [card for card in cards if model in (card["id"], card.get("root"))]
        if named:
            return cls(server, named[0])
        try:  # some load what is asked for, or know it by a shorter name
            found = cls(server, {"id": model})
        except ServerError as error:
            if error.status not in (400, 404, 422):
                raise
            raise ServerError(f"the server at {server.host} has no {model!r}: it lists {names(cards)}") from error
        listed = next((card for card in served(server) if card["id"] == model), {**(cards or [{}])[0], "id": model})
        return cls(server, listed) if kind_of(listed) != found.kind else found

    @classmethod
    def connect_vllm(cls, base_url: str, model: str | None) -> "Remote":
        """With the same model on this disk, a folder or a hub id. Raises ServerError, WeightsError or BackboneError."""
        server = Server.at(base_url)
        cards = served(server)
        if not model or any(kind_of(card) != "vLLM" for card in cards):
            raise ServerError(
                "--engine vllm needs a vLLM server, and after --model the folder or hub id of the model that it runs: "
                "take --engine openai for messages alone"
            )
        named = [card for card in cards if model in (card["id"], card.get("root"))]
        return cls(server, named[0] if named else the_only(server, cards), outline(find(model).folder))

    def refuses(self, facility: Facility) -> str | None:
        if facility == "prefix" and self.local:
            return None if self.embeds else "this server was started without --enable-prompt-embeds: start it with that"
        if facility == "adapter" and self.local:
            return None
        return REFUSALS[facility]

    def unregistered(self, adapter: str, folder: Path) -> str | None:
        at, known = self._adapters
        if adapter not in known and time.monotonic() - at > FRESH:
            try:
                known = frozenset(str(card["id"]) for card in self.server.models() if card.get("parent"))
            except ServerError as error:
                return str(error)
            self._adapters = time.monotonic(), known
        if adapter in known:
            return None
        return f"the server does not know this adapter: start it with --enable-lora --lora-modules {adapter}={folder}"

    def write(self, conditioning: Conditioning, ask: Ask, seed: int) -> Written:
        """One text. Raises ServerError, and ValueError where prompt and budget exceed a window that is known here."""
        if conditioning.contrast:
            raise ServerError(REFUSALS["contrast"])
        if ask.choices:
            raise ServerError(REFUSALS["within"])
        if conditioning.patches and not conditioning.adapter:
            raise ServerError(REFUSALS["patches"])
        body = {"model": conditioning.adapter or self.name, **sampler(self.kind, ask, seed)}
        if self.embeds:  # every arm's prompt: else a penalty would see the words of some prompts and not of others
            said = self.server.complete(body | self._continued(conditioning, ask))
        elif conditioning.prefix is None:
            said = self.server.chat(body | self._asked(conditioning.messages))
        else:
            raise ServerError(self.refuses("prefix") or REFUSALS["prefix"])
        try:
            [choice] = said["choices"]
            text = str((choice["message"]["content"] if "message" in choice else choice["text"]) or "").strip()
            tokens = (said.get("usage") or {}).get("completion_tokens")
            return Written(text, int(tokens or self.count(text)), FINISHES.get(choice["finish_reason"], "stopped"))
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise self.server.unreadable() from error

    def _asked(self, messages: Sequence[Message]) -> dict[str, Any]:
        """Messages as they are sent: no text in them opens a turn of its own."""
        sent = [{**message, "content": self._plain(message["content"])} for message in messages]
        thinking: dict[str, Any] = {} if self.kind == "OpenAI-style" else {"chat_template_kwargs": NOT_THINKING}
        return thinking | {"messages": sent if self.has_system_role else headed(sent)}

    def _continued(self, conditioning: Conditioning, ask: Ask) -> dict[str, Any]:
        given = prompt(self, conditioning)
        if len(given) + ask.max_new_tokens > self.context:
            raise ValueError(
                f"a prompt of {len(given)} tokens and {ask.max_new_tokens} new ones exceed the window of {self.context}"
            )
        return {"prompt_embeds": packed(given.embedded(self)), "stop_token_ids": sorted(self.stop_ids)}

    def _takes_embeds(self) -> bool:
        """Asked with one token: no server tells."""
        one = packed(self.embed(torch.tensor([min(self.stop_ids)])))
        try:
            self.server.complete({"model": self.name, "max_tokens": 1, "prompt_embeds": one})
        except ServerError as error:
            if "--enable-prompt-embeds" not in str(error):
                raise
            return False
        return True

    def _takes_system_role(self) -> bool:
        """Asked with one token as well; so what else is wrong with a server is told at the start."""
        if self.local:
            return super()._takes_system_role()
        messages = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello."})
        try:
            self.server.chat({"model": self.name, "max_tokens": 1, "messages": messages})
        except ServerError as error:
            if error.status in (None, 401, 403, 404):
                raise
            self.server.chat({"model": self.name, "max_tokens": 1, "messages": headed(messages)})
            return False
        return True

    def _plain(self, content: str) -> str:
        if self.local:
            return super()._plain(content)
        while MARKS.search(content):
            content = MARKS.sub("", content)
        return content

    def _lay_out(self) -> None:
        self.fused = False

    def _fingerprint(self) -> str:
        """Of server and model, as it lists the model: what it computes with, nobody here can see."""
        facts = [self.card.get(name) for name in ("id", "root", "owned_by", "max_model_len", "meta")]
        told = json.dumps([self.server.url, self.kind, self.embeds, *facts], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:16]

    def describe(self) -> str:
        """One line for the start and for the About page."""
        how = " as token embeddings" if self.embeds else ""
        plain = "" if self.kind != "OpenAI-style" else ", which cuts and penalises by its own defaults"
        notice = f". {self.server.notice().rstrip('.')}" if self.server.notice() else ""
        return f"{self.name}, told{how} to the {self.kind} server at {self.server.url}{plain}{notice}"

    def facts(self) -> dict[str, str]:
        unseen = dict.fromkeys(("dtype", "quantization"), "as served")
        return {"model": self.name, "device": self.server.url, **unseen, "base": "none", "engine": self.fingerprint}

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    @cached_property
    def weights_id(self) -> str:
        return super().weights_id if self.local else "as served"  # for which nothing was learned

    def count(self, text: str) -> int:
        return super().count(text) if self.local else len(PIECE.findall(text))

    def cut(self, text: str, most: int) -> str:
        """The first `most` tokens; without a tokenizer about as many."""
        return super().cut(text, most) if self.local else "".join(PIECE.findall(text)[:most])


def served(server: Server) -> list[Card]:
    """The models it lists, and no adapters."""
    return [card for card in server.models() if not card.get("parent")]


def the_only(server: Server, cards: Sequence[Card]) -> Card:
    if len(cards) != 1:
        raise ServerError(f"the server at {server.host} serves {names(cards)}: name one of them after --model")
    return cards[0]


def names(cards: Sequence[Card]) -> str:
    told = ", ".join(str(card["id"]) for card in cards[:5]) or "none"
    return f"{told}, ..." if len(cards) > 5 else told


def headed(messages: Sequence[Message]) -> list[Message]:
    """A system message at the head of the first turn, for templates that know none."""
    if messages[0]["role"] != "system":
        return list(messages)
    head, first, *rest = messages
    return [{"role": "user", "content": f"{head['content']}\n\n{first['content']}"}, *rest]


def packed(embeddings: Tensor) -> str:
    """(T, D) as vLLM reads it: what torch.save writes, in base64."""
    out = io.BytesIO()
    torch.save(embeddings.detach().cpu().contiguous(), out)
    return base64.b64encode(out.getvalue()).decode()


def outline(folder: Path) -> tuple[Any, Any]:
    """A model of which nothing is read but token embeddings, norms and biases, and its tokenizer."""
    from accelerate import init_empty_weights
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    try:
        tokenizer, config = AutoTokenizer.from_pretrained(folder), AutoConfig.from_pretrained(folder)
        with init_empty_weights(include_buffers=False):  # some families scale their embeddings by a buffer
            model = AutoModelForCausalLM.from_config(config, dtype=config.dtype)
        table = model.get_input_embeddings().weight
        wanted = {name for name, p in model.named_parameters() if p.dim() == 1 or p is table}
        for file in sorted(folder.glob("model*.safetensors")):
            with safe_open(file, framework="pt") as held:
                for name in wanted & set(held.keys()):
                    module, _, leaf = name.rpartition(".")
                    tensor = nn.Parameter(held.get_tensor(name), requires_grad=False)
                    setattr(model.get_submodule(module), leaf, tensor)
        if (folder / "generation_config.json").exists():
            model.generation_config = GenerationConfig.from_pretrained(folder)
    except Exception as error:  # a stranger's folder can hold anything, and the libraries raise as many types
        raise BackboneError(
            f"the token embeddings in {folder} cannot be read ({str(error).splitlines()[0][:200]}): take --engine "
            "openai for messages alone"
        ) from error
    if lacking := [name for name, p in model.named_parameters() if name in wanted and p.is_meta]:
        raise BackboneError(
            f"{folder} keeps {min(lacking)} under another name, or not at all: take --engine openai for messages alone"
        )
    return model, tokenizer


def opened(runs: Runs, base_url: str | None, model: str | None, quantize: Quantize = "auto") -> Backbone:
    """The model that the flags name, in this process or on a server. Raises BackboneError or WeightsError."""
    if runs == "process":
        if base_url:
            raise ServerError("--base-url is of a server: add --engine openai, or leave it out")
        return Backbone.load(model, quantize)
    if not base_url:
        raise ServerError(f"--engine {runs} needs the address of a server: add --base-url http://HOST:PORT/v1")
    if quantize != "auto":
        raise ServerError("how a served model is quantised is the server's business: leave --quantize out")
    return Remote.connect(base_url, model) if runs == "openai" else Remote.connect_vllm(base_url, model)
