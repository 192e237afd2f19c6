"""Engines that come along: a real PostgreSQL and a real Valkey for whoever has configured neither.

A newcomer must be able to run the whole of it with one command and nothing installed, and what runs
then has to be what runs in earnest: there is no second, lesser storage anywhere.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from server.engines import gate, sql
from server.engines.folder import DataFolder, open_folder, peek_folder
from server.engines.processes import EngineError, EngineProcess

__all__ = ["EngineError", "EngineProcess", "Engines", "attach_engines", "start_engines"]


@dataclass
class Engines:
    """Where both engines answer, and the processes that this server started or adopted for it."""

    database_url: str
    redis_url: str
    processes: list[EngineProcess] = field(default_factory=list)
    folder: DataFolder | None = field(default=None, repr=False)

    def stop(self) -> None:
        """Stop what was started here, the gate first, and free the data folder; safe to repeat."""
        failed: list[EngineError] = []
        for process in reversed(self.processes):
            try:
                process.stop()
            except EngineError as error:
                # The other engine still deserves its clean stop; the failure is raised after it.
                failed.append(error)
        self.processes = []
        if self.folder is not None:
            self.folder.close()
            self.folder = None
        if failed:
            raise failed[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def start_engines(
    data_dir: Path, *, database_url: str | None = None, redis_url: str | None = None
) -> Engines:
    """Give the addresses of both engines, starting each one for which no address was given.

    `data_dir` is made if absent, locked, and never emptied; with both addresses given it is not
    touched. Engines that a killed server left running there are adopted. Raises EngineError whose
    first line says what to do: no program for this machine, a folder in use, data of another engine.
    """
    if database_url and redis_url:
        return Engines(database_url, redis_url)
    folder = open_folder(data_dir)
    engines = Engines(database_url or "", redis_url or "", folder=folder)
    try:
        if not database_url:
            _add(engines, lambda: sql.start_sql(folder))
            engines.database_url = sql.url_of(folder)
        if not redis_url:
            _add(engines, lambda: gate.start_gate(folder))
            engines.redis_url = gate.url_of(folder)
    except BaseException:
        # One engine alone is of no use, and must not be left behind by a failed or broken-off start.
        engines.stop()
        raise
    return engines


def attach_engines(data_dir: Path) -> Engines | None:
    """Give the addresses of engines that another server runs on `data_dir`, without owning them.

    For commands beside a running server. None when they do not both run; `stop()` stops nothing.
    """
    folder = peek_folder(data_dir)
    if folder is None or sql.find_sql(folder) is None or gate.find_gate(folder) is None:
        return None
    return Engines(sql.url_of(folder), gate.url_of(folder))


def _add(engines: Engines, start: Callable[[], EngineProcess]) -> None:
    engines.processes.append(start())
