"""The sockets bench: a whole audience is cut at once and comes back, and viewers that never read hold nobody up.

First a gateway with all its viewers is killed and started again: how long until everybody is back by the pages' own rule,
has the newest version, and what that asks of the database. Then mute viewers stand beside healthy ones while frames are
published: the gateway's memory, the fate of the mute, the delay of the others. Both with the real API and gateway.
"""

import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncpg
import msgspec
from redis.asyncio import Redis

from loadtests.bench import processes
from loadtests.bench.broadcasters import (
    CHANNEL,
    SUBPROTOCOL,
    TOPIC,
    Broadcaster,
    Cores,
    Tickets,
    frame,
    our_gateway,
)
from loadtests.bench.contenders import WrongRun
from loadtests.bench.cpu import resident_kib
from loadtests.bench.fanout import raise_descriptors, watched
from loadtests.bench.machine import machine
from loadtests.bench.processes import Server

SOCKETS: Final = 5_000
MUTE: Final = 500
MINUTES: Final = 10.0
HEALTHY: Final = 500
CUT_HZ: Final = 2
MUTE_HZ: Final = 10
# As long as a board of many products: what a mute viewer does not read must pile up in this short time.
MUTE_FRAME_BYTES: Final = 1_500
DOWN_S: Final = 1.0
SPAN_S: Final = 45.0
ALL_BACK_S_MAX: Final = 120.0
# PostgreSQL's processes tell what they did at the latest when they were idle for ten seconds.
STATISTICS_S: Final = 11.0
LOOK_S: Final = 0.25
WITNESS_LATER_S: Final = 1.5
SAMPLES_MAX: Final = 120
ANYWHERE: Final = Cores(frozenset(), frozenset())

AT_LEAST: Final = {"newest_share": 1.0, "mute_cut_share": 1.0, "told_4008_share": 1.0}
AT_MOST: Final = {
    "all_back_s": 35.0,
    "sql_per_ticket": 0.02,
    "rss_growth_kib_per_mute": 64.0,
    "healthy_delay_ms_p99": 250.0,
}

MEASURED: Final = {
    "all_back_s": "from SIGKILL until the last viewer was greeted again; the gateway is started again a second later",
    "back_ms": "the same for each viewer; each asks the API for a ticket of its own, on a connection of its own",
    "sql_per_ticket": (
        "transactions of the database while the audience came back, less those of the same restart with nobody watching,"
        " by the tickets asked for; both spans are as long, and what the bench wrote itself is taken off. The loops of"
        " the processes themselves (sql_transactions.idle) make two spans differ by some dozens, more or fewer"
    ),
    "rss_growth_kib_per_mute": "growth of the gateway's resident memory at its worst, by the number of mute viewers",
    "mute_cut_share": "mute viewers that were closed at least once, by their number; viewer_cut in the gateway's log are cuts",
    "told_4008_share": "of the mute viewers that were cut and read again at once, those that were told 4008",
    "healthy_delay_ms_p99": "from when a frame was due to its receipt by viewers beside the mute ones",
}


@dataclass(slots=True)
class Crowd:
    """The process that holds the viewers who come back."""

    client: asyncio.subprocess.Process

    async def ask(self, **command: Any) -> dict[str, Any]:
        """Tell it to do something, and return its answer."""
        assert self.client.stdin is not None
        assert self.client.stdout is not None
        self.client.stdin.write(json.dumps(command).encode() + b"\n")
        line = await self.client.stdout.readline()
        if not line:
            raise WrongRun("the viewers' process ended")
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def until(self, fits: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        """Wait until what it tells fits."""
        ends = time.monotonic() + ALL_BACK_S_MAX
        while True:
            told = await self.ask(do="tell")
            if fits(told):
                return told
            if time.monotonic() > ends:
                raise WrongRun(f"not {what} after {ALL_BACK_S_MAX:.0f} s: {told}")
            await asyncio.sleep(LOOK_S)


@asynccontextmanager
async def crowd() -> AsyncIterator[Crowd]:
    """Run a process for viewers, without any at first."""
    client = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "loadtests.bench.returners"),
        cwd=processes.ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Crowd(client)
    finally:
        if client.returncode is None:
            client.kill()
        await client.wait()


@dataclass(slots=True)
class Stage:
    """A deployment whose gateway can be killed, and an announcer of one topic: first in SQL, then on the bus."""

    folder: Path
    settings: dict[str, str]
    redis: Redis
    books: asyncpg.Connection
    statistics: asyncpg.Connection
    api: Server
    gateway: AsyncExitStack = field(default_factory=AsyncExitStack)
    gateway_pid: int = 0
    version: int = 0
    quiet: bool = False
    away_s: float = 0.0

    async def start_gateway(self) -> None:
        """Start a gateway, and wait until it answers."""
        self.gateway = AsyncExitStack()
        self.gateway_pid = await self.gateway.enter_async_context(
            our_gateway(self.folder, self.settings, ANYWHERE)
        )

    async def restart_gateway(self) -> None:
        """Kill the gateway, and start another one on the same port a little later."""
        os.kill(self.gateway_pid, signal.SIGKILL)
        killed = time.monotonic()
        await asyncio.gather(self.gateway.aclose(), asyncio.sleep(DOWN_S))
        await self.start_gateway()
        self.away_s = time.monotonic() - killed

    async def announce(self) -> None:
        """Publish a new version ``CUT_HZ`` times a second."""
        while True:
            await asyncio.sleep(1 / CUT_HZ)
            if not self.quiet:
                self.version += 1
                text = frame(self.version, time.time_ns())
                state = msgspec.json.encode(msgspec.json.decode(text)["state"]).decode()
                await self.books.execute(_WRITE, TOPIC, self.version, state)
                await self.redis.publish(CHANNEL, b"[" + text + b"]")

    async def span(self, happening: Callable[[], Awaitable[None]], seconds: float = SPAN_S) -> int:
        """Return how many transactions others made while something happened, and until so long after it began."""
        before = await self._transactions(), self.version
        ends = time.monotonic() + seconds
        await happening()
        await asyncio.sleep(max(0.0, ends - time.monotonic()))
        after = await self._transactions(), self.version
        return after[0] - before[0] - (after[1] - before[1])

    async def _transactions(self) -> int:
        # Nobody writes meanwhile, so that everything that was written is told.
        self.quiet = True
        await asyncio.sleep(STATISTICS_S)
        found: int = await self.statistics.fetchval(_TRANSACTIONS, _database_of(self.books))
        self.quiet = False
        return found


async def sockets(count: int, mute: int, minutes: float) -> dict[str, Any]:
    """Run the bench and return its report; raises ``WrongRun`` when somebody never came back or has an old frame."""
    about = machine()
    raise_descriptors()
    async with asyncio.timeout(900 + 90 * minutes), AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        stage = await stack.enter_async_context(set_up(folder))
        returned = await cut_at_once(stage, count)
        print(
            f"{count} sockets: all back after {returned['all_back_s']:.1f} s,"
            f" {returned['sql_surplus']} transactions more than without viewers,"
            f" gateway away for {returned['gateway_away_s']:.1f} s",
            flush=True,
        )
        muted = await stand_mute(stage, mute, minutes)
    about["load_average_after"] = [round(load, 2) for load in os.getloadavg()]
    return report(about, returned, muted)


@asynccontextmanager
async def set_up(folder: Path) -> AsyncIterator[Stage]:
    """Run engines, the API, and a gateway."""
    async with AsyncExitStack() as stack:
        urls = await stack.enter_async_context(processes.engines(folder))
        redis = Redis.from_url(urls["redis_url"])
        stack.push_async_callback(redis.aclose)
        key = os.urandom(32).hex()
        settings = processes.settings_of(folder, urls) | {
            "STREAM_EVENTS_SECRET_KEY": key,
            "STREAM_EVENTS_LOG_LEVEL": "info",
        }
        api = await stack.enter_async_context(processes.our_server(folder, settings, workers=False))
        books = await asyncpg.connect(urls["database_url"])
        stack.push_async_callback(books.close)
        # In another database, so that looking does not count as something that happened.
        statistics = await asyncpg.connect(urls["database_url"], database="template1")
        stack.push_async_callback(statistics.close)
        stage = Stage(folder, settings, redis, books, statistics, api)
        await stage.start_gateway()
        try:
            yield stage
        finally:
            await stage.gateway.aclose()


async def cut_at_once(stage: Stage, count: int) -> dict[str, Any]:
    """Kill the gateway under all its viewers, and see them come back."""
    announcing = asyncio.create_task(stage.announce())
    try:
        # The first span only lets the processes find their pace.
        await stage.span(_nothing, STATISTICS_S)
        alone = await stage.span(stage.restart_gateway)
        async with crowd() as viewers:
            port = stage.api.address.port
            await viewers.ask(do="watch", topic=TOPIC, api_port=port, count=count, mute=False)
            await viewers.until(lambda told: told["watching"] == count, "everybody in")
            idle = await stage.span(_nothing)
            back: dict[str, Any] = {}

            async def cut() -> None:
                await viewers.ask(do="begin")
                await stage.restart_gateway()
                back.update(await viewers.until(lambda told: told["back"] == count, "all back"))

            together = await stage.span(cut)
            # The last version was published before the span's end, so everybody must have it at once.
            seen = await viewers.until(
                lambda told: told["have_newest"] == count and told["newest"] >= stage.version - 1,
                "all at the newest version",
            )
    finally:
        announcing.cancel()
    return {
        "sockets": count,
        "all_back_s": back["back_ms"]["100"] / 1000,
        "back_ms": back["back_ms"],
        "newest_share": seen["have_newest"] / count,
        "gateway_away_s": round(stage.away_s, 1),
        "sql_per_ticket": round(max(0, together - alone) / back["counted"]["tickets"], 4),
        "sql_surplus": together - alone,
        "sql_transactions": {"idle": idle, "restart_alone": alone, "restart_with_all": together},
        "span_s": SPAN_S + STATISTICS_S,
        "came_back": back["counted"],
    }


async def stand_mute(stage: Stage, mute: int, minutes: float) -> dict[str, Any]:
    """Publish to healthy viewers beside mute ones, and watch what those cost."""
    await stage.gateway.aclose()
    await stage.start_gateway()

    async def publish(text: bytes) -> None:
        await stage.redis.publish(CHANNEL, b"[" + text + b"]")

    server = Broadcaster(
        "ours",
        stage.gateway_pid,
        int(stage.settings["STREAM_EVENTS_GATEWAY_PORT"]),
        publish,
        protocol=SUBPROTOCOL,
        first=Tickets(stage.api).first_message,
    )
    async with crowd() as viewers, watched(server) as healthy:
        healthy.version, healthy.frame_bytes = stage.version + 1, MUTE_FRAME_BYTES
        await healthy.let_in(HEALTHY)
        port = stage.api.address.port
        await viewers.ask(do="watch", topic=TOPIC, api_port=port, count=mute, mute=True)
        await viewers.until(lambda told: told["mute"] == mute, "everybody mute")
        await viewers.ask(do="begin")
        done = asyncio.Event()
        looking = asyncio.create_task(look_after(stage, viewers, done))
        try:
            run = await healthy.run(MUTE_HZ, 60 * minutes)
        finally:
            done.set()
            rss = await looking
        seen = await viewers.ask(do="tell")
    return muted(mute, seen["cut"], cuts_in(stage), seen["counted"], rss) | {
        "minutes": minutes,
        "healthy": HEALTHY,
        "healthy_delay_ms_p50": run.delay_ms_p50,
        "healthy_delay_ms_p99": run.delay_ms_p99,
        "healthy_client_cpu": round(run.client_cpu, 2),
    }


async def look_after(stage: Stage, viewers: Crowd, done: asyncio.Event) -> list[float]:
    """Until it is done, note the gateway's memory; once it cuts, let some of the mute read why.

    The first cut tells for how long a viewer may be mute; each witness reads again a little after that, before its
    connection is gone for good.
    """
    rss: list[float] = []
    patience_s: float | None = None
    while not done.is_set():
        rss.append(resident_kib(stage.gateway_pid))
        if patience_s is None and cuts_in(stage):
            patience_s = (await viewers.ask(do="tell"))["mute_s_max"]
        if patience_s is not None:
            await viewers.ask(do="wake", mute_s=patience_s + WITNESS_LATER_S)
        await asyncio.sleep(LOOK_S)
    return rss


def cuts_in(stage: Stage) -> int:
    """Return how many viewers the gateway says it has cut because they did not read."""
    return (stage.folder / "gateway.log").read_bytes().count(b"viewer_cut")


def muted(
    mute: int, cut: int, cuts: int, counted: dict[str, int], rss: list[float]
) -> dict[str, Any]:
    """Return what became of the mute viewers, and of the gateway's memory beside them."""
    told = counted.get("woken: 4008", 0)
    woken = told + counted.get("woken: untold", 0)
    quarter = max(1, len(rss) // 4)
    step = max(1, -(-len(rss) // SAMPLES_MAX))
    return {
        "mute": mute,
        "mute_cut_share": cut / mute,
        "cuts": cuts,
        "told_4008_share": told / woken if woken else 0.0,
        "mute_fates": counted,
        "rss_growth_kib_per_mute": round((max(rss) - rss[0]) / mute, 1),
        "rss_kib": {
            "first": rss[0],
            "most_of_quarters": [max(rss[n * quarter :][:quarter], default=0.0) for n in range(4)],
            "over_time": rss[::step],
        },
    }


def report(
    about: dict[str, Any], returned: dict[str, Any], stood: dict[str, Any]
) -> dict[str, Any]:
    """Return what was measured, and what of the goals was met."""
    figures = returned | stood
    met = {name: figures[name] >= least for name, least in AT_LEAST.items()}
    met |= {name: figures[name] <= most for name, most in AT_MOST.items()}
    return {
        "name": "sockets",
        "machine": about,
        "results": figures | {"measured": MEASURED},
        "ratios": {},
        "targets": {name: {"at_least": least} for name, least in AT_LEAST.items()}
        | {name: {"at_most": most} for name, most in AT_MOST.items()},
        "met": met,
    }


async def _nothing() -> None:
    return


def _database_of(books: asyncpg.Connection) -> str:
    name: str = books._params.database  # noqa: SLF001 - the driver tells it nowhere else without a query
    return name


_TRANSACTIONS: Final = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = $1"
_WRITE: Final = """
INSERT INTO topics (topic, epoch, version, state, at) VALUES ($1, 1, $2, $3, now())
ON CONFLICT (topic) DO UPDATE SET version = excluded.version, state = excluded.state, at = excluded.at
"""
