"""Money's other ways in a real browser against the real server: gifts, Stripe's page, cancelling, asking back, erasing.

Nothing is scripted but the fingers. What a shopper reads, what staff decide and what the audience sees must agree to
the minor unit.
"""

import re

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import Open, Watch, shot
from tests.browser.deployment import Deployment, Night, open_night, take_gifts
from tests.browser.fingers import HOSTILE, LONG_MS, fits, give_address, hold, pay_with

pytestmark = [pytest.mark.browser, pytest.mark.slow]


async def rich_night(deployment: Deployment, title: str, total: int = 5) -> Night:
    night = await open_night(deployment, title=title, total=total, names=HOSTILE)
    await take_gifts(deployment, night, words=HOSTILE)
    return night


async def raised_is(overlay: Page, text: str) -> None:
    await expect(overlay.locator("#raised")).to_have_attribute("aria-label", text, timeout=LONG_MS)


async def pay_own_order(page: Page) -> None:
    """Go from the shop to the pay page and pay there with a good card."""
    await page.locator("#go-pay").click()
    await expect(page.locator("#number")).to_be_visible(timeout=LONG_MS)
    await pay_with(page, "success")
    await expect(page.get_by_text("Paid. Thank you!")).to_be_visible(timeout=LONG_MS)


@pytest.mark.sweep
async def test_bought_with_a_gift_on_top_asked_back_and_given_back(
    open_page: Open, deployment: Deployment, pages: Watch
) -> None:
    night = await rich_night(deployment, "Gifts on top")
    url = deployment.url
    overlay = await open_page(f"{url}/overlay/all#{night.overlay_key}", 1920, 1080)
    console = await open_page(f"{url}/console#{night.host_key}", 1280, 900)
    shop = await open_page(f"{url}/shop/{night.stream_id}")
    await expect(shop.locator(".sponsors li")).to_contain_text(
        f"Every gift is doubled by Golden Mill {HOSTILE} · ¥1,000 of ¥1,000 left"
    )
    await shop.locator("#extras > summary").click()
    await shop.locator("#extras").get_by_role("button", name="¥10", exact=True).click()
    await shop.locator("#extras select").select_option("several")
    await expect(shop.locator("#buy")).to_have_text("Buy · ¥49.90")
    await shop.screenshot(path=shot("money-shop"), full_page=True)
    assert await fits(shop)
    await hold(shop, night, 2)
    await give_address(shop)
    # 2 × 29.90 + 10.00 shipping + 10.00 in two gifts.
    await expect(shop.locator("#go-pay")).to_have_text("Pay ¥79.80")
    await pay_own_order(shop)
    await expect(shop.locator(".lines")).to_contain_text("Shipping¥10.00")
    await expect(shop.locator(".lines")).to_contain_text(f"Gift to College places {HOSTILE}¥5.00")
    assert await fits(shop)
    await shop.screenshot(path=shot("money-receipt"), full_page=True)
    # 15 % of 59.80, the gifts, and the sponsor's same again.
    await raised_is(overlay, "¥28.97")

    await shop.locator("#ask-back > summary").click()
    await shop.get_by_label("Only some units").check()
    await shop.get_by_label("how many").fill("1")
    await shop.get_by_label("Why?").fill(f"Torn {HOSTILE}")
    await shop.locator("#ask-back").get_by_role("button", name="Ask").click()
    await expect(shop.get_by_text("You asked for this to be taken back.")).to_be_visible()
    await expect(console.locator("#to-decide")).to_have_text("1 to decide", timeout=LONG_MS)
    await console.locator("#money > summary").click()
    request = console.locator(".request")
    await expect(request).to_contain_text(f"Torn {HOSTILE}")
    await request.get_by_label("Put the units back on sale").check()
    await request.get_by_role("button", name="Accept…").click()
    await expect(console.locator("dialog h2")).to_have_text("Give ¥29.90 back?")
    await console.locator("#dialog-yes").click()
    await expect(console.get_by_text("¥29.90 is on its way back.")).to_be_visible()

    await expect(shop.get_by_text("Paid, and partly returned")).to_be_visible(timeout=LONG_MS)
    await expect(shop.locator(".lines")).to_contain_text("Returned so far¥29.90")
    # The audience is told of the correction; the unit is on the stall again.
    await expect(overlay.locator(".dip")).to_have_text(
        re.compile("^corrected −¥4"), timeout=LONG_MS
    )
    await overlay.screenshot(path=shot("money-overlay-corrected"))
    await raised_is(overlay, "¥24.48")
    await expect(overlay.locator(f"[data-sku={night.sku}] .left")).to_have_text("4 / 5")

    for page in (shop, console, overlay):
        assert await page.locator("main img:not(.qr-code), body script").count() == 0


@pytest.mark.sweep
async def test_an_order_is_looked_up_and_its_gift_given_back(
    open_page: Open, deployment: Deployment, pages: Watch
) -> None:
    night = await rich_night(deployment, "Looked up")
    overlay = await open_page(f"{deployment.url}/overlay/all#{night.overlay_key}", 1920, 1080)
    shop = await open_page(f"{deployment.url}/shop/{night.stream_id}")
    await shop.locator("#extras > summary").click()
    await shop.locator("#extras").get_by_role("button", name="¥10", exact=True).click()
    await hold(shop, night, 1)
    await give_address(shop)
    await pay_own_order(shop)
    await raised_is(overlay, "¥24.49")
    order_id = shop.url.rsplit("/", 1)[1].split("?")[0]
    console = await open_page(f"{deployment.url}/console#{night.host_key}", 1280, 900)
    await console.locator("#money > summary").click()
    await console.get_by_label("Its id (ord_…)").fill(order_id)
    await console.get_by_role("button", name="Look up").click()
    found = console.locator("#found")
    await expect(found).to_contain_text("Can be returned", timeout=LONG_MS)
    await expect(found.locator(".figures")).to_contain_text("¥49.90")
    await found.get_by_text("Its life").click()
    await expect(found).to_contain_text("it is paid")
    await console.screenshot(path=shot("money-desk"), full_page=True)
    await found.get_by_label("The gifts", exact=True).check()
    await console.locator("#refund").click()
    await console.locator("#dialog-yes").click()
    await expect(console.get_by_text("¥10.00 is on its way back.")).to_be_visible()
    # The sponsor's part goes with the gift it stood beside.
    await raised_is(overlay, "¥4.49")
    await expect(shop.locator(".lines")).to_contain_text("Returned so far¥10.00", timeout=LONG_MS)


async def test_given_without_goods_and_paid_on_stripes_own_page(
    open_page: Open, deployment: Deployment, pages: Watch
) -> None:
    night = await rich_night(deployment, "Gifts alone")
    overlay = await open_page(f"{deployment.url}/overlay/all#{night.overlay_key}", 1920, 1080)
    shop = await open_page(f"{deployment.url}/shop/{night.stream_id}")
    donate = shop.locator("#donate")
    await donate.locator("summary").first.click()
    await donate.get_by_role("button", name="¥50", exact=True).click()
    await donate.get_by_text("Name, message, dedication").click()
    await donate.get_by_label("A message").fill("Play well, children! <b>bold</b>")
    await donate.get_by_label("Show these words").check()
    await shop.screenshot(path=shot("money-donate"), full_page=True)
    await shop.locator("#give").click()
    await expect(shop.locator("#checkout")).to_be_visible(timeout=LONG_MS)
    await expect(shop.locator("#number")).to_be_visible(timeout=LONG_MS)
    await shop.screenshot(path=shot("money-pay"), full_page=True)
    await shop.locator("#checkout").click()
    await shop.get_by_role("link", name="Cancel and go back").click(timeout=LONG_MS)
    await expect(shop.get_by_text("A payment page at Stripe is open")).to_be_visible()
    await shop.screenshot(path=shot("money-elsewhere"), full_page=True)
    await shop.locator("#checkout").click()
    await shop.get_by_label("Test card that pays", exact=True).check(timeout=LONG_MS)
    await shop.screenshot(path=shot("money-hosted"), full_page=True)
    await shop.get_by_role("button", name="Pay").click()
    await expect(shop.get_by_text("Your gift has arrived. Thank you!")).to_be_visible(
        timeout=LONG_MS
    )
    await expect(shop.locator(".lines")).to_contain_text("¥50.00")
    await shop.screenshot(path=shot("money-given"), full_page=True)
    # Doubled by the sponsor.
    await raised_is(overlay, "¥100.00")
    await shop.locator("#said > summary").click()
    await expect(shop.locator("#said")).to_contain_text("wait to be looked at")
    assert "Play well" not in await overlay.locator("body").inner_text()


async def test_a_wallet_pays_on_our_page(
    open_page: Open, deployment: Deployment, pages: Watch
) -> None:
    night = await rich_night(deployment, "Wallet")
    shop = await open_page(f"{deployment.url}/shop/{night.stream_id}")
    await hold(shop, night, 1)
    await give_address(shop)
    await shop.locator("#go-pay").click()
    await shop.get_by_label("Way to pay").select_option("Alipay", timeout=LONG_MS)
    await shop.locator("#pay").click()
    await shop.get_by_role("button", name="Approve").click(timeout=LONG_MS)
    await expect(shop.get_by_text("Paid. Thank you!")).to_be_visible(timeout=LONG_MS)


async def test_cancelled_before_it_was_paid_and_the_unit_is_back(
    open_page: Open, deployment: Deployment, pages: Watch
) -> None:
    night = await rich_night(deployment, "Cancelled", total=1)
    shop = await open_page(f"{deployment.url}/shop/{night.stream_id}")
    await hold(shop, night, 1)
    await shop.locator("#manage").click()
    await expect(shop.locator("#cancel")).to_be_visible(timeout=LONG_MS)
    await shop.locator("#cancel").click()
    await shop.locator("#dialog-yes").click()
    await expect(shop.get_by_text("This order was cancelled.")).to_be_visible(timeout=LONG_MS)
    await shop.screenshot(path=shot("money-cancelled"), full_page=True)
    other = await open_page(f"{deployment.url}/shop/{night.stream_id}")
    await expect(other.locator(f"[data-sku={night.sku}]")).to_contain_text("1 left")


@pytest.mark.sweep
async def test_found_again_by_its_secret_link_and_the_person_erased(
    open_page: Open, deployment: Deployment, pages: Watch
) -> None:
    pages.forgiven = ("status of 409",)
    night = await rich_night(deployment, "Secret link")
    shop = await open_page(f"{deployment.url}/shop/{night.stream_id}")
    await hold(shop, night, 1)
    await give_address(shop)
    await pay_own_order(shop)
    await shop.locator("#link > summary").click()
    await shop.get_by_role("button", name="Show the link").click()
    await expect(shop.locator("#order-link")).to_have_text(re.compile("/order#ord_"))
    link = await shop.locator("#order-link").inner_text()
    assert link.startswith(f"{deployment.url}/order#ord_")
    held = await open_page(link)
    await expect(held.get_by_text("Paid. Thank you!")).to_be_visible(timeout=LONG_MS)
    await held.locator("#data > summary").click()
    await held.locator("#erase").click()
    await held.locator("#dialog-yes").click()
    # The parcel is not sent yet: its address is still needed, and the page says what to do.
    await expect(held.get_by_text("its address is still needed")).to_be_visible()
    await held.locator("#ask-back > summary").click()
    await held.locator("#ask-back").get_by_role("button", name="Ask").click()
    await expect(held.get_by_text("You asked for this to be taken back.")).to_be_visible()
    console = await open_page(f"{deployment.url}/console#{night.host_key}", 1280, 900)
    await console.locator("#money > summary").click()
    await console.locator(".request").get_by_role("button", name="Accept…").click()
    await console.locator("#dialog-yes").click()
    await expect(held.get_by_text("Your money has been returned.")).to_be_visible(timeout=LONG_MS)
    await held.screenshot(path=shot("money-held"), full_page=True)
    # Drawn anew, it is still unfolded.
    await held.locator("#erase").click()
    await held.locator("#dialog-yes").click()
    await expect(held.get_by_text("Erased.")).to_be_visible()
    async with held.expect_download() as download:
        await held.get_by_role("button", name="Download").click()
    text = (await (await download.value).path()).read_text("utf-8")
    assert '"contact": null' in text
    assert "Wang Fang" not in text


@pytest.mark.sweep
async def test_the_letters_of_the_night_are_in_the_mailbox(
    open_page: Open, deployment: Deployment, pages: Watch
) -> None:
    night = await rich_night(deployment, "Letters")
    shop = await open_page(f"{deployment.url}/shop/{night.stream_id}")
    await hold(shop, night, 1)
    await shop.get_by_label("Name").fill("Wang Fang")
    await shop.get_by_label("Phone or e-mail").fill("wang.fang@example.org")
    await shop.get_by_label("Delivery address").fill("12 Peanut Road, Zhengyang")
    await shop.get_by_role("button", name="Save and go on").click()
    await pay_own_order(shop)
    mailbox = await open_page(f"{deployment.url}/mailbox#{deployment.operator_key}")
    await expect(mailbox.locator("summary").first).to_contain_text("Receipt", timeout=LONG_MS)
    await mailbox.screenshot(path=shot("money-mailbox"), full_page=True)
    assert await fits(mailbox)
    await mailbox.locator("pre a").first.click()
    await expect(mailbox.get_by_text("Paid. Thank you!")).to_be_visible(timeout=LONG_MS)
