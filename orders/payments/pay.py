"""One shopper's payment: a row first, one call to Stripe, then its outcome; never a call inside a transaction.

The row makes every crash harmless: whoever comes after (the reconciler, the expirer) repeats the same call under
the same key and learns what it did. So a shopper who hears nothing is told ``checking``, never ``failed``.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy import func, update
from sqlalchemy.ext.asyncio import AsyncSession

from orders.lifecycle import OrderState
from orders.locks import lock_orders
from orders.payments import attempts as tries
from orders.payments.card_testing import CardTesting, Presented
from orders.payments.pace import BreakerOpen, Busy, Pace
from orders.payments.payable import (
    PayableOrder,
    TooLate,
    read_payable,
    require_payable_state,
    too_late,
)
from orders.payments.stripe_gateway import (
    PaymentFact,
    RateLimited,
    Refused,
    StripeGateway,
    UnknownOutcome,
    Unreachable,
)
from orders.schemas import PaymentOut, PayOut
from orders.tables import PayAttempt
from stream_events.database import Database
from stream_events.errors import Problem, not_found, unavailable
from stream_events.money import stripe_amount

log = structlog.get_logger(__name__)

# A try may be opened only from these; anything else is at Stripe, or in doubt, or done.
_RETRYABLE = frozenset({"DECLINED", "REQUIRES_ACTION"})


@dataclass(frozen=True, slots=True)
class Payer:
    """Who pays what with which card, from where, and where a means to pay that leaves our page comes back to."""

    order_id: str
    shopper_id: str
    token: str
    address: str | None = None
    return_url: str | None = None


async def pay(
    database: Database,
    stripe: StripeGateway,
    pace: Pace,
    payer: Payer,
    card_testing: CardTesting | None = None,
) -> PayOut:
    """Try to pay an order whose turn it is; a repeat, or a second tab, gets the standing of the first.

    Raises ``Problem``: 404, 409 ``not_your_turn`` or ``paying_elsewhere``, 410 ``order_expired`` or
    ``order_cancelled``, 429 ``pay_later`` from ``card_testing``, 503 when Stripe cannot be asked now.
    """
    try:
        async with database.begin() as sql:
            known = _nothing_to_try(await _read(sql, payer), payer)
        if known is not None:
            return known
        who = await _look_at(card_testing, stripe, pace, payer)
        await wait_for_a_call(pace)
        async with database.begin() as sql:
            await lock_orders(sql, [payer.order_id])
            # Asked again: while this one waited for its call, another may have tried, or the clock run out.
            order = await _read(sql, payer)
            known = _nothing_to_try(order, payer)
            if known is not None:
                return known
            attempt, before = await _open_try(sql, order, payer)
    except TooLate as error:
        raise await too_late(pace) from error
    call = tries.create if before is None else tries.confirm
    try:
        fact = await pace.observed(lambda: call(stripe, attempt))
    except UnknownOutcome as error:
        log.warning("payment_unknown", order_id=order.id, attempt=attempt.n, reason=str(error))
        return await _standing(database, payer)
    except (RateLimited, Unreachable) as error:
        await tries.take_back(database, attempt, before)
        raise pay_later(error) from error
    except Refused as error:
        # A token made up is a try of those who have no card at all; our own wrong key is nobody's.
        if card_testing and who and error.code != "authentication_error":
            await card_testing.count(who, declined=True)
        return await _refused(database, payer, order, attempt, before, error)
    if card_testing and who:
        await card_testing.count(who, declined=fact.status == "requires_payment_method")
    return await _known(database, payer, order, attempt, fact)


async def _look_at(
    card_testing: CardTesting | None, stripe: StripeGateway, pace: Pace, payer: Payer
) -> Presented | None:
    """Refuse whoever tests cards, before anything is touched; only where it looks like that, know the card first."""
    if card_testing is None:
        return None
    who = card_testing.presented(payer.shopper_id, payer.address)
    if not (await card_testing.look(who)).closer:
        return who
    try:
        token = await pace.call("pay", lambda: stripe.fetch_token(payer.token))
    except (Busy, BreakerOpen, RateLimited, Unreachable) as error:
        raise pay_later(error) from error
    except (Refused, UnknownOutcome) as error:
        # A token that is none is refused when it is tried, and counted then.
        log.info("card_not_known", order_id=payer.order_id, error=type(error).__name__)
        return who
    if token.fingerprint is None:
        return who
    who = card_testing.presented(payer.shopper_id, payer.address, token.fingerprint)
    await card_testing.look(who)
    return who


async def wait_for_a_call(pace: Pace) -> None:
    """Wait for a call that a shopper waits for; raises ``Problem`` 503 when none is free soon."""
    try:
        wait_ms = await pace.take("pay")
    except (Busy, BreakerOpen) as error:
        raise pay_later(error) from error
    await asyncio.sleep(wait_ms / 1000)


async def _read(sql: AsyncSession, payer: Payer) -> PayableOrder:
    order = await read_payable(sql, payer.order_id)
    if order is None or order.shopper_id != payer.shopper_id:
        raise not_found("order")
    return order


def _nothing_to_try(order: PayableOrder, payer: Payer) -> PayOut | None:
    """Return where the payment stands if this token must not be tried (now, or again); None if it may."""
    require_payable_state(order)
    standing = _pay_out(order.state, order.attempts)
    if order.state is not OrderState.AWAITING_PAYMENT:
        return standing
    newest = order.newest
    if newest is not None and newest.state not in tries.DEAD:
        if newest.way == "checkout":
            if newest.state in {"PROCESSING", "SUCCEEDED"}:
                return standing
            raise Problem(
                409, "paying_elsewhere", "A payment page at Stripe is open for this order."
            )
        repeated = newest.params["confirmation_token"] == payer.token
        if repeated or newest.state not in _RETRYABLE:
            return standing
    if not order.on_time:
        raise TooLate
    return standing if standing.tries_left == 0 else None


async def _open_try(
    sql: AsyncSession, order: PayableOrder, payer: Payer
) -> tuple[PayAttempt, tries.Before | None]:
    """Write down the try, with everything that will be sent, before anything is sent."""
    newest = order.newest
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
                "payment_method_types": order.methods,
                "return_url": payer.return_url,
            },
        )
        sql.add(attempt)
        await sql.flush()
        return attempt, None
    before = tries.Before(newest.state, newest.params["confirmation_token"])
    newest.state = "CREATING"
    newest.tries += 1
    newest.params = {**newest.params, "confirmation_token": payer.token}
    newest.updated_at = func.now()
    await sql.flush()
    await sql.refresh(newest)
    return newest, before


async def _refused(
    database: Database,
    payer: Payer,
    order: PayableOrder,
    attempt: PayAttempt,
    before: tries.Before | None,
    error: Refused,
) -> PayOut:
    """A definite no that is no decline: a token used up or expired, or an intent that went on without us."""
    log.warning("payment_refused", order_id=payer.order_id, attempt=attempt.n, code=error.code)
    if error.code == "authentication_error":
        # Our own credential is wrong: that is not the shopper's try.
        await tries.take_back(database, attempt, before)
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
    database: Database, payer: Payer, order: PayableOrder, attempt: PayAttempt, fact: PaymentFact
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


def _pay_out(state: OrderState, attempts: Sequence[PayAttempt]) -> PayOut:
    closed = state is OrderState.AWAITING_PAYMENT and attempts and attempts[-1].state in tries.DEAD
    unpaid = PaymentOut(status="declined" if closed else "checking")
    payment = tries.standing(state, attempts) or unpaid
    return PayOut(state=state, payment=payment, tries_left=tries.tries_left(attempts))


def pay_later(error: Busy | BreakerOpen | RateLimited | Unreachable) -> Problem:
    """Refuse for now because Stripe cannot be asked: the queue is long, or it is away."""
    if isinstance(error, Busy):
        return Problem(
            503,
            "pay_later",
            "Many are paying at this moment; your units stay held.",
            retry_after_ms=error.retry_after_ms,
        )
    return unavailable("Paying is not possible right now; your units stay held.", "pay_later")
