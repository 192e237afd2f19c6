"""A small sale of which everything has happened once, whole and sound: the ground that damage is done on."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest_asyncio
from redis.asyncio import Redis
from sqlalchemy import text

from inventory.gate import Gate
from inventory.rebuild import tend_once
from orders.giving_tables import Transfer
from orders.invariants import Report, check
from orders.ledger import post
from orders.ledger.seal import seal_once
from orders.payments.stripe_gateway import StripeGateway
from orders.settlement import Told, settle, settle_told
from stream_events.database import Database
from stream_events.ids import new_id
from tests.factories import Sale
from tests.orders.payers import Placed, place, run, store_event
from tests.orders.payments.sandbox_process import FORGETFUL, RunningSandbox, running_sandbox

GUARDED = (
    "ledger_entries",
    "ledger_transactions",
    "order_gifts",
    "orders",
    "seals",
    "stock_moves",
    "tally_history",
    "transfers",
)


@dataclass(frozen=True, slots=True)
class World:
    """A small sale of which everything has happened once, on all three engines."""

    database: Database
    redis: Redis
    gate: Gate
    sandbox: RunningSandbox
    stripe: StripeGateway
    sale: Sale
    paid: Placed
    waiting: Placed
    expired: Placed
    part_refunded: Placed
    late: Placed
    gift: Placed

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


LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest_asyncio.fixture(scope="module", loop_scope="session", name="sandbox")
async def make_sandbox() -> AsyncIterator[RunningSandbox]:
    async with running_sandbox(module=FORGETFUL) as found:
        yield found


@pytest_asyncio.fixture(loop_scope="session", name="gate")
async def make_gate(redis: Redis, redis_url: str) -> AsyncIterator[Gate]:
    found = Gate(redis_url)
    yield found
    await found.close()


async def _pay(
    database: Database, sandbox: RunningSandbox, sale: Sale, state: str, **given: Any
) -> Placed:
    """Place an order, pay it at the sandbox, and settle that."""
    placed = await place(database, sale, state, **given)
    fact = await sandbox.pay(amount_minor=placed.total_minor, order_id=placed.order_id)
    await run(
        database,
        "UPDATE pay_attempts SET payment_intent_id = :pi WHERE order_id = :id",
        pi=fact.payment_intent_id,
        id=placed.order_id,
    )
    await settle(database, [replace(fact, fee_minor=placed.total_minor // 30)])
    return replace(placed, payment_intent_id=fact.payment_intent_id)


async def _promise(database: Database, sale: Sale) -> None:
    """Write two matches and a pledge; who bears the fee is not always us."""
    given = {"campaign": sale.campaign_id, "ben": sale.beneficiary_id}
    match = (
        "INSERT INTO matches (id, campaign_id, sponsor, covers, ratio_bp, pot_minor, per_giver_max_minor, position,"
        " starts_at) VALUES ({}, :campaign, 'A mill', {}, 5000, {}, 1000, 1, now() - interval '1 hour')"
    )
    await run(database, match.format("'mat_1'", "'gifts'", "2000"), campaign=given["campaign"])
    await run(database, match.format("'mat_2'", "'all'", "600"), campaign=given["campaign"])
    await run(
        database,
        "INSERT INTO pledges (id, campaign_id, beneficiary_id, name, bp, base_minor)"
        " VALUES ('plg_1', :campaign, :ben, 'A part', 33, 0)",
        **given,
    )
    await run(database, "UPDATE offer_terms SET fee_payer = 'farmer', farmer_floor_minor = 2500")


async def _transfer(database: Database, sale: Sale, kind: str, account: str, amount: int) -> None:
    transfer_id = new_id("trf")
    entries = [(account, amount), ("bank/clearing", -amount)]
    if kind == post.SPONSOR_PAID:
        entries = [(name, -minor) for name, minor in entries]
    async with database.begin() as sql:
        sql.add(
            Transfer(
                id=transfer_id,
                campaign_id=sale.campaign_id,
                kind=kind,
                account=account,
                amount_minor=amount,
                reference="Bank",
                created_by="prn_1",
            )
        )
        await post.post(
            sql,
            campaign_id=sale.campaign_id,
            stream_id=sale.campaign_id,
            kind=kind,
            source_id=transfer_id,
            order_id=None,
            currency=sale.currency,
            entries=entries,
        )


async def _tell(database: Database, stripe: StripeGateway) -> None:
    """Store every event that Stripe sent, settle it, and take it for done."""
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


@pytest_asyncio.fixture(loop_scope="session", name="world")
async def make_world(
    database: Database, redis: Redis, sale: Sale, sandbox: RunningSandbox, gate: Gate
) -> World:
    async def pay(state: str = "AWAITING_PAYMENT", **given: Any) -> Placed:
        return await _pay(database, sandbox, sale, state, **{"quantity": 2, **given})

    async def give_back(placed: Placed, amount_minor: int) -> None:
        refund = await sandbox.gateway.refund(
            placed.payment_intent_id, amount_minor, placed.order_id, {}
        )
        await settle(database, [refund])

    await sandbox.begin_anew()
    stripe = sandbox.gateway
    await _promise(database, sale)
    gifts = [(sale.beneficiary_id, 500)]
    paid, part = await pay(gifts=gifts, shipping_minor=150), await pay()
    gift = await pay(quantity=0, gifts=[(sale.beneficiary_id, 900)])
    await give_back(part, 1000)
    await give_back(gift, 301)
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
        gift,
    )
    await _tell(database, stripe)
    await _transfer(database, sale, post.PAYOUT, f"farmer/{sale.farmer_id}", 700)
    await _transfer(database, sale, post.SPONSOR_PAID, "sponsor/mat_1", 90)
    async with database.begin() as sql:
        await seal_once(sql)
    for _ in range(3):
        await tend_once(database, gate)
    return world
