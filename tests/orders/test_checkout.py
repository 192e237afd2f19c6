"""Placing orders through the real gate and the real database: what is promised at the counter."""

import asyncio

import pytest
from sqlalchemy.exc import TimeoutError as PoolExhausted

from orders.checkout import Checkout, Request
from orders.placements import Placed
from stream_events.batching import QueueFull
from stream_events.database import Database
from stream_events.errors import Problem
from tests.factories import Sale


def wish(sale: Sale, key: str, quantity: int = 1, shopper: str | None = None) -> Request:
    """A request for peanuts."""
    return Request(sale.stream_id, shopper or sale.shopper_id, key, ((sale.sku, quantity),))


async def test_an_order_is_durable_when_answered(
    checkout: Checkout, sale: Sale, database: Database
) -> None:
    """The answer names an order that SQL has, with its units reserved."""
    answer = await checkout.place(wish(sale, "one", 2))
    assert answer.status == 201
    assert answer.order.total_minor == 2 * sale.price_minor
    sql = await database.connect()
    try:
        assert (
            await sql.fetchval("SELECT state FROM orders WHERE id = $1", answer.order.order_id)
            == "RESERVED"
        )
        assert await sql.fetchval("SELECT reserved FROM stock") == 2
    finally:
        await sql.close()


async def test_the_same_key_gives_the_same_answer(checkout: Checkout, sale: Sale) -> None:
    """Once while it is held, once when the hold is long gone: one order."""
    first, second = await asyncio.gather(
        checkout.place(wish(sale, "one")), checkout.place(wish(sale, "one"))
    )
    await asyncio.sleep(0.05)
    third = await checkout.place(wish(sale, "one"))
    assert first.order[:6] == second.order[:6] == third.order[:6]


async def test_the_same_key_with_another_body_is_refused(checkout: Checkout, sale: Sale) -> None:
    """422, and nothing more is reserved."""
    await checkout.place(wish(sale, "one"))
    with pytest.raises(Problem) as refusal:
        await checkout.place(wish(sale, "one", 2))
    assert (refusal.value.status, refusal.value.code) == (422, "idempotency_conflict")


async def test_a_crowd_gets_every_unit_and_not_one_more(
    checkout: Checkout, sale: Sale, database: Database
) -> None:
    """A thousand shoppers, a hundred bags: a hundred orders, and the rest is told sold out."""
    asked = [checkout.place(wish(sale, "k", 1, f"shp_{n}")) for n in range(1000)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    placed = [a for a in answers if not isinstance(a, BaseException)]
    refused = [a for a in answers if isinstance(a, Problem)]
    assert len(placed) == sale.total
    assert {r.code for r in refused} == {"sold_out"}
    assert len(placed) + len(refused) == 1000
    assert all(isinstance(a.order, Placed) for a in placed)


async def test_the_limit_holds_and_nobody_is_blocked_by_oneself(
    checkout: Checkout, sale: Sale
) -> None:
    """Five a shopper: a sixth is refused, the same lines again return the open order."""
    first = await checkout.place(wish(sale, "one", 5))
    again = await checkout.place(wish(sale, "two", 5))
    assert (again.status, again.order.order_id) == (200, first.order.order_id)
    with pytest.raises(Problem) as refusal:
        await checkout.place(wish(sale, "three", 1))
    assert (refusal.value.code, refusal.value.members["yours"]) == ("limit_exceeded", 5)


async def test_an_overrun_or_absent_database_is_a_503_and_no_mistake_of_ours(
    checkout: Checkout, sale: Sale, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hot route stands in front of the app's own handling of outages, so none may get past the checkout."""
    await checkout.place(wish(sale, "one", 5))

    def away(*_: object) -> None:
        raise PoolExhausted

    def full(*_: object) -> None:
        raise QueueFull

    for place, name, fault in ((database, "begin", away), (checkout.writer, "look_up", full)):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, fault)
            with pytest.raises(Problem) as refusal:
                await checkout.place(wish(sale, "two", 1))
            assert refusal.value.status == 503
            with pytest.raises(Problem) as refusal:
                await checkout.place(wish(sale, "one", 1)._replace(lines=(("PEAR", 1),)))
            assert refusal.value.status in {422, 503}
