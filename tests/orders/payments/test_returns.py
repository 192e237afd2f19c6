"""Money that went back: found although no event told of it, told of by several events and counted once."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orders.payments.reconciler import Reconciler
from orders.payments.returns import look_for_returns
from tests.orders.payers import store_event
from tests.orders.payments.counter import Counter


@pytest.fixture
def reconciler(counter: Counter) -> Reconciler:
    return Reconciler(counter.database, counter.sandbox.gateway, counter.pace, counter.inbox)


async def paid(counter: Counter, *, settled: bool = True) -> tuple[str, str]:
    """Return an order that was paid, and its PaymentIntent; ``settled``: our books know it."""
    order_id = await counter.offered(2)
    await counter.pay(order_id)
    payment_intent_id = str(
        await counter.one(
            "SELECT payment_intent_id FROM pay_attempts WHERE order_id = :id", id=order_id
        )
    )
    if settled:
        await counter.end_time(order_id)
        fact = await counter.sandbox.gateway.retrieve(payment_intent_id)
        snapshot = (
            await counter.sandbox.ask("GET", f"/v1/payment_intents/{fact.payment_intent_id}")
        ).body
        await store_event(counter.database, "payment_intent.succeeded", snapshot)
        await settle(counter)
        assert await counter.state(order_id) == "PAID"
    return order_id, payment_intent_id


async def settle(counter: Counter) -> None:
    while await counter.settle_stored():
        pass


async def look(counter: Counter) -> int:
    since = datetime.now(UTC) - timedelta(minutes=5)
    return await look_for_returns(counter.database, counter.sandbox.gateway, counter.pace, since)


async def kinds(counter: Counter, order_id: str) -> list[str]:
    found = await counter.rows(
        "SELECT kind FROM ledger_transactions WHERE order_id = :id AND kind NOT LIKE '%fee' ORDER BY 1",
        id=order_id,
    )
    return [row.kind for row in found]


@pytest.mark.parametrize("settled", [True, False])
async def test_a_dispute_nobody_told_of_is_found(counter: Counter, *, settled: bool) -> None:
    order_id, payment_intent_id = await paid(counter, settled=settled)
    await counter.sandbox.dispute(payment_intent_id)
    for _ in range(2):
        await look(counter)
    assert await counter.state(order_id) == "DISPUTED"
    assert await kinds(counter, order_id) == ["capture", "dispute"]


async def test_a_refund_made_at_the_dashboard_is_found(counter: Counter) -> None:
    order_id, payment_intent_id = await paid(counter)
    await counter.sandbox.gateway.refund(payment_intent_id, 2990, "dashboard", {})
    for _ in range(2):
        await look(counter)
    assert await counter.state(order_id) == "PART_REFUNDED"
    assert await kinds(counter, order_id) == ["capture", "refund"]
    row = await counter.rows("SELECT refunded_minor FROM orders WHERE id = :id", id=order_id)
    assert [tuple(each) for each in row] == [(2990,)]


async def test_what_went_back_of_a_payment_that_is_not_ours_is_reported(
    counter: Counter, reconciler: Reconciler
) -> None:
    before = await look(counter)
    stranger = await counter.sandbox.pay(order_id="ord_of_another")
    await counter.sandbox.dispute(stranger.payment_intent_id, amount="1000")
    other = await counter.sandbox.pay(order_id="ord_of_a_third")
    await counter.sandbox.gateway.refund(other.payment_intent_id, 100, "strange", {})
    await reconciler.reconcile_once()
    assert reconciler.unknown_returns == before + 2
    assert await counter.one("SELECT count(*) FROM ledger_transactions") == 0


async def _told_by_events(counter: Counter, dispute_id: str) -> list[Any]:
    listed = (await counter.sandbox.ask("GET", "/v1/events?limit=100")).body["data"]
    return [each for each in reversed(listed) if each["data"]["object"]["id"] == dispute_id]


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(
    ("outcome", "types", "state", "posted"),
    [
        (
            "won",
            ["created", "funds_withdrawn", "funds_reinstated", "closed"],
            "PAID",
            ["capture", "dispute", "reinstate"],
        ),
        ("lost", ["created", "funds_withdrawn", "closed"], "REFUNDED", ["capture", "dispute"]),
    ],
)
async def test_every_event_of_a_dispute_counts_once(
    counter: Counter,
    outcome: str,
    types: list[str],
    state: str,
    posted: list[str],
    *,
    backwards: bool,
) -> None:
    order_id, payment_intent_id = await paid(counter)
    dispute = (await counter.sandbox.dispute(payment_intent_id)).body
    await counter.sandbox.decide(dispute["id"], outcome)
    events = await _told_by_events(counter, dispute["id"])
    assert [each["type"] for each in events] == [f"charge.dispute.{name}" for name in types]
    for event in [*events, *events] if not backwards else [*events, *events][::-1]:
        await store_event(counter.database, event["type"], event["data"]["object"])
        await settle(counter)
    assert await counter.state(order_id) == state
    assert await kinds(counter, order_id) == posted
    assert await counter.rows("SELECT reason FROM stripe_events WHERE state <> 'DONE'") == []
    # And the reconciler's own look changes nothing of it.
    await look(counter)
    assert await kinds(counter, order_id) == posted
    assert await counter.state(order_id) == state
