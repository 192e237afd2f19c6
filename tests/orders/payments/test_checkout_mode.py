"""Paying on Stripe's own page: one page an order, never beside ours, and nothing released while it is open."""

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from fastapi import APIRouter
from sqlalchemy import text

from orders.payments.checkout_mode import Buyer, open_checkout
from orders.payments.reconciler import Reconciler
from orders.payments.stripe_gateway import StripeGateway
from orders.routes import router
from stream_events.access import Signer, new_shopper, order_token
from stream_events.errors import Problem
from tests.factories import bearer
from tests.orders.payments.checkout_page import Page
from tests.orders.payments.counter import Counter
from tests.orders.payments.sandbox_process import SECRET_KEY

CREATE = "POST /v1/checkout/sessions"
EXPIRE = "POST /v1/checkout/sessions/:id/expire"
DECLINED = "4000000000000002"


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


@pytest.fixture
def reconciler(counter: Counter) -> Reconciler:
    return Reconciler(counter.database, counter.sandbox.gateway, counter.pace, counter.inbox)


@pytest.fixture
def page(api: httpx.AsyncClient, counter: Counter) -> Page:
    return Page(api, counter)


async def settle_all(counter: Counter, reconciler: Reconciler) -> None:
    await reconciler.reconcile_once()
    while await counter.settle_stored():
        pass


async def test_what_is_paid_on_stripes_page_comes_into_the_books(
    page: Page, counter: Counter, reconciler: Reconciler
) -> None:
    order_id = await counter.offered(2)
    url = await page.opened(order_id)
    assert await page.opened(order_id) == url
    await page.pay(url)
    await settle_all(counter, reconciler)
    assert await counter.state(order_id) == "PAID"
    assert await counter.stock() == (0, 2)
    [row] = await counter.rows("SELECT n, state, way, payment_intent_id FROM pay_attempts")
    assert (row.n, row.state, row.way) == (1, "SUCCEEDED", "checkout")
    assert row.payment_intent_id
    assert await page.open(order_id) == (409, "already_paid")
    assert await page.sessions(order_id) == ["complete"]


async def test_stripe_is_told_the_order_its_price_and_where_to_send_the_shopper_back(
    page: Page, counter: Counter
) -> None:
    order_id = await counter.offered(2)
    await page.opened(order_id)
    [session] = (await counter.sandbox.ask("GET", "/v1/checkout/sessions?limit=1")).body["data"]
    assert (session["amount_total"], session["currency"]) == (5980, "cny")
    back = f"http://testserver/pay/{order_id}"
    assert (session["success_url"], session["cancel_url"]) == (back, back)
    assert session["metadata"]["order_id"] == order_id
    assert 1800 < session["expires_at"] - session["created"] <= 3600


async def test_a_declined_card_leaves_the_page_open_for_another(
    page: Page, counter: Counter, reconciler: Reconciler
) -> None:
    order_id = await counter.offered()
    url = await page.opened(order_id)
    await page.pay(url, DECLINED)
    await settle_all(counter, reconciler)
    assert await counter.attempts(order_id) == [(1, "DECLINED", 1)]
    assert await page.opened(order_id) == url
    assert await page.by_our_page(order_id) == (409, "paying_elsewhere")
    await page.pay(url)
    await settle_all(counter, reconciler)
    assert await counter.state(order_id) == "PAID"
    assert await counter.intents(order_id) == ["succeeded"]


async def test_the_two_ways_exclude_each_other(page: Page, counter: Counter) -> None:
    here, there = await counter.offered(), await counter.offered()
    await counter.pay(here, "pm_card_authenticationRequired")
    assert await page.open(here) == (409, "paying_elsewhere")
    await page.opened(there)
    assert await page.by_our_page(there) == (409, "paying_elsewhere")
    assert await page.sessions(here) == []
    assert await counter.intents(there) == []
    # Closed unpaid, it cost no try and gives the way free.
    assert await page.close(there) == 204
    assert await page.close(there) == 204
    assert await page.sessions(there) == ["expired"]
    assert await page.by_our_page(there) == (200, "succeeded")
    assert await counter.attempts(there) == [(1, "CANCELED", 1), (2, "SUCCEEDED", 1)]


async def test_two_tabs_get_one_page(page: Page, counter: Counter) -> None:
    order_id = await counter.offered()
    await counter.sandbox.faults(latency_ms=50)
    answers = await asyncio.gather(*(page.open(order_id) for _ in range(4)))
    assert {status for status, _ in answers} <= {200, 503}
    assert len({url for status, url in answers if status == 200}) == 1
    assert await page.sessions(order_id) == ["open"]


async def test_no_page_is_opened_for_an_order_that_is_just_being_ended(
    page: Page, counter: Counter
) -> None:
    order_id = await counter.offered()
    async with counter.database.begin() as sql:
        await sql.execute(text("UPDATE orders SET state = 'EXPIRING'"))
        opening = asyncio.create_task(page.open(order_id))
        await asyncio.sleep(0.3)
    assert await opening == (410, "order_expired")
    assert await page.sessions(order_id) == []


async def test_both_ways_at_once_make_one_payable_thing(page: Page, counter: Counter) -> None:
    for _ in range(5):
        order_id = await counter.offered()
        there, here = await asyncio.gather(page.open(order_id), page.by_our_page(order_id))
        assert sorted((there[0], here[0])) == [200, 409]
        made = await counter.intents(order_id) + await page.sessions(order_id)
        assert len(made) == 1


async def test_paid_and_not_yet_settled_it_cannot_be_closed(page: Page, counter: Counter) -> None:
    order_id = await counter.offered()
    await page.pay(await page.opened(order_id))
    assert await page.close(order_id) == 409
    assert await counter.state(order_id) == "PAID"


@pytest.mark.parametrize("declined", [False, True])
async def test_the_page_is_closed_before_units_go_back(
    page: Page, counter: Counter, reconciler: Reconciler, *, declined: bool
) -> None:
    order_id = await counter.offered()
    url = await page.opened(order_id)
    if declined:
        await page.pay(url, DECLINED)
        await settle_all(counter, reconciler)
    await counter.end_time(order_id)
    await counter.sandbox.faults(outage=True, endpoint=EXPIRE)
    await page.expire()
    assert await counter.state(order_id) == "EXPIRING"
    assert await counter.stock() == (1, 0)
    await counter.sandbox.faults(outage=False)
    await page.expire()
    assert await counter.state(order_id) == "EXPIRED"
    assert await page.sessions(order_id) == ["expired"]
    assert await counter.stock() == (0, 0)
    assert await page.open(order_id) == (410, "order_expired")


async def test_what_was_paid_at_the_last_instant_is_kept(page: Page, counter: Counter) -> None:
    order_id = await counter.offered()
    await page.pay(await page.opened(order_id))
    await counter.end_time(order_id)
    await page.expire()
    assert await counter.state(order_id) == "PAID"
    assert await counter.stock() == (0, 1)


async def test_a_cancelled_order_closes_its_page(page: Page, counter: Counter) -> None:
    order_id = await counter.offered()
    await page.opened(order_id)
    answer = await page.api.post(f"/v1/orders/{order_id}/cancel", headers=page.mine)
    assert answer.json()["state"] == "CANCELLING"
    await page.expire()
    assert await counter.state(order_id) == "CANCELLED"
    assert await page.sessions(order_id) == ["expired"]
    assert await page.open(order_id) == (410, "order_cancelled")


async def _unanswered(counter: Counter, order_id: str) -> None:
    """Open a page and hear nothing of it: the call had its effect, and the key would tell."""
    hasty = StripeGateway(SECRET_KEY, counter.sandbox.base_url, timeout_s=0.4)
    await counter.sandbox.faults(next_timeout_after_effect=1, endpoint=CREATE)
    try:
        with pytest.raises(Problem, match="not ready"):
            await open_checkout(
                counter.database, hasty, counter.pace, Buyer(order_id, "http://testserver/pay")
            )
    finally:
        await hasty.aclose()
    [row] = await counter.rows("SELECT state, way, checkout_session_id, params FROM pay_attempts")
    assert (row.state, row.way, row.checkout_session_id) == ("CREATING", "checkout", None)
    assert row.params["amount"] == 2990


async def test_a_lost_answer_is_repeated_by_the_shopper(page: Page, counter: Counter) -> None:
    order_id = await counter.offered()
    await _unanswered(counter, order_id)
    assert await page.by_our_page(order_id) == (409, "paying_elsewhere")
    url = await page.opened(order_id)
    assert await page.sessions(order_id) == ["open"]
    await page.pay(url)
    assert await counter.intents(order_id) == ["succeeded"]


async def test_a_lost_answer_is_learnt_before_units_go_back(page: Page, counter: Counter) -> None:
    order_id = await counter.offered()
    await _unanswered(counter, order_id)
    await counter.end_time(order_id)
    await page.expire()
    assert await counter.state(order_id) == "EXPIRED"
    assert await page.sessions(order_id) == ["expired"]


async def test_a_lost_answer_is_learnt_by_the_reconciler(
    page: Page, counter: Counter, reconciler: Reconciler
) -> None:
    order_id = await counter.offered()
    await _unanswered(counter, order_id)
    await counter.age(order_id, 121)
    await reconciler.reconcile_once()
    assert await counter.attempts(order_id) == [(1, "REQUIRES_ACTION", 1)]
    assert await counter.one("SELECT checkout_session_id FROM pay_attempts")


@pytest.mark.parametrize("made", [True, False])
async def test_a_spent_key_is_followed_by_a_search(
    page: Page, counter: Counter, reconciler: Reconciler, *, made: bool
) -> None:
    order_id = await counter.offered()
    fault = "next_500_after_effect" if made else "next_500_stored"
    await counter.sandbox.faults(**{fault: 1}, endpoint=CREATE)
    for _ in range(2):
        assert await page.open(order_id) == (503, "pay_later")
    await counter.end_time(order_id)
    await page.expire()
    assert (
        await counter.state(order_id) == "EXPIRING"
    )  # The key says no more, so nothing is released.
    await counter.age(order_id, 121)
    await reconciler.reconcile_once()
    await page.expire()
    if not made:
        assert await counter.state(order_id) == "EXPIRING"  # Not found once is not yet absent.
        await reconciler.reconcile_once()
        await page.expire()
    assert await counter.state(order_id) == "EXPIRED"
    assert await page.sessions(order_id) == (["expired"] if made else [])
    assert await counter.stock() == (0, 0)


@pytest.mark.parametrize("fault", [{"next_429": 1}, {"outage": True, "outage_hangs_up": True}])
async def test_what_stripe_never_saw_or_may_have_seen(
    page: Page, counter: Counter, fault: dict[str, object]
) -> None:
    order_id = await counter.offered()
    await counter.sandbox.faults(**fault, endpoint=CREATE)
    assert await page.open(order_id) == (503, "pay_later")
    await counter.sandbox.faults(outage=False, outage_hangs_up=False)
    assert await page.opened(order_id)
    assert await counter.attempts(order_id) == [(1, "REQUIRES_ACTION", 1)]
    assert await page.sessions(order_id) == ["open"]


async def test_a_page_that_ran_out_is_replaced(
    page: Page, counter: Counter, reconciler: Reconciler
) -> None:
    order_id = await counter.offered()
    first = await page.opened(order_id)
    [row] = await counter.rows("SELECT checkout_session_id FROM pay_attempts")
    await counter.sandbox.gateway.expire_checkout(row.checkout_session_id, "ran out")
    assert await page.opened(order_id) == first  # By our clock it still lives.
    await counter.rows(
        "UPDATE pay_attempts SET params = jsonb_set(params, '{expires_at}', '1') RETURNING 1"
    )
    second = await page.opened(order_id)
    assert second != first
    assert await counter.attempts(order_id) == [(1, "CANCELED", 1), (2, "REQUIRES_ACTION", 1)]
    # The reconciler notices as well, when the shopper never comes back.
    [row] = await counter.rows("SELECT checkout_session_id FROM pay_attempts WHERE n = 2")
    await counter.sandbox.gateway.expire_checkout(row.checkout_session_id, "ran out again")
    await counter.rows(
        "UPDATE pay_attempts SET params = jsonb_set(params, '{expires_at}', '1') RETURNING 1"
    )
    await counter.age(order_id, 121)
    await reconciler.reconcile_once()
    assert (await counter.attempts(order_id))[1] == (2, "CANCELED", 1)
    seen = (await page.api.get(f"/v1/orders/{order_id}", headers=page.mine)).json()
    assert (seen["payment"], seen["attempts_left"]) == (None, 3)


async def test_its_events_are_kept_without_who_paid_and_settle_nothing(
    page: Page, counter: Counter, reconciler: Reconciler
) -> None:
    order_id = await counter.offered()
    url = await page.opened(order_id)
    await page.pay(url)
    await settle_all(counter, reconciler)
    kept = await counter.rows(
        "SELECT type, state, payload FROM stripe_events WHERE type LIKE 'checkout.session.%'"
        " AND payload #>> '{data,object,metadata,order_id}' = :id",
        id=order_id,
    )
    assert [(row.type, row.state) for row in kept] == [("checkout.session.completed", "DONE")]
    for secret in ("customer_details", "url", "customer_email"):
        assert secret not in kept[0].payload["data"]["object"]
    assert await counter.one("SELECT count(*) FROM ledger_transactions WHERE kind = 'capture'") == 1


async def test_whose_order_it_is(
    api: httpx.AsyncClient, page: Page, counter: Counter, signer: Signer
) -> None:
    order_id, waiting = await counter.offered(), await counter.place()
    assert await page.open(waiting) == (409, "not_your_turn")
    for secret in (new_shopper(signer)[1], order_token(signer, waiting)):
        for method, path in (
            ("POST", "checkout"),
            ("DELETE", "checkout"),
            ("GET", "payment-options"),
        ):
            answer = await api.request(
                method, f"/v1/orders/{order_id}/{path}", headers=bearer(secret)
            )
            assert answer.status_code == 404
    holder = bearer(order_token(signer, order_id))
    opened = await api.post(f"/v1/orders/{order_id}/checkout", headers=holder)
    assert opened.status_code == 200


async def test_the_methods_are_the_campaigns(
    api: httpx.AsyncClient, page: Page, counter: Counter
) -> None:
    order_id, second = await counter.offered(), await counter.offered()
    options = await api.get(f"/v1/orders/{order_id}/payment-options", headers=page.mine)
    assert options.json() == {
        "methods": ["card"],
        "total": {"amount_minor": 2990, "currency": "CNY"},
        "return_url": f"http://testserver/pay/{order_id}",
    }
    async with counter.database.begin() as sql:
        await sql.execute(text("UPDATE campaigns SET payment_methods = '{alipay,card,wechat_pay}'"))
    options = await api.get(f"/v1/orders/{order_id}/payment-options", headers=page.mine)
    assert options.json()["methods"] == ["alipay", "card", "wechat_pay"]
    await page.opened(order_id)
    assert await page.by_our_page(second) == (200, "succeeded")
    [session] = (await counter.sandbox.ask("GET", "/v1/checkout/sessions?limit=1")).body["data"]
    [intent] = (await counter.sandbox.ask("GET", "/v1/payment_intents?limit=1")).body["data"]
    for made in (session, intent):
        assert sorted(made["payment_method_types"]) == ["alipay", "card", "wechat_pay"]
    # What was begun goes on as it was begun, whatever the campaign takes now.
    [row] = await counter.rows("SELECT params FROM pay_attempts WHERE way = 'page'")
    assert row.params["payment_method_types"] == ["alipay", "card", "wechat_pay"]
    assert row.params["return_url"] == f"http://testserver/pay/{second}"


async def test_a_tab_that_is_turned_away_takes_no_other_tabs_page_back(
    page: Page, counter: Counter
) -> None:
    """The first call opened a page and nobody heard of it; the second is refused at the door, which says nothing."""
    order_id = await counter.offered()
    await counter.sandbox.faults(next_500_after_effect=1, endpoint=CREATE)
    assert (await page.open(order_id))[0] == 503
    await counter.sandbox.faults(next_429=1, endpoint=CREATE)
    assert (await page.open(order_id))[0] == 503
    assert await counter.attempts(order_id) == [(1, "CREATING", 1)]
