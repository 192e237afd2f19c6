"""Campaigns over HTTP: operators make them, hosts may read them; money of two modes never meets in one."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request
from sqlalchemy import select

from stream_events.access import Caller, Role, allow
from stream_events.errors import not_found, problems
from stream_events.ids import new_id
from stream_events.paging import Listing, Paged, read_page
from stream_events.requests import database_of, mode_of
from stream_events.schemas import CampaignAnswer, CampaignPath, NewCampaign
from stream_events.tables import Campaign

router: Final = APIRouter(prefix="/campaigns", tags=["campaigns"])

Operator = Annotated[Caller, Depends(allow(Role.OPERATOR))]
Staff = Annotated[Caller, Depends(allow(Role.OPERATOR, Role.HOST))]


@router.post("", status_code=201, responses=problems(400, 401, 403, 413, 422))
async def create_campaign(request: Request, _caller: Operator, body: NewCampaign) -> CampaignAnswer:
    """Make a campaign in the mode of this deployment (sandbox or live)."""
    campaign = Campaign(id=new_id("cmp"), mode=mode_of(request), **body.model_dump())
    async with database_of(request).begin() as sql:
        sql.add(campaign)
    return CampaignAnswer.model_validate(campaign)


@router.get("", responses=problems(401, 403, 422))
async def list_campaigns(request: Request, _caller: Staff, page: Paged) -> Listing[CampaignAnswer]:
    """List campaigns, newest first."""
    async with database_of(request).begin() as sql:
        rows, following = await read_page(sql, select(Campaign), Campaign.id, page)
    return Listing(items=[CampaignAnswer.model_validate(row) for row in rows], next=following)


@router.get("/{campaign_id}", responses=problems(401, 403, 404, 422))
async def get_campaign(
    request: Request, _caller: Staff, campaign_id: CampaignPath
) -> CampaignAnswer:
    """Read one campaign."""
    async with database_of(request).begin() as sql:
        campaign = await sql.get(Campaign, campaign_id)
    if campaign is None:
        raise not_found("campaign")
    return CampaignAnswer.model_validate(campaign)
