"""Refusing cheaply once everything is held or sold: most of a rush arrives after the last unit has gone.

A flag a stream, kept in this process, answers without Redis. It rises only when a SKU has no unit left *and* no
hold is open (every op that could have got one is in SQL by then), and it brings those ops along, so that an op
that was placed still goes the slow way and gets its own answer. It lapses after a second unless the gate's
epoch and adjustment number are re-read unchanged: until one of them moves, a SKU that was gone with no hold open
cannot come back, so no new op can get one.
"""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass

import structlog
from sqlalchemy import text

from inventory.gate import Gate, GateShut, GateUnclear
from stream_events.database import Database

log = structlog.get_logger(__name__)

ROUND_S = 0.2
LAPSE_S = 1.0
WATCH_S = 30.0
OPS_MAX = 500_000

_OPS = text("SELECT op FROM order_keys WHERE stream_id = :stream_id LIMIT :ops_max")
_RESERVED = text("""
    SELECT sku FROM stock WHERE stream_id = :stream_id AND reserved = 0 AND sold >= total
""")


@dataclass(slots=True)
class Flag:
    """SKUs of a stream with nothing left, as of an epoch and relseq; ``final`` ones are all paid for."""

    skus: frozenset[str]
    final: frozenset[str]
    as_of: tuple[int, int]
    known_ops: frozenset[bytes]
    read_at: float


class SoldOutBoard:
    """The flags of this process, and the task that raises, renews and drops them."""

    def __init__(self, database: Database, gate: Gate) -> None:
        self._database = database
        self._gate = gate
        self._flags: dict[str, Flag] = {}
        self._watched: dict[str, float] = {}

    def refuses(self, stream_id: str, skus: Iterable[str], op: bytes) -> bool | None:
        """Return None when the order must be asked properly, else whether the refusal is final."""
        flag = self._flags.get(stream_id)
        if flag is None or time.monotonic() - flag.read_at > LAPSE_S or op in flag.known_ops:
            return None
        gone = [sku for sku in skus if sku in flag.skus]
        if not gone:
            return None
        self._watched[stream_id] = time.monotonic()
        return any(sku in flag.final for sku in gone)

    def note(self, stream_id: str) -> None:
        """A refusal came from the gate: look whether the flag should rise."""
        self._watched[stream_id] = time.monotonic()

    async def run(self, stop: asyncio.Event) -> None:
        """Look after the flags until ``stop``."""
        while not stop.is_set():
            await asyncio.sleep(ROUND_S)
            now = time.monotonic()
            for stream_id, seen in list(self._watched.items()):
                if now - seen > WATCH_S:
                    del self._watched[stream_id]
                    self._flags.pop(stream_id, None)
                    continue
                try:
                    await self.look(stream_id)
                except (GateShut, GateUnclear, OSError) as error:
                    self._flags.pop(stream_id, None)
                    log.warning("sold_out_unknown", stream_id=stream_id, error=repr(error))
                except Exception:
                    self._flags.pop(stream_id, None)
                    log.exception("sold_out_look_failed", stream_id=stream_id)

    async def look(self, stream_id: str) -> None:
        """Read the gate and raise, renew or drop the stream's flag."""
        read_at = time.monotonic()
        left = await self._gate.left(stream_id)
        gone = frozenset(sku for sku, units in left.units.items() if units <= 0)
        flag = self._flags.get(stream_id)
        if not gone or left.holds:
            self._flags.pop(stream_id, None)
            return
        renewed = flag is not None and flag.as_of == left.as_of and flag.skus == gone
        async with self._database.begin() as sql:
            paid = (await sql.execute(_RESERVED, {"stream_id": stream_id})).scalars().all()
            if flag is not None and renewed:
                known_ops = flag.known_ops
            else:
                found = await sql.execute(_OPS, {"stream_id": stream_id, "ops_max": OPS_MAX})
                known_ops = frozenset(found.scalars())
        if len(known_ops) < OPS_MAX:
            self._flags[stream_id] = Flag(
                gone, gone.intersection(paid), left.as_of, known_ops, read_at
            )
