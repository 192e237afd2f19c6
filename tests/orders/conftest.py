"""What tests of placing and paying share: a gate in force, the catalogue that goes with it, and a checkout."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from starlette.types import Receive, Scope, Send

from inventory.gate import Gate
from inventory.offers import Catalogue
from inventory.rebuild import tend_once
from orders import donation_routes, place_route
from orders.checkout import Checkout
from orders.donations import Donations
from orders.hot_routes import HotRoutes
from stream_events.database import Database
from tests.applications import make_app
from tests.factories import Sale, make_beneficiary
from tests.orders.placing import run_sql


@pytest_asyncio.fixture(loop_scope="session")
async def gate(redis: object, redis_url: str) -> AsyncIterator[Gate]:
    """A gate of this test's own, with more patience than in earnest."""
    made = Gate(redis_url, timeout_s=1.0)
    yield made
    await made.close()


@pytest_asyncio.fixture(loop_scope="session")
async def sale_catalogue(database: Database, sale: Sale, gate: Gate) -> Catalogue:
    """The catalogue with the sale in it, its gate installed."""
    made = Catalogue(database)
    await tend_once(database, gate)
    await made.refresh()
    return made


@pytest_asyncio.fixture(loop_scope="session")
async def checkout(
    database: Database, gate: Gate, sale_catalogue: Catalogue
) -> AsyncIterator[Checkout]:
    """A checkout without a rate limit."""
    made = Checkout(database, gate, sale_catalogue, attempts_per_second=0)
    yield made
    await made.close()


@pytest_asyncio.fixture(loop_scope="session")
async def causes(database: Database, sale: Sale, sale_catalogue: Catalogue) -> tuple[str, str]:
    """Two causes of the sale's campaign, in the order they are offered in."""
    async with database.begin() as sql:
        second = (await make_beneficiary(sql, name="School", name_zh=None)).id
    await run_sql(
        database,
        "INSERT INTO campaign_causes VALUES ($1, $2, 1), ($1, $3, 2)",
        sale.campaign_id,
        sale.beneficiary_id,
        second,
    )
    await sale_catalogue.refresh()
    return sale.beneficiary_id, second


@pytest_asyncio.fixture(loop_scope="session")
async def giving(
    database: Database, sale_catalogue: Catalogue, checkout: Checkout
) -> AsyncIterator[Donations]:
    made = Donations(database, sale_catalogue, checkout)
    yield made
    await made.close()


@pytest_asyncio.fixture(loop_scope="session", params=["hot", "declared"])
async def giving_shop(
    request: pytest.FixtureRequest,
    app_state: dict[str, Any],
    sale_catalogue: Catalogue,
    checkout: Checkout,
    giving: Donations,
    causes: tuple[str, str],
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the routes, by either way; an unhandled error fails the test."""
    state = {
        **app_state,
        "catalogue": sale_catalogue,
        "checkout": checkout,
        "donations": giving,
    }
    declared = make_app([place_route.router, donation_routes.router], state)

    async def hot(scope: Scope, receive: Receive, send: Send) -> None:
        await HotRoutes(declared)({**scope, "state": state}, receive, send)

    app = hot if request.param == "hot" else declared
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://testserver"
    ) as client:
        yield client
