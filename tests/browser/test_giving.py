"""Giving in a real browser: on top of an order, alone, to several causes, under a sponsor's match, and never by accident.

Whoever wants nothing of it buys in the same three taps as before; whoever gives sees to the minor unit where it goes.
"""

import json
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import Open, Watch, shot
from tests.browser.fingers import fits
from tests.browser.scripted_backend import Backend
from tests.browser.story import MATCH, ORDER, RICH_FRONT, STREAM, gift, order, shipping

pytestmark = pytest.mark.browser

ORDERS = f"streams/{STREAM}/orders"
DONATIONS = f"streams/{STREAM}/donations"
PEANUTS = "[data-sku=PEANUT-5KG]"
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"


@pytest.fixture
def shop(backend: Backend) -> str:
    backend.storefront = dict(RICH_FRONT)
    backend.reply("POST", ORDERS, (201, order("RESERVED")))
    backend.reply("GET", f"orders/{ORDER}", (200, order("RESERVED", ahead=3, minutes=1)))
    return f"{backend.base}/shop/{STREAM}"


async def slide(page: Page, name: str, value: int) -> None:
    """Move the slider of a cause as a finger does."""
    slider = page.locator("#extras").get_by_role("slider", name=name)
    await slider.fill(str(value))


async def test_three_taps_still_buy_and_nothing_is_given_by_accident(
    open_page: Open, backend: Backend, shop: str
) -> None:
    page = await open_page(shop)
    await page.locator(f"{PEANUTS} .stepper button").last.click()
    # Goods, what sending costs and the tax are told before anything is placed; so is the seller.
    await expect(page.locator("#sums")).to_have_text(
        "Goods ¥29.90 · shipping ¥10.00 · tax included ¥2.47"
    )
    await expect(page.locator("#buy")).to_have_text("Buy · ¥39.90")
    assert await page.locator("#extras, #donate, #terms").evaluate_all(
        "all => all.every(one => !one.open)"
    )
    await expect(page.locator(".share p").first).to_have_text(
        "¥2.00 of each bag goes to Basketball gear for 8,893 children; the farmer gets ¥23.91."
    )
    await page.locator("#buy").click()
    await expect(page.get_by_label("Delivery address")).to_be_visible()
    [(_, body)] = backend.calls("POST", ORDERS)
    assert body == {"lines": [{"sku": "PEANUT-5KG", "quantity": 1}]}


async def test_a_gift_on_top_goes_to_several_causes_to_the_minor_unit(
    open_page: Open, backend: Backend, shop: str
) -> None:
    page = await open_page(shop)
    await page.locator(f"{PEANUTS} .stepper button").last.click()
    extras = page.locator("#extras")
    await extras.locator("summary").click()
    await extras.get_by_role("button", name="¥20").click()
    await extras.locator("select").select_option("several")
    # Thirds of ¥20.00: the basis points go 3,334 · 3,333 · 3,333, the minor units with them.
    await expect(extras.locator(".part")).to_have_text(
        ["33.34% · ¥6.67", "33.33% · ¥6.67", "33.33% · ¥6.66"]
    )
    await slide(page, "Basketball gear for 8,893 children", 9)
    await slide(page, "College places", 3)
    await slide(page, "Left-behind children", 0)
    await expect(extras.locator(".part")).to_have_text(
        ["75% · ¥15.00", "25% · ¥5.00", "0% · ¥0.00"]
    )
    await extras.get_by_label("Pay more than the price, in CNY").fill("1.05")
    await extras.get_by_label("Round up the total to a full ¥10").check()
    # 29.90 + 10.00 + 20.00 + 1.05 = 60.95, rounded up to 70.00.
    await expect(extras).to_contain_text("adds ¥9.05")
    await expect(page.locator("#sums")).to_contain_text("gift ¥30.10")
    await expect(page.locator("#buy")).to_have_text("Buy · ¥70.00")
    assert await fits(page)
    await page.screenshot(path=shot("giving-on-top"), full_page=True)
    await page.locator("#buy").click()
    await expect(page.get_by_label("Delivery address")).to_be_visible()
    [(_, body)] = backend.calls("POST", ORDERS)
    assert body == {
        "lines": [{"sku": "PEANUT-5KG", "quantity": 1}],
        "gift": {
            "amount_minor": 2000,
            "causes": [
                {"beneficiary_id": "ben_1", "share_bp": 7500},
                {"beneficiary_id": "ben_2", "share_bp": 2500},
            ],
        },
        "extra_minor": 105,
        "round_up_to_minor": 1000,
    }


async def test_what_a_campaign_does_not_take_is_said_before_it_is_sent(
    open_page: Open, backend: Backend, shop: str
) -> None:
    page = await open_page(shop)
    await page.locator(f"{PEANUTS} .stepper button").last.click()
    extras = page.locator("#extras")
    await extras.locator("summary").click()
    typed = extras.get_by_label("Another amount in CNY")
    for text, words in (
        ("0.50", "A gift is at least ¥1.00."),
        ("20000", "One payment can give at most ¥10,000.00."),
        ("1e2", "Type an amount such as 20 or 20.50."),
        ("-5", "Type an amount such as 20 or 20.50."),
        ("１２", "Type an amount such as 20 or 20.50."),
        ("1.005", "Type an amount such as 20 or 20.50."),
    ):
        await typed.fill(text)
        await expect(extras.locator(".note:visible")).to_have_text(words)
        await expect(page.locator("#buy")).to_be_disabled()
    await typed.fill("12,50")
    await expect(page.locator("#buy")).to_have_text("Buy · ¥52.40")
    await extras.locator("select").select_option("several")
    for cause in RICH_FRONT["gifts"]["causes"]:
        await slide(page, cause["name"], 0)
    await expect(extras.locator(".note:visible").first).to_have_text(
        "Give at least one cause a part."
    )
    await expect(page.locator("#buy")).to_be_disabled()


async def test_the_sponsor_the_terms_and_shipping_are_told(
    open_page: Open, backend: Backend, shop: str
) -> None:
    doubled = MATCH | {"sponsor": HOSTILE}
    tenth = MATCH | {"id": "mat_2", "covers": "shares", "ratio_bp": 1000, "ends_at": None}
    spent = MATCH | {"id": "mat_3", "sponsor": "Spent", "left_minor": 0}
    backend.storefront = RICH_FRONT | {"matches": [doubled, tenth, spent], "seller": HOSTILE}
    page = await open_page(shop)
    first, second = page.locator(".sponsors li").first, page.locator(".sponsors li").last
    await expect(first).to_contain_text(f"Every gift is doubled by {HOSTILE} · until")
    await expect(first).to_contain_text("¥43,210 of ¥50,000 left · up to ¥200 for each giver")
    await expect(second).to_contain_text("is matched by Golden Mill: 10% on top · ¥43,210 of")
    await expect(page.locator(".sponsors li")).to_have_count(2)
    terms = page.locator("#terms")
    await terms.locator("summary").click()
    await expect(terms).to_contain_text("¥10.00 an order. Free from ¥99.00 of goods.")
    await expect(terms).to_contain_text("Send it back within 7 days")
    await expect(terms).to_contain_text("Card · Alipay")
    await expect(terms).to_contain_text(HOSTILE)
    assert await page.locator("main img, body script").count() == 0
    assert await fits(page)


async def test_shipping_by_weight_is_reckoned_and_too_heavy_is_said(
    open_page: Open, backend: Backend, shop: str
) -> None:
    classes = [{"up_to_g": 5000, "amount_minor": 800}, {"up_to_g": 9000, "amount_minor": 1500}]
    rule = {"type": "by_weight", "classes": classes, "free_from_minor": None}
    backend.storefront = RICH_FRONT | {"shipping": shipping(rule)}
    page = await open_page(shop)
    plus = page.locator(f"{PEANUTS} .stepper button").last
    await plus.click()
    await expect(page.locator("#sums")).to_contain_text("shipping ¥8.00")
    await plus.click()
    await expect(page.locator("#sums")).to_contain_text("order in two parts")
    await expect(page.locator("#buy")).to_be_disabled()


async def test_giving_without_goods_is_anonymous_unless_somebody_agrees(
    open_page: Open, backend: Backend, shop: str
) -> None:
    placed = {"id": ORDER, "state": "PLEDGED"}
    backend.reply("POST", DONATIONS, (201, placed))
    backend.reply("GET", f"orders/{ORDER}", (200, gift("RESERVED", ahead=2, minutes=1)))
    page = await open_page(shop)
    donate = page.locator("#donate")
    await donate.locator("summary").first.click()
    await expect(page.locator("#give")).to_be_disabled()
    await donate.get_by_role("button", name="¥50", exact=True).click()
    await donate.get_by_text("Name, message, dedication").click()
    assert not await donate.get_by_label("Show these words").is_checked()
    await donate.get_by_label("Show these words").check()
    await page.locator("#give").click()
    await expect(donate.get_by_text("There is nothing to show yet")).to_be_visible()
    await donate.get_by_label("Show these words").uncheck()
    await donate.get_by_label("Your name").fill(f" Li Na {HOSTILE} "[:40])
    assert await fits(page)
    await page.screenshot(path=shot("giving-alone"), full_page=True)
    await page.locator("#give").click()
    # No address is asked for: a gift goes nowhere. It waits for its turn like any order, and says so.
    await expect(page.locator("#queue")).to_contain_text("Your gift is noted")
    await expect(page.get_by_label("Delivery address")).to_have_count(0)
    await expect(page.locator(".lines")).to_contain_text("Gift to Basketball gear")
    [(headers, body)] = backend.calls("POST", DONATIONS)
    assert body["amount_minor"] == 5000
    assert body["causes"] == [{"beneficiary_id": "ben_1", "share_bp": 10_000}]
    assert body["name"].startswith("Li Na <img")
    assert body["show"] is False
    assert len(headers["idempotency-key"]) == 32


async def test_a_gift_that_is_not_known_is_finished_after_a_reload_and_counts_once(
    open_page: Open, backend: Backend, shop: str, watch: Watch
) -> None:
    watch.forgiven = ("status of 503", "ERR_ABORTED")
    unclear = (503, {"code": "unclear", "detail": "repeat", "retry_after_ms": 60})
    backend.reply("POST", DONATIONS, unclear)
    backend.reply("GET", f"orders/{ORDER}", (200, gift("RESERVED")))
    page = await open_page(shop)
    await page.locator("#donate summary").first.click()
    await page.locator("#donate").get_by_role("button", name="¥10", exact=True).click()
    await page.locator("#give").click()
    await expect(page.get_by_text("it can only count once")).to_be_visible()
    backend.reply("POST", DONATIONS, (201, {"id": ORDER, "state": "PLEDGED"}))
    await page.reload()
    await expect(page.locator("#queue")).to_be_visible()
    calls = backend.calls("POST", DONATIONS)
    assert len({headers["idempotency-key"] for headers, _ in calls}) == 1
    assert len({json.dumps(body) for _, body in calls}) == 1


async def test_a_refused_gift_says_why_and_may_be_changed(
    open_page: Open, backend: Backend, shop: str, watch: Watch
) -> None:
    watch.forgiven = ("status of 422",)
    refused: dict[str, Any] = {"code": "invalid", "detail": "a name has no such signs"}
    backend.reply("POST", DONATIONS, (422, refused))
    page = await open_page(shop)
    await page.locator("#donate summary").first.click()
    await page.locator("#donate").get_by_role("button", name="¥10", exact=True).click()
    await page.locator("#give").click()
    await expect(page.get_by_text("a name has no such signs")).to_be_visible()
    await expect(page.locator("#give")).to_have_text("Give ¥10.00")


async def test_in_chinese_all_of_it_is_chinese(
    open_page: Open, backend: Backend, shop: str
) -> None:
    page = await open_page(shop, locale="zh-CN")
    await page.locator(f"{PEANUTS} .stepper button").last.click()
    for fold in ("extras", "donate", "terms"):
        await page.locator(f"#{fold} summary").first.click()
    await expect(page.locator(".share p").first).to_have_text(
        "每袋有 ¥2.00 捐给篮球装备，农户得 ¥23.91。"
    )
    await expect(page.locator(".sponsors li")).to_contain_text("金磨坊为每笔捐赠 1:1 配捐")
    await expect(page.locator("#sums")).to_have_text("商品 ¥29.90 · 运费 ¥10.00 · 已含税 ¥2.47")
    await expect(page.locator("#terms")).to_contain_text("七天无理由退货。")
    assert await fits(page)
    await page.screenshot(path=shot("giving-zh"), full_page=True)
