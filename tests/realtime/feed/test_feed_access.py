"""Who may read the feed over HTTP, and until when."""

import asyncio

import httpx
import pytest
from sqlalchemy import text

from realtime.newest import Newest
from stream_events.access import Signer, revoke_keys
from stream_events.database import Database
from tests.factories import Sale
from tests.realtime.conftest import frame, until
from tests.realtime.feed.readers import reading, tally

pytestmark = pytest.mark.usefixtures("redis")


async def test_a_ticket_is_a_credential(
    web: httpx.AsyncClient, board: Newest, sale: Sale, signer: Signer
) -> None:
    topic = f"farmer/{sale.farmer_id}/sales"
    board.publish([frame(1, topic=topic)])
    refused = await web.get("/v1/feed", params={"topics": topic})
    assert refused.status_code == 404
    bought = await web.post(
        "/v1/socket-tickets", json={"topics": [topic]}, headers=sale.auth("farmer")
    )
    ticket = bought.json()["ticket"]
    assert (await web.get("/v1/feed", params={"ticket": ticket})).json()["frames"]
    more = {"ticket": ticket, "topics": f"{topic},{tally(sale)}"}
    assert (await web.get("/v1/feed", params=more)).status_code == 404
    async with reading(web, ticket=ticket) as events:
        assert (await events.next())["topic"] == topic
    for spoilt in (ticket[:-1], "", "x.y", Signer(b"z" * 32).sign_until("socket", "x", 60)):
        for path in ("/v1/feed", "/v1/feed/events"):
            answer = await web.get(path, params={"ticket": spoilt})
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")


@pytest.mark.parametrize("path", ["/v1/feed", "/v1/feed/events"])
@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({}, 422),
        ({"topics": ""}, 404),
        ({"topics": "stream/x"}, 404),
        ({"topics": ",".join(f"stream/str_{n}/tally" for n in range(21))}, 422),
        ({"topics": "farmer/frm_1/sales"}, 404),
        ({"topics": "stream/str_1/review"}, 404),
    ],
)
async def test_the_rule_of_tickets_holds(
    api: httpx.AsyncClient, path: str, asked: dict[str, str], status: int
) -> None:
    assert (await api.get(path, params=asked)).status_code == status


async def test_a_revoked_key_ends_what_it_opened(
    web: httpx.AsyncClient, board: Newest, sale: Sale, database: Database
) -> None:
    path = f"/v1/feed?topics={tally(sale)}&wait=25"
    headers = sale.auth("overlay")
    known = headers | {"if-none-match": (await web.get(path, headers=headers)).headers["etag"]}
    async with (
        reading(web, headers=headers, topics=tally(sale)) as events,
        reading(web, topics=tally(sale)) as public,
    ):
        waits = asyncio.create_task(web.get(path, headers=known))
        bought = await web.post(
            "/v1/socket-tickets", json={"topics": [tally(sale)]}, headers=sale.auth("overlay")
        )
        etag = {"if-none-match": known["if-none-match"]}
        by_ticket = asyncio.create_task(
            web.get(
                "/v1/feed", params={"ticket": bought.json()["ticket"], "wait": 25}, headers=etag
            )
        )
        await until(lambda: len(board._standing[False]) == 2)
        async with database.begin() as sql:
            overlay = "SELECT id FROM principals WHERE stream_id = :id"
            principal = await sql.scalar(text(overlay), {"id": sale.stream_id})
            await revoke_keys(sql, principal)
        assert (await asyncio.wait_for(waits, 5)).status_code == 401
        assert (await asyncio.wait_for(by_ticket, 5)).status_code == 401
        with pytest.raises(EOFError):
            await events.next(5)
        board.publish([frame(1, topic=tally(sale))])
        assert (await public.next())["version"] == 1
