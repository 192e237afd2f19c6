"""From the sealed ledger into the queues: one alert for each order that was paid, one turn of it in each group.

How far a campaign's log was read stands in SQL and moves in the same transaction, so that a director who is killed
and started anew neither forgets a payment nor sees one twice. What was paid an hour ago is no news and makes no alert.
"""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from orders.ledger.accounts import PLATFORM_SHIPPING, STRIPE_CLEARING
from orders.ledger.post import CAPTURE, DONATION
from stream_events.bulk import bulk

SEQS_PER_TICK_MAX: Final = 1_000
CAMPAIGNS_PER_TICK_MAX: Final = 4
NEWS: Final = timedelta(hours=1)
STREAMS_PER_SWEEP_MAX: Final = 50

MAIN: Final = "main"

_NAMES: Final = {
    "capture": CAPTURE,
    "donation": DONATION,
    "clearing": STRIPE_CLEARING,
    "shipping": PLATFORM_SHIPPING,
}


async def take_in(sql: AsyncSession, at: datetime) -> int:
    """Read what was sealed since and queue it; return how many alerts are new."""
    oldest = at - NEWS
    await sql.execute(_BEGIN_MARKS, {"oldest": oldest})
    behind = (await sql.execute(_BEHIND, {"campaigns_max": CAMPAIGNS_PER_TICK_MAX})).all()
    if not behind:
        return 0
    upto = [min(row.size, row.seq + SEQS_PER_TICK_MAX) for row in behind]
    campaigns = [row.campaign_id for row in behind]
    asked = {"campaigns": campaigns, "after": [row.seq for row in behind], "upto": upto}
    alerts = (await sql.execute(_INSERT_ALERTS, {**asked, **_NAMES, "oldest": oldest})).all()
    if alerts:
        streams = sorted({row.stream_id for row in alerts})
        await make_main_groups(sql, streams)
        await sql.execute(_INSERT_TURNS, {"ids": [row.id for row in alerts]})
        await sql.execute(_WAKE, {"streams": streams})
    await sql.execute(_MOVE_MARKS, {"campaigns": campaigns, "upto": upto})
    return len(alerts)


async def make_main_groups(sql: AsyncSession, streams: list[str]) -> None:
    """Give streams their desk and their group ``main``, where they have none yet."""
    await sql.execute(_INSERT_DESKS, {"streams": streams})
    await sql.execute(_INSERT_MAIN, {"streams": streams, "main": MAIN})


async def streams_without_groups(sql: AsyncSession) -> list[str]:
    """Return streams that are announced and have no alert group yet: their overlays want something to show."""
    asked = {"main": MAIN, "streams_max": STREAMS_PER_SWEEP_MAX}
    return list(await sql.scalars(_WITHOUT_GROUPS, asked))


# Beginning at the newest seal that is no news: a campaign that is older than alerts need not be read through.
_BEGIN_MARKS = text("""
INSERT INTO alert_marks (campaign_id, seq)
SELECT h.campaign_id, coalesce((
    SELECT s.seq FROM seals s
    WHERE s.campaign_id = h.campaign_id AND s.sealed_at < CAST(:oldest AS timestamptz)
    ORDER BY s.seq DESC LIMIT 1), 0)
FROM ledger_heads h
WHERE NOT EXISTS (SELECT FROM alert_marks m WHERE m.campaign_id = h.campaign_id)
ON CONFLICT DO NOTHING
""")
# Those furthest behind by time would need more than this to be told; in turn by chance is fair enough.
_BEHIND = text("""
SELECT m.campaign_id, m.seq, h.size
FROM alert_marks m JOIN ledger_heads h ON h.campaign_id = m.campaign_id AND h.size > m.seq
ORDER BY random() LIMIT :campaigns_max
""")
# An order may be posted in two parts, its goods and its gift: they are one alert, even if sealed apart. Shipping is
# the carrier's and stands in no alert.
_INSERT_ALERTS = bulk("""
WITH paid AS (
    SELECT t.order_id, t.stream_id, t.currency, min(t.posted_at) AS paid_at, min(s.seq) AS seq,
           bool_or(t.kind = :capture) AS goods,
           max(main.sku) AS sku,
           coalesce(sum(main.units), 0) AS units,
           coalesce(sum(sums.amount_minor) FILTER (WHERE t.kind = :capture), 0) AS goods_minor,
           coalesce(sum(sums.amount_minor) FILTER (WHERE t.kind = :donation), 0) AS gift_minor
    FROM unnest(CAST(:campaigns AS text[]), CAST(:after AS bigint[]), CAST(:upto AS bigint[]))
        AS r (campaign_id, after, upto)
    JOIN seals s ON s.campaign_id = r.campaign_id AND s.seq > r.after AND s.seq <= r.upto
    JOIN ledger_transactions t ON t.id = s.transaction_id
        AND t.kind IN (:capture, :donation) AND t.order_id IS NOT NULL
        AND t.posted_at > CAST(:oldest AS timestamptz)
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(amount_minor), 0) AS amount_minor FROM ledger_entries
        WHERE transaction_id = t.id AND account IN (:clearing, :shipping)
    ) sums
    CROSS JOIN LATERAL (
        SELECT (array_agg(line ->> 0 ORDER BY CAST(line ->> 1 AS integer) DESC, n))[1] AS sku,
               sum(CAST(line ->> 1 AS integer)) AS units
        FROM jsonb_array_elements(t.lines) WITH ORDINALITY AS l (line, n)
    ) main
    GROUP BY t.order_id, t.stream_id, t.currency
)
INSERT INTO alerts AS a
    (stream_id, order_id, kind, sku, units, goods_minor, gift_minor, currency, paid_at)
SELECT p.stream_id, p.order_id, CASE WHEN p.goods THEN 'order' ELSE 'gift' END, p.sku, p.units,
       greatest(p.goods_minor, 0), greatest(p.gift_minor, 0), p.currency, p.paid_at
FROM paid p JOIN streams st ON st.id = p.stream_id
ORDER BY p.seq
ON CONFLICT (order_id) DO UPDATE SET
    units = a.units + excluded.units,
    goods_minor = a.goods_minor + excluded.goods_minor,
    gift_minor = a.gift_minor + excluded.gift_minor,
    kind = CASE WHEN 'order' IN (a.kind, excluded.kind) THEN 'order' ELSE 'gift' END,
    sku = coalesce(a.sku, excluded.sku)
RETURNING id, stream_id
""")
# Where the words are still under review, the alert waits for the verdict and not for its turn.
_INSERT_TURNS = bulk("""
INSERT INTO alert_turns
    (alert_id, group_name, stream_id, sku, large, said, lane, state, paid_at, since)
SELECT a.id, g.name, a.stream_id, coalesce(a.sku, ''), b.large, b.said,
       CASE WHEN b.large OR b.said THEN 'turn' ELSE 'ordinary' END,
       CASE WHEN a.goods_minor + a.gift_minor < g.min_minor THEN 'PASSED_OVER'
            WHEN m.display IN ('PENDING_REVIEW', 'PASSED') THEN 'REVIEW'
            ELSE 'WAITING' END,
       a.paid_at, a.paid_at
FROM alerts a
JOIN alert_groups g ON g.stream_id = a.stream_id
LEFT JOIN order_messages m ON m.order_id = a.order_id
CROSS JOIN LATERAL (
    SELECT g.large_minor > 0 AND a.goods_minor + a.gift_minor >= g.large_minor AS large,
           coalesce(m.display = 'SHOWN' AND (m.message IS NOT NULL OR m.dedication IS NOT NULL), false)
               AS said
) b
WHERE a.id = ANY(CAST(:ids AS bigint[]))
ON CONFLICT DO NOTHING
""")
_WAKE = bulk(
    "UPDATE alert_groups SET busy = true WHERE stream_id = ANY(CAST(:streams AS text[])) AND NOT busy"
)
_MOVE_MARKS = bulk("""
UPDATE alert_marks m SET seq = u.seq
FROM unnest(CAST(:campaigns AS text[]), CAST(:upto AS bigint[])) AS u (campaign_id, seq)
WHERE m.campaign_id = u.campaign_id
""")
_INSERT_DESKS = bulk(
    "INSERT INTO alert_desks (stream_id) SELECT unnest(CAST(:streams AS text[])) ON CONFLICT DO NOTHING"
)
_INSERT_MAIN = bulk("""
INSERT INTO alert_groups (stream_id, name)
SELECT unnest(CAST(:streams AS text[])), :main ON CONFLICT DO NOTHING
""")
_WITHOUT_GROUPS = text("""
SELECT s.id FROM streams s
WHERE s.state IN ('scheduled', 'live')
  AND NOT EXISTS (SELECT FROM alert_groups g WHERE g.stream_id = s.id AND g.name = :main)
ORDER BY s.id LIMIT :streams_max
""")
