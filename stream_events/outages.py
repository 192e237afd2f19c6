"""An engine that is away or overrun is a 503 with a time to come back, not a 500 that looks like a bug of ours.

Only errors after which repeating the request is right are taken: no connection, a lock or a statement that took
too long, a deadlock, a server going down. Anything else stays the error it is.
"""

from typing import Final

import asyncpg
from fastapi import FastAPI, Request
from fastapi.responses import Response
from redis.exceptions import ConnectionError as RedisAway
from redis.exceptions import TimeoutError as RedisLate
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolExhausted

from stream_events.errors import respond, unavailable

# SQLSTATE: lock_not_available, query_canceled, serialization and deadlock, the shutdowns, too_many_connections,
# and the whole class 08 of broken connections.
_PASSING: Final = frozenset(
    {"55P03", "57014", "40001", "40P01", "57P01", "57P02", "57P03", "53300", "25P03"}
)


def is_passing(error: Exception) -> bool:
    """Whether ``error`` says that an engine is away or busy, so that the same request may succeed later."""
    if isinstance(error, DBAPIError):
        state = str(getattr(error.orig, "sqlstate", None) or "")
        return error.connection_invalidated or state in _PASSING or state.startswith("08")
    if isinstance(error, asyncpg.PostgresError):
        return str(error.sqlstate) in _PASSING or str(error.sqlstate).startswith("08")
    return isinstance(error, (PoolExhausted, RedisAway, RedisLate, ConnectionError, TimeoutError))


def install(app: FastAPI) -> None:
    """Make ``app`` answer 503 where an engine is away or busy; other errors of the engines stay errors."""

    async def on_outage(_: Request, error: Exception) -> Response:
        if not is_passing(error):
            raise error
        return respond(unavailable("A part of this service is busy or away; try again shortly."))

    for kind in (
        DBAPIError,
        PoolExhausted,
        asyncpg.PostgresError,
        RedisAway,
        RedisLate,
        ConnectionError,
        TimeoutError,
    ):
        app.add_exception_handler(kind, on_outage)
