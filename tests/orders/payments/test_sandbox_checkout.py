"""Checkout Sessions behave as Stripe's do: paid on a page of their own, for a time, and only once."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from orders.payments.errors import ListTruncated, Refused, UnknownOutcome
from orders.payments.stripe_gateway import CheckoutFact
from tests.orders.payments.sandbox_process import (
    RunningSandbox,
    free_port,
    running_sandbox,
    sandbox_with_hooks,
    until,
)

SESSIONS = "/v1/checkout/sessions"
EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
GOOD, DECLINED, ASKS, SLOW = (
    "4242424242424242",
    "4000000000000002",
    "4000002760003184",
    "4000000000000077",
)


def in_s(seconds: int) -> str:
    return str(int((datetime.now(UTC) + timedelta(seconds=seconds)).timestamp()))


async def test_a_session_is_paid_on_its_page(sandbox: RunningSandbox) -> None:
    opened = await sandbox.checkout(order_id="ord_paid", amount_minor=12_345)
    assert (opened.status, opened.paid, opened.payment_intent_id) == ("open", False, None)
    assert dict(opened.metadata) == {"attempt": "1", "order_id": "ord_paid", "stream_id": "str_1"}
    page = await sandbox.browse(opened.url)
    assert page.status == 200
    assert b"123.45 CNY" in page.body
    answer = await sandbox.browse(opened.url, {"means": GOOD})
    assert answer.status == 303
    assert answer.headers["location"] == f"http://127.0.0.1:9/done?session={opened.session_id}"
    paid = await sandbox.gateway.fetch_checkout(opened.session_id)
    assert (paid.status, paid.paid, paid.url) == ("complete", True, None)
    assert paid.payment_intent_id is not None
    fact = await sandbox.gateway.retrieve(paid.payment_intent_id)
    assert (fact.status, fact.amount_received_minor, fact.fee_minor) == ("succeeded", 12_345, 388)
    assert dict(fact.metadata) == dict(opened.metadata)
    again = await sandbox.browse(opened.url, {"means": GOOD})
    assert again.status == 303
    assert (await sandbox.gateway.retrieve(fact.payment_intent_id)).amount_received_minor == 12_345


async def test_a_declined_card_leaves_the_page_open_for_another(sandbox: RunningSandbox) -> None:
    opened = await sandbox.checkout()
    page = await sandbox.browse(opened.url, {"means": DECLINED})
    assert page.status == 200
    assert b'role="alert"' in page.body
    first = await sandbox.gateway.fetch_checkout(opened.session_id)
    assert (first.status, first.payment_intent_id is not None) == ("open", True)
    assert (await sandbox.browse(opened.url, {"means": GOOD})).status == 303
    paid = await sandbox.gateway.fetch_checkout(opened.session_id)
    assert (paid.paid, paid.payment_intent_id) == (True, first.payment_intent_id)


@pytest.mark.parametrize("outcome", ["succeed", "fail"])
async def test_the_bank_is_asked_on_the_page(sandbox: RunningSandbox, outcome: str) -> None:
    opened = await sandbox.checkout()
    page = await sandbox.browse(opened.url, {"means": ASKS})
    assert b'value="succeed"' in page.body
    assert (await sandbox.browse(opened.url, {"means": GOOD})).status == 400
    answer = await sandbox.browse(opened.url, {"outcome": outcome})
    now = await sandbox.gateway.fetch_checkout(opened.session_id)
    if outcome == "succeed":
        assert (answer.status, now.status, now.paid) == (303, "complete", True)
    else:
        assert (answer.status, now.status, now.paid) == (200, "open", False)
        assert b'role="alert"' in answer.body


async def test_a_session_may_be_complete_before_it_is_paid() -> None:
    async with sandbox_with_hooks("--processing-delay-ms", "300") as (sandbox, endpoint):
        opened = await sandbox.checkout()
        assert (await sandbox.browse(opened.url, {"means": SLOW})).status == 303
        now = await sandbox.gateway.fetch_checkout(opened.session_id)
        assert (now.status, now.paid) == ("complete", False)

        async def paid() -> bool:
            return (await sandbox.gateway.fetch_checkout(opened.session_id)).paid

        await until(paid)
        await sandbox.delivered(5)
        assert sorted(endpoint.types()) == [
            "checkout.session.async_payment_succeeded",
            "checkout.session.completed",
            "payment_intent.created",
            "payment_intent.processing",
            "payment_intent.succeeded",
        ]


async def test_an_expired_session_can_never_be_paid(sandbox: RunningSandbox) -> None:
    opened = await sandbox.checkout()
    await sandbox.browse(opened.url, {"means": ASKS})
    tried = await sandbox.gateway.fetch_checkout(opened.session_id)
    expired = await sandbox.gateway.expire_checkout(opened.session_id, "expire:1")
    assert (expired.status, expired.url, expired.paid) == ("expired", None, False)
    again = await sandbox.gateway.expire_checkout(opened.session_id, "expire:1")
    assert again.status == "expired"
    page = await sandbox.browse(opened.url, {"outcome": "succeed"})
    assert page.status == 200
    assert b"expired" in page.body
    assert tried.payment_intent_id is not None
    fact = await sandbox.gateway.retrieve(tried.payment_intent_id)
    assert (fact.status, fact.amount_received_minor) == ("canceled", 0)
    with pytest.raises(Refused, match="status of `expired`"):
        await sandbox.gateway.expire_checkout(opened.session_id, "expire:2")


async def test_a_paid_session_does_not_expire(sandbox: RunningSandbox) -> None:
    opened = await sandbox.checkout()
    await sandbox.browse(opened.url, {"means": GOOD})
    with pytest.raises(Refused, match="status of `complete`"):
        await sandbox.gateway.expire_checkout(opened.session_id, "expire:paid")
    assert (await sandbox.gateway.fetch_checkout(opened.session_id)).paid


async def test_the_payment_of_a_session_ends_with_it_alone(sandbox: RunningSandbox) -> None:
    opened = await sandbox.checkout()
    await sandbox.browse(opened.url, {"means": DECLINED})
    now = await sandbox.gateway.fetch_checkout(opened.session_id)
    assert now.payment_intent_id is not None
    with pytest.raises(Refused, match="Checkout Session"):
        await sandbox.gateway.cancel(now.payment_intent_id, "cancel:checkout")
    token = await sandbox.token()
    with pytest.raises(Refused, match="Checkout Session"):
        await sandbox.gateway.confirm(now.payment_intent_id, token, "confirm:checkout")
    # The token was not used up by the refusal.
    assert (await sandbox.pay(token=token)).status == "succeeded"


async def test_sessions_expire_by_the_sandbox_clock() -> None:
    async with sandbox_with_hooks() as (sandbox, endpoint):
        early = await sandbox.checkout()
        late = await sandbox.checkout(expires_at=datetime.now(UTC) + timedelta(hours=2))
        paid = await sandbox.checkout()
        await sandbox.browse(paid.url, {"means": GOOD})
        await sandbox.advance(35 * 60 - 60)
        assert (await sandbox.gateway.fetch_checkout(early.session_id)).status == "open"
        await sandbox.advance(60)
        states = [
            (await sandbox.gateway.fetch_checkout(fact.session_id)).status
            for fact in (early, late, paid)
        ]
        assert states == ["expired", "open", "complete"]
        await sandbox.delivered(4)
        assert sorted(endpoint.types()) == [
            "checkout.session.completed",
            "checkout.session.expired",
            "payment_intent.created",
            "payment_intent.succeeded",
        ]


CREATE = {
    "mode": "payment",
    "line_items[0][price_data][currency]": "cny",
    "line_items[0][price_data][unit_amount]": "5000",
    "line_items[0][price_data][product_data][name]": "Order",
    "line_items[0][quantity]": "1",
    "success_url": "http://127.0.0.1:9/done",
}
AMOUNT = "line_items[0][price_data][unit_amount]"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"mode": ""}, "parameter_missing"),
        ({"mode": "subscription"}, None),
        ({AMOUNT: ""}, "parameter_missing"),
        ({AMOUNT: "399"}, "amount_too_small"),
        ({AMOUNT: "100000000"}, "amount_too_large"),
        ({AMOUNT: "1.5"}, "parameter_invalid_integer"),
        ({"line_items[0][price_data][currency]": "xxx"}, None),
        ({"line_items[0][price_data][product_data][name]": ""}, "parameter_missing"),
        ({"line_items[0][quantity]": "0"}, None),
        ({"line_items[0][quantity]": "20000"}, "amount_too_large"),
        ({"line_items[1][quantity]": "1"}, "parameter_unknown"),
        ({"success_url": ""}, "parameter_missing"),
        ({"success_url": "javascript:alert(1)"}, "url_invalid"),
        ({"success_url": "http:///done"}, "url_invalid"),
        ({"success_url": "http://127.0.0.1:9/%0Aa"}, "url_invalid"),
        ({"cancel_url": "ftp://127.0.0.1/"}, "url_invalid"),
        ({"expires_at": "in-an-hour"}, "parameter_invalid_integer"),
        ({"expires_at": "1799"}, None),
        ({"expires_at": "86402"}, None),
        ({"payment_method_types[]": "klarna"}, "payment_intent_invalid_parameter"),
        ({"payment_method_types[]": "wechat_pay"}, "parameter_missing"),
        ({"customer_email": "a@b.test"}, "parameter_unknown"),
        ({"payment_intent_data[metadata][k]": "v" * 501}, None),
        ({"expand[]": "line_items"}, None),
    ],
)
async def test_bad_sessions_are_refused_and_leave_nothing(
    sandbox: RunningSandbox, changes: dict[str, str], code: str | None
) -> None:
    before = (await sandbox.state())["checkout_sessions"]
    if changes.get("expires_at", "").isdecimal():
        changes = {"expires_at": in_s(int(changes["expires_at"]))}
    answer = await sandbox.ask("POST", SESSIONS, CREATE | changes)
    assert answer.status == 400, answer.body
    assert answer.error.get("code") == code
    assert (await sandbox.state())["checkout_sessions"] == before
    assert (await sandbox.ask("POST", SESSIONS, CREATE)).status == 200


@pytest.mark.parametrize("seconds", [1_802, 86_399])
async def test_a_session_lives_half_an_hour_to_a_day(sandbox: RunningSandbox, seconds: int) -> None:
    answer = await sandbox.ask("POST", SESSIONS, CREATE | {"expires_at": in_s(seconds)})
    assert answer.status == 200, answer.body


async def test_the_same_key_is_the_same_session(sandbox: RunningSandbox) -> None:
    expires_at = datetime.now(UTC) + timedelta(hours=1)
    first = await sandbox.checkout(order_id="ord_key", expires_at=expires_at)
    second = await sandbox.checkout(order_id="ord_key", expires_at=expires_at)
    assert first == second
    with pytest.raises(Refused) as refused:
        await sandbox.checkout(order_id="ord_key", expires_at=expires_at, amount_minor=5_001)
    assert refused.value.code == "idempotency_error"


async def test_a_session_is_found_by_its_attempt_or_proven_absent() -> None:
    async with running_sandbox(timeout_s=0.5) as sandbox:
        find = sandbox.gateway.find_checkout
        assert await find("ord_lost", 1, EPOCH) is None
        await sandbox.faults(next_timeout_after_effect=1)
        with pytest.raises(UnknownOutcome):
            await sandbox.checkout(order_id="ord_lost")
        lost = await find("ord_lost", 1, EPOCH)
        assert lost is not None
        assert lost.status == "open"
        assert await find("ord_lost", 2, EPOCH) is None
        for _ in range(120):
            await sandbox.ask("POST", SESSIONS, CREATE)
        with pytest.raises(ListTruncated):
            await find("ord_lost", 1, EPOCH, pages_max=1)
        assert (await find("ord_lost", 1, EPOCH)) == lost
        # A second one under another key is newer, yet the one that was paid is what matters.
        await sandbox.browse(lost.url, {"means": GOOD})
        await sandbox.checkout(order_id="ord_lost", idempotency_key="checkout:ord_lost:other")
        found = await find("ord_lost", 1, EPOCH)
        assert found is not None
        assert (found.session_id, found.paid) == (lost.session_id, True)


async def _state(sandbox: RunningSandbox, opened: CheckoutFact) -> Any:
    return (await sandbox.ask("GET", f"{SESSIONS}/{opened.session_id}")).body


async def test_a_killed_sandbox_remembers_its_sessions(tmp_path: Path) -> None:
    options, port = ["--journal", str(tmp_path / "journal.jsonl")], free_port()
    async with running_sandbox(*options, port=port) as sandbox:
        paid, waiting = await sandbox.checkout(), await sandbox.checkout()
        await sandbox.browse(paid.url, {"means": GOOD})
        before = [await _state(sandbox, fact) for fact in (paid, waiting)]
        await sandbox.kill()
    async with running_sandbox(*options, port=port) as sandbox:
        assert [await _state(sandbox, fact) for fact in (paid, waiting)] == before
        await sandbox.advance(35 * 60)
        assert (await sandbox.gateway.fetch_checkout(waiting.session_id)).status == "expired"
        assert (await sandbox.gateway.fetch_checkout(paid.session_id)).status == "complete"


async def test_nothing_on_the_page_becomes_markup(sandbox: RunningSandbox) -> None:
    opened = await sandbox.checkout(
        name='<script>alert("x")</script>', cancel_url='http://127.0.0.1:9/?a="><b>'
    )
    page = await sandbox.browse(opened.url)
    assert b"<script" not in page.body
    assert b"<b>" not in page.body
    assert b"&lt;script&gt;" in page.body
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'self'")
    assert policy.endswith("form-action 'self' http://127.0.0.1:9")
    style = await sandbox.browse("/c/hosted.css")
    assert style.headers["content-type"].startswith("text/css")


async def test_the_page_speaks_the_shoppers_language(sandbox: RunningSandbox) -> None:
    opened = await sandbox.checkout()
    assert "测试资金".encode() in (await sandbox.browse(opened.url, language="zh-CN,en")).body
    assert b"TEST MONEY" in (await sandbox.browse(opened.url, language="en,zh")).body


async def test_odd_visits_are_answered_with_a_page(sandbox: RunningSandbox) -> None:
    opened = await sandbox.checkout()
    assert (await sandbox.browse("/c/pay/cs_test_unknown")).status == 404
    assert (await sandbox.browse("/c/other")).status == 404
    for fields in ({"means": "alipay"}, {"means": "x"}, {"outcome": "succeed"}, {"odd": "1"}, {}):
        assert (await sandbox.browse(opened.url, fields)).status == 400
    await sandbox.faults(outage=True)
    assert (await sandbox.browse(opened.url)).status == 503
    await sandbox.faults(outage=False)
    assert (await sandbox.gateway.fetch_checkout(opened.session_id)).payment_intent_id is None
