"""The console's money panel and the mailbox in a real browser: what is given back is said with its amount first.

Two clicks, an answer that never came and a second operator must not give the same money back twice; the page's part
in that is one key for one wish, kept until it is known what became of it.
"""

from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import Open, Watch, shot
from tests.browser.fingers import fits
from tests.browser.scripted_backend import Backend
from tests.browser.story import CAMPAIGN, FRONT, MATCH, ORDER, STREAM, TALLY, order

pytestmark = pytest.mark.browser

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"
PATH = f"orders/{ORDER}"
REFUNDS = f"{PATH}/refunds"
REQUESTS = f"streams/{STREAM}/refund-requests"
REQUEST: dict[str, Any] = {
    "id": "rrq_1",
    "order_id": ORDER,
    "lines": [{"sku": "PEANUT-5KG", "quantity": 1}],
    "reason": f"The bag was torn. {HOSTILE}",
    "state": "OPEN",
    "refund_id": None,
    "created_at": "2026-11-22T12:00:00.000Z",
    "decided_at": None,
}
LIFE: dict[str, Any] = {
    "order_id": ORDER,
    "kind": "goods",
    "state": "PAID",
    "received_minor": 5980,
    "refunded_minor": 0,
    "disputed_minor": 0,
    "contact_given": True,
    "complete": True,
    "items": [
        {
            "at": "2026-11-22T12:00:00.000Z",
            "code": "placed",
            "text": f"Placed {HOSTILE}",
            "data": {},
        },
        {"at": "2026-11-22T12:01:00.000Z", "code": "state", "text": "It is paid.", "data": {}},
    ],
}


def money(minor: int) -> dict[str, Any]:
    return {"amount_minor": minor, "currency": "CNY"}


def made(minor: int) -> tuple[int, dict[str, Any]]:
    return 201, {"refund": {"id": "rfd_1", "amount": money(minor)}, "refundable": money(0)}


@pytest.fixture
def console(backend: Backend) -> str:
    backend.reply("GET", "me", (200, {"id": "prn_1", "role": "host", "host_id": "hst_1"}))
    stream = {key: FRONT[key] for key in ("id", "title", "title_zh", "state", "goal_minor")}
    backend.reply("GET", "streams", (200, {"items": [stream | {"host_id": "hst_1"}], "next": None}))
    backend.reply("GET", "principals", (200, {"items": [], "next": None}))
    screen = {"frames": [], "looked_age_ms": 90, "viewers": {}}
    backend.reply("GET", f"streams/{STREAM}/screen", (200, screen))
    over = MATCH | {"id": "mat_2", "sponsor": HOSTILE, "ends_at": "2026-01-01T00:00:00.000Z"}
    later = MATCH | {"starts_at": "2026-01-01T00:00:00.000Z", "ends_at": None}
    matches = {"items": [later, over], "next": None}
    backend.reply("GET", f"campaigns/{CAMPAIGN}/matches", (200, matches))
    backend.reply("GET", REQUESTS, (200, {"items": [REQUEST], "next": None}))
    backend.reply("GET", PATH, (200, order("PAID", contact_given=True)))
    backend.reply("GET", f"{PATH}/explain", (200, LIFE))
    backend.reply("GET", REFUNDS, (200, {"items": [], "refundable": money(5980)}))
    return f"{backend.base}/console#key"


async def open_desk(open_page: Open, console: str, width: int = 1280, height: int = 900) -> Page:
    page = await open_page(console, width, height)
    # Not before the page has all it shows at first: it would move away from under the finger.
    await expect(page.locator("#age")).to_contain_text("connection alive")
    await page.locator("#money > summary").click()
    await expect(page.locator("#money[open]")).to_have_count(1)
    return page


async def test_the_panel_is_folded_and_its_number_calls(
    open_page: Open, backend: Backend, console: str
) -> None:
    parts = {"gifts": 41, "gifts_minor": 205_000, "matched_minor": 100_000}
    await backend.say(f"stream/{STREAM}/tally", **(TALLY | parts))
    page = await open_page(console, 1280, 900)
    await expect(page.locator("#to-decide")).to_have_text("1 to decide")
    await expect(page.locator("#requests")).to_be_hidden()
    await page.locator("#money > summary").click()
    await expect(page.locator("#money-gifts")).to_have_text("41")
    await expect(page.locator("#money-giftsMinor")).to_have_text("¥2,050.00")
    await expect(page.locator("#money-matched")).to_have_text("¥1,000.00")
    await expect(page.locator("[data-request=rrq_1]")).to_contain_text(f"torn. {HOSTILE}")
    await expect(page.locator("#matches li")).to_have_count(2)
    await expect(page.locator("#matches li").first).to_contain_text("doubled by Golden Mill")
    await expect(page.locator("#matches li").last).to_contain_text("Ended")
    assert await page.locator("main img, body script").count() == 0
    await page.screenshot(path=shot("desk"), full_page=True)


async def test_a_wish_is_granted_with_its_amount_and_its_name(
    open_page: Open, backend: Backend, console: str
) -> None:
    backend.reply("POST", REFUNDS, made(2990))
    page = await open_desk(open_page, console)
    card = page.locator("[data-request=rrq_1]")
    await card.get_by_label("Put the units back on sale").check()
    await card.get_by_label("Reason").select_option("quality")
    await card.get_by_role("button", name="Accept…").click()
    await expect(page.locator("dialog h2")).to_have_text("Give ¥29.90 back?")
    await expect(page.locator("dialog")).to_contain_text("Red-skin peanuts, 5 kg × 1 of order")
    await expect(page.locator("dialog")).to_contain_text("The units go back on sale.")
    await page.screenshot(path=shot("desk-accept"))
    backend.reply("GET", REQUESTS, (200, {"items": [], "next": None}))
    await page.locator("#dialog-yes").click()
    await expect(page.get_by_text("¥29.90 is on its way back.")).to_be_visible()
    await expect(page.get_by_text("Nobody asks for money back.")).to_be_visible()
    await expect(page.locator("#to-decide")).to_be_hidden()
    [(headers, body)] = backend.calls("POST", REFUNDS)
    assert body == {
        "lines": [{"sku": "PEANUT-5KG", "quantity": 1}],
        "reason": "quality",
        "restock": True,
        "request_id": "rrq_1",
    }
    assert len(headers["idempotency-key"]) == 32


async def test_a_wish_is_declined_only_after_a_yes(
    open_page: Open, backend: Backend, console: str
) -> None:
    path = f"{PATH}/refund-requests/rrq_1/decline"
    backend.reply("POST", path, (200, {}))
    page = await open_desk(open_page, console)
    await page.get_by_role("button", name="Decline…").click()
    await page.keyboard.press("Escape")
    assert backend.calls("POST", path) == []
    await page.get_by_role("button", name="Decline…").click()
    backend.reply("GET", REQUESTS, (200, {"items": [], "next": None}))
    await page.locator("#dialog-yes").click()
    await expect(page.get_by_text("Declined.")).to_be_visible()
    assert len(backend.calls("POST", path)) == 1


async def look_up(page: Page, order_id: str = ORDER) -> None:
    await page.get_by_label("Its id (ord_…)").fill(order_id)
    await page.get_by_role("button", name="Look up").click()


async def test_an_order_tells_its_life_and_gives_back_in_four_ways(
    open_page: Open, backend: Backend, console: str
) -> None:
    named = {"kind": "gift", "beneficiary_id": "ben_1", "name": "Gear", "name_zh": None}
    told = order("PAID", contact_given=True, gifts=[named | {"amount_minor": 500}])
    backend.reply("GET", PATH, (200, told))
    backend.reply("POST", REFUNDS, made(2990))
    page = await open_desk(open_page, console)
    await look_up(page)
    found = page.locator("#found")
    await expect(found).to_contain_text("Order 2M5ABC · ¥59.80")
    await found.get_by_text("Its life").click()
    await expect(found).to_contain_text(f"Placed {HOSTILE}")
    await page.screenshot(path=shot("desk-order"), full_page=True)
    wishes: list[tuple[str, str, dict[str, Any], str]] = [
        ("All that is left", "", {"all": True, "restock": False}, "Give ¥59.80 back?"),
        (
            "Some units",
            "Red-skin peanuts, 5 kg: how many of 2",
            {"lines": [{"sku": "PEANUT-5KG", "quantity": 1}], "restock": False},
            "Give ¥29.90 back?",
        ),
        ("An amount", "Amount in CNY", {"amount_minor": 100}, "Give ¥1.00 back?"),
        ("The gifts", "", {"gift": True}, "Give all that is left of the gifts back?"),
    ]
    for choice, field, body, words in wishes:
        await found.get_by_label(choice, exact=True).check()
        if field:
            await found.get_by_label(field).fill("1")
        await page.locator("#refund").click()
        await expect(page.locator("dialog h2")).to_have_text(words)
        await found.locator("form").evaluate("form => { form.dataset.old = 'yes'; }")
        await page.locator("#dialog-yes").click()
        # The order is read anew, and with it comes a new form.
        await expect(found.locator("form[data-old]")).to_have_count(0)
        await expect(page.locator("#refund")).to_be_enabled()
        assert backend.calls("POST", REFUNDS)[-1][1] == body | {"reason": "goodwill"}
    keys = [headers["idempotency-key"] for headers, _ in backend.calls("POST", REFUNDS)]
    assert len(set(keys)) == len(keys) == 4
    assert await page.locator("main img, body script").count() == 0


async def test_not_knowing_keeps_the_key_and_knowing_makes_a_new_one(
    open_page: Open, backend: Backend, console: str, watch: Watch
) -> None:
    watch.forgiven = ("status of 503", "status of 409")
    unclear = (503, {"code": "unclear", "detail": "repeat"})
    more = (409, {"code": "more_than_left", "detail": "That is more than is left to give back."})
    backend.reply("POST", REFUNDS, unclear, more, made(5980))
    page = await open_desk(open_page, console)
    await look_up(page)
    for said in ("nothing may have changed", "more than is left", "is on its way back"):
        await page.locator("#refund").click()
        await page.locator("#dialog-yes").click()
        await expect(page.locator(".toast")).to_contain_text(said)
        await expect(page.locator("#refund")).to_be_enabled()
    keys = [headers["idempotency-key"] for headers, _ in backend.calls("POST", REFUNDS)]
    assert keys[0] == keys[1]
    assert keys[1] != keys[2]


async def test_an_id_that_is_none_or_anothers_is_said_to_be(
    open_page: Open, backend: Backend, console: str, watch: Watch
) -> None:
    watch.forgiven = ("status of 404",)
    page = await open_desk(open_page, console)
    for text in ("", "pi_123", "ord_../me", HOSTILE):
        await look_up(page, text)
        await expect(page.get_by_text("An id begins with ord_.")).to_be_visible()
    await look_up(page, "ord_another")
    await expect(page.get_by_text("There is no such order among yours.")).to_be_visible()


async def test_the_desk_fits_a_phone_and_speaks_chinese(
    open_page: Open, backend: Backend, console: str
) -> None:
    page = await open_page(console, locale="zh-CN")
    await page.get_by_role("button", name="资金").click()
    await expect(page.locator("#to-decide")).to_have_text("1 项待处理")
    await page.locator("[data-do=look]").click()
    await expect(page.locator("#found")).to_contain_text("可退金额")
    assert await fits(page)
    await page.screenshot(path=shot("desk-phone-zh"), full_page=True)


async def test_the_mailbox_shows_letters_as_text_and_links_only_to_us(
    open_page: Open, backend: Backend
) -> None:
    letter = {
        "id": "let_1",
        "order_id": ORDER,
        "to": f"li@example.org {HOSTILE}",
        "subject": f"[TEST] Receipt {HOSTILE}",
        "body": f"Hello\n{HOSTILE}\n{backend.base}/order#ord_1.ff\nhttps://evil.example/order#x\n",
        "created_at": "2026-11-22T12:00:00.000Z",
    }
    backend.reply("GET", "mailbox", (200, {"items": [letter], "next": None}))
    page = await open_page(f"{backend.base}/mailbox#key")
    await expect(page.locator("pre")).to_contain_text(HOSTILE)
    await expect(page.locator("pre a")).to_have_attribute("href", f"{backend.base}/order#ord_1.ff")
    assert await page.locator("pre a").count() == 1
    assert await page.locator("main img, body script").count() == 0
    await page.screenshot(path=shot("mailbox"))
    newer = letter | {"id": "let_2", "subject": "Refund"}
    backend.reply("GET", "mailbox", (200, {"items": [newer, letter], "next": None}))
    await expect(page.locator("summary").first).to_have_text("Refund", timeout=9000)


async def test_the_mailbox_wants_an_operators_key(
    open_page: Open, backend: Backend, watch: Watch
) -> None:
    watch.forgiven = ("status of 403",)
    backend.reply("GET", "mailbox", (403, {"code": "forbidden", "detail": "no"}))
    page = await open_page(f"{backend.base}/mailbox#key")
    await expect(page.get_by_text("This key is not accepted here")).to_be_visible()
