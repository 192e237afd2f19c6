"""What is announced is what was committed: the ledger's totals under their numbers, and nothing twice."""

import asyncio
import time
from datetime import timedelta
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from sqlalchemy import text

from realtime import announcer
from realtime.announcer import Known, run_announcer, tick_once
from realtime.bus import announced_at_ms
from stream_events.database import Database
from stream_events.ids import new_id
from tests.factories import Sale, make_stream
from tests.realtime.announced import Listener, run_sql, sell, topics
from tests.realtime.conftest import until


async def test_the_first_tick_announces_everything_and_the_next_nothing(
    database: Database, redis: Redis, sale: Sale, bus: Listener
) -> None:
    board = Known()
    first = await tick_once(database, redis, board)
    assert first == len(await topics(database))
    assert await tick_once(database, redis, board) == 0
    await until(lambda: len(bus.frames) == first)
    states = {frame["topic"]: frame["state"] for frame in bus.frames}
    assert states[f"stream/{sale.stream_id}/tally"] == {
        "seq": 0,
        "raised_minor": 0,
        "sales_minor": 0,
        "goal_minor": 1_000_000,
        "currency": "CNY",
        "orders": 0,
        "units": 0,
        "gifts": 0,
        "gifts_minor": 0,
        "matched_minor": 0,
    }
    assert states[f"campaign/{sale.campaign_id}/tally"]["goal_minor"] == 10_000_000
    assert states[f"farmer/{sale.farmer_id}/sales"] == {
        "units": 0,
        "income_minor": 0,
        "currency": "CNY",
        "last": [],
    }
    assert states[f"stream/{sale.stream_id}/stock"] == {
        "items": [
            {
                "sku": sale.sku,
                "total": 100,
                "left": 100,
                "reserved": 0,
                "sold": 0,
                "sold_out_in_ms": None,
            }
        ],
        "sold_out_at": None,
    }
    status = states[f"stream/{sale.stream_id}/status"]
    assert (status["state"], status["title_zh"]) == ("live", "花生之夜")
    assert status["live_at"].endswith("Z")
    looked = await announced_at_ms(redis)
    assert looked is not None
    assert abs(looked - time.time() * 1000) < 5_000


async def test_a_published_tally_is_the_ledger_at_its_number(
    database: Database, redis: Redis, sale: Sale, bus: Listener
) -> None:
    board = Known()
    await tick_once(database, redis, board)
    for quantity in (1, 2, 3):
        await sell(database, sale, quantity)
        await sell(database, sale, quantity)
        # Of the stream its tally, tonight and its farmers; of the campaign the tally; of the farmer the sales.
        assert await tick_once(database, redis, board) == 5
    topic = f"stream/{sale.stream_id}/tally"
    await until(lambda: len(bus.of(topic)) == 4)
    for frame in bus.of(topic):
        async with database.begin() as sql:
            row = (
                await sql.execute(
                    text("""
            SELECT coalesce(sum(amount_minor) FILTER (WHERE account LIKE 'beneficiary/%'), 0) AS raised,
                   coalesce(sum(amount_minor) FILTER (WHERE account = 'stripe/clearing'), 0) AS sales
            FROM ledger_entries e JOIN seals s USING (transaction_id) WHERE s.seq <= :seq"""),
                    {"seq": frame["seq"]},
                )
            ).one()
        assert frame["state"]["raised_minor"] == -row.raised
        assert frame["state"]["sales_minor"] == row.sales
        assert frame["state"]["orders"] == frame["seq"] == frame["state"]["seq"]
    assert [frame["version"] for frame in bus.of(topic)] == [1, 2, 3, 4]
    assert bus.of(topic)[-1]["state"]["units"] == 12


async def test_every_published_frame_is_the_committed_row(
    database: Database, redis: Redis, sale: Sale, bus: Listener
) -> None:
    board, frames = Known(), 0
    for _ in range(3):
        await sell(database, sale)
        frames += await tick_once(database, redis, board)
    rows = await topics(database)
    await until(lambda: len(bus.frames) == frames)
    for topic, row in rows.items():
        last = bus.of(topic)[-1]
        assert (last["epoch"], last["version"]) == (row.epoch, row.version)
        assert last["state"] == row.state
        assert last["at"] == int(row.at.timestamp() * 1000)


async def test_goals_stock_and_status_move_without_the_ledger(
    database: Database, redis: Redis, sale: Sale, bus: Listener
) -> None:
    board = Known()
    first = await tick_once(database, redis, board)
    await run_sql(database, "UPDATE streams SET goal_minor = 2000000")
    assert await tick_once(database, redis, board) == 1
    await run_sql(database, "UPDATE stock SET reserved = 60, sold = 39")
    assert await tick_once(database, redis, board) == 1
    await run_sql(database, "UPDATE stock SET reserved = 61")
    assert await tick_once(database, redis, board) == 1
    await run_sql(database, "UPDATE stock SET reserved = 60, sold = 40")
    assert await tick_once(database, redis, board) == 1
    await run_sql(database, "UPDATE stock SET reserved = 0")
    assert await tick_once(database, redis, board) == 1
    await run_sql(database, "UPDATE streams SET state = 'ended', ended_at = now()")
    assert await tick_once(database, redis, board) == 1
    await until(lambda: len(bus.frames) == first + 6)
    stock = [frame["state"] for frame in bus.of(f"stream/{sale.stream_id}/stock")]
    assert [state["items"][0]["left"] for state in stock] == [100, 1, 0, 0, 60]
    assert stock[1]["sold_out_at"] is None
    assert stock[2]["sold_out_at"] == stock[3]["sold_out_at"] is not None
    assert stock[4]["sold_out_at"] is None
    assert bus.of(f"stream/{sale.stream_id}/tally")[-1]["state"]["goal_minor"] == 2_000_000
    assert bus.of(f"stream/{sale.stream_id}/status")[-1]["state"]["state"] == "ended"


async def test_how_long_an_offer_took_to_sell_out_is_what_the_moves_say(
    database: Database, redis: Redis, sale: Sale
) -> None:
    """Whenever it is looked at: by an announcer that saw it happen, and by one that comes an hour later."""
    move = (
        "INSERT INTO stock_moves (source_id, stock_id, kind, stream_id, quantity, rel_seq, at)"
        " VALUES (:id, :stock, :kind, :stream, :n, :number, timestamptz '2026-11-22T12:00:00Z' + :after)"
    )

    async def moved(kind: str, n: int, after_s: float, number: int | None = None) -> None:
        source = {"id": new_id("adj" if kind == "A" else "ord"), "kind": kind, "n": n}
        given = {"stock": sale.stock_id, "stream": sale.stream_id, "number": number}
        await run_sql(database, move, **source, **given, after=timedelta(seconds=after_s))

    async def took(board: Known) -> int | None:
        await tick_once(database, redis, board)
        state = (await topics(database))[f"stream/{sale.stream_id}/stock"].state
        ms: int | None = state["items"][0]["sold_out_in_ms"]
        return ms

    opened = "SET {} = timestamptz '2026-11-22T12:00:00Z' + :after"
    await run_sql(database, f"UPDATE streams {opened}".format("live_at"), after=timedelta(0))
    await run_sql(database, f"UPDATE offers {opened}".format("created_at"), after=timedelta(-9))
    board = Known()
    await moved("R", 60, 30)
    await moved("R", 40, 118.042)
    await moved("X", 1, 119, 1)
    assert await took(board) is None
    await run_sql(database, "UPDATE stock SET reserved = 100")
    assert await took(board) == await took(Known()) == 118_042
    await moved("C", 100, 200)
    await run_sql(database, "UPDATE stock SET reserved = 0, sold = 100")
    assert await took(board) == await took(Known()) == 118_042
    await run_sql(database, "UPDATE stock SET total = 105")
    assert await took(board) is None
    await moved("A", -5, 300, 2)
    await run_sql(database, "UPDATE stock SET total = 100")
    assert await took(board) == 300_000
    await run_sql(
        database, f"UPDATE offers {opened}".format("opens_at"), after=timedelta(seconds=60)
    )
    await run_sql(database, "UPDATE topics SET state = '{}' WHERE topic LIKE '%/stock'")
    assert await took(Known()) == 240_000
    await run_sql(database, "UPDATE streams SET live_at = NULL, state = 'scheduled'")
    await run_sql(database, "UPDATE topics SET state = '{}' WHERE topic LIKE '%/stock'")
    assert await took(Known()) is None


async def test_streams_that_are_not_live_are_swept_and_drafts_stay_unseen(
    database: Database, redis: Redis, sale: Sale, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcer, "SWEEP_S", 0.0)
    monkeypatch.setattr("realtime.states.SWEEP_MAX", 2)
    monkeypatch.setattr(announcer, "SWEEP_MAX", 2)
    async with database.begin() as sql:
        for state in ("scheduled",) * 5 + ("draft",):
            await make_stream(sql, sale.campaign_id, sale.host_id, state=state, live_at=None)
    board = Known()
    for _ in range(4):
        await tick_once(database, redis, board)
    found = [topic for topic in await topics(database) if topic.endswith("/status")]
    assert len(found) == 6
    await run_sql(database, "UPDATE streams SET title = 'New' WHERE state = 'scheduled'")
    assert sum([await tick_once(database, redis, board) for _ in range(4)]) == 5


async def test_two_announcers_never_put_an_older_state_over_a_newer(
    database: Database,
    redis: Redis,
    sale: Sale,
    bus: Listener,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One has looked and is about to write when a sale comes and the other ticks."""
    slow, quick = Known(), Known()
    await tick_once(database, redis, slow)
    await tick_once(database, redis, quick)
    await run_sql(database, "UPDATE streams SET goal_minor = 1")
    looked, sold = asyncio.Event(), asyncio.Event()
    true_write = announcer.write_states

    async def late_write(*given: Any) -> Any:
        looked.set()
        await sold.wait()
        return await true_write(*given)

    monkeypatch.setattr(announcer, "write_states", late_write)
    late = asyncio.create_task(tick_once(database, redis, slow))
    await looked.wait()
    monkeypatch.setattr(announcer, "write_states", true_write)
    await sell(database, sale)
    await tick_once(database, redis, quick)
    sold.set()
    await late
    await tick_once(database, redis, quick)
    topic = f"stream/{sale.stream_id}/tally"
    await until(lambda: bus.of(topic)[-1]["seq"] == 1)
    seqs = [frame["seq"] for frame in sorted(bus.of(topic), key=lambda one: one["version"])]
    assert seqs == sorted(seqs)
    assert (await topics(database))[topic].state["seq"] == 1


async def test_a_change_by_another_announcer_is_noticed_and_undone(
    database: Database, redis: Redis, sale: Sale, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A zombie may have published something after us that no longer holds."""
    monkeypatch.setattr(announcer, "REREAD_S", 0.0)
    board = Known()
    await tick_once(database, redis, board)
    await run_sql(
        database, "UPDATE topics SET version = version + 1, state = '{}' WHERE topic LIKE '%/stock'"
    )
    assert await tick_once(database, redis, board) == 1
    row = (await topics(database))[f"stream/{sale.stream_id}/stock"]
    assert (row.version, row.state["items"][0]["left"]) == (3, 100)


async def test_versions_go_on_rising_over_a_database_put_back(
    database: Database, redis: Redis, sale: Sale, bus: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcer, "REREAD_S", 0.0)
    board = Known()
    await tick_once(database, redis, board)
    topic = f"stream/{sale.stream_id}/stock"
    for reserved in (1, 2, 3):
        await run_sql(database, "UPDATE stock SET reserved = :n", n=reserved)
        await tick_once(database, redis, board)
    await run_sql(database, "UPDATE topics SET version = 1 WHERE topic = :topic", topic=topic)
    await run_sql(database, "UPDATE stock SET reserved = 0")
    await tick_once(database, redis, board)
    await until(lambda: len(bus.of(topic)) == 5)
    assert [frame["version"] for frame in bus.of(topic)] == [1, 2, 3, 4, 5]


async def test_a_bus_that_is_down_costs_no_tick(database: Database, sale: Sale) -> None:
    nowhere = Redis.from_url("redis://127.0.0.1:1", retry=Retry(NoBackoff(), 0))
    assert await tick_once(database, nowhere, Known()) == len(await topics(database)) > 5
    await nowhere.aclose()


async def test_a_posting_that_cannot_be_sealed_stops_totals_but_not_stock(
    database: Database, redis: Redis, sale: Sale
) -> None:
    board = Known()
    await tick_once(database, redis, board)
    await sell(database, sale)
    await run_sql(database, "ALTER TABLE ledger_transactions DISABLE TRIGGER USER")
    await run_sql(database, "UPDATE ledger_transactions SET kind = 'surplus', commitment = 'x'")
    await run_sql(database, "ALTER TABLE ledger_transactions ENABLE TRIGGER USER")
    await run_sql(database, "UPDATE stock SET reserved = 1")
    assert await tick_once(database, redis, board) == 1
    assert (await topics(database))[f"stream/{sale.stream_id}/tally"].state["seq"] == 0


async def test_a_seal_that_breaks_off_leaves_nothing_behind(
    database: Database, redis: Redis, sale: Sale, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def half(sql: Any) -> list[Any]:
        await sql.execute(text("UPDATE campaigns SET goal_minor = 7"))
        raise ValueError("no leaf may hold this")

    monkeypatch.setattr(announcer, "seal_once", half)
    await tick_once(database, redis, Known())
    state = (await topics(database))[f"campaign/{sale.campaign_id}/tally"].state
    assert state["goal_minor"] == 10_000_000


async def test_the_loop_survives_errors_and_stops_when_told(
    database: Database, redis: Redis, sale: Sale, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = iter((True, True))
    true_tick = announcer.tick_once

    async def tick(*given: Any) -> int:
        if next(failures, False):
            raise OSError("the database is away")
        return await true_tick(*given)

    monkeypatch.setattr(announcer, "tick_once", tick)
    stop = asyncio.Event()
    loop = asyncio.create_task(run_announcer(database, redis, stop, tick_s=0.01))

    async def announced() -> bool:
        return f"stream/{sale.stream_id}/tally" in await topics(database)

    async def counted() -> bool:
        return bool((await topics(database))[f"stream/{sale.stream_id}/tally"].state["units"])

    await until(announced, within_s=5)
    await sell(database, sale)
    await until(counted, within_s=5)
    stop.set()
    await asyncio.wait_for(loop, 1)
