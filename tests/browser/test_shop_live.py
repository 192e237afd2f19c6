"""The shop while the host works: it opens by itself, pins, reprices, sells out, and never moves under a finger.

What a shopper sees is as new as the last frame; where no frame can come, the shop window itself is asked.
"""

import time
from typing import Any

import pytest
from playwright.async_api import Page, WebSocketRoute, expect

from tests.browser.conftest import Open, Watch, shot
from tests.browser.fingers import fits
from tests.browser.scripted_backend import Backend
from tests.browser.story import (
    BOARD,
    FRONT,
    ORDER,
    RICH_FRONT,
    STATUS,
    STOCK,
    STREAM,
    order,
    rfc3339,
)

pytestmark = pytest.mark.browser

ORDERS = f"streams/{STREAM}/orders"
PEANUTS = "[data-sku=PEANUT-5KG]"
CHESTNUTS = "[data-sku=CHESTNUT-2KG]"
SKUS = "all => all.map(one => one.dataset.sku)"


@pytest.fixture
def shop(backend: Backend) -> str:
    backend.storefront = dict(RICH_FRONT)
    backend.reply("GET", f"orders/{ORDER}", (200, order("RESERVED", ahead=811, minutes=4)))
    backend.reply("POST", ORDERS, (201, order("RESERVED")))
    return f"{backend.base}/shop/{STREAM}"


async def say(backend: Backend, part: str, state: dict[str, Any], /, **changes: Any) -> None:
    await backend.say(f"stream/{STREAM}/{part}", **(state | changes))


def stock(**figures: tuple[int, int]) -> dict[str, Any]:
    """Return the stock with (left, reserved) of some offers changed, named by the first word of the SKU."""
    items = []
    for item in STOCK["items"]:
        left, reserved = figures.get(item["sku"].split("-")[0], (item["left"], item["reserved"]))
        sold = item["total"] - left - reserved
        items.append(item | {"left": left, "reserved": reserved, "sold": sold})
    return {"items": items, "sold_out_at": None}


def repriced(price_minor: int) -> list[dict[str, Any]]:
    """Return the board's cards with the first one at another price; the farmer bears the difference."""
    first = BOARD["cards"][0]
    farmer_minor = first["farmer_minor"] + price_minor - first["price_minor"]
    changed = first | {"price_minor": price_minor, "farmer_minor": farmer_minor}
    return [changed, *BOARD["cards"][1:]]


async def tops(page: Page) -> list[float]:
    """Return where everything that can be tapped stands in the view."""
    found: list[float] = await page.locator("main button:visible, #top button").evaluate_all(
        "all => all.filter(one => !one.closest('.checkout')).map(one => one.getBoundingClientRect())"
        ".filter(r => r.bottom > 0 && r.top < innerHeight).map(r => Math.round(r.top))"
    )
    return found


async def test_it_counts_down_opens_by_itself_and_pins_without_moving_anything(
    open_page: Open, backend: Backend, shop: str
) -> None:
    timer = {"what": "opens", "at": rfc3339(time.time() + 45)}
    await say(backend, "status", STATUS, state="scheduled", opens_at=None)
    await say(backend, "board", BOARD, pinned_sku=None, timer=timer)
    page = await open_page(shop)
    await page.locator(f"{PEANUTS} .stepper button").last.click()
    await expect(page.locator(".hero .badge")).to_contain_text("Opens in 0:4")
    await expect(page.locator("#buy")).to_contain_text("Opens in 0:4")
    await expect(page.locator("#buy")).to_be_disabled()
    await page.screenshot(path=shot("shop-scheduled"))
    before = await tops(page)
    closes = {"what": "closes", "at": rfc3339(time.time() + 290)}
    await say(backend, "status", STATUS)
    await say(backend, "board", BOARD, pinned_sku="CHESTNUT-2KG", timer=closes)
    await expect(page.locator("#buy")).to_have_text("Buy · ¥39.90")
    await expect(page.locator(".life")).to_contain_text("closes in 4:4")
    await expect(page.locator(f"{CHESTNUTS} .onstream")).to_have_text("On stream now")
    # The first card is in view: the pinned one stays below it, and the head leads there.
    cards = page.locator(".offer")
    await page.wait_for_timeout(1300)
    assert (await cards.evaluate_all(SKUS))[0] == "PEANUT-5KG"
    pinned = page.get_by_role("button", name="On stream now: Mountain chestnuts, 2 kg")
    now = await tops(page)
    box = await pinned.bounding_box()
    assert box is not None
    assert [top for top in now if top != round(box["y"])] == before
    await page.screenshot(path=shot("shop-pinned-below"))
    await pinned.click()
    await expect(page.locator(f"{CHESTNUTS} h2")).to_be_focused()
    await expect(page.locator(CHESTNUTS)).to_be_in_viewport()
    # Out of the way it goes up, and what is in view stays where it is.
    await page.evaluate(
        "document.querySelector('#donate').open = true; document.activeElement.blur();"
        "scrollTo(0, document.body.scrollHeight)"
    )
    await page.wait_for_timeout(100)
    still = await tops(page)
    await expect(cards.first).to_have_attribute("data-sku", "CHESTNUT-2KG")
    assert await tops(page) == still
    await page.reload()
    await expect(cards.first).to_have_attribute("data-sku", "CHESTNUT-2KG")
    await page.screenshot(path=shot("shop-pinned-first"))


async def test_a_new_price_is_told_before_anything_is_sent(
    open_page: Open, backend: Backend, shop: str
) -> None:
    page = await open_page(shop)
    await page.locator(f"{PEANUTS} .stepper button").last.click()
    await expect(page.locator("#buy")).to_have_text("Buy · ¥39.90")
    await say(backend, "board", BOARD, cards=repriced(3590))
    await expect(page.locator("#buy")).to_have_text("Buy · ¥45.90")
    # A tap that was meant for the old price buys nothing.
    await expect(page.locator("#buy")).to_be_disabled()
    told = page.locator(".checkout [role=status]")
    await expect(told).to_contain_text("in your basket: ¥35.90, before ¥29.90. Nothing has been")
    await expect(page.locator(f"{PEANUTS} .limit")).to_have_text("was ¥29.90 · up to 2 each")
    await expect(page.locator(f"{PEANUTS} .share")).to_contain_text("the farmer gets ¥29.91")
    assert backend.calls("POST", ORDERS) == []
    await page.screenshot(path=shot("shop-new-price"))
    # One that changes between the last frame and the tap is told before anything is paid.
    await expect(page.locator("#buy")).to_be_enabled()
    await page.locator("#buy").click()
    missed = page.locator("main").get_by_role("alert").filter(has_text="just before your order")
    await expect(missed).to_contain_text("it is ¥29.90, not ¥35.90. Nothing is paid yet")


async def test_low_held_sold_out_and_over_are_seen_at_once(
    open_page: Open, backend: Backend, shop: str
) -> None:
    page = await open_page(shop)
    await page.locator(f"{PEANUTS} .stepper button").last.click()
    height = await page.locator(PEANUTS).evaluate("one => one.offsetHeight")
    await say(backend, "stock", stock(PEANUT=(412, 1000)))
    await expect(page.locator(f"{PEANUTS}.low")).to_contain_text("412 left")
    await expect(page.locator("#announced")).to_have_text("Red-skin peanuts, 5 kg: 412 left.")
    await say(backend, "stock", stock(PEANUT=(0, 9)))
    await expect(page.locator(PEANUTS)).to_contain_text("All held now")
    assert await page.locator(PEANUTS).evaluate("one => one.offsetHeight") == height
    # The button changes in the very task that brings the frame, before anything is painted.
    await page.evaluate(
        """() => { const buy = document.querySelector("#buy");
        const gone = () => document.querySelector("[data-sku=PEANUT-5KG] .stock b").textContent === "Sold out";
        new MutationObserver(() => gone() && (globalThis.wasDisabled ??= buy.disabled))
          .observe(document.querySelector("main"), { subtree: true, childList: true, characterData: true }); }"""
    )
    await say(backend, "stock", stock(PEANUT=(0, 0), CHESTNUT=(0, 0), HOT=(0, 0)))
    await expect(page.locator("#buy")).to_have_text("Sold out")
    assert await page.evaluate("globalThis.wasDisabled") is True
    await page.screenshot(path=shot("shop-sold-out"))
    await page.get_by_role("button", name="Give without buying").click()
    await expect(page.locator("#donate summary").first).to_be_focused()
    assert await page.locator("#donate").evaluate("one => one.open")
    assert await fits(page)
    await say(backend, "status", STATUS, state="ended")
    await expect(page.locator("#buy")).to_have_text("Sale over")
    await expect(page.locator(f"{PEANUTS} .stepper button:visible")).to_be_disabled()
    await expect(page.locator("#sums")).to_be_hidden()
    await page.screenshot(path=shot("shop-over"))


async def test_where_no_socket_can_be_held_the_stock_still_moves(
    open_page: Open, backend: Backend, shop: str, watch: Watch
) -> None:
    watch.forgiven = ("ERR_FAILED",)
    page = await open_page(f"{backend.base}/static/none/icon.svg")
    watch.forgiven = ("ERR_FAILED", "status of 404")

    async def refuse(socket: WebSocketRoute) -> None:
        await socket.close(code=1013)

    await page.route_web_socket("**/socket", refuse)
    await page.goto(shop)
    left = page.locator(f"{PEANUTS} .stock b")
    await expect(left).to_have_text("7,213 left")
    await say(backend, "stock", stock(PEANUT=(412, 1000)))
    await expect(left).to_have_text("412 left")
    assert backend.sockets == {}
    assert backend.calls("GET", "feed/events") != []
    # Not even that: then the window itself is asked, every ten seconds.
    await page.route("**/v1/feed**", lambda route: route.abort())
    await page.clock.install()
    offers = [FRONT["offers"][0] | {"left": 77, "sold": 11406, "reserved": 0}]
    backend.storefront = RICH_FRONT | {"offers": [*offers, *FRONT["offers"][1:]]}
    await page.reload()
    await expect(left).to_have_text("77 left")
    backend.storefront = RICH_FRONT | {"state": "ended"}
    await page.clock.run_for(11_000)
    await expect(left).to_have_text("7,213 left")
    await expect(page.locator("#buy")).to_have_text("Sale over")


async def test_an_address_half_typed_outlives_the_queue(
    open_page: Open, backend: Backend, shop: str
) -> None:
    turn = order("AWAITING_PAYMENT", pay_by=rfc3339(time.time() + 560))
    backend.reply("GET", f"orders/{ORDER}", (200, order("RESERVED", ahead=12, minutes=1)))
    page = await open_page(f"{shop}?order={ORDER}")
    await expect(page.get_by_role("heading", name="Held for you!")).to_be_focused()
    await expect(page.locator(".place")).to_have_text("12 orders before yours")
    await page.get_by_label("Delivery address").fill("12 Peanut Road")
    backend.reply(
        "GET", f"orders/{ORDER}", (200, order("RESERVED", ahead=3, minutes=0)), (200, turn)
    )
    await expect(page.locator("#queue [role=status]")).to_have_text("Payment opens in a moment.")
    await expect(page.locator(".clock")).to_contain_text("Held for another")
    await expect(page.get_by_label("Delivery address")).to_have_value("12 Peanut Road")
    await expect(page.get_by_label("Delivery address")).to_be_focused()


async def test_a_settled_stream_is_read_and_asks_for_no_socket(
    open_page: Open, backend: Backend, shop: str
) -> None:
    backend.storefront = RICH_FRONT | {"state": "settled"}
    page = await open_page(shop)
    await expect(page.locator("#buy")).to_have_text("Sale over")
    await expect(page.locator(".hero .badge")).to_have_text("Sale over")
    await expect(page.locator(f"{PEANUTS} .stock b")).to_have_text("7,213 left")
    await expect(page.locator(".stepper button:visible")).to_have_count(3)
    for plus in await page.locator(".stepper button:visible").all():
        await expect(plus).to_be_disabled()
    await expect(page.locator("#donate")).to_have_count(0)
    assert backend.calls("POST", "socket-tickets") == []
