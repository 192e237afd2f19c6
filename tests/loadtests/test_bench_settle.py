"""What ``bench settle`` tells must be what it measured, and its webhooks and its peer must be the real thing."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
import stripe
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from loadtests.bench.__main__ import parser
from loadtests.bench.contenders import WrongRun
from loadtests.bench.peers.settle_orm import Shop
from loadtests.bench.peers.shop_tables import SCHEMA
from loadtests.bench.processes import Server
from loadtests.bench.settle import AT_LEAST, MEASURED, Round, report, sandbox_webhook_secret
from loadtests.bench.settlers import Drained, OrmShop, make_peer_tables
from loadtests.bench.webhooks import Awaiting, Sent, payment_succeeded, send_all
from loadtests.http import Address
from orders.payments.facts import PaymentFact, event_fact
from orders.payments.webhook_signature import verify
from orders.payments.webhooks import read_event
from server.settings import Settings

SECRET = "whsec_" + "5e" * 32
ORDER = Awaiting("ord_1", "pi_one", 5980, "CNY")


def sent(seconds: float, cpu_s: float | None = None) -> Sent:
    return Sent(1000, began=0.0, seconds=seconds, server_cpu_s=cpu_s)


def a_round(drain_s: float = 0.5, cpu_s: float | None = 0.4) -> Round:
    return Round(
        end_to_end=Drained(1000, 0.8),
        stored=sent(0.5, cpu_s),
        drained=Drained(1000, drain_s, cpu_s),
        orm=Drained(900, 3.0, 3.0),
        orm_http=sent(5.0, 4.0),
    )


def test_each_rate_is_of_the_processes_that_were_timed() -> None:
    rates = a_round().rates()
    assert rates == {
        "settlements_per_second": 2000.0,
        "in_turn_per_second": 1000.0,
        "end_to_end_per_second": 1250.0,
        "stored_per_second": 2000.0,
        "orm_per_second": 300.0,
        "orm_http_per_second": 200.0,
    }
    assert set(rates) == set(MEASURED), "each figure says what it was measured with"


def test_the_report_tells_medians_and_their_ratios() -> None:
    told = report({}, [a_round(0.5), a_round(1.0), a_round(2.0)], {4: 320.0, 8: 310.04})
    assert told["name"] == "settle"
    assert told["results"]["settlements_per_second"] == 1000.0
    assert told["results"]["rounds"]["settlements_per_second"] == [2000.0, 1000.0, 500.0]
    assert told["results"]["orm_per_second_by_sessions"] == {"4": 320.0, "8": 310.0}
    assert told["results"]["cpu_us"] == {
        "api": 400.0,
        "worker": 400.0,
        "orm": 3333.3,
        "orm_http": 4000.0,
    }
    assert told["ratios"] == {
        "over_orm": 3.33,
        "in_turn_over_orm": 3.33,
        "end_to_end_over_orm": 6.25,
        "cpu_under_orm": 5.0,
    }
    assert told["met"] == {"settlements_per_second": True, "over_orm": False}
    assert set(told["targets"]) == set(told["met"]) == set(AT_LEAST)


def test_nothing_is_told_of_cpu_where_it_cannot_be_known() -> None:
    told = report({}, [a_round(cpu_s=None)], {4: 300.0})
    assert told["results"]["cpu_us"]["api"] is told["results"]["cpu_us"]["worker"] is None
    assert "cpu_under_orm" not in told["ratios"]


def test_the_command_line_knows_both_benches() -> None:
    asked = parser().parse_args(["settle", "--json", "out.json", "--orders", "500"])
    assert (asked.name, asked.rounds, asked.orders) == ("settle", 3, 500)
    asked = parser().parse_args(["sellout", "--json", "out.json", "--connections", "64"])
    assert (asked.name, asked.seconds, asked.connections) == ("sellout", 2.0, [64])


# Webhooks


def test_a_webhook_is_signed_as_stripe_signs_and_read_as_a_payment() -> None:
    webhook = payment_succeeded(ORDER, SECRET)
    stripe.WebhookSignature.verify_header(webhook.body.decode(), webhook.signature, SECRET, 300)
    verify(webhook.body, webhook.signature, [SECRET], time.time())
    event = event_fact(read_event(webhook.body).payload)
    fact = event.trusted()
    assert isinstance(fact, PaymentFact)
    assert (event.event_type, fact.status) == ("payment_intent.succeeded", "succeeded")
    assert (fact.payment_intent_id, fact.amount_received_minor, fact.currency) == (
        "pi_one",
        5980,
        "CNY",
    )
    assert fact.metadata == {"order_id": "ord_1", "attempt": "1"}
    assert fact.fee_minor is None
    assert len(webhook.body) > 1_500, "as big as Stripe's own"


def test_the_secret_is_the_one_that_the_deployment_derives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STRIPE_SECRET_KEY", raising=False)
    key = "0f" * 32
    assert Settings(secret_key=key).webhook_secrets() == (sandbox_webhook_secret(key),)


@pytest_asyncio.fixture
async def listener() -> AsyncIterator[Callable[[list[int]], Any]]:
    """A server that answers with given statuses and keeps what it was sent."""
    servers: list[asyncio.Server] = []

    async def listen(statuses: list[int]) -> tuple[Server, list[bytes]]:
        seen: list[bytes] = []

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while head := await reader.readline():
                while (line := await reader.readline()) != b"\r\n":
                    head += line
                length = int(head.lower().split(b"content-length:")[1].split()[0])
                seen.append(await reader.readexactly(length))
                status = statuses[(len(seen) - 1) % len(statuses)]
                writer.write(b"HTTP/1.1 %d x\r\ncontent-length: 2\r\n\r\n{}" % status)
            writer.close()

        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        servers.append(server)
        port = server.sockets[0].getsockname()[1]
        return Server(Address("127.0.0.1", port), pid=0), seen

    yield listen
    for server in servers:
        server.close()


async def test_each_webhook_is_sent_exactly_once(listener: Any) -> None:
    server, seen = await listener([200])
    webhooks = [payment_succeeded(ORDER._replace(order_id=f"ord_{n}"), SECRET) for n in range(50)]
    answer = await send_all(server, [each.request("/hook") for each in webhooks], 8)
    assert sorted(seen) == sorted(each.body for each in webhooks)
    assert (answer.answers, answer.lost, answer.unclear) == ({200: 50}, {}, [])
    assert (answer.count, len(answer.latency)) == (50, 50)
    assert answer.per_second == pytest.approx(50 / answer.seconds)


async def test_what_was_not_clear_can_be_repeated_as_it_was(listener: Any) -> None:
    server, _ = await listener([200, 503])
    requests = [payment_succeeded(ORDER, SECRET).request("/hook")] * 4
    answer = await send_all(server, requests, 1)
    assert answer.answers == {200: 2, 503: 2}
    assert answer.unclear == requests[:2]


# The peer


@pytest_asyncio.fixture
async def peer_sql(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    sql = await asyncpg.connect(database_url)
    await make_peer_tables(sql, database_url)
    yield sql
    await sql.execute(f"DROP SCHEMA {SCHEMA} CASCADE")
    await sql.close()


@pytest_asyncio.fixture
async def peer_engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(database_url.replace("postgresql://", "postgresql+asyncpg://"))
    yield engine
    await engine.dispose()


@pytest.fixture
def orm(peer_sql: asyncpg.Connection, tmp_path: Any) -> OrmShop:
    nowhere = Server(Address("127.0.0.1", 9), pid=0)
    return OrmShop(nowhere, tmp_path, {}, SECRET, peer_sql)


async def test_the_peer_keeps_honest_books(orm: OrmShop, peer_engine: AsyncEngine) -> None:
    shop = Shop(peer_engine, SECRET)
    sale, orders = await orm.place(12)
    with pytest.raises(WrongRun):
        await orm.check(sale, orders)
    webhooks = [payment_succeeded(order, SECRET) for order in orders]
    # Each twice and at once: the second one changes nothing.
    await asyncio.gather(*(shop.take(each.body, each.signature) for each in webhooks * 2))
    await orm.check(sale, orders)
    with pytest.raises(stripe.SignatureVerificationError):
        await shop.take(webhooks[0].body + b" ", webhooks[0].signature)


async def test_the_check_of_the_peer_misses_nothing(orm: OrmShop, peer_engine: AsyncEngine) -> None:
    shop = Shop(peer_engine, SECRET)
    sale, orders = await orm.place(2)
    for order in orders:
        webhook = payment_succeeded(order, SECRET)
        await shop.take(webhook.body, webhook.signature)
    await orm.check(sale, orders)
    for statement in (
        "UPDATE {0}.entries SET amount_minor = amount_minor + 1 WHERE account = 'farmer/1'",
        "UPDATE {0}.tallies SET sales_minor = sales_minor + 1",
        "UPDATE {0}.stock SET sold = sold + 1",
        "UPDATE {0}.orders SET state = 'AWAITING_PAYMENT' WHERE id LIKE '%_1'",
    ):
        change = orm.database.transaction()
        await change.start()
        await orm.database.execute(statement.format(SCHEMA))
        with pytest.raises(WrongRun):
            await orm.check(sale, orders)
        await change.rollback()


async def test_a_payment_of_another_amount_is_not_believed(
    orm: OrmShop, peer_engine: AsyncEngine
) -> None:
    shop = Shop(peer_engine, SECRET)
    _, [order] = await orm.place(1)
    webhook = payment_succeeded(order._replace(amount_minor=1), SECRET)
    with pytest.raises(ValueError, match="cannot have been paid"):
        await shop.take(webhook.body, webhook.signature)
