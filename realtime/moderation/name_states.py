"""Who may be thanked by name, and who gave most: what is approved now, joined anew each time.

A name is in an order's message alone. So whatever hides it, takes it back or erases it, takes it off these topics with
the next look; the number stays and names nobody. What leaders gave is added up from the sealed ledger, per order whose
own name was approved: an order that stayed anonymous is under nobody's name.
"""

from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from orders.ledger.accounts import STRIPE_CLEARING
from orders.ledger.post import DONATION_KINDS, SALE_KINDS
from realtime.moderation.rules import STANDING
from realtime.topics import States

NEWEST_MAX: Final = 40
LEADERS_MAX: Final = 10
WINDOWS: Final = ("hour", "today", "stream")


async def name_states(sql: AsyncSession, stream_ids: Collection[str]) -> States:
    """Return the topics ``names`` and ``leaders`` of streams; drafts and what is no stream have none."""
    if not stream_ids:
        return {}
    given = {"streams": sorted(stream_ids)}
    states: States = {}
    for row in await sql.execute(_STREAMS, given):
        states[f"stream/{row.id}/names"] = {"count": 0, "newest": []}
        states[f"stream/{row.id}/leaders"] = {
            "seq": row.seq or 0,
            "currency": row.currency,
            **{window: [] for window in WINDOWS},
        }
    for row in await sql.execute(_NEWEST, {**given, "newest_max": NEWEST_MAX}):
        if (names := states.get(f"stream/{row.stream_id}/names")) is not None:
            names["count"] = row.names
            names["newest"].append({"n": row.n, "name": row.name})
    for row in await sql.execute(_LEADERS, {**given, **_LEDGER, "leaders_max": LEADERS_MAX}):
        if (leaders := states.get(f"stream/{row.stream_id}/leaders")) is not None:
            leaders[row.window].append(
                {"name": row.name, "amount_minor": row.amount_minor, "orders": row.orders}
            )
    return states


async def read_names(
    sql: AsyncSession, stream_id: str, after: int, limit: int
) -> tuple[list[Any], int]:
    """Return the names with numbers after ``after``, and how many there are of a stream by now."""
    given = {"streams": [stream_id], "after": after, "limit": limit}
    rows = list((await sql.execute(_AFTER, given)).all())
    return rows, int(await sql.scalar(_COUNT, {"streams": [stream_id]}) or 0)


async def count_givers(sql: AsyncSession, stream_id: str, seq: int) -> int:
    """Return how many shoppers have an order or gift that stands as of ledger number ``seq``."""
    return int(await sql.scalar(_GIVERS, {"stream": stream_id, "seq": seq}) or 0)


_LEDGER: Final = {
    "kinds": sorted(SALE_KINDS | DONATION_KINDS),
    "clearing": STRIPE_CLEARING,
}
_STREAMS = text("""
SELECT s.id, c.currency, t.seq FROM streams s
JOIN campaigns c ON c.id = s.campaign_id
LEFT JOIN tallies t ON t.scope_id = s.id
WHERE s.id = ANY(CAST(:streams AS text[])) AND s.state <> 'draft'
""")
# A giver's name is the one approved last.
_APPROVED: Final = f"""
approved AS (
    SELECT r.stream_id, o.shopper_id, m.order_id, m.name, r.decided_at
    FROM reviews r
    JOIN order_messages m ON m.order_id = r.order_id AND m.display = 'SHOWN' AND m.name IS NOT NULL
    JOIN orders o ON o.id = r.order_id
    WHERE r.stream_id = ANY(CAST(:streams AS text[])) AND {STANDING}
), named AS (
    SELECT DISTINCT ON (stream_id, shopper_id) stream_id, shopper_id, name
    FROM approved ORDER BY stream_id, shopper_id, decided_at DESC NULLS LAST, order_id DESC
)
"""
_ROLL: Final = f"""
WITH {_APPROVED}, roll AS (
    SELECT stream_id, l.n, named.name FROM named JOIN name_rolls l USING (stream_id, shopper_id)
)
"""
_NEWEST = text(
    _ROLL
    + """
SELECT stream_id, n, name, names FROM (
    SELECT stream_id, n, name, count(*) OVER (PARTITION BY stream_id) AS names,
           row_number() OVER (PARTITION BY stream_id ORDER BY n DESC) AS nth
    FROM roll
) AS counted
WHERE nth <= :newest_max ORDER BY stream_id, n
"""
)
_AFTER = text(_ROLL + "SELECT n, name FROM roll WHERE n > :after ORDER BY n LIMIT :limit")
_COUNT = text(_ROLL + "SELECT count(*) FROM roll")
# An order counts in the windows that its first payment is in, with all that came of it since.
_LEADERS = text(f"""
WITH {_APPROVED}, paid AS (
    SELECT a.stream_id, a.shopper_id, a.order_id, sum(e.amount_minor) AS amount_minor, min(t.posted_at) AS paid_at
    FROM approved a
    JOIN ledger_transactions t ON t.order_id = a.order_id AND t.kind = ANY(CAST(:kinds AS text[]))
    JOIN seals s ON s.transaction_id = t.id
    JOIN ledger_entries e ON e.transaction_id = t.id AND e.account = :clearing
    GROUP BY a.stream_id, a.shopper_id, a.order_id
), summed AS (
    SELECT p.stream_id, p.shopper_id, w.part, sum(p.amount_minor) AS amount_minor,
           count(*) AS orders, min(p.paid_at) AS paid_at
    FROM paid p
    JOIN (VALUES ('hour', now() - interval '1 hour'), ('today', date_trunc('day', now(), 'UTC')),
                 ('stream', CAST('-infinity' AS timestamptz))) AS w (part, since_at) ON p.paid_at >= w.since_at
    WHERE p.amount_minor > 0
    GROUP BY p.stream_id, p.shopper_id, w.part
), ranked AS (
    SELECT *, row_number() OVER (
        PARTITION BY stream_id, part ORDER BY amount_minor DESC, paid_at, shopper_id
    ) AS nth FROM summed
)
SELECT stream_id, part AS window, n.name, CAST(amount_minor AS bigint) AS amount_minor, orders
FROM ranked JOIN named n USING (stream_id, shopper_id)
WHERE nth <= :leaders_max ORDER BY stream_id, part, nth
""")
_GIVERS = text("""
SELECT count(DISTINCT o.shopper_id) FROM (
    SELECT t.order_id
    FROM ledger_transactions t JOIN seals s ON s.transaction_id = t.id
    WHERE t.stream_id = :stream AND s.seq <= :seq AND t.order_id IS NOT NULL
      AND t.campaign_id = (SELECT campaign_id FROM streams WHERE id = :stream)
    GROUP BY t.order_id HAVING sum(t.orders + t.gifts) > 0
) AS standing JOIN orders o ON o.id = standing.order_id
""")
