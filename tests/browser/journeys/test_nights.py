"""The main journey in a real browser against the real server, engines, worker, gateway and payment sandbox.

Somebody buys on a phone, gives an address and pays with a test card; the overlay's total and units, the farmer's
page and the host's console move by themselves. Nothing here is scripted but the fingers.
"""

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Open, Watch, shot
from tests.browser.deployment import Deployment, open_night
from tests.browser.fingers import HOSTILE, LONG_MS, give_address, hold, pay_with

pytestmark = [pytest.mark.browser, pytest.mark.slow]


async def test_a_bag_is_bought_on_a_phone_and_every_screen_moves(
    open_page: Open, deployment: Deployment, pages: Watch
) -> None:
    url = deployment.url
    night = await open_night(deployment, title=f"Peanut night {HOSTILE}", total=3, names=HOSTILE)
    overlay = await open_page(f"{url}/overlay/all#{night.overlay_key}", 1920, 1080)
    farmer = await open_page(f"{url}/farmer#{night.farmer_key}")
    console = await open_page(f"{url}/console#{night.host_key}", 1280, 900)
    shop = await open_page(f"{url}/shop/{night.stream_id}")

    left = overlay.locator(f"[data-sku={night.sku}] .left")
    await expect(overlay.locator("#raised")).to_have_attribute(
        "aria-label", "¥0.00", timeout=LONG_MS
    )
    await expect(left).to_have_text("3 / 3")
    await expect(overlay.locator("#title")).to_have_text(f"Peanut night {HOSTILE}")
    await expect(farmer.locator("#units")).to_have_text("0")
    await expect(console.locator("#screen-raised")).to_have_text("¥0.00")
    await expect(shop.locator("h2").first).to_have_text(f"Red-skin peanuts {HOSTILE}")

    await hold(shop, night, 2)
    await expect(left).to_have_text("1 / 3")
    await expect(overlay.locator("#raised")).to_have_attribute("aria-label", "¥0.00")
    await give_address(shop)
    await shop.reload()
    await shop.locator("#go-pay").click()
    await expect(shop.locator("#number")).to_be_visible(timeout=LONG_MS)
    await shop.screenshot(path=shot("journey-pay"), full_page=True)

    await pay_with(shop, "declined")
    await expect(
        shop.get_by_text("The card was not accepted and nothing was charged; try another.")
    ).to_be_visible(timeout=LONG_MS)
    await pay_with(shop, "success")
    await expect(shop.get_by_text("Paid. Thank you!")).to_be_visible(timeout=LONG_MS)
    await shop.screenshot(path=shot("journey-paid"))

    # 15 % of two bags at ¥29.90 went to the cause and 80 % to the farmer, to the minor unit, on every screen.
    await expect(overlay.locator("#raised")).to_have_attribute(
        "aria-label", "¥8.97", timeout=LONG_MS
    )
    await expect(overlay.locator("#sub")).to_have_text("2 sold · 1 order")
    await expect(overlay.locator("#percent")).to_have_text("4%")
    await expect(farmer.locator("#units")).to_have_text("2", timeout=LONG_MS)
    await expect(farmer.locator("#income")).to_have_text("¥47.84")
    await expect(console.locator("#screen-raised")).to_have_text("¥8.97")
    await expect(console.locator("#screen-sales")).to_have_text("¥59.80")
    await expect(console.locator("#age")).to_contain_text("connection alive")
    await expect(console.locator("#viewers-overlay")).to_have_text("1", timeout=LONG_MS)
    for page, name in ((overlay, "overlay"), (farmer, "farmer"), (console, "console")):
        await page.screenshot(path=shot(f"journey-{name}"))
        # No image but the code that we draw ourselves, and no script made of what somebody typed.
        assert await page.locator("main img:not(.qr-code), body script").count() == 0
    assert "Wang Fang" not in await farmer.locator("body").inner_text()


async def test_a_bank_that_asks_is_answered_and_the_last_unit_is_stamped_sold_out(
    open_page: Open, deployment: Deployment, pages: Watch
) -> None:
    pages.forgiven = ("status of 409",)
    night = await open_night(deployment, title="Last bag", total=1, names="farm")
    overlay = await open_page(f"{deployment.url}/overlay/stock#{night.overlay_key}", 1920, 1080)
    shop = await open_page(f"{deployment.url}/shop/{night.stream_id}")
    late = await open_page(f"{deployment.url}/shop/{night.stream_id}")
    await hold(shop, night, 1)
    await expect(overlay.locator(".left")).to_have_text("all held")
    await expect(late.locator(f"[data-sku={night.sku}]")).to_contain_text("All held now")
    await late.locator("#buy").click()
    await expect(late.get_by_text("units may come back")).to_be_visible(timeout=LONG_MS)
    await give_address(shop)
    await shop.locator("#go-pay").click()
    await expect(shop.locator("#number")).to_be_visible(timeout=LONG_MS)

    await pay_with(shop, "action")
    await shop.get_by_role("button", name="Refuse").click()
    await expect(shop.get_by_text("was not completed. Nothing was charged")).to_be_visible()
    await pay_with(shop, "action")
    await shop.get_by_role("button", name="Approve").click()
    await expect(shop.get_by_text("Paid. Thank you!")).to_be_visible(timeout=LONG_MS)
    await expect(overlay.locator(".stamp")).to_contain_text("SOLD OUT", timeout=LONG_MS)
    await expect(late.locator("#buy")).to_have_text("Sold out", timeout=LONG_MS)
    await overlay.screenshot(path=shot("journey-sold-out"))


async def test_the_host_runs_the_sale_from_the_console(
    open_page: Open, deployment: Deployment, pages: Watch
) -> None:
    pages.forgiven = ("status of 401", "status of 410")
    night = await open_night(deployment, title="Console night", total=5, names="farm")
    console = await open_page(f"{deployment.url}/console#{night.host_key}", 1280, 900)
    await expect(console.locator("#state")).to_have_text("LIVE")
    # The key is out of sight as soon as it was read.
    assert night.host_key not in console.url
    shop = await open_page(f"{deployment.url}/shop/{night.stream_id}")
    overlay = await open_page(f"{deployment.url}/overlay/all#{night.overlay_key}", 1920, 1080)

    await console.get_by_label("Units to add").fill("7")
    await console.get_by_role("button", name="Add", exact=True).click()
    await expect(console.get_by_text("Stock is now 12.")).to_be_visible()
    await expect(overlay.locator(".stock .left")).to_have_text("12 / 12")
    await expect(shop.locator(f"[data-sku={night.sku}]")).to_contain_text("12 left")
    await console.get_by_label("Goal in CNY").fill("1234.50")
    await console.get_by_role("button", name="Set goal").click()
    await expect(overlay.locator("#goal-label")).to_have_text("Goal ¥1,234.50")

    await console.locator("[data-do=rotate]").click()
    await console.locator("#dialog-yes").click()
    await expect(console.locator("#overlay-url")).to_have_text(
        "Hidden, so that it is not read off your screen."
    )
    await console.locator("[data-do=reveal]").click()
    address = await console.locator("#overlay-url").inner_text()
    fresh = await open_page(address, 1920, 1080)
    await expect(fresh.locator("#goal-label")).to_have_text("Goal ¥1,234.50", timeout=LONG_MS)

    await console.locator("#next").click()
    await console.keyboard.press("Escape")
    await expect(console.locator("#state")).to_have_text("LIVE")
    await console.locator("#next").click()
    await console.locator("#dialog-yes").click()
    await expect(console.locator("#state")).to_have_text("Ended")
    await expect(shop.locator("#buy")).to_have_text("Sale over")
    await expect(fresh.locator("#live")).to_have_text("ENDED")
    await console.screenshot(path=shot("console-ended"), full_page=True)
