"""What the hub writes and to whom: slow viewers cost bounded memory, and bytes arrive whole and in order."""

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from websockets.exceptions import ConnectionClosed

from realtime import hub as hub_module
from realtime.hub import WRITE_BUFFER_BYTES_MAX, Hub, Viewer
from tests.realtime.conftest import TALLY, Served, frame, said, until


def unread(served: Served) -> socket.socket:
    """Return a connected socket that takes hardly anything in before its reader does."""
    quiet = socket.socket()
    quiet.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    quiet.connect(("127.0.0.1", served.port))
    quiet.setblocking(False)
    return quiet


async def flood(served: Served, first: int, count: int) -> int:
    """Publish ``count`` large frames; return the most that any viewer had unsent in our memory."""
    most = 0
    for version in range(first, first + count):
        served.hub.publish([frame(version, filler="x" * 8_000, n=version)])
        await asyncio.sleep(0)
        for viewer in served.hub.viewers():
            most = max(most, viewer.connection.transport.get_write_buffer_size())
    return most


async def through(client: Any, last: int) -> list[int]:
    """Read until version ``last``; return the versions seen, which must grow."""
    seen: list[int] = []
    while not seen or seen[-1] < last:
        seen.append((await said(client))["version"])
    assert seen == sorted(set(seen))
    return seen


async def test_a_viewer_that_does_not_read_costs_bounded_memory_and_is_cut(served: Served) -> None:
    slow = await served.watch(sock=unread(served), max_queue=1)
    quick = await served.watch()
    most = await flood(served, 1, 200)
    assert WRITE_BUFFER_BYTES_MAX < most < WRITE_BUFFER_BYTES_MAX + 2 * 8_200
    await until(lambda: len(served.hub) == 1)
    last = 0
    with suppress(ConnectionClosed):
        while True:
            last = max(last, (await said(slow))["at"])
    assert slow.close_code == 4008
    # It is told the last that was written to it before it fell behind, and that did arrive.
    assert slow.close_reason == f"slow_consumer at={last}"
    assert await through(quick, 200)


async def test_a_viewer_that_never_reads_again_is_dropped(served: Served) -> None:
    slow = await served.watch(sock=unread(served), max_queue=1)
    (viewer,) = served.hub.viewers()
    await flood(served, 1, 100)
    await until(viewer.connection.connection_lost_waiter.done, within_s=8)
    # Its kernel is told too, and ours keeps nothing for it: no word of the end would fit behind what it did not read.
    raw = slow.transport.get_extra_info("socket")
    assert raw.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNRESET
    slow.transport.abort()


async def test_a_viewer_that_drains_in_time_gets_the_newest_state_next(served: Served) -> None:
    slow = await served.watch(sock=unread(served), max_queue=1)
    await flood(served, 1, 200)
    seen = await through(slow, 200)
    assert len(seen) < 60  # What fitted in between, then the newest: never all 200.
    served.hub.publish([frame(201)])
    assert (await said(slow))["version"] == 201


async def test_pings_that_nobody_reads_the_answers_of_do_not_pile_up(served: Served) -> None:
    client = await served.watch()
    (viewer,) = served.hub.viewers()
    raw = client.transport
    raw.pause_reading()
    ping = bytes([0x89, 0x80 | 125, 0, 0, 0, 0]) + b"p" * 125
    most = 0
    for _ in range(400):
        raw.write(ping * 100)
        await asyncio.sleep(0.001)
        most = max(most, viewer.connection.transport.get_write_buffer_size())
        if viewer.connection.transport.is_closing():
            break
    assert 0 < most < 512 * 1024  # 5 MB of pongs were asked for.
    raw.abort()


async def test_a_viewer_that_joins_with_a_full_buffer_waits_like_the_others(served: Served) -> None:
    """It was full before the hub knew it, so nobody will tell the hub: the hub has to look."""
    client = await served.watch()
    (viewer,) = served.hub.viewers()
    served.hub.leave(viewer)
    viewer.connection.paused = True
    again = served.hub.join(viewer.connection, viewer.group.admitted, b'{"t":"hello"}')
    served.hub.publish([frame(1)])
    assert viewer.connection.transport.get_write_buffer_size() == 0
    assert again.missed == {TALLY}
    viewer.connection.resume_writing()
    assert (await said(client))["version"] == 1


class Late:
    """A transport that writes only when it is told to, as one does whose socket had no room for a moment."""

    def __init__(self, transport: Any) -> None:
        self._transport, self._kept = transport, b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        self._kept += data

    def get_write_buffer_size(self) -> int:
        return len(self._kept)

    def flush(self) -> None:
        self._transport.write(self._kept)
        self._kept = b""


def ping(viewer: Viewer) -> None:
    viewer.connection.protocol.send_ping(b"there?")
    viewer.connection.send_data()


@pytest.mark.parametrize(
    ("before", "seen"),
    [
        (lambda hub, viewer: hub.beat(1, [viewer]), [1, 3, 4]),
        (lambda _, viewer: ping(viewer), [1, 3, 4]),
        (lambda hub, _: hub.publish([frame(2)]), [1, 2, 3, 4]),
    ],
    ids=["beat", "ping", "frame"],
)
async def test_bytes_do_not_overtake_each_other(
    served: Served,
    monkeypatch: pytest.MonkeyPatch,
    before: Callable[[Hub, Viewer], object],
    seen: list[int],
) -> None:
    """A socket that was ready takes only half, while something else waits in the transport or comes next."""
    write, parts = os.write, [1]
    monkeypatch.setattr(
        hub_module.os, "write", lambda to, data: write(to, data[: len(data) // parts[0]])
    )
    client = await served.watch()
    (viewer,) = served.hub.viewers()
    prompt = viewer.connection.transport
    late = viewer.connection.transport = Late(prompt)
    served.hub.publish([frame(1)])
    assert viewer.socket in viewer.group.ready
    parts[0] = 2
    before(served.hub, viewer)
    served.hub.publish([frame(3)])
    late.flush()
    parts[0] = 1
    served.hub.publish([frame(4)])
    assert viewer.socket in viewer.group.ready
    assert await through(client, 4) == seen
    viewer.connection.transport = prompt


async def test_the_number_of_an_ended_socket_is_never_written_to(served: Served) -> None:
    """It is the next comer's, who may have shown no ticket, from the very moment at which it is closed."""
    stays = await served.watch()
    for version in range(1, 6):
        await served.watch()
        served.hub.publish([frame(version)])
        viewer = max(served.hub.viewers(), key=lambda one: one.socket)
        assert viewer.socket in viewer.group.ready
        viewer.connection.transport.abort()
        while is_open(viewer.socket):  # noqa: ASYNC110 - each round of the loop is looked at
            await asyncio.sleep(0)
        assert viewer.socket not in viewer.group.ready
    assert await through(stays, 5) == [1, 2, 3, 4, 5]


def is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


async def test_a_viewer_at_rest_is_written_to_without_its_transport(served: Served) -> None:
    clients = [await served.watch() for _ in range(3)]
    for version in (1, 2, 3):
        served.hub.publish([frame(version)])
        await asyncio.sleep(0.01)
    (group,) = {viewer.group for viewer in served.hub.viewers()}
    assert (len(group.ready), group.held) == (3, set())
    served.hub.beat(1, served.hub.viewers())
    assert (len(group.ready), group.held) == (3, set())
    for client in clients:
        assert await through(client, 3) == [1, 2, 3]
        assert msgspec.json.decode(await client.recv()) == {"t": "beat", "at": 1}
