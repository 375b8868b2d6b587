"""One client for every server that speaks OpenAI's API: vLLM, llama.cpp, Ollama, `transformers serve`.

What goes wrong is told in one sentence. A server's own words are never repeated: they may quote what was sent.
"""

import ipaddress
import json
import os
import socket
import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx

from engine.backbone import BackboneError
from engine.methods.base import Ask

Kind = Literal["vLLM", "llama.cpp", "transformers", "OpenAI-style"]
Card = dict[str, Any]  # a model as the server lists it

CONNECT = 5.0  # seconds
PAUSE = 1.0  # seconds before a busy or broken server is asked once more
TOO_LONG = ("context length", "context size", "context window", "context_length", "maximum context")
OWNERS: dict[object, Kind] = {"vllm": "vLLM", "llamacpp": "llama.cpp"}


class ServerError(BackboneError):
    """A server that did not answer as asked. The message is one sentence; a `lasting` one is no use repeating."""

    def __init__(self, message: str, *, lasting: bool = True, status: int | None = None) -> None:
        super().__init__(message)
        self.lasting, self.status = lasting, status  # of HTTP, where there was an answer


@dataclass(frozen=True)
class Server:
    """Where a model answers. The key stays out of every print and log; without one a placeholder is sent."""

    url: str
    key: str = field(default="none", repr=False)
    timeout: float = 300.0  # seconds, of each attempt: on a few cores eight texts at once take minutes

    @classmethod
    def at(cls, url: str) -> "Server":
        """With the key of the environment, the only place it is taken from. Raises ServerError for no address."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ServerError(f"{url!r} is no address of a server: give --base-url http://HOST:PORT/v1")
        if parts.username or parts.password or parts.query:
            raise ServerError("--base-url takes an address alone: give a key by OPENAI_API_KEY")
        return cls(url.rstrip("/"), os.environ.get("OPENAI_API_KEY", "").strip() or "none")

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc

    @cached_property
    def place(self) -> Literal["here", "near", "far"]:
        """Whether it is on this machine, on a private network, or beyond; beyond too where its name is not known."""
        try:
            rows = socket.getaddrinfo(urlsplit(self.url).hostname, None)
        except (OSError, UnicodeError):
            return "far"
        found = [ipaddress.ip_address(str(row[4][0]).partition("%")[0]) for row in rows]
        if all(address.is_loopback or address.is_unspecified for address in found):
            return "here"
        return "near" if all(address.is_private or address.is_loopback for address in found) else "far"

    def notice(self) -> str:
        """What leaves this machine, in a sentence; "" where nothing does."""
        if self.place == "here":
            return ""
        where = "on your network" if self.place == "near" else "beyond your network"
        plain = ", unencrypted" if urlsplit(self.url).scheme == "http" else ""
        return (
            f"Texts that were liked leave this machine: they stand in prompts, which go to {self.host}, {where}{plain}."
        )

    def models(self) -> list[Card]:
        """What it serves, as it lists it. Raises ServerError."""
        said = self._call("GET", "models")
        cards = said.get("data")
        if not isinstance(cards, list) or not all(isinstance(card, dict) and "id" in card for card in cards):
            raise self.unreadable()
        return cards

    def chat(self, body: dict[str, Any]) -> dict[str, Any]:
        return self._call("POST", "chat/completions", body)

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        return self._call("POST", "completions", body)

    @cached_property
    def _client(self) -> httpx.Client:
        return httpx.Client(
            base_url=f"{self.url}/",
            headers={"Authorization": f"Bearer {self.key}"},
            timeout=httpx.Timeout(self.timeout, connect=CONNECT),
            trust_env=self.place == "far",  # no proxy stands between this machine and its neighbours
        )

    def _call(self, verb: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One question and, where the server is busy or broken, a second one."""
        try:
            return self._once(verb, path, body)
        except ServerError as error:
            if error.lasting:
                raise
        time.sleep(PAUSE)
        return self._once(verb, path, body)

    def _once(self, verb: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        try:
            answer = self._client.request(verb, path, json=body)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise ServerError(
                f"the server at {self.host} cannot be reached: start it, or check --base-url", lasting=False
            ) from error
        except httpx.TimeoutException as error:
            raise ServerError(
                f"the server at {self.host} gave no answer within {self.timeout:.0f} s", lasting=False
            ) from error
        except httpx.HTTPError as error:
            raise ServerError(f"the server at {self.host} broke off its answer", lasting=False) from error
        if answer.status_code != 200:
            raise self._refused(answer, body)
        try:
            said: dict[str, Any] = answer.json()
        except ValueError as error:
            raise self.unreadable() from error
        if not isinstance(said, dict):
            raise self.unreadable()
        return said

    def unreadable(self) -> ServerError:
        return ServerError(
            f"the server at {self.host} answers otherwise than OpenAI's API does: --base-url mostly ends in /v1"
        )

    def _refused(self, answer: httpx.Response, body: dict[str, Any] | None) -> ServerError:
        status, said, lasting = answer.status_code, answer.text.lower(), True
        if status in (401, 403):
            told = "refused the key: set OPENAI_API_KEY"
        elif status == 404:
            what = f"no model {body['model']!r}" if body else "no list of models"
            told = f"has {what}: check --model, and that --base-url ends in /v1"
        elif "--enable-prompt-embeds" in said:
            told = "was started without --enable-prompt-embeds"
        elif "hidden_size" in said:
            told = "runs another model than lies here, of another width: check --model"
        elif any(words in said for words in TOO_LONG):
            told = "cannot read a prompt this long: start it with a larger context, or take long likes out"
        elif lasting := not (status in (408, 409, 429) or status >= 500):
            told = f"refused a request (status {status}): its log says why"
        else:
            told = f"is busy or has a fault (status {status})"
        return ServerError(f"the server at {self.host} {told}", lasting=lasting, status=status)


def kind_of(card: Card) -> Kind:
    """Which server lists a model so. `status` is a field of `transformers serve` and of llama.cpp, not of OpenAI."""
    kind = OWNERS.get(card.get("owned_by"), "OpenAI-style")
    return "transformers" if kind == "OpenAI-style" and isinstance(card.get("status"), dict) else kind


def sampler(kind: Kind, ask: Ask, seed: int) -> dict[str, Any]:
    """The ask's sampler in the fields that a server of this kind documents; the same for every arm."""
    told: dict[str, Any] = {"max_tokens": ask.max_new_tokens, "seed": seed}
    if kind == "transformers":  # it takes no other fields, and samples only if this says so
        drawn = {"temperature": ask.temperature, "top_p": ask.top_p, "top_k": ask.top_k} if ask.temperature else {}
        config = {"do_sample": bool(drawn), "repetition_penalty": ask.repetition_penalty, **drawn}
        return told | {"generation_config": json.dumps(config)}
    told |= {"temperature": ask.temperature, "top_p": ask.top_p}
    if kind == "vLLM":
        told |= {"top_k": ask.top_k, "min_p": 0.0, "repetition_penalty": ask.repetition_penalty}
    elif kind == "llama.cpp":  # whose penalty by default looks at the last 64 tokens alone
        told |= {"top_k": ask.top_k, "min_p": 0.0, "repeat_penalty": ask.repetition_penalty, "repeat_last_n": -1}
    return told
