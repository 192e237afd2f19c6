"""The widgets about people in a real browser: ticker, leaderboard, match, farmer, credits.

A name is thanked once, and none is left out.
"""

import asyncio

import pytest
from playwright.async_api import expect

from tests.browser.conftest import FASTER, Open
from tests.browser.people import (
    BOARD,
    CREDITS,
    FARMERS,
    LEADERS,
    instant,
    leaders,
    named,
    overlay,
    pot,
    tell,
    tell_all,
)
from tests.browser.scripted_backend import Backend
from tests.browser.story import STREAM

pytestmark = pytest.mark.browser

SHOWN = f"streams/{STREAM}/alerts/main/shown"
TOP = "[data-state=in]"


async def test_every_name_passes_once_in_order_and_the_page_stays_small(
    open_page: Open, backend: Backend
) -> None:
    await tell_all(backend)
    pages = {
        f"streams/{STREAM}/names": [
            (200, {"items": named(61, 120), "count": 130}),
            (200, {"items": named(121, 130), "count": 130}),
        ]
    }
    await tell(backend, "names", count=60, newest=named(49, 60))
    for path, answers in pages.items():
        backend.reply("GET", path, *answers)
    page = await overlay(open_page, backend, "ticker?speed=40")
    await expect(page.locator("[data-n]").first).to_be_visible()
    await page.evaluate(
        """() => {
            window.passed = [];
            window.most = 0;
            for (const node of document.querySelectorAll("[data-n]")) window.passed.push(Number(node.dataset.n));
            const strip = document.querySelector(".strip");
            new MutationObserver((all) => {
                for (const { addedNodes } of all) for (const node of addedNodes) window.passed.push(Number(node.dataset.n));
                window.most = Math.max(window.most, strip.children.length);
            }).observe(strip, { childList: true });
        }"""
    )
    # Seventy more were approved while nobody looked: the topic tells of the last twelve only.
    await tell(backend, "names", count=130, newest=named(119, 130))
    await expect(page.locator(".tab b")).to_have_text("130")
    await page.wait_for_function("() => window.passed.length >= 15", timeout=15_000)
    passed = await page.evaluate("window.passed")
    assert passed == list(range(passed[0], passed[0] + len(passed)))
    assert passed[0] == 49
    assert await page.evaluate("window.most") < 30
    # Hidden by a moderator: gone from the strip, wherever it is.
    gone = await page.evaluate("() => window.passed.at(-1)")
    left = [one for one in named(gone - 3, gone + 8) if one["n"] != gone]
    await tell(backend, "names", count=129, newest=left)
    await expect(page.locator(f'[data-n="{gone}"]')).to_have_css("visibility", "hidden")


async def test_the_board_changes_places_and_says_when_it_is_free(
    open_page: Open, backend: Backend
) -> None:
    await tell_all(backend)
    page = await overlay(open_page, backend, "leaderboard?n=3")
    rows = page.locator(".leaderboard li")
    await expect(rows).to_have_count(3)
    await expect(rows.first).to_contain_text("Li Na¥8,888")
    over = leaders(888_800, 520_000, 288_850)
    over[1]["amount_minor"] = 900_000
    over.sort(key=lambda one: -one["amount_minor"])
    await tell(backend, "leaders", **(LEADERS | {"stream": over}))
    await expect(rows.first).to_contain_text("张伟¥9,000")
    await expect(rows.nth(1)).to_contain_text("Li Na")
    # Two people of one name are two rows.
    twins = [{"name": "Li Na", "amount_minor": minor, "orders": 1} for minor in (900, 800)]
    await tell(backend, "leaders", **(LEADERS | {"stream": twins}))
    await expect(rows).to_have_count(2)
    await tell(backend, "leaders", **(LEADERS | {"stream": []}))
    await expect(page.locator(".none")).to_contain_text("The first place is free")
    hour = await overlay(open_page, backend, "leaderboard?window=1h&n=9")
    await expect(hour.locator("li")).to_have_count(2)
    await expect(hour.locator("h2")).to_contain_text("last hour")


async def test_the_match_says_what_is_left_and_for_how_long(
    open_page: Open, backend: Backend
) -> None:
    await tell_all(backend)
    page = await overlay(open_page, backend, "match")
    await expect(page.locator(".times")).to_have_text("×2")
    await expect(page.locator(".pot")).to_contain_text("¥43,210 left in the pot of ¥50,000")
    await expect(page.locator(".until")).to_contain_text("ends in 12:3")
    await expect(page.locator(".bar")).to_have_attribute("aria-valuenow", "86")
    thrice = pot(id="mat_2", ratio_bp=15_000, ends_at=None, covers="all", sponsor="A & B")
    used = pot(left_minor=0)
    await tell(backend, "matches", currency="CNY", items=[used, thrice])
    await expect(page.locator(".times")).to_have_text("×2.5")
    await expect(page.locator(".sponsor")).to_have_text("by A & B")
    await expect(page.locator(".until")).to_be_hidden()
    soon = pot(id="mat_3", on=False, starts_at=instant(95))
    await tell(backend, "matches", currency="CNY", items=[used, soon])
    await expect(page.locator(".match")).to_have_attribute("data-stage", "next")
    await expect(page.locator(".until")).to_contain_text("begins in 1:3")
    await tell(backend, "matches", currency="CNY", items=[used])
    await expect(page.locator(".what")).to_contain_text("used up")
    await tell(backend, "matches", currency="CNY", items=[])
    await expect(page.locator("#card")).to_have_attribute("data-state", "waiting")


async def test_the_farmer_is_the_pinned_products(open_page: Open, backend: Backend) -> None:
    await tell_all(backend)
    page = await overlay(open_page, backend, "farmer")
    await expect(page.locator(".farmer .name")).to_have_text("Zhengyang Growers")
    await expect(page.locator(".farmer .figure")).to_have_attribute("aria-label", "¥216,720.24")
    await expect(page.locator(".farmer .sold")).to_have_text("9,064 bags sold")
    other = await overlay(open_page, backend, "farmer?farmer=frm_2&locale=zh-CN")
    await expect(other.locator(".farmer .name")).to_have_text("迁西栗农")
    await expect(other.locator(".farmer .sold")).to_have_text("已售 1 袋")
    chestnut = BOARD["cards"][1] | {"farmer": {**BOARD["cards"][1]["farmer"], "id": "frm_2"}}
    board = BOARD | {"pinned_sku": "CHESTNUT-2KG", "cards": [BOARD["cards"][0], chestnut]}
    await tell(backend, "board", **board)
    await expect(page.locator(".farmer .name")).to_have_text("Qianxi Chestnut Families")
    empty = FARMERS["items"][1] | {"units": 0, "income_minor": 0}
    await tell(backend, "farmers", **(FARMERS | {"items": [empty]}))
    await expect(page.locator(".farmer .sold")).to_have_text("The first one is still to be sold")


async def test_the_credits_roll_every_name_and_end_on_the_ledgers_sums(
    open_page: Open, backend: Backend
) -> None:
    await tell_all(backend)
    await tell(backend, "names", count=30, newest=named(25, 30))
    names = f"streams/{STREAM}/names"
    backend.reply("GET", names, (200, {"items": named(1, 30), "count": 30}))
    page = await overlay(
        open_page, backend, "credits?speed=40&columns=6&size=stage", (960, 240), FASTER
    )
    seen: list[int] = []
    final = page.locator(".final")
    for _ in range(120):
        seen += await page.locator(".credits [data-n]").evaluate_all(
            "(nodes) => nodes.map((node) => Number(node.dataset.n))"
        )
        if await final.is_visible():
            break
        await asyncio.sleep(0.1)
    assert set(seen) == set(range(1, 31))
    await expect(final.locator(".raised")).to_have_text("¥12,845.60")
    await expect(final.locator(".seq")).to_have_text(f"as of ledger #{CREDITS['seq']}")
    await expect(final).to_contain_text("everybody who gave without a name")
    # When the scene comes back it begins anew.
    await page.evaluate(
        "dispatchEvent(new CustomEvent('obsSourceActiveChanged', { detail: { active: true } }))"
    )
    await expect(page.locator(".credits .head")).to_be_attached()
    await expect(final).to_be_hidden()
    still = await overlay(open_page, backend, "credits?anim=off")
    await expect(still.locator(".head")).to_be_visible()
    await expect(still.locator(".row")).not_to_have_count(0)
    assert await still.evaluate("document.getAnimations().length") == 0
