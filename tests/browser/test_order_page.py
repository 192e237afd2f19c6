"""An order's own page in a real browser: its queue, two ways to pay, what became of the money, and what can be done.

It is opened by the browser that bought, under /pay, or by whoever holds the secret link, under /order#….
"""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import SOONER, Open, Watch, shot, until
from tests.browser.fingers import fits
from tests.browser.scripted_backend import Backend
from tests.browser.story import FRONT, ORDER, gift, order, rfc3339

pytestmark = pytest.mark.browser

TOKEN = f"{ORDER}.5d41402abc4b2a76b9719d911017c592"
PATH = f"orders/{ORDER}"
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"
REQUEST: dict[str, Any] = {
    "id": "rrq_1",
    "order_id": ORDER,
    "lines": [{"sku": "PEANUT-5KG", "quantity": 1}],
    "reason": HOSTILE,
    "state": "OPEN",
    "refund_id": None,
    "created_at": "2026-11-22T12:00:00.000Z",
    "decided_at": None,
}


@pytest.fixture
def payable() -> dict[str, Any]:
    pay_by = rfc3339(time.time() + 560)
    return order("AWAITING_PAYMENT", contact_given=True, pay_by=pay_by)


@pytest.fixture
def page_url(backend: Backend) -> str:
    return f"{backend.base}/pay/{ORDER}"


async def unfold(page: Page, name: str) -> None:
    await page.locator(f"#{name} > summary").click()


async def test_the_queue_survives_a_reload_and_opens_the_form_by_itself(
    open_page: Open, backend: Backend, page_url: str, payable: dict[str, Any]
) -> None:
    queued = order("RESERVED", ahead=811, minutes=4, contact_given=True)
    backend.reply("GET", PATH, (200, queued))
    page = await open_page(page_url)
    for _ in range(2):
        await expect(page.locator("#queue")).to_contain_text("Payment opens in about 4 min.")
        await expect(page.locator("#queue")).to_contain_text("811 orders before yours")
        await page.reload()
    await expect(page.locator("#queue")).to_be_visible()
    assert await fits(page)
    await page.screenshot(path=shot("order-page-queue"), full_page=True)
    backend.reply("GET", PATH, (200, payable))
    await expect(page.locator("#pay")).to_have_text("Pay ¥59.80", timeout=9000)


async def test_the_address_is_asked_for_here_too_and_typing_is_not_disturbed(
    open_page: Open, backend: Backend, page_url: str
) -> None:
    backend.reply("GET", PATH, *((200, order("RESERVED", ahead=n, minutes=0)) for n in (9, 8, 7)))
    backend.reply("PUT", f"{PATH}/contact", (200, {}))
    page = await open_page(page_url)
    await page.get_by_label("Name").fill("Wang Fang")
    await page.get_by_label("Phone or e-mail").fill("139 0000 0000")
    await page.wait_for_timeout(2500)
    assert await page.get_by_label("Name").input_value() == "Wang Fang"
    await page.get_by_label("Delivery address").fill("12 Peanut Road, Zhengyang")
    await page.get_by_role("button", name="Save and go on").click()
    # Not before: a look at the order that found it given would take the form away from under the finger.
    backend.reply("GET", PATH, (200, order("RESERVED", ahead=7, minutes=0, contact_given=True)))
    await expect(page.get_by_label("Delivery address")).to_be_hidden()


CARET = "[document.activeElement.name, document.activeElement.selectionStart]"


async def test_a_form_that_still_applies_keeps_what_is_typed_and_goes_when_it_does_not(
    open_page: Open, backend: Backend, page_url: str
) -> None:
    backend.reply("GET", PATH, (200, order("RESERVED", ahead=9, minutes=0)))
    page = await open_page(page_url, before=SOONER)
    await page.get_by_label("Name").fill("Wang Fang")
    await page.get_by_label("Delivery address").fill("12 Peanut Road")
    await page.keyboard.press("Home")
    await page.keyboard.press("ArrowRight")
    due = {"pay_by": rfc3339(time.time() + 560)}
    backend.reply("GET", PATH, (200, order("AWAITING_PAYMENT", **due)))
    await expect(page.locator(".clock")).to_be_visible()
    await expect(page.locator("#queue")).to_have_count(0)
    await expect(page.get_by_label("Name")).to_have_value("Wang Fang")
    assert await page.evaluate(CARET) == ["address", 1]
    await page.keyboard.type("0")
    await expect(page.get_by_label("Delivery address")).to_have_value("102 Peanut Road")
    backend.reply("GET", PATH, (200, order("EXPIRED")))
    await expect(page.locator(".verdict h1")).to_be_focused()
    await expect(page.locator("form [name=address]")).to_have_count(0)


async def test_why_goods_go_back_stays_typed_while_other_news_comes(
    open_page: Open, backend: Backend, page_url: str
) -> None:
    told: dict[str, Any] = {"contact_given": True, "refund_pending_minor": 100}
    backend.reply("GET", PATH, (200, order("PAID", **told)))
    page = await open_page(page_url, before=SOONER)
    await unfold(page, "ask-back")
    await page.get_by_label("Only some units").check()
    why = page.get_by_label("Why?")
    await why.fill(HOSTILE)
    asked = len(backend.calls("GET", f"{PATH}/refund-requests"))
    back = told | {"notice": "refund_pending", "refunded_minor": 2990}
    backend.reply("GET", PATH, (200, order("PART_REFUNDED", **back)))
    await expect(page.locator("#receipt")).to_contain_text("Returned so far")
    await until(page, lambda: len(backend.calls("GET", f"{PATH}/refund-requests")) > asked)
    await expect(why).to_be_focused()
    await expect(why).to_have_value(HOSTILE)
    await expect(page.get_by_label("Only some units")).to_be_checked()
    backend.reply("GET", PATH, (200, order("REFUNDED", **back)))
    await expect(page.locator(".verdict h1")).to_be_focused()
    await expect(page.locator("#ask-back")).to_have_count(0)


async def test_the_form_takes_what_the_campaign_takes(
    open_page: Open, backend: Backend, page_url: str, payable: dict[str, Any]
) -> None:
    backend.reply("GET", PATH, (200, payable))
    page = await open_page(page_url)
    await expect(page.locator("#pay")).to_be_enabled()
    assert await page.locator("html").get_attribute("data-methods") == "card,alipay"


async def test_whoever_would_rather_pays_at_stripes_and_finds_back(
    open_page: Open, backend: Backend, page_url: str, payable: dict[str, Any], watch: Watch
) -> None:
    watch.forgiven = ("status of 503", "status of 404")
    backend.reply("GET", PATH, (200, payable))
    hosted = f"{backend.base}/hosted"
    later = (503, {"code": "pay_later", "detail": "later", "retry_after_ms": 50})
    opened = {"url": hosted, "expires_at": rfc3339(time.time() + 3600)}
    backend.reply("POST", f"{PATH}/checkout", later, (200, opened))
    # As in browsers of before 2023, which know no size of a query.
    page = await open_page(page_url, before="delete URLSearchParams.prototype.size")
    await page.locator("#checkout").click()
    await page.wait_for_url(hosted)
    assert len(backend.calls("POST", f"{PATH}/checkout")) == 2
    # Back without having paid: the page at Stripe is still open, and nothing here invites to pay twice.
    elsewhere = payable | {"payment": {"status": "requires_action", "client_secret": None}}
    backend.reply("GET", PATH, (200, elsewhere))
    secret = "payment_intent_client_secret=pi_1_secret_2&redirect_status=failed"
    await page.goto(f"{page_url}?locale=en&{secret}")
    await expect(page).to_have_url(f"{page_url}?locale=en")
    await expect(page.get_by_text("A payment page at Stripe is open")).to_be_visible()
    await expect(page.locator("#pay")).to_have_count(0)
    await page.screenshot(path=shot("order-page-elsewhere"), full_page=True)
    backend.reply("DELETE", f"{PATH}/checkout", (200, {}))
    backend.reply("GET", PATH, (200, payable))
    await page.locator("#pay-here").click()
    await expect(page.locator("#pay")).to_be_enabled()
    backend.reply("GET", PATH, (200, elsewhere), (200, order("PAID", contact_given=True)))
    await expect(page.get_by_text("Paid. Thank you!")).to_be_visible(timeout=9000)


async def test_cancelling_asks_first_and_tells_what_is_true(
    open_page: Open, backend: Backend, page_url: str, payable: dict[str, Any], watch: Watch
) -> None:
    watch.forgiven = ("status of 409",)
    backend.reply("GET", PATH, (200, payable))
    on_its_way = (409, {"code": "payment_processing", "detail": "a payment is on its way"})
    done = (200, {"id": ORDER, "state": "CANCELLED"})
    backend.reply("POST", f"{PATH}/cancel", on_its_way, done)
    page = await open_page(page_url)
    await page.locator("#cancel").click()
    await page.keyboard.press("Escape")
    assert backend.calls("POST", f"{PATH}/cancel") == []
    await page.locator("#cancel").click()
    await expect(page.locator("dialog")).to_contain_text("Your units go back to the shop")
    await page.screenshot(path=shot("order-page-cancel"))
    await page.locator("#dialog-yes").click()
    await expect(page.get_by_text("look again when it has arrived")).to_be_visible()
    await page.locator("#cancel").click()
    backend.reply("GET", PATH, (200, order("CANCELLED", contact_given=True)))
    await page.locator("#dialog-yes").click()
    await expect(page.get_by_text("This order was cancelled. Nothing was charged.")).to_be_visible()
    await expect(page.locator("#cancel")).to_have_count(0)


@pytest.mark.parametrize(
    ("state", "notice", "words"),
    [
        ("PAID", "late_paid_resold", "the goods were still there: they are yours"),
        ("REFUND_PENDING", "late_refund", "All of your money goes back by itself."),
        ("REFUNDED", "late_refund", "after the goods had gone to others"),
        ("PAID", "duplicate_refund", "You had paid twice."),
        ("REFUND_PENDING", "refund_pending", "We have asked the bank to return ¥29.90."),
        ("REFUND_FAILED", "refund_failed", "The money is with us"),
    ],
)
async def test_what_became_of_the_money_is_said_plainly(
    open_page: Open, backend: Backend, page_url: str, state: str, notice: str, words: str
) -> None:
    pending = 2990 if state == "REFUND_PENDING" else 0
    told = order(state, notice=notice, refund_pending_minor=pending, contact_given=True)
    backend.reply("GET", PATH, (200, told))
    page = await open_page(page_url)
    await expect(page.locator(".verdict")).to_contain_text(words)
    assert "fail" not in (await page.locator("main").inner_text()).lower()


async def test_the_receipt_adds_up_with_gifts_shipping_tax_and_what_went_back(
    open_page: Open, backend: Backend, page_url: str
) -> None:
    given = {"kind": "gift", "beneficiary_id": "ben_1", "amount_minor": 2000}
    rounded = {"kind": "round_up", "beneficiary_id": "ben_2", "amount_minor": 20}
    named = {"name": HOSTILE, "name_zh": None}
    line = {"sku": "PEANUT-5KG", "quantity": 2, "unit_minor": 2990, "amount_minor": 5980}
    told = order(
        "PART_REFUNDED",
        lines=[line | {"tax_minor": 494}],
        gifts=[given | named, rounded | named],
        shipping_minor=1000,
        total={"amount_minor": 9000, "currency": "CNY"},
        refunded_minor=2990,
        contact_given=True,
        seller=HOSTILE,
    )
    backend.reply("GET", PATH, (200, told))
    page = await open_page(page_url)
    rows = page.locator(".lines li")
    await expect(rows).to_have_text(
        [
            "Red-skin peanuts, 5 kg × 2¥59.80",
            "Shipping¥10.00",
            f"Gift to {HOSTILE}¥20.00",
            f"Rounded up, to {HOSTILE}¥0.20",
            "Total¥90.00",
            "Tax included¥4.94",
            "Returned so far¥29.90",
        ]
    )
    await expect(page.locator("#receipt")).to_contain_text("Send it back within 7 days")
    assert await page.locator("main img, body script").count() == 0
    assert await fits(page)
    await page.screenshot(path=shot("order-page-receipt"), full_page=True)


async def test_asking_back_some_units_and_withdrawing(
    open_page: Open, backend: Backend, page_url: str
) -> None:
    backend.reply("GET", PATH, (200, order("PAID", contact_given=True)))
    backend.reply("POST", f"{PATH}/refund-requests", (201, REQUEST))
    page = await open_page(page_url)
    await unfold(page, "ask-back")
    part = page.locator("#ask-back")
    await part.get_by_label("Only some units").check()
    await part.get_by_role("button", name="Ask").click()
    await expect(page.get_by_text("Choose how many units.")).to_be_visible()
    await part.get_by_label("Red-skin peanuts, 5 kg: how many").fill("1")
    await part.get_by_label("Why?").fill(HOSTILE)
    await page.screenshot(path=shot("order-page-ask"), full_page=True)
    backend.reply("GET", f"{PATH}/refund-requests", (200, {"items": [REQUEST], "next": None}))
    await part.get_by_role("button", name="Ask").click()
    await expect(part.get_by_text("You asked for this to be taken back.")).to_be_visible()
    [(_, body)] = backend.calls("POST", f"{PATH}/refund-requests")
    assert body == {"lines": [{"sku": "PEANUT-5KG", "quantity": 1}], "reason": HOSTILE}
    gone = REQUEST | {"state": "WITHDRAWN"}
    backend.reply("DELETE", f"{PATH}/refund-requests", (200, {}))
    backend.reply("GET", f"{PATH}/refund-requests", (200, {"items": [gone], "next": None}))
    await part.locator("#withdraw").click()
    await expect(part.get_by_text("Red-skin peanuts, 5 kg × 1. Withdrawn")).to_be_visible()


async def test_the_secret_link_opens_the_same_order_without_an_account(
    open_page: Open, backend: Backend, page_url: str, payable: dict[str, Any]
) -> None:
    link = f"{backend.base}/order#{TOKEN}"
    backend.reply("GET", PATH, (200, payable))
    backend.reply("GET", f"{PATH}/link", (200, {"url": link}))
    mine = await open_page(page_url)
    await unfold(mine, "link")
    await mine.get_by_role("button", name="Show the link").click()
    await expect(mine.locator("#order-link")).to_have_text(link)
    held = await open_page(link)
    await expect(held.locator("#receipt")).to_contain_text("Red-skin peanuts, 5 kg × 2")
    # No card form where no provider's script may run: Stripe's own page is the way to pay.
    await expect(held.locator("#checkout")).to_have_text("Pay on Stripe's page")
    await expect(held.locator("#pay")).to_have_count(0)
    await expect(held.locator("#link")).to_have_count(0)
    bearers = {
        headers.get("authorization")
        for m, p, headers, _ in backend.asked
        if (m, p) == ("GET", PATH)
    }
    assert f"Bearer {TOKEN}" in bearers
    # The token is stored nowhere; a reload still finds it in the address alone.
    stored = "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])"
    assert TOKEN not in await held.evaluate(stored)
    await held.reload()
    await expect(held.locator("#receipt")).to_be_visible()
    assert await fits(held)
    await held.screenshot(path=shot("order-page-held"), full_page=True)


async def test_a_link_that_opens_nothing_says_so(
    open_page: Open, backend: Backend, watch: Watch
) -> None:
    watch.forgiven = ("status of 401",)
    backend.reply("GET", PATH, (401, {"code": "unauthorized", "detail": "no"}))
    for token in ("", "ord_1", "../../me.ff", HOSTILE):
        page = await open_page(f"{backend.base}/order#{token}")
        await expect(page.get_by_text("This link opens no order")).to_be_visible()
    page = await open_page(f"{backend.base}/order#{TOKEN}")
    await expect(page.get_by_text("This order is not here")).to_be_visible()


async def test_words_are_changed_and_erased_and_data_is_given_out_and_erased(
    open_page: Open, backend: Backend, page_url: str, watch: Watch
) -> None:
    watch.forgiven = ("status of 409",)
    backend.reply("GET", PATH, (200, gift("PAID", display="PENDING_REVIEW")))
    data = {"order_id": ORDER, "contact": None, "message": {"message": HOSTILE}}
    backend.reply("GET", f"{PATH}/data", (200, data))
    backend.reply("PUT", f"{PATH}/message", (200, {"display": "ANONYMOUS"}))
    in_use = (409, {"code": "contact_in_use", "detail": "a parcel needs it"})
    erased = (200, {"contacts": 1, "messages": 1})
    backend.reply("DELETE", f"{PATH}/data", in_use, erased)
    page = await open_page(page_url)
    await expect(page.locator(".verdict")).to_contain_text("Your gift has arrived. Thank you!")
    await unfold(page, "said")
    await expect(page.locator("#said")).to_contain_text("wait to be looked at")
    await page.locator("#said").get_by_label("A message").fill(HOSTILE)
    await page.locator("#said").get_by_role("button", name="Save").click()
    await expect(page.get_by_text("Saved.")).to_be_visible()
    [(_, body)] = backend.calls("PUT", f"{PATH}/message")
    assert body == {"message": HOSTILE, "show": False}
    await unfold(page, "data")
    async with page.expect_download() as download:
        await page.get_by_role("button", name="Download").click()
    given = await (await download.value).path()
    assert json.loads(Path(given).read_text("utf-8")) == data
    for words in ("its address is still needed", "Erased."):
        await page.locator("#erase").click()
        await page.locator("#dialog-yes").click()
        await expect(page.get_by_text(words)).to_be_visible()
        if await page.locator("#data").get_attribute("open") is None:
            await unfold(page, "data")
    assert await page.locator("main img, body script").count() == 0
    await page.screenshot(path=shot("order-page-gift"), full_page=True)


async def test_in_chinese_the_order_speaks_chinese(
    open_page: Open, backend: Backend, page_url: str, payable: dict[str, Any]
) -> None:
    backend.storefront = dict(FRONT)
    backend.reply("GET", PATH, (200, payable))
    page = await open_page(page_url, locale="zh-CN")
    await expect(page.locator("#pay")).to_have_text("支付 ¥59.80")
    await expect(page.locator("#receipt")).to_contain_text("七天无理由退货。")
    await expect(page.locator("#cancel")).to_have_text("取消订单…")
    await expect(page.locator("#checkout")).to_have_text("改到 Stripe 官方页面付款")
    assert await fits(page)
