"""Paying over HTTP, by our own page or by Stripe's, and taking an order back before it is paid."""

from typing import Final

from fastapi import APIRouter, Request
from sqlalchemy import select

from orders.cancelling import cancel_order
from orders.order_links import own_orders
from orders.payment_schemas import CancelOut, CheckoutOut, PaymentOptionsOut
from orders.payments.card_testing import CardTesting
from orders.payments.checkout_mode import Buyer, close_checkout, open_checkout
from orders.payments.pay import Payer, pay
from orders.payments.payable import read_payable
from orders.requests import Owner, Reader, Shopper, links_of, pace_of, small_router, stripe_of
from orders.schemas import Money, OrderPath, PayIn, PayOut
from orders.tables import Order
from stream_events.access import Caller
from stream_events.errors import not_found, problems
from stream_events.requests import database_of, redis_of, signer_of

router: Final[APIRouter] = small_router()


@router.get("/orders/{order_id}/payment-options", responses=problems(401, 403, 404, 422))
async def get_payment_options(
    request: Request, caller: Owner, order_id: OrderPath
) -> PaymentOptionsOut:
    """Say by which means this order can be paid."""
    async with database_of(request).begin() as sql:
        own = await sql.scalar(select(Order.id).where(Order.id == order_id, own_orders(caller)))
        order = await read_payable(sql, order_id) if own else None
    if order is None:
        raise not_found("order")
    return PaymentOptionsOut.model_validate(
        {
            "methods": order.methods,
            "total": Money(amount_minor=order.total_minor, currency=order.currency),
            "return_url": _page_of(request, order_id),
        }
    )


@router.post(
    "/orders/{order_id}/pay", responses=problems(400, 401, 403, 404, 409, 410, 413, 422, 429, 503)
)
async def pay_order(request: Request, caller: Shopper, order_id: OrderPath, body: PayIn) -> PayOut:
    """Pay an order whose turn it is. `checking` is no failure: ask for the order again in a moment."""
    payer = Payer(
        order_id,
        caller.id,
        body.confirmation_token,
        _address_of(request),
        _page_of(request, order_id),
    )
    return await pay(
        database_of(request), stripe_of(request), pace_of(request), payer, _card_testing(request)
    )


@router.post(
    "/orders/{order_id}/checkout", responses=problems(401, 403, 404, 409, 410, 422, 429, 503)
)
async def post_checkout(request: Request, caller: Owner, order_id: OrderPath) -> CheckoutOut:
    """Open Stripe's own page for paying an order whose turn it is; a repeat gets the same page while it is open."""
    await _require_own(request, caller, order_id)
    buyer = Buyer(order_id, _page_of(request, order_id), _address_of(request))
    url, expires_at = await open_checkout(
        database_of(request), stripe_of(request), pace_of(request), buyer, _card_testing(request)
    )
    return CheckoutOut(url=url, expires_at=expires_at)


@router.delete(
    "/orders/{order_id}/checkout",
    status_code=204,
    responses=problems(401, 403, 404, 409, 422, 503),
)
async def delete_checkout(request: Request, caller: Owner, order_id: OrderPath) -> None:
    """Close Stripe's page unpaid, so that the order can be paid another way."""
    await _require_own(request, caller, order_id)
    await close_checkout(database_of(request), stripe_of(request), pace_of(request), order_id)


@router.post("/orders/{order_id}/cancel", responses=problems(401, 403, 404, 409, 422))
async def post_cancel(request: Request, caller: Reader, order_id: OrderPath) -> CancelOut:
    """Take an order back before it is paid. Where a payment was begun, Stripe is asked first."""
    state = await cancel_order(database_of(request), order_id, caller)
    return CancelOut(id=order_id, state=state)


async def _require_own(request: Request, caller: Caller, order_id: str) -> None:
    async with database_of(request).begin() as sql:
        if not await sql.scalar(select(Order.id).where(Order.id == order_id, own_orders(caller))):
            raise not_found("order")


def _card_testing(request: Request) -> CardTesting:
    return CardTesting(redis_of(request), signer_of(request))


def _address_of(request: Request) -> str | None:
    """Return where the request came from: the server believes a proxy's header only where it is told to."""
    return request.client.host if request.client else None


def _page_of(request: Request, order_id: str) -> str:
    return f"{links_of(request).public_url}/pay/{order_id}"
