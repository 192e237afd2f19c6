"""Viewers of the crowd read frames however they come, and what they saw is timed from the books to their screens."""

import asyncio
from collections.abc import Callable

import msgspec
import pytest
from websockets.frames import Frame, Opcode

from loadtests.audience import Audience, Viewer, _Socket
from loadtests.http import Address
from loadtests.screens import Screens

SHAKEN = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"


def tally(version: int, seq: int) -> bytes:
    said = {
        "t": "state",
        "topic": "stream/str_1/tally",
        "epoch": 1,
        "version": version,
        "at": 0,
        "seq": seq,
        "state": {"raised_minor": seq, "filler": "x" * 200},
    }
    return Frame(Opcode.TEXT, msgspec.json.encode(said)).serialize(mask=False)


class Pipe(asyncio.Transport):
    """A transport that keeps what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)


def connected(viewer: Viewer) -> tuple[_Socket, Pipe]:
    """Return a viewer's socket after its handshake."""
    socket, pipe = _Socket(viewer, "ws://127.0.0.1:1", "T"), Pipe()
    socket.connection_made(pipe)
    key = pipe.written.partition(b"Sec-WebSocket-Key: ")[2].split(b"\r\n")[0].decode()
    from websockets.utils import accept_key  # noqa: PLC0415 - only the handshake needs it

    accept = f"Sec-WebSocket-Accept: {accept_key(key)}\r\n"
    protocol = "Sec-WebSocket-Protocol: stream-events.v1\r\n\r\n"
    socket.data_received(SHAKEN + (accept + protocol).encode())
    pipe.written = b""
    return socket, pipe


@pytest.mark.parametrize("cut", [1, 7, 100, 10_000])
async def test_frames_are_seen_however_they_are_cut(cut: int) -> None:
    audience = Audience(Address("127.0.0.1", 1), "str_1", 1)
    socket, pipe = connected(audience.viewers[0])
    ping = Frame(Opcode.PING, b"there?").serialize(mask=False)
    wire = tally(1, 4) + tally(2, 5) + ping + tally(3, 9)
    for first in range(0, len(wire), cut):
        socket.data_received(wire[first : first + cut])
    socket.data_received(tally(4, 12))
    witness = audience.witness
    assert (witness.frames, witness.breaches) == (4, [])
    assert witness.state("stream/str_1/tally")["raised_minor"] == 12
    assert [step[:2] for step in witness.screens.as_json()] == [(4, 5), (5, 9), (9, 12)]
    assert pipe.written[0] == 0x8A, "the ping was answered"


async def test_the_library_is_asked_about_what_is_not_whole_texts() -> None:
    audience = Audience(Address("127.0.0.1", 1), "str_1", 1)
    whole = tally(1, 4) + tally(2, 5)
    assert len(audience.whole_texts(whole) or ()) == 2
    is_none: Callable[[bytes], bool] = lambda data: audience.whole_texts(data) is None  # noqa: E731
    assert is_none(whole[:-1])
    assert is_none(whole + Frame(Opcode.CLOSE, b"\x0f\xa8").serialize(mask=False))
    assert is_none(Frame(Opcode.TEXT, b"{", fin=False).serialize(mask=False))


def test_a_step_back_shows_nothing_new() -> None:
    screens = Screens()
    screens.see(5, 5, 1.0)
    screens.see(5, 4, 1.0)
    screens.see(4, 5, 2.4)
    screens.see(4, 5, 2.0)
    assert screens.as_json() == [(4, 5, [(2, 2)])]
