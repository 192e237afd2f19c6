"""Gates that were lost: rebuilt from SQL while orders flow, by whoever comes, and installed by the newest only."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from inventory.gate import Gate, GateShut, GateUnclear
from inventory.offers import Catalogue
from inventory.rebuild import mark_stale, rebuild, run_tender, tend_once
from orders.checkout import Checkout, Request
from orders.placements import EpochChanged
from orders.reaper import reap_once
from stream_events.access import Signer
from stream_events.database import Database
from stream_events.errors import Problem
from tests.factories import Sale, seed_sale
from tests.orders.placing import admission, books, gate_left, placement


@pytest_asyncio.fixture(loop_scope="session")
async def gate(redis: object, redis_url: str) -> AsyncIterator[Gate]:
    made = Gate(redis_url, timeout_s=1.0)
    yield made
    await made.close()


@pytest_asyncio.fixture(loop_scope="session")
async def on_sale(database: Database, sale: Sale, gate: Gate) -> Catalogue:
    made = Catalogue(database)
    await tend_once(database, gate)
    await made.refresh()
    return made


async def assert_equal(database: Database, gate: Gate, sale: Sale) -> None:
    """I6: at rest no hold is open, and the gate has SQL's epoch, number and free units."""
    sql = await database.connect()
    row = await sql.fetchrow(
        """
        SELECT g.epoch, g.rel_seq, s.gate_epoch, s.total - s.reserved - s.sold AS free
        FROM stream_gate g JOIN stock s USING (stream_id) WHERE stream_id = $1
    """,
        sale.stream_id,
    )
    await sql.close()
    assert row["gate_epoch"] == row["epoch"]
    assert await gate.facts(sale.stream_id) == (row["epoch"], row["rel_seq"], True)
    assert await gate_left(gate, sale) == (row["free"], 0)


async def test_a_wipe_under_fire_oversells_nothing_and_sells_on(
    database: Database, gate: Gate, sale: Sale, on_sale: Catalogue, redis: Redis
) -> None:
    """160 shoppers, 100 bags, three wipes: 100 orders, each shopper who saw a 201 has one of them."""
    checkout = Checkout(database, gate, on_sale, attempts_per_second=0)
    stop = asyncio.Event()
    loops = [
        asyncio.create_task(run_tender(database, gate, stop)),
        asyncio.create_task(on_sale.run(stop)),
    ]

    async def buy(n: int) -> str | None:
        await asyncio.sleep(n * 0.008)
        for _ in range(60):
            try:
                wish = Request(sale.stream_id, f"shp_{n}", "key", ((sale.sku, 1),))
                return (await checkout.place(wish)).order.order_id
            except Problem as refusal:
                if refusal.code == "sold_out":
                    return None
                if refusal.status != 503:
                    raise
                await asyncio.sleep(0.05)
        raise AssertionError("the gate stayed shut")

    async def wipe() -> None:
        for _ in range(3):
            await asyncio.sleep(0.25)
            await redis.flushall()

    answers, _ = await asyncio.gather(asyncio.gather(*(buy(n) for n in range(160))), wipe())
    stop.set()
    await asyncio.gather(*loops)
    await checkout.close()
    await tend_once(database, gate)
    await reap_once(database, gate, on_sale, age_ms=0)
    acked = [order_id for order_id in answers if order_id is not None]
    sql = await database.connect()
    durable = {row["id"] for row in await sql.fetch("SELECT id FROM orders")}
    await sql.close()
    found = await books(database)
    assert found.sound
    assert found.reserved == len(durable) <= 100
    assert set(acked) <= durable
    assert len(acked) == len(set(acked))
    assert len(durable) == 100, "units that the wipe had taken out of sale were sold after all"
    await assert_equal(database, gate, sale)


async def test_a_rebuilder_that_dies_half_way_leaves_the_gate_shut_for_the_next(
    database: Database,
    gate: Gate,
    sale: Sale,
    on_sale: Catalogue,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The SQL half is committed, the install never comes: what the old gate lets in, the guard turns away."""
    epoch = on_sale.stream(sale.stream_id).epoch
    checkout = Checkout(database, gate, on_sale, attempts_per_second=0)

    async def dies(*_: object) -> int:
        raise GateUnclear

    with monkeypatch.context() as patch:
        patch.setattr(gate, "install", dies)
        with pytest.raises(GateUnclear):
            await rebuild(database, gate, sale.stream_id, epoch)
    late = placement(sale, "late", epoch=epoch)
    await gate.admit(admission(sale, late, epoch))
    assert isinstance(await checkout.writer.record(late), EpochChanged)
    await on_sale.refresh()
    with pytest.raises(Problem) as refusal:
        await checkout.place(Request(sale.stream_id, "shp_1", "key", ((sale.sku, 1),)))
    assert refusal.value.code == "gate_shut"
    assert await tend_once(database, gate) == 1
    await on_sale.refresh()
    assert (await checkout.place(Request(sale.stream_id, "shp_1", "key", ((sale.sku, 1),)))).status
    await checkout.close()
    await assert_equal(database, gate, sale)


async def test_of_many_rebuilders_the_newest_epoch_stands(
    database: Database, gate: Gate, sale: Sale, on_sale: Catalogue
) -> None:
    epoch = on_sale.stream(sale.stream_id).epoch
    done = await asyncio.gather(*(rebuild(database, gate, sale.stream_id, epoch) for _ in range(5)))
    assert any(done)
    await tend_once(database, gate)
    await assert_equal(database, gate, sale)
    assert await tend_once(database, gate) == 0


async def test_a_gate_ahead_of_a_restored_database_is_rebuilt(
    database: Database, gate: Gate, sale: Sale, on_sale: Catalogue
) -> None:
    """Yesterday's numbers are handed out again: a gate that has seen them would skip the new changes."""
    epoch = on_sale.stream(sale.stream_id).epoch
    forgotten = [(number, sale.sku, 1, "", 0) for number in (1, 2, 3)]
    assert await gate.adjust(sale.stream_id, epoch, forgotten) == 3
    assert await tend_once(database, gate) == 1
    await assert_equal(database, gate, sale)


async def test_an_epoch_passes_whatever_the_gate_had(
    database: Database, gate: Gate, sale: Sale, on_sale: Catalogue
) -> None:
    """The database was restored from before the gate's epoch: an install with a lower one would be refused."""
    epoch = on_sale.stream(sale.stream_id).epoch
    await gate.install(sale.stream_id, epoch + 10**9, 0, {sale.sku: 5}, {})
    assert await tend_once(database, gate) == 1
    await assert_equal(database, gate, sale)


async def test_one_broken_gate_does_not_keep_the_others_waiting(
    database: Database,
    gate: Gate,
    sale: Sale,
    on_sale: Catalogue,
    signer: Signer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = await seed_sale(database, signer, sku="CHESTNUT")
    first = min(sale.stream_id, other.stream_id)
    for stream_id in (sale.stream_id, other.stream_id):
        async with database.begin() as sql:
            await mark_stale(sql, stream_id)
    real = gate.facts

    async def facts(stream_id: str) -> object:
        if stream_id == first:
            raise GateShut("broken")
        return await real(stream_id)

    monkeypatch.setattr(gate, "facts", facts)
    with pytest.raises(GateShut):
        await tend_once(database, gate)
    monkeypatch.undo()
    await assert_equal(database, gate, sale if first != sale.stream_id else other)
