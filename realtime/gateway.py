"""The socket server that viewers connect to: tickets in, frames out, and nothing a viewer does can hurt another.

It knows no SQL and no commerce: a ticket proves itself, frames come from the hub's memory. So a thousand viewers
that reconnect at once cost no query. Any web page may connect (there is no ``Origin`` rule), because cookies are
never read here: the ticket, which only a caller of our API can get, is the whole credential. When the key behind it
ends, whoever knows SQL says so (``revoke``). How a viewer is told why it was closed, and from where to resume, is in
``realtime.frames``.
"""

import asyncio
import random
import socket
import struct
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import structlog
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from realtime.frames import (
    HEARTBEAT_S,
    MESSAGE_BYTES_MAX,
    REVOKED,
    SLOW_CONSUMER,
    SUBPROTOCOL,
    UNAUTHORIZED,
    Hello,
    Pass,
    encode,
    first_message,
)
from realtime.hub import WRITE_BUFFER_BYTES_MAX, Hub, Viewer, ViewerConnection

log = structlog.get_logger(__name__)

# What the kernel may hold unsent for one viewer. Left to itself it would take megabytes from a viewer that does
# not read before we could notice.
SEND_BUFFER_BYTES: Final = 65_536
# A viewer whose machine or network is gone ends after 40 s without an acknowledgement: later than one that does not read.
DEAD_PEER: Final = {
    "TCP_USER_TIMEOUT": 40_000,
    "TCP_KEEPIDLE": 20,
    "TCP_KEEPINTVL": 10,
    "TCP_KEEPCNT": 2,
}
# On, and for 0 s: closing throws away what is unsent, and tells the other side at once.
NO_LINGER: Final = struct.pack("ii", 1, 0)
CLOSE_S_MAX: Final = 2.0
SWEEP_S: Final = 0.5
SLICES: Final = 20
BEATS_PER_SLICE: Final = 500


@dataclass(frozen=True, slots=True)
class GatewayLimits:
    """The bounds of one gateway process."""

    connections_max: int = 20_000
    accepts_per_s: int = 500
    first_message_s: float = 5.0
    behind_s_max: float = 10.0
    drain_s: float = 10.0


class Gateway:
    """One socket server over one hub."""

    def __init__(
        self,
        hub: Hub,
        read_ticket: Callable[[str], Pass | None],
        *,
        build: str = "",
        limits: GatewayLimits | None = None,
        is_live: Callable[[], bool] = lambda: True,
    ) -> None:
        self._hub = hub
        self._is_live = is_live
        self._read_ticket = read_ticket
        self._build = build
        self._limits = limits or GatewayLimits()
        self._epoch = _now_ms()
        self._accepts = float(self._limits.accepts_per_s)
        self._accepts_at = time.monotonic()
        self._open = 0
        self._closing: set[asyncio.Task[None]] = set()

    async def listen(self, host: str, port: int) -> Server:
        """Start to accept viewers; the returned server knows the port, if 0 was asked for."""
        return await serve(
            self._watch,
            host,
            port,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            compression=None,
            process_request=self._greet,
            server_header=None,
            open_timeout=self._limits.first_message_s,
            close_timeout=CLOSE_S_MAX,
            # The kernel finds dead peers (``_bound``) at no cost; a ping each, with its pong, is work that grows with viewers.
            ping_interval=None,
            max_size=MESSAGE_BYTES_MAX,
            max_queue=4,
            write_limit=(WRITE_BUFFER_BYTES_MAX, 0),
            create_connection=ViewerConnection,
        )

    async def run_beats(self) -> None:
        """Send every viewer a beat each ``HEARTBEAT_S`` seconds, some at a time so that frames pass between.

        A beat says that what is on screen is still so. While nobody looks at the books there is none, and
        screens mark themselves stale instead of showing an old total as today's.
        """
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            if not self._is_live():
                continue
            viewers = self._hub.viewers()
            for first in range(0, len(viewers), BEATS_PER_SLICE):
                self._hub.beat(_now_ms(), viewers[first : first + BEATS_PER_SLICE])
                await asyncio.sleep(0)

    async def run_sweep(self) -> None:
        """Cut the viewers that have not drained for too long, and tell them what they had last."""
        while True:
            await asyncio.sleep(min(SWEEP_S, self._limits.behind_s_max / 4))
            for viewer in self._hub.overdue(self._limits.behind_s_max):
                self._cut(viewer)

    def revoke(self, key_ids: Collection[str]) -> None:
        """Cut the viewers whose tickets were made with one of these keys; from now on they get nothing."""
        for viewer in self._hub.viewers_by(key_ids):
            self._hub.leave(viewer)
            log.info("viewer_revoked", kind=viewer.group.admitted.kind)
            self._shut([viewer.connection], UNAUTHORIZED, REVOKED)

    async def close(self, server: Server) -> None:
        """Accept nobody more and send the viewers away in slices, so that they do not come back in one wave."""
        server.close(close_connections=False)
        viewers = self._hub.viewers()
        random.shuffle(viewers)
        size = -(-len(viewers) // SLICES) or 1
        for first in range(0, len(viewers), size):
            slice_ = viewers[first : first + size]
            self._shut(
                (viewer.connection for viewer in slice_), CloseCode.SERVICE_RESTART, "restart"
            )
            await asyncio.sleep(self._limits.drain_s / SLICES)
        # Those who came in during the closing, or have not shown a ticket yet.
        self._shut(server.connections, CloseCode.SERVICE_RESTART, "restart")
        if self._closing:
            await asyncio.wait(self._closing)
        await server.wait_closed()

    def _greet(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer a health check, or let the handshake go on if there is room for one more."""
        if request.path == "/healthz":
            return connection.respond(HTTPStatus.OK, "ok\n")
        if self._open >= self._limits.connections_max or not self._accept():
            response = connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "Come back later.\n")
            response.headers["Retry-After"] = str(random.randint(1, 10))  # noqa: S311 - jitter, no secret.
            return response
        return None

    def _accept(self) -> bool:
        now = time.monotonic()
        rate = self._limits.accepts_per_s
        self._accepts = min(float(rate), self._accepts + (now - self._accepts_at) * rate)
        self._accepts_at = now
        if self._accepts < 1:
            return False
        self._accepts -= 1
        return True

    async def _watch(self, connection: ServerConnection) -> None:
        """Serve one connection from its first message to its end."""
        assert isinstance(connection, ViewerConnection)
        self._open += 1
        viewer: Viewer | None = None
        try:
            viewer = await self._admit(connection)
            if viewer is None:
                await _close(connection, UNAUTHORIZED, "unauthorized")
                return
            await connection.recv()
            await _close(connection, CloseCode.POLICY_VIOLATION, "nothing more was expected")
        except ConnectionClosed:
            return
        finally:
            self._open -= 1
            if viewer is not None:
                self._hub.leave(viewer)

    async def _admit(self, connection: ViewerConnection) -> Viewer | None:
        """Take the ticket. Whatever is wrong with it, or with what was sent instead, is answered alike."""
        _bound(connection)
        try:
            async with asyncio.timeout(self._limits.first_message_s):
                message = first_message(await connection.recv())
        except TimeoutError:
            return None
        if message is None:
            return None
        admitted = self._read_ticket(message.ticket)
        if admitted is None:
            return None
        hello = encode(Hello(self._epoch, HEARTBEAT_S, self._build, _now_ms()))
        return self._hub.join(connection, admitted, hello, message.have)

    def _cut(self, viewer: Viewer) -> None:
        self._hub.leave(viewer)
        log.info("viewer_cut", kind=viewer.group.admitted.kind, missed=len(viewer.missed))
        self._shut([viewer.connection], SLOW_CONSUMER, f"slow_consumer at={viewer.resume_at}")

    def _shut(self, connections: Iterable[ServerConnection], code: int, reason: str) -> None:
        for connection in connections:
            task = asyncio.create_task(_close(connection, code, reason))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


async def _close(connection: ServerConnection, code: int, reason: str) -> None:
    """Close a connection in bounded time. The library waits without end for one that does not drain.

    Without a reset the kernel would keep what such a viewer has not read, and its side of the connection, for minutes.
    """
    try:
        async with asyncio.timeout(2 * CLOSE_S_MAX):
            await connection.close(code, reason)
    except TimeoutError:
        found = _socket_of(connection)
        if found is not None:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        connection.transport.abort()


def _bound(connection: ServerConnection) -> None:
    """Bound what the kernel holds unsent for a viewer, and how long it believes in one that answers nothing.

    While beats go out, what is not acknowledged in time ends the connection; while none do, probes that nobody answers.
    """
    found = _socket_of(connection)
    if found is None:
        return
    found.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in DEAD_PEER.items():
        # Other systems than Linux lack some of them, and keep their own patience.
        option = getattr(socket, name, None)
        if option is not None:
            found.setsockopt(socket.IPPROTO_TCP, option, value)


def _socket_of(connection: ServerConnection) -> socket.socket | None:
    """Return the socket of a connection that has not ended."""
    found: socket.socket | None = connection.transport.get_extra_info("socket")
    return found


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
