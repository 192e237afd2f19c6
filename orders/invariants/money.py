"""I15, I17, I18 and I21: the ledger against itself, against the orders and against the terms they were made on."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from orders.invariants.finding import Finding, breaches, capped, figure
from orders.lifecycle import KEPT

CLEARING: Final = "stripe/clearing"
CHUNK: Final = 2_000

# The tables whose rows say what happened, and the trigger that keeps anyone from saying otherwise later.
APPEND_ONLY: Final = (
    "ledger_entries",
    "ledger_transactions",
    "seals",
    "stock_moves",
    "tally_history",
)

# What each order has at Stripe by the ledger, without Stripe's own fees.
_NET: Final = """
    SELECT t.order_id,
           sum(e.amount_minor) AS net_minor,
           sum(e.amount_minor) FILTER (WHERE t.kind IN ('capture', 'refund', 'refund_failed', 'dispute', 'reinstate'))
               AS sale_minor,
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
    """An order is captured once, and no more goes back than came."""
    twice = """
        SELECT order_id, count(*) AS captures FROM ledger_transactions WHERE kind = 'capture'
        GROUP BY order_id HAVING count(*) > 1
    """
    repeated = """
        SELECT source_id, kind, count(*) AS times FROM ledger_transactions
        GROUP BY source_id, kind HAVING count(*) > 1
    """
    too_much = """
        SELECT t.order_id,
               sum(e.amount_minor) FILTER (WHERE t.kind IN ('capture', 'surplus')) AS captured_minor,
               -sum(e.amount_minor) FILTER (WHERE t.kind LIKE '%refund%') AS refunded_minor
        FROM ledger_transactions t JOIN ledger_entries e ON e.transaction_id = t.id
        WHERE e.account = 'stripe/clearing'
        GROUP BY t.order_id
        HAVING coalesce(-sum(e.amount_minor) FILTER (WHERE t.kind LIKE '%refund%'), 0)
             > coalesce(sum(e.amount_minor) FILTER (WHERE t.kind IN ('capture', 'surplus')), 0)
    """
    return Finding(
        "I17",
        "one capture an order, refunds within captures, one entry a fact",
        await figure(
            sql,
            "SELECT count(*) FILTER (WHERE kind = 'capture') AS captures,"
            " count(*) FILTER (WHERE kind = 'surplus') AS surplus,"
            " count(*) FILTER (WHERE kind IN ('refund', 'surplus_refund')) AS refunds FROM ledger_transactions",
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


async def i21(sql: AsyncSession) -> Finding:
    """Each capture is split as its lines' terms say, to the last minor unit, and in one currency."""
    mixed = """
        SELECT t.id AS transaction_id, t.currency, c.currency AS campaign, o.currency AS order_currency
        FROM ledger_transactions t
        JOIN campaigns c ON c.id = t.campaign_id
        LEFT JOIN orders o ON o.id = t.order_id
        WHERE t.currency <> c.currency OR (o.id IS NOT NULL AND o.currency <> t.currency)
    """
    foreign = """
        SELECT e.transaction_id, e.account FROM ledger_entries e
        WHERE e.account NOT IN ('stripe/clearing', 'stripe/fees', 'platform/fees')
          AND NOT EXISTS (SELECT 1 FROM farmers f WHERE e.account = 'farmer/' || f.id)
          AND NOT EXISTS (SELECT 1 FROM beneficiaries b WHERE e.account = 'beneficiary/' || b.id)
    """
    lines: list[str] = []
    figures = {"captures": 0, "amount_minor": 0}
    after = ""
    while captures := (await sql.execute(_CAPTURES, {"after": after, "chunk": CHUNK})).all():
        after = captures[-1].id
        sold: defaultdict[str, list[Row[Any]]] = defaultdict(list)
        orders = {"orders": [capture.order_id for capture in captures]}
        for line in await sql.execute(_LINES, orders):
            sold[line.order_id].append(line)
        for capture in captures:
            entries = dict(capture.entries or ())
            figures["captures"] += 1
            figures["amount_minor"] += entries.get(CLEARING, 0)
            expected = _expected(sold[capture.order_id])
            if entries != expected:
                lines.append(
                    f"order {capture.order_id}: posted {entries}, its terms give {expected}"
                )
    return Finding(
        "I21",
        "captures are split by their terms, in one currency",
        figures,
        [
            *capped(lines),
            *await breaches(sql, "currencies mixed", mixed),
            *await breaches(sql, "no such account", foreign),
        ],
    )


def _expected(lines: Sequence[Row[Any]]) -> dict[str, int]:
    """Return the entries of a capture, worked out anew from the lines and their terms."""
    parts: Counter[str] = Counter()
    for line in lines:
        fixed = (line.beneficiary_fixed_minor or 0) * line.quantity
        rest = line.amount_minor - fixed
        shares = {
            "farmer": line.farmer_bp,
            "beneficiary": line.beneficiary_bp,
            "fees": line.fees_bp,
        }
        given = {name: rest * bp // 10_000 for name, bp in shares.items()}
        # Whatever rounding down left over goes out singly: largest remainder first, ties as listed.
        losers = sorted(shares, key=lambda name: -(rest * shares[name] % 10_000))
        for name in losers[: rest - sum(given.values())]:
            given[name] += 1
        parts[CLEARING] += line.amount_minor
        parts[f"farmer/{line.farmer_id}"] -= given["farmer"]
        parts[f"beneficiary/{line.beneficiary_id}"] -= given["beneficiary"] + fixed
        parts["platform/fees"] -= given["fees"]
    return {account: amount for account, amount in parts.items() if amount}


_CAPTURES = text("""
SELECT t.id, t.order_id,
       (SELECT jsonb_agg(jsonb_build_array(e.account, e.amount_minor))
        FROM ledger_entries e WHERE e.transaction_id = t.id) AS entries
FROM ledger_transactions t
WHERE t.kind = 'capture' AND t.id > :after ORDER BY t.id LIMIT :chunk
""")
_LINES = text("""
SELECT l.order_id, l.quantity, l.amount_minor, t.farmer_id, t.beneficiary_id,
       t.farmer_bp, t.beneficiary_bp, t.fees_bp, t.beneficiary_fixed_minor
FROM order_lines l JOIN offer_terms t ON t.id = l.terms_id
WHERE l.order_id = ANY(CAST(:orders AS text[]))
""")
