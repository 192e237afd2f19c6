"""Orders over HTTP: what a shopper sees of their own, what nobody sees of others', and where a parcel goes."""

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from fastapi import APIRouter
from redis.asyncio import Redis
from sqlalchemy import text

from orders.expiry import expire_once
from orders.payments.card_testing import CardTesting
from orders.payments.pace import KEY
from orders.routes import router
from stream_events.access import Role, Signer, create_principal, new_shopper
from tests.factories import bearer, make_host
from tests.orders.payments.counter import Counter

CONTACT = {
    "name": "Wang Fang",
    "contact": "wang.fang@example.org",
    "address": "12 Peanut Road\nZhengyang, Henan 463600",
}


@pytest.fixture
def routers() -> Sequence[APIRouter]:
    return (router,)


@pytest.fixture
def app_state(app_state: dict[str, Any], counter: Counter) -> dict[str, Any]:
    return {
        **app_state,
        "inbox": counter.inbox,
        "pace": counter.pace,
        "stripe": counter.sandbox.gateway,
        "webhook_secrets": (),
    }


@pytest.fixture
def mine(counter: Counter) -> dict[str, str]:
    return counter.sale.auth("shopper")


async def look(api: httpx.AsyncClient, order_id: str, who: dict[str, str]) -> Any:
    answer = await api.get(f"/v1/orders/{order_id}", headers=who)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_waiting_order_knows_its_place(
    api: httpx.AsyncClient, counter: Counter, mine: dict[str, str]
) -> None:
    orders = [await counter.place(2) for _ in range(3)]
    seen = await look(api, orders[2], mine)
    assert (seen["state"], seen["ahead"], seen["minutes"]) == ("RESERVED", 2, 1)
    assert seen["lines"] == [
        {
            "sku": counter.sale.sku,
            "quantity": 2,
            "unit_minor": 2990,
            "amount_minor": 5980,
            "tax_minor": 0,
        }
    ]
    assert seen["total"] == {"amount_minor": 5980, "currency": "CNY"}
    assert (seen["payment"], seen["attempts_left"], seen["contact_given"]) == (None, 3, False)
    assert seen["pay_by"] is None
    assert seen["server_time"].endswith("Z")
    await counter.turns(2)
    assert (await look(api, orders[2], mine))["ahead"] == 0
    first = await look(api, orders[0], mine)
    assert (first["ahead"], first["minutes"]) == (None, None)
    assert first["pay_by"] > first["server_time"]


@pytest.mark.parametrize("same", ["session", "network"])
async def test_who_tests_cards_hears_only_later(
    api: httpx.AsyncClient,
    counter: Counter,
    mine: dict[str, str],
    redis: Redis,
    signer: Signer,
    same: str,
) -> None:
    order_id = await counter.offered()
    watch = CardTesting(redis, signer)
    for number in range(20):
        # The test client calls from 127.0.0.1.
        session = counter.sale.shopper_id if same == "session" else f"shp_{number}"
        address = "127.0.0.77" if same == "network" else f"10.{number}.0.1"
        await watch.count(watch.presented(session, address), declined=True)
    token = {"confirmation_token": await counter.sandbox.token()}
    for path, body in (("pay", token), ("checkout", None)):
        answer = await api.post(f"/v1/orders/{order_id}/{path}", headers=mine, json=body)
        assert (answer.status_code, answer.json()["code"]) == (429, "pay_later")
        assert int(answer.headers["retry-after"]) > 0
        assert "decline" not in answer.text
    assert await counter.rows("SELECT 1 FROM pay_attempts") == []


async def test_place_and_minutes_are_those_of_the_pace_there_is(
    api: httpx.AsyncClient, counter: Counter, mine: dict[str, str], redis: Redis
) -> None:
    first = await counter.place()
    async with counter.database.begin() as sql:
        await sql.execute(
            text(
                "INSERT INTO orders (id, stream_id, shopper_id, state, total_minor, currency, place, placed_at)"
                " SELECT :after || lpad(n::text, 6, '0'), :stream, 'shp_crowd', 'RESERVED', 100, 'CNY', n, now()"
                " FROM generate_series(1, 1500) n"
            ),
            {"after": first, "stream": counter.sale.stream_id},
        )
    last = await counter.place()
    for rate_per_s, minutes in ((20, 2), (10, 3), (5, 6), (100, 1)):
        await redis.hset(KEY, "rate", str(rate_per_s))
        await asyncio.sleep(1.05)  # A shopper is told a rate that is at most a second old.
        seen = await look(api, last, mine)
        assert (seen["ahead"], seen["minutes"]) == (1501, minutes)


async def test_a_payment_as_its_shopper_follows_it(
    api: httpx.AsyncClient, counter: Counter, mine: dict[str, str]
) -> None:
    order_id = await counter.offered()
    token = await counter.sandbox.token("pm_card_authenticationRequired")
    answer = await api.post(
        f"/v1/orders/{order_id}/pay", headers=mine, json={"confirmation_token": token}
    )
    assert answer.status_code == 200
    assert answer.json()["payment"]["status"] == "requires_action"
    seen = await look(api, order_id, mine)
    assert seen["payment"] == answer.json()["payment"]
    assert seen["payment"]["client_secret"]
    for staff in ("host", "operator"):
        shown = await look(api, order_id, counter.sale.auth(staff))
        assert shown["payment"] == {"status": "requires_action", "client_secret": None}
    await counter.pay(order_id)
    await counter.end_time(order_id)
    await expire_once(counter.database, counter.sandbox.gateway, counter.pace)
    paid = await look(api, order_id, mine)
    assert (paid["state"], paid["payment"]["status"], paid["attempts_left"]) == (
        "PAID",
        "succeeded",
        0,
    )


async def test_an_unknown_outcome_is_checking(
    api: httpx.AsyncClient, counter: Counter, mine: dict[str, str]
) -> None:
    order_id = await counter.offered()
    await counter.pay_unanswered(order_id)
    assert (await look(api, order_id, mine))["payment"]["status"] == "checking"
    await counter.end_time(order_id)
    async with counter.database.begin() as sql:
        await sql.execute(text("UPDATE orders SET state = 'EXPIRING'"))
    assert (await look(api, order_id, mine))["payment"]["status"] == "checking"


async def test_somebody_elses_order_does_not_exist(
    api: httpx.AsyncClient, counter: Counter, signer: Signer
) -> None:
    order_id = await counter.offered()
    async with counter.database.begin() as sql:
        host = await make_host(sql)
        _, other_host = await create_principal(sql, Role.HOST, "Other", host_id=host.id)
    stranger = bearer(new_shopper(signer)[1])
    missing = f"ord_{'0' * 32}"
    token = {"confirmation_token": await counter.sandbox.token()}
    for method, path, body in (
        ("GET", "", None),
        ("PUT", "/contact", CONTACT),
        ("DELETE", "/contact", None),
        ("POST", "/pay", token),
        ("POST", "/checkout", None),
        ("DELETE", "/checkout", None),
        ("GET", "/payment-options", None),
        ("POST", "/cancel", None),
    ):
        answers = [
            await api.request(method, f"/v1/orders/{each}{path}", headers=stranger, json=body)
            for each in (order_id, missing)
        ]
        assert [answer.status_code for answer in answers] == [404, 404]
        assert answers[0].content == answers[1].content
    assert (await api.get(f"/v1/orders/{order_id}", headers=bearer(other_host))).status_code == 404
    assert (await api.get("/v1/orders", headers=stranger)).json() == {"items": [], "next": None}


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "", {"shopper", "holder", "operator", "host"}),
        ("PUT", "/contact", {"shopper", "holder"}),
        ("DELETE", "/contact", {"shopper", "holder"}),
        ("POST", "/pay", {"shopper"}),
        ("POST", "/checkout", {"shopper", "holder"}),
        ("DELETE", "/checkout", {"shopper", "holder"}),
        ("GET", "/payment-options", {"shopper", "holder"}),
        ("POST", "/cancel", {"shopper", "holder", "operator", "host"}),
    ],
)
async def test_who_may_call_what(
    api: httpx.AsyncClient, counter: Counter, method: str, path: str, allowed: set[str]
) -> None:
    order_id = await counter.place()
    for role in ("public", "shopper", "holder", "operator", "host", "farmer", "overlay"):
        answer = await api.request(
            method, f"/v1/orders/{order_id}{path}", headers=counter.sale.auth(role)
        )
        if role == "public":
            assert answer.status_code == 401
        else:
            assert (answer.status_code == 403) == (role not in allowed)


async def test_the_list_is_paged_newest_first(
    api: httpx.AsyncClient, counter: Counter, mine: dict[str, str]
) -> None:
    orders = [await counter.place() for _ in range(5)]
    seen, cursor = [], ""
    while cursor is not None:
        page = (await api.get(f"/v1/orders?limit=2{cursor}", headers=mine)).json()
        seen += [item["id"] for item in page["items"]]
        cursor = f"&cursor={page['next']}" if page["next"] else None
    assert seen == orders[::-1]
    for query in ("limit=101", "limit=0", "cursor=xx", "cursor=%00"):
        assert (await api.get(f"/v1/orders?{query}", headers=mine)).status_code == 422


async def test_a_contact_is_given_corrected_and_erased(
    api: httpx.AsyncClient, counter: Counter, mine: dict[str, str]
) -> None:
    order_id = await counter.place()
    url = f"/v1/orders/{order_id}/contact"
    assert (await api.put(url, headers=mine, json=CONTACT)).status_code == 204
    assert (await api.put(url, headers=mine, json={**CONTACT, "name": " 王芳 "})).status_code == 204
    assert await counter.rows("SELECT name, contact, address FROM order_contacts") == [
        ("王芳", CONTACT["contact"], CONTACT["address"])
    ]
    seen = await api.get(f"/v1/orders/{order_id}", headers=mine)
    assert seen.json()["contact_given"] is True
    assert "wang" not in seen.text
    for _ in range(2):
        assert (await api.delete(url, headers=mine)).status_code == 204
    assert await counter.rows("SELECT 1 FROM order_contacts") == []
    assert (await look(api, order_id, mine))["contact_given"] is False


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": "x" * 101},
        {"name": "a\u202eb"},
        {"name": 7},
        {"name": None},
        {"contact": "\x00\x00\x00"},
        {"contact": "a\nb"},
        {"contact": "  a  "},
        {"address": "x" * 501},
        {"address": "Road\x1b[31m"},
        {"address": "\u2066Road 12"},
        {"address": "Road\u2028 12"},
        {"state": "PAID"},
        {"total_minor": 1},
    ],
)
async def test_contacts_that_no_label_can_print_are_refused(
    api: httpx.AsyncClient, counter: Counter, mine: dict[str, str], change: dict[str, Any]
) -> None:
    order_id = await counter.place()
    answer = await api.put(
        f"/v1/orders/{order_id}/contact", headers=mine, json={**CONTACT, **change}
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert await counter.rows("SELECT 1 FROM order_contacts") == []


async def test_it_is_too_late_for_an_address_once_units_went_back_or_the_parcel_is_packed(
    api: httpx.AsyncClient, counter: Counter, mine: dict[str, str]
) -> None:
    for change in ("state = 'EXPIRED'", "fulfilment = 'PACKED'"):
        order_id = await counter.offered()
        url = f"/v1/orders/{order_id}/contact"
        await api.put(url, headers=mine, json=CONTACT)
        async with counter.database.begin() as sql:
            await sql.execute(text(f"UPDATE orders SET {change} WHERE id = :id"), {"id": order_id})
        assert (await api.put(url, headers=mine, json=CONTACT)).status_code == 409
        erased = await api.delete(url, headers=mine)
        assert erased.status_code == (409 if "PACKED" in change else 204)


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"{", 400),
        (b"[]", 422),
        (b'{"confirmation_token": "pm_card_visa"}', 422),
        (b'{"confirmation_token": 7}', 422),
        (b'{"confirmation_token": "ctoken_1", "amount": 1}', 422),
        (b'{"confirmation_token": "ctoken_\\ud800"}', 422),
        (b'{"confirmation_token": "ctoken_' + b"a" * 20_000 + b'"}', 413),
    ],
)
async def test_bad_payments_are_refused_before_anything_happens(
    api: httpx.AsyncClient, counter: Counter, mine: dict[str, str], content: bytes, status: int
) -> None:
    order_id = await counter.offered()
    headers = {**mine, "content-type": "application/json"}
    answer = await api.post(f"/v1/orders/{order_id}/pay", headers=headers, content=content)
    assert answer.status_code == status
    assert await counter.rows("SELECT 1 FROM pay_attempts") == []


@pytest.mark.parametrize("order_id", ["x", "%00", "ord_%00", "ord_A", "ord_" + "0" * 300])
async def test_ids_that_cannot_exist_never_reach_sql(
    api: httpx.AsyncClient, mine: dict[str, str], order_id: str
) -> None:
    assert (await api.get(f"/v1/orders/{order_id}", headers=mine)).status_code in {404, 422}


async def test_a_crowd_paying_at_once_shares_the_budget(
    api: httpx.AsyncClient, counter: Counter, mine: dict[str, str]
) -> None:
    orders = [await counter.offered() for _ in range(20)]
    tokens = [await counter.sandbox.token() for _ in orders]
    answers = await asyncio.gather(
        *(
            api.post(f"/v1/orders/{order}/pay", headers=mine, json={"confirmation_token": token})
            for order, token in zip(orders, tokens, strict=True)
        )
    )
    assert {answer.json()["payment"]["status"] for answer in answers} == {"succeeded"}
