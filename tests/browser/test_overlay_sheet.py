"""One picture of every overlay widget over a studio, for docs/overlays.png and for whoever changes a style sheet.

Run it with ``pytest -m sweep tests/browser/test_overlay_sheet.py``: the sheet is left in out/screenshots, as are the
single pictures in both layouts, all themes and both languages. What was looked at is copied to docs by hand.
"""

import asyncio
from pathlib import Path
from typing import Final

import pytest
from playwright.async_api import Browser, BrowserContext

from tests.browser.conftest import Watch, shot
from tests.browser.people import GIFT, NAMES, alerts, instant, on_air, tell, tell_all
from tests.browser.scripted_backend import Backend
from tests.browser.story import STREAM
from tests.browser.test_overlay import put_on_stage
from tests.browser.widget_rows import states_before

pytestmark = [pytest.mark.browser, pytest.mark.sweep]

THEMES: Final = ("night", "day", "paper")
WIDGETS: Final = (
    ("all", "night", ""),
    ("tally", "night", ""),
    ("goal", "paper", "&style=ring"),
    ("milestones", "day", ""),
    ("product", "paper", ""),
    ("stock", "night", ""),
    ("countdown", "day", ""),
    ("qr", "paper", ""),
    ("alerts", "night", ""),
    ("ticker", "day", ""),
    ("leaderboard", "paper", ""),
    ("match", "night", ""),
    ("farmer", "day", ""),
    ("credits", "paper", ""),
    ("health", "night", ""),
)
SIZES: Final = {"landscape": (1920, 1080), "vertical": (1080, 1920)}
SHEET: Final = """<!doctype html><meta charset="utf-8"><style>
    body { background: #191512; color: #f4ead8; display: grid; font: 600 20px system-ui, sans-serif; gap: 18px;
        grid-template-columns: repeat(3, 480px); margin: 0; padding: 24px; width: 1476px; }
    figure { margin: 0; } img { border-radius: 10px; display: block; height: 270px; width: 480px; }
    figcaption { padding: 8px 4px 0; } small { font-weight: 400; opacity: 0.7; }
</style>"""


async def every_topic(backend: Backend) -> None:
    """Publish the whole night, with a gift on air."""
    await tell_all(backend)
    for part, state in states_before().items():
        await tell(backend, part, **state)
    await tell(backend, "names", **NAMES)
    gift = on_air("air_9", **GIFT, ends_at=instant(600))
    await tell(backend, "alerts/main", **alerts(gift))


async def picture(context: BrowserContext, backend: Backend, watch: Watch, asked: str) -> Path:
    """Return a picture of a widget as OBS would show it."""
    page = await context.new_page()
    watch.follow(page)
    await page.goto(f"{backend.base}/overlay/{asked}#se_overlay_key")
    await page.locator("#card[data-state=shown]").wait_for(state="attached", timeout=60_000)
    await put_on_stage(page)
    await asyncio.sleep(1.5 if asked.startswith(("ticker", "credits")) else 0.9)
    path = shot("sheet-" + asked.translate(str.maketrans("?=&", "---")))
    await page.screenshot(path=path)
    await page.close()
    return path


async def test_the_sheet(browser: Browser, backend: Backend, watch: Watch) -> None:
    watch.allowed.add(backend.base.removeprefix("http://"))
    await every_topic(backend)
    context = await browser.new_context(
        viewport={"width": 1920, "height": 1080}, locale="en-US", device_scale_factor=0.5
    )
    watch.contexts.append(context)
    taken = [
        (widget, theme, await picture(context, backend, watch, f"{widget}?theme={theme}{more}"))
        for widget, theme, more in WIDGETS
    ]
    page = await context.browser.new_page() if context.browser else await context.new_page()
    sheet = shot("overlays").with_suffix(".html")
    figures = "".join(
        f"<figure><img src='{path.name}'><figcaption>{widget} <small>{theme}</small></figcaption></figure>"
        for widget, theme, path in taken
    )
    sheet.write_text(SHEET + figures, "utf-8")
    await page.set_viewport_size({"width": 1524, "height": 900})
    await page.goto(sheet.as_uri())
    await page.screenshot(path=shot("overlays"), full_page=True)
    await page.close()


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
@pytest.mark.parametrize("layout", list(SIZES))
async def test_every_look(
    browser: Browser, backend: Backend, watch: Watch, layout: str, locale: str
) -> None:
    watch.allowed.add(backend.base.removeprefix("http://"))
    await every_topic(backend)
    width, height = SIZES[layout]
    context = await browser.new_context(
        viewport={"width": width, "height": height}, locale=locale, device_scale_factor=0.5
    )
    watch.contexts.append(context)
    for n, (widget, _, more) in enumerate(WIDGETS):
        theme = THEMES[(n + (layout == "vertical") + (locale == "zh-CN")) % len(THEMES)]
        query = f"?layout={layout}&theme={theme}&locale={locale}{more}"
        await picture(context, backend, watch, widget + query)
    assert backend.topics[f"stream/{STREAM}/tally"]["version"] > 0
