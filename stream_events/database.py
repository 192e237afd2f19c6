"""The way to PostgreSQL: one engine a process, transactions in sight of the reader.

Truth changes only inside ``async with database.begin() as sql`` (a SQLAlchemy session whose commit is the end
of the block). The hot writer owns a bare asyncpg connection instead, because it reuses a handful of prepared
statements thousands of times a second; and loops that mostly find nothing only ``look``.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any, ClassVar

import asyncpg
import msgspec
from sqlalchemy import BigInteger, DateTime, MetaData, String, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, mapped_column

from stream_events.known_types import Connection
from stream_events.looks import PATIENCE_S, Looks

# Ids compare bytewise everywhere, so that "sorted" means the same in Python and in SQL (the lock order needs it).
Id = Annotated[str, mapped_column(String(collation="C"))]
PrimaryId = Annotated[str, mapped_column(String(collation="C"), primary_key=True)]
Minor = Annotated[int, mapped_column(BigInteger)]
Instant = Annotated[datetime, mapped_column(DateTime(timezone=True))]
CreatedAt = Annotated[datetime, mapped_column(DateTime(timezone=True), server_default=func.now())]
Json = Annotated[dict[str, Any], mapped_column(JSONB)]

# A statement or a forgotten transaction must never hold a lock for long: everything else waits behind it.
SERVER_SETTINGS = {
    "timezone": "UTC",
    "lock_timeout": "1s",
    "statement_timeout": "10s",
    "idle_in_transaction_session_timeout": "5s",
    # Ours is not a spinning disk: at the default of 4 the planner reads whole growing tables for 256 known rows.
    "random_page_cost": "1.1",
}

# Which transactions are over, whatever they did: any that wrote something has a number, and is in it when it ends.
# Numbers may come again once an older database was put back, which no server outlives.
SNAPSHOT = "concat(pg_current_snapshot(), ' ', pg_postmaster_start_time())"


class Base(DeclarativeBase):
    """The one metadata of all packages; migrations see every table through it."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
    }


class Database:
    """PostgreSQL as the program sees it: ``begin()`` for transactions, ``look()`` for a quick read beside them.

    ``connect()`` is for a connection of one's own.
    """

    def __init__(
        self, url: str, *, connections_max: int = 10, application_name: str = "stream-events"
    ) -> None:
        self.dsn = url
        self._server_settings = {**SERVER_SETTINGS, "application_name": application_name}
        self.engine = create_async_engine(
            url.replace("postgresql://", "postgresql+asyncpg://", 1),
            pool_size=connections_max,
            max_overflow=0,
            # The one that was used last knows its plans; taken in turn, all connections would plan everything anew.
            pool_use_lifo=True,
            pool_timeout=5,
            # What a statement was given may be somebody's address: no error quotes it.
            hide_parameters=True,
            connect_args={
                "server_settings": self._server_settings,
                "connection_class": Connection,
            },
            # The standard library's JSON was an eighth of what settling costs.
            json_serializer=lambda value: msgspec.json.encode(value).decode(),
            json_deserializer=msgspec.json.decode,
        )
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)
        self._looks = Looks(lambda: self.connect(command_timeout_s=PATIENCE_S))

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncSession]:
        """One transaction: committed when the block ends, rolled back when it raises."""
        async with self._sessions() as session, session.begin():
            yield session

    async def look(self, statement: str, *given: Any) -> list[asyncpg.Record]:
        """Return the rows of one statement that changes nothing (``$1`` …), in one round trip and no transaction.

        Raises what asyncpg raises, and ``TimeoutError``.
        """
        return await self._looks.fetch(statement, *given)

    async def snapshot(self) -> str:
        """Return what is committed, as a word: two equal ones mean that nothing was in between, by anybody.

        Take it before reading what it is to stand for. It says nothing of what the mere passing of time changes.
        """
        [row] = await self.look(f"SELECT {SNAPSHOT} AS snapshot")
        return str(row["snapshot"])

    async def connect(
        self, *, command_timeout_s: float | None = None
    ) -> "asyncpg.Connection[asyncpg.Record]":
        """Open a connection of the caller's own, outside the pool; the caller closes it.

        With ``command_timeout_s`` a statement that is not answered in time raises ``TimeoutError``.
        """
        return await asyncpg.connect(
            self.dsn,
            server_settings=self._server_settings,
            timeout=5,
            command_timeout=command_timeout_s,
            connection_class=Connection,
        )

    async def close(self) -> None:
        """Close the pool; connections handed out by ``connect`` are their owners' to close."""
        await self._looks.close()
        await self.engine.dispose()
