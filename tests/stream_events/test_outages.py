"""A busy or missing engine is a 503 with a time to come back; our own mistakes stay visible as what they are."""

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from redis.exceptions import ConnectionError as RedisAway
from redis.exceptions import ResponseError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from stream_events import errors, outages
from stream_events.database import Database


async def _answer(error: Exception) -> httpx.Response:
    app = FastAPI()
    errors.install(app)
    outages.install(app)

    @app.get("/")
    async def broken() -> None:
        raise error

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        return await client.get("/")


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(),
        TimeoutError(),
        RedisAway(),
        asyncpg.CannotConnectNowError(),
        asyncpg.TooManyConnectionsError(),
        asyncpg.DeadlockDetectedError(),
        asyncpg.QueryCanceledError(),
    ],
    ids=repr,
)
async def test_what_passes_is_a_503_with_a_time_to_come_back(error: Exception) -> None:
    answer = await _answer(error)
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert 500 <= answer.json()["retry_after_ms"] <= 3000
    assert "retry-after" in answer.headers


@pytest.mark.parametrize(
    "error",
    [
        ValueError("secret"),
        asyncpg.UniqueViolationError("secret"),
        ResponseError("secret"),
        OSError(),
    ],
    ids=repr,
)
async def test_what_does_not_pass_is_a_500_that_tells_nothing(error: Exception) -> None:
    answer = await _answer(error)
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "secret" not in answer.text


async def _run(database: Database, *statements: str) -> None:
    async with database.begin() as sql:
        for statement in statements:
            await sql.execute(text(statement))


async def test_errors_of_a_real_engine_are_told_apart(database: Database) -> None:
    with pytest.raises(DBAPIError) as late:
        await _run(database, "SET LOCAL statement_timeout = '10ms'", "SELECT pg_sleep(1)")
    assert outages.is_passing(late.value)
    with pytest.raises(DBAPIError) as wrong:
        await _run(database, "SELECT 1 / 0")
    assert not outages.is_passing(wrong.value)
