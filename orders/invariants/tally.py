"""I23: every total that was ever published, added up again from the sealed ledger by another way.

The sealer adds a batch's changes to the last tally. Here the whole log is summed from its first entry, and every
published number is looked up in the running total at its ledger number.
"""

from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from orders.invariants.finding import Finding, breaches, figure

# The columns of a tally, in one order everywhere here.
_SUMS: Final = (
    "raised_minor",
    "sales_minor",
    "orders",
    "units",
    "gifts",
    "gifts_minor",
    "matched_minor",
)
# What a transaction of each kind is about; kinds that are not here move no total.
_ABOUT: Final = """
    CASE WHEN t.kind IN ('capture', 'refund', 'refund_failed', 'dispute', 'reinstate') THEN 'sale'
         WHEN t.kind LIKE 'donation%' THEN 'gift'
         WHEN t.kind LIKE 'match%' THEN 'match'
    END
"""
# Every sealed transaction with what it adds; a scope is the campaign or the stream.
_ADDED: Final = f"""
    SELECT a.campaign_id, a.stream_id, a.seq,
           CASE WHEN a.about IS NULL THEN 0 ELSE a.credited_minor END AS raised_minor,
           CASE WHEN a.about = 'sale' THEN a.cleared_minor ELSE 0 END AS sales_minor,
           CASE WHEN a.about = 'sale' THEN a.orders ELSE 0 END AS orders,
           CASE WHEN a.kind IN ('capture', 'refund_failed', 'reinstate') THEN a.units
                WHEN a.kind IN ('refund', 'dispute') THEN -a.units ELSE 0
           END AS units,
           CASE WHEN a.about = 'gift' THEN a.gifts ELSE 0 END AS gifts,
           CASE WHEN a.about = 'gift' THEN a.credited_minor ELSE 0 END AS gifts_minor,
           CASE WHEN a.about = 'match' THEN a.credited_minor ELSE 0 END AS matched_minor
    FROM (
        SELECT s.campaign_id, t.stream_id, s.seq, t.kind, t.orders, t.gifts, {_ABOUT} AS about,
               coalesce(-sum(e.amount_minor) FILTER (WHERE e.account LIKE 'beneficiary/%'), 0) AS credited_minor,
               coalesce(sum(e.amount_minor) FILTER (WHERE e.account = 'stripe/clearing'), 0) AS cleared_minor,
               coalesce((SELECT sum(CAST(line ->> 1 AS bigint)) FROM jsonb_array_elements(t.lines) AS line), 0) AS units
        FROM seals s
        JOIN ledger_transactions t ON t.id = s.transaction_id
        JOIN ledger_entries e ON e.transaction_id = t.id
        GROUP BY s.campaign_id, s.seq, t.id
    ) a
"""
_RUNNING: Final = f"""
    SELECT scope_id, seq, {", ".join(f"sum({name}) OVER w AS {name}" for name in _SUMS)},
           row_number() OVER last AS from_end
    FROM (
        SELECT campaign_id AS scope_id, * FROM ({_ADDED}) c
        UNION ALL
        SELECT stream_id, * FROM ({_ADDED}) s WHERE stream_id <> campaign_id
    ) both_scopes
    WINDOW w AS (PARTITION BY scope_id ORDER BY seq), last AS (PARTITION BY scope_id ORDER BY seq DESC)
"""


# An order of goods counts while units of it are sold, a gift while something of it is given.
_MISCOUNTED: Final = """
    SELECT t.order_id, sum(t.orders) AS orders, sum(t.gifts) AS gifts
    FROM ledger_transactions t
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(CAST(line ->> 1 AS bigint)), 0) AS units FROM jsonb_array_elements(t.lines) AS line
    ) l
    CROSS JOIN LATERAL (
        SELECT coalesce(-sum(e.amount_minor), 0) AS credited_minor FROM ledger_entries e
        WHERE e.transaction_id = t.id AND e.account LIKE 'beneficiary/%'
    ) c
    WHERE t.order_id IS NOT NULL
    GROUP BY t.order_id
    HAVING sum(t.orders) <> CAST(sum(
               CASE WHEN t.kind IN ('capture', 'refund_failed', 'reinstate') THEN l.units
                    WHEN t.kind IN ('refund', 'dispute') THEN -l.units ELSE 0 END) > 0 AS integer)
        OR sum(t.gifts) <> CAST(sum(CASE WHEN t.kind LIKE 'donation%' THEN c.credited_minor ELSE 0 END) > 0
                                AS integer)
"""


def _row(alias: str) -> str:
    return ", ".join(f"{alias}.{name}" for name in _SUMS)


async def i23(sql: AsyncSession, *, at_rest: bool) -> Finding:
    """Every tally, the newest and each one before it, is what the ledger up to its number adds up to."""
    history = f"""
        SELECT h.scope_id, h.seq, r.raised_minor AS added_up, {_row("h")}
        FROM tally_history h LEFT JOIN ({_RUNNING}) r ON r.scope_id = h.scope_id AND r.seq = h.seq
        WHERE ({_row("h")}) IS DISTINCT FROM ({_row("r")})
    """
    newest = f"""
        SELECT coalesce(r.scope_id, y.scope_id) AS scope_id, y.seq, r.seq AS sealed_to,
               r.raised_minor AS added_up, {_row("y")}
        FROM (SELECT * FROM ({_RUNNING}) every WHERE from_end = 1) r
        FULL JOIN tallies y ON y.scope_id = r.scope_id
        WHERE (y.seq, {_row("y")}) IS DISTINCT FROM (r.seq, {_row("r")})
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
            *await breaches(sql, "counted otherwise than it stands", _MISCOUNTED),
            *await breaches(
                sql, "posted, and neither or both sealed and waiting", unsealed, at_rest=at_rest
            ),
        ],
    )
