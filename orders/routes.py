"""Orders over HTTP, after they were placed: how they stand, where they go, and what Stripe tells us.

Placing itself is the one hot route and stands apart (``orders.place_route``), and so does paying
(``orders.payment_routes``). An order that is not the caller's does not exist for them.
"""

import time
from typing import Annotated, Final

import structlog
from fastapi import APIRouter, Depends, Request, Response
from sqlalchemy import select

from orders.contacts import erase_contact, give_contact
from orders.matches_routes import router as matches_router
from orders.order_links import own_orders
from orders.order_view import show_orders
from orders.payment_routes import router as payment_router
from orders.payments.webhook_signature import SignatureError, verify
from orders.payments.webhooks import BODY_BYTES_MAX, read_body, read_event
from orders.pledges import router as pledges_router
from orders.refund_routes import router as refund_router
from orders.requests import Owner, Reader, Shopper, inbox_of, pace_of, small_router
from orders.schemas import ContactIn, OrderOut, OrderPath
from orders.tables import Order
from orders.transfers import router as transfers_router
from stream_events.access import Caller, Role, allow
from stream_events.batching import Closed, QueueFull
from stream_events.errors import Problem, not_found, problems, unavailable
from stream_events.paging import Listing, Paged, read_page
from stream_events.requests import database_of

log = structlog.get_logger(__name__)

router: Final = APIRouter(prefix="/v1", tags=["orders"])
_small: Final = small_router()

Anyone = Annotated[Caller, Depends(allow(Role.PUBLIC))]


@_small.get("/orders/{order_id}", responses=problems(401, 403, 404, 422))
async def get_order(request: Request, caller: Reader, order_id: OrderPath) -> OrderOut:
    """Read how an order stands: its place in the queue, until when it can be paid, how the payment goes."""
    rate_per_s = await pace_of(request).rate_per_s()
    wanted = select(Order).where(Order.id == order_id, own_orders(caller))
    async with database_of(request).begin() as sql:
        order = await sql.scalar(wanted)
        if order is None:
            raise not_found("order")
        secrets = caller.role is Role.SHOPPER
        return (await show_orders(sql, [order], rate_per_s, secrets=secrets))[0]


@_small.get("/orders", responses=problems(401, 403, 422))
async def list_orders(request: Request, caller: Shopper, page: Paged) -> Listing[OrderOut]:
    """List the shopper's own orders, newest first."""
    rate_per_s = await pace_of(request).rate_per_s()
    mine = select(Order).where(Order.shopper_id == caller.id)
    async with database_of(request).begin() as sql:
        orders, following = await read_page(sql, mine, Order.id, page)
        items = await show_orders(sql, orders, rate_per_s, secrets=True)
    return Listing(items=items, next=following)


@_small.put(
    "/orders/{order_id}/contact",
    status_code=204,
    responses=problems(400, 401, 403, 404, 409, 413, 422),
)
async def put_contact(
    request: Request, caller: Owner, order_id: OrderPath, body: ContactIn
) -> None:
    """Say (or correct) where the order goes, any time until it is packed."""
    await give_contact(database_of(request), order_id, caller, body)


@_small.delete(
    "/orders/{order_id}/contact", status_code=204, responses=problems(401, 403, 404, 409, 422)
)
async def delete_contact(request: Request, caller: Owner, order_id: OrderPath) -> None:
    """Erase name, contact and address of the order."""
    await erase_contact(database_of(request), order_id, caller)


@router.post(
    "/webhooks/stripe",
    status_code=200,
    response_class=Response,
    responses=problems(400, 413, 503),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"type": "object"}}},
        }
    },
)
async def receive_stripe_event(request: Request, _caller: Anyone) -> Response:
    """Take an event from Stripe: 200 means that it is stored, not that anything was done about it."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and len(declared) < 19 and int(declared) > BODY_BYTES_MAX:
        raise Problem(413, "body_too_large", f"A webhook has at most {BODY_BYTES_MAX} bytes.")
    body = await read_body(request.stream())
    secrets: tuple[str, ...] = request.state.webhook_secrets
    try:
        verify(body, request.headers.get("stripe-signature"), secrets, time.time())
    except SignatureError as error:
        log.warning("webhook_refused", reason=error.reason, body_bytes=len(body))
        raise Problem(400, "bad_signature", "This was not signed as we expect it.") from error
    try:
        await inbox_of(request).keep(read_event(body))
    except (QueueFull, Closed) as error:
        raise unavailable("Too many events at once; send it again.") from error
    return Response(b"{}", media_type="application/json")


router.include_router(_small)
router.include_router(payment_router)
router.include_router(refund_router)
router.include_router(matches_router)
router.include_router(pledges_router)
router.include_router(transfers_router)
