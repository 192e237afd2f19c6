"""Pots in SQL: they move with the ledger, under their locks, whoever comes first."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from orders.ledger import post
from orders.ledger.post import Posting, post_many
from orders.matching import match_books
from stream_events.database import Database
from stream_events.ids import new_id
from tests.factories import Sale
from tests.orders.payers import place, rows, run
from tests.orders.test_matching import Giver


async def make_match(database: Database, sale: Sale, **given_: Any) -> str:
    """Write a match that covers gifts 1 : 1 from an hour ago on."""
    fields = {
        "id": new_id("mat"),
        "campaign_id": sale.campaign_id,
        "sponsor": "A mill",
        "covers": "gifts",
        "ratio_bp": 10_000,
        "pot_minor": 1_000,
        "position": 1,
        "starts_at": datetime.now(UTC) - timedelta(hours=1),
        **given_,
    }
    names = ", ".join(fields)
    values = ", ".join(f":{name}" for name in fields)
    await run(database, f"INSERT INTO matches ({names}) VALUES ({values})", **fields)
    return str(fields["id"])


async def giver_of(database: Database, sale: Sale, amount: int, shopper_id: str = "") -> Giver:
    placed = await place(database, sale, attempt=None, shopper_id=shopper_id)
    return Giver(
        {sale.beneficiary_id: amount},
        order_id=placed.order_id,
        shopper_id=placed.shopper_id,
        campaign_id=sale.campaign_id,
        stream_id=sale.stream_id,
        placed_at=datetime.now(UTC),
    )


async def save(database: Database, *givers: Giver) -> list[Posting]:
    async with database.begin() as sql:
        postings = await match_books(sql, givers)
        assert all(await post_many(sql, postings))
    for giver in givers:
        giver.keep(postings)
    return postings


POTS = "SELECT id, spent_minor FROM matches ORDER BY position, id"
USES = "SELECT order_id, base_minor, amount_minor, returned_minor FROM match_uses"


async def test_pots_uses_and_ledger_move_together(database: Database, sale: Sale) -> None:
    second = await make_match(database, sale, position=2, ratio_bp=5_000)
    first = await make_match(database, sale)
    giver = await giver_of(database, sale, 300)
    giver.told(post.DONATION, "pi_1")
    postings = await save(database, giver)
    assert [posting.source_id for posting in postings] == [f"pi_1:{first}", f"pi_1:{second}"]
    assert await rows(database, POTS) == [(first, 300), (second, 150)]
    giver.left_bp = 5_000
    giver.told(post.DONATION_REFUND, "re_1")
    await save(database, giver)
    assert await rows(database, POTS) == [(first, 150), (second, 75)]
    assert sorted(await rows(database, USES)) == [
        (giver.order_id, 300, 150, 75),
        (giver.order_id, 300, 300, 150),
    ]
    owed = "SELECT account, sum(amount_minor) FROM ledger_entries GROUP BY 1 ORDER BY 1"
    found = {account: int(minor) for account, minor in await rows(database, owed)}
    assert found == {
        f"beneficiary/{sale.beneficiary_id}": -225,
        f"sponsor/{first}": 150,
        f"sponsor/{second}": 75,
    }


async def test_a_pot_that_is_closed_or_empty_still_takes_back(
    database: Database, sale: Sale
) -> None:
    match_id = await make_match(database, sale, pot_minor=300)
    giver = await giver_of(database, sale, 300)
    giver.told(post.DONATION, "pi_1")
    await save(database, giver)
    await run(database, "UPDATE matches SET ends_at = now() - interval '30 min'")
    giver.left_bp = 0
    giver.told(post.DONATION_REFUND, "re_1")
    assert len(await save(database, giver)) == 1
    assert await rows(database, POTS) == [(match_id, 0)]


async def test_many_at_once_never_overdraw_a_pot_or_a_giver(database: Database, sale: Sale) -> None:
    await make_match(database, sale, pot_minor=1_000)
    await make_match(database, sale, position=2, pot_minor=10_000, per_giver_max_minor=250)
    shopper_id = new_id("shp")
    givers = [await giver_of(database, sale, 100, shopper_id) for _ in range(5)]
    givers += [await giver_of(database, sale, 110) for _ in range(11)]
    for number, giver in enumerate(givers):
        giver.told(post.DONATION, f"pi_{number}")
    halves = [givers[start::4] for start in range(4)]
    await asyncio.gather(*(save(database, *half) for half in halves))
    assert [spent for _, spent in await rows(database, POTS)] == [1_000, 250 + 11 * 110]
    per_giver = "SELECT sum(amount_minor) FROM match_uses u JOIN matches m ON m.id = u.match_id"
    own = f"{per_giver} WHERE shopper_id = :shopper AND m.position = 2"
    assert [int(minor) for (minor,) in await rows(database, own, shopper=shopper_id)] == [250]


async def test_the_giver_is_known_by_orders_of_other_days(database: Database, sale: Sale) -> None:
    await make_match(database, sale, per_giver_max_minor=250)
    shopper_id = new_id("shp")
    drawn = []
    for number in range(3):
        giver = await giver_of(database, sale, 100, shopper_id)
        giver.told(post.DONATION, f"pi_{number}")
        drawn += [dict(posting.entries) for posting in await save(database, giver)]
    assert [next(iter(entries.values())) for entries in drawn] == [100, 100, 50]


async def test_without_a_match_nothing_is_written(database: Database, sale: Sale) -> None:
    giver = await giver_of(database, sale, 100)
    giver.told(post.DONATION, "pi_1")
    assert await save(database, giver) == []
    await make_match(database, sale)
    giver.told(post.STRIPE_FEE, "pi_1")
    assert await save(database, giver) == []
    assert await rows(database, USES) == []
