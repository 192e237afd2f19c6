"""A night of twelve hours, told fast to overlays that nobody looks after: what they hold at its end is what they held in
its first half.

What is accelerated are the frames: as many as come in twelve hours, with a cut of the connection every half hour, as fast
as the pages take them. The pages' own clock runs as ever, so what they do once a second or once a painting is done for
minutes only, and fps_cap lets many frames become one painting, as it would.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

import pytest
from playwright.async_api import CDPSession, Page, expect

from tests.browser.conftest import SHOTS, Open, Watch
from tests.browser.scripted_backend import EPOCH, Backend
from tests.browser.story import ALERTS, NAMES, STOCK, STREAM, TALLY, on_air

pytestmark = [pytest.mark.browser, pytest.mark.sweep]

HOURS = 12
HOUR_S = 3_600
CUT_EACH_S = 1_800
ALERT_EACH_S = 6
MB = 1_000_000
NEWEST = 12
# An alert that left is gone by then, and a strip has as many names on it as ever.
REST_MS = 1_000


@dataclass(frozen=True, slots=True)
class Held:
    """What a page holds once its garbage was collected."""

    heap: int
    nodes: int
    listeners: int


@dataclass(slots=True)
class Overlay:
    """A page of the night, and what it held at every full hour."""

    name: str
    page: Page
    cdp: CDPSession
    hours: list[Held]

    async def look(self) -> None:
        """Collect its garbage and note what is left: twice, because the first collection ends what the last one kept."""
        for _ in range(2):
            await self.cdp.send("HeapProfiler.collectGarbage")
        counters = await self.cdp.send("Memory.getDOMCounters")
        heap = (await self.cdp.send("Runtime.getHeapUsage"))["usedSize"]
        self.hours.append(Held(heap, counters["nodes"], counters["jsEventListeners"]))


class Night:
    """The sale as it goes on: each second says something new."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.frames = 0
        self.names: list[dict[str, Any]] = []

    async def second(self, n: int) -> None:
        """Tell what one second brings: a total and a stock, and now and then somebody's name and alert."""
        orders = 3_000 + n // ALERT_EACH_S
        tally = TALLY | {"raised_minor": 1_000_000 + n * 37, "orders": orders, "seq": n}
        await self._send("tally", n, tally)
        first, *others = STOCK["items"]
        left = first["total"] - n % first["total"]
        item = first | {"left": left, "reserved": 0, "sold": first["total"] - left}
        await self._send("stock", n, STOCK | {"items": [item, *others]})
        if n % ALERT_EACH_S == 0:
            await self._somebody(n, orders)

    async def pause(self, n: int) -> None:
        """Take what is on air off it."""
        await self._send("alerts/main", n, ALERTS)

    async def _somebody(self, n: int, number: int) -> None:
        name = f"Giver {number}"
        self.names = [*self.names, {"n": number, "name": name}][-NEWEST:]
        await self._send("names", n, NAMES | {"count": number, "newest": self.names})
        alert = on_air(id=f"air_{n}", name=name, message="Good night!" if n % 5 else None)
        await self._send("alerts/main", n, alert)

    async def _send(self, part: str, n: int, state: dict[str, Any]) -> None:
        self.frames += 1
        await self.backend.send(f"stream/{STREAM}/{part}", EPOCH, 100 + n, state)


async def opened(open_page: Open, backend: Backend, name: str) -> Overlay:
    page = await open_page(f"{backend.base}/overlay/{name}?fps_cap=30#key", 960, 540)
    await expect(page.locator("#card[data-state=shown]")).to_be_attached()
    return Overlay(name, page, await page.context.new_cdp_session(page), [])


async def all_back(backend: Backend, overlays: Sequence[Overlay], until_s: float) -> None:
    while len(backend.sockets) < len(overlays):
        assert time.monotonic() < until_s, "an overlay did not come back"
        await overlays[0].page.wait_for_timeout(50)


def grown(overlay: Overlay) -> list[str]:
    """Return what a page holds more of at the end of the night than in its second quarter."""
    quarter = HOURS // 4
    early, late = overlay.hours[quarter : 2 * quarter], overlay.hours[-quarter:]
    found = []
    for what, least, most in (("heap", 0, MB), ("nodes", 2, 40), ("listeners", 0, 2)):
        before, after = (mean(getattr(one, what) for one in some) for some in (early, late))
        if after > before + min(max(0.05 * before, least), most):
            found.append(f"{overlay.name}: {what} grew from {before:.0f} to {after:.0f}")
    return found


async def test_a_night_leaves_nothing_behind(
    open_page: Open, backend: Backend, watch: Watch
) -> None:
    watch.forgiven = ("WebSocket",)
    backend.reply("GET", "me", (200, {"id": "prn_1", "role": "overlay", "stream_id": STREAM}))
    backend.reply("POST", f"streams/{STREAM}/alerts/main/shown", (200, {"first": True}))
    backend.reply("GET", f"streams/{STREAM}/names", (200, {"items": [], "count": 0}))
    overlays = [await opened(open_page, backend, name) for name in ("all", "alerts", "ticker")]
    night, cuts = Night(backend), 0
    for n in range(HOURS * HOUR_S):
        await night.second(n)
        backend.asked.clear()
        if n % CUT_EACH_S == CUT_EACH_S // 2:
            await backend.cut()
            cuts += 1
            await all_back(backend, overlays, time.monotonic() + 20)
        if n % HOUR_S == HOUR_S - 1:
            # Read to the last frame, so that what is measured is the page and not what waits for it.
            text = f"¥{(1_000_000 + n * 37) / 100:,.2f}"
            raised = overlays[0].page.locator("#raised")
            await expect(raised).to_have_attribute("aria-label", text, timeout=30_000)
            await night.pause(n + 1)
            await raised.page.wait_for_timeout(REST_MS)
            for overlay in overlays:
                await expect(overlay.page.locator(".alert")).to_have_count(0)
                await overlay.look()
    told = {
        overlay.name: [(h.heap, h.nodes, h.listeners) for h in overlay.hours]
        for overlay in overlays
    }
    figures = {"frames": night.frames, "cuts": cuts, "heap_nodes_listeners": told}
    (SHOTS.parent / "overlay_night.json").write_text(json.dumps(figures, indent=2), "utf-8")
    assert (cuts, night.frames > 2 * HOURS * HOUR_S) == (24, True)
    assert [one for overlay in overlays for one in grown(overlay)] == []
