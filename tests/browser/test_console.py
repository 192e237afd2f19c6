"""The console's controls, each by what it asks of the server and what it says when the server refuses.

Nothing is shown because it was clicked: a pin, a mute or a panic is on when its topic says so. Not knowing is never
told as a failure, and is repeated as the same request.
"""

from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import Open, Watch, shot
from tests.browser.desk import HOST, PATH, SCREEN, set_the_desk
from tests.browser.people import BOARD, alerts, instant, on_air, pot, tell
from tests.browser.scripted_backend import Backend
from tests.browser.story import CAMPAIGN, STREAM, TALLY

pytestmark = pytest.mark.browser

PEANUTS = "[data-sku=PEANUT-5KG]"
CHESTNUTS = "[data-sku=CHESTNUT-2KG]"
UNKNOWN = (503, {"code": "unavailable", "detail": "later"})


async def opened(open_page: Open, backend: Backend, state: str = "live") -> Page:
    page = await open_page(await set_the_desk(backend, state), 1920, 1080)
    await expect(page.locator("#age")).to_contain_text("connection alive")
    return page


async def bodies(backend: Backend, method: str, path: str, page: Page, text: str) -> list[Any]:
    """Wait until ``text`` is said, and return what was sent."""
    await expect(page.locator(".toast")).to_contain_text(text)
    return [body for _, body in backend.calls(method, f"{PATH}{path}")]


async def test_what_is_on_air_is_told_with_its_age(open_page: Open, backend: Backend) -> None:
    page = await opened(open_page, backend)
    await expect(page.locator("#screen-raised")).to_have_text("¥12,845.60")
    await expect(page.locator("#screen-tonight")).to_have_text("¥888.00")
    await expect(page.locator("#screen-seq")).to_have_text("#4,270")
    await expect(page.locator("#screen-alert")).to_have_text(
        "Li Na · ¥59.80 · Red-skin peanuts, 5 kg"
    )
    await expect(page.locator("#screen-pinned")).to_have_text("Red-skin peanuts, 5 kg")
    await expect(page.locator("#screen-timer")).to_have_text("none")
    await expect(page.locator("#viewers-moderator")).to_have_text("2")
    await expect(page.locator("#queue-waiting")).to_have_text("812")
    await expect(page.locator("#queue-minutes")).to_have_text("3 min")
    await expect(page.locator("#no-overlay")).to_be_hidden()
    await tell(backend, "tally", **(TALLY | {"seq": 4271, "raised_minor": 1_300_000}))
    await expect(page.locator("#screen-seq")).to_have_text("#4,271")
    nobody = SCREEN["viewers"] | {"overlay": 0}
    backend.reply("GET", f"{PATH}/screen", (200, SCREEN | {"viewers": nobody}))
    await expect(page.locator("#screen-lag")).to_contain_text("ms", timeout=9000)
    await expect(page.locator("#no-overlay")).to_be_visible(timeout=9000)


async def test_a_product_is_pinned_by_one_tap_and_by_key_and_shows_when_it_is_up(
    open_page: Open, backend: Backend, watch: Watch
) -> None:
    watch.forgiven = ("status of 409",)
    settled = (409, {"code": "illegal_state", "detail": "no", "state": "settled"})
    backend.reply("PATCH", f"{PATH}/board", (200, {}), (200, {}), (200, {}), settled)
    page = await opened(open_page, backend)
    pin = page.locator(f"{CHESTNUTS} .pin")
    await pin.click()
    await expect(page.locator(".toast")).to_have_text("Mountain chestnuts, 2 kg is on screen.")
    await expect(pin).to_have_attribute("aria-pressed", "false")
    await tell(backend, "board", **(BOARD | {"pinned_sku": "CHESTNUT-2KG"}))
    await expect(pin).to_have_attribute("aria-pressed", "true")
    await page.keyboard.press("]")
    await expect(page.locator(".toast")).to_contain_text("hot sauce is on screen")
    await page.keyboard.press("u")
    sent = await bodies(backend, "PATCH", "/board", page, "Nothing is pinned.")
    assert [body["pinned_sku"] for body in sent] == ["CHESTNUT-2KG", "HOT-SAUCE", None]
    await page.locator(f"{PEANUTS} .pin").click()
    await expect(page.locator(".toast")).to_contain_text("The stream is Settled now")


async def test_the_sale_opens_and_closes_at_a_moment(open_page: Open, backend: Backend) -> None:
    backend.reply("PUT", f"{PATH}/timer", (200, {}))
    backend.reply("DELETE", f"{PATH}/timer", (200, {}))
    page = await opened(open_page, backend)
    own = page.get_by_label("Seconds, 60 to 1200")
    await own.fill("59")
    await page.locator("[data-do=closes-own]").click()
    await expect(page.locator(".toast")).to_have_text("A whole number from 60 to 1200.")
    await own.fill("90")
    await own.press("Enter")
    await expect(page.locator(".toast")).to_have_text("The countdown runs.")
    await tell(backend, "board", **(BOARD | {"timer": {"what": "closes", "at": instant(90)}}))
    await expect(page.locator("#timer")).to_contain_text("closes in 1:")
    await page.locator("[data-do=timer-off]").click()
    await expect(page.locator(".toast")).to_have_text("The timer is off.")
    assert len(backend.calls("DELETE", f"{PATH}/timer")) == 1
    await tell(backend, "board", **BOARD)
    await expect(page.locator("#timer")).to_be_hidden()
    await tell(
        backend,
        "status",
        **(backend.topics[f"stream/{STREAM}/status"]["state"] | {"state": "scheduled"}),
    )
    await page.locator("[data-do=opens-30]").click()
    sent = await bodies(backend, "PUT", "/timer", page, "The countdown runs.")
    assert sent == [{"what": "closes", "in_s": 90}, {"what": "opens", "in_s": 30}]


async def test_a_price_is_changed_with_its_split_shown_and_all_other_terms_kept(
    open_page: Open, backend: Backend, watch: Watch
) -> None:
    watch.forgiven = ("status of 422",)
    parts = {"farmer_minor": 1592, "beneficiary_minor": 299, "fees_minor": 99}
    backend.reply("POST", "splits/preview", (200, {"one_unit": parts}))
    bad = (422, {"code": "amount_not_chargeable", "detail": "Too small to charge."})
    done = (200, {"price_minor": 1990, "per_shopper_max": 2, "one_unit": parts})
    path = f"{PATH}/offers/PEANUT-5KG"
    backend.reply("PUT", path, bad, done)
    page = await opened(open_page, backend)
    offer = page.locator(PEANUTS)
    await offer.get_by_text("Price and limit").click()
    await expect(offer).to_contain_text("¥23.92 to the farmer, ¥4.49 to the cause, ¥1.49 costs")
    await offer.get_by_label("New price in CNY").fill("19.90")
    await expect(offer).to_contain_text("¥15.92 to the farmer, ¥2.99 to the cause, ¥0.99 costs")
    [(_, preview)] = backend.calls("POST", "splits/preview")
    assert (preview["price_minor"], preview["farmer_floor_minor"]) == (1990, 100)
    change = offer.locator("[data-do=price-PEANUT-5KG]")
    await change.click()
    await expect(page.locator(".toast")).to_contain_text("Too small to charge.")
    await expect(offer.get_by_label("New price in CNY")).to_have_value("19.90")
    await change.click()
    await expect(page.locator(".toast")).to_have_text("From now on ¥19.90, at most 2 each.")
    body = backend.calls("PUT", path)[-1][1]
    kept = {"fee_payer": "farmer", "tax_bp": 900, "farmer_floor_minor": 100, "farmer_bp": 8000}
    assert body["price_minor"] == 1990
    assert body["per_shopper_max"] == 2
    assert kept.items() <= body.items()
    assert not body.keys() & {"total", "opens_at", "farmer_id"}
    cards = [card | {"price_minor": 1990} for card in BOARD["cards"]]
    await tell(backend, "board", **(BOARD | {"cards": cards}))
    await expect(offer.locator("h3")).to_have_text("Red-skin peanuts, 5 kg · ¥19.90")


async def test_units_that_arrived_without_an_answer_are_not_added_twice(
    open_page: Open, backend: Backend, watch: Watch
) -> None:
    watch.forgiven = ("status of 503", "status of 409")
    differs = (409, {"code": "total_differs", "detail": "changed", "total": 11_683})
    path = f"{PATH}/offers/PEANUT-5KG/stock"
    backend.reply("POST", path, UNKNOWN, differs, (200, {"total": 11_883}))
    page = await opened(open_page, backend)
    offer = page.locator(PEANUTS)
    await offer.get_by_label("Units to add").fill("200")
    add = offer.get_by_role("button", name="Add", exact=True)
    for said in ("it may have happened", "The stock is 11,683 by now", "Stock is now 11,883."):
        await add.click()
        await expect(page.locator(".toast")).to_contain_text(said)
        await expect(add).to_be_enabled()
    before = [body["total_before"] for _, body in backend.calls("POST", path)]
    assert before == [11_483, 11_483, 11_683]


async def test_milestones_are_added_once_changed_and_taken_away(
    open_page: Open, backend: Backend, watch: Watch
) -> None:
    watch.forgiven = ("status of 503",)
    path = f"{PATH}/milestones"
    backend.reply("POST", path, UNKNOWN, (201, {"id": "mst_3"}))
    backend.reply("PATCH", f"{path}/mst_2", (200, {}))
    backend.reply("DELETE", f"{path}/mst_1", (200, {}))
    page = await opened(open_page, backend)
    await expect(page.locator("[data-milestone=mst_1]")).to_contain_text("✓ ¥10,000.00")
    await expect(page.locator("[data-milestone=mst_2]")).to_contain_text("936 to go")
    form = page.locator("#add-milestone")
    await form.locator("summary").click()
    add = form.get_by_role("button", name="Add a milestone")
    await add.click()
    await expect(page.locator(".toast")).to_contain_text("Say at how much")
    await form.get_by_label("Reached at").fill("20000")
    await form.get_by_label("What happens").fill("The mayor dances")
    for said in ("it may have happened", "Added."):
        await add.click()
        await expect(page.locator(".toast")).to_contain_text(said)
    (first, body), (second, again) = backend.calls("POST", path)
    assert first["idempotency-key"] == second["idempotency-key"]
    title = {"title": "The mayor dances", "title_zh": None}
    assert body == again == {"counts": "money", "threshold": 2_000_000} | title
    step = page.locator("[data-milestone=mst_2]")
    await step.locator("summary").click()
    await step.get_by_label("Reached at").fill("9500")
    await step.get_by_role("button", name="Save").click()
    await expect(page.locator(".toast")).to_have_text("Changed.")
    assert backend.calls("PATCH", f"{path}/mst_2")[0][1]["threshold"] == 9500
    sung = page.locator("[data-milestone=mst_1]")
    await sung.locator("summary").click()
    await page.locator("[data-do=remove-mst_1]").click()
    await page.locator("#dialog-yes").click()
    await expect(page.locator(".toast")).to_have_text("Removed.")


async def test_tonight_begins_and_ends_and_the_goal_is_set(
    open_page: Open, backend: Backend
) -> None:
    backend.reply("PUT", f"{PATH}/floor", (200, {}))
    backend.reply("DELETE", f"{PATH}/floor", (200, {}))
    backend.reply("PATCH", PATH, (200, {}))
    page = await opened(open_page, backend)
    await expect(page.locator("#tonight-since")).to_contain_text("(ledger number 4,000)")
    await page.locator("[data-do=floor]").click()
    await page.keyboard.press("Escape")
    assert backend.calls("PUT", f"{PATH}/floor") == []
    await page.locator("[data-do=floor]").click()
    await page.locator("#dialog-yes").click()
    await expect(page.locator(".toast")).to_have_text("Tonight begins now.")
    await page.locator("[data-do=floor-clear]").click()
    await expect(page.locator(".toast")).to_have_text("Everything counts again.")
    await page.locator("#goal").fill("many")
    await page.get_by_role("button", name="Set goal").click()
    await expect(page.locator(".toast")).to_contain_text("Type an amount")
    await page.locator("#goal").fill("60000")
    await page.locator("#goal").press("Enter")
    await expect(page.locator(".toast")).to_have_text("The goal is set.")
    assert backend.calls("PATCH", PATH)[0][1] == {"goal_minor": 6_000_000}
    await expect(page.locator("#goal-now")).to_have_text("Now ¥50,000.00")


async def test_only_operators_start_and_end_matches(open_page: Open, backend: Backend) -> None:
    matches = f"campaigns/{CAMPAIGN}/matches"
    backend.reply("POST", matches, (201, {"id": "mat_2"}))
    backend.reply("PATCH", f"{matches}/mat_1", (200, {}))
    page = await opened(open_page, backend)
    await expect(page.locator("[data-pot=mat_1]")).to_contain_text("¥43,210 of ¥50,000 left")
    await expect(page.get_by_text("The organiser starts and ends matches.")).to_be_visible()
    await expect(page.locator("[data-do=end-mat_1]")).to_have_count(0)
    backend.reply("GET", "me", (200, HOST | {"role": "operator", "host_id": None}))
    await page.reload()
    await page.get_by_text("Start a match").first.click()
    await page.get_by_label("Sponsor").fill("Tea House")
    await page.get_by_label("Pot in CNY").fill("5000")
    await page.get_by_role("button", name="Start a match").click()
    await expect(page.locator(".toast")).to_have_text("The match is on.")
    [(headers, body)] = backend.calls("POST", matches)
    assert (body["ratio_bp"], body["pot_minor"], body["stream_id"]) == (10_000, 500_000, STREAM)
    assert len(headers["idempotency-key"]) == 32
    await page.locator("[data-do=end-mat_1]").click()
    await expect(page.locator(".toast")).to_contain_text("are not matched")
    await tell(backend, "matches", currency="CNY", items=[pot(on=False, left_minor=0)])
    await expect(page.locator("[data-pot=mat_1]")).to_contain_text("Not on")


async def test_panic_mute_skip_and_test_by_tap_and_by_key(
    open_page: Open, backend: Backend, watch: Watch
) -> None:
    watch.forgiven = ("status of 503",)
    for what in ("panic", "muted"):
        backend.reply("PUT", f"{PATH}/alerts/{what}", UNKNOWN, (200, {}))
    backend.reply("POST", f"{PATH}/alerts/main/skip", (200, {"skipped": False}))
    backend.reply("POST", f"{PATH}/alerts/test", (201, {"groups": ["main"]}))
    page = await opened(open_page, backend)
    panic = page.locator("[data-do=panic]")
    for said in ("it may have happened", "nothing but totals now"):
        await panic.click()
        await expect(page.locator(".toast")).to_contain_text(said)
        await expect(panic).to_have_attribute("aria-pressed", "false")
    await tell(backend, "alerts/main", **alerts(None, waiting=7, panic=True))
    await expect(panic).to_have_text("Back on airP")
    await expect(page.get_by_role("alert").first).to_contain_text("PANIC is on")
    await page.screenshot(path=shot("console-panic"))
    await page.keyboard.press("P")
    await expect(page.locator(".toast")).to_have_text("Alerts and names are back.")
    sent = [body["panic"] for _, body in backend.calls("PUT", f"{PATH}/alerts/panic")]
    assert sent == [True, True, False]
    await page.keyboard.press("s")
    await tell(backend, "alerts/main", **alerts(on_air("air_9"), waiting=7, muted=True))
    await expect(page.locator("#queue")).to_have_text("Waiting behind it: 7")
    await page.keyboard.press("s")
    assert await bodies(backend, "POST", "/alerts/main/skip", page, "It was over already.") == [
        {"airing": "air_9"}
    ]
    await page.keyboard.press("m")
    await expect(page.locator(".toast")).to_contain_text("it may have happened")
    assert backend.calls("PUT", f"{PATH}/alerts/muted")[0][1] == {"muted": False}
    await page.keyboard.press("t")
    await expect(page.locator(".toast")).to_contain_text("on its way to the screens")
    await page.get_by_text("Of my own making").click()
    await page.locator("#own-test").get_by_label("Kind").select_option("burst")
    await page.locator("#own-test").get_by_label("Amount in CNY").fill("100")
    await page.locator("[data-do=own-test]").click()
    await expect(page.locator("[data-do=own-test]")).to_be_enabled()
    (one, plain), (two, own) = backend.calls("POST", f"{PATH}/alerts/test")
    assert one["idempotency-key"] != two["idempotency-key"]
    assert (plain, own) == ({"kind": "gift"}, {"kind": "burst", "amount_minor": 10_000})


async def test_no_key_does_anything_while_somebody_types_or_answers(
    open_page: Open, backend: Backend
) -> None:
    page = await opened(open_page, backend)
    await page.locator("#goal").focus()
    await page.keyboard.type("Pmstnubix?]1")
    await page.locator("#goal").blur()
    await page.keyboard.press("Control+s")
    await page.keyboard.press("?")
    await expect(page.locator("dialog")).to_contain_text("PANIC, and back on air")
    await page.screenshot(path=shot("console-keys"))
    await page.keyboard.press("m")
    await page.keyboard.press("Escape")
    await expect(page.locator("dialog")).to_have_count(0)
    await page.keyboard.press("2")
    await expect(page.locator("#section-sale")).to_be_focused()
    assert [call[:2] for call in backend.asked if call[0] in ("PUT", "PATCH", "DELETE")] == []
    posted = {call[1] for call in backend.asked if call[0] == "POST"}
    assert posted == {"socket-tickets"}


async def test_the_list_of_what_was_shown_settles_an_argument(
    open_page: Open, backend: Backend
) -> None:
    airing = {
        "id": "air_1",
        "group": "main",
        "kind": "order",
        "order_ids": ["ord_01jd3k8f3h2m5abc"],
        "count": 1,
        "units": 2,
        "amount_minor": 5980,
        "currency": "CNY",
        "sku": "PEANUT-5KG",
        "starts_at": "2026-11-22T12:00:00.000Z",
        "ends_at": "2026-11-22T12:00:06.000Z",
        "shown_at": "2026-11-22T12:00:00.400Z",
        "paid_to_shown_ms": 740,
        "outcome": "SHOWN",
    }
    burst = airing | {"id": "air_2", "kind": "burst", "count": 131, "outcome": "LOST"}
    unseen = burst | {"shown_at": None, "paid_to_shown_ms": None}
    page = await opened(open_page, backend)
    listed = (200, {"items": [unseen], "next": None})
    backend.reply("GET", f"{PATH}/airings", (200, {"items": [airing], "next": "c"}), listed)
    await page.get_by_text("What was shown").click()
    row = page.locator("[data-airing=air_1]")
    await expect(row).to_contain_text("order · ¥59.80 · 2M5ABC · shown · 740 ms from payment")
    await page.locator("[data-do=more-airings]").click()
    lost = page.locator("[data-airing=air_2]")
    await expect(lost).to_contain_text("131 orders · no overlay said it showed it")
    await expect(page.locator("#airings li")).to_have_count(2)
