"""Taking an order back: at once where nothing can be paid, by way of Stripe otherwise, and never when it is paid."""

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from fastapi import APIRouter
from sqlalchemy import text

from orders.expiry import expire_once
from orders.lifecycle import Act, Input, OrderState, verdict
from orders.routes import router
from stream_events.access import Role, Signer, create_principal, new_shopper, order_token
from tests.factories import bearer, make_host
from tests.orders.payments.counter import Counter


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
    }


async def cancel(
    api: httpx.AsyncClient, counter: Counter, order_id: str, role: str = "shopper"
) -> tuple[int, Any]:
    answer = await api.post(f"/v1/orders/{order_id}/cancel", headers=counter.sale.auth(role))
    return answer.status_code, answer.json().get("state") or answer.json().get("code")


async def expire(counter: Counter) -> None:
    await expire_once(counter.database, counter.sandbox.gateway, counter.pace)


@pytest.mark.parametrize("role", ["shopper", "host", "operator"])
@pytest.mark.parametrize("offered", [False, True])
async def test_what_nobody_tried_to_pay_goes_back_in_one_transaction(
    api: httpx.AsyncClient, counter: Counter, role: str, offered: bool
) -> None:
    order_id = await (counter.offered(3) if offered else counter.place(3))
    for _ in range(2):
        assert await cancel(api, counter, order_id, role) == (200, "CANCELLED")
    assert await counter.stock() == (0, 0)
    assert (await counter.history(order_id))[-2:] == ["CANCELLING", "CANCELLED"]
    written = await counter.rows(
        "SELECT DISTINCT xmin::text FROM stock_moves WHERE kind = 'X' UNION SELECT xmin::text FROM orders"
    )
    assert len(written) == 1


async def test_the_secret_link_cancels_its_own_order_only(
    api: httpx.AsyncClient, counter: Counter, signer: Signer
) -> None:
    mine, other = await counter.offered(), await counter.offered()
    holder = bearer(order_token(signer, mine))
    assert (await api.post(f"/v1/orders/{other}/cancel", headers=holder)).status_code == 404
    assert (await api.post(f"/v1/orders/{mine}/cancel", headers=holder)).status_code == 200
    assert [await counter.state(mine), await counter.state(other)] == [
        "CANCELLED",
        "AWAITING_PAYMENT",
    ]


async def test_somebody_elses_order_is_not_there_to_cancel(
    api: httpx.AsyncClient, counter: Counter, signer: Signer
) -> None:
    order_id = await counter.offered()
    async with counter.database.begin() as sql:
        host = await make_host(sql)
        _, other_host = await create_principal(sql, Role.HOST, "Other", host_id=host.id)
    for secret in (other_host, new_shopper(signer)[1]):
        answer = await api.post(f"/v1/orders/{order_id}/cancel", headers=bearer(secret))
        assert answer.status_code == 404
    for role in ("farmer", "overlay"):
        assert (await cancel(api, counter, order_id, role))[0] == 403
    assert await counter.state(order_id) == "AWAITING_PAYMENT"


@pytest.mark.parametrize("card", ["pm_card_visa_chargeDeclined", "pm_card_authenticationRequired"])
async def test_a_tried_order_waits_until_stripe_says_that_nothing_can_be_paid(
    api: httpx.AsyncClient, counter: Counter, card: str
) -> None:
    order_id = await counter.offered()
    await counter.pay(order_id, card)
    for _ in range(2):
        assert await cancel(api, counter, order_id) == (200, "CANCELLING")
    assert await counter.stock() == (1, 0)
    await expire(counter)
    assert await counter.state(order_id) == "CANCELLED"
    assert await counter.intents(order_id) == ["canceled"]
    assert await counter.stock() == (0, 0)


async def test_money_that_was_faster_keeps_the_order(
    api: httpx.AsyncClient, counter: Counter
) -> None:
    order_id = await counter.offered()
    await counter.pay_unanswered(order_id)
    assert await cancel(api, counter, order_id) == (200, "CANCELLING")
    await expire(counter)
    assert await counter.state(order_id) == "PAID"
    assert await counter.stock() == (0, 1)
    assert await cancel(api, counter, order_id) == (409, "already_paid")


async def test_stripes_success_is_believed_before_it_is_settled(
    api: httpx.AsyncClient, counter: Counter
) -> None:
    order_id = await counter.offered()
    await counter.pay(order_id)
    assert await cancel(api, counter, order_id) == (409, "already_paid")
    assert await counter.state(order_id) == "AWAITING_PAYMENT"


@pytest.mark.parametrize(
    ("state", "answer"),
    [
        ("CANCELLING", (200, "CANCELLING")),
        ("EXPIRING", (200, "EXPIRING")),
        ("EXPIRED", (200, "EXPIRED")),
        ("PROCESSING", (409, "payment_processing")),
        ("PAID", (409, "already_paid")),
        ("LATE_PAID", (409, "already_paid")),
        ("PART_REFUNDED", (409, "already_paid")),
        ("REFUND_FAILED", (409, "already_paid")),
        ("REFUND_PENDING", (409, "already_refunded")),
        ("REFUNDED", (409, "already_refunded")),
        ("DISPUTED", (409, "payment_disputed")),
    ],
)
async def test_every_other_state_has_its_answer_and_changes_nothing(
    api: httpx.AsyncClient, counter: Counter, state: str, answer: tuple[int, str]
) -> None:
    order_id = await counter.offered()
    async with counter.database.begin() as sql:
        await sql.execute(text("UPDATE orders SET state = :state"), {"state": state})
    assert await cancel(api, counter, order_id) == answer
    assert await counter.state(order_id) == state
    assert await counter.stock() == (1, 0)


async def test_cancelling_and_paying_at_once_end_one_way(
    api: httpx.AsyncClient, counter: Counter
) -> None:
    orders = [await counter.offered() for _ in range(10)]
    tokens = [await counter.sandbox.token() for _ in orders]
    await counter.sandbox.faults(latency_ms=20)

    async def race(order_id: str, token: str, number: int) -> None:
        paying = asyncio.create_task(counter.pay(order_id, token=token))
        await asyncio.sleep(number / 200)
        await cancel(api, counter, order_id)
        await asyncio.gather(paying, return_exceptions=True)

    await asyncio.gather(
        *(
            race(order_id, token, number)
            for number, (order_id, token) in enumerate(zip(orders, tokens, strict=True))
        )
    )
    for _ in range(3):
        await expire(counter)
    for order_id in orders:
        if await counter.state(order_id) == "AWAITING_PAYMENT":
            await counter.end_time(order_id)
    for _ in range(2):
        await expire(counter)
    states = [await counter.state(order_id) for order_id in orders]
    assert set(states) <= {"PAID", "CANCELLED"}
    assert await counter.stock() == (0, states.count("PAID"))
    for order_id, state in zip(orders, states, strict=True):
        assert await counter.intents(order_id) in (
            (["succeeded"],) if state == "PAID" else ([], ["canceled"])
        )


async def test_a_gift_without_goods_is_taken_back_without_any_stock(
    api: httpx.AsyncClient, counter: Counter
) -> None:
    order_id = await counter.offered()
    async with counter.database.begin() as sql:
        for statement in (
            "DELETE FROM order_lines",
            "ALTER TABLE stock_moves DISABLE TRIGGER USER",
            "DELETE FROM stock_moves",
            "ALTER TABLE stock_moves ENABLE TRIGGER USER",
            "UPDATE stock SET reserved = 0",
            "UPDATE orders SET kind = 'gift'",
        ):
            await sql.execute(text(statement))
    assert await cancel(api, counter, order_id) == (200, "CANCELLED")
    assert await counter.stock() == (0, 0)
    assert await counter.rows("SELECT 1 FROM stock_moves") == []


@pytest.mark.parametrize(
    "happened", [Input.OFFER, Input.DEADLINE, Input.CANCEL_REQUESTED, Input.RELEASED]
)
def test_turns_deadlines_and_releases_lead_gifts_where_they_lead_goods(happened: Input) -> None:
    """Pacer and expirer move both in one statement, so the two tables must agree on where to."""
    for state in set(OrderState) - {OrderState.LATE_PAID}:
        goods, gift = verdict(state, happened), verdict(state, happened, gift=True)
        assert isinstance(goods, Act) == isinstance(gift, Act)
        if isinstance(goods, Act) and isinstance(gift, Act):
            assert goods.next_state is gift.next_state


@pytest.mark.parametrize("card", ["pm_card_authenticationRequired", ""])
async def test_who_began_to_pay_hears_by_mail_that_it_is_cancelled(
    api: httpx.AsyncClient, counter: Counter, card: str
) -> None:
    """Also where Stripe had to be asked first, and settlement released the units."""
    order_id = await counter.offered()
    if card:
        await counter.pay(order_id, card)
    assert (await cancel(api, counter, order_id))[0] == 200
    await expire(counter)
    assert await counter.state(order_id) == "CANCELLED"
    mails = await counter.rows("SELECT order_id, kind FROM mail_outbox")
    assert [tuple(row) for row in mails] == ([(order_id, "cancelled")] if card else [])


async def test_a_token_that_is_none_has_nobody_written_to(
    api: httpx.AsyncClient, counter: Counter
) -> None:
    """It cost nothing, so it must not make us write to whatever address was put into the order."""
    order_id = await counter.offered()
    body = {"confirmation_token": "ctoken_none"}
    headers = counter.sale.auth("shopper")
    await api.post(f"/v1/orders/{order_id}/pay", json=body, headers=headers)
    assert len(await counter.rows("SELECT 1 FROM pay_attempts")) == 1
    assert (await cancel(api, counter, order_id))[0] == 200
    await expire(counter)
    assert await counter.state(order_id) == "CANCELLED"
    assert await counter.rows("SELECT order_id FROM mail_outbox") == []
