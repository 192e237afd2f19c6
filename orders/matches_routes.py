"""Matches over HTTP: operators write down what a sponsor promised, everybody sees what is left of it.

A match is never edited but for its end: who gave in view of it must get what it said.
"""

from datetime import datetime
from typing import Annotated, Final

from fastapi import Depends, Request
from fastapi.responses import Response
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from orders.giving_schemas import MatchAnswer, MatchChange, MatchPath, NewMatch
from orders.giving_tables import Match
from orders.matching import MATCHES_PER_CAMPAIGN_MAX
from orders.requests import small_router
from stream_events.access import Caller, Role, allow
from stream_events.errors import Problem, not_found, problems
from stream_events.idempotency import IdempotencyKey, once
from stream_events.ids import new_id
from stream_events.paging import Listing, Paged, read_page
from stream_events.requests import database_of
from stream_events.schemas import CampaignPath
from stream_events.tables import Campaign, Stream

PATH: Final = "/campaigns/{campaign_id}/matches"

router: Final = small_router()

Operator = Annotated[Caller, Depends(allow(Role.OPERATOR))]
Anyone = Annotated[Caller, Depends(allow(Role.PUBLIC))]


@router.post(
    PATH,
    status_code=201,
    response_model=MatchAnswer,
    responses=problems(400, 401, 403, 404, 409, 413, 422),
)
async def create_match(
    request: Request,
    caller: Operator,
    campaign_id: CampaignPath,
    key: IdempotencyKey,
    body: NewMatch,
) -> Response:
    """Promise to add to what others give. Several matches of one order count each by itself, in their order."""
    async with database_of(request).begin() as sql:
        turn = await once(sql, request, caller, key, body)
        if turn.replay is not None:
            return turn.replay
        # Its lock makes those who add a match to one campaign take turns.
        campaign = await sql.get(Campaign, campaign_id, with_for_update={"key_share": True})
        if campaign is None:
            raise not_found("campaign")
        now = (await sql.execute(select(func.now()))).scalar_one()
        await _require_sound(sql, campaign_id, body, now)
        match = Match(
            id=new_id("mat"),
            campaign_id=campaign_id,
            **body.model_dump(exclude={"position", "starts_at"}),
            spent_minor=0,
            position=body.position or await _last_position(sql, campaign_id) + 1,
            starts_at=body.starts_at or now,
        )
        sql.add(match)
        await sql.flush()
        return await turn.answer(201, _answer(match))


@router.get(PATH, responses=problems(401, 404, 422))
async def list_matches(
    request: Request, _caller: Anyone, campaign_id: CampaignPath, page: Paged
) -> Listing[MatchAnswer]:
    """List a campaign's matches with what is left in their pots, newest first."""
    wanted = select(Match).where(Match.campaign_id == campaign_id)
    async with database_of(request).begin() as sql:
        if await sql.get(Campaign, campaign_id) is None:
            raise not_found("campaign")
        matches, following = await read_page(sql, wanted, Match.id, page)
    return Listing(items=[_answer(match) for match in matches], next=following)


@router.patch(PATH + "/{match_id}", responses=problems(400, 401, 403, 404, 409, 413, 422))
async def end_match(
    request: Request,
    _caller: Operator,
    campaign_id: CampaignPath,
    match_id: MatchPath,
    body: MatchChange,
) -> MatchAnswer:
    """End a match sooner: orders placed from then on are not matched; what was added stays."""
    wanted = select(Match).where(Match.id == match_id, Match.campaign_id == campaign_id)
    async with database_of(request).begin() as sql:
        match = await sql.scalar(wanted.with_for_update(key_share=True))
        if match is None:
            raise not_found("match")
        now = (await sql.execute(select(func.clock_timestamp()))).scalar_one()
        # One that has not begun ends where it would begin, and so never does.
        ends_at = max(body.ends_at, now, match.starts_at)
        if match.ends_at is not None and match.ends_at <= ends_at:
            if body.ends_at > match.ends_at:
                raise Problem(409, "only_sooner", "A match can only be ended sooner.")
            return _answer(match)
        match.ends_at = ends_at
    return _answer(match)


async def _require_sound(
    sql: AsyncSession, campaign_id: str, body: NewMatch, now: datetime
) -> None:
    starts_at = body.starts_at or now
    if starts_at < now:
        raise Problem(422, "window_passed", "A match begins now or later.", field="starts_at")
    if body.ends_at is not None and body.ends_at <= starts_at:
        raise Problem(422, "window_empty", "A match ends after it begins.", field="ends_at")
    if body.skus is not None and body.covers == "gifts":
        raise Problem(422, "skus_without_shares", "Gifts have no SKUs.", field="skus")
    if body.stream_id is not None:
        stream = await sql.get(Stream, body.stream_id)
        if stream is None or stream.campaign_id != campaign_id:
            raise Problem(
                422, "unknown_reference", "There is no such stream in it.", field="stream_id"
            )
    open_ = select(func.count()).select_from(Match)
    open_ = open_.where(
        Match.campaign_id == campaign_id, (Match.ends_at.is_(None)) | (Match.ends_at > now)
    )
    if (await sql.execute(open_)).scalar_one() >= MATCHES_PER_CAMPAIGN_MAX:
        raise Problem(
            409, "too_many_matches", f"A campaign has {MATCHES_PER_CAMPAIGN_MAX} matches at a time."
        )


async def _last_position(sql: AsyncSession, campaign_id: str) -> int:
    last = select(func.coalesce(func.max(Match.position), 0))
    return int((await sql.execute(last.where(Match.campaign_id == campaign_id))).scalar_one())


def _answer(match: Match) -> MatchAnswer:
    shown = {
        name: getattr(match, name) for name in MatchAnswer.model_fields if name != "left_minor"
    }
    return MatchAnswer(**shown, left_minor=match.pot_minor - match.spent_minor)
