"""Words that the tests of placing share: placements made by hand, and what SQL and the gate then hold."""

import hashlib
from datetime import UTC, datetime
from typing import Any, NamedTuple

import asyncpg

from inventory.gate import Admission, Gate
from orders.placements import Line, Placement
from stream_events.database import Database
from stream_events.ids import new_id
from tests.factories import Sale


def op_of(key: str) -> bytes:
    """An op as a checkout would make one, short of the stream and the shopper."""
    return hashlib.sha256(key.encode()).digest()


def placement(sale: Sale, key: str, quantity: int = 1, **given: Any) -> Placement:
    """An admitted order for peanuts; ``given`` replaces fields."""
    line = Line(
        sale.stock_id, sale.terms_id, sale.sku, quantity, sale.price_minor, sale.per_shopper_max
    )
    made = Placement(
        op=op_of(key),
        fingerprint=op_of(f"{sale.sku}={quantity}"),
        adm=f"adm_{key}",
        order_id=new_id("ord"),
        stream_id=sale.stream_id,
        epoch=sale.epoch,
        shopper_id=f"shp_{key}",
        lines=(line,),
        total_minor=quantity * sale.price_minor,
        currency=sale.currency,
        place=1,
        placed_at=datetime.now(UTC),
    )
    return made._replace(**given)


def admission(sale: Sale, wanted: Placement, epoch: int) -> Admission:
    """The admission that goes before ``wanted``."""
    asked = tuple((line.sku, line.quantity, line.limit_max) for line in wanted.lines)
    return Admission(
        sale.stream_id,
        epoch,
        wanted.op,
        wanted.fingerprint,
        wanted.adm,
        wanted.shopper_id,
        asked,
    )


class Books(NamedTuple):
    """What SQL has of the one sale of a test."""

    total: int
    reserved: int
    orders: int
    moved: int
    units: int
    placed_keys: int
    aborted_keys: int

    @property
    def sound(self) -> bool:
        """Counters, moves, limits and keys tell the same story, and nothing is oversold."""
        return (
            0 <= self.reserved <= self.total
            and self.reserved == self.moved == self.units
            and self.orders == self.placed_keys
        )


async def books(database: Database) -> Books:
    """Read what SQL has."""
    sql = await database.connect()
    try:
        row = await sql.fetchrow("""
            SELECT (SELECT sum(total)::int FROM stock), (SELECT sum(reserved)::int FROM stock),
                   (SELECT count(*)::int FROM orders),
                   (SELECT coalesce(sum(CASE kind WHEN 'R' THEN quantity WHEN 'X' THEN -quantity END), 0)::int
                    FROM stock_moves),
                   (SELECT coalesce(sum(units), 0)::int FROM shopper_units),
                   (SELECT count(*)::int FROM order_keys WHERE outcome = 'PLACED'),
                   (SELECT count(*)::int FROM order_keys WHERE outcome = 'ABORTED')
        """)
    finally:
        await sql.close()
    return Books(*row)


async def run_sql(database: Database, statement: str, *values: Any) -> None:
    """Run one statement behind everybody's back."""
    sql: asyncpg.Connection[asyncpg.Record] = await database.connect()
    try:
        await sql.execute(statement, *values)
    finally:
        await sql.close()


async def gate_left(gate: Gate, sale: Sale) -> tuple[int, int]:
    """Units that the gate may still admit, and the number of open holds."""
    left = await gate.left(sale.stream_id)
    return left.units[sale.sku], left.holds
