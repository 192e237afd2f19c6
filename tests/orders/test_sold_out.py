"""The sold-out flag: cheap refusals for newcomers, and never one for an op that has, or may get, an order."""

import asyncio

import pytest

from inventory.gate import Gate
from inventory.offers import Catalogue
from inventory.rebuild import rebuild
from orders.checkout import Checkout, Request
from orders.sold_out import SoldOutBoard
from stream_events.database import Database
from stream_events.errors import Problem
from tests.factories import Sale
from tests.orders.placing import admission, op_of, placement, run_sql


async def test_the_flag_waits_for_holds_and_knows_placed_ops(
    checkout: Checkout, sale: Sale, gate: Gate, database: Database, sale_catalogue: Catalogue
) -> None:
    """While a hold is open nobody knows yet whose the last unit is; afterwards its op still gets its answer."""
    await run_sql(database, "UPDATE stock SET total = 1")
    await rebuild(database, gate, sale.stream_id, 0)
    await sale_catalogue.refresh()
    board = checkout.sold_out
    epoch = sale_catalogue.stream(sale.stream_id).epoch
    other = placement(sale, "other", epoch=epoch)
    await gate.admit(admission(sale, other, epoch))
    await board.look(sale.stream_id)
    assert board.refuses(sale.stream_id, [sale.sku], op_of("new")) is None
    await gate.credit(sale.stream_id, [(other.op, other.adm)])
    wish = Request(sale.stream_id, sale.shopper_id, "k", ((sale.sku, 1),))
    placed = await checkout.place(wish)
    await asyncio.sleep(0.05)
    await board.look(sale.stream_id)
    assert board.refuses(sale.stream_id, [sale.sku], op_of("new")) is False
    assert (await checkout.place(wish)).order.order_id == placed.order.order_id
    with pytest.raises(Problem) as refusal:
        await checkout.place(wish._replace(key="new"))
    assert (refusal.value.code, refusal.value.members["final"]) == ("sold_out", False)


async def test_after_a_rebuild_the_known_ops_are_read_anew(
    checkout: Checkout, sale: Sale, gate: Gate, database: Database, sale_catalogue: Catalogue
) -> None:
    """Units that a rebuild brought back were bought through another process: its op must not be refused here."""
    board = SoldOutBoard(database, gate)
    await run_sql(database, "UPDATE stock SET total = 1")
    await rebuild(database, gate, sale.stream_id, 0)
    await gate.install(sale.stream_id, 10**15, 0, {sale.sku: 0}, {})
    await board.look(sale.stream_id)
    assert board.refuses(sale.stream_id, [sale.sku], op_of("new")) is False
    await rebuild(database, gate, sale.stream_id, 10**15)
    await sale_catalogue.refresh()
    wish = Request(sale.stream_id, sale.shopper_id, "k", ((sale.sku, 1),))
    await checkout.place(wish)
    await asyncio.sleep(0.05)
    await board.look(sale.stream_id)
    sql = await database.connect()
    op = await sql.fetchval("SELECT op FROM order_keys")
    await sql.close()
    assert board.refuses(sale.stream_id, [sale.sku], op) is None
