"""An order as it is shown to those who may see it: read in few statements, because a whole crowd polls it.

Nothing here decides anything, and nothing here reads a shopper's personal data, only whether it was given.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from inventory.tables import OfferTerms, Stock
from orders.lifecycle import FulfilmentState, OrderState
from orders.payments.attempts import standing, tries_left
from orders.schemas import LineOut, Money, OrderOut
from orders.tables import Order, OrderContact, OrderLine, PayAttempt

# A card may still be tried, or will be when it is the shopper's turn.
_PAYABLE = frozenset({OrderState.RESERVED, OrderState.AWAITING_PAYMENT, OrderState.PROCESSING})
# Counted on the small partial index of the queue; the pacer takes them in this very order.
_AHEAD = text("SELECT count(*) FROM orders WHERE state = 'RESERVED' AND id < :id")


async def show_orders(
    sql: AsyncSession, orders: Sequence[Order], rate_per_s: int, *, secrets: bool
) -> list[OrderOut]:
    """Return these orders for showing; ``secrets`` lets the shopper's browser finish a bank's extra step."""
    ids = [order.id for order in orders]
    lines = _by_order(await sql.execute(_lines_of(ids)))
    attempts = _by_order((await sql.scalars(_attempts_of(ids))).all())
    contacts = set(
        await sql.scalars(select(OrderContact.order_id).where(OrderContact.order_id.in_(ids)))
    )
    now = (await sql.execute(select(func.now()))).scalar_one()
    shown = []
    for order in orders:
        state, tried = OrderState(order.state), attempts[order.id]
        payment = standing(state, tried)
        if payment is not None and not secrets:
            payment.client_secret = None
        ahead = None
        if state is OrderState.RESERVED:
            ahead = (await sql.execute(_AHEAD, {"id": order.id})).scalar_one()
        shown.append(
            OrderOut(
                id=order.id,
                stream_id=order.stream_id,
                state=state,
                fulfilment=FulfilmentState(order.fulfilment),
                lines=[_line(row) for row in lines[order.id]],
                total=Money(amount_minor=order.total_minor, currency=order.currency),
                place=order.place,
                placed_at=order.placed_at,
                ahead=ahead,
                minutes=None if ahead is None else _minutes(ahead, rate_per_s),
                pay_by=order.pay_by,
                attempts_left=tries_left(tried) if state in _PAYABLE else 0,
                contact_given=order.id in contacts,
                payment=payment,
                server_time=now,
            )
        )
    return shown


def _minutes(ahead: int, rate_per_s: int) -> int:
    """Round up, so that nobody comes back too early: 0 only for the very next."""
    return -(-ahead // (60 * max(rate_per_s, 1)))


def _lines_of(ids: Sequence[str]) -> Any:
    return (
        select(
            OrderLine.order_id,
            Stock.sku,
            OrderLine.quantity,
            OfferTerms.price_minor,
            OrderLine.amount_minor,
        )
        .join(Stock, Stock.id == OrderLine.stock_id)
        .join(OfferTerms, OfferTerms.id == OrderLine.terms_id)
        .where(OrderLine.order_id.in_(ids))
        .order_by(OrderLine.order_id, Stock.sku)
    )


def _attempts_of(ids: Sequence[str]) -> Any:
    return select(PayAttempt).where(PayAttempt.order_id.in_(ids)).order_by(PayAttempt.n)


def _by_order(rows: Any) -> defaultdict[str, list[Any]]:
    found: defaultdict[str, list[Any]] = defaultdict(list)
    for row in rows:
        found[row.order_id].append(row)
    return found


def _line(row: Row[Any]) -> LineOut:
    return LineOut(
        sku=row.sku,
        quantity=row.quantity,
        unit_minor=row.price_minor,
        amount_minor=row.amount_minor,
    )
