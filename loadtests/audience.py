"""Viewers on real websockets, in the crowd's own process: what they are shown, how late, and that it never goes back.

The protocol is the ``websockets`` library's own; only the transport is ours, because a thousand viewers and the crowd
share their machine with the server. What many viewers get as the same bytes is taken apart and decoded once.
"""

import asyncio
import contextlib
import random
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final, cast

import msgspec
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from loadtests.bench.receivers import frame_at
from loadtests.figures import Samples
from loadtests.http import Address, Connection, Lost, encode_request
from loadtests.screens import Screens

SUBPROTOCOL: Final = Subprotocol("stream-events.v1")
BACKOFF_S: Final = (0.2, 1.0)
SILENCE_S_MAX: Final = 20.0
DECODED_MAX: Final = 4096
# The first byte of a frame that is a whole text.
WHOLE_TEXT: Final = 0x81


class StateFrame(msgspec.Struct, frozen=True):
    """A topic's whole state, as the gateway sends it; other messages have no topic."""

    t: str
    topic: str = ""
    epoch: int = 0
    version: int = 0
    at: int = 0
    seq: int | None = None
    state: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Step:
    """What a viewer last saw of a topic."""

    epoch: int
    version: int


class Witness:
    """What all viewers saw: delays, newest states, and every version that went back (I24)."""

    def __init__(self) -> None:
        self.delay = Samples()
        self.screens = Screens()
        self.newest: dict[str, StateFrame] = {}
        self.breaches: list[str] = []
        self.frames = 0
        self.closes: Counter[str] = Counter()
        self.changed_at = time.monotonic()
        self._said: dict[tuple[str, int, int], dict[str, Any]] = {}

    def see(self, viewer: str, before: Step | None, frame: StateFrame, *, fresh: bool) -> Step:
        """Take note of a frame and return where the viewer now stands; ``fresh`` marks a connection's snapshot.

        Strictly increasing within one epoch; only the snapshot of a new connection may repeat the last version.
        """
        self.frames += 1
        if before is not None:
            behind = (frame.epoch, frame.version) < (before.epoch, before.version)
            repeated = (frame.epoch, frame.version) == (before.epoch, before.version)
            if behind or (repeated and not fresh):
                self._breach(
                    f"{viewer} saw {frame.topic} go from {before.epoch}/{before.version}"
                    f" to {frame.epoch}/{frame.version}"
                )
        name = (frame.topic, frame.epoch, frame.version)
        said = self._said.setdefault(name, frame.state)
        if said is not frame.state and said != frame.state:
            self._breach(f"{viewer} saw another {frame.topic} at version {frame.version}")
        newest = self.newest.get(frame.topic)
        if newest is None or (frame.epoch, frame.version) > (newest.epoch, newest.version):
            self.newest[frame.topic] = frame
            self.changed_at = time.monotonic()
        return Step(frame.epoch, frame.version)

    def state(self, topic: str) -> dict[str, Any]:
        """Return the newest state of a topic that any viewer saw."""
        frame = self.newest.get(topic)
        return frame.state if frame is not None else {}

    def _breach(self, what: str) -> None:
        if len(self.breaches) < 100:
            self.breaches.append(what)


class _Socket(asyncio.Protocol):
    """The transport under one viewer's websocket."""

    def __init__(self, viewer: "Viewer", url: str, ticket: str) -> None:
        self._viewer = viewer
        self._ticket = ticket
        self._protocol = ClientProtocol(parse_uri(url), subprotocols=[SUBPROTOCOL])
        self._transport: asyncio.Transport | None = None
        self._fresh: set[str] = set()
        self._text = b""
        self._shaken = False
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.heard_at = time.monotonic()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._protocol.send_request(self._protocol.connect())
        self._flush()

    def data_received(self, data: bytes) -> None:
        self.heard_at = time.monotonic()
        if not self._text and not self._protocol.reader.buffer and self._shaken:
            texts = self._viewer.audience.whole_texts(data)
            if texts is not None:
                for text in texts:
                    self._on_text(text)
                return
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._on_frame(event)
            elif self._protocol.handshake_exc is None:
                self._shaken = True
                self._protocol.send_text(msgspec.json.encode({"ticket": self._ticket}))
        self._flush()
        if self._protocol.close_expected():
            self.drop()

    def connection_lost(self, exc: Exception | None) -> None:
        code = self._protocol.close_code
        if not self.ended.done():
            self.ended.set_result(str(code or self._protocol.handshake_exc or exc or "lost"))

    def drop(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.abort()

    def _flush(self) -> None:
        assert self._transport is not None
        for data in self._protocol.data_to_send():
            if data:
                self._transport.write(data)

    def _on_frame(self, frame: Frame) -> None:
        if frame.opcode not in (Opcode.TEXT, Opcode.CONT):
            return
        self._text = self._text + frame.data if self._text else bytes(frame.data)
        if not frame.fin:
            return
        text, self._text = self._text, b""
        self._on_text(text)

    def _on_text(self, text: bytes) -> None:
        shown = self._viewer.audience.decode(text)
        if shown.t != "state":
            return
        self._viewer.show(shown, fresh=shown.topic not in self._fresh)
        self._fresh.add(shown.topic)


class Viewer:
    """Somebody who watches, and comes back when the connection ends."""

    def __init__(self, name: str, audience: "Audience") -> None:
        self.name = name
        self.audience = audience
        self.steps: dict[str, Step] = {}
        self.seq: int | None = None
        self.socket: _Socket | None = None

    def show(self, frame: StateFrame, *, fresh: bool) -> None:
        """Look at a frame. A snapshot may be old by right, so only live frames count as delayed."""
        witness, before = self.audience.witness, self.steps.get(frame.topic)
        self.steps[frame.topic] = witness.see(self.name, before, frame, fresh=fresh)
        if before is None:
            self.audience.arrived()
        now_ms = time.time() * 1000
        if not fresh:
            witness.delay.add(now_ms - frame.at)
        if frame.topic == self.audience.topics[0] and frame.seq is not None:
            # What was on screen when it was opened was not seen to come.
            if self.seq is not None:
                witness.screens.see(self.seq, frame.seq, now_ms)
            self.seq = frame.seq

    async def watch(self) -> None:
        """Watch until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                ticket, url = await self.audience.ticket()
                address = Address.of(url)
                socket = _Socket(self, url, ticket)
                async with asyncio.timeout(5):
                    await loop.create_connection(lambda s=socket: s, address.host, address.port)  # type: ignore[misc]
            except (Lost, OSError, TimeoutError) as error:
                self.audience.witness.closes[type(error).__name__] += 1
            else:
                self.socket = socket
                self.audience.witness.closes[await self._until_ended(socket)] += 1
            await asyncio.sleep(random.uniform(*BACKOFF_S))

    async def _until_ended(self, socket: _Socket) -> str:
        """Wait for the end; who hears nothing, not even a beat, takes the connection for dead."""
        try:
            while True:
                done, _ = await asyncio.wait({socket.ended}, timeout=5)
                if done:
                    return socket.ended.result()
                if time.monotonic() - socket.heard_at > SILENCE_S_MAX:
                    return "silent"
        finally:
            socket.drop()


class Audience:
    """All viewers of a stream."""

    def __init__(self, address: Address, stream_id: str, viewers: int) -> None:
        self.topics = [f"stream/{stream_id}/{what}" for what in ("tally", "stock", "status")]
        self.witness = Witness()
        self.viewers = [Viewer(f"viewer {n}", self) for n in range(viewers)]
        self._address = address
        self._tasks: list[asyncio.Task[None]] = []
        self._decoded: dict[bytes, StateFrame] = {}
        self._split: dict[bytes, list[bytes] | None] = {}
        self._decoder = msgspec.json.Decoder(StateFrame)
        self._ask = encode_request(
            "POST", "/v1/socket-tickets", msgspec.json.encode({"topics": self.topics})
        )
        self._asking = asyncio.Semaphore(8)
        self._all_in = asyncio.Event()

    @property
    def watching(self) -> int:
        """How many viewers have seen the stream's tally."""
        return sum(self.topics[0] in viewer.steps for viewer in self.viewers)

    @property
    def agreed(self) -> int:
        """How many viewers see the newest tally."""
        newest = self.witness.newest.get(self.topics[0])
        if newest is None:
            return 0
        last = Step(newest.epoch, newest.version)
        return sum(viewer.steps.get(self.topics[0]) == last for viewer in self.viewers)

    def decode(self, text: bytes) -> StateFrame:
        """Decode a message; most viewers get the same bytes, which are decoded once."""
        frame = self._decoded.get(text)
        if frame is None:
            frame = self._decoder.decode(text)
            if len(self._decoded) >= DECODED_MAX:
                self._decoded.clear()
            self._decoded[text] = frame
        return frame

    def whole_texts(self, data: bytes) -> list[bytes] | None:
        """Return the texts that ``data`` consists of, or None if it is not whole text frames and nothing else.

        Most viewers get the same bytes: they are taken apart once, and the library is asked about all others.
        """
        if data not in self._split:
            if len(self._split) >= DECODED_MAX:
                self._split.clear()
            self._split[data] = _texts(data)
        return self._split[data]

    async def ticket(self) -> tuple[str, str]:
        """Get a ticket and the gateway's address; raises ``Lost`` when there is none to be had now."""
        async with self._asking:
            connection = Connection(self._address)
            try:
                answer = await connection.request(self._ask)
            finally:
                connection.close()
        if answer.status != 201:
            raise Lost(f"no ticket: {answer.status}")
        got = msgspec.json.decode(answer.body)
        return got["ticket"], got["gateway_url"]

    async def enter(self, seconds_max: float) -> None:
        """Let all viewers in and wait until they see the tally, or until the time is over."""
        self._tasks = [asyncio.create_task(viewer.watch()) for viewer in self.viewers]
        if self.viewers:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_in.wait(), seconds_max)

    def arrived(self) -> None:
        """A viewer saw something for the first time."""
        if self.watching == len(self.viewers):
            self._all_in.set()

    async def leave(self) -> None:
        """Send all viewers home."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _texts(data: bytes) -> list[bytes] | None:
    texts: list[bytes] = []
    at = 0
    while at < len(data):
        frame = frame_at(data, at)
        if frame is None or data[at] != WHOLE_TEXT:
            return None
        _, text, at = frame
        texts.append(text)
    return texts
