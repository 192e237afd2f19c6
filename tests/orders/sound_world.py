"""A small sale of which everything has happened once, whole and sound: the ground that damage is done on."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest_asyncio
from redis.asyncio import Redis
from sqlalchemy import text

from inventory.gate import Gate
from inventory.rebuild import tend_once
from orders.invariants import Report, check
from orders.ledger.seal import seal_once
from orders.payments.stripe_gateway import StripeGateway
from orders.settlement import Told, settle, settle_told
from stream_events.database import Database
from tests.factories import Sale
from tests.orders.payers import Placed, place, run, store_event
from tests.orders.payments.sandbox_process import RunningSandbox, running_sandbox

GUARDED = (
    "ledger_entries",
    "ledger_transactions",
    "orders",
    "seals",
    "stock_moves",
    "tally_history",
)


@dataclass(frozen=True, slots=True)
class World:
    """A small sale of which everything has happened once, on all three engines."""

    database: Database
    redis: Redis
    gate: Gate
    sandbox: RunningSandbox
    stripe: Any
    sale: Sale
    paid: Placed
    waiting: Placed
    expired: Placed
    part_refunded: Placed
    late: Placed

    async def check(self, *, at_rest: bool = True) -> Report:
        return await check(self.database, self.redis, self.stripe, at_rest=at_rest, lag_s=0)

    async def damage(self, *statements: str, **given: Any) -> None:
        """Change rows as nobody can who goes through our code: the triggers that guard them stand aside."""
        async with self.database.begin() as sql:
            for table in GUARDED:
                await sql.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
            for statement in statements:
                await sql.execute(text(statement), given)
            for table in GUARDED:
                await sql.execute(text(f"ALTER TABLE {table} ENABLE TRIGGER USER"))


class StripeSince:
    """The sandbox as if it had been empty when the test began: one process serves all tests of the module."""

    def __init__(self, gateway: StripeGateway) -> None:
        self._gateway = gateway
        self._before: set[str] = set()

    async def begin(self) -> "StripeSince":
        for listed in (self.list_payment_intents, self.list_refunds, self.list_events):
            self._before |= {_id(fact) async for fact in listed(LONG_AGO)}
        return self

    async def _new(self, listed: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for fact in listed:
            if _id(fact) not in self._before:
                yield fact

    def list_payment_intents(self, *given: Any, **named: Any) -> AsyncIterator[Any]:
        return self._new(self._gateway.list_payment_intents(*given, **named))

    def list_refunds(self, *given: Any, **named: Any) -> AsyncIterator[Any]:
        return self._new(self._gateway.list_refunds(*given, **named))

    def list_events(self, *given: Any, **named: Any) -> AsyncIterator[Any]:
        return self._new(self._gateway.list_events(*given, **named))


LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def _id(fact: Any) -> str:
    names = ("event_id", "refund_id", "payment_intent_id")
    return next(getattr(fact, name) for name in names if hasattr(fact, name))


@pytest_asyncio.fixture(scope="module", loop_scope="session", name="sandbox")
async def make_sandbox() -> AsyncIterator[RunningSandbox]:
    async with running_sandbox() as found:
        yield found


@pytest_asyncio.fixture(loop_scope="session", name="gate")
async def make_gate(redis: Redis, redis_url: str) -> AsyncIterator[Gate]:
    found = Gate(redis_url)
    yield found
    await found.close()


@pytest_asyncio.fixture(loop_scope="session", name="world")
async def make_world(
    database: Database, redis: Redis, sale: Sale, sandbox: RunningSandbox, gate: Gate
) -> World:
    async def pay(state: str = "AWAITING_PAYMENT") -> Placed:
        placed = await place(database, sale, state, quantity=2)
        fact = await sandbox.pay(amount_minor=placed.total_minor, order_id=placed.order_id)
        await run(
            database,
            "UPDATE pay_attempts SET payment_intent_id = :pi WHERE order_id = :id",
            pi=fact.payment_intent_id,
            id=placed.order_id,
        )
        await settle(database, [fact])
        return Placed(
            sale, placed.order_id, placed.shopper_id, fact.payment_intent_id, 2, placed.total_minor
        )

    stripe = await StripeSince(sandbox.gateway).begin()
    paid, part = await pay(), await pay()
    refund = await sandbox.gateway.refund(part.payment_intent_id, 1000, part.order_id, {})
    await settle(database, [refund])
    world = World(
        database,
        redis,
        gate,
        sandbox,
        stripe,
        sale,
        paid,
        await place(database, sale, attempt=None),
        await place(database, sale, "EXPIRED", attempt=None),
        part,
        await pay("EXPIRED"),
    )
    async for event in stripe.list_events(LONG_AGO):
        told = event.trusted()
        event_id = await store_event(database, event.event_type, dict(event.snapshot))
        await run(
            database,
            "UPDATE stripe_events SET event_id = :new WHERE event_id = :old",
            new=event.event_id,
            old=event_id,
        )
        await settle_told(database, [Told(told, event.event_id, livemode=False)])
    await run(database, "UPDATE stripe_events SET state = 'DONE'")
    async with database.begin() as sql:
        await seal_once(sql)
    for _ in range(3):
        await tend_once(database, gate)
    return world
