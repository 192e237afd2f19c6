"""I30, I31 and I33: what sponsors and pledges promised, what the ledger has of it, and what was paid on.

What a match adds is recomputed from what the order's payment brought its beneficiaries by the ledger. Where a match
counts only some SKUs, the ledger does not tell their shares apart, so there its bounds alone are checked.
"""

from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from orders.invariants.finding import Finding, breaches, figure

# What the ledger has of each match for each order.
_BY_USE: Final = """
    SELECT split_part(e.account, '/', 2) AS match_id, t.order_id, sum(e.amount_minor) AS owed_minor
    FROM ledger_transactions t JOIN ledger_entries e ON e.transaction_id = t.id
    WHERE t.kind LIKE 'match%' AND e.account LIKE 'sponsor/%'
    GROUP BY e.account, t.order_id
"""
# What an order's payment brought its beneficiaries, and what is left of it: its gifts and its lines' shares.
_RAISED: Final = """
    SELECT t.order_id, t.kind LIKE 'donation%' AS gift,
           coalesce(-sum(e.amount_minor) FILTER (WHERE t.kind IN ('capture', 'donation')), 0) AS base_minor,
           -sum(e.amount_minor) AS left_minor
    FROM ledger_transactions t JOIN ledger_entries e ON e.transaction_id = t.id
    WHERE e.account LIKE 'beneficiary/%'
      AND (t.kind LIKE 'donation%' OR t.kind IN ('capture', 'refund', 'refund_failed', 'dispute', 'reinstate'))
    GROUP BY t.order_id, t.kind LIKE 'donation%'
"""
_SUPPOSED: Final = f"""
    SELECT u.match_id, u.order_id, u.base_minor, u.amount_minor, u.amount_minor - u.returned_minor AS net_minor,
           m.ratio_bp, m.skus IS NOT NULL AND m.covers <> 'gifts' AS partly,
           coalesce(sum(r.base_minor), 0) AS raised_minor, coalesce(sum(r.left_minor), 0) AS left_minor
    FROM match_uses u
    JOIN matches m ON m.id = u.match_id
    LEFT JOIN ({_RAISED}) r ON r.order_id = u.order_id AND (m.covers = 'all' OR r.gift = (m.covers = 'gifts'))
    GROUP BY u.match_id, u.order_id, m.id
"""


_POTS: Final = f"""
    SELECT m.id AS match_id, m.pot_minor, m.spent_minor, coalesce(u.net_minor, 0) AS used_minor,
           coalesce(l.owed_minor, 0) AS owed_minor
    FROM matches m
    LEFT JOIN (SELECT match_id, sum(amount_minor - returned_minor) AS net_minor FROM match_uses GROUP BY 1) u
        ON u.match_id = m.id
    LEFT JOIN (SELECT match_id, sum(owed_minor) AS owed_minor FROM ({_BY_USE}) b GROUP BY 1) l
        ON l.match_id = m.id
    WHERE m.spent_minor > m.pot_minor OR m.spent_minor <> coalesce(u.net_minor, 0)
       OR m.spent_minor <> coalesce(l.owed_minor, 0)
"""
_USES: Final = f"""
    SELECT coalesce(u.match_id, l.match_id) AS match_id, coalesce(u.order_id, l.order_id) AS order_id,
           u.amount_minor - u.returned_minor AS used_minor, l.owed_minor
    FROM match_uses u FULL JOIN ({_BY_USE}) l ON l.match_id = u.match_id AND l.order_id = u.order_id
    WHERE u.amount_minor - u.returned_minor IS DISTINCT FROM coalesce(l.owed_minor, 0)
"""
_GIVERS: Final = """
    SELECT u.match_id, u.shopper_id, sum(u.amount_minor - u.returned_minor) AS used_minor, m.per_giver_max_minor
    FROM match_uses u JOIN matches m ON m.id = u.match_id
    GROUP BY u.match_id, u.shopper_id, m.per_giver_max_minor
    HAVING sum(u.amount_minor - u.returned_minor) > m.per_giver_max_minor
"""
_STRANGERS: Final = """
    SELECT u.match_id, u.order_id, u.shopper_id, o.placed_at FROM match_uses u
    JOIN matches m ON m.id = u.match_id
    LEFT JOIN orders o ON o.id = u.order_id
    LEFT JOIN streams s ON s.id = o.stream_id
    WHERE o.shopper_id IS DISTINCT FROM u.shopper_id OR s.campaign_id IS DISTINCT FROM m.campaign_id
       OR m.stream_id <> o.stream_id OR o.placed_at < m.starts_at OR o.placed_at >= m.ends_at
"""
_UNEARNED: Final = f"""
    SELECT match_id, order_id, base_minor, raised_minor, amount_minor, left_minor, net_minor
    FROM ({_SUPPOSED}) s
    WHERE base_minor > raised_minor OR (base_minor <> raised_minor AND NOT partly)
       OR amount_minor > floor(CAST(base_minor AS numeric) * ratio_bp / 10000)
       OR (NOT partly AND net_minor > floor(CAST(amount_minor AS numeric) * left_minor / base_minor))
       OR (left_minor <= 0 AND net_minor > 0)
"""
_NEGATIVE: Final = """
    SELECT split_part(t.source_id, ':', 2) AS match_id, t.order_id, e.account, -sum(e.amount_minor) AS credited_minor
    FROM ledger_transactions t JOIN ledger_entries e ON e.transaction_id = t.id
    WHERE t.kind LIKE 'match%' AND e.account LIKE 'beneficiary/%'
    GROUP BY split_part(t.source_id, ':', 2), t.order_id, e.account
    HAVING -sum(e.amount_minor) < 0
"""


async def i30(sql: AsyncSession) -> Finding:
    """Every match gave what it promised, within its pot, and what fell away went back to it."""
    return Finding(
        "I30",
        "matches gave what they promised, within pot and bound, and no more",
        await figure(
            sql,
            "SELECT (SELECT count(*) FROM matches) AS matches, (SELECT count(*) FROM match_uses) AS uses,"
            " (SELECT sum(spent_minor) FROM matches) AS spent_minor",
        ),
        [
            *await breaches(sql, "pot, uses and ledger differ", _POTS),
            *await breaches(sql, "use and ledger differ", _USES),
            *await breaches(sql, "one giver beyond the bound", _GIVERS),
            *await breaches(sql, "matched without a claim", _STRANGERS),
            *await breaches(sql, "more than the gift earns", _UNEARNED),
            *await breaches(sql, "more taken back from a beneficiary than was added", _NEGATIVE),
        ],
    )


async def i31(sql: AsyncSession) -> Finding:
    """Every standing pledge is, in its row and in the ledger, what the sealed sales make of it."""
    differing = """
        SELECT p.id AS pledge_id, p.accrued_minor, coalesce(l.posted_minor, 0) AS posted_minor,
               floor((coalesce(s.sales_minor, 0) - p.base_minor) * p.bp / 10000) AS owed_minor
        FROM pledges p
        LEFT JOIN (
            SELECT e.account, -sum(e.amount_minor) AS posted_minor
            FROM ledger_entries e JOIN ledger_transactions t ON t.id = e.transaction_id
            WHERE t.kind = 'pledge' GROUP BY e.account
        ) l ON l.account = 'pledge/' || p.id
        LEFT JOIN (
            SELECT x.campaign_id, sum(e.amount_minor) AS sales_minor
            FROM seals x
            JOIN ledger_transactions t ON t.id = x.transaction_id
            JOIN ledger_entries e ON e.transaction_id = t.id
            WHERE e.account = 'stripe/clearing'
              AND t.kind IN ('capture', 'refund', 'refund_failed', 'dispute', 'reinstate')
            GROUP BY x.campaign_id
        ) s ON s.campaign_id = p.campaign_id
        WHERE p.accrued_minor <> coalesce(l.posted_minor, 0)
           OR p.accrued_minor <> floor((coalesce(s.sales_minor, 0) - p.base_minor) * p.bp / 10000)
    """
    return Finding(
        "I31",
        "pledges are what the sales make of them, in the ledger too",
        await figure(
            sql, "SELECT count(*) AS pledges, sum(accrued_minor) AS accrued_minor FROM pledges"
        ),
        await breaches(sql, "pledge, sales and ledger differ", differing),
    )


async def i33(sql: AsyncSession) -> Finding:
    """Every transfer that was recorded is in the ledger, and the ledger has no other."""
    differing = """
        SELECT r.id AS transfer_id, t.id AS transaction_id, r.account, r.amount_minor, e.entries
        FROM transfers r
        FULL JOIN (SELECT * FROM ledger_transactions WHERE kind IN ('payout', 'sponsor_paid')) t
            ON t.source_id = r.id AND t.kind = r.kind
        LEFT JOIN LATERAL (
            SELECT jsonb_object_agg(account, amount_minor) AS entries FROM ledger_entries WHERE transaction_id = t.id
        ) e ON true
        WHERE r.campaign_id IS DISTINCT FROM t.campaign_id
           OR e.entries IS DISTINCT FROM CASE r.kind
                WHEN 'payout' THEN jsonb_build_object(r.account, r.amount_minor, 'bank/clearing', -r.amount_minor)
                ELSE jsonb_build_object(r.account, -r.amount_minor, 'bank/clearing', r.amount_minor)
              END
    """
    return Finding(
        "I33",
        "transfers and ledger are the same",
        await figure(
            sql,
            "SELECT count(*) AS transfers, sum(amount_minor) FILTER (WHERE kind = 'payout') AS paid_out_minor,"
            " sum(amount_minor) FILTER (WHERE kind = 'sponsor_paid') AS paid_in_minor FROM transfers",
        ),
        await breaches(sql, "transfer and ledger differ", differing),
    )
