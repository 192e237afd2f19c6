"""The admission gate: the typed face of the Lua scripts that decide in Redis who may take a unit.

The gate is fast and forgetful; SQL is slow and right (``inventory.guard``). So the gate may be wiped, rolled back
or answer late, and the worst it can do is refuse. Requests never touch a connection: they join a batch, and one
script call admits the whole batch. Library retries are off, because a repeated script is a second admission.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from inventory.gate_connection import (
    TIMEOUT_S,
    Connection,
    GateDamaged,
    GateShut,
    GateSteppedBack,
    GateUnclear,
    Script,
)
from stream_events.batching import Batch

__all__ = [
    "Admission",
    "Admitted",
    "Answer",
    "Conflict",
    "Gate",
    "GateDamaged",
    "GateFacts",
    "GateKeys",
    "GateLeft",
    "GateShut",
    "GateSteppedBack",
    "GateUnclear",
    "Hold",
    "LimitReached",
    "SoldOut",
]

BATCH_MAX = 256
QUEUE_MAX = 4096
FLIGHTS_MAX = 2


class Admission(NamedTuple):
    """An order that asks to be let in: ``lines`` are (sku, quantity, limit a shopper), summed per SKU."""

    stream_id: str
    epoch: int
    op: bytes
    fingerprint: bytes
    adm: str
    shopper_id: str
    lines: tuple[tuple[str, int, int], ...]


class Admitted(NamedTuple):
    """The units are held for this op under ``adm``; ``repeat`` when they were held already."""

    adm: str
    repeat: bool


class Conflict(NamedTuple):
    """The op is held with another body."""


class LimitReached(NamedTuple):
    """The shopper has ``units`` of a SKU, and these lines would pass the limit."""

    units: int


class SoldOut(NamedTuple):
    """A SKU has only ``left`` units that may be admitted."""

    left: int


Answer = Admitted | Conflict | LimitReached | SoldOut


@dataclass(frozen=True, slots=True)
class GateKeys:
    """The keys of one stream; the hash tag keeps them on one shard of a cluster."""

    avail: str
    hold: str
    limit: str
    gate: str

    @classmethod
    def of(cls, stream_id: str) -> "GateKeys":
        """Return the keys of ``stream_id``."""
        tag = "{" + stream_id + "}"
        return cls(f"{tag}:avail", f"{tag}:hold", f"{tag}:limit", f"{tag}:gate")


class Gate:
    """Admit, confirm, credit, adjust and install, each a batched or single script call on a stream's keys."""

    def __init__(self, url: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self._scripts = {
            verb: Script(verb)
            for verb in ("admit", "confirm", "credit", "adjust", "install", "left", "facts")
        }
        self._free = [Connection(url, timeout_s) for _ in range(FLIGHTS_MAX)]
        self._desk = Connection(url, max(timeout_s, 1.0))
        self._admissions: Batch[Admission, Answer] = Batch(
            self._admit, batch_max=BATCH_MAX, queue_max=QUEUE_MAX, flights_max=FLIGHTS_MAX
        )

    def admit(self, admission: Admission) -> asyncio.Future[Answer]:
        """Ask for one order to be let in. The future raises ``GateShut`` or ``GateUnclear``."""
        return self._admissions.add(admission)

    async def confirm(self, stream_id: str, holds: Sequence[tuple[bytes, str]]) -> int:
        """Forget holds (op, adm) that SQL has; return how many there were."""
        keys = GateKeys.of(stream_id)
        reply = await self._desk.call(
            self._scripts["confirm"], (keys.hold, keys.gate), _in_hex(holds)
        )
        return int(reply[1])

    async def credit(self, stream_id: str, holds: Sequence[tuple[bytes, str]]) -> int:
        """Give back holds (op, adm) that SQL will never have; return how many there were."""
        keys = GateKeys.of(stream_id)
        reply = await self._desk.call(
            self._scripts["credit"], (keys.avail, keys.hold, keys.limit, keys.gate), _in_hex(holds)
        )
        return int(reply[1])

    async def adjust(
        self, stream_id: str, epoch: int, rows: Sequence[tuple[int, str, int, str, int]]
    ) -> int:
        """Apply numbered changes (seq, sku, delta, shopper, limit delta); return the gate's relseq after."""
        keys = GateKeys.of(stream_id)
        reply = await self._desk.call(
            self._scripts["adjust"], (keys.avail, keys.limit, keys.gate), (epoch, rows)
        )
        return int(reply[1])

    async def install(
        self, stream_id: str, epoch: int, relseq: int, avail: dict[str, int], limits: dict[str, int]
    ) -> int:
        """Put the gate in place from SQL's truth if ``epoch`` is newer; return the epoch in force."""
        keys = GateKeys.of(stream_id)
        await self._desk.command("PING")  # learns the run id of the server that will hold the gate
        message = (epoch, relseq, self._desk.run_id, _flat(avail), _flat(limits))
        reply = await self._desk.call(
            self._scripts["install"], (keys.avail, keys.hold, keys.limit, keys.gate), message
        )
        return int(reply[1])

    async def facts(self, stream_id: str) -> "GateFacts":
        """Return what the gate says of itself, and the run id of the server that answers."""
        keys = GateKeys.of(stream_id)
        epoch, relseq, run_id = await self._desk.call(self._scripts["facts"], (keys.gate,), None)
        return GateFacts(int(epoch), int(relseq), run_id.decode() == self._desk.run_id)

    async def left(self, stream_id: str) -> "GateLeft":
        """Return what may still be admitted and what is held, of one and the same instant."""
        keys = GateKeys.of(stream_id)
        holds, relseq, epoch, *fields = await self._desk.call(
            self._scripts["left"], (keys.avail, keys.hold, keys.gate), None
        )
        units = {
            sku.decode(): int(left) for sku, left in zip(fields[::2], fields[1::2], strict=True)
        }
        return GateLeft(units, int(holds), (int(epoch), int(relseq)))

    async def old_holds(
        self, stream_id: str, age_ms_min: int, holds_max: int = 2000
    ) -> list["Hold"]:
        """Return holds older than ``age_ms_min`` by Redis' own clock, at most ``holds_max``."""
        seconds, micros = await self._desk.command("TIME")
        before_ms = int(seconds) * 1000 + int(micros) // 1000 - age_ms_min
        found: list[Hold] = []
        cursor = 0
        while len(found) < holds_max:
            reply = await self._desk.command(
                "HSCAN", GateKeys.of(stream_id).hold, cursor, "COUNT", 500
            )
            cursor, flat = int(reply[0]), reply[1]
            for op, packed in zip(flat[::2], flat[1::2], strict=True):
                hold = msgspec.msgpack.decode(packed, type=list[Any])
                if hold[3] <= before_ms:
                    found.append(Hold(bytes.fromhex(op.decode()), bytes.fromhex(hold[0]), hold[1]))
            if cursor == 0:
                break
        return found

    async def close(self) -> None:
        """Work off what is queued and close the connections."""
        await self._admissions.close()
        for connection in (*self._free, self._desk):
            await connection.close()

    async def _admit(self, admissions: Sequence[Admission]) -> list[Answer | BaseException]:
        groups: dict[tuple[str, int], list[int]] = defaultdict(list)
        for index, admission in enumerate(admissions):
            groups[admission.stream_id, admission.epoch].append(index)
        answers: list[Answer | BaseException] = [GateShut()] * len(admissions)
        connection = self._free.pop()
        try:
            for (stream_id, epoch), indexes in groups.items():
                try:
                    group = await self._admit_stream(
                        connection, stream_id, epoch, [admissions[i] for i in indexes]
                    )
                except (GateShut, GateUnclear) as error:
                    group = [error] * len(indexes)
                for index, answer in zip(indexes, group, strict=True):
                    answers[index] = answer
        finally:
            self._free.append(connection)
        return answers

    async def _admit_stream(
        self, connection: Connection, stream_id: str, epoch: int, admissions: Sequence[Admission]
    ) -> list[Answer | BaseException]:
        keys = GateKeys.of(stream_id)
        if stream_id not in connection.seen:
            run_id = await connection.command("HGET", keys.gate, "run_id")
            if (run_id or b"").decode() != connection.run_id:
                raise GateShut("Redis has restarted since this gate was installed")
        items = [
            (
                a.op.hex(),
                a.fingerprint.hex(),
                a.adm,
                a.shopper_id,
                *(part for line in a.lines for part in line),
            )
            for a in admissions
        ]
        reply = await connection.call(
            self._scripts["admit"], (keys.avail, keys.hold, keys.limit, keys.gate), (epoch, items)
        )
        ver = int(reply[0])
        seen_epoch, seen_ver = connection.seen.get(stream_id, (epoch, 0))
        if seen_epoch == epoch and ver < seen_ver:
            raise GateSteppedBack
        connection.seen[stream_id] = (epoch, ver)
        return [
            _read(answer, admission)
            for answer, admission in zip(reply[2:], admissions, strict=True)
        ]


class GateFacts(NamedTuple):
    """The gate's own word: 0 as epoch when it is missing; ``same_server`` when no restart came between."""

    epoch: int
    relseq: int
    same_server: bool


class GateLeft(NamedTuple):
    """Units that may be admitted per SKU, the number of open holds, and the epoch and relseq this is as of."""

    units: dict[str, int]
    holds: int
    as_of: tuple[int, int]


class Hold(NamedTuple):
    """Units admitted for an op under ``adm``, of which SQL may or may not know."""

    op: bytes
    fingerprint: bytes
    adm: str


def _read(answer: bytes, admission: Admission) -> Answer | BaseException:
    kind, rest = answer[:1], answer[1:]
    if kind == b"O":
        return Admitted(admission.adm, repeat=False)
    if kind == b"D":
        return Admitted(rest.decode(), repeat=True)
    if kind == b"F":
        return Conflict()
    if kind == b"L":
        return LimitReached(int(rest))
    if kind == b"S":
        return SoldOut(int(rest))
    return GateShut("the gate is closed or was rebuilt")


def _flat(fields: dict[str, int]) -> list[str | int]:
    return [part for pair in fields.items() for part in pair]


def _in_hex(holds: Sequence[tuple[bytes, str]]) -> list[tuple[str, str]]:
    """Redis' MessagePack reader knows no binary strings, so ops and fingerprints travel in hex."""
    return [(op.hex(), adm) for op, adm in holds]
