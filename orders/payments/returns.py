"""Money that went back without our hearing of it: refunds and disputes that Stripe lists and the books may lack.

Events tell of them as well; but one refund made at Stripe's dashboard, whose event got lost, is a total that is wrong
for ever. So each is looked for by itself and applied by the one way into the books, where a known one does nothing.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import TypeVar

import structlog
from sqlalchemy import text

from orders.payments.facts import DisputeFact, PaymentFact, RefundFact
from orders.payments.pace import Pace
from orders.payments.stripe_gateway import StripeGateway
from orders.settlement import settle
from stream_events.database import Database

log = structlog.get_logger(__name__)

PAGE_SIZE = 100
PAGES_MAX = 1_000

Returned = RefundFact | DisputeFact
Each = TypeVar("Each", RefundFact, DisputeFact)

_OURS = text("""
    SELECT payment_intent_id FROM pay_attempts
    WHERE payment_intent_id = ANY(CAST(:payment_intents AS text[]))
""")
_BOOKED = text("""
    SELECT source_id FROM ledger_transactions
    WHERE source_id = ANY(CAST(:payment_intents AS text[])) AND kind IN ('capture', 'donation', 'surplus')
""")


async def look_for_returns(
    database: Database, stripe: StripeGateway, pace: Pace, since: datetime
) -> int:
    """Apply what went back since then; return how many refunds and disputes are of payments nobody here made."""
    refunds = stripe.list_refunds(since, pages_max=PAGES_MAX)
    unknown = await _take_in(database, stripe, pace, refunds)
    disputes = stripe.list_disputes(since, pages_max=PAGES_MAX)
    return unknown + await _take_in(database, stripe, pace, disputes)


async def _take_in(
    database: Database, stripe: StripeGateway, pace: Pace, listing: AsyncIterator[Each]
) -> int:
    unknown = 0
    page: list[Returned] = []
    async for fact in pace.pages(listing, PAGE_SIZE):
        page.append(fact)
        if len(page) == PAGE_SIZE:
            unknown += await _apply(database, stripe, pace, page)
            page = []
    return unknown + await _apply(database, stripe, pace, page)


async def _apply(
    database: Database, stripe: StripeGateway, pace: Pace, page: Sequence[Returned]
) -> int:
    if not page:
        return 0
    about = {fact.payment_intent_id for fact in page if fact.payment_intent_id}
    wanted = {"payment_intents": sorted(about)}
    async with database.begin() as sql:
        ours = set(await sql.scalars(_OURS, wanted))
        booked = set(await sql.scalars(_BOOKED, wanted))
    # Money cannot go back before it came: where the books lack the payment, Stripe's word on it goes first.
    payments: list[PaymentFact] = [
        await pace.call("keep", lambda missing=missing: stripe.retrieve(missing))  # type: ignore[misc]
        for missing in sorted(ours - booked)
    ]
    if payments:
        await settle(database, payments)
    known = [fact for fact in page if fact.payment_intent_id in ours]
    if known:
        await settle(database, known)
    for fact in page:
        if fact.payment_intent_id not in ours:
            log.error("unknown_return", object_id=_name(fact), payment=fact.payment_intent_id)
    return len(page) - len(known)


def _name(fact: Returned) -> str:
    return fact.refund_id if isinstance(fact, RefundFact) else fact.dispute_id
