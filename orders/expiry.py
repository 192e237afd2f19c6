"""The end of the time to pay: units go back only when Stripe's word, or its never having been asked, says so.

A payment page may still be open, a card still being tried. So an order that was ever tried is first made unpayable
at Stripe, and what was paid at the last instant is kept. While Stripe is away nobody can pay, so no clock runs:
nothing expires and every deadline moves by as long as it lasted.
"""

import asyncio
from collections.abc import Sequence

import structlog
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from inventory.guard import release
from orders.lifecycle import Act, Input, OrderState, verdict
from orders.locks import lock_orders
from orders.mail.outbox import enqueue_cancelled
from orders.payments import attempts as tries
from orders.payments.checkout_mode import end_session
from orders.payments.pace import BreakerOpen, Busy, Outage, Pace
from orders.payments.stripe_gateway import (
    PaymentError,
    PaymentFact,
    RateLimited,
    Refused,
    StripeGateway,
    UnknownOutcome,
    Unreachable,
)
from orders.settlement import settle
from orders.tables import PayAttempt
from stream_events.database import Database
from stream_events.ids import new_id
from stream_events.loops import go_round

log = structlog.get_logger(__name__)

BATCH_MAX = 100
FLIGHTS_MAX = 8
ROUND_S = 1.0
MOVE_EVERY_MS = 10_000
MOVE_BATCH = 500

_DUE = """
    SELECT id FROM orders WHERE state = 'AWAITING_PAYMENT' AND pay_by <= clock_timestamp()
    ORDER BY pay_by LIMIT $1
"""
# In no order, so that orders Stripe does not answer for cannot keep the others waiting.
_RELEASING = """
    SELECT id FROM orders WHERE state IN ('EXPIRING', 'CANCELLING') ORDER BY random() LIMIT $1
"""
# Those that were over when the outage began move as well, and are over by as much when it ends.
_WAITING = text("""
    SELECT id FROM orders WHERE state = 'AWAITING_PAYMENT' AND id > :after ORDER BY id LIMIT :batch_max
""")
_MOVE_CLOCKS = text("""
    UPDATE orders SET pay_by = pay_by + make_interval(secs => :due_ms / 1000.0)
    WHERE id = ANY(:ids) AND state = 'AWAITING_PAYMENT'
""")


async def expire_once(
    database: Database,
    stripe: StripeGateway,
    pace: Pace,
    *,
    batch_max: int = BATCH_MAX,
    flights_max: int = FLIGHTS_MAX,
) -> int:
    """End what is due and release what may be; return how many orders were looked at. Idle during an outage."""
    if not await clocks_run(database, stripe, pace):
        return 0
    ended = await end_due(database, batch_max=batch_max)
    releasing = [row["id"] for row in await database.look(_RELEASING, batch_max)]
    slots = asyncio.Semaphore(flights_max)

    async def finish(order_id: str) -> None:
        async with slots:
            await finish_order(database, stripe, pace, order_id)

    async with asyncio.TaskGroup() as flights:
        for order_id in releasing:
            flights.create_task(finish(order_id))
    return ended + len(releasing)


async def clocks_run(database: Database, stripe: StripeGateway, pace: Pace) -> bool:
    """Return whether clocks run. During an outage, and once after it, deadlines are moved by its length."""
    outage = await pace.outage()
    if outage is None:
        return True
    if outage.over or outage.due_ms >= MOVE_EVERY_MS:
        await _move_clocks(database, outage)
        await pace.moved(outage)
    if not outage.over:
        try:
            await pace.call("keep", stripe.ping, wait_ms_max=0)
        except (PaymentError, Busy, BreakerOpen) as error:
            log.info("stripe_still_away", error=type(error).__name__)
    return outage.over


async def _move_clocks(database: Database, outage: Outage) -> None:
    """A crash between two batches moves the first ones again in the next round: later, which harms nobody."""
    after, moved = "", 0
    while True:
        async with database.begin() as sql:
            found = await sql.execute(_WAITING, {"after": after, "batch_max": MOVE_BATCH})
            ids = list(found.scalars())
            await lock_orders(sql, ids)
            await sql.execute(_MOVE_CLOCKS, {"ids": ids, "due_ms": outage.due_ms})
        moved += len(ids)
        if len(ids) < MOVE_BATCH:
            break
        after = ids[-1]
    log.warning("deadlines_moved", orders=moved, by_ms=outage.due_ms, outage_over=outage.over)


async def end_due(database: Database, *, batch_max: int = BATCH_MAX) -> int:
    """Stop orders whose time is over: never tried, the units go back at once; tried, Stripe is asked first."""
    due = [row["id"] for row in await database.look(_DUE, batch_max)]
    if not due:
        return 0
    async with database.begin() as sql:
        orders = await lock_orders(sql, due)
        # Read again under the lock: one may have been paid, or its clock moved, since it was found.
        on_time = set(
            await sql.scalars(
                text("SELECT id FROM orders WHERE id = ANY(:ids) AND pay_by > clock_timestamp()"),
                {"ids": due},
            )
        )
        over = [
            order.id
            for order in orders
            if order.state == OrderState.AWAITING_PAYMENT and order.id not in on_time
        ]
        # In a statement after the lock, or an attempt committed just before it would be missed.
        tried = set(
            await sql.scalars(
                select(PayAttempt.order_id).where(
                    PayAttempt.order_id.in_(over), PayAttempt.state.not_in(tries.DEAD)
                )
            )
        )
        await tries.move(sql, over, OrderState.AWAITING_PAYMENT, _next(Input.DEADLINE))
        untried = [order_id for order_id in over if order_id not in tried]
        await release_orders(sql, untried, OrderState.EXPIRING)
    log.info("orders_expired", released=len(untried), asking_stripe=len(tried))
    return len(over)


async def finish_order(
    database: Database, stripe: StripeGateway, pace: Pace, order_id: str
) -> None:
    """Make an EXPIRING (or CANCELLING) order unpayable and release it, or keep what was paid after all.

    Where Stripe cannot be asked, or does not know, the order stays as it is for the next round.
    """
    async with database.begin() as sql:
        attempts = await tries.attempts_of(sql, order_id)
    try:
        for attempt in attempts:
            if attempt.state not in tries.DEAD:
                await _end_attempt(database, stripe, pace, attempt)
        await release_if_dead(database, order_id)
    except (Busy, BreakerOpen, Unreachable, RateLimited, UnknownOutcome) as error:
        log.info("order_still_expiring", order_id=order_id, error=type(error).__name__)
    except Exception:
        # One order that cannot be finished must not keep the others from it.
        log.exception("order_not_finished", order_id=order_id)


async def _end_attempt(
    database: Database, stripe: StripeGateway, pace: Pace, attempt: PayAttempt
) -> None:
    if attempt.way == "checkout":
        await end_session(database, stripe, pace, attempt)
        return
    payment_intent_id = attempt.payment_intent_id
    if payment_intent_id is None:
        fact = await _learn(database, stripe, pace, attempt)
        if fact is None or fact.status in {"succeeded", "canceled"}:
            return
        payment_intent_id = fact.payment_intent_id
    fact = await cancel(stripe, pace, payment_intent_id)
    await settle(database, [fact])


async def _learn(
    database: Database, stripe: StripeGateway, pace: Pace, attempt: PayAttempt
) -> PaymentFact | None:
    """Finish an attempt with its own key to learn which PaymentIntent it made; None where the key says no more."""
    if attempt.absent_cycles or await tries.key_is_old(database, attempt):
        # The reconciler is looking for the object itself.
        return None
    try:
        fact = await pace.call("keep", lambda: tries.create(stripe, attempt))
    except Refused as error:
        # A token used up, or a key with other parameters: the reconciler looks for the object itself.
        log.warning("attempt_refused", order_id=attempt.order_id, n=attempt.n, code=error.code)
        return None
    await tries.apply(database, attempt, fact)
    return fact


async def cancel(stripe: StripeGateway, pace: Pace, payment_intent_id: str) -> PaymentFact:
    """Make a PaymentIntent unpayable, or learn why it cannot be: Stripe's word on it either way."""
    # A fresh key each time: Stripe would answer an old one with what was true then.
    key = new_id("cancel")
    try:
        return await pace.call("keep", lambda: stripe.cancel(payment_intent_id, key))
    except Refused as error:
        if error.fact is not None:
            return error.fact
        log.warning("cancel_refused", payment_intent_id=payment_intent_id, code=error.code)
        return await pace.call("keep", lambda: stripe.retrieve(payment_intent_id))


async def release_if_dead(database: Database, order_id: str) -> None:
    """Release an order of which nothing is payable any more."""
    async with database.begin() as sql:
        [order] = await lock_orders(sql, [order_id])
        state = OrderState(order.state)
        if state not in {OrderState.EXPIRING, OrderState.CANCELLING}:
            return
        if all(attempt.state in tries.DEAD for attempt in await tries.attempts_of(sql, order_id)):
            await release_orders(sql, [order_id], state)


async def release_orders(
    sql: AsyncSession, order_ids: Sequence[str], state: OrderState
) -> OrderState:
    """Give back the units of locked orders of which nothing is payable; return the state they are in after it."""
    step = verdict(state, Input.RELEASED)
    assert isinstance(step, Act)
    if order_ids:
        await tries.move(sql, order_ids, state, step.next_state)
        await release(sql, order_ids)
    if step.next_state is OrderState.CANCELLED:
        await enqueue_cancelled(sql, order_ids)
    return step.next_state


async def run_expiry(
    database: Database, stripe: StripeGateway, pace: Pace, stop: asyncio.Event
) -> None:
    """Expire until ``stop``; a failed round is logged and tried again, ever less often."""

    async def expire() -> float:
        await expire_once(database, stripe, pace)
        return ROUND_S

    await go_round(expire, stop, failure="expiry_round_failed")


def _next(happened: Input) -> OrderState:
    step = verdict(OrderState.AWAITING_PAYMENT, happened)
    assert isinstance(step, Act)
    return step.next_state
