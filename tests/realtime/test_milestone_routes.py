"""Milestones: who sets them, when one is reached, and that it is reached only once."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from fastapi import APIRouter
from redis.asyncio import Redis

from orders.ledger.post import REFUND
from realtime import milestone_routes
from realtime.announcer import Known, tick_once
from realtime.board_states import MILESTONES_MAX
from stream_events.database import Database
from tests.factories import Sale
from tests.realtime.announced import run_sql, sell, topics
from tests.realtime.test_board_routes import Desk, desk  # noqa: F401 - a fixture

NEW = {"counts": "units", "threshold": 3, "title": "The host sings", "title_zh": "主播唱歌"}


@pytest.fixture
def routers() -> Sequence[APIRouter]:
    return (milestone_routes.router,)


async def _set(desk: Desk, key: str = "k-1", **given: Any) -> dict[str, Any]:  # noqa: F811
    answer = await desk("POST milestones", {**NEW, **given}, **{"Idempotency-Key": key})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def _shown(database: Database, sale: Sale) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await topics(database))[
        f"stream/{sale.stream_id}/milestones"
    ].state["items"]
    return items


async def test_a_milestone_is_reached_once_and_stays_so_over_a_refund(
    desk: Desk,  # noqa: F811
    sale: Sale,
    database: Database,
    redis: Redis,
) -> None:
    known = Known()
    made = await _set(desk)
    assert (made["reached"], made["reached_at"], made["missing"]) == (False, None, 3)
    order_id = await sell(database, sale, 2)
    await tick_once(database, redis, known)
    assert [(s["missing"], s["reached"]) for s in await _shown(database, sale)] == [(1, False)]
    await sell(database, sale, 1)
    await tick_once(database, redis, known)
    (shown,) = await _shown(database, sale)
    assert (shown["reached"], shown["missing"]) == (True, 0)
    assert shown["reached_at"] is not None
    await sell(database, sale, 2, REFUND, order_id=order_id)
    await tick_once(database, redis, known)
    (below,) = await _shown(database, sale)
    assert below == {**shown, "reached": False, "missing": 2}
    await sell(database, sale, 4)
    await tick_once(database, redis, known)
    await tick_once(database, redis, Known())
    assert await _shown(database, sale) == [shown]
    listed = (await desk("GET milestones")).json()["items"]
    assert listed == [shown]


async def test_the_state_and_its_number_are_of_one_tally(
    desk: Desk,  # noqa: F811
    sale: Sale,
    database: Database,
    redis: Redis,
) -> None:
    await _set(desk, counts="money", threshold=1_000)
    known = Known()
    for _ in range(3):
        await sell(database, sale)
        await tick_once(database, redis, known)
        rows = await topics(database)
        tally = rows[f"stream/{sale.stream_id}/tally"].state
        state = rows[f"stream/{sale.stream_id}/milestones"].state
        assert state["seq"] == tally["seq"]
        assert state["items"][0]["missing"] == max(0, 1_000 - tally["raised_minor"])


async def test_a_threshold_that_is_moved_is_judged_anew(
    desk: Desk,  # noqa: F811
    sale: Sale,
    database: Database,
    redis: Redis,
) -> None:
    known = Known()
    one = f"milestones/{(await _set(desk))['id']}"
    await sell(database, sale, 3)
    await tick_once(database, redis, known)
    (first,) = await _shown(database, sale)
    # A title moves nothing, nor does a threshold that is reached as well.
    for change in ({"title": "The host dances"}, {"threshold": 2}):
        changed = (await desk(f"PATCH {one}", change)).json()
        assert changed["reached_at"] == first["reached_at"], change
    changed = (await desk(f"PATCH {one}", {"threshold": 10})).json()
    assert (changed["reached"], changed["reached_at"], changed["missing"]) == (False, None, 7)
    await tick_once(database, redis, known)
    assert (await _shown(database, sale))[0]["reached_at"] is None
    await desk(f"PATCH {one}", {"counts": "money", "threshold": 1})
    await tick_once(database, redis, known)
    (last,) = await _shown(database, sale)
    assert last["reached"]
    assert last["reached_at"] > first["reached_at"]


async def test_a_tick_that_breaks_off_reaches_nothing(
    desk: Desk,  # noqa: F811
    sale: Sale,
    database: Database,
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await _set(desk)
    known = Known()
    await tick_once(database, redis, known)
    known.sweep_due += 1_000
    await sell(database, sale, 3)

    async def broken(*_: Any) -> Any:
        raise OSError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr("realtime.announcer.write_states", broken)
        with pytest.raises(OSError, match="disk"):
            await tick_once(database, redis, known)
    assert (await desk("GET milestones")).json()["items"][0]["reached_at"] is None
    await tick_once(database, redis, known)
    (shown,) = await _shown(database, sale)
    assert shown["reached_at"] is not None
    assert (await desk("GET milestones")).json()["items"] == [shown]


async def test_a_milestone_a_host_holds_is_left_to_the_next_tick(
    desk: Desk,  # noqa: F811
    sale: Sale,
    database: Database,
    redis: Redis,
) -> None:
    await _set(desk)
    known = Known()
    await sell(database, sale, 3)
    held = await database.connect()
    try:
        async with held.transaction():
            await held.execute("UPDATE milestones SET threshold = 4")
            async with asyncio.timeout(0.9):
                await tick_once(database, redis, known)
        await tick_once(database, redis, known)
    finally:
        await held.close()
    (item,) = (await desk("GET milestones")).json()["items"]
    assert (item["threshold"], item["reached_at"]) == (4, None)


async def test_they_stand_from_the_lowest_up_and_are_fifty_at_most(
    desk: Desk,  # noqa: F811
    database: Database,
) -> None:
    made = await _set(desk, threshold=50)
    assert await _set(desk, threshold=50) == made  # the same key
    for n in range(1, MILESTONES_MAX):
        await _set(desk, f"n-{n}", threshold=MILESTONES_MAX - n)
    items = (await desk("GET milestones")).json()["items"]
    assert [item["threshold"] for item in items] == list(range(1, MILESTONES_MAX + 1))
    refused = await desk("POST milestones", NEW, **{"Idempotency-Key": "one-more"})
    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_milestones")
    assert (await desk(f"DELETE milestones/{made['id']}")).status_code == 204
    assert (await desk(f"DELETE milestones/{made['id']}")).status_code == 404
    await _set(desk, "again")
    await run_sql(database, "UPDATE streams SET state = 'settled'")
    for call in (f"DELETE milestones/{items[0]['id']}", f"PATCH milestones/{items[0]['id']}"):
        answer = await desk(call, {"title": "A"} if "PATCH" in call else None)
        assert (answer.status_code, answer.json()["code"]) == (409, "illegal_state")


@pytest.mark.parametrize(
    "spoilt",
    [{"threshold": 0}, {"threshold": 10**15}, {"counts": "orders"}, {"title": ""}, {"extra": 1}],
)
async def test_what_is_no_milestone_is_refused(desk: Desk, spoilt: dict[str, Any]) -> None:  # noqa: F811
    answer = await desk("POST milestones", {**NEW, **spoilt}, **{"Idempotency-Key": "k"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
