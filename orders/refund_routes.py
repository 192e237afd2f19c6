"""Giving money back over HTTP: by all, by line, by amount or by gift, decided by staff.

What is decided here is recorded and sent to Stripe by a worker; how it stands is read here, also by the shopper. An
order that is not the caller's does not exist for them.
"""

from typing import Annotated, Final, Literal, cast

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, Field, model_validator
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from orders import order_books_sql
from orders.asking_back import AskedLine
from orders.giving_back import Wish, give_back, refundable_minor
from orders.lifecycle import OrderState
from orders.locks import lock_orders
from orders.order_books import OrderBooks
from orders.order_links import own_orders
from orders.order_rows import RefundRow
from orders.requests import Reader, small_router
from orders.schemas import Money, OrderPath
from orders.tables import Order, RefundRequest
from stream_events.access import Caller, Role, allow
from stream_events.errors import Problem, not_found, problems
from stream_events.idempotency import IdempotencyKey, once
from stream_events.requests import database_of
from stream_events.schemas import Body, id_pattern

LINES_MAX: Final = 20
AMOUNT_MINOR_MAX: Final = 2**53 - 1

router: Final[APIRouter] = small_router()

Staff = Annotated[Caller, Depends(allow(Role.OPERATOR, Role.HOST))]
Reason = Literal["quality", "not_shipped", "goodwill", "bought_twice", "fraud", "other"]
# What settlement itself gives back, and what somebody did at Stripe's dashboard.
AnyReason = Reason | Literal["duplicate", "late_no_stock", "external"]
RefundState = Literal["CREATING", "PENDING", "SUCCEEDED", "FAILED"]
RequestPath = Annotated[str, Path(pattern=id_pattern("rrq"))]
AmountMinor = Annotated[int, Field(gt=0, le=AMOUNT_MINOR_MAX)]


class RefundIn(Body):
    """What is to go back: exactly one of `all`, `lines`, `amount_minor`, `gift` and `gift_minor`."""

    all: Annotated[Literal[True] | None, Field(description="All that is left.")] = None
    lines: Annotated[
        list[AskedLine] | None,
        Field(min_length=1, max_length=LINES_MAX, description="These units, at their price."),
    ] = None
    amount_minor: Annotated[
        AmountMinor | None, Field(description="Taken from goods and gifts in proportion.")
    ] = None
    gift: Annotated[Literal[True] | None, Field(description="All that is left of the gifts.")] = (
        None
    )
    gift_minor: Annotated[AmountMinor | None, Field(description="So much of the gifts.")] = None
    reason: Annotated[Reason, Field(description="A class of reasons, for the books.")]
    restock: Annotated[
        bool,
        Field(description="Whether the units go back on sale; with `all` or `lines` only."),
    ] = False
    request_id: Annotated[
        str | None,
        Field(pattern=id_pattern("rrq"), description="The shopper's open wish that this grants."),
    ] = None

    @model_validator(mode="after")
    def _one_target(self) -> "RefundIn":
        targets = [self.all, self.lines, self.amount_minor, self.gift, self.gift_minor]
        if sum(target is not None for target in targets) != 1:
            raise ValueError("name exactly one of all, lines, amount_minor, gift and gift_minor")
        if self.lines and len({line.sku for line in self.lines}) != len(self.lines):
            raise ValueError("name each SKU once")
        if self.restock and not (self.all or self.lines):
            raise ValueError("restock says nothing without units: use all or lines")
        return self


class RefundedLine(BaseModel):
    """Units of one SKU that go back, and what they cost."""

    sku: str
    quantity: int
    amount_minor: int


class RefundOut(BaseModel):
    """A refund and how it stands. `CREATING` is decided and not yet at Stripe, `PENDING` is on its way."""

    id: str
    order_id: str
    amount: Money
    lines: list[RefundedLine] = Field(description="The units it is for; empty for none by name.")
    gift_minor: int | None = Field(
        description="How much of it is of the gifts by name; null: in proportion."
    )
    reason: AnyReason
    restock: bool
    state: RefundState


class RefundMadeOut(BaseModel):
    """A refund just decided, and how its order stands with it."""

    refund: RefundOut
    order_state: OrderState
    refundable: Money = Field(description="What can still be given back.")


class RefundListOut(BaseModel):
    """All refunds of an order, oldest first, and what is left."""

    items: list[RefundOut]
    refundable: Money | None = Field(description="What can still be given back; staff only.")


@router.post(
    "/orders/{order_id}/refunds",
    status_code=201,
    response_model=RefundMadeOut,
    responses=problems(400, 401, 403, 404, 409, 413, 422),
)
async def post_refund(
    request: Request, caller: Staff, order_id: OrderPath, key: IdempotencyKey, body: RefundIn
) -> Response:
    """Give money of an order back. It is recorded now and sent to Stripe within seconds."""
    async with database_of(request).begin() as sql:
        turn = await once(sql, request, caller, key, body)
        if turn.replay is not None:
            return turn.replay
        await _require_visible(sql, order_id, caller)
        books = (await order_books_sql.load(sql, [order_id]))[order_id]
        row = give_back(books, _wish(body, caller))
        await order_books_sql.save(sql, [books])
        if body.request_id is not None:
            await _decide(sql, order_id, body.request_id, "ACCEPTED", caller, row.id)
        made = RefundMadeOut(
            refund=_out(books, row),
            order_state=books.state,
            refundable=Money(amount_minor=refundable_minor(books), currency=books.currency),
        )
        return await turn.answer(201, made)


@router.get("/orders/{order_id}/refunds", responses=problems(401, 403, 404, 422))
async def list_refunds(request: Request, caller: Reader, order_id: OrderPath) -> RefundListOut:
    """List the refunds of an order, oldest first, whoever decided on them."""
    async with database_of(request).begin() as sql:
        await _require_visible(sql, order_id, caller)
        books = (await order_books_sql.look(sql, [order_id]))[order_id]
    staff = caller.role in {Role.OPERATOR, Role.HOST}
    left = Money(amount_minor=refundable_minor(books), currency=books.currency)
    return RefundListOut(
        items=[_out(books, row) for row in books.refunds], refundable=left if staff else None
    )


@router.post(
    "/orders/{order_id}/refund-requests/{request_id}/decline",
    status_code=204,
    responses=problems(401, 403, 404, 409, 422),
)
async def decline_request(
    request: Request, caller: Staff, order_id: OrderPath, request_id: RequestPath
) -> None:
    """Say no to a shopper's wish; a yes is a refund that names it. Saying no twice is no mistake."""
    async with database_of(request).begin() as sql:
        await _require_visible(sql, order_id, caller)
        await lock_orders(sql, [order_id])
        await _decide(sql, order_id, request_id, "DECLINED", caller)


async def _require_visible(sql: AsyncSession, order_id: str, caller: Caller) -> None:
    found = await sql.scalar(select(Order.id).where(Order.id == order_id, own_orders(caller)))
    if found is None:
        raise not_found("order")


async def _decide(
    sql: AsyncSession,
    order_id: str,
    request_id: str,
    state: str,
    caller: Caller,
    refund_id: str | None = None,
) -> None:
    """Close the shopper's open wish, under the lock of its order; one that is closed so already stays so."""
    row = await sql.get(RefundRequest, request_id, populate_existing=True)
    if row is None or row.order_id != order_id:
        raise not_found("wish")
    if row.state == state and refund_id is None:
        return
    if row.state != "OPEN":
        raise Problem(
            409, "already_decided", "This wish was decided or withdrawn.", state=row.state
        )
    row.state, row.refund_id, row.decided_by = state, refund_id, caller.id
    row.decided_at = func.now()
    await sql.flush()


def _wish(body: RefundIn, caller: Caller) -> Wish:
    return Wish(
        reason=body.reason,
        requested_by=caller.id,
        lines=[(line.sku, line.quantity) for line in body.lines or ()],
        all_gifts=body.gift is True,
        gift_minor=body.gift_minor,
        amount_minor=body.amount_minor,
        restock=body.restock,
    )


def _out(books: OrderBooks, row: RefundRow) -> RefundOut:
    return RefundOut(
        id=row.id,
        order_id=books.order_id,
        amount=Money(amount_minor=row.amount_minor, currency=books.currency),
        lines=[
            RefundedLine(sku=sku, quantity=quantity, amount_minor=amount_minor)
            for sku, quantity, amount_minor in row.lines
        ],
        gift_minor=row.gift_minor,
        reason=cast("AnyReason", row.reason),
        restock=row.restock,
        state=cast("RefundState", row.state),
    )
