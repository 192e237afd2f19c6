"""The steps of a stream's life that goods have a say in: nothing goes live empty, nothing is settled half paid."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from inventory import rebuild
from inventory.tables import Stock
from inventory.views import catalogue_of
from stream_events.access import Caller, Role, allow
from stream_events.errors import Problem, problems
from stream_events.requests import database_of
from stream_events.schemas import NextState, StreamAnswer, StreamPath
from stream_events.streams import own_stream, step, stream_answer
from stream_events.tables import Stream

router: Final = APIRouter(prefix="/streams/{stream_id}", tags=["streams"])

Staff = Annotated[Caller, Depends(allow(Role.OPERATOR, Role.HOST))]


async def take_step(sql: AsyncSession, stream: Stream, to: str) -> None:
    """Take a locked stream one step further, if its goods allow it; raises ``Problem`` 409.

    Live needs an offer. Settled needs every unit paid or given back, and shuts the gate for good by an epoch that is
    never installed: an order that was admitted a moment before the end then fails the guard.
    """
    await step(sql, stream, to)
    if to == "live":
        offers = select(func.count()).select_from(Stock).where(Stock.stream_id == stream.id)
        if not (await sql.execute(offers)).scalar_one():
            raise Problem(409, "nothing_on_offer", "A stream goes live with at least one offer.")
    if to == "settled":
        await rebuild.mark_stale(sql, stream.id)
        held = select(func.coalesce(func.sum(Stock.reserved), 0)).where(
            Stock.stream_id == stream.id
        )
        reserved = int((await sql.execute(held)).scalar_one())
        if reserved:
            raise Problem(
                409,
                "units_still_reserved",
                "Some orders are neither paid nor given back yet; settle when they are.",
                reserved=reserved,
            )


@router.post("/state", responses=problems(400, 401, 403, 404, 409, 413, 422))
async def change_state(
    request: Request, caller: Staff, stream_id: StreamPath, body: NextState
) -> StreamAnswer:
    """Take a stream one step further: draft → scheduled → live → ended → settled."""
    async with database_of(request).begin() as sql:
        stream = await own_stream(sql, caller, stream_id, lock=True)
        await take_step(sql, stream, body.state)
        answer = await stream_answer(sql, stream)
    await catalogue_of(request).refresh()
    return answer
