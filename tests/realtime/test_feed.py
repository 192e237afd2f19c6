"""The gateway's side of the bus ends when it is told to, whatever comes at that moment."""

import asyncio

from redis.asyncio import Redis

from realtime.feed import Feed, open_bus
from realtime.hub import Hub
from stream_events.database import Database


async def test_a_reader_that_is_stopped_as_a_subscription_begins_does_end(
    database: Database, redis: Redis, redis_url: str
) -> None:
    """An API process that was stopped within a moment of its start went on for ever, and had to be killed."""
    bus = open_bus(redis_url)
    feed = Feed(Hub(), database, bus, lambda _: None)
    reading = asyncio.create_task(feed.run_rereading())
    await feed.loaded.wait()
    # One round of the loop later it waits for the next subscription, which comes as it is stopped.
    await asyncio.sleep(0)
    feed._stale.set()
    reading.cancel()
    await asyncio.wait([reading], timeout=1)
    assert reading.cancelled()
    await bus.aclose()
