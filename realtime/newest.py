"""The newest frames in the memory of an API process, for those who cannot hold a socket.

It is the gateway's hub with other viewers: the same feed fills it, by the same rule of what is newer. Whoever waits here
is woken once for all that changed and then takes what is newest, so between two looks any number of frames is one, and
nothing is ever kept for somebody who does not come for it.
"""

import asyncio
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

import structlog
from redis.asyncio import Redis

from realtime.feed import Feed
from realtime.frames import Frame, Pass
from realtime.gateway_process import Pulse
from realtime.hub import Hub
from stream_events.database import Database
from stream_events.errors import unavailable

log = structlog.get_logger(__name__)

# A watcher is a request that stands open: so many a process may wait for an answer, and so many read events.
WAITING_MAX: Final = 2_000
READING_MAX: Final = 1_000
AGAIN_S: Final = 1.0


@dataclass(eq=False, slots=True)
class Watcher:
    """Somebody who waits for news of some topics; none will come once it is ``over``, for want of a key if ``revoked``."""

    admitted: Pass
    over: bool = False
    revoked: bool = False
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    def wake(self) -> None:
        """Let whoever waits look again."""
        self._woken.set()

    def end(self, *, revoked: bool = False) -> None:
        """Let whoever waits go: it left, the process leaves, or its key has ended."""
        self.over, self.revoked = True, revoked
        self._woken.set()

    async def news(self, within_s: float) -> bool:
        """Wait until something may have changed, or it is over; False if ``within_s`` seconds passed before."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._woken.wait()
        woken = self._woken.is_set()
        if not self.over:
            self._woken.clear()
        return woken


class Newest(Hub):
    """All newest frames, and who waits for the next ones over HTTP."""

    def __init__(self, database: Database, bus: Redis, build: str = "") -> None:
        super().__init__()
        self.build = build
        self.epoch = time.time_ns() // 1_000_000
        self._bus = bus
        self._feed = Feed(self, database, bus, self.end_keys)
        self._watchers: dict[str, set[Watcher]] = {}
        self._standing: dict[bool, set[Watcher]] = {False: set(), True: set()}
        self._leaving = False
        self._pulse = Pulse()

    async def load(self) -> None:
        """Read what is newest now, so that the first answer is not empty for want of time."""
        await self._feed.catch_up()

    async def run(self, stop: asyncio.Event) -> None:
        """Stay the newest until ``stop``. An error that no loop survives is told, and all begin anew."""
        while not stop.is_set():
            try:
                await self._follow(stop)
            except Exception:
                log.exception("newest_lost")
                await asyncio.sleep(AGAIN_S)

    async def _follow(self, stop: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            loops = [
                group.create_task(loop)
                for loop in (
                    self._feed.run_listening(),
                    self._feed.run_rereading(),
                    self._pulse.run(self._bus),
                )
            ]
            await stop.wait()
            for loop in loops:
                loop.cancel()

    def publish(self, frames: Iterable[Frame]) -> int:
        """Take frames that are newer than what is held and wake those who wait for them; returns how many were."""
        given = list(frames)
        taken = super().publish(given)
        if taken:
            for frame in given:
                if self.newest(frame.topic) is frame:
                    for watcher in self._watchers.get(frame.topic, ()):
                        watcher.wake()
        return taken

    def keys(self) -> list[str]:
        """Return the keys of those who wait: never more than there are watchers."""
        standing = self._standing[False] | self._standing[True]
        return sorted({one.admitted.key_id for one in standing if one.admitted.key_id is not None})

    def end_keys(self, key_ids: Collection[str]) -> None:
        """Let those go whose key has ended."""
        for watcher in self._standing[False] | self._standing[True]:
            if watcher.admitted.key_id in key_ids:
                watcher.end(revoked=True)

    def is_live(self) -> bool:
        """Return whether an announcer looked at the books lately, so that what is newest is also true now."""
        return self._pulse.beats()

    def frames_of(self, topics: Sequence[str]) -> list[Frame]:
        """Return the newest frames of ``topics``, as far as they have one."""
        return [frame for topic in topics if (frame := self.newest(topic)) is not None]

    @contextmanager
    def watching(self, admitted: Pass, *, reads: bool) -> Iterator[Watcher]:
        """Count somebody who waits, or who ``reads`` events, while the block lasts; 503 if there are enough."""
        standing = self._standing[reads]
        if self._leaving or len(standing) >= (READING_MAX if reads else WAITING_MAX):
            raise unavailable("Too many are waiting here; come back after retry_after_ms.")
        watcher = Watcher(admitted)
        standing.add(watcher)
        for topic in admitted.topics:
            self._watchers.setdefault(topic, set()).add(watcher)
        try:
            yield watcher
        finally:
            standing.discard(watcher)
            for topic in admitted.topics:
                others = self._watchers[topic]
                others.discard(watcher)
                if not others:
                    del self._watchers[topic]

    async def run_leaving(self, leaving: asyncio.Event) -> None:
        """Once the process is ``leaving``, let everybody go and nobody come, or they would hold it up."""
        await leaving.wait()
        self._leaving = True
        for watcher in self._standing[False] | self._standing[True]:
            watcher.end()
