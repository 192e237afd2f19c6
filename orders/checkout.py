"""Placing an order, the whole story on one screen: quote, slot, admit, record, answer.

No refusal is given before the key was looked up, and no order is acknowledged before SQL has it. Requests own no
connection here: they join the gate's and the writer's batches and wait.
"""

import asyncio
from collections import defaultdict
from datetime import UTC, datetime
from typing import NamedTuple

import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolExhausted

from inventory.gate import (
    Admission,
    Admitted,
    Conflict,
    Gate,
    GateDamaged,
    GateShut,
    GateUnclear,
    LimitReached,
)
from inventory.offers import Catalogue, StreamView
from inventory.rebuild import mark_stale
from orders.baskets import Basket, Baskets, Extras, Quote, digest, require_open
from orders.placements import (
    EpochChanged,
    KeyAborted,
    KeyConflict,
    Outcome,
    OverLimit,
    Placed,
    Placement,
    Short,
    Unclear,
)
from orders.refusals import conflict, known_refusal, limit_exceeded, sold_out
from orders.same_lines import find_same
from orders.sold_out import SoldOutBoard
from orders.writer import Writer
from stream_events.batching import Closed, QueueFull
from stream_events.database import Database
from stream_events.errors import Problem, not_found, unavailable
from stream_events.ids import new_id

log = structlog.get_logger(__name__)

QUEUE_LENGTH_S = 1.0

_QUEUE_LENGTH = text("SELECT count(*) FROM orders WHERE state = 'RESERVED'")

SAME_KEY = "It is not known yet whether the order was placed; repeat the request with the same key."


class Request(NamedTuple):
    """A shopper's wish: what to buy where, under a key of the shopper's own making."""

    stream_id: str
    shopper_id: str
    key: str
    lines: tuple[tuple[str, int], ...]
    extras: Extras | None = None


class Answer(NamedTuple):
    """An order that SQL has: 201 when this key placed it, 200 when an open order of the same lines stands."""

    status: int
    order: Placed


class Checkout:
    """Places orders: one a process, with the batches and the boards that it needs."""

    def __init__(
        self, database: Database, gate: Gate, catalogue: Catalogue, attempts_per_second: int
    ) -> None:
        self._database = database
        self._gate = gate
        self._catalogue = catalogue
        self._attempts_max = attempts_per_second
        self._attempts: dict[str, int] = defaultdict(int)
        self._queue_length = 0
        self._baskets = Baskets()
        self._doubted: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.writer = Writer(database, gate)
        self.sold_out = SoldOutBoard(database, gate)

    async def place(self, request: Request) -> Answer:
        """Place an order and return it once it is durable; every refusal is a ``Problem``.

        The same key gives the same answer, also after a crash. 503 means "repeat with the same key". The wait is
        bounded by what is waited for: the gate's timeout, the writer's deadline, and the queues before them.
        """
        stream = self._catalogue.find(request.stream_id)
        if stream is None:
            raise not_found("stream")
        self.count(request.shopper_id)
        basket = self._baskets.basket(request.lines, request.extras)
        op = digest(stream.id, request.shopper_id, request.key)
        final = self.sold_out.refuses(stream.id, basket.skus, op)
        if final is not None:
            raise sold_out(0, final=final)
        try:
            quote = self._baskets.quote(stream, basket)
            require_open(stream, quote)
        except Problem as problem:
            return await self._refuse(op, basket.fingerprint, problem)
        try:
            with self.writer.slot():
                return await self._admit_and_record(request, stream, basket, quote, op)
        except (QueueFull, Closed):
            raise unavailable("Too many orders at once; nothing was held for this one.") from None
        except (GateUnclear, Unclear, DBAPIError, PoolExhausted, OSError):
            raise unavailable(SAME_KEY, "unclear") from None

    async def run(self, stop: asyncio.Event) -> None:
        """Keep what the order path reads from memory fresh until ``stop``."""
        board = asyncio.create_task(self.sold_out.run(stop))
        while not stop.is_set():
            self._attempts.clear()
            try:
                async with self._database.begin() as sql:
                    self._queue_length = int((await sql.execute(_QUEUE_LENGTH)).scalar_one())
            except Exception as error:  # noqa: BLE001 - a place in the queue is told a second late.
                log.warning("queue_length_unknown", error=repr(error))
            await asyncio.sleep(QUEUE_LENGTH_S)
        await board

    async def close(self) -> None:
        """Work off what was admitted."""
        await self.writer.close()
        await asyncio.gather(*self._tasks)

    async def _admit_and_record(
        self, request: Request, stream: StreamView, basket: Basket, quote: Quote, op: bytes
    ) -> Answer:
        for _ in range(2):  # after a rebuild an order is admitted once more, server side
            order_id = new_id("ord")
            try:
                admission = await self._gate.admit(
                    Admission(
                        stream.id,
                        stream.epoch,
                        op,
                        basket.fingerprint,
                        order_id,  # as unique as the admission itself
                        request.shopper_id,
                        quote.asked,
                    )
                )
            except GateShut as shut:
                if isinstance(shut, GateDamaged):
                    self._doubt(stream)
                closed = unavailable(
                    "The sale is being restored; repeat with the same key.", "gate_shut"
                )
                return await self._refuse(op, basket.fingerprint, closed)
            if isinstance(admission, Conflict):
                raise conflict()
            if isinstance(admission, LimitReached):
                return await self._limit_reached(request, basket, quote, op, admission.units)
            if not isinstance(admission, Admitted):
                self.sold_out.note(stream.id)
                return await self._refuse(
                    op, basket.fingerprint, sold_out(admission.left, final=False)
                )
            place = self.next_place()
            outcome = await self.writer.record(
                Placement(
                    op,
                    basket.fingerprint,
                    admission.adm,
                    new_id("ord") if admission.repeat else order_id,
                    stream.id,
                    stream.epoch,
                    request.shopper_id,
                    quote.lines,
                    quote.total_minor,
                    stream.currency,
                    place,
                    datetime.now(UTC),
                    quote.shipping_minor,
                    quote.gifts,
                )
            )
            if not isinstance(outcome, EpochChanged):
                return self._answer(stream, outcome)
            await self._catalogue.refresh()
            stream = self._catalogue.stream(stream.id)
            quote = self._baskets.quote(stream, basket)
        raise Unclear

    def _answer(self, stream: StreamView, outcome: Outcome) -> Answer:
        if isinstance(outcome, Placed):
            return Answer(201, outcome)
        if isinstance(outcome, (KeyConflict, KeyAborted)):
            raise known_refusal(outcome)
        self._doubt(stream)  # the gate let in what SQL refused
        if isinstance(outcome, OverLimit):
            raise limit_exceeded(outcome.units)
        assert isinstance(outcome, Short)
        raise sold_out(outcome.left, final=False)

    async def _refuse(self, op: bytes, fingerprint: bytes, problem: Problem) -> Answer:
        """Give the stored answer to a key that SQL knows, else refuse."""
        try:
            known = await self.writer.look_up(op, fingerprint)
        except (Unclear, QueueFull, Closed):
            raise unavailable(SAME_KEY, "unclear") from None
        if known is None:
            raise problem
        if isinstance(known, Placed):
            return Answer(201, known)
        raise known_refusal(known)

    async def _limit_reached(
        self, request: Request, basket: Basket, quote: Quote, op: bytes, units: int
    ) -> Answer:
        """Answer with the shopper's open order of the same lines, so that nobody is blocked by oneself."""
        known = await self.writer.look_up(op, basket.fingerprint)
        if known is not None:
            return await self._refuse(op, basket.fingerprint, limit_exceeded(units))
        async with self._database.begin() as sql:
            same = await find_same(sql, request.stream_id, request.shopper_id, basket, quote)
        if same is None:
            raise limit_exceeded(units)
        return Answer(200, same)

    def next_place(self) -> int:
        """Return the next place in the queue to pay, as well as this process knows it."""
        self._queue_length += 1
        return self._queue_length

    def count(self, shopper_id: str) -> None:
        """Count a try of a shopper, and refuse one too many within a second."""
        if self._attempts_max:
            self._attempts[shopper_id] += 1
            if self._attempts[shopper_id] > self._attempts_max:
                raise Problem(429, "rate_limited", "Slow down a little.", retry_after_ms=1000)

    def _doubt(self, stream: StreamView) -> None:
        """The gate and SQL disagree: unless changes are still on their way, have the gate rebuilt."""
        if stream.id not in self._doubted:
            self._doubted.add(stream.id)
            task = asyncio.create_task(self._settle_doubt(stream))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _settle_doubt(self, stream: StreamView) -> None:
        try:
            await self._catalogue.refresh()
            now = self._catalogue.stream(stream.id)
            facts = await self._gate.facts(stream.id)
            # A gate of another epoch is rebuilt anyway, without shutting the next one too.
            if stream.epoch == now.epoch == facts.epoch and facts.relseq == now.rel_seq:
                log.error("gate_drift", stream_id=stream.id, epoch=stream.epoch)
                async with self._database.begin() as sql:
                    await mark_stale(sql, stream.id)
        except (GateShut, GateUnclear, OSError, Problem) as error:
            log.warning("gate_doubt_unsettled", stream_id=stream.id, error=repr(error))
        finally:
            self._doubted.discard(stream.id)
