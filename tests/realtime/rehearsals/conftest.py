"""A host who rehearses."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import APIRouter
from redis.asyncio import Redis

import realtime.rehearsals.routes
import stream_events.routes
from stream_events.database import Database
from tests.factories import Sale
from tests.realtime.rehearsals.earlier import Earlier, make_earlier

Ask = Callable[..., Awaitable[httpx.Response]]


@pytest.fixture
def routers() -> Sequence[APIRouter]:
    return (stream_events.routes.router, realtime.rehearsals.routes.router)


@pytest_asyncio.fixture(loop_scope="session")
async def earlier(database: Database, redis: Redis, sale: Sale) -> Earlier:
    return await make_earlier(database, redis, sale)


@pytest.fixture
def ask(api: httpx.AsyncClient, earlier: Earlier) -> Ask:
    """Call the rehearsal's route as the host, unless another role is named."""

    async def asked(method: str, body: Any = None, role: str = "host") -> httpx.Response:
        return await api.request(method, earlier.path, headers=earlier.sale.auth(role), json=body)

    return asked
