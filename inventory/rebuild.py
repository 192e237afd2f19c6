"""Keep every stream's gate equal to SQL: relay what changed behind its back, rebuild it when it is in doubt.

SQL decides the epoch. A gate of another epoch, of a Redis that restarted, or no gate at all is rebuilt from the
stock rows in one transaction and installed after it; until then nothing is admitted, and nothing can be
oversold, because batches of the old epoch fail the guard.
"""

import asyncio
from typing import Any

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from inventory.gate import Gate, GateShut, GateUnclear
from stream_events.database import Database
from stream_events.loops import go_round

log = structlog.get_logger(__name__)

RELAY_ROWS_MAX = 500
STREAMS_MAX = 1000
TEND_S = 0.1

_GATES = """
    SELECT g.stream_id, g.epoch, g.rel_seq FROM stream_gate g JOIN streams s ON s.id = g.stream_id
    WHERE s.state <> 'settled' ORDER BY g.stream_id LIMIT $1
"""
_ADJUSTMENTS = text("""
    SELECT m.rel_seq, s.sku, m.kind, m.quantity, m.shopper_id
    FROM stock_moves m JOIN stock s ON s.id = m.stock_id
    WHERE m.stream_id = :stream_id AND m.rel_seq > :after ORDER BY m.rel_seq LIMIT :rows_max
""")
_LOCK_STOCK = text("SELECT 1 FROM stock WHERE stream_id = :stream_id ORDER BY id FOR NO KEY UPDATE")
_LOCK_GATE = text("SELECT 1 FROM stream_gate WHERE stream_id = :stream_id FOR NO KEY UPDATE")
_NEW_EPOCH = text("""
    UPDATE stream_gate
    SET epoch = greatest(epoch + 1, CAST(:beyond AS bigint) + 1, CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint))
    WHERE stream_id = :stream_id RETURNING epoch, rel_seq
""")
_SPREAD_EPOCH = text("UPDATE stock SET gate_epoch = :epoch WHERE stream_id = :stream_id")
_FREE = text("SELECT sku, total - reserved - sold AS free FROM stock WHERE stream_id = :stream_id")
_LIMITS = text("""
    SELECT u.shopper_id || ':' || s.sku AS person, u.units
    FROM shopper_units u JOIN stock s ON s.id = u.stock_id
    WHERE s.stream_id = :stream_id AND u.units > 0
""")
_REL_SEQ = text("SELECT rel_seq FROM stream_gate WHERE stream_id = :stream_id")
_ONE_REBUILDER = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:name, 0))")

# What a numbered move adds to free stock, and to the units its shopper has.
_FREE_SIGN = {"X": 1, "T": 1, "L": -1, "A": 1}
_UNITS_SIGN = {"X": -1, "T": 0, "L": 1, "A": 0}


async def mark_stale(sql: AsyncSession, stream_id: str, *, beyond: int = 0) -> tuple[int, int]:
    """Start a new epoch in SQL, which shuts the gate until it is installed anew; return (epoch, rel_seq).

    Called when an offer is added, and by whoever sees the gate and SQL disagree. ``beyond`` is an epoch
    that the new one must pass.
    """
    await sql.execute(_LOCK_STOCK, {"stream_id": stream_id})
    await sql.execute(_LOCK_GATE, {"stream_id": stream_id})
    epoch, rel_seq = (
        await sql.execute(_NEW_EPOCH, {"stream_id": stream_id, "beyond": beyond})
    ).one()
    await sql.execute(_SPREAD_EPOCH, {"stream_id": stream_id, "epoch": epoch})
    return int(epoch), int(rel_seq)


async def rebuild(database: Database, gate: Gate, stream_id: str, gate_epoch: int) -> bool:
    """Read the truth under its locks, commit a new epoch, then install it. False if another is at it."""
    async with database.begin() as sql:
        if not (await sql.execute(_ONE_REBUILDER, {"name": f"rebuild {stream_id}"})).scalar_one():
            return False
        epoch, rel_seq = await mark_stale(sql, stream_id, beyond=gate_epoch)
        free = (await sql.execute(_FREE, {"stream_id": stream_id})).all()
        limits = (await sql.execute(_LIMITS, {"stream_id": stream_id})).all()
    in_force = await gate.install(
        stream_id,
        epoch,
        rel_seq,
        {row.sku: row.free for row in free},
        {row.person: row.units for row in limits},
    )
    log.info("gate_installed", stream_id=stream_id, epoch=epoch, in_force=in_force)
    return in_force == epoch


async def relay(database: Database, gate: Gate, stream_id: str, epoch: int, after: int) -> int:
    """Carry adjustments after number ``after`` to the gate; return the gate's relseq then."""
    async with database.begin() as sql:
        rows: Any = await sql.execute(
            _ADJUSTMENTS, {"stream_id": stream_id, "after": after, "rows_max": RELAY_ROWS_MAX}
        )
        changes = [
            (
                row.rel_seq,
                row.sku,
                _FREE_SIGN[row.kind] * row.quantity,
                row.shopper_id if _UNITS_SIGN[row.kind] else "",
                _UNITS_SIGN[row.kind] * row.quantity,
            )
            for row in rows
        ]
    return await gate.adjust(stream_id, epoch, changes) if changes else after


async def tend_once(database: Database, gate: Gate) -> int:
    """Look after every stream's gate once; return how many needed something.

    What goes wrong with one stream's gate is raised only after the others were looked after.
    """
    gates = await database.look(_GATES, STREAMS_MAX)
    tended = 0
    failed: Exception | None = None
    for row in gates:
        try:
            tended += await _tend(database, gate, row["stream_id"], row["epoch"], row["rel_seq"])
        except Exception as error:  # noqa: BLE001 - raised below, once the others had their turn
            failed = error
    if failed is not None:
        raise failed
    return tended


async def _tend(database: Database, gate: Gate, stream_id: str, epoch: int, rel_seq: int) -> bool:
    facts = await gate.facts(stream_id)
    if facts.epoch != epoch or not facts.same_server:
        return await rebuild(database, gate, stream_id, facts.epoch)
    if facts.relseq > rel_seq:
        # SQL commits a number before anyone can carry it, so a gate that is ahead even of a later look comes from
        # before a backup was restored: it would skip the next numbers as known.
        async with database.begin() as sql:
            now = (await sql.execute(_REL_SEQ, {"stream_id": stream_id})).scalar_one()
        return facts.relseq > now and await rebuild(database, gate, stream_id, facts.epoch)
    if facts.relseq < rel_seq:
        await relay(database, gate, stream_id, epoch, facts.relseq)
        return True
    return False


async def run_tender(database: Database, gate: Gate, stop: asyncio.Event) -> None:
    """Tend the gates until ``stop``; what goes wrong is logged and tried again."""

    async def tend() -> float:
        try:
            await tend_once(database, gate)
        except (GateShut, GateUnclear, OSError) as error:
            log.warning("gate_out_of_reach", error=repr(error))
        return TEND_S

    # Without a gate nothing is sold: it is never waited for longer than this.
    await go_round(tend, stop, failure="gate_tending_failed", backoff_s_max=TEND_S)
