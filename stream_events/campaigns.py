"""Campaigns over HTTP: operators make them, hosts may read them; money of two modes never meets in one."""

from typing import Annotated, Final

from fastapi import APIRouter, Body, Depends, Request
from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from stream_events.access import Caller, Role, allow
from stream_events.campaign_schemas import CAUSES_MAX, CampaignChange, CauseAnswer, Causes
from stream_events.errors import Problem, not_found, problems
from stream_events.ids import new_id
from stream_events.money import MoneyError, require_chargeable
from stream_events.paging import Listing, Paged, read_page
from stream_events.requests import database_of, mode_of
from stream_events.schemas import BeneficiaryId, CampaignAnswer, CampaignPath, NewCampaign
from stream_events.tables import Beneficiary, Campaign, CampaignCause

router: Final = APIRouter(prefix="/campaigns", tags=["campaigns"])

Operator = Annotated[Caller, Depends(allow(Role.OPERATOR))]
Staff = Annotated[Caller, Depends(allow(Role.OPERATOR, Role.HOST))]
Anybody = Annotated[Caller, Depends(allow(Role.PUBLIC))]


@router.post("", status_code=201, responses=problems(400, 401, 403, 413, 422))
async def create_campaign(request: Request, _caller: Operator, body: NewCampaign) -> CampaignAnswer:
    """Make a campaign in the mode of this deployment (sandbox or live)."""
    campaign = Campaign(id=new_id("cmp"), mode=mode_of(request), **body.model_dump())
    async with database_of(request).begin() as sql:
        sql.add(campaign)
        await sql.flush()
        await sql.refresh(campaign)
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


@router.patch("/{campaign_id}", responses=problems(400, 401, 403, 404, 413, 422))
async def change_campaign(
    request: Request, _caller: Operator, campaign_id: CampaignPath, body: CampaignChange
) -> CampaignAnswer:
    """Change goal, bounds of gifts, means of payment, seller or refund terms, for all that comes after."""
    async with database_of(request).begin() as sql:
        campaign = await _locked(sql, campaign_id)
        for field, value in body.model_dump(exclude_unset=True).items():
            setattr(campaign, field, value)
        _require_gift_bounds(campaign)
        await sql.flush()
    return CampaignAnswer.model_validate(campaign)


@router.put("/{campaign_id}/causes", responses=problems(400, 401, 403, 404, 413, 422))
async def put_causes(
    request: Request,
    _caller: Operator,
    campaign_id: CampaignPath,
    body: Annotated[
        list[BeneficiaryId],
        Body(max_length=CAUSES_MAX, description="Ids of beneficiaries, in order."),
    ],
) -> Causes:
    """Say which beneficiaries gifts may go to, the first being the one unless a giver says otherwise; none ends giving."""
    if len(set(body)) < len(body):
        raise Problem(422, "cause_twice", "Each cause is named once.")
    async with database_of(request).begin() as sql:
        campaign = await _locked(sql, campaign_id)
        known = set(await sql.scalars(select(Beneficiary.id).where(Beneficiary.id.in_(body))))
        if not known.issuperset(body):
            raise Problem(
                422, "unknown_reference", "There is no such beneficiary.", field="beneficiary_id"
            )
        await sql.execute(delete(CampaignCause).where(CampaignCause.campaign_id == campaign.id))
        if body:
            rows = [
                {"campaign_id": campaign.id, "beneficiary_id": each, "position": position}
                for position, each in enumerate(body, 1)
            ]
            await sql.execute(insert(CampaignCause), rows)
        return await _causes(sql, campaign.id)


@router.get("/{campaign_id}/causes", responses=problems(401, 404, 422))
async def get_causes(request: Request, _caller: Anybody, campaign_id: CampaignPath) -> Causes:
    """Tell what gifts in a campaign may go to, in the order they are offered in."""
    async with database_of(request).begin() as sql:
        if await sql.get(Campaign, campaign_id) is None:
            raise not_found("campaign")
        return await _causes(sql, campaign_id)


async def _locked(sql: AsyncSession, campaign_id: str) -> Campaign:
    campaign = await sql.get(Campaign, campaign_id, with_for_update={"key_share": True})
    if campaign is None:
        raise not_found("campaign")
    return campaign


def _require_gift_bounds(campaign: Campaign) -> None:
    """Refuse bounds that no gift could keep to, or that could not be charged."""
    least, most = campaign.gift_min_minor, campaign.gift_max_minor
    if most is not None and most < least:
        raise Problem(422, "gift_bounds", "The greatest gift is at least as much as the least.")
    for amount_minor in (least, most):
        if amount_minor:
            try:
                require_chargeable(amount_minor, campaign.currency)
            except MoneyError as error:
                raise Problem(422, error.code, str(error)) from None


async def _causes(sql: AsyncSession, campaign_id: str) -> Causes:
    rows = await sql.scalars(
        select(Beneficiary)
        .join(CampaignCause, CampaignCause.beneficiary_id == Beneficiary.id)
        .where(CampaignCause.campaign_id == campaign_id)
        .order_by(CampaignCause.position)
    )
    return Causes(items=[CauseAnswer.model_validate(row) for row in rows])
