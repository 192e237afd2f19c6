"""The HTTP application put together: one flat function from settings to an app that answers.

Whatever lives as long as the process is made in the lifespan and handed to requests as ``request.state``; there
are no singletons.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp

import inventory.routes
import orders.answers.routes
import orders.asking_routes
import orders.donation_routes
import orders.mail.routes
import orders.owner_routes
import orders.place_route
import orders.routes
import orders.staff_routes
import realtime.alerts.routes
import realtime.board_routes
import realtime.feed_routes
import realtime.milestone_routes
import realtime.moderation.routes
import realtime.protocol_routes
import realtime.rehearsals.routes
import realtime.routes
import realtime.text_routes
import stream_events.routes
from inventory.gate import Gate
from inventory.offers import Catalogue
from orders.checkout import Checkout
from orders.donations import Donations
from orders.hot_routes import HotRoutes
from orders.payments.webhooks import Inbox
from realtime import pages_routes
from realtime.feed import open_bus
from realtime.newest import Newest
from realtime.site import build_of_static
from server import health
from server.cross_origin import CrossOrigin
from server.edge import Edge
from server.resources import pace, redis_client, stripe_gateway
from server.settings import Settings
from stream_events import errors, outages
from stream_events.access import Signer
from stream_events.database import Database
from stream_events.kept_answers import KeptAnswers
from stream_events.limits import Limits

DESCRIPTION = """
A charity livestream as a shop that cannot oversell and a total that cannot lie.

Money is whole minor units beside an ISO 4217 currency. Refusals are RFC 9457 problem documents with a stable
`code`. POSTs that take stock or money want an `Idempotency-Key`: the same key always gets the same answer.
"""


def create_app(settings: Settings, leaving: asyncio.Event | None = None) -> ASGIApp:
    """Return the application, the hot routes in front of it.

    ``leaving`` is set when the process is about to end, before the lifespan ends: who waits for news is let go then.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        async with AsyncExitStack() as stack:
            yield await _start(settings, stack, leaving or asyncio.Event())

    app = FastAPI(
        title="stream-events",
        version="0.1.0",
        description=DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        lifespan=lifespan,
        docs_url=None,  # the stock pages load scripts from other hosts
        redoc_url=None,
    )
    errors.install(app)
    outages.install(app)
    for module in (
        stream_events.routes,
        inventory.routes,
        orders.place_route,
        orders.donation_routes,
        orders.routes,
        orders.owner_routes,
        orders.asking_routes,
        orders.staff_routes,
        orders.answers.routes,
        orders.mail.routes,
        realtime.routes,
        realtime.alerts.routes,
        realtime.board_routes,
        realtime.milestone_routes,
        realtime.moderation.routes,
        realtime.rehearsals.routes,
        realtime.feed_routes,
        realtime.protocol_routes,
        realtime.text_routes,
        health,
    ):
        app.include_router(module.router)
    pages_routes.install(app)
    return HotRoutes(CrossOrigin(Edge(app)))


async def _start(
    settings: Settings, stack: AsyncExitStack, leaving: asyncio.Event
) -> dict[str, Any]:
    """Open what requests need, and have it closed in the opposite order."""
    stop = asyncio.Event()
    database = Database(
        str(settings.database_url), connections_max=16, application_name="stream-events api"
    )
    stack.push_async_callback(database.close)
    redis = redis_client(settings)
    stack.push_async_callback(redis.aclose)
    gate = Gate(str(settings.redis_url))
    stack.push_async_callback(gate.close)
    catalogue = Catalogue(database)
    await catalogue.refresh()
    checkout = Checkout(database, gate, catalogue, settings.orders_per_second_per_shopper)
    stack.push_async_callback(checkout.close)
    donations = Donations(database, catalogue, checkout)
    stack.push_async_callback(donations.close)
    inbox = Inbox(database)
    stack.push_async_callback(inbox.close)
    stripe = stripe_gateway(settings)
    stack.push_async_callback(stripe.aclose)
    bus = open_bus(str(settings.redis_url))
    stack.push_async_callback(bus.aclose)
    newest = Newest(database, bus, build_of_static())
    await newest.load()
    loops = [asyncio.create_task(loop.run(stop)) for loop in (catalogue, checkout, newest)]
    letting_go = asyncio.create_task(newest.run_leaving(leaving))

    async def end_loops() -> None:
        stop.set()
        letting_go.cancel()
        await asyncio.gather(*loops)

    stack.push_async_callback(end_loops)
    return {
        "database": database,
        "redis": redis,
        "signer": Signer(settings.signing_secret()),
        "catalogue": catalogue,
        "newest": newest,
        "checkout": checkout,
        "donations": donations,
        "gate": gate,
        "inbox": inbox,
        "stripe": stripe,
        "pace": pace(settings, redis),
        "webhook_secrets": settings.webhook_secrets(),
        "links": settings.links(),
        "kept_answers": KeptAnswers(),
        "limits": Limits(settings.shoppers_per_minute, settings.orders_per_second_per_shopper),
    }
