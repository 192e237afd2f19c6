"""What to tell a shopper about the money of an order when it went another way than the plain one.

Derived from the books, never stored: late money that bought the units after all, or goes back; a second payment;
a refund on its way or failed.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final, NamedTuple

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from orders.lifecycle import OrderState
from orders.order_rows import DUPLICATE, LATE_NO_STOCK
from orders.schemas import Notice
from orders.tables import Dispute, Order, OrderTransition, Refund

_UNDER_WAY: Final = frozenset({"CREATING", "PENDING"})
_GIVEN_UP: Final = (OrderState.EXPIRED, OrderState.CANCELLED)


class MoneyTold(NamedTuple):
    """What is on its way back, and what to tell."""

    refund_pending_minor: int
    notice: Notice | None


async def read_money(sql: AsyncSession, orders: Sequence[Order]) -> dict[str, MoneyTold]:
    """Return what to tell of each order; unpaid ones cost no look."""
    paid = [order.id for order in orders if order.received_minor]
    refunds: dict[str, list[Refund]] = defaultdict(list)
    late: set[str] = set()
    lost: set[str] = set()
    if paid:
        for refund in await sql.scalars(select(Refund).where(Refund.order_id.in_(paid))):
            refunds[refund.order_id].append(refund)
        left = select(OrderTransition.order_id).where(
            OrderTransition.order_id.in_(paid), OrderTransition.from_state.in_(_GIVEN_UP)
        )
        late = set(await sql.scalars(left))
        ended = select(Dispute.order_id).where(Dispute.order_id.in_(paid), Dispute.state == "LOST")
        lost = set(await sql.scalars(ended))
    return {
        order.id: MoneyTold(
            sum(row.amount_minor for row in refunds[order.id] if row.state in _UNDER_WAY),
            _notice(order, refunds[order.id], late=order.id in late, lost=order.id in lost),
        )
        for order in orders
    }


def _notice(order: Order, refunds: Sequence[Refund], *, late: bool, lost: bool) -> Notice | None:
    reasons = {row.reason for row in refunds if row.state != "FAILED"}
    if order.state == OrderState.REFUND_FAILED:
        return "refund_failed"
    if LATE_NO_STOCK in reasons:
        return "late_refund"
    if order.state == OrderState.REFUND_PENDING:
        return "refund_pending"
    if lost:
        return "dispute_lost"
    if DUPLICATE in reasons:
        return "duplicate_refund"
    if late and order.state == OrderState.PAID:
        return "late_paid" if order.kind == "gift" else "late_paid_resold"
    return None
