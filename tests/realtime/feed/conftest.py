"""An API process that follows the newest frames, on a real socket."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import pytest_asyncio
import uvicorn
from fastapi import APIRouter
from redis.asyncio import Redis

from realtime import feed_routes, routes
from realtime.bus import ANNOUNCED_AT
from realtime.feed import open_bus
from realtime.newest import Newest
from server.processes import free_port
from stream_events.database import Database
from tests.applications import make_app
from tests.realtime.conftest import until


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
