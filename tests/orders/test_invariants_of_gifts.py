"""The checker on gifts and on goods that came back in parts: sound ones pass, and each damage is found."""

from collections.abc import Awaitable, Callable

import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from inventory.guard import restock
from orders.invariants import placed, stock
from orders.invariants.finding import Finding
from orders.settlement import settle
from stream_events.database import Database
from tests.factories import Sale
from tests.orders.payers import Placed, place
from tests.orders.sound_world import GUARDED

CHECKS: tuple[Callable[[AsyncSession], Awaitable[Finding]], ...] = (
    stock.i1,
    stock.i2,
    stock.i3,
    stock.i4,
    stock.i8,
    placed.i10,
    placed.i13,
    placed.i14,
)


@pytest_asyncio.fixture(loop_scope="session")
async def orders(database: Database, sale: Sale) -> dict[str, Placed]:
    """A late gift, goods of which two units came back one by one, and goods with shipping and a gift."""
    gift = [(sale.beneficiary_id, 500)]
    made = {
        "gift": await place(database, sale, "EXPIRED", quantity=0, gifts=gift),
        "goods": await place(database, sale, quantity=3),
        "both": await place(database, sale, gifts=gift, shipping_minor=100),
    }
    await settle(database, [each.payment() for each in made.values()])
    for _ in range(2):
        async with database.begin() as sql:
            await restock(sql, made["goods"].order_id, {sale.sku: 1})
    return made


async def check(database: Database) -> dict[str, list[str]]:
    async with database.begin() as sql:
        found = [await each(sql) for each in CHECKS]
    return {finding.code: list(finding.breaches) for finding in found if finding.breaches}


async def damage(database: Database, orders: dict[str, Placed], statement: str) -> None:
    given = {name: made.order_id for name, made in orders.items() if f":{name}" in statement}
    async with database.begin() as sql:
        for table in (*GUARDED, "order_gifts"):
            await sql.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        await sql.execute(text(statement), given)
        for table in (*GUARDED, "order_gifts"):
            await sql.execute(text(f"ALTER TABLE {table} ENABLE TRIGGER USER"))


async def test_gifts_and_goods_that_came_back_in_parts_are_sound(
    database: Database, orders: dict[str, Placed]
) -> None:
    assert await check(database) == {}


@pytest.mark.parametrize(
    ("code", "what", "statement"),
    [
        (
            "I3",
            "moves and state",
            "UPDATE stock_moves SET n = 3 WHERE source_id = :goods AND n = 2",
        ),
        (
            "I3",
            "moves and state",
            "UPDATE stock_moves SET quantity = 3 WHERE source_id = :goods AND kind = 'T' AND n = 2",
        ),
        (
            "I3",
            "moves and state",
            "UPDATE stock_moves SET n = 2 WHERE source_id = :both AND kind = 'C'",
        ),
        ("I3", "goods without lines", "UPDATE orders SET kind = 'gift' WHERE id = :both"),
        ("I3", "goods without lines", "UPDATE orders SET kind = 'goods' WHERE id = :gift"),
        ("I3", "goods without lines", "UPDATE orders SET shipping_minor = 5 WHERE id = :gift"),
        (
            "I10",
            "do not make the total",
            "UPDATE order_gifts SET amount_minor = 501 WHERE order_id = :gift",
        ),
        ("I10", "do not make the total", "DELETE FROM order_gifts WHERE order_id = :both"),
        ("I10", "do not make the total", "UPDATE orders SET shipping_minor = 0 WHERE id = :both"),
        (
            "I10",
            "do not make the total",
            "UPDATE order_lines SET amount_minor = 1 WHERE order_id = :goods",
        ),
        # What a gift may do and goods may not, and the other way round.
        ("I14", "no such step", "UPDATE orders SET kind = 'goods' WHERE id = :gift"),
        (
            "I14",
            "no such step",
            "UPDATE order_transitions SET to_state = 'LATE_PAID' WHERE order_id = :gift AND to_state = 'PAID'",
        ),
    ],
)
async def test_damage_is_found(
    database: Database, orders: dict[str, Placed], code: str, what: str, statement: str
) -> None:
    assert await check(database) == {}
    await damage(database, orders, statement)
    found = await check(database)
    assert any(what in line for line in found.get(code, ())), found
