"""What one connection learnt of PostgreSQL's own types serves all of a process; a database's own types serve nobody else."""

from collections.abc import Iterable
from typing import Any

import asyncpg
import pytest

from stream_events import known_types
from stream_events.database import Database


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[frozenset[int]]:
    """Keep what asyncpg asks the server about, from a process that knows nothing."""
    asked: list[frozenset[int]] = []
    ask = asyncpg.Connection._introspect_types

    async def asking(self: Any, typeoids: Iterable[int], *more: Any) -> Any:
        asked.append(frozenset(typeoids))
        return await ask(self, typeoids, *more)

    monkeypatch.setattr(asyncpg.Connection, "_introspect_types", asking)
    monkeypatch.setattr(known_types, "_known", {})
    return asked


async def test_built_in_types_are_asked_about_once(
    database: Database, asked: list[frozenset[int]]
) -> None:
    for _ in range(3):
        sql = await database.connect()
        try:
            for type_, values in (("bigint", [2**40]), ("int", [7]), ("bytea", [b"\0"])):
                assert await sql.fetchval(f"SELECT CAST($1 AS {type_}[])", values) == values
        finally:
            await sql.close()
    assert len(asked) == len(set(asked)) == 3


async def test_types_of_a_database_are_asked_about_by_each(
    database: Database, asked: list[frozenset[int]]
) -> None:
    for labels in ("'few'", "'many'"):
        sql = await database.connect()
        try:
            await sql.execute(f"CREATE TYPE pg_temp.amount AS ENUM ({labels})")
            found = await sql.fetchval("SELECT enum_range(NULL::pg_temp.amount)")
            assert found == [labels.strip("'")]
        finally:
            await sql.close()
    assert len(asked) == 2
