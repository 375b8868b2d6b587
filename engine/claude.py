"""The one client of the Anthropic API: for the summary, and for whoever else asks a question after a person's yes.

Permission is asked before every single attempt, and what goes wrong is told in one sentence. The library is not
imported before the first question: without a yes the app never loads it.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

from collectors.item import clean_text

DEFAULT_URL = "https://api.anthropic.com"
Answer = TypeVar("Answer")


class ApiTrouble(RuntimeError):
    """The API gave no answer that can be used. The message is words for people; a `lasting` one is no use repeating."""

    def __init__(self, message: str, *, lasting: bool = False) -> None:
        super().__init__(message)
        self.lasting = lasting


class NotPermitted(Exception):
    """There is no yes, or it was withdrawn: nothing was sent."""


@dataclass(frozen=True)
class Claude:
    """The client of the Anthropic API. The key stays out of every print and log."""

    model: str
    key: str = field(repr=False)
    url: str = DEFAULT_URL
    timeout: float = 20.0  # seconds, of each attempt
    retries: int = 1
    effort: Literal["low", "medium", "high"] = "low"  # an answer within the timeout matters more than depth
    max_tokens: int = 4096  # the model's thinking counts as well

    @classmethod
    def from_environment(cls, model: str) -> "Claude | None":
        """None without ANTHROPIC_API_KEY, the only place a key is taken from."""
        key = os.environ.get("ANTHROPIC_API_KEY", "").strip()
        return cls(model, key, os.environ.get("ANTHROPIC_BASE_URL") or DEFAULT_URL) if key else None

    @property
    def recipient(self) -> str:
        """Who gets what is sent: a yes holds for this host and for no other."""
        return urlsplit(self.url).netloc.rpartition("@")[2] or self.url

    def ask(self, instruction: str, told: str, answer: type[Answer], permitted: Callable[[], bool]) -> Answer:
        """One question, answered as a value of the dataclass `answer`; raises ApiTrouble or NotPermitted.

        `permitted` is asked before every attempt, the repeated ones too: a yes may end in between.
        """
        if not permitted():
            raise NotPermitted
        import anthropic

        def only_if_permitted(request: anthropic.APIRequest, send: anthropic.CallNext) -> anthropic.APIResponse[Any]:
            if not permitted():
                raise NotPermitted
            return send(request)

        try:
            with anthropic.Anthropic(
                api_key=self.key,  # given by name, so that the library looks for no other credential
                base_url=self.url,
                timeout=self.timeout,
                max_retries=self.retries,
                middleware=[only_if_permitted],
                open_telemetry=False,
                http_client=anthropic.DefaultHttpxClient(follow_redirects=False),  # to whom the yes was, and no further
            ) as client:
                message = client.messages.parse(
                    model=self.model,
                    max_tokens=self.max_tokens,
                    system=instruction,
                    messages=[{"role": "user", "content": told}],
                    output_config={"effort": self.effort},
                    output_format=answer,
                )
        except anthropic.APITimeoutError as error:
            raise ApiTrouble(f"{self.recipient} gave no answer within {self.timeout:.0f} s") from error
        except anthropic.APIConnectionError as error:
            raise ApiTrouble(f"{self.recipient} could not be reached") from error
        except anthropic.APIStatusError as error:
            raise self._refused(error.status_code, error.api_message or "") from error
        except (anthropic.AnthropicError, ValueError, TypeError, AttributeError) as error:
            # the library checks the text of an answer against `answer`, and trusts the shape of what is around it
            raise ApiTrouble(f"{self.recipient} gave an answer that cannot be read") from error
        if message.stop_reason == "refusal":
            raise ApiTrouble(f"{self.recipient} declined to answer")
        if message.stop_reason != "end_turn" or message.parsed_output is None:
            raise ApiTrouble(f"{self.recipient} gave an answer that is not whole")
        return message.parsed_output

    def _refused(self, status: int, said: str) -> ApiTrouble:
        if status in (401, 403):
            return ApiTrouble(
                f"{self.recipient} refused the key: set another ANTHROPIC_API_KEY and start the app again", lasting=True
            )
        if status == 404:
            return ApiTrouble(f"{self.recipient} has no model {self.model!r}: choose --summary-model", lasting=True)
        if status == 429 or status >= 500:
            return ApiTrouble(f"{self.recipient} is too busy or has a fault (status {status})")
        why = " ".join(clean_text(said).split())[:200] or f"status {status}"
        return ApiTrouble(f"{self.recipient} refused the request ({why})", lasting=status not in (408, 409))
