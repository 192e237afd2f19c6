"""The SQL side of stock: every change numbered once, carried once, and refused where it would not fit."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import pytest_asyncio

from inventory.gate import Gate
from inventory.guard import change_total, commit_sold, release, restock, sell_late
from inventory.rebuild import relay, tend_once
from orders.placements import Placed
from orders.writer import Writer
from stream_events.database import Database
from stream_events.errors import Problem
from tests.factories import Sale
from tests.orders.placing import books, gate_left, placement, run_sql


@pytest_asyncio.fixture(loop_scope="session")
async def gate(redis: object, redis_url: str) -> AsyncIterator[Gate]:
    made = Gate(redis_url, timeout_s=1.0)
    yield made
    await made.close()


@pytest_asyncio.fixture(loop_scope="session")
async def placed(database: Database, gate: Gate, sale: Sale) -> list[str]:
    """Four orders of two units, and a gate that was installed after them."""
    writer = Writer(database, gate)
    outcomes = await asyncio.gather(*(writer.record(placement(sale, f"k{n}", 2)) for n in range(4)))
    await writer.close()
    await tend_once(database, gate)
    return [one.order_id for one in outcomes if isinstance(one, Placed)]


async def stock(database: Database) -> tuple[int, int, int]:
    sql = await database.connect()
    row = await sql.fetchrow("SELECT total, reserved, sold FROM stock")
    await sql.close()
    return tuple(row)


async def numbered(database: Database) -> list[tuple[int, str, int]]:
    sql = await database.connect()
    rows = await sql.fetch(
        "SELECT rel_seq, kind, quantity FROM stock_moves WHERE rel_seq IS NOT NULL ORDER BY rel_seq"
    )
    await sql.close()
    return [tuple(row) for row in rows]


async def epoch_of(database: Database) -> int:
    sql = await database.connect()
    epoch: int = await sql.fetchval("SELECT epoch FROM stream_gate")
    await sql.close()
    return epoch


async def test_every_change_behind_the_gates_back_is_numbered_and_carried_once(
    database: Database, gate: Gate, sale: Sale, placed: list[str]
) -> None:
    first, second, third, fourth = placed
    async with database.begin() as sql:
        await release(sql, [second, first])
        await release(sql, [first, second, "ord_unknown"])
    async with database.begin() as sql:
        assert await sell_late(sql, first)
        assert not await sell_late(sql, third), "only what was released can be sold late"
        await commit_sold(sql, [third, fourth, second])
        await restock(sql, third)
        await restock(sql, third)
        assert await change_total(sql, sale.stream_id, sale.sku, -3) == 97
    assert [(number, kind) for number, kind, _ in await numbered(database)] == [
        (1, "X"),
        (2, "X"),
        (3, "L"),
        (4, "T"),
        (5, "A"),
    ]
    assert await stock(database) == (97, 0, 4)
    assert await gate_left(gate, sale) == (92, 0)
    epoch = await epoch_of(database)
    relays = await asyncio.gather(
        *(relay(database, gate, sale.stream_id, epoch, after) for after in (0, 0, 3))
    )
    assert relays[0] == relays[1] == 5
    for after in (0, 2, 5):
        await relay(database, gate, sale.stream_id, epoch, after)
    assert await gate_left(gate, sale) == (93, 0)
    assert await tend_once(database, gate) == 0


async def test_numbers_have_no_gap_when_many_change_at_once(
    database: Database, gate: Gate, sale: Sale, placed: list[str]
) -> None:
    """Releases, a rollback and new totals race: SQL hands out 1 to n, and the gate ends where SQL is."""

    async def let_go(order_id: str) -> None:
        async with database.begin() as sql:
            await release(sql, [order_id])

    async def change_mind(order_id: str) -> None:
        with suppress(ZeroDivisionError):
            async with database.begin() as sql:
                await release(sql, [order_id])
                raise ZeroDivisionError

    async def raise_total() -> None:
        async with database.begin() as sql:
            await change_total(sql, sale.stream_id, sale.sku, 1)

    await asyncio.gather(
        *(let_go(order_id) for order_id in placed[:3]),
        change_mind(placed[3]),
        *(raise_total() for _ in range(3)),
        *(tend_once(database, gate) for _ in range(3)),
    )
    assert [number for number, _, _ in await numbered(database)] == list(range(1, 7))
    await tend_once(database, gate)
    assert await gate_left(gate, sale) == (103 - 2, 0)
    assert (await books(database)).sound


async def test_what_does_not_fit_is_refused_and_leaves_nothing(
    database: Database, gate: Gate, sale: Sale, placed: list[str]
) -> None:
    async with database.begin() as sql:
        await release(sql, placed[:1])
    await run_sql(database, "UPDATE stock SET total = 7")
    async with database.begin() as sql:
        assert not await sell_late(sql, placed[0])
        with pytest.raises(Problem) as refusal:
            await change_total(sql, sale.stream_id, sale.sku, -2)
        assert (refusal.value.status, refusal.value.code) == (409, "below_sold")
    await run_sql(database, "UPDATE stock SET total = 8")
    await run_sql(database, "UPDATE shopper_units SET units = 4 WHERE shopper_id = 'shp_k0'")
    async with database.begin() as sql:
        assert not await sell_late(sql, placed[0]), "the shopper has bought up to the limit since"
    assert [kind for _, kind, _ in await numbered(database)] == ["X"]
    assert await stock(database) == (8, 6, 0)
