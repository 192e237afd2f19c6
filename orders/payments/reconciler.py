"""The second way by which every payment becomes known: webhooks get lost, and processes die in the middle of a call.

Each round asks Stripe what happened since the last one (with overlap), keeps the events that no webhook brought,
looks for payments nobody here knows of, and finishes attempts and orders that have waited too long. Everything is
applied by the same way as a webhook, so a round that finds nothing new changes nothing.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from orders.lifecycle import OrderState
from orders.locks import lock_orders
from orders.payments import attempts as tries
from orders.payments.checkout_mode import look_at, take_in
from orders.payments.fees import look_for_fees, post_fees
from orders.payments.pace import BreakerOpen, Busy, Pace
from orders.payments.payable import read_payable
from orders.payments.returns import look_for_returns
from orders.payments.stripe_gateway import (
    EventFact,
    ListTruncated,
    PaymentError,
    PaymentFact,
    RateLimited,
    Refused,
    StripeGateway,
    UnknownOutcome,
    Unreachable,
)
from orders.payments.tables import Reconciled
from orders.payments.webhooks import Inbox, Received, without_personal_data
from orders.settlement import settle
from orders.tables import PayAttempt, StripeEvent
from stream_events.database import Database
from stream_events.loops import go_round

log = structlog.get_logger(__name__)

OVERLAP = timedelta(minutes=2)
# The first round of a process cannot know which webhooks were lost before it.
LOOK_BACK = timedelta(hours=1)
# Stripe keeps events for 30 days.
LOOK_BACK_MAX = timedelta(days=29)
PAGE_SIZE = 100
# A million: more than Stripe's own limits let happen in the hours that a first round looks back.
PAGES_MAX = 10_000
LOOKED_AT_MAX = 200
OVERDUE_S = 120
ABSENT_CYCLES = 2

EVENT_TYPES = (
    "payment_intent.succeeded",
    "payment_intent.canceled",
    "payment_intent.processing",
    "payment_intent.payment_failed",
    "refund.*",
    "charge.dispute.*",
    # They say nothing to the books, but what Stripe sent is here: that every event arrived can be proved.
    "checkout.session.*",
)

# Money that Stripe has and our books do not, calls nobody knows the end of, orders that wait for Stripe's word, and
# pages at Stripe that have run out. The states of orders stand apart so that each half has its own small index:
# in one list they would cost a walk through all orders there ever were.
_OVERDUE = text("""
    SELECT a.order_id, a.n
    FROM pay_attempts a JOIN orders o ON o.id = a.order_id
    WHERE (a.state IN ('CREATING', 'PROCESSING', 'SUCCEEDED')
           OR o.state IN ('PROCESSING', 'EXPIRING', 'CANCELLING')
           OR (a.way = 'checkout' AND CAST(a.params ->> 'expires_at' AS bigint) < extract(epoch FROM now())))
      AND a.state NOT IN ('CANCELED', 'ABSENT')
      AND (o.state = 'AWAITING_PAYMENT' OR o.state IN ('PROCESSING', 'EXPIRING', 'CANCELLING'))
      AND a.updated_at < now() - make_interval(secs => :overdue_s)
    ORDER BY random() LIMIT :most
""")
_NOW = text("SELECT clock_timestamp()")


@dataclass(slots=True)
class Reconciler:
    """What a round needs, and how far the rounds before it have seen."""

    database: Database
    stripe: StripeGateway
    pace: Pace
    inbox: Inbox
    overdue_s: int = OVERDUE_S
    missed_events: int = 0
    unknown_payments: int = 0
    unknown_returns: int = 0

    async def reconcile_once(self) -> int:
        """Do one round; return how many things it brought to light. Raises when Stripe cannot be asked."""
        async with self.database.begin() as sql:
            began: datetime = (await sql.execute(_NOW)).scalar_one()
        since = await self._since(began)
        missed = await self._keep_events(since)
        unknown = await self._look_for_unknown(since)
        strange = await look_for_returns(self.database, self.stripe, self.pace, since)
        # Only after all of it was seen: a round that broke off is done again from where it began.
        await self._remember(began)
        self.missed_events += missed
        self.unknown_payments += unknown
        self.unknown_returns += strange
        overdue = await self._look_at_overdue()
        await look_for_fees(self.database, self.stripe, self.pace)
        log.info(
            "reconciled",
            missed_events=missed,
            unknown_payments=unknown,
            unknown_returns=strange,
            overdue=overdue,
        )
        return missed + unknown + strange + overdue

    async def _since(self, now: datetime) -> datetime:
        async with self.database.begin() as sql:
            seen_until: datetime | None = await sql.scalar(select(Reconciled.seen_until))
            if seen_until is not None:
                return max(seen_until - OVERLAP, now - LOOK_BACK_MAX)
            last = await sql.scalar(select(func.max(StripeEvent.received_at)))
            if last is None:
                last = await sql.scalar(select(func.min(PayAttempt.created_at)))
        return max(min(last or now, now - LOOK_BACK) - OVERLAP, now - LOOK_BACK_MAX)

    async def _remember(self, seen_until: datetime) -> None:
        known = insert(Reconciled).values(id=1, seen_until=seen_until)
        async with self.database.begin() as sql:
            await sql.execute(
                known.on_conflict_do_update(index_elements=["id"], set_={"seen_until": seen_until})
            )

    async def _keep_events(self, since: datetime) -> int:
        """Store what happened, as if its webhook had come; return how many had not come."""
        missed = 0
        page: list[EventFact] = []
        listing = self.stripe.list_events(since, types=EVENT_TYPES, pages_max=PAGES_MAX)
        async for event in self.pace.pages(listing, PAGE_SIZE):
            page.append(event)
            if len(page) == PAGE_SIZE:
                missed += await self._keep(page)
                page = []
        return missed + await self._keep(page)

    async def _keep(self, page: Sequence[EventFact]) -> int:
        kept = await asyncio.gather(*(self.inbox.keep(_received(event)) for event in page))
        return sum(kept)

    async def _look_for_unknown(self, since: datetime) -> int:
        """Report payments that no attempt of ours made; give one back to the attempt that forgot its id."""
        unknown = 0
        page: list[PaymentFact] = []
        listing = self.stripe.list_payment_intents(since, pages_max=PAGES_MAX)
        async for fact in self.pace.pages(listing, PAGE_SIZE):
            page.append(fact)
            if len(page) == PAGE_SIZE:
                unknown += await self._unknown_of(page)
                page = []
        return unknown + await self._unknown_of(page)

    async def _unknown_of(self, page: Sequence[PaymentFact]) -> int:
        async with self.database.begin() as sql:
            known = set(
                await sql.scalars(
                    select(PayAttempt.payment_intent_id).where(
                        PayAttempt.payment_intent_id.in_([fact.payment_intent_id for fact in page])
                    )
                )
            )
        await post_fees(self.database, page)
        unknown = 0
        for fact in page:
            if fact.payment_intent_id in known:
                continue
            attempt = await self._attempt_of(fact)
            if attempt is None:
                unknown += 1
                log.error(
                    "unknown_payment",
                    payment_intent_id=fact.payment_intent_id,
                    status=fact.status,
                    amount=fact.amount_minor,
                )
            elif attempt.state == "ABSENT":
                # Called absent, and yet it came: its money is settled, and given back if it is a second one.
                await settle(self.database, [fact])
        return unknown

    async def _attempt_of(self, fact: PaymentFact) -> PayAttempt | None:
        """Return the attempt the metadata names, unless it is known to have made another payment."""
        n = fact.metadata.get("attempt", "")
        if not (n.isascii() and n.isdecimal() and len(n) < 4):
            return None
        async with self.database.begin() as sql:
            attempt = await sql.get(PayAttempt, (fact.metadata.get("order_id", "")[:64], int(n)))
        if attempt is None or attempt.payment_intent_id not in (None, fact.payment_intent_id):
            return None
        return attempt

    async def _look_at_overdue(self) -> int:
        async with self.database.begin() as sql:
            names = (
                await sql.execute(_OVERDUE, {"overdue_s": self.overdue_s, "most": LOOKED_AT_MAX})
            ).all()
            now: datetime = (await sql.execute(_NOW)).scalar_one()
            attempts = [await sql.get_one(PayAttempt, (name.order_id, name.n)) for name in names]
        forgotten = []
        for attempt in attempts:
            try:
                if not await self._look_at(attempt, (now - attempt.created_at).total_seconds()):
                    forgotten.append(attempt)
            except (Busy, BreakerOpen, Unreachable, RateLimited) as error:
                log.info("reconciler_put_off", error=type(error).__name__)
                break  # The rest has its turn in another round.
            except UnknownOutcome as error:
                log.info("attempt_still_unknown", order_id=attempt.order_id, reason=str(error))
        await self._search([each for each in forgotten if each.way == "page"], now)
        await self._search_sessions([each for each in forgotten if each.way == "checkout"], now)
        return len(attempts)

    async def _look_at(self, attempt: PayAttempt, age_s: float) -> bool:
        """Apply how an attempt stands at Stripe; False when it must be searched there."""
        if attempt.way == "checkout":
            return await look_at(self.database, self.stripe, self.pace, attempt)
        fact = await self._learn(attempt, age_s)
        if fact is not None:
            await tries.apply(self.database, attempt, fact)
        return fact is not None

    async def _learn(self, attempt: PayAttempt, age_s: float) -> PaymentFact | None:
        """Return how an attempt stands at Stripe; None when its key will not tell, so that it must be searched."""
        payment_intent_id = attempt.payment_intent_id
        if payment_intent_id is not None:
            if attempt.state == "CREATING" and age_s <= tries.KEY_GOOD_FOR_S:
                finished = await self._finish(attempt)
                if finished is not None:
                    return finished
            return await self.pace.call("keep", lambda: self.stripe.retrieve(payment_intent_id))
        if age_s > tries.KEY_GOOD_FOR_S:
            return None
        try:
            return await self.pace.call("keep", lambda: tries.create(self.stripe, attempt))
        except Refused as error:
            log.warning("attempt_refused", order_id=attempt.order_id, code=error.code)
            return None
        except UnknownOutcome as error:
            if not error.key_spent:
                raise
            return None

    async def _finish(self, attempt: PayAttempt) -> PaymentFact | None:
        """Send a further card once more under its own key; None where that says nothing, so that one has to look.

        Stripe repeats what it answered, or does what it never heard of. A look alone cannot tell these two apart: the
        card would be called declined, and one of the shopper's tries be gone, though nobody ever tried it.
        """
        async with self.database.begin() as sql:
            order = await read_payable(sql, attempt.order_id)
        if order is None or order.state is not OrderState.AWAITING_PAYMENT or not order.on_time:
            return None
        try:
            return await self.pace.call("keep", lambda: tries.confirm(self.stripe, attempt))
        except Refused as error:
            log.warning("attempt_refused", order_id=attempt.order_id, code=error.code)
            return error.fact
        except UnknownOutcome as error:
            if not error.key_spent:
                raise
            return None

    async def _search(self, forgotten: Sequence[PayAttempt], now: datetime) -> None:
        """Look for what these attempts made, by one listing for all; count a round of absence for each not found."""
        if not forgotten:
            return
        oldest = min(attempt.created_at for attempt in forgotten) - OVERLAP
        wanted = {(each.order_id, str(each.n)): each for each in forgotten}
        found: list[tuple[PayAttempt, PaymentFact]] = []
        try:
            listing = self.stripe.list_payment_intents(
                max(oldest, now - LOOK_BACK_MAX), pages_max=PAGES_MAX
            )
            async for fact in self.pace.pages(listing, PAGE_SIZE):
                name = (fact.metadata.get("order_id", ""), fact.metadata.get("attempt", ""))
                attempt = wanted.pop(name, None)
                if attempt is not None:
                    found.append((attempt, fact))
        except ListTruncated:
            # What was not looked at must not be called absent.
            wanted = {}
        for attempt, fact in found:
            await tries.apply(self.database, attempt, fact)
        for attempt in wanted.values():
            await self._count_absence(attempt)

    async def _search_sessions(self, forgotten: Sequence[PayAttempt], now: datetime) -> None:
        """Look for the pages that these attempts opened at Stripe; count a round of absence for each not found."""
        for attempt in forgotten:
            since = max(attempt.created_at - OVERLAP, now - LOOK_BACK_MAX)
            try:
                fact = await self.pace.call(
                    "keep",
                    lambda attempt=attempt, since=since: self.stripe.find_checkout(  # type: ignore[misc]
                        attempt.order_id, attempt.n, since
                    ),
                )
            except ListTruncated:
                # What was not looked at must not be called absent.
                continue
            if fact is None:
                await self._count_absence(attempt)
            else:
                await take_in(self.database, self.stripe, self.pace, attempt, fact)

    async def _count_absence(self, attempt: PayAttempt) -> None:
        absent_cycles = PayAttempt.absent_cycles + 1
        async with self.database.begin() as sql:
            [order] = await lock_orders(sql, [attempt.order_id])
            cycles = await sql.scalar(
                update(PayAttempt)
                .where(
                    PayAttempt.order_id == attempt.order_id,
                    PayAttempt.n == attempt.n,
                    PayAttempt.state == "CREATING",
                    PayAttempt.payment_intent_id.is_(None),
                    PayAttempt.checkout_session_id.is_(None),
                )
                .values(absent_cycles=absent_cycles)
                .returning(PayAttempt.absent_cycles)
            )
            if cycles is not None and cycles >= ABSENT_CYCLES:
                await sql.execute(
                    update(PayAttempt)
                    .where(PayAttempt.order_id == attempt.order_id, PayAttempt.n == attempt.n)
                    .values(state="ABSENT", updated_at=func.now())
                )
                state = OrderState(order.state)
                log.warning("attempt_absent", order_id=order.id, n=attempt.n, state=state)


async def run_reconciler(
    database: Database,
    stripe: StripeGateway,
    pace: Pace,
    inbox: Inbox,
    stop: asyncio.Event,
    *,
    every_s: float,
) -> None:
    """Reconcile until ``stop``; while Stripe is away a round is put off, never skipped for good."""
    reconciler = Reconciler(database, stripe, pace, inbox)

    async def reconcile() -> float:
        try:
            await reconciler.reconcile_once()
        except (PaymentError, Busy, BreakerOpen) as error:
            log.warning("reconciler_put_off", error=type(error).__name__)
        return every_s

    await go_round(
        reconcile,
        stop,
        failure="reconciler_round_failed",
        backoff_s=every_s,
        backoff_s_max=every_s,
    )


def _received(event: EventFact) -> Received:
    """The event as a webhook would have brought it."""
    payload = {
        "id": event.event_id,
        "object": "event",
        "type": event.event_type,
        "created": int(event.created_at.timestamp()),
        "livemode": event.livemode,
        "data": {"object": without_personal_data(dict(event.snapshot))},
    }
    return Received(event.event_id, event.event_type, event.object_id, event.livemode, payload)
