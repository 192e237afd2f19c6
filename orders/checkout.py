"""Placing an order, the whole story on one screen: quote, slot, admit, record, answer.

No refusal is given before the key was looked up, and no order is acknowledged before SQL has it. Requests own no
connection here: they join the gate's and the writer's batches and wait.
"""

import asyncio
import hashlib
from collections import defaultdict
from datetime import UTC, datetime
from typing import NamedTuple

import structlog
from sqlalchemy import text

from inventory.gate import (
    Admission,
    Admitted,
    Conflict,
    Gate,
    GateShut,
    GateSteppedBack,
    GateUnclear,
    LimitReached,
)
from inventory.offers import Catalogue, StreamView
from inventory.rebuild import mark_stale
from orders.pricing import PricedOrder, PricingError, QuotedLine, price, sum_lines
from orders.sold_out import SoldOutBoard
from orders.writer import (
    EpochChanged,
    KeyAborted,
    KeyConflict,
    Line,
    Outcome,
    OverLimit,
    Placed,
    Placement,
    Short,
    StoredLine,
    Unclear,
    Writer,
)
from stream_events.batching import Closed, QueueFull
from stream_events.database import Database
from stream_events.errors import Problem, unavailable
from stream_events.ids import new_id

log = structlog.get_logger(__name__)

DEADLINE_S = 2.5
QUEUE_LENGTH_S = 1.0
QUOTES_MAX = 4096

_SAME_LINES = text("""
    SELECT o.id, o.total_minor, o.currency, o.place, o.placed_at
    FROM orders o
    WHERE o.shopper_id = :shopper_id AND o.stream_id = :stream_id
      AND o.state IN ('RESERVED', 'AWAITING_PAYMENT', 'PROCESSING')
      AND (SELECT array_agg(s.sku || '=' || l.quantity ORDER BY s.sku)
           FROM order_lines l JOIN stock s ON s.id = l.stock_id WHERE l.order_id = o.id) = :lines
    ORDER BY o.id LIMIT 1
""")
_QUEUE_LENGTH = text("SELECT count(*) FROM orders WHERE state = 'RESERVED'")

SAME_KEY = "It is not known yet whether the order was placed; repeat the request with the same key."


class Request(NamedTuple):
    """A shopper's wish: what to buy where, under a key of the shopper's own making."""

    stream_id: str
    shopper_id: str
    key: str
    lines: tuple[tuple[str, int], ...]


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
        self._quotes: dict[tuple[tuple[int, int], ...], PricedOrder] = {}
        self._doubted: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.writer = Writer(database, gate)
        self.sold_out = SoldOutBoard(database, gate)

    async def place(self, request: Request) -> Answer:
        """Place an order and return it once it is durable; every refusal is a ``Problem``.

        The same key gives the same answer, also after a crash. 503 means "repeat with the same key".
        """
        stream = self._catalogue.find(request.stream_id)
        if stream is None:
            raise Problem(404, "not_found", "There is no such stream here.")
        self._count(request.shopper_id)
        lines = _summed(request.lines)
        op = _digest(stream.id, request.shopper_id, request.key)
        fingerprint = _digest(*(f"{sku}={quantity}" for sku, quantity in lines))
        final = self.sold_out.refuses(stream.id, (sku for sku, _ in lines), op)
        if final is not None:
            raise _sold_out(0, final=final)
        closed = _window(stream, lines)
        if closed is not None:
            return await self._refuse(op, fingerprint, closed)
        priced = self._price(stream, lines)
        try:
            with self.writer.slot():
                async with asyncio.timeout(DEADLINE_S):
                    return await self._admit_and_record(request, stream, priced, op, fingerprint)
        except (QueueFull, Closed):
            raise unavailable("Too many orders at once; nothing was held for this one.") from None
        except (GateUnclear, Unclear, TimeoutError):
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
        self,
        request: Request,
        stream: StreamView,
        priced: PricedOrder,
        op: bytes,
        fingerprint: bytes,
    ) -> Answer:
        for _ in range(2):  # a rebuilt gate admits once more, server side
            adm = new_id("adm")
            try:
                admission = await self._gate.admit(
                    Admission(
                        stream.id,
                        stream.epoch,
                        op,
                        fingerprint,
                        adm,
                        request.shopper_id,
                        tuple(
                            (line.sku, line.quantity, stream.offers[line.sku].per_shopper_max)
                            for line in priced.lines
                        ),
                    )
                )
            except GateShut as shut:
                if isinstance(shut, GateSteppedBack):
                    self._doubt(stream)
                closed = unavailable(
                    "The sale is being restored; repeat with the same key.", "gate_shut"
                )
                return await self._refuse(op, fingerprint, closed)
            if isinstance(admission, Conflict):
                raise _conflict()
            if isinstance(admission, LimitReached):
                return await self._limit_reached(request, priced, op, fingerprint, admission.units)
            if not isinstance(admission, Admitted):
                self.sold_out.note(stream.id)
                return await self._refuse(op, fingerprint, _sold_out(admission.left, final=False))
            self._queue_length += 1
            placement = Placement(
                op,
                fingerprint,
                admission.adm,
                new_id("ord"),
                stream.id,
                stream.epoch,
                request.shopper_id,
                _lines(stream, priced),
                priced.total_minor,
                priced.currency,
                self._queue_length,
                datetime.now(UTC),
            )
            outcome = await self.writer.record(placement)
            if not isinstance(outcome, EpochChanged):
                return self._answer(stream, outcome)
            await self._catalogue.refresh()
            stream = self._catalogue.stream(stream.id)
        raise Unclear

    def _answer(self, stream: StreamView, outcome: Outcome) -> Answer:
        if isinstance(outcome, Placed):
            return Answer(201, outcome)
        if isinstance(outcome, (KeyConflict, KeyAborted)):
            raise _known_refusal(outcome)
        self._doubt(stream)  # the gate let in what SQL refused
        if isinstance(outcome, OverLimit):
            raise _limit_exceeded(outcome.units)
        assert isinstance(outcome, Short)
        raise _sold_out(outcome.left, final=False)

    async def _refuse(self, op: bytes, fingerprint: bytes, problem: Problem) -> Answer:
        """Give the stored answer to a key that SQL knows, else refuse."""
        try:
            known = await self.writer.look_up(op, fingerprint)
        except Unclear:
            raise unavailable(SAME_KEY, "unclear") from None
        if known is None:
            raise problem
        if isinstance(known, Placed):
            return Answer(201, known)
        raise _known_refusal(known)

    async def _limit_reached(
        self, request: Request, priced: PricedOrder, op: bytes, fingerprint: bytes, units: int
    ) -> Answer:
        """Answer with the shopper's open order of the same lines, so that nobody is blocked by oneself."""
        known = await self.writer.look_up(op, fingerprint)
        if known is not None:
            return await self._refuse(op, fingerprint, _limit_exceeded(units))
        async with self._database.begin() as sql:
            row = (
                await sql.execute(
                    _SAME_LINES,
                    {
                        "shopper_id": request.shopper_id,
                        "stream_id": request.stream_id,
                        "lines": [f"{line.sku}={line.quantity}" for line in priced.lines],
                    },
                )
            ).one_or_none()
        if row is None:
            raise _limit_exceeded(units)
        lines = tuple(StoredLine(x.sku, x.quantity, x.unit_price_minor) for x in priced.lines)
        return Answer(
            200,
            Placed(
                row.id, lines, row.total_minor, row.currency, row.place, row.placed_at, repeat=True
            ),
        )

    def _price(self, stream: StreamView, lines: tuple[tuple[str, int], ...]) -> PricedOrder:
        unknown = [sku for sku, _ in lines if sku not in stream.offers]
        if unknown:
            raise Problem(422, "unknown_sku", "This stream does not sell that.", sku=unknown[0])
        # Most of a rush asks for the same few baskets; terms never change under their id.
        basket = tuple((stream.offers[sku].terms_id, quantity) for sku, quantity in lines)
        priced = self._quotes.get(basket)
        if priced is None:
            try:
                priced = price(
                    [
                        QuotedLine(sku, quantity, stream.offers[sku].price_minor, stream.currency)
                        for sku, quantity in lines
                    ]
                )
            except PricingError as error:
                raise Problem(422, error.code, str(error)) from error
            if len(self._quotes) >= QUOTES_MAX:
                self._quotes.clear()
            self._quotes[basket] = priced
        return priced

    def _count(self, shopper_id: str) -> None:
        if self._attempts_max:
            self._attempts[shopper_id] += 1
            if self._attempts[shopper_id] > self._attempts_max:
                raise Problem(429, "too_many_requests", "Slow down a little.", retry_after_ms=1000)

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
            if now.epoch == stream.epoch and facts.relseq == now.rel_seq:
                log.error("gate_drift", stream_id=stream.id, epoch=stream.epoch)
                async with self._database.begin() as sql:
                    await mark_stale(sql, stream.id)
        except (GateShut, GateUnclear, OSError, Problem) as error:
            log.warning("gate_doubt_unsettled", stream_id=stream.id, error=repr(error))
        finally:
            self._doubted.discard(stream.id)


def _digest(*parts: str) -> bytes:
    return hashlib.sha256("\n".join(parts).encode()).digest()


def _summed(lines: tuple[tuple[str, int], ...]) -> tuple[tuple[str, int], ...]:
    try:
        return sum_lines(lines)
    except PricingError as error:
        raise Problem(422, error.code, str(error)) from error


def _lines(stream: StreamView, priced: PricedOrder) -> tuple[Line, ...]:
    return tuple(
        Line(
            stream.offers[line.sku].stock_id,
            stream.offers[line.sku].terms_id,
            line.sku,
            line.quantity,
            line.unit_price_minor,
            stream.offers[line.sku].per_shopper_max,
        )
        for line in priced.lines
    )


def _window(stream: StreamView, lines: tuple[tuple[str, int], ...]) -> Problem | None:
    """Refuse outside the sale's hours; a SKU may open later than its stream."""
    if stream.state == "ended":
        return Problem(410, "sale_closed", "This sale is over.")
    openings = [
        offer.opens_at
        for offer in (stream.offers.get(sku) for sku, _ in lines)
        if offer is not None and offer.opens_at is not None
    ]
    if stream.state == "live" and not any(at > datetime.now(UTC) for at in openings):
        return None
    opens_at = max(openings, default=None) if stream.state == "live" else stream.opens_at
    return Problem(
        425,
        "not_open",
        "This sale has not opened yet.",
        opens_at=opens_at.isoformat() if opens_at else None,
    )


def _conflict() -> Problem:
    return Problem(422, "idempotency_conflict", "This Idempotency-Key was used with another body.")


def _known_refusal(known: KeyConflict | KeyAborted) -> Problem:
    if isinstance(known, KeyConflict):
        return _conflict()
    return Problem(
        410, "key_aborted", "This key was given up before an order was placed; make a new key."
    )


def _sold_out(left: int, *, final: bool) -> Problem:
    words = "Everything is sold." if final else "Nothing is free right now; units may come back."
    return Problem(409, "sold_out", words, left=left, final=final)


def _limit_exceeded(units: int) -> Problem:
    return Problem(409, "limit_exceeded", "That would pass the limit for one shopper.", yours=units)
