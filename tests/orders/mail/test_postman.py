"""How order mail leaves: at least once, not too much at a time, and never while a row is locked."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import APIRouter
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from structlog.testing import capture_logs

import orders.routes
from orders.mail.letters import Matter
from orders.mail.matters import matter_of
from orders.mail.outbox import queue_sealed_once
from orders.mail.postman import Postman, deliver_once, run_mail
from orders.mail.smtp import read_route
from stream_events.access import Signer
from stream_events.database import Database
from stream_events.links import Links
from tests.factories import Sale
from tests.orders.mail.paid_orders import TO, later, letters, outbox, paid, until
from tests.orders.mail.post_office import open_post_office
from tests.orders.payers import rows, run


@pytest.fixture
def routers() -> Sequence[APIRouter]:
    return (orders.routes.router,)


async def test_mail_waits_for_a_contact_and_leaves_when_it_is_given(
    api: httpx.AsyncClient, database: Database, sale: Sale, postman: Postman
) -> None:
    placed = await paid(database, sale, contact="")
    await queue_sealed_once(database)
    assert await deliver_once(database, postman) == 0
    assert await outbox(database) == [("paid", "DUE", None)]
    contact = {"name": "Wang Fang", "contact": TO, "address": "12 Peanut Road"}
    answer = await api.put(
        f"/v1/orders/{placed.order_id}/contact", headers=sale.auth("shopper"), json=contact
    )
    assert answer.status_code == 204
    assert await deliver_once(database, postman) == 1


async def test_mail_without_an_address_is_given_up_after_a_week(
    database: Database, sale: Sale, postman: Postman
) -> None:
    await paid(database, sale, contact="")
    await paid(database, sale, contact="+86 138 0013 8000")
    await queue_sealed_once(database)
    await deliver_once(database, postman)
    assert await outbox(database) == [("paid", "DUE", None), ("paid", "DROPPED", "no_address")]
    await later(database, timedelta(days=6))
    await deliver_once(database, postman)
    assert (await outbox(database))[0] == ("paid", "DUE", None)
    await later(database, timedelta(days=2))
    await deliver_once(database, postman)
    assert (await outbox(database))[0] == ("paid", "DROPPED", "no_address")
    assert await letters(database) == []


async def test_no_more_than_so_many_leave_at_once(
    database: Database, sale: Sale, signer: Signer, links: Links
) -> None:
    for _ in range(5):
        await paid(database, sale)
    await queue_sealed_once(database)
    slow = Postman(signer, links, mails_per_second=2)
    assert [await deliver_once(database, slow) for _ in range(4)] == [2, 2, 1, 0]


async def test_live_mail_without_a_way_out_waits_and_says_so_once(
    database: Database, sale: Sale, signer: Signer, links: Links
) -> None:
    live = replace(links, mode="live")
    await paid(database, sale)
    stop = asyncio.Event()
    with capture_logs() as logs:
        running = asyncio.create_task(run_mail(database, Postman(signer, live), stop))
        await until(lambda: outbox(database))
        stop.set()
        await running
    assert [entry["event"] for entry in logs] == ["mail_waits"]
    assert await outbox(database) == [("paid", "DUE", None)]
    assert await letters(database) == []


async def test_smtp_is_tried_again_later_under_the_same_name_and_not_for_ever(
    database: Database, sale: Sale, signer: Signer, links: Links
) -> None:
    await paid(database, sale)
    await queue_sealed_once(database)
    async with open_post_office() as office:
        route = read_route(f"smtp://127.0.0.1:{office.port}?starttls=0", "orders@example.org")
        postman = Postman(signer, links, route)
        office.replies["RCPT"] = ["451 later"]
        assert await deliver_once(database, postman) == 0
        assert await outbox(database) == [("paid", "DUE", "smtp_451")]
        assert await deliver_once(database, postman) == 0, "it is not its turn yet"
        assert office.handed_in == []
        await later(database, timedelta(seconds=61))
        assert await deliver_once(database, postman) == 1
        # As if the process had died between handing it in and noting that down.
        await run(
            database,
            "UPDATE mail_outbox SET state = 'DUE', sent_at = NULL, due_at = now() - interval '1s'",
        )
        assert await deliver_once(database, postman) == 1
        ids = {
            line
            for _, _, said in office.handed_in
            for line in said.splitlines()
            if line.startswith("Message-ID:")
        }
        assert (len(office.handed_in), len(ids)) == (2, 1)
        assert await outbox(database) == [("paid", "SENT", None)]
        await run(
            database,
            "UPDATE mail_outbox SET state = 'DUE', sent_at = NULL, due_at = now(), tries = 11",
        )
        office.replies["RCPT"] = ["451 later"]
        await deliver_once(database, postman)
    assert await outbox(database) == [("paid", "DROPPED", "smtp_451")]
    assert await letters(database) == []


async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take a connection and let its client wait until it leaves."""
    await reader.read()
    writer.close()


async def test_nobody_waits_for_the_post_office_with_a_row_locked(
    database: Database, sale: Sale, signer: Signer, links: Links
) -> None:
    placed = await paid(database, sale)
    await queue_sealed_once(database)
    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    async with silent:
        port = silent.sockets[0].getsockname()[1]
        route = read_route(f"smtp://127.0.0.1:{port}?starttls=0", "orders@example.org")
        hasty = replace(route, timeout_s=1.0)
        sending = asyncio.create_task(deliver_once(database, Postman(signer, links, hasty)))
        await until(lambda: rows(database, "SELECT 1 FROM mail_outbox WHERE tries = 1"))
        async with database.begin() as sql:
            await sql.execute(text("SET LOCAL lock_timeout = '200ms'"))
            await sql.execute(text("SELECT 1 FROM mail_outbox FOR UPDATE NOWAIT"))
            given = {"id": placed.order_id}
            await sql.execute(text("DELETE FROM order_contacts WHERE order_id = :id"), given)
        assert not sending.done()
        assert await sending == 0
    assert await outbox(database) == [("paid", "DUE", "SMTPServerDisconnected")]


@pytest.mark.parametrize("fails_in", ["python", "sql"])
async def test_a_mail_that_cannot_be_written_holds_no_other_up(
    database: Database,
    sale: Sale,
    postman: Postman,
    fails_in: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken, sound = await paid(database, sale), await paid(database, sale)
    await queue_sealed_once(database)

    async def fail(sql: AsyncSession, *told: Any) -> Matter:
        if broken.order_id in told:
            await sql.execute(text("SELECT 1 / 0" if fails_in == "sql" else "SELECT 1"))
            raise LookupError
        return await matter_of(sql, *told)

    monkeypatch.setattr("orders.mail.postman.matter_of", fail)
    with capture_logs() as logs:
        assert await deliver_once(database, postman) == 1
    assert [entry["event"] for entry in logs] == ["mail_not_written"]
    [(_, subject, _)] = await letters(database)
    assert sound.order_id in subject
