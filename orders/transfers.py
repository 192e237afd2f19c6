"""Money that moves outside Stripe, as operators record it: paid on to payees, paid in by sponsors.

No more can be paid out than is owed when it is recorded. What goes back to shoppers later may still bring a payee
below zero; that is how it is, so it is shown and made up by what comes next, never refused or hidden.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final

from fastapi import Depends, Request
from fastapi.responses import Response
from sqlalchemy import TextClause, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from orders.giving_schemas import NewTransfer, TransferAnswer
from orders.giving_tables import Transfer
from orders.ledger import accounts, post
from orders.requests import small_router
from stream_events.access import Caller, Role, allow
from stream_events.errors import Problem, not_found, problems
from stream_events.idempotency import IdempotencyKey, once
from stream_events.ids import new_id
from stream_events.paging import Listing, Paged, read_page
from stream_events.requests import database_of
from stream_events.schemas import CampaignPath
from stream_events.tables import Campaign

PATH: Final = "/campaigns/{campaign_id}/transfers"

router: Final = small_router()

Operator = Annotated[Caller, Depends(allow(Role.OPERATOR))]


@router.post(
    PATH,
    status_code=201,
    response_model=TransferAnswer,
    responses=problems(400, 401, 403, 404, 409, 413, 422),
)
async def create_transfer(
    request: Request,
    caller: Operator,
    campaign_id: CampaignPath,
    key: IdempotencyKey,
    body: NewTransfer,
) -> Response:
    """Record money that was paid on to a payee, or came from a sponsor: no more than is owed."""
    async with database_of(request).begin() as sql:
        turn = await once(sql, request, caller, key, body)
        if turn.replay is not None:
            return turn.replay
        campaign = await sql.get(Campaign, campaign_id)
        if campaign is None:
            raise not_found("campaign")
        await _lock_owner(sql, campaign_id, body)
        owed_minor = await _owed_minor(sql, campaign_id, body)
        if body.amount_minor > owed_minor:
            raise Problem(
                409, "more_than_owed", "That is more than is owed.", owed_minor=owed_minor
            )
        transfer = Transfer(
            id=new_id("trf"),
            campaign_id=campaign_id,
            **body.model_dump(),
            created_by=caller.id,
        )
        sql.add(transfer)
        await sql.flush()
        await _post(sql, transfer, campaign.currency)
        return await turn.answer(201, TransferAnswer.model_validate(transfer))


@router.get(PATH, responses=problems(401, 403, 404, 422))
async def list_transfers(
    request: Request, _caller: Operator, campaign_id: CampaignPath, page: Paged
) -> Listing[TransferAnswer]:
    """List a campaign's transfers, newest first."""
    wanted = select(Transfer).where(Transfer.campaign_id == campaign_id)
    async with database_of(request).begin() as sql:
        if await sql.get(Campaign, campaign_id) is None:
            raise not_found("campaign")
        rows, following = await read_page(sql, wanted, Transfer.id, page)
    return Listing(items=[TransferAnswer.model_validate(row) for row in rows], next=following)


async def _lock_owner(sql: AsyncSession, campaign_id: str, body: NewTransfer) -> None:
    """Let those who pay one payee take turns, so that the same money is not paid out twice."""
    try:
        kind, owner_id = accounts.parse(body.account)
    except accounts.AccountError:
        kind, owner_id = "", ""
    lock = _OWNERS[body.kind].get(kind)
    if lock is None:
        raise Problem(
            422, "wrong_account", f"No {body.kind} goes to that account.", field="account"
        )
    given = {"id": owner_id} | ({"campaign": campaign_id} if ":campaign" in lock.text else {})
    if (await sql.execute(lock, given)).first() is None:
        raise Problem(422, "unknown_reference", "There is no such account.", field="account")


async def _owed_minor(sql: AsyncSession, campaign_id: str, body: NewTransfer) -> int:
    """Return what is owed to a payee, or by a sponsor, in this campaign; below 0 when too much was paid."""
    given = {"account": body.account, "campaign": campaign_id}
    balance_minor = int((await sql.execute(_BALANCE, given)).scalar_one())
    return -balance_minor if body.kind == post.PAYOUT else balance_minor


async def _post(sql: AsyncSession, transfer: Transfer, currency: str) -> None:
    paid_out = transfer.kind == post.PAYOUT
    debited, credited = (
        (transfer.account, accounts.BANK_CLEARING)
        if paid_out
        else (accounts.BANK_CLEARING, transfer.account)
    )
    await post.post(
        sql,
        campaign_id=transfer.campaign_id,
        stream_id=transfer.campaign_id,
        kind=transfer.kind,
        source_id=transfer.id,
        order_id=None,
        currency=currency,
        entries=[(debited, transfer.amount_minor), (credited, -transfer.amount_minor)],
    )


_OWNERS: Final[Mapping[str, Mapping[str, TextClause]]] = MappingProxyType(
    {
        post.PAYOUT: {
            "farmer": text("SELECT id FROM farmers WHERE id = :id FOR NO KEY UPDATE"),
            "beneficiary": text("SELECT id FROM beneficiaries WHERE id = :id FOR NO KEY UPDATE"),
            "pledge": text(
                "SELECT id FROM pledges WHERE id = :id AND campaign_id = :campaign FOR NO KEY UPDATE"
            ),
        },
        post.SPONSOR_PAID: {
            "sponsor": text(
                "SELECT id FROM matches WHERE id = :id AND campaign_id = :campaign FOR NO KEY UPDATE"
            ),
        },
    }
)
_BALANCE = text("""
SELECT coalesce(sum(e.amount_minor), 0)
FROM ledger_entries e
JOIN ledger_transactions t ON t.id = e.transaction_id
WHERE e.account = :account AND t.campaign_id = :campaign
""")
