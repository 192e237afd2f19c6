"""Who runs in the sell-out bench: ours and its peers, each with a fresh sale for every run and a check after it.

The check is SQL of its own on the engines that all share: as many durable units as were acknowledged, none sold
that was not there. A fast run that fails it counts for nothing.
"""

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import asyncpg
from redis.asyncio import Redis

from loadtests.bench.load import Run
from loadtests.bench.processes import Server
from loadtests.crowd import Shopper
from loadtests.http import encode_request
from loadtests.seeding import Sale, make_sale

UNITS: Final = 1_000_000

PEER_TABLES: Final = """
    CREATE TABLE bench_hot_stock (
        sku text PRIMARY KEY, total int NOT NULL, sold int NOT NULL DEFAULT 0, CHECK (sold <= total)
    ) WITH (fillfactor = 10);
    CREATE TABLE bench_hot_orders (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        key text NOT NULL UNIQUE, sku text NOT NULL, quantity int NOT NULL
    );
    CREATE TABLE bench_orm_orders (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        key text NOT NULL UNIQUE, sku text NOT NULL, quantity int NOT NULL
    );
"""


class WrongRun(Exception):  # noqa: N818 - it names the run.
    """What a run left behind does not agree with what it answered."""


class Contender(Protocol):
    """Somebody who takes orders."""

    name: str
    server: Server

    async def prepare(self) -> Callable[[], bytes]:
        """Open a fresh sale and return what makes the next request to it."""

    async def check(self, run: Run) -> None:
        """Compare what the last sale left behind with a run's answers; raises ``WrongRun``."""


def order_requests(stream_id: str, sku: str, tokens: list[str]) -> Callable[[], bytes]:
    """Return what makes one order for one unit after another, each with a key of its own."""
    path = f"/v1/streams/{stream_id}/orders"
    body = b'{"lines":[{"sku":"%s","quantity":1}]}' % sku.encode()
    prefix = f"{random.getrandbits(64):016x}"
    number, shoppers = itertools.count(), itertools.cycle(tokens)
    return lambda: encode_request(
        "POST", path, body, token=next(shoppers), key=f"{prefix}{next(number):x}"
    )


def require(run: Run, name: str, durable: int, oversold: int) -> None:
    """Refuse a run whose answers are not what is durable.

    An overrun server may answer 503, "not known yet", which promises nothing: such an order may be durable or not.
    """
    acked, unclear = run.answers[201], run.answers[503]
    if set(run.answers) - {201, 503} or run.lost or not acked:
        raise WrongRun(f"{name} answered {dict(run.answers)}, lost {dict(run.lost)}")
    if not acked <= durable <= acked + unclear or oversold:
        raise WrongRun(f"{name}: {acked} acknowledged, {durable} durable, {oversold} oversold")


@dataclass
class Ours:
    """The whole protocol, over HTTP, in one API process."""

    server: Server
    operator_key: str
    shoppers: list[Shopper]
    database: asyncpg.Connection
    name: str = "ours"
    sale: Sale | None = None

    async def prepare(self) -> Callable[[], bytes]:
        self.sale = await make_sale(
            self.server.address, self.operator_key, UNITS, per_shopper_max=10_000
        )
        tokens = [shopper.token for shopper in self.shoppers]
        return order_requests(self.sale.stream_id, self.sale.sku, tokens)

    async def check(self, run: Run) -> None:
        assert self.sale is not None
        durable, oversold = await self.left_behind(self.sale)
        require(run, self.name, durable, oversold)

    async def left_behind(self, sale: Sale) -> tuple[int, int]:
        """Return how many units a sale's orders hold, and how many more than there are; they must agree."""
        units = await self.database.fetchval(
            "SELECT coalesce(sum(l.quantity), 0) FROM orders o"
            " JOIN order_lines l ON l.order_id = o.id WHERE o.stream_id = $1",
            sale.stream_id,
        )
        stock = await self.database.fetchrow(
            "SELECT total, reserved + sold AS taken FROM stock WHERE stream_id = $1", sale.stream_id
        )
        if stock["taken"] != units:
            raise WrongRun(f"orders hold {units} units, the stock row says {stock['taken']}")
        return units, max(0, units - stock["total"])


@dataclass
class Stateless:
    """A peer that keeps nothing, so there is nothing to check but its answers."""

    name: str
    server: Server
    tokens: list[str]

    async def prepare(self) -> Callable[[], bytes]:
        return order_requests("str_0", "BENCH", self.tokens)

    async def check(self, run: Run) -> None:
        require(run, self.name, run.answers[201], 0)


@dataclass
class HotRow:
    """One statement an order on one stock row."""

    server: Server
    tokens: list[str]
    database: asyncpg.Connection
    name: str = "hot_row"
    sku: str = ""

    async def prepare(self) -> Callable[[], bytes]:
        self.sku = f"HOT-{random.getrandbits(48):X}"
        await self.database.execute(
            "INSERT INTO bench_hot_stock (sku, total) VALUES ($1, $2)", self.sku, UNITS
        )
        return order_requests("str_0", self.sku, self.tokens)

    async def check(self, run: Run) -> None:
        durable = await self.database.fetchval(
            "SELECT count(*) FROM bench_hot_orders WHERE sku = $1", self.sku
        )
        sold = await self.database.fetchval(
            "SELECT sold FROM bench_hot_stock WHERE sku = $1", self.sku
        )
        require(run, self.name, durable, abs(sold - durable))


@dataclass
class Orm:
    """A Redis script, then an ORM insert and commit, an order."""

    server: Server
    tokens: list[str]
    database: asyncpg.Connection
    redis: Redis
    name: str = "orm"
    sku: str = ""

    async def prepare(self) -> Callable[[], bytes]:
        self.sku = f"ORM-{random.getrandbits(48):X}"
        await self.redis.set(f"bench:orm:{self.sku}", UNITS)
        return order_requests(self.sku, self.sku, self.tokens)

    async def check(self, run: Run) -> None:
        durable = await self.database.fetchval(
            "SELECT count(*) FROM bench_orm_orders WHERE sku = $1", self.sku
        )
        left = int(await self.redis.get(f"bench:orm:{self.sku}") or 0)
        await self.redis.delete(f"bench:orm:{self.sku}", f"bench:orm:keys:{self.sku}")
        require(run, self.name, durable, abs(UNITS - left - durable))
