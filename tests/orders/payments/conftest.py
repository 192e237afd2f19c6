"""One sandbox for the tests that need no settings of their own, and a counter that sells before it."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from orders.payments.pace import Pace
from orders.payments.webhooks import Inbox
from stream_events.database import Database
from tests.factories import Sale
from tests.orders.payments.counter import Counter
from tests.orders.payments.sandbox_process import FORGETFUL, RunningSandbox, running_sandbox


@pytest_asyncio.fixture(scope="session")
async def shared_sandbox() -> AsyncIterator[RunningSandbox]:
    delays = ("--processing-delay-ms", "150", "--refund-delay-ms", "150")
    async with running_sandbox(*delays, module=FORGETFUL) as found:
        yield found


@pytest_asyncio.fixture
async def sandbox(shared_sandbox: RunningSandbox) -> RunningSandbox:
    """The shared sandbox, with an empty account."""
    await shared_sandbox.begin_anew()
    return shared_sandbox


@pytest.fixture
def pace(redis: Redis) -> Pace:
    """A budget that no test runs out of by accident; its breaker opens at the third failure."""
    return Pace(redis, rate_per_s=1_000, failures_max=3, probe_pause_ms=50)


@pytest_asyncio.fixture
async def inbox(database: Database) -> AsyncIterator[Inbox]:
    made = Inbox(database)
    yield made
    await made.close()


@pytest.fixture
def counter(
    database: Database, sandbox: RunningSandbox, sale: Sale, pace: Pace, inbox: Inbox
) -> Counter:
    """A sale with a sandbox beside it, ready to be paid for."""
    return Counter(database, sandbox, sale, pace, inbox)
