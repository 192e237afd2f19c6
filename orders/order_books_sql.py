"""Loads orders' books under their row locks and writes what facts made of them, a few statements for hundreds.

Settlement must keep up with a sold-out sale being paid, so everything goes by arrays, and the statements are as
many for 256 orders as for one.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncSession

from inventory import guard
from orders.attempt_life import AttemptState
from orders.ledger.post import POSTINGS_MAX, post_many
from orders.lifecycle import OrderState
from orders.locks import lock_orders
from orders.mail.outbox import enqueue_cancelled
from orders.matching import match_books
from orders.order_books import OrderBooks
from orders.order_parts import GiftLine, Parts, SoldLine
from orders.order_rows import Attempt, DisputeRow, Posted, RefundRow
from stream_events.bulk import bulk
from stream_events.split import ShareRule


class ChangedUnderLock(RuntimeError):  # noqa: N818 - what happened.
    """A row was not as it was read under its own lock: something writes past the lock order."""


async def orders_of(sql: AsyncSession, payment_intent_ids: Sequence[str]) -> dict[str, str]:
    """Return which order each of these PaymentIntents is of, as far as attempts know."""
    rows = await sql.execute(_ORDERS_OF, {"payment_intents": list(payment_intent_ids)})
    return {row.payment_intent_id: row.order_id for row in rows}


async def load(sql: AsyncSession, order_ids: Sequence[str]) -> dict[str, OrderBooks]:
    """Lock these orders and return their books by order id; ids of no order are left out."""
    # The rest in later statements than the lock: what the one before us did to these orders must be seen.
    return await _read(sql, await lock_orders(sql, order_ids))


async def look(sql: AsyncSession, order_ids: Sequence[str]) -> dict[str, OrderBooks]:
    """Return the books of these orders to show them: nothing is locked, so nothing may be decided on them."""
    found = await sql.execute(_LOOK, {"orders": order_ids})
    return await _read(sql, found.all())


async def _read(sql: AsyncSession, orders: Sequence[Row[Any]]) -> dict[str, OrderBooks]:
    if not orders:
        return {}
    ids = {"orders": [order.id for order in orders]}
    found = {name: _by_order(await sql.execute(query, ids)) for name, query in _PARTS.items()}
    streams = {row.id: row for row in await sql.execute(_STREAMS, ids)}
    return {
        order.id: _books(
            order,
            streams[order.stream_id],
            {name: rows.get(order.id, ()) for name, rows in found.items()},
        )
        for order in orders
    }


def _books(order: Row[Any], stream: Row[Any], rows: Mapping[str, Sequence[Row[Any]]]) -> OrderBooks:
    return OrderBooks(
        order_id=order.id,
        stream_id=order.stream_id,
        campaign_id=stream.campaign_id,
        shopper_id=order.shopper_id,
        placed_at=order.placed_at,
        live=stream.mode == "live",
        currency=order.currency,
        total_minor=order.total_minor,
        state=OrderState(order.state),
        received_minor=order.received_minor,
        refunded_minor=order.refunded_minor,
        disputed_minor=order.disputed_minor,
        attempts=[
            Attempt(row.n, AttemptState(row.state), row.payment_intent_id)
            for row in rows["attempts"]
        ],
        gift=order.kind == "gift",
        parts=Parts(
            lines=[_line(row) for row in rows["lines"]],
            shipping_minor=order.shipping_minor,
            gifts=[
                GiftLine(row.beneficiary_id, row.amount_minor, row.kind) for row in rows["gifts"]
            ],
            gift_fee_payer=stream.gift_fee_payer,
        ),
        refunds=[_refund(row) for row in rows["refunds"]],
        disputes=[
            DisputeRow(row.id, row.payment_intent_id, row.amount_minor, row.state)
            for row in rows["disputes"]
        ],
        posted=[_posted(row) for row in rows["posted"]],
    )


async def save(sql: AsyncSession, books: Sequence[OrderBooks]) -> None:
    """Write what changed, in the lock order: orders, payments, the pots of matches, ledger, then the guard's hot rows.

    All stock moves of one call are of one kind; late sales were made by the guard when it was asked.
    """
    await _save_orders(sql, [each for each in books if each.steps or each.money_changed])
    await _save_attempts(sql, books)
    cancelled = [each.order_id for each in books if each.has_become(OrderState.CANCELLED)]
    if cancelled:
        await enqueue_cancelled(sql, cancelled)
    await _save_refunds(sql, books)
    await _save_disputes(sql, books)
    matched = await match_books(sql, books)
    postings = [*(posting for each in books for posting in each.postings), *matched]
    for start in range(0, len(postings), POSTINGS_MAX):
        await post_many(sql, postings[start : start + POSTINGS_MAX])
    released = [each.order_id for each in books if each.move == "X"]
    if released:
        await guard.release(sql, released)
    sold = [each.order_id for each in books if each.move == "C"]
    if sold:
        await guard.commit_sold(sql, sold)
    restocked = {each.order_id: each.restocking for each in books if each.restocking}
    if restocked:
        await guard.restock_many(sql, restocked)


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
            "lines": [msgspec.json.encode(row.lines).decode() for _, row in changed],
            "gifts": [row.gift_minor for _, row in changed],
            "restock": [row.restock for _, row in changed],
            "requested_by": [row.requested_by for _, row in changed],
        },
    )


async def _save_disputes(sql: AsyncSession, books: Sequence[OrderBooks]) -> None:
    changed = [(each, row) for each in books for row in each.disputes if row.new or row.changed]
    if not changed:
        return
    await sql.execute(
        _SAVE_DISPUTES,
        {
            "ids": [row.id for _, row in changed],
            "orders": [each.order_id for each, _ in changed],
            "payment_intents": [row.payment_intent_id for _, row in changed],
            "amounts": [row.amount_minor for _, row in changed],
            "states": [row.state for _, row in changed],
        },
    )


def _by_order(rows: Any) -> dict[str, list[Row[Any]]]:
    found: defaultdict[str, list[Row[Any]]] = defaultdict(list)
    for row in rows:
        found[row.order_id].append(row)
    return found


def _line(row: Row[Any]) -> SoldLine:
    return SoldLine(
        row.sku,
        row.quantity,
        row.amount_minor,
        row.farmer_id,
        row.beneficiary_id,
        ShareRule.of(row),
        row.fee_payer,
    )


def _refund(row: Row[Any]) -> RefundRow:
    return RefundRow(
        id=row.id,
        payment_intent_id=row.payment_intent_id,
        amount_minor=row.amount_minor,
        reason=row.reason,
        state=row.state,
        stripe_refund_id=row.stripe_refund_id,
        lines=[(sku, quantity, amount_minor) for sku, quantity, amount_minor in row.lines],
        gift_minor=row.gift_minor,
        restock=row.restock,
        requested_by=row.requested_by,
    )


def _posted(row: Row[Any]) -> Posted:
    return Posted(row.kind, row.source_id, tuple((account, part) for account, part in row.entries))


_LOOK = bulk("SELECT * FROM orders WHERE id = ANY(CAST(:orders AS text[]))")
_ORDERS_OF = bulk("""
SELECT payment_intent_id, order_id FROM pay_attempts
WHERE payment_intent_id = ANY(CAST(:payment_intents AS text[]))
""")
_STREAMS = bulk("""
SELECT s.id, s.campaign_id, c.mode, c.gift_fee_payer
FROM streams s JOIN campaigns c ON c.id = s.campaign_id
WHERE s.id IN (SELECT stream_id FROM orders WHERE id = ANY(CAST(:orders AS text[])))
""")
_ATTEMPTS = bulk("""
SELECT order_id, n, state, payment_intent_id FROM pay_attempts
WHERE order_id = ANY(CAST(:orders AS text[]))
ORDER BY order_id, n
""")
_LINES = bulk("""
SELECT l.order_id, s.sku, l.quantity, l.amount_minor, t.farmer_id, t.beneficiary_id,
       t.farmer_bp, t.beneficiary_bp, t.fees_bp, t.beneficiary_fixed_minor, t.farmer_fixed_minor,
       t.beneficiary_cap_minor, t.farmer_floor_minor, t.fee_payer
FROM order_lines l
JOIN stock s ON s.id = l.stock_id
JOIN offer_terms t ON t.id = l.terms_id
WHERE l.order_id = ANY(CAST(:orders AS text[]))
ORDER BY l.order_id, s.sku
""")
_REFUNDS = bulk("""
SELECT order_id, id, payment_intent_id, amount_minor, reason, state, stripe_refund_id, lines, gift_minor, restock,
       requested_by
FROM refunds
WHERE order_id = ANY(CAST(:orders AS text[]))
ORDER BY order_id, id
""")
_POSTED = bulk("""
SELECT t.order_id, t.kind, t.source_id,
       (SELECT jsonb_agg(jsonb_build_array(e.account, e.amount_minor) ORDER BY e.account)
        FROM ledger_entries e WHERE e.transaction_id = t.id) AS entries
FROM ledger_transactions t
WHERE t.order_id = ANY(CAST(:orders AS text[]))
ORDER BY t.order_id, t.posted_at, t.id
""")
_GIFTS = bulk("""
SELECT order_id, kind, beneficiary_id, amount_minor FROM order_gifts
WHERE order_id = ANY(CAST(:orders AS text[]))
ORDER BY order_id, n
""")
_DISPUTES = bulk("""
SELECT order_id, id, payment_intent_id, amount_minor, state FROM disputes
WHERE order_id = ANY(CAST(:orders AS text[]))
ORDER BY order_id, id
""")
_PARTS = {
    "attempts": _ATTEMPTS,
    "lines": _LINES,
    "gifts": _GIFTS,
    "refunds": _REFUNDS,
    "disputes": _DISPUTES,
    "posted": _POSTED,
}
_SAVE_ORDERS = bulk("""
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
_SAVE_ATTEMPTS = bulk("""
UPDATE pay_attempts a
SET state = u.state, payment_intent_id = u.payment_intent_id, updated_at = now()
FROM unnest(
    CAST(:orders AS text[]), CAST(:numbers AS int[]), CAST(:states AS text[]),
    CAST(:payment_intents AS text[])
) AS u (order_id, n, state, payment_intent_id)
WHERE a.order_id = u.order_id AND a.n = u.n
""")
_SAVE_REFUNDS = bulk("""
INSERT INTO refunds (id, order_id, payment_intent_id, amount_minor, reason, state, stripe_refund_id, lines, gift_minor,
    restock, requested_by)
SELECT u.id, u.order_id, u.payment_intent_id, u.amount_minor, u.reason, u.state, u.stripe_refund_id,
    CAST(u.lines AS jsonb), u.gift_minor, u.restock, u.requested_by
FROM unnest(
    CAST(:ids AS text[]), CAST(:orders AS text[]), CAST(:payment_intents AS text[]),
    CAST(:amounts AS bigint[]), CAST(:reasons AS text[]), CAST(:states AS text[]),
    CAST(:stripe_refunds AS text[]), CAST(:lines AS text[]), CAST(:gifts AS bigint[]),
    CAST(:restock AS boolean[]), CAST(:requested_by AS text[])
) AS u (id, order_id, payment_intent_id, amount_minor, reason, state, stripe_refund_id, lines, gift_minor, restock,
    requested_by)
ON CONFLICT (id) DO UPDATE SET state = excluded.state, stripe_refund_id = excluded.stripe_refund_id
""")
_SAVE_DISPUTES = bulk("""
INSERT INTO disputes (id, order_id, payment_intent_id, amount_minor, state)
SELECT * FROM unnest(
    CAST(:ids AS text[]), CAST(:orders AS text[]), CAST(:payment_intents AS text[]),
    CAST(:amounts AS bigint[]), CAST(:states AS text[])
)
ON CONFLICT (id) DO UPDATE SET state = excluded.state
""")
