"""A group's queue in SQL: what waits, what waited too long, and what was decided about words under review.

Each function moves a bounded number of rows and finds them by the two partial indexes of ``alert_turns``; what is left
over is done a tick later. An alert is in time as long as less than its hold has passed since it began to wait.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from realtime.alerts.choosing import (
    BURST_WINDOW_S,
    UNDER_REVIEW,
    Candidate,
    Overflow,
    Pile,
    Rules,
    Ruling,
    Waiting,
    ruling,
)
from stream_events.bulk import bulk
from stream_events.database import Database

REVIEWS_PER_TICK_MAX: Final = 1_000
DROPS_PER_TICK_MAX: Final = 2_000
BURST_MAX: Final = 5_000
FORGOTTEN_AT_ONCE_MAX: Final = 2_000

_Sql = AsyncSession
Scope = Mapping[str, Any]


def scope_of(group: Any, rules: Rules, at: datetime) -> Scope:
    """Return what every statement here is told: which group, and since when its alerts may have waited."""
    return {
        "stream": group.stream_id,
        "group": group.name,
        "at": at,
        "in_time": at - rules.hold(said=False),
        "said_in_time": at - rules.hold(said=True),
    }


async def settle_reviews(sql: _Sql, scope: Scope, after: int) -> int:
    """Let go of alerts whose words were decided on, or have waited long enough; return where to read on (0: anew).

    Approved words get their turn from now on. Without them the alert goes on air only while it is still news.
    """
    row = (
        await sql.execute(_SETTLE, {**scope, "after": after, "rows": REVIEWS_PER_TICK_MAX})
    ).one()
    return row.last if row.seen == REVIEWS_PER_TICK_MAX else 0


async def drop_late(sql: _Sql, scope: Scope) -> None:
    """Drop what has waited longer than the group holds it."""
    await sql.execute(_DROP_LATE, {**scope, "rows": DROPS_PER_TICK_MAX})


async def read_waiting(sql: _Sql, scope: Scope) -> Waiting:
    """Return what may go on air now."""
    fresh = scope["at"] - timedelta(seconds=BURST_WINDOW_S)
    piles = await sql.execute(_PILES, {**scope, "fresh": fresh})
    turns = await sql.scalar(_TURNS, scope)
    return Waiting([Pile(row.sku, row.many, row.fresh, row.oldest) for row in piles], turns or 0)


async def drop_overflow(sql: _Sql, scope: Scope, over: Overflow) -> None:
    """Drop what no longer fits, at most so many rows a tick; the rest is still too much at the next."""
    if over.oldest or over.skus:
        asked = {
            "skus": list(over.skus) or None,
            "rows": DROPS_PER_TICK_MAX if over.skus else min(over.oldest, DROPS_PER_TICK_MAX),
        }
        await sql.execute(_DROP_ORDINARY, {**scope, **asked})
    if over.newest_turns:
        await sql.execute(_DROP_TURNS, {**scope, "rows": over.newest_turns})


async def candidates(sql: _Sql, scope: Scope, lane: str, sku: str | None, rows: int) -> list[Any]:
    """Return the first of a lane (and product), as their orders and words stand now."""
    asked = {**scope, "lane": lane, "sku": sku, "rows": rows}
    return list((await sql.execute(_CANDIDATES, asked)).all())


async def fit(
    sql: _Sql, scope: Scope, rules: Rules, rows: Sequence[Any], at: datetime
) -> list[Any]:
    """Return those that can go on air as they are, and move the others to where they belong."""
    fitting, moved = [], []
    for row in rows:
        one = Candidate(
            row.alert_id,
            row.large,
            row.said,
            row.paid_at,
            row.display,
            row.has_words,
            row.refunded,
        )
        found = ruling(rules, one, at) if row.kind != "test" else None
        if found is None:
            fitting.append(row)
        else:
            moved.append((row.alert_id, found))
    if moved:
        await _move(sql, scope, moved)
    return fitting


async def forget_done(database: Database, stream_id: str, group: str) -> None:
    """Delete those turns of a group that will never change again, some at a time and without holding its desk.

    A great night leaves a hundred thousand of them; taking the group away does not have to wait for that many then.
    What somebody else is about to change is left to that.
    """
    after: int | None = 0
    while after is not None:
        asked = {"stream": stream_id, "group": group, "after": after}
        async with database.begin() as sql:
            given = {**asked, "rows": FORGOTTEN_AT_ONCE_MAX}
            row = (await sql.execute(_FORGET_DONE, given)).one()
        after = row.last if row.seen == FORGOTTEN_AT_ONCE_MAX else None


async def _move(sql: _Sql, scope: Scope, moved: Sequence[tuple[int, Ruling]]) -> None:
    await sql.execute(
        _MOVE,
        {
            "group": scope["group"],
            "ids": [alert_id for alert_id, _ in moved],
            "states": [found.state for _, found in moved],
            "said": [found.said for _, found in moved],
            "since": [found.since for _, found in moved],
            "reasons": [found.reason for _, found in moved],
        },
    )


_OF_GROUP: Final = "stream_id = :stream AND group_name = :group"
IN_TIME: Final = """since > CASE WHEN said THEN CAST(:said_in_time AS timestamptz)
    ELSE CAST(:in_time AS timestamptz) END"""
_REVIEWED: Final = "(" + ", ".join(f"'{display}'" for display in sorted(UNDER_REVIEW)) + ")"

_SETTLE = text(f"""
WITH page AS (
    SELECT alert_id, paid_at, large FROM alert_turns
    WHERE {_OF_GROUP} AND state = 'REVIEW' AND alert_id > :after
    ORDER BY alert_id LIMIT :rows
), seen AS (
    SELECT p.*, d.display, p.paid_at > CAST(:in_time AS timestamptz) AS in_time,
           d.display = 'SHOWN' AND (m.message IS NOT NULL OR m.dedication IS NOT NULL) AS said
    FROM page p
    JOIN alerts a ON a.id = p.alert_id
    LEFT JOIN order_messages m ON m.order_id = a.order_id
    CROSS JOIN LATERAL (SELECT coalesce(m.display, 'ANONYMOUS') AS display) d
), moved AS (
    UPDATE alert_turns t SET
        state = CASE WHEN s.display = 'SHOWN' OR s.in_time THEN 'WAITING' ELSE 'DROPPED' END,
        reason = CASE WHEN s.display = 'SHOWN' OR s.in_time THEN NULL
                      WHEN s.display IN {_REVIEWED} THEN 'unreviewed' ELSE 'hidden' END,
        said = s.said,
        lane = CASE WHEN s.said OR s.large THEN 'turn' ELSE 'ordinary' END,
        since = CASE WHEN s.display = 'SHOWN' THEN CAST(:at AS timestamptz) ELSE s.paid_at END
    FROM seen s
    WHERE t.alert_id = s.alert_id AND t.group_name = :group
      AND (s.display NOT IN {_REVIEWED} OR s.paid_at <= CAST(:said_in_time AS timestamptz))
)
SELECT coalesce(max(alert_id), 0) AS last, count(*) AS seen FROM page
""")
_DROP_LATE = text(f"""
UPDATE alert_turns t SET state = 'DROPPED', reason = 'too_old'
FROM (
    (SELECT alert_id FROM alert_turns
     WHERE {_OF_GROUP} AND state = 'WAITING' AND lane = 'ordinary'
       AND since <= CAST(:in_time AS timestamptz)
     ORDER BY since LIMIT :rows)
    UNION ALL
    (SELECT alert_id FROM alert_turns
     WHERE {_OF_GROUP} AND state = 'WAITING' AND lane = 'turn' AND NOT ({IN_TIME})
     ORDER BY since LIMIT :rows)
) late
WHERE t.alert_id = late.alert_id AND t.group_name = :group
""")
_PILES = text(f"""
SELECT sku, count(*) AS many, min(since) AS oldest,
       count(*) FILTER (WHERE since > CAST(:fresh AS timestamptz)) AS fresh
FROM alert_turns
WHERE {_OF_GROUP} AND state = 'WAITING' AND lane = 'ordinary'
  AND since > CAST(:in_time AS timestamptz)
GROUP BY sku
""")
_TURNS = text(f"""
SELECT count(*) FROM alert_turns
WHERE {_OF_GROUP} AND state = 'WAITING' AND lane = 'turn' AND {IN_TIME}
""")
_DROP_ORDINARY = bulk(f"""
UPDATE alert_turns t SET state = 'DROPPED', reason = 'overflow'
FROM (
    SELECT alert_id FROM alert_turns
    WHERE {_OF_GROUP} AND state = 'WAITING' AND lane = 'ordinary'
      AND (CAST(:skus AS text[]) IS NULL OR sku = ANY(CAST(:skus AS text[])))
    ORDER BY since, alert_id LIMIT :rows
) over
WHERE t.alert_id = over.alert_id AND t.group_name = :group
""")
_DROP_TURNS = text(f"""
UPDATE alert_turns t SET state = 'DROPPED', reason = 'overflow'
FROM (
    SELECT alert_id FROM alert_turns
    WHERE {_OF_GROUP} AND state = 'WAITING' AND lane = 'turn'
    ORDER BY since DESC, alert_id DESC LIMIT :rows
) over
WHERE t.alert_id = over.alert_id AND t.group_name = :group
""")
# A walk along the primary key, which sees each turn of a group of this name once.
_FORGET_DONE = text("""
WITH page AS (
    SELECT alert_id FROM alert_turns WHERE group_name = :group AND alert_id > :after
    ORDER BY alert_id LIMIT :rows
), done AS (
    SELECT t.alert_id FROM alert_turns t JOIN page USING (alert_id)
    WHERE t.group_name = :group AND t.stream_id = :stream
      AND (t.state IN ('DROPPED', 'PASSED_OVER') OR t.state = 'TAKEN' AND NOT EXISTS (
          SELECT FROM airings r WHERE r.id = t.airing_id AND r.outcome = 'ON_AIR'))
    FOR UPDATE OF t SKIP LOCKED
), gone AS (
    DELETE FROM alert_turns t USING done WHERE t.alert_id = done.alert_id AND t.group_name = :group
)
SELECT count(*) AS seen, max(alert_id) AS last FROM page
""")
_CANDIDATES = text(f"""
SELECT t.alert_id, t.large, t.said, t.paid_at, t.sku, a.kind, a.units, a.currency,
       a.goods_minor + a.gift_minor AS amount_minor,
       coalesce(m.display, 'ANONYMOUS') AS display,
       (m.message IS NOT NULL OR m.dedication IS NOT NULL) AS has_words,
       coalesce(m.display = 'SHOWN' AND m.name IS NOT NULL, false) AS named,
       coalesce(o.state = 'REFUNDED' OR (o.refunded_minor > 0
                AND o.refunded_minor + o.disputed_minor >= o.received_minor), false) AS refunded
FROM (
    SELECT alert_id, large, said, paid_at, since, sku FROM alert_turns
    WHERE {_OF_GROUP} AND state = 'WAITING' AND lane = :lane AND {IN_TIME}
      AND (CAST(:sku AS text) IS NULL OR sku = :sku)
    ORDER BY since, alert_id LIMIT :rows
) t
JOIN alerts a ON a.id = t.alert_id
LEFT JOIN orders o ON o.id = a.order_id
LEFT JOIN order_messages m ON m.order_id = a.order_id
ORDER BY t.since, t.alert_id
""")
_MOVE = bulk("""
UPDATE alert_turns t SET
    state = u.state, said = u.said, since = u.since, reason = u.reason,
    lane = CASE WHEN u.said OR t.large THEN 'turn' ELSE 'ordinary' END
FROM unnest(CAST(:ids AS bigint[]), CAST(:states AS text[]), CAST(:said AS boolean[]),
            CAST(:since AS timestamptz[]), CAST(:reasons AS text[]))
    AS u (alert_id, state, said, since, reason)
WHERE t.alert_id = u.alert_id AND t.group_name = :group
""")
