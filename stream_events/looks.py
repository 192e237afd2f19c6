"""Looks: single reads that cost one round trip, for loops that look many times a second and mostly find nothing.

A transaction of the pool is three round trips and ten times the work on our side, which a loop that is idle would pay
for all day. A look is one prepared statement on a kept connection, without a transaction around it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

import asyncpg

Sql: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

# Looks are short: a few connections serve all loops of a process, and a server that hangs is not asked more.
LOOKS_AT_ONCE_MAX: Final = 4
PATIENCE_S: Final = 5.0


class Looks:
    """A few kept connections, opened by ``connect`` when they are first wanted."""

    def __init__(self, connect: Callable[[], Awaitable[Sql]]) -> None:
        self._connect = connect
        self._idle: list[Sql] = []
        self._turns = asyncio.Semaphore(LOOKS_AT_ONCE_MAX)

    async def fetch(self, statement: str, *given: Any) -> list[asyncpg.Record]:
        """Return the rows of a statement that changes nothing; after any error the connection is given up."""
        async with self._turns:
            sql = self._kept() or await self._connect()
            try:
                rows: list[asyncpg.Record] = await sql.fetch(statement, *given)
            except BaseException:
                sql.terminate()
                raise
            self._idle.append(sql)
            return rows

    def _kept(self) -> "Sql | None":
        """Return the connection that was used last, if it is still there."""
        while self._idle:
            sql = self._idle.pop()
            if not sql.is_closed():
                return sql
        return None

    async def close(self) -> None:
        """Close the connections that nobody looks through now."""
        while self._idle:
            await self._idle.pop().close()
