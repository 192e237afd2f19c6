"""What a host puts up, written: each change under a new revision, so that whoever read the last one need not read again.

The caller holds the stream's row, so that changes of one board queue up behind each other and behind its steps.
"""

from typing import Any, Final

from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from realtime.board_tables import Board
from stream_events.streams import illegal_state
from stream_events.tables import Stream

NO_TIMER: Final = {"timer_what": None, "timer_at": None}
NO_FLOOR: Final = {"floor_seq": None, "floor_at": None}

# The state a stream must be in for its timer, and the one the timer takes it to.
FROM: Final = {"opens": "scheduled", "closes": "live"}
TO: Final = {"opens": "live", "closes": "ended"}


async def put_up(sql: AsyncSession, stream_id: str, **changes: Any) -> None:
    """Change a stream's board, which is made with its first change; without ``changes`` only say that it changed."""
    row = insert(Board).values(stream_id=stream_id, **changes)
    grown = {"revision": Board.revision + 1, "changed_at": func.now()}
    await sql.execute(
        row.on_conflict_do_update(index_elements=[Board.stream_id], set_={**grown, **changes})
    )


async def board_of(sql: AsyncSession, stream_id: str) -> Board:
    """Return a stream's board; one that has none has put up nothing."""
    found = await sql.get(Board, stream_id, populate_existing=True)
    return found or Board(stream_id=stream_id)


def require_unsettled(stream: Stream) -> None:
    """Refuse to change what is over and done with; raises ``Problem`` 409."""
    if stream.state == "settled":
        raise illegal_state(stream, "A settled stream stays as it is.")


async def take_down_timer(sql: AsyncSession, stream: Stream, board: Board) -> None:
    """Let nothing happen by itself any more; an opening that only the timer named is no longer promised either."""
    if board.timer_at is None:
        return
    if timer_counts(stream.state, board.timer_what) and stream.opens_at == board.timer_at:
        stream.opens_at = None
        await sql.flush()
    await put_up(sql, stream.id, **NO_TIMER)


def timer_counts(state: str, what: str | None) -> bool:
    """Whether a timer still has something to do: a stream that was opened by hand has no countdown to its opening."""
    return what is not None and FROM[what] == state


def shop_url(public_url: str, stream_id: str) -> str:
    """Return the address of a stream's shop."""
    return f"{public_url}/shop/{stream_id}"
