"""Groups of overlays in the console: as calm as ever with one, each told and steered by itself with more."""

from typing import Any

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Open, Watch, shot, until
from tests.browser.desk import HOSTILE, PATH, set_the_desk
from tests.browser.fingers import fits
from tests.browser.people import alerts, on_air, tell
from tests.browser.scripted_backend import Backend

pytestmark = pytest.mark.browser

MAIN: dict[str, Any] = {
    "name": "main",
    "show_ms": 4500,
    "hold_s": 30,
    "hold_said_s": 300,
    "min_minor": 500,
    "large_minor": 100_000,
    "burst_per_s": 2,
    "waiting_max": 50,
    "compress": "auto",
    "sound": "chime",
}
VERTICAL = MAIN | {"name": "vertical"}
# What is asked for every fifteen seconds is asked for at once.
OFTEN = "((every) => { window.setInterval = (work, ms) => every(work, ms > 9000 ? 250 : ms); })(window.setInterval)"


def groups(backend: Backend, *items: dict[str, Any]) -> None:
    """Say which groups there are from now on."""
    told = {"muted": False, "panic": False, "items": list(items)}
    backend.reply("GET", f"{PATH}/alert-groups", (200, told))


async def test_one_group_is_calm_and_another_is_made_as_main_is_set(
    open_page: Open, backend: Backend, watch: Watch
) -> None:
    # Groups follow one another quicker here than a socket is opened.
    watch.forgiven = ("closed before the connection",)
    url = await set_the_desk(backend)
    groups(backend, MAIN)
    page = await open_page(url, 1920, 1080, before=OFTEN)
    listed, said = page.locator("#alert-groups"), page.locator(".toast")
    await expect(page.locator("#queue")).to_have_text("Waiting behind it: 4")
    await expect(listed).to_be_hidden()
    await expect(page.locator("#own-test").get_by_label("Group")).to_be_hidden()
    assert len(backend.calls("POST", "socket-tickets")) == 1

    await page.get_by_text("Another group of overlays").click()
    name, make = page.get_by_label("Name, such as vertical"), page.locator("[data-do=make-group]")
    for bad, why in (("Vertical!", "a–z, 0–9"), ("main", "There is a group of that name")):
        await name.fill(bad)
        await make.click()
        await expect(said).to_contain_text(why)
    assert backend.calls("PUT", f"{PATH}/alert-groups/main") == []
    backend.reply("PUT", f"{PATH}/alert-groups/vertical", (200, VERTICAL))
    await name.fill("vertical")
    groups(backend, MAIN, VERTICAL)
    # It was made elsewhere a moment ago: it is left as it is set.
    await make.click()
    await expect(said).to_contain_text("There is a group of that name")
    groups(backend, MAIN)
    await expect(listed).to_be_hidden()
    await make.click()
    await expect(said).to_contain_text("group=vertical")
    [(_, body)] = backend.calls("PUT", f"{PATH}/alert-groups/vertical")
    assert body == {key: value for key, value in MAIN.items() if key != "name"}
    groups(backend, MAIN, VERTICAL)

    await expect(page.locator("[data-group=vertical]")).to_contain_text("Not heard of yet.")
    await expect(page.locator("#queue")).to_be_hidden()


async def test_each_group_is_told_skipped_tried_and_deleted(
    open_page: Open, backend: Backend
) -> None:
    url = await set_the_desk(backend)
    groups(backend, MAIN, VERTICAL)
    page = await open_page(url, 1920, 1080)
    listed, said = page.locator("#alert-groups"), page.locator(".toast")
    row = page.locator("[data-group=vertical]")
    airing = on_air("air_7", name=HOSTILE, amount_minor=8800)
    await tell(backend, "alerts/vertical", **alerts(airing, group="vertical", waiting=3))
    await expect(row).to_contain_text(f"{HOSTILE} · ¥88.00")
    await expect(row).to_contain_text("3 waiting")
    await expect(listed.locator("[data-group=main]")).to_contain_text("4 waiting")
    await expect(page.locator("#alerts-waiting")).to_have_text("7 waiting")
    # One line again: this console is counted once among those who watch.
    await until(page, lambda: len(backend.sockets) == 1)

    for group, answer in (("main", True), ("vertical", False)):
        backend.reply("POST", f"{PATH}/alerts/{group}/skip", (200, {"skipped": answer}))
    await page.locator("[data-do=skip-vertical]").click()
    await expect(said).to_have_text("It was over already.")
    assert backend.calls("POST", f"{PATH}/alerts/main/skip") == []
    await page.keyboard.press("s")
    await expect(said).to_have_text("Skipped.")
    skips = [backend.calls("POST", f"{PATH}/alerts/{one}/skip") for one in ("main", "vertical")]
    bodies = [[body["airing"] for _, body in calls] for calls in skips]
    assert bodies == [["air_1"], ["air_7", "air_7"]]

    backend.reply("POST", f"{PATH}/alerts/test", (201, {"groups": ["vertical"]}))
    await page.locator("[data-do=test-vertical]").click()
    await expect(said).to_contain_text("the screens of vertical")
    await page.get_by_text("Of my own making").click()
    await page.locator("#own-test").get_by_label("Group").select_option("vertical")
    await page.locator("[data-do=own-test]").click()
    await expect(page.locator("[data-do=own-test]")).to_be_enabled()
    sent = [body for _, body in backend.calls("POST", f"{PATH}/alerts/test")]
    assert sent == [{"kind": "gift", "group": "vertical"}, {"kind": "order", "group": "vertical"}]
    await page.locator("#section-alerts").screenshot(path=shot("console-groups-1080"))

    backend.reply("DELETE", f"{PATH}/alert-groups/vertical", (204, {}))
    await page.locator("[data-do=delete-vertical]").click()
    await expect(page.locator("dialog")).to_contain_text("Its screens go dark at once")
    groups(backend, MAIN)
    await page.locator("#dialog-yes").click()
    await expect(listed).to_be_hidden()
    await expect(page.locator("#queue")).to_have_text("Waiting behind it: 4")
    await expect(page.locator("#alerts-waiting")).to_have_text("4 waiting")


async def test_a_group_made_and_deleted_elsewhere_comes_and_goes_on_a_phone(
    open_page: Open, backend: Backend, watch: Watch
) -> None:
    watch.forgiven = ("status of 503", "closed before the connection")
    url = await set_the_desk(backend)
    long = VERTICAL | {"name": "a-name-of-24-characters-"}
    groups(backend, MAIN, VERTICAL, long)
    await tell(backend, "alerts/vertical", **alerts(on_air("air_7"), group="vertical", waiting=3))
    page = await open_page(url, before=OFTEN, locale="zh-CN")
    await page.locator(".sections [data-section=alerts]").click()
    await expect(page.locator("[data-group=vertical]")).to_contain_text("Li Na · ¥59.80")
    await expect(page.locator(".sections [data-section=alerts] .mark")).to_have_text("7")
    assert await fits(page)
    await page.screenshot(path=shot("console-groups-phone"), full_page=True)
    backend.reply("GET", f"{PATH}/alert-groups", (503, {"code": "unavailable"}))
    asked = len(backend.calls("GET", f"{PATH}/alert-groups"))
    await until(page, lambda: len(backend.calls("GET", f"{PATH}/alert-groups")) > asked + 1)
    await expect(page.locator("[data-group]")).to_have_count(3)
    groups(backend, MAIN)
    await expect(page.locator("#alert-groups")).to_be_hidden()
    await expect(page.locator(".sections [data-section=alerts] .mark")).to_have_text("4")
