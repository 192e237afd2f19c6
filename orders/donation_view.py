"""A gift as it is shown to its giver: an order without goods, in the words of giving, with its receipt."""

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from orders.ledger.post import DONATION_KINDS
from orders.ledger.tables import LedgerEntry, LedgerTransaction, Seal
from orders.lifecycle import OrderState, donation_state
from orders.order_view import show_orders
from orders.schemas import DonationOut, ReceiptOut
from orders.tables import Dispute, Order


async def show_donation(
    sql: AsyncSession, order: Order, rate_per_s: int, *, secrets: bool
) -> DonationOut:
    """Return a gift for showing; ``secrets`` lets the giver's browser finish a bank's extra step."""
    (shown,) = await show_orders(sql, [order], rate_per_s, secrets=secrets)
    said = shown.model_dump(include=set(DonationOut.model_fields) - {"state"})
    lost = select(func.count()).where(Dispute.order_id == order.id, Dispute.state == "LOST")
    return DonationOut.model_validate(
        {
            **said,
            "state": donation_state(
                OrderState(order.state), lost=bool((await sql.execute(lost)).scalar_one())
            ),
            "amount": shown.total,
            "causes": shown.gifts,
            "receipt": await _receipt(sql, order.id),
        }
    )


async def _receipt(sql: AsyncSession, order_id: str) -> list[ReceiptOut]:
    """Return what the ledger has of a gift, by what its causes got and gave back."""
    entries = (
        select(
            LedgerTransaction.id,
            LedgerTransaction.kind,
            LedgerTransaction.posted_at,
            Seal.seq,
            (-func.sum(LedgerEntry.amount_minor)).label("amount_minor"),
        )
        .join(LedgerEntry, LedgerEntry.transaction_id == LedgerTransaction.id)
        .outerjoin(Seal, Seal.transaction_id == LedgerTransaction.id)
        .where(
            LedgerTransaction.order_id == order_id,
            LedgerTransaction.kind.in_(DONATION_KINDS),
            LedgerEntry.account.startswith("beneficiary/"),
        )
        .group_by(LedgerTransaction.id, Seal.seq)
        .order_by(LedgerTransaction.id)
    )
    return [
        ReceiptOut(
            transaction_id=row.id,
            kind=row.kind,
            amount_minor=int(row.amount_minor),
            seq=row.seq,
            posted_at=row.posted_at,
        )
        for row in await sql.execute(entries)
    ]
