"""I15, I17 and I18: the ledger against itself and against what the orders say of their money."""

from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from orders.invariants.finding import Finding, breaches, figure
from orders.lifecycle import KEPT

# The tables whose rows say what happened, and the trigger that keeps anyone from saying otherwise later.
APPEND_ONLY: Final = (
    "ledger_entries",
    "ledger_transactions",
    "order_gifts",
    "seals",
    "stock_moves",
    "tally_history",
    "transfers",
)

# What each order has at Stripe by the ledger, without Stripe's own fees: for its goods and gifts, and for nothing.
_NET: Final = """
    SELECT t.order_id,
           sum(e.amount_minor) AS net_minor,
           sum(e.amount_minor) FILTER (WHERE t.kind NOT LIKE 'surplus%') AS sale_minor,
           sum(e.amount_minor) FILTER (WHERE t.kind LIKE 'surplus%') AS surplus_minor
    FROM ledger_transactions t JOIN ledger_entries e ON e.transaction_id = t.id
    WHERE e.account = 'stripe/clearing' AND t.kind <> 'stripe_fee'
    GROUP BY t.order_id
"""


async def i15(sql: AsyncSession) -> Finding:
    """Every transaction balances, and nothing in the books can be changed or taken out."""
    unbalanced = """
        SELECT t.id AS transaction_id, t.kind, coalesce(sum(e.amount_minor), 0) AS sum_minor, count(e.account) AS entries
        FROM ledger_transactions t LEFT JOIN ledger_entries e ON e.transaction_id = t.id
        GROUP BY t.id, t.kind HAVING coalesce(sum(e.amount_minor), 0) <> 0 OR count(e.account) < 2
    """
    unguarded = """
        SELECT name AS table_name FROM unnest(CAST(:tables AS text[])) AS name
        WHERE (SELECT count(*) FROM pg_trigger g
               WHERE g.tgrelid = to_regclass(name) AND NOT g.tgisinternal AND g.tgenabled IN ('O', 'A')
                 AND g.tgtype & 2 = 2 AND g.tgtype & 8 = 8 AND g.tgtype & 16 = 16) = 0
    """
    forgetful = """
        SELECT 'orders' AS table_name WHERE NOT EXISTS (
            SELECT 1 FROM pg_trigger g WHERE g.tgrelid = to_regclass('orders') AND NOT g.tgisinternal
              AND g.tgenabled IN ('O', 'A') AND g.tgtype & 16 = 16 AND g.tgtype & 2 = 0)
    """
    return Finding(
        "I15",
        "every transaction balances, and triggers keep the books as they are",
        await figure(
            sql,
            "SELECT (SELECT count(*) FROM ledger_transactions) AS transactions, count(*) AS entries,"
            " coalesce(sum(amount_minor), 0) AS sum_minor FROM ledger_entries",
        ),
        [
            *await breaches(sql, "does not balance", unbalanced),
            *await breaches(
                sql, "rows can be changed or deleted", unguarded, tables=list(APPEND_ONLY)
            ),
            *await breaches(sql, "states change without a history", forgetful),
        ],
    )


async def i17(sql: AsyncSession) -> Finding:
    """An order is paid once for its goods and its gifts, and no more goes back than came."""
    twice = """
        SELECT order_id, count(*) FILTER (WHERE kind = 'capture') AS captures,
               count(*) FILTER (WHERE kind = 'donation') AS donations, count(DISTINCT source_id) AS payments
        FROM ledger_transactions WHERE kind IN ('capture', 'donation')
        GROUP BY order_id
        HAVING count(*) FILTER (WHERE kind = 'capture') > 1 OR count(*) FILTER (WHERE kind = 'donation') > 1
            OR count(DISTINCT source_id) > 1
    """
    repeated = """
        SELECT source_id, kind, count(*) AS times FROM ledger_transactions
        GROUP BY source_id, kind HAVING count(*) > 1
    """
    too_much = """
        SELECT t.order_id,
               sum(e.amount_minor) FILTER (WHERE t.kind IN ('capture', 'donation', 'surplus')) AS captured_minor,
               -sum(e.amount_minor) FILTER (WHERE t.kind LIKE '%refund%') AS refunded_minor
        FROM ledger_transactions t JOIN ledger_entries e ON e.transaction_id = t.id
        WHERE e.account = 'stripe/clearing'
        GROUP BY t.order_id
        HAVING coalesce(-sum(e.amount_minor) FILTER (WHERE t.kind LIKE '%refund%'), 0)
             > coalesce(sum(e.amount_minor) FILTER (WHERE t.kind IN ('capture', 'donation', 'surplus')), 0)
    """
    return Finding(
        "I17",
        "one payment an order, refunds within payments, one entry a fact",
        await figure(
            sql,
            "SELECT count(*) FILTER (WHERE kind = 'capture') AS captures,"
            " count(*) FILTER (WHERE kind = 'donation') AS donations,"
            " count(*) FILTER (WHERE kind = 'surplus') AS surplus,"
            " count(*) FILTER (WHERE kind IN ('refund', 'donation_refund', 'surplus_refund')) AS refunds"
            " FROM ledger_transactions",
        ),
        [
            *await breaches(sql, "captured twice", twice),
            *await breaches(sql, "one fact posted twice", repeated),
            *await breaches(sql, "more given back than received", too_much),
        ],
    )


async def i18(sql: AsyncSession) -> Finding:
    """What an order's state says of its money is what the ledger has."""
    by_state = f"""
        SELECT o.id AS order_id, o.state, o.total_minor, coalesce(n.sale_minor, 0) AS sale_minor,
               coalesce(n.net_minor, 0) AS net_minor
        FROM orders o LEFT JOIN ({_NET}) n ON n.order_id = o.id
        WHERE (o.state = 'PAID' AND coalesce(n.sale_minor, 0) <> o.total_minor)
           OR (o.state = 'REFUNDED' AND coalesce(n.sale_minor, 0) > 0)
           OR (NOT o.state = ANY(:kept) AND o.state <> 'LATE_PAID' AND coalesce(n.net_minor, 0) <> 0)
    """
    columns = f"""
        SELECT o.id AS order_id, o.received_minor, o.refunded_minor, o.disputed_minor,
               coalesce(n.net_minor, 0) AS net_minor, coalesce(d.owed_minor, 0) AS duplicates_minor
        FROM orders o
        LEFT JOIN ({_NET}) n ON n.order_id = o.id
        LEFT JOIN (
            SELECT t.order_id, sum(e.amount_minor) AS owed_minor
            FROM ledger_transactions t JOIN ledger_entries e ON e.transaction_id = t.id
            WHERE e.account = 'stripe/clearing' AND t.kind LIKE 'surplus%'
              AND EXISTS (
                SELECT 1 FROM refunds r WHERE r.order_id = t.order_id AND r.reason = 'duplicate'
                  AND t.source_id IN (r.payment_intent_id, r.stripe_refund_id))
            GROUP BY t.order_id
        ) d ON d.order_id = o.id
        WHERE o.received_minor - o.refunded_minor - o.disputed_minor
           <> coalesce(n.net_minor, 0) - coalesce(d.owed_minor, 0)
          AND NOT EXISTS (SELECT 1 FROM ledger_transactions t
                          WHERE t.order_id = o.id AND t.kind LIKE 'surplus_d%')
    """
    unowed = f"""
        SELECT n.order_id, n.surplus_minor FROM ({_NET}) n
        WHERE n.surplus_minor > 0 AND NOT EXISTS (
            SELECT 1 FROM refunds r WHERE r.order_id = n.order_id
              AND (r.state IN ('CREATING', 'PENDING') OR (r.state = 'FAILED' AND r.reason = 'late_no_stock')))
    """
    return Finding(
        "I18",
        "orders' states and columns say what the ledger has",
        await figure(
            sql,
            "SELECT count(*) FILTER (WHERE state = 'PAID') AS paid, sum(received_minor) AS received_minor,"
            " sum(refunded_minor) AS refunded_minor, sum(disputed_minor) AS disputed_minor FROM orders",
        ),
        [
            *await breaches(
                sql, "state and ledger differ", by_state, kept=sorted(state.value for state in KEPT)
            ),
            *await breaches(sql, "columns and ledger differ", columns),
            *await breaches(sql, "money that sold nothing is not going back", unowed),
        ],
    )
