"""Asking an order back: who may, when, for what, and that one wish is open at a time."""

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from fastapi import APIRouter

import orders.asking_routes
import orders.owner_routes
from stream_events.access import Signer, new_shopper, order_token
from stream_events.database import Database
from stream_events.ids import new_id
from tests.factories import Sale, bearer, seed_sale
from tests.orders.payers import place, rows, run


@pytest.fixture
def routers() -> Sequence[APIRouter]:
    return (orders.owner_routes.router, orders.asking_routes.router)


async def paid_order(database: Database, sale: Sale, state: str = "PAID") -> str:
    """Return an order of the sale's shopper, of two bags, in this state."""
    placed = await place(database, sale, attempt=None, shopper_id=sale.shopper_id, quantity=2)
    statement = "UPDATE orders SET state = :state WHERE id = :id"
    await run(database, statement, state=state, id=placed.order_id)
    return placed.order_id


def address(order_id: str) -> str:
    return f"/v1/orders/{order_id}/refund-requests"


async def test_a_wish_is_written_down_read_withdrawn_and_asked_again(
    api: httpx.AsyncClient, database: Database, sale: Sale, signer: Signer
) -> None:
    order_id = await paid_order(database, sale)
    mine, holder = sale.auth("shopper"), bearer(order_token(signer, order_id))
    lines = [{"sku": sale.sku, "quantity": 1}]
    body = {"lines": lines, "reason": "  The bag was\u00a0torn.\r\nSorry. "}
    answer = await api.post(address(order_id), headers=holder, json=body)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert (made["lines"], made["state"]) == (lines, "OPEN")
    assert made["reason"] == "The bag was torn.\nSorry."
    assert (made["refund_id"], made["decided_at"]) == (None, None)
    assert (await api.get(address(order_id), headers=mine)).json()["items"] == [made]
    again = await api.post(address(order_id), headers=mine, json={})
    assert (again.status_code, again.json()["code"]) == (409, "already_asked")
    for _ in range(2):
        assert (await api.delete(address(order_id), headers=holder)).status_code == 204
    whole = await api.post(address(order_id), headers=mine, json={})
    assert (whole.status_code, whole.json()["lines"]) == (201, [])
    listed = (await api.get(f"{address(order_id)}?limit=1", headers=holder)).json()
    assert [item["id"] for item in listed["items"]] == [whole.json()["id"]]
    assert listed["next"]
    states = await rows(database, "SELECT state FROM refund_requests ORDER BY id")
    assert states == [("WITHDRAWN",), ("OPEN",)]


async def test_of_two_at_once_one_is_written_down(
    api: httpx.AsyncClient, database: Database, sale: Sale
) -> None:
    order_id = await paid_order(database, sale)
    answers = await asyncio.gather(
        *(api.post(address(order_id), headers=sale.auth("shopper"), json={}) for _ in range(4))
    )
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ("AWAITING_PAYMENT", "not_paid"),
        ("EXPIRED", "not_paid"),
        ("CANCELLED", "not_paid"),
        ("DISPUTED", "payment_disputed"),
        ("LATE_PAID", "already_refunded"),
        ("REFUND_PENDING", "already_refunded"),
        ("REFUNDED", "already_refunded"),
        ("PAID", None),
        ("PART_REFUNDED", None),
        ("REFUND_FAILED", None),
    ],
)
async def test_only_money_that_is_with_us_is_asked_back(
    api: httpx.AsyncClient, database: Database, sale: Sale, state: str, code: str | None
) -> None:
    order_id = await paid_order(database, sale, state)
    answer = await api.post(address(order_id), headers=sale.auth("shopper"), json={})
    assert answer.status_code == (409 if code else 201)
    assert answer.json().get("code") == code


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"lines": [{"sku": "PEANUT-5KG", "quantity": 3}]}, "unknown_line"),
        ({"lines": [{"sku": "SAUCE", "quantity": 1}]}, "unknown_line"),
        ({"lines": [{"sku": "PEANUT-5KG", "quantity": 0}]}, "invalid"),
        ({"lines": [{"sku": "PEANUT-5KG", "quantity": True}]}, "invalid"),
        ({"lines": [{"sku": "PEANUT-5KG", "quantity": 1, "amount_minor": 1}]}, "invalid"),
        ({"lines": [{"sku": "PEANUT-5KG", "quantity": 1}] * 2}, "invalid"),
        ({"reason": "x" * 501}, "invalid"),
        ({"reason": "turned \u202e around"}, "invalid"),
        ({"reason": "\x1b[31m"}, "invalid"),
        ({"reason": "   "}, "invalid"),
        ({"state": "ACCEPTED"}, "invalid"),
    ],
)
async def test_what_was_not_bought_or_cannot_be_read_is_refused(
    api: httpx.AsyncClient, database: Database, sale: Sale, body: dict[str, Any], code: str
) -> None:
    order_id = await paid_order(database, sale)
    answer = await api.post(address(order_id), headers=sale.auth("shopper"), json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert await rows(database, "SELECT 1 FROM refund_requests") == []


async def test_asking_and_withdrawing_in_a_loop_ends(
    api: httpx.AsyncClient, database: Database, sale: Sale
) -> None:
    order_id = await paid_order(database, sale)
    codes = []
    for _ in range(11):
        answer = await api.post(address(order_id), headers=sale.auth("shopper"), json={})
        codes.append(answer.status_code)
        await api.delete(address(order_id), headers=sale.auth("shopper"))
    assert codes == [*[201] * 10, 409]


async def test_somebody_elses_order_cannot_be_asked_back(
    api: httpx.AsyncClient, database: Database, sale: Sale, signer: Signer
) -> None:
    order_id, other_id = await paid_order(database, sale), await paid_order(database, sale)
    await api.post(address(order_id), headers=sale.auth("shopper"), json={})
    strangers = (bearer(new_shopper(signer)[1]), bearer(order_token(signer, other_id)))
    for headers in strangers:
        for method, body in (("POST", {}), ("GET", None), ("DELETE", None)):
            foreign, missing = [
                await api.request(method, address(each), headers=headers, json=body)
                for each in (order_id, new_id("ord"))
            ]
            assert (foreign.status_code, missing.status_code) == (404, 404)
            assert foreign.content == missing.content
    for role in ("operator", "host", "farmer", "overlay"):
        answer = await api.post(address(order_id), headers=sale.auth(role), json={})
        assert answer.status_code == 403
    assert await rows(database, "SELECT state FROM refund_requests") == [("OPEN",)]


async def test_staff_see_what_is_asked_back_in_their_own_streams(
    api: httpx.AsyncClient, database: Database, sale: Sale, signer: Signer
) -> None:
    other = await seed_sale(database, signer, sku="SAUCE")
    ours = [await paid_order(database, sale), await paid_order(database, sale)]
    theirs = await paid_order(database, other)
    for order_id, who in ((ours[0], sale), (ours[1], sale), (theirs, other)):
        await api.post(address(order_id), headers=who.auth("shopper"), json={"reason": "Torn"})
    await api.delete(address(ours[0]), headers=sale.auth("shopper"))
    url = f"/v1/streams/{sale.stream_id}/refund-requests"
    for role in ("operator", "host"):
        answer = await api.get(url, headers=sale.auth(role))
        [item] = answer.json()["items"]
        assert (item["order_id"], item["reason"], item["state"]) == (ours[1], "Torn", "OPEN")
        gone = (await api.get(f"{url}?state=WITHDRAWN", headers=sale.auth(role))).json()["items"]
        assert [each["order_id"] for each in gone] == [ours[0]]
    for role in ("farmer", "overlay", "shopper", "holder", "public"):
        answer = await api.get(url, headers=sale.auth(role))
        assert answer.status_code == (401 if role == "public" else 403)
    foreign = await api.get(url, headers=other.auth("host"))
    missing = await api.get("/v1/streams/str_0/refund-requests", headers=other.auth("host"))
    assert (foreign.status_code, missing.status_code) == (404, 404)
    assert foreign.content == missing.content
    assert (await api.get(f"{url}?state=open", headers=sale.auth("host"))).status_code == 422
