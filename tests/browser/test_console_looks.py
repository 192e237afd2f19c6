"""The console and the moderators' page on a phone and on a studio screen, in both languages: nothing stands out of
the page, nothing of a stranger's becomes markup, and there is a picture of each to look at.
"""

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Open, shot
from tests.browser.desk import set_the_desk
from tests.browser.fingers import fits
from tests.browser.scripted_backend import Backend
from tests.browser.story import STREAM

pytestmark = pytest.mark.browser

SECTIONS = ("onAir", "sale", "alerts", "words", "money", "setup")


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
async def test_the_console_on_a_phone(open_page: Open, backend: Backend, locale: str) -> None:
    page = await open_page(await set_the_desk(backend), locale=locale)
    await expect(page.locator("#screen-alert")).to_contain_text("Li Na")
    for section in SECTIONS:
        await page.locator(f".sections [data-section={section}]").click()
        await expect(page.locator(f"#section-{section}")).to_be_visible()
        assert await fits(page), section
        await page.screenshot(path=shot(f"console-phone-{locale[:2]}-{section}"), full_page=False)
    assert await page.locator("main img, body script").count() == 0


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
async def test_the_console_on_a_studio_screen(
    open_page: Open, backend: Backend, locale: str
) -> None:
    page = await open_page(await set_the_desk(backend), 1920, 1080, locale=locale)
    await expect(page.locator("#screen-alert")).to_contain_text("Li Na")
    await expect(page.locator("[data-order=ord_2]")).to_be_visible()
    for section in SECTIONS:
        await expect(page.locator(f"#section-{section}")).to_be_visible()
    assert await fits(page)
    await page.screenshot(path=shot(f"console-1080-{locale[:2]}"))
    await page.screenshot(path=shot(f"console-1080-{locale[:2]}-full"), full_page=True)


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
async def test_the_moderators_page_on_a_phone(
    open_page: Open, backend: Backend, locale: str
) -> None:
    await set_the_desk(backend)
    mine = {"id": "prn_9", "role": "moderator", "name": "An", "stream_id": STREAM}
    backend.reply("GET", "me", (200, mine))
    page = await open_page(f"{backend.base}/moderate#key", locale=locale)
    await expect(page.locator("[data-order=ord_1]")).to_be_visible()
    assert await fits(page)
    assert "key" not in page.url
    assert await page.locator("main img, body script").count() == 0
    await page.screenshot(path=shot(f"moderate-{locale[:2]}"), full_page=True)
