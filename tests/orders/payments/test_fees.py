"""A webhook never names Stripe's fee: it is booked all the same, once, a little later."""

import pytest

from orders.payments.fees import look_for_fees
from orders.payments.reconciler import Reconciler
from tests.orders.payments.counter import Counter

FEES = """
    SELECT t.source_id, e.amount_minor FROM ledger_transactions t JOIN ledger_entries e ON e.transaction_id = t.id
    WHERE t.kind = 'stripe_fee' AND e.account = 'stripe/fees' ORDER BY t.source_id
"""


@pytest.fixture
def reconciler(counter: Counter) -> Reconciler:
    return Reconciler(counter.database, counter.sandbox.gateway, counter.pace, counter.inbox)


async def paid_by_webhooks(counter: Counter, reconciler: Reconciler, orders: int) -> list[str]:
    """Let orders be paid by what webhooks say, and return their payments."""
    for _ in range(orders):
        await counter.pay(await counter.offered())
    await reconciler.reconcile_once()
    await counter.settle_stored()
    assert await counter.rows(FEES) == []
    found = await counter.rows("SELECT payment_intent_id FROM pay_attempts ORDER BY 1")
    return [row.payment_intent_id for row in found]


async def test_fees_come_with_the_list_of_payments(
    counter: Counter, reconciler: Reconciler
) -> None:
    payments = await paid_by_webhooks(counter, reconciler, 3)
    for _ in range(2):
        await reconciler.reconcile_once()
        found = await counter.rows(FEES)
        assert [row.source_id for row in found] == payments
        assert all(row.amount_minor > 0 for row in found)


async def test_what_is_not_listed_any_more_is_asked_after(
    counter: Counter, reconciler: Reconciler
) -> None:
    payments = await paid_by_webhooks(counter, reconciler, 3)
    asked = counter.database, counter.sandbox.gateway, counter.pace
    # Too young: it is still to be listed.
    assert await look_for_fees(*asked) == 0
    assert await look_for_fees(*asked, age_s_min=-1, most=2) == 2
    assert await look_for_fees(*asked, age_s_min=-1, most=2) == 1
    assert await look_for_fees(*asked, age_s_min=-1, most=2) == 0
    assert [row.source_id for row in await counter.rows(FEES)] == payments
