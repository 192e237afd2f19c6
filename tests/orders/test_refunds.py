"""Money owed back reaches Stripe once, whatever breaks between the row and the answer."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from orders.payments.facts import RefundFact
from orders.payments.pace import Pace
from orders.refunds import refund_once
from orders.settlement import settle
from stream_events.database import Database
from tests.factories import Sale
from tests.orders.payers import Placed, net, place, rows, run, state_of
from tests.orders.payments.sandbox_process import RunningSandbox, running_sandbox, until


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def sandbox() -> AsyncIterator[RunningSandbox]:
    async with running_sandbox("--refund-delay-ms", "100", timeout_s=1.0) as found:
        yield found


@pytest.fixture
def pace(redis: Redis) -> Pace:
    return Pace(redis, rate_per_s=1000, failures_max=100)


async def owe(
    sandbox: RunningSandbox, database: Database, sale: Sale, method: str = "pm_card_visa"
) -> Placed:
    """Let an order expire, sell everything else, and pay it too late."""
    placed = await place(database, sale, "EXPIRED")
    fact = await sandbox.pay(method, amount_minor=placed.total_minor, order_id=placed.order_id)
    await run(
        database,
        "UPDATE pay_attempts SET payment_intent_id = :pi WHERE order_id = :id",
        pi=fact.payment_intent_id,
        id=placed.order_id,
    )
    await run(database, "UPDATE stock SET total = 0")
    [outcome] = await settle(database, [fact])
    assert outcome.order_state == "REFUND_PENDING"
    return Placed(
        sale, placed.order_id, placed.shopper_id, fact.payment_intent_id, 1, placed.total_minor
    )


async def refunded_at_stripe(sandbox: RunningSandbox, placed: Placed) -> list[str]:
    listed = sandbox.gateway.list_refunds(
        (await sandbox.gateway.retrieve(placed.payment_intent_id)).created_at,
        payment_intent_id=placed.payment_intent_id,
    )
    return [refund.status async for refund in listed]


async def test_late_money_without_stock_is_given_back(
    database: Database, sale: Sale, sandbox: RunningSandbox, pace: Pace
) -> None:
    placed = await owe(sandbox, database, sale)
    assert await refund_once(database, sandbox.gateway, pace) == 1
    assert await state_of(database, placed) == ("REFUNDED", 2990, 2990, 0)
    assert await refund_once(database, sandbox.gateway, pace) == 0
    assert await refunded_at_stripe(sandbox, placed) == ["succeeded"]
    # What is left is Stripe's fee, which it keeps.
    assert await net(database) == {"stripe/clearing": -117, "stripe/fees": 117}


@pytest.mark.parametrize(
    "fault", ["next_timeout_after_effect", "next_500_after_effect", "next_429"]
)
async def test_a_lost_answer_is_asked_for_again_and_pays_back_once(
    database: Database, sale: Sale, sandbox: RunningSandbox, pace: Pace, fault: str
) -> None:
    placed = await owe(sandbox, database, sale)
    await sandbox.faults(**{fault: 1, "endpoint": "POST /v1/refunds"})
    for _ in range(4):
        await refund_once(database, sandbox.gateway, pace)
    assert await state_of(database, placed) == ("REFUNDED", 2990, 2990, 0)
    assert await refunded_at_stripe(sandbox, placed) == ["succeeded"]


async def test_a_key_that_only_replays_an_error_is_given_up_for_the_next(
    database: Database, sale: Sale, sandbox: RunningSandbox, pace: Pace
) -> None:
    placed = await owe(sandbox, database, sale)
    await sandbox.faults(next_500_stored=1, endpoint="POST /v1/refunds")
    for _ in range(3):
        await refund_once(database, sandbox.gateway, pace)
    assert await state_of(database, placed) == ("REFUNDED", 2990, 2990, 0)
    assert await refunded_at_stripe(sandbox, placed) == ["succeeded"]


async def test_a_refund_older_than_its_key_is_looked_for_before_it_is_made(
    database: Database, sale: Sale, sandbox: RunningSandbox, pace: Pace
) -> None:
    placed = await owe(sandbox, database, sale)
    # A part: Stripe itself would refuse to give the whole back twice, but not a part.
    await run(database, "UPDATE refunds SET amount_minor = 1000")
    [(refund_id,)] = await rows(database, "SELECT id FROM refunds")
    metadata = {"refund_id": refund_id}
    await sandbox.gateway.refund(placed.payment_intent_id, 1000, f"refund:{refund_id}", metadata)
    await run(database, "UPDATE refunds SET created_at = now() - interval '2 days'")
    await sandbox.advance(2 * 86_400)
    assert await refund_once(database, sandbox.gateway, pace) == 1
    assert await state_of(database, placed) == ("PART_REFUNDED", 2990, 1000, 0)
    assert await refunded_at_stripe(sandbox, placed) == ["succeeded"]


async def test_a_refund_made_at_the_dashboard_closes_ours(
    database: Database, sale: Sale, sandbox: RunningSandbox, pace: Pace
) -> None:
    placed = await owe(sandbox, database, sale)
    by_hand = await sandbox.gateway.refund(placed.payment_intent_id, 2990, placed.order_id, {})
    await settle(database, [by_hand])
    assert await state_of(database, placed) == ("REFUNDED", 2990, 2990, 0)
    assert await refund_once(database, sandbox.gateway, pace) == 1
    assert await state_of(database, placed) == ("REFUNDED", 2990, 2990, 0)
    found = await rows(database, "SELECT reason, state FROM refunds ORDER BY reason")
    assert found == [("external", "SUCCEEDED"), ("late_no_stock", "FAILED")]


async def test_a_refund_that_stripe_will_not_make_says_so_on_the_order(
    database: Database, sale: Sale, sandbox: RunningSandbox, pace: Pace
) -> None:
    placed = await owe(sandbox, database, sale)
    await run(database, "UPDATE refunds SET payment_intent_id = 'pi_gone'")
    assert await refund_once(database, sandbox.gateway, pace) == 1
    assert (await state_of(database, placed))[0] == "REFUND_FAILED"
    assert await rows(database, "SELECT state FROM refunds") == [("FAILED",)]


async def test_a_pending_refund_waits_for_its_outcome(
    database: Database, sale: Sale, sandbox: RunningSandbox, pace: Pace
) -> None:
    placed = await owe(sandbox, database, sale, "pm_card_pendingRefund")
    await refund_once(database, sandbox.gateway, pace)
    assert await rows(database, "SELECT state FROM refunds") == [("PENDING",)]
    assert (await state_of(database, placed))[0] == "REFUND_PENDING"

    async def done() -> bool:
        return await refunded_at_stripe(sandbox, placed) == ["succeeded"]

    await until(done)
    [(stripe_refund_id, refund_id)] = await rows(
        database, "SELECT stripe_refund_id, id FROM refunds"
    )
    await settle(database, [placed.refund(stripe_refund_id, metadata={"refund_id": refund_id})])
    assert await state_of(database, placed) == ("REFUNDED", 2990, 2990, 0)


async def test_one_refund_that_breaks_keeps_no_other_from_its_money(
    database: Database,
    sale: Sale,
    sandbox: RunningSandbox,
    pace: Pace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken = await owe(sandbox, database, sale)
    await run(database, "UPDATE stock SET total = 1")
    sound = await owe(sandbox, database, sale)
    real = sandbox.gateway.refund

    async def refund(payment_intent_id: str, *given: Any) -> RefundFact:
        if payment_intent_id == broken.payment_intent_id:
            raise ValueError("no amount that Stripe knows")
        return await real(payment_intent_id, *given)

    monkeypatch.setattr(sandbox.gateway, "refund", refund)
    assert await refund_once(database, sandbox.gateway, pace) == 1
    assert (await state_of(database, sound))[0] == "REFUNDED"
    assert (await state_of(database, broken))[0] == "REFUND_PENDING"
