"""Takes stored webhooks to settlement: what may be believed as it stands, and what must be asked after first.

Stripe's events come late and out of order. Only final words are taken from them; for any other the object is
fetched as it is now, before the transaction, so that no row is locked while Stripe thinks.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import structlog
from sqlalchemy import Row

from orders.payments.checkout_declines import DECLINED_TYPE, CheckoutDeclines
from orders.payments.errors import PaymentError, Refused
from orders.payments.facts import (
    DisputeFact,
    EventFact,
    PaymentFact,
    RefundFact,
    UnreadableSnapshotError,
    event_fact,
)
from orders.payments.pace import BreakerOpen, Busy, Pace
from orders.payments.stripe_gateway import StripeGateway
from orders.settlement import BATCH_MAX, Told, settle_told
from stream_events.bulk import bulk
from stream_events.database import Database
from stream_events.loops import go_round

log = structlog.get_logger(__name__)

LANES: Final = 2
FETCHES_MAX: Final = 32
FETCHES_AT_ONCE_MAX: Final = 8
IDLE_S: Final = 0.1

_FINAL_TYPES: Final = frozenset({"payment_intent.succeeded", "payment_intent.canceled"})

# What an attempt may already stand at for an event to be no news. That we made a PaymentIntent never is any: the
# one who made it learns its id, or the reconciler does.
_ENDED: Final = frozenset({"SUCCEEDED", "CANCELED"})
_NO_NEWS: Final[Mapping[str, Collection[str | None]]] = MappingProxyType(
    {
        "payment_intent.payment_failed": _ENDED | {"DECLINED"},
        "payment_intent.processing": _ENDED | {"PROCESSING"},
        "payment_intent.requires_action": _ENDED | {"REQUIRES_ACTION"},
    }
)


async def settle_events_once(
    database: Database,
    stripe: StripeGateway,
    *,
    pace: Pace | None = None,
    declines: CheckoutDeclines | None = None,
    batch_max: int = LANES * BATCH_MAX,
) -> int:
    """Settle the oldest stored events and return how many are done with.

    At most ``FETCHES_MAX`` PaymentIntents are asked after in a round; what needs more, or an answer that Stripe
    did not give, stays stored for a later one and holds nothing up. Raises what ``settle`` raises.
    """
    async with database.begin() as sql:
        rows = (
            await sql.execute(
                _PICK,
                {"batch_max": batch_max, "final_types": sorted(_FINAL_TYPES)},
            )
        ).all()
    if not rows:
        return 0
    round_ = _Round(rows)
    async with database.begin() as sql:
        wanted = {"payment_intents": sorted(round_.payment_intents())}
        attempts = await sql.execute(_ATTEMPTS, wanted)
        round_.attempts = {row.payment_intent_id: row.state for row in attempts}
        round_.paid = set(await sql.scalars(_PAID, wanted))
    fetched = await _fetch(stripe, pace, round_.to_fetch())
    settled = await _settle_in_lanes(database, round_.told(fetched))
    if declines is not None and (declined := round_.declined()):
        await declines.see(declined)
    return settled


async def _settle_in_lanes(database: Database, told: Sequence[Told]) -> int:
    """Settle what does not fit into one transaction in several at once: one computes while another writes.

    What is told of one payment stays in its order, in one lane. Every lane ends before a failure is raised.
    """
    lanes = _lanes(told)
    ends = await asyncio.gather(
        *(_settle_lane(database, lane) for lane in lanes), return_exceptions=True
    )
    for end in ends:
        if isinstance(end, BaseException):
            raise end
    return sum(end for end in ends if isinstance(end, int))


async def _settle_lane(database: Database, told: Sequence[Told]) -> int:
    settled = 0
    for start in range(0, len(told), BATCH_MAX):
        settled += len(await settle_told(database, told[start : start + BATCH_MAX]))
    return settled


def _lanes(told: Sequence[Told]) -> list[list[Told]]:
    if len(told) <= BATCH_MAX:
        return [list(told)]
    lanes: list[list[Told]] = [[] for _ in range(LANES)]
    of_payments: dict[str | None, list[Told]] = {}
    for each in told:
        payment = each.fact.payment_intent_id if each.fact else each.event_id
        lane = of_payments.setdefault(payment, min(lanes, key=len))
        lane.append(each)
    return lanes


async def run_settlement(
    database: Database,
    stripe: StripeGateway,
    stop: asyncio.Event,
    *,
    pace: Pace | None = None,
    declines: CheckoutDeclines | None = None,
) -> None:
    """Settle stored events until ``stop``; an error is logged and tried again after a growing pause."""

    async def settle_some() -> float:
        if not await database.look(_ANY):
            return IDLE_S
        settled = await settle_events_once(database, stripe, pace=pace, declines=declines)
        # A transaction costs much, and an event more in it little: what comes one by one is settled by the handful.
        return 0.0 if settled >= BATCH_MAX else IDLE_S

    await go_round(settle_some, stop, failure="settlement_failed")


class _Round:
    """The events of one round, read, and what the books know of their payments."""

    def __init__(self, rows: Sequence[Row[Any]]) -> None:
        self.attempts: dict[str, str] = {}
        self.paid: set[str] = set()
        self._events: list[tuple[str, EventFact | None]] = []
        self._believed: dict[str, PaymentFact | RefundFact | DisputeFact | None] = {}
        for row in rows:
            try:
                event = event_fact(row.payload)
                self._believed[row.event_id] = event.trusted()
            except UnreadableSnapshotError as error:
                log.warning("event_unreadable", event_id=row.event_id, why=str(error))
                self._events.append((row.event_id, None))
            else:
                self._events.append((row.event_id, event))
        self._final = {
            fact.payment_intent_id
            for fact in self._believed.values()
            if isinstance(fact, PaymentFact)
        }

    def payment_intents(self) -> set[str]:
        """Return the PaymentIntents that the round is about."""
        about = {self._payment_of(event_id, event) for event_id, event in self._events}
        return about - {None}  # type: ignore[return-value]

    def to_fetch(self) -> list[str]:
        """Return whom Stripe must be asked after, oldest event first."""
        wanted: dict[str, None] = {}
        for event_id, event in self._events:
            payment_intent_id = self._payment_of(event_id, event)
            if event and payment_intent_id and self._needs_fetch(event, payment_intent_id):
                wanted[payment_intent_id] = None
        return list(wanted)[:FETCHES_MAX]

    def declined(self) -> list[str]:
        """Return the PaymentIntents of which this round heard that a card was declined."""
        return [
            event.object_id
            for _, event in self._events
            if event is not None and event.event_type == DECLINED_TYPE
        ]

    def told(self, fetched: dict[str, PaymentFact | Refused]) -> list[Told]:
        """Return the facts in order; events whose PaymentIntent could not be fetched now are left out."""
        told: list[Told] = []
        for event_id, event in self._events:
            if event is None:
                told.append(Told(None, event_id, note="unreadable", quarantine=True))
            else:
                told += self._told_by(event_id, event, fetched)
        return told

    def _told_by(
        self, event_id: str, event: EventFact, fetched: dict[str, PaymentFact | Refused]
    ) -> list[Told]:
        fact = self._believed[event_id]
        payment_intent_id = self._payment_of(event_id, event)
        if isinstance(fact, PaymentFact):
            return [Told(fact, event_id, event.livemode)]
        if payment_intent_id is None:
            if fact is None:
                return [Told(None, event_id, note="says nothing to the books")]
            return [Told(fact, event_id, event.livemode)]
        if not self._needs_fetch(event, payment_intent_id):
            if fact is None:
                return [Told(None, event_id, note="nothing new")]
            return [Told(fact, event_id, event.livemode)]
        found = fetched.get(payment_intent_id)
        if found is None:
            return []
        if isinstance(found, Refused):
            return [Told(None, event_id, note=found.code, quarantine=True)]
        if fact is None:
            return [Told(found, event_id, event.livemode)]
        # A refund or dispute proves the payment, whose own event has not come yet.
        return [Told(found), Told(fact, event_id, event.livemode)]

    def _payment_of(self, event_id: str, event: EventFact | None) -> str | None:
        if event is None:
            return None
        fact = self._believed[event_id]
        if fact is not None:
            return fact.payment_intent_id
        return event.object_id if event.object_kind == "payment_intent" else None

    def _needs_fetch(self, event: EventFact, payment_intent_id: str) -> bool:
        if event.object_kind != "payment_intent":
            return payment_intent_id not in self.paid | self._final
        if event.event_type in _FINAL_TYPES or payment_intent_id in self._final:
            return False
        if event.event_type == "payment_intent.created":
            return False
        known = self.attempts.get(payment_intent_id)
        return known not in _NO_NEWS.get(event.event_type, _ENDED)


async def _fetch(
    stripe: StripeGateway, pace: Pace | None, payment_intent_ids: Sequence[str]
) -> dict[str, PaymentFact | Refused]:
    """Ask after each PaymentIntent; what Stripe did not answer is left out, a definite no is kept."""
    turns = asyncio.Semaphore(FETCHES_AT_ONCE_MAX)

    async def ask(payment_intent_id: str) -> PaymentFact | Refused | None:
        async with turns:
            try:
                if pace is None:
                    return await stripe.retrieve(payment_intent_id)
                return await pace.call("keep", lambda: stripe.retrieve(payment_intent_id))
            except Refused as error:
                return error if error.code == "resource_missing" else None
            except (PaymentError, Busy, BreakerOpen) as error:
                log.warning("payment_not_fetched", why=type(error).__name__)
                return None

    answers = await asyncio.gather(*(ask(each) for each in payment_intent_ids))
    return {
        asked: answer
        for asked, answer in zip(payment_intent_ids, answers, strict=True)
        if answer is not None
    }


_ANY = "SELECT FROM stripe_events WHERE state = 'NEW' LIMIT 1"
# Oldest first, but words that can be taken as they stand go before those that Stripe must be asked about: while it
# does not answer, the latter would pile up at the head and keep money out of the books.
_PICK = bulk("""
(
    SELECT event_id, payload FROM stripe_events
    WHERE state = 'NEW' AND NOT (type LIKE 'payment_intent.%' AND type <> ALL(CAST(:final_types AS text[])))
    ORDER BY received_at, event_id LIMIT :batch_max
) UNION ALL (
    SELECT event_id, payload FROM stripe_events
    WHERE state = 'NEW' AND type LIKE 'payment_intent.%' AND type <> ALL(CAST(:final_types AS text[]))
    ORDER BY received_at, event_id LIMIT :batch_max
)
LIMIT :batch_max
""")
_ATTEMPTS = bulk("""
SELECT payment_intent_id, state FROM pay_attempts
WHERE payment_intent_id = ANY(CAST(:payment_intents AS text[]))
""")
_PAID = bulk("""
SELECT source_id FROM ledger_transactions
WHERE source_id = ANY(CAST(:payment_intents AS text[])) AND kind IN ('capture', 'donation', 'surplus')
""")
