"""120 hostile names in every place where shoppers, farmers and passers-by read what others wrote.

The shop, an order's own page and its payment, the farmer's page, the card on other sites, the composer, the front page
and the mailbox of test mode. What there is one of on a page has all the names in one.
"""

import time
from typing import Any, Final

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import Open, Watch
from tests.browser.fingers import fits
from tests.browser.hostile_looks import looking, made, unlisted, unseen, wrong
from tests.browser.hostile_names import HOSTILE
from tests.browser.hostile_sale import (
    ALL,
    AT,
    FRONT,
    LONE_FRONT,
    SKUS,
    STREAMS,
    card,
    page_of,
    set_the_hostile_desk,
    whole_order,
    wishes,
)
from tests.browser.people import BOARD, tell
from tests.browser.scripted_backend import Backend
from tests.browser.story import ORDER, STATUS, STREAM, rfc3339

pytestmark = pytest.mark.browser

TOKEN: Final = f"{ORDER}.5d41402abc4b2a76b9719d911017c592"
PATH: Final = f"orders/{ORDER}"
# Where all stand at once, each in a place of its own.
STALL: Final = (
    *(".offer h2", ".offer h2 + p ×2", ".offer .price small", ".offer .share p ×2"),
    *(".offer .stepper button:last-child @aria-label", ".sponsors li"),
)
CAUSES: Final = tuple(
    f"{part} {place}"
    for part in ("#donate", "#extras")
    for place in (
        "option:not([value=several])",
        ".slider .spread span:first-child",
        ".slider input @aria-label",
    )
)
GIFT_LINES: Final = ".lines li:nth-child(n + 122):nth-child(-n + 241) span:first-child"
GOODS_LINES: Final = ".lines li:nth-child(-n + 120) span:first-child"
ASKED: Final = ("#ask-back form > div label",)
ASKED_BEFORE: Final = ("#ask-back p.soft.gap",)
# What there is one of.
HEAD: Final = (
    "title",
    ".hero h1",
    ".hero h1 + p",
    "#terms dd:nth-of-type(4)",
    "#terms dd:nth-of-type(5)",
)
LONE: Final = (
    ".offer h2",
    ".offer .share p ×2",
    ".sponsors li",
    "#donate form > p",
    "#extras > div > p.soft",
)
TERMS: Final = ("#receipt dd:nth-of-type(1)", "#receipt dd:nth-of-type(2)")


async def holds(page: Page, lists: tuple[str, ...], once: tuple[str, ...] = ()) -> None:
    """Assert that each list holds every name, what there is one of all in one, as text, and no page is too wide."""
    assert await unlisted(page, lists) == []
    assert await unlisted(page, once, [ALL]) == []
    # A label holds its field too.
    assert await made(page, [one for one in (*lists, *once) if not one.endswith("label")]) == []
    assert await fits(page)


async def unfold(page: Page) -> None:
    await page.locator("summary").first.wait_for()
    await page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")


async def test_the_shop_and_what_it_says_of_prices(open_page: Open, backend: Backend) -> None:
    backend.storefront = FRONT
    told = (".hero .pinned", "#announced")
    page = await open_page(
        f"{backend.base}/shop/{STREAM}", before=looking(told, within=":not(bdi)")
    )
    await expect(page.locator(".offer")).to_have_count(len(HOSTILE))
    await unfold(page)
    await page.locator("#extras").get_by_role("button", name="¥10", exact=True).click()
    for several in await page.locator("select:has([value=several])").all():
        await several.select_option("several")
    await holds(page, (*STALL, *CAUSES), HEAD)
    for sku in SKUS:
        await tell(backend, "board", **(BOARD | {"cards": [], "pinned_sku": sku}))
    await expect(page.locator(".hero .pinned")).to_contain_text(HOSTILE[-1])
    assert await unseen(page, told) == []
    assert await wrong(page) == []
    await page.evaluate(
        "document.querySelectorAll('.stepper .first').forEach((add) => add.click())"
    )
    cards = [
        {**card(name), **offer, "price_minor": 3000}
        for name, offer in zip(HOSTILE, FRONT["offers"], strict=True)
    ]
    await tell(backend, "board", **(BOARD | {"cards": cards}))
    note = page.locator(".checkout .note")
    await expect(note).to_contain_text(HOSTILE[0])
    assert [name for name in HOSTILE if name not in (await note.text_content() or "")] == []
    assert await made(page, [".checkout .note"]) == []
    assert await fits(page)


async def test_a_shop_of_one_product_and_one_cause(open_page: Open, backend: Backend) -> None:
    backend.storefront = LONE_FRONT
    page = await open_page(f"{backend.base}/shop/{STREAM}")
    await unfold(page)
    await page.locator("#extras").get_by_role("button", name="¥10", exact=True).click()
    await holds(page, (), (*HEAD, *LONE))


async def test_an_order_by_its_link_where_it_is_paid_and_in_the_shop(
    open_page: Open, backend: Backend, watch: Watch
) -> None:
    watch.forgiven = ("status of 422",)
    backend.storefront = FRONT
    backend.reply("GET", PATH, (200, whole_order("PAID")))
    backend.reply("GET", f"{PATH}/refund-requests", page_of(wishes("DECLINED")))
    page = await open_page(f"{backend.base}/order#{TOKEN}")
    await expect(page.locator(*ASKED)).to_have_count(len(HOSTILE))
    await unfold(page)
    await holds(page, (GOODS_LINES, GIFT_LINES, *ASKED, *ASKED_BEFORE), TERMS)

    pay_by = rfc3339(time.time() + 560)
    backend.reply("GET", PATH, (200, whole_order("AWAITING_PAYMENT", pay_by=pay_by)))
    backend.reply("POST", f"{PATH}/pay", (422, {"code": "odd", "detail": ALL}))
    page = await open_page(f"{backend.base}/pay/{ORDER}")
    await page.locator("#pay:enabled").click()
    await expect(page.locator("form.card .note")).to_contain_text("not possible")
    await holds(page, (GOODS_LINES, GIFT_LINES), (*TERMS, "form.card .note"))

    page = await open_page(f"{backend.base}/shop/{STREAM}?order={ORDER}")
    await expect(page.locator("#go-pay")).to_be_visible()
    await holds(page, (GOODS_LINES, GIFT_LINES))


async def test_what_a_farmer_sold(open_page: Open, backend: Backend) -> None:
    backend.reply("GET", "me", (200, {"id": "prn_1", "role": "farmer", "farmer_id": "frm_1"}))
    line = {"quantity": 2, "amount_minor": 4782, "kind": "capture", "at": AT}
    last = [line | {"sku": name, "order": name} for name in HOSTILE]
    sales = {"units": 240, "income_minor": 4782, "currency": "CNY", "last": last}
    backend.reply("GET", "farmers/frm_1/summary", (200, sales))
    page = await open_page(f"{backend.base}/farmer#key")
    await expect(page.locator("#last li")).to_have_count(len(HOSTILE))
    await holds(page, ("#last li > span:first-child", "#last li > span:last-child"))


async def test_the_card_on_other_sites(open_page: Open, backend: Backend) -> None:
    places = ("title", "#title")
    page = await open_page(f"{backend.base}/embed/{STREAM}", before=looking(places, within="*"))
    await expect(page.locator("#raised")).not_to_have_text("—")
    for name in HOSTILE:
        await tell(backend, "status", **(STATUS | {"title": name, "title_zh": None}))
    await tell(backend, "status", **(STATUS | {"title": ALL, "title_zh": None}))
    await expect(page.locator("#title")).to_contain_text(f"{HOSTILE[0]}\n{HOSTILE[1]}")
    assert await unseen(page, places) == []
    assert await wrong(page) == []
    await holds(page, (), places)


async def test_the_composer_the_front_page_and_the_mailbox(
    open_page: Open, backend: Backend
) -> None:
    await set_the_hostile_desk(backend)
    page = await open_page(f"{backend.base}/composer#key")
    await expect(page.locator("#preview")).to_be_visible()
    await holds(page, ("#stream option:not(:first-child)",))

    live: list[dict[str, Any]] = [one | {"state": "live"} for one in STREAMS]
    backend.reply("GET", "streams", page_of(live))
    page = await open_page(f"{backend.base}/")
    await expect(page.locator("main h2")).to_have_count(len(HOSTILE))
    await holds(page, ("main article h2", "main article h2 + p"))

    letters = [
        {
            "id": f"let_{n}",
            "order_id": ORDER,
            "to": name,
            "subject": name,
            "body": name,
            "created_at": AT,
        }
        for n, name in enumerate(HOSTILE)
    ]
    backend.reply("GET", "mailbox", page_of(letters))
    page = await open_page(f"{backend.base}/mailbox#key")
    await expect(page.locator("details.letter")).to_have_count(len(HOSTILE))
    await unfold(page)
    await holds(page, (".letter summary span", ".letter p", ".letter pre"))
