"""The whole application in front of real engines, as it is served, with things in it to try it on."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpx
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from redis.asyncio import Redis
from sqlalchemy import select
from starlette.types import Receive, Scope, Send

from inventory.gate import Gate
from inventory.rebuild import tend_once
from server.app import create_app
from server.settings import Settings
from stream_events.access import Signer
from stream_events.database import Database
from stream_events.ids import new_id
from stream_events.tables import Principal
from tests.factories import Sale, bearer, seed_sale
from tests.orders.mail.paid_orders import paid
from tests.orders.placing import run_sql

# Whoever may most comes first.
ROLES: Final = ("operator", "shopper", "host", "holder", "farmer", "overlay", "moderator", "public")


@dataclass(frozen=True, slots=True)
class Served:
    """The whole application, who may do what in it, and what there is to do it to."""

    client: httpx.AsyncClient
    app: FastAPI
    credentials: Mapping[str, Mapping[str, str]]
    ids: Mapping[str, str]
    paid_id: str
    signer: Signer
    webhook_secret: str


@asynccontextmanager
async def serving(
    database: Database, redis: Redis, database_url: str, redis_url: str, **given: Any
) -> AsyncIterator[Served]:
    """Serve the whole application, with a live sale and two orders in it, one of them paid.

    ``given`` are settings that differ from those of other tests.
    """
    settings = Settings(
        DATABASE_URL=database_url,
        REDIS_URL=redis_url,
        secret_key="5a" * 32,
        shoppers_per_minute=0,
        orders_per_second_per_shopper=0,
        **given,
    )
    asgi: Any = create_app(settings)
    app: Any = asgi
    while not isinstance(app, FastAPI):
        app = app._app
    async with AsyncExitStack() as stack:
        state: Any = await stack.enter_async_context(app.router.lifespan_context(app))
        sale = await seed_sale(database, state["signer"])
        gate = Gate(redis_url, timeout_s=1.0)
        stack.push_async_callback(gate.close)
        await tend_once(database, gate)
        await run_sql(
            database,
            "INSERT INTO campaign_causes VALUES ($1, $2, 1)",
            sale.campaign_id,
            sale.beneficiary_id,
        )
        await state["catalogue"].refresh()

        async def with_state(scope: Scope, receive: Receive, send: Send) -> None:
            await asgi({**scope, "state": dict(state)}, receive, send)

        transport = httpx.ASGITransport(with_state, raise_app_exceptions=False)
        client = await stack.enter_async_context(
            httpx.AsyncClient(transport=transport, base_url="http://testserver")
        )
        await redis.set("worker:beat", 2**53)
        yield await _furnished(
            client, app, database, sale, state["signer"], state["webhook_secrets"][0]
        )


async def _furnished(
    client: httpx.AsyncClient,
    app: FastAPI,
    database: Database,
    sale: Sale,
    signer: Signer,
    webhook_secret: str,
) -> Served:
    placed = await client.post(
        f"/v1/streams/{sale.stream_id}/orders",
        json={"lines": [{"sku": sale.sku, "quantity": 2}]},
        headers=sale.auth("shopper") | {"idempotency-key": "first"},
    )
    assert placed.status_code == 201, placed.text
    order_id = placed.json()["id"]
    link = await client.get(f"/v1/orders/{order_id}/link", headers=sale.auth("shopper"))
    credentials = {role: sale.auth(role) for role in ROLES if role != "holder"}
    credentials["holder"] = bearer(link.json()["url"].partition("#")[2])
    async with database.begin() as sql:
        overlay = select(Principal.id).where(Principal.role == "overlay")
        overlay_id = (await sql.execute(overlay)).scalar_one()
    ids = {
        "order_id": order_id,
        "principal_id": overlay_id,
        "request_id": new_id("rrq"),
        "match_id": new_id("mat"),
        "milestone_id": new_id("mst"),
        "account": f"farmer/{sale.farmer_id}",
        "sku": sale.sku,
        "group": "main",
    }
    owned = ("campaign_id", "host_id", "farmer_id", "beneficiary_id", "stream_id", "product_id")
    ids |= {name: getattr(sale, name) for name in owned}
    bought = await paid(database, sale, quantity=3)
    return Served(client, app, credentials, ids, bought.order_id, signer, webhook_secret)


def roles_of(app: FastAPI) -> dict[str, set[str]]:
    """Return the routes of the description, each with whoever may call it; everybody where that is the public."""
    found: dict[str, set[str]] = {}
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        if isinstance(route, APIRoute) and route.include_in_schema:
            roles = _roles(route.dependant)
            everybody = set(ROLES) if "public" in roles else roles
            found |= {f"{method} {context.path}": everybody for method in context.methods or ()}
    return found


def _roles(dependant: Any) -> set[str]:
    found: set[str] = set()
    for dependency in dependant.dependencies:
        found |= {role.value for role in getattr(dependency.call, "allowed_roles", ())}
        found |= _roles(dependency)
    return found
