"""A shopper's wish to have an order, or a part of it, taken back: written down here, decided by people.

Asking moves no money and no stock. One wish of an order is open at a time, so that staff never decide on two that
contradict each other; what is granted becomes a refund in the same transaction as the decision.
"""

from typing import Annotated, Any, Final, Literal, cast

from pydantic import AfterValidator, BaseModel, Field, model_validator
from sqlalchemy import Row, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from inventory.schemas import Sku
from inventory.tables import Stock
from orders.lifecycle import OrderState
from orders.locks import lock_orders
from orders.order_links import is_own
from orders.tables import OrderLine, RefundRequest
from stream_events.access import Caller
from stream_events.database import Database
from stream_events.errors import Problem, not_found
from stream_events.ids import new_id
from stream_events.names import clean_words
from stream_events.schemas import Body, Moment

REASON_CHARS_MAX: Final = 500
LINES_MAX: Final = 100
# Each of an order, so that asking and withdrawing in a loop fills no table.
REQUESTS_MAX: Final = 10

RequestState = Literal["OPEN", "ACCEPTED", "DECLINED", "WITHDRAWN"]

# There is money of the shopper's with us, and nobody else is deciding about it.
_REFUNDABLE: Final = frozenset(
    {OrderState.PAID, OrderState.PART_REFUNDED, OrderState.REFUND_FAILED}
)
_GOING_BACK: Final = frozenset(
    {OrderState.LATE_PAID, OrderState.REFUND_PENDING, OrderState.REFUNDED}
)


def clean_reason(words: str) -> str:
    """Return a reason as it may be shown, or raise ``ValueError``."""
    return clean_words(words, REASON_CHARS_MAX, lines=True)


class AskedLine(Body):
    """Units of one SKU that are to go back."""

    sku: Sku
    quantity: Annotated[int, Field(ge=1, le=10_000)]


class AskBackIn(Body):
    """What a shopper wants taken back: these units, or without any all that was paid."""

    lines: Annotated[list[AskedLine], Field(default_factory=list, max_length=LINES_MAX)]
    reason: Annotated[
        Annotated[
            str,
            Field(min_length=1, max_length=REASON_CHARS_MAX, examples=["The bag was torn."]),
            AfterValidator(clean_reason),
        ]
        | None,
        Field(description="In the shopper's words; staff read it, nobody else does."),
    ] = None

    @model_validator(mode="after")
    def _each_sku_once(self) -> "AskBackIn":
        if len({line.sku for line in self.lines}) != len(self.lines):
            raise ValueError("name each SKU once")
        return self


class AskedLineOut(BaseModel):
    """Units of one SKU that are to go back."""

    sku: str
    quantity: int


class RefundRequestOut(BaseModel):
    """A wish to have an order taken back, and what became of it."""

    id: str
    order_id: str
    lines: list[AskedLineOut] = Field(description="Empty: all that was paid.")
    reason: str | None
    state: RequestState
    refund_id: str | None
    created_at: Moment
    decided_at: Moment | None


def show_request(row: RefundRequest) -> RefundRequestOut:
    """Return a wish as its shopper and staff see it."""
    return RefundRequestOut(
        id=row.id,
        order_id=row.order_id,
        lines=[AskedLineOut(sku=sku, quantity=quantity) for sku, quantity in row.lines],
        reason=row.reason,
        state=cast("RequestState", row.state),
        refund_id=row.refund_id,
        created_at=row.created_at,
        decided_at=row.decided_at,
    )


async def ask_back(
    database: Database, order_id: str, caller: Caller, wish: AskBackIn
) -> RefundRequestOut:
    """Write down the wish of an order's shopper.

    Raises ``Problem``: 404, 409 ``not_paid``, ``already_refunded``, ``payment_disputed``, ``already_asked`` or
    ``asked_too_often``, 422 ``unknown_line`` for units that are not in the order.
    """
    async with database.begin() as sql:
        order = await own_order(sql, order_id, caller)
        require_refundable(order)
        asked = await _asked_before(sql, order_id)
        if "OPEN" in asked:
            raise Problem(409, "already_asked", "You asked for this already; withdraw that first.")
        if len(asked) >= REQUESTS_MAX:
            raise Problem(409, "asked_too_often", "This was asked and withdrawn too often.")
        await _require_bought(sql, order_id, wish)
        row = RefundRequest(
            id=new_id("rrq"),
            order_id=order_id,
            lines=[[line.sku, line.quantity] for line in wish.lines],
            reason=wish.reason,
        )
        sql.add(row)
        await sql.flush()
        await sql.refresh(row)
        return show_request(row)


async def withdraw(database: Database, order_id: str, caller: Caller) -> None:
    """Take the open wish of an order back. Doing it twice is no mistake; what was decided stays decided."""
    async with database.begin() as sql:
        await own_order(sql, order_id, caller)
        await sql.execute(
            update(RefundRequest)
            .where(RefundRequest.order_id == order_id, RefundRequest.state == "OPEN")
            .values(state="WITHDRAWN", decided_at=func.now())
        )


async def own_order(sql: AsyncSession, order_id: str, caller: Caller) -> Row[Any]:
    """Return the caller's order, locked; raise 404 for any other."""
    found = await lock_orders(sql, [order_id])
    if not found or not is_own(found[0], caller):
        raise not_found("order")
    return found[0]


def require_refundable(order: Row[Any]) -> None:
    """Refuse an order of which no money can be given back now: 409, and why."""
    state = OrderState(order.state)
    if state in _REFUNDABLE:
        return
    if state is OrderState.DISPUTED:
        raise Problem(
            409, "payment_disputed", "A bank decides about the money of this order first."
        )
    if state in _GOING_BACK:
        raise Problem(409, "already_refunded", "The money of this order goes back already.")
    raise Problem(409, "not_paid", "This order is not paid: there is nothing to give back.")


async def _asked_before(sql: AsyncSession, order_id: str) -> list[str]:
    asked = select(RefundRequest.state).where(RefundRequest.order_id == order_id)
    return list(await sql.scalars(asked))


async def _require_bought(sql: AsyncSession, order_id: str, wish: AskBackIn) -> None:
    if not wish.lines:
        return
    rows: Any = await sql.execute(
        select(Stock.sku, func.sum(OrderLine.quantity).label("quantity"))
        .join(Stock, Stock.id == OrderLine.stock_id)
        .where(OrderLine.order_id == order_id)
        .group_by(Stock.sku)
    )
    bought = {row.sku: row.quantity for row in rows}
    for line in wish.lines:
        if line.quantity > bought.get(line.sku, 0):
            raise Problem(
                422, "unknown_line", "So many units of this are not in the order.", sku=line.sku
            )
