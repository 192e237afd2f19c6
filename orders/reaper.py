"""Settle holds whose writer is dead or slow: an SQL fact first, then the gate.

A tombstone under the same key makes "SQL will never have it" a fact; if the key turns out to be placed under the
hold's own admission, the hold is confirmed, else it is given back. Right whatever the writer is still doing.
"""

import asyncio
from collections.abc import Sequence

import structlog

from inventory.gate import Gate, GateShut, GateUnclear, Hold
from inventory.offers import Catalogue
from orders import writer_sql as statements
from stream_events.database import Database
from stream_events.loops import go_round

log = structlog.get_logger(__name__)

AGE_MS = 30_000
ROUND_S = 1.0
CHUNK = 500


async def reap_once(
    database: Database, gate: Gate, catalogue: Catalogue, *, age_ms: int = AGE_MS
) -> int:
    """Settle every hold older than ``age_ms``; return how many there were.

    What goes wrong with one stream's holds is raised only after the others had their turn.
    """
    reaped = 0
    failed: Exception | None = None
    for stream in catalogue.streams():
        try:
            holds = await gate.old_holds(stream.id, age_ms)
            for start in range(0, len(holds), CHUNK):
                await settle_holds(database, gate, stream.id, holds[start : start + CHUNK])
        except Exception as error:  # noqa: BLE001 - raised below, once the others had their turn
            failed = error
            continue
        reaped += len(holds)
        if holds:
            log.info("holds_reaped", stream_id=stream.id, holds=len(holds))
    if failed is not None:
        raise failed
    return reaped


async def settle_holds(
    database: Database, gate: Gate, stream_id: str, holds: Sequence[Hold]
) -> None:
    """Abort these keys where SQL does not know them; confirm or credit each hold by what SQL then says."""
    ordered = sorted(holds, key=lambda hold: hold.op)
    sql = await database.connect()
    try:
        async with sql.transaction():
            await sql.execute(
                statements.TOMBSTONES,
                stream_id,
                [hold.op for hold in ordered],
                [hold.fingerprint for hold in ordered],
                [hold.adm for hold in ordered],
            )
        rows = await sql.fetch(statements.FATES, [hold.op for hold in ordered])
    finally:
        await sql.close()
    placed = {(row["op"], row["adm"]) for row in rows if row["outcome"] == "PLACED"}
    theirs = [(hold.op, hold.adm) for hold in ordered if (hold.op, hold.adm) in placed]
    nobodys = [(hold.op, hold.adm) for hold in ordered if (hold.op, hold.adm) not in placed]
    if theirs:
        await gate.confirm(stream_id, theirs)
    if nobodys:
        await gate.credit(stream_id, nobodys)


async def run_reaper(
    database: Database, gate: Gate, catalogue: Catalogue, stop: asyncio.Event
) -> None:
    """Reap until ``stop``; what goes wrong is logged and tried again."""

    async def reap() -> float:
        try:
            await reap_once(database, gate, catalogue)
        except (GateShut, GateUnclear, OSError) as error:
            log.warning("reaper_waits", error=repr(error))
        return ROUND_S

    await go_round(reap, stop, failure="reaping_failed", backoff_s=ROUND_S)
