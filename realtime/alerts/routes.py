"""Alerts over HTTP: overlays say what they show, hosts skip, mute and panic, and set how their groups show alerts.

Whatever changes the screens is written and published here, in one short transaction under the desk's lock: a host in
need waits neither for the director's next tick nor for a worker that is down.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from sqlalchemy import ColumnElement, delete, select, text, true, update
from sqlalchemy.ext.asyncio import AsyncSession

from orders.requests import SmallRoute
from realtime.alerts.airing import CLEARED, ON_AIR, SKIPPED, end, mark_shown
from realtime.alerts.desks import groups_of, hold_desk
from realtime.alerts.intake import MAIN
from realtime.alerts.schemas import (
    AiringAnswer,
    First,
    Group,
    GroupPath,
    GroupQuery,
    Groups,
    GroupSettings,
    Muted,
    NewTest,
    Panic,
    Shown,
    Skip,
    Skipped,
    Switches,
    TestSent,
)
from realtime.alerts.states import publish_groups
from realtime.alerts.tables import Airing, AlertDesk, AlertGroup
from realtime.alerts.trying import queue_test
from realtime.alerts.waiting import forget_done
from realtime.bus import publish_frames
from realtime.frames import Frame
from stream_events.access import Caller, Role, allow
from stream_events.errors import Problem, not_found, problems
from stream_events.idempotency import IdempotencyKey, once
from stream_events.paging import Listing, Paged, read_page
from stream_events.requests import database_of, redis_of
from stream_events.schemas import StreamPath
from stream_events.streams import own_stream

PATH: Final = "/streams/{stream_id}"
GROUPS_MAX: Final = 10
ORDERS_PER_AIRING_MAX: Final = 50

router: Final = APIRouter(prefix="/v1", tags=["alerts"], route_class=SmallRoute)

Staff = Annotated[Caller, Depends(allow(Role.OPERATOR, Role.HOST))]
Screen = Annotated[Caller, Depends(allow(Role.OPERATOR, Role.HOST, Role.OVERLAY))]


@router.get(f"{PATH}/alert-groups", responses=problems(401, 403, 404, 422))
async def list_groups(request: Request, caller: Staff, stream_id: StreamPath) -> Groups:
    """List a stream's overlay groups as they are set; ``main`` is there by itself."""
    async with database_of(request).begin() as sql:
        await own_stream(sql, caller, stream_id)
        desk = await hold_desk(sql, stream_id)
        groups = await groups_of(sql, stream_id)
        return Groups(muted=desk.muted, panic=desk.panic, items=[_group(group) for group in groups])


@router.put(f"{PATH}/alert-groups/{{group}}", responses=problems(400, 401, 403, 404, 409, 413, 422))
async def set_group(
    request: Request, caller: Staff, stream_id: StreamPath, group: GroupPath, body: GroupSettings
) -> Group:
    """Set a group, made here if it is new. What waits keeps its place; sizes count for what is paid from now on."""
    at = datetime.now(UTC)
    async with database_of(request).begin() as sql:
        await own_stream(sql, caller, stream_id)
        desk = await hold_desk(sql, stream_id)
        found = {one.name: one for one in await groups_of(sql, stream_id)}
        if group not in found and len(found) >= GROUPS_MAX:
            raise Problem(409, "too_many_groups", f"A stream has at most {GROUPS_MAX} groups.")
        row = found.get(group) or AlertGroup(stream_id=stream_id, name=group, busy=True)
        for field, value in body.model_dump().items():
            setattr(row, field, value)
        sql.add(row)
        await sql.flush()
        frames = await publish_groups(sql, desk, [row], at)
        answer = _group(row)
    await _send(request, frames)
    return answer


@router.delete(
    f"{PATH}/alert-groups/{{group}}",
    status_code=204,
    response_class=Response,
    responses=problems(401, 403, 404, 409, 422),
)
async def delete_group(
    request: Request, caller: Staff, stream_id: StreamPath, group: GroupPath
) -> Response:
    """Take a group away with its queue; its screens go dark. What it showed stays in the list of airings."""
    database = database_of(request)
    async with database.begin() as sql:
        await own_stream(sql, caller, stream_id)
        if group == MAIN:
            raise Problem(409, "main_group", "Every stream keeps its group main.")
        if await sql.get(AlertGroup, (stream_id, group)) is None:
            raise not_found("group")
    await forget_done(database, stream_id, group)
    at = datetime.now(UTC)
    async with database.begin() as sql:
        desk = await hold_desk(sql, stream_id)
        row = await sql.get(AlertGroup, (stream_id, group))
        if row is None:
            raise not_found("group")
        await _clear(sql, stream_id, at, Airing.group_name == group)
        await sql.execute(
            delete(AlertGroup).where(AlertGroup.stream_id == stream_id, AlertGroup.name == group)
        )
        frames = await publish_groups(sql, desk, [row], at)
        sql.expunge(row)
    await _send(request, frames)
    return Response(status_code=204)


@router.post(f"{PATH}/alerts/{{group}}/shown", responses=problems(400, 401, 403, 404, 413, 422))
async def say_shown(
    request: Request, caller: Screen, stream_id: StreamPath, group: GroupPath, body: Shown
) -> First:
    """Say that an overlay shows an airing. The first to say so makes it shown, for ever; saying it again is harmless."""
    at = datetime.now(UTC)
    async with database_of(request).begin() as sql:
        await own_stream(sql, caller, stream_id)
        desk, row, airing = await _find(sql, stream_id, group, body.airing)
        first = await mark_shown(sql, airing, at)
        frames = await publish_groups(sql, desk, [row], at, recount=False) if first else []
    await _send(request, frames)
    return First(first=first)


@router.post(f"{PATH}/alerts/{{group}}/skip", responses=problems(400, 401, 403, 404, 413, 422))
async def skip(
    request: Request, caller: Staff, stream_id: StreamPath, group: GroupPath, body: Skip
) -> Skipped:
    """End an airing now; the next one follows. It counts as shown and does not come back."""
    at = datetime.now(UTC)
    async with database_of(request).begin() as sql:
        await own_stream(sql, caller, stream_id)
        desk, row, airing = await _find(sql, stream_id, group, body.airing)
        skipped = await end(sql, airing.id, SKIPPED, at)
        frames = await publish_groups(sql, desk, [row], at, recount=False) if skipped else []
    await _send(request, frames)
    return Skipped(skipped=skipped)


@router.put(f"{PATH}/alerts/muted", responses=problems(400, 401, 403, 404, 413, 422))
async def mute(request: Request, caller: Staff, stream_id: StreamPath, body: Muted) -> Switches:
    """Let nothing go on air, or let it again. What waits meanwhile is dropped when it is too old."""
    async with database_of(request).begin() as sql:
        await own_stream(sql, caller, stream_id)
        desk = await hold_desk(sql, stream_id)
        desk.muted = body.muted
        frames, switches = await _switched(sql, desk, datetime.now(UTC))
    await _send(request, frames)
    return switches


@router.put(f"{PATH}/alerts/panic", responses=problems(400, 401, 403, 404, 413, 422))
async def panic(request: Request, caller: Staff, stream_id: StreamPath, body: Panic) -> Switches:
    """Take everything but the totals off all screens of a stream at once, or go on. What was on air does not come back."""
    at = datetime.now(UTC)
    async with database_of(request).begin() as sql:
        await own_stream(sql, caller, stream_id)
        desk = await hold_desk(sql, stream_id)
        desk.panic = body.panic
        if body.panic:
            await _clear(sql, stream_id, at, true())
        frames, switches = await _switched(sql, desk, at)
    await _send(request, frames)
    return switches


@router.post(
    f"{PATH}/alerts/test",
    status_code=201,
    response_model=TestSent,
    responses=problems(400, 401, 403, 404, 413, 422),
)
async def send_test(
    request: Request, caller: Staff, stream_id: StreamPath, key: IdempotencyKey, body: NewTest
) -> Response:
    """Queue a test alert. It waits for its turn like any other and says of itself that it is a test."""
    async with database_of(request).begin() as sql:
        turn = await once(sql, request, caller, key, body)
        if turn.replay is not None:
            return turn.replay
        stream = await own_stream(sql, caller, stream_id)
        await hold_desk(sql, stream_id)
        groups = [
            group for group in await groups_of(sql, stream_id) if body.group in {None, group.name}
        ]
        if not groups:
            raise not_found("group")
        await queue_test(sql, stream, groups, body, datetime.now(UTC))
        return await turn.answer(201, TestSent(groups=[group.name for group in groups]))


@router.get(f"{PATH}/airings", responses=problems(401, 403, 404, 422))
async def list_airings(
    request: Request,
    caller: Staff,
    stream_id: StreamPath,
    page: Paged,
    group: GroupQuery = None,
) -> Listing[AiringAnswer]:
    """List what was on air, newest first, and how long it took from the payment to the first screen."""
    wanted = select(Airing).where(Airing.stream_id == stream_id)
    if group is not None:
        wanted = wanted.where(Airing.group_name == group)
    async with database_of(request).begin() as sql:
        await own_stream(sql, caller, stream_id)
        rows, following = await read_page(sql, wanted, Airing.id, page)
        asked = {"ids": [row.id for row in rows], "orders_max": ORDERS_PER_AIRING_MAX}
        orders: dict[str, list[str]] = {row.id: [] for row in rows}
        for row in await sql.execute(_ORDERS, asked):
            orders[row.airing_id].append(row.order_id)
    items = [_airing(row, orders[row.id]) for row in rows]
    return Listing(items=items, next=following)


async def _find(
    sql: AsyncSession, stream_id: str, group: str, airing_id: str
) -> tuple[AlertDesk, AlertGroup, Airing]:
    """Return an airing of a group under the desk's lock; 404 for one of another stream or group."""
    desk = await hold_desk(sql, stream_id)
    row = await sql.get(AlertGroup, (stream_id, group))
    airing = await sql.get(Airing, airing_id)
    if row is None or airing is None or (airing.stream_id, airing.group_name) != (stream_id, group):
        raise not_found("airing")
    return desk, row, airing


async def _clear(
    sql: AsyncSession, stream_id: str, at: datetime, which: ColumnElement[bool]
) -> None:
    await sql.execute(
        update(Airing)
        .where(Airing.stream_id == stream_id, Airing.outcome == ON_AIR, which)
        .values(outcome=CLEARED, ended_at=at)
    )


async def _switched(
    sql: AsyncSession, desk: AlertDesk, at: datetime
) -> tuple[list[Frame], Switches]:
    await sql.flush()
    groups = await groups_of(sql, desk.stream_id)
    # How many wait has no hurry: the director counts again within a second.
    frames = await publish_groups(sql, desk, groups, at, recount=False)
    return frames, Switches(muted=desk.muted, panic=desk.panic)


async def _send(request: Request, frames: Sequence[Frame]) -> None:
    if frames:
        await publish_frames(redis_of(request), frames)


def _group(row: AlertGroup) -> Group:
    return Group(**{field: getattr(row, field) for field in Group.model_fields})


def _airing(row: Airing, order_ids: Sequence[str]) -> AiringAnswer:
    fields = {name: getattr(row, name) for name in AiringAnswer.model_fields if hasattr(row, name)}
    return AiringAnswer(**fields, group_name=row.group_name, order_ids=list(order_ids))


_ORDERS = text("""
SELECT r.id AS airing_id, o.order_id
FROM unnest(CAST(:ids AS text[])) AS r (id)
CROSS JOIN LATERAL (
    SELECT a.order_id FROM alert_turns t JOIN alerts a ON a.id = t.alert_id
    WHERE t.airing_id = r.id AND a.order_id IS NOT NULL
    ORDER BY t.alert_id DESC LIMIT :orders_max
) o
""")
