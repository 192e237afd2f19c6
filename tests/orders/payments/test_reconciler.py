"""Reconciling: with every webhook lost and every call cut short, the books still end where Stripe is."""

from dataclasses import replace

import pytest

from orders.payments import attempts as tries
from orders.payments.reconciler import Reconciler
from tests.orders.payments.counter import Counter

CREATE = "POST /v1/payment_intents"


@pytest.fixture
def reconciler(counter: Counter) -> Reconciler:
    return Reconciler(counter.database, counter.sandbox.gateway, counter.pace, counter.inbox)


async def test_lost_webhooks_are_found_and_counted_once(
    counter: Counter, reconciler: Reconciler
) -> None:
    orders = [await counter.offered() for _ in range(5)]
    for order_id in orders:
        await counter.pay(order_id)
    assert await counter.settle_stored() == 0
    await reconciler.reconcile_once()
    await counter.settle_stored()
    assert {await counter.state(order_id) for order_id in orders} == {"PAID"}
    assert await counter.stock() == (0, 5)
    found = reconciler.missed_events
    assert found >= 5
    # The next round overlaps, and finds nothing new.
    await reconciler.reconcile_once()
    assert reconciler.missed_events == found
    assert await counter.settle_stored() == 0
    assert await counter.one("SELECT count(*) FROM ledger_transactions WHERE kind = 'capture'") == 5


async def test_events_from_before_the_first_round_are_found(
    counter: Counter, reconciler: Reconciler
) -> None:
    """A process that was down begins where the last event it has was received, or at its oldest attempt."""
    order_id = await counter.offered()
    await counter.pay(order_id)
    now = await counter.one("SELECT now()")
    assert (now - await reconciler._since(now)).total_seconds() >= 3_600
    await counter.age(order_id, 4 * 86_400)
    assert (now - await reconciler._since(now)).total_seconds() >= 4 * 86_400


async def test_rounds_overlap(counter: Counter, reconciler: Reconciler) -> None:
    """Stripe may list an event a little after its instant; a round that began where the last ended misses it."""
    await reconciler.reconcile_once()
    seen_until = await counter.one("SELECT seen_until FROM reconciled")
    since = await reconciler._since(seen_until)
    assert (seen_until - since).total_seconds() >= 60


async def test_a_worker_that_was_away_for_days_asks_for_all_of_them(
    counter: Counter, reconciler: Reconciler
) -> None:
    """Events of the last hours came, so nothing but the remembered instant says that one before them was lost."""
    await reconciler.reconcile_once()
    await counter.rows(
        "UPDATE reconciled SET seen_until = seen_until - interval '3 days' RETURNING 1"
    )
    order_id = await counter.offered()
    await counter.pay(order_id)
    now = await counter.one("SELECT now()")
    other = replace(reconciler)
    assert (now - await other._since(now)).total_seconds() >= 3 * 86_400


async def test_a_call_whose_answer_was_lost_is_finished_with_its_key(
    counter: Counter, reconciler: Reconciler
) -> None:
    order_id = await counter.offered()
    assert (await counter.pay_unanswered(order_id)).payment.status == "checking"
    await reconciler.reconcile_once()
    assert await counter.attempts(order_id) == [
        (1, "CREATING", 1)
    ]  # Too young: it may be in flight.
    await counter.age(order_id, 121)
    await reconciler.reconcile_once()
    assert await counter.attempts(order_id) == [(1, "SUCCEEDED", 1)]
    assert await counter.state(order_id) == "PAID"
    assert await counter.intents(order_id) == ["succeeded"]


@pytest.mark.parametrize(
    ("card", "reached_stripe", "ends"),
    [
        ("pm_card_visa", False, "SUCCEEDED"),
        ("pm_card_visa", True, "SUCCEEDED"),
        ("pm_card_visa_chargeDeclined", True, "DECLINED"),
    ],
)
async def test_a_second_card_is_tried_once_whenever_its_process_died(
    counter: Counter, reconciler: Reconciler, card: str, *, reached_stripe: bool, ends: str
) -> None:
    """A look at Stripe shows an intent that waits for a card, whether the second was refused or never sent."""
    order_id = await counter.offered()
    await counter.pay(order_id, "pm_card_visa_chargeDeclined")
    attempt = await counter.open_second_try(order_id, card)
    if reached_stripe:
        await tries.confirm(counter.sandbox.gateway, attempt)
    await counter.age(order_id, 121)
    await reconciler.reconcile_once()
    assert await counter.attempts(order_id) == [(1, ends, 2)]
    assert await counter.state(order_id) == ("PAID" if ends == "SUCCEEDED" else "AWAITING_PAYMENT")


async def test_a_second_card_is_not_tried_when_time_was_over(
    counter: Counter, reconciler: Reconciler
) -> None:
    order_id = await counter.offered()
    await counter.pay(order_id, "pm_card_visa_chargeDeclined")
    await counter.open_second_try(order_id, "pm_card_visa")
    await counter.end_time(order_id)
    await counter.age(order_id, 121)
    await reconciler.reconcile_once()
    assert await counter.attempts(order_id) == [(1, "DECLINED", 2)]
    assert await counter.intents(order_id) == ["requires_payment_method"]


async def test_after_a_stored_500_absence_is_proven_twice_before_a_new_attempt(
    counter: Counter, reconciler: Reconciler
) -> None:
    order_id = await counter.offered()
    await counter.sandbox.faults(next_500_stored=1, endpoint=CREATE)
    assert (await counter.pay(order_id)).payment.status == "checking"
    await counter.age(order_id, 121)
    await reconciler.reconcile_once()
    assert await counter.attempts(order_id) == [(1, "CREATING", 1)]
    assert (await counter.pay(order_id)).payment.status == "checking"
    await reconciler.reconcile_once()
    assert await counter.attempts(order_id) == [(1, "ABSENT", 1)]
    answer = await counter.pay(order_id)
    assert (answer.payment.status, answer.tries_left) == ("succeeded", 2)
    assert await counter.attempts(order_id) == [(1, "ABSENT", 1), (2, "SUCCEEDED", 1)]
    assert await counter.intents(order_id) == ["succeeded"]


async def test_a_stored_500_that_had_its_effect_is_found_by_metadata(
    counter: Counter, reconciler: Reconciler
) -> None:
    order_id = await counter.offered()
    await counter.sandbox.faults(next_500_after_effect=1, endpoint=CREATE)
    await counter.pay(order_id)
    await counter.age(order_id, 13 * 3600)  # Its key must not be used any more.
    await reconciler.reconcile_once()
    assert await counter.attempts(order_id) == [(1, "SUCCEEDED", 1)]
    assert await counter.state(order_id) == "PAID"


async def test_an_absent_one_that_comes_after_all_is_settled(
    counter: Counter, reconciler: Reconciler
) -> None:
    order_id = await counter.offered()
    await counter.sandbox.faults(next_500_after_effect=1, endpoint=CREATE)
    await counter.pay(order_id)
    await counter.rows("UPDATE pay_attempts SET state = 'ABSENT' RETURNING 1")
    await reconciler.reconcile_once()
    await counter.settle_stored()
    assert await counter.state(order_id) == "PAID"
    assert await counter.stock() == (0, 1)


async def test_a_processing_payment_is_asked_after(
    counter: Counter, reconciler: Reconciler
) -> None:
    order_id = await counter.offered()
    await counter.pay(order_id, "pm_card_bypassPending")
    assert await counter.state(order_id) == "PROCESSING"
    [row] = await counter.rows("SELECT payment_intent_id FROM pay_attempts")
    path = f"/sandbox/payment_intents/{row.payment_intent_id}/settle"
    await counter.sandbox.ask("POST", path, {"outcome": "fail"})
    await counter.age(order_id, 121)
    await reconciler.reconcile_once()
    assert await counter.state(order_id) == "AWAITING_PAYMENT"
    assert await counter.attempts(order_id) == [(1, "DECLINED", 1)]


async def test_a_payment_nobody_knows_of_is_reported_and_not_counted(
    counter: Counter, reconciler: Reconciler
) -> None:
    await reconciler.reconcile_once()
    seen = reconciler.unknown_payments
    await counter.sandbox.pay(order_id="ord_of_somebody_else")
    await reconciler.reconcile_once()
    assert reconciler.unknown_payments > seen
    await counter.settle_stored()
    assert await counter.one("SELECT count(*) FROM ledger_transactions") == 0


async def test_a_round_that_breaks_off_is_done_again_from_where_it_began(
    counter: Counter, reconciler: Reconciler
) -> None:
    await reconciler.reconcile_once()
    seen_until = await counter.one("SELECT seen_until FROM reconciled")
    order_id = await counter.offered()
    await counter.pay(order_id)
    await counter.sandbox.faults(outage=True, endpoint="GET /v1/payment_intents")
    with pytest.raises(Exception, match="503"):
        await reconciler.reconcile_once()
    assert await counter.one("SELECT seen_until FROM reconciled") == seen_until
    await counter.sandbox.faults(outage=False)
    await reconciler.reconcile_once()
    await counter.settle_stored()
    assert await counter.state(order_id) == "PAID"


async def test_one_attempt_that_stays_unknown_does_not_stop_the_others(
    counter: Counter, reconciler: Reconciler
) -> None:
    stuck, processing = await counter.offered(), await counter.offered()
    await counter.sandbox.faults(next_500_stored=1, endpoint=CREATE)
    await counter.pay(stuck)
    await counter.pay(processing)
    for order_id in (stuck, processing):
        await counter.age(order_id, 121)
    await counter.sandbox.faults(outage=True, endpoint=CREATE)
    await reconciler.reconcile_once()
    assert await counter.state(processing) == "PAID"
    assert await counter.attempts(stuck) == [(1, "CREATING", 1)]
