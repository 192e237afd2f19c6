"""What is to be done with topics after a restore: ``stream-events topics raise-epoch``.

Screens keep the newest epoch and version they have seen. A database that was put back has older ones and would be
taken for the past, so every topic gets an epoch above all that were ever published: the present in milliseconds.
"""

from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import text

from server.settings import Settings
from server.starting import load, run, running
from stream_events.database import Database

topics = typer.Typer(help="What screens are told: after a restore.", no_args_is_help=True)

Data = Annotated[Path | None, typer.Option("--data", help="Data folder (STREAM_EVENTS_DATA_DIR).")]


@topics.callback()
def _topics() -> None:
    """Keep ``raise-epoch`` a command of its own, however few there are."""


@topics.command("raise-epoch")
def raise_epoch_command(data: Data = None) -> None:
    """After a restore: have every screen take the restored state for the newest there is."""
    raised = run(raise_epochs(running(load(data_dir=data))))
    typer.echo(f"{raised} topics have a new epoch; screens follow within seconds")


async def raise_epochs(settings: Settings) -> int:
    """Raise the epoch of every topic; return how many there are."""
    database = Database(str(settings.database_url), connections_max=1)
    try:
        async with database.begin() as sql:
            return len((await sql.execute(_RAISE)).all())
    finally:
        await database.close()


# Never below what is there plus one, even on a machine whose clock was wrong.
_RAISE = text("""
UPDATE topics
SET epoch = greatest(epoch + 1, CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS bigint))
RETURNING topic
""")
