"""120 hostile names in every place of an overlay where a stranger's words are shown.

Whatever the words are, they are text: no dialog, no request to another host, no complaint in the console, no element
made of them, and no card pushed out of the source. The names come in frames, many to a page, as they would in a rush;
each page keeps what it showed and what went wrong, and a name counts as shown only where its words arrived whole.
"""

import asyncio
import time
from typing import Any, Final

import pytest
from playwright.async_api import Browser, Page

from tests.browser.conftest import FASTER, Watch
from tests.browser.hostile_looks import NEVER, looking, unseen, wrong
from tests.browser.hostile_names import HOSTILE
from tests.browser.people import (
    BOARD,
    BURST,
    FARMERS,
    GIFT,
    alerts,
    instant,
    on_air,
    pot,
    tell,
    tell_all,
)
from tests.browser.scripted_backend import Backend
from tests.browser.story import MILESTONES, STATUS, STREAM

pytestmark = pytest.mark.browser

# Each page, and where in it a stranger's words are read.
SINKS: Final = {
    "alerts?anim=off": [".who", ".message", ".dedication", ".product"],
    "alerts?anim=off&group=rush&layout=vertical": [".newest .who"],
    "leaderboard?n=10": [".name"],
    "farmer": [".farmer .name", ".place"],
    "match": [".sponsor"],
    "milestones": ["#plate"],
    "product?qr=0": ["#plate"],
    "all": ["#title"],
    "ticker?speed=40": [".name"],
    "credits?speed=40&columns=6": [".name", ".title"],
}
WIDEST: Final = next(n for n, name in enumerate(HOSTILE) if name.startswith("WWW"))
ROLLING: Final = ("ticker", "credits")
# Our own QR code is the one picture there is, and nothing leads anywhere.
NEVER_HERE: Final = (
    *NEVER,
    *("img:not(.qr-code)", "a", "form", "input", "button", "details"),
    *("[href]", "[src]:not(.qr-code)"),
)


async def rush(backend: Backend, n: int) -> None:
    """Put the ``n``-th name everywhere at once, told again as an alert of its own."""
    name, airing = HOSTILE[n], f"air_{n}_{time.monotonic_ns()}"
    both = {"name": name, "name_zh": None}
    card = BOARD["cards"][0] | both | {"unit": name[:20], "unit_zh": None}
    card |= {"farmer": card["farmer"] | both | {"place": name}}
    card |= {"beneficiary": card["beneficiary"] | both}
    ends = {"ends_at": instant(20)}
    said = GIFT | both | {"message": name, "dedication": name, "units": 2, "sku": card["sku"]}
    del said["name_zh"]
    ten = [HOSTILE[(n + place) % len(HOSTILE)] for place in range(10)]
    board = [{"name": one, "amount_minor": 100 - at, "orders": 1} for at, one in enumerate(ten)]
    steps = [one | {"title": name, "title_zh": None} for one in MILESTONES["items"]]
    farmer = FARMERS["items"][0] | both | {"place": name}
    for part, state in {
        "alerts/main": alerts(on_air(airing, **said, **ends)),
        "alerts/rush": alerts(on_air(airing, **(BURST | {"name": name}), **ends)),
        "leaders": {"seq": n, "currency": "CNY", "hour": board, "today": board, "stream": board},
        "farmers": FARMERS | {"items": [farmer]},
        "matches": {"currency": "CNY", "items": [pot(sponsor=name, sponsor_zh=None)]},
        "milestones": MILESTONES | {"items": steps},
        "board": BOARD | {"cards": [card]},
        "status": STATUS | {"title": name, "title_zh": None},
    }.items():
        await tell(backend, part, **state)


async def missing(pages: dict[str, Page], rolling: bool) -> dict[str, list[Any]]:
    """Return which names are missing where, on the pages that roll or on those that do not."""
    found = {}
    for path, page in pages.items():
        if path.startswith(ROLLING) is not rolling:
            continue
        # The title of the credits is read once, at the beginning.
        once = [where for where in SINKS[path] if where == ".title"]
        lost = await unseen(page, [where for where in SINKS[path] if where not in once])
        found[path] = lost + (await unseen(page, once, HOSTILE[:1]) if once else [])
    return {path: lost for path, lost in found.items() if lost}


async def opened(browser: Browser, backend: Backend, watch: Watch) -> dict[str, Page]:
    """Open every page, looking at itself from its first words on."""
    context = await browser.new_context(viewport={"width": 960, "height": 540}, locale="en-US")
    watch.contexts.append(context)
    watch.allowed.add(backend.base.removeprefix("http://"))

    async def one(path: str) -> Page:
        page = await context.new_page()
        watch.follow(page)
        if path.startswith(ROLLING):
            await page.add_init_script(FASTER)
        if "vertical" in path:
            await page.set_viewport_size({"width": 540, "height": 960})
        await page.add_init_script(
            looking(SINKS[path], NEVER_HERE, card=True, still=not path.startswith(ROLLING))
        )
        await page.goto(f"{backend.base}/overlay/{path}#se_overlay_key")
        await page.locator("#card[data-state=shown]").wait_for(state="attached")
        return page

    return dict(zip(SINKS, await asyncio.gather(*map(one, SINKS)), strict=True))


async def test_no_name_is_anything_but_a_name(
    browser: Browser, backend: Backend, watch: Watch
) -> None:
    await tell_all(backend)
    names = [{"n": n + 1, "name": name} for n, name in enumerate(HOSTILE)]
    backend.reply("POST", f"streams/{STREAM}/alerts/rush/shown", (200, {"first": True}))
    backend.reply("GET", f"streams/{STREAM}/names", (200, {"items": names, "count": len(names)}))
    await tell(backend, "names", count=len(names), newest=names)
    await rush(backend, 0)
    pages = await opened(browser, backend, watch)
    left = list(range(len(HOSTILE)))
    for pause_s in (0.035, 0.08, 0.15, 0.3, 0.6, 1, 1, 1):
        for n in left:
            await rush(backend, n)
            await asyncio.sleep(pause_s)
        # A page paints thirty times a second at most: what it passed over is told once more.
        lost = await missing(pages, rolling=False)
        left = sorted({n for each in lost.values() for _, n in each})
        if not left:
            break
    assert await missing(pages, rolling=False) == {}
    await rush(backend, WIDEST)
    await asyncio.sleep(0.2)
    for path, page in list(pages.items()):
        assert await wrong(page) == [], path
        if not path.startswith(ROLLING):
            # What rolls by needs the machine to itself.
            await pages.pop(path).close()
    for _ in range(150):
        if not await missing(pages, rolling=True):
            break
        await asyncio.sleep(0.2)
    assert await missing(pages, rolling=True) == {}
    for path, page in pages.items():
        assert await wrong(page) == [], path
    assert watch.verdict() == []
