"""One sandbox for the tests that need no settings of their own."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.orders.payments.sandbox_process import RunningSandbox, running_sandbox


@pytest_asyncio.fixture(scope="session")
async def shared_sandbox() -> AsyncIterator[RunningSandbox]:
    async with running_sandbox("--processing-delay-ms", "150", "--refund-delay-ms", "150") as found:
        yield found


@pytest_asyncio.fixture
async def sandbox(shared_sandbox: RunningSandbox) -> AsyncIterator[RunningSandbox]:
    """The shared sandbox, without any fault left over from the test before."""
    yield shared_sandbox
    await shared_sandbox.faults(
        next_timeout_after_effect=0,
        next_500_stored=0,
        next_500_after_effect=0,
        next_429=0,
        latency_ms=0,
        outage=False,
        endpoint=None,
    )
