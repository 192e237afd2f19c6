"""Who sends frames to viewers in ``bench fanout``: our gateway, and the peers, each a process pinned to one core.

Ours is the real gateway: viewers come with tickets of the real API, and frames by its bus, from Redis. The peers are
told each frame on standard input, which costs them less than a bus would.
"""

import asyncio
import base64
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
from redis.asyncio import Redis

from loadtests.bench import processes
from loadtests.bench.peer_installation import NotInstalled, node_of_peers, python_of_peers
from loadtests.bench.processes import Server
from loadtests.http import Address, Connection, encode_request

TOPIC: Final = "stream/str_bench/tally"
CHANNEL: Final = "frames"
SUBPROTOCOL: Final = "stream-events.v1"
PEERS: Final = ("starlette", "channels", "socketio")
FRAME_BYTES: Final = 300
TICKETS_S: Final = 30.0

Publish = Callable[[bytes], Awaitable[None]]


async def _nothing_first() -> list[str]:
    return []


@dataclass(slots=True)
class Broadcaster:
    """A server with viewers: where they connect, what they say first, and how it is told of a frame."""

    name: str
    pid: int
    port: int
    publish: Publish = field(repr=False)
    path: str = "/"
    protocol: str = ""
    first: Callable[[], Awaitable[list[str]]] = field(default=_nothing_first, repr=False)


@dataclass(frozen=True, slots=True)
class Cores:
    """Which core is the server's under test, and which are left for all others; none where nobody can choose."""

    server: frozenset[int]
    others: frozenset[int]

    @classmethod
    def chosen(cls) -> "Cores":
        """Choose: the last core is the server's alone, where there are two."""
        if not hasattr(os, "sched_getaffinity"):
            return cls(frozenset(), frozenset())
        mine = sorted(os.sched_getaffinity(0))
        return cls(frozenset(mine[-1:]), frozenset(mine[:-1] or mine))

    @contextmanager
    def for_server(self) -> Iterator[None]:
        """Have processes that are started in the block run on the server's core."""
        self._stay_on(self.server)
        try:
            yield
        finally:
            self._stay_on(self.others)

    def for_others(self) -> None:
        """Keep ourselves, and whatever we start from now on, off the server's core."""
        self._stay_on(self.others)

    def _stay_on(self, cores: frozenset[int]) -> None:
        if cores:
            os.sched_setaffinity(0, cores)


def frame(version: int, published_ns: int, size: int = FRAME_BYTES) -> bytes:
    """Return a state frame of ``size`` bytes; ``published_ns`` is when it was due."""
    text = msgspec.json.encode(
        {
            "t": "state",
            "topic": TOPIC,
            "epoch": 1,
            "version": version,
            "at": published_ns // 1_000_000,
            "seq": version,
            "state": {"published_ns": published_ns, "raised_minor": 2_990 * version, "filler": ""},
        }
    )
    return text.replace(b'"filler":""', b'"filler":"' + b"x" * (size - len(text)) + b'"')


@asynccontextmanager
async def ours(
    folder: Path, urls: Mapping[str, str], redis: Redis, cores: Cores
) -> AsyncIterator[Broadcaster]:
    """Run our API, and the gateway as a process of its own."""
    key = base64.b64encode(os.urandom(32)).hex()
    settings = processes.settings_of(folder, urls) | {"STREAM_EVENTS_SECRET_KEY": key}
    port = int(settings["STREAM_EVENTS_GATEWAY_PORT"])
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(processes.our_server(folder, settings, workers=False))
        gateway = await stack.enter_async_context(our_gateway(folder, settings, cores))
        tickets = Tickets(api)

        async def publish(text: bytes) -> None:
            await redis.publish(CHANNEL, b"[" + text + b"]")

        yield Broadcaster(
            "ours", gateway, port, publish, protocol=SUBPROTOCOL, first=tickets.first_message
        )


@asynccontextmanager
async def our_gateway(
    folder: Path, settings: Mapping[str, str], cores: Cores
) -> AsyncIterator[int]:
    """Run our gateway on its core, and give its process id once it answers."""
    log = folder / "gateway.log"
    async with AsyncExitStack() as stack:
        with cores.for_server():
            process = await stack.enter_async_context(
                processes.running(["server.cli", "gateway"], log, settings)
            )
        address = Address("127.0.0.1", int(settings["STREAM_EVENTS_GATEWAY_PORT"]))
        await processes.answers(address, "/healthz", process, log)
        yield process.pid


class Tickets:
    """Tickets of our API for the topic of the bench: anybody may have one, and many viewers share it for a while."""

    def __init__(self, api: Server) -> None:
        self._api = api
        self._said: list[str] = []
        self._until = 0.0

    async def first_message(self) -> list[str]:
        """Return what a viewer says first."""
        if time.monotonic() > self._until:
            connection = Connection(self._api.address)
            body = msgspec.json.encode({"topics": [TOPIC]})
            answer = await connection.request(encode_request("POST", "/v1/socket-tickets", body))
            connection.close()
            if answer.status != 201:
                raise RuntimeError(f"no ticket: {answer.status}")
            ticket = msgspec.json.decode(answer.body)["ticket"]
            self._said = [msgspec.json.encode({"ticket": ticket}).decode()]
            self._until = time.monotonic() + TICKETS_S
        return self._said


async def commands_of_peers(
    wanted: Sequence[str],
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Return how to start each peer that can be had, a port to follow; and why the others are missing."""
    # Without the limit nothing is known of a machine, so it is always among them.
    commands = {"send_limit": [sys.executable, "-m", "loadtests.bench.peers.fanout_send_limit"]}
    missing: dict[str, str] = {}
    for name in PEERS:
        if name not in wanted:
            missing[name] = "not asked for"
            continue
        try:
            commands[name] = await _command_of(name)
        except NotInstalled as reason:
            missing[name] = str(reason)
    return commands, missing


async def _command_of(name: str) -> list[str]:
    if name == "socketio":
        return ["node", str(await node_of_peers() / "server.mjs")]
    app = f"loadtests.bench.peers.fanout_{name}:app"
    flags = ["--log-level", "warning", "--loop", "uvloop", "--port"]
    return [str(await python_of_peers()), "-m", "uvicorn", app, *flags]


@asynccontextmanager
async def peer(
    name: str, command: Sequence[str], folder: Path, urls: Mapping[str, str], cores: Cores
) -> AsyncIterator[Broadcaster]:
    """Run a peer on the server's core; it ends when its standard input does."""
    port, log = processes.free_port(), folder / f"{name}.log"
    more = {"BENCH_REDIS_URL": urls["redis_url"], "PYTHONPATH": str(processes.ROOT)}
    with cores.for_server(), log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *command,
            str(port),
            cwd=processes.ROOT,
            env=processes.environment(more),
            stdin=asyncio.subprocess.PIPE,
            stdout=errors,
            stderr=errors,
        )
    lines: Any = process.stdin

    async def publish(text: bytes) -> None:
        lines.write(text + b"\n")
        await lines.drain()

    path = "/socket.io/?EIO=4&transport=websocket" if name == "socketio" else "/"
    first = _socketio_first if name == "socketio" else _nothing_first
    try:
        await _listens(port, process, log)
        yield Broadcaster(name, process.pid, port, publish, path=path, first=first)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _socketio_first() -> list[str]:
    return ["40"]


async def _listens(port: int, process: asyncio.subprocess.Process, log: Path) -> None:
    until = time.monotonic() + processes.START_S_MAX
    while time.monotonic() < until and process.returncode is None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.1)
            continue
        writer.close()
        return
    raise RuntimeError(f"a peer did not start: {processes.tail(log)}")
