"""Turns to pay: in order of placing, no faster than the pace, and never while nobody could pay."""

import asyncio
import time

from redis.asyncio import Redis
from sqlalchemy import text

from orders.payments.pace import Pace
from orders.payments.pacer import offer_once, run_pacer
from tests.orders.payments.counter import Counter
from tests.orders.payments.sandbox_process import until


async def test_turns_go_in_order_of_placing(counter: Counter) -> None:
    orders = [await counter.place() for _ in range(5)]
    await asyncio.sleep(0.05)
    assert await counter.turns(2) == 2
    assert [await counter.state(each) for each in orders] == [
        *["AWAITING_PAYMENT"] * 2,
        *["RESERVED"] * 3,
    ]
    assert await counter.turns() == 3
    assert await counter.turns() == 0
    assert await counter.history(orders[0]) == ["AWAITING_PAYMENT"]


async def test_the_time_to_pay_is_counted_by_the_database(counter: Counter) -> None:
    order_id = await counter.place()
    await counter.turns()
    window_s = await counter.one(
        "SELECT extract(epoch FROM pay_by - state_at) FROM orders WHERE id = :id", id=order_id
    )
    assert window_s == 600


async def test_no_more_turns_than_the_pace_allows(counter: Counter, redis: Redis) -> None:
    slow = Pace(redis, rate_per_s=20)
    for _ in range(60):
        await counter.place()
    given, began_s = 0, time.monotonic()
    for _ in range(10):
        given += await offer_once(counter.database, slow, pay_window_s=60)
        await asyncio.sleep(0.1)
    # Half a second's turns may have been saved up.
    took_s = time.monotonic() - began_s
    assert 12 <= given <= 10 + 20 * took_s + 1


async def test_what_is_no_longer_reserved_gets_no_turn(counter: Counter) -> None:
    gone, waiting = await counter.place(), await counter.place()
    async with counter.database.begin() as sql:
        await sql.execute(
            text("UPDATE orders SET state = 'CANCELLING' WHERE id = :id"), {"id": gone}
        )
    assert await counter.turns() == 1
    assert await counter.state(gone) == "CANCELLING"
    assert await counter.state(waiting) == "AWAITING_PAYMENT"


async def test_two_pacers_give_each_turn_once(counter: Counter) -> None:
    orders = [await counter.place() for _ in range(40)]
    await asyncio.sleep(0.1)
    given = await asyncio.gather(counter.turns(), counter.turns())
    assert sum(given) >= 40
    assert [await counter.history(each) for each in orders] == [["AWAITING_PAYMENT"]] * 40


async def test_no_turns_during_an_outage(counter: Counter) -> None:
    await counter.place()
    for _ in range(3):
        await counter.pace.report("failed")
    assert await counter.turns() == 0
    await counter.pace.report("ok")
    assert await counter.turns() == 1


async def test_the_loop_survives_an_error_and_stops(counter: Counter, redis: Redis) -> None:
    order_id = await counter.place()
    stop = asyncio.Event()
    await redis.set("pace:stripe", "not a hash")
    running = asyncio.create_task(run_pacer(counter.database, counter.pace, stop, pay_window_s=60))
    await asyncio.sleep(0.3)
    assert await counter.state(order_id) == "RESERVED"
    await redis.delete("pace:stripe")

    async def offered() -> bool:
        return await counter.state(order_id) == "AWAITING_PAYMENT"

    await until(offered)
    stop.set()
    await running
