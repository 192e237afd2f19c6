"""An earlier night with known figures, and a stream of the same host that may rehearse with it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from orders.ledger import accounts
from orders.ledger.post import DONATION, MATCH, post
from realtime.announcer import Known, tick_once
from realtime.frames import part_of
from realtime.shapes import SHAPES
from stream_events.database import Database
from stream_events.ids import new_id
from tests.factories import Sale, make_stream
from tests.realtime.announced import run_sql, sell

BAGS = (1, 3, 2, 5, 1, 4)
STRANGER = "Zhang of the earlier night"
GIFT_MINOR = 5_000


@dataclass(frozen=True, slots=True)
class Earlier:
    """``sale`` is over: an order every ``step`` from ``began_at`` on, a gift after the last. ``stage`` rehearses."""

    sale: Sale
    stage: str
    began_at: datetime
    step: timedelta

    @property
    def path(self) -> str:
        return f"/v1/streams/{self.stage}/rehearsal"

    def topic(self, part: str) -> str:
        return f"rehearsal/{self.stage}/{part}"


async def make_earlier(
    database: Database, redis: Redis, sale: Sale, step: timedelta = timedelta(seconds=10)
) -> Earlier:
    """Sell as on any night, then move it all to yesterday."""
    known = Known()
    for place, quantity in enumerate(BAGS):
        order_id = await sell(database, sale, quantity)
        await _take_from_stock(database, sale, order_id, quantity)
        if not place:
            await run_sql(
                database,
                "INSERT INTO order_messages (order_id, name, message, display, consent_at)"
                " VALUES (:id, :name, :name, 'SHOWN', now())",
                id=order_id,
                name=STRANGER,
            )
        await tick_once(database, redis, known)
    match_id = await _give(database, sale)
    await tick_once(database, redis, known)
    began_at = (datetime.now(UTC) - timedelta(days=1)).replace(hour=12)
    await _move_to(database, sale, began_at, step, match_id)
    async with database.begin() as sql:
        stage = await make_stream(
            sql,
            sale.campaign_id,
            sale.host_id,
            title="Dress rehearsal",
            state="scheduled",
            live_at=None,
            goal_minor=777,
        )
    await run_sql(
        database,
        "INSERT INTO milestones (id, stream_id, counts, threshold, title) VALUES (:id, :stream, 'units', 6, 'Six')",
        id=new_id("mst"),
        stream=stage.id,
    )
    return Earlier(sale, stage.id, began_at, step)


async def _take_from_stock(database: Database, sale: Sale, order_id: str, quantity: int) -> None:
    for kind in ("R", "C"):
        await run_sql(
            database,
            "INSERT INTO stock_moves (source_id, stock_id, kind, stream_id, quantity)"
            " VALUES (:order, :stock, :kind, :stream, :quantity)",
            order=order_id,
            stock=sale.stock_id,
            kind=kind,
            stream=sale.stream_id,
            quantity=quantity,
        )
    await run_sql(
        database,
        "UPDATE stock SET sold = sold + :quantity WHERE id = :id",
        quantity=quantity,
        id=sale.stock_id,
    )


async def _give(database: Database, sale: Sale) -> str:
    """Post a gift that a sponsor doubles."""
    order_id, match_id, payment = new_id("ord"), new_id("mat"), new_id("pi")
    cause = accounts.beneficiary(sale.beneficiary_id)
    await run_sql(
        database,
        "INSERT INTO orders (id, stream_id, shopper_id, state, total_minor, currency, place, placed_at)"
        " VALUES (:id, :stream, 'shp_2', 'PAID', 5000, 'CNY', 2, now())",
        id=order_id,
        stream=sale.stream_id,
    )
    parts: list[tuple[str, str, str]] = [
        (DONATION, payment, accounts.STRIPE_CLEARING),
        (MATCH, f"{payment}:{match_id}", accounts.sponsor(match_id)),
    ]
    async with database.begin() as sql:
        for kind, source_id, account in parts:
            await post(
                sql,
                gifts=1 if kind == DONATION else 0,
                campaign_id=sale.campaign_id,
                stream_id=sale.stream_id,
                kind=kind,
                source_id=source_id,
                order_id=order_id,
                currency="CNY",
                entries=[(account, GIFT_MINOR), (cause, -GIFT_MINOR)],
                lines=[],
            )
    return match_id


@asynccontextmanager
async def pretending(database: Database) -> AsyncIterator[AsyncSession]:
    """The books refuse to be changed; only a test may pretend that time passed."""
    async with database.begin() as sql:
        for what in ("DISABLE", "ENABLE"):
            for table in ("seals", "tally_history", "stock_moves"):
                await sql.execute(text(f"ALTER TABLE {table} {what} TRIGGER USER"))
            if what == "DISABLE":
                yield sql


async def _move_to(
    database: Database, sale: Sale, began_at: datetime, step: timedelta, match_id: str
) -> None:
    """Let the n-th tally be of ``began_at`` + n steps, and everything of it of the same instant."""
    given: dict[str, Any] = {"began": began_at, "step": step, "stream": sale.stream_id}
    async with pretending(database) as sql:
        await sql.execute(text(_MOVE_SEALS), given)
        await sql.execute(text(_MOVE_HISTORY), given)
        await sql.execute(text(_MOVE_STOCK), given)
        await sql.execute(text(_END), {**given, "steps": len(BAGS) + 2})
    await run_sql(
        database,
        "INSERT INTO matches (id, campaign_id, position, sponsor, covers, ratio_bp, pot_minor, starts_at, ends_at)"
        " VALUES (:id, :campaign, 1, 'Golden Mill', 'gifts', 10000, 20000, :from, :to)",
        id=match_id,
        campaign=sale.campaign_id,
        **{"from": began_at, "to": began_at + 20 * step},
    )


async def history(database: Database, sale: Sale) -> list[dict[str, Any]]:
    """Return the tallies of a stream in order, as far as topics tell them."""
    wanted = "SELECT * FROM tally_history WHERE scope_id = :id ORDER BY seq"
    async with database.begin() as sql:
        rows = (await sql.execute(text(wanted), {"id": sale.stream_id})).mappings().all()
    return [{name: row[name] for name in row if name not in ("scope_id", "at")} for row in rows]


async def told(database: Database, earlier: Earlier) -> dict[str, dict[str, Any]]:
    """Return what the rehearsal's topics say by part, each held to its shape."""
    wanted = "SELECT topic, state FROM topics WHERE topic LIKE 'rehearsal/%'"
    async with database.begin() as sql:
        rows = (await sql.execute(text(wanted))).all()
    for row in rows:
        msgspec.convert(row.state, SHAPES[part_of(row.topic)], strict=True)
    assert all(row.topic.startswith(f"rehearsal/{earlier.stage}/") for row in rows)
    return {row.topic.split("/", 2)[2]: row.state for row in rows}


async def wind_to(database: Database, earlier: Earlier, into_the_night_s: float) -> None:
    """Let the rehearsal have begun so long ago that it is there now."""
    await run_sql(
        database,
        "UPDATE rehearsals SET started_at = clock_timestamp() - make_interval(secs => :s) / speed"
        " WHERE stream_id = :stream",
        s=into_the_night_s,
        stream=earlier.stage,
    )


_MOVE_SEALS = """
UPDATE seals SET sealed_at = CAST(:began AS timestamptz) + n * CAST(:step AS interval)
FROM (SELECT seq, row_number() OVER (ORDER BY seq) AS n FROM tally_history WHERE scope_id = :stream) h
WHERE seals.seq <= h.seq
  AND seals.seq > coalesce((SELECT max(seq) FROM tally_history WHERE scope_id = :stream AND seq < h.seq), 0)
"""
_MOVE_HISTORY = """
UPDATE tally_history SET at = CAST(:began AS timestamptz) + n * CAST(:step AS interval)
FROM (SELECT seq, row_number() OVER (ORDER BY seq) AS n FROM tally_history WHERE scope_id = :stream) h
WHERE tally_history.scope_id = :stream AND tally_history.seq = h.seq
"""
_MOVE_STOCK = """
UPDATE stock_moves SET at = CAST(:began AS timestamptz) + m.nth * CAST(:step AS interval)
FROM (SELECT source_id AS id, row_number() OVER (ORDER BY at) AS nth
      FROM stock_moves WHERE kind = 'R' AND stream_id = :stream) m
WHERE source_id = m.id
"""
_END = """
UPDATE streams SET state = 'ended', live_at = :began,
                   ended_at = CAST(:began AS timestamptz) + :steps * CAST(:step AS interval)
WHERE id = :stream
"""
