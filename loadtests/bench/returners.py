"""Viewers that come back by the pages' own rule, and viewers that never read: the other end of ``bench sockets``.

``python -m loadtests.bench.returners`` takes commands, a line of JSON each, on standard input and answers each with a
line. A viewer does what ``static/live.js`` does: a ticket over HTTP, the socket, its first message with what it has; after
every end a pause of 0.5 s to 2, 4, … 20 s by lot, growing with failures in a row until something is heard again. A mute
one stops to read once it was greeted; its end it learns from the kernel alone, like a page whose tab is frozen.
"""

import asyncio
import base64
import json
import os
import random
import select
import socket
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import uvloop

from loadtests.bench.receivers import PARSED_MAX, frame_at, masked
from loadtests.figures import Samples
from loadtests.http import Address, Connection, Lost, encode_request

NOWHERE: Final = Address("127.0.0.1", 0)
PROTOCOL: Final = "stream-events.v1"
RETRY_S_MIN: Final = 0.5
RETRY_S_MAX: Final = 20.0
DEAD_S: Final = 15.0
TICKET_S_MAX: Final = 15.0
MUTE_BUFFER_BYTES: Final = 4_096
# One mute viewer in so many reads again when told to, and so learns why it was closed.
WITNESS_EACH: Final = 2
WITNESS_S_MAX: Final = 3.5

# What a message says: "hello", "state", "beat" or "close"; of a state epoch and version, of a close its code.
Told = tuple[str, int, int]


def pause_s(failures: int, lot: float) -> float:
    """Return the pause before the next try after so many failures in a row; ``lot`` is from 0 to 1."""
    most: float = min(RETRY_S_MAX, 2 ** min(failures, 6))
    return RETRY_S_MIN + lot * (most - RETRY_S_MIN)


@dataclass(slots=True)
class Audience:
    """All viewers of this process, and what happened to them since they were last told to begin anew."""

    topic: str = ""
    api: Address = NOWHERE
    pages: list["Page"] = field(default_factory=list)
    hung: select.epoll = field(default_factory=select.epoll)
    mutes: dict[int, "Wire"] = field(default_factory=dict)
    counted: Counter[str] = field(default_factory=Counter)
    began: float = 0.0
    parsed: dict[bytes, list[Told]] = field(default_factory=dict)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def watch(self, topic: str, api_port: int, count: int, *, mute: bool) -> None:
        """Let ``count`` more come."""
        self.topic, self.api = topic, Address("127.0.0.1", api_port)
        for _ in range(count):
            number = len(self.pages)
            page = Page(self, number, mute, witness=mute and number % WITNESS_EACH == 0)
            self.pages.append(page)
            task = asyncio.get_running_loop().create_task(page.watch())
            self.tasks.add(task)
            task.add_done_callback(stop_at_error)

    def begin(self) -> None:
        """Forget what was counted: from now on it is measured how viewers come back."""
        self.counted.clear()
        self.began = time.monotonic()
        for page in self.pages:
            page.back_s, page.cut = None, False

    async def ticket(self) -> tuple[str, Address]:
        """Get a ticket on a connection of its own, as a browser of its own would."""
        self.counted["tickets"] += 1
        connection = Connection(self.api, timeout_s=TICKET_S_MAX)
        body = msgspec.json.encode({"topics": [self.topic]})
        try:
            answer = await connection.request(encode_request("POST", "/v1/socket-tickets", body))
        finally:
            connection.close()
        if answer.status != 201:
            raise Lost(f"no ticket: {answer.status}")
        got = msgspec.json.decode(answer.body)
        return got["ticket"], Address.of(got["gateway_url"])

    def parse(self, data: bytes) -> tuple[list[Told], bytes]:
        """Take whole messages off ``data``; many viewers get the same bytes, which are read once."""
        known = self.parsed.get(data)
        if known is not None:
            return known, b""
        told: list[Told] = []
        at = 0
        while (frame := frame_at(data, at)) is not None:
            opcode, payload, at = frame
            if opcode == 0x1:
                said = msgspec.json.decode(payload)
                told.append((said["t"], said.get("epoch", 0), said.get("version", 0)))
            elif opcode == 0x8:
                told.append(("close", int.from_bytes(payload[:2], "big"), 0))
            elif opcode == 0x9:
                told.append(("ping", 0, 0))
        if at == len(data):
            if len(self.parsed) >= PARSED_MAX:
                self.parsed.clear()
            self.parsed[data] = told
        return told, data[at:]

    def wake(self, mute_s: float) -> int:
        """Let some of those that were mute for so long read again, and be told why they were closed; returns how many."""
        since = time.monotonic() - mute_s
        chosen = [
            wire for wire in self.mutes.values() if wire.page.witness and wire.mute_at <= since
        ]
        for wire in chosen:
            wire.wake()
        return len(chosen)

    def on_hung(self) -> None:
        """End the mute connections of which the kernel says that the other side is gone."""
        for fileno, _ in self.hung.poll(0):
            self.counted["hung up"] += 1
            self.mutes[fileno].page.cut = True
            self.mutes[fileno].abort()

    async def run_watchdog(self) -> None:
        """Give connections up that said nothing for as long as a page's watchdog waits; mute ones have none."""
        while True:
            await asyncio.sleep(1)
            now = time.monotonic()
            for page in self.pages:
                if page.wire and not page.wire.mute and now - page.wire.heard_at > DEAD_S:
                    self.counted["silent"] += 1
                    page.wire.abort()

    def tell(self) -> dict[str, Any]:
        """Return where everybody stands, and how those came back who did."""
        known = [page.known for page in self.pages]
        newest = max(known, default=(0, 0))
        back = Samples()
        for page in self.pages:
            if page.back_s is not None:
                back.add(page.back_s * 1000)
        return {
            "watching": sum(page.greeted for page in self.pages),
            "have_newest": known.count(newest),
            "newest": newest[1],
            "mute": len(self.mutes),
            "mute_s_max": max(
                (time.monotonic() - w.mute_at for w in self.mutes.values()), default=0
            ),
            "cut": sum(page.cut for page in self.pages),
            "back": len(back),
            "back_ms": {str(p): back.percentile(p) for p in (50, 99, 100)},
            "counted": dict(self.counted),
        }


@dataclass(eq=False, slots=True)
class Page:
    """A viewer: what it has on screen, and how often in a row it failed to hear anything."""

    audience: Audience
    number: int
    mute: bool
    known: tuple[int, int] = (0, 0)
    failures: int = 0
    wire: "Wire | None" = None
    greeted: bool = False
    back_s: float | None = None
    cut: bool = False
    witness: bool = False

    async def watch(self) -> None:
        """Watch for ever."""
        counted = self.audience.counted
        while True:
            try:
                ticket, address = await self.audience.ticket()
                async with asyncio.timeout(DEAD_S):
                    self.wire = await self.connect(ticket, address)
                await self.wire.ended
            except (Lost, OSError, TimeoutError) as error:
                counted[f"failed: {type(error).__name__}"] += 1
            self.wire, self.greeted = None, False
            self.failures += 1
            await asyncio.sleep(pause_s(self.failures, random.random()))

    async def connect(self, ticket: str, address: Address) -> "Wire":
        """Open a socket; a mute viewer's holds next to nothing, so that all the more is left with the server."""
        loop = asyncio.get_running_loop()
        made = socket.socket()
        made.settimeout(0)
        try:
            if self.mute:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MUTE_BUFFER_BYTES)
            await loop.sock_connect(made, address)
            wire = Wire(self, ticket, address, made.fileno())
            await loop.create_connection(lambda: wire, sock=made)
        except BaseException:
            made.close()
            raise
        return wire

    def hear(self, told: Told) -> None:
        """Take a message, as ``live.js`` does."""
        self.failures = 0
        if told[0] == "hello":
            self.greeted = True
            if self.back_s is None:
                self.back_s = time.monotonic() - self.audience.began
        elif told[0] == "state":
            self.known = max(self.known, told[1:])


class Wire(asyncio.Protocol):
    """One connection of a page."""

    def __init__(self, page: Page, ticket: str, address: Address, fileno: int) -> None:
        self.page = page
        self.mute = False
        self.mute_at = 0.0
        self.heard_at = time.monotonic()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ticket = ticket
        self._host = f"{address.host}:{address.port}"
        self._fileno = fileno
        self._shaken = self._woken = False
        self._rest = b""
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        lines = ["GET / HTTP/1.1", f"Host: {self._host}", "Upgrade: websocket"]
        lines += ["Connection: Upgrade", f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13"]
        lines += [f"Sec-WebSocket-Protocol: {PROTOCOL}", "", ""]
        self._transport.write("\r\n".join(lines).encode())

    def data_received(self, data: bytes) -> None:
        self._rest += data
        if not self._shaken:
            head, end, rest = self._rest.partition(b"\r\n\r\n")
            if not end:
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self.page.audience.counted["told to come later"] += 1
                self.abort()
                return
            self._shaken, self._rest = True, rest
            known = self.page.known
            have = {self.page.audience.topic: known} if known[0] else {}
            first = msgspec.json.encode({"ticket": self._ticket, "have": have})
            self._transport.write(masked(0x1, first))
        told, self._rest = self.page.audience.parse(self._rest)
        for one in told:
            self._take(one)

    def _take(self, told: Told) -> None:
        self.heard_at = time.monotonic()
        if told[0] == "ping":
            self._transport.write(masked(0xA, b""))
        elif told[0] == "close":
            self.page.audience.counted[f"{'woken' if self._woken else 'closed'}: {told[1]}"] += 1
            self.page.cut |= self._woken
            self._woken = False
            self.abort()
        else:
            self.page.hear(told)
            if told[0] == "hello" and self.page.mute:
                self._fall_mute()

    def _fall_mute(self) -> None:
        audience = self.page.audience
        self.mute, self.mute_at = True, time.monotonic()
        self._transport.pause_reading()
        audience.mutes[self._fileno] = self
        # Nothing is asked for, but of an end the kernel tells in any case.
        audience.hung.register(self._fileno, 0)

    def wake(self) -> None:
        """Read again; whoever was not closed by then came too early to be told why, and stays mute the next time."""
        self._forget()
        self._woken = True
        self._transport.resume_reading()
        asyncio.get_running_loop().call_later(WITNESS_S_MAX, self._give_up)

    def _give_up(self) -> None:
        if self._woken:
            self._woken = self.page.witness = False
            self.page.audience.counted["woken: too early"] += 1
            self.abort()

    def abort(self) -> None:
        """End the connection."""
        self._forget()
        self._transport.abort()

    def connection_lost(self, _: Exception | None) -> None:
        self._forget()
        if self._woken:
            self.page.audience.counted["woken: untold"] += 1
        if not self.ended.done():
            self.ended.set_result(None)

    def _forget(self) -> None:
        if self.page.audience.mutes.get(self._fileno) is self:
            del self.page.audience.mutes[self._fileno]
            self.page.audience.hung.unregister(self._fileno)


def stop_at_error(task: asyncio.Task[None]) -> None:
    """End the process when a viewer stumbled: fewer viewers than it says would be measured."""
    if not task.cancelled() and (error := task.exception()) is not None:
        print(f"a viewer ended: {error!r}", file=sys.stderr, flush=True)
        os._exit(1)


def obey(audience: Audience, command: dict[str, Any]) -> dict[str, Any]:
    """Do what was asked, and return the answer."""
    if command["do"] == "watch":
        given = {name: command[name] for name in ("topic", "api_port", "count")}
        audience.watch(**given, mute=command["mute"])
        return {}
    if command["do"] == "begin":
        audience.begin()
        return {}
    if command["do"] == "wake":
        return {"woken": audience.wake(command["mute_s"])}
    return audience.tell()


async def serve() -> None:
    """Serve commands until there are no more."""
    loop = asyncio.get_running_loop()
    audience = Audience()
    audience.begin()
    loop.add_reader(audience.hung.fileno(), audience.on_hung)
    watchdog = loop.create_task(audience.run_watchdog())
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    while line := await commands.readline():
        print(json.dumps(obey(audience, json.loads(line))), flush=True)
    watchdog.cancel()


if __name__ == "__main__":
    uvloop.run(serve())
