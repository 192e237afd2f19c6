"""The client module and the embed in pages of another origin, against a real deployment: every way, and back again."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import httpx
import pytest
import pytest_asyncio
import uvicorn
from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from playwright.async_api import Page, expect

from server.processes import free_port
from tests.browser.conftest import SOONER, Open, Watch, shot
from tests.browser.deployment import Deployment, Night, open_night
from tests.realtime.conftest import until

pytestmark = pytest.mark.browser

FOREIGN = """<!doctype html><title>Somebody else's page</title><link rel="icon" href="data:,">
<script type="module">
  const asked = JSON.parse(decodeURIComponent(location.hash.slice(1)));
  window.firsts = [];
  // A network that lets one way not through: what is asked for ends at a place that does not speak it.
  const reach = (way, url, scheme) => asked.blocked?.includes(way) ? `${scheme}://${location.host}/nothing` : url;
  const Socket = WebSocket, Source = EventSource;
  window.WebSocket = class extends Socket {
    constructor(url, protocol) { super(reach("ws", url, "ws"), protocol); window.socket = this; }
    send(text) { firsts.push(JSON.parse(text)); super.send(text); }
  };
  window.EventSource = class extends Source {
    constructor(url) { super(reach("sse", url, "http")); window.source = this; }
  };
  const { connect } = await import(`${asked.origin}/client/stream-events.js`);
  window.told = { snapshots: [], frames: [], links: [] };
  window.feed = connect(asked);
  feed.onSnapshot((frames) => told.snapshots.push(frames));
  feed.onFrame((frame) => told.frames.push(frame));
  feed.onLink((link) => told.links.push(link));
</script>"""
FRAMING = """<!doctype html><title>A news site</title><link rel="icon" href="data:,">
<iframe src="{src}" width="340" height="260"></iframe>"""
# As browsers do in a third party's frame when they are told to keep nothing there.
NO_STORAGE = """for (const name of ["localStorage", "sessionStorage", "indexedDB"])
  Object.defineProperty(window, name, { get() { throw new DOMException("no", "SecurityError"); } });"""

Goal = Callable[[int], Coroutine[Any, Any, None]]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def night(deployment: Deployment) -> Night:
    return await open_night(deployment, title="Peanuts for all", total=50, names="")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def elsewhere() -> AsyncIterator[str]:
    """Serve a site that is not ours."""
    app = FastAPI()

    @app.get("/")
    def page() -> HTMLResponse:
        return HTMLResponse(FOREIGN)

    @app.get("/news")
    def news(src: str) -> HTMLResponse:
        return HTMLResponse(FRAMING.format(src=src))

    config = uvicorn.Config(app, port=free_port(), log_level="critical")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    # Another host name as well, not only another port.
    yield f"http://localhost:{config.port}"
    server.should_exit = True
    await task


@pytest.fixture
def change_goal(deployment: Deployment, night: Night) -> Goal:
    async def change(goal_minor: int) -> None:
        async with httpx.AsyncClient() as client:
            answer = await client.patch(
                f"{deployment.url}/v1/streams/{night.stream_id}",
                json={"goal_minor": goal_minor},
                headers={"authorization": f"Bearer {night.host_key}"},
            )
            assert answer.is_success, answer.text

    return change


@pytest.fixture
def connected(
    open_page: Open, pages: Watch, elsewhere: str, deployment: Deployment, night: Night
) -> Callable[..., Coroutine[Any, Any, Page]]:
    """Open the foreign page with the client in it."""

    async def connect(*, before: str = "", **given: Any) -> Page:
        topics = [f"stream/{night.stream_id}/{part}" for part in ("tally", "stock", "status")]
        asked = {"origin": deployment.url, "topics": topics} | given
        return await open_page(f"{elsewhere}/#{json.dumps(asked)}", before=before)

    return connect


async def told(page: Page, expression: str) -> Any:
    return await page.evaluate(f"() => {expression}")


async def snapshot_of(page: Page, count: int = 1) -> dict[str, Any]:
    await page.wait_for_function(f"window.told?.snapshots.length >= {count}")
    return dict(await told(page, "told.snapshots.at(-1)"))


async def sees_goal(page: Page, goal_minor: int) -> None:
    await page.wait_for_function(
        f"told.frames.some((frame) => frame.state.goal_minor === {goal_minor})", timeout=8_000
    )


@pytest.mark.parametrize("way", ["ws", "sse", "poll"])
async def test_a_page_of_another_origin_gets_a_snapshot_and_then_each_change(
    connected: Any, change_goal: Goal, night: Night, way: str
) -> None:
    page = await connected(transport=way)
    snapshot = await snapshot_of(page)
    assert {topic.split("/")[2] for topic in snapshot} == {"tally", "stock", "status"}
    goal_minor = 30_000 + len(way)
    await change_goal(goal_minor)
    await sees_goal(page, goal_minor)
    assert await told(page, "[feed.link, feed.transport]") == ["live", way]
    await page.evaluate("feed.close()")
    assert (await told(page, "told.links"))[-1] == "closed"


async def test_a_key_opens_what_is_private_and_its_end_is_told(
    connected: Any, night: Night, deployment: Deployment, pages: Watch
) -> None:
    key = {"authorization": f"Bearer {night.farmer_key}"}
    async with httpx.AsyncClient(base_url=f"{deployment.url}/v1", headers=key) as client:
        topic = f"farmer/{(await client.get('/me')).json()['farmer_id']}/sales"
        # Whoever sold nothing yet has a topic within seconds.
        async with asyncio.timeout(10):
            while not (await client.get("/feed", params={"topics": topic})).json()["frames"]:  # noqa: ASYNC110 - over HTTP nothing tells
                await asyncio.sleep(0.1)
    pages.forgiven = ("status of 404",)
    stranger = await connected(topics=[topic])
    await stranger.wait_for_function("window.told?.links.includes('refused')")
    page = await connected(topics=[topic], key=night.farmer_key, transport="poll")
    assert (await snapshot_of(page))[topic]["state"]["units"] == 0


async def test_where_no_socket_and_no_stream_comes_through_it_polls(
    connected: Any, change_goal: Goal, pages: Watch
) -> None:
    pages.forgiven = ("status of 404", "WebSocket connection", "MIME type")
    page = await connected(blocked=["ws", "sse"], before=SOONER)
    await page.wait_for_function(
        "window.feed?.transport === 'poll' && feed.link === 'live'", timeout=30_000
    )
    await snapshot_of(page)
    await change_goal(41_000)
    await sees_goal(page, 41_000)


@pytest.mark.parametrize("way", ["ws", "sse"])
async def test_after_a_cut_it_comes_back_and_asks_only_for_what_it_has_not(
    connected: Any, change_goal: Goal, way: str
) -> None:
    page = await connected(transport=way)
    before = await snapshot_of(page)
    frames = await told(page, "told.frames.length")
    await page.evaluate("window.socket ? socket.close() : source.dispatchEvent(new Event('error'))")
    assert await snapshot_of(page, 2) == before
    assert await told(page, "told.frames.length") == frames
    if way == "ws":
        have = (await told(page, "firsts"))[-1]["have"]
        assert have == {topic: [one["epoch"], one["version"]] for topic, one in before.items()}
        assert (await told(page, "firsts"))[0]["have"] == {}
    else:
        assert "have=1" in await told(page, "source.url")
    await change_goal(52_000 + len(way))
    await sees_goal(page, 52_000 + len(way))


async def test_figures_nobody_vouches_for_are_stale_until_the_next_word(connected: Any) -> None:
    page = await connected(transport="ws")
    await snapshot_of(page)
    links = "{ feed.heardAt -= 11_000; feed.look(); return told.links.at(-1); }"
    assert await page.evaluate(f"() => {links}") == "stale"
    await page.wait_for_function("told.links.at(-1) === 'live'", timeout=8_000)


async def test_old_and_repeated_frames_are_dropped(connected: Any) -> None:
    page = await connected(transport="ws")
    snapshot = await snapshot_of(page)
    newest = next(iter(snapshot.values()))
    frames = await told(page, "told.frames.length")
    for epoch, version in ((0, 0), (0, -1), (-1, 5)):
        late = newest | {
            "epoch": newest["epoch"] + epoch,
            "version": newest["version"] + version,
            "state": {"late": True},
        }
        await page.evaluate("(late) => feed.take(feed.attempt, late)", late)
    assert await told(page, "told.frames.length") == frames
    await page.evaluate(
        "(next) => feed.take(feed.attempt, next)",
        newest | {"epoch": newest["epoch"] + 1, "version": 1},
    )
    assert await told(page, "told.frames.length") == frames + 1


# --- the embed --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("locale", "label"), [("en-US", "Raised so far"), ("zh-CN", "已筹善款")])
async def test_the_embed_lives_in_a_foreign_frame_without_storage(
    open_page: Open,
    pages: Watch,
    elsewhere: str,
    deployment: Deployment,
    night: Night,
    change_goal: Goal,
    locale: str,
    label: str,
) -> None:
    page = await open_page(f"{elsewhere}/news?src=about:blank", locale=locale)
    await page.context.add_init_script(NO_STORAGE)
    await page.goto(f"{elsewhere}/news?src={deployment.url}/embed/{night.stream_id}")
    frame = page.frame_locator("iframe")
    await expect(frame.locator("#label")).to_have_text(label)
    await expect(frame.locator("#title")).to_have_text("Peanuts for all")
    await expect(frame.locator("#raised")).to_contain_text("0.00")
    await expect(frame.locator("#left")).to_contain_text("50")
    await expect(frame.locator("#test")).to_be_visible()
    goal_minor = 60_000 if locale == "en-US" else 70_000
    await change_goal(goal_minor)
    await expect(frame.locator("#goal")).to_contain_text(f"{goal_minor // 100}", timeout=5_000)
    shop = frame.locator("#shop")
    assert (await shop.get_attribute("href")) == f"/shop/{night.stream_id}"
    assert (await shop.get_attribute("rel")) == "noopener"
    await page.screenshot(path=shot(f"embed-{locale}"))


async def test_the_embed_says_when_there_is_no_such_sale(
    open_page: Open, deployment: Deployment, pages: Watch
) -> None:
    page = await open_page(f"{deployment.url}/embed/str_none", 340, 260)
    await expect(page.locator("#note")).to_have_text("There is no such sale here.")


async def test_the_embed_is_light(deployment: Deployment) -> None:
    async with httpx.AsyncClient(base_url=deployment.url) as client:
        page = await client.get("/embed/str_1")
        assert "frame-ancestors *" in page.headers["content-security-policy"]
        left, seen, size = [*re.findall(r'(?:href|src)="([^"]+\.(?:js|css))"', page.text)], set(), 0
        while left:
            address = left.pop()
            if address in seen:
                continue
            seen.add(address)
            async with client.stream("GET", address) as answer:
                size += sum([len(part) async for part in answer.aiter_raw()])
            text = (await client.get(address)).text
            left += [
                str(httpx.URL(address).join(one)) for one in re.findall(r'from "(\./[^"]+)"', text)
            ]
        assert len(seen) >= 6
        assert 5_000 < size + len(page.content) <= 20_000
