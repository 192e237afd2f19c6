"""The director: puts alerts on air, one after the other in each group, ten times a second.

All it knows stands in SQL, and each of its steps is one transaction that ends in a state from which anybody can go on:
a director that dies is replaced by another that never heard of it. Of several on one database only one acts at a time.
A group whose step fails is logged and left for the next tick; the others go on.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from realtime.alerts.airing import airing_of, end_if_over, put_next_on_air, rules_of, trim
from realtime.alerts.desks import hold_desk
from realtime.alerts.intake import make_main_groups, streams_without_groups, take_in
from realtime.alerts.states import publish_groups
from realtime.alerts.tables import AlertDesk, AlertGroup
from realtime.alerts.waiting import Scope, drop_late, scope_of, settle_reviews
from realtime.bus import publish_frames
from realtime.frames import Frame
from stream_events.database import Database
from stream_events.loops import go_round

log = structlog.get_logger(__name__)

TICK_S: Final = 0.1
SLOW_S: Final = 1.0
GROUPS_PER_TICK_MAX: Final = 100
RETAINED: Final = timedelta(days=7)
AIRINGS_RETAINED: Final = timedelta(days=90)
RETIRED_PER_TICK_MAX: Final = 500


@dataclass(slots=True)
class Round:
    """Where a director's rounds are. It is for fairness and cost alone: losing it changes nothing that is shown."""

    groups_after: tuple[str, str] = ("", "")
    reviews_after: dict[tuple[str, str], int] = field(default_factory=dict)
    slow_due: float = 0.0
    busy: bool = True
    snapshot: str = ""

    def is_done(self, snapshot: str) -> bool:
        """Return whether a tick at this snapshot of the database could find nothing to do."""
        return snapshot == self.snapshot and not self.busy and time.monotonic() < self.slow_due


async def tick_once(
    database: Database,
    redis: Redis,
    round_: Round,
    at: datetime | None = None,
    *,
    slow: bool | None = None,
) -> int:
    """Take in what was paid and move each group that has something to do; returns how many frames were published.

    Once in a second, or when ``slow`` says so, it also counts, trims and forgets.
    """
    at, round_.busy = at or datetime.now(UTC), True
    if slow is None:
        slow = time.monotonic() >= round_.slow_due
        round_.slow_due = time.monotonic() + SLOW_S if slow else round_.slow_due
    async with database.begin() as sql:
        if not await sql.scalar(_ALONE):
            return 0
        await take_in(sql, at)
        if slow:
            await make_main_groups(sql, await streams_without_groups(sql))
            await _retire(sql, at)
        groups = await _busy_groups(sql, round_)
    round_.busy = bool(groups)
    published = 0
    for stream_id, name in groups:
        try:
            frames = await _conduct(database, round_, stream_id, name, at, slow=slow)
        except Exception:
            # Whatever is wrong with one group's alerts, those of the others go on.
            log.exception("alerts_failed", stream_id=stream_id, group=name)
            continue
        if frames:
            await publish_frames(redis, frames)
            published += len(frames)
    return published


async def run_director(
    database: Database, redis: Redis, stop: asyncio.Event, *, tick_s: float = TICK_S
) -> None:
    """Tick until ``stop``, at most once in ``tick_s`` seconds, backing off while something is broken."""
    round_ = Round()

    async def tick() -> float:
        snapshot = await database.snapshot()
        if not round_.is_done(snapshot):
            await tick_once(database, redis, round_)
            round_.snapshot = snapshot
        return tick_s

    await go_round(tick, stop, failure="director_failed", paced=True)


async def _busy_groups(sql: AsyncSession, round_: Round) -> Sequence[Any]:
    """Return the next groups with something to do, in a round over all of them."""
    stream_id, group = round_.groups_after
    asked = {"stream": stream_id, "group": group, "groups_max": GROUPS_PER_TICK_MAX}
    groups = (await sql.execute(_BUSY, asked)).all()
    through = len(groups) < GROUPS_PER_TICK_MAX
    round_.groups_after = ("", "") if through else (groups[-1].stream_id, groups[-1].name)
    return groups


async def _conduct(
    database: Database, round_: Round, stream_id: str, name: str, at: datetime, *, slow: bool
) -> list[Frame]:
    """Move one group on, in a short transaction of its own, so that nobody at the console waits long."""
    async with database.begin() as sql:
        if not await sql.scalar(_ALONE):
            return []
        desk = await hold_desk(sql, stream_id)
        group = await sql.get(AlertGroup, (stream_id, name))
        if group is None:
            return []
        rules = rules_of(group)
        scope = scope_of(group, rules, at)
        after = await settle_reviews(sql, scope, round_.reviews_after.pop((stream_id, name), 0))
        if after:
            round_.reviews_after[stream_id, name] = after
        await drop_late(sql, scope)
        if slow:
            await trim(sql, scope, rules)
        moved = await _change_air(sql, scope, desk, group, at)
        frames = await publish_groups(sql, desk, [group], at, recount=slow or moved)
        if slow:
            await sql.execute(_REST, {"stream": stream_id, "group": name})
    return frames


async def _change_air(
    sql: AsyncSession, scope: Scope, desk: AlertDesk, group: AlertGroup, at: datetime
) -> bool:
    """End what is over and put on air who is next; returns whether anything went on or off."""
    airing = await airing_of(sql, group.stream_id, group.name)
    if airing is not None and not await end_if_over(sql, scope, airing, at):
        return False
    if desk.muted or desk.panic:
        return airing is not None
    return await put_next_on_air(sql, scope, group, at) is not None or airing is not None


async def _retire(sql: AsyncSession, at: datetime) -> None:
    """Forget what was decided long ago, the oldest first and a few at a time."""
    retired: Any = {"rows": RETIRED_PER_TICK_MAX}
    await sql.execute(_RETIRE_ALERTS, {**retired, "before": at - RETAINED})
    await sql.execute(_RETIRE_AIRINGS, {**retired, "before": at - AIRINGS_RETAINED})


_ALONE = text("SELECT pg_try_advisory_xact_lock(hashtextextended('stream-events alerts', 0))")
_BUSY = text("""
SELECT stream_id, name FROM alert_groups
WHERE busy AND (stream_id, name) > (:stream, :group) ORDER BY stream_id, name LIMIT :groups_max
""")
_REST = text("""
UPDATE alert_groups g SET busy = false
WHERE g.stream_id = :stream AND g.name = :group AND g.busy
  AND NOT EXISTS (SELECT FROM alert_turns t WHERE t.stream_id = g.stream_id AND t.group_name = g.name
                  AND t.state = 'WAITING')
  AND NOT EXISTS (SELECT FROM alert_turns t WHERE t.stream_id = g.stream_id AND t.group_name = g.name
                  AND t.state = 'REVIEW')
  AND NOT EXISTS (SELECT FROM airings r WHERE r.stream_id = g.stream_id AND r.group_name = g.name
                  AND r.outcome = 'ON_AIR')
""")
# Both ids grow with time: the oldest rows stand first.
_RETIRE_ALERTS = text("""
DELETE FROM alerts WHERE id IN (SELECT id FROM alerts ORDER BY id LIMIT :rows)
  AND made_at < CAST(:before AS timestamptz)
""")
_RETIRE_AIRINGS = text("""
DELETE FROM airings WHERE id IN (SELECT id FROM airings ORDER BY id LIMIT :rows)
  AND starts_at < CAST(:before AS timestamptz) AND outcome <> 'ON_AIR'
""")
