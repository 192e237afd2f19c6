"""The widgets about people: alerts, ticker, leaderboard, match, farmer, credits, in a real browser.

An alert is shown once and then not again, a name is thanked once and none is left out, and whatever a host stops
is off the screen at once.
"""

import asyncio
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import Open, Watch, shot
from tests.browser.people import (
    BOARD,
    BURST,
    CREDITS,
    FARMERS,
    GIFT,
    LEADERS,
    NAMES,
    alerts,
    instant,
    leaders,
    named,
    on_air,
    pot,
    tell,
    tell_all,
)
from tests.browser.scripted_backend import Backend
from tests.browser.story import STREAM
from tests.browser.test_overlay import put_on_stage

pytestmark = pytest.mark.browser

SHOWN = f"streams/{STREAM}/alerts/main/shown"
TOP = "[data-state=in]"


async def overlay(
    open_page: Open, backend: Backend, widget: str, size: tuple[int, int] = (960, 540)
) -> Page:
    """Open a widget, with its parameters behind a question mark."""
    return await open_page(f"{backend.base}/overlay/{widget}#se_overlay_key", *size)


async def told_shown(backend: Backend) -> list[Any]:
    """Return the airings that were said to be shown, once everything under way has arrived."""
    await asyncio.sleep(0.4)
    return [body["airing"] for _, body in backend.calls("POST", SHOWN)]


async def test_an_alert_is_said_to_be_shown_once_and_is_not_shown_again(
    open_page: Open, backend: Backend
) -> None:
    await tell_all(backend)
    page = await overlay(open_page, backend, "alerts")
    await expect(page.locator("html[data-empty]")).to_have_count(1)
    alert = on_air(ends_at=instant(30))
    await tell(backend, "alerts/main", **alerts(alert))
    card = page.locator(f".alert{TOP}")
    await expect(card.locator(".who")).to_have_text("Li Na")
    await expect(card.locator(".deed")).to_have_text("bought 2 bags ¥59.80")
    await expect(card.locator(".product")).to_have_text("Red-skin peanuts, 5 kg")
    # The same one again, now with the mark that it was shown, and once more after a cut: still the one card.
    await tell(backend, "alerts/main", **alerts(alert | {"shown": True}))
    await backend.cut()
    await asyncio.sleep(1.8)
    await expect(card).to_have_count(1)
    assert await told_shown(backend) == ["air_1"]
    # After a refresh it is on air still, and was seen: the stage stays empty until the next one.
    await page.reload()
    await expect(page.locator("html[data-empty]")).to_have_count(1)
    await asyncio.sleep(0.5)
    assert await page.locator(".alert").count() == 0
    await tell(backend, "alerts/main", **alerts(on_air("air_2", name=None, shown=False)))
    await expect(card.locator(".who")).to_have_text("Somebody kind")
    assert await told_shown(backend) == ["air_1", "air_2"]


async def test_an_alert_ends_by_the_servers_clock_or_by_the_next_frame(
    open_page: Open, backend: Backend
) -> None:
    await tell_all(backend)
    page = await overlay(open_page, backend, "alerts?anim=off")
    card = page.locator(f".alert{TOP}")
    await tell(backend, "alerts/main", **alerts(on_air(ends_at=instant(1.2))))
    await expect(card).to_be_visible()
    await expect(page.locator(".alert")).to_have_count(0, timeout=2500)
    await tell(backend, "alerts/main", **alerts(on_air("air_2")))
    await expect(card).to_have_attribute("data-airing", "air_2")
    await tell(backend, "alerts/main", **alerts(on_air("air_3")))
    await expect(card).to_have_attribute("data-airing", "air_3")
    assert await page.locator(".alert").count() == 1
    await tell(backend, "alerts/main", **alerts(None))
    await expect(page.locator(".alert")).to_have_count(0)
    # One that is over when it arrives is not shown, and nobody is told that it was.
    await tell(backend, "alerts/main", **alerts(on_air("air_4", ends_at=instant(-0.5))))
    assert await told_shown(backend) == ["air_1", "air_2", "air_3"]
    assert await page.locator(".alert").count() == 0


async def test_panic_and_mute_clear_the_screen_at_once_and_even_when_delayed(
    open_page: Open, backend: Backend
) -> None:
    await tell_all(backend)
    page = await overlay(open_page, backend, "alerts")
    slow = await overlay(open_page, backend, "alerts?delay_ms=1500")
    for n, switch in enumerate(("panic", "muted")):
        await asyncio.sleep(0.2)
        alert = on_air(f"air_{n}", ends_at=instant(20))
        await tell(backend, "alerts/main", **alerts(alert))
        for one in (page, slow):
            await expect(one.locator(f".alert{TOP}")).to_be_visible()
        await one.evaluate(
            """() => new MutationObserver((_, self) => {
                if (document.querySelector(".alert")) return;
                document.documentElement.dataset.cleared = performance.now();
                self.disconnect();
            }).observe(document.body, { childList: true, subtree: true })"""
        )
        before = await slow.evaluate("performance.now()")
        await tell(backend, "alerts/main", **alerts(alert, **{switch: True}))
        for one in (page, slow):
            await expect(one.locator(".alert")).to_have_count(0, timeout=1000)
        after = await slow.evaluate("Number(document.documentElement.dataset.cleared)")
        assert after - before < 300
        # It is over: when the switch is turned back, it does not come again.
        await tell(backend, "alerts/main", **alerts(alert))
        await asyncio.sleep(0.3)
        assert await page.locator(".alert").count() == 0


async def test_a_delayed_alert_waits_and_one_that_is_over_by_then_is_dropped(
    open_page: Open, backend: Backend
) -> None:
    await tell_all(backend)
    page = await overlay(open_page, backend, "alerts?delay_ms=800")
    await asyncio.sleep(1.2)
    await tell(backend, "alerts/main", **alerts(on_air("air_1", ends_at=instant(0.6))))
    await asyncio.sleep(0.2)
    await tell(backend, "alerts/main", **alerts(on_air("air_2", ends_at=instant(5))))
    assert await page.locator(".alert").count() == 0
    await expect(page.locator(f".alert{TOP}")).to_have_attribute("data-airing", "air_2")
    assert await told_shown(backend) == ["air_2"]


async def test_a_rush_is_one_alert_and_words_keep_to_three_lines(
    open_page: Open, backend: Backend, watch: Watch
) -> None:
    watch.forgiven = ("AudioContext",)
    await tell_all(backend)
    page = await overlay(open_page, backend, "alerts?sound=chime")
    await page.evaluate(
        """() => {
            const begin = OscillatorNode.prototype.start;
            OscillatorNode.prototype.start = function (...at) {
                document.documentElement.dataset.notes = Number(document.documentElement.dataset.notes || 0) + 1;
                begin.apply(this, at);
            };
            document.body.click();
        }"""
    )
    await tell(backend, "alerts/main", **alerts(on_air(**BURST)))
    card = page.locator(f".alert{TOP}")
    await expect(card.locator(".crowd")).to_have_text("×214 bags in 3 s")
    await expect(card.locator(".newest")).to_have_text("newest Li Na")
    await expect(card.locator(".notes")).to_contain_text("131 orders")
    await tell(backend, "alerts/main", **alerts(on_air(**(BURST | {"units": 215, "name": "Wu"}))))
    await expect(card.locator(".crowd b")).to_have_text("×215")
    await expect(card.locator(".newest")).to_have_text("newest Wu")
    long = GIFT | {"message": "for the children " * 40, "dedication": "a long line " * 30}
    await tell(backend, "alerts/main", **alerts(on_air("air_2", **long, sound=None)))
    await expect(card).to_have_attribute("data-airing", "air_2")
    message = card.locator(".message")
    lines = "(n) => n.clientHeight / parseFloat(getComputedStyle(n).lineHeight)"
    assert round(await message.evaluate(lines)) == 3
    assert round(await card.locator(".dedication").evaluate(lines)) == 1
    await tell(backend, "alerts/main", **alerts(on_air("air_3", kind="test")))
    await expect(card.locator(".mark-test")).to_have_text("TEST")


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
    await page.wait_for_function("() => window.passed.length >= 20", timeout=15_000)
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
    page = await overlay(open_page, backend, "credits?speed=40&columns=6&size=stage")
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


async def test_look_right_on_the_stage(open_page: Open, backend: Backend) -> None:
    await tell_all(backend)
    await tell(backend, "names", **NAMES)
    await tell(backend, "alerts/main", **alerts(on_air("air_9", **GIFT, ends_at=instant(60))))
    vertical = (540, 960)
    for name, size in (
        ("alerts?theme=paper", (960, 540)),
        ("alerts?layout=vertical&locale=zh-CN", vertical),
        ("ticker?theme=day&anim=off", (960, 540)),
        ("leaderboard", (960, 540)),
        ("match?layout=vertical&theme=paper", vertical),
        ("farmer?theme=day", (960, 540)),
        ("farmer?layout=vertical", vertical),
    ):
        page = await overlay(open_page, backend, name, size)
        card = page.locator("#card[data-state=shown]")
        await expect(card).to_be_visible()
        box = await card.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["y"] >= 0
        assert box["x"] + box["width"] <= size[0]
        assert box["y"] + box["height"] <= size[1]
        await put_on_stage(page)
        await page.wait_for_timeout(650)
        await page.screenshot(path=shot("people-" + name.translate(str.maketrans("?=&", "---"))))
        await page.close()
