"""Gateways to test against: a bare one over a hub of its own, and a whole process's worth with feed and bus."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from redis.asyncio import Redis
from websockets.asyncio.client import ClientConnection, connect

from realtime.frames import SUBPROTOCOL, Frame, Pass, state_frame
from realtime.gateway import Gateway, GatewayLimits
from realtime.gateway_process import run_gateway
from realtime.hub import Hub
from realtime.tickets import make_ticket, read_ticket
from stream_events.access import Signer
from tests.realtime.announced import Listener

TALLY = "stream/str_1/tally"


def frame(version: int, *, epoch: int = 1, topic: str = TALLY, **state: Any) -> Frame:
    """Make a frame of a topic."""
    return state_frame(topic, epoch, version, 1_000 + version, state or {"raised_minor": version})


@dataclass
class Served:
    """A listening gateway, the signer it trusts, and its hub; of a whole process only the first two are real."""

    port: int
    signer: Signer
    hub: Hub
    _stack: AsyncExitStack = field(repr=False)
    gateway: Gateway | None = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/"

    async def open(self, **given: Any) -> ClientConnection:
        """Connect without saying anything yet; closed at the end of the test."""
        options = {"subprotocols": [SUBPROTOCOL], "compression": None, "close_timeout": 1}
        client = connect(self.url, **{**options, **given})
        return await self._stack.enter_async_context(client)

    async def watch(
        self,
        *topics: str,
        kind: str = "overlay",
        key_id: str | None = None,
        have: dict[str, Any] | None = None,
        **given: Any,
    ) -> ClientConnection:
        """Connect, show a ticket for ``topics``, and take the hello."""
        client = await self.open(**given)
        await client.send(self.first_message(*topics, kind=kind, key_id=key_id, have=have))
        assert (await said(client))["t"] == "hello"
        return client

    def first_message(
        self,
        *topics: str,
        kind: str = "overlay",
        key_id: str | None = None,
        have: dict[str, Any] | None = None,
    ) -> str:
        """Return what a viewer says first."""
        message: dict[str, Any] = {
            "ticket": make_ticket(self.signer, Pass(kind, topics or (TALLY,), key_id))
        }
        if have is not None:
            message["have"] = have
        return msgspec.json.encode(message).decode()


async def said(client: ClientConnection, within_s: float = 3.0) -> dict[str, Any]:
    """Return the next message that is not a beat."""
    async with asyncio.timeout(within_s):
        while True:
            message: dict[str, Any] = msgspec.json.decode(await client.recv())
            if message["t"] != "beat":
                return message


async def until(
    condition: Callable[[], bool] | Callable[[], Awaitable[bool]], within_s: float = 3.0
) -> None:
    """Wait for something to become true; fail the test if it does not."""
    ends = time.monotonic() + within_s
    while True:
        found = condition()
        if await found if isinstance(found, Awaitable) else found:
            return
        assert time.monotonic() < ends, "it did not happen in time"
        await asyncio.sleep(0.01)


@pytest.fixture
def gateway_limits() -> GatewayLimits:
    """Short times, so that a test of a deadline need not wait for the real one."""
    return GatewayLimits(first_message_s=0.5, behind_s_max=0.6, drain_s=0.2)


@pytest_asyncio.fixture(loop_scope="session")
async def served(signer: Signer, gateway_limits: GatewayLimits) -> AsyncIterator[Served]:
    """Serve from a bare hub: neither SQL nor bus."""
    hub = Hub()
    gateway = Gateway(
        hub, lambda ticket: read_ticket(signer, ticket), build="b1", limits=gateway_limits
    )
    server = await gateway.listen("127.0.0.1", 0)
    sweep = asyncio.create_task(gateway.run_sweep())
    async with AsyncExitStack() as stack:
        port = next(iter(server.sockets)).getsockname()[1]
        yield Served(port, signer, hub, stack, gateway)
    sweep.cancel()
    with suppress(asyncio.CancelledError):
        await sweep
    await gateway.close(server)


@pytest_asyncio.fixture(loop_scope="session")
async def start_process(
    signer: Signer, redis_url: str, database_url: str, gateway_limits: GatewayLimits
) -> AsyncIterator[Callable[[], Any]]:
    """Give a way to run whole gateways, each in an ``async with`` block of its own."""

    @asynccontextmanager
    async def start() -> AsyncIterator[Served]:
        stop, listening = asyncio.Event(), asyncio.get_running_loop().create_future()
        task = asyncio.create_task(
            run_gateway(
                host="127.0.0.1",
                port=0,
                signer=signer,
                redis_url=redis_url,
                database_url=database_url,
                stop=stop,
                limits=gateway_limits,
                on_listening=listening.set_result,
            )
        )
        await asyncio.wait([task, listening], timeout=5, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
        async with AsyncExitStack() as stack:
            yield Served(listening.result(), signer, Hub(), stack)
            # Before the viewers leave by themselves, so that they see how the gateway goes.
            stop.set()
            await task

    yield start


@pytest_asyncio.fixture(loop_scope="session")
async def bus(redis: Redis, redis_url: str) -> AsyncIterator[Listener]:
    own = Redis.from_url(redis_url, protocol=3, socket_timeout=None)
    listener, ready = Listener(), asyncio.Event()
    task = asyncio.create_task(listener.run(own, ready))
    await ready.wait()
    yield listener
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await own.aclose()
