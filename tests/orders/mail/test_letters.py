"""What order mail says: each fact once, to whoever gave an address, from what the books say."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi import APIRouter

import orders.mail.routes
from orders.expiry import release_orders
from orders.lifecycle import OrderState
from orders.mail.outbox import queue_declined_once, queue_sealed_once
from orders.mail.postman import Postman, deliver_once
from orders.settlement import settle
from stream_events.access import Signer, order_token
from stream_events.database import Database
from stream_events.links import Links
from tests.applications import make_app
from tests.factories import Sale
from tests.orders.mail.paid_orders import TO, addressed, letters, outbox, paid, seal
from tests.orders.payers import Placed, place, run


@pytest.fixture
def routers() -> Sequence[APIRouter]:
    return (orders.mail.routes.router,)


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


async def post_and_seal(
    database: Database,
    sale: Sale,
    placed: Placed,
    entries: Mapping[tuple[str, str], Mapping[str, int]],
) -> None:
    """Write these postings, (kind, source) → account → amount, as sealed."""
    given = {"campaign": sale.campaign_id, "stream": sale.stream_id, "id": placed.order_id}
    for n, ((kind, source), parts) in enumerate(entries.items(), start=1):
        await run(
            database,
            """INSERT INTO ledger_transactions
               (id, campaign_id, stream_id, kind, source_id, order_id, currency, lines, commitment)
               VALUES (:txn, :campaign, :stream, :kind, :source, :id, 'CNY', '[]', 'c')""",
            **given,
            txn=f"txn_{n}",
            kind=kind,
            source=source,
        )
        for account, amount_minor in parts.items():
            await run(
                database,
                "INSERT INTO ledger_entries (transaction_id, account, amount_minor) VALUES (:t, :a, :m)",
                t=f"txn_{n}",
                a=account,
                m=amount_minor,
            )
        await run(
            database,
            """INSERT INTO seals (campaign_id, seq, transaction_id, leaf_hash)
               VALUES (:campaign, :n, :txn, '\\x00')""",
            campaign=sale.campaign_id,
            n=n,
            txn=f"txn_{n}",
        )
    await run(
        database,
        "INSERT INTO ledger_heads (campaign_id, size) VALUES (:campaign, :size)",
        campaign=sale.campaign_id,
        size=len(entries),
    )


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
    await post_and_seal(database, sale, placed, entries)
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
    rest = await api.get(f"/v1/mailbox?cursor={page.json()['next']}", headers=sale.auth("operator"))
    found = [*page.json()["items"], *rest.json()["items"]]
    assert [item["to"] for item in found] == [TO] * 3
    assert found == sorted(found, key=lambda item: item["id"], reverse=True)
    for role in ("host", "farmer", "overlay", "shopper", "holder", "public"):
        answer = await api.get("/v1/mailbox", headers=sale.auth(role))
        assert answer.status_code == (401 if role == "public" else 403)


async def test_a_wish_that_was_declined_is_answered_once(
    database: Database, sale: Sale, postman: Postman
) -> None:
    placed = await paid(database, sale)
    await run(
        database,
        "INSERT INTO refund_requests (id, order_id, state, decided_at) VALUES ('rrq_1', :id, 'WITHDRAWN', now()),"
        " ('rrq_2', :id, 'DECLINED', now()), ('rrq_3', :id, 'DECLINED', now() - interval '8 days')",
        id=placed.order_id,
    )
    assert [await queue_declined_once(database) for _ in range(2)] == [1, 0]
    await deliver_once(database, postman)
    [(_, subject, body)] = await letters(database)
    assert "About your refund request" in subject
    assert "was declined" in body
