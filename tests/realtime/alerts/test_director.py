"""What goes on air, when, and what becomes of it: the director on PostgreSQL, by a clock that the test turns."""

from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from orders.ledger.post import REFUND
from realtime import announcer
from realtime.alerts.airing import mark_shown
from realtime.alerts.director import Round, tick_once
from realtime.alerts.tables import Airing
from realtime.alerts.waiting import drop_late
from realtime.shapes import Alerts
from realtime.topics import read_states
from stream_events.database import Database
from tests.factories import Sale
from tests.realtime.alerts.paid import (
    Paid,
    after,
    airings,
    judge,
    pay,
    run_sql,
    turns,
)
from tests.realtime.announced import sell


class Night:
    """A director that can be killed at any moment, an overlay that says what it shows, and their clock."""

    def __init__(self, database: Database, redis: Redis, sale: Sale) -> None:
        self.database, self.redis, self.sale = database, redis, sale
        self.round = Round()

    async def tick(self, seconds: float) -> None:
        await tick_once(self.database, self.redis, self.round, after(seconds), slow=True)

    async def state(self, group: str = "main") -> Alerts:
        topic = f"stream/{self.sale.stream_id}/alerts/{group}"
        async with self.database.begin() as sql:
            stored = (await read_states(sql, [topic]))[topic]
        return msgspec.convert(stored[2], Alerts)

    async def on_air(self, group: str = "main") -> Any:
        return (await self.state(group)).on_air

    async def show(self, seconds: float, group: str = "main") -> bool:
        """Say that an overlay shows what is on air."""
        on_air = await self.on_air(group)
        async with self.database.begin() as sql:
            airing = await sql.get(Airing, on_air.id)
            assert airing is not None
            return await mark_shown(sql, airing, after(seconds))

    async def set(self, group: str = "main", **fields: Any) -> None:
        await self.tick(0)
        columns = ", ".join(f"{name} = :{name}" for name in fields)
        statement = f"UPDATE alert_groups SET {columns} WHERE name = :group"
        await run_sql(self.database, statement, group=group, **fields)

    async def pay(self, *orders: Paid) -> list[str]:
        return await pay(self.database, self.sale, orders)


@pytest.fixture
def night(database: Database, redis: Redis, sale: Sale) -> Night:
    return Night(database, redis, sale)


async def test_a_payment_is_on_air_with_the_next_tick_and_off_after_its_time(night: Night) -> None:
    await night.tick(0)
    assert (await night.state()).on_air is None
    (order_id,) = await night.pay(Paid(after(1), units=3, amount_minor=8970, shipping_minor=1000))
    await night.tick(1.1)
    on_air = await night.on_air()
    assert (on_air.kind, on_air.units, on_air.amount_minor) == ("order", 3, 8970)
    assert (on_air.sku, on_air.count, on_air.shown, on_air.name) == ("PEANUT-5KG", 1, False, None)
    assert await night.show(1.5)
    assert not await night.show(1.6)
    await night.tick(1.7)
    assert (await night.on_air()).shown
    await night.tick(7.2)
    assert (await night.on_air()) is None
    (airing,) = await airings(night.database)
    assert (airing.outcome, airing.paid_to_shown_ms) == ("SHOWN", 500)
    (turn,) = await turns(night.database)
    assert (turn.state, turn.order_id, turn.airing_id) == ("TAKEN", order_id, airing.id)


async def test_parts_of_one_order_are_one_alert_even_if_sealed_apart(night: Night) -> None:
    await night.set(large_minor=5000)
    together = Paid(after(1), amount_minor=2990, gift_minor=5000)
    await night.pay(together, Paid(after(1), sku=None, gift_minor=700))
    await night.tick(1.1)
    on_air = await night.on_air()
    assert (on_air.kind, on_air.amount_minor, on_air.units) == ("order", 7990, 1)
    apart = Paid(after(1.2))
    await night.pay(apart)
    await night.tick(1.3)
    await night.pay(Paid(after(1.2), sku=None, gift_minor=900, order_id=apart.order_id))
    await night.tick(1.4)
    rows = await run_sql(night.database, "SELECT * FROM alerts ORDER BY id")
    assert [(row.kind, row.goods_minor, row.gift_minor, row.sku) for row in rows] == [
        ("order", 2990, 5000, "PEANUT-5KG"),
        ("gift", 0, 700, None),
        ("order", 2990, 900, "PEANUT-5KG"),
    ]
    assert len(await turns(night.database)) == 3


async def test_refunds_and_fees_make_no_alert_and_an_order_refunded_meanwhile_is_dropped(
    night: Night,
) -> None:
    first, second = await night.pay(Paid(after(1)), Paid(after(1.1)))
    await night.tick(1.2)
    await run_sql(
        night.database,
        "UPDATE orders SET state = 'REFUNDED', refunded_minor = received_minor WHERE id = :id",
        id=second,
    )
    await night.show(1.3)
    await night.tick(7.3)
    assert await night.on_air() is None
    assert [(turn.order_id, turn.state, turn.reason) for turn in await turns(night.database)] == [
        (first, "TAKEN", None),
        (second, "DROPPED", "refunded"),
    ]


async def test_nobody_showed_it_so_it_comes_again_until_it_is_too_old(night: Night) -> None:
    await night.pay(Paid(after(0)))
    seconds, starts = 0.0, set()
    while seconds < 45:
        await night.tick(seconds)
        on_air = await night.on_air()
        starts |= {on_air.id} if on_air else set()
        seconds += 0.5
    # Six seconds on air and one for a late word; 28 s after the payment is its last chance.
    assert [round((row.starts_at - after(0)).total_seconds()) for row in await airings(night.database)] == [
        0, 7, 14, 21, 28,
    ]  # fmt: skip
    assert {row.outcome for row in await airings(night.database)} == {"LOST"}
    (turn,) = await turns(night.database)
    assert (turn.state, turn.reason) == ("DROPPED", "unseen")
    assert len(starts) == 5


async def test_a_late_word_counts_while_the_screen_is_free(night: Night) -> None:
    await night.pay(Paid(after(0)))
    await night.tick(0)
    airing = await night.on_air()
    await night.tick(6.5)
    assert await night.on_air() is None
    async with night.database.begin() as sql:
        row = await sql.get(Airing, airing.id)
        assert row is not None
        assert await mark_shown(sql, row, after(6.9))
    await night.tick(7.5)
    assert [row.outcome for row in await airings(night.database)] == ["SHOWN"]
    await night.tick(8)
    assert len(await airings(night.database)) == 1


async def test_a_word_that_comes_after_the_next_has_begun_is_not_believed(night: Night) -> None:
    await night.pay(Paid(after(0)))
    await night.tick(0)
    lost = await night.on_air()
    await night.tick(7.5)
    again = await night.on_air()
    assert again.id != lost.id
    async with night.database.begin() as sql:
        row = await sql.get(Airing, lost.id)
        assert row is not None
        assert not await mark_shown(sql, row, after(7.6))
    assert await night.show(7.7)


async def test_a_crowd_is_merged_a_product_at_a_time_and_large_ones_keep_their_turn(
    night: Night,
) -> None:
    await night.set(large_minor=100_000)
    crowd = [Paid(after(1 + n / 100), units=1 + n % 3) for n in range(60)]
    sauce = [Paid(after(1.3 + n / 100), sku="SAUCE-1", amount_minor=100) for n in range(20)]
    gifts = [Paid(after(1.2), sku=None, gift_minor=500) for _ in range(5)]
    large = [Paid(after(1.4 + n), amount_minor=100_000) for n in range(2)]
    await night.pay(*crowd[1:], *sauce, *gifts, *large, crowd[0])
    seconds = 2.0
    while seconds < 60:
        await night.tick(seconds)
        if (on_air := await night.on_air()) and not on_air.shown:
            await night.show(seconds)
        seconds += 0.5
    seen = [(row.kind, row.count, row.sku) for row in await airings(night.database)]
    assert seen == [
        ("order", 1, "PEANUT-5KG"),
        ("burst", 60, "PEANUT-5KG"),
        ("order", 1, "PEANUT-5KG"),
        ("burst", 5, None),
        ("burst", 20, "SAUCE-1"),
    ]
    burst = (await airings(night.database))[1]
    assert burst.units == sum(one.units for one in crowd)
    assert burst.amount_minor == 60 * 2990
    assert (burst.within_s, burst.biggest_minor) == (1, 2990)


async def test_with_merging_off_they_come_one_by_one_and_the_oldest_overflow(night: Night) -> None:
    await night.set(compress="off", waiting_max=3)
    ids = await night.pay(*[Paid(after(1 + n / 10)) for n in range(10)])
    await night.tick(3)
    states = [(turn.order_id, turn.state, turn.reason) for turn in await turns(night.database)]
    assert states[:7] == [(order_id, "DROPPED", "overflow") for order_id in ids[:7]]
    assert [state for _, state, _ in states[7:]] == ["TAKEN", "WAITING", "WAITING"]
    assert (await night.on_air()).kind == "order"


async def test_small_amounts_are_passed_over_in_one_group_and_shown_in_another(
    night: Night,
) -> None:
    await night.tick(0)
    await run_sql(
        night.database,
        "INSERT INTO alert_groups (stream_id, name, min_minor) VALUES (:stream, 'big', 5000)",
        stream=night.sale.stream_id,
    )
    await night.pay(Paid(after(1), amount_minor=4999))
    await night.tick(1.1)
    assert await night.on_air("big") is None
    assert await night.on_air("main") is not None
    assert [turn.state for turn in await turns(night.database, "big")] == ["PASSED_OVER"]


async def test_words_wait_for_their_verdict_and_then_have_their_turn(night: Night) -> None:
    said = Paid(after(0), display="PENDING_REVIEW", name="Li Na", message="Play well!")
    await night.pay(said)
    await night.tick(1)
    assert await night.on_air() is None
    assert (await night.state()).waiting == 0
    await judge(night.database, said.order_id, "PASSED")
    await night.tick(100)
    assert await night.on_air() is None
    await judge(night.database, said.order_id, "SHOWN")
    await night.tick(250)
    on_air = await night.on_air()
    assert (on_air.name, on_air.message) == ("Li Na", "Play well!")
    assert [turn.since for turn in await turns(night.database)] == [after(250)]
    # Hidden or erased while it is on air: gone with the next frame, and nothing else of it.
    await judge(night.database, said.order_id, "HIDDEN")
    await night.tick(251)
    assert await night.on_air() == msgspec.structs.replace(on_air, name=None, message=None)
    await run_sql(night.database, "DELETE FROM reviews")
    await run_sql(night.database, "DELETE FROM order_messages")
    await night.tick(252)
    assert (await night.on_air()).id == on_air.id
    rows = await run_sql(
        night.database, "SELECT state::text FROM topics WHERE topic LIKE '%alerts%'"
    )
    assert "Li Na" not in str(rows)


@pytest.mark.parametrize(
    ("at", "display", "hold_said_s", "found"),
    [
        (10, "HIDDEN", 300, "TAKEN"),
        (40, "HIDDEN", 300, "hidden"),
        (299, "PENDING_REVIEW", 300, "REVIEW"),
        (301, "PENDING_REVIEW", 300, "unreviewed"),
        (40, "ANONYMOUS", 300, "hidden"),
        (31, "PASSED", 30, "TAKEN"),
    ],
)
async def test_without_approved_words_it_is_anonymous_while_it_is_news(
    night: Night, at: int, display: str, hold_said_s: int, found: str
) -> None:
    await night.set(hold_said_s=hold_said_s, hold_s=60 if hold_said_s == 30 else 30)
    said = Paid(after(0), display="PENDING_REVIEW", name="Li Na", message="Play well!")
    await night.pay(said)
    await night.tick(1)
    await judge(night.database, said.order_id, display)
    await night.tick(at)
    (turn,) = await turns(night.database)
    assert found in {turn.state, turn.reason}
    if found == "TAKEN":
        assert (await night.on_air()).name is None


async def test_a_name_without_a_message_may_be_the_newest_of_a_burst(night: Night) -> None:
    crowd = [Paid(after(1 + n / 100)) for n in range(20)]
    crowd[4].display, crowd[4].name = "SHOWN", "Mei"
    crowd[7].display, crowd[7].name = "SHOWN", "Newest"
    crowd[9].display, crowd[9].name = "HIDDEN", "Nobody"
    crowd[11].display, crowd[11].name, crowd[11].message = "SHOWN", "Says", "Hello"
    await night.pay(*crowd)
    await night.tick(2)
    assert (await night.on_air()).message == "Hello"
    await night.show(2)
    await night.tick(8.1)
    on_air = await night.on_air()
    assert (on_air.kind, on_air.count, on_air.name, on_air.message) == ("burst", 19, "Newest", None)
    await judge(night.database, crowd[7].order_id, "HIDDEN")
    await night.tick(8.2)
    assert (await night.on_air()).name is None
    assert (await night.on_air()).count == 19


async def test_words_that_change_while_the_alert_waits_change_its_place(night: Night) -> None:
    first = Paid(after(0))
    approved = Paid(after(0), display="SHOWN", name="A", message="once approved")
    hidden = Paid(after(0), display="SHOWN", name="B", message="hidden later")
    plain = Paid(after(0))
    await night.pay(first)
    await night.tick(0)
    await night.show(0)
    await night.pay(approved, hidden, plain)
    await night.tick(1)
    await judge(night.database, approved.order_id, "PENDING_REVIEW")
    await judge(night.database, hidden.order_id, "HIDDEN")
    await run_sql(
        night.database,
        "INSERT INTO order_messages (order_id, message, display, consent_at)"
        " VALUES (:id, 'said at last', 'SHOWN', now())",
        id=plain.order_id,
    )
    seconds = 6.0
    while seconds < 25:
        await night.tick(seconds)
        if (on_air := await night.on_air()) and not on_air.shown:
            assert on_air.message != "hidden later"
            await night.show(seconds)
        seconds += 1
    states = {turn.order_id: turn.state for turn in await turns(night.database)}
    assert states[approved.order_id] == "REVIEW"
    assert states[plain.order_id] == states[hidden.order_id] == states[first.order_id] == "TAKEN"


async def test_the_night_goes_on_while_one_group_is_broken(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    await night.tick(0)
    await run_sql(
        night.database,
        "INSERT INTO alert_groups (stream_id, name) VALUES (:stream, 'a-broken-one')",
        stream=night.sale.stream_id,
    )
    sound = drop_late

    async def broken(sql: Any, scope: Any) -> None:
        if scope["group"] == "a-broken-one":
            raise RuntimeError("planted")
        await sound(sql, scope)

    monkeypatch.setattr("realtime.alerts.director.drop_late", broken)
    await night.pay(Paid(after(1)))
    await night.tick(1)
    assert await night.on_air("main") is not None


async def test_what_is_old_is_forgotten_and_a_quiet_group_rests(night: Night) -> None:
    await night.pay(Paid(after(0)))
    await night.tick(0)
    await night.show(0)
    await night.tick(7)
    (group,) = await run_sql(night.database, "SELECT busy FROM alert_groups")
    assert not group.busy
    await run_sql(night.database, "UPDATE alerts SET made_at = made_at - interval '30 days'")
    await night.tick(8)
    assert await turns(night.database) == []
    assert len(await airings(night.database)) == 1
    await night.pay(Paid(after(9)))
    await night.tick(9)
    assert await night.on_air() is not None


async def test_what_was_paid_long_before_the_first_director_is_no_news(night: Night) -> None:
    await night.pay(*[Paid(after(-7200 + n)) for n in range(5)], Paid(after(-1)))
    await night.tick(0)
    (mark,) = await run_sql(night.database, "SELECT seq FROM alert_marks")
    assert mark.seq == 6
    assert len(await turns(night.database)) == 1


async def test_what_settlement_posts_and_the_sealer_seals_is_on_air_and_a_refund_is_not(
    night: Night, database: Database, redis: Redis, sale: Sale
) -> None:
    order_id = await sell(database, sale, 2)
    await announcer.tick_once(database, redis, announcer.Known())
    await tick_once(database, redis, night.round)
    on_air = await night.on_air()
    assert (on_air.kind, on_air.units, on_air.amount_minor) == ("order", 2, 5980)
    await sell(database, sale, 2, REFUND, order_id=order_id)
    await sell(database, sale, 1, REFUND)
    await announcer.tick_once(database, redis, announcer.Known())
    await tick_once(database, redis, night.round)
    assert [turn.order_id for turn in await turns(database)] == [order_id]
