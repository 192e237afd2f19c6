"""The feed by long-poll and as events, over real HTTP: what it says, how long it waits, and whom it lets go."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import pytest_asyncio
import uvicorn
from fastapi import APIRouter
from redis.asyncio import Redis
from sqlalchemy import text

from realtime import feed_routes, newest, routes
from realtime.bus import ANNOUNCED_AT
from realtime.feed import open_bus
from realtime.newest import Newest
from server.processes import free_port
from stream_events.access import Signer, revoke_keys
from stream_events.database import Database
from tests.applications import make_app
from tests.factories import Sale
from tests.realtime.conftest import frame, until

pytestmark = pytest.mark.usefixtures("redis")


@pytest.fixture
def routers() -> Sequence[APIRouter]:
    return (routes.router, feed_routes.router)


@pytest_asyncio.fixture(loop_scope="session")
async def board(
    database: Database, redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Newest]:
    """The newest frames, followed as an API process does, which asks more often whether anybody looks at the books."""
    monkeypatch.setattr("realtime.gateway_process.PULSE_S", 0.05)
    await redis.set(ANNOUNCED_AT, 2**53)
    bus = open_bus(redis_url)
    kept, stop = Newest(database, bus, "b1"), asyncio.Event()
    await kept.load()
    task = asyncio.create_task(kept.run(stop))
    await until(kept.is_live)
    yield kept
    kept.end_keys(kept.keys())
    stop.set()
    await task
    await bus.aclose()


@pytest.fixture
def app_state(app_state: dict[str, Any], board: Newest) -> dict[str, Any]:
    return {**app_state, "newest": board}


@asynccontextmanager
async def listening(app: Any) -> AsyncIterator[str]:
    """Serve an app on a port of its own."""
    config = uvicorn.Config(
        app, port=free_port(), log_level="critical", lifespan="off", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{config.port}"
    finally:
        server.should_exit = True
        await task


@pytest_asyncio.fixture(loop_scope="session")
async def web(
    routers: Sequence[APIRouter], app_state: dict[str, Any]
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the same app on a real socket: answers that last cannot be read otherwise."""
    async with (
        listening(make_app(routers, app_state)) as url,
        httpx.AsyncClient(base_url=url, timeout=8) as client,
    ):
        yield client


def tally(sale: Sale) -> str:
    return f"stream/{sale.stream_id}/tally"


class Events:
    """A reader of an event stream."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self._lines = answer.aiter_lines()
        self.last_id = ""
        self.beats = 0

    async def next(self, within_s: float = 3.0) -> dict[str, Any]:
        """Return the next event that is not a beat."""
        async with asyncio.timeout(within_s):
            while True:
                message = await self._event()
                if message["t"] != "beat":
                    return message
                self.beats += 1

    async def _event(self) -> dict[str, Any]:
        data = ""
        async for line in self._lines:
            if line.startswith("id: "):
                self.last_id = line[4:]
            elif line.startswith("data: "):
                data += line[6:]
            elif not line and data:
                return dict(json.loads(data))
        raise EOFError


@asynccontextmanager
async def reading(
    web: httpx.AsyncClient, headers: Mapping[str, str] | None = None, **asked: str
) -> AsyncIterator[Events]:
    async with web.stream("GET", "/v1/feed/events", params=asked, headers=headers) as answer:
        assert answer.status_code == 200, await answer.aread()
        events = Events(answer)
        assert (await events.next())["t"] == "hello"
        yield events


# --- long-poll --------------------------------------------------------------------------------------------------


async def test_a_poll_answers_with_the_very_frames_and_an_etag(
    api: httpx.AsyncClient, board: Newest, sale: Sale
) -> None:
    made = frame(3, topic=tally(sale))
    board.publish([made])
    path = f"/v1/feed?topics={tally(sale)},stream/{sale.stream_id}/stock"
    answer = await api.get(path)
    assert answer.json() == {"frames": [json.loads(made.payload)]}
    assert answer.headers["x-feed-live"] == "1"
    again = await api.get(path, headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    board.publish([frame(4, topic=tally(sale))])
    newer = await api.get(path, headers={"if-none-match": answer.headers["etag"]})
    assert newer.json()["frames"][0]["version"] == 4
    assert newer.headers["etag"] != answer.headers["etag"]
    # After a restore the same version may say something else: the epoch is part of what is known.
    board.publish([frame(4, topic=tally(sale), epoch=2**52)])
    restored = await api.get(path, headers={"if-none-match": newer.headers["etag"]})
    assert (restored.status_code, restored.json()["frames"][0]["epoch"]) == (200, 2**52)


async def test_a_poll_waits_for_the_next_frame_and_no_longer(
    api: httpx.AsyncClient, board: Newest, sale: Sale
) -> None:
    path = f"/v1/feed?topics={tally(sale)}&wait=25"
    first = await api.get(path)
    known = {"if-none-match": first.headers["etag"]}
    waits = asyncio.create_task(api.get(path, headers=known))
    await asyncio.sleep(0.2)
    assert not waits.done()
    board.publish([frame(1, topic="stream/str_other/tally")])
    await asyncio.sleep(0.1)
    assert not waits.done()
    board.publish([frame(1, topic=tally(sale)), frame(2, topic=tally(sale))])
    answer = await asyncio.wait_for(waits, 1)
    assert [one["version"] for one in answer.json()["frames"]] == [2]
    started = time.monotonic()
    path = f"/v1/feed?topics={tally(sale)}&wait=1"
    nothing = await api.get(path, headers={"if-none-match": f"W/{answer.headers['etag']}"})
    assert nothing.status_code == 304
    assert 0.9 < time.monotonic() - started < 2


async def test_nobody_holds_a_connection_to_sql_while_waiting(
    api: httpx.AsyncClient, board: Newest, sale: Sale, database: Database
) -> None:
    path, headers = f"/v1/feed?topics={tally(sale)}&wait=25", sale.auth("host")
    headers["if-none-match"] = (await api.get(path, headers=headers)).headers["etag"]
    waits = [asyncio.create_task(api.get(path, headers=headers)) for _ in range(30)]
    await until(lambda: len(board.keys()) == 1)
    await until(lambda: database.engine.pool.checkedout() == 0)  # type: ignore[attr-defined]
    board.publish([frame(1, topic=tally(sale))])
    answers = await asyncio.gather(*waits)
    assert {answer.status_code for answer in answers} == {200}
    assert board.keys() == []


async def test_more_than_enough_waiters_are_sent_away_with_a_jittered_pause(
    api: httpx.AsyncClient, board: Newest, sale: Sale, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(newest, "WAITING_MAX", 1)
    monkeypatch.setattr(newest, "READING_MAX", 0)
    path = f"/v1/feed?topics={tally(sale)}&wait=25"
    known = {"if-none-match": (await api.get(path)).headers["etag"]}
    waits = asyncio.create_task(api.get(path, headers=known))
    await asyncio.sleep(0.1)
    refused = [await api.get(path, headers=known) for _ in range(5)]
    refused.append(await api.get(f"/v1/feed/events?topics={tally(sale)}"))
    assert {answer.status_code for answer in refused} == {503}
    assert len({answer.json()["retry_after_ms"] for answer in refused}) > 1
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    # Who need not wait is not refused.
    assert (await api.get(path)).status_code == 200
    board.publish([frame(1, topic=tally(sale))])
    assert (await waits).status_code == 200


async def test_at_the_end_of_the_process_everybody_is_let_go(
    web: httpx.AsyncClient, board: Newest, sale: Sale
) -> None:
    path = f"/v1/feed?topics={tally(sale)}&wait=25"
    known = {"if-none-match": (await web.get(path)).headers["etag"]}
    async with reading(web, topics=tally(sale)) as events:
        waits = asyncio.create_task(web.get(path, headers=known))
        await asyncio.sleep(0.1)
        leaving = asyncio.Event()
        leaving.set()
        await board.run_leaving(leaving)
        assert (await asyncio.wait_for(waits, 1)).status_code == 304
        with pytest.raises(EOFError):
            await events.next(1)
    assert (await web.get(f"/v1/feed/events?topics={tally(sale)}")).status_code == 503


async def test_it_says_when_nobody_looks_at_the_books(
    api: httpx.AsyncClient, board: Newest, sale: Sale, redis: Redis
) -> None:
    await redis.set(ANNOUNCED_AT, 1)
    await until(lambda: not board.is_live())
    assert (await api.get(f"/v1/feed?topics={tally(sale)}")).headers["x-feed-live"] == "0"


# --- events -----------------------------------------------------------------------------------------------------


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


async def test_a_reader_that_leaves_is_forgotten_at_once(
    web: httpx.AsyncClient, board: Newest, sale: Sale
) -> None:
    async with reading(web, topics=tally(sale)):
        assert len(board._standing[True]) == 1
    await until(lambda: not board._standing[True] and not board._watchers, 1)


# --- credentials ------------------------------------------------------------------------------------------------


async def test_a_ticket_is_a_credential(
    web: httpx.AsyncClient, board: Newest, sale: Sale, signer: Signer
) -> None:
    topic = f"farmer/{sale.farmer_id}/sales"
    board.publish([frame(1, topic=topic)])
    refused = await web.get("/v1/feed", params={"topics": topic})
    assert refused.status_code == 404
    bought = await web.post(
        "/v1/socket-tickets", json={"topics": [topic]}, headers=sale.auth("farmer")
    )
    ticket = bought.json()["ticket"]
    assert (await web.get("/v1/feed", params={"ticket": ticket})).json()["frames"]
    more = {"ticket": ticket, "topics": f"{topic},{tally(sale)}"}
    assert (await web.get("/v1/feed", params=more)).status_code == 404
    async with reading(web, ticket=ticket) as events:
        assert (await events.next())["topic"] == topic
    for spoilt in (ticket[:-1], "", "x.y", Signer(b"z" * 32).sign_until("socket", "x", 60)):
        for path in ("/v1/feed", "/v1/feed/events"):
            answer = await web.get(path, params={"ticket": spoilt})
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")


@pytest.mark.parametrize("path", ["/v1/feed", "/v1/feed/events"])
@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({}, 422),
        ({"topics": ""}, 404),
        ({"topics": "stream/x"}, 404),
        ({"topics": ",".join(f"stream/str_{n}/tally" for n in range(21))}, 422),
        ({"topics": "farmer/frm_1/sales"}, 404),
        ({"topics": "stream/str_1/review"}, 404),
    ],
)
async def test_the_rule_of_tickets_holds(
    api: httpx.AsyncClient, path: str, asked: dict[str, str], status: int
) -> None:
    assert (await api.get(path, params=asked)).status_code == status


async def test_a_revoked_key_ends_what_it_opened(
    web: httpx.AsyncClient, board: Newest, sale: Sale, database: Database
) -> None:
    path = f"/v1/feed?topics={tally(sale)}&wait=25"
    headers = sale.auth("overlay")
    known = headers | {"if-none-match": (await web.get(path, headers=headers)).headers["etag"]}
    async with (
        reading(web, headers=headers, topics=tally(sale)) as events,
        reading(web, topics=tally(sale)) as public,
    ):
        waits = asyncio.create_task(web.get(path, headers=known))
        bought = await web.post(
            "/v1/socket-tickets", json={"topics": [tally(sale)]}, headers=sale.auth("overlay")
        )
        etag = {"if-none-match": known["if-none-match"]}
        by_ticket = asyncio.create_task(
            web.get(
                "/v1/feed", params={"ticket": bought.json()["ticket"], "wait": 25}, headers=etag
            )
        )
        await until(lambda: len(board._standing[False]) == 2)
        async with database.begin() as sql:
            overlay = "SELECT id FROM principals WHERE stream_id = :id"
            principal = await sql.scalar(text(overlay), {"id": sale.stream_id})
            await revoke_keys(sql, principal)
        assert (await asyncio.wait_for(waits, 5)).status_code == 401
        assert (await asyncio.wait_for(by_ticket, 5)).status_code == 401
        with pytest.raises(EOFError):
            await events.next(5)
        board.publish([frame(1, topic=tally(sale))])
        assert (await public.next())["version"] == 1
