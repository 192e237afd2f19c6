"""One shopper's payment: a row first, one call to Stripe, then its outcome; never a call inside a transaction.

The row makes every crash harmless: whoever comes after (the reconciler, the expirer) repeats the same call under
the same key and learns what it did. So a shopper who hears nothing is told ``checking``, never ``failed``.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy import bindparam, delete, false, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from orders.lifecycle import RELEASED, OrderState
from orders.locks import lock_orders
from orders.payments import attempts as tries
from orders.payments.pace import BreakerOpen, Busy, Pace
from orders.payments.stripe_gateway import (
    PaymentFact,
    RateLimited,
    Refused,
    StripeGateway,
    UnknownOutcome,
    Unreachable,
)
from orders.schemas import PaymentOut, PayOut
from orders.tables import Order, PayAttempt
from stream_events.database import Database
from stream_events.errors import Problem, not_found, unavailable
from stream_events.money import stripe_amount

log = structlog.get_logger(__name__)

# A try may be opened only from these; anything else is at Stripe, or in doubt, or done.
_RETRYABLE = frozenset({"DECLINED", "REQUIRES_ACTION"})


@dataclass(frozen=True, slots=True)
class Payer:
    """Who pays what with which card."""

    order_id: str
    shopper_id: str
    token: str


@dataclass(frozen=True, slots=True)
class _Before:
    """The attempt as it was before this try, to go back to when Stripe certainly saw nothing of it."""

    state: str
    token: str


@dataclass(frozen=True, slots=True)
class _Order:
    """An order with its attempts, oldest first, and whether its time to pay still runs, by one clock and look."""

    id: str
    stream_id: str
    state: OrderState
    total_minor: int
    currency: str
    on_time: bool
    attempts: list[PayAttempt]


# Thousands pay within minutes, so one statement reads all that decides. The clock is the one of this very statement:
# that of the transaction may have waited for a lock.
_READ = (
    select(
        Order.id,
        Order.stream_id,
        Order.shopper_id,
        Order.state,
        Order.total_minor,
        Order.currency,
        func.coalesce(func.clock_timestamp() < Order.pay_by, false()).label("on_time"),
        PayAttempt,
    )
    .outerjoin(PayAttempt, PayAttempt.order_id == Order.id)
    .where(Order.id == bindparam("order_id"))
    .order_by(PayAttempt.n)
    .execution_options(populate_existing=True)
)


class _TooLate(Exception):  # noqa: N818 - a state of the order's clock.
    """``pay_by`` has passed."""


async def pay(database: Database, stripe: StripeGateway, pace: Pace, payer: Payer) -> PayOut:
    """Try to pay an order whose turn it is; a repeat, or a second tab, gets the standing of the first.

    Raises ``Problem``: 404, 409 ``not_your_turn``, 410 ``order_expired``, 503 when Stripe cannot be asked now.
    """
    try:
        async with database.begin() as sql:
            known = _nothing_to_try(await _read(sql, payer), payer)
        if known is not None:
            return known
        await _wait_for_a_call(pace)
        async with database.begin() as sql:
            await lock_orders(sql, [payer.order_id])
            # Asked again: while this one waited for its call, another may have tried, or the clock run out.
            order = await _read(sql, payer)
            known = _nothing_to_try(order, payer)
            if known is not None:
                return known
            attempt, before = await _open_try(sql, order, payer)
    except _TooLate as error:
        if await pace.outage() is not None:
            raise unavailable(
                "Paying was interrupted; your time is extended.", "pay_later"
            ) from error
        raise Problem(410, "order_expired", "The time to pay this order is over.") from error
    call = tries.create if before is None else tries.confirm
    try:
        fact = await pace.observed(lambda: call(stripe, attempt))
    except UnknownOutcome as error:
        log.warning("payment_unknown", order_id=order.id, attempt=attempt.n, reason=str(error))
        return await _standing(database, payer)
    except (RateLimited, Unreachable) as error:
        await _undo_try(database, attempt, before)
        raise _later(error) from error
    except Refused as error:
        return await _refused(database, payer, order, attempt, before, error)
    return await _known(database, payer, order, attempt, fact)


async def _wait_for_a_call(pace: Pace) -> None:
    try:
        wait_ms = await pace.take("pay")
    except (Busy, BreakerOpen) as error:
        raise _later(error) from error
    await asyncio.sleep(wait_ms / 1000)


async def _read(sql: AsyncSession, payer: Payer) -> _Order:
    rows = (await sql.execute(_READ, {"order_id": payer.order_id})).all()
    if not rows or rows[0].shopper_id != payer.shopper_id:
        raise not_found("order")
    first = rows[0]
    return _Order(
        id=first.id,
        stream_id=first.stream_id,
        state=OrderState(first.state),
        total_minor=first.total_minor,
        currency=first.currency,
        on_time=first.on_time,
        attempts=[row.PayAttempt for row in rows if row.PayAttempt is not None],
    )


def _nothing_to_try(order: _Order, payer: Payer) -> PayOut | None:
    """Return where the payment stands if this token must not be tried (now, or again); None if it may."""
    if order.state is OrderState.RESERVED:
        raise Problem(
            409, "not_your_turn", "Your units are held; paying opens when it is your turn."
        )
    if order.state in RELEASED - {OrderState.LATE_PAID}:
        raise Problem(410, "order_expired", "This order was not paid in time; its units went back.")
    standing = _pay_out(order.state, order.attempts)
    if order.state is not OrderState.AWAITING_PAYMENT:
        return standing
    newest = order.attempts[-1] if order.attempts else None
    if newest is not None and newest.state not in tries.DEAD:
        repeated = newest.params["confirmation_token"] == payer.token
        if repeated or newest.state not in _RETRYABLE:
            return standing
    if not order.on_time:
        raise _TooLate
    return standing if standing.tries_left == 0 else None


async def _open_try(
    sql: AsyncSession, order: _Order, payer: Payer
) -> tuple[PayAttempt, _Before | None]:
    """Write down the try, with everything that will be sent, before anything is sent."""
    newest = order.attempts[-1] if order.attempts else None
    if newest is None or newest.state in tries.DEAD:
        attempt = PayAttempt(
            order_id=order.id,
            n=newest.n + 1 if newest else 1,
            state="CREATING",
            tries=1,
            params={
                "amount": stripe_amount(order.total_minor, order.currency),
                "currency": order.currency,
                "confirmation_token": payer.token,
                "metadata": {"stream_id": order.stream_id},
            },
        )
        sql.add(attempt)
        await sql.flush()
        return attempt, None
    before = _Before(newest.state, newest.params["confirmation_token"])
    newest.state = "CREATING"
    newest.tries += 1
    newest.params = {**newest.params, "confirmation_token": payer.token}
    newest.updated_at = func.now()
    await sql.flush()
    await sql.refresh(newest)
    return newest, before


async def _undo_try(database: Database, attempt: PayAttempt, before: _Before | None) -> None:
    """Take back a try of which Stripe certainly knows nothing, so that it costs the shopper none.

    Only while nobody else can have taken it up: once the order is expiring, the expirer may be finishing it.
    """
    mine = (
        PayAttempt.order_id == attempt.order_id,
        PayAttempt.n == attempt.n,
        PayAttempt.tries == attempt.tries,
        PayAttempt.state == "CREATING",
    )
    async with database.begin() as sql:
        [order] = await lock_orders(sql, [attempt.order_id])
        if order.state != OrderState.AWAITING_PAYMENT:
            return
        if before is None:
            await sql.execute(
                delete(PayAttempt).where(*mine, PayAttempt.payment_intent_id.is_(None))
            )
            return
        params = {**attempt.params, "confirmation_token": before.token}
        await sql.execute(
            update(PayAttempt)
            .where(*mine)
            .values(state=before.state, tries=attempt.tries - 1, params=params)
        )


async def _refused(
    database: Database,
    payer: Payer,
    order: _Order,
    attempt: PayAttempt,
    before: _Before | None,
    error: Refused,
) -> PayOut:
    """A definite no that is no decline: a token used up or expired, or an intent that went on without us."""
    log.warning("payment_refused", order_id=payer.order_id, attempt=attempt.n, code=error.code)
    if error.code == "authentication_error":
        # Our own credential is wrong: that is not the shopper's try.
        await _undo_try(database, attempt, before)
        raise unavailable("Paying is not possible right now; your units stay held.", "pay_later")
    if error.fact is not None:
        return await _known(database, payer, order, attempt, error.fact)
    # Stripe keeps this answer under the key, so the key is spent: a new attempt, or a new try, gets another one.
    async with database.begin() as sql:
        await lock_orders(sql, [attempt.order_id])
        await sql.execute(
            update(PayAttempt)
            .where(
                PayAttempt.order_id == attempt.order_id,
                PayAttempt.n == attempt.n,
                PayAttempt.tries == attempt.tries,
                PayAttempt.state == "CREATING",
            )
            .values(state="ABSENT" if before is None else "DECLINED", updated_at=func.now())
        )
    return await _standing(database, payer)


async def _known(
    database: Database, payer: Payer, order: _Order, attempt: PayAttempt, fact: PaymentFact
) -> PayOut:
    state = await tries.record(database, attempt, fact)
    if state is None:
        return await _standing(database, payer)
    others = [each for each in order.attempts if each.n != attempt.n]
    return _pay_out(state, [*others, attempt])


async def _standing(database: Database, payer: Payer) -> PayOut:
    async with database.begin() as sql:
        order = await _read(sql, payer)
    return _pay_out(order.state, order.attempts)


async def attempts_of(sql: AsyncSession, order_id: str) -> Sequence[PayAttempt]:
    """Return an order's attempts, oldest first, as they are now."""
    found = await sql.scalars(
        select(PayAttempt)
        .where(PayAttempt.order_id == order_id)
        .order_by(PayAttempt.n)
        .execution_options(populate_existing=True)
    )
    return found.all()


def _pay_out(state: OrderState, attempts: Sequence[PayAttempt]) -> PayOut:
    payment = tries.standing(state, attempts) or PaymentOut(status="checking")
    return PayOut(state=state, payment=payment, tries_left=tries.tries_left(attempts))


def _later(error: Busy | BreakerOpen | RateLimited | Unreachable) -> Problem:
    if isinstance(error, Busy):
        return Problem(
            503,
            "pay_later",
            "Many are paying at this moment; your units stay held.",
            retry_after_ms=error.retry_after_ms,
        )
    return unavailable("Paying is not possible right now; your units stay held.", "pay_later")
