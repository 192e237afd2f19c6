"""A staff request that is sent again gets the answer it got, and nothing is done twice."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from sqlalchemy import text

from stream_events.access import Caller, Role, allow
from stream_events.database import Database
from stream_events.errors import Problem
from stream_events.idempotency import IdempotencyKey, once
from stream_events.requests import database_of
from stream_events.schemas import Body
from tests.factories import Sale, seed_sale

DONE: list[int] = []


class Wanted(Body):
    amount_minor: int
    slow: bool = False


class Made(Body):
    zulu: int
    amount_minor: int


@pytest.fixture
def routers() -> Sequence[APIRouter]:
    """One route that counts how often it acted."""
    DONE.clear()
    router = APIRouter()

    @router.post("/v1/{thing}/acts", response_model=Made)
    async def act(
        request: Request,
        caller: Annotated[Caller, Depends(allow(Role.OPERATOR, Role.HOST))],
        thing: str,
        key: IdempotencyKey,
        body: Wanted,
    ) -> Response:
        async with database_of(request).begin() as sql:
            turn = await once(sql, request, caller, key, body)
            if turn.replay is not None:
                return turn.replay
            if body.slow:
                await asyncio.sleep(0.2)
            if body.amount_minor > 100:
                raise Problem(409, "too_much", "That is too much.")
            DONE.append(body.amount_minor)
            return await turn.answer(201, Made(zulu=len(DONE), amount_minor=body.amount_minor))

    return (router,)


async def post(
    api: httpx.AsyncClient, sale: Sale, key: str | None = "k", path: str = "/v1/a/acts", **body: Any
) -> httpx.Response:
    headers = sale.auth("operator") | ({} if key is None else {"idempotency-key": key})
    return await api.post(path, json=body or {"amount_minor": 1}, headers=headers)


async def test_a_repeat_gets_the_same_bytes_and_does_nothing(
    api: httpx.AsyncClient, sale: Sale
) -> None:
    first = await post(api, sale)
    again = await post(api, sale)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content
    assert first.json() == {"zulu": 1, "amount_minor": 1}
    assert "idempotent-replay" not in first.headers
    assert again.headers["idempotent-replay"] == "true"
    assert again.headers["content-type"] == "application/json"
    assert DONE == [1]


async def test_many_clicks_at_once_act_once(api: httpx.AsyncClient, sale: Sale) -> None:
    clicks = [post(api, sale, amount_minor=7, slow=True) for _ in range(5)]
    answers = await asyncio.gather(*clicks)
    assert [answer.status_code for answer in answers] == [201] * 5
    assert len({answer.content for answer in answers}) == 1
    assert sum("idempotent-replay" in answer.headers for answer in answers) == 4
    assert DONE == [7]


async def test_another_request_under_the_same_key_is_a_conflict(
    api: httpx.AsyncClient, sale: Sale
) -> None:
    await post(api, sale)
    answer = await post(api, sale, amount_minor=2)
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_conflict")
    assert DONE == [1]


async def test_keys_are_of_one_caller_and_one_route(
    api: httpx.AsyncClient, sale: Sale, database: Database, signer: Any
) -> None:
    other = await seed_sale(database, signer, sku="SAUCE")
    assert (await post(api, sale)).status_code == 201
    for answer in (
        await post(api, other),
        await post(api, sale, path="/v1/b/acts"),
        await post(api, sale, key="K"),
    ):
        assert answer.status_code == 201
        assert "idempotent-replay" not in answer.headers
    assert len(DONE) == 4


async def test_what_was_refused_may_be_tried_again(api: httpx.AsyncClient, sale: Sale) -> None:
    refused = await post(api, sale, amount_minor=101)
    assert (refused.status_code, refused.json()["code"]) == (409, "too_much")
    assert (await post(api, sale, amount_minor=100)).status_code == 201


@pytest.mark.parametrize("key", [None, "", "a b", "k" * 256, "clé"])
async def test_without_a_key_nothing_is_done(
    api: httpx.AsyncClient, sale: Sale, key: str | None
) -> None:
    headers = [(b"authorization", f"Bearer {sale.operator_key}".encode())]
    if key is not None:
        headers.append((b"idempotency-key", key.encode("latin-1")))
    answer = await api.post("/v1/a/acts", json={"amount_minor": 1}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key")
    assert DONE == []


async def test_who_may_not_call_is_told_so_first(api: httpx.AsyncClient, sale: Sale) -> None:
    assert (await api.post("/v1/a/acts", json={"amount_minor": 1})).status_code == 401


async def test_only_hashes_of_keys_and_requests_are_kept(
    api: httpx.AsyncClient, sale: Sale, database: Database
) -> None:
    await post(api, sale, key="a-key-of-mine")
    async with database.begin() as sql:
        [row] = (await sql.execute(text("SELECT * FROM answered_requests"))).all()
    assert len(row.op) == len(row.fingerprint) == 32
    assert (row.status, row.answer) == (201, {"zulu": 1, "amount_minor": 1})
