"""Who settles in ``bench settle``: ours and the ORM peer, each with fresh orders for every run and a check after it.

The orders are seeded as far as the moment at which only Stripe's word is missing; what is measured begins with
that word. The checks are SQL of their own: every order paid, every cent in the ledger, the totals that sum.
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg
import msgspec
from sqlalchemy.ext.asyncio import create_async_engine

from loadtests.bench import processes
from loadtests.bench.contenders import WrongRun, order_requests
from loadtests.bench.cpu import tree_cpu_s
from loadtests.bench.peers.shop_tables import SCHEMA, Base
from loadtests.bench.processes import Server
from loadtests.bench.webhooks import Awaiting, Sent, Webhook, payment_succeeded, send_all
from loadtests.crowd import Shopper
from loadtests.seeding import Sale, make_sale

OUR_PATH: Final = "/v1/webhooks/stripe"
PEER_PATH: Final = "/webhooks"
PLACING: Final = 64
PER_SHOPPER_MAX: Final = 10_000
POLL_S: Final = 0.01
START_S_MAX: Final = 30.0
SETTLE_S_MAX: Final = 60.0


@dataclass(frozen=True, slots=True)
class Drained:
    """How long settling took, and what CPU the processes used that did it (None where that cannot be known)."""

    count: int
    seconds: float
    cpu_s: float | None = None

    @property
    def per_second(self) -> float:
        """Orders settled a second."""
        return self.count / self.seconds


@dataclass
class Ours:
    """The real API and the real worker, each one process; the bench stops and starts the worker."""

    server: Server
    folder: Path
    settings: dict[str, str]
    webhook_secret: str
    operator_key: str
    shoppers: list[Shopper]
    database: asyncpg.Connection

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[int]:
        """Run the worker, from the moment it leads."""
        async with processes.our_worker(self.folder, self.settings) as pid:
            async with asyncio.timeout(START_S_MAX):
                while not await self.database.fetchval(_LEADS):  # noqa: ASYNC110 - SQL tells no one
                    await asyncio.sleep(POLL_S)
            yield pid

    async def make_sale(self, orders: int) -> Sale:
        """Open a sale with one unit for each order. Needs the worker."""
        return await make_sale(
            self.server.address, self.operator_key, orders, per_shopper_max=PER_SHOPPER_MAX
        )

    async def place(self, sale: Sale) -> list[Awaiting]:
        """Sell all units, one an order, over HTTP; then bring the orders to where only Stripe's word is missing.

        That is: it is their turn to pay, and their shopper is away at the bank. Turns are given and PaymentIntents
        made at the pace Stripe allows, hours for a bench, so these two steps are written by SQL.
        """
        request = order_requests(sale.stream_id, sale.sku, [each.token for each in self.shoppers])
        left = [request() for _ in range(sale.units_total)]
        async with asyncio.timeout(START_S_MAX):
            while left:
                placed = await send_all(self.server, left, PLACING)
                if placed.lost or set(placed.answers) - {200, 201, 503}:
                    raise WrongRun(f"placing: {dict(placed.answers)}, lost {dict(placed.lost)}")
                left = placed.unclear
        prefix = f"pi_{random.getrandbits(48):012x}"
        async with self.database.transaction():
            await self.database.execute(_LOCK_ORDERS, sale.stream_id)
            await self.database.execute(_GIVE_TURNS, sale.stream_id)
            rows = await self.database.fetch(_ADD_ATTEMPTS, sale.stream_id, prefix)
        return [Awaiting(*row) for row in rows]

    async def send(self, orders: Sequence[Awaiting], connections: int) -> Sent:
        """Post the webhooks of these orders to the API; all must be answered 200."""
        webhooks = [payment_succeeded(order, self.webhook_secret) for order in orders]
        sent = await send_all(
            self.server, [webhook.request(OUR_PATH) for webhook in webhooks], connections
        )
        _require_taken(sent, "ours")
        return sent

    async def all_sealed(self, sale: Sale, orders: int) -> None:
        """Return when the total on the screens counts so many orders."""
        async with asyncio.timeout(SETTLE_S_MAX):
            while await self.database.fetchval(_TALLIED, sale.stream_id) != orders:  # noqa: ASYNC110
                await asyncio.sleep(POLL_S)

    async def drain(self, sale: Sale, before: int, orders: int) -> Drained:
        """Let the worker settle what is stored.

        From the beginning of its first settling transaction, which still pays for new connections and first
        plans, to the commit of the last seal.
        """
        since = await self.database.fetchval("SELECT clock_timestamp()")
        async with self.worker() as pid:
            used_s = tree_cpu_s(pid)
            await self.all_sealed(sale, before + orders)
            seconds = await self.database.fetchval(_SECONDS_SINCE_FIRST, sale.stream_id, since)
            after_s = tree_cpu_s(pid)
        if used_s is None or after_s is None:
            return Drained(orders, float(seconds))
        return Drained(orders, float(seconds), after_s - used_s)

    async def check(self, sale: Sale, orders: Sequence[Awaiting]) -> None:
        """Require that exactly these orders are paid, posted and sealed, and that the totals say so."""
        found = dict(await self.database.fetchrow(_OUR_BOOKS, sale.stream_id))
        count, total_minor = len(orders), sum(order.amount_minor for order in orders)
        expected = {
            "paid": count,
            "sold": count,
            "reserved": 0,
            "captures": count,
            "cleared_minor": total_minor,
            "off_balance": 0,
            "unsealed": 0,
            "tally_orders": count,
            "tally_units": count,
            "tally_sales_minor": total_minor,
            "events_left": 0,
        }
        if found != expected:
            raise WrongRun(f"ours left {found} behind, not {expected}")


@dataclass
class OrmShop:
    """One webhook, one transaction, through the ORM: in a process of its own, behind HTTP or without it."""

    server: Server
    folder: Path
    settings: dict[str, str]
    webhook_secret: str
    database: asyncpg.Connection

    async def place(self, orders: int) -> tuple[str, list[Awaiting]]:
        """Seed orders that only Stripe's word is missing of; return the name of their sale and them."""
        sale = f"{random.getrandbits(48):012x}"
        for statement in _SEED_PEER:
            await self.database.execute(statement, sale, orders)
        rows = await self.database.fetch(_PEER_ORDERS, sale)
        return sale, [Awaiting(*row) for row in rows]

    async def send(self, orders: Sequence[Awaiting], connections: int) -> Sent:
        """Post the webhooks of these orders to the shop; an answer means settled."""
        webhooks = [payment_succeeded(order, self.webhook_secret) for order in orders]
        sent = await send_all(
            self.server, [webhook.request(PEER_PATH) for webhook in webhooks], connections
        )
        _require_taken(sent, "orm behind HTTP")
        return sent

    async def drain(self, orders: Sequence[Awaiting], sessions: int) -> Drained:
        """Let a process of the shop's settle these orders' webhooks from its own memory, without HTTP."""
        webhooks: list[Webhook] = [payment_succeeded(o, self.webhook_secret) for o in orders]
        file = self.folder / "webhooks.json"
        file.write_bytes(msgspec.json.encode(webhooks))
        command = ["loadtests.bench.peers.settle_orm", str(file), "--sessions", str(sessions)]
        log = self.folder / "settle_orm_drain.log"
        async with processes.running(command, log, self.settings) as process:
            out, _ = await asyncio.wait_for(process.communicate(), SETTLE_S_MAX)
        if process.returncode != 0:
            raise WrongRun(f"orm: {processes.tail(log)}")
        found: dict[str, Any] = json.loads(out)
        return Drained(found["settled"], found["seconds"], found["cpu_s"])

    async def check(self, sale: str, orders: Sequence[Awaiting]) -> None:
        """Require of the peer what is required of ours."""
        found = dict(await self.database.fetchrow(_PEER_BOOKS, sale))
        count, total_minor = len(orders), sum(order.amount_minor for order in orders)
        expected = {
            "paid": count,
            "sold": count,
            "cleared_minor": total_minor,
            "off_balance": 0,
            "tally_orders": count,
            "tally_sales_minor": total_minor,
        }
        if found != expected:
            raise WrongRun(f"orm left {found} behind, not {expected}")


async def make_peer_tables(database: asyncpg.Connection, database_url: str) -> None:
    """Make the peer's schema and its tables."""
    await database.execute(f"CREATE SCHEMA {SCHEMA}")
    engine = create_async_engine(database_url.replace("postgresql://", "postgresql+asyncpg://"))
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    await engine.dispose()


def _require_taken(sent: Sent, name: str) -> None:
    if sent.lost or set(sent.answers) != {200}:
        raise WrongRun(f"{name} answered {dict(sent.answers)}, lost {dict(sent.lost)}")


_LEADS: Final = """
    SELECT EXISTS (
        SELECT FROM pg_stat_activity a JOIN pg_locks l USING (pid)
        WHERE a.application_name = 'stream-events worker' AND l.locktype = 'advisory' AND l.granted
    )
"""
# In the order in which everybody locks orders.
_LOCK_ORDERS: Final = "SELECT FROM orders WHERE stream_id = $1 ORDER BY id FOR NO KEY UPDATE"
_GIVE_TURNS: Final = """
    UPDATE orders SET state = 'AWAITING_PAYMENT', pay_by = now() + interval '1 day', state_at = now()
    WHERE stream_id = $1
"""
_ADD_ATTEMPTS: Final = """
    WITH made AS (
        INSERT INTO pay_attempts (order_id, n, state, payment_intent_id, params)
        SELECT id, 1, 'REQUIRES_ACTION', $2 || '_' || row_number() OVER (ORDER BY id), '{}'
        FROM orders WHERE stream_id = $1
        RETURNING order_id, payment_intent_id
    )
    SELECT o.id, made.payment_intent_id, o.total_minor, o.currency
    FROM made JOIN orders o ON o.id = made.order_id ORDER BY o.id
"""
_TALLIED: Final = "SELECT coalesce((SELECT orders FROM tallies WHERE scope_id = $1), 0)"
_SECONDS_SINCE_FIRST: Final = """
    SELECT extract(epoch FROM clock_timestamp() - min(posted_at)) FROM ledger_transactions
    WHERE stream_id = $1 AND posted_at > $2
"""
_OUR_BOOKS: Final = """
    WITH posted AS (SELECT * FROM ledger_transactions WHERE stream_id = $1),
    entries AS (
        SELECT transaction_id, account, amount_minor FROM ledger_entries
        WHERE transaction_id IN (SELECT id FROM posted)
    )
    SELECT
        (SELECT count(*) FROM orders WHERE stream_id = $1 AND state = 'PAID') AS paid,
        (SELECT sum(sold) FROM stock WHERE stream_id = $1) AS sold,
        (SELECT sum(reserved) FROM stock WHERE stream_id = $1) AS reserved,
        (SELECT count(*) FROM posted JOIN seals ON seals.transaction_id = posted.id) AS captures,
        (SELECT sum(amount_minor)::bigint FROM entries WHERE account = 'stripe/clearing') AS cleared_minor,
        (SELECT count(*) FROM (
            SELECT FROM entries GROUP BY transaction_id HAVING sum(amount_minor) <> 0) AS bad) AS off_balance,
        (SELECT count(*) FROM ledger_unsealed) AS unsealed,
        t.orders AS tally_orders, t.units AS tally_units, t.sales_minor AS tally_sales_minor,
        (SELECT count(*) FROM stripe_events WHERE state <> 'DONE') AS events_left
    FROM tallies t WHERE t.scope_id = $1
"""
_SEED_PEER: Final = (
    f"INSERT INTO {SCHEMA}.stock (id, total, reserved, sold) VALUES ($1::text, $2::int, $2::int, 0)",
    f"""
    INSERT INTO {SCHEMA}.tallies (scope_id, raised_minor, sales_minor, orders, units)
    SELECT scope || $1::text, 0, 0, 0, 0 FROM unnest(ARRAY['campaign_', 'stream_']) AS scope WHERE $2::int > 0
    """,
    f"""
    INSERT INTO {SCHEMA}.orders
        (id, campaign_id, stream_id, payment_intent_id, state, total_minor, currency)
    SELECT $1::text || '_' || n, 'campaign_' || $1::text, 'stream_' || $1::text, 'pi_' || $1::text || '_' || n,
        'AWAITING_PAYMENT', 2990, 'CNY'
    FROM generate_series(1, $2::int) AS n
    """,
    f"""
    INSERT INTO {SCHEMA}.order_lines (order_id, stock_id, quantity, amount_minor, farmer_bp, beneficiary_bp)
    SELECT $1::text || '_' || n, $1::text, 1, 2990, 8000, 1500 FROM generate_series(1, $2::int) AS n
    """,
)
_PEER_ORDERS: Final = f"""
    SELECT id, payment_intent_id, total_minor, currency FROM {SCHEMA}.orders
    WHERE stream_id = 'stream_' || $1::text ORDER BY id
"""
_PEER_BOOKS: Final = f"""
    WITH paid AS (
        SELECT id FROM {SCHEMA}.orders WHERE stream_id = 'stream_' || $1::text AND state = 'PAID'
    ), entries AS (
        SELECT e.* FROM {SCHEMA}.entries e JOIN {SCHEMA}.postings p ON p.id = e.posting_id
        WHERE p.order_id IN (SELECT id FROM paid)
    )
    SELECT
        (SELECT count(*) FROM paid) AS paid,
        (SELECT sold FROM {SCHEMA}.stock WHERE id = $1::text) AS sold,
        (SELECT sum(amount_minor)::bigint FROM entries WHERE account = 'stripe/clearing') AS cleared_minor,
        (SELECT count(*) FROM (
            SELECT FROM entries GROUP BY posting_id HAVING sum(amount_minor) <> 0) AS bad) AS off_balance,
        t.orders AS tally_orders, t.sales_minor AS tally_sales_minor
    FROM {SCHEMA}.tallies t WHERE t.scope_id = 'stream_' || $1::text
"""
