"""What goes on air, when, and what becomes of it: the director on PostgreSQL, by a clock that the test turns."""

from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from realtime.alerts.airing import mark_shown
from realtime.alerts.director import Round, tick_once
from realtime.alerts.tables import Airing
from realtime.shapes import Alerts
from realtime.topics import read_states
from stream_events.database import Database
from tests.factories import Sale
from tests.realtime.alerts.paid import (
    Paid,
    after,
    airings,
    judge,
    pay,
    run_sql,
    turns,
)


class Night:
    """A director that can be killed at any moment, an overlay that says what it shows, and their clock."""

    def __init__(self, database: Database, redis: Redis, sale: Sale) -> None:
        self.database, self.redis, self.sale = database, redis, sale
        self.round = Round()

    async def tick(self, seconds: float) -> None:
        await tick_once(self.database, self.redis, self.round, after(seconds), slow=True)

    async def state(self, group: str = "main") -> Alerts:
        topic = f"stream/{self.sale.stream_id}/alerts/{group}"
        async with self.database.begin() as sql:
            stored = (await read_states(sql, [topic]))[topic]
        return msgspec.convert(stored[2], Alerts)

    async def on_air(self, group: str = "main") -> Any:
        return (await self.state(group)).on_air

    async def show(self, seconds: float, group: str = "main") -> bool:
        """Say that an overlay shows what is on air."""
        on_air = await self.on_air(group)
        async with self.database.begin() as sql:
            airing = await sql.get(Airing, on_air.id)
            assert airing is not None
            return await mark_shown(sql, airing, after(seconds))

    async def set(self, group: str = "main", **fields: Any) -> None:
        await self.tick(0)
        columns = ", ".join(f"{name} = :{name}" for name in fields)
        statement = f"UPDATE alert_groups SET {columns} WHERE name = :group"  # noqa: S608
        await run_sql(self.database, statement, group=group, **fields)

    async def pay(self, *orders: Paid) -> list[str]:
        return await pay(self.database, self.sale, orders)


@pytest.fixture
def night(database: Database, redis: Redis, sale: Sale) -> Night:
    return Night(database, redis, sale)


async def test_a_payment_is_on_air_with_the_next_tick_and_off_after_its_time(night: Night) -> None:
    await night.tick(0)
    assert (await night.state()).on_air is None
    (order_id,) = await night.pay(Paid(after(1), units=3, amount_minor=8970, shipping_minor=1000))
    await night.tick(1.1)
    on_air = await night.on_air()
    assert (on_air.kind, on_air.units, on_air.amount_minor) == ("order", 3, 8970)
    assert (on_air.sku, on_air.count, on_air.shown, on_air.name) == ("PEANUT-5KG", 1, False, None)
    assert await night.show(1.5)
    assert not await night.show(1.6)
    await night.tick(1.7)
    assert (await night.on_air()).shown
    await night.tick(7.2)
    assert (await night.on_air()) is None
    (airing,) = await airings(night.database)
    assert (airing.outcome, airing.paid_to_shown_ms) == ("SHOWN", 500)
    (turn,) = await turns(night.database)
    assert (turn.state, turn.order_id, turn.airing_id) == ("TAKEN", order_id, airing.id)
