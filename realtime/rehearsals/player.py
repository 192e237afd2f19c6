"""The player: moves every rehearsal on to where the database's clock says it is, at most ten times a second.

It writes ``rehearsal/…`` topics and the row of the rehearsal, and reads everything else: no rehearsal can change an order,
the books or a real screen. What it remembers only saves reading; a player that is started anew reads the night up to the
present moment, tells nothing until it is there, and goes on.
"""

import asyncio
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import structlog
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from realtime.bus import publish_frames
from realtime.frames import Frame
from realtime.rehearsals.play import Play, begin, read_tonight
from realtime.topics import States, read_states, write_states
from stream_events.database import Database
from stream_events.loops import go_round

log = structlog.get_logger(__name__)

TICK_S: Final = 0.1
# With nobody rehearsing, one look at an empty index now and then.
IDLE_S: Final = 0.5
REREAD_S: Final = 1.0
PLAYING_MAX: Final = 20

_Key = tuple[str, datetime]


@dataclass(slots=True)
class _Held:
    """A rehearsal in memory. ``published`` is what its topics say."""

    play: Play
    published: States
    reread_due: float


@dataclass(slots=True)
class Plays:
    """The rehearsals that were looked at last, each as it was started: one that is started again is another."""

    public_url: str = ""
    held: dict[_Key, _Held] = field(default_factory=dict)


async def tick_once(database: Database, redis: Redis, plays: Plays) -> int:
    """Move on what is playing; returns how many rehearsals that were."""
    rows = await database.look(_PLAYING, PLAYING_MAX)
    keys = [(row["stream_id"], row["started_at"]) for row in rows]
    plays.held = {key: held for key, held in plays.held.items() if key in keys}
    for key in keys:
        try:
            frames = await _move_on(database, plays, key)
        except Exception:
            # Whatever is wrong with one, the others go on, and this one is read anew.
            plays.held.pop(key, None)
            log.exception("rehearsal_failed", stream_id=key[0])
            continue
        if frames:
            await publish_frames(redis, frames)
    return len(keys)


async def run_rehearsals(
    database: Database,
    redis: Redis,
    stop: asyncio.Event,
    *,
    public_url: str = "",
    tick_s: float = TICK_S,
) -> None:
    """Tick until ``stop``, at most once in ``tick_s`` seconds, seldom while nobody rehearses."""
    plays = Plays(public_url)

    async def tick() -> float:
        return tick_s if await tick_once(database, redis, plays) else max(tick_s, IDLE_S)

    await go_round(tick, stop, failure="rehearsals_stand_still", paced=True)


async def _move_on(database: Database, plays: Plays, key: _Key) -> list[Frame]:
    """Move one rehearsal on, holding its row, so that nothing is told once it was stopped or started again."""
    async with database.begin() as sql:
        if not await sql.scalar(_ALONE):
            return []
        stream_id, started_at = key
        given = {"stream": stream_id, "started_at": started_at}
        row = (await sql.execute(_HOLD, given)).one_or_none()
        if row is None:
            return []
        held = plays.held.get(key)
        if held is None:
            held = _Held(await begin(sql, row), {}, time.monotonic() + REREAD_S)
            plays.held[key] = held
        elif time.monotonic() >= held.reread_due:
            held.play.tonight = await read_tonight(sql, stream_id)
            held.play.reach(row.position)
            held.reread_due = time.monotonic() + REREAD_S
        if not await held.play.play_until(sql, row.position):
            return []
        states = _states(held.play, row, plays.public_url)
        frames = await _write(sql, held, states, row.now)
        if row.over:
            await sql.execute(_FINISH, given)
            log.info("rehearsal_finished", stream_id=stream_id)
    held.published = states
    return frames


def _states(play: Play, row: Any, public_url: str) -> States:
    switches = {"muted": row.muted, "panic": row.panic}
    return play.states(row.position, switches, public_url, over=row.over)


async def _write(sql: AsyncSession, held: _Held, states: States, at: datetime) -> list[Frame]:
    """Store what differs from what is told; what that is, is read when it is not known."""
    if not held.published:
        rows = await read_states(sql, states)
        held.published = {topic: state for topic, (_, _, state) in rows.items()}
    changed = {
        topic: state for topic, state in states.items() if held.published.get(topic) != state
    }
    return await write_states(sql, changed, {}, at) if changed else []


_ALONE = text("SELECT pg_try_advisory_xact_lock(hashtextextended('stream-events rehearsals', 0))")
_PLAYING = """
SELECT stream_id, started_at FROM rehearsals WHERE finished_at IS NULL
ORDER BY started_at, stream_id LIMIT $1
"""
# The place in the night follows from the database's clock; it ends where the night does.
_HOLD = text("""
SELECT r.*, least(r.to_at, p.position) AS position, p.position >= r.to_at AS over, p.now,
       coalesce(d.muted, false) AS muted, coalesce(d.panic, false) AS panic
FROM rehearsals r
CROSS JOIN LATERAL (
    SELECT c.now, r.from_at + greatest(c.now - r.started_at, interval '0') * r.speed AS position
    FROM (SELECT clock_timestamp() AS now) c
) p
LEFT JOIN alert_desks d ON d.stream_id = r.stream_id
WHERE r.stream_id = :stream AND r.started_at = :started_at AND r.finished_at IS NULL
FOR NO KEY UPDATE OF r
""")
_FINISH = text("""
UPDATE rehearsals SET finished_at = clock_timestamp()
WHERE stream_id = :stream AND started_at = :started_at
""")
