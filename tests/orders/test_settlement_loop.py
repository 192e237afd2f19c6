"""Stored webhooks reach the books: final words as they stand, all others only after asking Stripe."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio

from orders import settlement_loop
from orders.payments.stripe_gateway import StripeGateway
from orders.settlement import Outcome, Told, settle_told
from orders.settlement_loop import LANES, run_settlement, settle_events_once
from stream_events.database import Database
from tests.factories import Sale
from tests.orders.payers import (
    Placed,
    place,
    rows,
    run,
    snapshot_of,
    state_of,
    store_event,
)
from tests.orders.payments.sandbox_process import RunningSandbox, free_port, running_sandbox, until


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def sandbox() -> AsyncIterator[RunningSandbox]:
    async with running_sandbox() as found:
        yield found


@pytest_asyncio.fixture(loop_scope="session")
async def silence() -> AsyncIterator[StripeGateway]:
    """A Stripe that nobody can reach."""
    gateway = StripeGateway("sk_test_silence", f"http://127.0.0.1:{free_port()}", timeout_s=1)
    yield gateway
    await gateway.aclose()


async def pay_at(
    sandbox: RunningSandbox, database: Database, sale: Sale, method: str = "pm_card_visa"
) -> Placed:
    """Place an order and pay it at the sandbox, with only its attempt recorded."""
    placed = await place(database, sale)
    fact = await sandbox.pay(method, amount_minor=placed.total_minor, order_id=placed.order_id)
    await run(
        database,
        "UPDATE pay_attempts SET payment_intent_id = :pi WHERE order_id = :id",
        pi=fact.payment_intent_id,
        id=placed.order_id,
    )
    return Placed(
        sale, placed.order_id, placed.shopper_id, fact.payment_intent_id, 1, placed.total_minor
    )


async def events(database: Database) -> list[tuple[str, str, str | None]]:
    return await rows(
        database, "SELECT type, state, reason FROM stripe_events ORDER BY received_at"
    )


async def test_final_words_need_no_call_and_others_wait_for_stripe_without_holding_them_up(
    database: Database, sale: Sale, silence: StripeGateway
) -> None:
    asking, paid = await place(database, sale), await place(database, sale)
    await store_event(
        database, "payment_intent.processing", snapshot_of(asking.payment("processing"))
    )
    await store_event(database, "payment_intent.succeeded", snapshot_of(paid.payment()))
    assert await settle_events_once(database, silence, batch_max=1) == 1
    assert await settle_events_once(database, silence) == 0
    assert await events(database) == [
        ("payment_intent.processing", "NEW", None),
        ("payment_intent.succeeded", "DONE", None),
    ]
    assert (await state_of(database, paid))[0] == "PAID"
    assert (await state_of(database, asking))[0] == "AWAITING_PAYMENT"


async def test_an_outdated_word_is_not_believed_but_asked_after(
    database: Database, sale: Sale, sandbox: RunningSandbox
) -> None:
    placed = await pay_at(sandbox, database, sale)
    old = placed.payment("requires_payment_method")
    await store_event(database, "payment_intent.payment_failed", snapshot_of(old))
    assert await settle_events_once(database, sandbox.gateway) == 1
    assert await state_of(database, placed) == ("PAID", 2990, 0, 0)
    fees = await rows(database, "SELECT kind FROM ledger_transactions ORDER BY kind")
    assert fees == [("capture",), ("stripe_fee",)]


async def test_a_refund_that_comes_before_its_payment_brings_the_payment_along(
    database: Database, sale: Sale, sandbox: RunningSandbox
) -> None:
    placed = await pay_at(sandbox, database, sale)
    refund = await sandbox.gateway.refund(placed.payment_intent_id, 2990, placed.order_id, {})
    await store_event(database, "refund.created", snapshot_of(refund))
    assert await settle_events_once(database, sandbox.gateway) == 2
    assert await state_of(database, placed) == ("REFUNDED", 2990, 2990, 0)
    await store_event(database, "payment_intent.succeeded", snapshot_of(placed.payment()))
    await settle_events_once(database, sandbox.gateway)
    assert await state_of(database, placed) == ("REFUNDED", 2990, 2990, 0)


async def test_a_refund_finds_its_order_though_its_attempt_never_learnt_the_payment(
    database: Database, sale: Sale, sandbox: RunningSandbox
) -> None:
    """The one who made the payment died before writing its id down; then somebody refunds at the dashboard."""
    placed = await pay_at(sandbox, database, sale)
    given_back = await sandbox.gateway.refund(placed.payment_intent_id, 100, placed.order_id, {})
    await run(database, "UPDATE pay_attempts SET payment_intent_id = NULL, state = 'CREATING'")
    await store_event(database, "refund.created", snapshot_of(given_back))
    await settle_events_once(database, sandbox.gateway)
    assert await state_of(database, placed) == ("PART_REFUNDED", 2990, 100, 0)
    assert await events(database) == [("refund.created", "DONE", None)]


async def test_what_comes_after_a_gift_that_is_in_the_books_needs_no_call(
    database: Database, sale: Sale, silence: StripeGateway
) -> None:
    placed = await place(database, sale, quantity=0, gifts=[(sale.beneficiary_id, 500)])
    await store_event(database, "payment_intent.succeeded", snapshot_of(placed.payment()))
    assert await settle_events_once(database, silence) == 1
    await store_event(database, "refund.created", snapshot_of(placed.refund("re_1")))
    assert await settle_events_once(database, silence) == 1
    assert await state_of(database, placed) == ("REFUNDED", 500, 500, 0)


async def test_what_cannot_be_read_or_found_is_set_apart_and_what_says_nothing_is_done(
    database: Database, sale: Sale, sandbox: RunningSandbox
) -> None:
    placed = await place(database, sale)
    await store_event(
        database, "payment_intent.succeeded", {"object": "payment_intent", "id": "pi_1"}
    )
    await store_event(
        database, "payment_intent.processing", snapshot_of(placed.payment("processing"))
    )
    await store_event(
        database, "payment_intent.created", snapshot_of(placed.payment("requires_payment_method"))
    )
    await store_event(database, "charge.refunded", {"object": "charge", "id": "ch_1"})
    while await settle_events_once(database, sandbox.gateway):
        pass
    assert await events(database) == [
        ("payment_intent.succeeded", "QUARANTINED", "unreadable"),
        ("payment_intent.processing", "QUARANTINED", "resource_missing"),
        ("payment_intent.created", "DONE", "nothing new"),
        ("charge.refunded", "DONE", "says nothing to the books"),
    ]
    assert await rows(database, "SELECT count(*) FROM ledger_transactions") == [(0,)]


async def test_several_at_once_settle_each_event_once(
    database: Database, sale: Sale, silence: StripeGateway
) -> None:
    placed = [await place(database, sale) for _ in range(6)]
    for each in placed:
        for _ in range(2):
            await store_event(database, "payment_intent.succeeded", snapshot_of(each.payment()))
    await asyncio.gather(*(settle_events_once(database, silence) for _ in range(4)))
    await settle_events_once(database, silence)
    done = await rows(database, "SELECT state, count(*) FROM stripe_events GROUP BY 1")
    assert done == [("DONE", 12)]
    assert await rows(database, "SELECT kind, count(*) FROM ledger_transactions GROUP BY 1") == [
        ("capture", 6)
    ]


async def test_a_backlog_is_settled_in_lanes_and_what_is_told_of_one_payment_stays_in_one(
    database: Database, sale: Sale, silence: StripeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settlement_loop, "BATCH_MAX", 4)
    sizes: list[int] = []
    running: list[set[str]] = []
    most_at_once = 0

    async def watched(database: Database, told: Sequence[Told]) -> list[Outcome]:
        nonlocal most_at_once
        payments = {each.fact.payment_intent_id or "" for each in told if each.fact}
        assert not any(payments & others for others in running)
        sizes.append(len(told))
        running.append(payments)
        most_at_once = max(most_at_once, len(running))
        try:
            return await settle_told(database, told)
        finally:
            running.remove(payments)

    monkeypatch.setattr(settlement_loop, "settle_told", watched)
    placed = [await place(database, sale) for _ in range(6)]
    for each in (*placed, *reversed(placed)):
        await store_event(database, "payment_intent.succeeded", snapshot_of(each.payment()))
    assert await settle_events_once(database, silence) == 12
    assert most_at_once == LANES
    assert sorted(sizes) == [2, 2, 4, 4]
    assert await rows(database, "SELECT kind, count(*) FROM ledger_transactions GROUP BY 1") == [
        ("capture", 6)
    ]


async def test_a_lane_that_fails_neither_hides_it_nor_stops_the_other(
    database: Database, sale: Sale, silence: StripeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settlement_loop, "BATCH_MAX", 1)
    placed = [await place(database, sale) for _ in range(2)]
    for each in placed:
        await store_event(database, "payment_intent.succeeded", snapshot_of(each.payment()))

    async def broken(database: Database, told: Sequence[Told]) -> list[Outcome]:
        if told[0].fact and told[0].fact.payment_intent_id == placed[0].payment_intent_id:
            raise ConnectionError
        return await settle_told(database, told)

    with monkeypatch.context() as patched:
        patched.setattr(settlement_loop, "settle_told", broken)
        with pytest.raises(ConnectionError):
            await settle_events_once(database, silence)
    assert [(await state_of(database, each))[0] for each in placed] == ["AWAITING_PAYMENT", "PAID"]
    assert await settle_events_once(database, silence) == 1
    assert (await state_of(database, placed[0]))[0] == "PAID"


async def test_the_loop_settles_until_it_is_stopped(
    database: Database, sale: Sale, silence: StripeGateway
) -> None:
    stop = asyncio.Event()
    task = asyncio.create_task(run_settlement(database, silence, stop))
    placed = await place(database, sale)
    await store_event(database, "payment_intent.succeeded", snapshot_of(placed.payment()))

    async def paid() -> bool:
        return bool((await state_of(database, placed))[0] == "PAID")

    await until(paid)
    stop.set()
    async with asyncio.timeout(2):
        await task
