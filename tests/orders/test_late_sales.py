"""A late sale asks the guard for stock at once, and still keeps to the one lock order: pots before stock."""

import asyncio

from sqlalchemy import text

from orders.settlement import settle
from stream_events.database import Database
from tests.factories import Sale
from tests.orders.payers import place, rows, state_of
from tests.orders.test_matching_sql import make_match


async def test_a_late_sale_waits_for_the_pots_before_it_holds_any_stock(
    database: Database, sale: Sale
) -> None:
    """Another payment holds a pot and wants stock next: held the other way round, the two would wait for ever."""
    await make_match(database, sale, covers="all")
    late = await place(database, sale, "EXPIRED")
    async with database.begin() as other:
        await other.execute(text("SELECT 1 FROM matches FOR NO KEY UPDATE"))
        settling = asyncio.create_task(settle(database, [late.payment()]))
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        for _ in range(200):
            if (await rows(database, waiting))[0][0]:
                break
            await asyncio.sleep(0.02)
        assert not settling.done()
        await other.execute(text("SELECT 1 FROM shopper_units FOR NO KEY UPDATE NOWAIT"))
        await other.execute(text("SELECT 1 FROM stock FOR NO KEY UPDATE NOWAIT"))
        await other.execute(text("SELECT 1 FROM stream_gate FOR NO KEY UPDATE NOWAIT"))
    await settling
    assert (await state_of(database, late))[0] == "PAID"
    assert await rows(database, "SELECT count(*) FROM match_uses") == [(1,)]
