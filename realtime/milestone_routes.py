"""Milestones over HTTP. When one is reached, the announcer says, from the sealed tally and once for ever.

Only a host who moves the threshold above what has come together unsays it.
"""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from orders.ledger.tables import Tally
from orders.requests import SmallRoute
from realtime.board_schemas import (
    Ladder,
    MilestoneAnswer,
    MilestoneChange,
    MilestonePath,
    NewMilestone,
)
from realtime.board_states import MILESTONES_MAX, counted, read_steps, step_state
from realtime.board_tables import Milestone
from realtime.boards import put_up, require_unsettled
from stream_events.access import Caller, Role, allow
from stream_events.errors import Problem, not_found, problems
from stream_events.idempotency import IdempotencyKey, once
from stream_events.ids import new_id
from stream_events.requests import database_of
from stream_events.schemas import StreamPath
from stream_events.streams import own_stream

PATH: Final = "/streams/{stream_id}/milestones"
ONE: Final = PATH + "/{milestone_id}"

router: Final = APIRouter(prefix="/v1", tags=["board"], route_class=SmallRoute)

Staff = Annotated[Caller, Depends(allow(Role.OPERATOR, Role.HOST))]


@router.get(PATH, responses=problems(401, 403, 404, 422))
async def list_milestones(request: Request, caller: Staff, stream_id: StreamPath) -> Ladder:
    """List a stream's milestones from the lowest up, and how far each is."""
    async with database_of(request).begin() as sql:
        await own_stream(sql, caller, stream_id)
        tally = await _tally(sql, stream_id)
        steps = (await read_steps(sql, [stream_id])).get(stream_id, [])
    return Ladder(items=[_answer(step, tally) for step in steps])


@router.post(
    PATH,
    status_code=201,
    response_model=MilestoneAnswer,
    responses=problems(400, 401, 403, 404, 409, 413, 422),
)
async def create_milestone(
    request: Request,
    caller: Staff,
    stream_id: StreamPath,
    key: IdempotencyKey,
    body: NewMilestone,
) -> Response:
    """Set a milestone. One that is reached already is so at once."""
    async with database_of(request).begin() as sql:
        turn = await once(sql, request, caller, key, body)
        if turn.replay is not None:
            return turn.replay
        require_unsettled(await own_stream(sql, caller, stream_id, lock=True))
        held = select(func.count()).select_from(Milestone)
        set_ = (await sql.execute(held.where(Milestone.stream_id == stream_id))).scalar_one()
        if set_ >= MILESTONES_MAX:
            raise Problem(
                409, "too_many_milestones", f"A stream has at most {MILESTONES_MAX} milestones."
            )
        step = Milestone(id=new_id("mst"), stream_id=stream_id, **body.model_dump())
        sql.add(step)
        await sql.flush()
        await put_up(sql, stream_id)
        return await turn.answer(201, _answer(step, await _tally(sql, stream_id)))


@router.patch(ONE, responses=problems(400, 401, 403, 404, 409, 413, 422))
async def change_milestone(
    request: Request,
    caller: Staff,
    stream_id: StreamPath,
    milestone_id: MilestonePath,
    body: MilestoneChange,
) -> MilestoneAnswer:
    """Change a milestone. Whether it is reached is judged anew where what it counts or its threshold changes."""
    wanted = select(Milestone).where(Milestone.id == milestone_id, Milestone.stream_id == stream_id)
    async with database_of(request).begin() as sql:
        require_unsettled(await own_stream(sql, caller, stream_id, lock=True))
        step = await sql.scalar(wanted.with_for_update(key_share=True))
        if step is None:
            raise not_found("milestone")
        before = step.counts, step.threshold
        for field, value in body.model_dump(exclude_unset=True).items():
            setattr(step, field, value)
        tally = await _tally(sql, stream_id)
        moved = (step.counts, step.threshold) != before
        if moved and counted(tally, step.counts) < step.threshold:
            step.reached_at = None
        await sql.flush()
        await put_up(sql, stream_id)
        return _answer(step, tally)


@router.delete(ONE, status_code=204, responses=problems(401, 403, 404, 409, 422))
async def delete_milestone(
    request: Request, caller: Staff, stream_id: StreamPath, milestone_id: MilestonePath
) -> None:
    """Take a milestone away."""
    taken = delete(Milestone).where(Milestone.id == milestone_id, Milestone.stream_id == stream_id)
    async with database_of(request).begin() as sql:
        require_unsettled(await own_stream(sql, caller, stream_id, lock=True))
        if await sql.scalar(taken.returning(Milestone.id)) is None:
            raise not_found("milestone")
        await put_up(sql, stream_id)


async def _tally(sql: AsyncSession, stream_id: str) -> Tally:
    """Return what came together so far: nothing is a tally too."""
    return await sql.get(Tally, stream_id) or Tally(raised_minor=0, units=0)


def _answer(step: Any, tally: Tally) -> MilestoneAnswer:
    return MilestoneAnswer.model_validate(
        step_state(step, counted(tally, step.counts), step.reached_at)
    )
