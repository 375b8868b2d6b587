"""Where connections are made: only to public addresses, and with an end in time.

The address that is judged is the one that is dialled: neither a name that changes its mind nor a redirect gets round.
"""

import ipaddress
import math
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Any

import httpcore
import httpx

from collectors.item import CollectError

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # where IPv6-only networks show the IPv4 internet (RFC 6052)
_GLOBAL6 = ipaddress.IPv6Network("2000::/3")  # all that is given out as global unicast
UNTIL: ContextVar[float] = ContextVar("until", default=math.inf)  # monotonic end of the request of this thread


class Unreachable(CollectError):
    """The network or the service failed: the same question may get an answer later."""


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the internet at large, not to this machine, its network or nobody."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is None:
            return ip in _GLOBAL6 and ip.is_global
        ip = inner
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


class Transport(httpx.BaseTransport):
    """httpx's own transport takes no network backend, so this one stands between it and httpcore."""

    def __init__(self, public_only: bool) -> None:
        # With the environment's certificates (SSL_CERT_FILE): companies need them and they open no way around.
        self._pool = httpcore.ConnectionPool(httpx.create_ssl_context(), network_backend=_Backend(public_only))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        answer = self._pool.handle_request(
            httpcore.Request(
                request.method, target, headers=request.headers.raw, content=b"", extensions=request.extensions
            )
        )
        return httpx.Response(answer.status, headers=answer.headers, stream=_Body(answer))

    def close(self) -> None:
        self._pool.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        return self._answer.iter_stream()

    def close(self) -> None:
        self._answer.close()


class _Backend(httpcore.NetworkBackend):
    """Looks a name up once, judges all its addresses, and dials those and no others."""

    def __init__(self, public_only: bool) -> None:
        self._public_only = public_only
        self._real = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = _addresses(host, port, _left(timeout))
        if self._public_only and not all(map(is_public, addresses)):
            raise CollectError(f"{host[:100]} is on this machine or its network: only public addresses are asked.")
        for n, address in enumerate(addresses):
            try:
                return _Stream(self._real.connect_tcp(address, port, _left(timeout), local_address, socket_options))
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if n == len(addresses) - 1:
                    raise
        raise httpcore.ConnectError("the name has no address")


class _Stream(httpcore.NetworkStream):
    """Gives each step only what is left of the whole time: a server that drips would never use up one step's."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _left(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, _left(timeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def _left(timeout: float | None) -> float:
    left = min(math.inf if timeout is None else timeout, UNTIL.get() - time.monotonic())
    if left <= 0:
        raise httpcore.ReadTimeout("the time is up")
    return left


def _addresses(host: str, port: int, seconds: float) -> list[str]:
    """The addresses of a name, in the order of the system. In a thread of its own: the system's look-up has no end."""
    found: list[list[str] | OSError | UnicodeError] = []

    def look_up() -> None:
        try:
            rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.append(list(dict.fromkeys(str(row[4][0]) for row in rows)))
        except (OSError, UnicodeError) as error:
            found.append(error)

    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(seconds)
    if not found:
        raise httpcore.ConnectTimeout("the name was not found in time")
    if not isinstance(found[0], list):
        raise Unreachable(f"There is no host {host[:100]}, or no network here: check the address.")
    return found[0]
