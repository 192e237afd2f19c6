"""A stream's life goes one way, one step at a time, and goods have their say in it."""

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import select, text

from inventory.tables import Stock, StreamGate
from stream_events.database import Database
from tests.factories import Sale, make_stream

LIFE = ["draft", "scheduled", "live", "ended", "settled"]


async def _set(database: Database, state: str) -> None:
    async with database.begin() as sql:
        await sql.execute(text("UPDATE streams SET state = :state"), {"state": state})


async def _step(api: httpx.AsyncClient, sale: Sale, to: str) -> httpx.Response:
    return await api.post(
        f"/v1/streams/{sale.stream_id}/state", json={"state": to}, headers=sale.auth("host")
    )


async def test_a_whole_life(
    api: httpx.AsyncClient, sale: Sale, database: Database, catalogue: Any
) -> None:
    async with database.begin() as sql:
        await sql.execute(text("UPDATE streams SET state = 'draft', live_at = NULL"))
    for state in LIFE[1:]:
        answer = await _step(api, sale, state)
        assert (answer.status_code, answer.json()["state"]) == (200, state), answer.text
        assert (answer.json()["live_at"] is not None) == (state in LIFE[2:])
        assert (answer.json()["ended_at"] is not None) == (state in LIFE[3:])
        found = catalogue.find(sale.stream_id)
        assert found is None if state == "settled" else found.state == state


@pytest.mark.parametrize("state", LIFE)
async def test_every_other_step_is_illegal(
    api: httpx.AsyncClient, sale: Sale, database: Database, state: str
) -> None:
    await _set(database, state)
    allowed = LIFE[LIFE.index(state) + 1 :][:1]
    for to in LIFE:
        if to in allowed:
            continue
        answer = await _step(api, sale, to)
        assert (answer.status_code, answer.json()["code"]) == (409, "illegal_state")
        assert answer.json()["state"] == state
        assert answer.json()["next"] == (allowed[0] if allowed else None)


async def test_nothing_goes_live_without_an_offer(
    api: httpx.AsyncClient, sale: Sale, database: Database
) -> None:
    async with database.begin() as sql:
        stream = await make_stream(
            sql, sale.campaign_id, sale.host_id, state="scheduled", live_at=None
        )
    path = f"/v1/streams/{stream.id}"
    answer = await api.post(path + "/state", json={"state": "live"}, headers=sale.auth("host"))
    assert (answer.status_code, answer.json()["code"]) == (409, "nothing_on_offer")
    after = (await api.get(path, headers=sale.auth("host"))).json()
    assert (after["state"], after["live_at"]) == ("scheduled", None)


async def test_nothing_is_settled_while_units_are_reserved_and_then_the_gate_is_shut(
    api: httpx.AsyncClient, sale: Sale, database: Database
) -> None:
    await _set(database, "ended")
    async with database.begin() as sql:
        await sql.execute(text("UPDATE stock SET reserved = 3"))
    answer = await _step(api, sale, "settled")
    assert (answer.status_code, answer.json()["code"], answer.json()["reserved"]) == (
        409,
        "units_still_reserved",
        3,
    )
    async with database.begin() as sql:
        assert (await sql.execute(select(StreamGate.epoch))).scalar_one() == sale.epoch
        await sql.execute(text("UPDATE stock SET reserved = 0"))
    assert (await _step(api, sale, "settled")).status_code == 200
    async with database.begin() as sql:
        assert (await sql.execute(select(Stock.gate_epoch))).scalar_one() > sale.epoch


async def test_of_many_who_take_the_same_step_one_does(api: httpx.AsyncClient, sale: Sale) -> None:
    answers = await asyncio.gather(*(_step(api, sale, "ended") for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 5


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"state": "LIVE"},
        {"state": ""},
        {"state": None},
        {"state": 3},
        {"state": "live", "at": 1},
    ],
)
async def test_a_state_that_is_none_is_refused(
    api: httpx.AsyncClient, sale: Sale, body: Any
) -> None:
    answer = await api.post(
        f"/v1/streams/{sale.stream_id}/state", json=body, headers=sale.auth("host")
    )
    assert answer.status_code == 422


async def test_a_settled_stream_stays_as_it_is(
    api: httpx.AsyncClient, sale: Sale, database: Database
) -> None:
    await _set(database, "settled")
    answer = await api.patch(
        f"/v1/streams/{sale.stream_id}", json={"goal_minor": 1}, headers=sale.auth("host")
    )
    assert (answer.status_code, answer.json()["code"]) == (409, "illegal_state")
