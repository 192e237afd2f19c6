"""What a stream does with its goods: its steps (nothing goes live empty, nothing is settled half paid), its shipping."""

from typing import Annotated, Final

from fastapi import APIRouter, Body, Depends, Request
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from inventory import rebuild
from inventory.shipping import ShippingRule, require_payable
from inventory.tables import Stock
from inventory.views import catalogue_of
from stream_events.access import Caller, Role, allow
from stream_events.errors import Problem, problems
from stream_events.money import MoneyError
from stream_events.requests import database_of
from stream_events.schemas import NextState, StreamAnswer, StreamPath
from stream_events.streams import illegal_state, own_stream, step, stream_answer
from stream_events.tables import Campaign, CampaignCause, Stream

router: Final = APIRouter(prefix="/streams/{stream_id}", tags=["streams"])

Staff = Annotated[Caller, Depends(allow(Role.OPERATOR, Role.HOST))]


async def take_step(sql: AsyncSession, stream: Stream, to: str) -> None:
    """Take a locked stream one step further, if its goods allow it; raises ``Problem`` 409.

    Live needs an offer, or a cause to give to. Settled needs every unit paid or given back, and shuts the gate for good by an epoch that is
    never installed: an order that was admitted a moment before the end then fails the guard.
    """
    await step(sql, stream, to)
    if to == "live":
        offers = select(Stock.id).where(Stock.stream_id == stream.id).limit(1)
        causes = select(CampaignCause.position).where(
            CampaignCause.campaign_id == stream.campaign_id
        )
        if not await sql.scalar(offers) and not await sql.scalar(causes.limit(1)):
            raise Problem(
                409, "nothing_on_offer", "A stream goes live with an offer or a cause to give to."
            )
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


@router.put("/shipping", responses=problems(400, 401, 403, 404, 409, 413, 422))
async def put_shipping(
    request: Request,
    caller: Staff,
    stream_id: StreamPath,
    body: Annotated[
        ShippingRule,
        Body(
            openapi_examples={
                "free": {"value": {"type": "free"}},
                "flat": {"value": {"type": "flat", "amount_minor": 800, "free_from_minor": 9900}},
                "by weight": {
                    "value": {
                        "type": "by_weight",
                        "classes": [
                            {"up_to_g": 5000, "amount_minor": 800},
                            {"up_to_g": 20000, "amount_minor": 1800},
                        ],
                    }
                },
            }
        ),
    ],
) -> ShippingRule:
    """Say what sending goods costs. It counts for later orders: each order keeps what it was charged."""
    async with database_of(request).begin() as sql:
        stream = await own_stream(sql, caller, stream_id, lock=True)
        if stream.state == "settled":
            raise illegal_state(stream, "A settled stream stays as it is.")
        campaign = await sql.get_one(Campaign, stream.campaign_id)
        try:
            require_payable(body, campaign.currency)
        except MoneyError as error:
            raise Problem(422, error.code, str(error)) from None
        stream.shipping = body.model_dump(mode="json")
    await catalogue_of(request).refresh()
    return body
