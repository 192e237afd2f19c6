"""Review and reading: what strangers wrote stays text, what is flagged is marked, and what one decides is gone for all."""

from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import Open, Watch
from tests.browser.desk import HOSTILE, PATH, QUEUE, READING, review, set_the_desk
from tests.browser.people import tell
from tests.browser.scripted_backend import RULES, Backend
from tests.browser.story import STREAM

pytestmark = pytest.mark.browser


def became(*displays: str) -> tuple[int, dict[str, Any]]:
    """Return the answer to decisions: how each text is displayed now, or why it was refused."""
    outcomes = [
        {"order_id": f"ord_{n}", "display": text, "revision": 2, "refused": None}
        if text.isupper()
        else {"order_id": f"ord_{n}", "display": None, "revision": None, "refused": text}
        for n, text in enumerate(displays)
    ]
    return 200, {"outcomes": outcomes}


async def moderating(open_page: Open, backend: Backend) -> Page:
    """Open the page as a moderator of the stream."""
    await set_the_desk(backend)
    me = {"id": "prn_9", "role": "moderator", "name": "An", "stream_id": STREAM}
    backend.reply("GET", "me", (200, me))
    for item in QUEUE:
        backend.reply("PUT", f"{PATH}/review/{item['order_id']}/claim", (200, {"mine": True}))
    page = await open_page(f"{backend.base}/moderate#key")
    await expect(page.locator("[data-order=ord_3]")).to_be_visible()
    return page


async def test_a_moderator_approves_hides_and_is_told_why_not(
    open_page: Open, backend: Backend, watch: Watch
) -> None:
    watch.forgiven = ("status of 503",)
    unknown = (503, {"code": "unavailable", "detail": "later"})
    answers = (unknown, became("PASSED"), became("blocked"), became("second_person"))
    backend.reply("POST", f"{PATH}/review", *answers)
    page = await moderating(open_page, backend)
    await expect(page.locator("#to-review")).to_have_text("3 waiting")
    first = page.locator("[data-order=ord_1]")
    await expect(first).to_contain_text(f"Play well, children! {HOSTILE}")
    await expect(page.locator("[data-order=ord_2] mark")).to_have_text(
        ["evil.example", "139 0000 0000"]
    )
    await expect(page.locator("[data-order=ord_3]")).to_contain_text("Mei is looking at this")
    assert await page.locator("main img, body script").count() == 0
    approve = first.get_by_role("button", name="Approve")
    for said in (
        "it may have happened",
        "a second pair of eyes",
        "only the host overrules",
        "somebody else's",
    ):
        await approve.click()
        await expect(page.locator(".toast")).to_contain_text(said)
        await expect(approve).to_be_enabled()
    sent = [body for _, body in backend.calls("POST", f"{PATH}/review")]
    decision = {"order_id": "ord_1", "revision": 1, "decision": "pass"}
    assert sent == [{"decisions": [decision]}] * 4
    assert len(backend.calls("PUT", f"{PATH}/review/ord_1/claim")) == 1
    # A moderator does not ask for rules that only the host may read.
    assert backend.calls("GET", f"{PATH}/moderation") == []


async def test_what_another_decided_goes_without_a_click_meeting_the_next(
    open_page: Open, backend: Backend
) -> None:
    page = await moderating(open_page, backend)
    row = page.locator("[data-order=ord_1]")
    backend.reply("GET", f"{PATH}/review", (200, {"items": QUEUE[1:], "next": None}))
    await tell(backend, "review", **review(2, waiting=2))
    await expect(row).to_have_class("review-item gone")
    await expect(row).to_have_count(0)
    await expect(page.locator("#to-review")).to_have_text("2 waiting")
    backend.reply("GET", f"{PATH}/review", (200, {"items": [], "next": None}))
    await page.get_by_role("button", name="Hidden").click()
    await expect(page.get_by_text("Nothing was hidden.")).to_be_visible()


async def test_many_are_decided_at_once_but_nothing_flagged_by_accident(
    open_page: Open, backend: Backend
) -> None:
    backend.reply("POST", f"{PATH}/review", became("HIDDEN", "changed"))
    page = await moderating(open_page, backend)
    await page.locator("[data-do=select-all]").click()
    await expect(page.get_by_text("2 selected")).to_be_visible()
    await expect(page.locator("[data-order=ord_2] input")).not_to_be_checked()
    await page.locator("[data-do=bulk-hide]").click()
    await expect(page.locator(".toast")).to_contain_text("1 decided, 1 not")
    [(_, body)] = backend.calls("POST", f"{PATH}/review")
    decided = [(one["order_id"], one["decision"]) for one in body["decisions"]]
    assert decided == [("ord_1", "hide"), ("ord_3", "hide")]


async def test_the_host_reviews_by_keyboard(open_page: Open, backend: Backend) -> None:
    address = await set_the_desk(backend)
    two = (200, RULES | {"mode": "two_pass"})
    backend.reply("GET", f"{PATH}/moderation", two)
    backend.reply("POST", f"{PATH}/review", became("SHOWN"), became("PASSED"), became("HIDDEN"))
    for item in QUEUE:
        backend.reply("PUT", f"{PATH}/review/{item['order_id']}/claim", (200, {"mine": True}))
    page = await open_page(address, 1920, 1080)
    await expect(page.locator("[data-order=ord_3]")).to_be_visible()
    await page.keyboard.press("a")  # nothing is chosen yet, so nothing is decided
    for keys, said in (
        (("j", "a"), "Shown."),
        (("j", "p"), "second pair"),
        (("j", "k", "d"), "Hidden."),
    ):
        for key in keys:
            await page.keyboard.press(key)
        await expect(page.locator(".toast")).to_contain_text(said)
        await expect(page.locator(".review-item.current [data-do=hide]")).to_be_enabled()
    sent = [body["decisions"][0] for _, body in backend.calls("POST", f"{PATH}/review")]
    told = [(one["order_id"], one["decision"]) for one in sent]
    assert told == [("ord_1", "show"), ("ord_2", "pass"), ("ord_2", "hide")]


async def test_messages_are_read_kept_and_skipped_by_key(open_page: Open, backend: Backend) -> None:
    address = await set_the_desk(backend)
    for item in READING:
        backend.reply("PUT", f"{PATH}/reading/{item['order_id']}", (200, {}))
    page = await open_page(address, 1920, 1080)
    reading = page.locator("#reading")
    await expect(reading).to_contain_text(f"I sold peanuts here in 1962. {HOSTILE}")
    await expect(reading).to_contain_text("about 9 s to read")
    await expect(page.locator("#unread")).to_have_text("2 unread")
    backend.reply("GET", f"{PATH}/reading", (200, {"items": READING[1:], "next": None}))
    await page.keyboard.press("n")
    await expect(reading).to_contain_text("加油")
    await expect(page.locator("[data-do=keep]")).to_be_enabled()
    await page.keyboard.press("i")
    await expect(page.locator("[data-do=keep]")).to_be_enabled()
    backend.reply("GET", f"{PATH}/reading", (200, {"items": [], "next": None}))
    await page.keyboard.press("b")
    await expect(reading).to_contain_text("Nothing to read")
    marks = [(p[-5:], b["mark"]) for m, p, _, b in backend.asked if m == "PUT"]
    assert marks == [("ord_7", "read"), ("ord_8", "pinned"), ("ord_8", "skipped")]


async def test_rules_moderators_and_keys_are_managed_without_showing_a_secret(
    open_page: Open, backend: Backend
) -> None:
    address = await set_the_desk(backend)
    an = {"id": "prn_9", "role": "moderator", "name": f"An {HOSTILE}", "disabled_at": None}
    old = {"id": "prn_2", "role": "overlay", "name": "Overlay", "disabled_at": None}
    backend.reply("GET", "principals", (200, {"items": [an, old], "next": None}))
    backend.reply("POST", "principals", (201, an | {"key": "se_moderator_secret"}))
    backend.reply("DELETE", "principals/prn_9", (204, {}))
    backend.reply("POST", "principals/prn_2/keys", (201, {"key": "se_overlay_secret"}))
    backend.reply("PUT", f"{PATH}/moderation", (200, RULES))
    backend.reply("PUT", f"{PATH}/rehearsal", (200, {}))
    backend.reply("DELETE", f"{PATH}/rehearsal", (200, {}))
    page = await open_page(address, 1920, 1080)
    await expect(page.locator("#moderators")).to_contain_text(f"An {HOSTILE}")
    await page.locator("#section-setup").get_by_label("Name").fill("Bo")
    await page.locator("[data-do=invite]").click()
    await expect(page.locator("#moderate-url")).to_contain_text("Hidden")
    assert "secret" not in await page.locator("body").inner_text()
    await page.locator("[data-do=reveal]:visible").click()
    await expect(page.locator("#moderate-url")).to_have_text(
        f"{backend.base}/moderate#se_moderator_secret"
    )
    assert backend.calls("POST", "principals")[0][1] == {
        "role": "moderator",
        "name": "Bo",
        "stream_id": STREAM,
    }
    await page.locator("[data-do=revoke-prn_9]").click()
    await page.locator("#dialog-yes").click()
    await expect(page.locator(".toast")).to_have_text("Revoked.")
    await page.locator("#grace").select_option("3600")
    await page.locator("[data-do=rotate]").click()
    await expect(page.locator("dialog")).to_contain_text("one more hour")
    await page.locator("#dialog-yes").click()
    await expect(page.locator("#overlay-url")).to_contain_text("Hidden")
    asked = [c for c in backend.asked if c[1].endswith("/keys")]
    assert [call[3] for call in asked] == [{"retire_old_after_s": 3600}]
    await page.get_by_text("Rules of review").click()
    await page.get_by_label("Who lets a text pass").select_option("two_pass")
    await page.get_by_label("Words that stop a text").fill("scam\n\n 骗子 \nscam")
    await page.locator("[data-do=rules]").click()
    await expect(page.locator(".toast")).to_contain_text("count from now on")
    rules = backend.calls("PUT", f"{PATH}/moderation")[0][1]
    assert (rules["mode"], rules["blocked"]) == ("two_pass", ["scam", "骗子"])
    running = {"of_stream_id": "str_earlier", "started_at": None}
    backend.reply("GET", f"{PATH}/rehearsal", (200, running))
    await page.locator("#rehearsal").get_by_label("Speed").select_option("10")
    await page.locator("[data-do=rehearse]").click()
    await expect(page.locator("#rehearsing")).to_have_text("REHEARSAL is running")
    assert backend.calls("PUT", f"{PATH}/rehearsal")[0][1] == {
        "of_stream_id": "str_earlier",
        "speed": 10,
    }
    await page.locator("[data-do=rehearse-stop]").click()
    await expect(page.locator(".toast")).to_have_text("The rehearsal is over.")


async def test_a_key_of_somebody_else_is_asked_for_again(open_page: Open, backend: Backend) -> None:
    backend.reply("GET", "me", (200, {"id": "prn_1", "role": "overlay", "stream_id": STREAM}))
    page = await open_page(f"{backend.base}/moderate#key")
    await expect(page.get_by_text("This key is not accepted here")).to_be_visible()
