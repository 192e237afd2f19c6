"""I10, I13 and I14: every order has its key, its price, its deadline and a history that the state machine allows."""

from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from orders.invariants.finding import Finding, breaches, figure
from orders.lifecycle import ALLOWED_TRANSITIONS, GIFT_TRANSITIONS

# How long an order may stand in a state that some process of ours has to end. The pacer's queue lasts as long as
# Stripe's rate makes it, and a bank takes days over a refund.
STANDING_S_MAX: Final = {
    "RESERVED": 24 * 3600,
    "PROCESSING": 24 * 3600,
    "EXPIRING": 3600,
    "CANCELLING": 3600,
    "LATE_PAID": 300,
    "REFUND_PENDING": 14 * 86_400,
}
GRACE_S: Final = 120


async def i10(sql: AsyncSession) -> Finding:
    """A key that says PLACED has exactly its order, every order exactly one such key, and a total that adds up."""
    lost = """
        SELECT k.order_id, encode(k.op, 'hex') AS op FROM order_keys k
        WHERE k.outcome = 'PLACED' AND NOT EXISTS (
            SELECT 1 FROM orders o WHERE o.id = k.order_id AND o.stream_id = k.stream_id)
    """
    unkeyed = """
        SELECT o.id AS order_id, count(k.op) AS keys
        FROM orders o LEFT JOIN order_keys k ON k.order_id = o.id AND k.outcome = 'PLACED'
        GROUP BY o.id HAVING count(k.op) <> 1
    """
    # Lines and gifts are summed apart: joined to one another they would count each other twice.
    unpriced = """
        SELECT o.id AS order_id, o.total_minor, o.shipping_minor,
               coalesce(l.amount_minor, 0) AS lines_minor, coalesce(g.amount_minor, 0) AS gifts_minor
        FROM orders o
        LEFT JOIN (SELECT order_id, sum(amount_minor) AS amount_minor FROM order_lines GROUP BY order_id) l
            ON l.order_id = o.id
        LEFT JOIN (SELECT order_id, sum(amount_minor) AS amount_minor FROM order_gifts GROUP BY order_id) g
            ON g.order_id = o.id
        WHERE o.total_minor <> coalesce(l.amount_minor, 0) + coalesce(g.amount_minor, 0) + o.shipping_minor
    """
    answered = """
        SELECT k.order_id, encode(k.op, 'hex') AS op FROM order_keys k
        WHERE k.outcome = 'ABORTED' AND k.order_id IS NOT NULL
    """
    return Finding(
        "I10",
        "one order a key, one key an order, and its parts make its total",
        await figure(
            sql,
            "SELECT count(*) AS keys, count(*) FILTER (WHERE outcome = 'PLACED') AS placed,"
            " count(*) FILTER (WHERE outcome = 'ABORTED') AS aborted,"
            " (SELECT count(*) FROM orders) AS orders FROM order_keys",
        ),
        [
            *await breaches(sql, "placed, and no order", lost),
            *await breaches(sql, "order without its one key", unkeyed),
            *await breaches(sql, "aborted, and an order", answered),
            *await breaches(sql, "lines, gifts and shipping do not make the total", unpriced),
        ],
    )


async def i13(sql: AsyncSession) -> Finding:
    """Nothing waits for ever: whatever is not at rest has a deadline, and somebody keeps it."""
    overdue = """
        SELECT id AS order_id, state, pay_by, state_at FROM orders
        WHERE (state = 'AWAITING_PAYMENT'
               AND (pay_by IS NULL OR pay_by < now() - make_interval(secs => :grace_s)))
           OR EXISTS (
               SELECT 1 FROM unnest(CAST(:states AS text[]), CAST(:seconds AS int[])) AS m (name, s)
               WHERE m.name = state AND state_at < now() - make_interval(secs => m.s))
    """
    stuck = """
        SELECT id AS refund_id, order_id, created_at FROM refunds
        WHERE state = 'CREATING' AND created_at < now() - interval '1 day'
    """
    return Finding(
        "I13",
        "nothing stands longer than its deadline",
        await figure(
            sql,
            "SELECT count(*) FILTER (WHERE state = 'AWAITING_PAYMENT' OR state = ANY(:states)) AS moving,"
            " count(*) AS orders FROM orders",
            states=list(STANDING_S_MAX),
        ),
        [
            *await breaches(
                sql,
                "overdue",
                overdue,
                grace_s=GRACE_S,
                states=list(STANDING_S_MAX),
                seconds=list(STANDING_S_MAX.values()),
            ),
            *await breaches(sql, "refund never sent", stuck),
        ],
    )


async def i14(sql: AsyncSession) -> Finding:
    """Every order's history begins with RESERVED, takes steps that exist, and ends where the order is."""
    steps = sorted(
        (kind, begin.value, end.value)
        for kind, table in (("goods", ALLOWED_TRANSITIONS), ("gift", GIFT_TRANSITIONS))
        for begin, end in table
    )
    chain = """
        SELECT order_id, from_state, to_state,
               lag(to_state, 1, 'RESERVED') OVER (PARTITION BY order_id ORDER BY id) AS came_from,
               row_number() OVER (PARTITION BY order_id ORDER BY id DESC) AS from_end
        FROM order_transitions
    """
    no_path = f"""
        SELECT c.order_id, o.kind, came_from, from_state, to_state
        FROM ({chain}) c LEFT JOIN orders o ON o.id = c.order_id
        WHERE c.came_from <> c.from_state OR NOT EXISTS (
            SELECT 1 FROM unnest(CAST(:kinds AS text[]), CAST(:begins AS text[]), CAST(:ends AS text[]))
                AS a (kind, from_state, to_state)
            WHERE a.kind = o.kind AND a.from_state = c.from_state AND a.to_state = c.to_state)
    """
    elsewhere = f"""
        SELECT o.id AS order_id, o.state, coalesce(c.to_state, 'RESERVED') AS history_ends
        FROM orders o LEFT JOIN ({chain}) c ON c.order_id = o.id AND c.from_end = 1
        WHERE o.state <> coalesce(c.to_state, 'RESERVED')
    """
    return Finding(
        "I14",
        "every state history is a path of the state machine",
        await figure(
            sql,
            "SELECT count(*) AS steps, count(DISTINCT order_id) AS orders FROM order_transitions",
        ),
        [
            *await breaches(
                sql,
                "no such step",
                no_path,
                kinds=[kind for kind, _, _ in steps],
                begins=[begin for _, begin, _ in steps],
                ends=[end for _, _, end in steps],
            ),
            *await breaches(sql, "history and state differ", elsewhere),
        ],
    )
