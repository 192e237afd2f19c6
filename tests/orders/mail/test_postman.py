"""Order mail: each fact is told once, to whoever gave an address, from what the books say."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import APIRouter
from sqlalchemy import text
from structlog.testing import capture_logs

import orders.mail.routes
import orders.routes
from orders.expiry import release_orders
from orders.ledger.seal import seal_once
from orders.lifecycle import OrderState
from orders.mail.outbox import queue_sealed_once
from orders.mail.postman import Postman, deliver_once, run_mail
from orders.mail.smtp import read_route
from orders.settlement import settle
from stream_events.access import Signer, order_token
from stream_events.database import Database
from stream_events.links import Links
from tests.applications import make_app
from tests.factories import Sale
from tests.orders.mail.post_office import open_post_office
from tests.orders.payers import Placed, place, rows, run

TO = "wang.fang@example.org"


@pytest.fixture
def routers() -> Sequence[APIRouter]:
    return (orders.routes.router, orders.mail.routes.router)


@pytest.fixture
def postman(signer: Signer, links: Links) -> Postman:
    return Postman(signer, links, mails_per_second=50)


async def addressed(database: Database, placed: Placed, contact: str = TO) -> Placed:
    await run(
        database,
        "INSERT INTO order_contacts (order_id, name, contact, address) VALUES (:id, 'Wang', :to, '12 Road')",
        id=placed.order_id,
        to=contact,
    )
    return placed


async def paid(database: Database, sale: Sale, contact: str = TO, *, quantity: int = 1) -> Placed:
    """Return an order that is paid, sealed and addressed."""
    placed = await place(database, sale, quantity=quantity, shopper_id=sale.shopper_id)
    if contact:
        await addressed(database, placed, contact)
    await settle(database, [placed.payment()])
    await seal(database)
    return placed


async def seal(database: Database) -> None:
    async with database.begin() as sql:
        await seal_once(sql)


async def outbox(database: Database) -> list[Any]:
    return await rows(database, "SELECT kind, state, reason FROM mail_outbox ORDER BY id")


async def until(found: Callable[[], Awaitable[list[Any]]]) -> None:
    """Wait until a query finds something."""
    for _ in range(500):
        if await found():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("nothing was found")


async def letters(database: Database) -> list[Any]:
    return await rows(database, 'SELECT "to", subject, body FROM mailbox_letters ORDER BY id')


async def later(database: Database, by: timedelta) -> None:
    """Let time pass for the outbox."""
    await run(
        database,
        "UPDATE mail_outbox SET due_at = due_at - CAST(:by AS interval), created_at = created_at - CAST(:by AS interval)",
        by=by,
    )


async def test_a_receipt_says_what_the_books_say(
    database: Database, sale: Sale, signer: Signer, postman: Postman
) -> None:
    await run(
        database,
        "UPDATE campaigns SET seller = 'Peanut Ltd, 1 Farm Lane', refund_terms = 'Within 7 days',"
        " refund_terms_zh = '七天内可退'",
    )
    placed = await paid(database, sale, quantity=2)
    assert await queue_sealed_once(database) == 1
    assert await deliver_once(database, postman) == 1
    [(to, subject, body)] = await letters(database)
    assert to == TO
    assert subject == f"[测试 TEST] 付款收据 Receipt · {placed.order_id}"
    link = f"http://testserver/order#{order_token(signer, placed.order_id)}"
    for line in (
        "We have received 59.80 CNY. Thank you!",
        "  Peanuts, 5 kg bag × 2: 59.80 CNY",
        "  Total: 59.80 CNY",
        "  Wang's farm: 47.84 CNY",
        "  Basketball gear: 8.97 CNY",
        "  The platform, for its costs: 2.99 CNY",
        "Seller: Peanut Ltd, 1 Farm Lane",
        "Refund terms: Within 7 days",
        "我们已收到您的付款 59.80 CNY，谢谢！",
        "  花生 5公斤袋 × 2：59.80 CNY",
        "  篮球装备：8.97 CNY",
        "退款条款：七天内可退",
        link,
    ):
        assert line in body.splitlines(), line
    assert "Wang Fang" not in body
    assert "12 Road" not in body
    assert await outbox(database) == [("paid", "SENT", None)]


async def test_gifts_shipping_tax_and_matches_stand_in_it(
    database: Database, sale: Sale, postman: Postman
) -> None:
    """The rows as the writer and settlement leave them: whoever reads the books needs no more than that."""
    placed = await addressed(database, await place(database, sale))
    pi = placed.payment_intent_id
    await run(
        database,
        "UPDATE orders SET total_minor = 6000, shipping_minor = 1000 WHERE id = :id",
        "INSERT INTO order_gifts (order_id, n, kind, beneficiary_id, amount_minor)"
        " VALUES (:id, 1, 'gift', :ben, 2010)",
        "UPDATE offer_terms SET tax_bp = 900",
        "INSERT INTO matches (id, campaign_id, sponsor, sponsor_zh, covers, ratio_bp, pot_minor, position, starts_at)"
        " VALUES ('mat_1', :campaign, 'Good Bank', '好银行', 'all', 10000, 100000, 1, now())",
        id=placed.order_id,
        ben=sale.beneficiary_id,
        campaign=sale.campaign_id,
    )
    entries = {
        ("capture", pi): {
            "stripe/clearing": 3990,
            f"farmer/{sale.farmer_id}": -2392,
            f"beneficiary/{sale.beneficiary_id}": -448,
            "platform/fees": -150,
            "platform/shipping": -1000,
        },
        ("donation", pi): {"stripe/clearing": 2010, f"beneficiary/{sale.beneficiary_id}": -2010},
        ("match", f"{pi}:mat_1"): {
            "sponsor/mat_1": 500,
            f"beneficiary/{sale.beneficiary_id}": -500,
        },
    }
    for n, ((kind, source), parts) in enumerate(entries.items(), start=1):
        await run(
            database,
            "INSERT INTO ledger_transactions"
            " (id, campaign_id, stream_id, kind, source_id, order_id, currency, lines, commitment)"
            " VALUES (:txn, :campaign, :stream, :kind, :source, :id, 'CNY', '[]', 'c')",
            "INSERT INTO seals (campaign_id, seq, transaction_id, leaf_hash) VALUES (:campaign, :n, :txn, '\\x00')",
            txn=f"txn_{n}",
            campaign=sale.campaign_id,
            stream=sale.stream_id,
            kind=kind,
            source=source,
            id=placed.order_id,
            n=n,
        )
        for account, amount in parts.items():
            await run(
                database,
                "INSERT INTO ledger_entries (transaction_id, account, amount_minor) VALUES (:t, :a, :m)",
                t=f"txn_{n}",
                a=account,
                m=amount,
            )
    await run(
        database, "INSERT INTO ledger_heads (campaign_id, size) VALUES (:c, 3)", c=sale.campaign_id
    )
    await queue_sealed_once(database)
    await deliver_once(database, postman)
    [(_, _, body)] = await letters(database)
    for line in (
        "We have received 60.00 CNY. Thank you!",
        "  Peanuts, 5 kg bag × 1: 29.90 CNY (tax included: 2.47 CNY)",
        "  Shipping: 10.00 CNY",
        "  Gift to Basketball gear: 20.10 CNY",
        "  Total: 60.00 CNY",
        "  Basketball gear: 29.58 CNY",
        "  Good Bank adds as a sponsor: 5.00 CNY",
        "  赞助商 好银行 另外配捐：5.00 CNY",
        "  运费：10.00 CNY",
    ):
        assert line in body.splitlines(), line


async def test_each_fact_is_told_once_however_often_one_looks(
    database: Database, sale: Sale, postman: Postman
) -> None:
    placed = await paid(database, sale)
    await settle(database, [placed.refund("re_1", amount_minor=1000)])
    await seal(database)
    await settle(database, [placed.refund("re_2", amount_minor=1990)])
    for _ in range(3):
        await seal(database)
        await asyncio.gather(*(queue_sealed_once(database) for _ in range(3)))
        await deliver_once(database, postman)
    await run(database, "DELETE FROM mail_positions")
    await queue_sealed_once(database)
    assert await deliver_once(database, postman) == 0
    subjects = [subject for _, subject, _ in await letters(database)]
    assert [subject.split()[3] for subject in subjects] == ["Receipt", "Refund", "Refund"]
    bodies = "".join(body for _, _, body in await letters(database))
    assert "10.00 CNY went back" in bodies
    assert "19.90 CNY went back" in bodies


async def test_late_money_is_told_to_go_back(
    database: Database, sale: Sale, postman: Postman
) -> None:
    late = await place(database, sale, "EXPIRED")
    await run(database, "UPDATE stock SET total = reserved + sold")
    await addressed(database, late)
    await settle(database, [late.payment()])
    await seal(database)
    await queue_sealed_once(database)
    await deliver_once(database, postman)
    [(_, subject, body)] = await letters(database)
    assert "Your money goes back" in subject
    assert "Your payment of 29.90 CNY came too late" in body


async def test_whoever_began_to_pay_is_told_of_the_cancelling(
    database: Database, sale: Sale, postman: Postman
) -> None:
    tried = await addressed(database, await place(database, sale, "CANCELLING", attempt="CANCELED"))
    never = await addressed(database, await place(database, sale, "CANCELLING", attempt=None))
    expired = await addressed(database, await place(database, sale, "EXPIRING"))
    async with database.begin() as sql:
        await release_orders(sql, [tried.order_id, never.order_id], OrderState.CANCELLING)
        await release_orders(sql, [expired.order_id], OrderState.EXPIRING)
    await deliver_once(database, postman)
    [(_, subject, _)] = await letters(database)
    assert "Order cancelled" in subject
    assert tried.order_id in subject


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


async def test_a_mail_that_cannot_be_written_holds_no_other_up(
    database: Database, sale: Sale, postman: Postman
) -> None:
    broken, sound = await paid(database, sale), await paid(database, sale)
    await queue_sealed_once(database)
    await run(
        database,
        "UPDATE mail_outbox SET kind = 'unheard_of' WHERE order_id = :id",
        id=broken.order_id,
    )
    with capture_logs() as logs:
        assert await deliver_once(database, postman) == 1
    assert [entry["event"] for entry in logs] == ["mail_not_written"]
    [(_, subject, _)] = await letters(database)
    assert sound.order_id in subject


async def test_live_mode_has_no_mailbox(
    database: Database,
    sale: Sale,
    app_state: dict[str, Any],
    links: Links,
    routers: Sequence[APIRouter],
) -> None:
    state = {**app_state, "links": replace(links, mode="live")}
    transport = httpx.ASGITransport(make_app(routers, state))
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as live:
        answer = await live.get("/v1/mailbox", headers=sale.auth("operator"))
    assert answer.status_code == 404


async def test_operators_read_the_mailbox_in_test_mode_alone(
    api: httpx.AsyncClient,
    database: Database,
    sale: Sale,
    postman: Postman,
) -> None:
    for _ in range(3):
        await paid(database, sale)
    await queue_sealed_once(database)
    await deliver_once(database, postman)
    page = await api.get("/v1/mailbox?limit=2", headers=sale.auth("operator"))
    assert page.headers["cache-control"] == "no-store"
    rest = await api.get(f"/v1/mailbox?cursor={page.json()['next']}", headers=sale.auth("operator"))
    found = [*page.json()["items"], *rest.json()["items"]]
    assert [item["to"] for item in found] == [TO] * 3
    assert found == sorted(found, key=lambda item: item["id"], reverse=True)
    for role in ("host", "farmer", "overlay", "shopper", "holder", "public"):
        answer = await api.get("/v1/mailbox", headers=sale.auth(role))
        assert answer.status_code == (401 if role == "public" else 403)
