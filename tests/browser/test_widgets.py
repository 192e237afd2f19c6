"""Every overlay widget in Chromium, all in one scene: the same promises, held for each row of one table.

A widget shows the newest state of its topics, the same after a refresh, paints rarely while OBS hides it and jumps to the
newest when it is shown again, comes back after the server went, and says so when what it shows is old. Nobody's page
asks for anything from another host or complains in its console. The pages share one browser context, as the sources of
a scene do in OBS, and go through each step together.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import cast

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from tests.browser.conftest import Watch, leap
from tests.browser.scripted_backend import EPOCH, Backend, serving
from tests.browser.story import FRONT, STREAM
from tests.browser.widget_rows import ROWS, Row, states_after, states_before

pytestmark = pytest.mark.browser

KEY = "se_overlay_key"
# Those that stay on a phone's stage for the whole stream.
ON_A_PHONE = ("all", "countdown", "goal", "milestones", "product", "qr", "stock", "tally")
NONSENSE = ("undefined", "NaN", "null", "[object")
# What is on the screen, in words and on reels, once the card is shown.
READ = """([where, text]) => {
    const plate = document.querySelector(where);
    const card = document.getElementById("card");
    if (!plate || card?.dataset.state !== "shown") return false;
    const reels = [...plate.querySelectorAll("[aria-label]")].map((one) => one.ariaLabel);
    return [plate.innerText, ...reels].join("\\n").includes(text);
}"""
# The boxes of all that is painted: a part that sticks out of the source would be cut off by it. What a part of the
# card cuts off by itself, as a reel or a ticker's strip does, may be anywhere.
EDGES = """() => {
    const cut = (node) => {
        for (let up = node.parentElement; up && up.id !== "plate"; up = up.parentElement) {
            if (getComputedStyle(up).overflowX === "hidden" && !up.classList.contains("plate")) return true;
        }
        return false;
    };
    return [...document.querySelectorAll("#plate, #plate *")]
        .filter((node) => node.id === "plate" || !cut(node))
        .map((node) => node.getBoundingClientRect())
        .filter((box) => box.width && box.height)
        .map((box) => [box.left, box.top, box.right, box.bottom]);
}"""
Scene = dict[Row, Page]
# Each widget once; how else a widget may be asked to look is for those who have the time.
PLAIN = tuple({row.widget: row for row in reversed(ROWS)}.values())
OTHERS = tuple(row for row in ROWS if row not in PLAIN)
# Those that keep something between two frames, and have to find it again.
REMEMBERING = ("alerts", "all", "countdown", "goal", "ticker")


@pytest_asyncio.fixture(loop_scope="session")
async def stage(watch: Watch) -> AsyncIterator[Backend]:
    """A backend with every topic in its first state."""
    async with serving(Backend(storefront=dict(FRONT))) as backend:
        backend.reply("GET", "me", (200, {"id": "prn_1", "role": "overlay", "stream_id": STREAM}))
        backend.reply("POST", f"streams/{STREAM}/alerts/main/shown", (200, {"first": True}))
        await tell(backend, 1)
        watch.allowed.add(backend.base.removeprefix("http://"))
        yield backend
        await watch.leave()


@pytest_asyncio.fixture(loop_scope="session")
async def scene(
    request: pytest.FixtureRequest, browser: Browser, stage: Backend, watch: Watch
) -> Scene:
    """Every row's widget in a page of its own. They stand still, so that the machine is theirs who read."""
    context = await browser.new_context(
        viewport={"width": 960, "height": 540}, locale="en-US", reduced_motion="reduce"
    )
    watch.contexts.append(context)

    async def opened(row: Row) -> Page:
        page = await context.new_page()
        watch.follow(page)
        await page.goto(f"{stage.base}/overlay/{row.widget}{row.query}#{KEY}")
        return page

    rows: tuple[Row, ...] = request.param
    return dict(zip(rows, await asyncio.gather(*map(opened, rows)), strict=True))


async def tell(backend: Backend, version: int) -> None:
    """Publish all topics in their first state for an odd version, in their second for an even one."""
    states = states_before() if version % 2 else states_after()
    for part, state in states.items():
        await backend.send(f"stream/{STREAM}/{part}", EPOCH, version, state)


async def all_read(scene: Scene, version: int, within_ms: int) -> None:
    """Wait until every widget says what it should of ``version``, and name those that do not."""

    async def reads(row: Row, page: Page) -> None:
        text = row.text(version)
        try:
            await page.wait_for_function(READ, arg=[row.where, text], timeout=within_ms)
        except Exception as error:
            words = await page.locator("body").inner_text()
            raise AssertionError(f"{row.name} does not say {text!r} but {words!r}") from error

    await together(reads(row, page) for row, page in scene.items())


async def together(steps: object) -> None:
    """Do all of ``steps`` at once; what went wrong is told of all of them."""
    done = await asyncio.gather(*cast("list[Awaitable[None]]", steps), return_exceptions=True)
    wrong = [str(one) for one in done if isinstance(one, BaseException)]
    assert not wrong, "\n".join(wrong)


async def reads_no(page: Page, row: Row, version: int) -> None:
    assert not await page.evaluate(READ, [row.where, row.text(version)]), row.name


async def obs(scene: Scene, event: str, **detail: bool) -> None:
    """Tell every page what OBS would."""
    said = "([name, detail]) => { dispatchEvent(new CustomEvent(name, { detail })); }"
    await together(page.evaluate(said, [event, detail]) for page in scene.values())


@pytest.mark.parametrize(
    "scene", [PLAIN, pytest.param(OTHERS, marks=pytest.mark.sweep)], indirect=True
)
async def test_a_whole_scene_through_a_night(scene: Scene, stage: Backend, watch: Watch) -> None:
    await all_read(scene, 1, 10_000)
    for row, page in scene.items():
        words = await page.locator("body").inner_text()
        assert not any(one in words for one in NONSENSE), (row.name, words)
    await together(look(row, page) for row, page in scene.items())

    # Hidden, frames are kept and painted rarely; shown again, the newest is there at once.
    await obs(scene, "obsSourceVisibleChanged", visible=False)
    await tell(stage, 2)
    await asyncio.sleep(0.3)
    # All at once: who is asked last would have had five seconds to paint again.
    await together(reads_no(page, row, 2) for row, page in scene.items() if not row.loud)
    await obs(scene, "obsSourceActiveChanged", active=True)
    await all_read(scene, 2, 1500)

    # A refresh shows what was shown, and an older frame changes nothing.
    again = [page for row, page in scene.items() if row.widget in REMEMBERING]
    await together(page.reload() for page in again)
    await all_read(scene, 2, 10_000)
    before = dict(stage.topics)
    await tell(stage, 1)
    stage.topics.update(before)
    await asyncio.sleep(0.3)
    await all_read(scene, 2, 500)

    # The server goes, and comes back with something newer.
    await stage.cut()
    await tell(stage, 3)
    await all_read(scene, 3, 8000)

    # Silence: the last state stays, and says that it is old. The pages are told that nine seconds passed.
    stage.silent = True
    await together(leap(page, 9_000) for page in scene.values())
    marked = (
        "() => !document.getElementById('link').hidden && /NOT LIVE/.test(document.body.innerText)"
    )
    await together(page.wait_for_function(marked, timeout=8000) for page in scene.values())
    await all_read({row: page for row, page in scene.items() if not row.loud}, 3, 500)
    stage.silent = False
    gone = "() => document.getElementById('link').hidden"
    await together(page.wait_for_function(gone, timeout=8000) for page in scene.values())
    assert watch.verdict() == []


async def test_stands_inside_a_phones_stage(browser: Browser, stage: Backend, watch: Watch) -> None:
    context = await browser.new_context(viewport={"width": 540, "height": 960}, locale="zh-CN")
    watch.contexts.append(context)

    async def stands(widget: str) -> None:
        page = await context.new_page()
        watch.follow(page)
        query = "?layout=vertical&theme=paper"
        await page.goto(f"{stage.base}/overlay/{widget}{query}#{KEY}")
        await page.locator("#card[data-state=shown]").wait_for()
        await look(Row(widget, "", "", query), page)
        # Below are the comments and the buttons of the phone's own stream.
        box = await page.locator("#card").bounding_box()
        assert box is not None
        assert box["y"] >= 960 * 0.11
        assert box["y"] + box["height"] <= 960 * 0.77

    await together(stands(widget) for widget in ON_A_PHONE)


async def look(row: Row, page: Page) -> None:
    """See a widget inside the source, with nothing but its card painted."""
    background = "getComputedStyle(document.body).backgroundColor"
    assert await page.evaluate(background) == "rgba(0, 0, 0, 0)", row.name
    size = page.viewport_size
    edges = await page.evaluate(EDGES)
    assert size is not None
    assert min(edge[0] for edge in edges) >= 0, row.name
    assert min(edge[1] for edge in edges) >= 0, row.name
    assert max(edge[2] for edge in edges) <= size["width"] + 1, row.name
    assert max(edge[3] for edge in edges) <= size["height"] + 1, row.name
