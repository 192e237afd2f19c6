"""What staff see of orders whose money moved on, and how parcels go: step by step, once, and only goods that are sold."""

from collections.abc import Sequence
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import APIRouter
from redis.asyncio import Redis
from sqlalchemy import text

from orders import refund_routes, staff_routes
from orders.payments.pace import Pace
from orders.settlement import settle
from stream_events.database import Database
from tests.factories import Sale
from tests.orders.payers import Placed, place, rows


@pytest.fixture
def routers() -> Sequence[APIRouter]:
    outer = APIRouter(prefix="/v1")
    outer.include_router(refund_routes.router)
    return (outer, staff_routes.router)


@pytest.fixture
def app_state(app_state: dict[str, Any], redis: Redis) -> dict[str, Any]:
    return {**app_state, "pace": Pace(redis, rate_per_s=10)}


@pytest_asyncio.fixture(loop_scope="session")
async def paid(database: Database, sale: Sale) -> Placed:
    """Three bags, paid."""
    placed = await place(database, sale, quantity=3)
    await settle(database, [placed.payment()])
    return placed


async def step(
    api: httpx.AsyncClient, placed: Placed, *steps: str, role: str = "host"
) -> httpx.Response:
    for each in steps:
        answer = await api.post(
            f"/v1/orders/{placed.order_id}/fulfilment",
            headers=placed.sale.auth(role),
            json={"step": each},
        )
    return answer


async def test_a_parcel_goes_its_way_and_is_delivered_once(
    api: httpx.AsyncClient, database: Database, paid: Placed
) -> None:
    answer = await step(api, paid, "PACK", "PACK", "SHIP", "DELIVER")
    assert (answer.status_code, answer.json()["fulfilment"]) == (200, "DELIVERED")
    [(first,)] = await rows(database, "SELECT delivered_at FROM orders")
    assert first is not None
    again = await step(api, paid, "DELIVER", role="operator")
    assert again.json()["fulfilment"] == "DELIVERED"
    assert await rows(database, "SELECT delivered_at FROM orders") == [(first,)]


async def test_no_step_is_skipped(api: httpx.AsyncClient, paid: Placed) -> None:
    answer = await step(api, paid, "SHIP")
    assert (answer.status_code, answer.json()["code"]) == (409, "wrong_step")
    assert answer.json()["fulfilment"] == "NONE"


async def test_only_goods_that_are_sold_leave(
    api: httpx.AsyncClient, database: Database, sale: Sale
) -> None:
    unpaid = await place(database, sale)
    answer = await step(api, unpaid, "PACK")
    assert (answer.status_code, answer.json()["code"]) == (409, "nothing_to_send")
    assert await rows(database, "SELECT fulfilment FROM orders") == [("NONE",)]


async def test_a_gift_has_no_parcel(api: httpx.AsyncClient, database: Database, sale: Sale) -> None:
    gift = await place(database, sale, quantity=0, gifts=[(sale.beneficiary_id, 700)])
    await settle(database, [gift.payment()])
    answer = await step(api, gift, "PACK")
    assert (answer.status_code, answer.json()["code"]) == (409, "nothing_to_send")


@pytest.mark.parametrize(("role", "status"), [("shopper", 403), ("farmer", 403), ("public", 401)])
async def test_parcels_are_for_staff(
    api: httpx.AsyncClient, paid: Placed, role: str, status: int
) -> None:
    assert (await step(api, paid, "PACK", role=role)).status_code == status


async def test_staff_find_the_orders_whose_money_moved(
    api: httpx.AsyncClient, database: Database, sale: Sale, paid: Placed
) -> None:
    back = await place(database, sale, quantity=1)
    await settle(database, [back.payment()])
    made = await api.post(
        f"/v1/orders/{back.order_id}/refunds",
        headers={**sale.auth("operator"), "idempotency-key": "k1"},
        json={"all": True, "reason": "quality"},
    )
    assert made.status_code == 201, made.text
    for query, found in (("", [back.order_id]), ("?state=DISPUTED", [])):
        answer = await api.get(
            f"/v1/streams/{sale.stream_id}/orders{query}", headers=sale.auth("host")
        )
        assert answer.status_code == 200, answer.text
        assert [item["id"] for item in answer.json()["items"]] == found
    wrong = await api.get(
        f"/v1/streams/{sale.stream_id}/orders?state=PAID", headers=sale.auth("host")
    )
    assert wrong.status_code == 422


async def test_another_hosts_orders_do_not_exist(
    api: httpx.AsyncClient, database: Database, sale: Sale, paid: Placed
) -> None:
    async with database.begin() as sql:
        await sql.execute(text("INSERT INTO hosts (id, name) VALUES ('hst_other', 'Other')"))
        await sql.execute(text("UPDATE streams SET host_id = 'hst_other'"))
    answer = await step(api, paid, "PACK")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    listed = await api.get(f"/v1/streams/{sale.stream_id}/orders", headers=sale.auth("host"))
    assert listed.status_code == 404
