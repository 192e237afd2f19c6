"""The one who tells: seals the ledger and publishes what changed, at most ten times a second.

One transaction seals, reads what everything looks like now, and takes the new versions; only what is committed is
published. So a number on a screen is always one that the ledger added up to, under a version nobody else has. A
frame that gets lost on the bus costs a gateway two seconds, not the truth: it reads the same row.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from orders.ledger.seal import SealedScope, seal_once
from realtime.board_states import BoardBooks
from realtime.bus import publish_frames
from realtime.farmers import FarmerBooks, Reading
from realtime.frames import Frame
from realtime.states import SWEEP_MAX, next_streams, stream_rows, stream_states
from realtime.topics import States, differing_topics, read_states, to_ms, write_states
from stream_events.database import SNAPSHOT, Database
from stream_events.loops import go_round

log = structlog.get_logger(__name__)

TICK_S: Final = 0.1
SWEEP_S: Final = 1.0
REREAD_S: Final = 5.0
TOLD_S: Final = 1.0

# What is committed, and how many matches have begun, ended, and ended long enough ago: as long as all is the same, so is
# everything that is shown.
Moment = tuple[Any, ...]


@dataclass(slots=True)
class Known:
    """What this announcer knows to be published, so that only changes are written."""

    states: States = field(default_factory=dict)
    ages: dict[str, tuple[int, int]] = field(default_factory=dict)
    farmers: FarmerBooks = field(default_factory=FarmerBooks)
    boards: BoardBooks = field(default_factory=BoardBooks)
    swept_to: str = ""
    sweep_due: float = 0.0
    reread_due: float = 0.0
    told_due: float = 0.0
    # At which moment of the database all that is hot, what others told, and every stream there is was looked through,
    # and at which the round over all streams began.
    looked_at: Moment | None = None
    reread_at: Moment | None = None
    swept_at: Moment | None = None
    round_from: Moment | None = None

    def is_done(self, moment: Moment) -> bool:
        """Return whether a tick at this moment could find nothing new, and nothing has to be looked through as yet."""
        if moment != self.looked_at or not self.farmers.through:
            return False
        if moment == self.reread_at == self.swept_at:
            return True
        return time.monotonic() < min(self.sweep_due, self.reread_due)


@dataclass(slots=True)
class _Tick:
    """What one tick found, to be kept once it is committed."""

    states: States
    reading: Reading | None
    swept_to: str | None
    reread: bool


async def tick_once(
    database: Database, redis: Redis, known: Known, moment: Moment | None = None
) -> int:
    """Seal, commit what changed under new versions, and publish it; returns how many topics changed.

    Of several announcers on one database only one ticks at a time; the others do nothing and return 0. ``moment`` is
    one that was looked up before.
    """
    at = datetime.now(UTC)
    try:
        async with database.begin() as sql:
            if not await sql.scalar(_ALONE):
                return 0
            tick = await _look(sql, known, at)
            changed = {
                topic: state
                for topic, state in tick.states.items()
                if known.states.get(topic) != state
            }
            frames = await write_states(sql, changed, known.ages, at) if changed else []
    except BaseException:
        # What boards read may have been taken back with the rest of the tick, or be read in part.
        known.boards.held.clear()
        raise
    _keep(known, tick, frames)
    _keep_moment(known, tick, moment)
    await _publish(redis, frames, at)
    return len(frames)


async def run_announcer(
    database: Database,
    redis: Redis,
    stop: asyncio.Event,
    *,
    public_url: str = "",
    tick_s: float = TICK_S,
) -> None:
    """Tick until ``stop``, at most once in ``tick_s`` seconds, backing off while something is broken.

    ``public_url`` is where shoppers find us: boards tell it.
    """
    known = Known(boards=BoardBooks(public_url))

    async def tick() -> float:
        [row] = await database.look(_MOMENT)
        if not known.is_done(moment := tuple(row)):
            await tick_once(database, redis, known, moment)
        elif time.monotonic() >= known.told_due:
            # Nothing is to be told but that somebody looked.
            await _publish(redis, (), datetime.now(UTC))
            known.told_due = time.monotonic() + TOLD_S
        return tick_s

    # Whatever fails, screens stand still meanwhile: it is said, and tried again soon.
    await go_round(tick, stop, failure="tick_failed", paced=True)


async def _look(sql: AsyncSession, known: Known, at: datetime) -> _Tick:
    """Return what everything that may have changed looks like now."""
    sealed = await _seal(sql)
    now = time.monotonic()
    rereads, sweeps = now >= known.reread_due, now >= known.sweep_due
    if rereads:
        await _reread(sql, known)
        known.reread_due = now + REREAD_S
    also = {scope.scope_id for scope in sealed}
    swept_to = None
    if sweeps:
        # Streams that are not live change seldom, but their goal, title or late refunds must show too.
        round_ = await next_streams(sql, known.swept_to)
        also |= set(round_)
        swept_to = round_[-1] if len(round_) == SWEEP_MAX else ""
        known.sweep_due = now + SWEEP_S
    streams = await stream_rows(sql, also)
    states = await stream_states(sql, streams, known.states, at)
    reading = None
    if sealed or rereads or not known.farmers.through:
        reading = await known.farmers.read_on(sql)
        states |= known.farmers.states(reading)
        if rereads and reading.through:
            states = await known.farmers.unsold_states(sql) | states
    sold = known.farmers.by_stream(reading)
    states |= await known.boards.states(sql, streams, sold, at, anew=sweeps)
    return _Tick(states, reading, swept_to, rereads)


async def _seal(sql: AsyncSession) -> list[SealedScope]:
    """Seal what was posted. A posting that no leaf may hold stops the totals, but not stock and status."""
    try:
        async with sql.begin_nested():
            return await seal_once(sql)
    except ValueError:
        log.exception("seal_refused")
        return []


async def _reread(sql: AsyncSession, known: Known) -> None:
    """Learn what somebody else published: at the start everything, later what another announcer did."""
    topics = await differing_topics(sql, known.ages)
    rows = await read_states(sql, topics)
    for topic in topics:
        if topic not in rows:
            known.states.pop(topic, None)
            continue
        age, _, known.states[topic] = rows[topic]
        known.ages[topic] = max(age, known.ages.get(topic, age))


def _keep(known: Known, tick: _Tick, frames: Sequence[Frame]) -> None:
    for frame in frames:
        known.states[frame.topic] = tick.states[frame.topic]
        known.ages[frame.topic] = frame.age
    if tick.reading is not None:
        known.farmers.keep(tick.reading)


def _keep_moment(known: Known, tick: _Tick, moment: Moment | None) -> None:
    """Remember at which moment what was looked through."""
    known.looked_at = moment
    if tick.reread:
        known.reread_at = moment
    if tick.swept_to is not None:
        if not known.swept_to:
            known.round_from = moment
        if not tick.swept_to and known.round_from == moment:
            known.swept_at = moment
        known.swept_to = tick.swept_to


async def _publish(redis: Redis, frames: Sequence[Frame], at: datetime) -> None:
    """Put the frames on the bus, and say that somebody looked."""
    await publish_frames(redis, frames, looked_at_ms=to_ms(at))


_MOMENT = f"""
SELECT {SNAPSHOT}, count(*) FILTER (WHERE starts_at <= now()), count(*) FILTER (WHERE ends_at <= now()),
       count(*) FILTER (WHERE ends_at <= now() - interval '1 hour')
FROM matches
"""
_ALONE = text("SELECT pg_try_advisory_xact_lock(hashtextextended('stream-events announcer', 0))")
