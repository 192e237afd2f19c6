"""120 hostile names in every place where staff read what others wrote: the console, the moderators', the mailbox.

The overlays' places are in ``test_hostile_names``, the shoppers' in ``test_hostile_shop``. Here too the words are text
and nothing else, and the page stays as wide as the phone it is held on.
"""

from typing import Final

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import Open, Watch
from tests.browser.desk import PATH, set_the_desk
from tests.browser.fingers import fits
from tests.browser.hostile_looks import looking, made, unlisted, unseen, wrong
from tests.browser.hostile_names import HOSTILE
from tests.browser.hostile_sale import (
    ALL,
    MILESTONES,
    POTS,
    SKUS,
    both,
    card,
    page_of,
    set_the_hostile_desk,
)
from tests.browser.people import BOARD, alerts, on_air, tell
from tests.browser.scripted_backend import RULES, Backend
from tests.browser.story import STATUS, STREAM

pytestmark = pytest.mark.browser

QUESTION: Final = "dialog #dialog-title"
ANSWER: Final = ".toast"
# Where one name follows the other, as frames, questions and answers bring them.
ON_AIR: Final = (
    # An alert is told with who, what and which product.
    *("#life h1", "#screen-pinned", "#screen-alert ×3", "#airing ×3"),
)
# Where all stand at once, each in a place of its own.
STREAMS: Final = (".chooser option:not(:first-child)", "#rehearse option")
SALE: Final = (
    *("#offers h3", "[data-do^=pin-] @aria-label", "#own-test option[value^=SKU]"),
    *("#milestones li > b + *", "#milestones input[maxlength='80']:not([lang]) @value"),
    *("#pots b", "#pots p"),
)
REVIEW: Final = (
    *("#review .who", "#review blockquote", "#review .dedication", "#review .flag", "#review mark"),
    # Who looks at it, who passed it, who decided it.
    *(f"#review article > p:nth-of-type({n})" for n in (3, 4, 5)),
)
LARGE: Final = ("#reading bdi", "#reading blockquote", "#reading p:not(.small)")
KEPT: Final = tuple(
    f"#reading-pinned li:not(:first-child) {one}" for one in ("bdi", "blockquote", "p")
)
WISHES: Final = tuple(f".request:not(:first-child) {one}" for one in ("h3", "blockquote"))
FOUND: Final = ("#found .life li span:last-child", "#found form > div > label")
MODERATORS: Final = ("#moderators bdi",)
# Hebrew, with a number at its end: a line of ours that follows would be drawn to its left, the amount first.
TURNING: Final = "תודה 5"
# Where in such a line the words end and what follows them begins, in pixels from the left.
EDGES: Final = """({ where, name, next }) => {
    const at = (text) => {
        const walker = document.createTreeWalker(document.querySelector(where), NodeFilter.SHOW_TEXT);
        const range = document.createRange();
        while (walker.nextNode()) {
            const from = walker.currentNode.data.indexOf(text);
            if (from < 0) continue;
            range.setStart(walker.currentNode, from);
            range.setEnd(walker.currentNode, from + text.length);
            return range.getBoundingClientRect();
        }
        return null;
    };
    return [at(name)?.right, at(next)?.left];
}"""


async def holds(page: Page, *lists: str) -> None:
    """Assert that each list holds every name in its turn, as text, and that the page is no wider than the phone."""
    assert await unlisted(page, lists) == []
    assert await made(page, [one for one in lists if "> label" not in one]) == []
    assert await fits(page), lists


async def go_to(page: Page, section: str) -> None:
    await page.locator(f".sections [data-section={section}]").click()
    await expect(page.locator(f"#section-{section}")).to_be_visible()


async def asks_with_all(page: Page) -> None:
    """Assert that the question on the page holds every name in one, and say no to it."""
    await expect(page.locator(QUESTION)).to_be_visible()
    assert await unlisted(page, [QUESTION], [ALL]) == []
    assert await made(page, [QUESTION]) == []
    assert await fits(page)
    await page.locator("dialog .quiet").click()


async def say_each(backend: Backend) -> None:
    """Say every name as the title, on the board, and as an alert of its own."""
    for n, name in enumerate(HOSTILE):
        said = {"name": name, "message": name, "sku": SKUS[n]}
        board = BOARD | {"cards": [card(name) | {"sku": SKUS[n]}], "pinned_sku": SKUS[n]}
        await tell(backend, "status", **(STATUS | {"title": name, "title_zh": None}))
        await tell(backend, "board", **board)
        await tell(backend, "alerts/main", **alerts(on_air(f"air_{n}", **said)))


async def test_on_air_each_name_follows_the_other(open_page: Open, backend: Backend) -> None:
    address = await set_the_hostile_desk(backend)
    page = await open_page(address, before=looking(ON_AIR, within=":not(bdi)"))
    await expect(page.locator("#age")).to_contain_text("connection alive")
    await say_each(backend)
    await tell(backend, "alerts/main", **alerts(on_air("air_last", name="The last one")))
    await expect(page.locator("#airing")).to_contain_text("The last one")
    assert await unseen(page, ON_AIR) == []
    assert await wrong(page) == []
    await holds(page, *STREAMS)


async def test_what_is_sold_promised_and_matched(
    open_page: Open, backend: Backend, watch: Watch
) -> None:
    watch.forgiven = ("status of 422",)
    page = await open_page(await set_the_hostile_desk(backend))
    await tell(backend, "milestones", **MILESTONES)
    await tell(backend, "matches", currency="CNY", items=POTS)
    await go_to(page, "sale")
    await expect(page.locator("#pots li")).to_have_count(len(HOSTILE))
    await holds(page, *SALE)
    all_in_one = MILESTONES["items"][0] | both(ALL, "title")
    await tell(backend, "milestones", **(MILESTONES | {"items": [all_in_one]}))
    await expect(page.locator("#milestones li")).to_have_count(1)
    await page.locator("#milestones summary").click()
    await page.locator("[data-do=remove-mst_0]").click()
    await asks_with_all(page)
    backend.reply("PATCH", f"{PATH}/board", (200, {}), (422, {"detail": ALL}))
    await tell(backend, "board", **(BOARD | {"cards": [card(ALL)], "pinned_sku": None}))
    await expect(page.locator("[data-sku=SKU-0] h3")).to_contain_text(HOSTILE[1])
    for said in ("is on screen", "Not possible"):
        await page.locator("[data-do=pin-SKU-0]").click()
        await expect(page.locator(ANSWER)).to_contain_text(said)
        assert await unlisted(page, [ANSWER], [ALL]) == []
        assert await made(page, [ANSWER]) == []
        assert await fits(page)


async def test_what_was_written_and_who_decides_it(open_page: Open, backend: Backend) -> None:
    address = await set_the_hostile_desk(backend)
    rules = RULES | {"blocked": list(HOSTILE)}
    backend.reply("GET", f"{PATH}/moderation", (200, rules))
    page = await open_page(address)
    await go_to(page, "words")
    await expect(page.locator("#review article")).to_have_count(len(HOSTILE))
    await holds(page, *REVIEW, *KEPT)
    assert await unlisted(page, LARGE, [ALL]) == []
    await go_to(page, "setup")
    await holds(page, *MODERATORS)
    await page.locator("#rules > summary").click()
    blocked = page.locator("#rules textarea").first
    await expect(blocked).to_have_value(ALL.replace("\r\n", "\n"))
    everybody = {"id": "prn_all", "role": "moderator", "name": ALL, "disabled_at": None}
    backend.reply("GET", "principals", page_of([everybody]))
    backend.reply("DELETE", "principals/prn_of_0", (204, {}))
    await page.locator("[data-do=revoke-prn_of_0]").click()
    await page.locator("#dialog-yes").click()
    await page.locator("[data-do=revoke-prn_all]").click()
    await asks_with_all(page)


async def test_a_moderator_reads_the_same_on_a_phone(open_page: Open, backend: Backend) -> None:
    await set_the_hostile_desk(backend)
    me = {"id": "prn_9", "role": "moderator", "name": "An", "stream_id": STREAM}
    backend.reply("GET", "me", (200, me))
    page = await open_page(f"{backend.base}/moderate#key")
    await expect(page.locator("#review article")).to_have_count(len(HOSTILE))
    await holds(page, *REVIEW)


async def test_what_is_asked_back_and_of_whom(open_page: Open, backend: Backend) -> None:
    address = await set_the_hostile_desk(backend)
    page = await open_page(address)
    await go_to(page, "money")
    await expect(page.locator("#matches li")).to_have_count(len(HOSTILE))
    await holds(page, *WISHES, "#matches li")
    await page.locator("[data-do=accept]").first.click()
    question = page.locator("dialog #dialog-text")
    await expect(question).to_contain_text("do not go back on sale")
    assert [name for name in HOSTILE if name not in (await question.text_content() or "")] == []
    assert await made(page, ["dialog #dialog-text"]) == []
    assert await fits(page)
    await page.locator("dialog .quiet").click()
    await page.locator("[data-do=look]").first.click()
    await expect(page.locator("#found h3").first).to_be_visible()
    await page.locator("#found").get_by_label("Some units").check()
    await page.locator("#found .inner > summary").click()
    await holds(page, *FOUND)


async def test_what_is_written_from_right_to_left_leaves_the_amount_in_its_place(
    open_page: Open, backend: Backend
) -> None:
    page = await open_page(await set_the_desk(backend), 1920, 1080)
    await tell(backend, "board", **(BOARD | {"cards": [card(TURNING)]}))
    said = {"name": TURNING, "sku": SKUS[0]}
    await tell(backend, "alerts/main", **alerts(on_air("air_1", **said)))
    step = MILESTONES["items"][0] | both(TURNING, "title")
    await tell(backend, "milestones", **(MILESTONES | {"items": [step]}))
    match = POTS[0] | both(TURNING, "sponsor") | {"covers": "all", "ends_at": None}
    await tell(backend, "matches", currency="CNY", items=[match])
    await expect(page.locator("#pots p")).to_contain_text(TURNING)
    for where, following in (
        ("#screen-alert", "¥59.80"),
        ("[data-sku=SKU-0] h3", "¥29.90"),
        ("#milestones li", "¥1.00 to go"),
        ("#pots p", "¥43,210"),
    ):
        told = {"where": where, "name": TURNING, "next": following}
        words, amount = await page.evaluate(EDGES, told)
        assert words <= amount + 1, where
