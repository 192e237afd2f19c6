"""A key that ends takes its sockets with it, within five seconds and no others: a real gateway, keys over real routes."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import httpx
import pytest
from fastapi import APIRouter
from sqlalchemy.ext.asyncio import AsyncSession
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from realtime import feed
from realtime.routes import router as realtime_router
from realtime.tickets import ended_keys
from stream_events.database import Database
from stream_events.routes import router as floor_router
from tests.factories import Sale, bearer
from tests.realtime.conftest import Served, said, until

Start = Callable[[], Any]


@pytest.fixture
def routers() -> Sequence[APIRouter]:
    return (floor_router, realtime_router)


async def watch(
    api: httpx.AsyncClient, served: Served, sale: Sale, headers: dict[str, str]
) -> ClientConnection:
    """Watch a stream's tally as a page does: a ticket over HTTP, then the socket."""
    topic = f"stream/{sale.stream_id}/tally"
    answer = await api.post("/v1/socket-tickets", json={"topics": [topic]}, headers=headers)
    assert answer.status_code == 201, answer.text
    client = await served.open()
    await client.send(f'{{"ticket": "{answer.json()["ticket"]}"}}')
    assert (await said(client))["t"] == "hello"
    return client


async def closed(client: ClientConnection, within_s: float) -> tuple[int | None, str | None]:
    async with asyncio.timeout(within_s):
        with suppress(ConnectionClosed):
            while True:
                await client.recv()
    return client.close_code, client.close_reason


async def principal_of(api: httpx.AsyncClient, headers: dict[str, str]) -> str:
    return str((await api.get("/v1/me", headers=headers)).json()["id"])


async def test_a_key_that_is_replaced_takes_its_sockets_along(
    api: httpx.AsyncClient, sale: Sale, start_process: Start
) -> None:
    host, overlay = sale.auth("host"), sale.auth("overlay")
    keys = f"/v1/principals/{await principal_of(api, overlay)}/keys"
    async with start_process() as served:
        leaked = [await watch(api, served, sale, overlay) for _ in range(2)]
        others = [await watch(api, served, sale, sale.auth(role)) for role in ("host", "public")]
        fresh = await api.post(keys, json={"retire_old_after_s": 0}, headers=host)
        assert fresh.status_code == 201, fresh.text
        began = time.monotonic()
        renewed = await watch(api, served, sale, bearer(fresh.json()["key"]))
        for client in leaked:
            assert await closed(client, 5) == (4401, "revoked")
        assert time.monotonic() - began < 5
        # A second look comes and goes, and the others stay.
        await asyncio.sleep(feed.REREAD_S + 0.3)
        for client in (*others, renewed):
            assert client.state.name == "OPEN"


async def test_a_key_that_is_retired_later_is_alive_until_then(
    api: httpx.AsyncClient, sale: Sale, start_process: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "REREAD_S", 0.1)
    host, overlay = sale.auth("host"), sale.auth("overlay")
    keys = f"/v1/principals/{await principal_of(api, overlay)}/keys"
    async with start_process() as served:
        client = await watch(api, served, sale, overlay)
        began = time.monotonic()
        assert (
            await api.post(keys, json={"retire_old_after_s": 2}, headers=host)
        ).status_code == 201
        assert await closed(client, 5) == (4401, "revoked")
        assert 1.8 < time.monotonic() - began < 4


async def test_only_keys_that_are_connected_are_asked_about(
    api: httpx.AsyncClient,
    sale: Sale,
    database: Database,
    start_process: Start,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[list[str]] = []

    async def counted(sql: AsyncSession, key_ids: Sequence[str]) -> set[str]:
        asked.append(list(key_ids))
        return await ended_keys(sql, key_ids)

    monkeypatch.setattr(feed, "ended_keys", counted)
    monkeypatch.setattr(feed, "REREAD_S", 0.05)
    async with start_process() as served:
        for role in ("public", "shopper", "public"):
            await watch(api, served, sale, sale.auth(role))
        await asyncio.sleep(0.3)
        assert asked == []
        for _ in range(3):
            await watch(api, served, sale, sale.auth("overlay"))
        await until(lambda: len(asked) >= 2)
        assert {len(keys) for keys in asked} == {1}
