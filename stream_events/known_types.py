"""Connections that share what they learnt of PostgreSQL's own types, because asking costs each of them 15 ms anew.

asyncpg asks the server about array types when a connection first meets one, once for each statement that brings a new one.
A worker that takes over, or a pool that grows in a rush, would spend hundreds of milliseconds on the same few answers.
"""

from collections.abc import Iterable
from typing import Any

import asyncpg

# Lower numbers are given by PostgreSQL's source and mean the same on every server (FirstNormalObjectId).
_FIRST_OF_USERS = 16_384
_known: dict[frozenset[int], tuple[Any, Any]] = {}


class Connection(asyncpg.Connection):  # type: ignore[misc]
    """A connection that asks about built-in types only if no other one of this process did."""

    # An asyncpg that no longer calls this only loses the time; test_known_types says so.
    async def _introspect_types(self, typeoids: Iterable[int], *more: Any) -> tuple[Any, Any]:
        asked = frozenset(typeoids)
        if asked in _known:
            return _known[asked]
        learnt: tuple[Any, Any] = await super()._introspect_types(typeoids, *more)
        if max(asked) < _FIRST_OF_USERS:
            _known[asked] = learnt
        return learnt
