"""The settle bench: Stripe's word to a sealed total, beside one transaction a webhook through the ORM, in one run.

Ours works in two processes, so three things are timed, each under its own name: the worker alone on a backlog,
API and worker one after the other (never more than one process of ours at a time), and both at once, as in a sale.
The peer is one process; it is timed behind HTTP, and without HTTP at the number of sessions that suits it best.
"""

import asyncio
import hmac
import os
import secrets
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Final, NamedTuple

import asyncpg
from redis.asyncio import Redis

from loadtests.bench import processes
from loadtests.bench.machine import engine_settings, machine
from loadtests.bench.settlers import Drained, OrmShop, Ours, make_peer_tables
from loadtests.bench.webhooks import Sent
from loadtests.crowd import Crowd
from loadtests.figures import median
from loadtests.journal import Journal

ORDERS: Final = 2_000
CONNECTIONS: Final = 64
SHOPPERS: Final = 200
SESSIONS: Final = (1, 4, 8, 16)
TUNING_ORDERS: Final = 500
BENCH_S_MAX: Final = 420.0

AT_LEAST: Final = {"settlements_per_second": 1_000.0, "over_orm": 5.0}

MEASURED: Final = {
    "settlements_per_second": (
        "one worker process works off stored events: settled, posted, sealed; the API process idles"
    ),
    "in_turn_per_second": (
        "the API process verifies and stores all, then the worker settles all: one of ours at a time"
    ),
    "end_to_end_per_second": "API and worker at once, from the first webhook sent to the last seal",
    "stored_per_second": "one API process: webhooks verified, stored durably and answered",
    "orm_per_second": (
        "one process, webhooks from memory without HTTP: verified, stored and settled, the best number of sessions"
    ),
    "orm_http_per_second": "one uvicorn process: webhooks verified, stored, settled and answered",
}


class Field(NamedTuple):
    """Who settles, and the engines they share."""

    ours: Ours
    orm: OrmShop
    engines: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Round:
    """What one round measured."""

    end_to_end: Drained
    stored: Sent
    drained: Drained
    orm: Drained
    orm_http: Sent

    def rates(self) -> dict[str, float]:
        """Return what a second brought, under the names of ``MEASURED``."""
        in_turn_s = self.stored.seconds + self.drained.seconds
        return {
            "settlements_per_second": self.drained.per_second,
            "in_turn_per_second": self.drained.count / in_turn_s,
            "end_to_end_per_second": self.end_to_end.per_second,
            "stored_per_second": self.stored.per_second,
            "orm_per_second": self.orm.per_second,
            "orm_http_per_second": self.orm_http.per_second,
        }

    def cpu_us(self) -> dict[str, float | None]:
        """Return what an order cost the processes themselves; the engines' share is in none of them."""
        return {
            "api": _each_us(self.stored.server_cpu_s, self.stored.count),
            "worker": _each_us(self.drained.cpu_s, self.drained.count),
            "orm": _each_us(self.orm.cpu_s, self.orm.count),
            "orm_http": _each_us(self.orm_http.server_cpu_s, self.orm_http.count),
        }


async def settle(rounds: int, orders: int) -> dict[str, Any]:
    """Run the bench and return its report; raises ``WrongRun`` for a run that was fast but wrong."""
    about, tuning, found = machine(), dict[int, float](), list[Round]()
    async with asyncio.timeout(BENCH_S_MAX):
        for number in range(rounds):
            # On engines of its own, so that no round pays for the history of those before it.
            with tempfile.TemporaryDirectory(prefix="bench-") as folder:
                async with take_the_field(Path(folder)) as field:
                    tuning = tuning or await tune(field.orm)
                    sessions = max(tuning, key=lambda count: tuning[count])
                    found.append(await one_round(field, orders, sessions))
                    about["engines"] = field.engines
            _tell(f"round {number + 1}/{rounds}", found[-1].rates())
    about["load_average_after"] = [round(load, 2) for load in os.getloadavg()]
    return report(about, found, tuning)


@asynccontextmanager
async def take_the_field(folder: Path) -> AsyncIterator[Field]:
    """Start the engines, our API without a worker, and the peer; end them all."""
    async with AsyncExitStack() as stack:
        urls = await stack.enter_async_context(processes.engines(folder))
        key = secrets.token_hex(32)
        # The reconciler has nobody to ask: the sandbox knows none of these payments.
        settings = processes.settings_of(folder, urls) | {
            "STREAM_EVENTS_SECRET_KEY": key,
            "STREAM_EVENTS_RECONCILE_S": "3600",
        }
        server = await stack.enter_async_context(
            processes.our_server(folder, settings, workers=False)
        )
        database = await asyncpg.connect(urls["database_url"])
        stack.push_async_callback(database.close)
        redis = Redis.from_url(urls["redis_url"])
        stack.push_async_callback(redis.aclose)
        await make_peer_tables(database, urls["database_url"])
        theirs = {
            "BENCH_DATABASE_URL": urls["database_url"],
            "BENCH_WEBHOOK_SECRET": f"whsec_{secrets.token_hex(32)}",
        }
        peer = await stack.enter_async_context(processes.peer("settle_orm", folder, urls, theirs))
        crowd = Crowd(
            server.address, "", "", units_total=0, journal=Journal(folder), on_placed=print
        )
        await crowd.gather(SHOPPERS, 30)
        ours = Ours(
            server,
            folder,
            settings,
            sandbox_webhook_secret(key),
            await processes.operator_key(folder, urls),
            crowd.shoppers,
            database,
        )
        orm = OrmShop(peer, folder, theirs, theirs["BENCH_WEBHOOK_SECRET"], database)
        yield Field(ours, orm, await engine_settings(database, redis))


def sandbox_webhook_secret(signing_key: str) -> str:
    """Return what a deployment that plays with the sandbox expects webhooks to be signed with."""
    return f"whsec_{hmac.new(bytes.fromhex(signing_key), b'sandbox webhook', 'sha256').hexdigest()}"


async def tune(orm: OrmShop) -> dict[int, float]:
    """Find out how many sessions at once suit the peer: its rate by their number."""
    rates = {}
    for sessions in SESSIONS:
        sale, orders = await orm.place(TUNING_ORDERS)
        rates[sessions] = (await orm.drain(orders, sessions)).per_second
        await orm.check(sale, orders)
    _tell("sessions of the peer", {str(count): rate for count, rate in rates.items()})
    return rates


async def one_round(field: Field, orders: int, sessions: int) -> Round:
    """Let ours and the peer settle so many orders in each way, and check every cent."""
    ours, orm = field.ours, field.orm
    async with ours.worker():
        sale = await ours.make_sale(2 * orders)
        awaiting = await ours.place(sale)
        now, later = awaiting[:orders], awaiting[orders:]
        sent = await ours.send(now, CONNECTIONS)
        await ours.all_sealed(sale, orders)
        end_to_end = Drained(orders, perf_counter() - sent.began)
    stored = await ours.send(later, CONNECTIONS)
    drained = await ours.drain(sale, orders, orders)
    await ours.check(sale, awaiting)
    sale_id, theirs = await orm.place(orders)
    orm_drained = await orm.drain(theirs, sessions)
    await orm.check(sale_id, theirs)
    sale_id, theirs = await orm.place(orders)
    orm_http = await orm.send(theirs, CONNECTIONS)
    await orm.check(sale_id, theirs)
    return Round(end_to_end, stored, drained, orm_drained, orm_http)


def report(
    about: dict[str, Any], rounds: Sequence[Round], tuning: dict[int, float]
) -> dict[str, Any]:
    """Return medians, ratios and what was met."""
    rates = [each.rates() for each in rounds]
    rate = {name: median(each[name] for each in rates) for name in MEASURED}
    costs = [each.cpu_us() for each in rounds]
    cpu_us = {name: _median_known([each[name] for each in costs]) for name in costs[0]}
    ratios = {
        "over_orm": rate["settlements_per_second"] / rate["orm_per_second"],
        "in_turn_over_orm": rate["in_turn_per_second"] / rate["orm_http_per_second"],
        "end_to_end_over_orm": rate["end_to_end_per_second"] / rate["orm_http_per_second"],
    }
    if cpu_us["api"] and cpu_us["worker"] and cpu_us["orm_http"]:
        ratios["cpu_under_orm"] = cpu_us["orm_http"] / (cpu_us["api"] + cpu_us["worker"])
    figures = ratios | rate
    met = {name: figures[name] >= least for name, least in AT_LEAST.items()}
    return {
        "name": "settle",
        "machine": about,
        "results": {
            **{name: round(value, 1) for name, value in rate.items()},
            "orders": rounds[0].drained.count,
            "rounds": {name: [round(each[name], 1) for each in rates] for name in MEASURED},
            "orm_per_second_by_sessions": {str(n): round(r, 1) for n, r in tuning.items()},
            "cpu_us": {name: cost and round(cost, 1) for name, cost in cpu_us.items()},
            "webhook_ms_p99": median(each.stored.latency.percentile(99) or 0.0 for each in rounds),
            "client_cpu": round(median(each.stored.client_cpu for each in rounds), 2),
            "measured": MEASURED,
        },
        "ratios": {name: round(ratio, 2) for name, ratio in ratios.items()},
        "targets": {name: {"at_least": least} for name, least in AT_LEAST.items()},
        "met": met,
    }


def _each_us(cpu_s: float | None, count: int) -> float | None:
    return None if cpu_s is None else cpu_s * 1e6 / count


def _median_known(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def _tell(what: str, rates: dict[str, float]) -> None:
    told = "  ".join(
        f"{name.removesuffix('_per_second')} {rate:,.0f}/s" for name, rate in rates.items()
    )
    print(f"{what}: {told}", flush=True)
