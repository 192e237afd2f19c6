"""The end of the time to pay: PAID or EXPIRED and never both, at whatever instant the money comes."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import text

from orders.expiry import clocks_run, end_due, expire_once, finish_order, release_if_dead
from orders.payments import attempts as tries
from orders.payments.attempts import attempts_of
from stream_events.errors import Problem
from tests.orders.payments.counter import Counter

CANCEL = "POST /v1/payment_intents/:id/cancel"


async def expire(counter: Counter) -> int:
    return await expire_once(counter.database, counter.sandbox.gateway, counter.pace)


async def finish(counter: Counter, order_id: str) -> None:
    await finish_order(counter.database, counter.sandbox.gateway, counter.pace, order_id)


async def test_an_order_nobody_tried_to_pay_goes_back_at_once(counter: Counter) -> None:
    late, early, waiting = await counter.offered(3), await counter.offered(2), await counter.place()
    await counter.end_time(late)
    await expire(counter)
    assert await counter.state(late) == "EXPIRED"
    assert await counter.history(late) == ["AWAITING_PAYMENT", "EXPIRING", "EXPIRED"]
    assert [await counter.state(early), await counter.state(waiting)] == [
        "AWAITING_PAYMENT",
        "RESERVED",
    ]
    assert await counter.stock() == (3, 0)
    moves = await counter.rows(
        "SELECT quantity, rel_seq FROM stock_moves WHERE kind = 'X' AND source_id = :id", id=late
    )
    assert [tuple(move) for move in moves] == [(3, 1)]


async def test_many_go_back_in_one_transaction(counter: Counter) -> None:
    orders = [await counter.offered() for _ in range(30)]
    for order_id in orders:
        await counter.end_time(order_id)
    assert await end_due(counter.database) == 30
    assert await counter.stock() == (0, 0)
    assert await counter.one("SELECT count(DISTINCT xmin::text) FROM orders") == 1
    numbers = await counter.rows("SELECT rel_seq FROM stock_moves WHERE kind = 'X' ORDER BY 1")
    assert [row.rel_seq for row in numbers] == list(range(1, 31))


@pytest.mark.parametrize(
    ("meanwhile", "stays"),
    [
        ("pay_by = clock_timestamp() + interval '1 hour'", "AWAITING_PAYMENT"),
        ("state = 'PROCESSING'", "PROCESSING"),
    ],
)
async def test_what_changes_while_it_is_being_locked_is_seen(
    counter: Counter, meanwhile: str, stays: str
) -> None:
    order_id = await counter.offered()
    await counter.end_time(order_id)
    async with counter.database.begin() as sql:
        await sql.execute(text(f"UPDATE orders SET {meanwhile} WHERE id = :id"), {"id": order_id})
        ending = asyncio.create_task(end_due(counter.database))
        await asyncio.sleep(0.3)
    assert await ending == 0
    assert await counter.state(order_id) == stays
    assert await counter.stock() == (1, 0)


@pytest.mark.parametrize(
    "card",
    ["pm_card_visa_chargeDeclined", "pm_card_authenticationRequired"],
)
async def test_a_tried_order_is_made_unpayable_first(counter: Counter, card: str) -> None:
    order_id = await counter.offered()
    await counter.pay(order_id, card)
    await counter.end_time(order_id)
    await expire(counter)
    assert await counter.state(order_id) == "EXPIRED"
    assert await counter.intents(order_id) == ["canceled"]
    assert await counter.attempts(order_id) == [(1, "CANCELED", 1)]
    assert await counter.stock() == (0, 0)


async def test_what_was_paid_at_the_last_instant_is_kept(counter: Counter) -> None:
    order_id = await counter.offered()
    await counter.pay(order_id)
    await counter.end_time(order_id)
    await expire(counter)
    assert await counter.state(order_id) == "PAID"
    assert await counter.stock() == (0, 1)
    assert await counter.one("SELECT count(*) FROM ledger_transactions WHERE kind = 'capture'") == 1


async def test_a_payment_on_its_way_leaves_expiry_to_its_outcome(counter: Counter) -> None:
    order_id = await counter.offered()
    assert (await counter.pay_unanswered(order_id, "pm_card_bypassPending")).state != "PROCESSING"
    await counter.end_time(order_id)
    assert await end_due(counter.database) == 1
    await finish(counter, order_id)
    assert await counter.state(order_id) in {"PROCESSING", "PAID"}
    assert await counter.stock() in {(1, 0), (0, 1)}


async def _lost_answer(counter: Counter, order_id: str) -> None:
    assert (await counter.pay_unanswered(order_id)).payment.status == "checking"


async def _killed_before_the_call(counter: Counter, order_id: str) -> None:
    """The row is committed; Stripe never heard of it."""
    token = await counter.sandbox.token("pm_card_visa_chargeDeclined")
    async with counter.database.begin() as sql:
        sql.add(
            tries.PayAttempt(
                order_id=order_id,
                n=1,
                state="CREATING",
                params={
                    "amount": counter.sale.price_minor,
                    "currency": "CNY",
                    "confirmation_token": token,
                    "metadata": {},
                },
            )
        )


@pytest.mark.parametrize(
    ("begin", "ends"), [(_lost_answer, "PAID"), (_killed_before_the_call, "EXPIRED")]
)
async def test_an_attempt_whose_fate_is_unknown_is_finished_with_its_own_key(
    counter: Counter, begin: Callable[[Counter, str], Awaitable[None]], ends: str
) -> None:
    order_id = await counter.offered()
    await begin(counter, order_id)
    await counter.end_time(order_id)
    await expire(counter)
    assert await counter.state(order_id) == ends
    assert len(await counter.intents(order_id)) == 1
    assert await counter.stock() == ((0, 1) if ends == "PAID" else (0, 0))


async def test_a_payment_while_the_order_expires_is_refused_or_kept(counter: Counter) -> None:
    """Twelve payments begin around the deadline while the expirer works; each order ends one way only."""
    orders = [await counter.offered(window_s=0.1 + number / 40) for number in range(12)]
    tokens = [await counter.sandbox.token() for _ in orders]
    await counter.sandbox.faults(latency_ms=60)

    async def later(order_id: str, token: str, number: int) -> str:
        await asyncio.sleep(number / 40)
        try:
            return (await counter.pay(order_id, token=token)).payment.status
        except Exception as error:  # noqa: BLE001 - whatever it is, it goes into the assertion below
            return getattr(error, "code", repr(error))

    paying = [
        asyncio.create_task(later(*each, number))
        for number, each in enumerate(zip(orders, tokens, strict=True))
    ]
    for _ in range(15):
        await expire(counter)
        await asyncio.sleep(0.05)
    answers = await asyncio.gather(*paying)
    assert set(answers) <= {"succeeded", "checking", "order_expired", "declined"}
    await counter.sandbox.faults(latency_ms=0)
    for order_id in orders:
        await counter.end_time(order_id)
    for _ in range(3):
        await expire(counter)
    states = [await counter.state(order_id) for order_id in orders]
    paid = states.count("PAID")
    assert paid + states.count("EXPIRED") == 12
    assert await counter.stock() == (0, paid)
    for order_id, state in zip(orders, states, strict=True):
        intents = await counter.intents(order_id)
        assert intents in ((["succeeded"],) if state == "PAID" else ([], ["canceled"]))


async def test_nothing_is_released_while_stripe_cannot_be_asked(counter: Counter) -> None:
    order_id = await counter.offered()
    await counter.pay(order_id, "pm_card_visa_chargeDeclined")
    await counter.end_time(order_id)
    await counter.sandbox.faults(outage=True, endpoint=CANCEL)
    for _ in range(2):
        await expire(counter)
    assert await counter.state(order_id) == "EXPIRING"
    assert await counter.stock() == (1, 0)
    await counter.sandbox.faults(outage=False)
    await expire(counter)
    assert await counter.state(order_id) == "EXPIRED"


async def test_killed_between_cancel_and_commit_it_ends_in_the_next_round(counter: Counter) -> None:
    order_id = await counter.offered()
    await counter.pay(order_id, "pm_card_visa_chargeDeclined")
    await counter.end_time(order_id)
    await end_due(counter.database)
    async with counter.database.begin() as sql:
        [attempt] = await attempts_of(sql, order_id)
    await counter.sandbox.gateway.cancel(attempt.payment_intent_id or "", "elsewhere")
    await asyncio.gather(finish(counter, order_id), finish(counter, order_id))
    assert await counter.state(order_id) == "EXPIRED"
    assert await counter.stock() == (0, 0)
    assert await counter.history(order_id) == ["AWAITING_PAYMENT", "EXPIRING", "EXPIRED"]


async def test_a_cancelling_order_ends_cancelled(counter: Counter) -> None:
    order_id = await counter.offered()
    await counter.pay(order_id, "pm_card_visa_chargeDeclined")
    async with counter.database.begin() as sql:
        await tries.move(
            sql, [order_id], tries.OrderState.AWAITING_PAYMENT, tries.OrderState.CANCELLING
        )
    await expire(counter)
    assert await counter.state(order_id) == "CANCELLED"
    assert await counter.stock() == (0, 0)


async def test_a_live_attempt_is_never_released(counter: Counter) -> None:
    order_id = await counter.offered()
    await counter.pay(order_id, "pm_card_authenticationRequired")
    await counter.end_time(order_id)
    await end_due(counter.database)
    await release_if_dead(counter.database, order_id)
    assert await counter.state(order_id) == "EXPIRING"


async def _open_breaker(counter: Counter) -> None:
    for _ in range(3):
        await counter.pace.report("failed")


async def test_an_outage_moves_every_deadline_by_its_length(counter: Counter) -> None:
    over, close, far = [await counter.offered(window_s=s) for s in (600, 1.5, 600)]
    await counter.end_time(over, ago_s=0.5)
    before = await counter.one("SELECT pay_by FROM orders WHERE id = :id", id=far)
    await counter.sandbox.faults(outage=True)
    await _open_breaker(counter)
    await asyncio.sleep(1.7)
    # The time of `close` ran out meanwhile, but nobody could have paid.
    assert await expire(counter) == 0
    assert await counter.state(close) == "AWAITING_PAYMENT"
    with pytest.raises(Problem, match=r"extended|not possible"):
        await counter.pay(close)
    await counter.sandbox.faults(outage=False)
    await asyncio.sleep(0.1)
    assert await expire(counter) == 0  # The probe finds Stripe back …
    await expire(counter)  # … and this round moves the clocks before it ends anything.
    assert await counter.state(close) == "AWAITING_PAYMENT"
    assert await counter.state(over) == "EXPIRED"
    moved = await counter.one(
        "SELECT extract(epoch FROM pay_by - :before) FROM orders WHERE id = :id",
        id=far,
        before=before,
    )
    assert 1.7 <= moved <= 5
    assert (await counter.pay(close)).payment.status == "succeeded"


async def test_during_a_long_outage_deadlines_move_along(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orders.expiry.MOVE_EVERY_MS", 100)
    orders = [await counter.offered(window_s=60) for _ in range(3)]
    before = await counter.one("SELECT sum(extract(epoch FROM pay_by)) FROM orders")
    await counter.sandbox.faults(outage=True)
    clock = asyncio.get_running_loop().time
    sound = clock()
    await _open_breaker(counter)
    away = last = clock()
    for _ in range(4):
        await asyncio.sleep(0.15)
        last = clock()
        assert not await clocks_run(counter.database, counter.sandbox.gateway, counter.pace)
    after = await counter.one("SELECT sum(extract(epoch FROM pay_by)) FROM orders")
    # What passed before the last look was moved, but for what is due only with the next.
    assert last - away - 0.15 <= float(after - before) / len(orders) <= clock() - sound
