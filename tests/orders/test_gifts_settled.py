"""Gifts, shipping and returns by part through SQL: what is posted, what is put back on sale, and what is left."""

import asyncio
import random

import pytest
from sqlalchemy import text

from inventory.guard import restock
from orders.payments.facts import PaymentFact
from orders.rulings import Fact
from orders.settlement import settle
from stream_events.database import Database
from tests.factories import Sale, make_beneficiary
from tests.orders.payers import (
    Placed,
    add_attempt,
    books,
    net,
    place,
    rows,
    run,
    settled,
    state_of,
    stock,
)


async def cause(database: Database) -> str:
    async with database.begin() as sql:
        return (await make_beneficiary(sql)).id


async def ask(database: Database, placed: Placed, **given: object) -> str:
    """Write a refund as the route does; return its id."""
    refund_id = f"rfd_{random.getrandbits(64):016x}"
    fields = {
        "id": refund_id,
        "order_id": placed.order_id,
        "payment_intent_id": placed.payment_intent_id,
        "reason": "quality",
        **given,
    }
    lines = fields.pop("lines", "[]")
    names = ", ".join(fields)
    await run(
        database,
        f"INSERT INTO refunds ({names}, lines) VALUES ({', '.join(f':{name}' for name in fields)},"
        " CAST(:lines AS jsonb))",
        **fields,
        lines=lines,
    )
    return refund_id


async def moves(database: Database) -> list[tuple[str, int, int]]:
    return await rows(
        database, "SELECT kind, n, quantity FROM stock_moves WHERE kind = 'T' ORDER BY n"
    )


async def test_one_payment_is_posted_for_goods_and_for_gifts(
    database: Database, sale: Sale
) -> None:
    other = await cause(database)
    placed = await place(
        database,
        sale,
        quantity=2,
        shipping_minor=600,
        gifts=[(other, 1000), (sale.beneficiary_id, 20)],
    )
    await settle(database, [placed.payment(fee_minor=300)])
    assert await state_of(database, placed) == ("PAID", 7600, 0, 0)
    assert await books(database) == {
        "capture": {
            "stripe/clearing": 6580,
            f"farmer/{sale.farmer_id}": -4784,
            f"beneficiary/{sale.beneficiary_id}": -897,
            "platform/fees": -299,
            "platform/shipping": -600,
        },
        "donation": {
            "stripe/clearing": 1020,
            f"beneficiary/{other}": -1000,
            f"beneficiary/{sale.beneficiary_id}": -20,
        },
        "stripe_fee": {"stripe/fees": 300, "stripe/clearing": -300},
    }
    found = await rows(
        database,
        "SELECT kind, source_id, orders, gifts FROM ledger_transactions ORDER BY kind LIMIT 2",
    )
    assert found == [
        ("capture", placed.payment_intent_id, 1, 0),
        ("donation", placed.payment_intent_id, 0, 1),
    ]


@pytest.mark.parametrize("state", ["AWAITING_PAYMENT", "EXPIRED", "EXPIRING"])
async def test_money_for_a_gift_is_taken_whenever_it_comes(
    database: Database, sale: Sale, state: str
) -> None:
    placed = await place(database, sale, state, quantity=0, gifts=[(sale.beneficiary_id, 5000)])
    await run(database, "UPDATE stock SET total = 0")
    assert await settled(database, placed.payment(), placed.payment()) == [
        ("applied", ""),
        ("known", ""),
    ]
    assert await state_of(database, placed) == ("PAID", 5000, 0, 0)
    assert set(await books(database)) == {"donation"}
    assert await rows(database, "SELECT 1 FROM stock_moves") == []


async def test_a_gift_that_was_never_paid_expires_without_stock(
    database: Database, sale: Sale
) -> None:
    placed = await place(
        database, sale, "EXPIRING", quantity=0, gifts=[(sale.beneficiary_id, 5000)]
    )
    await settle(database, [placed.payment("canceled")])
    assert (await state_of(database, placed))[0] == "EXPIRED"
    assert await rows(database, "SELECT 1 FROM stock_moves") == []


async def test_late_money_without_stock_goes_back_whole_with_its_gifts(
    database: Database, sale: Sale
) -> None:
    placed = await place(database, sale, "EXPIRED", gifts=[(sale.beneficiary_id, 500)])
    await run(database, "UPDATE stock SET total = 0")
    await settle(database, [placed.payment()])
    assert await books(database) == {
        "surplus": {"stripe/clearing": 3490, "platform/due_back": -3490}
    }
    assert await rows(database, "SELECT reason, amount_minor FROM refunds") == [
        ("late_no_stock", 3490)
    ]
    # A bank that takes it instead ends it as well.
    await settle(database, [placed.dispute("dp_1", "lost")])
    assert await state_of(database, placed) == ("REFUNDED", 3490, 0, 3490)
    assert await net(database) == {}


async def test_units_go_back_one_by_one_with_their_shares_and_their_stock(
    database: Database, sale: Sale
) -> None:
    placed = await place(database, sale, quantity=3, gifts=[(sale.beneficiary_id, 700)])
    await settle(database, [placed.payment()])
    one = f'[["{sale.sku}", 1, 2990]]'
    first = await ask(database, placed, amount_minor=2990, gift_minor=0, lines=one, restock=True)
    await settle(
        database, [placed.refund("re_1", amount_minor=2990, metadata={"refund_id": first})] * 2
    )
    assert await moves(database) == [("T", 1, 1)]
    assert await stock(database) == (0, 2)
    second = await ask(database, placed, amount_minor=2990, gift_minor=0, lines=one, restock=True)
    third = await ask(database, placed, amount_minor=3690, restock=True)
    facts = [
        placed.refund("re_2", amount_minor=2990, metadata={"refund_id": second}),
        placed.refund("re_3", amount_minor=3690, metadata={"refund_id": third}),
    ]
    assert await settled(database, *facts, *facts) == [("applied", "")] * 2 + [("known", "")] * 2
    assert await moves(database) == [("T", 1, 1), ("T", 2, 2)]
    assert await stock(database) == (0, 0)
    assert await state_of(database, placed) == ("REFUNDED", 9670, 9670, 0)
    assert await net(database) == {}
    found = await rows(
        database,
        "SELECT kind, orders, gifts, lines FROM ledger_transactions"
        " WHERE kind LIKE '%refund' ORDER BY posted_at, id",
    )
    assert sorted(found[:1] + found[1:], key=str) == sorted(
        [
            ("refund", 0, 0, [[sale.sku, 1]]),
            ("refund", 0, 0, [[sale.sku, 1]]),
            ("refund", -1, 0, [[sale.sku, 1]]),
            ("donation_refund", 0, -1, []),
        ],
        key=str,
    )


async def test_a_gift_goes_back_alone(database: Database, sale: Sale) -> None:
    placed = await place(database, sale, gifts=[(sale.beneficiary_id, 700)])
    await settle(database, [placed.payment()])
    refund_id = await ask(database, placed, amount_minor=700, gift_minor=700)
    await settle(
        database, [placed.refund("re_1", amount_minor=700, metadata={"refund_id": refund_id})]
    )
    assert (await net(database))["stripe/clearing"] == 2990
    assert (await state_of(database, placed))[0] == "PART_REFUNDED"
    assert await stock(database) == (0, 1)
    failed = placed.refund("re_1", "failed", amount_minor=700, metadata={"refund_id": refund_id})
    await settle(database, [failed])
    assert (await net(database))["stripe/clearing"] == 3690
    assert (await state_of(database, placed))[0] == "REFUND_FAILED"


async def test_what_a_dispute_costs_and_gets_back_is_booked_beside_it(
    database: Database, sale: Sale
) -> None:
    placed = await place(database, sale)
    await settle(database, [placed.payment()])
    opened = placed.dispute("dp_1", "needs_response", fee_minor=1500)
    won = placed.dispute("dp_1", "won", fee_minor=0)
    assert await settled(database, opened, opened, won, won) == [
        ("applied", "open"),
        ("known", ""),
        ("applied", "won"),
        ("known", ""),
    ]
    assert (await net(database)).get("stripe/fees") is None
    fees = await rows(
        database, "SELECT source_id FROM ledger_transactions WHERE kind = 'stripe_fee' ORDER BY 1"
    )
    assert fees == [("dp_1",), ("dp_1:won",)]
    assert await rows(database, "SELECT id, state, amount_minor FROM disputes") == [
        ("dp_1", "WON", 2990)
    ]


async def test_a_lost_dispute_is_known_without_its_event(database: Database, sale: Sale) -> None:
    """The reconciler tells facts without events: the books must know by themselves how a dispute ended."""
    placed = await place(database, sale)
    await settle(database, [placed.payment()])
    await settle(database, [placed.dispute("dp_1", "lost", amount_minor=1000)])
    assert (await state_of(database, placed))[0] == "PART_REFUNDED"
    assert await settled(database, placed.dispute("dp_1", "lost", amount_minor=1000)) == [
        ("known", "")
    ]
    await settle(database, [placed.refund("re_1", amount_minor=1990)])
    assert (await state_of(database, placed))[0] == "REFUNDED"


async def test_samples_of_all_orders_come_to_one_end_in_sql_too(
    database: Database, sale: Sale
) -> None:
    other, ends = await cause(database), set()
    chance = random.Random(22)
    for together in (True, False) * 12:
        placed = await place(database, sale, quantity=2, gifts=[(other, 1000)], attempt="CREATING")
        line = f'[["{sale.sku}", 1, 2990]]'
        name = placed.order_id
        first = await ask(
            database, placed, amount_minor=2990, gift_minor=0, lines=line, restock=True
        )
        facts: list[Fact] = [
            placed.payment("requires_action"),
            placed.payment(fee_minor=200),
            placed.refund(f"re_1{name}", amount_minor=2990, metadata={"refund_id": first}),
            placed.refund(f"re_2{name}", amount_minor=1111),
            placed.refund(f"re_2{name}", "failed", amount_minor=1111),
            placed.dispute(f"dp_{name}", "needs_response", amount_minor=500),
            placed.dispute(f"dp_{name}", "won", amount_minor=500),
        ]
        chance.shuffle(facts)
        # What rests on the payment comes after it, as the loop of settlement sees to.
        told: list[Fact] = []
        for fact in facts:
            proof = [] if isinstance(fact, PaymentFact) else [placed.payment(fee_minor=200)]
            told += [*proof, fact, fact]
        if together:
            await settle(database, told)
        else:
            for fact in told:
                await settle(database, [fact])
        found = await rows(
            database,
            "SELECT e.account, sum(e.amount_minor) FROM ledger_entries e"
            " JOIN ledger_transactions t ON t.id = e.transaction_id WHERE t.order_id = :id"
            " GROUP BY 1 HAVING sum(e.amount_minor) <> 0 ORDER BY 1",
            id=placed.order_id,
        )
        ends.add((await state_of(database, placed), tuple(found)))
    assert len(ends) == 1, ends
    assert next(iter(ends))[0] == ("REFUND_FAILED", 6980, 2990, 0)
    assert await stock(database) == (0, 24)


async def test_restocking_stops_at_what_was_sold(database: Database, sale: Sale) -> None:
    placed = await place(database, sale, quantity=3)
    waiting = await place(database, sale)
    await settle(database, [placed.payment()])

    async def back(order_id: str, lines: dict[str, int] | None) -> None:
        async with database.begin() as sql:
            await restock(sql, order_id, lines)

    await back(waiting.order_id, None)
    await back(placed.order_id, {sale.sku: 1, "OTHER": 5})
    await back(placed.order_id, {sale.sku: 9})
    await back(placed.order_id, None)
    assert await moves(database) == [("T", 1, 1), ("T", 2, 2)]
    assert await stock(database) == (1, 0)
    assert await rows(database, "SELECT rel_seq FROM stream_gate") == [(2,)]


async def test_restocks_and_sales_at_once_neither_deadlock_nor_mix(
    database: Database, sale: Sale
) -> None:
    paid = [await place(database, sale) for _ in range(8)]
    await settle(database, [each.payment() for each in paid])
    waiting = [await place(database, sale) for _ in range(8)]
    facts: list[Fact] = []
    for number, (back, new) in enumerate(zip(paid, waiting, strict=True)):
        refund_id = await ask(database, back, amount_minor=2990, restock=True)
        facts += [
            back.refund(f"re_{number}", metadata={"refund_id": refund_id}),
            new.payment(),
        ]
    found = await asyncio.gather(*(settle(database, facts[shift::4]) for shift in range(4)))
    assert {outcome.result.value for outcomes in found for outcome in outcomes} == {"applied"}
    assert await stock(database) == (0, 8)
    async with database.begin() as sql:
        numbers = list(
            await sql.scalars(
                text("SELECT rel_seq FROM stock_moves WHERE rel_seq IS NOT NULL ORDER BY 1")
            )
        )
    assert numbers == list(range(1, 9))


async def test_a_second_success_is_due_back_beside_the_first(
    database: Database, sale: Sale
) -> None:
    placed = await place(database, sale, gifts=[(sale.beneficiary_id, 10)])
    await add_attempt(database, placed, 2, "REQUIRES_ACTION", "pi_second")
    await settle(database, [placed.payment(), placed.payment(payment_intent_id="pi_second")])
    assert (await net(database))["platform/due_back"] == -3000
    await settle(database, [placed.refund("re_1", payment_intent_id="pi_second")])
    assert "platform/due_back" not in await net(database)
    assert await state_of(database, placed) == ("PAID", 3000, 0, 0)
