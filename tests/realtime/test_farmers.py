"""A farmer sees exactly what the sealed ledger credits to the farm, whoever reads it and from where on."""

import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from orders.ledger import accounts
from orders.ledger.post import CAPTURE, PAYOUT, REFUND, post
from realtime.announcer import Known, tick_once
from stream_events.database import Database
from stream_events.ids import new_id
from tests.factories import Sale, make_offer, make_product
from tests.realtime.announced import Listener, sell, topics
from tests.realtime.conftest import until


async def pay_on(database: Database, sale: Sale) -> None:
    """Pay a farmer a part of what was earned."""
    async with database.begin() as sql:
        await post(
            sql,
            campaign_id=sale.campaign_id,
            stream_id=sale.campaign_id,
            kind=PAYOUT,
            source_id=new_id("trf"),
            order_id=None,
            currency="CNY",
            entries=[(accounts.farmer(sale.farmer_id), 1_000), (accounts.BANK_CLEARING, -1_000)],
        )


async def test_a_farmer_sees_units_income_and_the_last_sales(
    database: Database, redis: Redis, sale: Sale
) -> None:
    board = Known()
    order_id = ""
    for quantity in (1, 2, *[1] * 22):
        order_id = await sell(database, sale, quantity)
        if quantity == 2:
            await tick_once(database, redis, board)
    await sell(database, sale, 1, REFUND, order_id=order_id)
    await pay_on(database, sale)
    await tick_once(database, redis, board)
    state = (await topics(database))[f"farmer/{sale.farmer_id}/sales"].state
    assert (state["units"], state["income_minor"], state["currency"]) == (24, 24 * 2392, "CNY")
    assert len(state["last"]) == 20
    first, second = state["last"][:2]
    assert first | {"at": ""} == {
        "order": order_id[-6:].upper(),
        "sku": sale.sku,
        "quantity": -1,
        "amount_minor": -2392,
        "kind": "refund",
        "at": "",
    }
    assert (second["order"], second["quantity"]) == (first["order"], 1)


async def test_an_announcer_that_restarts_reads_the_books_in_pieces_and_shows_only_the_whole(
    database: Database, redis: Redis, sale: Sale, bus: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = Known()
    for _ in range(7):
        await sell(database, sale)
    await tick_once(database, redis, board)
    await sell(database, sale)
    monkeypatch.setattr("realtime.farmers.SEQS_PER_TICK_MAX", 3)
    again = Known()
    for _ in range(4):
        await tick_once(database, redis, again)
    topic = f"farmer/{sale.farmer_id}/sales"
    await until(lambda: len(bus.of(topic)) == 2)
    assert [frame["state"]["units"] for frame in bus.of(topic)] == [7, 8]
    assert (again.farmers.books, again.farmers.through) != (board.farmers.books, False)
    await tick_once(database, redis, again)
    assert len(bus.of(topic)) == 2


async def test_farmers_are_kept_apart(database: Database, redis: Redis, sale: Sale) -> None:
    async with database.begin() as sql:
        other = await make_product(sql, sale.farmer_id, sku="CHESTNUT")
        await make_offer(sql, sale.stream_id, other, sale.beneficiary_id)
        await sql.execute(
            text("INSERT INTO farmers (id, name, place) VALUES ('frm_2', 'Li', 'Luotian')")
        )
        await sql.execute(text("UPDATE products SET farmer_id = 'frm_2' WHERE sku = 'CHESTNUT'"))
        order_id = new_id("ord")
        await sql.execute(
            text(
                "INSERT INTO orders (id, stream_id, shopper_id, state, total_minor, currency, place, placed_at)"
                " VALUES (:id, :stream, 'shp_1', 'PAID', 900, 'CNY', 1, now())"
            ),
            {"id": order_id, "stream": sale.stream_id},
        )
        await post(
            sql,
            campaign_id=sale.campaign_id,
            stream_id=sale.stream_id,
            kind=CAPTURE,
            source_id="pi_1",
            order_id=order_id,
            currency="CNY",
            entries=[
                (accounts.STRIPE_CLEARING, 900),
                (accounts.farmer(sale.farmer_id), -300),
                (accounts.farmer("frm_2"), -600),
            ],
            lines=[(sale.sku, 3), ("CHESTNUT", 2)],
        )
    await tick_once(database, redis, Known())
    rows = await topics(database)
    mine, theirs = (rows[f"farmer/{one}/sales"].state for one in (sale.farmer_id, "frm_2"))
    assert (mine["units"], mine["income_minor"], mine["last"][0]["sku"]) == (3, 300, sale.sku)
    assert (theirs["units"], theirs["income_minor"], theirs["last"][0]["sku"]) == (
        2,
        600,
        "CHESTNUT",
    )
