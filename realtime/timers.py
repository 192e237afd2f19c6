"""Streams that open and close by themselves, at the very moment that screens count down to.

A timer is a row, so that it outlives whoever set it: a worker that starts late takes the step late, but takes it. It
is set at least ten seconds ahead and looked for every second, so the one that is due next is always known in time.
"""

import asyncio
from typing import Final

import structlog
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from inventory.offers import Catalogue
from inventory.sale_life import take_step
from realtime.board_tables import Board
from realtime.boards import NO_TIMER, TO, put_up, take_down_timer
from stream_events.database import Database
from stream_events.errors import Problem
from stream_events.loops import go_round
from stream_events.tables import Stream

log = structlog.get_logger(__name__)

LOOK_S: Final = 1.0
DUE_MAX: Final = 50
BACKOFF_S: Final = 0.1


async def run_timers(database: Database, catalogue: Catalogue, stop: asyncio.Event) -> None:
    """Take the steps that timers ask for until ``stop``. What is broken is tried again a moment later."""

    async def step() -> float:
        return await step_due(database, catalogue)

    await go_round(step, stop, failure="timers_stand_still", backoff_s_max=BACKOFF_S)


async def step_due(database: Database, catalogue: Catalogue) -> float:
    """Take every step that is due, each in a transaction of its own; return how long to wait for the next."""
    rows = await database.look(_NEXT, DUE_MAX)
    due = [row["stream_id"] for row in rows if row["in_s"] <= 0]
    if not due:
        return min(LOOK_S, *(row["in_s"] for row in rows)) if rows else LOOK_S
    stepped = [await _try(database, stream_id) for stream_id in due]
    # Our own view; every other process reads its own anew within its quarter of a second.
    await catalogue.refresh()
    return 0.0 if all(stepped) else BACKOFF_S


async def _try(database: Database, stream_id: str) -> bool:
    """Take one stream's step; whatever is wrong with one must not keep the others waiting."""
    try:
        async with database.begin() as sql:
            await _step(sql, stream_id)
    except DBAPIError as error:
        log.warning("timer_put_off", stream_id=stream_id, error=type(error.orig).__name__)
        return False
    except Exception:
        log.exception("timer_failed", stream_id=stream_id)
        return False
    return True


async def _step(sql: AsyncSession, stream_id: str) -> None:
    """Take a stream where its timer says, if that is still due, and take the timer down with it.

    The stream is locked first, as by everybody who changes it; what the timer says then is what counts, so one
    that was moved or taken away meanwhile has its way.
    """
    locked = select(Stream).where(Stream.id == stream_id).with_for_update(key_share=True)
    stream = (await sql.execute(locked)).scalar_one()
    still_due = select(Board).where(
        Board.stream_id == stream_id, Board.timer_at <= func.clock_timestamp()
    )
    board = (await sql.execute(still_due)).scalar_one_or_none()
    if board is None or board.timer_what is None:
        return
    told = {"stream_id": stream_id, "timer": board.timer_what}
    try:
        async with sql.begin_nested():
            await take_step(sql, stream, TO[board.timer_what])
    except Problem as problem:
        # Nothing is on offer, or somebody took the step by hand.
        await sql.refresh(stream)
        await take_down_timer(sql, stream, board)
        log.warning("timer_without_effect", code=problem.code, **told)
        return
    await put_up(sql, stream_id, **NO_TIMER)
    log.info("timer_took_step", state=stream.state, **told)


_NEXT = """
SELECT stream_id, CAST(extract(epoch FROM timer_at - clock_timestamp()) AS double precision) AS in_s FROM boards
WHERE timer_at IS NOT NULL ORDER BY timer_at LIMIT $1
"""
