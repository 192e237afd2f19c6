"""The writer against a real database: what the guard sells, and that no fault of SQL sells or loses anything."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from inventory.gate import Gate
from inventory.offers import Catalogue
from inventory.rebuild import rebuild
from orders import own_connections, writer_transaction
from orders import writer as writing
from orders.checkout import Checkout, Request
from orders.placements import (
    EpochChanged,
    KeyConflict,
    OverLimit,
    Placed,
    Placement,
    Short,
    Unclear,
)
from orders.reaper import settle_holds
from orders.writer import Writer
from orders.writer_transaction import array
from stream_events.database import Database
from stream_events.errors import Problem
from tests.factories import Sale
from tests.orders.placing import admission, books, gate_left, placement, run_sql


@pytest_asyncio.fixture(loop_scope="session")
async def writer(database: Database, gate: Gate) -> AsyncIterator[Writer]:
    made = Writer(database, gate)
    yield made
    await made.close()


async def record(writer: Writer, wanted: Sequence[Placement]) -> list[Any]:
    """Record all in one batch."""
    return await asyncio.gather(*(writer.record(one) for one in wanted), return_exceptions=True)


async def test_exactly_what_fits_is_sold_in_queue_order(
    writer: Writer, sale: Sale, database: Database
) -> None:
    """The gate let in seven units; SQL has three: each order whole or not at all, the earlier one first."""
    await run_sql(database, "UPDATE stock SET total = 3")
    wanted = [placement(sale, f"k{n}", quantity) for n, quantity in enumerate((2, 2, 1, 2))]
    first, second, third, fourth = await record(writer, wanted)
    assert isinstance(first, Placed)
    assert second == Short(1)
    assert isinstance(third, Placed)
    assert fourth == Short(0)
    found = await books(database)
    assert (found.reserved, found.orders) == (3, 2)
    assert found.sound


async def test_a_refused_order_leaves_no_trace_and_may_come_again(
    writer: Writer, sale: Sale, database: Database
) -> None:
    await run_sql(database, "UPDATE stock SET total = 0")
    assert await record(writer, [placement(sale, "k")]) == [Short(0)]
    assert await books(database) == (0, 0, 0, 0, 0, 0, 0)
    await run_sql(database, "UPDATE stock SET total = 1")
    assert isinstance((await record(writer, [placement(sale, "k")]))[0], Placed)


async def test_the_limit_is_guarded_in_sql_too(
    writer: Writer, sale: Sale, database: Database
) -> None:
    """Five a shopper: what one batch asks for in all counts, and others in the batch are not held back."""
    greedy = [placement(sale, f"g{n}", 2, shopper_id="shp_greedy") for n in range(3)]
    first, second, third, other = await record(writer, [*greedy, placement(sale, "other")])
    assert isinstance(first, Placed)
    assert isinstance(second, Placed)
    assert third == OverLimit(4)
    assert isinstance(other, Placed)
    assert await record(writer, [placement(sale, "g9", 2, shopper_id="shp_greedy")]) == [
        OverLimit(4)
    ]
    found = await books(database)
    assert found.reserved == 5
    assert found.sound


async def test_a_key_answers_the_same_for_ever(
    writer: Writer, sale: Sale, database: Database
) -> None:
    wanted = placement(sale, "k", 2)
    (first,) = await record(writer, [wanted])
    again = placement(sale, "k", 2)
    (second,) = await record(writer, [again])
    assert second == first._replace(repeat=True)
    assert await writer.look_up(wanted.op, wanted.fingerprint) == second
    assert await record(writer, [placement(sale, "k", 1)]) == [KeyConflict()]
    assert await writer.look_up(wanted.op, b"another body") == KeyConflict()
    assert await writer.look_up(b"another key", wanted.fingerprint) is None
    assert (await books(database)).reserved == 2


async def test_one_key_twice_in_a_batch_is_one_order(
    writer: Writer, sale: Sale, database: Database
) -> None:
    one, two, changed = await record(
        writer, [placement(sale, "k"), placement(sale, "k"), placement(sale, "k", 2)]
    )
    assert one[:6] == two[:6]
    assert (one.repeat, two.repeat) == (False, True)
    assert changed == KeyConflict()
    found = await books(database)
    assert (found.orders, found.reserved) == (1, 1)


async def test_of_two_admissions_of_one_key_the_other_is_given_back(
    writer: Writer, gate: Gate, sale: Sale, database: Database, sale_catalogue: Catalogue
) -> None:
    """A gate that forgot the first admission made a second one: that hold is credited, not merely forgotten."""
    epoch = sale_catalogue.stream(sale.stream_id).epoch
    lost = placement(sale, "k", 2, adm="adm_lost", epoch=epoch)
    held = placement(sale, "k", 2, adm="adm_held", epoch=epoch)
    await gate.admit(admission(sale, held, epoch))
    await record(writer, [lost, held])
    await asyncio.sleep(0.1)
    assert await gate_left(gate, sale) == (100, 0)


async def test_an_order_of_an_old_epoch_is_admitted_anew_once(
    checkout: Checkout,
    gate: Gate,
    sale: Sale,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The gate is rebuilt between admission and writing; the shopper notices nothing."""
    real, seen = checkout.writer.record, []

    def after_a_rebuild(wanted: Placement) -> asyncio.Future[Any]:
        async def recorded() -> Any:
            if not seen:
                await rebuild(database, gate, sale.stream_id, 0)
            outcome = await real(wanted)
            seen.append(outcome)
            return outcome

        return asyncio.ensure_future(recorded())

    monkeypatch.setattr(checkout.writer, "record", after_a_rebuild)
    answer = await checkout.place(Request(sale.stream_id, sale.shopper_id, "k", ((sale.sku, 2),)))
    assert answer.status == 201
    assert [type(outcome) for outcome in seen] == [EpochChanged, Placed]
    await asyncio.sleep(0.1)
    found = await books(database)
    assert (found.orders, found.reserved) == (1, 2)
    assert await gate_left(gate, sale) == (98, 0)


async def test_a_lock_that_is_long_held_is_waited_for(
    writer: Writer, sale: Sale, database: Database
) -> None:
    """The lock timeout of SQL undoes the batch; it runs again, and nothing is written twice."""
    other = await database.connect()
    async with other.transaction():
        await other.execute("SELECT 1 FROM stock FOR UPDATE")
        writes = asyncio.gather(*(writer.record(placement(sale, f"k{n}")) for n in range(3)))
        await asyncio.sleep(1.2)
        assert not writes.done()
    assert all(isinstance(one, Placed) for one in await writes)
    await other.close()
    found = await books(database)
    assert (found.orders, found.reserved) == (3, 3)
    assert found.sound


async def test_a_silent_connection_is_cut(
    writer: Writer, sale: Sale, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A half-open connection never answers; whoever waits for it waits for ever."""
    monkeypatch.setattr(own_connections, "PATIENCE_S", 0.2)
    other = await database.connect()
    async with other.transaction():
        await other.execute("SELECT 1 FROM stock FOR UPDATE")
        write = writer.record(placement(sale, "k"))
        await asyncio.sleep(0.15)
        first = writer._sql._sql.get("writer")
        await asyncio.sleep(0.4)
    assert isinstance(await write, Placed)
    assert first is not writer._sql._sql["writer"]
    await other.close()
    assert (await books(database)).orders == 1


async def test_after_an_unheard_commit_the_same_batch_is_exact(
    writer: Writer, sale: Sale, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The COMMIT took effect and its answer was lost: the orders answered are the ones that were written."""
    real, runs = writing.transact, []

    async def unheard(sql: Any, group: Sequence[Placement]) -> Any:
        runs.append(len(group))
        written = await real(sql, group)
        if len(runs) == 1:
            sql.terminate()
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle")
        return written

    monkeypatch.setattr(writing, "transact", unheard)
    wanted = [placement(sale, f"k{n}") for n in range(3)]
    outcomes = await record(writer, wanted)
    assert runs == [3, 3]
    assert [one.order_id for one in outcomes] == [one.order_id for one in wanted]
    assert not any(one.repeat for one in outcomes)
    found = await books(database)
    assert (found.orders, found.reserved) == (3, 3)
    assert found.sound


async def test_one_impossible_order_does_not_take_the_others_down(
    writer: Writer, sale: Sale, database: Database
) -> None:
    """SQL has no zero character: the batch is split until only that order is left out."""
    wanted = [placement(sale, f"k{n}") for n in range(9)]
    wanted[4] = wanted[4]._replace(shopper_id="shp_\x00")
    outcomes = await record(writer, wanted)
    assert isinstance(outcomes.pop(4), Unclear)
    assert all(isinstance(one, Placed) for one in outcomes)
    found = await books(database)
    assert (found.orders, found.reserved) == (8, 8)


@pytest.mark.parametrize("fault", [asyncpg.DiskFullError, asyncpg.TooManyConnectionsError])
async def test_a_server_in_need_is_not_asked_by_halves(
    writer: Writer,
    sale: Sale,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    fault: type[asyncpg.PostgresError],
) -> None:
    """A full disk is nobody's fault in the batch: no acknowledgement, few tries, and sound again afterwards."""
    monkeypatch.setattr(writing, "DEADLINE_S", 0.2)
    runs: list[int] = []

    async def in_need(sql: Any, group: Sequence[Placement]) -> Any:
        runs.append(len(group))
        raise fault("not now")

    with monkeypatch.context() as patch:
        patch.setattr(writing, "transact", in_need)
        wanted = [placement(sale, f"k{n}") for n in range(8)]
        assert all(isinstance(one, Unclear) for one in await record(writer, wanted))
        assert set(runs) == {8}
        assert len(runs) <= 6
    assert all(isinstance(one, Placed) for one in await record(writer, wanted))
    assert (await books(database)).orders == 8


async def test_a_shopper_who_appears_in_another_process_meanwhile_is_seen(
    writer: Writer, sale: Sale, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There was no row to lock when the orders were walked: the batch runs again, and is answered."""
    real, walks = writer_transaction._walk, []

    async def overtaken(sql: Any, fresh: Sequence[Placement]) -> Any:
        walked = await real(sql, fresh)
        walks.append(len(fresh))
        if len(walks) == 1:
            await run_sql(
                database,
                "INSERT INTO shopper_units VALUES ($1, 'shp_k0', 5, 5)",
                sale.stock_id,
            )
        return walked

    monkeypatch.setattr(writer_transaction, "_walk", overtaken)
    await run_sql(database, "UPDATE stock SET total = 2")
    outcomes = await record(writer, [placement(sale, f"k{n}") for n in range(3)])
    assert outcomes[0] == OverLimit(5)
    assert [type(one) for one in outcomes[1:]] == [Placed, Placed]
    assert (await books(database)).reserved == 2


async def test_a_tombstone_wins_over_a_slow_writer(
    checkout: Checkout,
    gate: Gate,
    sale: Sale,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The writer slept so long that its hold was given back: 410, and nobody has the units twice."""
    real = checkout.writer.record

    def asleep(wanted: Placement) -> asyncio.Future[Any]:
        async def recorded() -> Any:
            holds = await gate.old_holds(sale.stream_id, 0)
            assert [hold.op for hold in holds] == [wanted.op]
            await settle_holds(database, gate, sale.stream_id, holds)
            return await real(wanted)

        return asyncio.ensure_future(recorded())

    monkeypatch.setattr(checkout.writer, "record", asleep)
    wish = Request(sale.stream_id, sale.shopper_id, "k", ((sale.sku, 2),))
    with pytest.raises(Problem) as refusal:
        await checkout.place(wish)
    assert (refusal.value.status, refusal.value.code) == (410, "key_aborted")
    monkeypatch.setattr(checkout.writer, "record", real)
    with pytest.raises(Problem) as refusal:
        await checkout.place(wish)
    assert refusal.value.code == "key_aborted"
    await asyncio.sleep(0.1)
    assert await gate_left(gate, sale) == (100, 0)
    assert await books(database) == (100, 0, 0, 0, 0, 0, 1)


@pytest.mark.parametrize("element", ["a,b", 'a"b', "a{b", "a}b", "a\\b", "a b", "a\nb"])
def test_an_array_is_never_read_otherwise(element: str) -> None:
    assert array(["ord_1", "2026-11-22T17:00:00.123+00:00"]) == (
        "{ord_1,2026-11-22T17:00:00.123+00:00}"
    )
    with pytest.raises(ValueError, match="plain"):
        array(["ord_1", element])
