"""Server-sent events: a snapshot, then each change, and no more memory for those who do not read."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from realtime import event_stream
from realtime.bus import ANNOUNCED_AT
from realtime.newest import Newest
from tests.factories import Sale
from tests.realtime.conftest import frame, until
from tests.realtime.feed.readers import Events, reading, tally

pytestmark = pytest.mark.usefixtures("redis")


async def test_events_are_a_snapshot_and_then_each_change(
    web: httpx.AsyncClient, board: Newest, sale: Sale
) -> None:
    made = frame(3, topic=tally(sale))
    board.publish([made])
    async with reading(web, topics=f"{tally(sale)},stream/{sale.stream_id}/stock") as events:
        assert events.answer.headers["content-type"].startswith("text/event-stream")
        assert await events.next() == json.loads(made.payload)
        board.publish([frame(1, topic=f"stream/{sale.stream_id}/stock")])
        assert (await events.next())["topic"].endswith("stock")
        board.publish([frame(2, topic=tally(sale)), frame(4, topic=tally(sale))])
        assert (await events.next())["version"] == 4
    resumed: tuple[dict[str, Any], ...] = (
        {"headers": {"last-event-id": events.last_id}},
        {"have": events.last_id},
    )
    for version, given in enumerate(resumed, 5):
        both = f"stream/{sale.stream_id}/stock,{tally(sale)}"
        async with reading(web, topics=both, **given) as on:
            # What it has is not sent again: the first event is the news.
            board.publish([frame(version, topic=tally(sale))])
            assert (await on.next())["version"] >= 5


@pytest.mark.parametrize("have", ["x", "1.1-2.2-3.3", "9" * 300, "1.1-", "-.-"])
async def test_an_unreadable_position_gets_the_whole_snapshot(
    web: httpx.AsyncClient, board: Newest, sale: Sale, have: str
) -> None:
    board.publish([frame(1, topic=tally(sale), epoch=7)])
    async with reading(web, topics=tally(sale), have=have) as events:
        assert (await events.next())["version"] == 1


async def test_a_beat_comes_only_while_the_books_are_looked_at(
    web: httpx.AsyncClient,
    board: Newest,
    sale: Sale,
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("realtime.event_stream.HEARTBEAT_S", 0.02)
    heard: list[str] = []

    async def listen(events: Events) -> None:
        while True:
            heard.append((await events._event())["t"])

    async with reading(web, topics=tally(sale)) as events:
        listening = asyncio.create_task(listen(events))
        await until(lambda: heard.count("beat") >= 2)
        await redis.set(ANNOUNCED_AT, 1)
        await until(lambda: not board.is_live())
        # What was on its way comes before this frame, and after it only what is sent from now on.
        board.publish([frame(1, topic=tally(sale))])
        await until(lambda: "state" in heard)
        await asyncio.sleep(0.3)
        assert heard[-1] == "state"
        await redis.set(ANNOUNCED_AT, 2**53)
        await until(lambda: heard[-1] == "beat")
        listening.cancel()


async def test_a_reader_that_never_reads_grows_nothing_and_then_skips(
    web: httpx.AsyncClient, board: Newest, sale: Sale
) -> None:
    host, port = web.base_url.host, web.base_url.port
    reader, writer = await asyncio.open_connection(host, port, limit=1024)
    asked = f"GET /v1/feed/events?topics={tally(sale)} HTTP/1.1\r\nHost: x\r\n\r\n"
    writer.write(asked.encode())
    await reader.readuntil(b"hello")
    rounds = 400
    for version in range(1, rounds + 1):
        board.publish([frame(version, topic=tally(sale), filler="x" * 50_000)])
        await asyncio.sleep(0)
    await asyncio.sleep(0.3)
    got = b""
    async with asyncio.timeout(5):
        while f'"version":{rounds},'.encode() not in got:
            got += await reader.read(1 << 20)
    assert got.count(b"id: ") < rounds / 4
    writer.close()
    await until(lambda: not board._standing[True])


async def test_a_reader_that_goes_on_not_reading_loses_its_place(
    web: httpx.AsyncClient, board: Newest, sale: Sale, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "WRITE_S_MAX", 0.3)
    reader, writer = await asyncio.open_connection(web.base_url.host, web.base_url.port, limit=1024)
    asked = f"GET /v1/feed/events?topics={tally(sale)} HTTP/1.1\r\nHost: x\r\n\r\n"
    writer.write(asked.encode())
    await reader.readuntil(b"hello")
    version = 0

    async def gone() -> bool:
        nonlocal version
        version += 1
        board.publish([frame(version, topic=tally(sale), filler="x" * 500_000)])
        return not board._standing[True]

    while not await gone():
        assert version < 100
        await asyncio.sleep(0.1)
    writer.close()


async def test_a_reader_that_leaves_is_forgotten_at_once(
    web: httpx.AsyncClient, board: Newest, sale: Sale
) -> None:
    async with reading(web, topics=tally(sale)):
        assert len(board._standing[True]) == 1
    await until(lambda: not board._standing[True] and not board._watchers, 1)
