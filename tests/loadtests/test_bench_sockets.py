"""The sockets bench comes back by the rule of the pages, tells why the mute were closed, and claims nothing it did not see."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from websockets.frames import Frame, Opcode

from loadtests.bench import returners
from loadtests.bench.returners import Audience, pause_s
from loadtests.bench.sockets import AT_LEAST, AT_MOST, muted, report

LIVE_JS = Path(__file__).parents[2] / "realtime" / "static" / "live.js"


def test_the_pauses_are_those_of_the_pages() -> None:
    script = LIVE_JS.read_text("utf-8")
    numbers = dict(re.findall(r"const (\w+_MS\w*) = ([\d_]+);", script))
    assert int(numbers["RETRY_MS_MIN"]) == returners.RETRY_S_MIN * 1000
    assert int(numbers["RETRY_MS_MAX"]) == returners.RETRY_S_MAX * 1000
    assert int(numbers["DEAD_MS"]) == returners.DEAD_S * 1000
    assert "Math.min(RETRY_MS_MAX, 1000 * 2 ** Math.min(this.failures, 6))" in script
    assert "RETRY_MS_MIN + Math.random() * (most - RETRY_MS_MIN)" in script
    assert [pause_s(failures, 1.0) for failures in (1, 2, 4, 5, 9)] == [2, 4, 16, 20, 20]
    assert pause_s(9, 0.0) == 0.5


def on_wire(payload: bytes, opcode: Opcode = Opcode.TEXT) -> bytes:
    return Frame(opcode, payload).serialize(mask=False)


HELLO = on_wire(b'{"t":"hello","epoch":1}')


def state(version: int) -> bytes:
    said = {"t": "state", "topic": "t", "epoch": 1, "version": version, "state": {"x": "y" * 500}}
    return on_wire(msgspec.json.encode(said))


class Server:
    """An API that gives tickets and a gateway that does as told, on one port."""

    def __init__(self) -> None:
        self.port = 0
        self.said: list[bytes] = []
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"POST"):
            body = b'{"ticket":"T","gateway_url":"ws://127.0.0.1:%d"}' % self.port
            writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            writer.close()
            return
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        size = (await reader.readexactly(6))[1] & 0x7F
        self.said.append(await reader.readexactly(size))
        self.writers.append(writer)
        writer.write(HELLO)


@asynccontextmanager
async def watching(*, mute: bool) -> AsyncIterator[tuple[Server, Audience]]:
    server, audience = Server(), Audience()
    audience.begin()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    loop = asyncio.get_running_loop()
    loop.add_reader(audience.hung.fileno(), audience.on_hung)
    audience.watch("t", server.port, 1, mute=mute)
    try:
        yield server, audience
    finally:
        for task in audience.tasks:
            task.cancel()
        if (wire := audience.pages[0].wire) is not None:
            wire.abort()
        loop.remove_reader(audience.hung.fileno())
        audience.hung.close()
        for writer in server.writers:
            writer.transport.abort()
        listening.close()
        # A round of the loop for each end of what was aborted.
        await asyncio.sleep(0.05)


async def until(fits: Any) -> None:
    async with asyncio.timeout(10):
        while not fits():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


async def test_who_was_cut_comes_back_and_says_what_it_has() -> None:
    async with watching(mute=False) as (server, audience):
        await until(lambda: audience.tell()["watching"] == 1)
        server.writers[0].write(state(6) + state(7)[:9])
        await until(lambda: audience.pages[0].known == (1, 6))
        audience.begin()
        server.writers[0].transport.abort()
        await until(lambda: audience.tell()["back"] == 1)
        assert audience.tell()["back_ms"]["100"] >= 500
        assert msgspec.json.decode(server.said[1]) == {"ticket": "T", "have": {"t": [1, 6]}}
        assert audience.pages[0].failures == 0


async def test_the_mute_read_nothing_until_woken_and_then_hear_why() -> None:
    async with watching(mute=True) as (server, audience):
        await until(lambda: audience.tell()["mute"] == 1)
        server.writers[0].write(state(9) + on_wire(b"\x0f\xa8slow_consumer at=1", Opcode.CLOSE))
        await asyncio.sleep(0.2)
        assert audience.pages[0].known == (0, 0)
        assert audience.wake(mute_s=60) == 0
        assert audience.wake(mute_s=0.1) == 1
        await until(lambda: audience.counted["woken: 4008"] == 1)
        assert audience.tell()["cut"] == 1
        assert audience.pages[0].known == (1, 9)
        await until(lambda: len(server.said) == 2)


async def test_the_mute_notice_when_the_other_side_is_gone() -> None:
    async with watching(mute=True) as (server, audience):
        await until(lambda: audience.tell()["mute"] == 1)
        server.writers[0].transport.get_extra_info("socket").setsockopt(
            1, 13, b"\1\0\0\0" + b"\0" * 4
        )
        server.writers[0].transport.abort()
        await until(lambda: audience.counted["hung up"] == 1)
        assert audience.tell()["cut"] == 1
        await until(lambda: len(server.said) == 2)


async def test_who_was_woken_too_early_was_not_cut_and_is_no_witness_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(returners, "WITNESS_S_MAX", 0.05)
    async with watching(mute=True) as (server, audience):
        await until(lambda: audience.tell()["mute"] == 1)
        assert audience.wake(mute_s=0) == 1
        await until(lambda: audience.counted["woken: too early"] == 1)
        await until(lambda: len(server.said) == 2 and audience.tell()["mute"] == 1)
        assert audience.tell()["cut"] == 0
        assert audience.wake(mute_s=0) == 0


def test_shares_are_of_those_that_could_be_told() -> None:
    fates = {"woken: 4008": 3, "woken: untold": 1, "woken: too early": 5}
    stood = muted(4, 3, 7, fates, [100.0, 500.0, 300.0, 300.0])
    assert stood["told_4008_share"] == 0.75
    assert stood["mute_cut_share"] == 0.75
    assert stood["rss_growth_kib_per_mute"] == 100.0
    assert muted(4, 0, 0, {}, [1.0])["told_4008_share"] == 0.0


def test_what_is_at_its_bound_is_met_and_beyond_it_is_missed() -> None:
    bounds = AT_LEAST | AT_MOST
    assert set(report({}, bounds, {})["met"].values()) == {True}
    beyond = {n: v - 0.01 for n, v in AT_LEAST.items()} | {n: v + 1 for n, v in AT_MOST.items()}
    assert set(report({}, beyond, {})["met"].values()) == {False}
