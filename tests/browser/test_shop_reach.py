"""The shop for whoever hears it, uses no pointer, sees little contrast, or has large fingers.

Contrast is computed from the colours as they come out of the style sheets, of every text that stands on the page.
"""

from itertools import pairwise
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import Open, shot
from tests.browser.scripted_backend import Backend
from tests.browser.story import ORDER, RICH_FRONT, STREAM, gift, order

pytestmark = pytest.mark.browser

ORDERS = f"streams/{STREAM}/orders"
DONATIONS = f"streams/{STREAM}/donations"
PEANUTS = "[data-sku=PEANUT-5KG]"

# Every visible text with less than 4.5:1 (3:1 where it is large); of a gradient its worst colour counts.
FAINT = """() => {
  const rgba = (text) => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return [r, g, b, a]; };
  const over = ([r, g, b, a], under) => [r, g, b].map((c, i) => c * a + under[i] * (1 - a));
  const light = (rgb) => { const [r, g, b] = rgb.map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((m, n) => n - m); return (x + 0.05) / (y + 0.05); };
  const grounds = (node) => {
    if (!node) return [[255, 255, 255]];
    const style = getComputedStyle(node);
    const stops = style.backgroundImage.match(/rgba?\\([^)]*\\)/g);
    const own = stops ?? [style.backgroundColor];
    const under = own.every((text) => rgba(text)[3] === 1) ? [[255, 255, 255]] : grounds(node.parentElement);
    return own.flatMap((text) => under.map((below) => over(rgba(text), below)));
  };
  const faint = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let seen = 0;
  for (let text = walker.nextNode(); text; text = walker.nextNode()) {
    const node = text.parentElement;
    if (!text.data.trim() || !node.checkVisibility({ visibilityProperty: true }) || node.closest(".unseen, .sign, noscript")) continue;
    seen += 1;
    const style = getComputedStyle(node);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    for (const ground of grounds(node)) {
      const found = ratio(over(rgba(style.color), ground), ground);
      if (found < (large ? 3 : 4.5)) faint.push(`${text.data.trim().slice(0, 30)} ${found.toFixed(2)}`);
    }
  }
  return seen > 10 ? faint : [`only ${seen} texts`];
}"""

# Whatever is tapped and is smaller than 44 × 44; a box with its words counts with them.
SMALL = """() => [...document.querySelectorAll("a[href], button, summary, input, select, textarea")]
  .filter((one) => one.checkVisibility({ visibilityProperty: true }))
  .map((one) => [one, (/checkbox|radio/.test(one.type) ? one.closest("label") : one).getBoundingClientRect()])
  .filter(([, { width, height }]) => width < 44 || height < 43.5)
  .map(([one, { width, height }]) => `${one.outerHTML.slice(0, 60)} ${width}x${height}`)"""

# Whatever can be reached and has no name.
NAMELESS = """() => [...document.querySelectorAll("a[href], button, summary, input, select, textarea, article, section.checkout, output")]
  .filter((one) => one.checkVisibility({ visibilityProperty: true }))
  .filter((one) => !(one.labels?.[0]?.textContent ?? one.getAttribute("aria-label") ?? "").trim())
  .filter((one) => !document.getElementById(one.getAttribute("aria-labelledby"))?.textContent.trim())
  .filter((one) => !/^(A|BUTTON|SUMMARY)$/.test(one.tagName) || !one.textContent.trim())
  .map((one) => one.outerHTML.slice(0, 80))"""

HEADINGS = """() => [...document.querySelectorAll("h1, h2, h3, h4")]
  .filter((one) => one.checkVisibility()).map((one) => Number(one.tagName[1]))"""


@pytest.fixture
def shop(backend: Backend) -> str:
    backend.storefront = dict(RICH_FRONT)
    backend.reply("POST", ORDERS, (201, order("RESERVED")))
    backend.reply("GET", f"orders/{ORDER}", (200, order("RESERVED", ahead=3, minutes=1)))
    return f"{backend.base}/shop/{STREAM}"


async def all_is_within_reach(page: Page) -> None:
    """Hold the page as it stands to contrast, size, names and the order of headings."""
    assert await page.evaluate(FAINT) == []
    assert await page.evaluate(SMALL) == []
    assert await page.evaluate(NAMELESS) == []
    levels: list[int] = await page.evaluate(HEADINGS)
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
async def test_every_step_can_be_read_named_and_tapped(
    open_page: Open, backend: Backend, shop: str, locale: str
) -> None:
    page = await open_page(shop, locale=locale)
    await page.locator(f"{PEANUTS} .stepper button").last.click()
    for fold in ("extras", "donate", "terms"):
        await page.locator(f"#{fold} summary").first.click()
    await page.locator("#donate .inner summary").click()
    await page.locator("#extras .chip").last.click()
    await expect(page.locator("#extras select")).to_be_visible()
    await expect(page.locator(".hero .life")).not_to_have_text("")
    await all_is_within_reach(page)
    stock = {"sku": "PEANUT-5KG", "total": 11483, "reserved": 0}
    gone = [stock | {"left": 0, "sold": 11483}]
    await backend.say(f"stream/{STREAM}/stock", items=gone, sold_out_at=None)
    await expect(page.locator("#instead")).to_be_visible()
    await all_is_within_reach(page)
    await backend.say(
        f"stream/{STREAM}/stock", items=[stock | {"left": 900, "sold": 10583}], sold_out_at=None
    )
    await page.locator("#buy").click()
    await expect(page.locator("form [type=submit]")).to_be_visible()
    await page.locator("form [type=submit]").click()
    await all_is_within_reach(page)
    await page.screenshot(path=shot(f"reach-{locale}"), full_page=True)
    backend.reply("GET", f"orders/{ORDER}", (200, order("PAID", contact_given=True)))
    await expect(page.locator(".verdict h1")).to_be_focused()
    await all_is_within_reach(page)


async def test_what_a_screen_reader_is_told(open_page: Open, backend: Backend, shop: str) -> None:
    page = await open_page(shop)
    plus = page.locator(f"{PEANUTS} .stepper button").last
    await plus.click()
    await expect(page.locator(PEANUTS).locator("xpath=.")).to_match_aria_snapshot(
        """
        - article "Red-skin peanuts, 5 kg":
          - text: On stream now
          - heading "Red-skin peanuts, 5 kg" [level=2]
          - paragraph: Zhengyang Growers, Henan
          - paragraph: ¥29.90 per bag
          - paragraph: up to 2 each
          - paragraph: /¥2.00 of each bag goes to/
          - text: 7,213 left of 11,483
          - button "One fewer Red-skin peanuts, 5 kg"
          - status "Red-skin peanuts, 5 kg": "1"
          - button "One more Red-skin peanuts, 5 kg"
        """
    )
    told = await page.locator("body").aria_snapshot()
    assert told.index("navigation") < told.index("main") < told.index('region "Checkout"')
    assert 'heading "Zhengyang peanuts, live with the county" [level=1]' in told
    assert 'button "Buy · ¥39.90"' in told
    # What waits its turn is polite, what needs the shopper interrupts, and both stand there before they speak.
    assert await page.locator(".checkout").locator("[role=status], [role=alert]").count() == 2
    assert await page.locator("main [aria-live], main [role=log]").count() == 0
    # The word of what is wrong belongs to the field it is about.
    await page.locator("#extras summary").click()
    typed = page.locator("#extras").get_by_label("Another amount in CNY")
    await typed.fill("0.50")
    await expect(typed).to_have_accessible_description("A gift is at least ¥1.00.")
    await expect(typed).to_have_attribute("aria-invalid", "true")
    await typed.fill("")
    await page.locator("#buy").click()
    await page.get_by_label("Name").fill("Wang Fang")
    await page.get_by_role("button", name="Save and go on").click()
    contact = page.get_by_label("Phone or e-mail")
    await expect(contact).to_be_focused()
    await expect(contact).to_have_accessible_description("Please fill this in completely.")
    assert await page.get_by_label("Name").get_attribute("aria-describedby") is None


async def test_giving_by_keyboard_alone_and_without_motion(
    open_page: Open, backend: Backend, shop: str
) -> None:
    backend.reply("POST", DONATIONS, (201, {"id": ORDER, "state": "PLEDGED"}))
    backend.reply("GET", f"orders/{ORDER}", (200, gift("RESERVED", ahead=2, minutes=1)))
    page = await open_page(shop)
    await page.emulate_media(reduced_motion="reduce")
    await expect(page.locator("#donate")).to_be_visible()

    async def tab_to(selector: str) -> None:
        for _ in range(40):
            await page.keyboard.press("Tab")
            if await page.evaluate("(s) => document.activeElement.matches(s)", selector):
                return
        raise AssertionError(f"the keyboard does not reach {selector}")

    await tab_to("#donate > summary")
    await page.keyboard.press("Enter")
    await tab_to("#donate .chip")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Space")
    await expect(page.locator("#give")).to_have_text("Give ¥50.00")
    # What has the focus is never under the bar at the foot of the page.
    await tab_to("#give")
    give, bar = [await page.locator(one).bounding_box() for one in ("#give", ".checkout")]
    assert give is not None
    assert bar is not None
    assert give["y"] + give["height"] <= bar["y"]
    assert await page.evaluate(
        "[...document.querySelectorAll('*')].every(one => getComputedStyle(one).transitionDuration === '0s')"
    )
    await page.keyboard.press("Enter")
    await expect(page.locator("#queue")).to_contain_text("Your gift is noted")
    [(_, body)] = backend.calls("POST", DONATIONS)
    assert body["amount_minor"] == 5000
    # Before something is taken back the page asks, and the keyboard stays with the question.
    cancel = page.get_by_role("button", name="Cancel this gift…")
    await cancel.focus()
    await page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Cancel this gift?")
    await expect(dialog).to_have_accessible_description("Nothing is charged.")
    inside: list[Any] = []
    for _ in range(4):
        await page.keyboard.press("Tab")
        inside.append(
            await page.evaluate("document.activeElement.closest('dialog, main, nav')?.tagName")
        )
    assert "DIALOG" in inside
    assert not {"MAIN", "NAV"} & set(inside)
    await page.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)
    await expect(cancel).to_be_focused()
