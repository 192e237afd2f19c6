"""While nothing is committed the loops only look; whatever is committed, they are there with their next tick."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis

from inventory import offers
from inventory.offers import Catalogue
from orders.mail import postman
from realtime import announcer, feed
from realtime.alerts import director
from realtime.feed import Feed
from realtime.frames import Frame
from realtime.hub import Hub
from realtime.moderation import naming, screening
from realtime.states import next_streams
from realtime.topics import differing_topics
from stream_events.access import Signer
from stream_events.database import Database
from stream_events.links import Links
from tests.factories import Sale
from tests.orders.test_matching_sql import make_match
from tests.realtime.alerts.paid import Paid, pay
from tests.realtime.announced import Listener, run_sql, sell
from tests.realtime.conftest import until

Loop = Callable[[asyncio.Event], Awaitable[None]]


@pytest.fixture
def loops(
    monkeypatch: pytest.MonkeyPatch, database: Database, redis: Redis, signer: Signer, links: Links
) -> dict[str, tuple[Any, str, Loop]]:
    """The loops that look, each with the step that it leaves out; nothing is due by itself for a long time."""
    for place, names in _DUE.items():
        for name in names:
            monkeypatch.setattr(place, name, 600.0)
    monkeypatch.setattr(offers, "REFRESH_S", 0.01)
    monkeypatch.setattr(postman, "ROUND_S", 0.01)
    catalogue, post = Catalogue(database), postman.Postman(signer, links)
    return {
        "announcer": (
            announcer,
            "tick_once",
            lambda stop: announcer.run_announcer(database, redis, stop, tick_s=0.01),
        ),
        "director": (
            director,
            "tick_once",
            lambda stop: director.run_director(database, redis, stop, tick_s=0.01),
        ),
        "review": (
            screening,
            "review_once",
            lambda stop: screening.run_review(database, redis, stop, tick_s=0.01),
        ),
        "names": (
            naming,
            "name_once",
            lambda stop: naming.run_naming(database, redis, stop, look_s=0.01),
        ),
        "catalogue": (catalogue, "refresh", catalogue.run),
        "mail": (postman, "deliver_once", lambda stop: postman.run_mail(database, post, stop)),
    }


_DUE = {
    announcer: ("SWEEP_S", "REREAD_S"),
    director: ("SLOW_S",),
    screening: ("SWEEP_S",),
    naming: ("WINDOWS_S",),
}


@pytest.mark.parametrize("name", ["announcer", "director", "review", "names", "catalogue", "mail"])
async def test_a_loop_rests_until_something_is_committed(
    monkeypatch: pytest.MonkeyPatch,
    database: Database,
    loops: dict[str, tuple[Any, str, Loop]],
    name: str,
) -> None:
    place, step, loop = loops[name]
    true_step, true_look = getattr(place, step), Database.look
    steps, looks, still = 0, 0, True
    moment: dict[str, Any] = {}

    async def count(*given: Any) -> Any:
        nonlocal steps
        steps += 1
        return await true_step(*given)

    async def look(self: Database, statement: str, *given: Any) -> Any:
        # The tests that run beside this one commit, too: here it stays the same moment.
        nonlocal looks
        looks += 1
        if not still:
            return await true_look(self, statement, *given)
        if statement not in moment:
            moment[statement] = await true_look(self, statement, *given)
        return moment[statement]

    if isinstance(place, Catalogue):
        monkeypatch.setattr(Catalogue, step, lambda _: count())
    else:
        monkeypatch.setattr(place, step, count)
    monkeypatch.setattr(Database, "look", look)
    async with _running(loop):
        await until(lambda: looks > 12)
        assert 1 <= steps <= 2
        before, still = steps, False
        await run_sql(database, "INSERT INTO stale_names (stream_id) VALUES ('str_1')")
        await until(lambda: steps > before)


async def test_a_sale_is_told_with_the_next_tick_though_no_sweep_is_due(
    database: Database,
    sale: Sale,
    bus: Listener,
    loops: dict[str, tuple[Any, str, Loop]],
) -> None:
    tally, status = (f"stream/{sale.stream_id}/{part}" for part in ("tally", "status"))
    async with _running(loops["announcer"][2]):
        await until(lambda: bool(bus.of(tally)))
        for sold in range(1, 4):
            await sell(database, sale)
            await until(lambda sold=sold: bus.of(tally)[-1]["seq"] == sold)  # type: ignore[misc]
        await run_sql(database, "UPDATE streams SET title = 'Another night'")
        await until(lambda: bus.of(status)[-1]["state"]["title"] == "Another night")


async def test_a_quiet_announcer_looks_through_all_streams_once_and_still_says_that_it_looked(
    database: Database,
    redis: Redis,
    sale: Sale,
    loops: dict[str, tuple[Any, str, Loop]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("SWEEP_S", "REREAD_S", "TOLD_S"):
        monkeypatch.setattr(announcer, name, 0.0)
    monkeypatch.setattr("realtime.states.SWEEP_MAX", 1)
    monkeypatch.setattr(announcer, "SWEEP_MAX", 1)
    swept: list[list[str]] = []

    async def sweep(sql: Any, after: str) -> list[str]:
        swept.append(await next_streams(sql, after))
        return swept[-1]

    async def look(*_: Any) -> Any:
        return [("one and the same moment",)]

    monkeypatch.setattr(announcer, "next_streams", sweep)
    monkeypatch.setattr(Database, "look", look)
    async with _running(loops["announcer"][2]):
        await until(lambda: [] in swept)
        for _ in range(3):
            await redis.delete("announced_at")
            await until(lambda: redis.exists("announced_at"))
    assert swept == [[sale.stream_id], []]


async def test_a_round_over_all_streams_counts_only_for_the_moment_it_began_at(
    database: Database, redis: Redis, sale: Sale, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realtime.states.SWEEP_MAX", 1)
    monkeypatch.setattr(announcer, "SWEEP_MAX", 1)
    monkeypatch.setattr(announcer, "SWEEP_S", 0.0)
    known, swept_at = announcer.Known(), list[Any]()
    for moment in ("before", "later", "later", "later"):
        await announcer.tick_once(database, redis, known, (moment,))
        swept_at.append(known.swept_at)
    assert swept_at == [None, None, None, ("later",)]
    assert sale.stream_id not in known.swept_to


async def test_the_hour_of_a_match_is_told_though_nothing_is_committed(
    database: Database,
    sale: Sale,
    bus: Listener,
    loops: dict[str, tuple[Any, str, Loop]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(announcer, "SWEEP_S", 0.0)
    monkeypatch.setattr(announcer, "REREAD_S", 0.0)
    await make_match(database, sale, starts_at=datetime.now(UTC) + timedelta(seconds=0.4))
    topic = f"stream/{sale.stream_id}/matches"

    def is_on() -> list[bool]:
        return [item["on"] for frame in bus.of(topic) for item in frame["state"]["items"]]

    async with _running(loops["announcer"][2]):
        await until(lambda: is_on() == [False])
        await until(lambda: is_on() == [False, True])


async def test_a_director_rests_only_when_no_group_has_anything_to_do(
    database: Database, redis: Redis, sale: Sale
) -> None:
    round_ = director.Round(snapshot="now")
    await pay(database, sale, [Paid(datetime.now(UTC))])
    await director.tick_once(database, redis, round_, slow=False)
    round_.slow_due = time.monotonic() + 600
    assert not round_.is_done("now"), "what is on air ends by itself"
    await run_sql(database, "UPDATE alert_groups SET busy = false")
    await director.tick_once(database, redis, round_, slow=False)
    assert round_.is_done("now")
    assert not round_.is_done("later")


async def test_a_feed_reads_topics_only_when_something_was_committed(
    database: Database, redis: Redis, sale: Sale, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub, moment = Hub(), "first"
    following = Feed(hub, database, redis, lambda _: None)
    asked: list[int] = []

    async def snapshot(_: Database) -> str:
        if not moment:
            raise asyncpg.ConnectionDoesNotExistError
        return moment

    async def differing(sql: Any, known: Any) -> list[str]:
        asked.append(len(known))
        return await differing_topics(sql, known)

    async def lost(*_: Any) -> list[Frame]:
        raise OSError

    monkeypatch.setattr(Database, "snapshot", snapshot)
    monkeypatch.setattr(feed, "differing_topics", differing)
    await announcer.tick_once(database, redis, announcer.Known())
    with monkeypatch.context() as broken:
        broken.setattr(feed, "read_frames", lost)
        with pytest.raises(OSError):  # noqa: PT011 - it is ours.
            await following.catch_up()
    taken = await following.catch_up()
    assert taken == len(hub.ages()) > 5
    assert [await following.catch_up(), asked] == [0, [0, 0]]
    await run_sql(database, "UPDATE topics SET version = version + 1")
    moment = "second"
    assert await following.catch_up() == taken
    # A server that is away is no reason for a gateway to end.
    moment = ""
    loop = asyncio.create_task(following.run_rereading())
    await asyncio.sleep(0.15)
    assert not following.loaded.is_set()
    moment = "second"
    await asyncio.wait_for(following.loaded.wait(), 5)
    loop.cancel()


async def test_of_two_readings_that_overlap_the_later_one_stays(
    database: Database, sale: Sale, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue, true_begin = Catalogue(database), Database.begin
    read, late, first = asyncio.Event(), asyncio.Event(), True

    @asynccontextmanager
    async def begin(self: Database) -> AsyncIterator[Any]:
        nonlocal first
        mine, first = first, False
        async with true_begin(self) as sql:
            yield sql
        if mine:
            read.set()
            await late.wait()

    monkeypatch.setattr(Database, "begin", begin)
    early = asyncio.create_task(catalogue.refresh())
    await read.wait()
    await run_sql(database, "UPDATE streams SET title = 'Another night'")
    await catalogue.refresh()
    late.set()
    await early
    assert catalogue.stream(sale.stream_id).title == "Another night"


@asynccontextmanager
async def _running(loop: Loop) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.ensure_future(loop(stop))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, 5)
