"""Who may call, over HTTP: inviting principals, giving, replacing and revoking their keys, and making shoppers.

A key is shown once, when it is made. Whoever lost one gets another; whoever leaked one replaces it, and decides how
long the old one goes on working, so that an overlay on air need not go dark.
"""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy import Select, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from stream_events import rate
from stream_events.access import (
    Caller,
    Role,
    add_key,
    allow,
    create_principal,
    new_shopper,
    retire_keys,
    revoke_keys,
)
from stream_events.errors import Problem, not_found, problems
from stream_events.paging import Listing, Paged, read_page
from stream_events.requests import database_of, limits_of, redis_of, signer_of
from stream_events.schemas import (
    FreshKey,
    Invited,
    Me,
    NewKey,
    NewPrincipal,
    PrincipalAnswer,
    PrincipalPath,
    Shopper,
    StaffRole,
    id_pattern,
)
from stream_events.tables import Farmer, Host, Principal, Stream

router: Final = APIRouter(tags=["access"])

Inviter = Annotated[Caller, Depends(allow(Role.OPERATOR, Role.HOST))]
KeyHolder = Annotated[Caller, Depends(allow(Role.OPERATOR, Role.HOST, Role.FARMER))]
Known = Annotated[
    Caller,
    Depends(
        allow(Role.OPERATOR, Role.HOST, Role.FARMER, Role.OVERLAY, Role.MODERATOR, Role.SHOPPER)
    ),
]
Anybody = Annotated[Caller, Depends(allow(Role.PUBLIC))]

MINUTE_MS: Final = 60_000
# Whom hosts invite for their streams, and whose keys they replace and revoke.
OF_A_STREAM: Final = (Role.OVERLAY, Role.MODERATOR)


def _within_reach(caller: Caller) -> Select[Principal]:
    """Select the principals a caller may deal with: operators all; a host itself and those of its streams."""
    everybody = select(Principal)
    if caller.role is Role.OPERATOR:
        return everybody
    own_streams = select(Stream.id).where(Stream.host_id == caller.host_id)
    of_own_stream = Principal.role.in_(OF_A_STREAM) & Principal.stream_id.in_(own_streams)
    if caller.role is Role.HOST:
        return everybody.where(or_(Principal.id == caller.id, of_own_stream))
    return everybody.where(Principal.id == caller.id)


async def _reach(sql: AsyncSession, caller: Caller, principal_id: str) -> Principal:
    """Return a principal the caller may deal with, its row locked so that two changes of it do not cross."""
    statement = _within_reach(caller).where(Principal.id == principal_id)
    found = (await sql.execute(statement.with_for_update(key_share=True))).scalar_one_or_none()
    if found is None:
        raise not_found("principal")
    return found


def _not_oneself(caller: Caller, principal_id: str) -> None:
    if caller.id == principal_id:
        raise Problem(
            409,
            "own_credential",
            "You would lock yourself out; replace your key with a new one instead.",
        )


async def _require_belongings(sql: AsyncSession, caller: Caller, body: NewPrincipal) -> None:
    """Refuse an invitation for a host, farmer or stream that does not exist, or is not the inviter's."""
    if body.host_id is not None and await sql.get(Host, body.host_id) is None:
        raise Problem(422, "unknown_reference", "There is no such host.", field="host_id")
    if body.farmer_id is not None and await sql.get(Farmer, body.farmer_id) is None:
        raise Problem(422, "unknown_reference", "There is no such farmer.", field="farmer_id")
    if body.stream_id is not None:
        stream = await sql.get(Stream, body.stream_id)
        if stream is None or (caller.role is Role.HOST and stream.host_id != caller.host_id):
            raise Problem(422, "unknown_reference", "There is no such stream.", field="stream_id")


@router.post("/principals", status_code=201, responses=problems(400, 401, 403, 413, 422))
async def invite(request: Request, caller: Inviter, body: NewPrincipal) -> Invited:
    """Invite somebody; the answer holds the key, which is shown only now. Hosts invite for their streams."""
    role = Role(body.role)
    if caller.role is not Role.OPERATOR and role not in OF_A_STREAM:
        raise Problem(403, "forbidden", "Hosts may invite overlays and moderators only.")
    async with database_of(request).begin() as sql:
        await _require_belongings(sql, caller, body)
        principal_id, key = await create_principal(
            sql,
            role,
            body.name,
            host_id=body.host_id,
            farmer_id=body.farmer_id,
            stream_id=body.stream_id,
        )
        principal = PrincipalAnswer.model_validate(await sql.get_one(Principal, principal_id))
    return Invited(**dict(principal), key=key)


@router.get("/principals", responses=problems(401, 403, 422))
async def list_principals(
    request: Request,
    caller: Inviter,
    page: Paged,
    role: Annotated[StaffRole | None, Query()] = None,
    stream_id: Annotated[str | None, Query(pattern=id_pattern("str"))] = None,
) -> Listing[PrincipalAnswer]:
    """List principals, newest first; hosts see themselves, and the overlays and moderators of their streams."""
    statement = _within_reach(caller)
    if role is not None:
        statement = statement.where(Principal.role == role)
    if stream_id is not None:
        statement = statement.where(Principal.stream_id == stream_id)
    async with database_of(request).begin() as sql:
        rows, following = await read_page(sql, statement, Principal.id, page)
    return Listing(items=[PrincipalAnswer.model_validate(row) for row in rows], next=following)


@router.post(
    "/principals/{principal_id}/keys",
    status_code=201,
    responses=problems(400, 401, 403, 404, 409, 413, 422),
)
async def replace_key(
    request: Request, caller: KeyHolder, principal_id: PrincipalPath, body: NewKey | None = None
) -> FreshKey:
    """Give a new key and let the old ones end: at once, or after ``retire_old_after_s``."""
    async with database_of(request).begin() as sql:
        principal = await _reach(sql, caller, principal_id)
        if principal.disabled_at is not None:
            raise Problem(409, "principal_disabled", "This principal is disabled and gets no key.")
        await retire_keys(sql, principal_id, body.retire_old_after_s if body else 0)
        key = await add_key(sql, principal_id, principal.role)
    return FreshKey(principal_id=principal_id, key=key)


@router.delete(
    "/principals/{principal_id}/keys", status_code=204, responses=problems(401, 403, 404, 409, 422)
)
async def revoke_all_keys(request: Request, caller: Inviter, principal_id: PrincipalPath) -> None:
    """Revoke every key of a principal at once."""
    _not_oneself(caller, principal_id)
    async with database_of(request).begin() as sql:
        await _reach(sql, caller, principal_id)
        await revoke_keys(sql, principal_id)


@router.delete(
    "/principals/{principal_id}", status_code=204, responses=problems(401, 403, 404, 409, 422)
)
async def disable(request: Request, caller: Inviter, principal_id: PrincipalPath) -> None:
    """Disable a principal and revoke its keys, for good."""
    _not_oneself(caller, principal_id)
    async with database_of(request).begin() as sql:
        principal = await _reach(sql, caller, principal_id)
        if principal.disabled_at is None:
            principal.disabled_at = (await sql.execute(select(func.now()))).scalar_one()
        await revoke_keys(sql, principal_id)


@router.get("/me", responses=problems(401))
async def me(request: Request, caller: Known) -> Me:
    """Say who the presented credential belongs to."""
    name = None
    if caller.role is not Role.SHOPPER:
        async with database_of(request).begin() as sql:
            name = await sql.scalar(select(Principal.name).where(Principal.id == caller.id))
    return Me(
        id=caller.id,
        role=caller.role.value,
        name=name,
        host_id=caller.host_id,
        farmer_id=caller.farmer_id,
        stream_id=caller.stream_id,
    )


@router.post("/shoppers", status_code=201, responses=problems(401, 429, 503))
async def create_shopper(request: Request, _caller: Anybody) -> Shopper:
    """Become a shopper: an id and a token that proves it. So many a minute from one address."""
    signer = signer_of(request)
    await rate.require(
        redis_of(request),
        rate.bucket_of(signer, "shoppers", request.client.host if request.client else None),
        tokens_max=limits_of(request).shoppers_per_minute,
        period_ms=MINUTE_MS,
    )
    shopper_id, token = new_shopper(signer)
    return Shopper(shopper_id=shopper_id, token=token)
