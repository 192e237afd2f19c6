"""What the roof put into ``request.state`` for orders, typed: the way to Stripe and what watches over it."""

from typing import Annotated, Final, cast

from fastapi import APIRouter, Depends, Request

from orders.payments.pace import Pace
from orders.payments.stripe_gateway import StripeGateway
from orders.payments.webhooks import Inbox
from stream_events.access import Caller, Role, allow
from stream_events.links import Links

JSON_BYTES_MAX: Final = 16 * 1024

Shopper = Annotated[Caller, Depends(allow(Role.SHOPPER))]
Owner = Annotated[Caller, Depends(allow(Role.SHOPPER, Role.HOLDER))]
Reader = Annotated[Caller, Depends(allow(Role.SHOPPER, Role.HOLDER, Role.OPERATOR, Role.HOST))]


def small_router() -> APIRouter:
    """Return a router whose bodies are a few fields and never more."""
    return APIRouter(max_body_size=JSON_BYTES_MAX)


def pace_of(request: Request) -> Pace:
    """Return the shared budget of Stripe calls."""
    return cast("Pace", request.state.pace)


def stripe_of(request: Request) -> StripeGateway:
    """Return the way to Stripe, or to the sandbox."""
    return cast("StripeGateway", request.state.stripe)


def inbox_of(request: Request) -> Inbox:
    """Return the way into the stored events."""
    return cast("Inbox", request.state.inbox)


def links_of(request: Request) -> Links:
    """Return the addresses that answers hand out."""
    return cast("Links", request.state.links)
