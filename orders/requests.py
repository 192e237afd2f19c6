"""What the roof put into ``request.state`` for orders, typed: the way to Stripe and what watches over it."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, Request, Response
from fastapi.routing import APIRoute
from starlette.types import Message

from orders.payments.pace import Pace
from orders.payments.stripe_gateway import StripeGateway
from orders.payments.webhooks import Inbox
from orders.raw_requests import read_body
from stream_events.access import Caller, Role, allow
from stream_events.links import Links

Shopper = Annotated[Caller, Depends(allow(Role.SHOPPER))]
Owner = Annotated[Caller, Depends(allow(Role.SHOPPER, Role.HOLDER))]
Reader = Annotated[Caller, Depends(allow(Role.SHOPPER, Role.HOLDER, Role.OPERATOR, Role.HOST))]


class SmallRoute(APIRoute):
    """A route that reads no more than a small body; the framework's own bound answers in plain text."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler behind the bound."""
        handle = super().get_route_handler()

        async def handle_small(request: Request) -> Response:
            unread = [await read_body(dict(request.scope["headers"]), request.receive)]

            async def receive() -> Message:
                if unread:
                    return {"type": "http.request", "body": unread.pop()}
                return await request.receive()

            return await handle(Request(request.scope, receive))

        return handle_small


def small_router() -> APIRouter:
    """Return a router whose bodies are a few fields and never more."""
    return APIRouter(route_class=SmallRoute)


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
