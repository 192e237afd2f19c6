"""Posting is the only pen in the books: balanced, once a fact, and never in anybody's name."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy.exc import IntegrityError

from orders.ledger.leaf import commit, digest_source
from orders.ledger.post import (
    CAPTURE,
    DONATION,
    PLEDGE,
    REFUND,
    Posting,
    PostingError,
    post_many,
)
from stream_events.database import Database
from tests.factories import Sale
from tests.orders.payers import Placed, place, rows, run


def posting(
    placed: Placed, source_id: str = "pi_1", kind: str = CAPTURE, amount: int = 100
) -> Posting:
    sale = placed.sale
    entries = [("stripe/clearing", amount), ("platform/fees", -60), ("platform/fees", 60 - amount)]
    return Posting(
        sale.campaign_id,
        sale.stream_id,
        kind,
        source_id,
        placed.order_id,
        "CNY",
        entries,
        [(sale.sku, 1)],
    )


async def test_a_fact_posts_once_however_often_it_is_told(database: Database, sale: Sale) -> None:
    placed = await place(database, sale)
    async with database.begin() as sql:
        told = [posting(placed), posting(placed), posting(placed, kind=REFUND)]
        assert await post_many(sql, told) == [True, False, True]
    async with database.begin() as sql:
        assert await post_many(sql, [posting(placed, amount=999)]) == [False]
        assert await post_many(sql, []) == []
    assert await rows(
        database,
        "SELECT account, amount_minor, count(*) FROM ledger_entries GROUP BY 1, 2 ORDER BY 1",
    ) == [
        ("platform/fees", -100, 2),
        ("stripe/clearing", 100, 2),
    ]
    assert await rows(database, "SELECT count(*) FROM ledger_unsealed") == [(2,)]


async def test_two_at_once_post_one_fact_once(database: Database, sale: Sale) -> None:
    placed = await place(database, sale)

    async def once() -> bool:
        async with database.begin() as sql:
            return (await post_many(sql, [posting(placed)]))[0]

    assert sorted(await asyncio.gather(*(once() for _ in range(4)))) == [False, False, False, True]
    assert await rows(database, "SELECT count(*) FROM ledger_transactions") == [(1,)]


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [("stripe/clearing", 0)],
        [("stripe/clearing", 1)],
        [("stripe/clearing", 1), ("platform/fees", -2)],
        [("stripe/clearing", 1.0), ("platform/fees", -1.0)],
        [("stripe/clearing", True), ("platform/fees", -1)],
    ],
)
async def test_what_does_not_balance_is_not_posted_and_nothing_with_it(
    database: Database, sale: Sale, entries: list[tuple[str, int]]
) -> None:
    placed = await place(database, sale)
    bad = Posting(
        sale.campaign_id, sale.stream_id, CAPTURE, "pi_2", placed.order_id, "CNY", entries
    )
    async with database.begin() as sql:
        with pytest.raises(PostingError):
            await post_many(sql, [posting(placed), bad])
    assert await rows(database, "SELECT count(*) FROM ledger_transactions") == [(0,)]


async def test_unknown_accounts_and_kinds_are_refused(database: Database, sale: Sale) -> None:
    placed = await place(database, sale)
    with pytest.raises(ValueError, match="account"):
        Posting(
            "c",
            "s",
            CAPTURE,
            "pi",
            placed.order_id,
            "CNY",
            [("petty/cash", 1), ("platform/fees", -1)],
        ).amounts()
    with pytest.raises(PostingError, match="kind"):
        Posting(
            "c",
            "s",
            "gift",
            "pi",
            placed.order_id,
            "CNY",
            [("stripe/clearing", 1), ("platform/fees", -1)],
        ).amounts()


async def test_an_order_keeps_one_salt_and_its_commitment_proves_it(
    database: Database, sale: Sale
) -> None:
    placed = await place(database, sale)
    for number in range(2):
        async with database.begin() as sql:
            await post_many(sql, [posting(placed, f"pi_{number}")])
    [(salt,)] = await rows(database, "SELECT salt FROM order_salts")
    found = await rows(database, "SELECT DISTINCT commitment FROM ledger_transactions")
    assert found == [(commit(bytes(salt), placed.order_id),)]


@pytest.mark.parametrize("table", ["ledger_transactions", "ledger_entries"])
async def test_what_is_posted_cannot_be_changed_or_taken_out(
    database: Database, sale: Sale, table: str
) -> None:
    placed = await place(database, sale)
    async with database.begin() as sql:
        await post_many(sql, [posting(placed)])
    column = "currency = 'USD'" if table == "ledger_transactions" else "amount_minor = 1"
    for statement in (f"UPDATE {table} SET {column}", f"DELETE FROM {table}"):
        with pytest.raises(IntegrityError, match="append-only"):
            await run(database, statement)


async def test_what_is_of_no_order_is_posted_under_a_salt_that_nobody_keeps(
    database: Database, sale: Sale
) -> None:
    entries = [("platform/pledges", 7), ("pledge/plg_1", -7)]
    made = Posting(
        sale.campaign_id, sale.campaign_id, PLEDGE, "plg_1:0", None, sale.currency, entries
    )
    async with database.begin() as sql:
        assert await post_many(sql, [made]) == [True]
    assert await rows(database, "SELECT count(*) FROM order_salts") == [(0,)]
    [(order_id, commitment)] = await rows(
        database, "SELECT order_id, commitment FROM ledger_transactions"
    )
    assert order_id is None
    assert len(commitment) == 64
    assert commitment != digest_source("plg_1:0")


async def test_gifts_are_counted_on_gifts_alone(database: Database, sale: Sale) -> None:
    placed = await place(database, sale)
    gift = replace(posting(placed, kind=DONATION), lines=(), gifts=1)
    async with database.begin() as sql:
        await post_many(sql, [gift, posting(placed)])
    found = await rows(database, "SELECT kind, gifts FROM ledger_transactions ORDER BY kind")
    assert found == [("capture", 0), ("donation", 1)]
    with pytest.raises(PostingError, match="gift"):
        replace(posting(placed), gifts=1).amounts()
