"""Settlement is the only way money gets into the books: every fact once, whole, or set apart."""

import asyncio
import itertools
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from inventory import guard
from orders import order_books_sql, settlement
from orders.ledger.post import Posting
from orders.order_rows import Result
from orders.settlement import Told, settle, settle_told
from stream_events.database import Database
from tests.factories import Sale
from tests.orders.payers import (
    add_attempt,
    books,
    place,
    rows,
    settled,
    snapshot_of,
    state_of,
    stock,
    store_event,
    word,
)


async def test_a_success_pays_the_order_sells_its_units_and_splits_the_money(
    database: Database, sale: Sale
) -> None:
    placed = await place(database, sale, quantity=2)
    [outcome] = await settle(database, [placed.payment(fee_minor=203)])
    assert (outcome.result, outcome.order_id, outcome.order_state) == (
        Result.APPLIED,
        placed.order_id,
        "PAID",
    )
    assert await state_of(database, placed) == ("PAID", 5980, 0, 0)
    assert await stock(database) == (0, 2)
    assert await books(database) == {
        "capture": {
            "stripe/clearing": 5980,
            f"farmer/{sale.farmer_id}": -4784,
            f"beneficiary/{sale.beneficiary_id}": -897,
            "platform/fees": -299,
        },
        "stripe_fee": {"stripe/fees": 203, "stripe/clearing": -203},
    }
    assert await rows(database, "SELECT state FROM pay_attempts") == [("SUCCEEDED",)]
    assert await rows(database, "SELECT octet_length(salt) FROM order_salts") == [(32,)]
    steps = await rows(database, "SELECT from_state, to_state FROM order_transitions ORDER BY id")
    assert steps[-1] == ("AWAITING_PAYMENT", "PAID")


async def test_the_same_fact_again_changes_nothing_and_a_late_fee_is_still_posted(
    database: Database, sale: Sale
) -> None:
    placed = await place(database, sale)
    again = [placed.payment(), placed.payment(), placed.payment()]
    assert await settled(database, *again) == [("applied", ""), ("known", ""), ("known", "")]
    assert await settled(database, placed.payment()) == [("known", "")]
    assert await settled(database, placed.payment(fee_minor=117)) == [("applied", "fee")]
    assert await settled(database, placed.payment(fee_minor=117)) == [("known", "")]
    assert await rows(database, "SELECT kind FROM ledger_transactions ORDER BY kind") == [
        ("capture",),
        ("stripe_fee",),
    ]
    assert await stock(database) == (0, 1)


STATUSES = ("processing", "requires_action", "requires_payment_method", "succeeded")


@pytest.mark.parametrize("together", [True, False])
async def test_every_order_of_events_with_duplicates_ends_paid(
    database: Database, sale: Sale, together: bool
) -> None:
    """created, processing, requires_action, payment_failed, succeeded in all 24 orders, each of them twice."""
    orders = []
    for order in itertools.permutations(STATUSES):
        placed = await place(database, sale, attempt="CREATING")
        facts = [placed.payment(status) for status in order for _ in range(2)]
        if together:
            await settle(database, facts)
        else:
            for fact in facts:
                await settle(database, [fact])
        orders.append(placed)
    assert {await state_of(database, placed) for placed in orders} == {("PAID", 2990, 0, 0)}
    assert {await word(database, placed) for placed in orders} == {"RC"}
    assert await rows(database, "SELECT DISTINCT state FROM pay_attempts") == [("SUCCEEDED",)]
    assert (await books(database))["capture"]["stripe/clearing"] == 24 * 2990


async def test_every_order_of_events_before_a_cancellation_ends_expired(
    database: Database, sale: Sale
) -> None:
    orders = []
    for order in itertools.permutations(("requires_action", "requires_payment_method", "canceled")):
        placed = await place(database, sale, "EXPIRING")
        await settle(database, [placed.payment(status) for status in order for _ in range(2)])
        orders.append(placed)
    assert {await state_of(database, placed) for placed in orders} == {("EXPIRED", 0, 0, 0)}
    assert {await word(database, placed) for placed in orders} == {"RX"}
    assert await stock(database) == (0, 0)


async def test_a_cancellation_releases_only_when_nothing_else_is_payable(
    database: Database, sale: Sale
) -> None:
    placed = await place(database, sale, "EXPIRING", attempt="DECLINED")
    await add_attempt(database, placed, 2, "REQUIRES_ACTION", "pi_second")
    await settle(database, [placed.payment("canceled")])
    assert (await state_of(database, placed))[0] == "EXPIRING"
    second = placed.payment("canceled", payment_intent_id="pi_second")
    await settle(database, [second, second])
    assert (await state_of(database, placed))[0] == "EXPIRED"
    assert await word(database, placed) == "RX"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"amount_minor": 2989}, "amount_mismatch"),
        ({"amount_received_minor": 2989}, "received_mismatch"),
        ({"currency": "USD"}, "currency_mismatch"),
        ({"livemode": True}, "livemode_mismatch"),
        ({"payment_intent_id": "pi_of_somebody"}, "unknown_payment_intent"),
        ({"metadata": {"order_id": "ord_unknown", "attempt": "1"}}, "unknown_order"),
        ({"metadata": {}}, "unknown_order"),
    ],
)
async def test_money_that_does_not_fit_is_set_apart_and_counted_nowhere(
    database: Database, sale: Sale, changed: dict[str, Any], reason: str
) -> None:
    placed = await place(database, sale)
    event_id = await store_event(database, "payment_intent.succeeded", {})
    [outcome] = await settle_told(database, [Told(placed.payment(**changed), event_id)])
    assert (outcome.result, outcome.reason) == (Result.QUARANTINED, reason)
    assert await rows(database, "SELECT state, reason FROM stripe_events") == [
        ("QUARANTINED", reason)
    ]
    assert await state_of(database, placed) == ("AWAITING_PAYMENT", 0, 0, 0)
    assert await books(database) == {}
    assert await stock(database) == (1, 0)


async def test_an_order_that_was_never_offered_cannot_be_paid(
    database: Database, sale: Sale
) -> None:
    placed = await place(database, sale, "RESERVED")
    [(result, reason)] = await settled(database, placed.payment())
    assert (result, reason) == ("quarantined", "a payment for an order that was never offered")
    assert await books(database) == {}


async def test_an_attempt_learns_its_payment_intent_from_our_metadata(
    database: Database, sale: Sale
) -> None:
    placed = await place(database, sale, attempt="CREATING")
    wrong = placed.payment(metadata={"order_id": placed.order_id, "attempt": "2"})
    assert await settled(database, wrong) == [("quarantined", "unknown_payment_intent")]
    await settle(database, [placed.payment()])
    found = await rows(database, "SELECT payment_intent_id, state FROM pay_attempts")
    assert found == [(placed.payment_intent_id, "SUCCEEDED")]


async def test_a_mixed_batch_sells_releases_and_sells_late_without_mixing_locks(
    database: Database, sale: Sale, monkeypatch: pytest.MonkeyPatch
) -> None:
    moves: list[set[str]] = []
    real_save = order_books_sql.save

    async def save(sql: Any, saved: Any) -> None:
        moves.append({each.move for each in saved if each.move})
        await real_save(sql, saved)

    monkeypatch.setattr(order_books_sql, "save", save)
    paid = [await place(database, sale) for _ in range(3)]
    gone = [await place(database, sale, "EXPIRING") for _ in range(3)]
    late = [await place(database, sale, "EXPIRED") for _ in range(2)]
    facts = []
    for a, b, c in itertools.zip_longest(paid, gone, late):
        facts += [a.payment(), b.payment("canceled")] + ([c.payment()] if c else [])
    outcomes = await settle(database, facts)
    assert {outcome.result for outcome in outcomes} == {Result.APPLIED}
    assert [outcome.fact for outcome in outcomes] == facts
    assert all(len(kinds) <= 1 for kinds in moves)
    assert await stock(database) == (0, 5)
    assert [(await state_of(database, each))[0] for each in paid + gone + late] == (
        ["PAID"] * 3 + ["EXPIRED"] * 3 + ["PAID"] * 2
    )


async def test_the_same_event_settled_at_once_counts_once(database: Database, sale: Sale) -> None:
    placed = [await place(database, sale) for _ in range(4)]
    told = [
        Told(
            each.payment(),
            await store_event(database, "payment_intent.succeeded", snapshot_of(each.payment())),
        )
        for each in placed
    ]
    found = await asyncio.gather(
        *(settle_told(database, told[shift:] + told[:shift]) for shift in (0, 1, 2, 3))
    )
    applied = [
        outcome for outcomes in found for outcome in outcomes if outcome.result is Result.APPLIED
    ]
    assert len(applied) == 4
    assert await rows(database, "SELECT state, count(*) FROM stripe_events GROUP BY 1") == [
        ("DONE", 4)
    ]
    assert (await books(database))["capture"]["stripe/clearing"] == 4 * 2990


async def test_an_event_that_another_worker_has_is_left_to_it(
    database: Database, sale: Sale
) -> None:
    placed = await place(database, sale)
    event_id = await store_event(
        database, "payment_intent.succeeded", snapshot_of(placed.payment())
    )
    told = [Told(placed.payment(), event_id)]
    async with database.begin() as sql:
        await sql.execute(text("SELECT 1 FROM stripe_events FOR UPDATE"))
        [outcome] = await settle_told(database, told)
    assert (outcome.result, outcome.reason) == (Result.KNOWN, "another worker has it")
    assert await books(database) == {}
    await settle_told(database, told)
    assert (await state_of(database, placed))[0] == "PAID"


async def test_the_same_payment_from_webhook_and_route_at_once_counts_once(
    database: Database, sale: Sale
) -> None:
    placed = await place(database, sale)
    found = await asyncio.gather(*(settle(database, [placed.payment()]) for _ in range(5)))
    results = sorted(outcome.result.value for [outcome] in found)
    assert results == ["applied"] + ["known"] * 4
    assert await stock(database) == (0, 1)


async def test_a_fact_that_breaks_its_transaction_is_found_and_the_others_are_settled(
    database: Database, sale: Sale, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed = [await place(database, sale) for _ in range(7)]
    poison = placed[4]
    real_amounts = Posting.amounts

    def amounts(posting: Posting) -> list[tuple[str, int]]:
        if posting.order_id == poison.order_id:
            raise ZeroDivisionError
        return real_amounts(posting)

    monkeypatch.setattr(Posting, "amounts", amounts)
    told = [
        Told(
            each.payment(),
            await store_event(database, "payment_intent.succeeded", snapshot_of(each.payment())),
        )
        for each in placed
    ]
    outcomes = await settle_told(database, told)
    assert [outcome.result.value for outcome in outcomes] == ["applied"] * 4 + ["quarantined"] + [
        "applied"
    ] * 2
    assert outcomes[4].reason == "error: ZeroDivisionError"
    assert await rows(database, "SELECT reason FROM stripe_events WHERE state = 'QUARANTINED'") == [
        ("error: ZeroDivisionError",)
    ]
    assert await state_of(database, poison) == ("AWAITING_PAYMENT", 0, 0, 0)
    assert await stock(database) == (1, 6)


async def test_a_lock_that_is_not_to_be_had_quarantines_nothing(
    database: Database, sale: Sale, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settlement, "TRIES_MAX", 1)
    placed = await place(database, sale)
    event_id = await store_event(
        database, "payment_intent.succeeded", snapshot_of(placed.payment())
    )
    async with database.begin() as sql:
        await order_books_sql.load(sql, [placed.order_id])
        with pytest.raises(Exception, match="lock timeout"):
            await settle_told(database, [Told(placed.payment(), event_id)])
    assert await rows(database, "SELECT state FROM stripe_events") == [("NEW",)]
    await settle_told(database, [Told(placed.payment(), event_id)])
    assert await rows(database, "SELECT state FROM stripe_events") == [("DONE",)]


async def test_a_sale_that_cannot_be_committed_changes_nothing_at_all(
    database: Database, sale: Sale, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed = await place(database, sale)

    async def broken(*_: Any) -> None:
        raise IntegrityError("", None, Exception("broken"))

    monkeypatch.setattr(guard, "commit_sold", broken)
    [(result, _)] = await settled(database, placed.payment())
    assert result == "quarantined"
    assert await books(database) == {}
    assert await state_of(database, placed) == ("AWAITING_PAYMENT", 0, 0, 0)
