"""A whole gateway on real engines: what it missed it finds, and when it goes its viewers are told."""

import asyncio
import resource
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import text
from websockets.exceptions import ConnectionClosed

from realtime import feed, gateway_process
from realtime.audience import report_viewers, viewers_of
from realtime.bus import ANNOUNCED_AT
from realtime.frames import CHANNEL, Frame, pack
from realtime.gateway import GatewayLimits
from realtime.topics import write_states
from stream_events.database import Database
from tests.realtime.conftest import TALLY, frame, said, until

Start = Callable[[], Any]


async def commit(database: Database, **state: Any) -> Frame:
    async with database.begin() as sql:
        (written,) = await write_states(sql, {TALLY: state}, {}, datetime.now(UTC))
    return written


async def publish(redis: Redis, *frames: Frame) -> None:
    for message in pack(list(frames)):
        await redis.publish(CHANNEL, message)


async def test_what_is_committed_is_the_snapshot_and_what_is_published_follows(
    database: Database, redis: Redis, start_process: Start
) -> None:
    await commit(database, raised_minor=1)
    async with start_process() as served:
        client = await served.watch(TALLY)
        first = await said(client)
        assert (first["version"], first["state"]) == (1, {"raised_minor": 1})
        await publish(redis, await commit(database, raised_minor=2))
        second = await said(client, within_s=1)
        assert (second["epoch"], second["version"]) == (first["epoch"], 2)


async def test_a_lost_message_costs_two_seconds_at_most(
    database: Database, start_process: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert feed.REREAD_S <= 2
    monkeypatch.setattr(feed, "REREAD_S", 0.3)
    async with start_process() as served:
        client = await served.watch(TALLY)
        for version in range(1, 4):
            await commit(database, raised_minor=version)  # and never published
            assert (await said(client, within_s=2))["version"] == version


async def test_a_cut_subscription_is_made_again_and_catches_up_at_once(
    database: Database, redis: Redis, start_process: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "REREAD_S", 60.0)

    async def subscribed() -> bool:
        return bool((await redis.pubsub_numsub(CHANNEL))[0][1])

    async with start_process() as served:
        client = await served.watch(TALLY)
        await publish(redis, await commit(database, raised_minor=1))
        assert (await said(client))["version"] == 1
        await redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await publish(redis, await commit(database, raised_minor=2))
        assert (await said(client))["version"] == 2
        await until(subscribed)
        await publish(redis, await commit(database, raised_minor=3))
        assert (await said(client, within_s=0.5))["version"] == 3


async def test_rubbish_on_the_bus_is_passed_over(
    database: Database, redis: Redis, start_process: Start
) -> None:
    async with start_process() as served:
        client = await served.watch(TALLY)
        for rubbish in (b"", b"{}", b"[1]", b'[{"t":"state","topic":1}]', b"\xff"):
            await redis.publish(CHANNEL, rubbish)
        await publish(redis, frame(1))
        assert (await said(client, within_s=1))["version"] == 1


async def test_a_gateway_that_restarts_goes_on_where_the_last_one_was(
    database: Database, redis: Redis, start_process: Start
) -> None:
    async with start_process() as served:
        client = await served.watch(TALLY)
        await publish(redis, await commit(database, raised_minor=1))
        assert (await said(client))["version"] == 1
    with pytest.raises(ConnectionClosed):
        await client.recv()
    assert (client.close_code, client.close_reason) == (1012, "restart")
    await publish(redis, await commit(database, raised_minor=2))  # nobody listens
    async with start_process() as served:
        client = await served.watch(TALLY)
        assert (await said(client))["version"] == 2


async def test_a_thousand_reconnections_cost_no_query(
    database: Database, redis: Redis, start_process: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The looks a gateway takes by the clock are put off, so that every query would be a viewer's.
    monkeypatch.setattr(feed, "REREAD_S", 600.0)
    await commit(database, raised_minor=1)
    # PostgreSQL notes at once when each connection last began or ended a query, and no other test uses this database.
    asked = text(
        "SELECT pid, state_change, state FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name = 'stream-events gateway' ORDER BY pid"
    )

    async def connections() -> list[Any]:
        async with database.begin() as sql:
            return list((await sql.execute(asked)).all())

    async def still() -> bool:
        before = await connections()
        await asyncio.sleep(0.2)
        return (
            bool((await redis.pubsub_numsub(CHANNEL))[0][1])
            and {row.state for row in before} == {"idle"}
            and await connections() == before
        )

    async with start_process() as served:
        await until(still)
        before = await connections()
        for _ in range(300):
            client = await served.watch(TALLY)
            assert (await said(client))["version"] == 1
            await client.close()
        assert await connections() == before
        await redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")

        async def looked() -> bool:
            return await connections() != before

        # And a query would have been seen: the subscription made anew costs one.
        await until(looked)


async def test_gateways_tell_how_many_watch(
    redis: Redis, start_process: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_process, "REPORT_S", 0.2)

    async def reported() -> bool:
        return (await viewers_of(redis, "str_1"))["overlay"] == 1

    async with start_process() as served:
        await served.watch(TALLY)
        await served.watch(TALLY, kind="shop")
        await until(reported, within_s=4)
        await report_viewers(redis, "gw_other", {("str_1", "shop"): 40, ("str_2", "shop"): 7})
        assert await viewers_of(redis, "str_1") == {
            "overlay": 1,
            "shop": 41,
            "farmer": 0,
            "console": 0,
            "moderator": 0,
        }
    await report_viewers(redis, "gw_other", {})
    assert (await viewers_of(redis, "str_2"))["shop"] == 0
    assert await redis.ttl("viewers:gw_other") == -2


async def test_the_pulse_stops_when_nobody_looks_at_the_books(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_process, "PULSE_S", 0.02)
    pulse = gateway_process.Pulse()
    asking = asyncio.create_task(pulse.run(redis))
    try:
        await asyncio.sleep(0.1)
        assert not pulse.beats()  # no announcer ever looked
        await redis.set(ANNOUNCED_AT, time.time_ns() // 1_000_000)
        await until(pulse.beats)
        await redis.set(ANNOUNCED_AT, time.time_ns() // 1_000_000 - 6_000)
        await until(lambda: not pulse.beats())
    finally:
        asking.cancel()


@pytest.mark.parametrize(("soft", "let_in"), [(150, 900), (5_000, 900)])
def test_there_is_a_socket_for_every_viewer_that_is_let_in(soft: int, let_in: int) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, before[1]), before[1]))
        limits = gateway_process._within_descriptors(GatewayLimits(connections_max=900))
        assert limits.connections_max == let_in
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == max(soft, 1_000)
        most = GatewayLimits(connections_max=10**9)
        if before[1] != resource.RLIM_INFINITY:
            assert gateway_process._within_descriptors(most).connections_max == before[1] - 100
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
