"""A gateway as a process of its own: hub, feed and socket server put together and taken down in order.

It is apart from ``realtime.gateway`` because the socket core must not know SQL, and this does.
"""

import asyncio
import resource
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from realtime.audience import report_viewers
from realtime.bus import announced_at_ms
from realtime.feed import Feed, open_bus
from realtime.gateway import Gateway, GatewayLimits
from realtime.hub import Hub
from realtime.tickets import read_ticket
from stream_events.access import Signer
from stream_events.database import Database
from stream_events.ids import new_id

log = structlog.get_logger(__name__)

REPORT_S: Final = 2.0
PULSE_S: Final = 1.0
SILENT_S_MAX: Final = 5.0
DESCRIPTORS_SPARE: Final = 100


async def run_gateway(
    *,
    host: str,
    port: int,
    signer: Signer,
    redis_url: str,
    database_url: str,
    stop: asyncio.Event,
    build: str = "",
    limits: GatewayLimits | None = None,
    on_listening: Callable[[int], None] | None = None,
) -> None:
    """Serve viewers until ``stop``, then close them in slices.

    Listening starts once all newest frames were read, so that a snapshot is never empty for want of time;
    ``on_listening`` is then told the port. An error that no loop survives ends the process: viewers come back.
    """
    database = Database(database_url, connections_max=2, application_name="stream-events gateway")
    bus = open_bus(redis_url)
    hub = Hub()
    pulse = Pulse()
    gateway = Gateway(
        hub,
        lambda ticket: read_ticket(signer, ticket),
        build=build,
        limits=_within_descriptors(limits or GatewayLimits()),
        is_live=pulse.beats,
    )
    feed = Feed(hub, database, bus, gateway.revoke)
    try:
        async with asyncio.TaskGroup() as group:
            loops = [
                group.create_task(loop)
                for loop in (
                    feed.run_listening(),
                    feed.run_rereading(),
                    gateway.run_beats(),
                    gateway.run_sweep(),
                    _run_reports(hub, bus),
                    pulse.run(bus),
                )
            ]
            if await _first(feed.loaded, stop):
                server = await gateway.listen(host, port)
                bound = next(iter(server.sockets)).getsockname()[1]
                log.info("gateway_listening", port=bound)
                if on_listening is not None:
                    on_listening(bound)
                await stop.wait()
                await gateway.close(server)
            for loop in loops:
                loop.cancel()
    finally:
        await bus.aclose()
        await database.close()


def _within_descriptors(limits: GatewayLimits) -> GatewayLimits:
    """Let this process open a socket for each viewer, or let in no more viewers than it can: the rest are told so."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = limits.connections_max + DESCRIPTORS_SPARE
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return limits
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return replace(limits, connections_max=allowed - DESCRIPTORS_SPARE)


async def _first(event: asyncio.Event, stop: asyncio.Event) -> bool:
    """Return whether ``event`` came before ``stop``."""
    waits = [asyncio.create_task(one.wait()) for one in (event, stop)]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    return not stop.is_set()


class Pulse:
    """Whether an announcer looked at the books lately; screens may call themselves live only while one does."""

    def __init__(self) -> None:
        self._looked_at_ms = 0

    def beats(self) -> bool:
        """Return whether the last look is not older than ``SILENT_S_MAX``."""
        return time.time_ns() // 1_000_000 - self._looked_at_ms < SILENT_S_MAX * 1000

    async def run(self, bus: Redis) -> None:
        """Keep asking. While Redis does not answer, the last look just grows older."""
        while True:
            try:
                async with asyncio.timeout(REPORT_S):
                    self._looked_at_ms = await announced_at_ms(bus) or 0
            except (RedisError, OSError, TimeoutError) as error:
                log.warning("announcer_not_seen", error=type(error).__name__)
            await asyncio.sleep(PULSE_S)


async def _run_reports(hub: Hub, bus: Redis) -> None:
    gateway_id = new_id("gw")
    while True:
        try:
            async with asyncio.timeout(REPORT_S):
                await report_viewers(bus, gateway_id, hub.counts())
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("viewers_not_reported", error=type(error).__name__)
        await asyncio.sleep(REPORT_S)
