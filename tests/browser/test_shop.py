"""The shop and the pay page in a real browser, in the moments that decide whether people trust them.

A shopper is never told "failed" while it is not known, one attempt is never two orders, and a reload forgets nothing.
"""

import json
import time
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import Open, Watch, shot
from tests.browser.scripted_backend import Backend
from tests.browser.story import FRONT, ORDER, STOCK, STREAM, order, rfc3339

pytestmark = pytest.mark.browser

ORDERS = f"streams/{STREAM}/orders"
UNKNOWN = (503, {"code": "unclear", "detail": "repeat", "retry_after_ms": 60})


def problem(status: int, code: str, **members: Any) -> tuple[int, dict[str, Any]]:
    return status, {"status": status, "code": code, "detail": f"refused: {code}", **members}


@pytest.fixture
def shop(backend: Backend) -> str:
    backend.reply("GET", f"orders/{ORDER}", (200, order("RESERVED", ahead=811, minutes=4)))
    backend.reply("POST", ORDERS, (201, order("RESERVED")))
    return f"{backend.base}/shop/{STREAM}"


async def choose_two(page: Page) -> None:
    plus = page.locator("[data-sku=PEANUT-5KG] .stepper button").last
    await plus.click()
    await plus.click()


def refusals(*codes: int) -> tuple[str, ...]:
    return tuple(f"status of {code}" for code in codes)


async def test_buying_sends_what_was_chosen_and_leads_to_the_address(
    open_page: Open, backend: Backend, shop: str
) -> None:
    page = await open_page(shop)
    await expect(page.locator("#buy")).to_be_disabled()
    await choose_two(page)
    await expect(page.locator("[data-sku=PEANUT-5KG] .stepper button").last).to_be_disabled()
    await expect(page.locator("#buy")).to_have_text("Buy · ¥59.80")
    await page.screenshot(path=shot("shop"))
    await page.locator("#buy").click()
    await expect(page.locator("form")).to_be_visible()
    await page.screenshot(path=shot("order-contact"))
    [(headers, body)] = backend.calls("POST", ORDERS)
    assert body == {"lines": [{"sku": "PEANUT-5KG", "quantity": 2}]}
    assert headers["authorization"] == "Bearer shopper-token"
    assert len(headers["idempotency-key"]) == 32
    assert f"order={ORDER}" in page.url


async def test_not_knowing_is_repeated_under_the_same_key_and_never_called_failed(
    open_page: Open, backend: Backend, shop: str, watch: Watch
) -> None:
    watch.forgiven = refusals(503, 429)
    busy = (429, {"code": "busy", "detail": "wait", "retry_after_ms": 60})
    backend.reply("POST", ORDERS, UNKNOWN, busy, UNKNOWN, (201, order("RESERVED")))
    page = await open_page(shop)
    await choose_two(page)
    await page.locator("#buy").click()
    await expect(page.locator("#buy")).to_have_text("Checking…")
    await expect(page.get_by_text("it can only count once")).to_be_visible()
    await expect(page.locator("form")).to_be_visible()
    calls = backend.calls("POST", ORDERS)
    assert len(calls) == 4
    assert len({headers["idempotency-key"] for headers, _ in calls}) == 1


async def test_a_reload_in_the_middle_finishes_the_same_attempt(
    open_page: Open, backend: Backend, shop: str, watch: Watch
) -> None:
    watch.forgiven = (*refusals(503), "ERR_ABORTED")
    backend.reply("POST", ORDERS, UNKNOWN)
    page = await open_page(shop)
    await choose_two(page)
    await page.locator("#buy").click()
    await expect(page.get_by_text("it can only count once")).to_be_visible()
    backend.reply("POST", ORDERS, (201, order("RESERVED")))
    await page.reload()
    await expect(page.locator("form")).to_be_visible()
    calls = backend.calls("POST", ORDERS)
    assert len({headers["idempotency-key"] for headers, _ in calls}) == 1
    assert len({json.dumps(body) for _, body in calls}) == 1
    # The attempt is over: the next one has a key of its own.
    await page.get_by_role("button", name="Back to the shop").click()
    await choose_two(page)
    await page.locator("#buy").click()
    await expect(page.locator("form")).to_be_visible()
    assert len({headers["idempotency-key"] for headers, _ in backend.calls("POST", ORDERS)}) == 2


async def test_the_network_going_away_is_no_failure_either(
    open_page: Open, backend: Backend, shop: str, watch: Watch
) -> None:
    watch.forgiven = ("ERR_INTERNET_DISCONNECTED",)
    page = await open_page(shop)
    await choose_two(page)
    await page.context.set_offline(True)
    await page.locator("#buy").click()
    await expect(page.get_by_text("it can only count once")).to_be_visible()
    await page.context.set_offline(False)
    await expect(page.locator("form")).to_be_visible(timeout=15_000)
    assert len(backend.calls("POST", ORDERS)) == 1


async def test_all_held_is_watched_and_told_when_units_come_back(
    open_page: Open, backend: Backend, shop: str, watch: Watch
) -> None:
    watch.forgiven = refusals(409)
    backend.reply("POST", ORDERS, problem(409, "sold_out", left=0, final=False))
    page = await open_page(shop)
    await choose_two(page)
    await page.locator("#buy").click()
    await expect(page.get_by_text("units may come back")).to_be_visible()
    peanuts = STOCK["items"][0]
    held = peanuts | {"left": 0, "reserved": 8417}
    await backend.say(f"stream/{STREAM}/stock", items=[held], sold_out_at=None)
    await expect(page.locator("[data-sku=PEANUT-5KG]")).to_contain_text("All held now")
    await page.screenshot(path=shot("shop-all-held"))
    back = peanuts | {"left": 12, "reserved": 8405}
    await backend.say(f"stream/{STREAM}/stock", items=[back], sold_out_at=None)
    await expect(page.get_by_text("Some units came back")).to_be_visible()
    await expect(page.locator("#buy")).to_be_enabled()


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        (problem(409, "sold_out", left=0, final=True), "every unit has found a home"),
        (
            problem(409, "limit_exceeded", limit=2, yours=1),
            "One person can have 2 of this, and you already have 1.",
        ),
        (problem(410, "sale_closed"), "This sale has closed."),
        (problem(410, "key_aborted"), "nothing was held. You can buy again"),
        (problem(422, "invalid"), "That was not possible: refused: invalid"),
    ],
)
async def test_each_refusal_is_said_in_plain_words(
    open_page: Open,
    backend: Backend,
    shop: str,
    watch: Watch,
    refusal: tuple[int, dict[str, Any]],
    words: str,
) -> None:
    watch.forgiven = refusals(refusal[0])
    backend.reply("POST", ORDERS, refusal)
    page = await open_page(shop)
    await choose_two(page)
    await page.locator("#buy").click()
    await expect(page.locator(".checkout .note")).to_contain_text(words)
    assert await page.evaluate(f"localStorage.getItem('se.attempt.{STREAM}')") is None


async def test_too_early_counts_down_by_the_server_and_opens_by_itself(
    open_page: Open, backend: Backend, shop: str, watch: Watch
) -> None:
    watch.forgiven = refusals(425)
    backend.replies["POST", ORDERS] = lambda _: problem(
        425, "not_open", opens_at=rfc3339(time.time() + 5)
    )
    page = await open_page(shop)
    await choose_two(page)
    await page.locator("#buy").click()
    await expect(page.locator("#buy")).to_contain_text("Opens in 0:0")
    await expect(page.locator("#buy")).to_be_disabled()
    await expect(page.locator("#buy")).to_have_text("Buy · ¥59.80", timeout=9000)
    await expect(page.locator("#buy")).to_be_enabled()


async def test_address_then_queue_then_pay_each_after_a_reload(
    open_page: Open, backend: Backend, shop: str
) -> None:
    page = await open_page(f"{shop}?order={ORDER}")
    await expect(page.get_by_text("Payment opens in about 4 min.")).to_be_visible()
    backend.reply("PUT", f"orders/{ORDER}/contact", (200, {}))
    await page.get_by_label("Name").fill("  <b>Wang Fang</b> ")
    await page.get_by_label("Phone or e-mail").fill("139 0000 0000")
    await page.get_by_role("button", name="Save and go on").click()
    await expect(page.get_by_text("Please fill this in completely.")).to_be_visible()
    await page.get_by_label("Delivery address").fill("12 Peanut Road, Zhengyang")
    queued = order("RESERVED", ahead=811, minutes=4, contact_given=True)
    backend.reply("GET", f"orders/{ORDER}", (200, queued))
    await page.get_by_role("button", name="Save and go on").click()
    await expect(page.locator("form")).to_be_hidden()
    [(_, body)] = backend.calls("PUT", f"orders/{ORDER}/contact")
    assert body["name"] == "<b>Wang Fang</b>"
    await page.screenshot(path=shot("order-queue"))
    pay_by = rfc3339(time.time() + 560)
    turn = order("AWAITING_PAYMENT", contact_given=True, pay_by=pay_by)
    backend.reply("GET", f"orders/{ORDER}", (200, turn))
    await page.reload()
    await expect(page.locator("#go-pay")).to_have_text("Pay ¥59.80")
    await expect(page.locator(".clock")).to_contain_text("Held for another 9:")
    await page.screenshot(path=shot("order-to-pay"))


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("PAID", "Paid. Thank you!"),
        ("PROCESSING", "Checking your payment"),
        ("EXPIRING", "Checking your payment"),
        ("CANCELLING", "nothing is charged"),
        ("EXPIRED", "Nothing was charged."),
        ("CANCELLED", "Nothing was charged."),
        ("LATE_PAID", "You get the bags, or all your money back."),
        ("REFUND_PENDING", "Your refund is on its way"),
        ("REFUND_FAILED", "The money is with us"),
        ("REFUNDED", "Your money has been returned."),
        ("PART_REFUNDED", "Paid, and partly returned"),
        ("DISPUTED", "The bank is looking into this payment."),
    ],
)
async def test_every_state_of_an_order_has_its_words(
    open_page: Open, backend: Backend, shop: str, state: str, words: str
) -> None:
    backend.reply("GET", f"orders/{ORDER}", (200, order(state, contact_given=True)))
    page = await open_page(f"{shop}?order={ORDER}")
    await expect(page.locator("main")).to_contain_text(words)
    assert "fail" not in (await page.locator("main").inner_text()).lower().replace(
        "not a failure", ""
    )
    await page.screenshot(path=shot(f"order-{state.lower()}"))


async def test_a_decline_says_so_and_leaves_the_form(
    open_page: Open, backend: Backend, shop: str
) -> None:
    pay_by = rfc3339(time.time() + 560)
    turn = order("AWAITING_PAYMENT", contact_given=True, pay_by=pay_by)
    backend.reply("GET", f"orders/{ORDER}", (200, turn))
    declined = {"state": "AWAITING_PAYMENT", "payment": {"status": "declined"}, "tries_left": 2}
    backend.reply("POST", f"orders/{ORDER}/pay", (200, declined))
    page = await open_page(f"{backend.base}/pay/{ORDER}")
    await page.locator("#pay").click()
    await expect(
        page.get_by_text("nothing was charged; try another. 2 more tries.")
    ).to_be_visible()
    await expect(page.locator("#pay")).to_be_enabled()
    assert backend.calls("POST", f"orders/{ORDER}/pay")[0][1] == {
        "confirmation_token": "ctoken_test"
    }
    paid = {"state": "PAID", "payment": {"status": "succeeded"}, "tries_left": 2}
    backend.reply("POST", f"orders/{ORDER}/pay", (200, paid))
    backend.reply("GET", f"orders/{ORDER}", (200, turn), (200, order("PAID", contact_given=True)))
    await page.locator("#pay").click()
    await expect(page.get_by_text("Paid. Thank you!")).to_be_visible()


async def test_an_unknown_payment_is_checking_until_the_order_says(
    open_page: Open, backend: Backend, shop: str
) -> None:
    turn = order("AWAITING_PAYMENT", contact_given=True, pay_by=rfc3339(time.time() + 560))
    checking = turn | {"payment": {"status": "checking"}}
    backend.reply("GET", f"orders/{ORDER}", (200, turn))
    answer = {"state": "AWAITING_PAYMENT", "payment": {"status": "checking"}, "tries_left": 2}
    backend.reply("POST", f"orders/{ORDER}/pay", (200, answer))
    page = await open_page(f"{backend.base}/pay/{ORDER}")
    await expect(page.locator("#pay")).to_be_enabled()
    backend.reply("GET", f"orders/{ORDER}", (200, checking))
    await page.locator("#pay").click()
    await expect(page.get_by_text("Checking your payment")).to_be_visible()
    # Also somebody who reloads now must not find a form that invites to pay twice.
    await page.reload()
    await expect(page.get_by_text("Checking your payment")).to_be_visible()
    await page.wait_for_timeout(2500)
    await expect(page.get_by_text("Checking your payment")).to_be_visible()
    backend.reply("GET", f"orders/{ORDER}", (200, order("PAID", contact_given=True)))
    await expect(page.get_by_text("Paid. Thank you!")).to_be_visible()


async def test_a_poll_does_not_take_the_form_away_while_an_answer_is_awaited(
    open_page: Open, backend: Backend, shop: str, watch: Watch
) -> None:
    watch.forgiven = refusals(503)
    turn = order("AWAITING_PAYMENT", contact_given=True, pay_by=rfc3339(time.time() + 560))
    backend.reply("GET", f"orders/{ORDER}", (200, turn))
    page = await open_page(f"{backend.base}/pay/{ORDER}")
    await expect(page.locator("#pay")).to_be_enabled()
    later = (503, {"code": "pay_later", "detail": "later", "retry_after_ms": 4000})
    declined = {"state": "AWAITING_PAYMENT", "payment": {"status": "declined"}, "tries_left": 1}
    backend.reply("POST", f"orders/{ORDER}/pay", later, (200, declined))
    # The server has begun the attempt, and a poll says so before the answer does.
    backend.reply("GET", f"orders/{ORDER}", (200, turn | {"payment": {"status": "checking"}}))
    await page.locator("#pay").click()
    await page.wait_for_timeout(2500)
    await expect(page.locator("#pay")).to_have_text("Checking…")
    backend.reply("GET", f"orders/{ORDER}", (200, turn | {"payment": {"status": "declined"}}))
    await expect(page.get_by_text("nothing was charged; try another. 1 more tries.")).to_be_visible(
        timeout=8000
    )


async def test_chinese_is_chinese_and_the_switch_switches(
    open_page: Open, backend: Backend, shop: str
) -> None:
    page = await open_page(shop, locale="zh-CN")
    await expect(page.locator("h1")).to_have_text("正阳花生专场")
    await page.get_by_role("button", name="English").click()
    await expect(page.locator("h1")).to_have_text("Zhengyang peanuts, live with the county")
    await page.goto(f"{shop}?locale=zh-CN")
    await expect(page.locator("h1")).to_have_text("正阳花生专场")


async def test_works_by_keyboard_alone(open_page: Open, backend: Backend, shop: str) -> None:
    page = await open_page(shop)
    await page.locator("[data-sku=PEANUT-5KG]").wait_for()
    for _ in range(12):
        await page.keyboard.press("Tab")
        if await page.evaluate("document.activeElement.matches('[data-sku=PEANUT-5KG] button')"):
            break
    await page.keyboard.press("Enter")
    await page.locator("#buy").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("form")).to_be_visible()
    [(_, body)] = backend.calls("POST", ORDERS)
    assert body == {"lines": [{"sku": "PEANUT-5KG", "quantity": 1}]}


async def test_an_unknown_stream_is_a_friendly_page(
    open_page: Open, backend: Backend, watch: Watch
) -> None:
    watch.forgiven = refusals(404)
    page = await open_page(f"{backend.base}/shop/str_gone")
    await expect(page.get_by_text("There is no such stream")).to_be_visible()


async def test_hostile_names_stay_text(open_page: Open, backend: Backend, shop: str) -> None:
    hostile = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    offer = FRONT["offers"][0] | {
        "name": hostile,
        "unit": hostile,
        "farmer": {"id": "frm_1", "name": hostile, "name_zh": None, "place": hostile},
        "beneficiary": {"id": "ben_1", "name": hostile, "name_zh": None},
    }
    host = {"id": "hst_1", "name": hostile}
    backend.storefront = FRONT | {"title": hostile, "host": host, "offers": [offer]}
    page = await open_page(shop)
    await expect(page.locator(".offer h2")).to_have_text(hostile)
    assert await page.locator("main img, body script").count() == 0


async def test_fits_into_sixty_kilobytes(
    open_page: Open, backend: Backend, shop: str, watch: Watch
) -> None:
    watch.forgiven = ("favicon.ico",)
    page = await open_page(backend.base + "/static/none/icon.svg")
    sizes: list[int] = []

    async def note(response: Any) -> None:
        sizes.append((await response.request.sizes())["responseBodySize"])

    page.on("response", note)
    await page.goto(shop)
    await expect(page.locator("h1")).to_be_visible()
    await page.wait_for_load_state("networkidle")
    assert 10_000 < sum(sizes) <= 60_000
