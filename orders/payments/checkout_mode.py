"""The second way to pay: Stripe's own page (a Checkout Session), for whoever would not give a card to ours.

It is an attempt like any other: a row with all that will be sent, then one call under the row's own key, and what is
paid there comes into the books as a PaymentIntent that carries our metadata. What differs is how it ends: not the
PaymentIntent but the session is made unpayable, and only Stripe's word that it is releases units.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from sqlalchemy import text

from orders.lifecycle import OrderState
from orders.locks import lock_orders
from orders.payments import attempts as tries
from orders.payments.card_testing import CardTesting, Presented
from orders.payments.facts import FINAL_STATUSES
from orders.payments.pace import BreakerOpen, Busy, Pace
from orders.payments.pay import pay_later, wait_for_a_call
from orders.payments.payable import (
    PayableOrder,
    TooLate,
    read_payable,
    require_payable_state,
    too_late,
)
from orders.payments.stripe_gateway import (
    CheckoutFact,
    RateLimited,
    Refused,
    StripeGateway,
    UnknownOutcome,
    Unreachable,
)
from orders.settlement import settle
from orders.tables import PayAttempt
from stream_events.database import Database
from stream_events.errors import Problem, not_found, unavailable
from stream_events.ids import new_id
from stream_events.money import stripe_amount

log = structlog.get_logger(__name__)

# Stripe wants at least 30 minutes from when the call arrives, which may be its last repeat. The time to pay is
# kept by the expirer, which closes the page earlier.
SESSION_S: Final = 3600
NAME_CHARS_MAX: Final = 200

# A session is recorded whatever became of its payment meanwhile: the expirer must know what to close.
_RECORD = text("""
    UPDATE pay_attempts
    SET state = CASE WHEN state = 'CREATING' THEN 'REQUIRES_ACTION' ELSE state END,
        checkout_session_id = :session_id,
        params = params || jsonb_build_object('url', CAST(:url AS text)),
        updated_at = now()
    WHERE order_id = :order_id AND n = :n AND (checkout_session_id IS NULL OR checkout_session_id = :session_id)
    RETURNING state
""")
_CLOSE = text("""
    UPDATE pay_attempts SET state = :state, updated_at = now()
    WHERE order_id = :order_id AND n = :n AND way = 'checkout'
      AND state NOT IN ('SUCCEEDED', 'PROCESSING', 'CANCELED')
""")


@dataclass(frozen=True, slots=True)
class Buyer:
    """Who is sent to Stripe's page from where, and where it sends them back to."""

    order_id: str
    page_url: str
    address: str | None = None


async def open_checkout(
    database: Database,
    stripe: StripeGateway,
    pace: Pace,
    buyer: Buyer,
    card_testing: CardTesting | None = None,
) -> tuple[str, datetime]:
    """Return the address of Stripe's page for an order whose turn it is, and until when it can be open.

    Raises ``Problem``: 409 ``not_your_turn``, ``already_paid``, ``paying_elsewhere`` or ``no_tries_left``, 410
    ``order_expired`` or ``order_cancelled``, 429 and 503 ``pay_later``.
    """
    try:
        return await _open(database, stripe, pace, buyer, card_testing)
    except TooLate as error:
        raise await too_late(pace) from error


async def _open(
    database: Database,
    stripe: StripeGateway,
    pace: Pace,
    buyer: Buyer,
    card_testing: CardTesting | None,
) -> tuple[str, datetime]:
    async with database.begin() as sql:
        order = await _read(sql, buyer.order_id)
    known = _open_one(order)
    presented = None
    if card_testing is not None:
        presented = card_testing.presented(order.shopper_id, buyer.address)
    if known is None:
        if card_testing is not None and presented is not None:
            await card_testing.look(presented)
    elif known.checkout_session_id and await _still_open(database, stripe, pace, known):
        return _page(known)
    await wait_for_a_call(pace)
    async with database.begin() as sql:
        await lock_orders(sql, [buyer.order_id])
        # Asked again: another tab may have opened one, or the clock run out, meanwhile.
        order = await _read(sql, buyer.order_id)
        attempt = _open_one(order)
        mine = attempt is None
        if attempt is None:
            attempt = _attempt(order, buyer, presented)
            sql.add(attempt)
            await sql.flush()
            await sql.refresh(attempt)
    if attempt.checkout_session_id is None:
        await _make(database, stripe, pace, attempt, mine=mine)
    return _page(attempt)


async def close_checkout(
    database: Database, stripe: StripeGateway, pace: Pace, order_id: str
) -> None:
    """Close the order's page at Stripe so that another way is free; none open is no mistake.

    Raises ``Problem`` 409 ``already_paid`` when the shopper was faster, 503 when Stripe cannot be asked now.
    """
    async with database.begin() as sql:
        order = await _read(sql, order_id)
    attempt = order.newest
    if attempt is None or attempt.way != "checkout" or attempt.state in tries.DEAD:
        return
    try:
        await end_session(database, stripe, pace, attempt)
    except (Busy, BreakerOpen, RateLimited, Unreachable) as error:
        raise pay_later(error) from error
    except UnknownOutcome as error:
        raise unavailable("Stripe's page could not be closed yet; try again.") from error
    async with database.begin() as sql:
        newest = (await _read(sql, order_id)).newest
    if newest is not None and newest.state in {"PROCESSING", "SUCCEEDED"}:
        raise Problem(409, "already_paid", "This order was paid on Stripe's page.")
    if newest is not None and newest.state not in tries.DEAD:
        raise unavailable("Stripe's page could not be closed yet; try again.")


async def end_session(
    database: Database, stripe: StripeGateway, pace: Pace, attempt: PayAttempt
) -> None:
    """Make Stripe's page unpayable, or take in what was paid on it. Raises the gateway's and the pace's errors."""
    session_id = attempt.checkout_session_id
    if session_id is None:
        found = await learn(database, stripe, pace, attempt)
        if found is None:
            return
        session_id = found.session_id
    try:
        # A fresh key each time: Stripe would answer an old one with what was true then.
        key = new_id("expire")
        fact = await pace.call("keep", lambda: stripe.expire_checkout(session_id, key))
    except Refused:
        # It was paid, or had run out by itself: Stripe says which.
        fact = await pace.call("keep", lambda: stripe.fetch_checkout(session_id))
    await take_in(database, stripe, pace, attempt, fact)


async def learn(
    database: Database, stripe: StripeGateway, pace: Pace, attempt: PayAttempt
) -> CheckoutFact | None:
    """Learn with the attempt's own key which session it made; None where the key says no more."""
    if attempt.absent_cycles or await tries.key_is_old(database, attempt):
        return None
    try:
        fact = await pace.call("keep", lambda: _create(stripe, attempt))
    except Refused as error:
        log.warning("checkout_refused", order_id=attempt.order_id, n=attempt.n, code=error.code)
        return None
    except UnknownOutcome as error:
        if not error.key_spent:
            raise
        return None
    await _record(database, attempt, fact)
    return fact


async def look_at(
    database: Database, stripe: StripeGateway, pace: Pace, attempt: PayAttempt
) -> bool:
    """Take in how a session stands; False when nobody knows its id any more, so that it must be searched."""
    session_id = attempt.checkout_session_id
    if session_id is None:
        return await learn(database, stripe, pace, attempt) is not None
    fact = await pace.call("keep", lambda: stripe.fetch_checkout(session_id))
    await take_in(database, stripe, pace, attempt, fact)
    return True


async def take_in(
    database: Database,
    stripe: StripeGateway,
    pace: Pace,
    attempt: PayAttempt,
    fact: CheckoutFact,
) -> None:
    """Apply what Stripe says of a session: money by way of the books, and never by the session's own word."""
    await _record(database, attempt, fact)
    payment_intent_id = fact.payment_intent_id or attempt.payment_intent_id
    final = False
    if payment_intent_id is not None and fact.status != "open":
        payment = await pace.call("keep", lambda: stripe.retrieve(payment_intent_id))
        await settle(database, [payment])
        final = payment.status in FINAL_STATUSES or payment.status == "processing"
    if fact.status == "expired" and not final:
        await _close(database, attempt, "CANCELED")


def _open_one(order: PayableOrder) -> PayAttempt | None:
    """Return the attempt whose page is, or may be, open at Stripe; None where one may be opened; else refuse."""
    require_payable_state(order)
    if order.state in {OrderState.EXPIRING, OrderState.CANCELLING}:
        raise Problem(410, "order_expired", "The time to pay this order is over.")
    newest = order.newest
    if order.state is not OrderState.AWAITING_PAYMENT or (newest and newest.state == "SUCCEEDED"):
        raise Problem(409, "already_paid", "This order is paid, or its payment is on its way.")
    if not order.on_time:
        raise TooLate
    if newest is None or newest.state in tries.DEAD:
        if tries.tries_left(order.attempts) == 0:
            raise Problem(409, "no_tries_left", "This order was tried to be paid too often.")
        return None
    if newest.way != "checkout":
        raise Problem(409, "paying_elsewhere", "A payment of this order was begun on our page.")
    return newest


async def _still_open(
    database: Database, stripe: StripeGateway, pace: Pace, attempt: PayAttempt
) -> bool:
    """Whether the page lives by our clock; one that should be over is looked at, so that another can follow."""
    if attempt.params["expires_at"] > datetime.now(UTC).timestamp():
        return True
    try:
        await look_at(database, stripe, pace, attempt)
    except (Busy, BreakerOpen, RateLimited, Unreachable) as error:
        raise pay_later(error) from error
    except (Refused, UnknownOutcome) as error:
        raise unavailable("Stripe's page cannot be looked at right now; try again.") from error
    return False


def _attempt(order: PayableOrder, buyer: Buyer, presented: Presented | None) -> PayAttempt:
    return PayAttempt(
        order_id=order.id,
        n=order.newest.n + 1 if order.newest else 1,
        state="CREATING",
        way="checkout",
        tries=1,
        params={
            "amount": stripe_amount(order.total_minor, order.currency),
            "currency": order.currency,
            "name": f"{order.title[:NAME_CHARS_MAX]} · {order.place}",
            "expires_at": int(datetime.now(UTC).timestamp()) + SESSION_S,
            "page_url": buyer.page_url,
            "payment_method_types": order.methods,
            "metadata": {"stream_id": order.stream_id},
            # Who opened it from where, as keyed hashes: what is declined there is counted for them.
            **({"presented": [presented.session, presented.address]} if presented else {}),
        },
    )


async def _create(stripe: StripeGateway, attempt: PayAttempt) -> CheckoutFact:
    params: dict[str, Any] = attempt.params
    return await stripe.create_checkout(
        order_id=attempt.order_id,
        attempt=attempt.n,
        amount_minor=params["amount"],
        currency=params["currency"],
        name=params["name"],
        expires_at=datetime.fromtimestamp(params["expires_at"], UTC),
        success_url=params["page_url"],
        cancel_url=params["page_url"],
        payment_method_types=params["payment_method_types"],
        metadata=params["metadata"],
        idempotency_key=f"checkout:{attempt.order_id}:{attempt.n}",
    )


async def _make(
    database: Database, stripe: StripeGateway, pace: Pace, attempt: PayAttempt, *, mine: bool
) -> None:
    """Open the page at Stripe, or learn which one was opened under the attempt's key.

    An attempt that is not ``mine`` was begun by another request, which may have opened the page: it is never taken
    back here, or nobody would know of a page that can be paid.
    """
    try:
        fact = await pace.observed(lambda: _create(stripe, attempt))
    except UnknownOutcome as error:
        log.warning("checkout_unknown", order_id=attempt.order_id, n=attempt.n, reason=str(error))
        raise unavailable(
            "Stripe's page is not ready yet; your units stay held.", "pay_later"
        ) from error
    except (RateLimited, Unreachable) as error:
        if mine:
            await tries.take_back(database, attempt, None)
        raise pay_later(error) from error
    except Refused as error:
        log.error("checkout_refused", order_id=attempt.order_id, n=attempt.n, code=error.code)  # noqa: TRY400 - says all.
        if error.code == "authentication_error":
            if mine:
                await tries.take_back(database, attempt, None)
        else:
            # Stripe keeps this answer under the key; the next one is another attempt.
            await _close(database, attempt, "ABSENT")
        raise unavailable(
            "Stripe's page cannot be opened; your units stay held.", "pay_later"
        ) from error
    await _record(database, attempt, fact)


async def _record(database: Database, attempt: PayAttempt, fact: CheckoutFact) -> None:
    async with database.begin() as sql:
        await lock_orders(sql, [attempt.order_id])
        written = await sql.execute(
            _RECORD,
            {
                "order_id": attempt.order_id,
                "n": attempt.n,
                "session_id": fact.session_id,
                "url": fact.url,
            },
        )
        state = written.scalar_one_or_none()
    if state is None:
        # The attempt's key and metadata name one session only; a second one would be payable beside it.
        log.error("second_checkout", order_id=attempt.order_id, n=attempt.n)
        return
    attempt.state, attempt.checkout_session_id = state, fact.session_id
    attempt.params = {**attempt.params, "url": fact.url}


async def _close(database: Database, attempt: PayAttempt, state: str) -> None:
    async with database.begin() as sql:
        await lock_orders(sql, [attempt.order_id])
        await sql.execute(_CLOSE, {"order_id": attempt.order_id, "n": attempt.n, "state": state})


async def _read(sql: Any, order_id: str) -> PayableOrder:
    order = await read_payable(sql, order_id)
    if order is None:
        raise not_found("order")
    return order


def _page(attempt: PayAttempt) -> tuple[str, datetime]:
    url = attempt.params.get("url")
    if not url:
        raise Problem(409, "already_paid", "This order was paid on Stripe's page.")
    return str(url), datetime.fromtimestamp(attempt.params["expires_at"], UTC)
