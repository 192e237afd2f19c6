"""What staff do about a stream's orders: see those whose money did not simply stay, and say how far a parcel is.

An order of somebody else's stream does not exist for a host.
"""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, Field
from sqlalchemy import Row, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from orders.fulfilment import FulfilmentInput, FulfilmentState, fulfilment_verdict
from orders.lifecycle import FULFILLABLE, OrderState
from orders.locks import lock_orders
from orders.order_view import show_orders
from orders.requests import pace_of, small_router
from orders.schemas import OrderOut, OrderPath
from orders.tables import MONEY_MOVED, Order
from orders.verdicts import Ignore, Quarantine
from stream_events.access import Caller, Role, allow
from stream_events.errors import Problem, not_found, problems
from stream_events.paging import Listing, Paged, read_page
from stream_events.requests import database_of
from stream_events.schemas import Body, StreamPath
from stream_events.streams import own_stream

router: Final = APIRouter(prefix="/v1", tags=["orders"])
_small: Final = small_router()

Staff = Annotated[Caller, Depends(allow(Role.OPERATOR, Role.HOST))]
MovedState = Literal[
    "LATE_PAID", "REFUND_PENDING", "REFUND_FAILED", "PART_REFUNDED", "REFUNDED", "DISPUTED"
]

# Units may be on the road only for money that stands, of goods that were sold for it.
_SENDABLE: Final = FULFILLABLE | {OrderState.PART_REFUNDED}
_SOLD: Final = text(
    "SELECT EXISTS (SELECT FROM stock_moves WHERE source_id = :id AND kind IN ('C', 'L'))"
)


class FulfilmentIn(Body):
    """A step of the parcel."""

    step: Annotated[
        Literal["PACK", "SHIP", "DELIVER", "RETURN"],
        Field(description="Packed, given to the carrier, received, or back with us."),
    ]


class FulfilmentOut(BaseModel):
    """How far the parcel is now."""

    id: str
    fulfilment: FulfilmentState


@_small.get("/streams/{stream_id}/orders", responses=problems(401, 403, 404, 422))
async def list_moved_orders(
    request: Request,
    caller: Staff,
    stream_id: StreamPath,
    page: Paged,
    state: Annotated[MovedState | None, Query(description="Only those in this state.")] = None,
) -> Listing[OrderOut]:
    """List a stream's orders whose money went back, is going back, failed to, or is disputed; newest first."""
    rate_per_s = await pace_of(request).rate_per_s()
    states = [state] if state else list(MONEY_MOVED)
    wanted = select(Order).where(Order.stream_id == stream_id, Order.state.in_(states))
    async with database_of(request).begin() as sql:
        await own_stream(sql, caller, stream_id)
        orders, following = await read_page(sql, wanted, Order.id, page)
        items = await show_orders(sql, orders, rate_per_s, secrets=False)
    return Listing(items=items, next=following)


@_small.post("/orders/{order_id}/fulfilment", responses=problems(400, 401, 403, 404, 409, 413, 422))
async def move_parcel(
    request: Request, caller: Staff, order_id: OrderPath, body: FulfilmentIn
) -> FulfilmentOut:
    """Say that a parcel was packed, shipped, delivered or returned. A step told twice counts once."""
    async with database_of(request).begin() as sql:
        found = await lock_orders(sql, [order_id])
        if not found:
            raise not_found("order")
        order = found[0]
        try:
            await own_stream(sql, caller, order.stream_id)
        except Problem:
            raise not_found("order") from None
        return FulfilmentOut(
            id=order_id, fulfilment=await _step(sql, order, FulfilmentInput(body.step))
        )


async def _step(sql: AsyncSession, order: Row[Any], happened: FulfilmentInput) -> FulfilmentState:
    stands = FulfilmentState(order.fulfilment)
    ruled = fulfilment_verdict(stands, happened)
    if isinstance(ruled, Ignore):
        return stands
    if isinstance(ruled, Quarantine):
        raise Problem(
            409, "wrong_step", "Parcels go from packed to shipped to delivered.", fulfilment=stands
        )
    leaving = happened in {FulfilmentInput.PACK, FulfilmentInput.SHIP}
    if leaving and not await _may_leave(sql, order):
        raise Problem(409, "nothing_to_send", "Only goods that are sold and paid leave the house.")
    moved = {"fulfilment": ruled}
    delivered = {"delivered_at": func.now()} if ruled is FulfilmentState.DELIVERED else {}
    await sql.execute(
        update(Order)
        .where(Order.id == order.id, Order.fulfilment == stands)
        .values(**moved, **delivered)
    )
    return ruled


async def _may_leave(sql: AsyncSession, order: Row[Any]) -> bool:
    if OrderState(order.state) not in _SENDABLE:
        return False
    return bool((await sql.execute(_SOLD, {"id": order.id})).scalar_one())


router.include_router(_small)
