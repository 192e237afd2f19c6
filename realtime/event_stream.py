"""Frames as server-sent events, written one after another as the reader takes them.

The next event is made only when the last one was taken, from what is newest then: a reader that is slow skips states
in between, and one that never reads costs one full buffer and is sent away. An event's id is the whole position of
its reader, epoch and version of each topic, so that ``Last-Event-ID`` resumes all of them.
"""

import asyncio
import random
import re
import time
from collections.abc import Mapping, Sequence
from typing import Final

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from realtime.frames import HEARTBEAT_S, Beat, Hello, Pass, encode
from realtime.newest import Newest, Watcher

# Everybody comes back now and then, so that no reader is for ever and load finds its way to new processes.
READING_S: Final = (540, 660)
# Who takes nothing for so long holds a place that others wait for.
WRITE_S_MAX: Final = 10.0
RETRY_MS: Final = (500, 3_000)

Known = dict[str, tuple[int, int]]
_AGE: Final = re.compile(r"(\d{1,19})\.(\d{1,19})", re.ASCII)


def position_of(text: str | None, topics: Sequence[str]) -> Known:
    """Return what a reader of ``topics`` has by the id of its last event; nothing for an id of other topics."""
    parts = (text or "").split("-")
    if len(parts) != len(topics):
        return {}
    found = zip(topics, map(_AGE.fullmatch, parts), strict=True)
    return {topic: (int(age[1]), int(age[2])) for topic, age in found if age is not None}


def position_text(known: Mapping[str, tuple[int, int]], topics: Sequence[str]) -> str:
    """Return the event id for a reader that has ``known``."""
    return "-".join("{}.{}".format(*known[topic]) if topic in known else "" for topic in topics)


class EventStream(Response):
    """An answer that lasts: hello, what is newest, and then what changes, until somebody leaves."""

    media_type = "text/event-stream"

    def __init__(self, newest: Newest, admitted: Pass, known: Known) -> None:
        headers = {"cache-control": "no-store", "x-accel-buffering": "no", "vary": "authorization"}
        super().__init__(headers=headers)
        del self.headers["content-length"]
        self._newest = newest
        self._admitted = admitted
        self._known = known

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        """Serve until the reader goes, its key ends, its time is over or the process leaves."""
        with self._newest.watching(self._admitted, reads=True) as watcher:
            gone = asyncio.create_task(_until_gone(receive, watcher))
            try:
                await send(
                    {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
                )
                await self._tell(watcher, send)
                await send({"type": "http.response.body", "body": b""})
            except (ClientDisconnect, OSError, TimeoutError):
                return
            finally:
                gone.cancel()

    async def _tell(self, watcher: Watcher, send: Send) -> None:
        newest = self._newest
        hello = encode(Hello(newest.epoch, HEARTBEAT_S, newest.build, _now_ms()))
        retry_ms = random.randint(*RETRY_MS)  # noqa: S311 - jitter, no secret.
        await _write(send, b"retry: %d\ndata: %b\n\n" % (retry_ms, hello))
        until = time.monotonic() + random.uniform(*READING_S)  # noqa: S311 - jitter, no secret.
        beat_at = time.monotonic() + HEARTBEAT_S
        while not watcher.over and time.monotonic() < until:
            await self._tell_news(watcher, send)
            now = time.monotonic()
            if now >= beat_at:
                beat_at = now + HEARTBEAT_S
                # While nobody looks at the books, readers must see their numbers grow old: not even a comment then.
                if newest.is_live():
                    await _write(send, b"data: %b\n\n" % encode(Beat(_now_ms())))
            await watcher.news(max(0.0, beat_at - time.monotonic()))

    async def _tell_news(self, watcher: Watcher, send: Send) -> None:
        for topic in self._admitted.topics:
            # Taken only now: while the events before were written, this one may have become newer.
            frame = self._newest.newest(topic)
            if frame is None or watcher.over or not frame.is_news_to(self._known):
                continue
            self._known[topic] = frame.age
            position = position_text(self._known, self._admitted.topics)
            await _write(send, b"id: %b\ndata: %b\n\n" % (position.encode(), frame.payload))


async def _write(send: Send, data: bytes) -> None:
    async with asyncio.timeout(WRITE_S_MAX):
        await send({"type": "http.response.body", "body": data, "more_body": True})


async def _until_gone(receive: Receive, watcher: Watcher) -> None:
    """Wake the stream when its reader has left: an event that is not sent would find out only at the next beat."""
    while (await receive())["type"] != "http.disconnect":
        continue
    watcher.end()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
