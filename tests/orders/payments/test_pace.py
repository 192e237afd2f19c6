"""The budget of Stripe calls, on a real Valkey: what is taken, what is kept back, and how it gives way."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from orders.payments.pace import KEY, BreakerOpen, Busy, Kind, Pace
from orders.payments.stripe_gateway import RateLimited, UnknownOutcome, Unreachable


async def drain(pace: Pace, kind: Kind, wait_ms_max: int = 0) -> int:
    taken = 0
    while True:
        try:
            await pace.take(kind, wait_ms_max=wait_ms_max)
        except Busy:
            return taken
        taken += 1


async def calls_in(pace: Pace, seconds: float, kind: Kind) -> int:
    made, end_s = 0, time.monotonic() + seconds
    while time.monotonic() < end_s:
        made += await drain(pace, kind)
        await asyncio.sleep(0.01)
    return made


async def test_a_second_holds_no_more_calls_than_the_rate_says(redis: Redis) -> None:
    pace = Pace(redis, rate_per_s=100)
    async with asyncio.TaskGroup() as group:
        paying = group.create_task(calls_in(pace, 1.0, "pay"))
        keeping = group.create_task(calls_in(pace, 1.0, "keep"))
    assert 80 <= paying.result() + keeping.result() <= 126
    assert keeping.result() >= 18


async def test_waits_are_handed_out_one_behind_the_other(redis: Redis) -> None:
    pace = Pace(redis, rate_per_s=10)
    await drain(pace, "pay")
    waits = [await pace.take("pay", wait_ms_max=1_000) for _ in range(3)]
    assert waits == sorted(waits)
    assert all(0 < after - before <= 130 for before, after in itertools.pairwise(waits))
    with pytest.raises(Busy):
        await pace.take("pay", wait_ms_max=100)


async def test_refunds_have_calls_left_when_payers_took_theirs(redis: Redis) -> None:
    pace = Pace(redis, rate_per_s=50)
    await asyncio.sleep(0.2)
    await drain(pace, "pay", wait_ms_max=5_000)
    assert await pace.take("keep", wait_ms_max=0) == 0


async def test_a_fifth_stays_for_refunds_and_cancels_however_many_pay(redis: Redis) -> None:
    pace = Pace(redis, rate_per_s=50)
    await drain(pace, "pay")
    end_s = time.monotonic() + 2
    paid, kept, waits = 0, 0, list[int]()

    async def crowd() -> None:
        nonlocal paid
        while time.monotonic() < end_s:
            paid += await drain(pace, "pay", wait_ms_max=3_000)
            await asyncio.sleep(0.005)

    async def refund() -> None:
        nonlocal kept
        while time.monotonic() < end_s:
            waits.append(await pace.take("keep", wait_ms_max=2_000))
            await asyncio.sleep(waits[-1] / 1000)
            kept += 1

    await asyncio.gather(crowd(), refund())
    assert paid > 100  # The crowd took all that it was given, three seconds ahead.
    assert kept >= 0.2 * 50 * 2 - 1
    assert max(waits) <= 250


async def test_turns_stop_while_payers_queue(redis: Redis) -> None:
    pace = Pace(redis, rate_per_s=10)
    await pace.turns(0)
    await asyncio.sleep(0.3)
    assert 1 <= await pace.turns(100) <= 5
    assert await drain(pace, "pay", wait_ms_max=3_000) > 10
    await asyncio.sleep(0.2)
    assert await pace.turns(100) == 0


async def test_a_burst_of_429s_halves_the_rate_once_and_it_rises_again(redis: Redis) -> None:
    pace = Pace(redis, rate_per_s=40)
    for _ in range(5):
        await pace.report("limited")
    assert int(await redis.hget(KEY, "rate") or 0) == 20
    # Ten seconds twice over: two steps of a twentieth of the highest rate.
    await redis.hincrby(KEY, "raised_ms", -20_500)
    await pace.turns(0)
    assert int(await redis.hget(KEY, "rate") or 0) == 24
    await redis.hincrby(KEY, "raised_ms", -1_000_000)
    await pace.turns(0)
    assert int(await redis.hget(KEY, "rate") or 0) == 40


async def test_by_default_a_429_halves_twenty_and_each_ten_seconds_give_one_back(
    redis: Redis,
) -> None:
    pace = Pace(redis)
    await pace.report("limited")
    rates = []
    for _ in range(12):
        await redis.hincrby(KEY, "raised_ms", -10_000)
        await pace.turns(0)
        rates.append(int(await redis.hget(KEY, "rate") or 0))
    assert rates == [*range(11, 21), 20, 20]


async def _raise(error: Exception) -> None:
    raise error


async def test_the_breaker_opens_probes_and_closes_with_the_length_of_the_outage(
    redis: Redis,
) -> None:
    pace = Pace(redis, rate_per_s=1_000, failures_max=3, probe_pause_ms=100)
    for error in (Unreachable("1"), UnknownOutcome("2"), Unreachable("3")):
        with pytest.raises(type(error)):
            await pace.call("pay", lambda error=error: _raise(error))  # type: ignore[misc]
    await asyncio.sleep(0.15)
    assert await pace.turns(10) == 0
    await pace.take("pay")  # One probe gets through …
    with pytest.raises(BreakerOpen):
        await pace.take("keep")  # … and the next one waits.
    outage = await pace.outage()
    assert outage is not None
    assert not outage.over
    assert 150 <= outage.due_ms <= 400
    await pace.moved(outage)
    await pace.report("ok")
    rest = await pace.outage()
    assert rest is not None
    assert rest.over
    assert rest.due_ms < outage.due_ms
    await pace.moved(rest)
    assert await pace.outage() is None
    assert await pace.take("pay") == 0


async def test_failures_between_answers_do_not_open_it(redis: Redis) -> None:
    pace = Pace(redis, failures_max=2)
    for report in ("failed", "ok", "failed", "limited", "failed"):
        await pace.report(report)  # type: ignore[arg-type]
    assert await pace.outage() is None


async def test_declines_and_limits_are_answers(redis: Redis) -> None:
    pace = Pace(redis, rate_per_s=1_000, failures_max=1)
    for make in (lambda: _raise(ValueError()), lambda: _raise(RateLimited(1_000))):
        with pytest.raises((ValueError, RateLimited)):
            await pace.call("pay", make)
    assert await pace.outage() is None


async def test_losing_redis_costs_pace_and_no_payment(redis: Redis) -> None:
    pace = Pace(redis, rate_per_s=10)
    await drain(pace, "pay")
    await pace.report("limited")
    await redis.flushall()
    assert await pace.take("pay") == 0
    away = Pace(
        Redis(host="127.0.0.1", port=1, protocol=3, retry=Retry(NoBackoff(), 0)),
        rate_per_s=10,
    )
    assert await away.take("pay") == 0
    assert 5 <= await drain(away, "pay", wait_ms_max=5_000) <= 12
    await away.report("ok")
    assert await away.rate_per_s() == 10


async def test_pages_draw_a_call_each(redis: Redis) -> None:
    pace = Pace(redis, rate_per_s=1_000)
    drawn: list[Kind] = []
    take: Callable[..., Awaitable[int]] = pace.take

    async def counted(kind: Kind, *, wait_ms_max: int = 0) -> int:
        drawn.append(kind)
        return await take(kind, wait_ms_max=wait_ms_max)

    pace.take = counted  # type: ignore[method-assign]

    async def listing():  # type: ignore[no-untyped-def]  # noqa: ANN202
        for number in range(250):
            yield number

    assert [item async for item in pace.pages(listing(), 100)] == list(range(250))
    assert drawn == ["keep"] * 3
