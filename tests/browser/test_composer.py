"""The composer in a real browser: a host chooses, sees the real overlay, and takes its address to OBS.

It is often open on the very screen that is streamed, so what it must not show matters as much as what it does.
"""

import asyncio
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import Open, shot
from tests.browser.people import tell_all
from tests.browser.scripted_backend import Backend
from tests.browser.story import FRONT, STREAM

pytestmark = pytest.mark.browser

HOST_KEY = "se_host_very-secret"
OVERLAY_KEY = "se_overlay_very-secret"
GROUP: dict[str, Any] = {
    "name": "main",
    "show_ms": 6000,
    "hold_s": 30,
    "hold_said_s": 300,
    "min_minor": 0,
    "large_minor": 100_000,
    "burst_per_s": 2,
    "waiting_max": 50,
    "compress": "auto",
    "sound": None,
}


async def compose(open_page: Open, backend: Backend, width: int = 1400, **how: Any) -> Page:
    """Open the composer as the host of the peanuts, who has no overlay yet."""
    await tell_all(backend)
    host = {"id": "prn_h", "role": "host", "host_id": "hst_1", "stream_id": None}
    backend.reply("GET", "me", (200, host))
    stream = {"id": STREAM, "host_id": "hst_1", "state": "live"} | {
        key: FRONT[key] for key in ("title", "title_zh")
    }
    backend.reply("GET", "streams", (200, {"items": [stream], "next": None}))
    backend.reply("GET", "principals", (200, {"items": [], "next": None}))
    backend.reply("POST", "principals", (201, {"id": "prn_o", "key": OVERLAY_KEY}))
    backend.reply("POST", "principals/prn_o/keys", (201, {"key": OVERLAY_KEY + "2"}))
    backend.reply("GET", f"streams/{STREAM}/alert-groups", (200, {"items": [GROUP]}))
    backend.reply("PUT", f"streams/{STREAM}/alert-groups/main", (200, GROUP))
    backend.reply("POST", f"streams/{STREAM}/alerts/test", (201, {"groups": ["main"]}))
    page = await open_page(f"{backend.base}/composer#{HOST_KEY}", width, 1000, **how)
    await expect(page.locator("#preview")).to_be_visible()
    return page


def seen(page: Page) -> Any:
    """Return what the preview shows."""
    return page.frame_locator("#preview")


async def test_a_host_composes_what_is_seen_and_copies_its_whole_address(
    open_page: Open, backend: Backend
) -> None:
    page = await compose(open_page, backend)
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await expect(seen(page).locator("#card[data-state=shown]")).to_be_visible()
    await page.get_by_role("radio", name="Leaderboard").check()
    await expect(seen(page).locator(".leaderboard li")).to_have_count(5)
    await page.locator("[data-parameter=n] input").fill("2")
    await page.locator("[data-parameter=theme] select").select_option("paper")
    await page.locator("[data-parameter=delay_ms] input").fill("1500")
    await expect(seen(page).locator(".leaderboard li")).to_have_count(2)
    await expect(seen(page).locator("html")).to_have_attribute("data-theme", "paper")
    # A value the overlay would ignore is said to be none, and is not in the address.
    await page.locator("[data-parameter=scale] input").fill("99")
    await expect(page.locator("[data-parameter=scale] [role=alert]")).to_contain_text("0.25–4")

    await page.locator("[data-do=newKey]").click()
    await expect(page.locator("#overlay-url")).to_contain_text("Hidden")
    assert OVERLAY_KEY not in await page.content()
    assert HOST_KEY not in await page.content()
    assert HOST_KEY not in page.url
    await page.locator("[data-do=copy]").click()
    await expect(page.locator(".toast")).to_have_text("Copied.")
    copied = await page.evaluate("navigator.clipboard.readText()")
    path = "/overlay/leaderboard?theme=paper&delay_ms=1500&n=2"
    assert copied == f"{backend.base}{path}#{OVERLAY_KEY}"
    await page.locator("[data-do=reveal]").click()
    await expect(page.locator("#overlay-url")).to_have_text(copied)
    await page.locator("[data-do=rotate]").click()
    await page.locator("#dialog-yes").click()
    await expect(page.locator("#overlay-url")).to_contain_text("Hidden")
    assert backend.calls("POST", "principals/prn_o/keys")[0][1] == {"retire_old_after_s": 600}
    # The preview was the host's all along: no key of an overlay was needed for it.
    for headers, _ in backend.calls("POST", "socket-tickets"):
        assert headers["authorization"] == f"Bearer {HOST_KEY}"


async def test_the_frame_is_as_large_as_the_source_and_fits_the_page(
    open_page: Open, backend: Backend
) -> None:
    page = await compose(open_page, backend)
    stage = page.locator(".stage")
    await expect(page.locator("#obs-size")).to_contain_text("1920 × 1080")
    assert await seen(page).locator("html").evaluate("() => [innerWidth, innerHeight]") == [
        1920,
        1080,
    ]
    await page.locator("[data-parameter=layout] select").select_option("vertical")
    await expect(page.locator("#obs-size")).to_contain_text("1080 × 1920")
    await expect(seen(page).locator("html")).to_have_attribute("data-layout", "vertical")
    await page.locator("input[name=width]").fill("540")
    await expect(page.locator("#obs-size")).to_contain_text("540 × 1920")
    await page.get_by_role("radio", name="Picture").check()
    await expect(stage).to_have_attribute("data-backdrop", "picture")
    await page.locator("[data-parameter=layout] select").select_option("")
    await expect(page.locator("#obs-size")).to_contain_text("1920 × 1080")
    for width in (1400, 360):
        await page.set_viewport_size({"width": width, "height": 900})
        await asyncio.sleep(0.2)
        room, box = await stage.bounding_box(), await page.locator("#preview").bounding_box()
        assert room is not None
        assert box is not None
        assert box["x"] >= room["x"] - 1
        assert box["x"] + box["width"] <= room["x"] + room["width"] + 1
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await page.screenshot(path=shot("composer-phone"))


async def test_alert_settings_belong_to_the_group_and_tests_go_on_air(
    open_page: Open, backend: Backend
) -> None:
    page = await compose(open_page, backend)
    await expect(page.locator("#alert-group")).to_be_hidden()
    await page.get_by_role("radio", name="Alerts").check()
    group = page.locator("#alert-group")
    await expect(group.locator("[name=large_minor]")).to_have_value("1000.00")
    await group.locator("[name=show_ms]").fill("4.5")
    await group.locator("[name=min_minor]").fill("five")
    await group.get_by_role("button", name="Save").click()
    await expect(page.locator(".toast")).to_contain_text("Type an amount")
    await group.locator("[name=min_minor]").fill("5")
    await group.locator("[name=sound]").select_option("chime")
    await group.get_by_role("button", name="Save").click()
    await expect(page.locator(".toast")).to_have_text("Saved.")
    told = {key: value for key, value in GROUP.items() if key != "name"}
    told |= {"show_ms": 4500, "min_minor": 500, "sound": "chime"}
    assert backend.calls("PUT", f"streams/{STREAM}/alert-groups/main")[-1][1] == told
    await group.locator("[data-test=burst]").click()
    await expect(page.locator(".toast")).to_contain_text("marked TEST")
    headers, body = backend.calls("POST", f"streams/{STREAM}/alerts/test")[0]
    assert body["kind"] == "burst"
    assert headers["idempotency-key"]
    await page.screenshot(path=shot("composer-alerts"), full_page=True)
    # The console's link to the settings of another group.
    await page.goto(f"{backend.base}/composer?widget=alerts&group=vertical&locale=en")
    await expect(group.locator("h2")).to_have_text("Alerts of group “vertical”")
    await expect(page).to_have_url(f"{backend.base}/composer?locale=en")


async def test_it_is_in_chinese_by_keyboard_and_keeps_what_was_composed(
    open_page: Open, backend: Backend
) -> None:
    page = await compose(open_page, backend, locale="zh-CN")
    await expect(page.locator("h1")).to_have_text("叠加层设计")
    await page.locator("input[name=widget][value=all]").focus()
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("ArrowDown")
    await expect(page.locator("input[name=widget][value=goal]")).to_be_checked()
    await page.locator("[data-parameter=theme] select").select_option("day")
    await page.reload()
    await expect(page.locator("input[name=widget][value=goal]")).to_be_checked()
    await expect(page.locator("[data-parameter=theme] select")).to_have_value("day")
    await expect(seen(page).locator("html")).to_have_attribute("data-theme", "day")
    await page.screenshot(path=shot("composer-zh"), full_page=True)
