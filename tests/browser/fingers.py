"""What shoppers do with their fingers, the same in every journey."""

from playwright.async_api import Page, expect

from tests.browser.deployment import Night

HOSTILE = "<img src=x onerror=alert(1)>"
CARDS = {
    "success": "4242424242424242",
    "declined": "4000000000000002",
    "action": "4000002760003184",
}
LONG_MS = 30_000


async def hold(page: Page, night: Night, units: int) -> None:
    """Choose so many units and buy them."""
    plus = page.locator(f"[data-sku={night.sku}] .stepper button").last
    for _ in range(units - 1):  # a lone offer lies in the basket with one unit
        await plus.click()
    await page.locator("#buy").click()
    await expect(page.get_by_label("Delivery address")).to_be_visible(timeout=LONG_MS)


async def give_address(page: Page) -> None:
    await page.get_by_label("Name").fill(f"Wang Fang {HOSTILE}")
    await page.get_by_label("Phone or e-mail").fill("139 0000 0000")
    await page.get_by_label("Delivery address").fill("12 Peanut Road, Zhengyang")
    await page.get_by_role("button", name="Save and go on").click()
    await expect(page.locator("#go-pay")).to_be_visible(timeout=LONG_MS)


async def pay_with(page: Page, card: str) -> None:
    await page.locator("#number").fill(CARDS[card])
    await page.locator("#pay").click()


async def fits(page: Page) -> bool:
    """Whether nothing stands out of the page to the right."""
    script = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    return bool(await page.evaluate(script))
