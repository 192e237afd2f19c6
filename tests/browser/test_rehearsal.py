"""An overlay with ``?test=1`` shows the rehearsal and nothing real, and says at every moment that it is one."""

from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import Open, shot
from tests.browser.desk import set_the_desk
from tests.browser.scripted_backend import Backend
from tests.browser.story import ALERTS, BOARD, STATUS, STREAM, TALLY, TOPICS, rfc3339

pytestmark = pytest.mark.browser

PATH = f"streams/{STREAM}"
STOPPED = {**STATUS, "state": "ended", "live_at": None}
PLAYING = {**STATUS, "state": "live", "live_at": rfc3339(1_700_000_000)}
NAMES = {"count": 300, "newest": [{"n": n, "name": f"Rehearsal {n}"} for n in range(261, 301)]}


async def _play(backend: Backend, part: str, **state: Any) -> None:
    await backend.say(f"rehearsal/{STREAM}/{part}", **state)


async def _open(open_page: Open, backend: Backend, widget: str) -> Page:
    me = {"id": "prn_1", "role": "overlay", "stream_id": STREAM}
    backend.reply("GET", "me", (200, me))
    return await open_page(f"{backend.base}/overlay/{widget}?test=1#se_key", 1920, 1080)


async def _only_the_badge(page: Page, text: str) -> None:
    await expect(page.locator("#test")).to_have_text(text)
    await expect(page.locator("#test")).to_be_visible()
    await expect(page.locator("#card")).to_have_css("opacity", "1")
    await expect(page.locator("#plate")).to_have_css("opacity", "0")
    box = await page.locator("#test").bounding_box()
    assert box is not None
    assert 0 <= box["x"] < box["x"] + box["width"] <= 1920
    assert 0 <= box["y"] < box["y"] + box["height"] <= 1080


async def test_the_badge_is_always_there_and_the_numbers_are_the_rehearsals(
    open_page: Open, backend: Backend
) -> None:
    page = await _open(open_page, backend, "all")
    await _only_the_badge(page, "NO REHEARSAL RUNNING")
    asked = {topic for topics in backend.sockets.values() for topic in topics}
    assert {topic.split("/")[0] for topic in asked} == {"rehearsal"}
    for part in ("stock", "board", "milestones"):
        await _play(backend, part, **TOPICS[part])
    await _play(backend, "tally", **(TALLY | {"raised_minor": 100, "seq": 1}))
    await _play(backend, "status", **PLAYING)
    raised = page.locator("#raised")
    await expect(raised).to_have_attribute("aria-label", "¥1.00")
    await expect(page.locator("#test")).to_have_text("REHEARSAL")
    await expect(page.locator("#plate")).to_have_css("opacity", "1")
    for version in (2, 3):
        await _play(backend, "tally", **(TALLY | {"raised_minor": 100 * version, "seq": version}))
        await expect(raised).to_have_attribute("aria-label", f"¥{version}.00")
    # A real sale beside it is none of its business.
    await backend.say(f"stream/{STREAM}/tally", **(TALLY | {"raised_minor": 9_999_999}))
    await page.screenshot(path=shot("rehearsal"))
    await _play(backend, "status", **(PLAYING | {"state": "ended"}))
    await expect(page.locator("#test")).to_have_text("REHEARSAL · FINISHED")
    await expect(raised).to_have_attribute("aria-label", "¥3.00")
    await _play(backend, "status", **STOPPED)
    await _only_the_badge(page, "NO REHEARSAL RUNNING")


async def test_where_nothing_is_shown_the_badge_still_is(open_page: Open, backend: Backend) -> None:
    page = await _open(open_page, backend, "alerts")
    await _only_the_badge(page, "NO REHEARSAL RUNNING")
    await _play(backend, "status", **PLAYING)
    await _play(backend, "board", **BOARD)
    await _play(backend, "alerts/main", **ALERTS)
    await expect(page.locator("html[data-empty]")).to_have_count(1)
    await expect(page.locator("#test")).to_have_text("REHEARSAL")
    await expect(page.locator("#test")).to_be_visible()
    await expect(page.locator("#card")).to_have_css("opacity", "1")


@pytest.mark.parametrize("widget", ["ticker", "credits"])
async def test_nobody_who_is_real_is_thanked(
    open_page: Open, backend: Backend, widget: str
) -> None:
    page = await _open(open_page, backend, widget)
    await _play(backend, "tally", **TALLY)
    await _play(backend, "status", **PLAYING)
    await _play(backend, "names", **NAMES)
    await expect(page.locator(".name").first).to_have_text("Rehearsal 261")
    later = {"count": 900, "newest": [{"n": n, "name": f"Rehearsal {n}"} for n in range(861, 901)]}
    await _play(backend, "names", **later)
    await page.wait_for_timeout(300)
    assert [path for _, path, _, _ in backend.asked if "names" in path or "credits" in path] == []


async def test_the_console_starts_one_follows_it_and_stops_it(
    open_page: Open, backend: Backend
) -> None:
    address = await set_the_desk(backend)
    none = {"of_stream_id": None, "speed": None, "started_at": None, "finished": False}
    playing = {
        "of_stream_id": "str_earlier",
        "speed": 10,
        "started_at": rfc3339(1_700_000_000),
        "position_s": 61,
        "length_s": 120,
        "finished": False,
    }
    backend.reply("GET", f"{PATH}/rehearsal", (200, none))
    page = await open_page(address, 1920, 1080)
    start, stop = page.locator("[data-do=rehearse]"), page.locator("[data-do=rehearse-stop]")
    await expect(start).to_be_visible()
    await expect(stop).to_be_hidden()
    backend.reply("PUT", f"{PATH}/rehearsal", (200, playing))
    backend.reply("GET", f"{PATH}/rehearsal", (200, playing), (200, playing | {"finished": True}))
    await start.click()
    await expect(page.locator("#rehearsing")).to_contain_text("· 50%")
    await expect(start).to_be_hidden()
    await expect(page.locator("#rehearsing")).to_contain_text("has finished", timeout=8_000)
    await expect(start).to_be_visible()
    backend.reply("DELETE", f"{PATH}/rehearsal", (200, none))
    backend.reply("GET", f"{PATH}/rehearsal", (200, none))
    await stop.click()
    await expect(stop).to_be_hidden()
    await expect(page.locator("#rehearsing")).to_be_hidden()
