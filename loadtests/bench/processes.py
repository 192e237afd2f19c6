"""The servers that a bench measures: started as a deployment would start them, ended by their own process id."""

import asyncio
import contextlib
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from loadtests.http import Address, Connection, Lost, encode_request

ROOT: Final = Path(__file__).resolve().parents[2]
START_S_MAX: Final = 60.0
STOP_S_MAX: Final = 20.0
LOG_BYTES: Final = 4_000


class Server(NamedTuple):
    """A running server: where it answers, and its process."""

    address: Address
    pid: int


def free_port() -> int:
    """Return a port of the loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """Return our own environment without any setting of a deployment that may be in it."""
    ours = ("STREAM_EVENTS_", "STRIPE_", "DATABASE_URL", "REDIS_URL")
    return {k: v for k, v in os.environ.items() if not k.startswith(ours)} | dict(more)


@asynccontextmanager
async def running(
    command: Sequence[str], log: Path, more: Mapping[str, str] | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a Python module while the block lasts; its errors go to ``log``."""
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            *command,
            cwd=ROOT,
            env=environment(more or {}),
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.communicate(), STOP_S_MAX)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


@asynccontextmanager
async def engines(folder: Path) -> AsyncIterator[dict[str, str]]:
    """Run the engines that come along, and give their addresses."""
    log = folder / "engines.log"
    command = ["server.cli", "engines", "--data", str(folder / "data")]
    async with running(command, log) as process:
        assert process.stdout is not None
        async with asyncio.timeout(START_S_MAX):
            line = await process.stdout.readline()
        if not line:
            raise RuntimeError(f"the engines did not start: {tail(log)}")
        yield json.loads(line)


def settings_of(folder: Path, urls: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a deployment on given engines, without limits on a shopper or address."""
    ports = {name: str(free_port()) for name in ("PORT", "GATEWAY_PORT", "SANDBOX_PORT")}
    return {
        "DATABASE_URL": urls["database_url"],
        "REDIS_URL": urls["redis_url"],
        "STREAM_EVENTS_DATA_DIR": str(folder / "data"),
        "STREAM_EVENTS_ORDERS_PER_SECOND_PER_SHOPPER": "0",
        "STREAM_EVENTS_SHOPPERS_PER_MINUTE": "0",
        "STREAM_EVENTS_LOG_LEVEL": "warning",
        **{f"STREAM_EVENTS_{name}": port for name, port in ports.items()},
    }


@asynccontextmanager
async def our_server(
    folder: Path, settings: Mapping[str, str], *, workers: bool = True
) -> AsyncIterator[Server]:
    """Run the whole deployment, or without ``workers`` only what takes requests."""
    command = ["server.cli", "serve", *([] if workers else ["--api-only"])]
    log = folder / "server.log"
    async with running(command, log, settings) as process:
        address = Address("127.0.0.1", int(settings["STREAM_EVENTS_PORT"]))
        # Readiness wants a worker, too.
        await answers(address, "/readyz" if workers else "/healthz", process, log)
        yield Server(address, process.pid)


@asynccontextmanager
async def our_worker(folder: Path, settings: Mapping[str, str]) -> AsyncIterator[int]:
    """Run a worker beside a server that has none; gives its process id at once, while it still starts."""
    async with running(["server.cli", "worker"], folder / "worker.log", settings) as process:
        yield process.pid


@asynccontextmanager
async def peer(
    name: str, folder: Path, urls: Mapping[str, str], settings: Mapping[str, str] | None = None
) -> AsyncIterator[Server]:
    """Run a peer on uvicorn, set up as our own server is."""
    port = free_port()
    flags = ["--loop", "uvloop", "--http", "httptools", "--ws", "none", "--no-access-log"]
    where = ["--host", "127.0.0.1", "--port", str(port), "--log-level", "warning"]
    command = ["uvicorn", f"loadtests.bench.peers.{name}:app", *flags, *where]
    more = {
        "BENCH_DATABASE_URL": urls["database_url"],
        "BENCH_REDIS_URL": urls["redis_url"],
        **(settings or {}),
    }
    log = folder / f"{name}.log"
    async with running(command, log, more) as process:
        address = Address("127.0.0.1", port)
        await answers(address, None, process, log)
        yield Server(address, process.pid)


async def operator_key(folder: Path, urls: Mapping[str, str]) -> str:
    """Let an operator in from the machine itself."""
    more = {"DATABASE_URL": urls["database_url"], "REDIS_URL": urls["redis_url"]}
    command = ["server.cli", "keys", "operator", "bench", "--data", str(folder / "data")]
    log = folder / "keys.log"
    async with running(command, log, more) as process:
        out, _ = await asyncio.wait_for(process.communicate(), START_S_MAX)
    if process.returncode != 0:
        raise RuntimeError(f"no operator's key: {tail(log)}")
    return out.decode().strip().splitlines()[-1]


async def answers(
    address: Address, path: str | None, process: asyncio.subprocess.Process, log: Path
) -> None:
    """Wait until a server listens, and answers 200 at ``path`` if there is one to ask."""
    clock: Any = asyncio.get_running_loop().time
    until = clock() + START_S_MAX
    raw = encode_request("GET", path or "/")
    while clock() < until:
        if process.returncode is not None:
            raise RuntimeError(f"a server ended with code {process.returncode}: {tail(log)}")
        connection = Connection(address)
        try:
            answer = await connection.request(raw)
        except Lost:
            answer = None
        connection.close()
        if answer is not None and (path is None or answer.status == 200):
            return
        await asyncio.sleep(0.2)
    raise RuntimeError(f"a server did not answer in {START_S_MAX} s: {tail(log)}")


def tail(log: Path) -> str:
    """Return the end of a log."""
    return log.read_bytes()[-LOG_BYTES:].decode(errors="replace")
