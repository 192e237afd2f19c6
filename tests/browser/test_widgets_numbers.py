"""What an overlay reckons and reads, down to the last digit: parameters, percents, frames held back, and when it may load
itself anew. The modules are run in a browser by themselves, with a clock and a server that do what the test says.
"""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tests.browser.conftest import SOONER, Open, Watch
from tests.browser.scripted_backend import EPOCH, Backend
from tests.browser.story import STREAM, TALLY, TONIGHT

pytestmark = pytest.mark.browser

TOPIC = f"stream/{STREAM}/tally"


@pytest_asyncio.fixture(loop_scope="session")
async def page(open_page: Open, backend: Backend) -> AsyncIterator[Page]:
    """A page of an overlay without a key: it asks nothing, and its modules can be imported."""
    backend.reply("GET", "me", (200, {"id": "prn_1", "role": "overlay", "stream_id": STREAM}))
    yield await open_page(f"{backend.base}/overlay/tally", 960, 540)


async def run(page: Page, module: str, body: str, *given: Any) -> Any:
    """Run ``body`` with ``m``, the module of that name, and ``given``."""
    base = await page.evaluate("document.querySelector('script[type=module]').src")
    url = base.replace("main.js", module)
    return await page.evaluate(
        f"async ([url, given]) => {{ const m = await import(url); {body} }}", [url, list(given)]
    )


ACCEPTED = (
    ("theme=paper", "theme", "paper"),
    ("accent=%23FF8800", "accent", "#ff8800"),
    ("accent=f80", "accent", "#f80"),
    ("bg=none", "bg", "none"),
    ("bg=00000080", "bg", "#00000080"),
    ("delay_ms=60000", "delay_ms", 60000),
    ("stale_after=30s", "stale_after", 30),
    ("tz=Asia/Shanghai", "tz", "Asia/Shanghai"),
    ("scale=1.25", "scale", 1.25),
    ("test=1", "test", True),
    ("group=second-screen", "group", "second-screen"),
    ("locale=zh-CN", "locale", "zh-CN"),
)
REFUSED = (
    *("theme=Night", "theme=", "accent=red", "accent=%23ff", "accent=url(x)", "bg=none;color:red"),
    *("delay_ms=60001", "delay_ms=-1", "delay_ms=1e3", "delay_ms=0x10", "delay_ms= 5", "scale=0.1"),
    *("scale=Infinity", "fps_cap=0", "stale_after=5", "tz=Mars/Base", "group=../x", "group=A"),
    *("locale=fr", "test=yes", "radius=61", "__proto__=1", "constructor=1", "nonsense=1"),
    *(
        "transport=carrier-pigeon",
        "locale=en&locale=zh",
    ),
)


async def test_parameters_are_read_or_ignored_and_listed(page: Page) -> None:
    body = """
        const { values: plain } = m.readParameters("");
        const accepted = given[0].map(([query, name]) => m.readParameters(query).values[name]);
        const refused = given[1].map((query) => {
            const { values, ignored } = m.readParameters(query);
            const same = JSON.stringify({ ...values, locale: null }) === JSON.stringify(plain);
            return same ? ignored.length : `${query} got through`;
        });
        const many = m.readParameters(Array.from({ length: 99 }, (_, n) => `x${n}=${"y".repeat(999)}`).join("&"));
        return { accepted, refused, many: many.ignored.length, chars: many.ignored[0].value.length };
    """
    got = await run(page, "parameters.js", body, ACCEPTED, REFUSED)
    assert got["accepted"] == [value for _, _, value in ACCEPTED]
    assert got["refused"] == [1] * len(REFUSED)
    assert (got["many"], got["chars"]) == (12, 40)


async def test_percents_are_rounded_down_at_any_size(page: Page) -> None:
    body = "return given.map(([part, whole]) => m.partBp(part, whole));"
    cases = [[0, 100], [1, 3], [4_999_999, 5_000_000], [5, 5], [7, 5], [-3, 5], [1, 0]]
    cases.append([9_007_199_254_740_990, 9_007_199_254_740_991])
    got = await run(page, "pieces.js", body, *cases)
    assert got == [0, 3333, 9999, 10_000, 14_000, 0, 0, 9999]


async def test_frames_are_held_back_in_order_and_few_of_them(page: Page) -> None:
    body = """
        const seen = [];
        const held = new m.Held(400, (frame) => seen.push([frame.topic, frame.n, performance.now() - started]));
        const started = performance.now();
        for (let n = 0; n < 1000; n += 1) held.put({ topic: n % 2 ? "a" : "b", n });
        const waiting = held.waiting.length;
        await new Promise((wake) => setTimeout(wake, 150));
        held.put({ topic: "a", n: 1001 });
        await new Promise((wake) => setTimeout(wake, 200));
        const early = seen.length;
        await new Promise((wake) => setTimeout(wake, 400));
        return { waiting, early, order: seen.map(([topic, n]) => topic + n), soonest: Math.min(...seen.map((s) => s[2])) };
    """
    got = await run(page, "held.js", body)
    assert got["waiting"] == 2
    assert got["early"] == 0
    assert got["order"] == ["b998", "a999", "a1001"]
    assert got["soonest"] >= 399


async def test_it_loads_itself_anew_only_when_there_is_something_to_show(page: Page) -> None:
    body = """
        let reloads = 0;
        const facts = { silentMs: 31_000, proof: true, idle: true };
        // Without its jitter and its own rounds, so that the test is the clock.
        const real = { random: Math.random, every: window.setInterval };
        Math.random = () => 0;
        window.setInterval = () => 0;
        const upkeep = new m.Upkeep({
            silenceMs: () => facts.silentMs, proof: async () => facts.proof, idle: () => facts.idle,
            reload: () => (reloads += 1),
        });
        const after = async (changes) => { Object.assign(facts, changes); await upkeep.look(); return reloads; };
        const said = {
            heardLately: await after({ silentMs: 29_000 }),
            serverSilent: await after({ silentMs: 31_000, proof: false }),
            serverAnswers: await after({ proof: true }),
            againTooSoon: await after({}),
            againLater: await after({ silentMs: 61_000 }),
            stillLater: await after({ silentMs: 61_000 }),
        };
        upkeep.heard();
        said.heardAgain = await after({ silentMs: 31_000 });
        upkeep.onBuild(m.build);
        await new Promise((wake) => setTimeout(wake, 50));
        said.sameBuild = reloads;
        upkeep.onBuild("another");
        await new Promise((wake) => setTimeout(wake, 300));
        said.newBuild = reloads;
        Math.random = real.random;
        window.setInterval = real.every;
        return said;
    """
    assert await run(page, "upkeep.js", body) == {
        "heardLately": 0,
        "serverSilent": 0,
        "serverAnswers": 1,
        "againTooSoon": 1,
        "againLater": 2,
        "stillLater": 2,
        "heardAgain": 3,
        "sameBuild": 3,
        "newBuild": 4,
    }


@pytest.mark.parametrize("way", ["sse", "poll"])
async def test_the_same_frames_come_another_way(
    way: str, open_page: Open, backend: Backend
) -> None:
    backend.reply("GET", "me", (200, {"id": "prn_1", "role": "overlay", "stream_id": STREAM}))
    page = await open_page(f"{backend.base}/overlay/tally?transport={way}#key", 960, 540)
    await expect(page.locator(".figure")).to_have_attribute("aria-label", "¥12,845.60")
    await backend.send(TOPIC, EPOCH, 9, TALLY | {"raised_minor": 2_00})
    await expect(page.locator(".figure")).to_have_attribute("aria-label", "¥2.00")
    assert backend.calls("POST", "socket-tickets") == []
    assert backend.sockets == {}


async def test_where_no_socket_gets_through_another_way_is_found(
    open_page: Open, backend: Backend, watch: Watch
) -> None:
    watch.forgiven = ("WebSocket", "503")
    backend.reply("GET", "me", (200, {"id": "prn_1", "role": "overlay", "stream_id": STREAM}))
    backend.reply("POST", "socket-tickets", (503, {"code": "unavailable", "retry_after_ms": 1}))
    page = await open_page(f"{backend.base}/overlay/tally#key", 960, 540, before=SOONER)
    await expect(page.locator(".figure")).to_have_attribute("aria-label", "¥12,845.60")
    assert len(backend.calls("POST", "socket-tickets")) == 3


async def test_tonight_is_told_and_painting_has_a_pace(open_page: Open, backend: Backend) -> None:
    backend.reply("GET", "me", (200, {"id": "prn_1", "role": "overlay", "stream_id": STREAM}))
    page = await open_page(f"{backend.base}/overlay/tally?scope=tonight&fps_cap=4#key", 960, 540)
    figure = page.locator(".figure")
    await expect(figure).to_have_attribute("aria-label", "¥4,128.80")
    await expect(page.locator("h2")).to_have_text("Raised so far · tonight")
    await page.evaluate(
        """() => {
            window.changes = 0;
            const look = new MutationObserver(() => { window.changes += 1; });
            look.observe(document.querySelector(".figure"), { attributes: true, attributeFilter: ["aria-label"] });
        }"""
    )
    for n in range(30):
        topic = f"stream/{STREAM}/tonight"
        await backend.send(topic, EPOCH, 10 + n, TONIGHT | {"raised_minor": 500_000 + n})
    await expect(figure).to_have_attribute("aria-label", "¥5,000.29")
    assert await page.evaluate("window.changes") <= 3


async def test_hours_of_frames_leave_nothing_behind(open_page: Open, backend: Backend) -> None:
    """As many frames as come in an hour at 2 Hz; what the page holds afterwards is what it held before."""
    backend.reply("GET", "me", (200, {"id": "prn_1", "role": "overlay", "stream_id": STREAM}))
    page = await open_page(f"{backend.base}/overlay/all?fps_cap=60#key", 960, 540)
    await expect(page.locator("#card[data-state=shown]")).to_be_visible()
    cdp = await page.context.new_cdp_session(page)

    async def held() -> tuple[int, int, int]:
        await cdp.send("HeapProfiler.collectGarbage")
        counters = await cdp.send("Memory.getDOMCounters")
        heap = (await cdp.send("Runtime.getHeapUsage"))["usedSize"]
        return counters["nodes"], counters["jsEventListeners"], heap

    async def storm(first: int, frames: int) -> None:
        for n in range(first, first + frames):
            await backend.send(TOPIC, EPOCH, 10 + n, TALLY | {"raised_minor": 1_000_000 + n * 37})
        text = f"¥{(1_000_000 + (first + frames - 1) * 37) / 100:,.2f}"
        await expect(page.locator("#raised")).to_have_attribute("aria-label", text)

    await storm(0, 600)
    nodes, listeners, heap = await held()
    await storm(600, 6600)
    after = await held()
    assert after[0] <= nodes + 40
    assert after[1] <= listeners
    assert after[2] <= heap + 300_000
