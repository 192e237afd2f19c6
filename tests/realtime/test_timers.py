"""A timer takes its step at its moment, once, and only if it still means it."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from inventory.offers import Catalogue
from realtime import timers
from realtime.timers import run_timers, step_due
from stream_events.database import Database
from tests.factories import Sale, make_stream
from tests.realtime.announced import run_sql
from tests.realtime.conftest import until


async def _row(database: Database, sale: Sale) -> Any:
    async with database.begin() as sql:
        return (
            await sql.execute(
                text(
                    "SELECT s.*, b.timer_at, b.timer_what, extract(epoch FROM s.live_at - s.opens_at) AS late_s"
                    " FROM streams s JOIN boards b ON b.stream_id = s.id WHERE s.id = :id"
                ),
                {"id": sale.stream_id},
            )
        ).one()


async def _set(database: Database, sale: Sale, what: str, in_s: float) -> None:
    """Set a timer as the route does, only sooner."""
    state = "scheduled" if what == "opens" else "live"
    await run_sql(
        database,
        "UPDATE streams SET state = :state, live_at = NULL WHERE id = :id",
        state=state,
        id=sale.stream_id,
    )
    await run_sql(
        database,
        "INSERT INTO boards (stream_id, timer_what, timer_at)"
        " VALUES (:id, :what, now() + make_interval(secs => :in_s))"
        " ON CONFLICT (stream_id) DO UPDATE SET timer_what = excluded.timer_what, timer_at = excluded.timer_at",
        id=sale.stream_id,
        what=what,
        in_s=in_s,
    )
    if what == "opens":
        await run_sql(
            database,
            "UPDATE streams s SET opens_at = b.timer_at FROM boards b WHERE b.stream_id = s.id",
        )


async def test_a_stream_opens_by_itself_within_a_quarter_of_a_second(
    database: Database, sale: Sale, catalogue: Catalogue
) -> None:
    await _set(database, sale, "opens", 1.2)
    stop = asyncio.Event()
    loop = asyncio.create_task(run_timers(database, catalogue, stop))

    async def live() -> bool:
        return bool((await _row(database, sale)).state == "live")

    def seen() -> bool:
        view = catalogue.find(sale.stream_id)
        return view is not None and view.state == "live"

    await until(live)
    await until(seen, within_s=0.5)
    row = await _row(database, sale)
    assert 0 <= row.late_s <= 0.25
    assert row.timer_at is None
    stop.set()
    await asyncio.wait_for(loop, 1)


async def test_nothing_happens_before_the_moment(
    database: Database, sale: Sale, catalogue: Catalogue
) -> None:
    await _set(database, sale, "closes", 0.5)
    wait_s = await step_due(database, catalogue)
    assert 0 < wait_s <= 0.5
    assert (await _row(database, sale)).state == "live"
    await asyncio.sleep(wait_s)
    await step_due(database, catalogue)
    row = await _row(database, sale)
    assert (row.state, row.timer_at) == ("ended", None)
    assert row.ended_at is not None


async def test_a_timer_that_was_moved_meanwhile_has_its_way(
    database: Database, sale: Sale, catalogue: Catalogue
) -> None:
    """The worker has found it due; before it has the stream, the host has moved it."""
    await _set(database, sale, "closes", -0.1)
    held = await database.connect()
    try:
        async with held.transaction():
            await held.execute("SELECT FROM streams FOR NO KEY UPDATE")
            await held.execute("UPDATE boards SET timer_at = now() + interval '5 minutes'")
            due = asyncio.create_task(step_due(database, catalogue))
            await asyncio.sleep(0.2)
            assert not due.done()
        await due
    finally:
        await held.close()
    row = await _row(database, sale)
    assert (row.state, row.timer_what) == ("live", "closes")


async def test_two_workers_take_one_step(
    database: Database, sale: Sale, catalogue: Catalogue
) -> None:
    await _set(database, sale, "closes", -0.1)
    await asyncio.gather(*(step_due(database, catalogue) for _ in range(4)))
    first = await _row(database, sale)
    assert first.state == "ended"
    await step_due(database, catalogue)
    assert (await _row(database, sale)).ended_at == first.ended_at


async def test_a_stream_that_cannot_open_says_so_and_promises_nothing_more(
    database: Database, sale: Sale, catalogue: Catalogue
) -> None:
    async with database.begin() as sql:
        empty = await make_stream(sql, sale.campaign_id, sale.host_id, state="scheduled")
        await sql.execute(
            text(
                "INSERT INTO boards (stream_id, timer_what, timer_at) VALUES (:id, 'opens', now())"
            ),
            {"id": empty.id},
        )
        await sql.execute(
            text("UPDATE streams SET opens_at = now() WHERE id = :id"), {"id": empty.id}
        )
    with capture_logs() as logs:
        await step_due(database, catalogue)
    async with database.begin() as sql:
        row = (
            await sql.execute(
                text(
                    "SELECT s.state, s.opens_at, s.live_at, b.timer_at, b.revision FROM streams s"
                    " JOIN boards b ON b.stream_id = s.id"
                )
            )
        ).one()
    assert (row.state, row.opens_at, row.timer_at, row.revision) == ("scheduled", None, None, 2)
    assert [(log["event"], log["code"]) for log in logs if "code" in log] == [
        ("timer_without_effect", "nothing_on_offer")
    ]


async def test_a_step_somebody_took_by_hand_is_not_taken_twice(
    database: Database, sale: Sale, catalogue: Catalogue
) -> None:
    await _set(database, sale, "opens", -0.1)
    await run_sql(database, "UPDATE streams SET state = 'live', live_at = '2026-01-01'")
    await step_due(database, catalogue)
    row = await _row(database, sale)
    assert (row.state, row.timer_at, row.live_at.year) == ("live", None, 2026)
    assert row.opens_at is not None


async def test_one_stream_that_is_held_keeps_no_other_waiting(
    database: Database, sale: Sale, catalogue: Catalogue
) -> None:
    async with database.begin() as sql:
        other = await make_stream(sql, sale.campaign_id, sale.host_id, state="live")
        await sql.execute(
            text(
                "INSERT INTO boards (stream_id, timer_what, timer_at)"
                " VALUES (:id, 'closes', now() - interval '1 minute')"
            ),
            {"id": other.id},
        )
    await _set(database, sale, "closes", -0.1)
    held = await database.connect()
    try:
        async with held.transaction():
            await held.execute("SELECT FROM streams WHERE id = $1 FOR NO KEY UPDATE", other.id)
            assert await step_due(database, catalogue) == timers.BACKOFF_S
            assert (await _row(database, sale)).state == "ended"
    finally:
        await held.close()
    await step_due(database, catalogue)
    async with database.begin() as sql:
        states = (await sql.scalars(text("SELECT state FROM streams"))).all()
    assert set(states) == {"ended"}


async def test_the_loop_survives_what_is_broken(
    database: Database, sale: Sale, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = iter((True, True))
    true_step = timers.step_due

    async def step(*given: Any) -> float:
        if next(failures, False):
            raise OSError("the database is away")
        return await true_step(*given)

    monkeypatch.setattr(timers, "step_due", step)
    await _set(database, sale, "closes", 0.0)
    stop = asyncio.Event()
    loop = asyncio.create_task(run_timers(database, catalogue, stop))

    async def ended() -> bool:
        return bool((await _row(database, sale)).state == "ended")

    await until(ended)
    stop.set()
    await asyncio.wait_for(loop, 2)
