"""Runs a command of the server that kills itself, hard, at one named point of its own code.

``python -m tests.fire.victim POINT LIT COMMAND…``. A point names a place between two durable steps, so that the product
carries no code for being killed: ``before module:function`` and ``after module:function`` stand around a call,
``uncommitted module:function`` and ``committed module:function`` around the COMMIT of the transactions that this
function begins. A number behind it lets that many pass first; ``once module:function`` lets all pass until that
function was called, so that a round in which there was nothing to do is not taken for the point. Nothing counts
before the file LIT exists. SIGKILL leaves no handler, no flush and no goodbye a chance.
"""

import functools
import importlib
import inspect
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from stream_events.database import Database


class Fuse:
    """Counts how often the point was reached, and ends the process when it has let enough pass."""

    def __init__(self, lit: Path, passes: int, *, waits: bool) -> None:
        self._lit = lit
        self._left = passes
        self._waits = waits

    def go(self) -> None:
        """What had to happen once has happened."""
        self._waits = self._waits and not self._lit.exists()

    def burn(self) -> None:
        """Be at the point once more."""
        if self._waits or not self._lit.exists():
            return
        self._left -= 1
        if self._left < 0:
            os.kill(os.getpid(), signal.SIGKILL)


def _around(place: str, before: Callable[[], None], after: Callable[[], None]) -> None:
    """Have something done around every call of a function; raises where the place names none."""
    module_name, qualified = place.split(":")
    *owners, name = qualified.split(".")
    owner: Any = importlib.import_module(module_name)
    for each in owners:
        owner = getattr(owner, each)
    real = getattr(owner, name)

    @functools.wraps(real)
    async def awaited(*given: Any, **named: Any) -> Any:
        before()
        found = await real(*given, **named)
        after()
        return found

    @functools.wraps(real)
    def called(*given: Any, **named: Any) -> Any:
        before()
        found = real(*given, **named)
        after()
        return found

    setattr(owner, name, awaited if inspect.iscoroutinefunction(real) else called)


def _around_commit(place: str, before: Callable[[], None], after: Callable[[], None]) -> None:
    """Have something done around every COMMIT of the transactions that a function begins."""
    importlib.import_module(place.partition(":")[0])
    real = Database.begin

    @asynccontextmanager
    async def watched(inner: AbstractAsyncContextManager[Any]) -> AsyncIterator[Any]:
        async with inner as sql:
            yield sql
            before()
        after()

    def begin(self: Database) -> AbstractAsyncContextManager[Any]:
        caller = sys._getframe(1)
        inner = real(self)
        if f"{caller.f_globals['__name__']}:{caller.f_code.co_qualname}" == place:
            return watched(inner)
        return inner

    Database.begin = begin  # type: ignore[assignment,method-assign]


def _nothing() -> None:
    pass


def arm(point: str, lit: Path) -> None:
    """Arm one point; raises where it names nothing."""
    point, _, first = point.partition(" once ")
    when, place, *passes = point.split()
    fuse = Fuse(lit, int(passes[0]) if passes else 0, waits=bool(first))
    if first:
        _around(first, fuse.go, _nothing)
    if when == "before":
        _around(place, fuse.burn, _nothing)
    elif when == "after":
        _around(place, _nothing, fuse.burn)
    elif when == "uncommitted":
        _around_commit(place, fuse.burn, _nothing)
    elif when == "committed":
        _around_commit(place, _nothing, fuse.burn)
    else:
        raise ValueError(f"no such moment: {when}")


if __name__ == "__main__":
    _, point_, lit_, *command = sys.argv
    from server.cli import app

    arm(point_, Path(lit_))
    sys.argv = ["stream-events", *command]
    app()
