"""The gateway's side of the bus: one subscription a process, and SQL to catch up from whatever it missed.

Pub/sub forgets: a message is lost when a connection drops, a buffer overflows or Redis fails over. So all newest
states are read on every (re)subscription, and the versions are looked at every two seconds, whatever Redis does.
With them it learns which keys have ended; only about keys whose viewers are connected does it ask, so that an audience
without keys costs no query.
"""

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Final

import asyncpg
import msgspec
import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from realtime.frames import CHANNEL, unpack
from realtime.hub import Hub
from realtime.tickets import ended_keys
from realtime.topics import TOPICS_PER_QUERY_MAX, differing_topics, read_frames
from stream_events.database import Database

log = structlog.get_logger(__name__)

REREAD_S: Final = 2.0
KEYS_PER_QUERY_MAX: Final = 1_000
BACKOFF_S_MIN: Final = 0.1
BACKOFF_S_MAX: Final = 2.0
SQL_AWAY: Final = (SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError)


def open_bus(redis_url: str) -> Redis:
    """Open a client that may wait for a message for ever; a reconnection is ours to notice, so it retries nothing."""
    return Redis.from_url(
        redis_url,
        protocol=3,
        socket_timeout=None,
        socket_connect_timeout=2,
        retry=Retry(NoBackoff(), 0),
    )


class Feed:
    """Keeps one hub's frames the newest there are. ``loaded`` is set once all of them were read.

    ``on_ended`` is told the connected keys that are revoked, have expired, or whose principal is disabled.
    """

    def __init__(
        self,
        hub: Hub,
        database: Database,
        bus: Redis,
        on_ended: Callable[[Collection[str]], None],
    ) -> None:
        self._hub = hub
        self._database = database
        self._bus = bus
        self._on_ended = on_ended
        self._stale = asyncio.Event()
        self._read_at = ""
        self.loaded = asyncio.Event()

    async def catch_up(self) -> int:
        """Read what SQL has newer than the hub; returns how many frames that were.

        Where nothing was committed since all of it was read, there is nothing newer, however many topics there are.
        """
        snapshot = await self._database.snapshot()
        if snapshot == self._read_at:
            return 0
        async with self._database.begin() as sql:
            topics = await differing_topics(sql, self._hub.ages())
        taken = 0
        for first in range(0, len(topics), TOPICS_PER_QUERY_MAX):
            async with self._database.begin() as sql:
                frames = await read_frames(sql, topics[first : first + TOPICS_PER_QUERY_MAX])
            taken += self._hub.publish(frames)
        self._read_at = snapshot
        return taken

    async def look_at_keys(self) -> None:
        """Tell of connected keys that have ended; asks nothing where nobody came with a key."""
        keys = self._hub.keys()
        for first in range(0, len(keys), KEYS_PER_QUERY_MAX):
            async with self._database.begin() as sql:
                ended = await ended_keys(sql, keys[first : first + KEYS_PER_QUERY_MAX])
            if ended:
                self._on_ended(ended)

    async def run_rereading(self) -> None:
        """Catch up every ``REREAD_S`` seconds, and at once when the subscription was made anew."""
        backoff_s = BACKOFF_S_MIN
        while True:
            self._stale.clear()
            try:
                await self.catch_up()
                await self.look_at_keys()
            except SQL_AWAY as error:
                log.warning("frames_not_read", error=type(error).__name__)
                await asyncio.sleep(backoff_s)
                backoff_s = min(BACKOFF_S_MAX, 2 * backoff_s)
                continue
            backoff_s = BACKOFF_S_MIN
            self.loaded.set()
            with suppress(TimeoutError):
                # Not wait_for: Python 3.11's forgets that it was cancelled when what it waits for comes at that moment.
                async with asyncio.timeout(REREAD_S):
                    await self._stale.wait()

    async def run_listening(self) -> None:
        """Pass on what the announcer publishes, over as many subscriptions as it takes."""
        backoff_s = BACKOFF_S_MIN
        while True:
            try:
                async with self._bus.pubsub() as pubsub:
                    await pubsub.subscribe(CHANNEL)
                    while True:
                        await self._take(pubsub)
                        backoff_s = BACKOFF_S_MIN
            except (RedisError, OSError) as error:
                log.warning("bus_lost", error=type(error).__name__)
            await asyncio.sleep(backoff_s)
            backoff_s = min(BACKOFF_S_MAX, 2 * backoff_s)

    async def _take(self, pubsub: PubSub) -> None:
        message = await pubsub.get_message(timeout=None)
        if message is None:
            return
        if message["type"] == "subscribe":
            # What was published before this moment never reached us.
            self._stale.set()
        elif message["type"] == "message":
            try:
                frames = unpack(message["data"])
            except msgspec.DecodeError:
                log.warning("frames_unreadable", bytes=len(message["data"]))
                return
            self._hub.publish(frames)
