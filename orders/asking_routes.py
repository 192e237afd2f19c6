"""What shoppers asked back, for those who decide: the wishes of a stream's orders.

A yes is a refund that names the wish, a no is its own route; both stand in ``orders.refund_routes``.
"""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy import select

from orders.asking_back import RefundRequestOut, RequestState, show_request
from orders.requests import small_router
from orders.tables import Order, RefundRequest
from stream_events.access import Caller, Role, allow
from stream_events.errors import not_found, problems
from stream_events.paging import Listing, Paged, read_page
from stream_events.requests import database_of
from stream_events.schemas import StreamPath
from stream_events.tables import Stream

router: Final = APIRouter(prefix="/v1", tags=["orders"])
_small: Final = small_router()

Staff = Annotated[Caller, Depends(allow(Role.OPERATOR, Role.HOST))]


@_small.get("/streams/{stream_id}/refund-requests", responses=problems(401, 403, 404, 422))
async def list_refund_requests(
    request: Request,
    caller: Staff,
    stream_id: StreamPath,
    page: Paged,
    state: Annotated[RequestState, Query(description="Which of them.")] = "OPEN",
) -> Listing[RefundRequestOut]:
    """List what was asked back of a stream's orders, newest first: the open wishes, unless another state is named."""
    known = select(Stream.id).where(Stream.id == stream_id)
    if caller.role is Role.HOST:
        known = known.where(Stream.host_id == caller.host_id)
    asked = (
        select(RefundRequest)
        .join(Order, Order.id == RefundRequest.order_id)
        .where(Order.stream_id == stream_id, RefundRequest.state == state)
    )
    async with database_of(request).begin() as sql:
        if await sql.scalar(known) is None:
            raise not_found("stream")
        rows, following = await read_page(sql, asked, RefundRequest.id, page)
    return Listing(items=[show_request(row) for row in rows], next=following)


router.include_router(_small)
