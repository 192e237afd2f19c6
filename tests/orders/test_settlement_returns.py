"""Money that goes back, or came for nothing: it must never stay in a total, and never go back twice."""

import pytest

from orders.ledger.seal import seal_once
from orders.settlement import Told, settle, settle_told
from stream_events.database import Database
from tests.factories import Sale
from tests.orders.payers import (
    add_attempt,
    books,
    net,
    place,
    rows,
    run,
    settled,
    snapshot_of,
    state_of,
    stock,
    store_event,
    word,
)


async def test_late_money_buys_what_is_still_free(database: Database, sale: Sale) -> None:
    placed = await place(database, sale, "EXPIRED")
    await settle(database, [placed.payment(), placed.payment()])
    assert await state_of(database, placed) == ("PAID", 2990, 0, 0)
    assert await word(database, placed) == "RXL"
    assert await stock(database) == (0, 1)
    steps = await rows(database, "SELECT from_state, to_state FROM order_transitions ORDER BY id")
    assert steps[-2:] == [("EXPIRED", "LATE_PAID"), ("LATE_PAID", "PAID")]


async def test_late_money_without_stock_goes_back_and_is_never_in_a_total(
    database: Database, sale: Sale
) -> None:
    placed = await place(database, sale, "EXPIRED")
    await run(database, "UPDATE stock SET total = 0")
    await settle(database, [placed.payment()])
    assert await state_of(database, placed) == ("REFUND_PENDING", 2990, 0, 0)
    assert await rows(database, "SELECT reason, amount_minor, state FROM refunds") == [
        ("late_no_stock", 2990, "CREATING")
    ]
    async with database.begin() as sql:
        scopes = await seal_once(sql)
    assert {(s.raised_minor, s.sales_minor, s.orders, s.units) for s in scopes} == {(0, 0, 0, 0)}
    [(refund_id,)] = await rows(database, "SELECT id FROM refunds")
    given_back = placed.refund("re_1", metadata={"refund_id": refund_id})
    assert await settled(database, given_back, given_back) == [("applied", ""), ("known", "")]
    assert await state_of(database, placed) == ("REFUNDED", 2990, 2990, 0)
    assert await rows(database, "SELECT state, stripe_refund_id FROM refunds") == [
        ("SUCCEEDED", "re_1")
    ]
    assert await net(database) == {}
    assert await word(database, placed) == "RX"


async def test_a_second_payment_of_an_order_is_owed_back_and_moves_nothing_else(
    database: Database, sale: Sale
) -> None:
    placed = await place(database, sale, attempt="ABSENT", payment_intent_id="pi_late")
    await run(database, "UPDATE pay_attempts SET payment_intent_id = NULL")
    await add_attempt(database, placed, 2, "REQUIRES_ACTION", "pi_second")
    second = placed.payment(
        payment_intent_id="pi_second", metadata={"order_id": placed.order_id, "attempt": "2"}
    )
    assert await settled(database, second, placed.payment(), placed.payment()) == [
        ("applied", ""),
        ("applied", "duplicate"),
        ("known", ""),
    ]
    assert await state_of(database, placed) == ("PAID", 2990, 0, 0)
    assert await stock(database) == (0, 1)
    assert await rows(database, "SELECT payment_intent_id, reason FROM refunds") == [
        ("pi_late", "duplicate")
    ]
    [(refund_id,)] = await rows(database, "SELECT id FROM refunds")
    await settle(database, [placed.refund("re_1", metadata={"refund_id": refund_id})])
    assert await state_of(database, placed) == ("PAID", 2990, 0, 0)
    async with database.begin() as sql:
        [scope, _] = await seal_once(sql)
    assert (scope.sales_minor, scope.raised_minor, scope.orders, scope.units) == (2990, 449, 1, 1)
    sums = await books(database)
    assert sums["surplus"]["stripe/clearing"] + sums["surplus_refund"]["stripe/clearing"] == 0


async def test_refunds_in_parts_give_every_share_back_to_the_last_unit(
    database: Database, sale: Sale
) -> None:
    placed = await place(database, sale, quantity=3)
    await settle(database, [placed.payment()])
    for number, amount_minor in enumerate((1, 4000, 4969)):
        await settle(database, [placed.refund(f"re_{number}", amount_minor=amount_minor)])
        expected = "REFUNDED" if number == 2 else "PART_REFUNDED"
        assert (await state_of(database, placed))[0] == expected
    assert await settled(database, placed.refund("re_9", amount_minor=1)) == [
        ("quarantined", "refund_exceeds_payment")
    ]
    assert await net(database) == {}
    async with database.begin() as sql:
        [scope, _] = await seal_once(sql)
    assert (scope.sales_minor, scope.raised_minor, scope.orders, scope.units) == (0, 0, 0, 0)


async def test_a_refund_that_fails_after_it_succeeded_is_taken_back(
    database: Database, sale: Sale
) -> None:
    placed = await place(database, sale)
    await settle(database, [placed.payment(), placed.refund("re_1")])
    before = await net(database)
    assert before == {}
    failed = placed.refund("re_1", "failed")
    assert await settled(database, failed, failed) == [("applied", "failed"), ("known", "")]
    assert await state_of(database, placed) == ("REFUND_FAILED", 2990, 0, 0)
    assert await settled(database, placed.refund("re_1")) == [("known", "")]
    assert (await net(database))["stripe/clearing"] == 2990
    async with database.begin() as sql:
        [scope, _] = await seal_once(sql)
    assert (scope.sales_minor, scope.orders, scope.units) == (2990, 1, 1)


@pytest.mark.parametrize(
    ("end", "state", "clearing"), [("won", "PAID", 2990), ("lost", "REFUNDED", None)]
)
async def test_a_dispute_takes_the_money_and_its_end_decides(
    database: Database, sale: Sale, end: str, state: str, clearing: int | None
) -> None:
    placed = await place(database, sale)
    await settle(database, [placed.payment()])
    assert await settled(database, placed.dispute("dp_1", "warning_needs_response")) == [
        ("ignored", "no money moved")
    ]
    await settle(database, [placed.dispute("dp_1", "needs_response")])
    assert await state_of(database, placed) == ("DISPUTED", 2990, 0, 2990)
    assert await net(database) == {}
    closed = placed.dispute("dp_1", end)
    event_id = await store_event(database, "charge.dispute.closed", snapshot_of(closed))
    await settle_told(database, [Told(closed, event_id, livemode=False)])
    assert (
        await settled(database, closed, placed.dispute("dp_1", "under_review"))
        == [("known", "")] * 2
    )
    assert (await state_of(database, placed))[0] == state
    assert (await net(database)).get("stripe/clearing") == clearing


async def test_a_refund_of_money_that_is_not_in_the_books_is_set_apart(
    database: Database, sale: Sale
) -> None:
    placed = await place(database, sale)
    assert await settled(database, placed.refund("re_1")) == [
        ("quarantined", "payment_not_in_books")
    ]
    await settle(database, [placed.payment()])
    live = Told(placed.refund("re_1"), livemode=True)
    assert [(o.result.value, o.reason) for o in await settle_told(database, [live])] == [
        ("quarantined", "livemode_mismatch")
    ]
