"""What tests of placing and paying share: a gate in force, the catalogue that goes with it, and a checkout."""

from collections.abc import AsyncIterator

import pytest_asyncio

from inventory.gate import Gate
from inventory.offers import Catalogue
from inventory.rebuild import tend_once
from orders.checkout import Checkout
from stream_events.database import Database
from tests.factories import Sale


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
