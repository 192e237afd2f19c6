"""The rate limit that keeps one address from minting shoppers without end, on a real engine and its clock."""

import asyncio
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from stream_events import rate
from stream_events.access import Signer
from stream_events.errors import Problem
from stream_events.limits import Limits


async def test_a_bucket_gives_its_size_at_once_and_then_makes_wait(redis: Redis) -> None:
    waits = [await rate.take(redis, "rate:t:1", tokens_max=3, period_ms=60_000) for _ in range(5)]
    assert waits[:3] == [0, 0, 0]
    assert all(15_000 < wait <= 20_000 for wait in waits[3:])


async def test_a_refused_call_costs_nothing_and_a_token_comes_back_in_time(redis: Redis) -> None:
    async def take() -> int:
        return await rate.take(redis, "rate:t:2", tokens_max=2, period_ms=400)

    assert [await take(), await take()] == [0, 0]
    waits = [await take() for _ in range(20)]
    assert 0 < waits[-1] <= 200
    await asyncio.sleep(waits[-1] / 1000 + 0.02)
    assert await take() == 0
    assert await take() > 0


async def test_parallel_calls_cannot_share_a_token(redis: Redis) -> None:
    waits = await asyncio.gather(
        *(rate.take(redis, "rate:t:3", tokens_max=7, period_ms=60_000) for _ in range(60))
    )
    assert waits.count(0) == 7


async def test_a_bucket_is_gone_when_it_is_full_again(redis: Redis) -> None:
    await rate.take(redis, "rate:t:4", tokens_max=10, period_ms=100_000)
    assert 9_000 <= await redis.pttl("rate:t:4") <= 10_002


async def test_the_script_comes_back_after_the_engine_forgot_it(redis: Redis) -> None:
    await redis.script_flush()
    assert await rate.take(redis, "rate:t:5", tokens_max=1, period_ms=1_000) == 0
    assert await rate.take(redis, "rate:t:5", tokens_max=1, period_ms=1_000) > 0


async def test_no_limit_asks_nobody() -> None:
    nobody: Any = None
    assert await rate.take(nobody, "rate:t:6", tokens_max=0, period_ms=1_000) == 0


async def test_an_engine_that_is_away_is_a_503_not_a_500() -> None:
    away = Redis.from_url("unix:///nowhere/at/all.sock")
    with pytest.raises(Problem) as refused:
        await rate.require(away, "rate:t:7", tokens_max=1, period_ms=1_000)
    assert (refused.value.status, refused.value.code) == (503, "unavailable")
    await away.aclose()


def test_buckets_go_by_household_and_never_tell_the_address(signer: Signer) -> None:
    def bucket(address: str | None) -> str:
        return rate.bucket_of(signer, "shoppers", address)

    assert "10.1.2.3" not in bucket("10.1.2.3")
    assert bucket("10.1.2.3") != bucket("10.1.2.4")
    assert bucket("::ffff:10.1.2.3") == bucket("10.1.2.3")
    assert bucket("2001:db8::1") == bucket("2001:db8::ffff:1")
    assert bucket("2001:db8:0:1::1") != bucket("2001:db8::1")
    assert bucket(None) == bucket("testclient")
    assert bucket("10.1.2.3") != rate.bucket_of(Signer(b"y" * 32), "shoppers", "10.1.2.3")


class TestShoppers:
    """The one route that uses it so far."""

    @pytest.fixture
    def limits(self) -> Limits:
        return Limits(shoppers_per_minute=4)

    async def test_an_address_gets_so_many_shoppers_a_minute(
        self, api: httpx.AsyncClient, redis: Redis
    ) -> None:
        answers = [await api.post("/v1/shoppers") for _ in range(6)]
        assert [answer.status_code for answer in answers] == [201] * 4 + [429] * 2
        refusal = answers[-1].json()
        assert refusal["code"] == "rate_limited"
        assert 0 < refusal["retry_after_ms"] <= 15_000
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 15
        keys = await redis.keys("*")
        assert len(keys) == 1
        assert b"127.0.0.1" not in keys[0]

    async def test_each_shopper_is_another_and_its_token_proves_it(
        self, api: httpx.AsyncClient
    ) -> None:
        first, second = [(await api.post("/v1/shoppers")).json() for _ in range(2)]
        assert first["shopper_id"] != second["shopper_id"]
        me = await api.get("/v1/me", headers={"authorization": f"Bearer {first['token']}"})
        assert me.json() == {
            "id": first["shopper_id"],
            "role": "shopper",
            "name": None,
            "host_id": None,
            "farmer_id": None,
            "stream_id": None,
        }


def test_a_rate_below_zero_is_no_limit_but_a_mistake() -> None:
    with pytest.raises(ValueError, match="rate limit"):
        Limits(shoppers_per_minute=-1)
