"""The life of an order as it is told: all that happened, in the order it happened, and nothing of a person."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio
from click.testing import Result
from typer.testing import CliRunner

from orders.answers import explain as explaining
from orders.answers.explain_words import SENTENCES
from orders.ledger import post
from orders.settlement import Told, settle, settle_told
from server.cli import app
from stream_events.access import Signer
from stream_events.database import Database
from stream_events.ids import new_id
from tests.factories import Sale, seed_sale
from tests.orders.answers.seeded_books import CLEARING, post_all, posting, seal
from tests.orders.payers import Placed, place, rows, run, snapshot_of, store_event

PERSONAL = {
    "name": "Wang Fang",
    "contact": "wang.fang@example.org",
    "address": "12 Peanut Road, Zhengyang",
    "giver": "Auntie Liu",
    "said": "Good luck to the team",
    "for": "Grandfather Chen",
    "why": "My cousin Bao ordered the same",
    "smtp": "550 wang.fang@example.org unknown",
    "typed": "Customer Li called, 13812345678",
}


@dataclass(frozen=True, slots=True)
class Life:
    """An order that everything happened to."""

    placed: Placed
    event_ids: list[str]


async def told_by_stripe(database: Database, fact: Any, event_type: str) -> str:
    event_id = await store_event(database, event_type, snapshot_of(fact))
    await settle_told(database, [Told(fact, event_id, livemode=False)])
    return event_id


@pytest_asyncio.fixture(loop_scope="session")
async def life(database: Database, sale: Sale) -> Life:
    placed = await place(database, sale, quantity=2)
    ids = {"order": placed.order_id, "id": new_id("x"), "pi": placed.payment_intent_id}
    events = [
        await told_by_stripe(database, placed.payment(fee_minor=117), "payment_intent.succeeded")
    ]
    refund = placed.refund("re_1", amount_minor=1000)
    events.append(await told_by_stripe(database, refund, "refund.updated"))
    odd = placed.payment(currency="EUR")
    events.append(await told_by_stripe(database, odd, "payment_intent.succeeded"))
    gift = [(CLEARING, 500), (f"beneficiary/{sale.beneficiary_id}", -500)]
    await post_all(
        database,
        [posting(sale, post.DONATION, gift, gifts=1, order_id=placed.order_id)],
    )
    await run(
        database,
        "INSERT INTO order_contacts (order_id, name, contact, address) VALUES (:order, :name, :contact, :address)",
        "INSERT INTO order_messages (order_id, name, message, dedication, display, consent_at)"
        " VALUES (:order, :giver, :said, :for, 'PENDING_REVIEW', now())",
        "INSERT INTO order_gifts (order_id, n, kind, beneficiary_id, amount_minor)"
        " VALUES (:order, 1, 'round_up', :beneficiary, 500)",
        "INSERT INTO refunds (id, order_id, payment_intent_id, amount_minor, reason, state, requested_by)"
        " VALUES ('rfd_1', :order, :pi, 40, :typed, 'FAILED', 'prn_1')",
        "INSERT INTO refund_requests (id, order_id, reason, state, decided_at, decided_by, refund_id)"
        " VALUES ('rrq_1', :order, :why, 'ACCEPTED', now(), 'prn_1', 'rfd_1')",
        "INSERT INTO mail_outbox (order_id, kind, source_id, state, sent_at) VALUES (:order, 'paid', 'a', 'SENT', now())",
        "INSERT INTO mail_outbox (order_id, kind, source_id, state, reason)"
        " VALUES (:order, 'refunded', 'b', 'DROPPED', :smtp)",
        "INSERT INTO matches (id, campaign_id, sponsor, covers, ratio_bp, pot_minor, position, starts_at)"
        " VALUES ('mat_1', :campaign, 'Acme', 'gifts', 10000, 9000, 1, now())",
        "INSERT INTO match_uses (match_id, order_id, shopper_id, base_minor, amount_minor, returned_minor)"
        " VALUES ('mat_1', :order, :shopper, 500, 250, 50)",
        "INSERT INTO disputes (id, order_id, payment_intent_id, amount_minor, state)"
        " VALUES ('dp_1', :order, :pi, 70, 'WON')",
        "UPDATE orders SET shipping_minor = 5, delivered_at = now() WHERE id = :order",
        **ids,
        **PERSONAL,
        beneficiary=sale.beneficiary_id,
        campaign=sale.campaign_id,
        shopper=placed.shopper_id,
    )
    events.append(await store_event(database, "charge.dispute.created", {"id": "dp_1"}))
    await seal(database)
    return Life(placed, events)


async def ask(api: httpx.AsyncClient, sale: Sale, order_id: str, lang: str = "en") -> Any:
    answer = await api.get(
        f"/v1/orders/{order_id}/explain", params={"lang": lang}, headers=sale.auth("operator")
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_everything_that_happened_is_told_in_order(
    api: httpx.AsyncClient, life: Life, sale: Sale
) -> None:
    told = await ask(api, sale, life.placed.order_id)
    texts = [each["text"] for each in told["items"]]
    codes = [each["code"] for each in told["items"]]
    assert [each["at"] for each in told["items"]] == sorted(each["at"] for each in told["items"])
    assert codes[:5] == ["placed", "line", "gift", "shipping", "key"]
    never = {"gift_placed", "stock_X", "stock_L", "stock_T"}
    assert set(codes) == SENTENCES.keys() - never
    paid_first = ["From AWAITING_PAYMENT to PAID: it is paid.", "2 × PEANUT-5KG became sold."]
    begin = texts.index(paid_first[0])
    assert texts[begin : begin + 2] == paid_first
    captured = next(text for text in texts if text.startswith("Posted to the books: Sale paid."))
    assert f"farmer {sale.farmer_id} was credited CNY 47.84" in captured
    assert "money at Stripe was debited CNY 59.80" in captured
    assert texts.index(captured) > begin
    assert codes.count("event") == codes.count("event_done") + 1 == 4
    assert any("QUARANTINED, " in text for text in texts)
    assert "From PAID to PART_REFUNDED: a part of its money went back." in texts
    assert (
        "The sponsor's match mat_1 added CNY 2.50 to a base of CNY 5.00; CNY 0.50 of it went back."
        in texts
    )
    assert "Given on top to " + sale.beneficiary_id + ": CNY 5.00 (round_up)." in texts
    seqs = [each["data"]["seq"] for each in told["items"] if each["code"] == "sealed"]
    assert seqs == sorted(seqs) == [1, 2, 3, 4]
    assert told["contact_given"] is True
    assert told["complete"] is True
    assert (told["state"], told["received_minor"], told["refunded_minor"]) == (
        "PART_REFUNDED",
        5980,
        1000,
    )


async def test_nothing_of_a_person_is_told(
    api: httpx.AsyncClient, database: Database, life: Life, sale: Sale
) -> None:
    for lang in ("en", "zh"):
        told = json.dumps(await ask(api, sale, life.placed.order_id, lang), ensure_ascii=False)
        for secret in (*PERSONAL.values(), life.placed.shopper_id, "prn_1"):
            assert secret not in told
    stored = await rows(database, "SELECT reason FROM refunds WHERE id = 'rfd_1'")
    assert stored == [(PERSONAL["typed"],)]


async def test_it_is_told_in_chinese_too(api: httpx.AsyncClient, life: Life, sale: Sale) -> None:
    english, chinese = [await ask(api, sale, life.placed.order_id, lang) for lang in ("en", "zh")]
    for here, there in zip(english["items"], chinese["items"], strict=True):
        assert {**here, "text": ""} == {**there, "text": ""}
        assert re.search("[\u4e00-\u9fff]", there["text"])
    assert "状态由 AWAITING_PAYMENT 变为 PAID：已付款。" in [
        each["text"] for each in chinese["items"]
    ]


async def test_a_late_payment_and_a_gift_without_goods(
    api: httpx.AsyncClient, database: Database, sale: Sale
) -> None:
    late = await place(database, sale, "EXPIRED")
    await settle(database, [late.payment()])
    codes = [each["code"] for each in (await ask(api, sale, late.order_id))["items"]]
    assert codes.index("stock_R") < codes.index("stock_X") < codes.index("stock_L")
    gift_id = new_id("ord")
    await run(
        database,
        "INSERT INTO orders (id, stream_id, shopper_id, state, total_minor, currency, place, placed_at, kind)"
        " VALUES (:id, :stream, 'shp_1', 'RESERVED', 500, 'JPY', 0, now(), 'gift')",
        id=gift_id,
        stream=sale.stream_id,
    )
    told = await ask(api, sale, gift_id)
    assert [each["text"] for each in told["items"]] == [
        "A gift without goods was promised, for JPY 500."
    ]
    assert (told["kind"], told["contact_given"]) == ("gift", False)


async def test_an_answer_stays_bounded_and_says_so(
    api: httpx.AsyncClient, life: Life, sale: Sale, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explaining, "ROWS_MAX", 2)
    told = await ask(api, sale, life.placed.order_id)
    assert told["complete"] is False
    assert [each["code"] for each in told["items"]].count("event") == 2


@pytest.mark.parametrize(
    ("role", "own", "others"),
    [
        ("operator", 200, 200),
        ("host", 200, 404),
        ("farmer", 403, 403),
        ("overlay", 403, 403),
        ("shopper", 403, 403),
        ("public", 401, 401),
    ],
)
async def test_who_is_told(
    api: httpx.AsyncClient,
    database: Database,
    sale: Sale,
    signer: Signer,
    role: str,
    own: int,
    others: int,
) -> None:
    other = await seed_sale(database, signer, sku="SAUCE")
    mine, theirs = await place(database, sale), await place(database, other)
    for order_id, status in ((mine.order_id, own), (theirs.order_id, others)):
        answer = await api.get(f"/v1/orders/{order_id}/explain", headers=sale.auth(role))
        assert answer.status_code == status, answer.text
    missing = await api.get("/v1/orders/ord_0/explain", headers=sale.auth(role))
    assert missing.status_code == (404 if own == 200 else own)


# --- the command --------------------------------------------------------------------------------------------------


async def command(
    database: Database, redis_url: str, *words: str
) -> "subprocess.CompletedProcess[str]":
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "server.cli", "explain", *words],
        env={**os.environ, "DATABASE_URL": database.dsn, "REDIS_URL": redis_url},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def command_here(
    database: Database, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Awaitable[Result]]:
    """Run the command in this process, on a loop of its own: each start of Python costs a second."""
    # A command sets up the log of its whole process, and this one is the tests'.
    monkeypatch.setattr("server.quiet_log.configure", lambda _level: None)
    addresses = {"DATABASE_URL": database.dsn, "REDIS_URL": redis_url}

    async def run(*words: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, app, ["explain", *words], env=addresses)

    return run


async def test_the_command_tells_the_same(
    api: httpx.AsyncClient,
    database: Database,
    redis_url: str,
    command_here: Callable[..., Awaitable[Result]],
    life: Life,
    sale: Sale,
) -> None:
    order_id = life.placed.order_id
    done = await command(database, redis_url, order_id)
    assert (done.returncode, done.stderr) == (0, "")
    told = await ask(api, sale, order_id)
    head, *lines = done.stdout.splitlines()
    assert head.startswith(
        f"{order_id}: goods, PART_REFUNDED. Total CNY 59.80, received CNY 59.80,"
    )
    assert head.endswith("A contact is on file.")
    assert lines == [f"{each['at']}  {each['text']}" for each in told["items"]]
    as_json = await command_here(order_id, "--json", "--lang", "zh")
    assert json.loads(as_json.stdout) == await ask(api, sale, order_id, "zh")


@pytest.mark.parametrize("order_id", ["ord_0", "nonsense", "ord_' OR 1=1", "'\n"])
async def test_the_command_says_that_there_is_none(
    command_here: Callable[..., Awaitable[Result]], order_id: str
) -> None:
    done = await command_here(order_id)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "there is no such order\n"
