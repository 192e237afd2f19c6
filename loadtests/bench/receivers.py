"""The other end of the fan-out bench: a process full of viewers, as thin as can be, so that it is not what is measured.

``python -m loadtests.bench.receivers`` takes commands, a line of JSON each, on standard input and answers each with a
line. It speaks just enough of the websocket protocol: text frames are read, pings answered. What many viewers get as
the same bytes is parsed once. Delay counts from the moment a frame was due to be published, which it carries.
"""

import base64
import json
import os
import re
import select
import socket
import struct
import sys
import time
from dataclasses import dataclass, field
from typing import Any, Final

from loadtests.figures import Samples

READ_BYTES: Final = 65_536
PARSED_MAX: Final = 4_096
EVENTS_MAX: Final = 4_096
HANDSHAKE_S_MAX: Final = 20.0
BUSY_PAUSE_S: Final = 0.25
_TELLING: Final = re.compile(rb'version\\?":(\d+).*?published_ns\\?":(\d+)', re.DOTALL)
_NO_MASK: Final = b"\0\0\0\0"

Told = tuple[int, int]


@dataclass(slots=True)
class Viewer:
    """A connection: what came of an unfinished frame, and the newest version it was shown."""

    socket: socket.socket
    rest: bytes = b""
    version: int = 0


@dataclass(slots=True)
class Receivers:
    """All viewers of this process, and what they saw since they were last asked."""

    viewers: dict[int, Viewer] = field(default_factory=dict)
    poll: select.epoll = field(default_factory=select.epoll)
    delays: Samples = field(default_factory=Samples)
    messages: int = 0
    lost: int = 0
    parsed: dict[bytes, list[Told]] = field(default_factory=dict)
    cpu_s: float = 0.0
    began: float = 0.0

    def connect(self, port: int, path: str, protocol: str, first: list[str], count: int) -> int:
        """Let ``count`` more viewers in, one after the other; each says ``first`` when the handshake is done."""
        for _ in range(count):
            viewer = Viewer(shaken(port, path, protocol))
            for text in first:
                viewer.socket.sendall(masked(0x1, text.encode()))
            viewer.socket.settimeout(0)
            self.viewers[viewer.socket.fileno()] = viewer
            self.poll.register(viewer.socket.fileno(), select.EPOLLIN)
            self.take_in(0)
        return len(self.viewers)

    def reset(self) -> None:
        """Forget what was seen: what is asked for next begins now."""
        self.delays, self.messages = Samples(), 0
        self.cpu_s, self.began = time.process_time(), time.monotonic()

    def seen(self) -> dict[str, Any]:
        """Return what was seen since ``reset``."""
        newest = max((viewer.version for viewer in self.viewers.values()), default=0)
        return {
            "viewers": len(self.viewers),
            "lost": self.lost,
            "messages": self.messages,
            "newest": newest,
            "have_newest": sum(viewer.version == newest for viewer in self.viewers.values()),
            "delay_ms": {str(p): self.delays.percentile(p) for p in (50, 99, 100)},
            "cpu": (time.process_time() - self.cpu_s) / (time.monotonic() - self.began),
        }

    def take_in(self, timeout_s: float) -> bool:
        """Read whatever came; return whether a command is waiting."""
        asked = False
        for fileno, _ in self.poll.poll(timeout_s, EVENTS_MAX):
            viewer = self.viewers.get(fileno)
            if viewer is None:
                asked = True
                continue
            try:
                data = viewer.socket.recv(READ_BYTES)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            if not data:
                self.drop(viewer)
                continue
            told = None if viewer.rest else self.parsed.get(data)
            self.note(viewer, self.parse(viewer, data) if told is None else told)
        return asked

    def note(self, viewer: Viewer, told: list[Told]) -> None:
        """Keep what a viewer was told: the newest version counts, each message is timed."""
        now_ns = time.time_ns()
        for version, published_ns in told:
            self.messages += 1
            self.delays.add((now_ns - published_ns) / 1e6)
            viewer.version = max(viewer.version, version)

    def parse(self, viewer: Viewer, data: bytes) -> list[Told]:
        """Take frames apart, answer pings, and remember what whole frames say: the next viewer gets the same."""
        whole, buffer = not viewer.rest, viewer.rest + data
        told: list[Told] = []
        at, plain = 0, True
        while (frame := frame_at(buffer, at)) is not None:
            opcode, payload, at = frame
            if opcode == 0x1 and (found := _TELLING.search(payload)):
                told.append((int(found[1]), int(found[2])))
            else:
                plain = False
                self.answer(viewer, opcode, payload)
        viewer.rest = buffer[at:]
        if whole and plain and not viewer.rest:
            if len(self.parsed) >= PARSED_MAX:
                self.parsed.clear()
            self.parsed[data] = told
        return told

    def answer(self, viewer: Viewer, opcode: int, payload: bytes) -> None:
        """Answer a ping of the protocol, and one of Engine.IO; whatever else is said needs no answer."""
        if opcode == 0x9:
            viewer.socket.send(masked(0xA, payload))
        elif opcode == 0x1 and payload == b"2":
            viewer.socket.send(masked(0x1, b"3"))

    def drop(self, viewer: Viewer) -> None:
        """Count a connection that has ended."""
        self.lost += 1
        self.poll.unregister(viewer.socket.fileno())
        del self.viewers[viewer.socket.fileno()]
        viewer.socket.close()


def shaken(port: int, path: str, protocol: str) -> socket.socket:
    """Return a connection whose handshake is done; one that is told to come later does."""
    until = time.monotonic() + HANDSHAKE_S_MAX
    while True:
        made = socket.create_connection(("127.0.0.1", port), timeout=HANDSHAKE_S_MAX)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Upgrade: websocket"]
        lines += ["Connection: Upgrade", f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13"]
        lines += [f"Sec-WebSocket-Protocol: {protocol}"] if protocol else []
        made.sendall("\r\n".join([*lines, "", ""]).encode())
        answer = b""
        # A byte at a time at its end: what follows belongs to the first frame.
        while not answer.endswith(b"\r\n\r\n"):
            more = made.recv(1)
            if not more:
                break
            answer += more
        if answer.startswith(b"HTTP/1.1 101"):
            return made
        made.close()
        if time.monotonic() > until:
            raise RuntimeError(f"no handshake: {answer[:80]!r}")
        time.sleep(BUSY_PAUSE_S)


def masked(opcode: int, payload: bytes) -> bytes:
    """Return a short frame as a client must send it: masked, here with zeros, which leave it as it is."""
    size = len(payload)
    head = bytes([0x80 | opcode])
    head += bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack("!H", size)
    return head + _NO_MASK + payload


def frame_at(buffer: bytes, at: int) -> tuple[int, bytes, int] | None:
    """Return opcode, payload and end of the unmasked frame that begins at ``at``; None while it is not all there."""
    if len(buffer) < at + 2:
        return None
    size, start = buffer[at + 1] & 0x7F, at + 2
    for mark, width in ((126, 2), (127, 8)):
        if size == mark:
            if len(buffer) < start + width:
                return None
            size, start = int.from_bytes(buffer[start : start + width], "big"), start + width
            break
    end = start + size
    return (buffer[at] & 0xF, buffer[start:end], end) if len(buffer) >= end else None


def obey(receivers: Receivers, command: dict[str, Any]) -> dict[str, Any]:
    """Do what was asked, and return the answer."""
    if command["do"] == "connect":
        given = {name: command[name] for name in ("port", "path", "protocol", "first", "count")}
        return {"connected": receivers.connect(**given)}
    if command["do"] == "reset":
        receivers.reset()
        return {}
    return receivers.seen()


def main() -> None:
    """Serve commands until there are no more."""
    receivers = Receivers()
    receivers.reset()
    commands = sys.stdin.buffer
    receivers.poll.register(commands.fileno(), select.EPOLLIN)
    while True:
        if not receivers.take_in(60):
            continue
        line = commands.readline()
        if not line:
            return
        print(json.dumps(obey(receivers, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
