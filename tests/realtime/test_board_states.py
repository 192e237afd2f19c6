"""Tonight, farmers and matches are what the books say, whatever was sold, given back and floored before."""

import random
from collections import defaultdict
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from orders.giving_tables import Match
from orders.ledger import accounts
from orders.ledger.post import CAPTURE, DONATION, REFUND, post
from realtime.announcer import Known, tick_once
from realtime.board_tables import Board, Milestone
from realtime.boards import put_up
from realtime.frames import part_of
from realtime.shapes import SHAPES
from stream_events.database import Database
from stream_events.ids import new_id
from tests.factories import Sale, make_farmer, make_offer, make_product, make_stream
from tests.realtime.announced import run_sql, sell, topics

# From the ledger itself, without any tally: what was sealed of the stream after a number, up to another.
LEDGER = text("""
SELECT coalesce(-sum(e.amount_minor) FILTER (WHERE e.account LIKE 'beneficiary/%'), 0) AS raised_minor,
       coalesce(sum(e.amount_minor) FILTER (
           WHERE e.account = 'stripe/clearing' AND t.kind IN ('capture', 'refund')), 0) AS sales_minor,
       coalesce(-sum(e.amount_minor) FILTER (
           WHERE e.account LIKE 'beneficiary/%' AND t.kind = 'donation'), 0) AS gifts_minor
FROM seals s JOIN ledger_transactions t ON t.id = s.transaction_id
JOIN ledger_entries e ON e.transaction_id = t.id
WHERE t.stream_id = :stream AND s.seq > :since AND s.seq <= :upto
""")
UNITS = text("""
SELECT coalesce(sum(CASE t.kind WHEN 'capture' THEN 1 WHEN 'refund' THEN -1 ELSE 0 END * CAST(line ->> 1 AS int)), 0)
FROM seals s JOIN ledger_transactions t ON t.id = s.transaction_id, jsonb_array_elements(t.lines) line
WHERE t.stream_id = :stream AND s.seq > :since AND s.seq <= :upto
""")
FARMERS = text("""
SELECT substring(e.account FROM 8) AS id, -sum(e.amount_minor) AS income_minor
FROM seals s JOIN ledger_transactions t ON t.id = s.transaction_id
JOIN ledger_entries e ON e.transaction_id = t.id AND e.account LIKE 'farmer/%'
WHERE t.stream_id = :stream AND s.seq <= :upto GROUP BY 1
""")


async def _state(database: Database, sale: Sale, part: str) -> Any:
    return (await topics(database))[f"stream/{sale.stream_id}/{part}"].state


async def _give(database: Database, sale: Sale, amount_minor: int) -> None:
    order_id = new_id("ord")
    async with database.begin() as sql:
        await sql.execute(
            text(
                "INSERT INTO orders (id, stream_id, shopper_id, state, total_minor, currency, place, placed_at, kind)"
                " VALUES (:id, :stream, 'shp_1', 'PAID', :total, 'CNY', 1, now(), 'gift')"
            ),
            {"id": order_id, "stream": sale.stream_id, "total": amount_minor},
        )
        await post(
            sql,
            gifts=1,
            campaign_id=sale.campaign_id,
            stream_id=sale.stream_id,
            kind=DONATION,
            source_id=new_id("pi"),
            order_id=order_id,
            currency="CNY",
            entries=[
                (accounts.STRIPE_CLEARING, amount_minor),
                (accounts.beneficiary(sale.beneficiary_id), -amount_minor),
            ],
            lines=[],
        )


@pytest.mark.parametrize("seed", range(3))
async def test_tonight_is_what_the_ledger_adds_up_to_since_the_floor(
    database: Database, redis: Redis, sale: Sale, seed: int
) -> None:
    chance, known = random.Random(seed), Known()
    sold: list[tuple[str, int]] = []
    for _ in range(40):
        match chance.choice(("sell", "sell", "refund", "give", "floor", "unfloor", "tick")):
            case "sell":
                quantity = chance.randint(1, 5)
                sold.append((await sell(database, sale, quantity), quantity))
            case "refund" if sold:
                order_id, quantity = sold.pop(chance.randrange(len(sold)))
                await sell(database, sale, quantity, REFUND, order_id=order_id)
            case "give":
                await _give(database, sale, chance.randint(1, 9_999))
            case "floor":
                seq = text("SELECT coalesce((SELECT seq FROM tallies WHERE scope_id = :id), 0)")
                async with database.begin() as sql:
                    floor = await sql.scalar(seq, {"id": sale.stream_id})
                    at = await sql.scalar(text("SELECT now()"))
                    await put_up(sql, sale.stream_id, floor_seq=floor, floor_at=at)
            case "unfloor":
                async with database.begin() as sql:
                    await put_up(sql, sale.stream_id, floor_seq=None, floor_at=None)
            case _:
                continue
        await tick_once(database, redis, known)
        tonight = await _state(database, sale, "tonight")
        given = {
            "stream": sale.stream_id,
            "since": tonight["since_seq"],
            "upto": tonight["seq"],
        }
        async with database.begin() as sql:
            found = (await sql.execute(LEDGER, given)).one()._asdict()
            units = await sql.scalar(UNITS, given)
        assert {name: tonight[name] for name in found} == found
        assert tonight["units"] == units


async def test_farmers_are_what_the_ledger_credits_in_this_stream(
    database: Database, redis: Redis, sale: Sale
) -> None:
    known = Known()
    async with database.begin() as sql:
        other = await make_farmer(sql, name="Li", name_zh=None, place="Luotian")
        product = await make_product(sql, other.id, sku="CHESTNUT")
        await make_offer(sql, sale.stream_id, product, sale.beneficiary_id)
    await tick_once(database, redis, known)
    expected: defaultdict[str, int] = defaultdict(int)
    order_id = await sell(database, sale, 4)
    await sell(database, sale, 1)
    await tick_once(database, redis, known)
    await sell(database, sale, 4, REFUND, order_id=order_id)
    await tick_once(database, redis, known)
    for books in (known, Known()):
        # As it was read bit by bit, and all at once by whoever starts now.
        await run_sql(database, "UPDATE streams SET title = title || '.'")
        await tick_once(database, redis, books)
        state = await _state(database, sale, "farmers")
        async with database.begin() as sql:
            given = {"stream": sale.stream_id, "upto": state["seq"]}
            expected.update({row.id: row.income_minor for row in await sql.execute(FARMERS, given)})
        items = {item["id"]: item for item in state["items"]}
        assert {one: item["income_minor"] for one, item in items.items()} == {
            sale.farmer_id: expected[sale.farmer_id],
            other.id: 0,
        }
        assert (items[sale.farmer_id]["units"], items[other.id]["units"]) == (1, 0)
        assert items[other.id]["skus"] == ["CHESTNUT"]
        assert state["seq"] == 3


async def test_books_that_lag_behind_the_tally_show_no_farmers(
    database: Database, redis: Redis, sale: Sale
) -> None:
    """Another announcer sealed: until we have read on, our farmers would stand under a number they are not of."""
    lagging, other = Known(), Known()
    await tick_once(database, redis, lagging)
    await sell(database, sale, 2)
    await tick_once(database, redis, other)
    lagging.reread_due += 1_000
    await tick_once(database, redis, lagging)
    state = await _state(database, sale, "farmers")
    assert (state["seq"], state["items"][0]["units"]) == (1, 2)


async def _match(database: Database, sale: Sale, **given: Any) -> str:
    fields: dict[str, Any] = {
        "id": new_id("mat"),
        "campaign_id": sale.campaign_id,
        "sponsor": "Golden Mill",
        "covers": "gifts",
        "ratio_bp": 10_000,
        "pot_minor": 1_000,
        "position": 1,
        **given,
    }
    starts, ends = fields.pop("starts", "now()"), fields.pop("ends", "NULL")
    async with database.begin() as sql:
        fields["starts_at"] = await sql.scalar(text(f"SELECT {starts}"))
        fields["ends_at"] = await sql.scalar(text(f"SELECT CAST({ends} AS timestamptz)"))
        sql.add(Match(**fields))
    return str(fields["id"])


async def test_matches_are_those_of_the_stream_in_the_order_they_are_drawn_from(
    database: Database, redis: Redis, sale: Sale
) -> None:
    hour = "interval '1 hour'"
    campaign_wide = await _match(database, sale, position=2)
    own = await _match(database, sale, position=1, stream_id=sale.stream_id)
    to_come = await _match(database, sale, position=3, starts=f"now() + {hour}")
    over = await _match(
        database, sale, position=4, starts=f"now() - {hour}", ends="now() - interval '1 minute'"
    )
    await _match(database, sale, starts=f"now() - 3 * {hour}", ends=f"now() - 2 * {hour}")
    async with database.begin() as sql:
        other = await make_stream(sql, sale.campaign_id, sale.host_id)
    await _match(database, sale, stream_id=other.id)
    known = Known()
    await tick_once(database, redis, known)
    items = (await _state(database, sale, "matches"))["items"]
    assert [item["id"] for item in items] == [own, campaign_wide, to_come, over]
    assert [item["on"] for item in items] == [True, True, False, False]
    # What settlement draws from a pot is sealed with a new tally: that alone must bring the pots up to date.
    known.sweep_due += 1_000
    await run_sql(database, "UPDATE matches SET spent_minor = 1000 WHERE id = :id", id=own)
    await sell(database, sale)
    await tick_once(database, redis, known)
    first = (await _state(database, sale, "matches"))["items"][0]
    assert (first["left_minor"], first["on"]) == (0, False)


async def test_a_tick_that_broke_leaves_nothing_that_is_taken_for_read(
    database: Database, redis: Redis, sale: Sale, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = await _match(database, sale)
    known = Known()
    await tick_once(database, redis, known)
    known.sweep_due += 1_000
    await sell(database, sale)
    with monkeypatch.context() as broken:
        broken.setattr("realtime.board_states._POTS", text("SELECT 1 / 0, :streams, :pots_max"))
        with pytest.raises(DBAPIError):
            await tick_once(database, redis, known)
    await tick_once(database, redis, known)
    assert [item["id"] for item in (await _state(database, sale, "matches"))["items"]] == [own]


async def test_every_state_has_its_shape(database: Database, redis: Redis, sale: Sale) -> None:
    known = Known()
    await tick_once(database, redis, known)
    await _match(database, sale, sponsor_zh="金磨坊", ends="now() + interval '1 hour'")
    async with database.begin() as sql:
        sql.add(
            Milestone(
                id=new_id("mst"), stream_id=sale.stream_id, counts="money", threshold=1, title="A"
            )
        )
        at = await sql.scalar(text("SELECT now()"))
        sql.add(
            Board(
                stream_id=sale.stream_id,
                pinned_sku=sale.sku,
                timer_what="closes",
                timer_at=at,
                floor_seq=0,
                floor_at=at,
            )
        )
    await sell(database, sale, kind=CAPTURE)
    known.sweep_due = 0
    await tick_once(database, redis, known)
    rows = await topics(database)
    parts = {part_of(topic) for topic in rows}
    assert parts >= {"tally", "tonight", "stock", "status", "board", "milestones", "matches"}
    for topic, row in rows.items():
        state = msgspec.convert(row.state, SHAPES[part_of(topic)], strict=True)
        assert msgspec.to_builtins(state) == row.state
    (step,) = (await _state(database, sale, "milestones"))["items"]
    assert step["reached_at"] is not None
    assert (await _state(database, sale, "matches"))["items"][0]["sponsor_zh"] == "金磨坊"
