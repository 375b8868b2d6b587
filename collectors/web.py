"""What may be asked over the network, and how far: every answer has an end in time and in size.

Addresses come from people, from feeds and from redirects, so by default only public ones are connected to (guard.py).
Proxies of the environment are not used: they would look names up where nobody judges the address.
"""

import email.utils
import json
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpcore
import httpx

from collectors.guard import UNTIL, Transport, Unreachable
from collectors.item import CollectError

VERSION = "0.1.0"
USER_AGENT = f"Palate/{VERSION}"
MAX_REDIRECTS = 5


@dataclass(frozen=True)
class Answer:
    """`headers` by lower-case name, `url` after all redirects. Any status: what it means is the caller's to say."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str

    def json(self) -> Any:
        """The body as JSON. Raises Unreachable for anything else: a page of errors often stands in for an answer."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise Unreachable(f"{_host(self.url)} answered with something that is no JSON: try later.") from None

    def retry_after(self) -> float | None:
        """Seconds the service asks to wait, None if it does not say."""
        said = self.headers.get("retry-after", "").strip()
        try:
            return max(0.0, float(said) if said.isdecimal() else _seconds_to(said))
        except (ValueError, TypeError, OverflowError):
            return None


class Web:
    """A client for GET, to be shared by threads. `seconds` bound a whole answer with its redirects, `max_bytes` its
    body when unpacked. Connections stay open between requests; cookies are not kept.
    """

    def __init__(self, *, public_only: bool = True, seconds: float = 20.0, max_bytes: int = 20_000_000) -> None:
        self.public_only, self.seconds, self.max_bytes = public_only, seconds, max_bytes
        self._client = httpx.Client(
            transport=Transport(public_only),
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "gzip"},
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            timeout=seconds,
            trust_env=False,
        )

    def __enter__(self) -> "Web":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()

    def get(
        self, url: str, params: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Raises Unreachable where the network fails, and CollectError for an address that may not be asked and an
        answer that is too large. A redirect to another host takes no Authorization along.
        """
        before = UNTIL.set(time.monotonic() + self.seconds)
        try:
            request: httpx.Request | None = self._client.build_request("GET", url, params=params, headers=headers)
            for _ in range(MAX_REDIRECTS + 1):
                assert request
                _check(request.url)
                response = self._client.send(request, stream=True)
                try:
                    request = response.next_request
                    if request is None:
                        names = {name.lower(): value for name, value in response.headers.items()}
                        return Answer(response.status_code, names, self._body(response), str(response.url))
                finally:
                    response.close()
            raise CollectError(f"{_host(url)} redirects more than {MAX_REDIRECTS} times: give the final address.")
        except (httpx.InvalidURL, UnicodeError):
            raise CollectError(f"{url[:200]!r} is no web address: it begins with https://.") from None
        except httpcore.TimeoutException:
            raise Unreachable(f"{_host(url)} gave no whole answer within {self.seconds:g} s: try later.") from None
        except (httpcore.ConnectError, httpcore.NetworkError) as error:
            raise Unreachable(f"{_host(url)} cannot be reached ({str(error)[:200]}): try later.") from None
        except (httpcore.ProtocolError, httpx.ProtocolError):
            raise Unreachable(f"{_host(url)} broke off its answer or does not speak HTTP: try later.") from None
        finally:
            UNTIL.reset(before)

    def _body(self, response: httpx.Response) -> bytes:
        """The body, unpacked here and not by httpx: a few packed bytes may hold more than the memory does."""
        packed = response.headers.get("Content-Encoding", "identity").strip().lower()
        if packed not in ("identity", "gzip", "x-gzip", ""):
            raise CollectError(f"{response.url.host} packs its answer in a way that was not asked for ({packed[:20]}).")
        unpacker = zlib.decompressobj(wbits=31) if "gzip" in packed else None
        body = bytearray()
        for chunk in response.iter_raw():
            try:
                body += unpacker.decompress(chunk, self.max_bytes + 1 - len(body)) if unpacker else chunk
            except zlib.error:
                raise Unreachable(f"{response.url.host} sent a damaged answer: try later.") from None
            if len(body) > self.max_bytes:
                size = f"{self.max_bytes / 10**6:g} MB"
                raise CollectError(f"{response.url.host} answers with more than {size}: ask for less.")
        if unpacker and not unpacker.eof and body:
            raise Unreachable(f"{response.url.host} sent a damaged answer: try later.")
        return bytes(body)


def pause(seconds: float, stopped: Callable[[], bool]) -> None:
    """Sleep, waking up early when stopped."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0 and not stopped():
        time.sleep(min(left, 0.2))


def _check(url: httpx.URL) -> None:
    if url.scheme not in ("http", "https") or not url.host:
        raise CollectError(f"{str(url)[:200]!r} is no web address: it begins with https://.")


def _host(url: str) -> str:
    return httpx.URL(url).host[:100]


def _seconds_to(date: str) -> float:
    at = email.utils.parsedate_to_datetime(date)
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - datetime.now(UTC).timestamp()
