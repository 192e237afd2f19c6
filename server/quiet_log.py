"""A log that tells what broke and where, and never with whose data: JSON lines for our own words and everybody's.

The text of an exception quotes what it choked on: a database driver the row that it could not write, a validator the
field that it could not read. So an exception is logged by its type, its SQLSTATE and the lines of code that it passed
through; its text only where it is one of ours, or the operating system's, which quote nothing that was sent to us.
"""

import logging
import sys
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Final, TextIO

import structlog
from structlog.typing import EventDict, ExcInfo

FRAMES_MAX: Final = 40
CHAIN_MAX: Final = 8
# The libraries' own errors may descend from these and quote, say, a recipient: the module tells.
_SYSTEM: Final = ("builtins", "socket", "ssl")
_OURS: Final = ("stream_events", "inventory", "orders", "realtime", "server")


def configure(level: str, out: TextIO | None = None) -> None:
    """Let everything that is logged in this process, by us or by a library, be one quiet line of JSON."""
    to = out or sys.stderr
    least = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.ExceptionRenderer(_formatted),
    ]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            *shared,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.PrintLoggerFactory(to),
    )
    handler = logging.StreamHandler(to)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, _first_line, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    # Libraries are heard when something is wrong; what they say beside that is about requests.
    logging.basicConfig(handlers=[handler], level=max(least, logging.WARNING), force=True)
    logging.captureWarnings(capture=True)
    sys.excepthook = _last_words


def describe(error: BaseException) -> str:
    """Return an exception with its causes, oldest first: frames, types, and text that quotes nobody."""
    return "\n".join(_lines(error, 0))


def _lines(error: BaseException, depth: int) -> Iterator[str]:
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None and depth < CHAIN_MAX:
        yield from _lines(before, depth + 1)
        yield "which led to"
    for frame in traceback.extract_tb(error.__traceback__)[-FRAMES_MAX:]:
        yield f"  {frame.filename}:{frame.lineno} in {frame.name}"
    yield _name(error)
    if isinstance(error, BaseExceptionGroup) and depth < CHAIN_MAX:
        for part in error.exceptions[:CHAIN_MAX]:
            yield "of which"
            yield from _lines(part, depth + 1)


def _name(error: BaseException) -> str:
    kind = type(error)
    said = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
    state = getattr(error, "sqlstate", None)
    if isinstance(state, str):
        said += f" [SQLSTATE {state}]"
    ours = kind.__module__.partition(".")[0] in _OURS
    quotes_nobody = ours or (isinstance(error, OSError) and kind.__module__ in _SYSTEM)
    return f"{said}: {error}" if quotes_nobody and str(error) else said


def _formatted(exc_info: ExcInfo) -> str:
    return describe(exc_info[1])


def _first_line(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Cut what a library says to its first line: asyncio writes whole tasks, with their exceptions, below it."""
    event["event"] = str(event["event"]).partition("\n")[0]
    return event


def _last_words(
    kind: type[BaseException], error: BaseException, _frames: TracebackType | None
) -> None:
    """Log what ends the process; Ctrl-C needs no words."""
    if not issubclass(kind, KeyboardInterrupt):
        structlog.get_logger(__name__).critical("ended_by_error", exc_info=error)
