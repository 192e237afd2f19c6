"""Connections of a batch's own, and running a batch on them until its fate is known.

A batch that thousands wait for cannot queue for the pool behind a slow page, nor wait for a server that keeps
silent. After a lost connection the COMMIT may have happened: the same batch goes again, which its idempotency keys
make exact.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeAlias, TypeVar

import asyncpg
import structlog

from stream_events.database import Database

log = structlog.get_logger(__name__)

ATTEMPTS_MAX = 32
PAUSE_S = 0.05
PATIENCE_S = 3.0
AWAY_PATIENCE_S = 1.5

Sql: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Item = TypeVar("Item")
Written = TypeVar("Written")


class RunAgain(Exception):  # noqa: N818 - what to do, not a mistake.
    """The transaction was undone as a whole, through no fault of what is in it."""


# Undone as a whole by PostgreSQL, through no fault of an order: the same batch goes again.
_RERUN = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
    RunAgain,
)
# No connection, or none that is fit for work: the COMMIT may have happened, and the next try takes a new one.
LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)


class OwnConnections:
    """One connection a purpose, opened when it is first wanted."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._away = False
        self._sql: dict[str, Sql] = {}

    @asynccontextmanager
    async def lend(self, name: str) -> AsyncIterator[Sql]:
        """Lend the connection of this name; it is cut when SQL keeps silent, and dropped after any doubt.

        A half-open connection answers nothing at all, not even to a cancellation, so only cutting it helps.
        """
        sql = self._sql.pop(name, None)
        if sql is None or sql.is_closed():
            sql = await self._database.connect()
        patience_s = AWAY_PATIENCE_S if self._away else PATIENCE_S
        silence = asyncio.get_running_loop().call_later(patience_s, sql.terminate)
        try:
            yield sql
        except BaseException as error:
            if not isinstance(error, (*_RERUN, asyncpg.PostgresError)) or isinstance(error, LOST):
                sql.terminate()
            raise
        finally:
            silence.cancel()
            if not sql.is_closed():
                self._sql[name] = sql

    async def write(
        self,
        name: str,
        group: Sequence[Item],
        transact: Callable[[Sql, Sequence[Item]], Awaitable[Written]],
        deadline: float,
    ) -> list[tuple[Sequence[Item], Written | None]]:
        """Run a batch until its fate is known, split where a definite error is somewhere in it.

        Returns the parts with what was written of each: None where the fate is not known, or the one item of the
        part can never be written.
        """
        try:
            return [(group, await self._until_known(name, group, transact, deadline))]
        except asyncpg.PostgresError as error:
            # The SQLSTATE alone: an error's own words may repeat what somebody wrote.
            if len(group) == 1 or time.monotonic() > deadline:
                log.error("not_written", batch=name, sqlstate=error.sqlstate, items=len(group))  # noqa: TRY400
                return [(group, None)]
        half = len(group) // 2
        return [
            *await self.write(name, group[:half], transact, deadline),
            *await self.write(name, group[half:], transact, deadline),
        ]

    async def _until_known(
        self,
        name: str,
        group: Sequence[Item],
        transact: Callable[[Sql, Sequence[Item]], Awaitable[Written]],
        deadline: float,
    ) -> Written | None:
        """Run the batch until its fate is known; None when that takes too long or too many runs.

        Once SQL was given up on, each batch gets one short try, so that the queue is told soon. Raises
        ``PostgresError`` when PostgreSQL refuses something that is in the batch.
        """
        for _ in range(ATTEMPTS_MAX):
            try:
                async with self.lend(name) as sql:
                    written = await transact(sql, group)
            except _RERUN as error:
                log.info("batch_runs_again", batch=name, why=type(error).__name__, items=len(group))
            except LOST as error:
                log.warning("batch_lost_sql", batch=name, error=repr(error), items=len(group))
                await asyncio.sleep(PAUSE_S)
            else:
                self._away = False
                return written
            if self._away or time.monotonic() > deadline:
                break
        self._away = True
        return None

    async def close(self) -> None:
        """Close the connections."""
        for sql in self._sql.values():
            await sql.close()
