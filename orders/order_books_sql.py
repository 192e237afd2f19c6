"""Loads orders' books under their row locks and writes what facts made of them, a few statements for hundreds.

Settlement must keep up with a sold-out sale being paid, so everything goes by arrays, and the statements are as
many for 256 orders as for one.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from inventory import guard
from orders.ledger.post import post_many
from orders.lifecycle import OrderState
from orders.locks import lock_orders
from orders.order_books import Attempt, OrderBooks, Posted, RefundRow, SoldLine
from stream_events.split import ShareRule


class ChangedUnderLock(RuntimeError):  # noqa: N818 - what happened.
    """A row was not as it was read under its own lock: something writes past the lock order."""


async def orders_of(sql: AsyncSession, payment_intent_ids: Sequence[str]) -> dict[str, str]:
    """Return which order each of these PaymentIntents is of, as far as attempts know."""
    rows = await sql.execute(_ORDERS_OF, {"payment_intents": list(payment_intent_ids)})
    return {row.payment_intent_id: row.order_id for row in rows}


async def load(sql: AsyncSession, order_ids: Sequence[str]) -> dict[str, OrderBooks]:
    """Lock these orders and return their books by order id; ids of no order are left out."""
    orders = await lock_orders(sql, order_ids)
    if not orders:
        return {}
    # In later statements than the lock: what the one before us did to these orders must be seen.
    ids = {"orders": [order.id for order in orders]}
    streams = {row.id: row for row in await sql.execute(_STREAMS, ids)}
    attempts = _by_order(await sql.execute(_ATTEMPTS, ids))
    lines = _by_order(await sql.execute(_LINES, ids))
    refunds = _by_order(await sql.execute(_REFUNDS, ids))
    posted = _by_order(await sql.execute(_POSTED, ids))
    disputed = [order.id for order in orders if order.disputed_minor]
    lost = _by_order(await sql.execute(_LOST, {"orders": disputed})) if disputed else {}
    return {
        order.id: OrderBooks(
            order_id=order.id,
            stream_id=order.stream_id,
            campaign_id=streams[order.stream_id].campaign_id,
            live=streams[order.stream_id].mode == "live",
            currency=order.currency,
            total_minor=order.total_minor,
            state=OrderState(order.state),
            received_minor=order.received_minor,
            refunded_minor=order.refunded_minor,
            disputed_minor=order.disputed_minor,
            attempts=[_attempt(row) for row in attempts.get(order.id, ())],
            lines=[_line(row) for row in lines.get(order.id, ())],
            refunds=[_refund(row) for row in refunds.get(order.id, ())],
            posted=[_posted(row) for row in posted.get(order.id, ())],
            lost={row.dispute_id for row in lost.get(order.id, ())},
        )
        for order in orders
    }


async def save(sql: AsyncSession, books: Sequence[OrderBooks]) -> None:
    """Write what changed, in the lock order: orders, payments and ledger, then the guard's hot rows last.

    All stock moves of one call are of one kind; late sales were made by the guard when it was asked.
    """
    await _save_orders(sql, [each for each in books if each.steps or each.money_changed])
    await _save_attempts(sql, books)
    await _save_refunds(sql, books)
    await post_many(sql, [posting for each in books for posting in each.postings])
    released = [each.order_id for each in books if each.move == "X"]
    if released:
        await guard.release(sql, released)
    sold = [each.order_id for each in books if each.move == "C"]
    if sold:
        await guard.commit_sold(sql, sold)


async def _save_orders(sql: AsyncSession, books: Sequence[OrderBooks]) -> None:
    """Take every order through each of its steps, so that its history shows them all; money with the last."""
    for number in range(max((max(len(each.steps), 1) for each in books), default=0)):
        stepping = [each for each in books if number < max(len(each.steps), 1)]
        steps = [each.steps[number] if each.steps else (each.state,) * 2 for each in stepping]
        written = await sql.execute(
            _SAVE_ORDERS,
            {
                "orders": [each.order_id for each in stepping],
                "from_states": [step[0].value for step in steps],
                "to_states": [step[1].value for step in steps],
                "received": [each.received_minor for each in stepping],
                "refunded": [each.refunded_minor for each in stepping],
                "disputed": [each.disputed_minor for each in stepping],
            },
        )
        if len(written.all()) != len(stepping):
            raise ChangedUnderLock("an order was not in the state it was locked in")


async def _save_attempts(sql: AsyncSession, books: Sequence[OrderBooks]) -> None:
    changed = [(each, attempt) for each in books for attempt in each.attempts if attempt.changed]
    if not changed:
        return
    await sql.execute(
        _SAVE_ATTEMPTS,
        {
            "orders": [each.order_id for each, _ in changed],
            "numbers": [attempt.n for _, attempt in changed],
            "states": [attempt.state for _, attempt in changed],
            "payment_intents": [attempt.payment_intent_id for _, attempt in changed],
        },
    )


async def _save_refunds(sql: AsyncSession, books: Sequence[OrderBooks]) -> None:
    changed = [(each, row) for each in books for row in each.refunds if row.new or row.changed]
    if not changed:
        return
    await sql.execute(
        _SAVE_REFUNDS,
        {
            "ids": [row.id for _, row in changed],
            "orders": [each.order_id for each, _ in changed],
            "payment_intents": [row.payment_intent_id for _, row in changed],
            "amounts": [row.amount_minor for _, row in changed],
            "reasons": [row.reason for _, row in changed],
            "states": [row.state for _, row in changed],
            "stripe_refunds": [row.stripe_refund_id for _, row in changed],
        },
    )


def _by_order(rows: Any) -> dict[str, list[Row[Any]]]:
    found: defaultdict[str, list[Row[Any]]] = defaultdict(list)
    for row in rows:
        found[row.order_id].append(row)
    return found


def _attempt(row: Row[Any]) -> Attempt:
    return Attempt(row.n, row.state, row.payment_intent_id)


def _line(row: Row[Any]) -> SoldLine:
    rule = ShareRule(row.farmer_bp, row.beneficiary_bp, row.fees_bp, row.beneficiary_fixed_minor)
    return SoldLine(
        row.sku, row.quantity, row.amount_minor, row.farmer_id, row.beneficiary_id, rule
    )


def _refund(row: Row[Any]) -> RefundRow:
    return RefundRow(
        row.id,
        row.payment_intent_id,
        row.amount_minor,
        row.reason,
        row.state,
        row.stripe_refund_id,
    )


def _posted(row: Row[Any]) -> Posted:
    return Posted(row.kind, row.source_id, tuple((account, part) for account, part in row.entries))


_ORDERS_OF = text("""
SELECT payment_intent_id, order_id FROM pay_attempts
WHERE payment_intent_id = ANY(CAST(:payment_intents AS text[]))
""")
_STREAMS = text("""
SELECT s.id, s.campaign_id, c.mode
FROM streams s JOIN campaigns c ON c.id = s.campaign_id
WHERE s.id IN (SELECT stream_id FROM orders WHERE id = ANY(CAST(:orders AS text[])))
""")
_ATTEMPTS = text("""
SELECT order_id, n, state, payment_intent_id FROM pay_attempts
WHERE order_id = ANY(CAST(:orders AS text[]))
ORDER BY order_id, n
""")
_LINES = text("""
SELECT l.order_id, s.sku, l.quantity, l.amount_minor, t.farmer_id, t.beneficiary_id,
       t.farmer_bp, t.beneficiary_bp, t.fees_bp, t.beneficiary_fixed_minor
FROM order_lines l
JOIN stock s ON s.id = l.stock_id
JOIN offer_terms t ON t.id = l.terms_id
WHERE l.order_id = ANY(CAST(:orders AS text[]))
ORDER BY l.order_id, s.sku
""")
_REFUNDS = text("""
SELECT order_id, id, payment_intent_id, amount_minor, reason, state, stripe_refund_id FROM refunds
WHERE order_id = ANY(CAST(:orders AS text[]))
ORDER BY order_id, id
""")
_POSTED = text("""
SELECT t.order_id, t.kind, t.source_id,
       (SELECT jsonb_agg(jsonb_build_array(e.account, e.amount_minor) ORDER BY e.account)
        FROM ledger_entries e WHERE e.transaction_id = t.id) AS entries
FROM ledger_transactions t
WHERE t.order_id = ANY(CAST(:orders AS text[]))
ORDER BY t.order_id, t.posted_at, t.id
""")
# A lost dispute moves no more money, so what says that it ended is the event that did, once it was settled.
_LOST = text("""
SELECT t.order_id, t.source_id AS dispute_id
FROM ledger_transactions t
WHERE t.order_id = ANY(CAST(:orders AS text[])) AND t.kind IN ('dispute', 'surplus_dispute')
  AND EXISTS (
    SELECT 1 FROM stripe_events e
    WHERE e.object_id = t.source_id AND e.state = 'DONE'
      AND e.payload #>> '{data,object,status}' = 'lost')
""")
_SAVE_ORDERS = text("""
UPDATE orders o SET
    state = u.to_state,
    state_at = CASE WHEN u.to_state = u.from_state THEN o.state_at ELSE now() END,
    received_minor = u.received_minor,
    refunded_minor = u.refunded_minor,
    disputed_minor = u.disputed_minor
FROM unnest(
    CAST(:orders AS text[]), CAST(:from_states AS text[]), CAST(:to_states AS text[]),
    CAST(:received AS bigint[]), CAST(:refunded AS bigint[]), CAST(:disputed AS bigint[])
) AS u (id, from_state, to_state, received_minor, refunded_minor, disputed_minor)
WHERE o.id = u.id AND o.state = u.from_state
RETURNING o.id
""")
_SAVE_ATTEMPTS = text("""
UPDATE pay_attempts a
SET state = u.state, payment_intent_id = u.payment_intent_id, updated_at = now()
FROM unnest(
    CAST(:orders AS text[]), CAST(:numbers AS int[]), CAST(:states AS text[]),
    CAST(:payment_intents AS text[])
) AS u (order_id, n, state, payment_intent_id)
WHERE a.order_id = u.order_id AND a.n = u.n
""")
_SAVE_REFUNDS = text("""
INSERT INTO refunds (id, order_id, payment_intent_id, amount_minor, reason, state, stripe_refund_id)
SELECT * FROM unnest(
    CAST(:ids AS text[]), CAST(:orders AS text[]), CAST(:payment_intents AS text[]),
    CAST(:amounts AS bigint[]), CAST(:reasons AS text[]), CAST(:states AS text[]),
    CAST(:stripe_refunds AS text[])
)
ON CONFLICT (id) DO UPDATE SET state = excluded.state, stripe_refund_id = excluded.stripe_refund_id
""")
