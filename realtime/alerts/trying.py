"""Test alerts: staff try their screens with them. They are of no order, so they are in no sum and no list of givers."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from realtime.alerts.choosing import TURN
from realtime.alerts.schemas import NewTest
from realtime.alerts.tables import Alert, AlertGroup, AlertTurn
from stream_events.tables import Campaign, Stream

BURST_COUNT = 12


async def queue_test(
    sql: AsyncSession, stream: Stream, groups: Sequence[AlertGroup], body: NewTest, at: datetime
) -> None:
    """Put a test in the queues of these groups, with a turn of its own in each."""
    goods = body.kind != "gift"
    count = BURST_COUNT if body.kind == "burst" else 1
    currency = await sql.scalar(select(Campaign.currency).where(Campaign.id == stream.campaign_id))
    alert = Alert(
        stream_id=stream.id,
        kind="test",
        sku=body.sku if goods else None,
        units=body.units * count if goods else 0,
        goods_minor=body.amount_minor * count if goods else 0,
        gift_minor=0 if goods else body.amount_minor,
        currency=currency,
        paid_at=at,
        words={
            "name": body.name,
            "message": body.message,
            "count": count,
            "biggest_minor": body.amount_minor,
        },
    )
    sql.add(alert)
    await sql.flush()
    for group in groups:
        sql.add(
            AlertTurn(
                alert_id=alert.id,
                group_name=group.name,
                stream_id=stream.id,
                sku=alert.sku or "",
                large=True,  # So it keeps its turn whatever the group calls large.
                said=False,
                lane=TURN,
                state="WAITING",
                paid_at=at,
                since=at,
            )
        )
        group.busy = True
    await sql.flush()
