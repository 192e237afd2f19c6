"""An order as it is shown to those who may see it: read in one statement, because a whole crowd polls it.

Nothing here decides anything, and nothing here reads a shopper's personal data, only whether it was given.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncSession

from inventory.tax import tax_part
from orders.lifecycle import FulfilmentState, OrderState
from orders.messages import to_giver
from orders.order_notices import notice_of, pending_minor
from orders.payments.attempts import Tried, standing, tries_left
from orders.schemas import LineOut, Money, OrderOut
from orders.tables import Order
from stream_events.bulk import bulk

# A card may still be tried, or will be when it is the shopper's turn.
_PAYABLE = frozenset({OrderState.RESERVED, OrderState.AWAITING_PAYMENT, OrderState.PROCESSING})


async def show_orders(
    sql: AsyncSession, orders: Sequence[Order], rate_per_s: int, *, secrets: bool
) -> list[OrderOut]:
    """Return these orders for showing; ``secrets`` lets the shopper's browser finish a bank's extra step."""
    if not orders:
        return []
    ids = [order.id for order in orders]
    found = {row.id: row for row in await sql.execute(_VIEW, {"ids": ids})}
    return [_shown(found[order_id], rate_per_s, secrets=secrets) for order_id in ids]


def _shown(row: Row[Any], rate_per_s: int, *, secrets: bool) -> OrderOut:
    state = OrderState(row.state)
    tried = msgspec.convert(row.attempts, list[Tried])
    payment = standing(state, tried)
    if payment is not None and not secrets:
        payment.client_secret = None
    return OrderOut.model_validate(
        {
            **{field: getattr(row, field) for field in _PLAIN},
            "state": state,
            "fulfilment": FulfilmentState(row.fulfilment),
            "lines": [_line(line) for line in row.lines],
            "total": Money(amount_minor=row.total_minor, currency=row.currency),
            "refund_pending_minor": pending_minor(row.refunds),
            "notice": notice_of(state, row.kind, row.refunds, late=row.late, lost=row.lost),
            "minutes": None if row.ahead is None else _minutes(row.ahead, rate_per_s),
            "attempts_left": tries_left(tried) if state in _PAYABLE else 0,
            "display": None if row.display is None else to_giver(row.display),
            "payment": payment,
        }
    )


_PLAIN: Final = (
    "id",
    "stream_id",
    "kind",
    "gifts",
    "shipping_minor",
    "refunded_minor",
    "place",
    "placed_at",
    "ahead",
    "pay_by",
    "contact_given",
    "seller",
    "refund_terms",
    "refund_terms_zh",
    "server_time",
)


def _minutes(ahead: int, rate_per_s: int) -> int:
    """Round up, so that nobody comes back too early: 0 only for the very next."""
    return -(-ahead // (60 * max(rate_per_s, 1)))


def _line(line: Mapping[str, Any]) -> LineOut:
    return LineOut(
        sku=line["sku"],
        quantity=line["quantity"],
        unit_minor=line["price_minor"],
        amount_minor=line["amount_minor"],
        tax_minor=tax_part(line["amount_minor"], line["tax_bp"]),
    )


# Who is ahead is counted on the small partial index of the queue, in the order in which the pacer takes them.
_VIEW = bulk("""
SELECT o.*, now() AS server_time, c.seller, c.refund_terms, c.refund_terms_zh, m.display,
    EXISTS (SELECT FROM order_contacts WHERE order_id = o.id) AS contact_given,
    CASE WHEN o.state = 'RESERVED' THEN (
        SELECT count(*) FROM orders q WHERE q.state = 'RESERVED' AND q.id < o.id
    ) END AS ahead,
    (
        SELECT coalesce(json_agg(l ORDER BY l.sku), '[]') FROM (
            SELECT s.sku, l.quantity, t.price_minor, l.amount_minor, t.tax_bp
            FROM order_lines l JOIN stock s ON s.id = l.stock_id JOIN offer_terms t ON t.id = l.terms_id
            WHERE l.order_id = o.id
        ) l
    ) AS lines,
    (
        SELECT coalesce(json_agg(g ORDER BY g.n), '[]') FROM (
            SELECT g.n, g.kind, g.beneficiary_id, b.name, b.name_zh, g.amount_minor
            FROM order_gifts g JOIN beneficiaries b ON b.id = g.beneficiary_id
            WHERE g.order_id = o.id
        ) g
    ) AS gifts,
    (
        SELECT coalesce(json_agg(a ORDER BY a.n), '[]') FROM (
            SELECT n, state, way, tries, payment_intent_id, client_secret FROM pay_attempts WHERE order_id = o.id
        ) a
    ) AS attempts,
    (
        SELECT coalesce(json_agg(r), '[]') FROM (
            SELECT amount_minor, state, reason FROM refunds WHERE order_id = o.id
        ) r
    ) AS refunds,
    o.received_minor > 0 AND EXISTS (
        SELECT FROM order_transitions WHERE order_id = o.id AND from_state IN ('EXPIRED', 'CANCELLED')
    ) AS late,
    EXISTS (SELECT FROM disputes WHERE order_id = o.id AND state = 'LOST') AS lost
FROM orders o
JOIN streams s ON s.id = o.stream_id
JOIN campaigns c ON c.id = s.campaign_id
LEFT JOIN order_messages m ON m.order_id = o.id
WHERE o.id = ANY(CAST(:ids AS text[]))
""")
