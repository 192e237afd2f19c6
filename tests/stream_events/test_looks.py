"""A look is a read of what is committed, and a snapshot names all of it: whoever saw one need not look again."""

import asyncio
from contextlib import suppress

import asyncpg
import pytest

from stream_events.database import Database
from stream_events.looks import LOOKS_AT_ONCE_MAX

WRITE = "INSERT INTO stale_names (stream_id) VALUES ('str_1')"


async def test_a_look_is_beside_every_transaction(database: Database) -> None:
    [row] = await database.look(
        "SELECT CAST($1 AS int) + 1 AS two, pg_current_xact_id_if_assigned()", 1
    )
    assert (row["two"], row[1]) == (2, None)
    with pytest.raises(asyncpg.PostgresError):
        await database.look("SELECT * FROM nowhere")
    assert await database.look("SELECT FROM stale_names") == []


async def test_any_commit_changes_the_snapshot_and_nothing_else_does(database: Database) -> None:
    # The tests that run beside this one write into the same server.
    pairs = [(await database.snapshot(), await database.snapshot()) for _ in range(300)]
    assert any(before == after for before, after in pairs)
    seen = {await database.snapshot()}
    for _ in range(3):
        await _write(database)
        now = await database.snapshot()
        assert now not in seen
        seen.add(now)


async def test_a_commit_is_seen_whose_transaction_was_older_than_the_last_look(
    database: Database,
) -> None:
    early = await database.connect()
    try:
        late_commit = early.transaction()
        await late_commit.start()
        await early.execute(WRITE)
        await _write(database)
        before = await database.snapshot()
        assert await database.look("SELECT FROM stale_names") == [()]
        await late_commit.commit()
    finally:
        await early.close()
    assert await database.snapshot() != before
    assert await database.look("SELECT FROM stale_names") == [(), ()]


async def test_lost_connections_are_replaced_and_are_never_many(database: Database) -> None:
    looks = [database.look("SELECT pg_backend_pid(), pg_sleep(0.01)") for _ in range(12)]
    pids = {row[0] for [row] in await asyncio.gather(*looks)}
    assert 1 <= len(pids) <= LOOKS_AT_ONCE_MAX
    for pid in pids:
        # Whoever ends its own connection is not answered.
        with suppress(asyncpg.PostgresError, OSError):
            await database.look("SELECT pg_terminate_backend($1)", pid)
    await asyncio.sleep(0.05)
    for _ in range(LOOKS_AT_ONCE_MAX + 1):
        with suppress(asyncpg.PostgresError, OSError):
            await database.look("SELECT 1")
    [row] = await database.look("SELECT pg_backend_pid()")
    assert row[0] not in pids


async def _write(database: Database) -> None:
    async with database.begin() as sql:
        await (await sql.connection()).exec_driver_sql(WRITE)
