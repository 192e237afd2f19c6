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
from typing import NamedTuple

import asyncpg
import structlog

from inventory.gate import Gate, GateShut, GateUnclear
from orders.own_connections import LOST, OwnConnections, Sql
from orders.placements import Known, Outcome, Placement, Unclear
from orders.writer_transaction import (
    Refused,
    Written,
    known_keys,
    outcome_of,
    transact,
    transact_closely,
)
from stream_events.batching import Batch, Closed, QueueFull
from stream_events.database import Database

log = structlog.get_logger(__name__)

BATCH_MAX = 256
SLOTS_MAX = 2048
DEADLINE_S = 2.0


class Writer:
    """Records admitted orders in batches; looks up keys in batches; confirms holds once they are durable."""

    def __init__(self, database: Database, gate: Gate) -> None:
        self._gate = gate
        self._slots_free = SLOTS_MAX
        self._sql = OwnConnections(database)
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
        await self._sql.close()

    async def _record(self, placements: Sequence[Placement]) -> list[Outcome | BaseException]:
        groups: dict[tuple[str, int], list[int]] = defaultdict(list)
        for index, placement in enumerate(placements):
            groups[placement.stream_id, placement.epoch].append(index)
        outcomes: list[Outcome | BaseException] = [Unclear()] * len(placements)
        for indexes in groups.values():
            group = [placements[i] for i in indexes]
            deadline = time.monotonic() + DEADLINE_S
            answers: list[Outcome | BaseException] = []
            for part, written in await self._sql.write("writer", group, _transact, deadline):
                if written is None:
                    answers += [Unclear()] * len(part)
                    continue
                self._settle_holds(part, written)
                answers += [outcome_of(placement, written) for placement in part]
            for index, answer in zip(indexes, answers, strict=True):
                outcomes[index] = answer
        return outcomes

    def _settle_holds(self, group: Sequence[Placement], written: Written) -> None:
        """Tell the gate, best effort, what became of the holds; the reaper finds whatever is missed here.

        A hold is confirmed when SQL has the order under its admission, and credited when the key's fate
        is another one: both are facts by now. An order the guard refused left no fact; its hold waits.
        """
        for placement in group:
            row = written.known.get(placement.op)
            winner = written.fresh.get(placement.op)
            if winner is not None:
                credit = winner.adm != placement.adm
            elif row is not None:
                credit = row.placed is None or row.adm != placement.adm
            else:
                continue
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
            async with self._sql.lend("lookup") as sql:
                known = await known_keys(sql, {op for op, _ in keys})
        except (*LOST, asyncpg.PostgresError) as error:
            raise Unclear from error
        return [known[op].read(fingerprint) if op in known else None for op, fingerprint in keys]


async def _transact(sql: Sql, group: Sequence[Placement]) -> Written:
    """Write a batch the fast way, and where a guard disagrees, the close way."""
    try:
        return await transact(sql, group)
    except Refused:
        return await transact_closely(sql, group)


class _Hold(NamedTuple):
    """A hold whose fate SQL has decided."""

    stream_id: str
    op: bytes
    adm: str
    credit: bool


def _ignore_gate_trouble(future: asyncio.Future[None]) -> None:
    """A hold that could not be confirmed now is confirmed by the reaper; anything else is worth a log line."""
    if not future.cancelled():
        error = future.exception()
        if error is not None and not isinstance(error, (GateShut, GateUnclear)):
            log.error("confirm_failed", error=repr(error))
