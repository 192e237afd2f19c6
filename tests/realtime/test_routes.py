"""Tickets, the console's view of the screen, and a farmer's figures, over HTTP with real credentials."""

import time
from collections.abc import Sequence
from typing import Any

import httpx
import msgspec
import pytest
from fastapi import APIRouter
from redis.asyncio import Redis
from sqlalchemy import text

from orders.payments.pace import Pace
from realtime.announcer import Known, tick_once
from realtime.audience import report_viewers
from realtime.frames import KINDS, Pass
from realtime.routes import router
from realtime.tickets import read_ticket
from stream_events.access import Signer
from stream_events.database import Database
from stream_events.links import Links
from tests.factories import Sale, seed_sale
from tests.realtime.announced import sell
from tests.realtime.conftest import Served, said

GATEWAY_URL = "ws://127.0.0.1:9"


@pytest.fixture
def routers() -> Sequence[APIRouter]:
    return (router,)


@pytest.fixture
def app_state(database: Database, redis: Redis, signer: Signer) -> dict[str, Any]:
    links = Links(
        public_url="http://127.0.0.1:8",
        gateway_url=GATEWAY_URL,
        stripe_publishable_key="pk_test_1",
        stripe_js_url="/sandbox.js",
        stripe_origins=(),
        mode="sandbox",
    )
    pace = Pace(redis, rate_per_s=2)
    return {"database": database, "redis": redis, "signer": signer, "links": links, "pace": pace}


async def ask(
    api: httpx.AsyncClient, sale: Sale, role: str, body: dict[str, Any]
) -> httpx.Response:
    return await api.post("/v1/socket-tickets", json=body, headers=sale.auth(role))


async def test_a_ticket_bought_over_http_opens_the_socket(
    api: httpx.AsyncClient, sale: Sale, signer: Signer, served: Served
) -> None:
    topic = f"farmer/{sale.farmer_id}/sales"
    answer = await ask(api, sale, "farmer", {"topics": [topic]})
    assert answer.status_code == 201
    bought = answer.json()
    assert (bought["gateway_url"], bought["expires_in_s"]) == (GATEWAY_URL, 60)
    admitted = read_ticket(signer, bought["ticket"])
    assert admitted is not None
    assert admitted == Pass("farmer", (topic,), admitted.key_id)
    assert admitted.key_id is not None
    client = await served.open()
    await client.send(msgspec.json.encode({"ticket": bought["ticket"]}).decode())
    assert (await said(client))["t"] == "hello"


@pytest.mark.parametrize(
    ("role", "status"),
    [
        ("public", 404),
        ("shopper", 404),
        ("overlay", 404),
        ("host", 404),
        ("farmer", 201),
        ("operator", 201),
    ],
)
async def test_a_farmers_topic_is_private(
    api: httpx.AsyncClient, sale: Sale, role: str, status: int
) -> None:
    body = {"topics": [f"farmer/{sale.farmer_id}/sales"]}
    assert (await ask(api, sale, role, body)).status_code == status


async def test_another_farmers_topic_is_not_there(
    api: httpx.AsyncClient, sale: Sale, database: Database, signer: Signer
) -> None:
    other = await seed_sale(database, signer, sku="CHESTNUT")
    body = {"topics": [f"farmer/{other.farmer_id}/sales"]}
    refused = await ask(api, sale, "farmer", body)
    missing = await ask(api, sale, "farmer", {"topics": ["farmer/frm_none/sales"]})
    assert refused.status_code == missing.status_code == 404
    assert refused.json() == missing.json()


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"topics": []},
        {"topics": "stream/str_1/tally"},
        {"topics": [1]},
        {"topics": [""]},
        {"topics": ["s" * 200]},
        {"topics": [f"stream/str_{n}/tally" for n in range(21)]},
        {"topics": ["stream/str_1/tally"], "kind": 3},
        {"topics": ["stream/str_1/tally"], "role": "operator"},
    ],
)
async def test_bad_ticket_requests(
    api: httpx.AsyncClient, sale: Sale, body: dict[str, Any]
) -> None:
    answer = await ask(api, sale, "public", body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


async def test_a_bad_credential_gets_no_ticket(api: httpx.AsyncClient, sale: Sale) -> None:
    body = {"topics": [f"stream/{sale.stream_id}/tally"]}
    answer = await api.post(
        "/v1/socket-tickets", json=body, headers={"authorization": "Bearer se_host_nothing"}
    )
    assert answer.status_code == 401


async def test_the_console_sees_the_screen_and_how_old_it_is(
    api: httpx.AsyncClient, sale: Sale, database: Database, redis: Redis
) -> None:
    path, headers = f"/v1/streams/{sale.stream_id}/screen", sale.auth("host")
    before = (await api.get(path, headers=headers)).json()
    assert before["frames"] == []
    assert before["looked_age_ms"] is None
    assert before["counted_in_ms"] is None
    none = {"count": 0, "paying": 0, "oldest_at": None, "minutes": 0}
    assert before["payments_waiting"] == none
    await sell(database, sale, 2)
    await tick_once(database, redis, Known())
    await report_viewers(redis, "gw_1", {(sale.stream_id, "overlay"): 3})
    screen = (await api.get(path, headers=headers)).json()
    frames = {frame["topic"].split("/")[2]: frame for frame in screen["frames"][:3]}
    assert frames["tally"]["state"]["sales_minor"] == 5980
    assert frames["stock"]["state"]["items"][0]["sku"] == sale.sku
    assert screen["frames"][3]["topic"] == f"campaign/{sale.campaign_id}/tally"
    assert screen["viewers"] == dict.fromkeys(KINDS, 0) | {"overlay": 3}
    for frame in screen["frames"]:
        assert 0 <= frame["age_ms"] < 10_000
        assert abs(time.time() * 1000 - frame["at"]) < 10_000
    assert 0 <= screen["looked_age_ms"] < 10_000
    assert 0 <= screen["counted_in_ms"] < 10_000


async def test_the_console_sees_how_many_wait_to_pay_and_for_how_long(
    api: httpx.AsyncClient, sale: Sale, database: Database
) -> None:
    async with database.begin() as sql:
        await sql.execute(
            text("""
                INSERT INTO orders (id, stream_id, shopper_id, state, total_minor, currency, place, placed_at, pay_by)
                SELECT 'ord_' || n, CASE WHEN n > 200 THEN 'str_other' ELSE :stream END, 'shp_' || n,
                       CASE WHEN n <= 3 THEN 'AWAITING_PAYMENT' WHEN n <= 5 THEN 'PAID' ELSE 'RESERVED' END,
                       2990, 'CNY', n, timestamptz '2026-11-22T12:00:00Z' + n * interval '1 second', now()
                FROM generate_series(1, 250) n
            """),
            {"stream": sale.stream_id},
        )
    path = f"/v1/streams/{sale.stream_id}/screen"
    screen = (await api.get(path, headers=sale.auth("host"))).json()
    # 245 stand in the one queue of all streams, and two a second are let through.
    assert screen["payments_waiting"] == {
        "count": 198,
        "paying": 3,
        "oldest_at": "2026-11-22T12:00:01.000Z",
        "minutes": 3,
    }


@pytest.mark.parametrize(
    ("role", "status"),
    [("public", 401), ("shopper", 403), ("farmer", 403), ("overlay", 403), ("operator", 200)],
)
async def test_only_staff_see_the_screen(
    api: httpx.AsyncClient, sale: Sale, role: str, status: int
) -> None:
    path = f"/v1/streams/{sale.stream_id}/screen"
    assert (await api.get(path, headers=sale.auth(role))).status_code == status


async def test_another_hosts_screen_is_not_there(
    api: httpx.AsyncClient, sale: Sale, database: Database, signer: Signer
) -> None:
    other = await seed_sale(database, signer, sku="CHESTNUT")
    for stream_id in (other.stream_id, "str_none"):
        answer = await api.get(f"/v1/streams/{stream_id}/screen", headers=sale.auth("host"))
        assert answer.status_code == 404


async def test_a_farmers_summary_is_the_state_of_the_topic(
    api: httpx.AsyncClient, sale: Sale, database: Database, redis: Redis
) -> None:
    path, headers = f"/v1/farmers/{sale.farmer_id}/summary", sale.auth("farmer")
    zero = (await api.get(path, headers=headers)).json()
    assert zero == {"units": 0, "income_minor": 0, "currency": None, "last": []}
    await sell(database, sale, 2)
    await tick_once(database, redis, Known())
    summary = (await api.get(path, headers=headers)).json()
    assert (summary["units"], summary["income_minor"], summary["currency"]) == (2, 4784, "CNY")
    assert summary["last"][0]["quantity"] == 2


@pytest.mark.parametrize(
    ("role", "status"),
    [("public", 401), ("shopper", 403), ("host", 403), ("overlay", 403), ("operator", 200)],
)
async def test_only_the_farmer_and_operators_see_a_summary(
    api: httpx.AsyncClient, sale: Sale, role: str, status: int
) -> None:
    path = f"/v1/farmers/{sale.farmer_id}/summary"
    assert (await api.get(path, headers=sale.auth(role))).status_code == status


async def test_another_farmers_summary_is_not_there(
    api: httpx.AsyncClient, sale: Sale, database: Database, signer: Signer
) -> None:
    other = await seed_sale(database, signer, sku="CHESTNUT")
    for farmer_id in (other.farmer_id, "frm_none"):
        answer = await api.get(f"/v1/farmers/{farmer_id}/summary", headers=sale.auth("farmer"))
        assert answer.status_code == 404
