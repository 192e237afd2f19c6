"""The hot route and its FastAPI declaration: one answer from both, no 500, and nothing changed by a refusal."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from redis.asyncio import Redis
from starlette.types import Receive, Scope, Send

from inventory.gate import Gate, GateUnclear
from inventory.offers import Catalogue
from orders.checkout import Checkout
from orders.hot_routes import HotRoutes
from orders.place_route import router
from orders.raw_requests import BODY_BYTES_MAX
from orders.reaper import reap_once
from orders.writer import SLOTS_MAX
from stream_events.access import Signer, new_shopper
from stream_events.database import Database
from tests.applications import make_app
from tests.factories import Sale, bearer
from tests.orders.placing import books, gate_left, run_sql


@pytest_asyncio.fixture(loop_scope="session", params=["hot", "declared"])
async def shop(
    request: pytest.FixtureRequest,
    app_state: dict[str, Any],
    sale_catalogue: Catalogue,
    checkout: Checkout,
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the route, by either way; an unhandled error fails the test."""
    state = {**app_state, "catalogue": sale_catalogue, "checkout": checkout}
    declared = make_app([router], state)

    async def hot(scope: Scope, receive: Receive, send: Send) -> None:
        await HotRoutes(declared)({**scope, "state": state}, receive, send)

    app = hot if request.param == "hot" else declared
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://testserver"
    ) as client:
        yield client


async def post(
    shop: httpx.AsyncClient, sale: Sale, body: bytes | object, key: str | bytes = "key", **more: str
) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    stream_id = more.pop("stream_id", sale.stream_id)
    headers: list[tuple[bytes, bytes]] = [
        (name.encode(), value.encode()) for name, value in {**sale.auth("shopper"), **more}.items()
    ]
    headers.append((b"idempotency-key", key.encode("latin-1") if isinstance(key, str) else key))
    return await shop.post(f"/v1/streams/{stream_id}/orders", content=content, headers=headers)


def lines(sale: Sale, quantity: object = 1) -> dict[str, object]:
    return {"lines": [{"sku": sale.sku, "quantity": quantity}]}


async def everything(database: Database, redis: Redis) -> object:
    """All that a refusal must leave alone."""
    gate = {key: await redis.hgetall(key) for key in sorted(await redis.keys())}
    return await books(database), gate


def problem_of(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


async def test_a_placed_order_is_answered_in_full_and_alike_for_ever(
    shop: httpx.AsyncClient, sale: Sale, database: Database
) -> None:
    first = await post(shop, sale, lines(sale, 2))
    assert first.status_code == 201
    found = first.json()
    assert found.pop("id").startswith("ord_")
    assert found.pop("server_time").endswith("Z")
    assert found == {
        "state": "RESERVED",
        "lines": [
            {
                "sku": sale.sku,
                "quantity": 2,
                "unit_minor": 2990,
                "amount_minor": 5980,
                "tax_minor": 0,
            }
        ],
        "gifts": [],
        "shipping_minor": 0,
        "total": {"amount_minor": 5980, "currency": "CNY"},
        "place": 1,
    }
    split = {"lines": [{"sku": sale.sku, "quantity": 1}] * 2}
    for body in (lines(sale, 2), split):
        again = await post(shop, sale, body)
        assert (again.status_code, again.content) == (201, first.content)
    assert (await books(database)).reserved == 2


def bad_bodies(sku: str) -> dict[str, tuple[int, bytes]]:
    """What must be refused, and how: 400 for what is no JSON, 422 for what is no order, 413 for too much."""
    line = f'{{"sku":"{sku}","quantity":%s}}'
    order = f'{{"lines":[{line}]}}'
    cases = {
        f"quantity {wrong}": (422, (order % wrong).encode())
        for wrong in ("0", "-1", "1.5", '"1"', "true", "null", "2147483648", "9223372036854775808")
    }
    cases["quantity 10 to the 400th"] = (422, (order % ("1" + "0" * 400)).encode())
    good = line % 1
    cases |= {
        "unknown sku": (422, b'{"lines":[{"sku":"PEAR","quantity":1}]}'),
        "empty sku": (422, b'{"lines":[{"sku":"","quantity":1}]}'),
        "no lines": (422, b'{"lines":[]}'),
        "no body": (400, b""),
        "21 lines": (422, f'{{"lines":[{",".join([good] * 21)}]}}'.encode()),
        "price": (422, f'{{"lines":[{good[:-1]},"unit_minor":1}}]}}'.encode()),
        "state": (422, f'{{"lines":[{good}],"state":"PAID"}}'.encode()),
        "prototype": (422, f'{{"lines":[{good}],"__proto__":{{}}}}'.encode()),
        "list": (422, b"[]"),
        "string": (422, b'"lines"'),
        "summed past the bounds": (
            422,
            f'{{"lines":[{line % 9999},{line % 9999}]}}'.encode(),
        ),
        "broken": (400, f'{{"lines":[{good}]'.encode()),
        "trailing": (400, f'{{"lines":[{good}]}} x'.encode()),
        "not a number": (400, (order % "NaN").encode()),
        "byte order mark": (400, b"\xef\xbb\xbf" + (order % 1).encode()),
        "utf-16": (400, (order % 1).encode("utf-16")),
        "not utf-8": (400, b'{"lines":[{"sku":"\xff","quantity":1}]}'),
        "one byte too long": (413, (order % 1).encode().ljust(BODY_BYTES_MAX + 1)),
    }
    return cases


LOOSE = {
    "infinite": b'{"lines":[{"sku":"%s","quantity":1e309}]}',
    "lone surrogate": b'{"lines":[{"sku":"\\ud800","quantity":1}]}',
    "deep": b'{"lines":' + b"[" * 7000 + b"]" * 7000 + b"}",
    "deep unknown": b'{"x":' + b"[" * 7000 + b"]" * 7000 + b"}",
}


@pytest.mark.parametrize("name", bad_bodies("x"))
async def test_a_bad_body_is_refused_and_changes_nothing(
    shop: httpx.AsyncClient, sale: Sale, database: Database, redis: Redis, name: str
) -> None:
    status, body = bad_bodies(sale.sku)[name]
    before = await everything(database, redis)
    answer = await post(shop, sale, body)
    assert (answer.status_code, answer.headers["content-type"]) == (
        status,
        "application/problem+json",
    )
    assert await everything(database, redis) == before


@pytest.mark.parametrize("name", LOOSE)
async def test_odd_json_is_a_clients_mistake(
    shop: httpx.AsyncClient, sale: Sale, database: Database, redis: Redis, name: str
) -> None:
    before = await everything(database, redis)
    answer = await post(shop, sale, LOOSE[name])
    assert answer.status_code in {400, 422}
    assert await everything(database, redis) == before


async def test_a_body_of_exactly_the_limit_is_read(shop: httpx.AsyncClient, sale: Sale) -> None:
    padded = json.dumps(lines(sale)).encode().ljust(BODY_BYTES_MAX)
    assert (await post(shop, sale, padded)).status_code == 201


async def test_keys_are_1_to_255_visible_characters(
    shop: httpx.AsyncClient, sale: Sale, database: Database, redis: Redis
) -> None:
    before = await everything(database, redis)
    for bad in ("", "k" * 256, "two words", "é", "键".encode(), "\x7f"):
        assert problem_of(await post(shop, sale, lines(sale), bad)) == (400, "idempotency_key")
    assert await everything(database, redis) == before
    for good in ("k", "k" * 255):
        assert (await post(shop, sale, lines(sale), good)).status_code == 201


async def test_one_key_a_hundred_times_at_once_is_one_order(
    shop: httpx.AsyncClient, sale: Sale, database: Database, signer: Signer
) -> None:
    answers = await asyncio.gather(*(post(shop, sale, lines(sale)) for _ in range(100)))
    assert {(answer.status_code, answer.content) for answer in answers} == {
        (201, answers[0].content)
    }
    assert problem_of(await post(shop, sale, lines(sale, 2))) == (422, "idempotency_conflict")
    _, other = new_shopper(signer)
    theirs = await post(shop, sale, lines(sale, 2), **bearer(other))
    assert theirs.status_code == 201, "the same key of another shopper is another key"
    assert (await books(database)).orders == 2


async def test_only_a_shoppers_own_token_opens_the_route(
    shop: httpx.AsyncClient, sale: Sale, database: Database, redis: Redis
) -> None:
    before = await everything(database, redis)
    token = sale.shopper_token
    forged = (token[:-1] + ("0" if token[-1] != "0" else "1"), "nonsense", "", "a.b", "." * 300)
    answers = [await post(shop, sale, lines(sale), **bearer(bad)) for bad in forged]
    answers.append(await post(shop, sale, lines(sale), authorization="Basic eDp5"))
    assert {problem_of(answer) for answer in answers} == {(401, "unauthorized")}
    assert len({answer.content for answer in answers}) == 1
    for role in ("operator", "host", "farmer", "overlay"):
        assert (await post(shop, sale, lines(sale), **sale.auth(role))).status_code in {401, 403}
    assert await everything(database, redis) == before


async def test_limit_and_stock_refuse_with_figures(
    shop: httpx.AsyncClient, sale: Sale, database: Database, redis: Redis, signer: Signer
) -> None:
    """The limit of one shopper, the same lines again, another stream, and more than there is."""
    before = await everything(database, redis)
    over = await post(shop, sale, lines(sale, sale.per_shopper_max + 1))
    assert (problem_of(over), over.json()["yours"]) == ((409, "limit_exceeded"), 0)
    assert problem_of(await post(shop, sale, lines(sale), stream_id="str_none")) == (
        404,
        "not_found",
    )
    assert await everything(database, redis) == before
    first = await post(shop, sale, lines(sale, 5), "one")
    again = await post(shop, sale, lines(sale, 5), "two")
    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
    assert problem_of(await post(shop, sale, lines(sale, 1), "three")) == (409, "limit_exceeded")
    await asyncio.sleep(0.05)
    await redis.hset("{" + sale.stream_id + "}:avail", sale.sku, 0)
    _, other = new_shopper(signer)
    gone = await post(shop, sale, lines(sale, 1), "four", **bearer(other))
    assert problem_of(gone) == (409, "sold_out")
    assert (gone.json()["final"], gone.json()["left"]) == (False, 0)
    known = await post(shop, sale, lines(sale, 5), "one")
    assert (known.status_code, known.content) == (201, first.content)


async def test_outside_the_hours_a_known_key_keeps_its_answer(
    shop: httpx.AsyncClient,
    sale: Sale,
    database: Database,
    redis: Redis,
    sale_catalogue: Catalogue,
) -> None:
    placed = await post(shop, sale, lines(sale), "known")
    await asyncio.sleep(0.05)
    before = await everything(database, redis)
    for state, refusal in (("scheduled", (425, "not_open")), ("ended", (410, "sale_closed"))):
        await run_sql(database, "UPDATE streams SET state = $1", state)
        await sale_catalogue.refresh()
        assert problem_of(await post(shop, sale, lines(sale), "new")) == refusal
        again = await post(shop, sale, lines(sale), "known")
        assert (again.status_code, again.content) == (201, placed.content)
        changed = await post(shop, sale, lines(sale, 2), "known")
        assert problem_of(changed) == (422, "idempotency_conflict")
    assert await everything(database, redis) == before


async def test_a_shut_gate_and_a_full_house_say_when_to_come_back(
    shop: httpx.AsyncClient, sale: Sale, redis: Redis, checkout: Checkout, database: Database
) -> None:
    placed = await post(shop, sale, lines(sale), "known")
    checkout.writer._slots_free = 0
    full = await post(shop, sale, lines(sale), "new")
    checkout.writer._slots_free = SLOTS_MAX
    await redis.flushall()
    shut = await post(shop, sale, lines(sale), "new")
    for answer, code in ((full, "unavailable"), (shut, "gate_shut")):
        assert problem_of(answer) == (503, code)
        assert 1 <= int(answer.headers["retry-after"]) <= 3
    again = await post(shop, sale, lines(sale), "known")
    assert (again.status_code, again.content) == (201, placed.content)
    assert (await books(database)).orders == 1
    assert await redis.keys() == []


async def test_an_unclear_answer_and_too_many_tries_are_told_apart(
    shop: httpx.AsyncClient,
    sale: Sale,
    checkout: Checkout,
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unclear(_: object) -> asyncio.Future[Any]:
        future = asyncio.get_running_loop().create_future()
        future.set_exception(GateUnclear())
        return future

    with monkeypatch.context() as patch:
        patch.setattr(gate, "admit", unclear)
        assert problem_of(await post(shop, sale, lines(sale))) == (503, "unclear")
    monkeypatch.setattr(checkout, "_attempts_max", 2)
    assert (await post(shop, sale, lines(sale))).status_code == 201
    await post(shop, sale, lines(sale))
    busy = await post(shop, sale, lines(sale))
    assert problem_of(busy) == (429, "rate_limited")
    assert busy.headers["retry-after"] == "1"


async def test_a_key_that_was_given_up_is_gone(
    shop: httpx.AsyncClient,
    sale: Sale,
    checkout: Checkout,
    gate: Gate,
    database: Database,
    sale_catalogue: Catalogue,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The process died between admission and writing; the reaper came before the shopper did."""

    def dead(_: object) -> asyncio.Future[Any]:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(checkout.writer, "record", dead)
        with pytest.raises(ZeroDivisionError):
            await post(shop, sale, lines(sale))
    assert await gate_left(gate, sale) == (99, 1)
    await reap_once(database, gate, sale_catalogue, age_ms=0)
    for _ in range(2):
        assert problem_of(await post(shop, sale, lines(sale))) == (410, "key_aborted")
    await asyncio.sleep(0.05)
    assert await gate_left(gate, sale) == (100, 0)
