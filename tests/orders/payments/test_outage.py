"""Stripe away for an hour: all units stay held, no clock runs, nothing is released, and afterwards all goes on.

The hour passes by moving every instant that anybody looks at back: the database's, the pace's, the sandbox's own.
"""

from collections import Counter as Count
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from sqlalchemy import text

from orders.expiry import expire_once
from orders.payments.checkout_mode import Buyer, open_checkout
from orders.payments.pace import KEY, BreakerOpen, Busy, Pace
from orders.payments.reconciler import Reconciler
from orders.payments.stripe_gateway import PaymentError
from orders.payments.webhooks import Inbox
from stream_events.database import Database
from tests.factories import Sale
from tests.orders.payments.counter import Counter
from tests.orders.payments.sandbox_process import running_sandbox, until

HOUR_S, STEP_S = 3600, 300
INSTANTS = ("open_ms", "failing_ms", "moved_ms", "closed_ms", "at_ms", "raised_ms", "probe_ms")
SHIFTS = (
    "UPDATE orders SET pay_by = pay_by - make_interval(secs => :s), state_at = state_at - make_interval(secs => :s)",
    """UPDATE pay_attempts SET created_at = created_at - make_interval(secs => :s),
         updated_at = updated_at - make_interval(secs => :s),
         params = CASE WHEN way = 'checkout'
           THEN jsonb_set(params, '{expires_at}', to_jsonb(CAST(params ->> 'expires_at' AS bigint) - :s))
           ELSE params END""",
)


@dataclass
class World:
    """A sale with its own sandbox, and the loops of a worker by hand."""

    counter: Counter
    redis: Redis

    async def pass_time(self, seconds: int) -> None:
        async with self.counter.database.begin() as sql:
            for statement in SHIFTS:
                await sql.execute(text(statement), {"s": seconds})
        for name in INSTANTS:
            if await self.redis.hexists(KEY, name):
                await self.redis.hincrby(KEY, name, -seconds * 1000)
        await self.counter.sandbox.advance(seconds)

    async def work(self) -> int:
        """Let pacer, expirer and reconciler do a round each; return how many orders moved."""
        counter = self.counter
        moved = await counter.turns()
        moved += await expire_once(counter.database, counter.sandbox.gateway, counter.pace)
        try:
            await self.reconciler.reconcile_once()
        except (PaymentError, Busy, BreakerOpen):
            return moved
        return moved

    async def states(self) -> dict[str, str]:
        return {
            row.id: row.state for row in await self.counter.rows("SELECT id, state FROM orders")
        }

    async def deadlines(self) -> dict[str, datetime]:
        found = await self.counter.rows(
            "SELECT id, pay_by FROM orders WHERE state = 'AWAITING_PAYMENT'"
        )
        return {row.id: row.pay_by for row in found}

    def __post_init__(self) -> None:
        counter = self.counter
        self.reconciler = Reconciler(
            counter.database, counter.sandbox.gateway, counter.pace, counter.inbox
        )


@pytest_asyncio.fixture
async def world(
    database: Database, sale: Sale, redis: Redis, pace: Pace, inbox: Inbox
) -> AsyncIterator[World]:
    async with running_sandbox() as own:
        yield World(Counter(database, own, sale, pace, inbox), redis)


async def _begin_outage(counter: Counter, *, hangs_up: bool) -> None:
    await counter.sandbox.faults(outage=True, outage_hangs_up=hangs_up)
    for _ in range(3):
        with pytest.raises(PaymentError):
            await counter.pace.call("keep", counter.sandbox.gateway.ping)
    assert await counter.pace.outage() is not None


@pytest.mark.parametrize("hangs_up", [False, True])
async def test_an_hour_without_stripe(world: World, *, hangs_up: bool) -> None:
    counter = world.counter
    untried = [await counter.offered(window_s=60 + 30 * number) for number in range(8)]
    declined, asked = [await counter.offered() for _ in range(3)], await counter.offered()
    elsewhere, cancelling = await counter.offered(), await counter.offered()
    for order_id in (*declined, cancelling):
        await counter.pay(order_id, "pm_card_visa_chargeDeclined")
    await counter.pay(asked, "pm_card_authenticationRequired")
    await open_checkout(
        counter.database,
        counter.sandbox.gateway,
        counter.pace,
        Buyer(elsewhere, "http://testserver/pay"),
    )
    async with counter.database.begin() as sql:
        await sql.execute(
            text("UPDATE orders SET state = 'CANCELLING' WHERE id = :id"), {"id": cancelling}
        )
    waiting = [await counter.place() for _ in range(5)]
    states, deadlines = await world.states(), await world.deadlines()
    held = await counter.stock()
    assert held == (len(states), 0)

    await _begin_outage(counter, hangs_up=hangs_up)
    for _ in range(HOUR_S // STEP_S):
        await world.pass_time(STEP_S)
        assert await world.work() == 0
        assert await world.states() == states
        assert await counter.stock() == held

    await counter.sandbox.faults(outage=False, outage_hangs_up=False)
    # The first round finds Stripe back, the second moves the deadlines by the rest before it ends anything.
    await until(lambda: _clocks_run(world))
    assert await counter.pace.outage() is None
    after = await world.deadlines()
    # Every instant was moved back by an hour meanwhile: what is left to pay in is what was left before.
    assert all(abs((after[each] - deadlines[each]).total_seconds()) < 15 for each in deadlines)
    states = await world.states()
    assert states[cancelling] == "CANCELLED"
    assert not {"EXPIRED", "EXPIRING"} & set(states.values())

    # It drains: whose turn it was pays, who waited gets a turn and pays, who does not loses the units in the end.
    paying = [*untried[:6], *declined[:2], asked, *waiting[:4]]
    for order_id in paying:
        assert (await counter.pay(order_id)).payment.status == "succeeded"
    await world.reconciler.reconcile_once()
    while await counter.settle_stored():
        pass
    await world.pass_time(HOUR_S)
    for _ in range(3):
        await world.work()
    assert Count((await world.states()).values()) == {
        "PAID": len(paying),
        "EXPIRED": len(states) - len(paying) - 1,
        "CANCELLED": 1,
    }
    assert await counter.stock() == (0, len(paying))


async def _clocks_run(world: World) -> bool:
    await world.work()
    return await world.counter.pace.outage() is None


async def test_a_minute_of_outage_is_a_minute_more_to_pay(world: World) -> None:
    """The deadline itself, by one clock: it moves by as long as nobody could pay."""
    counter = world.counter
    order_id = await counter.offered(window_s=60)
    before = (await world.deadlines())[order_id]
    await _begin_outage(counter, hangs_up=False)
    for name in ("open_ms", "failing_ms", "moved_ms"):
        await world.redis.hincrby(KEY, name, -HOUR_S * 1000)
    await world.work()
    await counter.sandbox.faults(outage=False)
    await until(lambda: _clocks_run(world))
    moved_s = ((await world.deadlines())[order_id] - before).total_seconds()
    assert HOUR_S <= moved_s <= HOUR_S + 15
