"""Settlement: applies what Stripe says to orders, stock and ledger, up to 256 facts in one transaction.

The only way money gets into the books. Facts come from stored webhooks, the reconciler, the expirer and the pay
route, late, twice and in any order; each is applied once, whole, under its order's row lock. A fact that cannot be
true is set apart with its reason and counted nowhere; one that breaks a transaction is found by halving it.
"""

import asyncio
import copy
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.ext.asyncio import AsyncSession

from inventory import guard
from orders import order_books_sql
from orders.matching import lock_pots_early
from orders.order_books import OrderBooks
from orders.order_rows import Result, Ruling, StockMove, Unbelievable
from orders.payments.facts import DisputeFact, PaymentFact, RefundFact
from orders.rulings import Fact, apply, needs
from stream_events.bulk import bulk
from stream_events.database import Database

log = structlog.get_logger(__name__)

BATCH_MAX: Final = 256
TRIES_MAX: Final = 4
RETRY_PAUSE_S: Final = 0.05

# What passes by itself when the same transaction is run again: serialization, deadlock, a lock or statement that
# timed out, a server that is starting, stopping or full.
_PASSING_CLASSES: Final = ("40", "08", "53", "57")
_LOCK_NOT_AVAILABLE: Final = "55P03"


@dataclass(frozen=True, slots=True)
class Told:
    """A fact and where it comes from. ``event_id`` names the stored event that is done with it.

    An event without a fact is only marked: done, or set apart where ``quarantine`` says why.
    """

    fact: Fact | None
    event_id: str | None = None
    livemode: bool | None = None
    note: str = ""
    quarantine: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a fact, and how its order stands after the whole transaction (None for no order)."""

    fact: Fact | None
    result: Result
    reason: str = ""
    order_id: str | None = None
    order_state: str | None = None


async def settle(database: Database, facts: Sequence[Fact]) -> list[Outcome]:
    """Apply up to ``BATCH_MAX`` facts and return what became of each, in order, once that is durable.

    Raises the database's error when it does not answer or its locks are not to be had: then repeat it all.
    """
    return await settle_told(database, [Told(fact) for fact in facts])


async def settle_told(database: Database, told: Sequence[Told]) -> list[Outcome]:
    """Settle facts together with the stored events they came in; see ``settle``."""
    if len(told) > BATCH_MAX:
        raise ValueError(f"at most {BATCH_MAX} facts can be settled at once")
    outcomes: list[Outcome | None] = [None] * len(told)
    # Each round settles at least one fact: the first of those left finds every lane free.
    while left := [index for index, outcome in enumerate(outcomes) if outcome is None]:
        found = await _settle_round(database, [told[index] for index in left])
        for index, outcome in zip(left, found, strict=True):
            outcomes[index] = outcome
    return [outcome for outcome in outcomes if outcome is not None]


async def _settle_round(database: Database, told: Sequence[Told]) -> list[Outcome | None]:
    try:
        return await _settle_patiently(database, told)
    except Exception as error:
        if _passes(error):
            raise
        if len(told) == 1:
            return [await _set_apart(database, told[0], error)]
        log.warning("settlement_split", facts=len(told), error=type(error).__name__)
    middle = len(told) // 2
    return [
        *await _settle_round(database, told[:middle]),
        *await _settle_round(database, told[middle:]),
    ]


async def _settle_patiently(database: Database, told: Sequence[Told]) -> list[Outcome | None]:
    for tries in range(1, TRIES_MAX + 1):
        try:
            async with database.begin() as sql:
                return await _settle_in(sql, told)
        except Exception as error:
            if not _passes(error) or tries == TRIES_MAX:
                raise
            log.info("settlement_repeated", facts=len(told), error=type(error).__name__)
            await asyncio.sleep(RETRY_PAUSE_S * tries * random.uniform(0.5, 1.5))  # noqa: S311 - jitter.
    raise AssertionError("unreachable")


def _passes(error: Exception) -> bool:
    """Whether running the same transaction again may well succeed: then nothing is wrong with the facts."""
    if isinstance(error, InterfaceError | OSError | TimeoutError):
        return True
    if not isinstance(error, DBAPIError):
        return False
    code = str(getattr(error.orig, "sqlstate", None) or "")
    if error.connection_invalidated or code == _LOCK_NOT_AVAILABLE:
        return True
    return code.startswith(_PASSING_CLASSES) or (not code and isinstance(error, OperationalError))


async def _set_apart(database: Database, told: Told, error: Exception) -> Outcome:
    """Quarantine the one fact that breaks its transaction, in a transaction that does nothing else."""
    reason = f"error: {type(error).__name__}"
    log.error(
        "fact_quarantined",
        fact=_name(told.fact),
        event_id=told.event_id,
        reason=reason,
        exc_info=error,
    )
    outcome = Outcome(told.fact, Result.QUARANTINED, reason)
    if told.event_id:
        async with database.begin() as sql:
            await _mark(sql, [told], [outcome], {told.event_id})
    return outcome


async def _settle_in(sql: AsyncSession, told: Sequence[Told]) -> list[Outcome | None]:
    """Settle in one transaction; None for what has to wait for another one (see ``_Lane``)."""
    taken = await _lock_events(sql, [each.event_id for each in told if each.event_id])
    order_ids = await _order_ids(sql, told)
    books = await order_books_sql.load(sql, sorted(set(order_ids) - {""}))
    lane, rulings = _Lane(sql, books), list[Ruling | None]()
    for each, order_id in zip(told, order_ids, strict=True):
        if each.event_id and each.event_id not in taken:
            rulings.append(Ruling(Result.KNOWN, "another worker has it"))
        else:
            rulings.append(await lane.rule(each, order_id))
    await order_books_sql.save(sql, list(lane.books.values()))
    outcomes = [
        ruling and _outcome(each, ruling, lane.books.get(order_id))
        for each, ruling, order_id in zip(told, rulings, order_ids, strict=True)
    ]
    await _mark(sql, told, outcomes, taken)
    return outcomes


class _Lane:
    """The facts of one transaction, whose stock moves are all of one kind.

    Selling locks stock; releasing and selling late lock the shoppers' units before it and the gate after it, and
    restocking the gate alone. Mixed in one transaction they would lock in a circle with the writer. So the first move decides, facts that
    bring another wait for the next transaction, and what is told of the same order later waits with them.
    """

    def __init__(self, sql: AsyncSession, books: dict[str, OrderBooks]) -> None:
        self.books = books
        self._sql = sql
        self._move: StockMove | None = None
        self._waiting: set[str] = set()

    async def rule(self, told: Told, order_id: str) -> Ruling | None:
        """Return what becomes of the fact, or None when it has to wait."""
        if told.fact is None:
            result = Result.QUARANTINED if told.quarantine else Result.IGNORED
            return self._logged(told, Ruling(result, told.note))
        books = self.books.get(order_id)
        if books is None:
            return self._logged(told, Ruling(Result.QUARANTINED, "unknown_order"))
        move = needs(books, told.fact)
        if order_id in self._waiting or (move and not self._free_for(move)):
            self._waiting.add(order_id)
            return None
        self._move = self._move or move
        sold_late = move == "L" and await self._sell_late(order_id)
        # Decided on a copy, so that a fact that turns out unbelievable half-way has changed nothing.
        trial = books if isinstance(told.fact, PaymentFact) else copy.deepcopy(books)
        try:
            ruling = apply(trial, told.fact, livemode=told.livemode, sold_late=sold_late)
        except Unbelievable as error:
            return self._logged(told, Ruling(Result.QUARANTINED, str(error)), books)
        self.books[order_id] = trial
        return self._logged(told, ruling, trial)

    async def _sell_late(self, order_id: str) -> bool:
        # The guard locks stock at once, and the pots of matches stand before stock in the lock order.
        await lock_pots_early(self._sql, {each.campaign_id for each in self.books.values()})
        return await guard.sell_late(self._sql, order_id)

    def _free_for(self, move: StockMove) -> bool:
        # A late sale asks the guard at once, so two of them could each hold what the other wants next.
        return self._move is None or (move == self._move and move != "L")

    def _logged(self, told: Told, ruling: Ruling, books: OrderBooks | None = None) -> Ruling:
        if ruling.result is Result.QUARANTINED:
            log.error(
                "fact_quarantined",
                fact=_name(told.fact),
                event_id=told.event_id,
                order_id=books.order_id if books else None,
                reason=ruling.reason,
            )
        return ruling


def _outcome(told: Told, ruling: Ruling, books: OrderBooks | None) -> Outcome:
    if books is None:
        return Outcome(told.fact, ruling.result, ruling.reason)
    return Outcome(told.fact, ruling.result, ruling.reason, books.order_id, books.state.value)


def _name(fact: Fact | None) -> str | None:
    if isinstance(fact, PaymentFact):
        return fact.payment_intent_id
    if isinstance(fact, RefundFact):
        return fact.refund_id
    return fact.dispute_id if fact else None


async def _order_ids(sql: AsyncSession, told: Sequence[Told]) -> list[str]:
    """Return the order each fact speaks of, by our own metadata or by the payment; "" for none.

    A payment may be told together with what proves it, before its attempt has learnt its id.
    """
    of_payments = {
        each.fact.payment_intent_id: each.fact.metadata.get("order_id", "")
        for each in told
        if isinstance(each.fact, PaymentFact)
    }
    asked = {
        each.fact.payment_intent_id
        for each in told
        if isinstance(each.fact, RefundFact | DisputeFact) and each.fact.payment_intent_id
    }
    if asked:
        of_payments |= await order_books_sql.orders_of(sql, sorted(asked))
    return [
        each.fact.metadata.get("order_id", "")
        if isinstance(each.fact, PaymentFact)
        else of_payments.get((each.fact and each.fact.payment_intent_id) or "", "")
        for each in told
    ]


async def _lock_events(sql: AsyncSession, event_ids: Sequence[str]) -> set[str]:
    """Lock those of these events that nobody has settled or is settling."""
    if not event_ids:
        return set()
    return set(await sql.scalars(_LOCK_EVENTS, {"events": list(event_ids)}))


async def _mark(
    sql: AsyncSession, told: Sequence[Told], outcomes: Sequence[Outcome | None], taken: set[str]
) -> None:
    """Mark the events whose facts are settled, in the transaction that settles them."""
    done = [
        (each.event_id, outcome)
        for each, outcome in zip(told, outcomes, strict=True)
        if outcome is not None and each.event_id in taken
    ]
    if not done:
        return
    await sql.execute(
        _MARK_EVENTS,
        {
            "events": [event_id for event_id, _ in done],
            "states": [
                "QUARANTINED" if outcome.result is Result.QUARANTINED else "DONE"
                for _, outcome in done
            ],
            "reasons": [outcome.reason or None for _, outcome in done],
        },
    )


# By their keys, one by one: the index of what is new would be as long as the backlog.
_LOCK_EVENTS = bulk("""
SELECT e.event_id FROM unnest(CAST(:events AS text[])) AS u (id) JOIN stripe_events e ON e.event_id = u.id
WHERE e.state = 'NEW'
ORDER BY e.event_id
FOR UPDATE OF e SKIP LOCKED
""")
_MARK_EVENTS = bulk("""
UPDATE stripe_events e SET state = u.state, reason = u.reason, done_at = now()
FROM unnest(CAST(:events AS text[]), CAST(:states AS text[]), CAST(:reasons AS text[]))
    AS u (event_id, state, reason)
WHERE e.event_id = u.event_id AND e.state = 'NEW'
""")
