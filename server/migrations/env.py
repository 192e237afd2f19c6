"""Alembic's way in: it sees every package's tables, which is why migrations live in the roof."""

import asyncio

from alembic import context
from sqlalchemy import Connection

import inventory.tables  # noqa: F401 - imported, like the others, for the tables they declare
import orders.giving_tables
import orders.ledger.tables
import orders.mail.tables
import orders.payments.tables
import orders.tables  # noqa: F401
import realtime.alerts.tables
import realtime.board_tables
import realtime.moderation.tables
import realtime.rehearsals.tables
import realtime.tables  # noqa: F401
import stream_events.tables  # noqa: F401
from stream_events.database import Base, Database


def run(connection: Connection) -> None:
    """Run the migrations in one transaction: all of them or none."""
    context.configure(connection=connection, target_metadata=Base.metadata, compare_type=True)
    with context.begin_transaction():
        context.run_migrations()


async def run_on(url: str) -> None:
    """Open an engine of our own, because the command line hands over only an address."""
    database = Database(url, connections_max=1)
    async with database.engine.begin() as connection:
        await connection.run_sync(run)
    await database.close()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    asyncio.run(run_on(context.config.attributes["url"]))
