"""The ground that tests stand on: if a test could see another's leftovers, no other test could be believed."""

import pytest
from redis.asyncio import Redis
from sqlalchemy import func, select

from stream_events.database import Database
from stream_events.tables import Campaign
from tests.factories import Sale


@pytest.mark.parametrize("turn", [1, 2])
async def test_every_test_begins_with_empty_engines(
    database: Database, redis: Redis, turn: int
) -> None:
    async with database.begin() as sql:
        assert await sql.scalar(select(func.count()).select_from(Campaign)) == 0
        sql.add(
            Campaign(
                id=f"cmp_{turn}", name="Left over", currency="CNY", mode="sandbox", goal_minor=0
            )
        )
    assert await redis.dbsize() == 0
    await redis.set("left", "over")


async def test_the_sale_is_live_and_on_offer(sale: Sale, database: Database) -> None:
    async with database.begin() as sql:
        assert await sql.scalar(select(func.count()).select_from(Campaign)) == 1
    assert sale.total == 100
