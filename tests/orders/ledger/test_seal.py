"""Sealing numbers what is committed, without gaps, and moves the totals by exactly that."""

import asyncio
from dataclasses import replace

import pytest

from orders.ledger import post, seal
from orders.ledger.accrual import owed_minor
from orders.ledger.leaf import Leaf, LeafKind, digest_source, encode
from orders.ledger.post import Posting, post_many
from orders.ledger.seal import LEAF_KINDS, SealedScope, seal_once
from orders.ledger.tree import leaf_hash
from orders.settlement import settle
from stream_events.database import Database
from stream_events.ids import new_id
from tests.factories import Sale
from tests.orders.payers import Placed, place, rows, run


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
        SealedScope(sale.campaign_id, sale.campaign_id, 4, 898, 5980, 2, 2, 0, 0, 0),
        SealedScope(sale.stream_id, sale.campaign_id, 4, 898, 5980, 2, 2, 0, 0, 0),
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


def gift(sale: Sale, kind: str, source_id: str, amount: int, gifts: int = 0) -> Posting:
    return Posting(
        sale.campaign_id,
        sale.stream_id,
        kind,
        source_id,
        None,
        sale.currency,
        [("stripe/clearing", amount), (f"beneficiary/{sale.beneficiary_id}", -amount)],
        gifts=gifts,
    )


async def test_gifts_and_matches_are_parts_of_what_is_raised_and_nothing_else_is(
    database: Database, sale: Sale
) -> None:
    beneficiary, clearing = f"beneficiary/{sale.beneficiary_id}", "stripe/clearing"
    match = [("sponsor/mat_1", 150), (beneficiary, -150)]
    back = [(account, -amount) for account, amount in match]
    fee = [(clearing, -9), (beneficiary, 9)]
    payout = [("bank/clearing", -100), (beneficiary, 100)]
    due = [(clearing, 77), ("platform/due_back", -77)]
    of_campaign = replace(gift(sale, post.PAYOUT, "trf_1", 1), stream_id=sale.campaign_id)
    postings = [
        gift(sale, post.DONATION, "pi_1", 500, gifts=1),
        gift(sale, post.DONATION, "pi_2", 300, gifts=1),
        gift(sale, post.DONATION_REFUND, "re_1", -200),
        gift(sale, post.DONATION_DISPUTE, "dp_1", -100, gifts=-1),
        gift(sale, post.DONATION_REINSTATE, "dp_1", 100, gifts=1),
        gift(sale, post.DONATION_REFUND_FAILED, "re_1", 200),
        replace(gift(sale, post.MATCH, "pi_1:mat_1", 1), entries=match),
        replace(gift(sale, post.MATCH, "pi_2:mat_1", 1), entries=match),
        replace(gift(sale, post.MATCH_REVERSED, "re_1:mat_1", 1), entries=back),
        replace(gift(sale, post.STRIPE_FEE, "pi_1", 1), entries=fee),
        replace(gift(sale, post.SURPLUS, "pi_3", 1), entries=due),
        replace(of_campaign, entries=payout),
    ]
    async with database.begin() as sql:
        await post_many(sql, postings)
    assert await seal_now(database) == [
        SealedScope(sale.campaign_id, sale.campaign_id, 12, 950, 0, 0, 0, 2, 800, 150),
        SealedScope(sale.stream_id, sale.campaign_id, 11, 950, 0, 0, 0, 2, 800, 150),
    ]
    columns = "seq, raised_minor, sales_minor, orders, units, gifts, gifts_minor, matched_minor"
    for table in ("tallies", "tally_history"):
        found = await rows(database, f"SELECT {columns} FROM {table} ORDER BY scope_id")
        assert found == [(seq, 950, 0, 0, 0, 2, 800, 150) for seq in (12, 11)]


async def test_orders_are_counted_as_the_postings_say_and_units_by_their_lines(
    database: Database, sale: Sale
) -> None:
    bought = replace(
        gift(sale, post.CAPTURE, "pi_1", 6), gifts=0, orders=1, lines=[(sale.sku, 3), ("SAUCE", 2)]
    )
    part = replace(bought, kind=post.REFUND, source_id="re_1", orders=0, lines=[(sale.sku, 1)])
    async with database.begin() as sql:
        await post_many(sql, [bought, part])
    [campaign, _] = await seal_now(database)
    assert (campaign.orders, campaign.units) == (1, 4)
    async with database.begin() as sql:
        rest = replace(part, source_id="re_2", orders=-1, lines=[(sale.sku, 2), ("SAUCE", 2)])
        failed = replace(rest, kind=post.REFUND_FAILED, orders=1)
        await post_many(sql, [rest, failed])
    [campaign, _] = await seal_now(database)
    assert (campaign.orders, campaign.units) == (1, 4)


async def test_a_transaction_of_no_stream_counts_once(database: Database, sale: Sale) -> None:
    given = gift(sale, post.DONATION, "pi_1", 500, gifts=1)
    async with database.begin() as sql:
        await post_many(sql, [replace(given, stream_id=sale.campaign_id)])
    assert await seal_now(database) == [
        SealedScope(sale.campaign_id, sale.campaign_id, 1, 500, 0, 0, 0, 1, 500, 0)
    ]


def test_a_posting_is_published_under_its_own_word_and_only_the_fee_under_an_older_one() -> None:
    assert {kind: word.value for kind, word in LEAF_KINDS.items() if kind != word.value} == {
        "stripe_fee": "fee"
    }
    assert LEAF_KINDS.keys() == post.KINDS


async def pledge(database: Database, sale: Sale, bp: int, base_minor: int = 0) -> str:
    made = {"id": new_id("plg"), "campaign": sale.campaign_id, "ben": sale.beneficiary_id}
    await run(
        database,
        "INSERT INTO pledges (id, campaign_id, beneficiary_id, name, bp, base_minor)"
        " VALUES (:id, :campaign, :ben, 'A part of all sales', :bp, :base)",
        **made,
        bp=bp,
        base=base_minor,
    )
    return made["id"]


async def owed(database: Database, pledge_id: str) -> tuple[int, int]:
    """Return what the pledge's row says and what the ledger says."""
    found = await rows(
        database,
        "SELECT accrued_minor, (SELECT coalesce(-sum(amount_minor), 0) FROM ledger_entries"
        "  WHERE account = 'pledge/' || p.id) FROM pledges p WHERE id = :id",
        id=pledge_id,
    )
    return int(found[0][0]), int(found[0][1])


async def test_pledges_follow_the_sales_to_the_last_minor_unit_and_are_sealed_with_them(
    database: Database, sale: Sale
) -> None:
    small, late = await pledge(database, sale, 30), await pledge(database, sale, 1000, 5980)
    await sold(database, sale)
    await seal_now(database)
    # 0.3 % of 29.90 is 8.97: nothing is owed that has not come in whole.
    assert await owed(database, small) == (8, 8)
    assert await owed(database, late) == (-299, -299)
    [placed, _] = await sold(database, sale, 2)
    [campaign, stream] = await seal_now(database)
    assert await owed(database, small) == (26, 26)
    assert await owed(database, late) == (299, 299)
    # Two orders, two fees; two pledges after them, in the campaign's log alone.
    assert (campaign.seq, stream.seq, campaign.sales_minor) == (10, 8, 8970)
    assert campaign.raised_minor == stream.raised_minor
    await settle(database, [placed.refund("re_1")])
    await seal_now(database)
    assert await owed(database, small) == (17, 17)
    assert await owed(database, late) == (0, 0)
    assert await seal_now(database) == []
    sources = await rows(
        database,
        "SELECT t.source_id, s.seq FROM ledger_transactions t JOIN seals s ON s.transaction_id = t.id"
        " WHERE t.kind = 'pledge' ORDER BY s.seq",
    )
    assert [(source.split(":")[1], seq) for source, seq in sources] == [
        (str(seq - 1), seq) for seq in (3, 4, 9, 10, 12, 13)
    ]
    assert await rows(database, "SELECT count(*) FROM ledger_unsealed") == [(0,)]


@pytest.mark.parametrize(
    ("sales", "base", "bp", "owed_"),
    [(999, 0, 10, 0), (1000, 0, 10, 1), (0, 1, 1, -1), (5, 5, 10_000, 0), (7, 0, 10_000, 7)],
)
def test_a_pledge_is_rounded_down(sales: int, base: int, bp: int, owed_: int) -> None:
    assert owed_minor(sales, base, bp) == owed_


async def test_a_tick_seals_a_bounded_batch_and_the_next_goes_on(
    database: Database, sale: Sale, monkeypatch: object
) -> None:
    monkeypatch.setattr(seal, "BATCH_MAX", 3)  # type: ignore[attr-defined]
    await sold(database, sale, 2)
    assert [scope.seq for scope in await seal_now(database)] == [3, 3]
    assert [scope.seq for scope in await seal_now(database)] == [4, 4]
    assert await rows(database, "SELECT raised_minor FROM tallies") == [(898,), (898,)]
