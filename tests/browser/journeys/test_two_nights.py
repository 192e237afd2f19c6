"""Two nights of one host in a real browser: on the first a gift's words go through all hands, on the second it is rehearsed.

Nothing is scripted but the fingers. What a shopper wrote is let through on the moderators' page, stands in the alert,
is read from the console and listed as shown; then the next night's console plays that night again, and no real figure
moves by it.
"""

from typing import Any, Final

import httpx
import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import Open, Watch, shot
from tests.browser.deployment import Deployment, Night, open_next, open_night, take_gifts
from tests.browser.fingers import HOSTILE, LONG_MS, pay_with

pytestmark = [pytest.mark.browser, pytest.mark.slow]

NAME: Final = f"Wu {HOSTILE}"
MESSAGE: Final = f"I sold peanuts here in 1962. {HOSTILE}"
# A page keeps each total and each badge that it ever showed, one after the other.
KEEPING: Final = """addEventListener("DOMContentLoaded", () => {
    window.kept = { raised: [], badges: [] };
    const keep = (list, text) => { if (text && list.at(-1) !== text) list.push(text); };
    const look = () => {
        keep(window.kept.raised, document.getElementById("raised")?.getAttribute("aria-label"));
        const badge = document.getElementById("test");
        keep(window.kept.badges, badge.hidden ? "" : badge.textContent);
    };
    const what = { subtree: true, childList: true, characterData: true, attributeFilter: ["aria-label", "hidden"] };
    new MutationObserver(look).observe(document, what);
});"""


async def give(shop: Page, words: bool) -> None:
    """Give ¥50 without goods, with words for the stream or without any, and pay."""
    donate = shop.locator("#donate")
    await donate.locator("summary").first.click()
    await donate.get_by_role("button", name="¥50", exact=True).click()
    if words:
        await donate.get_by_text("Name, message, dedication").click()
        await donate.get_by_label("Your name").fill(NAME)
        await donate.get_by_label("A message").fill(MESSAGE)
        await donate.get_by_label("Show these words").check()
    await shop.locator("#give").click()
    await expect(shop.locator("#number")).to_be_visible(timeout=LONG_MS)
    await pay_with(shop, "success")
    await expect(shop.get_by_text("Your gift has arrived")).to_be_visible(timeout=LONG_MS)
    await shop.close()


async def invited(console: Page) -> str:
    """Invite a moderator from the console; returns the address of the link."""
    await console.locator("#section-setup").get_by_label("Name").fill("An")
    await console.locator("[data-do=invite]").click()
    await console.locator("#section-setup [data-do=reveal]:visible").click()
    return await console.locator("#moderate-url").inner_text()


async def figures(deployment: Deployment, *nights: Night) -> Any:
    """Return the tallies of these nights as they are published, with their versions."""
    topics = ",".join(f"stream/{night.stream_id}/tally" for night in nights)
    async with httpx.AsyncClient(base_url=deployment.url) as client:
        answer = await client.get("/v1/feed", params={"topics": topics})
    assert answer.is_success, answer.text
    return answer.json()["frames"]


async def kept(page: Page) -> dict[str, list[str]]:
    found: dict[str, list[str]] = await page.evaluate("() => window.kept")
    return found


@pytest.mark.sweep
async def test_words_are_let_through_shown_read_and_listed_then_the_night_is_rehearsed(
    open_page: Open, deployment: Deployment, pages: Watch
) -> None:
    url = deployment.url
    night = await open_night(deployment, title="First night", total=5, names="farm")
    await take_gifts(deployment, night, words="of the mill")
    console = await open_page(f"{url}/console#{night.host_key}", 1920, 1080)
    alerts = await open_page(f"{url}/overlay/alerts#{night.overlay_key}", 960, 540)
    await give(await open_page(f"{url}/shop/{night.stream_id}"), words=True)
    await words_go_through_all_hands(open_page, console, alerts)
    await give(await open_page(f"{url}/shop/{night.stream_id}"), words=False)
    # Each gift is doubled by the sponsor.
    await expect(console.locator("#screen-raised")).to_have_text("¥200.00", timeout=LONG_MS)
    await console.locator("#next").click()
    await console.locator("#dialog-yes").click()
    await expect(console.locator("#state")).to_have_text("Ended", timeout=LONG_MS)
    await alerts.close()

    tonight = await open_next(deployment, night, title="Second night")
    await console.reload()
    await expect(console.locator("#life h1")).to_have_text("Second night", timeout=LONG_MS)
    before = await figures(deployment, night, tonight)
    await the_night_is_rehearsed(open_page, console, f"{url}/overlay/all", tonight.overlay_key)
    assert await figures(deployment, night, tonight) == before
    await expect(console.locator("#screen-raised")).to_have_text("¥0.00")


async def words_go_through_all_hands(open_page: Open, console: Page, alerts: Page) -> None:
    """Meet what was written in review, on screen, in the reading queue and in the list of what was shown."""
    moderating = await open_page(await invited(console))
    item = moderating.locator(".review-item")
    await expect(item).to_contain_text(MESSAGE, timeout=LONG_MS)
    await expect(moderating.locator("#to-review")).to_have_text("1 waiting")
    # Nobody has let it pass: it is on no screen, and there is nothing to read.
    assert "1962" not in await alerts.locator("body").inner_text()
    await expect(console.locator("#reading")).to_contain_text("Nothing to read")
    await item.get_by_role("button", name="Approve").click()
    await expect(moderating.locator(".toast")).to_have_text("Shown.")
    await expect(alerts.locator(".message")).to_have_text(MESSAGE, timeout=LONG_MS)
    await expect(alerts.locator(".who")).to_have_text(NAME)
    await expect(alerts.locator(".alert")).to_have_css("opacity", "1")
    await alerts.screenshot(path=shot("two-nights-alert"))
    await expect(console.locator("#airing")).to_contain_text(f"{NAME} · ¥50.00")
    await expect(moderating.get_by_text("Nothing waits.")).to_be_visible(timeout=LONG_MS)

    await expect(console.locator("#unread")).to_have_text("1 unread", timeout=LONG_MS)
    await expect(console.locator("#reading")).to_contain_text(MESSAGE)
    await expect(console.locator("#reading")).to_contain_text(f"{NAME} · ¥50.00")
    await console.screenshot(path=shot("two-nights-reading"))
    await console.locator("[data-do=read]").click()
    await expect(console.locator("#reading")).to_contain_text("Nothing to read", timeout=LONG_MS)
    await expect(console.locator("#unread")).to_have_text("0 unread", timeout=LONG_MS)
    await console.get_by_text("What was shown").click()
    row = console.locator("#airings li")
    await expect(row).to_have_count(1)
    await expect(row).to_contain_text("gift · ¥50.00")
    await expect(row).to_contain_text("ms from payment")
    for page in (console, moderating, alerts):
        assert await page.locator("main img, #card img, body script").count() == 0
    await moderating.close()


async def the_night_is_rehearsed(open_page: Open, console: Page, overlay: str, key: str) -> None:
    """Play the first night over the second one's screens, ten times as fast, and stop it."""
    real = await open_page(f"{overlay}#{key}", 960, 540, before=KEEPING)
    test = await open_page(f"{overlay}?test=1#{key}", 960, 540, before=KEEPING)
    await expect(real.locator("#raised")).to_have_attribute("aria-label", "¥0.00", timeout=LONG_MS)
    await expect(test.locator("#test")).to_have_text("NO REHEARSAL RUNNING", timeout=LONG_MS)
    rehearsal = console.locator("#rehearsal")
    await expect(rehearsal.get_by_label("Play again")).to_contain_text("First night — Ended")
    await rehearsal.get_by_label("Speed").select_option("10")
    await console.locator("[data-do=rehearse]").click()
    await expect(console.locator("#rehearsing")).to_contain_text("REHEARSAL", timeout=LONG_MS)
    raised = test.locator("#raised")
    await expect(raised).to_have_attribute("aria-label", "¥200.00", timeout=LONG_MS)
    await expect(test.locator("#test")).to_contain_text("REHEARSAL")
    # The look is of tonight.
    await expect(test.locator("#title")).to_have_text("Second night")
    await test.screenshot(path=shot("two-nights-rehearsal"))
    await real.screenshot(path=shot("two-nights-real"))
    await console.locator("[data-do=rehearse-stop]").click()
    await expect(console.locator("#rehearsing")).to_be_hidden(timeout=LONG_MS)
    await expect(test.locator("#test")).to_have_text("NO REHEARSAL RUNNING", timeout=LONG_MS)
    played, shown = await kept(test), await kept(real)
    assert played["raised"] == ["¥0.00", "¥100.00", "¥200.00"]
    # What it was before it was known that there is none does not matter here.
    badges = played["badges"][played["badges"].index("NO REHEARSAL RUNNING") :]
    assert badges[1] == "REHEARSAL"
    assert set(badges[2:-1]) <= {"REHEARSAL · FINISHED"}
    assert badges[-1] == "NO REHEARSAL RUNNING"
    assert shown["raised"] == ["¥0.00"]
    assert [badge for badge in shown["badges"] if "REHEARSAL" in badge] == []
