"""Sales as settlement posts them, and an ear on the bus: what tests of the announcer share."""

import asyncio
from typing import Any

import msgspec
from redis.asyncio import Redis
from sqlalchemy import text

from orders.ledger import accounts
from orders.ledger.post import CAPTURE, REFUND, post
from realtime.frames import CHANNEL
from stream_events.database import Database
from stream_events.ids import new_id
from tests.factories import Sale


class Listener:
    """Everything published on the bus, in order."""

    def __init__(self) -> None:
        self.frames: list[dict[str, Any]] = []

    def of(self, topic: str) -> list[dict[str, Any]]:
        return [frame for frame in self.frames if frame["topic"] == topic]

    async def run(self, redis: Redis, ready: asyncio.Event) -> None:
        async with redis.pubsub() as pubsub:
            await pubsub.subscribe(CHANNEL)
            while True:
                message = await pubsub.get_message(timeout=None)
                if message["type"] == "subscribe":
                    ready.set()
                else:
                    self.frames += msgspec.json.decode(message["data"])


async def sell(
    database: Database, sale: Sale, quantity: int = 1, kind: str = CAPTURE, **given: Any
) -> str:
    """Post a sale of ¥29.90 a unit as settlement does: 80 % farmer, 15 % beneficiary, 5 % fees."""
    order_id, gross = given.pop("order_id", new_id("ord")), 2990 * quantity
    sign = -1 if kind == REFUND else 1
    farmer, cause = gross * 80 // 100, gross * 15 // 100
    parts = [
        (accounts.STRIPE_CLEARING, gross),
        (accounts.farmer(sale.farmer_id), -farmer),
        (accounts.beneficiary(sale.beneficiary_id), -cause),
        (accounts.PLATFORM_FEES, -(gross - farmer - cause)),
    ]
    async with database.begin() as sql:
        await sql.execute(
            text(
                "INSERT INTO orders (id, stream_id, shopper_id, state, total_minor, currency, place, placed_at)"
                " VALUES (:id, :stream, 'shp_1', 'PAID', :total, 'CNY', 1, now()) ON CONFLICT DO NOTHING"
            ),
            {"id": order_id, "stream": sale.stream_id, "total": gross},
        )
        await post(
            sql,
            orders=sign,
            campaign_id=sale.campaign_id,
            stream_id=sale.stream_id,
            kind=kind,
            source_id=new_id("pi"),
            order_id=order_id,
            currency="CNY",
            entries=[(account, sign * amount_minor) for account, amount_minor in parts],
            lines=[(sale.sku, quantity)],
        )
    return order_id


async def run_sql(database: Database, statement: str, **values: Any) -> None:
    async with database.begin() as sql:
        await sql.execute(text(statement), values)


async def topics(database: Database) -> dict[str, Any]:
    async with database.begin() as sql:
        rows = (await sql.execute(text("SELECT * FROM topics"))).all()
    return {row.topic: row for row in rows}
