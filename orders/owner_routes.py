"""What an order's own shopper, or whoever holds its secret link, may do about it beside paying.

An order that is not the caller's does not exist for them.
"""

from typing import Final

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from orders.asking_back import AskBackIn, RefundRequestOut, ask_back, show_request, withdraw
from orders.order_links import link, own_orders
from orders.personal_data import Erased, PersonalData, erase_own, export_own
from orders.requests import Owner, Shopper, links_of, small_router
from orders.schemas import OrderPath
from orders.tables import Order, RefundRequest
from stream_events.access import Caller
from stream_events.errors import not_found, problems
from stream_events.paging import Listing, Paged, read_page
from stream_events.requests import database_of, signer_of

router: Final = APIRouter(prefix="/v1", tags=["orders"])
_small: Final = small_router()


class OrderLinkOut(BaseModel):
    """The secret address of an order's page."""

    url: str = Field(
        description="Whoever has it may see, cancel and ask back this order: show it to its shopper only.",
        examples=["https://example.org/order#ord_01jz.5d41402abc4b2a76b9719d911017c592"],
    )


@_small.get("/orders/{order_id}/link", responses=problems(401, 403, 404, 422))
async def get_link(request: Request, caller: Shopper, order_id: OrderPath) -> OrderLinkOut:
    """Give the shopper the secret link by which this order is found again, on any device."""
    async with database_of(request).begin() as sql:
        await _require_own(sql, order_id, caller)
    return OrderLinkOut(url=link(signer_of(request), links_of(request), order_id))


@_small.post(
    "/orders/{order_id}/refund-requests",
    status_code=201,
    responses=problems(400, 401, 403, 404, 409, 413, 422),
)
async def ask_for_refund(
    request: Request, caller: Owner, order_id: OrderPath, body: AskBackIn
) -> RefundRequestOut:
    """Ask for an order, or some units of it, to be taken back; staff decide. One wish is open at a time."""
    return await ask_back(database_of(request), order_id, caller, body)


@_small.get("/orders/{order_id}/refund-requests", responses=problems(401, 403, 404, 422))
async def list_own_refund_requests(
    request: Request, caller: Owner, order_id: OrderPath, page: Paged
) -> Listing[RefundRequestOut]:
    """List what was asked for this order, newest first, and what became of it."""
    asked = select(RefundRequest).where(RefundRequest.order_id == order_id)
    async with database_of(request).begin() as sql:
        await _require_own(sql, order_id, caller)
        rows, following = await read_page(sql, asked, RefundRequest.id, page)
    return Listing(items=[show_request(row) for row in rows], next=following)


@_small.delete(
    "/orders/{order_id}/refund-requests",
    status_code=204,
    responses=problems(401, 403, 404, 422),
)
async def withdraw_refund_request(request: Request, caller: Owner, order_id: OrderPath) -> None:
    """Withdraw the open wish, if there is one."""
    await withdraw(database_of(request), order_id, caller)


@_small.get("/orders/{order_id}/data", responses=problems(401, 403, 404, 422))
async def get_personal_data(request: Request, caller: Owner, order_id: OrderPath) -> PersonalData:
    """Give out all that is stored about the person behind this order."""
    return await export_own(database_of(request), order_id, caller)


@_small.delete("/orders/{order_id}/data", responses=problems(401, 403, 404, 409, 422))
async def erase_personal_data(request: Request, caller: Owner, order_id: OrderPath) -> Erased:
    """Erase all that is stored about the person behind this order, for good. The books stay as they are."""
    return await erase_own(database_of(request), order_id, caller)


async def _require_own(sql: AsyncSession, order_id: str, caller: Caller) -> None:
    wanted = select(Order.id).where(Order.id == order_id, own_orders(caller))
    if await sql.scalar(wanted) is None:
        raise not_found("order")


router.include_router(_small)
