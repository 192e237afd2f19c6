"""Standing pledges over HTTP: a part of all sales, promised once, and whether the promise is kept.

What a pledge comes to is posted by the sealer (``orders.ledger.accrual``); nothing here counts it. What is shown is
read from the ledger: what was posted for the pledge, and what was paid on.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Final

from fastapi import Depends, Request
from fastapi.responses import Response
from sqlalchemy import Row, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from orders.giving_schemas import NewPledge, PledgeAnswer
from orders.giving_tables import Pledge
from orders.ledger import accounts
from orders.ledger.accrual import PLEDGES_PER_CAMPAIGN_MAX
from orders.ledger.seal import lock_head
from orders.ledger.tables import Tally
from orders.requests import small_router
from stream_events.access import Caller, Role, allow
from stream_events.errors import Problem, not_found, problems
from stream_events.idempotency import IdempotencyKey, once
from stream_events.ids import new_id
from stream_events.paging import Listing, Paged, read_page
from stream_events.requests import database_of
from stream_events.schemas import CampaignPath
from stream_events.tables import Beneficiary, Campaign

PATH: Final = "/campaigns/{campaign_id}/pledges"

router: Final = small_router()

Operator = Annotated[Caller, Depends(allow(Role.OPERATOR))]
Anyone = Annotated[Caller, Depends(allow(Role.PUBLIC))]


@router.post(
    PATH,
    status_code=201,
    response_model=PledgeAnswer,
    responses=problems(400, 401, 403, 404, 409, 413, 422),
)
async def create_pledge(
    request: Request,
    caller: Operator,
    campaign_id: CampaignPath,
    key: IdempotencyKey,
    body: NewPledge,
) -> Response:
    """Promise a part of all sales from now on. It cannot be taken back."""
    async with database_of(request).begin() as sql:
        turn = await once(sql, request, caller, key, body)
        if turn.replay is not None:
            return turn.replay
        if await sql.get(Campaign, campaign_id) is None:
            raise not_found("campaign")
        if await sql.get(Beneficiary, body.beneficiary_id) is None:
            raise Problem(
                422, "unknown_reference", "There is no such beneficiary.", field="beneficiary_id"
            )
        # Nothing is sealed meanwhile, so it counts from exactly the sales that are published.
        await lock_head(sql, campaign_id)
        held = select(func.count()).select_from(Pledge).where(Pledge.campaign_id == campaign_id)
        if (await sql.execute(held)).scalar_one() >= PLEDGES_PER_CAMPAIGN_MAX:
            raise Problem(
                409, "too_many_pledges", f"A campaign has at most {PLEDGES_PER_CAMPAIGN_MAX}."
            )
        sales = select(Tally.sales_minor).where(Tally.scope_id == campaign_id)
        pledge = Pledge(
            id=new_id("plg"),
            campaign_id=campaign_id,
            **body.model_dump(),
            base_minor=await sql.scalar(sales) or 0,
        )
        sql.add(pledge)
        await sql.flush()
        return await turn.answer(201, (await _show(sql, [pledge]))[0])


@router.get(PATH, responses=problems(401, 404, 422))
async def list_pledges(
    request: Request, _caller: Anyone, campaign_id: CampaignPath, page: Paged
) -> Listing[PledgeAnswer]:
    """List a campaign's standing pledges: what each has come to and what of it was paid, newest first."""
    wanted = select(Pledge).where(Pledge.campaign_id == campaign_id)
    async with database_of(request).begin() as sql:
        if await sql.get(Campaign, campaign_id) is None:
            raise not_found("campaign")
        pledges, following = await read_page(sql, wanted, Pledge.id, page)
        items = await _show(sql, pledges)
    return Listing(items=items, next=following)


async def _show(sql: AsyncSession, pledges: Sequence[Pledge]) -> list[PledgeAnswer]:
    by_account = {accounts.pledge(pledge.id): pledge for pledge in pledges}
    rows = await sql.execute(_STANDING, {"accounts": list(by_account)})
    standing: dict[str, Row[Any]] = {row.account: row for row in rows}
    return [
        PledgeAnswer(
            id=pledge.id,
            campaign_id=pledge.campaign_id,
            beneficiary_id=pledge.beneficiary_id,
            name=pledge.name,
            name_zh=pledge.name_zh,
            bp=pledge.bp,
            owed_minor=standing[account].owed_minor if account in standing else 0,
            paid_minor=standing[account].paid_minor if account in standing else 0,
            created_at=pledge.created_at,
        )
        for account, pledge in by_account.items()
    ]


_STANDING = text("""
SELECT e.account,
       CAST(coalesce(-sum(e.amount_minor) FILTER (WHERE t.kind = 'pledge'), 0) AS bigint) AS owed_minor,
       CAST(coalesce(sum(e.amount_minor) FILTER (WHERE t.kind = 'payout'), 0) AS bigint) AS paid_minor
FROM ledger_entries e
JOIN ledger_transactions t ON t.id = e.transaction_id
WHERE e.account = ANY(CAST(:accounts AS text[]))
GROUP BY e.account
""")
