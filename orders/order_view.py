"""An order as it is shown to those who may see it: read in few statements, because a whole crowd polls it.

Nothing here decides anything, and nothing here reads a shopper's personal data, only whether it was given.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Row, func, literal, select, text, union_all
from sqlalchemy.ext.asyncio import AsyncSession

from inventory.tables import OfferTerms, Stock
from inventory.tax import tax_part
from orders.lifecycle import FulfilmentState, OrderState
from orders.messages import to_giver
from orders.order_notices import read_money
from orders.payments.attempts import standing, tries_left
from orders.schemas import GiftLineOut, LineOut, Money, OrderOut
from orders.tables import Order, OrderContact, OrderGift, OrderLine, OrderMessage, PayAttempt
from stream_events.tables import Beneficiary, Campaign, Stream

# A card may still be tried, or will be when it is the shopper's turn.
_PAYABLE = frozenset({OrderState.RESERVED, OrderState.AWAITING_PAYMENT, OrderState.PROCESSING})
# Counted on the small partial index of the queue; the pacer takes them in this very order.
_AHEAD = text("SELECT count(*) FROM orders WHERE state = 'RESERVED' AND id < :id")
_CONTACT: Final = "CONTACT"


async def show_orders(
    sql: AsyncSession, orders: Sequence[Order], rate_per_s: int, *, secrets: bool
) -> list[OrderOut]:
    """Return these orders for showing; ``secrets`` lets the shopper's browser finish a bank's extra step."""
    if not orders:
        return []
    ids = [order.id for order in orders]
    lines = _by_order(await sql.execute(_lines_of(ids)))
    gifts = await _gifts_of(sql, orders, lines)
    attempts = _by_order((await sql.scalars(_attempts_of(ids))).all())
    said = _by_order(await sql.execute(_said_of(ids)))
    terms = {row.id: row for row in await sql.execute(_terms_of(orders))}
    money = await read_money(sql, orders)
    shown = []
    for order in orders:
        state, tried = OrderState(order.state), attempts[order.id]
        payment = standing(state, tried)
        if payment is not None and not secrets:
            payment.client_secret = None
        ahead = None
        if state is OrderState.RESERVED:
            ahead = (await sql.execute(_AHEAD, {"id": order.id})).scalar_one()
        words = {row.word for row in said[order.id]}
        asked = terms[order.stream_id]
        shown.append(
            OrderOut.model_validate(
                {
                    **{field: getattr(order, field) for field in _PLAIN},
                    **money[order.id]._asdict(),
                    "state": state,
                    "fulfilment": FulfilmentState(order.fulfilment),
                    "lines": [_line(row) for row in lines[order.id]],
                    "gifts": [_gift(row) for row in gifts[order.id]],
                    "total": Money(amount_minor=order.total_minor, currency=order.currency),
                    "ahead": ahead,
                    "minutes": None if ahead is None else _minutes(ahead, rate_per_s),
                    "attempts_left": tries_left(tried) if state in _PAYABLE else 0,
                    "contact_given": _CONTACT in words,
                    "display": next(map(to_giver, words - {_CONTACT}), None),
                    "payment": payment,
                    "seller": asked.seller,
                    "refund_terms": asked.refund_terms,
                    "refund_terms_zh": asked.refund_terms_zh,
                    "server_time": asked.now,
                }
            )
        )
    return shown


_PLAIN: Final = (
    "id",
    "stream_id",
    "kind",
    "shipping_minor",
    "refunded_minor",
    "place",
    "placed_at",
    "pay_by",
)


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
            OfferTerms.tax_bp,
        )
        .join(Stock, Stock.id == OrderLine.stock_id)
        .join(OfferTerms, OfferTerms.id == OrderLine.terms_id)
        .where(OrderLine.order_id.in_(ids))
        .order_by(OrderLine.order_id, Stock.sku)
    )


async def _gifts_of(
    sql: AsyncSession, orders: Sequence[Order], lines: defaultdict[str, list[Any]]
) -> defaultdict[str, list[Any]]:
    """Read the gift lines of those orders that come to more than their goods and shipping; most do not."""
    giving = [
        order.id
        for order in orders
        if order.total_minor
        > order.shipping_minor + sum(row.amount_minor for row in lines[order.id])
    ]
    if not giving:
        return defaultdict(list)
    found = (
        select(
            OrderGift.order_id,
            OrderGift.kind,
            OrderGift.beneficiary_id,
            OrderGift.amount_minor,
            Beneficiary.name,
            Beneficiary.name_zh,
        )
        .join(Beneficiary, Beneficiary.id == OrderGift.beneficiary_id)
        .where(OrderGift.order_id.in_(giving))
        .order_by(OrderGift.order_id, OrderGift.n)
    )
    return _by_order(await sql.execute(found))


def _said_of(ids: Sequence[str]) -> Any:
    """Say of each order whether there is a contact, and how its words are displayed: never the data itself."""
    return union_all(
        select(OrderContact.order_id, literal(_CONTACT).label("word")).where(
            OrderContact.order_id.in_(ids)
        ),
        select(OrderMessage.order_id, OrderMessage.display).where(OrderMessage.order_id.in_(ids)),
    )


def _terms_of(orders: Sequence[Order]) -> Any:
    return (
        select(
            Stream.id,
            Campaign.seller,
            Campaign.refund_terms,
            Campaign.refund_terms_zh,
            func.now().label("now"),
        )
        .join(Campaign, Campaign.id == Stream.campaign_id)
        .where(Stream.id.in_({order.stream_id for order in orders}))
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
        tax_minor=tax_part(row.amount_minor, row.tax_bp),
    )


def _gift(row: Row[Any]) -> GiftLineOut:
    return GiftLineOut(
        kind=row.kind,
        beneficiary_id=row.beneficiary_id,
        name=row.name,
        name_zh=row.name_zh,
        amount_minor=row.amount_minor,
    )
