"""From a lesser way back up to a better one: a hiccup of the network must not cost a page its socket for the night.

The old way stays until the new one has given its snapshot; and nobody asks while nobody looks.
"""

from collections.abc import Awaitable, Callable

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import Open, Watch, until
from tests.browser.scripted_backend import EPOCH, Backend
from tests.browser.story import STREAM, TALLY

pytestmark = pytest.mark.browser

TOPIC = f"stream/{STREAM}/tally"
# Minutes are half a second, whatever is waited for in seconds comes sooner.
QUICK = "((wait) => { window.setTimeout = (work, ms) => wait(work, ms > 20000 ? 500 : ms / 8); })(window.setTimeout)"
HIDDEN = "(is) => Object.defineProperty(document, 'hidden', { configurable: true, get: () => is })"
CLIENT = f"""async () => {{
    const {{ connect }} = await import("/client/stream-events.js");
    window.snapshots = 0;
    window.links = [];
    window.feed = connect({{ topics: ["{TOPIC}"] }});
    feed.onFrame((frame) => (document.querySelector("#said").textContent = frame.state.raised_minor));
    feed.onSnapshot(() => (window.snapshots += 1));
    feed.onLink((link) => links.push(link));
    setInterval(() => (document.querySelector("#way").textContent = feed.transport), 50);
}}"""
PLACES = """() => {
    for (const id of ["said", "way"]) document.body.append(Object.assign(document.createElement("p"), { id }));
}"""

Says = Callable[[int], Awaitable[None]]


async def climbs(page: Page, backend: Backend, way: str, says: Says) -> None:
    """Take a page that fell to server-sent events back to the socket, and see that nothing was missed meanwhile."""
    await expect(page.locator(way)).to_have_text("sse", timeout=15_000)
    await says(1)
    await page.evaluate(HIDDEN, True)
    await page.wait_for_timeout(300)
    asked = backend.sockets_asked
    await page.wait_for_timeout(700)
    assert backend.sockets_asked == asked
    await page.evaluate(HIDDEN, False)
    await until(page, lambda: backend.sockets_asked >= asked + 2)
    backend.socket = "dumb"
    asked = backend.sockets_asked
    await until(page, lambda: backend.sockets_asked > asked)
    # Longer than a snapshot takes, had a word been said.
    await page.wait_for_timeout(1600)
    await says(2)
    await expect(page.locator(way)).to_have_text("sse")
    assert (len(backend.calls("GET", "feed/events")), backend.streams) == (1, 1)
    backend.socket = "open"
    await expect(page.locator(way)).to_have_text("ws")
    await until(page, lambda: backend.streams == 0)
    await says(3)
    assert (len(backend.sockets), len(backend.calls("GET", "feed/events"))) == (1, 1)


async def test_a_page_comes_back_to_its_socket_without_a_gap(
    open_page: Open, backend: Backend, watch: Watch
) -> None:
    watch.forgiven = ("WebSocket",)
    backend.socket = "refused"
    backend.reply("GET", "me", (200, {"id": "prn_1", "role": "overlay", "stream_id": STREAM}))
    page = await open_page(f"{backend.base}/overlay/health#key", 960, 540, before=QUICK)

    async def says(n: int) -> None:
        await backend.send(TOPIC, EPOCH, 100 + n, TALLY)
        await expect(page.locator("[data-topic=tally]")).to_contain_text(f"v{100 + n} ")

    await climbs(page, backend, "[data-fact=way]", says)
    await expect(page.locator("[data-fact=reconnects]")).to_have_text("3")


async def test_the_published_client_comes_back_to_its_socket_without_a_gap(
    open_page: Open, backend: Backend, watch: Watch
) -> None:
    watch.forgiven = ("WebSocket", "status of 404")
    backend.socket = "refused"
    page = await open_page(f"{backend.base}/overlay/tally", 960, 540, before=QUICK)
    await page.evaluate(PLACES)
    await page.evaluate(CLIENT)

    async def says(n: int) -> None:
        await backend.send(TOPIC, EPOCH, 100 + n, TALLY | {"raised_minor": n})
        await expect(page.locator("#said")).to_have_text(str(n))

    await climbs(page, backend, "#way", says)
    assert await page.evaluate("[snapshots, links]") == [2, ["connecting", "live"]]
