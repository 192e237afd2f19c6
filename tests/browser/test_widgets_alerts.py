"""The alerts widget in a real browser: an alert is shown once and then not again, and what a host stops is off at once."""

import asyncio
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import Open, Watch
from tests.browser.people import (
    BURST,
    GIFT,
    alerts,
    instant,
    on_air,
    overlay,
    tell,
    tell_all,
)
from tests.browser.scripted_backend import Backend
from tests.browser.story import STREAM

pytestmark = pytest.mark.browser

SHOWN = f"streams/{STREAM}/alerts/main/shown"
TOP = "[data-state=in]"


async def told_shown(backend: Backend, many: int) -> list[Any]:
    """Return the airings that were said to be shown, once so many were, and a moment for one too many."""
    for _ in range(60):
        if len(backend.calls("POST", SHOWN)) >= many:
            break
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.15)
    return [body["airing"] for _, body in backend.calls("POST", SHOWN)]


async def test_an_alert_is_said_to_be_shown_once_and_is_not_shown_again(
    open_page: Open, backend: Backend
) -> None:
    await tell_all(backend)
    page = await overlay(open_page, backend, "alerts")
    await expect(page.locator("html[data-empty]")).to_have_count(1)
    alert = on_air(ends_at=instant(30))
    await tell(backend, "alerts/main", **alerts(alert))
    card = page.locator(f".alert{TOP}")
    await expect(card.locator(".who")).to_have_text("Li Na")
    await expect(card.locator(".deed")).to_have_text("bought 2 bags ¥59.80")
    await expect(card.locator(".product")).to_have_text("Red-skin peanuts, 5 kg")
    # The same one again, now with the mark that it was shown, and once more after a cut: still the one card.
    await tell(backend, "alerts/main", **alerts(alert | {"shown": True}))
    await backend.cut()
    while not backend.sockets:  # noqa: ASYNC110 - the page comes back when it likes
        await asyncio.sleep(0.05)
    await expect(card).to_have_count(1)
    assert await told_shown(backend, 1) == ["air_1"]
    # After a refresh it is on air still, and was seen: the stage stays empty until the next one.
    await page.reload()
    await expect(page.locator("#card[data-state=shown]")).to_be_attached()
    await asyncio.sleep(0.2)
    assert await page.locator(".alert").count() == 0
    await tell(backend, "alerts/main", **alerts(on_air("air_2", name=None, shown=False)))
    await expect(card.locator(".who")).to_have_text("Somebody kind")
    assert await told_shown(backend, 2) == ["air_1", "air_2"]


async def test_an_alert_ends_by_the_servers_clock_or_by_the_next_frame(
    open_page: Open, backend: Backend
) -> None:
    await tell_all(backend)
    page = await overlay(open_page, backend, "alerts?anim=off")
    card = page.locator(f".alert{TOP}")
    await tell(backend, "alerts/main", **alerts(on_air(ends_at=instant(1.2))))
    await expect(card).to_be_visible()
    await expect(page.locator(".alert")).to_have_count(0, timeout=2500)
    await tell(backend, "alerts/main", **alerts(on_air("air_2")))
    await expect(card).to_have_attribute("data-airing", "air_2")
    assert await told_shown(backend, 2) == ["air_1", "air_2"]
    await tell(backend, "alerts/main", **alerts(on_air("air_3")))
    await expect(card).to_have_attribute("data-airing", "air_3")
    assert await page.locator(".alert").count() == 1
    await tell(backend, "alerts/main", **alerts(None))
    await expect(page.locator(".alert")).to_have_count(0)
    # One that is over when it arrives is not shown, and nobody is told that it was.
    await tell(backend, "alerts/main", **alerts(on_air("air_4", ends_at=instant(-0.5))))
    assert await told_shown(backend, 3) == ["air_1", "air_2", "air_3"]
    assert await page.locator(".alert").count() == 0


async def test_panic_and_mute_clear_the_screen_at_once_and_even_when_delayed(
    open_page: Open, backend: Backend
) -> None:
    await tell_all(backend)
    page = await overlay(open_page, backend, "alerts")
    slow = await overlay(open_page, backend, "alerts?delay_ms=400")
    for n, switch in enumerate(("panic", "muted")):
        await asyncio.sleep(0.2)
        alert = on_air(f"air_{n}", ends_at=instant(20))
        await tell(backend, "alerts/main", **alerts(alert))
        for one in (page, slow):
            await expect(one.locator(f".alert{TOP}")).to_be_visible()
        await one.evaluate(
            """() => new MutationObserver((_, self) => {
                if (document.querySelector(".alert")) return;
                document.documentElement.dataset.cleared = performance.now();
                self.disconnect();
            }).observe(document.body, { childList: true, subtree: true })"""
        )
        before = await slow.evaluate("performance.now()")
        await tell(backend, "alerts/main", **alerts(alert, **{switch: True}))
        for one in (page, slow):
            await expect(one.locator(".alert")).to_have_count(0, timeout=1000)
        after = await slow.evaluate("Number(document.documentElement.dataset.cleared)")
        assert after - before < 300
        # It is over: when the switch is turned back, it does not come again.
        await tell(backend, "alerts/main", **alerts(alert))
        await asyncio.sleep(0.3)
        assert await page.locator(".alert").count() == 0


async def standing_still(open_page: Open, backend: Backend, query: str) -> Page:
    """Open the alerts, and stop the page's clock: from then on its time passes when the test says so."""
    await tell_all(backend)
    page = await open_page("about:blank", 960, 540)
    await page.clock.install()
    await page.goto(f"{backend.base}/overlay/alerts?stale_after=600&{query}#se_overlay_key")
    await expect(page.locator("#card[data-state=shown]")).to_be_attached()
    await page.clock.pause_at(await page.evaluate("Date.now() / 1000 + 1"))
    return page


async def lasting(page: Page, from_s: float, to_s: float) -> dict[str, str]:
    """Return when an airing starts and ends, from now by what the page takes for the server's clock."""
    api = "document.querySelector('script[type=module]').src.replace('overlay/main.js', 'api.js')"
    moment = "(s) => new Date(m.serverNow() + s * 1000).toISOString()"
    ends = f"async (both) => {{ const m = await import({api}); return both.map({moment}); }}"
    starts_at, ends_at = await page.evaluate(ends, [from_s, to_s])
    return {"starts_at": starts_at, "ends_at": ends_at}


async def promised(page: Page, backend: Backend, many: int) -> list[Any]:
    """Let the page's time pass, little by little, until so many airings were said to be shown."""
    for _ in range(60):
        await page.clock.run_for(20)
        if len(backend.calls("POST", SHOWN)) >= many:
            break
        await asyncio.sleep(0.05)
    return await told_shown(backend, many)


@pytest.mark.parametrize("delay_ms", [0, 10_000])
async def test_an_alert_is_promised_when_heard_and_shown_after_the_delay(
    open_page: Open, backend: Backend, watch: Watch, delay_ms: int
) -> None:
    watch.allowed.add(backend.base.removeprefix("http://"))
    page = await standing_still(open_page, backend, f"anim=off&delay_ms={delay_ms}")
    card = page.locator(f".alert{TOP}")
    # On air for less than the delay, and followed by the next one.
    first = on_air("air_1", **await lasting(page, -5, 4))
    await tell(backend, "alerts/main", **alerts(first))
    await tell(backend, "alerts/main", **alerts(first | {"shown": True}))
    assert await promised(page, backend, 1) == ["air_1"]
    await expect(page.locator(".alert")).to_have_count(0 if delay_ms else 1)
    while instant(0) <= first["ends_at"]:  # noqa: ASYNC110 - the server's clock, not an event
        await asyncio.sleep(0.05)
    second = on_air("air_2", **await lasting(page, 0, 20))
    await tell(backend, "alerts/main", **alerts(second | {"name": "Wu"}))
    assert await promised(page, backend, 2) == ["air_1", "air_2"]
    if delay_ms:
        assert await page.locator(".alert").count() == 0
        await page.clock.run_for(5000)
        await expect(card).to_have_attribute("data-airing", "air_1")
        await page.clock.run_for(6000)
    else:
        await page.clock.run_for(100)
    await expect(card).to_have_attribute("data-airing", "air_2")
    await expect(card.locator(".who")).to_have_text("Wu")
    # A name that a moderator hides is off at once.
    await tell(backend, "alerts/main", **alerts(second | {"name": None}))
    await expect(card.locator(".who")).to_have_text("Somebody kind")
    await page.clock.run_for(21_000)
    await expect(page.locator(".alert")).to_have_count(0)
    assert await told_shown(backend, 2) == ["air_1", "air_2"]


async def test_what_is_stopped_while_it_waits_for_its_delay_is_never_shown(
    open_page: Open, backend: Backend, watch: Watch
) -> None:
    watch.allowed.add(backend.base.removeprefix("http://"))
    page = await standing_still(open_page, backend, "anim=off&delay_ms=10000")
    card = page.locator(f".alert{TOP}")
    await tell(backend, "alerts/main", **alerts(on_air("air_1", **await lasting(page, 0, 600))))
    assert await promised(page, backend, 1) == ["air_1"]
    await tell(backend, "alerts/main", **alerts(None))  # skipped
    await page.clock.run_for(3000)
    await tell(backend, "alerts/main", **alerts(on_air("air_2", **await lasting(page, 0, 600))))
    assert await promised(page, backend, 2) == ["air_1", "air_2"]
    await page.clock.run_for(7500)
    assert await page.locator(".alert").count() == 0
    await page.clock.run_for(3000)
    await expect(card).to_have_attribute("data-airing", "air_2")
    # Panic takes it off at once, and what is behind it too; neither comes back.
    third = on_air("air_3", **await lasting(page, 0, 600))
    await tell(backend, "alerts/main", **alerts(third, panic=True))
    await expect(page.locator(".alert")).to_have_count(0, timeout=1000)
    await tell(backend, "alerts/main", **alerts(third))
    await asyncio.sleep(0.2)
    await page.clock.run_for(12_000)
    assert await page.locator(".alert").count() == 0
    assert await told_shown(backend, 2) == ["air_1", "air_2"]


async def test_an_overlay_that_obs_hides_promises_nothing(
    open_page: Open, backend: Backend
) -> None:
    await tell_all(backend)
    page = await overlay(open_page, backend, "alerts")
    await expect(page.locator("#card[data-state=shown]")).to_be_attached()
    obs = "(visible) => dispatchEvent(new CustomEvent('obsSourceVisibleChanged', { detail: { visible } }))"
    await page.evaluate(obs, False)
    await tell(backend, "alerts/main", **alerts(on_air(ends_at=instant(30))))
    assert await told_shown(backend, 0) == []
    await page.evaluate(obs, True)
    await expect(page.locator(f".alert{TOP}")).to_be_visible()
    assert await told_shown(backend, 1) == ["air_1"]


async def test_a_rush_is_one_alert_and_words_keep_to_three_lines(
    open_page: Open, backend: Backend, watch: Watch
) -> None:
    watch.forgiven = ("AudioContext",)
    await tell_all(backend)
    page = await overlay(open_page, backend, "alerts?sound=chime")
    await page.evaluate(
        """() => {
            const begin = OscillatorNode.prototype.start;
            OscillatorNode.prototype.start = function (...at) {
                document.documentElement.dataset.notes = Number(document.documentElement.dataset.notes || 0) + 1;
                begin.apply(this, at);
            };
            document.body.click();
        }"""
    )
    await tell(backend, "alerts/main", **alerts(on_air(**BURST)))
    card = page.locator(f".alert{TOP}")
    await expect(card.locator(".crowd")).to_have_text("×214 bags in 3 s")
    await expect(card.locator(".newest")).to_have_text("newest Li Na")
    await expect(card.locator(".notes")).to_contain_text("131 orders")
    await tell(backend, "alerts/main", **alerts(on_air(**(BURST | {"units": 215, "name": "Wu"}))))
    await expect(card.locator(".crowd b")).to_have_text("×215")
    await expect(card.locator(".newest")).to_have_text("newest Wu")
    long = GIFT | {"message": "for the children " * 40, "dedication": "a long line " * 30}
    await tell(backend, "alerts/main", **alerts(on_air("air_2", **long, sound=None)))
    await expect(card).to_have_attribute("data-airing", "air_2")
    message = card.locator(".message")
    lines = "(n) => n.clientHeight / parseFloat(getComputedStyle(n).lineHeight)"
    assert round(await message.evaluate(lines)) == 3
    assert round(await card.locator(".dedication").evaluate(lines)) == 1
    await tell(backend, "alerts/main", **alerts(on_air("air_3", kind="test")))
    await expect(card.locator(".mark-test")).to_have_text("TEST")
