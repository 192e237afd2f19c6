"""The sell-out bench: the whole order path beside the ways it could have been built, in one run, on one machine.

Everybody gets the same engines and the same load client; runs are short and interleaved, so that whatever else the
machine does hits all alike; medians are told, and ratios are what counts.
"""

import asyncio
import os
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import asyncpg
from redis.asyncio import Redis

from loadtests.bench import processes
from loadtests.bench.contenders import (
    PEER_TABLES,
    Contender,
    HotRow,
    Orm,
    Ours,
    Stateless,
    WrongRun,
    order_requests,
)
from loadtests.bench.load import CLIENT_BOUND, Run, drive
from loadtests.bench.machine import engine_settings, machine
from loadtests.crowd import Crowd
from loadtests.figures import median
from loadtests.journal import Journal
from loadtests.seeding import make_sale

LEVELS: Final = (64, 256, 1024)
SATURATED: Final = 256
SELLOUT_UNITS: Final = 11_483
SELLOUT_ATTEMPTS: Final = 30_000
SELLOUT_S_MAX: Final = 60.0
SHOPPERS: Final = 4_000
LATE_SHOPPERS: Final = 200
BENCH_S_MAX: Final = 420.0

AT_LEAST: Final = {
    "over_framework": 2.0,
    "over_hot_row": 8.0,
    "over_orm": 10.0,
    "flatness": 0.9,
    "refused_of_raw": 0.5,
}
AT_MOST: Final = {"ack_ms_p99": 60.0, f"sellout_{SELLOUT_UNITS}_s": 5.0}

Runs = dict[tuple[str, int], list[Run]]


class Field(NamedTuple):
    """Everybody who runs, and the engines they share."""

    ours: Ours
    raw: Stateless
    others: tuple[Contender, ...]
    engines: dict[str, Any]

    @property
    def all(self) -> tuple[Contender, ...]:
        """Return all of them, in the order of a round."""
        return (self.ours, self.raw, *self.others)


async def sellout(rounds: int, seconds: float, levels: Sequence[int] = LEVELS) -> dict[str, Any]:
    """Run the bench and return its report; raises ``WrongRun`` for a run that was fast but wrong."""
    about = machine()
    async with asyncio.timeout(BENCH_S_MAX):
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            async with take_the_field(Path(folder)) as field:
                runs = await measure(field, rounds, seconds, levels)
                sales = [await sell_out(field.ours, Path(folder)) for _ in range(rounds)]
                refusals = await refuse(field, sales[-1][1], rounds, seconds)
                about["engines"] = field.engines
    about["load_average_after"] = [round(load, 2) for load in os.getloadavg()]
    return report(about, runs, [s for s, _ in sales], refusals)


@asynccontextmanager
async def take_the_field(folder: Path) -> AsyncIterator[Field]:
    """Start the engines, our server and all peers; end them all."""
    async with AsyncExitStack() as stack:
        urls = await stack.enter_async_context(processes.engines(folder))
        settings = processes.settings_of(folder, urls)
        server = await stack.enter_async_context(processes.our_server(folder, settings))
        names = ("raw", "framework", "hot_row", "orm")
        peers = {
            name: await stack.enter_async_context(processes.peer(name, folder, urls))
            for name in names
        }
        database = await asyncpg.connect(urls["database_url"])
        stack.push_async_callback(database.close)
        redis = Redis.from_url(urls["redis_url"])
        stack.push_async_callback(redis.aclose)
        await database.execute(PEER_TABLES)
        key = await processes.operator_key(folder, urls)
        crowd = Crowd(
            server.address, "", "", units_total=0, journal=Journal(folder), on_placed=print
        )
        await crowd.gather(SHOPPERS, 60)
        tokens = [shopper.token for shopper in crowd.shoppers]
        yield Field(
            Ours(server, key, crowd.shoppers, database),
            Stateless("raw", peers["raw"], tokens),
            (
                Stateless("framework", peers["framework"], tokens),
                HotRow(peers["hot_row"], tokens, database),
                Orm(peers["orm"], tokens, database, redis),
            ),
            await engine_settings(database, redis),
        )


async def measure(field: Field, rounds: int, seconds: float, levels: Sequence[int]) -> Runs:
    """Let everybody run at every level, round after round."""
    runs: Runs = defaultdict(list)
    for number in range(rounds):
        for connections in levels:
            for contender in field.all:
                request = await contender.prepare()
                run = await drive(contender.server, connections, seconds, request)
                await contender.check(run)
                runs[contender.name, connections].append(run)
                print(
                    f"round {number + 1}/{rounds}, {connections:>4} connections:"
                    f" {contender.name:<9} {run.per_second:>8,.0f}/s"
                    f"   p99 {run.latency.percentile(99) or 0:>8,.1f} ms"
                    f"   server {run.server_cpu_us or 0:>4,.0f} us each"
                    f"   client {run.client_cpu:>4.0%} of a core",
                    flush=True,
                )
    return runs


async def sell_out(ours: Ours, folder: Path) -> tuple[float, str]:
    """Sell the story's stock to a crowd of more attempts than units; return the seconds and the stream."""
    sale = await make_sale(ours.server.address, ours.operator_key, SELLOUT_UNITS, per_shopper_max=5)
    placed: list[int] = []
    with Journal(folder / "journal.jsonl") as journal:
        crowd = Crowd(
            ours.server.address,
            sale.stream_id,
            sale.sku,
            units_total=sale.units_total,
            journal=journal,
            on_placed=lambda order: placed.append(order.quantity),
        )
        crowd.shoppers = list(ours.shoppers)
        until_s = asyncio.get_running_loop().time() + SELLOUT_S_MAX
        await crowd.rush(SATURATED, SELLOUT_ATTEMPTS, until_s)
    units, oversold = await ours.left_behind(sale)
    seconds = crowd.figures.seconds_to_sell_out
    if units != sum(placed) or oversold or seconds is None:
        raise WrongRun(f"sell-out: {sum(placed)} acknowledged, {units} durable, {oversold} over")
    print(f"{sale.units_total:,} units sold out in {seconds:.2f} s", flush=True)
    return seconds, sale.stream_id


async def refuse(field: Field, stream_id: str, rounds: int, seconds: float) -> list[Run]:
    """Ask a sold-out stream for more, as the late part of a rush does."""
    ours = field.ours
    sku = await ours.database.fetchval("SELECT sku FROM stock WHERE stream_id = $1", stream_id)
    late = Crowd(
        ours.server.address, "", "", units_total=0, journal=Journal(Path()), on_placed=print
    )
    await late.gather(LATE_SHOPPERS, 30)  # who has an open order would be shown that one
    runs = []
    for _ in range(rounds):
        request = order_requests(stream_id, sku, [shopper.token for shopper in late.shoppers])
        run = await drive(ours.server, SATURATED, seconds, request, good=409)
        if set(run.answers) - {409, 503} or run.lost:
            raise WrongRun(f"after the sell-out: {dict(run.answers)}, lost {dict(run.lost)}")
        runs.append(run)
        print(f"refusals: {run.per_second:,.0f}/s", flush=True)
    return runs


def report(
    about: dict[str, Any], runs: Runs, sellouts: list[float], refusals: list[Run]
) -> dict[str, Any]:
    """Return medians, ratios and what was met."""
    rate = {who: median(run.per_second for run in them) for who, them in runs.items()}
    levels = sorted({connections for _, connections in rate})
    at = SATURATED if SATURATED in levels else levels[-1]
    ratios = {
        "over_framework": rate["ours", at] / rate["framework", at],
        "over_hot_row": rate["ours", at] / rate["hot_row", at],
        "over_orm": rate["ours", at] / rate["orm", at],
        "flatness": rate["ours", levels[-1]] / rate["ours", levels[0]],
        "refused_of_raw": median(run.per_second for run in refusals) / rate["raw", at],
    }
    figures = {
        "ack_ms_p99": median(run.latency.percentile(99) or 0.0 for run in runs["ours", at]),
        f"sellout_{SELLOUT_UNITS}_s": median(sellouts),
    }
    names = sorted({name for name, _ in rate})
    results = {
        "per_second": {n: {str(c): round(rate[n, c], 1) for c in levels} for n in names},
        "p99_ms": {n: {str(c): _p99(runs[n, c]) for c in levels} for n in names},
        **figures,
        "refusals_per_second": round(median(run.per_second for run in refusals), 1),
        "unclear_answers": sum(
            run.answers[503] for (who, _), them in runs.items() if who == "ours" for run in them
        ),
        "server_cpu_us": {n: {str(c): _server_cpu_us(runs[n, c]) for c in levels} for n in names},
        "client_cpu": {n: {str(c): _cpu(runs[n, c]) for c in levels} for n in names},
        "client_bound": [
            f"{n} at {c}" for n in names for c in levels if _cpu(runs[n, c]) >= CLIENT_BOUND
        ],
    }
    met = {name: ratios[name] >= least for name, least in AT_LEAST.items()}
    met |= {name: figures[name] <= most for name, most in AT_MOST.items()}
    return {
        "name": "sellout",
        "machine": about,
        "results": results,
        "ratios": {name: round(ratio, 2) for name, ratio in ratios.items()},
        "targets": {name: {"at_least": least} for name, least in AT_LEAST.items()}
        | {name: {"at_most": most} for name, most in AT_MOST.items()},
        "met": met,
    }


def _p99(runs: list[Run]) -> float:
    return round(median(run.latency.percentile(99) or 0.0 for run in runs), 1)


def _cpu(runs: list[Run]) -> float:
    return round(median(run.client_cpu for run in runs), 2)


def _server_cpu_us(runs: list[Run]) -> float | None:
    known = [run.server_cpu_us for run in runs if run.server_cpu_us is not None]
    return round(median(known), 1) if known else None
