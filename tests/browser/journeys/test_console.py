"""The console on the real server: what the host puts up reaches the screens by its topic, and only then shows as up."""

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Open, Watch, shot
from tests.browser.deployment import Deployment, open_night
from tests.browser.fingers import HOSTILE, LONG_MS

pytestmark = [pytest.mark.browser, pytest.mark.slow]


async def test_what_the_host_puts_up_is_on_the_board_a_moment_later(
    open_page: Open, deployment: Deployment, pages: Watch
) -> None:
    night = await open_night(deployment, title=f"Desk {HOSTILE}", total=5, names=HOSTILE)
    page = await open_page(f"{deployment.url}/console#{night.host_key}", 1920, 1080)
    await expect(page.locator("#age")).to_contain_text("connection alive", timeout=LONG_MS)
    pin = page.locator(f"[data-sku={night.sku}] .pin")
    await expect(pin).to_have_attribute("aria-pressed", "false")
    await pin.click()
    await expect(pin).to_have_attribute("aria-pressed", "true", timeout=LONG_MS)
    await expect(page.locator("#screen-pinned")).to_have_text(f"Red-skin peanuts {HOSTILE}")

    offer = page.locator(f"[data-sku={night.sku}]")
    await offer.get_by_text("Price and limit").click()
    await offer.get_by_label("New price in CNY").fill("19.90")
    await expect(offer).to_contain_text("¥15.92 to the farmer")
    await offer.get_by_role("button", name="Change").click()
    await expect(offer.locator("h3")).to_contain_text("¥19.90", timeout=LONG_MS)

    form = page.locator("#add-milestone")
    await form.locator("summary").click()
    await form.get_by_label("Reached at").fill("100")
    await form.get_by_label("What happens").fill(f"The host sings {HOSTILE}")
    await form.get_by_role("button", name="Add a milestone").click()
    await expect(page.locator("#milestones li")).to_contain_text("¥100.00 to go", timeout=LONG_MS)

    await page.locator("[data-do=closes-1200]").click()
    await expect(page.locator("#timer")).to_contain_text("closes in 19:", timeout=LONG_MS)
    await page.locator("[data-do=timer-off]").click()
    await expect(page.locator("#timer")).to_be_hidden(timeout=LONG_MS)
    await page.locator("[data-do=floor]").click()
    await expect(page.locator("#tonight-since")).to_contain_text("It counts since", timeout=LONG_MS)

    await page.locator("[data-do=panic]").click()
    await expect(page.locator(".panic-says")).to_be_visible(timeout=LONG_MS)
    # While the answer to the tap is awaited, the key is one tap too many.
    await expect(page.locator("[data-do=panic]")).to_be_enabled(timeout=LONG_MS)
    await page.keyboard.press("P")
    await expect(page.locator(".panic-says")).to_be_hidden(timeout=LONG_MS)
    await page.locator("[data-do=test]").click()
    await expect(page.locator("#airing")).to_contain_text("TEST", timeout=LONG_MS)
    await expect(page.get_by_text("Nothing waits.")).to_be_visible()
    assert await page.locator("main img, body script").count() == 0
    await page.screenshot(path=shot("console-journey"), full_page=True)
