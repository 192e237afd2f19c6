"""Those who read the feed over HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx

from tests.factories import Sale


def tally(sale: Sale) -> str:
    return f"stream/{sale.stream_id}/tally"


class Events:
    """A reader of an event stream."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self._lines = answer.aiter_lines()
        self.last_id = ""
        self.beats = 0

    async def next(self, within_s: float = 3.0) -> dict[str, Any]:
        """Return the next event that is not a beat."""
        async with asyncio.timeout(within_s):
            while True:
                message = await self._event()
                if message["t"] != "beat":
                    return message
                self.beats += 1

    async def _event(self) -> dict[str, Any]:
        data = ""
        async for line in self._lines:
            if line.startswith("id: "):
                self.last_id = line[4:]
            elif line.startswith("data: "):
                data += line[6:]
            elif not line and data:
                return dict(json.loads(data))
        raise EOFError


@asynccontextmanager
async def reading(
    web: httpx.AsyncClient, headers: Mapping[str, str] | None = None, **asked: str
) -> AsyncIterator[Events]:
    async with web.stream("GET", "/v1/feed/events", params=asked, headers=headers) as answer:
        assert answer.status_code == 200, await answer.aread()
        events = Events(answer)
        assert (await events.next())["t"] == "hello"
        yield events
