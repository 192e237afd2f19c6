"""The farmer's page, the host's console, the front page and the wrong turn, in a real browser."""

import time
from typing import Any

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Open, Watch, shot
from tests.browser.scripted_backend import Backend
from tests.browser.story import FRONT, STREAM, rfc3339

pytestmark = pytest.mark.browser

FARMER = "frm_1"
SALES = f"farmer/{FARMER}/sales"
NOTHING_YET = {"units": 0, "income_minor": 0, "currency": None, "last": []}


def sales(units: int) -> dict[str, Any]:
    line = {"order": "A1B2C3", "sku": "PEANUT-5KG", "quantity": 2, "amount_minor": 4782}
    last = [line | {"kind": "capture", "at": rfc3339(time.time() - n * 7)} for n in range(5)]
    returned = line | {"kind": "refund", "quantity": -2, "amount_minor": -4782}
    last.append(returned | {"at": rfc3339(time.time() - 60)})
    fee = {"kind": "stripe_fee", "sku": "", "quantity": 0, "amount_minor": -93}
    last.append(line | fee | {"at": rfc3339(time.time() - 61)})
    return {"units": units, "income_minor": units * 2391, "currency": "CNY", "last": last}


@pytest.fixture
def farm(backend: Backend) -> str:
    me = {"id": "prn_1", "role": "farmer", "farmer_id": FARMER}
    backend.reply("GET", "me", (200, me))
    backend.reply("GET", f"farmers/{FARMER}/summary", (200, NOTHING_YET))
    return f"{backend.base}/farmer#key"


async def test_the_farmer_sees_zero_then_every_sale(
    open_page: Open, backend: Backend, farm: str
) -> None:
    page = await open_page(farm)
    await expect(page.locator("#units")).to_have_text("0")
    await expect(page.locator("#last")).to_contain_text("No orders yet")
    await backend.say(SALES, **sales(3066))
    await expect(page.locator("#units")).to_have_text("3,066")
    await expect(page.locator("#income")).to_have_text("¥73,308.06")
    await expect(page.locator("#last li").nth(-2)).to_contain_text("Refund: PEANUT-5KG × -2")
    await expect(page.locator("#last li span").nth(-2)).to_have_text("Payment fee")
    await page.screenshot(path=shot("farmer"))


@pytest.mark.slow
async def test_without_a_connection_the_farmer_sees_the_last_state_and_its_age(
    open_page: Open, backend: Backend, farm: str, watch: Watch
) -> None:
    watch.forgiven = ("WebSocket", "status of 503", "ERR_")
    page = await open_page(farm)
    await backend.say(SALES, **sales(12))
    await expect(page.locator("#units")).to_have_text("12")
    gone = (503, {"code": "unavailable", "detail": "later", "retry_after_ms": 5000})
    backend.reply("POST", "socket-tickets", gone)
    backend.reply("GET", f"farmers/{FARMER}/summary", gone)
    await backend.cut()
    await page.reload()
    await expect(page.locator("#units")).to_have_text("12")
    await expect(page.locator(".age")).to_contain_text("This is how it stood")
    await page.screenshot(path=shot("farmer-offline"))


async def test_the_farmers_page_fits_into_twenty_kilobytes(
    open_page: Open, backend: Backend, farm: str, watch: Watch
) -> None:
    watch.forgiven = ("favicon.ico",)
    page = await open_page(f"{backend.base}/static/none/icon.svg")
    sizes: list[int] = []

    async def note(response: Any) -> None:
        sizes.append((await response.request.sizes())["responseBodySize"])

    page.on("response", note)
    await page.goto(farm)
    await expect(page.locator("#units")).to_have_text("0")
    await page.wait_for_load_state("networkidle")
    assert 5_000 < sum(sizes) <= 20_000


async def test_a_key_that_is_not_a_farmers_is_asked_for_again(
    open_page: Open, backend: Backend
) -> None:
    backend.reply("GET", "me", (200, {"id": "prn_1", "role": "host", "host_id": "hst_1"}))
    page = await open_page(f"{backend.base}/farmer#key")
    await expect(page.get_by_text("This key is not accepted here")).to_be_visible()


async def test_the_console_tells_when_the_books_are_not_read(
    open_page: Open, backend: Backend
) -> None:
    backend.reply("GET", "me", (200, {"id": "prn_1", "role": "host", "host_id": "hst_1"}))
    stream = {key: FRONT[key] for key in ("id", "title", "title_zh", "state", "goal_minor")}
    streams = {"items": [stream | {"host_id": "hst_1"}], "next": None}
    backend.reply("GET", "streams", (200, streams))
    backend.reply("GET", "principals", (200, {"items": [], "next": None}))
    viewers = {"overlay": 1, "shop": 4120, "farmer": 3, "console": 1}
    screen = f"streams/{STREAM}/screen"
    backend.reply("GET", screen, (200, {"frames": [], "looked_age_ms": 90, "viewers": viewers}))
    page = await open_page(f"{backend.base}/console#key")
    await expect(page.locator("#age")).to_contain_text("connection alive")
    await expect(page.locator("#viewers-shop")).to_have_text("4,120")
    await page.screenshot(path=shot("console-phone"), full_page=True)
    backend.reply("GET", screen, (200, {"frames": [], "looked_age_ms": None, "viewers": None}))
    await expect(page.locator("#age")).to_contain_text("the books are not being read", timeout=8000)
    await expect(page.locator("#viewers-shop")).to_have_text("—")


async def test_the_front_page_lists_what_is_on(open_page: Open, backend: Backend) -> None:
    def stream(name: str, state: str) -> dict[str, Any]:
        return {
            "id": f"str_{name}",
            "title": name,
            "title_zh": None,
            "state": state,
            "host": FRONT["host"],
        }

    streams = [stream("old", "settled"), stream("later", "scheduled"), stream("now", "live")]
    backend.reply("GET", "streams", (200, {"items": streams, "next": None}))
    page = await open_page(f"{backend.base}/")
    await expect(page.locator("h2")).to_have_text(["now", "later"])
    await expect(page.get_by_role("link", name="To the shop").first).to_have_attribute(
        "href", "/shop/str_now"
    )
    backend.reply("GET", "streams", (200, {"items": [], "next": None}))
    await page.reload()
    await expect(page.get_by_text("No stream is on right now")).to_be_visible()


async def test_a_wrong_turn_is_a_page_with_a_way_back(
    open_page: Open, backend: Backend, watch: Watch
) -> None:
    watch.forgiven = ("status of 404",)
    for path in ("/nowhere", "/overlay/clock", "/shop"):
        page = await open_page(backend.base + path)
        await expect(page.get_by_text("There is nothing here")).to_be_visible()
        await expect(page.get_by_role("link", name="To the front page")).to_be_visible()
