"""The newest frame of every topic, and who watches it: the part of the gateway that must be fast and never wait.

A frame is written as ready-made bytes to connections that ``websockets`` opened and keeps alive: straight to the sockets
of those whose transports are at rest, which costs half of going through them, and through the transport to the others.
A socket is ready from a moment at which its transport held nothing until anybody writes to the transport, or it ends;
``ViewerConnection`` tells of both before they happen, so bytes never overtake each other or go to a stranger.
Whoever has not drained what was written before gets nothing more put on its pile: it is marked, and when it drains
it gets the newest state of what it missed, because states are absolute and the ones between have no value. So
no viewer costs more memory than one full buffer, and none is ever waited for.

Viewers of the same topics form a group, so that all topics changed in one tick are one write a viewer.
"""

import asyncio
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from websockets.asyncio.server import ServerConnection
from websockets.protocol import State

from realtime.frames import Beat, Frame, Pass, encode, on_wire, owner_of

# A viewer may have this much unsent in our memory before it counts as slow; at 0 it has drained.
WRITE_BUFFER_BYTES_MAX: Final = 16_384

_NOTHING: Final[Mapping[str, tuple[int, int]]] = MappingProxyType({})


class ViewerConnection(ServerConnection):
    """A connection that tells the hub when the library writes, when its write buffer fills and drains, and its end."""

    viewer: "Viewer | None" = None
    hub: "Hub | None" = None

    def send_data(self) -> None:
        # Also called when the state of the connection has changed.
        if self.viewer is not None:
            self.viewer.group.hold(self.viewer)
        super().send_data()

    def connection_lost(self, exc: Exception | None) -> None:
        # The socket is closed after this, and its number may be another's at once.
        if self.viewer is not None and self.hub is not None:
            self.hub.leave(self.viewer)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        # Who does not read our answers gets none: a flood of pings must not pile up pongs.
        if not self.transport.is_closing():
            self.transport.pause_reading()
        if self.viewer is not None and self.hub is not None:
            self.hub.on_full(self.viewer)

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.transport.is_closing() and not self.recv_messages.paused:
            self.transport.resume_reading()
        if self.viewer is not None and self.hub is not None:
            # Not from within the transport's own callback: writing is what it is in the middle of.
            self.loop.call_soon(self.hub.on_drained, self.viewer)


@dataclass(eq=False, slots=True)
class Group:
    """The viewers of one kind and key that watch the same topics. ``at`` is that of the newest frame written to them.

    Each is either ``ready``, by the number of its socket, or ``held``: its transport has to be looked at first.
    """

    admitted: Pass
    viewers: set["Viewer"] = field(default_factory=set)
    ready: dict[int, "Viewer"] = field(default_factory=dict)
    held: set["Viewer"] = field(default_factory=set)
    at: int = 0

    def trust(self, viewer: "Viewer") -> None:
        """Write straight to the socket of a viewer whose transport is at rest."""
        self.held.discard(viewer)
        self.ready[viewer.socket] = viewer

    def hold(self, viewer: "Viewer") -> None:
        """Write to its socket no more before its transport was looked at."""
        if self.ready.get(viewer.socket) is viewer:
            del self.ready[viewer.socket]
            self.held.add(viewer)

    def remove(self, viewer: "Viewer") -> None:
        """Forget a viewer."""
        self.hold(viewer)
        self.held.discard(viewer)
        self.viewers.discard(viewer)


@dataclass(eq=False, slots=True)
class Viewer:
    """One connection in a group; ``full_since`` and ``missed`` are set while it is not drained."""

    connection: ViewerConnection
    group: Group
    socket: int
    full_since: float | None = None
    resume_at: int = 0
    missed: set[str] = field(default_factory=set)

    @property
    def writable(self) -> bool:
        """Return whether a whole frame may be written now: open, drained, not inside a fragmented message."""
        connection = self.connection
        return (
            not connection.paused
            and connection.protocol.state is State.OPEN
            and connection.send_in_progress is None
        )

    @property
    def at_rest(self) -> bool:
        """Return whether its transport has nothing left to write, and nobody is in the middle of anything."""
        transport: Any = self.connection.transport
        return (
            self.full_since is None
            and self.writable
            and not transport.is_closing()
            and transport.get_write_buffer_size() == 0
        )


class Hub:
    """Newest frames and viewers of one gateway process. Nothing in it awaits."""

    def __init__(self) -> None:
        self._newest: dict[str, Frame] = {}
        self._wire: dict[str, bytes] = {}
        self._groups: dict[Pass, Group] = {}
        self._watching: dict[str, set[Group]] = {}
        self._behind: set[Viewer] = set()
        self._viewers = 0

    def __len__(self) -> int:
        return self._viewers

    def ages(self) -> dict[str, tuple[int, int]]:
        """Return epoch and version of every topic held."""
        return {topic: frame.age for topic, frame in self._newest.items()}

    def newest(self, topic: str) -> Frame | None:
        """Return the newest frame of a topic, if any came yet."""
        return self._newest.get(topic)

    def publish(self, frames: Iterable[Frame]) -> int:
        """Take frames that are newer than what is held and write them to their viewers; returns how many were."""
        changed: dict[Group, dict[str, None]] = {}
        taken = 0
        for frame in frames:
            held = self._newest.get(frame.topic)
            if held is not None and frame.age <= held.age:
                continue
            taken += 1
            self._newest[frame.topic] = frame
            self._wire[frame.topic] = on_wire(frame.payload)
            for group in self._watching.get(frame.topic, ()):
                changed.setdefault(group, {})[frame.topic] = None
                group.at = max(group.at, frame.at)
        for group, topics in changed.items():
            self._write(group, b"".join(self._wire[topic] for topic in topics), topics)
        return taken

    def beat(self, at_ms: int, viewers: Iterable[Viewer]) -> None:
        """Tell ``viewers`` that we are alive; those behind get it with their next frame, or are cut."""
        data = on_wire(encode(Beat(at_ms)))
        straight: dict[Group, list[int]] = {}
        for viewer in viewers:
            if viewer.group.ready.get(viewer.socket) is viewer:
                straight.setdefault(viewer.group, []).append(viewer.socket)
            else:
                self._write_to(viewer, data, ())
        for group, numbers in straight.items():
            _write_straight(group, numbers, data)

    def viewers(self) -> list[Viewer]:
        """Return all viewers there are now."""
        return [viewer for group in self._groups.values() for viewer in group.viewers]

    def keys(self) -> list[str]:
        """Return the keys whose holders' viewers are connected: never more than there are viewers."""
        return sorted({admitted.key_id for admitted in self._groups if admitted.key_id is not None})

    def viewers_by(self, key_ids: Collection[str]) -> list[Viewer]:
        """Return the viewers that came with a ticket of one of these keys."""
        return [
            viewer
            for admitted, group in self._groups.items()
            if admitted.key_id in key_ids
            for viewer in group.viewers
        ]

    def join(
        self,
        connection: ViewerConnection,
        admitted: Pass,
        hello: bytes,
        have: Mapping[str, tuple[int, int]] = _NOTHING,
    ) -> Viewer:
        """Let a connection watch, and write it ``hello`` and what is newest of its topics and not in ``have``.

        Nothing can come between its subscription and its snapshot: this does not await.
        """
        group = self._groups.get(admitted)
        if group is None:
            group = self._groups[admitted] = Group(admitted)
            for topic in admitted.topics:
                self._watching.setdefault(topic, set()).add(group)
        viewer = Viewer(connection, group, connection.transport.get_extra_info("socket").fileno())
        group.viewers.add(viewer)
        group.held.add(viewer)
        self._viewers += 1
        connection.viewer, connection.hub = viewer, self
        if connection.paused:
            self._mark(viewer)
        news = [
            topic
            for topic in admitted.topics
            if topic in self._newest and self._newest[topic].is_news_to(have)
        ]
        snapshot = b"".join(self._wire[topic] for topic in news)
        self._write_to(viewer, on_wire(hello) + snapshot, news)
        return viewer

    def leave(self, viewer: Viewer) -> None:
        """Forget a viewer, and its group with the last one."""
        group = viewer.group
        if viewer not in group.viewers:
            return
        group.remove(viewer)
        self._behind.discard(viewer)
        self._viewers -= 1
        viewer.connection.viewer = None
        if group.viewers or self._groups.get(group.admitted) is not group:
            return
        del self._groups[group.admitted]
        for topic in group.admitted.topics:
            watching = self._watching[topic]
            watching.discard(group)
            if not watching:
                del self._watching[topic]

    def on_full(self, viewer: Viewer) -> None:
        """Mark a viewer whose buffer is full: from now on it is owed the newest state instead."""
        self._mark(viewer)

    def on_drained(self, viewer: Viewer) -> None:
        """Give a viewer that has drained the newest state of all it missed."""
        if viewer not in self._behind:
            return
        if not viewer.writable:
            viewer.full_since = _now()  # It did drain, and has filled again since.
            return
        self._behind.discard(viewer)
        viewer.full_since = None
        missed, viewer.missed = sorted(viewer.missed), set()
        if missed:
            self._write_to(viewer, b"".join(self._wire[topic] for topic in missed), missed)

    def overdue(self, behind_s_max: float) -> list[Viewer]:
        """Return the viewers that have not drained for too long."""
        for viewer in [viewer for viewer in self._behind if viewer.writable]:
            self.on_drained(viewer)
        now = _now()
        return [
            viewer
            for viewer in self._behind
            if viewer.full_since is not None and now - viewer.full_since >= behind_s_max
        ]

    def counts(self) -> dict[tuple[str, str], int]:
        """Return how many viewers of each kind watch each stream, as ``{(stream id, kind): n}``."""
        counts: dict[tuple[str, str], int] = {}
        for admitted, group in self._groups.items():
            owners = {owner_of(topic) for topic in admitted.topics}
            for owner in owners:
                if owner is not None and owner[0] == "stream":
                    key = owner[1], admitted.kind
                    counts[key] = counts.get(key, 0) + len(group.viewers)
        return counts

    def _write(self, group: Group, data: bytes, topics: Collection[str]) -> None:
        for viewer in [viewer for viewer in group.held if viewer.at_rest]:
            group.trust(viewer)
        held = list(group.held)
        _write_straight(group, group.ready, data)
        for viewer in held:
            self._write_to(viewer, data, topics)

    def _write_to(self, viewer: Viewer, data: bytes, topics: Collection[str]) -> None:
        """Write by way of the transport.

        Who is marked is passed over until it has caught up, even if it drained a moment ago: so nothing is written
        twice or out of order.
        """
        connection = viewer.connection
        if connection.protocol.state is not State.OPEN:
            return
        viewer.group.hold(viewer)
        if viewer.full_since is not None or connection.send_in_progress is not None:
            viewer.missed.update(topics)
            self._mark(viewer)
        else:
            connection.transport.write(data)

    def _mark(self, viewer: Viewer) -> None:
        if viewer.full_since is None:
            viewer.full_since = _now()
            viewer.resume_at = viewer.group.at
            self._behind.add(viewer)


def _write_straight(group: Group, numbers: Iterable[int], data: bytes) -> None:
    """Write to sockets of viewers that are ready; what one did not take is left to its transport."""
    size, write, short = len(data), os.write, []
    # The hot loop: nothing but the system call, because a look at each viewer's objects costs half as much again.
    for number in numbers:
        try:
            written = write(number, data)
        except OSError:
            written = 0  # Full, or broken: the transport knows what to do with either.
        if written != size:
            short.append((number, written))
    for number, written in short:
        viewer = group.ready[number]
        group.hold(viewer)
        viewer.connection.transport.write(data[written:])


def _now() -> float:
    return asyncio.get_running_loop().time()
