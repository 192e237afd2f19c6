"""One connection to the gate's engine, and the three ways in which it may fail to give an answer.

Library retries are off, because a repeated script is a second admission; and a connection is closed after any
doubt, because a late reply must not be taken for the next call's.
"""

import asyncio
from collections.abc import Sequence
from importlib import resources
from typing import Any

import msgspec
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError

TIMEOUT_S = 0.25


class GateShut(Exception):  # noqa: N818 - a state of the gate.
    """The gate is not in force (wiped, restarted, stepped back, rebuilding): nothing was admitted."""


class GateDamaged(GateShut):
    """The gate holds something else than it was given: it stays shut until it is rebuilt from SQL."""


class GateSteppedBack(GateDamaged):
    """The gate forgot calls it had answered."""


class GateUnclear(Exception):  # noqa: N818 - a state of the answer.
    """The call may or may not have taken effect; repeating the same op is safe, nothing else is."""


class Script:
    """A Lua file beside this module, called by its SHA1 and sent whole only when the server lacks it."""

    def __init__(self, verb: str) -> None:
        self.source = resources.files("inventory").joinpath(f"lua/{verb}.lua").read_text("utf-8")
        self.sha: str | None = None


class Connection:
    """One long-lived connection to Redis; after any doubt it is dropped, never reused.

    A reply that comes late must not be taken for the next call's, so a timeout or a cancellation closes it.
    """

    def __init__(self, url: str, timeout_s: float = TIMEOUT_S) -> None:
        self._pool = ConnectionPool.from_url(
            url,
            protocol=3,
            socket_timeout=None,
            socket_connect_timeout=1,
            retry=Retry(NoBackoff(), 0),
            health_check_interval=0,
        )
        self._timeout_s = timeout_s
        self._connection: AbstractConnection | None = None
        self._lock = asyncio.Lock()
        self.run_id = ""
        self.seen: dict[str, tuple[int, int]] = {}  # stream -> (epoch, ver) of the newest reply

    async def call(self, script: Script, keys: Sequence[str], message: Any) -> Any:
        """Run ``script`` once. Raises ``GateUnclear`` if its effect is unknown, ``GateShut`` if it had none."""
        packed = msgspec.msgpack.encode(message)
        async with self._lock:
            connection = self._connection or await self._open()
            try:
                async with asyncio.timeout(self._timeout_s):
                    return await self._evaluate(connection, script, keys, packed)
            except ResponseError as error:
                raise _refused(error) from error
            except (RedisError, OSError, TimeoutError) as error:
                await self._drop()
                raise GateUnclear from error
            except asyncio.CancelledError:
                await self._drop()
                raise

    async def command(self, *arguments: Any) -> Any:
        """Run one plain command; fails as ``call`` does."""
        async with self._lock:
            connection = self._connection or await self._open()
            try:
                async with asyncio.timeout(1):
                    return await self._send(connection, *arguments)
            except ResponseError as error:
                raise _refused(error) from error
            except (RedisError, OSError, TimeoutError) as error:
                await self._drop()
                raise GateUnclear from error
            except asyncio.CancelledError:
                await self._drop()
                raise

    async def close(self) -> None:
        """Close the connection."""
        await self._drop()

    async def _evaluate(
        self, connection: AbstractConnection, script: Script, keys: Sequence[str], packed: bytes
    ) -> Any:
        if script.sha is None:
            script.sha = (await self._send(connection, "SCRIPT", "LOAD", script.source)).decode()
        try:
            return await self._send(connection, "EVALSHA", script.sha, len(keys), *keys, packed)
        except NoScriptError:
            return await self._send(connection, "EVAL", script.source, len(keys), *keys, packed)

    async def _send(self, connection: AbstractConnection, *arguments: Any) -> Any:
        await connection.send_command(*arguments)
        return await connection.read_response()

    async def _open(self) -> AbstractConnection:
        connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        try:
            async with asyncio.timeout(2):
                await connection.connect()  # type: ignore[no-untyped-call]
            async with asyncio.timeout(1):
                info = await self._send(connection, "INFO", "server")
        except (RedisError, OSError, TimeoutError) as error:
            await connection.disconnect(nowait=True)
            raise GateShut("Redis cannot be reached") from error
        except asyncio.CancelledError:
            await connection.disconnect(nowait=True)
            raise
        text = info.decode() if isinstance(info, bytes) else str(getattr(info, "data", info))
        self.run_id = next(
            line.partition(":")[2].strip()
            for line in text.splitlines()
            if line.startswith("run_id:")
        )
        self.seen.clear()
        self._connection = connection
        return connection

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        self.seen.clear()  # the next connection may lead to a restarted server: its run id is to be looked at
        if connection is not None:
            await connection.disconnect(nowait=True)


def _refused(error: ResponseError) -> GateShut:
    """Redis refused a call as a whole (out of memory, read-only, wrong type): it had no effect."""
    return GateDamaged(str(error)) if "WRONGTYPE" in str(error) else GateShut(str(error))
