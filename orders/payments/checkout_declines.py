"""Cards that Stripe's own page declined count like those declined on ours, or a thief would test his pile there.

Stripe tells of each decline by an event of its own. An order's page is closed after as many as our page would take,
and each counts for the session and the address that the page was opened from. A count that gets lost in a crash
costs us an eye, never a payment; a page that could not be closed is closed at the next decline.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy import select, text

from orders.payments.attempts import TRIES_MAX
from orders.payments.card_testing import CardTesting, Presented
from orders.payments.checkout_mode import end_session
from orders.payments.errors import PaymentError
from orders.payments.pace import BreakerOpen, Busy, Pace
from orders.payments.stripe_gateway import StripeGateway
from orders.tables import PayAttempt
from stream_events.database import Database

log = structlog.get_logger(__name__)

DECLINED_TYPE: Final = "payment_intent.payment_failed"


@dataclass(frozen=True, slots=True)
class CheckoutDeclines:
    """What is done about declines on Stripe's page."""

    database: Database
    stripe: StripeGateway
    pace: Pace
    card_testing: CardTesting

    async def see(self, payment_intent_ids: Sequence[str]) -> None:
        """Count the declines of these payments that were stored since the last look, and close pages tried out."""
        async with self.database.begin() as sql:
            declined = (
                await sql.execute(_DECLINED, {"payment_intents": sorted(set(payment_intent_ids))})
            ).all()
        for row in declined:
            who = Presented(row.session, row.address)
            for _ in range(row.declines - row.counted):
                await self.card_testing.count(who, declined=True)
            if row.declines >= TRIES_MAX:
                await self._close(row.order_id, row.n)

    async def _close(self, order_id: str, n: int) -> None:
        async with self.database.begin() as sql:
            attempt = (
                await sql.execute(
                    select(PayAttempt).where(PayAttempt.order_id == order_id, PayAttempt.n == n)
                )
            ).scalar_one()
        try:
            await end_session(self.database, self.stripe, self.pace, attempt)
        except (PaymentError, Busy, BreakerOpen) as error:
            log.warning("tried_out_page_open", order_id=order_id, error=type(error).__name__)


# A page counts as one try from its opening, so that the declines on it are its tries from the first one on.
_DECLINED = text("""
WITH seen AS (
    SELECT object_id, count(*)::int AS declines FROM stripe_events
    WHERE object_id = ANY(CAST(:payment_intents AS text[])) AND type = 'payment_intent.payment_failed'
    GROUP BY object_id
), before AS (
    SELECT a.order_id, a.n, s.declines, coalesce((a.params ->> 'declines')::int, 0) AS counted
    FROM seen s JOIN pay_attempts a ON a.payment_intent_id = s.object_id
    WHERE a.way = 'checkout' AND a.params ? 'presented'
      AND a.state NOT IN ('CANCELED', 'ABSENT', 'SUCCEEDED')
    ORDER BY a.order_id, a.n
    FOR UPDATE OF a
)
UPDATE pay_attempts a
SET tries = least(3, b.declines), params = a.params || jsonb_build_object('declines', b.declines), updated_at = now()
FROM before b
WHERE a.order_id = b.order_id AND a.n = b.n
RETURNING a.order_id, a.n, b.declines, b.counted, a.params -> 'presented' ->> 0 AS session,
          a.params -> 'presented' ->> 1 AS address
""")
