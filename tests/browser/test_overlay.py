"""The all-in-one overlay in a real browser: it shows the newest frame and nothing else, says when it is old, and comes back.

A host has it in front of an audience for a night, so each test is about something an audience would see.
"""

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import Open, Watch, leap, shot
from tests.browser.scripted_backend import EPOCH, Backend
from tests.browser.story import BOARD, STOCK, STREAM, TALLY

pytestmark = pytest.mark.browser

TOPIC = f"stream/{STREAM}/tally"
STAGE = Path(__file__).with_name("stage.svg")


@pytest.fixture
def overlay_key(backend: Backend) -> str:
    me = {"id": "prn_1", "role": "overlay", "stream_id": STREAM}
    backend.reply("GET", "me", (200, me))
    return "se_overlay_key"


async def shown(page: Page) -> str:
    """Return the amount on the reels, read off what they are turned to."""
    return await page.locator("#raised").evaluate(
        """(node) => [...node.querySelectorAll(".symbol, .digit, .mark")].map((part) =>
            part.classList.contains("digit")
              ? part.firstChild.style.getPropertyValue("--shown")
              : part.textContent).join("")"""
    )


async def put_on_stage(page: Page) -> None:
    """Put a picture of a studio behind the transparent page, as OBS would."""
    picture = f"data:image/svg+xml,{quote(STAGE.read_text('utf-8'))}"
    await page.evaluate(
        """(url) => {
            document.documentElement.style.background = `center / cover url("${url}")`;
        }""",
        picture,
    )


async def open_overlay(open_page: Open, backend: Backend, key: str, query: str = "") -> Page:
    page = await open_page(f"{backend.base}/overlay/all{query}#{key}", 1920, 1080)
    await expect(page.locator("#card[data-state=shown]")).to_be_visible()
    return page


async def test_shows_the_frame_to_the_minor_unit(
    open_page: Open, backend: Backend, overlay_key: str
) -> None:
    page = await open_overlay(open_page, backend, overlay_key)
    await expect(page.locator("#raised")).to_have_attribute("aria-label", "¥12,845.60")
    assert await shown(page) == "¥12,845.60"
    await expect(page.locator("#percent")).to_have_text("25%")
    product = page.locator(".product")
    await expect(product.locator(".name")).to_have_text("Red-skin peanuts, 5 kg")
    await expect(product.locator(".price")).to_have_text("¥29.90 per bag")
    await expect(product.locator(".left")).to_have_text("7,213 bags left")
    await expect(page.locator(".milestones .gap")).to_have_text("37 bags to go")
    await expect(page.locator(".stock")).to_be_hidden()
    # With nothing pinned, the whole stall is shown in its place.
    await backend.say(f"stream/{STREAM}/board", **(BOARD | {"pinned_sku": None}))
    await expect(product).to_be_hidden()
    await expect(page.locator("li[data-sku=PEANUT-5KG] .left")).to_have_text("7,213 / 11,483")
    await expect(page.locator("li[data-sku=PEANUT-5KG] .name")).to_have_text(
        "Red-skin peanuts, 5 kg"
    )
    await expect(page.locator("[data-sku=HOT-SAUCE] .stamp")).to_have_text("SOLD OUT")
    # Each with its own time, where the books know it.
    times = {"PEANUT-5KG": 3_600_000, "HOT-SAUCE": 117_300}
    gone = [
        item | {"left": 0, "reserved": 0, "sold_out_in_ms": times.get(item["sku"])}
        for item in STOCK["items"]
    ]
    await backend.say(f"stream/{STREAM}/stock", **(STOCK | {"items": gone}))
    for sku, text in (
        ("PEANUT-5KG", " IN 1:00:00"),
        ("HOT-SAUCE", " IN 1:58"),
        ("CHESTNUT-2KG", ""),
    ):
        await expect(page.locator(f"li[data-sku={sku}] .stamp")).to_have_text(f"SOLD OUT{text}")
    await page.screenshot(path=shot("overlay-sold-out-times"), animations="disabled")
    await expect(page.locator("#test")).to_be_visible()
    bearer = backend.calls("POST", "socket-tickets")[0][0]["authorization"]
    assert bearer == f"Bearer {overlay_key}"


async def test_a_growing_total_rolls_to_exactly_the_new_one(
    open_page: Open, backend: Backend, overlay_key: str
) -> None:
    page = await open_overlay(open_page, backend, overlay_key)
    for raised, text in (
        (1_284_561, "¥12,845.61"),
        (99_999_999, "¥999,999.99"),
        (100_000_000, "¥1,000,000.00"),
    ):
        await backend.say(TOPIC, **(TALLY | {"raised_minor": raised}))
        await expect(page.locator("#raised")).to_have_attribute("aria-label", text)
        assert await shown(page) == text
    # A refund takes it down again: fewer places, no digit left over.
    await backend.say(TOPIC, **(TALLY | {"raised_minor": 2_50}))
    await expect(page.locator("#raised")).to_have_attribute("aria-label", "¥2.50")
    assert await shown(page) == "¥2.50"


async def test_a_correction_is_said_and_not_slipped_in(
    open_page: Open, backend: Backend, overlay_key: str
) -> None:
    page = await open_overlay(open_page, backend, overlay_key)
    dip = page.locator(".dip")
    await backend.say(TOPIC, **(TALLY | {"raised_minor": 1_290_000}))
    await expect(page.locator("#raised")).to_have_attribute("aria-label", "¥12,900.00")
    await expect(dip).to_be_hidden()
    await backend.say(TOPIC, **(TALLY | {"raised_minor": 1_287_010}))
    await expect(dip).to_have_text("corrected −¥29.90")
    await expect(page.locator("#raised")).to_have_attribute("aria-label", "¥12,870.10")
    # A second one while the first is still said: the whole way down from where the fall began.
    await backend.say(TOPIC, **(TALLY | {"raised_minor": 1_286_562}))
    await expect(dip).to_have_text("corrected −¥34.38")
    total = await page.locator("#raised").bounding_box()
    note = await dip.bounding_box()
    assert total is not None
    assert note is not None
    assert note["y"] + note["height"] <= total["y"] + 2
    await put_on_stage(page)
    await page.screenshot(path=shot("overlay-corrected"))
    await leap(page, 9_000)
    await backend.say(TOPIC, **(TALLY | {"raised_minor": 1_286_562, "seq": TALLY["seq"] + 1}))
    await expect(dip).to_be_hidden()
    # An older frame that comes late is no correction, and neither is growth.
    await backend.send(TOPIC, EPOCH, 2, TALLY | {"raised_minor": 100})
    await backend.send(TOPIC, EPOCH, 50, TALLY | {"raised_minor": 1_300_000})
    await expect(page.locator("#raised")).to_have_attribute("aria-label", "¥13,000.00")
    await expect(dip).to_be_hidden()


async def test_an_older_frame_changes_nothing(
    open_page: Open, backend: Backend, overlay_key: str
) -> None:
    page = await open_overlay(open_page, backend, overlay_key)
    await backend.send(TOPIC, EPOCH, 9, TALLY | {"raised_minor": 900_00})
    await expect(page.locator("#raised")).to_have_attribute("aria-label", "¥900.00")
    for epoch, version in ((EPOCH, 8), (EPOCH, 9), (EPOCH - 1, 99)):
        await backend.send(TOPIC, epoch, version, TALLY | {"raised_minor": 111_00})
    await backend.send(TOPIC, EPOCH + 1, 1, TALLY | {"raised_minor": 700_00})
    await expect(page.locator("#raised")).to_have_attribute("aria-label", "¥700.00")
    await backend.send(TOPIC, EPOCH, 10, TALLY | {"raised_minor": 111_00})
    await backend.say(f"stream/{STREAM}/stock", **STOCK)
    await asyncio.sleep(0.3)
    assert await page.locator("#raised").get_attribute("aria-label") == "¥700.00"


async def test_comes_back_with_a_new_ticket_and_the_newest_state(
    open_page: Open, backend: Backend, overlay_key: str
) -> None:
    page = await open_overlay(open_page, backend, overlay_key)
    await backend.cut()
    await backend.send(TOPIC, EPOCH, 50, TALLY | {"raised_minor": 5_000_000})
    await expect(page.locator("#raised")).to_have_attribute(
        "aria-label", "¥50,000.00", timeout=8000
    )
    await expect(page.locator(".goal")).to_have_class("goal reached")
    assert len(backend.calls("POST", "socket-tickets")) == 2


async def test_silence_is_marked_and_the_last_state_stays(
    open_page: Open, backend: Backend, overlay_key: str
) -> None:
    page = await open_overlay(open_page, backend, overlay_key)
    dashed = await open_overlay(open_page, backend, overlay_key, "?fallback=dash")
    backend.silent = True
    for one in (page, dashed):
        await expect(one.locator("#link")).to_be_hidden()
        await leap(one, 9_500)
    await expect(page.locator("#link")).to_be_visible()
    await expect(page.locator("#link")).to_contain_text("NOT LIVE")
    assert await shown(page) == "¥12,845.60"
    await page.screenshot(path=shot("overlay-stale"))
    await expect(dashed.locator("#raised")).to_have_attribute("aria-label", "—", timeout=3000)
    backend.silent = False
    await expect(page.locator("#link")).to_be_hidden(timeout=8000)


async def test_a_revoked_key_is_said_on_the_page(
    open_page: Open, backend: Backend, watch: Watch
) -> None:
    watch.forgiven = ("401 (Unauthorized)",)
    backend.reply("GET", "me", (401, {"code": "unauthorized", "detail": "no"}))
    page = await open_page(f"{backend.base}/overlay/all#old", 1920, 1080)
    await expect(page.locator("#notice")).to_contain_text("no longer accepted")
    await expect(page.locator("#card")).to_have_attribute("data-state", "waiting")
    # It stays said, however often the page looks at itself.
    await asyncio.sleep(1.2)
    await expect(page.locator("#notice")).to_be_visible()


async def test_names_are_text_and_parameters_are_checked(
    open_page: Open, backend: Backend, overlay_key: str
) -> None:
    hostile = (
        "<img src=x onerror=alert(1)><script>alert(2)</script>{{7*7}}\"'><svg onload=alert(3)>"
    )
    cards: list[dict[str, Any]] = [BOARD["cards"][0] | {"name": hostile}, *BOARD["cards"][1:]]
    await backend.say(f"stream/{STREAM}/board", **(BOARD | {"cards": cards}))
    await backend.say(f"stream/{STREAM}/status", state="live", title=hostile, title_zh=None)
    query = "?accent=red;}*{display:none&theme=javascript:alert(1)&scale=999&layout=<b>&debug=1"
    page = await open_overlay(open_page, backend, overlay_key, query)
    await expect(page.locator("#title")).to_have_text(hostile)
    await expect(page.locator(".product .name")).to_have_text(hostile)
    # The QR code and the drawing of the product are ours.
    own = "body img:not(.qr-code), body script, body svg:not(.art)"
    assert await page.locator(own).count() == 0
    root = page.locator("html")
    assert await root.get_attribute("data-theme") == "night"
    assert await root.get_attribute("data-layout") == "landscape"
    assert (await root.get_attribute("style") or "").split(":")[0] == "--unit"
    await expect(page.locator("#debug li")).to_have_count(4)
    await expect(page.locator("#debug")).to_contain_text("Ignored: accent=red;}*{display:none")
