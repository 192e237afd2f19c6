"""Gives money back: sends the refunds that settlement decided on to Stripe, outside any transaction.

A refund is a row before it is a call, so a crash at any moment leaves either nothing done or a call that is
repeated under its own key. What came of it goes through settlement like any other fact; the webhook that says the
same again finds it in the books.
"""

import asyncio
import random
from datetime import timedelta
from typing import Any, Final

import structlog
from sqlalchemy import Row, text

from orders import order_books_sql
from orders.payments.errors import PaymentError, Refused, UnknownOutcome
from orders.payments.facts import RefundFact
from orders.payments.pace import BreakerOpen, Busy, Pace
from orders.payments.stripe_gateway import StripeGateway
from orders.return_rulings import METADATA_REFUND, refuse_refund
from orders.settlement import settle
from stream_events.database import Database
from stream_events.loops import go_round
from stream_events.money import stripe_amount

log = structlog.get_logger(__name__)

BATCH_MAX: Final = 32
AT_ONCE_MAX: Final = 4
KEYS_MAX: Final = 5
IDLE_S: Final = 0.5
BACKOFF_S_MAX: Final = 10.0

# Stripe forgets keys after a day: long before that we look for the refund itself instead of repeating the call.
_KEY_TRUSTED_S: Final = 12 * 3600


async def refund_once(
    database: Database, stripe: StripeGateway, pace: Pace, *, batch_max: int = BATCH_MAX
) -> int:
    """Send refunds that are not sent, any of them; return how many are settled or at work at Stripe.

    One that Stripe did not answer is tried again in a later round, under the same key. They are taken by lot, and
    each fails by itself, so that some that never get an answer do not keep the others from theirs.
    """
    async with database.begin() as sql:
        rows = (await sql.execute(_PICK, {"batch_max": batch_max})).all()
    turns = asyncio.Semaphore(AT_ONCE_MAX)

    async def send(row: Row[Any]) -> bool:
        async with turns:
            try:
                return await _send(database, stripe, pace, row)
            except Exception:
                log.exception("refund_failed", refund_id=row.id)
                return False

    return sum(await asyncio.gather(*(send(row) for row in rows)))


async def run_refunds(
    database: Database, stripe: StripeGateway, pace: Pace, stop: asyncio.Event
) -> None:
    """Send refunds until ``stop``; while none can be sent, ask less and less often."""
    pause_s = IDLE_S

    async def send() -> float:
        nonlocal pause_s
        sent = await refund_once(database, stripe, pace)
        pause_s = IDLE_S if sent else min(pause_s * 1.5, BACKOFF_S_MAX)
        return pause_s * random.uniform(0.5, 1.0)  # noqa: S311 - jitter.

    await go_round(
        send, stop, failure="refunds_failed", backoff_s=2 * IDLE_S, backoff_s_max=BACKOFF_S_MAX
    )


async def _send(database: Database, stripe: StripeGateway, pace: Pace, row: Row[Any]) -> bool:
    try:
        fact = await _refund(stripe, pace, row)
    except Refused as error:
        if error.code == "authentication_error":
            log.error("refund_key_refused", refund_id=row.id, code=error.code)  # noqa: TRY400 - says all.
            return False
        log.error("refund_refused", refund_id=row.id, order_id=row.order_id, code=error.code)  # noqa: TRY400 - says all.
        await _close(database, row)
        return True
    except (PaymentError, Busy, BreakerOpen) as error:
        log.info("refund_not_sent", refund_id=row.id, why=type(error).__name__)
        return False
    if fact is None:
        return False
    await settle(database, [fact])
    return True


async def _refund(stripe: StripeGateway, pace: Pace, row: Row[Any]) -> RefundFact | None:
    """Return the refund at Stripe, made now or found; None when no key is left to ask with.

    A key whose answer is a stored server error never says more. Then the refund is looked for, and only where
    it does not exist is it asked for under the next key; the row of keys is the same in every round.
    """
    if row.age_s > _KEY_TRUSTED_S and (found := await _find(stripe, pace, row)):
        return found
    for number in range(1, KEYS_MAX + 1):
        key = f"refund:{row.id}" if number == 1 else f"refund:{row.id}:{number}"
        try:
            return await pace.call("keep", lambda key=key: _ask(stripe, row, key))  # type: ignore[misc]
        except UnknownOutcome as error:
            if not error.key_spent:
                raise
        except Refused as error:
            if error.code != "charge_already_refunded":
                raise
            found = await _find(stripe, pace, row)
            if found is None:
                raise
            return found
        if found := await _find(stripe, pace, row):
            return found
    log.error("refund_keys_spent", refund_id=row.id)
    return None


async def _ask(stripe: StripeGateway, row: Row[Any], key: str) -> RefundFact:
    return await stripe.refund(
        row.payment_intent_id,
        stripe_amount(row.amount_minor, row.currency),
        key,
        {"order_id": row.order_id, METADATA_REFUND: row.id},
    )


async def _find(stripe: StripeGateway, pace: Pace, row: Row[Any]) -> RefundFact | None:
    """Return the refund that Stripe made for this row, by our metadata on it."""

    async def look() -> RefundFact | None:
        # Clocks differ: a refund may seem to have been made a little before its row.
        since = row.created_at - timedelta(minutes=10)
        listed = stripe.list_refunds(since, payment_intent_id=row.payment_intent_id, pages_max=5)
        async for fact in listed:
            if fact.metadata.get(METADATA_REFUND) == row.id:
                return fact
        return None

    return await pace.call("keep", look)


async def _close(database: Database, row: Row[Any]) -> None:
    async with database.begin() as sql:
        books = await order_books_sql.load(sql, [row.order_id])
        refuse_refund(books[row.order_id], row.id)
        await order_books_sql.save(sql, list(books.values()))


_PICK = text("""
SELECT r.id, r.order_id, r.payment_intent_id, r.amount_minor, r.created_at, o.currency,
       CAST(extract(epoch FROM clock_timestamp() - r.created_at) AS bigint) AS age_s
FROM refunds r JOIN orders o ON o.id = r.order_id
WHERE r.state = 'CREATING'
ORDER BY random()
LIMIT :batch_max
""")
