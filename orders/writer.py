"""The group-commit writer: many orders, one transaction, and the guard that makes overselling impossible.

A batch of one stream and epoch is written in the one lock order: keys sorted → orders, lines, moves →
``shopper_units`` by (stock, shopper) → ``stock`` by id. The idempotency keys make a repeat exact, so an unknown
COMMIT is answered by running the same batch again. Redis may have admitted anything: the guarded ``UPDATE`` on
``stock`` alone decides whether there was a unit to sell.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple, TypeAlias

import asyncpg
import structlog

from inventory.gate import Gate, GateShut, GateUnclear
from orders import writer_sql as statements
from stream_events.batching import Batch, Closed, QueueFull
from stream_events.database import Database

log = structlog.get_logger(__name__)

BATCH_MAX = 256
SLOTS_MAX = 2048
ATTEMPTS_MAX = 5
DEADLINE_S = 2.0

Sql: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
_RERUN = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
)
_LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    OSError,
    TimeoutError,
)


class Line(NamedTuple):
    """Units of one stock row on the terms quoted."""

    stock_id: int
    terms_id: int
    sku: str
    quantity: int
    unit_minor: int
    limit_max: int


class Placement(NamedTuple):
    """An admitted order on its way into SQL."""

    op: bytes
    fingerprint: bytes
    adm: str
    order_id: str
    stream_id: str
    epoch: int
    shopper_id: str
    lines: tuple[Line, ...]
    total_minor: int
    currency: str
    place: int
    placed_at: datetime


class StoredLine(NamedTuple):
    """A line as it is answered, the same at every repeat."""

    sku: str
    quantity: int
    unit_minor: int


class Placed(NamedTuple):
    """SQL has the order: durable. ``repeat`` when an earlier request placed it."""

    order_id: str
    lines: tuple[StoredLine, ...]
    total_minor: int
    currency: str
    place: int
    placed_at: datetime
    repeat: bool


class KeyAborted(NamedTuple):
    """The key was given up before SQL had the order; it will never have it."""


class KeyConflict(NamedTuple):
    """The key was used with another body."""


class Short(NamedTuple):
    """The guard found only ``left`` free units of a line, whatever the gate had said."""

    left: int


class OverLimit(NamedTuple):
    """The shopper has ``units`` of a SKU in SQL, and these lines would pass the limit."""

    units: int


class EpochChanged(NamedTuple):
    """The gate was rebuilt after this order was admitted: it must be admitted anew."""


Outcome = Placed | KeyAborted | KeyConflict | Short | OverLimit | EpochChanged
Known = Placed | KeyAborted | KeyConflict


class Unclear(Exception):  # noqa: N818 - a state of the answer.
    """Whether SQL has the order is not known yet; the same key will tell."""


class _Refused(Exception):  # noqa: N818 - control flow inside this module: roll back and look closely.
    pass


class Writer:
    """Records admitted orders in batches; looks up keys in batches; confirms holds once they are durable."""

    def __init__(self, database: Database, gate: Gate) -> None:
        self._database = database
        self._gate = gate
        self._slots_free = SLOTS_MAX
        self._sql: dict[str, Sql] = {}
        self._placements: Batch[Placement, Outcome] = Batch(
            self._record, batch_max=BATCH_MAX, queue_max=SLOTS_MAX
        )
        self._lookups: Batch[tuple[bytes, bytes], Known | None] = Batch(
            self._look_up, batch_max=BATCH_MAX, queue_max=SLOTS_MAX * 4
        )
        self._holds: Batch[_Hold, None] = Batch(
            self._settle, batch_max=BATCH_MAX, queue_max=SLOTS_MAX * 4
        )

    @property
    def busy(self) -> float:
        """How full the slots are, from 0 to 1; readiness gives up above one half while SQL is away."""
        return 1 - self._slots_free / SLOTS_MAX

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Hold a place in the bounded queue, taken before anything is admitted. Raises ``QueueFull``."""
        if self._slots_free <= 0:
            raise QueueFull
        self._slots_free -= 1
        try:
            yield
        finally:
            self._slots_free += 1

    def record(self, placement: Placement) -> asyncio.Future[Outcome]:
        """Write one admitted order; the future raises ``Unclear`` when its fate is not known in time."""
        return self._placements.add(placement)

    def look_up(self, op: bytes, fingerprint: bytes) -> asyncio.Future[Known | None]:
        """Return what became of a key, or None when SQL does not know it."""
        return self._lookups.add((op, fingerprint))

    async def close(self) -> None:
        """Work off the queues and close the connections."""
        for batch in (self._placements, self._lookups, self._holds):
            await batch.close()
        for sql in self._sql.values():
            await sql.close()

    async def _record(self, placements: Sequence[Placement]) -> list[Outcome | BaseException]:
        groups: dict[tuple[str, int], list[int]] = defaultdict(list)
        for index, placement in enumerate(placements):
            groups[placement.stream_id, placement.epoch].append(index)
        outcomes: list[Outcome | BaseException] = [Unclear()] * len(placements)
        for indexes in groups.values():
            group = [placements[i] for i in indexes]
            for index, outcome in zip(indexes, await self._record_group(group), strict=True):
                outcomes[index] = outcome
        return outcomes

    async def _record_group(self, group: list[Placement]) -> list[Outcome | BaseException]:
        """Write one stream's batch; split it when a definite error is somewhere in it."""
        deadline = time.monotonic() + DEADLINE_S
        rerun = 0
        while True:
            try:
                sql = await self._connection("writer")
                try:
                    written = await _transact(sql, group)
                except _Refused:
                    written = await _transact_closely(sql, group)
                break
            except _RERUN:
                rerun += 1
                if rerun >= ATTEMPTS_MAX:
                    return [Unclear()] * len(group)
            except _LOST as error:
                # The COMMIT may have happened: the same batch again is exact, because the keys are in it.
                log.warning("writer_lost_sql", error=repr(error), orders=len(group))
                await self._forget("writer")
                if time.monotonic() > deadline:
                    return [Unclear()] * len(group)
                await asyncio.sleep(0.05)
            except asyncpg.PostgresError as error:
                if len(group) == 1:
                    log.exception("order_not_written", sqlstate=error.sqlstate)
                    return [Unclear()]
                half = len(group) // 2
                return [
                    *await self._record_group(group[:half]),
                    *await self._record_group(group[half:]),
                ]
        self._settle_holds(group, written)
        return [_outcome(placement, written) for placement in group]

    def _settle_holds(self, group: Sequence[Placement], written: "_Written") -> None:
        """Tell the gate, best effort, what became of the holds; the reaper finds whatever is missed here.

        A hold is confirmed when SQL has the order under its admission, and credited when the key's fate
        is another one: both are facts by now. An order the guard refused left no fact; its hold waits.
        """
        for placement in group:
            row = written.known.get(placement.op)
            if row is None and placement.op not in written.fresh:
                continue
            credit = row is not None and (row.placed is None or row.adm != placement.adm)
            try:
                future = self._holds.add(
                    _Hold(placement.stream_id, placement.op, placement.adm, credit)
                )
            except (QueueFull, Closed):
                return
            future.add_done_callback(_ignore_gate_trouble)

    async def _settle(self, holds: Sequence["_Hold"]) -> list[None]:
        groups: dict[tuple[str, bool], list[tuple[bytes, str]]] = defaultdict(list)
        for hold in holds:
            groups[hold.stream_id, hold.credit].append((hold.op, hold.adm))
        for (stream_id, credit), group in groups.items():
            if credit:
                await self._gate.credit(stream_id, group)
            else:
                await self._gate.confirm(stream_id, group)
        return [None] * len(holds)

    async def _look_up(
        self, keys: Sequence[tuple[bytes, bytes]]
    ) -> list[Known | BaseException | None]:
        try:
            sql = await self._connection("lookup")
            known = await _known(sql, {op for op, _ in keys})
        except (*_LOST, asyncpg.PostgresError) as error:
            await self._forget("lookup")
            raise Unclear from error
        return [known[op].read(fingerprint) if op in known else None for op, fingerprint in keys]

    async def _connection(self, name: str) -> Sql:
        sql = self._sql.get(name)
        if sql is None or sql.is_closed():
            sql = self._sql[name] = await self._database.connect()
        return sql

    async def _forget(self, name: str) -> None:
        sql = self._sql.pop(name, None)
        if sql is not None:
            sql.terminate()


class _Hold(NamedTuple):
    """A hold whose fate SQL has decided."""

    stream_id: str
    op: bytes
    adm: str
    credit: bool


class _KeyRow(NamedTuple):
    """A key as SQL has it, with its order if it was placed."""

    fingerprint: bytes
    adm: str
    placed: Placed | None

    def read(self, fingerprint: bytes) -> Known:
        if self.fingerprint != fingerprint:
            return KeyConflict()
        return self.placed or KeyAborted()


class _Written(NamedTuple):
    """What a transaction did with each op: wrote it, found it known, or refused it."""

    fresh: dict[bytes, Placement]
    known: dict[bytes, _KeyRow]
    refused: dict[bytes, Outcome]


async def _known(sql: Sql, ops: set[bytes]) -> dict[bytes, _KeyRow]:
    rows = await sql.fetch(statements.KNOWN_KEYS, list(ops))
    return {
        row["op"]: _KeyRow(
            row["fingerprint"],
            row["adm"],
            Placed(
                row["order_id"],
                tuple(
                    StoredLine(sku, quantity, amount // quantity)
                    for sku, quantity, amount in zip(
                        row["skus"], row["quantities"], row["amounts"], strict=True
                    )
                ),
                row["total_minor"],
                row["currency"],
                row["place"],
                row["placed_at"],
                repeat=True,
            )
            if row["outcome"] == "PLACED"
            else None,
        )
        for row in rows
    }


async def _insert_keys(
    sql: Sql, group: Sequence[Placement]
) -> tuple[list[Placement], dict[bytes, _KeyRow]]:
    """Claim the keys; return the placements whose key is new, and what is known of the others."""
    firsts: dict[bytes, Placement] = {}
    for placement in group:
        firsts.setdefault(placement.op, placement)
    ordered = [firsts[op] for op in sorted(firsts)]
    claimed = await sql.fetch(
        statements.INSERT_KEYS,
        ordered[0].stream_id,
        [p.op for p in ordered],
        [p.fingerprint for p in ordered],
        [p.adm for p in ordered],
        [p.order_id for p in ordered],
    )
    if len(claimed) == len(group):
        return list(group), {}
    new_ops = {row["op"] for row in claimed}
    known = await _known(sql, set(firsts) - new_ops)
    return [p for op, p in firsts.items() if op in new_ops], known


async def _insert_orders(sql: Sql, fresh: Sequence[Placement]) -> None:
    lines = [(p, line) for p in fresh for line in p.lines]
    await sql.execute(
        statements.INSERT_ORDERS,
        fresh[0].stream_id,
        fresh[0].currency,
        [p.order_id for p in fresh],
        [p.shopper_id for p in fresh],
        [p.total_minor for p in fresh],
        [p.place for p in fresh],
        [p.placed_at for p in fresh],
        [p.order_id for p, _ in lines],
        [line.stock_id for _, line in lines],
        [line.terms_id for _, line in lines],
        [line.quantity for _, line in lines],
        [line.quantity * line.unit_minor for _, line in lines],
        [p.shopper_id for p, _ in lines],
    )


def _wanted(
    fresh: Sequence[Placement],
) -> tuple[dict[tuple[int, str], tuple[int, int]], dict[int, int]]:
    """Sum units per (stock, shopper), with the limit, and per stock."""
    people: dict[tuple[int, str], tuple[int, int]] = {}
    stock: dict[int, int] = defaultdict(int)
    for placement in fresh:
        for line in placement.lines:
            person = (line.stock_id, placement.shopper_id)
            people[person] = (people.get(person, (0, 0))[0] + line.quantity, line.limit_max)
            stock[line.stock_id] += line.quantity
    return people, stock


async def _take(sql: Sql, fresh: Sequence[Placement]) -> bool:
    """Take the units under both guards; False when a limit, the stock or the epoch refuses."""
    people, stock = _wanted(fresh)
    if any(units > limit for units, limit in people.values()):
        return False
    order = sorted(people)
    taken = await sql.fetchval(
        statements.TAKE_SHOPPER_UNITS,
        [stock_id for stock_id, _ in order],
        [shopper_id for _, shopper_id in order],
        [people[person][0] for person in order],
        [people[person][1] for person in order],
    )
    if taken != len(order):
        return False
    epoch = fresh[0].epoch
    for stock_id in sorted(stock):
        if await sql.execute(statements.GUARD, stock_id, epoch, stock[stock_id]) != "UPDATE 1":
            return False
    return True


async def _transact(sql: Sql, group: Sequence[Placement]) -> _Written:
    """Write the batch believing the gate; raises ``_Refused``, with nothing written, if a guard disagrees."""
    async with sql.transaction():
        fresh, known = await _insert_keys(sql, group)
        if fresh:
            await _insert_orders(sql, fresh)
            if not await _take(sql, fresh):
                raise _Refused
    return _Written({p.op: p for p in fresh}, known, {})


async def _transact_closely(sql: Sql, group: Sequence[Placement]) -> _Written:
    """Write what SQL has room for: lock, walk the orders in queue order, each whole or skipped."""
    async with sql.transaction():
        fresh, known = await _insert_keys(sql, group)
        refused: dict[bytes, Outcome] = {}
        if fresh:
            accepted, refused = await _walk(sql, fresh)
            if refused:
                await sql.execute(statements.DELETE_KEYS, sorted(refused))
            if accepted:
                await _insert_orders(sql, accepted)
                if not await _take(sql, accepted):
                    raise RuntimeError("the guard refused orders that fit under its own locks")
            fresh = accepted
    return _Written({p.op: p for p in fresh}, known, refused)


async def _walk(
    sql: Sql, fresh: Sequence[Placement]
) -> tuple[list[Placement], dict[bytes, Outcome]]:
    people, wanted = _wanted(fresh)
    order = sorted(people)
    rows = await sql.fetch(
        statements.LOCK_SHOPPER_UNITS, [p[0] for p in order], [p[1] for p in order]
    )
    units = {(row["stock_id"], row["shopper_id"]): row["units"] for row in rows}
    stock = {row["id"]: row for row in await sql.fetch(statements.LOCK_STOCK, sorted(wanted))}
    free = {stock_id: row["free"] for stock_id, row in stock.items()}
    accepted: list[Placement] = []
    refused: dict[bytes, Outcome] = {}
    for placement in fresh:
        shopper = placement.shopper_id
        if any(
            line.stock_id not in stock or stock[line.stock_id]["gate_epoch"] != placement.epoch
            for line in placement.lines
        ):
            refused[placement.op] = EpochChanged()
            continue
        over = [
            units.get((line.stock_id, shopper), 0)
            for line in placement.lines
            if units.get((line.stock_id, shopper), 0) + line.quantity > line.limit_max
        ]
        short = [
            free[line.stock_id] for line in placement.lines if free[line.stock_id] < line.quantity
        ]
        if over:
            refused[placement.op] = OverLimit(over[0])
        elif short:
            refused[placement.op] = Short(max(0, min(short)))
        else:
            accepted.append(placement)
            for line in placement.lines:
                free[line.stock_id] -= line.quantity
                person = (line.stock_id, shopper)
                units[person] = units.get(person, 0) + line.quantity
    return accepted, refused


def _outcome(placement: Placement, written: _Written) -> Outcome:
    winner = written.fresh.get(placement.op)
    if winner is not None and winner.fingerprint != placement.fingerprint:
        return KeyConflict()
    if winner is not None:
        return _answer(winner, repeat=winner is not placement)
    if placement.op in written.refused:
        return written.refused[placement.op]
    row = written.known[placement.op]
    if row.placed is not None and row.placed.order_id == placement.order_id:
        # An earlier run of this batch was committed after all, though its COMMIT was never heard of.
        return _answer(placement, repeat=False)
    return row.read(placement.fingerprint)


def _answer(placement: Placement, *, repeat: bool) -> Placed:
    return Placed(
        placement.order_id,
        tuple(StoredLine(line.sku, line.quantity, line.unit_minor) for line in placement.lines),
        placement.total_minor,
        placement.currency,
        placement.place,
        placement.placed_at,
        repeat,
    )


def _ignore_gate_trouble(future: asyncio.Future[None]) -> None:
    """A hold that could not be confirmed now is confirmed by the reaper; anything else is worth a log line."""
    if not future.cancelled():
        error = future.exception()
        if error is not None and not isinstance(error, (GateShut, GateUnclear)):
            log.error("confirm_failed", error=repr(error))
