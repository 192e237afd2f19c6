"""The loop that tells who is thanked and who gave most, apart from the announcer, which tells the totals.

Reading all approved names of a great night takes longer than a tick may. Here it delays no total and can stop none;
it happens only where the ledger or a name moved, and takes a fifth of the time at most.
"""

import asyncio
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import structlog
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from realtime.bus import publish_frames
from realtime.frames import Frame
from realtime.moderation.name_states import name_states
from realtime.topics import read_states, write_states
from stream_events.database import Database
from stream_events.loops import go_round

log = structlog.get_logger(__name__)

LOOK_S: Final = 1.0
LOOK_S_MAX: Final = 5.0
REST: Final = 4  # So many times as long as a look took, nobody looks.
WINDOWS_S: Final = 10.0
STALE_MAX: Final = 1_000
ROUND_MAX: Final = 5
MARKS_MAX: Final = 2_000
STREAMS_MAX: Final = 50


@dataclass(slots=True)
class Naming:
    """Which streams have to be looked at anew. It is for cost alone: all of it can be lost, and is at a start."""

    marks: dict[str, int] = field(default_factory=dict)
    due: set[str] = field(default_factory=set)
    round_to: str = ""
    windows_due: float = 0.0
    snapshot: str = ""

    def is_done(self, snapshot: str) -> bool:
        """Return whether a look at this snapshot of the database could find nothing due."""
        return snapshot == self.snapshot and not self.due and time.monotonic() < self.windows_due


@dataclass(frozen=True, slots=True)
class _Look:
    """What a look found to do, to be kept once it is committed."""

    marks: dict[str, int]
    due: set[str]
    looked: set[str]
    round_to: str
    windows_due: float


async def name_once(database: Database, redis: Redis, naming: Naming) -> int:
    """Publish the names and leaders of what is due; return how many topics changed.

    Of several on one database only one looks at a time. One snapshot of the database is behind a look, so that
    leaders are of the very ledger number that they say.
    """
    async with database.begin() as sql:
        await sql.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        if not await sql.scalar(_ALONE):
            naming.windows_due = 0.0
            return 0
        look = await _what_is_due(sql, naming)
        frames = await _write(sql, look.looked)
    naming.marks, naming.due = look.marks, look.due - look.looked
    naming.round_to, naming.windows_due = look.round_to, look.windows_due
    if frames:
        await publish_frames(redis, frames)
    return len(frames)


async def run_naming(
    database: Database, redis: Redis, stop: asyncio.Event, *, look_s: float = LOOK_S
) -> None:
    """Look until ``stop``; what breaks is said and tried again."""
    naming = Naming()

    async def name() -> float:
        snapshot = await database.snapshot()
        if naming.is_done(snapshot):
            return look_s
        began = time.monotonic()
        await name_once(database, redis, naming)
        naming.snapshot = snapshot
        return min(LOOK_S_MAX, max(look_s, REST * (time.monotonic() - began)))

    await go_round(name, stop, failure="naming_failed", backoff_s=look_s, backoff_s_max=LOOK_S_MAX)


async def _what_is_due(sql: AsyncSession, naming: Naming) -> _Look:
    now = time.monotonic()
    stale = set(await sql.scalars(_TAKE_STALE, {"stale_max": STALE_MAX}))
    rows = (await sql.execute(_MARKS, {"marks_max": MARKS_MAX})).all()
    marks = {row.id: row.seq for row in rows}
    moved = {stream_id for stream_id, seq in marks.items() if naming.marks.get(stream_id) != seq}
    passing, round_, round_to = now >= naming.windows_due, list[str](), naming.round_to
    if passing:
        # An hour and a day pass by themselves; and a few streams a time are looked at whatever was noticed.
        moved |= {row.id for row in rows if row.state == "live"}
        given = {"after": round_to, "round_max": ROUND_MAX}
        round_ = list(await sql.scalars(_ROUND, given))
        round_to = round_[-1] if len(round_) == ROUND_MAX else ""
    due = naming.due | stale | moved
    # First whose name may have to go, then those that waited longest for want of room.
    wanted = dict.fromkeys([*sorted(stale), *sorted(naming.due), *sorted(moved), *round_])
    return _Look(
        marks=marks,
        due=due,
        looked=set(list(wanted)[:STREAMS_MAX]),
        round_to=round_to,
        windows_due=now + WINDOWS_S if passing else naming.windows_due,
    )


async def _write(sql: AsyncSession, stream_ids: set[str]) -> list[Frame]:
    states = await name_states(sql, stream_ids)
    stored = await read_states(sql, states)
    changed = {
        topic: state
        for topic, state in states.items()
        if topic not in stored or stored[topic][2] != state
    }
    return await write_states(sql, changed, {}, datetime.now(UTC)) if changed else []


_ALONE = text("SELECT pg_try_advisory_xact_lock(hashtextextended('stream-events names', 0))")
_TAKE_STALE = text("""
WITH taken AS (
    DELETE FROM stale_names WHERE id IN (SELECT id FROM stale_names ORDER BY id LIMIT :stale_max)
    RETURNING stream_id
)
SELECT DISTINCT stream_id FROM taken
""")
# The ledger number of whatever is on air or has names, the newest streams first.
_MARKS = text("""
SELECT s.id, s.state, coalesce(t.seq, 0) AS seq
FROM streams s LEFT JOIN tallies t ON t.scope_id = s.id
WHERE s.state = 'live' OR s.state <> 'draft'
      AND EXISTS (SELECT FROM moderation_rules r WHERE r.stream_id = s.id AND r.names > 0)
ORDER BY s.id DESC LIMIT :marks_max
""")
_ROUND = text("""
SELECT stream_id FROM moderation_rules WHERE names > 0 AND stream_id > :after
ORDER BY stream_id LIMIT :round_max
""")
