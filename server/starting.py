"""What every command begins with: settings that make sense, a log, a loop, and engines that run or are reached."""

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any

import typer
import uvloop
from pydantic import ValidationError

from server import quiet_log
from server.embedded import EngineError, Engines, attach_engines, start_engines
from server.settings import Settings


def load(**given: Any) -> Settings:
    """Read the settings; what is wrong with them is one clear line and exit code 2."""
    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        for problem in error.errors():
            where = ".".join(str(part) for part in problem["loc"])
            typer.echo(f"setting {where}: {problem['msg']}", err=True)
        raise typer.Exit(2) from None
    quiet_log.configure(settings.log_level)
    return settings


def run(main: Coroutine[Any, Any, Any]) -> Any:
    """Run ``main`` on uvloop, with the garbage collector that was off while modules were imported."""
    gc.enable()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def engines_of(settings: Settings) -> tuple[Engines, Settings]:
    """Start the engines that no address was given for; return them and the settings that name them all."""
    try:
        engines = start_engines(
            settings.data_dir, database_url=settings.database_url, redis_url=settings.redis_url
        )
    except EngineError as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from None
    return engines, with_urls(settings, engines.database_url, engines.redis_url)


def with_urls(settings: Settings, database_url: str, redis_url: str) -> Settings:
    """Return the settings with the addresses of the engines, and an absolute data folder."""
    return settings.model_copy(
        update={
            "database_url": database_url,
            "redis_url": redis_url,
            "data_dir": settings.data_dir.resolve(),
        }
    )


def running(settings: Settings) -> Settings:
    """Return settings that reach the engines of the running server, for commands beside it."""
    if settings.database_url and settings.redis_url:
        return settings
    engines = attach_engines(settings.data_dir)
    if engines is None:
        typer.echo(
            f"no server runs on {settings.data_dir}: start it with 'stream-events serve',"
            " or set DATABASE_URL and REDIS_URL",
            err=True,
        )
        raise typer.Exit(1)
    return with_urls(
        settings,
        settings.database_url or engines.database_url,
        settings.redis_url or engines.redis_url,
    )
