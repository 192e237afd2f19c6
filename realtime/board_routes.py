"""What a host puts up over HTTP: the pin, the timer, and where tonight begins.

Screens follow within a tick of the announcer, because each change bears a new revision. The clock that counts is
the database's: what a host's phone believes the time to be decides nothing.
"""

from datetime import timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from inventory.tables import Offer
from inventory.views import catalogue_of
from orders.ledger.tables import Tally
from orders.requests import SmallRoute, links_of
from realtime.board_schemas import BoardAnswer, BoardChange, FloorAnswer, NewTimer
from realtime.board_states import board_state, read_cards
from realtime.board_tables import Board
from realtime.boards import (
    FROM,
    NO_FLOOR,
    board_of,
    put_up,
    require_unsettled,
    take_down_timer,
)
from realtime.topics import rfc3339
from stream_events.access import Caller, Role, allow
from stream_events.errors import Problem, problems
from stream_events.requests import database_of
from stream_events.schemas import StreamPath
from stream_events.streams import illegal_state, own_stream
from stream_events.tables import Campaign, Stream

PATH: Final = "/streams/{stream_id}"

router: Final = APIRouter(prefix="/v1", tags=["board"], route_class=SmallRoute)

Staff = Annotated[Caller, Depends(allow(Role.OPERATOR, Role.HOST))]


@router.get(f"{PATH}/board", responses=problems(401, 403, 404, 422))
async def read_board(request: Request, caller: Staff, stream_id: StreamPath) -> BoardAnswer:
    """Read what is up, as screens will show it with the next tick."""
    async with database_of(request).begin() as sql:
        await own_stream(sql, caller, stream_id)
        return await _answer(sql, request, stream_id)


@router.patch(f"{PATH}/board", responses=problems(400, 401, 403, 404, 409, 413, 422))
async def change_board(
    request: Request, caller: Staff, stream_id: StreamPath, body: BoardChange
) -> BoardAnswer:
    """Pin a product, or with null none. Pinning is for screens: what may be bought does not change."""
    async with database_of(request).begin() as sql:
        stream = await own_stream(sql, caller, stream_id, lock=True)
        require_unsettled(stream)
        if body.pinned_sku is not None:
            offered = select(Offer.id).where(
                Offer.stream_id == stream_id, Offer.sku == body.pinned_sku
            )
            if await sql.scalar(offered) is None:
                raise Problem(
                    422, "unknown_sku", "This stream does not sell that.", sku=body.pinned_sku
                )
        await put_up(sql, stream_id, pinned_sku=body.pinned_sku)
        return await _answer(sql, request, stream_id)


@router.put(f"{PATH}/timer", responses=problems(400, 401, 403, 404, 409, 413, 422))
async def put_timer(
    request: Request, caller: Staff, stream_id: StreamPath, body: NewTimer
) -> BoardAnswer:
    """Count down: a scheduled stream goes live by itself when it ``opens``, a live one ends when it ``closes``.

    A second timer takes the place of the first. Orders before the opening are refused with its instant.
    """
    async with database_of(request).begin() as sql:
        stream = await own_stream(sql, caller, stream_id, lock=True)
        if stream.state != FROM[body.what]:
            raise illegal_state(
                stream, f"What {body.what} by a timer is a stream that is {FROM[body.what]}."
            )
        now = (await sql.execute(select(func.clock_timestamp()))).scalar_one()
        at = now + timedelta(seconds=body.in_s)
        if body.what == "opens":
            stream.opens_at = at
        await put_up(sql, stream_id, timer_what=body.what, timer_at=at)
        answer = await _answer(sql, request, stream_id)
    await catalogue_of(request).refresh()
    return answer


@router.delete(f"{PATH}/timer", responses=problems(401, 403, 404, 409, 422))
async def delete_timer(request: Request, caller: Staff, stream_id: StreamPath) -> BoardAnswer:
    """Stop counting down: nothing happens by itself any more."""
    async with database_of(request).begin() as sql:
        stream = await own_stream(sql, caller, stream_id, lock=True)
        require_unsettled(stream)
        await take_down_timer(sql, stream, await board_of(sql, stream_id))
        answer = await _answer(sql, request, stream_id)
    await catalogue_of(request).refresh()
    return answer


@router.put(f"{PATH}/floor", responses=problems(401, 403, 404, 409, 422))
async def put_floor(request: Request, caller: Staff, stream_id: StreamPath) -> BoardAnswer:
    """Let tonight begin now: its sums count what is sealed from here on. The stream's own tally stays whole."""
    async with database_of(request).begin() as sql:
        stream = await own_stream(sql, caller, stream_id, lock=True)
        if stream.state in {"draft", "settled"}:
            raise illegal_state(stream, f"A stream that is {stream.state} has no tonight.")
        seq = await sql.scalar(select(Tally.seq).where(Tally.scope_id == stream_id))
        await put_up(sql, stream_id, floor_seq=seq or 0, floor_at=func.clock_timestamp())
        return await _answer(sql, request, stream_id)


@router.delete(f"{PATH}/floor", responses=problems(401, 403, 404, 409, 422))
async def delete_floor(request: Request, caller: Staff, stream_id: StreamPath) -> BoardAnswer:
    """Let tonight be the whole stream again."""
    async with database_of(request).begin() as sql:
        require_unsettled(await own_stream(sql, caller, stream_id, lock=True))
        if (await board_of(sql, stream_id)).floor_at is not None:
            await put_up(sql, stream_id, **NO_FLOOR)
        return await _answer(sql, request, stream_id)


async def _answer(sql: AsyncSession, request: Request, stream_id: str) -> BoardAnswer:
    wanted = select(
        Stream.id,
        Stream.state,
        Campaign.currency,
        Board.pinned_sku,
        Board.timer_what,
        Board.timer_at,
        Board.floor_seq,
        Board.floor_at,
    )
    joined = wanted.join(Campaign, Campaign.id == Stream.campaign_id).outerjoin(
        Board, Board.stream_id == Stream.id
    )
    await sql.flush()
    row = (await sql.execute(joined.where(Stream.id == stream_id))).one()
    cards = (await read_cards(sql, [stream_id])).get(stream_id, [])
    floor_at = rfc3339(row.floor_at)
    return BoardAnswer.model_validate(
        {
            **board_state(row, cards, links_of(request).public_url),
            "floor": FloorAnswer(seq=row.floor_seq, at=floor_at) if floor_at else None,
        }
    )
