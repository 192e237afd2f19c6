"""The secret link of an order: it opens that order and nothing else, and is shown to its shopper alone."""

from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from fastapi import APIRouter
from redis.asyncio import Redis

import orders.owner_routes
import orders.routes
from orders.payments.pace import Pace
from stream_events.access import Signer, new_shopper, order_token
from stream_events.database import Database
from stream_events.ids import new_id
from tests.factories import Sale, bearer
from tests.orders.payers import place

CONTACT = {
    "name": "Wang Fang",
    "contact": "wang.fang@example.org",
    "address": "12 Peanut Road\nZhengyang, Henan 463600",
}


@pytest.fixture
def routers() -> Sequence[APIRouter]:
    return (orders.routes.router, orders.owner_routes.router)


@pytest.fixture
def app_state(app_state: dict[str, Any], redis: Redis) -> dict[str, Any]:
    return {**app_state, "pace": Pace(redis, rate_per_s=10)}


async def own_order(database: Database, sale: Sale) -> str:
    """Return an order of the sale's shopper."""
    return (await place(database, sale, attempt=None, shopper_id=sale.shopper_id)).order_id


async def test_the_link_opens_its_order_and_no_other(
    api: httpx.AsyncClient, database: Database, sale: Sale
) -> None:
    order_id = await own_order(database, sale)
    other_id = await own_order(database, sale)
    answer = await api.get(f"/v1/orders/{order_id}/link", headers=sale.auth("shopper"))
    page, _, token = answer.json()["url"].partition("#")
    assert page == "http://testserver/order"
    seen = await api.get(f"/v1/orders/{order_id}", headers=bearer(token))
    assert (seen.status_code, seen.json()["id"]) == (200, order_id)
    foreign = await api.get(f"/v1/orders/{other_id}", headers=bearer(token))
    missing = await api.get(f"/v1/orders/{new_id('ord')}", headers=bearer(token))
    assert (foreign.status_code, missing.status_code) == (404, 404)
    assert foreign.content == missing.content


async def test_whoever_holds_the_link_gives_and_erases_the_contact(
    api: httpx.AsyncClient, database: Database, sale: Sale, signer: Signer
) -> None:
    order_id, other_id = await own_order(database, sale), await own_order(database, sale)
    headers = bearer(order_token(signer, order_id))
    for method, body in (("PUT", CONTACT), ("DELETE", None)):
        own, foreign = [
            await api.request(method, f"/v1/orders/{each}/contact", headers=headers, json=body)
            for each in (order_id, other_id)
        ]
        assert (own.status_code, foreign.status_code) == (204, 404)


async def test_only_the_shopper_is_given_the_link(
    api: httpx.AsyncClient, database: Database, sale: Sale, signer: Signer
) -> None:
    order_id = await own_order(database, sale)
    statuses = {
        role: (await api.get(f"/v1/orders/{order_id}/link", headers=sale.auth(role))).status_code
        for role in ("operator", "host", "farmer", "overlay", "holder", "public")
    }
    assert statuses == {**dict.fromkeys(statuses, 403), "public": 401}
    stranger = bearer(new_shopper(signer)[1])
    foreign = await api.get(f"/v1/orders/{order_id}/link", headers=stranger)
    assert foreign.status_code == 404


async def test_tokens_do_not_serve_for_one_another(
    api: httpx.AsyncClient, database: Database, sale: Sale, signer: Signer
) -> None:
    """A shopper's id signed as an order, or an order's as a shopper, is nobody's credential for anything."""
    order_id = await own_order(database, sale)
    for token, status in (
        (signer.sign("order", sale.shopper_id), 404),
        (signer.sign("shopper", order_id), 404),
        (signer.sign("socket", order_id), 401),
        (f"{order_id}.{'0' * 32}", 401),
        (order_token(Signer(b"x" * 32), order_id), 401),
    ):
        answer = await api.get(f"/v1/orders/{order_id}", headers=bearer(token))
        assert answer.status_code == status
