"""What an order's own shopper, or whoever holds its secret link, may do about it beside paying.

An order that is not the caller's does not exist for them.
"""

from typing import Annotated, Final, cast

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy import select

from orders.order_links import link, own_orders
from orders.schemas import OrderPath
from orders.tables import Order
from stream_events.access import Caller, Role, allow
from stream_events.errors import not_found, problems
from stream_events.links import Links
from stream_events.requests import database_of, signer_of

JSON_BYTES_MAX: Final = 16 * 1024

router: Final = APIRouter(prefix="/v1", tags=["orders"])
_small: Final = APIRouter(max_body_size=JSON_BYTES_MAX)

Shopper = Annotated[Caller, Depends(allow(Role.SHOPPER))]
Owner = Annotated[Caller, Depends(allow(Role.SHOPPER, Role.HOLDER))]


class OrderLinkOut(BaseModel):
    """The secret address of an order's page."""

    url: str = Field(
        description="Whoever has it may see, cancel and ask back this order: show it to its shopper only.",
        examples=["https://example.org/order#ord_01jz.5d41402abc4b2a76b9719d911017c592"],
    )


def _links_of(request: Request) -> Links:
    return cast("Links", request.state.links)


@_small.get("/orders/{order_id}/link", responses=problems(401, 403, 404, 422))
async def get_link(
    request: Request, response: Response, caller: Shopper, order_id: OrderPath
) -> OrderLinkOut:
    """Give the shopper the secret link by which this order is found again, on any device."""
    wanted = select(Order.id).where(Order.id == order_id, own_orders(caller))
    async with database_of(request).begin() as sql:
        if await sql.scalar(wanted) is None:
            raise not_found("order")
    response.headers["cache-control"] = "no-store"
    return OrderLinkOut(url=link(signer_of(request), _links_of(request), order_id))


router.include_router(_small)
