"""A browser for the tests of this folder: Chromium as the system has it, and pages that tell on themselves.

The headless shell is the same engine without windows of its own, which costs a third less.

Every page opened here is watched: an error in its console, an exception in its scripts or a request to a host that
is none of ours fails the test that opened it, whatever else the test looked at.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from tests.browser.scripted_backend import Backend, serving
from tests.browser.story import FRONT, TOPICS

NAMES = (
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
)
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# A page's scripts wait an eighth as long, where a test would only wait; what moves by itself moves as it did.
SOONER = "((wait) => { window.setTimeout = (work, ms) => wait(work, ms / 8); })(window.setTimeout)"
# And by their clock they waited in full.
FASTER = (
    SOONER + ";((now) => { performance.now = () => now() * 8; })(performance.now.bind(performance))"
)
SHOTS = Path(__file__).parents[2] / "out" / "screenshots"


def chromium() -> str | None:
    """Return the path of a Chromium on this machine, or None."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One Chromium for the run."""
    path = chromium()
    if path is None:
        pytest.skip(
            f"no Chromium here: none of {', '.join(NAMES)} is on PATH, and CHROMIUM is not set"
        )
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield started
        await started.close()


@dataclass
class Watch:
    """What went wrong on the pages of a test."""

    allowed: set[str] = field(default_factory=set)
    troubles: list[str] = field(default_factory=list)
    forgiven: tuple[str, ...] = ()
    contexts: list[BrowserContext] = field(default_factory=list)

    async def leave(self) -> None:
        """Close every page: before the server behind them ends, or they would complain about that."""
        while self.contexts:
            await self.contexts.pop().close()

    def follow(self, page: Page) -> None:
        """Listen to a page."""
        page.on("pageerror", lambda error: self.troubles.append(f"exception: {error}"))
        page.on("dialog", lambda dialog: self.troubles.append(f"dialog: {dialog.message}"))
        page.on(
            "console",
            lambda said: (
                said.type in ("error", "warning")
                and self.troubles.append(f"console: {said.text} ({said.location.get('url')})")
            ),
        )
        page.on("request", lambda request: self._request(request.url))
        page.on("websocket", lambda socket: self._request(socket.url))

    def _request(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and parts.netloc not in self.allowed:
            self.troubles.append(f"foreign request: {url}")

    def verdict(self) -> list[str]:
        """Return what nobody forgave."""
        return [one for one in self.troubles if not any(text in one for text in self.forgiven)]


Open = Callable[..., Awaitable[Page]]


@pytest.fixture
def watch() -> Watch:
    """What the pages of this test did wrong; a test may forgive what it provokes."""
    return Watch()


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(browser: Browser, watch: Watch) -> AsyncIterator[Open]:
    """A function that opens a page in a context of its own, 360 × 780 and in English unless told otherwise; ``before`` runs first."""

    async def opened(
        url: str, width: int = 360, height: int = 780, *, locale: str = "en-US", before: str = ""
    ) -> Page:
        context = await browser.new_context(
            viewport={"width": width, "height": height}, locale=locale
        )
        watch.contexts.append(context)
        page = await context.new_page()
        watch.allowed.add(urlsplit(url).netloc)
        watch.follow(page)
        if before:
            await page.add_init_script(before)
        await page.goto(url)
        return page

    yield opened
    await watch.leave()
    assert watch.verdict() == []


@pytest_asyncio.fixture(loop_scope="session")
async def backend(browser: Browser, watch: Watch) -> AsyncIterator[Backend]:
    """A backend that says what the test tells it, with the peanuts of the story on sale."""
    async with serving(Backend(storefront=dict(FRONT))) as scripted:
        for part, state in TOPICS.items():
            await scripted.say(f"stream/{FRONT['id']}/{part}", **state)
        yield scripted
        await watch.leave()


def shot(name: str) -> Path:
    """Return where a screenshot of that name goes; the folder is not kept in the repository."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    return SHOTS / f"{name}.png"


async def until(page: Page, true: Callable[[], bool]) -> None:
    """Wait for what no locator tells."""
    async with asyncio.timeout(10):
        while not true():
            await page.wait_for_timeout(20)


async def leap(page: Page, ms: int) -> None:
    """Tell the scripts of a page that so much time has passed; its timers run as they did."""
    await page.evaluate(
        "(ms) => { const n = performance.now.bind(performance); performance.now = () => n() + ms; }",
        ms,
    )
