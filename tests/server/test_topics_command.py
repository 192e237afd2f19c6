"""After a restore every screen takes what was restored for the newest there is, and everything that follows."""

import time

from redis.asyncio import Redis

from realtime.announcer import Known, tick_once
from realtime.hub import Hub
from realtime.topics import read_frames
from stream_events.database import Database
from tests.factories import Sale
from tests.realtime.announced import run_sql, sell, topics
from tests.server.test_personal import command


async def test_restored_topics_are_newer_than_all_that_was_seen(
    database: Database, redis: Redis, database_url: str, redis_url: str, sale: Sale
) -> None:
    topic, screen = f"stream/{sale.stream_id}/tally", Hub()

    async def shown() -> int:
        """Return how many frames a screen takes that has seen the others."""
        async with database.begin() as sql:
            return screen.publish(await read_frames(sql, [topic]))

    known = Known()
    for _ in range(3):
        await sell(database, sale)
        await tick_once(database, redis, known)
        assert await shown() == 1
    before = (await topics(database))[topic]
    # A restored copy, and clocks that were ahead when it was made.
    ahead = (time.time_ns() // 1_000_000) + 3_600_000
    await run_sql(database, "UPDATE topics SET version = 1, state = state || '{\"units\": 1}'")
    await run_sql(
        database, "UPDATE topics SET epoch = :ahead WHERE topic LIKE '%/stock'", ahead=ahead
    )
    assert await shown() == 0
    called_ms = time.time_ns() // 1_000_000
    code, out, _ = await command(database_url, redis_url, "topics", "raise-epoch")
    rows = await topics(database)
    assert (code, out.split()[0]) == (0, str(len(rows)))
    assert rows[topic].epoch >= called_ms > before.epoch
    assert rows[f"stream/{sale.stream_id}/stock"].epoch == ahead + 1
    assert await shown() == 1
    # The announcer, which had seen the old epoch, goes on in the new one.
    known.reread_due = 0
    await tick_once(database, redis, known)
    assert await shown() == 1
    after = (await topics(database))[topic]
    assert (after.epoch, after.state["units"]) == (rows[topic].epoch, 3)
