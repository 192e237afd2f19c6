"""What each table knows of one order, column by column, so that nothing personal is read by accident."""

from typing import Final

from sqlalchemy import TextClause, text

ORDER: Final = text("""
    SELECT o.id, o.kind, o.state, o.fulfilment, o.stream_id, s.campaign_id, o.currency, o.total_minor,
           o.shipping_minor, o.received_minor, o.refunded_minor, o.disputed_minor, o.place, o.placed_at,
           o.delivered_at, c.created_at AS contact_at, m.created_at AS message_at, m.display
    FROM orders o
    JOIN streams s ON s.id = o.stream_id
    LEFT JOIN order_contacts c ON c.order_id = o.id
    LEFT JOIN order_messages m ON m.order_id = o.id
    WHERE o.id = :order AND (CAST(:host AS text) IS NULL OR s.host_id = :host)
""")


def _of_order(columns: str, tables: str, ordering: str, where: str) -> TextClause:
    return text(f"SELECT {columns} FROM {tables} WHERE {where} ORDER BY {ordering} LIMIT :rows_max")


LINES: Final = _of_order(
    "k.sku, l.quantity, l.amount_minor, o.placed_at",
    "order_lines l JOIN orders o ON o.id = l.order_id JOIN stock k ON k.id = l.stock_id",
    "k.sku",
    "l.order_id = :order",
)
GIFTS: Final = _of_order(
    "g.kind, g.beneficiary_id, g.amount_minor, o.placed_at",
    "order_gifts g JOIN orders o ON o.id = g.order_id",
    "g.n",
    "g.order_id = :order",
)
# Keys are found by their hash and by nothing else, so this reads through them: an index only for this question
# would be paid for by each order that is placed.
KEYS: Final = _of_order(
    "outcome, adm, at", "order_keys", "at", "stream_id = :stream AND order_id = :order"
)
MOVES: Final = _of_order(
    "m.kind, m.quantity, m.rel_seq, m.at, k.sku",
    "stock_moves m JOIN stock k ON k.id = m.stock_id",
    "m.at, k.sku, m.n",
    "m.source_id = :order AND m.kind IN ('R', 'C', 'X', 'L', 'T')",
)
TRANSITIONS: Final = _of_order(
    "from_state, to_state, at", "order_transitions", "id", "order_id = :order"
)
ATTEMPTS: Final = _of_order(
    "n, state, tries, way, payment_intent_id, checkout_session_id, created_at, updated_at",
    "pay_attempts",
    "n",
    "order_id = :order",
)
EVENTS: Final = _of_order(
    "event_id, type, object_id, state, reason, received_at, done_at",
    "stripe_events",
    "received_at, event_id",
    """object_id IN (
        SELECT payment_intent_id FROM pay_attempts WHERE order_id = :order
        UNION SELECT checkout_session_id FROM pay_attempts WHERE order_id = :order
        UNION SELECT stripe_refund_id FROM refunds WHERE order_id = :order
        UNION SELECT id FROM disputes WHERE order_id = :order)""",
)
TRANSACTIONS: Final = _of_order(
    "t.id, t.kind, t.posted_at, s.seq, s.sealed_at, e.entries",
    """ledger_transactions t
       LEFT JOIN seals s ON s.transaction_id = t.id
       CROSS JOIN LATERAL (
           SELECT jsonb_agg(jsonb_build_array(account, amount_minor) ORDER BY account) AS entries
           FROM ledger_entries WHERE transaction_id = t.id
       ) e""",
    "t.posted_at, t.id",
    "t.order_id = :order",
)
MATCHES: Final = _of_order(
    "match_id, base_minor, amount_minor, returned_minor, created_at",
    "match_uses",
    "match_id",
    "order_id = :order",
)
REFUNDS: Final = _of_order(
    "id, amount_minor, reason, state, stripe_refund_id, restock, created_at",
    "refunds",
    "id",
    "order_id = :order",
)
DISPUTES: Final = _of_order(
    "id, amount_minor, state, created_at", "disputes", "id", "order_id = :order"
)
REFUND_REQUESTS: Final = _of_order(
    "id, state, refund_id, created_at, decided_at", "refund_requests", "id", "order_id = :order"
)
MAILS: Final = _of_order(
    "kind, state, created_at, due_at, sent_at", "mail_outbox", "id", "order_id = :order"
)
