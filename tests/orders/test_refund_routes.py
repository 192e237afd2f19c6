"""What staff may give back, and never more: by all, line, amount or gift, clicked once, twice or by two at once."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import APIRouter
from redis.asyncio import Redis

from orders.payments.pace import Pace
from orders.refund_routes import router
from orders.refunds import refund_once
from orders.settlement import settle
from stream_events.access import Signer, order_token
from stream_events.database import Database
from tests.factories import Sale, bearer, seed_sale
from tests.orders.payers import Placed, net, place, rows, run, state_of, stock
from tests.orders.payments.sandbox_process import RunningSandbox, running_sandbox


@pytest.fixture
def routers() -> Sequence[APIRouter]:
    outer = APIRouter(prefix="/v1")
    outer.include_router(router)
    return (outer,)


@pytest_asyncio.fixture(loop_scope="session")
async def paid(database: Database, sale: Sale) -> Placed:
    """Three bags and ¥7 for the cause, paid."""
    placed = await place(database, sale, quantity=3, gifts=[(sale.beneficiary_id, 700)])
    await settle(database, [placed.payment()])
    return placed


def keyed(sale: Sale, key: str, role: str = "operator") -> dict[str, str]:
    return {**sale.auth(role), "idempotency-key": key}


async def post(
    api: httpx.AsyncClient, placed: Placed, key: str, role: str = "operator", **body: Any
) -> httpx.Response:
    return await api.post(
        f"/v1/orders/{placed.order_id}/refunds",
        headers=keyed(placed.sale, key, role),
        json={"reason": "quality", **body},
    )


@pytest.mark.parametrize("role", ["operator", "host"])
async def test_all_goes_back(
    api: httpx.AsyncClient, database: Database, paid: Placed, role: str
) -> None:
    answer = await post(api, paid, "k1", role, all=True, restock=True)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert made["order_state"] == "REFUND_PENDING"
    assert made["refundable"] == {"amount_minor": 0, "currency": "CNY"}
    refund = made["refund"]
    assert (refund["amount"]["amount_minor"], refund["lines"], refund["gift_minor"]) == (
        9670,
        [],
        None,
    )
    assert (refund["state"], refund["reason"], refund["restock"]) == ("CREATING", "quality", True)
    fact = paid.refund("re_1", metadata={"refund_id": refund["id"]})
    await settle(database, [fact])
    assert await state_of(database, paid) == ("REFUNDED", 9670, 9670, 0)
    assert await stock(database) == (0, 0)
    assert await net(database) == {}
    requested = await rows(database, "SELECT requested_by IS NOT NULL FROM refunds")
    assert requested == [(True,)]


async def test_a_repeat_gets_the_same_answer_and_gives_back_once(
    api: httpx.AsyncClient, database: Database, paid: Placed
) -> None:
    first = await post(api, paid, "k1", amount_minor=100)
    again = await post(api, paid, "k1", amount_minor=100)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert again.headers["idempotent-replay"] == "true"
    other = await post(api, paid, "k1", amount_minor=200)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_conflict")
    assert await rows(database, "SELECT amount_minor FROM refunds") == [(100,)]


async def test_two_operators_at_once_give_back_what_there_is_and_no_more(
    api: httpx.AsyncClient, database: Database, paid: Placed
) -> None:
    answers = await asyncio.gather(
        *(
            post(api, paid, f"k{n}", lines=[{"sku": paid.sale.sku, "quantity": 2}])
            for n in range(4)
        ),
        *(post(api, paid, f"a{n}", all=True) for n in range(2)),
    )
    made = [answer.json() for answer in answers if answer.status_code == 201]
    refused = [answer.json() for answer in answers if answer.status_code == 409]
    assert len(made) + len(refused) == 6
    assert {refusal["code"] for refusal in refused} <= {"nothing_left", "more_than_left"}
    total = sum(each["refund"]["amount"]["amount_minor"] for each in made)
    assert total <= 9670
    assert await rows(database, "SELECT sum(amount_minor) FROM refunds") == [(total,)]
    last = await post(api, paid, "last", all=True)
    left = 9670 - total
    assert last.status_code == (201 if left else 409)
    assert await rows(database, "SELECT sum(amount_minor) FROM refunds") == [(9670,)]


async def test_units_and_amounts_that_are_left_bound_what_may_be_asked(
    api: httpx.AsyncClient, database: Database, paid: Placed
) -> None:
    sku = paid.sale.sku
    first = await post(api, paid, "k1", lines=[{"sku": sku, "quantity": 2}])
    assert first.json()["refund"]["amount"]["amount_minor"] == 5980
    assert first.json()["refund"]["lines"] == [{"sku": sku, "quantity": 2, "amount_minor": 5980}]
    again = await post(api, paid, "k2", lines=[{"sku": sku, "quantity": 2}])
    assert (again.status_code, again.json()["code"]) == (409, "more_than_left")
    assert (again.json()["left"], again.json()["wanted"], again.json()["sku"]) == (1, 2, sku)
    much = await post(api, paid, "k3", amount_minor=3691)
    assert (much.json()["code"], much.json()["left"], much.json()["wanted"]) == (
        "more_than_left",
        3690,
        3691,
    )
    gift = await post(api, paid, "k4", gift_minor=701)
    assert (gift.json()["code"], gift.json()["left"]) == ("more_than_left", 700)
    assert (await post(api, paid, "k5", gift=True)).json()["refund"]["gift_minor"] == 700
    none = await post(api, paid, "k6", gift=True)
    assert (none.status_code, none.json()["code"], none.json()["left"]) == (409, "nothing_left", 0)
    unknown = await post(api, paid, "k7", lines=[{"sku": "OTHER", "quantity": 1}])
    assert (unknown.status_code, unknown.json()["code"]) == (422, "unknown_line")
    assert await rows(database, "SELECT count(*) FROM refunds") == [(2,)]


async def test_money_taken_from_goods_is_not_there_for_a_line(
    api: httpx.AsyncClient, database: Database, sale: Sale
) -> None:
    placed = await place(database, sale, quantity=1)
    await settle(database, [placed.payment()])
    await post(api, placed, "k1", amount_minor=1)
    answer = await post(api, placed, "k2", lines=[{"sku": sale.sku, "quantity": 1}])
    assert (answer.json()["code"], answer.json()["left"], answer.json()["wanted"]) == (
        "more_than_left",
        2989,
        2990,
    )


async def test_a_line_is_given_back_out_of_goods_never_out_of_gifts(
    api: httpx.AsyncClient, database: Database, sale: Sale
) -> None:
    placed = await place(database, sale, gifts=[(sale.beneficiary_id, 2990)])
    await settle(database, [placed.payment()])
    await post(api, placed, "k1", amount_minor=1000)
    answer = await post(api, placed, "k2", lines=[{"sku": sale.sku, "quantity": 1}])
    assert (answer.json()["code"], answer.json()["left"]) == ("more_than_left", 2490)
    gift = await post(api, placed, "k3", gift=True)
    assert gift.json()["refund"]["gift_minor"] == 2490
    assert gift.json()["refundable"]["amount_minor"] == 2490


async def test_while_a_bank_decides_a_failed_refund_is_not_repeated(
    api: httpx.AsyncClient, database: Database, paid: Placed
) -> None:
    made = (await post(api, paid, "k1", amount_minor=100)).json()["refund"]
    failed = paid.refund("re_1", "failed", amount_minor=100, metadata={"refund_id": made["id"]})
    await settle(database, [failed, paid.dispute("dp_1", "needs_response", amount_minor=50)])
    assert (await state_of(database, paid))[0] == "REFUND_FAILED"
    refused = await post(api, paid, "k2", amount_minor=100)
    assert (refused.status_code, refused.json()["code"]) == (409, "payment_disputed")
    await settle(database, [paid.dispute("dp_1", "won", amount_minor=50)])
    assert (await post(api, paid, "k3", amount_minor=100)).status_code == 201


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"all": True, "gift": True},
        {"all": False},
        {"lines": []},
        {"amount_minor": 0},
        {"amount_minor": 10, "restock": True},
        {"gift": True, "restock": True},
        {"lines": [{"sku": "A", "quantity": 1}, {"sku": "A", "quantity": 2}]},
        {"all": True, "reason": "duplicate"},
        {"all": True, "amount": 5},
    ],
)
async def test_what_names_no_one_target_is_refused(
    api: httpx.AsyncClient, paid: Placed, body: dict[str, Any]
) -> None:
    answer = await post(api, paid, "k1", **body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


async def test_an_order_without_money_or_with_a_bank_is_refused(
    api: httpx.AsyncClient, database: Database, sale: Sale, paid: Placed
) -> None:
    waiting = await place(database, sale)
    refused = await post(api, waiting, "k1", all=True)
    assert (refused.status_code, refused.json()["code"]) == (409, "not_paid")
    await settle(database, [paid.dispute("dp_1", "needs_response", amount_minor=10)])
    refused = await post(api, paid, "k2", all=True)
    assert (refused.status_code, refused.json()["code"]) == (409, "payment_disputed")
    await settle(database, [paid.dispute("dp_1", "lost", amount_minor=10)])
    made = await post(api, paid, "k3", all=True)
    assert made.json()["refund"]["amount"]["amount_minor"] == 9660
    assert (await post(api, paid, "k4", all=True)).json()["code"] == "nothing_left"


async def test_staff_of_others_and_shoppers_give_nothing_back(
    api: httpx.AsyncClient, database: Database, signer: Signer, paid: Placed
) -> None:
    other = await seed_sale(database, signer, sku="OTHER-1")
    path = f"/v1/orders/{paid.order_id}/refunds"
    body = {"reason": "other", "all": True}
    foreign = await api.post(path, headers=keyed(other, "k1", "host"), json=body)
    assert foreign.status_code == 404
    holder = bearer(order_token(signer, paid.order_id))
    for headers in (paid.sale.auth("shopper"), paid.sale.auth("farmer"), holder):
        answer = await api.post(path, headers={**headers, "idempotency-key": "k1"}, json=body)
        assert answer.status_code == 403
    assert (await api.post(path, headers={"idempotency-key": "k"}, json=body)).status_code == 401
    no_key = await api.post(path, headers=paid.sale.auth("operator"), json=body)
    assert (no_key.status_code, no_key.json()["code"]) == (400, "idempotency_key")
    assert (await api.get(path, headers=other.auth("host"))).status_code == 404
    assert (await api.get(path, headers=paid.sale.auth("shopper"))).status_code == 404
    assert await rows(database, "SELECT count(*) FROM refunds") == [(0,)]


async def test_refunds_are_listed_for_staff_and_for_the_holder_of_the_link(
    api: httpx.AsyncClient, signer: Signer, paid: Placed
) -> None:
    made = (await post(api, paid, "k1", gift_minor=10)).json()["refund"]
    path = f"/v1/orders/{paid.order_id}/refunds"
    listed = (await api.get(path, headers=paid.sale.auth("host"))).json()
    assert listed == {"items": [made], "refundable": {"amount_minor": 9660, "currency": "CNY"}}
    held = (await api.get(path, headers=bearer(order_token(signer, paid.order_id)))).json()
    assert held == {"items": [made], "refundable": None}
    assert "requested_by" not in made


async def test_a_wish_is_granted_by_its_refund_or_declined(
    api: httpx.AsyncClient, database: Database, paid: Placed
) -> None:
    wish = "rrq_01a204e905a0791a8d09381a694d0a49"
    path = f"/v1/orders/{paid.order_id}/refund-requests/{wish}/decline"
    staff = paid.sale.auth("operator")
    assert (await api.post(path, headers=staff)).status_code == 404
    gone = await post(api, paid, "k0", all=True, request_id=wish)
    assert gone.status_code == 404
    assert await rows(database, "SELECT count(*) FROM refunds") == [(0,)]
    await run(
        database,
        "INSERT INTO refund_requests (id, order_id) VALUES (:id, :order)",
        id=wish,
        order=paid.order_id,
    )
    made = (await post(api, paid, "k1", amount_minor=5, request_id=wish)).json()["refund"]
    found = "SELECT state, refund_id, decided_by IS NOT NULL FROM refund_requests"
    assert await rows(database, found) == [("ACCEPTED", made["id"], True)]
    late = await api.post(path, headers=staff)
    assert (late.status_code, late.json()["code"], late.json()["state"]) == (
        409,
        "already_decided",
        "ACCEPTED",
    )
    again = await post(api, paid, "k2", amount_minor=5, request_id=wish)
    assert again.json()["code"] == "already_decided"
    await run(database, "UPDATE refund_requests SET state = 'OPEN', refund_id = NULL")
    assert (await api.post(path, headers=staff)).status_code == 204
    assert (await api.post(path, headers=staff)).status_code == 204
    assert await rows(database, found) == [("DECLINED", None, True)]


async def test_late_money_whose_refund_failed_can_be_given_back_by_hand(
    api: httpx.AsyncClient, database: Database, sale: Sale
) -> None:
    placed = await place(database, sale, "EXPIRED")
    await run(database, "UPDATE stock SET total = 0")
    await settle(database, [placed.payment()])
    assert (await post(api, placed, "k1", all=True)).json()["code"] == "nothing_left"
    [(refund_id,)] = await rows(database, "SELECT id FROM refunds")
    await settle(database, [placed.refund("re_1", "failed", metadata={"refund_id": refund_id})])
    assert (await state_of(database, placed))[0] == "REFUND_FAILED"
    made = await post(api, placed, "k2", all=True)
    assert made.json()["order_state"] == "REFUND_PENDING"
    fact = placed.refund("re_2", metadata={"refund_id": made.json()["refund"]["id"]})
    await settle(database, [fact])
    assert await state_of(database, placed) == ("REFUNDED", 2990, 2990, 0)
    assert await net(database) == {}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def sandbox() -> AsyncIterator[RunningSandbox]:
    async with running_sandbox(timeout_s=1.0) as found:
        yield found


async def test_what_is_asked_reaches_stripe_and_the_stock(
    api: httpx.AsyncClient, database: Database, sale: Sale, redis: Redis, sandbox: RunningSandbox
) -> None:
    placed = await place(database, sale, quantity=2)
    fact = await sandbox.pay(
        "pm_card_visa", amount_minor=placed.total_minor, order_id=placed.order_id
    )
    await run(
        database, "UPDATE pay_attempts SET payment_intent_id = :pi", pi=fact.payment_intent_id
    )
    await settle(database, [fact])
    await post(api, placed, "k1", lines=[{"sku": sale.sku, "quantity": 1}], restock=True)
    await post(api, placed, "k2", amount_minor=990)
    pace = Pace(redis, rate_per_s=1000, failures_max=100)
    assert await refund_once(database, sandbox.gateway, pace) == 2
    assert await state_of(database, placed) == ("PART_REFUNDED", 5980, 3980, 0)
    assert await stock(database) == (0, 1)
    at_stripe = [
        refund.amount_minor
        async for refund in sandbox.gateway.list_refunds(
            fact.created_at, payment_intent_id=fact.payment_intent_id
        )
    ]
    assert sorted(at_stripe) == [990, 2990]
