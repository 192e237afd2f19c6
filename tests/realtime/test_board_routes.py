"""What a host may put up, when, and what each refusal is called."""

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi import APIRouter
from redis.asyncio import Redis
from sqlalchemy import text

import inventory.routes
import stream_events.routes
from inventory.offers import Catalogue
from realtime import board_routes, milestone_routes
from realtime.announcer import Known, run_announcer, tick_once
from stream_events.database import Database
from tests.factories import Sale, make_product
from tests.realtime.announced import Listener, run_sql, sell, topics
from tests.realtime.conftest import until

STATES = ("draft", "scheduled", "live", "ended", "settled")


@pytest.fixture
def routers() -> Sequence[APIRouter]:
    return (
        stream_events.routes.router,
        inventory.routes.router,
        board_routes.router,
        milestone_routes.router,
    )


class Desk:
    """A host at work on one stream."""

    def __init__(self, api: httpx.AsyncClient, sale: Sale, role: str = "host") -> None:
        self._api, self._headers = api, sale.auth(role)
        self._path = f"/v1/streams/{sale.stream_id}"

    async def __call__(self, call: str, body: Any = None, **headers: str) -> httpx.Response:
        method, part = call.split(" ")
        return await self._api.request(
            method,
            f"{self._path}/{part}",
            headers={**self._headers, **headers},
            json=body,
        )


@pytest.fixture
def desk(api: httpx.AsyncClient, sale: Sale) -> Desk:
    return Desk(api, sale)


async def _set(database: Database, state: str) -> None:
    await run_sql(database, "UPDATE streams SET state = :state", state=state)


async def test_a_board_begins_empty_and_shows_each_offer_as_the_shop_does(
    desk: Desk, api: httpx.AsyncClient, sale: Sale, catalogue: Catalogue
) -> None:
    await catalogue.refresh()
    board = (await desk("GET board")).json()
    assert (board["pinned_sku"], board["timer"], board["floor"]) == (None, None, None)
    assert board["shop_url"] == f"http://testserver/shop/{sale.stream_id}"
    front = (await api.get(f"/v1/streams/{sale.stream_id}/storefront")).json()
    for card, offer in zip(board["cards"], front["offers"], strict=True):
        assert card == {name: offer[name] for name in card}
    assert board["cards"][0]["beneficiary_minor"] == 449


async def test_a_product_of_the_stream_is_pinned_and_no_other(
    desk: Desk, sale: Sale, database: Database
) -> None:
    async with database.begin() as sql:
        await make_product(sql, sale.farmer_id, sku="ELSEWHERE")
    assert (await desk("PATCH board", {"pinned_sku": sale.sku})).json()["pinned_sku"] == sale.sku
    refused = await desk("PATCH board", {"pinned_sku": "ELSEWHERE"})
    assert (refused.status_code, refused.json()["code"]) == (422, "unknown_sku")
    assert (await desk("GET board")).json()["pinned_sku"] == sale.sku
    assert (await desk("PATCH board", {"pinned_sku": None})).json()["pinned_sku"] is None
    assert (await desk("PATCH board", {})).status_code == 422


@pytest.mark.parametrize("state", STATES)
async def test_what_a_state_allows(desk: Desk, sale: Sale, database: Database, state: str) -> None:
    await _set(database, state)
    open_, begun = state != "settled", state not in {"draft", "settled"}
    allowed = {
        "PATCH board": ({"pinned_sku": sale.sku}, open_),
        "PUT floor": (None, begun),
        "DELETE floor": (None, open_),
        "DELETE timer": (None, open_),
    }
    for call, (body, may) in allowed.items():
        answer = await desk(call, body)
        assert answer.status_code == (200 if may else 409), (call, answer.text)
        if not may:
            assert (answer.json()["code"], answer.json()["state"]) == ("illegal_state", state)
    for what, wanted in (("opens", "scheduled"), ("closes", "live")):
        answer = await desk("PUT timer", {"what": what, "in_s": 60})
        assert answer.status_code == (200 if state == wanted else 409), answer.text
    assert (await desk("GET board")).status_code == 200


@pytest.mark.parametrize(
    ("what", "in_s", "status"),
    [
        ("opens", 9, 422),
        ("opens", 10, 200),
        ("opens", 300, 200),
        ("opens", 301, 422),
        ("closes", 59, 422),
        ("closes", 60, 200),
        ("closes", 1200, 200),
        ("closes", 1201, 422),
    ],
)
async def test_a_timer_has_bounds(
    desk: Desk, database: Database, what: str, in_s: int, status: int
) -> None:
    await _set(database, "scheduled" if what == "opens" else "live")
    assert (await desk("PUT timer", {"what": what, "in_s": in_s})).status_code == status


async def test_an_opening_is_promised_to_shoppers_and_taken_back(
    desk: Desk, sale: Sale, database: Database, catalogue: Catalogue
) -> None:
    await _set(database, "scheduled")
    board = (await desk("PUT timer", {"what": "opens", "in_s": 30})).json()
    at = datetime.fromisoformat(board["timer"]["at"])
    view = catalogue.stream(sale.stream_id)
    assert view.opens_at is not None
    assert abs(view.opens_at - at) < timedelta(milliseconds=1)
    async with database.begin() as sql:
        left_s = await sql.scalar(text("SELECT extract(epoch FROM opens_at - now()) FROM streams"))
    assert 29 < left_s <= 30
    later = (await desk("PUT timer", {"what": "opens", "in_s": 60})).json()["timer"]["at"]
    assert datetime.fromisoformat(later) - at > timedelta(seconds=29)
    assert (await desk("DELETE timer")).json()["timer"] is None
    assert catalogue.stream(sale.stream_id).opens_at is None
    assert (await desk("DELETE timer")).status_code == 200


async def test_calling_off_a_timer_leaves_an_opening_that_was_planned(
    desk: Desk, api: httpx.AsyncClient, sale: Sale, database: Database
) -> None:
    await _set(database, "scheduled")
    await desk("PUT timer", {"what": "opens", "in_s": 30})
    planned = {"opens_at": "2030-01-01T00:00:00.000Z"}
    at = f"/v1/streams/{sale.stream_id}"
    await api.patch(at, json=planned, headers=sale.auth("host"))
    await desk("DELETE timer")
    stream = (await api.get(at, headers=sale.auth("host"))).json()
    assert stream["opens_at"] == planned["opens_at"]


async def test_tonight_begins_where_the_books_are(
    desk: Desk, sale: Sale, database: Database, redis: Redis
) -> None:
    known = Known()
    topic = f"stream/{sale.stream_id}/tonight"
    await sell(database, sale, 2)
    await tick_once(database, redis, known)
    state = (await topics(database))[topic].state
    assert (state["units"], state["since_seq"], state["since_at"]) == (2, 0, None)
    floor = (await desk("PUT floor")).json()["floor"]
    assert floor["seq"] == 1
    await tick_once(database, redis, known)
    state = (await topics(database))[topic].state
    assert (state["units"], state["orders"], state["raised_minor"]) == (0, 0, 0)
    assert (state["seq"], state["since_seq"], state["since_at"]) == (1, 1, floor["at"])
    await sell(database, sale, 3)
    await tick_once(database, redis, known)
    rows = await topics(database)
    assert rows[topic].state["units"] == 3
    assert rows[f"stream/{sale.stream_id}/tally"].state["units"] == 5
    assert (await desk("DELETE floor")).json()["floor"] is None
    await tick_once(database, redis, known)
    assert (await topics(database))[topic].state["units"] == 5


@pytest.mark.parametrize("call", ["GET board", "PUT floor", "GET milestones"])
async def test_a_board_is_its_host_s_and_the_operators(
    api: httpx.AsyncClient, sale: Sale, call: str
) -> None:
    for role, status in {
        "host": 200,
        "operator": 200,
        "overlay": 403,
        "farmer": 403,
        "shopper": 403,
        "public": 401,
    }.items():
        assert (await Desk(api, sale, role)(call)).status_code == status, role


async def test_a_new_price_is_on_the_card_a_tick_later_and_old_orders_keep_theirs(
    desk: Desk, sale: Sale, database: Database, redis: Redis
) -> None:
    known = Known()
    await tick_once(database, redis, known)
    known.sweep_due += 1_000  # so that nothing but the new terms can be what makes it look
    await tick_once(database, redis, known)
    terms = {
        "price_minor": 1990,
        "per_shopper_max": 5,
        "beneficiary_id": sale.beneficiary_id,
        "farmer_bp": 5000,
        "beneficiary_bp": 5000,
        "fees_bp": 0,
    }
    assert (await desk(f"PUT offers/{sale.sku}", terms)).status_code == 200
    assert await tick_once(database, redis, known) == 1
    (card,) = (await topics(database))[f"stream/{sale.stream_id}/board"].state["cards"]
    assert (card["price_minor"], card["farmer_minor"], card["beneficiary_minor"]) == (
        1990,
        995,
        995,
    )


async def test_a_pin_is_on_the_board_a_tick_later(
    desk: Desk, sale: Sale, database: Database, redis: Redis
) -> None:
    known = Known()
    await tick_once(database, redis, known)
    known.sweep_due += 1_000
    await desk("PATCH board", {"pinned_sku": sale.sku})
    assert await tick_once(database, redis, known) == 1
    board = (await topics(database))[f"stream/{sale.stream_id}/board"].state
    assert board["pinned_sku"] == sale.sku


async def test_a_pin_reaches_screens_in_less_than_four_tenths_of_a_second(
    desk: Desk, sale: Sale, database: Database, redis: Redis, bus: Listener
) -> None:
    stop, topic = asyncio.Event(), f"stream/{sale.stream_id}/board"
    loop = asyncio.create_task(run_announcer(database, redis, stop))
    await until(lambda: bool(bus.of(topic)))
    took_s = []
    for sku in (sale.sku, None, sale.sku):
        frames, started = len(bus.of(topic)), time.monotonic()
        await desk("PATCH board", {"pinned_sku": sku})
        await until(lambda frames=frames: len(bus.of(topic)) > frames)
        took_s.append(time.monotonic() - started)
        assert bus.of(topic)[-1]["state"]["pinned_sku"] == sku
    stop.set()
    await loop
    assert min(took_s) < 0.4, took_s  # the rest is how busy this machine is


async def test_a_scheduled_stream_whose_board_changed_is_as_hot_as_a_live_one(
    desk: Desk, sale: Sale, database: Database, redis: Redis
) -> None:
    await _set(database, "scheduled")
    known = Known()
    await tick_once(database, redis, known)
    known.sweep_due += 1_000
    await desk("PUT timer", {"what": "opens", "in_s": 60})
    assert await tick_once(database, redis, known) == 2  # the board and the status
    board = (await topics(database))[f"stream/{sale.stream_id}/board"].state
    assert board["timer"]["what"] == "opens"
