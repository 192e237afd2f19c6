"""Attempts to pay: how one is made at Stripe from its stored row, and how its outcome is written back.

The row comes first and the call second, so that after any crash somebody can finish the call with the same key and
find out what it did. Money is settled elsewhere (``orders.settlement``); here only the attempt learns its fate.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import delete, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from orders.lifecycle import KEPT, Act, Input, OrderState, verdict
from orders.locks import lock_orders
from orders.payments.stripe_gateway import Declined, PaymentFact, StripeGateway
from orders.schemas import PaymentOut, PaymentStatus
from orders.settlement import settle
from orders.tables import PayAttempt
from stream_events.database import Database

TRIES_MAX: Final = 3
# Three tries, and two tokens that Stripe did not take at all.
ATTEMPTS_MAX: Final = 5

# Stripe forgets a key after a day; by then it must not be used to ask what it did.
KEY_GOOD_FOR_S: Final = 12 * 3600

# Nothing of the attempt is, or can become, payable.
DEAD: Final = frozenset({"CANCELED", "ABSENT"})

_STATE_OF: Final = {
    "requires_payment_method": "DECLINED",
    "requires_confirmation": "DECLINED",
    "requires_action": "REQUIRES_ACTION",
    "processing": "PROCESSING",
    "succeeded": "SUCCEEDED",
    "canceled": "CANCELED",
}
_STATUS_OF: Final[dict[str, PaymentStatus]] = {
    "CREATING": "checking",
    "REQUIRES_ACTION": "requires_action",
    "DECLINED": "declined",
    "PROCESSING": "processing",
    "SUCCEEDED": "succeeded",
}

_RECORD = text("""
    UPDATE pay_attempts
    SET state = :state, payment_intent_id = :payment_intent_id,
        client_secret = coalesce(:client_secret, client_secret), updated_at = now()
    WHERE order_id = :order_id AND n = :n AND tries = :tries AND state = 'CREATING'
      AND (payment_intent_id IS NULL OR payment_intent_id = :payment_intent_id)
    RETURNING n
""")
_MOVE = text("""
    UPDATE orders SET state = :to_state, state_at = now() WHERE id = ANY(:ids) AND state = :from_state
    RETURNING id
""")

_AGE = text("SELECT extract(epoch FROM clock_timestamp() - CAST(:at AS timestamptz))")


class Tried(msgspec.Struct, frozen=True):
    """An attempt as far as it is shown."""

    state: str
    way: str
    tries: int
    payment_intent_id: str | None
    client_secret: str | None


async def create(stripe: StripeGateway, attempt: PayAttempt) -> PaymentFact:
    """Make the attempt's PaymentIntent, or learn what it became: the same key and parameters each time.

    A decline is a fact like any other. Raises the gateway's other errors.
    """
    params: dict[str, Any] = attempt.params
    try:
        return await stripe.create_and_confirm(
            order_id=attempt.order_id,
            attempt=attempt.n,
            amount_minor=params["amount"],
            currency=params["currency"],
            confirmation_token=params["confirmation_token"],
            metadata=params["metadata"],
            idempotency_key=f"pay:{attempt.order_id}:{attempt.n}",
            return_url=params.get("return_url"),
            payment_method_types=params.get("payment_method_types", ("card",)),
        )
    except Declined as declined:
        return declined.fact


async def confirm(stripe: StripeGateway, attempt: PayAttempt) -> PaymentFact:
    """Try the attempt's newest card on the PaymentIntent it has. Raises the gateway's errors but Declined."""
    assert attempt.payment_intent_id is not None
    try:
        return await stripe.confirm(
            attempt.payment_intent_id,
            attempt.params["confirmation_token"],
            f"pay:{attempt.order_id}:{attempt.n}:{attempt.tries}",
        )
    except Declined as declined:
        return declined.fact


async def record(database: Database, attempt: PayAttempt, fact: PaymentFact) -> OrderState | None:
    """Write what a try came to, into ``attempt`` as well, and return the order's state after it.

    None, and nothing written, when somebody else knew it first. The order moves only for Stripe's ``processing``.
    """
    async with database.begin() as sql:
        [order] = await lock_orders(sql, [attempt.order_id])
        written = await sql.execute(
            _RECORD,
            {
                "order_id": attempt.order_id,
                "n": attempt.n,
                "tries": attempt.tries,
                "state": _STATE_OF[fact.status],
                "payment_intent_id": fact.payment_intent_id,
                "client_secret": fact.client_secret,
            },
        )
        if written.one_or_none() is None:
            return None
        state = OrderState(order.state)
        if fact.status == "processing":
            step = verdict(state, Input.PAY_PROCESSING)
            if isinstance(step, Act):
                await move(sql, [order.id], state, step.next_state)
                state = step.next_state
    attempt.state, attempt.payment_intent_id = _STATE_OF[fact.status], fact.payment_intent_id
    attempt.client_secret = fact.client_secret or attempt.client_secret
    return state


async def attempts_of(sql: AsyncSession, order_id: str) -> Sequence[PayAttempt]:
    """Return an order's attempts, oldest first, as they are now."""
    found = await sql.scalars(
        select(PayAttempt)
        .where(PayAttempt.order_id == order_id)
        .order_by(PayAttempt.n)
        .execution_options(populate_existing=True)
    )
    return found.all()


async def key_is_old(database: Database, attempt: PayAttempt) -> bool:
    """Whether Stripe may have forgotten the attempt's key, so that using it would make a second object."""
    async with database.begin() as sql:
        age_s = await sql.scalar(_AGE, {"at": attempt.created_at})
    return age_s is None or age_s > KEY_GOOD_FOR_S


@dataclass(frozen=True, slots=True)
class Before:
    """An attempt as it was before its newest try."""

    state: str
    token: str


async def take_back(database: Database, attempt: PayAttempt, before: Before | None) -> None:
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
            never_sent = (
                PayAttempt.payment_intent_id.is_(None),
                PayAttempt.checkout_session_id.is_(None),
            )
            await sql.execute(delete(PayAttempt).where(*mine, *never_sent))
            return
        params = {**attempt.params, "confirmation_token": before.token}
        await sql.execute(
            update(PayAttempt)
            .where(*mine)
            .values(state=before.state, tries=attempt.tries - 1, params=params)
        )


async def apply(database: Database, attempt: PayAttempt, fact: PaymentFact) -> None:
    """Apply what a look at Stripe showed of an attempt that nobody is working on: money by way of the books."""
    if attempt.state == "CREATING":
        await record(database, attempt, fact)
    await settle(database, [fact])


async def move(
    sql: AsyncSession, order_ids: Sequence[str], from_state: OrderState, to_state: OrderState
) -> None:
    """Move locked orders on, all of them or none: the caller's transaction ends if one is not in ``from_state``."""
    moved = await sql.execute(
        _MOVE, {"ids": list(order_ids), "from_state": from_state, "to_state": to_state}
    )
    if len(moved.all()) != len(order_ids):
        raise RuntimeError(f"an order left {from_state} while it was locked")


def tries_left(attempts: Sequence[PayAttempt | Tried]) -> int:
    """Return how many more times a card may be tried. What Stripe never saw is not a try."""
    tried = sum(attempt.tries for attempt in attempts if not _untried(attempt))
    if len(attempts) >= ATTEMPTS_MAX and attempts[-1].state in DEAD:
        return 0
    return max(0, TRIES_MAX - tried)


def _untried(attempt: PayAttempt | Tried) -> bool:
    """Whether no means to pay was ever tried: Stripe never saw it, or its page was closed without being used."""
    unused = attempt.way == "checkout" and attempt.payment_intent_id is None
    return attempt.state == "ABSENT" or (unused and attempt.state == "CANCELED")


def standing(state: OrderState, attempts: Sequence[PayAttempt | Tried]) -> PaymentOut | None:
    """Return how a payment stands for its shopper; ``checking`` wherever Stripe's word is still due."""
    if state in KEPT or state is OrderState.LATE_PAID:
        return PaymentOut(status="succeeded")
    if state is OrderState.PROCESSING:
        return PaymentOut(status="processing")
    if not attempts:
        return None
    newest = attempts[-1]
    if state in {OrderState.EXPIRING, OrderState.CANCELLING}:
        return None if newest.state in DEAD else PaymentOut(status="checking")
    if newest.state in DEAD:
        if _untried(newest) and newest.way == "checkout":
            return None
        # The last card tried was refused outright; another may be tried while the order waits.
        return PaymentOut(status="declined") if state is OrderState.AWAITING_PAYMENT else None
    status = _STATUS_OF[newest.state]
    secret = newest.client_secret if status == "requires_action" else None
    return PaymentOut(status=status, client_secret=secret)
