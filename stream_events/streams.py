"""Streams: whose they are, how they are changed, and the one way through their life.

draft → scheduled → live → ended → settled, one step at a time and never back: a stream that came back to life would
sell on terms its shoppers never saw. The route that takes a step lives with the goods (``inventory.sale_life``),
because only they can tell whether there is something to sell, or something still unpaid.
"""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from stream_events.access import Caller, Role, allow
from stream_events.errors import Problem, not_found, problems
from stream_events.ids import new_id
from stream_events.paging import Listing, Paged, read_page
from stream_events.requests import database_of
from stream_events.schemas import (
    HostName,
    NewStream,
    StreamAnswer,
    StreamChange,
    StreamPath,
    StreamState,
    id_pattern,
)
from stream_events.tables import Campaign, Host, Stream

router: Final = APIRouter(prefix="/streams", tags=["streams"])

Anybody = Annotated[Caller, Depends(allow(Role.PUBLIC))]
Operator = Annotated[Caller, Depends(allow(Role.OPERATOR))]
Staff = Annotated[Caller, Depends(allow(Role.OPERATOR, Role.HOST))]
StaffOrOverlay = Annotated[Caller, Depends(allow(Role.OPERATOR, Role.HOST, Role.OVERLAY))]

NEXT: Final = MappingProxyType(
    {
        "draft": "scheduled",
        "scheduled": "live",
        "live": "ended",
        "ended": "settled",
        "settled": None,
    }
)


def may_see(caller: Caller, stream: Stream) -> bool:
    """Whether a stream is the caller's own to see: operators see all, hosts and those of a stream theirs."""
    if caller.role is Role.HOST:
        return stream.host_id == caller.host_id
    if caller.role in (Role.OVERLAY, Role.MODERATOR):
        return stream.id == caller.stream_id
    return caller.role is Role.OPERATOR


async def own_stream(
    sql: AsyncSession, caller: Caller, stream_id: str, *, lock: bool = False
) -> Stream:
    """Return a stream that is the caller's to see; raises ``Problem`` 404 for all others alike.

    With ``lock`` its row is locked first of all (before stock and gate), so that changes of one stream queue up.
    """
    statement = select(Stream).where(Stream.id == stream_id)
    if lock:
        statement = statement.with_for_update(key_share=True)
    stream = (await sql.execute(statement)).scalar_one_or_none()
    if stream is None or not may_see(caller, stream):
        raise not_found("stream")
    return stream


def illegal_state(stream: Stream, detail: str) -> Problem:
    """Refuse what the stream's state does not allow, naming the state and the one that may follow it."""
    return Problem(409, "illegal_state", detail, state=stream.state, next=NEXT[stream.state])


async def step(sql: AsyncSession, stream: Stream, to: str) -> None:
    """Take a stream one step further by compare-and-set; raises ``Problem`` 409 ``illegal_state``."""
    if NEXT[stream.state] != to:
        raise illegal_state(stream, f"A stream that is {stream.state} cannot become {to}.")
    reached_at = {"live": {"live_at": func.now()}, "ended": {"ended_at": func.now()}}.get(to, {})
    stepped = await sql.execute(
        update(Stream)
        .where(Stream.id == stream.id, Stream.state == stream.state)
        .values(state=to, **reached_at)
        .returning(Stream.id)
    )
    if stepped.scalar_one_or_none() is None:
        raise illegal_state(stream, "The stream has moved on meanwhile; look again.")
    await sql.refresh(stream)


async def stream_answers(sql: AsyncSession, streams: Sequence[Stream]) -> list[StreamAnswer]:
    """Return streams as they go over the wire, with their hosts' names."""
    hosts = await sql.execute(
        select(Host).where(Host.id.in_({stream.host_id for stream in streams}))
    )
    by_id = {host.id: HostName.model_validate(host) for host in hosts.scalars()}
    return [
        StreamAnswer(
            host=by_id[stream.host_id],
            **{
                field: getattr(stream, field)
                for field in StreamAnswer.model_fields
                if field != "host"
            },
        )
        for stream in streams
    ]


async def stream_answer(sql: AsyncSession, stream: Stream) -> StreamAnswer:
    """Return one stream as it goes over the wire."""
    return (await stream_answers(sql, [stream]))[0]


@router.post("", status_code=201, responses=problems(400, 401, 403, 413, 422))
async def create_stream(request: Request, _caller: Operator, body: NewStream) -> StreamAnswer:
    """Make a stream for a host, as a draft."""
    async with database_of(request).begin() as sql:
        if await sql.get(Campaign, body.campaign_id) is None:
            raise Problem(
                422, "unknown_reference", "There is no such campaign.", field="campaign_id"
            )
        if await sql.get(Host, body.host_id) is None:
            raise Problem(422, "unknown_reference", "There is no such host.", field="host_id")
        stream = Stream(id=new_id("str"), state="draft", **body.model_dump())
        sql.add(stream)
        await sql.flush()
        return await stream_answer(sql, stream)


@router.get("", responses=problems(401, 403, 422))
async def list_streams(
    request: Request,
    caller: Anybody,
    page: Paged,
    campaign_id: Annotated[str | None, Query(pattern=id_pattern("cmp"))] = None,
    state: Annotated[StreamState | None, Query()] = None,
) -> Listing[StreamAnswer]:
    """List streams, newest first: operators see all, hosts their own, everybody else those past the draft."""
    statement = select(Stream)
    if caller.role is Role.HOST:
        statement = statement.where(Stream.host_id == caller.host_id)
    elif caller.role is not Role.OPERATOR:
        statement = statement.where(Stream.state != "draft")
    if campaign_id is not None:
        statement = statement.where(Stream.campaign_id == campaign_id)
    if state is not None:
        statement = statement.where(Stream.state == state)
    async with database_of(request).begin() as sql:
        rows, following = await read_page(sql, statement, Stream.id, page)
        return Listing(items=await stream_answers(sql, rows), next=following)


@router.get("/{stream_id}", responses=problems(401, 403, 404, 422))
async def get_stream(
    request: Request, caller: StaffOrOverlay, stream_id: StreamPath
) -> StreamAnswer:
    """Read one stream. The public reads its storefront instead."""
    async with database_of(request).begin() as sql:
        return await stream_answer(sql, await own_stream(sql, caller, stream_id))


@router.patch("/{stream_id}", responses=problems(400, 401, 403, 404, 409, 413, 422))
async def change_stream(
    request: Request, caller: Staff, stream_id: StreamPath, body: StreamChange
) -> StreamAnswer:
    """Change titles, goal or opening time of a stream that is not settled."""
    changes = body.model_dump(exclude_unset=True)
    async with database_of(request).begin() as sql:
        stream = await own_stream(sql, caller, stream_id, lock=True)
        if stream.state == "settled":
            raise illegal_state(stream, "A settled stream stays as it is.")
        for field, value in changes.items():
            setattr(stream, field, value)
        await sql.flush()
        return await stream_answer(sql, stream)
