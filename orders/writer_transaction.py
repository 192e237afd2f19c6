"""One batch, one transaction: claim the keys, write the orders, and take the units under the guards.

The fast way is one statement that believes the gate, and is undone whole when a key is known or a guard disagrees;
the close way reads known keys, locks first and walks the orders in queue order. Either may be run again after an unknown COMMIT: the keys make it exact.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import asyncpg

from orders import writer_sql as statements
from orders.own_connections import RunAgain, Sql
from orders.placements import (
    EpochChanged,
    Gift,
    KeyAborted,
    KeyConflict,
    Known,
    Outcome,
    OverLimit,
    Placed,
    Placement,
    Short,
    StoredLine,
)

_READ_OTHERWISE = re.compile(r'[{}"\\\s]')
GUARD_REFUSED = "SE001"  # raised by the function place_orders


class Refused(Exception):  # noqa: N818 - a guard's verdict, answered by looking closely.
    """A guard disagreed with the gate; the transaction was rolled back whole."""


class Overtaken(RunAgain):
    """Another writer added a shopper's first units behind this one's locks; the batch must run again."""


class KeyRow(NamedTuple):
    """A key as SQL has it, with its order if it was placed."""

    fingerprint: bytes
    adm: str
    placed: Placed | None

    def read(self, fingerprint: bytes) -> Known:
        """Answer a request that comes with this key."""
        if self.fingerprint != fingerprint:
            return KeyConflict()
        return self.placed or KeyAborted()


class Written(NamedTuple):
    """What a transaction did with each op: wrote it, found it known, or refused it."""

    fresh: dict[bytes, Placement]
    known: dict[bytes, KeyRow]
    refused: dict[bytes, Outcome]


async def known_keys(sql: Sql, ops: set[bytes]) -> dict[bytes, KeyRow]:
    """Return the keys among ``ops`` that SQL knows."""
    rows = await sql.fetch(statements.KNOWN_KEYS, list(ops))
    return {
        row["op"]: KeyRow(
            row["fingerprint"],
            row["adm"],
            stored(row) if row["outcome"] == "PLACED" else None,
        )
        for row in rows
    }


def stored(row: Any) -> Placed:
    """Return a placed order from a row with its lines and gifts as arrays, as ``KNOWN_KEYS`` has them."""
    lines = zip(
        row["skus"] or (),  # a gift without goods has none
        row["quantities"] or (),
        row["amounts"] or (),
        row["taxes"] or (),
        strict=True,
    )
    gifts = zip(
        row["kinds"] or (), row["beneficiaries"] or (), row["gifts_minor"] or (), strict=True
    )
    return Placed(
        row["order_id"],
        tuple(
            StoredLine(sku, quantity, amount // quantity, tax_bp)
            for sku, quantity, amount, tax_bp in lines
        ),
        row["total_minor"],
        row["currency"],
        row["place"],
        row["placed_at"],
        repeat=True,
        shipping_minor=row["shipping_minor"],
        gifts=tuple(Gift(*gift) for gift in gifts),
    )


def array(values: Iterable[str]) -> str:
    """Write an array as PostgreSQL reads it, from ids, hex, numbers and instants of our own: nothing is escaped.

    asyncpg asks of every element of a list whether it is an array itself, which cost more than the rest of the
    writer together; text is joined at once, and PostgreSQL parses it in passing. Raises ``ValueError`` for text
    that would be read as more or other than these elements.
    """
    elements = list(values)
    text = ",".join(elements)
    if _READ_OTHERWISE.search(text) or text.count(",") != max(len(elements) - 1, 0):
        raise ValueError("only plain ids, hex, numbers and instants can be written as an array")
    return "{" + text + "}"


async def _insert_keys(
    sql: Sql, group: Sequence[Placement]
) -> tuple[list[Placement], dict[bytes, KeyRow]]:
    """Claim the keys; return the placements whose key is new, and what is known of the others."""
    firsts: dict[bytes, Placement] = {}
    for placement in group:
        firsts.setdefault(placement.op, placement)
    ordered = [firsts[op] for op in sorted(firsts)]
    claimed = await sql.fetch(
        statements.INSERT_KEYS,
        ordered[0].stream_id,
        array(p.op.hex() for p in ordered),
        array(p.fingerprint.hex() for p in ordered),
        array(p.adm for p in ordered),
        array(p.order_id for p in ordered),
    )
    if len(claimed) == len(group):
        return list(group), {}
    new_ops = {row["op"] for row in claimed}
    known = await known_keys(sql, set(firsts) - new_ops)
    return [p for op, p in firsts.items() if op in new_ops], known


async def _insert_orders(sql: Sql, fresh: Sequence[Placement]) -> None:
    lines = [(p, line) for p in fresh for line in p.lines]
    await sql.execute(
        statements.INSERT_ORDERS,
        fresh[0].stream_id,
        fresh[0].currency,
        array(p.order_id for p in fresh),
        array(p.shopper_id for p in fresh),
        array(str(p.total_minor) for p in fresh),
        array(str(p.place) for p in fresh),
        array(p.placed_at.isoformat() for p in fresh),
        array(p.order_id for p, _ in lines),
        array(str(line.stock_id) for _, line in lines),
        array(str(line.terms_id) for _, line in lines),
        array(str(line.quantity) for _, line in lines),
        array(str(line.quantity * line.unit_minor) for _, line in lines),
        array(p.shopper_id for p, _ in lines),
        array(str(p.shipping_minor) for p in fresh),
        *gift_arrays(fresh),
    )


class _Giving(Protocol):
    @property
    def order_id(self) -> str: ...

    @property
    def gifts(self) -> tuple[Gift, ...]: ...


def gift_arrays(fresh: Sequence[_Giving]) -> tuple[str, str, str, str, str]:
    """Write the gifts of all orders as the columns of ``order_gifts``; most orders have none."""
    gifts = [(p.order_id, n, gift) for p in fresh if p.gifts for n, gift in enumerate(p.gifts, 1)]
    return (
        array(order_id for order_id, _, _ in gifts),
        array(str(n) for _, n, _ in gifts),
        array(gift.kind for _, _, gift in gifts),
        array(gift.beneficiary_id for _, _, gift in gifts),
        array(str(gift.amount_minor) for _, _, gift in gifts),
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
        array(str(stock_id) for stock_id, _ in order),
        array(shopper_id for _, shopper_id in order),
        array(str(people[person][0]) for person in order),
        array(str(people[person][1]) for person in order),
    )
    if taken != len(order):
        return False
    epoch = fresh[0].epoch
    for stock_id in sorted(stock):
        if await sql.execute(statements.GUARD, stock_id, epoch, stock[stock_id]) != "UPDATE 1":
            return False
    return True


async def transact(sql: Sql, group: Sequence[Placement]) -> Written:
    """Write the batch in one statement, believing the gate: each key is new, each guard passes.

    Raises ``Refused``, with nothing written, when that is not so. One round trip instead of seven: each of them
    waits for its turn in an event loop that is busy with hundreds of requests.
    """
    fresh = {placement.op: placement for placement in group}
    people, stock = _wanted(group)
    if len(fresh) < len(group) or any(units > limit for units, limit in people.values()):
        raise Refused
    ordered = [fresh[op] for op in sorted(fresh)]
    lines = [(p, line) for p in ordered for line in p.lines]
    persons = sorted(people)
    stock_ids = sorted(stock)
    try:
        await sql.execute(
            statements.PLACE_ORDERS,
            group[0].stream_id,
            group[0].currency,
            group[0].epoch,
            array(p.op.hex() for p in ordered),
            array(p.fingerprint.hex() for p in ordered),
            array(p.adm for p in ordered),
            array(p.order_id for p in ordered),
            array(p.shopper_id for p in ordered),
            array(str(p.total_minor) for p in ordered),
            array(str(p.place) for p in ordered),
            array(p.placed_at.isoformat() for p in ordered),
            array(p.order_id for p, _ in lines),
            array(str(line.stock_id) for _, line in lines),
            array(str(line.terms_id) for _, line in lines),
            array(str(line.quantity) for _, line in lines),
            array(str(line.quantity * line.unit_minor) for _, line in lines),
            array(p.shopper_id for p, _ in lines),
            array(str(stock_id) for stock_id, _ in persons),
            array(shopper_id for _, shopper_id in persons),
            array(str(people[person][0]) for person in persons),
            array(str(people[person][1]) for person in persons),
            array(str(stock_id) for stock_id in stock_ids),
            array(str(stock[stock_id]) for stock_id in stock_ids),
            array(str(p.shipping_minor) for p in ordered),
            *gift_arrays(ordered),
        )
    except asyncpg.UniqueViolationError as known:
        raise Refused from known
    except asyncpg.PostgresError as error:
        if error.sqlstate == GUARD_REFUSED:
            raise Refused from error
        raise
    return Written(fresh, {}, {})


async def transact_closely(sql: Sql, group: Sequence[Placement]) -> Written:
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
                    raise Overtaken
            fresh = accepted
    return Written({p.op: p for p in fresh}, known, refused)


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


def outcome_of(placement: Placement, written: Written) -> Outcome:
    """Return what a committed batch means for one of its placements."""
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
        tuple(
            StoredLine(line.sku, line.quantity, line.unit_minor, line.tax_bp)
            for line in placement.lines
        ),
        placement.total_minor,
        placement.currency,
        placement.place,
        placement.placed_at,
        repeat,
        placement.shipping_minor,
        placement.gifts,
    )
