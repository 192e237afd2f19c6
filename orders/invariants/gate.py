"""I5 to I7: the gate in Redis against the stock in SQL, unit by unit.

Two engines cannot be read at one instant. So SQL is read, then the gate in one atomic step, then SQL again, and
they are compared only when nothing was committed in between; row versions tell, since counters can change and
change back.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import Row, text

from orders.invariants.finding import Finding, capped
from stream_events.database import Database

READINGS_MAX: Final = 40
READING_PAUSE_S: Final = 0.05
STREAMS_MAX: Final = 1000


@dataclass(frozen=True, slots=True)
class Dump:
    """A stream's gate at one instant. ``held`` is (op, adm) with its units by SKU."""

    epoch: int
    relseq: int
    avail: Mapping[str, int]
    held: Mapping[tuple[bytes, str], Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Side:
    """A stream's stock in SQL: (id, sku, free, epoch, row version) and the gate row."""

    epoch: int
    rel_seq: int
    stock: Sequence[tuple[int, str, int, int, str]]


@dataclass(frozen=True, slots=True)
class Reading:
    """Both sides of a stream at a moment when SQL stood still; None when it never did."""

    stream_id: str
    settled: bool
    side: Side
    dump: Dump
    unconfirmed: Mapping[str, int]
    pending: Mapping[str, int]


async def read_gates(database: Database, redis: Redis) -> tuple[list[Reading], list[str]]:
    """Read every stream's both sides; also returns the streams that were too busy to be compared."""
    async with database.begin() as sql:
        streams = (await sql.execute(_STREAMS, {"streams_max": STREAMS_MAX})).all()
    readings: list[Reading] = []
    busy: list[str] = []
    for stream in streams:
        reading = await _read(database, redis, stream)
        if reading is None:
            busy.append(stream.id)
        else:
            readings.append(reading)
    return readings, busy


async def _read(database: Database, redis: Redis, stream: Row[Any]) -> Reading | None:
    for _ in range(READINGS_MAX):
        before, _, _ = await _read_side(database, stream.id, None)
        dump = await _read_dump(redis, stream.id)
        after, unconfirmed, pending = await _read_side(database, stream.id, dump)
        if before == after:
            return Reading(stream.id, stream.state == "settled", after, dump, unconfirmed, pending)
        await asyncio.sleep(READING_PAUSE_S)
    return None


async def _read_side(
    database: Database, stream_id: str, dump: Dump | None
) -> tuple[Side, Counter[str], Counter[str]]:
    """Return the SQL side, the units of holds that SQL does not have, and the adjustments on their way."""
    unconfirmed: Counter[str] = Counter()
    pending: Counter[str] = Counter()
    async with database.begin() as sql:
        await sql.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        gate = (await sql.execute(_GATE, {"stream": stream_id})).one()
        stock = (await sql.execute(_STOCK, {"stream": stream_id})).all()
        if dump is not None:
            ops = {"ops": sorted({op for op, _ in dump.held})}
            placed = {(row.op, row.adm) for row in await sql.execute(_PLACED, ops)}
            for hold, lines in dump.held.items():
                if hold not in placed:
                    unconfirmed.update(lines)
            moves = await sql.execute(_PENDING, {"stream": stream_id, "after": dump.relseq})
            pending.update({row.sku: int(row.delta) for row in moves})
    return Side(gate.epoch, gate.rel_seq, [tuple(row) for row in stock]), unconfirmed, pending


async def _read_dump(redis: Redis, stream_id: str) -> Dump:
    keys = gate_keys(stream_id)
    async with redis.pipeline(transaction=True) as together:
        for name in ("avail", "hold", "gate"):
            together.hgetall(keys[name])
        avail, holds, gate = await together.execute()
    held: dict[tuple[bytes, str], Counter[str]] = {}
    for op, packed in holds.items():
        _, adm, _, _, *flat = msgspec.msgpack.decode(packed, type=list[Any])
        lines = held.setdefault((bytes.fromhex(op.decode()), adm), Counter())
        for sku, quantity in zip(flat[::2], flat[1::2], strict=True):
            lines[sku] += quantity
    return Dump(
        int(gate.get(b"epoch", 0)),
        int(gate.get(b"relseq", 0)),
        {sku.decode(): int(units) for sku, units in avail.items()},
        held,
    )


def gate_keys(stream_id: str) -> dict[str, str]:
    """Return the names of a stream's keys, spelled out here anew: the checker trusts no one else's spelling."""
    return {name: f"{{{stream_id}}}:{name}" for name in ("avail", "hold", "limit", "gate")}


def i5(readings: Sequence[Reading], busy: Sequence[str]) -> Finding:
    """No unit appears or vanishes between the gate and SQL, at any instant in which the gate is in force."""
    lines: list[str] = []
    in_force = [reading for reading in readings if reading.dump.epoch == reading.side.epoch]
    free_sum = 0
    for reading in in_force:
        for _, sku, free, _, _ in reading.side.stock:
            free_sum += free
            avail = reading.dump.avail.get(sku)
            held, pending = reading.unconfirmed.get(sku, 0), reading.pending.get(sku, 0)
            if avail is None or avail + held + pending != free:
                lines.append(
                    f"{reading.stream_id} {sku}: avail {avail} + held {held} + adjustments on their way"
                    f" {pending} is not free {free}"
                )
    return Finding(
        "I5",
        "available + held + on their way = total − reserved − sold",
        {"streams": len(in_force), "shut": len(readings) - len(in_force), "free": free_sum},
        capped(lines),
        f"never stood still: {', '.join(busy)}" if busy else "",
    )


def i6(readings: Sequence[Reading], busy: Sequence[str]) -> Finding:
    """At rest nothing is held, nothing is on its way, and the gate shows what SQL has free."""
    lines: list[str] = []
    for reading in readings:
        if reading.settled and not reading.dump.epoch:
            continue
        side, dump = reading.side, reading.dump
        if dump.epoch != side.epoch or any(row[3] != side.epoch for row in side.stock):
            lines.append(f"{reading.stream_id}: gate epoch {dump.epoch}, in SQL {side.epoch}")
        if dump.relseq != side.rel_seq:
            lines.append(f"{reading.stream_id}: gate relseq {dump.relseq}, in SQL {side.rel_seq}")
        if dump.held:
            lines.append(f"{reading.stream_id}: {len(dump.held)} holds are left")
        lines += [
            f"{reading.stream_id} {sku}: avail {dump.avail.get(sku)}, free {free}"
            for _, sku, free, _, _ in side.stock
            if dump.avail.get(sku) != free
        ]
    return Finding(
        "I6",
        "at rest the gate shows exactly what is free",
        {
            "streams": len(readings),
            "avail": sum(sum(reading.dump.avail.values()) for reading in readings),
        },
        capped(lines),
        f"never stood still: {', '.join(busy)}" if busy else "",
    )


async def i7(redis: Redis, readings: Sequence[Reading]) -> Finding:
    """Redis may never throw a stock key away by itself: no expiry on any, no eviction."""
    lines: list[str] = []
    names = [name for reading in readings for name in gate_keys(reading.stream_id).values()]
    async with redis.pipeline(transaction=False) as asking:
        for name in names:
            asking.pttl(name)
        lifetimes = await asking.execute()
    lines += [
        f"{name} expires in {lifetime} ms"
        for name, lifetime in zip(names, lifetimes, strict=True)
        if lifetime >= 0
    ]
    unknown = ""
    try:
        found = await redis.config_get("maxmemory-policy")
        policy = str(next(iter(found.values()), ""))
        policy = policy.removeprefix("b'").removesuffix("'")
        if policy != "noeviction":
            lines.append(f"maxmemory-policy is {policy}")
    except RedisError as error:
        unknown = f"the server does not tell its maxmemory-policy: {type(error).__name__}"
    present = sum(lifetime != -2 for lifetime in lifetimes)
    return Finding(
        "I7", "no gate key can expire or be evicted", {"keys": present}, capped(lines), unknown
    )


_STREAMS = text("""
SELECT s.id, s.state FROM streams s JOIN stream_gate g ON g.stream_id = s.id ORDER BY s.id LIMIT :streams_max
""")
_GATE = text("SELECT epoch, rel_seq FROM stream_gate WHERE stream_id = :stream")
_STOCK = text("""
SELECT id, sku, total - reserved - sold AS free, gate_epoch, CAST(xmin AS text) AS version
FROM stock WHERE stream_id = :stream ORDER BY id
""")
_PLACED = text("""
SELECT op, adm FROM order_keys WHERE op = ANY(CAST(:ops AS bytea[])) AND outcome = 'PLACED'
""")
_PENDING = text("""
SELECT s.sku, sum(CASE m.kind WHEN 'L' THEN -m.quantity ELSE m.quantity END) AS delta
FROM stock_moves m JOIN stock s ON s.id = m.stock_id
WHERE m.stream_id = :stream AND m.rel_seq > :after
GROUP BY s.sku
""")
