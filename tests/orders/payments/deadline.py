"""A deadline that passes step by step: at any named place in the code a shopper's payment can succeed, as at Stripe.

The gate, SQL and Stripe's sandbox are real; only where the expirer pauses is arranged. A rival waits beside it and
buys whatever becomes free, so that units that were given back too early would be missed.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, TypeVar

import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from inventory.gate import Gate
from inventory.offers import Catalogue
from inventory.rebuild import tend_once
from orders.checkout import Checkout, Request
from orders.donations import Donations, Wish
from orders.expiry import expire_once
from orders.gifts import GiftWish
from orders.invariants import check
from orders.ledger.seal import seal_once
from orders.payments.reconciler import Reconciler
from orders.payments.stripe_gateway import (
    CheckoutFact,
    DisputeFact,
    EventFact,
    PaymentFact,
    RefundFact,
    StripeGateway,
    UnknownOutcome,
)
from orders.payments.webhooks import read_event
from orders.refunds import refund_once
from stream_events.errors import Problem
from stream_events.ids import new_id
from tests.orders.payments.counter import Counter
from tests.orders.payments.sandbox_process import SECRET_KEY

UNITS = 2
ROUNDS_MAX = 40

_RESTLESS = text("""
    SELECT (SELECT count(*) FROM orders WHERE id = :id
              AND state NOT IN ('PAID', 'EXPIRED', 'REFUNDED', 'PART_REFUNDED'))
         + (SELECT count(*) FROM stripe_events WHERE state = 'NEW')
         + (SELECT count(*) FROM ledger_unsealed)
         + (SELECT count(*) FROM refunds WHERE state IN ('CREATING', 'PENDING'))
""")

Step = Callable[[], Awaitable[None]]
Answer = TypeVar("Answer")


class OwnStripe(StripeGateway):
    """Stripe as if it had been empty when the test began: one sandbox serves all of them."""

    def __init__(self, base_url: str) -> None:
        super().__init__(SECRET_KEY, base_url)
        self.mine: set[str] = set()

    async def list_payment_intents(self, *given: Any, **named: Any) -> AsyncIterator[PaymentFact]:
        async for fact in super().list_payment_intents(*given, **named):
            if fact.metadata.get("order_id") in self.mine:
                yield fact

    async def list_refunds(self, *given: Any, **named: Any) -> AsyncIterator[RefundFact]:
        async for fact in super().list_refunds(*given, **named):
            if fact.metadata.get("order_id") in self.mine:
                yield fact

    async def list_disputes(self, *_given: Any, **_named: Any) -> AsyncIterator[DisputeFact]:
        return
        yield

    async def list_events(self, *given: Any, **named: Any) -> AsyncIterator[EventFact]:
        async for fact in super().list_events(*given, **named):
            if (fact.snapshot.get("metadata") or {}).get("order_id") in self.mine:
                yield fact


class Held(StripeGateway):
    """The shopper's own call, on its way as long as the test wants, and so is its answer."""

    def __init__(self, base_url: str) -> None:
        super().__init__(SECRET_KEY, base_url)
        self.sent, self.go, self.done, self.heard = (asyncio.Event() for _ in range(4))

    async def create_and_confirm(self, *given: Any, **named: Any) -> PaymentFact:
        return await self._hold(super().create_and_confirm(*given, **named))

    async def confirm(self, *given: Any, **named: Any) -> PaymentFact:
        return await self._hold(super().confirm(*given, **named))

    async def create_checkout(self, *given: Any, **named: Any) -> CheckoutFact:
        return await self._hold(super().create_checkout(*given, **named))

    async def _hold(self, call: Awaitable[Answer]) -> Answer:
        self.sent.set()
        await self.go.wait()
        try:
            return await call
        finally:
            self.done.set()
            await self.heard.wait()

    async def arrive(self) -> None:
        """Let the call reach Stripe, and Stripe do what it asks for."""
        self.go.set()
        await self.done.wait()


@dataclass
class Deadline:
    """One order at the end of its time, and everybody who has to do with it."""

    counter: Counter
    stripe: OwnStripe
    gate: Gate
    redis: Redis
    catalogue: Catalogue
    checkout: Checkout
    giving: Donations
    monkeypatch: pytest.MonkeyPatch
    at_once: (
        bool  # Whether the webhook of what happens comes at once, or after the expirer was done.
    )
    succeed: Step | None = None
    held: Held | None = None
    order_id: str = ""
    kind: str = ""
    reached: bool = False
    rival_has: int = 0
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)  # The shopper's own calls.
    hearing: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def reconciler(self) -> Reconciler:
        return Reconciler(self.counter.database, self.stripe, self.counter.pace, self.counter.inbox)

    async def place(self, kind: str) -> str:
        """Place an order of all there is, or a gift, and let its time to pay begin."""
        sale, key, self.kind = self.counter.sale, new_id("key"), kind
        if kind == "gift":
            wish = Wish(sale.stream_id, sale.shopper_id, key, GiftWish(5_000, ()), None)
            self.order_id = (await self.giving.give(wish)).order_id
        else:
            await self._leave(UNITS)
            self.order_id = await self._buy(sale.shopper_id)
        self.stripe.mine.add(self.order_id)
        await self.counter.turns()
        return self.order_id

    async def _leave(self, units: int) -> None:
        """Let the sale have no more units than these."""
        left = {"units": units, "id": self.counter.sale.stock_id}
        async with self.counter.database.begin() as sql:
            await sql.execute(text("UPDATE stock SET total = :units WHERE id = :id"), left)
            await sql.execute(text("UPDATE stream_gate SET epoch = epoch + 1"))
            await sql.execute(text("UPDATE stock SET gate_epoch = gate_epoch + 1"))
        await self._tend()

    async def _tend(self) -> None:
        while await tend_once(self.counter.database, self.gate):
            pass
        await self.catalogue.refresh()

    async def _buy(self, shopper_id: str) -> str:
        sale = self.counter.sale
        lines = ((sale.sku, UNITS),)
        wish = Request(sale.stream_id, shopper_id, new_id("key"), lines)
        return (await self.checkout.place(wish)).order.order_id

    async def rival(self) -> None:
        """Let somebody else buy all units that are free by now."""
        if self.kind != "goods":
            return
        await asyncio.gather(*self.hearing)
        await self._tend()
        try:
            await self._buy(new_id("shp"))
        except Problem as problem:
            if problem.code != "sold_out":
                raise
        else:
            self.rival_has = UNITS

    def at(self, place: str, step: Step, *, after: bool = False, unheard: bool = False) -> None:
        """Let ``step`` happen before (or after) the next call of a function; ``unheard``: its answer gets lost."""
        module, _, qualified = place.partition(":")
        *owners, name = qualified.split(".")
        owner: Any = import_module(module)
        for each in owners:
            owner = getattr(owner, each)
        real = getattr(owner, name)

        async def hooked(*given: Any, **named: Any) -> Any:
            self.monkeypatch.setattr(owner, name, real)
            self.reached = True
            if not after:
                await step()
            try:
                found = await real(*given, **named)
            except Exception as error:
                if unheard:
                    raise UnknownOutcome("the answer was lost") from error
                raise
            if after:
                await step()
            if unheard:
                raise UnknownOutcome("the answer was lost")
            return found

        self.monkeypatch.setattr(owner, name, hooked)

    async def money(self, *, locked: bool = False) -> None:
        """Let the shopper's payment succeed at Stripe, if Stripe still takes it."""
        assert self.succeed is not None
        await self.succeed()
        if self.at_once and self.held is not None:
            self.held.heard.set()
        if self.at_once and locked:
            # Whoever applies it waits for the row that the expirer has locked.
            self.hearing.append(asyncio.create_task(self.hear()))
            await asyncio.sleep(0.05)
        elif self.at_once:
            await self.hear()

    async def hear(self) -> None:
        """Let the webhooks come of all that happened, and be settled."""
        listed = (await self.counter.sandbox.ask("GET", "/v1/events?limit=100")).body["data"]
        mine = [
            read_event(json.dumps(event).encode())
            for event in reversed(listed)
            if event["data"]["object"].get("metadata", {}).get("order_id") == self.order_id
        ]
        await asyncio.gather(*(self.counter.inbox.keep(event) for event in mine))
        while await self.counter.settle_stored():
            pass

    async def expire(self) -> None:
        await expire_once(self.counter.database, self.stripe, self.counter.pace)

    async def rest(self) -> None:
        """Let every worker do its rounds until nothing is left to do."""
        if self.held is not None:
            self.held.heard.set()
        for ended in await asyncio.gather(*self.hearing, *self.tasks, return_exceptions=True):
            if isinstance(ended, BaseException) and not isinstance(ended, Problem):
                raise ended
        for _ in range(ROUNDS_MAX):
            await self.hear()
            await self.expire()
            await self.counter.age(self.order_id, 121)
            await self.reconciler.reconcile_once()
            await refund_once(self.counter.database, self.stripe, self.counter.pace)
            await self.hear()
            async with self.counter.database.begin() as sql:
                await seal_once(sql)
            await self._tend()
            async with self.counter.database.begin() as sql:
                if not await sql.scalar(_RESTLESS, {"id": self.order_id}):
                    return
            await asyncio.sleep(0.05)
        raise AssertionError(f"no rest: {await self.counter.history(self.order_id)}")

    async def judge(self, ends: str) -> None:
        """Hold that the order ended as it must, and one way only, in our books and in Stripe's."""
        late = ends == "LATE"
        expected = ("REFUNDED" if self.rival_has else "PAID") if late else ends
        history = await self.counter.history(self.order_id)
        assert await self.counter.state(self.order_id) == expected, history
        assert ("EXPIRED" in history) == (late or expected == "EXPIRED"), history
        sold = UNITS if expected == "PAID" and self.kind != "gift" else 0
        assert await self.counter.stock() == (self.rival_has, sold)
        assert not (sold and self.rival_has)
        await self._judge_stripe(expected)
        if self.succeed is not None:
            # Whoever tries again, in a tab left open, changes nothing.
            await self.succeed()
            await self._judge_stripe(expected)
        stripe, database = self.stripe, self.counter.database
        report = await check(database, self.redis, stripe, at_rest=True)
        assert report.failed == [], "\n".join(map(str, report.failed))

    async def _judge_stripe(self, expected: str) -> None:
        """Nothing is payable any more, and Stripe holds the money of a paid order, once, and of no other."""
        created_gte = (await self.counter.rows("SELECT now() - interval '1 day' AS at"))[0].at
        payments = [fact async for fact in self.stripe.list_payment_intents(created_gte)]
        refunds = [fact async for fact in self.stripe.list_refunds(created_gte)]
        assert {fact.status for fact in payments} <= {"succeeded", "canceled"}
        assert sum(fact.status == "succeeded" for fact in payments) <= 1
        total = await self.counter.one(
            "SELECT total_minor FROM orders WHERE id = :id", id=self.order_id
        )
        held = sum(fact.amount_received_minor for fact in payments)
        held -= sum(fact.amount_minor for fact in refunds if fact.status == "succeeded")
        assert held == (total if expected == "PAID" else 0)
        sessions = (await self.counter.sandbox.ask("GET", "/v1/checkout/sessions?limit=100")).body
        assert "open" not in {
            each["status"]
            for each in sessions["data"]
            if each["metadata"]["order_id"] == self.order_id
        }
