"""A lean HTTP/1.1 client, because the crowd shares its machine with the server that it measures.

One request at a time on each connection, kept alive, answers parsed by httptools. It costs a fraction of what a
general client costs, so that what is measured is the server.
"""

import asyncio
from time import perf_counter
from typing import NamedTuple, cast
from urllib.parse import urlsplit

import httptools

CONNECT_S_MAX = 5.0


class Lost(Exception):  # noqa: N818 - it names what happened to the request, and no one made an error.
    """The connection went away or no answer came in time: whether the request had an effect is unknown."""


class Answer(NamedTuple):
    """A status, a body, and how long it took since the request was meant to start."""

    status: int
    body: bytes
    ms: float


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> "Address":
        """Return the address in an ``http://`` URL; the load client speaks no TLS."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "ws") or parts.hostname is None:
            raise ValueError(
                f"the load client needs an address like http://127.0.0.1:8000, not {url}"
            )
        return cls(parts.hostname, parts.port or 80)


def encode_request(
    method: str,
    path: str,
    body: bytes | None = None,
    *,
    token: str | None = None,
    key: str | None = None,
    content_type: str = "application/json",
) -> bytes:
    """Return a request as it goes over the wire."""
    head = f"{method} {path} HTTP/1.1\r\nHost: load\r\n"
    if token is not None:
        head += f"Authorization: Bearer {token}\r\n"
    if key is not None:
        head += f"Idempotency-Key: {key}\r\n"
    if body is None:
        return f"{head}\r\n".encode()
    return (
        f"{head}Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    )


class Connection(asyncio.Protocol):
    """One kept connection; it connects by itself when it is not connected."""

    def __init__(self, address: Address, *, timeout_s: float = 10.0) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._body = b""
        self.connects = 0

    async def request(self, raw: bytes, due_s: float | None = None) -> Answer:
        """Send a request and return its answer; raises ``Lost``.

        ``due_s`` is when, by ``perf_counter``, the request was meant to start: waiting for a connection, or for an
        earlier try, counts as latency. (The loop's own clock stands still for a whole round of the loop.)
        """
        loop = self._loop
        if due_s is None:
            due_s = perf_counter()
        transport = self._transport
        if transport is None:
            transport = await self._connect()
        answer: asyncio.Future[tuple[int, bytes]] = loop.create_future()
        self._answer = answer
        self._body = b""
        transport.write(raw)
        timer = loop.call_later(self._timeout_s, self._late)
        try:
            status, body = await answer
        except asyncio.CancelledError:
            self.close()  # its answer may still come, and must not be taken for the next one's
            raise
        finally:
            timer.cancel()
        return Answer(status, body, (perf_counter() - due_s) * 1000)

    def close(self) -> None:
        """Close the connection; the next request opens it anew."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
        self._fail("closed")

    async def _connect(self) -> asyncio.Transport:
        try:
            async with asyncio.timeout(CONNECT_S_MAX):
                transport, _ = await self._loop.create_connection(
                    lambda: self, self._address.host, self._address.port
                )
        except (OSError, TimeoutError) as error:
            raise Lost(f"cannot connect: {error}") from None
        self.connects += 1
        return transport

    def _late(self) -> None:
        self._fail(f"no answer in {self._timeout_s} s")
        self.close()

    def _fail(self, why: str) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_exception(Lost(why))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are not of that class
        self._parser = httptools.HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        assert self._parser is not None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"not HTTP: {error}")
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._fail(f"connection lost: {exc}")

    def on_body(self, body: bytes) -> None:
        """httptools: a part of the body; most answers have one."""
        self._body = self._body + body if self._body else body

    def on_message_complete(self) -> None:
        """httptools: the answer is whole."""
        parser, answer = self._parser, self._answer
        assert parser is not None
        self._answer = None
        if answer is not None and not answer.done():
            answer.set_result((parser.get_status_code(), self._body))
        if not parser.should_keep_alive():
            self.close()
