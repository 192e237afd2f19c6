"""I23: every total that was ever published, added up again from the sealed ledger by another way.

The sealer adds a batch's changes to the last tally. Here the whole log is summed from its first entry, and every
published number is looked up in the running total at its ledger number.
"""

from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from orders.invariants.finding import Finding, breaches, figure

# Every sealed transaction with what it adds; a scope is the campaign or the stream.
_ADDED: Final = """
    SELECT s.campaign_id, t.stream_id, s.seq,
           coalesce(-sum(e.amount_minor) FILTER (WHERE e.account LIKE 'beneficiary/%'), 0) AS raised_minor,
           CASE WHEN t.kind IN ('capture', 'refund', 'refund_failed', 'dispute', 'reinstate')
                THEN coalesce(sum(e.amount_minor) FILTER (WHERE e.account = 'stripe/clearing'), 0) ELSE 0
           END AS sales_minor,
           CASE WHEN jsonb_array_length(t.lines) = 0 THEN 0
                WHEN t.kind IN ('capture', 'refund_failed', 'reinstate') THEN 1
                WHEN t.kind IN ('refund', 'dispute') THEN -1 ELSE 0
           END AS orders,
           CASE WHEN t.kind IN ('capture', 'refund_failed', 'reinstate') THEN 1
                WHEN t.kind IN ('refund', 'dispute') THEN -1 ELSE 0
           END * coalesce((SELECT sum(CAST(line ->> 1 AS bigint)) FROM jsonb_array_elements(t.lines) AS line), 0)
               AS units
    FROM seals s
    JOIN ledger_transactions t ON t.id = s.transaction_id
    JOIN ledger_entries e ON e.transaction_id = t.id
    GROUP BY s.campaign_id, s.seq, t.id
"""
_RUNNING: Final = f"""
    SELECT scope_id, seq,
           sum(raised_minor) OVER w AS raised_minor, sum(sales_minor) OVER w AS sales_minor,
           sum(orders) OVER w AS orders, sum(units) OVER w AS units, row_number() OVER last AS from_end
    FROM (
        SELECT campaign_id AS scope_id, seq, raised_minor, sales_minor, orders, units FROM ({_ADDED}) c
        UNION ALL
        SELECT stream_id, seq, raised_minor, sales_minor, orders, units FROM ({_ADDED}) s
    ) both_scopes
    WINDOW w AS (PARTITION BY scope_id ORDER BY seq), last AS (PARTITION BY scope_id ORDER BY seq DESC)
"""


async def i23(sql: AsyncSession, *, at_rest: bool) -> Finding:
    """Every tally, the newest and each one before it, is what the ledger up to its number adds up to."""
    history = f"""
        SELECT h.scope_id, h.seq, h.raised_minor, r.raised_minor AS added_up, h.sales_minor, h.orders, h.units
        FROM tally_history h LEFT JOIN ({_RUNNING}) r ON r.scope_id = h.scope_id AND r.seq = h.seq
        WHERE (h.raised_minor, h.sales_minor, h.orders, h.units)
              IS DISTINCT FROM (r.raised_minor, r.sales_minor, r.orders, r.units)
    """
    newest = f"""
        SELECT coalesce(r.scope_id, y.scope_id) AS scope_id, y.seq, r.seq AS sealed_to,
               y.raised_minor, r.raised_minor AS added_up, y.sales_minor, y.orders, y.units
        FROM (SELECT * FROM ({_RUNNING}) every WHERE from_end = 1) r
        FULL JOIN tallies y ON y.scope_id = r.scope_id
        WHERE (y.seq, y.raised_minor, y.sales_minor, y.orders, y.units)
              IS DISTINCT FROM (r.seq, r.raised_minor, r.sales_minor, r.orders, r.units)
           OR NOT EXISTS (SELECT 1 FROM tally_history h WHERE h.scope_id = y.scope_id AND h.seq = y.seq)
    """
    gaps = """
        SELECT coalesce(h.campaign_id, s.campaign_id) AS campaign_id, h.size, s.numbers, s.last
        FROM ledger_heads h
        FULL JOIN (SELECT campaign_id, count(*) AS numbers, max(seq) AS last FROM seals GROUP BY campaign_id) s
            ON s.campaign_id = h.campaign_id
        WHERE coalesce(h.size, 0) <> coalesce(s.numbers, 0) OR coalesce(h.size, 0) <> coalesce(s.last, 0)
    """
    unsealed = """
        SELECT t.id AS transaction_id, (s.seq IS NOT NULL) AS sealed, (u.transaction_id IS NOT NULL) AS waiting
        FROM ledger_transactions t
        LEFT JOIN seals s ON s.transaction_id = t.id
        LEFT JOIN ledger_unsealed u ON u.transaction_id = t.id
        WHERE (s.seq IS NULL) = (u.transaction_id IS NULL) OR (:at_rest AND s.seq IS NULL)
           OR (s.seq IS NOT NULL AND s.campaign_id <> t.campaign_id)
    """
    return Finding(
        "I23",
        "every published tally is what the ledger up to its number adds up to",
        await figure(
            sql,
            "SELECT (SELECT count(*) FROM tally_history) AS tallies, (SELECT count(*) FROM seals) AS sealed,"
            " (SELECT coalesce(sum(y.raised_minor), 0) FROM tallies y JOIN campaigns c ON c.id = y.scope_id)"
            " AS raised_minor",
        ),
        [
            *await breaches(sql, "published, and not what it adds up to", history),
            *await breaches(sql, "newest tally differs", newest),
            *await breaches(sql, "numbers with a gap", gaps),
            *await breaches(
                sql, "posted, and neither or both sealed and waiting", unsealed, at_rest=at_rest
            ),
        ],
    )
