"""Rehearsals over HTTP: start one, look where it is, stop it.

It may run beside a live sale: it has topics of its own, which only staff and overlays may watch and only overlays that
were opened with ``?test=1`` do, and it writes nothing that an order, the books or a real screen is made of.
"""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from orders.requests import SmallRoute
from realtime.bus import publish_frames
from realtime.frames import Frame
from realtime.rehearsals.play import read_tonight, status_state, topic_of, topics_of
from realtime.rehearsals.player import PLAYING_MAX
from realtime.rehearsals.schemas import NewRehearsal, RehearsalAnswer
from realtime.topics import rfc3339, write_states
from stream_events.access import Caller, Role, allow
from stream_events.errors import Problem, problems
from stream_events.requests import database_of, redis_of
from stream_events.schemas import StreamPath
from stream_events.streams import illegal_state, own_stream

PATH: Final = "/streams/{stream_id}/rehearsal"
OVER: Final = frozenset({"ended", "settled"})
REHEARSAL_S_MAX: Final = 10_800
# What was ordered before the end is paid a little later, and belongs to the night.
PAID_LATE_S_MAX: Final = 900

router: Final = APIRouter(prefix="/v1", tags=["rehearsal"], route_class=SmallRoute)

Staff = Annotated[Caller, Depends(allow(Role.OPERATOR, Role.HOST))]


@router.get(PATH, responses=problems(401, 403, 404, 422))
async def read_rehearsal(request: Request, caller: Staff, stream_id: StreamPath) -> RehearsalAnswer:
    """Read what is being rehearsed and how far it is; without a rehearsal ``of_stream_id`` is null."""
    async with database_of(request).begin() as sql:
        await own_stream(sql, caller, stream_id)
        return await _answer(sql, stream_id)


@router.put(PATH, responses=problems(400, 401, 403, 404, 409, 413, 422))
async def start_rehearsal(
    request: Request, caller: Staff, stream_id: StreamPath, body: NewRehearsal
) -> RehearsalAnswer:
    """Play an earlier stream from its beginning, instead of whatever was rehearsed before.

    It is played for three hours at most. No money moves, and no real figure changes.
    """
    async with database_of(request).begin() as sql:
        await own_stream(sql, caller, stream_id, lock=True)
        earlier = await own_stream(sql, caller, body.of_stream_id)
        if earlier.state not in OVER:
            raise illegal_state(earlier, "Only a stream that has ended can be played again.")
        given: dict[str, Any] = {"stream": stream_id, "of": earlier.id}
        night = (await sql.execute(_NIGHT, {**given, "late_s": PAID_LATE_S_MAX})).one()
        if night.first_at is None or not night.same_currency:
            raise Problem(
                409,
                "nothing_to_rehearse",
                "That stream sold nothing, or in another currency than this one.",
            )
        if await sql.scalar(_OTHERS, given) >= PLAYING_MAX:
            raise Problem(409, "too_many_rehearsals", "Too many streams are rehearsing; wait.")
        span = {"from_at": night.from_at, "to_at": night.to_at, "s_max": REHEARSAL_S_MAX}
        await sql.execute(_START, {**given, **span, "speed": body.speed})
        await sql.execute(_CLEAR, {"topics": topics_of(stream_id)})
        return await _answer(sql, stream_id)


@router.delete(PATH, responses=problems(401, 403, 404, 422))
async def stop_rehearsal(request: Request, caller: Staff, stream_id: StreamPath) -> RehearsalAnswer:
    """Stop rehearsing: screens that watched say so and show nothing more. Stopping none is no mistake."""
    frames: list[Frame] = []
    async with database_of(request).begin() as sql:
        await own_stream(sql, caller, stream_id)
        if (await sql.execute(_STOP, {"stream": stream_id})).one_or_none() is not None:
            frames = await _say_over(sql, stream_id)
    await publish_frames(redis_of(request), frames)
    return RehearsalAnswer()


async def _say_over(sql: AsyncSession, stream_id: str) -> list[Frame]:
    """Leave of a rehearsal's topics only the status, which says that it is over, also to who missed the frame."""
    status = topic_of(stream_id, "status")
    row = (await read_tonight(sql, stream_id)).row
    at = (await sql.execute(text("SELECT clock_timestamp() AS now"))).one().now
    over = status_state(row, "ended", live_at=None, ended_at=rfc3339(at))
    frames = await write_states(sql, {status: over}, {}, at)
    silent = [topic for topic in topics_of(stream_id) if topic != status]
    await sql.execute(_CLEAR, {"topics": silent})
    return frames


async def _answer(sql: AsyncSession, stream_id: str) -> RehearsalAnswer:
    row = (await sql.execute(_READ, {"stream": stream_id})).one_or_none()
    if row is None:
        return RehearsalAnswer()
    return RehearsalAnswer(
        of_stream_id=row.of_stream_id,
        speed=row.speed,
        started_at=rfc3339(row.started_at),
        position_s=row.position_s,
        length_s=row.length_s,
        finished=row.finished_at is not None,
    )


_NIGHT = text("""
SELECT h.first_at, coalesce(s.live_at, h.first_at) AS from_at, own.currency = its.currency AS same_currency,
       greatest(
           coalesce(s.live_at, h.first_at),
           least(greatest(h.last_at, s.ended_at), s.ended_at + make_interval(secs => :late_s))
       ) AS to_at
FROM streams s
JOIN campaigns its ON its.id = s.campaign_id
JOIN streams mine ON mine.id = :stream JOIN campaigns own ON own.id = mine.campaign_id
CROSS JOIN (SELECT min(at) AS first_at, max(at) AS last_at FROM tally_history WHERE scope_id = :of) h
WHERE s.id = :of
""")
_OTHERS = text("SELECT count(*) FROM rehearsals WHERE finished_at IS NULL AND stream_id <> :stream")
_START = text("""
INSERT INTO rehearsals AS r (stream_id, of_stream_id, speed, started_at, from_at, to_at)
VALUES (:stream, :of, :speed, clock_timestamp(), :from_at,
        least(CAST(:to_at AS timestamptz),
              CAST(:from_at AS timestamptz) + make_interval(secs => :s_max) * CAST(:speed AS integer)))
ON CONFLICT (stream_id) DO UPDATE SET
    of_stream_id = excluded.of_stream_id, speed = excluded.speed, started_at = excluded.started_at,
    from_at = excluded.from_at, to_at = excluded.to_at, finished_at = NULL
""")
_STOP = text("DELETE FROM rehearsals WHERE stream_id = :stream RETURNING stream_id")
_CLEAR = text("DELETE FROM topics WHERE topic = ANY(CAST(:topics AS text[]))")
_READ = text("""
SELECT of_stream_id, speed, started_at, finished_at,
       CAST(floor(extract(epoch FROM to_at - from_at)) AS integer) AS length_s,
       CAST(floor(extract(epoch FROM least(to_at - from_at, (clock_timestamp() - started_at) * speed))) AS integer)
           AS position_s
FROM rehearsals WHERE stream_id = :stream
""")
