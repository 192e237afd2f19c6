"""What hosts and overlays do to alerts over HTTP, up to the socket of a real gateway."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncSession
from websockets.asyncio.client import ClientConnection

from realtime.alerts import routes, waiting
from realtime.alerts.desks import hold_desk
from realtime.alerts.director import Round, run_director, tick_once
from realtime.alerts.tables import AlertDesk
from realtime.shapes import Alerts
from stream_events.database import Database
from tests.factories import Sale
from tests.realtime.alerts.conftest import Desk
from tests.realtime.alerts.paid import Paid, airings, pay, run_sql, turns
from tests.realtime.conftest import said

Start = Callable[[], Any]
PANIC_S_MAX = 0.3


def now(seconds: float = 0) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


@asynccontextmanager
async def directing(database: Database, redis: Redis) -> AsyncIterator[None]:
    """Run the worker's loop meanwhile."""
    stop = asyncio.Event()
    task = asyncio.create_task(run_director(database, redis, stop))
    yield
    stop.set()
    await task


async def state_where(client: ClientConnection, wanted: Callable[[Alerts], bool]) -> Alerts:
    """Return the first state a socket gets that is as wanted; each one fits its shape."""
    async with asyncio.timeout(5):
        while True:
            message = await said(client, within_s=5)
            if message["topic"].partition("/alerts/")[1]:
                state = msgspec.convert(message["state"], Alerts)
                if wanted(state):
                    return state


async def test_main_is_there_by_itself_and_others_are_set_and_taken_away(
    desk: Desk, sale: Sale, database: Database, redis: Redis
) -> None:
    answer = (await desk("GET alert-groups")).json()
    assert (answer["muted"], answer["panic"]) == (False, False)
    assert answer["items"] == [
        {
            "name": "main",
            "show_ms": 6000,
            "hold_s": 30,
            "hold_said_s": 300,
            "min_minor": 0,
            "large_minor": 0,
            "burst_per_s": 2,
            "waiting_max": 50,
            "compress": "auto",
            "sound": None,
        }
    ]
    set_ = await desk("PUT alert-groups/side", {"show_ms": 2000, "sound": "chime"})
    assert (set_.status_code, set_.json()["show_ms"], set_.json()["sound"]) == (200, 2000, "chime")
    assert (await desk("PUT alert-groups/side", {})).json()["show_ms"] == 6000
    await pay(database, sale, [Paid(now())])
    await tick_once(database, redis, Round(), slow=True)
    assert len(await turns(database, "side")) == 1
    assert (await desk("DELETE alert-groups/side")).status_code == 204
    assert (await desk("DELETE alert-groups/side")).status_code == 404
    assert await turns(database, "side") == []
    (topic,) = await run_sql(database, "SELECT state FROM topics WHERE topic LIKE '%/alerts/side'")
    assert topic.state["on_air"] is None
    assert (await desk("DELETE alert-groups/main")).json()["code"] == "main_group"
    for n in range(9):
        assert (await desk(f"PUT alert-groups/g{n}", {})).status_code == 200
    assert (await desk("PUT alert-groups/g9", {})).json()["code"] == "too_many_groups"
    assert (await desk("PUT alert-groups/g1", {})).status_code == 200
    await tick_once(database, redis, Round(), slow=True)
    assert [row.group_name for row in await airings(database)] == ["main", "side"]


async def test_a_group_that_goes_has_let_go_of_what_is_over_before_anybody_waits_for_it(
    desk: Desk, sale: Sale, database: Database, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk("PUT alert-groups/side", {})
    await pay(database, sale, [Paid(now()) for _ in range(9)])
    # One is on air and waits for its screens, one waits for its turn, the others are over.
    await tick_once(database, redis, Round(), slow=False)
    await run_sql(
        database,
        """
        UPDATE alert_turns SET state = 'DROPPED', reason = 'too_old', airing_id = NULL WHERE alert_id IN
            (SELECT alert_id FROM alert_turns WHERE group_name = 'side' ORDER BY alert_id LIMIT 6 OFFSET 1)""",
    )
    await run_sql(
        database,
        "UPDATE alert_turns SET state = 'WAITING', airing_id = NULL"
        " WHERE alert_id = (SELECT max(alert_id) FROM alert_turns)",
    )
    before = await turns(database)
    left: list[str] = []

    async def hold(sql: AsyncSession, stream_id: str) -> AlertDesk:
        left.extend(row.state for row in await turns(database, "side"))
        return await hold_desk(sql, stream_id)

    monkeypatch.setattr(waiting, "FORGOTTEN_AT_ONCE_MAX", 2)
    monkeypatch.setattr(routes, "hold_desk", hold)
    assert (await desk("DELETE alert-groups/side")).status_code == 204
    assert left == ["TAKEN", "TAKEN", "WAITING"]
    assert await turns(database, "side") == []
    assert await turns(database) == before


@pytest.mark.parametrize(
    ("field", "value"),
    [("show_ms", 1999), ("hold_s", 4), ("hold_said_s", 3601), ("waiting_max", 0), ("sound", "x")],
)
async def test_settings_out_of_bounds_are_refused(desk: Desk, field: str, value: Any) -> None:
    assert (await desk("PUT alert-groups/main", {field: value})).status_code == 422


async def test_the_first_overlay_counts_and_a_refreshed_one_is_told(
    desk: Desk, overlay: Desk, sale: Sale, database: Database, redis: Redis, start_process: Start
) -> None:
    topic = f"stream/{sale.stream_id}/alerts/main"
    async with start_process() as served, directing(database, redis):
        client = await served.watch(topic)
        (order_id,) = await pay(database, sale, [Paid(now())])
        on_air = (await state_where(client, lambda state: state.on_air is not None)).on_air
        assert on_air is not None
        said_so = await asyncio.gather(
            *(overlay("POST alerts/main/shown", {"airing": on_air.id}) for _ in range(5))
        )
        assert sorted(answer.json()["first"] for answer in said_so) == [False] * 4 + [True]
        # The one that was there, and one that starts now.
        shown = await state_where(client, lambda state: state.on_air is not None)
        late = await served.watch(topic)
        assert shown.on_air is not None
        assert shown.on_air.shown
        assert await state_where(late, lambda _: True) == shown
    (item,) = (await desk("GET airings?group=main")).json()["items"]
    assert item["order_ids"] == [order_id]
    assert 0 <= item["paid_to_shown_ms"] < 2_000
    assert (item["id"], item["group"], item["outcome"]) == (on_air.id, "main", "ON_AIR")
    for wrong in ("air_0", on_air.id):
        group = "main" if wrong == "air_0" else "other"
        answer = await overlay(f"POST alerts/{group}/shown", {"airing": wrong})
        assert answer.status_code == 404


async def test_skipping_lets_the_next_one_on_and_mute_none(
    desk: Desk, sale: Sale, database: Database, redis: Redis
) -> None:
    await pay(database, sale, [Paid(now(), amount_minor=n) for n in (1, 2, 3)])
    round_ = Round()
    await tick_once(database, redis, round_)
    (first,) = await airings(database)
    skipped = [(await desk("POST alerts/main/skip", {"airing": first.id})).json() for _ in range(2)]
    assert skipped == [{"skipped": True}, {"skipped": False}]
    await tick_once(database, redis, round_)
    second = (await airings(database))[1]
    assert (second.amount_minor, second.outcome) == (2, "ON_AIR")
    assert (await desk("PUT alerts/muted", {"muted": True})).json() == {
        "muted": True,
        "panic": False,
    }
    await desk("POST alerts/main/skip", {"airing": second.id})
    await tick_once(database, redis, round_)
    assert [row.outcome for row in await airings(database)] == ["SKIPPED", "SKIPPED"]
    await desk("PUT alerts/muted", {"muted": False})
    await tick_once(database, redis, round_)
    assert [row.amount_minor for row in await airings(database)] == [1, 2, 3]
    items = (await desk("GET airings?limit=2")).json()
    rest = (await desk(f"GET airings?limit=2&cursor={items['next']}")).json()
    assert [item["amount_minor"] for item in items["items"] + rest["items"]] == [3, 2, 1]
    assert rest["next"] is None


async def test_panic_is_on_every_screen_at_once_while_the_worker_is_busy(
    desk: Desk, sale: Sale, database: Database, redis: Redis, start_process: Start
) -> None:
    await desk("PUT alert-groups/side", {})
    names = [f"stream/{sale.stream_id}/alerts/{group}" for group in ("main", "side")]
    took_s = []
    async with start_process() as served, directing(database, redis):
        clients = [await served.watch(name) for name in names]
        for n in range(4):
            await pay(database, sale, [Paid(now(), sku=f"S{k % 7}") for k in range(700)])
            for client in clients:
                assert (await state_where(client, lambda state: state.on_air is not None)).on_air
            await asyncio.sleep(0.02 * n)
            began = time.monotonic()
            answer = await desk("PUT alerts/panic", {"panic": True})
            for client in clients:
                assert (await state_where(client, lambda state: state.panic)).on_air is None
            took_s.append(time.monotonic() - began)
            assert answer.json() == {"muted": False, "panic": True}
            await desk("PUT alerts/panic", {"panic": False})
            for client in clients:
                await state_where(client, lambda state: not state.panic)
    assert max(took_s) < PANIC_S_MAX, took_s
    assert {row.outcome for row in await airings(database)} <= {"CLEARED", "ON_AIR"}
    # What was cleared does not come back.
    again = await run_sql(
        database,
        "SELECT count(*) AS n FROM alert_turns t JOIN airings r ON r.id = t.airing_id"
        " WHERE r.outcome = 'CLEARED' AND t.state <> 'TAKEN'",
    )
    assert again[0].n == 0


async def test_a_worker_that_is_down_keeps_nobody_from_clearing_the_screens(
    desk: Desk,
    sale: Sale,
    database: Database,
    redis: Redis,
    start_process: Start,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # So that a screen sees what is published, and not what its gateway finds a little later.
    monkeypatch.setattr("realtime.feed.REREAD_S", 60.0)
    await pay(database, sale, [Paid(now()), Paid(now())])
    await tick_once(database, redis, Round())
    async with start_process() as served:
        client = await served.watch(f"stream/{sale.stream_id}/alerts/main")
        on_air = (await state_where(client, lambda _: True)).on_air
        assert on_air is not None
        await desk("PUT alerts/muted", {"muted": True})
        assert (await state_where(client, lambda state: state.muted)).on_air is not None
        await desk("PUT alert-groups/main", {"sound": "chime"})
        await state_where(client, lambda state: state.sound == "chime")
        await desk("POST alerts/main/shown", {"airing": on_air.id})
        await state_where(client, lambda state: state.on_air is not None and state.on_air.shown)
        await desk("POST alerts/main/skip", {"airing": on_air.id})
        await state_where(client, lambda state: state.on_air is None)
        await desk("PUT alerts/muted", {"muted": False})
        await tick_once(database, redis, Round())
        assert (await state_where(client, lambda state: not state.muted)).muted is False
        await state_where(client, lambda state: state.on_air is not None)
        await desk("PUT alerts/panic", {"panic": True})
        assert (await state_where(client, lambda state: state.panic)).on_air is None


@pytest.mark.parametrize("kind", ["order", "gift", "burst"])
async def test_a_test_says_so_and_counts_for_nothing(
    desk: Desk, sale: Sale, database: Database, redis: Redis, kind: str
) -> None:
    await desk("PUT alert-groups/side", {"min_minor": 10_000})
    body = {"kind": kind, "name": " Li  Na ", "message": "Hello\nthere", "amount_minor": 500}
    assert (await desk("POST alerts/test", body)).json()["code"] == "idempotency_key"
    sent = [await desk("POST alerts/test", body, idempotency_key="k1") for _ in range(2)]
    assert [answer.json() for answer in sent] == [{"groups": ["main", "side"]}] * 2
    await tick_once(database, redis, Round())
    topics = await run_sql(database, "SELECT state FROM topics WHERE topic LIKE '%/alerts/%'")
    for topic in topics:
        on_air = msgspec.convert(topic.state, Alerts).on_air
        assert on_air is not None
        assert (on_air.kind, on_air.message) == ("test", "Hello there")
        assert (on_air.count > 1) is (kind == "burst")
        assert (on_air.units == 0) is (kind == "gift")
    assert [(row.kind, row.count) for row in await airings(database)] == [("test", 1)] * 2
    items = (await desk("GET airings")).json()["items"]
    assert [item["order_ids"] for item in items] == [[], []]
    bad = {**body, "name": "a\u202eb"}
    assert (await desk("POST alerts/test", bad, idempotency_key="k2")).status_code == 422
    away = {**body, "group": "not-there"}
    assert (await desk("POST alerts/test", away, idempotency_key="k3")).status_code == 404


async def test_a_burst_names_no_more_than_its_newest_fifty_orders(
    desk: Desk, sale: Sale, database: Database, redis: Redis
) -> None:
    ids = await pay(database, sale, [Paid(now()) for _ in range(120)])
    await tick_once(database, redis, Round())
    (item,) = (await desk("GET airings")).json()["items"]
    assert (item["kind"], item["count"]) == ("burst", 120)
    assert item["order_ids"] == ids[:-51:-1]


async def test_five_thousand_payments_at_once_are_digested_a_bounded_tick_at_a_time(
    sale: Sale, database: Database, redis: Redis
) -> None:
    for part in range(5):
        skus = ("PEANUT-5KG", "SAUCE-1", "HONEY-1")
        await pay(
            database,
            sale,
            [Paid(now(), sku=skus[n % 3]) for n in range(part * 1000, part * 1000 + 1000)],
        )
    round_, took_ms, at = Round(), [], now()
    for n in range(80):
        # In its own CPU time, which others on the machine do not lengthen.
        began = time.process_time()
        await tick_once(database, redis, round_, at + timedelta(seconds=n / 4), slow=n % 10 == 0)
        took_ms.append((time.process_time() - began) * 1000)
        await run_sql(database, "UPDATE airings SET shown_at = now() WHERE outcome = 'ON_AIR'")
    counts = [row.count for row in await airings(database)]
    assert sum(counts) == 5_000
    assert await run_sql(database, "SELECT FROM alert_turns WHERE state <> 'TAKEN'") == []
    assert max(took_ms) < 1_500
