"""Sealing numbers what is committed, without gaps, and moves the totals by exactly that."""

import asyncio

from orders.ledger import seal
from orders.ledger.leaf import Leaf, LeafKind, digest_source, encode
from orders.ledger.seal import SealedScope, seal_once
from orders.ledger.tree import leaf_hash
from orders.settlement import settle
from stream_events.database import Database
from tests.factories import Sale
from tests.orders.payers import Placed, place, rows


async def sold(database: Database, sale: Sale, count: int = 1) -> list[Placed]:
    placed = [await place(database, sale) for _ in range(count)]
    await settle(database, [each.payment(fee_minor=117) for each in placed])
    return placed


async def seal_now(database: Database) -> list[SealedScope]:
    async with database.begin() as sql:
        return await seal_once(sql)


async def test_totals_move_by_what_is_sealed_and_history_keeps_each(
    database: Database, sale: Sale
) -> None:
    await sold(database, sale, 2)
    assert await seal_now(database) == [
        SealedScope(sale.campaign_id, sale.campaign_id, 4, 898, 5980, 2, 2),
        SealedScope(sale.stream_id, sale.campaign_id, 4, 898, 5980, 2, 2),
    ]
    assert await seal_now(database) == []
    [placed] = await sold(database, sale)
    await settle(database, [placed.refund("re_1")])
    [scope, _] = await seal_now(database)
    assert (scope.seq, scope.raised_minor, scope.sales_minor, scope.orders, scope.units) == (
        7,
        898,
        5980,
        2,
        2,
    )
    history = await rows(
        database, "SELECT seq, raised_minor FROM tally_history ORDER BY seq, scope_id"
    )
    assert history == [(4, 898)] * 2 + [(7, 898)] * 2
    assert await rows(database, "SELECT size FROM ledger_heads") == [(7,)]


async def test_a_leaf_is_made_of_what_was_posted_and_of_nothing_personal(
    database: Database, sale: Sale
) -> None:
    [placed] = await sold(database, sale)
    await seal_now(database)
    query = """
        SELECT s.seq, s.leaf_hash, t.id, t.posted_at, t.commitment FROM seals s
        JOIN ledger_transactions t ON t.id = s.transaction_id WHERE t.kind = 'capture'
    """
    [(seq, sealed, transaction_id, posted_at, commitment)] = await rows(database, query)
    leaf = Leaf(
        origin=sale.campaign_id,
        seq=seq,
        transaction_id=transaction_id,
        kind=LeafKind.CAPTURE,
        posted_at_ms=int(posted_at.timestamp() * 1_000_000 + 0.5) // 1000,
        currency="CNY",
        stream_id=sale.stream_id,
        entries=(
            ("stripe/clearing", 2990),
            (f"farmer/{sale.farmer_id}", -2392),
            (f"beneficiary/{sale.beneficiary_id}", -449),
            ("platform/fees", -149),
        ),
        commitment=commitment,
        source_digest=digest_source(placed.payment_intent_id),
        lines=((sale.sku, 1),),
    )
    assert bytes(sealed) == leaf_hash(encode(leaf))
    for secret in (placed.order_id, placed.shopper_id, placed.payment_intent_id):
        assert secret.encode() not in encode(leaf)


async def test_sealers_and_settlers_at_once_leave_no_gap(database: Database, sale: Sale) -> None:
    placed = [await place(database, sale) for _ in range(24)]

    async def pay(some: list[Placed]) -> None:
        for each in some:
            await settle(database, [each.payment()])

    async def keep_sealing() -> None:
        for _ in range(12):
            await seal_now(database)

    await asyncio.gather(
        *(pay(placed[start::3]) for start in range(3)), keep_sealing(), keep_sealing()
    )
    await seal_now(database)
    numbers = await rows(database, "SELECT seq FROM seals ORDER BY seq")
    assert numbers == [(number,) for number in range(1, 25)]
    assert await rows(database, "SELECT orders, sales_minor FROM tallies") == [(24, 24 * 2990)] * 2
    assert await rows(database, "SELECT count(*) FROM ledger_unsealed") == [(0,)]


async def test_a_tick_seals_a_bounded_batch_and_the_next_goes_on(
    database: Database, sale: Sale, monkeypatch: object
) -> None:
    monkeypatch.setattr(seal, "BATCH_MAX", 3)  # type: ignore[attr-defined]
    await sold(database, sale, 2)
    assert [scope.seq for scope in await seal_now(database)] == [3, 3]
    assert [scope.seq for scope in await seal_now(database)] == [4, 4]
    assert await rows(database, "SELECT raised_minor FROM tallies") == [(898,), (898,)]
