"""The load client against a server that misbehaves on purpose: whatever is lost must be told as lost."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import perf_counter

import pytest

from loadtests.http import Address, Connection, Lost, encode_request

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

OK = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}"


@asynccontextmanager
async def served(serve: Serve) -> AsyncIterator[Address]:
    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(session, "127.0.0.1", 0)
    async with server:
        yield Address("127.0.0.1", server.sockets[0].getsockname()[1])


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            return head + await reader.readexactly(int(line.partition(b":")[2]))
    return head


async def test_requests_share_one_connection_and_carry_what_they_should() -> None:
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            seen.append(await read_request(reader))
            writer.write(OK)

    async with served(serve) as address:
        connection = Connection(address)
        raw = encode_request("POST", "/v1/x", b'{"a":1}', token="t", key="k")
        for _ in range(3):
            answer = await connection.request(raw)
            assert (answer.status, answer.body) == (201, b"{}")
        connection.close()
    assert connection.connects == 1
    assert seen == [raw] * 3
    assert raw.startswith(b"POST /v1/x HTTP/1.1\r\n")
    assert b"Authorization: Bearer t\r\nIdempotency-Key: k\r\n" in raw


async def test_bodies_in_pieces_and_without_end_marks_are_put_together() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(b"2\r\nde\r\n0\r\n\r\n")
        await read_request(reader)

    async with served(serve) as address:
        connection = Connection(address)
        assert (await connection.request(encode_request("GET", "/"))).body == b"abcde"
        connection.close()


async def test_a_connection_that_goes_away_is_a_lost_request_and_the_next_one_reconnects() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(OK)
        await read_request(reader)  # and no answer: the server died here

    async with served(serve) as address:
        connection = Connection(address)
        raw = encode_request("GET", "/")
        assert (await connection.request(raw)).status == 201
        with pytest.raises(Lost):
            await connection.request(raw)
        assert (await connection.request(raw)).status == 201
        connection.close()
    assert connection.connects == 2


async def test_an_answer_that_comes_too_late_is_never_taken_for_the_next_ones() -> None:
    sessions = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sessions
        sessions += 1
        await read_request(reader)
        if sessions == 1:
            await asyncio.sleep(0.4)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")
        else:
            writer.write(OK)
            await read_request(reader)

    async with served(serve) as address:
        connection = Connection(address, timeout_s=0.15)
        raw = encode_request("GET", "/")
        with pytest.raises(Lost, match="no answer"):
            await connection.request(raw)
        assert (await connection.request(raw)).body == b"{}"
        connection.close()


async def test_latency_counts_from_when_the_request_was_meant_to_start() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            writer.write(OK)

    async with served(serve) as address:
        connection = Connection(address)
        raw = encode_request("GET", "/")
        assert (await connection.request(raw, perf_counter() - 5)).ms > 5000
        assert (await connection.request(raw)).ms < 2000
        connection.close()


async def test_nobody_there_is_a_lost_request() -> None:
    async with served(lambda _r, _w: asyncio.sleep(0)) as address:
        pass
    with pytest.raises(Lost, match="cannot connect"):
        await Connection(address).request(encode_request("GET", "/"))


@pytest.mark.parametrize("url", ["https://shop.example", "ftp://x", "127.0.0.1:8000"])
def test_only_plain_http_addresses_are_taken(url: str) -> None:
    with pytest.raises(ValueError, match="the load client needs"):
        Address.of(url)
