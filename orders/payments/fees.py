"""Fees that Stripe had not named when the payment was booked: a webhook never does, so they are looked for afterwards.

Most come free with the list of payments that the reconciler reads anyway. The rest, whose PaymentIntents were made
well before they were paid, are asked after one by one, a few each round.
"""

import time
from collections.abc import Sequence
from typing import Final

import structlog
from sqlalchemy import text

from orders.payments.facts import PaymentFact
from orders.payments.pace import Pace
from orders.payments.stripe_gateway import Refused, StripeGateway
from orders.settlement import settle
from stream_events.database import Database

log = structlog.get_logger(__name__)

ASKED_AT_ONCE_MAX: Final = 20
# Younger ones are still to be listed; what has no fee by the end of this is charged in another currency.
AGE_S_MIN: Final = 180
AGE_S_MAX: Final = 4 * 3600

_WITHOUT = text("""
    SELECT t.source_id FROM ledger_transactions t
    WHERE t.source_id = ANY(CAST(:payment_intents AS text[])) AND t.kind IN ('capture', 'donation', 'surplus')
      AND NOT EXISTS (
        SELECT FROM ledger_transactions f WHERE f.source_id = t.source_id AND f.kind = 'stripe_fee')
""")
# Ids begin with their instant: this reads the newest hours of the books and nothing else. In no order, so that
# payments that never get a fee do not keep the others waiting.
_LATELY_WITHOUT = text("""
    SELECT source_id FROM (
        SELECT DISTINCT t.source_id FROM ledger_transactions t
        WHERE t.id >= :first AND t.id < :last AND t.kind IN ('capture', 'donation', 'surplus')
          AND NOT EXISTS (
            SELECT FROM ledger_transactions f WHERE f.source_id = t.source_id AND f.kind = 'stripe_fee')
    ) AS without ORDER BY random() LIMIT :most
""")


async def post_fees(database: Database, listed: Sequence[PaymentFact]) -> int:
    """Book the fees that these payments name and the books lack; return how many."""
    named = {
        fact.payment_intent_id: fact
        for fact in listed
        if fact.status == "succeeded" and fact.fee_minor
    }
    if not named:
        return 0
    async with database.begin() as sql:
        without = set(await sql.scalars(_WITHOUT, {"payment_intents": sorted(named)}))
    if without:
        await settle(database, [named[each] for each in sorted(without)])
    return len(without)


async def look_for_fees(
    database: Database,
    stripe: StripeGateway,
    pace: Pace,
    *,
    age_s_min: int = AGE_S_MIN,
    most: int = ASKED_AT_ONCE_MAX,
) -> int:
    """Ask after payments of the last hours that have no fee yet; return how many have one now."""
    given = {"first": _first_id(AGE_S_MAX), "last": _first_id(age_s_min), "most": most}
    async with database.begin() as sql:
        without = list(await sql.scalars(_LATELY_WITHOUT, given))
    found = []
    for each in without:
        try:
            found.append(await pace.call("keep", lambda each=each: stripe.retrieve(each)))  # type: ignore[misc]
        except Refused as error:
            log.warning("fee_not_known", payment_intent_id=each, code=error.code)
    return await post_fees(database, found)


def _first_id(age_s: int) -> str:
    """Return what is below the id of any ledger transaction made since then."""
    return f"txn_{(time.time_ns() // 1_000_000 - age_s * 1000):012x}"
