"""Bring a database to the schema this code expects."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from stream_events.database import Database

_SCRIPTS = Path(__file__).parent / "migrations"


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    config.set_main_option("path_separator", "os")
    return config


def upgrade(url: str) -> None:
    """Run every migration that ``url`` lacks. Blocking; runs its own event loop."""
    config = _config()
    config.attributes["url"] = url
    command.upgrade(config, "head")


def write(url: str, message: str) -> None:
    """Write a new migration from what the tables say and ``url`` lacks."""
    config = _config()
    config.attributes["url"] = url
    command.revision(config, message, autogenerate=True)


async def is_current(database: Database) -> bool:
    """Whether the database has exactly the migrations this code knows."""

    def heads(connection: Connection) -> tuple[str, ...]:
        return MigrationContext.configure(connection).get_current_heads()

    async with database.engine.connect() as connection:
        current = await connection.run_sync(heads)
    return set(current) == set(ScriptDirectory.from_config(_config()).get_heads())
