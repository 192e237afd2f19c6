"""Webhooks arrive signed as Stripe signs them, at least once, and as badly as a test orders."""

import asyncio
import json
import time

import pytest
import stripe

from orders.payments.facts import PaymentFact, RefundFact, event_fact
from orders.payments.webhook_signature import SignatureError, verify
from tests.orders.payments.sandbox_process import WEBHOOK_SECRET, sandbox_with_hooks


async def test_the_sdk_and_we_accept_the_signature() -> None:
    async with sandbox_with_hooks("--webhook-secret", "whsec_next") as (sandbox, endpoint):
        fact = await sandbox.pay()
        await sandbox.delivered(2)
        for signature, body in endpoint.received:
            for secret in (WEBHOOK_SECRET, "whsec_next"):
                event = stripe.Webhook.construct_event(body, signature, secret, api_key="sk_test_x")
                assert event.data.object["id"] == fact.payment_intent_id
                verify(body, signature, [secret], time.time())
            with pytest.raises(SignatureError, match="mismatch"):
                verify(body + b" ", signature, [WEBHOOK_SECRET], time.time())
        assert set(endpoint.types()) == {"payment_intent.created", "payment_intent.succeeded"}


async def test_each_change_makes_its_event_with_a_snapshot() -> None:
    async with sandbox_with_hooks("--processing-delay-ms", "50", "--refund-delay-ms", "50") as (
        sandbox,
        endpoint,
    ):
        asked = await sandbox.pay("pm_card_authenticationRequired")
        await sandbox.authenticate(asked, "fail")
        await sandbox.gateway.cancel(asked.payment_intent_id, "c:1")
        await sandbox.pay("pm_card_bypassPending")
        paid = await sandbox.pay("pm_card_refundFail")
        await sandbox.gateway.refund(paid.payment_intent_id, 100, "r:1", {})
        # 4 of the first, 3 of the second, 2 and 4 of the third.
        state = await sandbox.delivered(13)
        assert set(endpoint.types()) == {
            "payment_intent.created",
            "payment_intent.requires_action",
            "payment_intent.payment_failed",
            "payment_intent.canceled",
            "payment_intent.processing",
            "payment_intent.succeeded",
            "refund.created",
            "charge.refunded",
            "refund.updated",
            "refund.failed",
        }
        assert sorted(state["delivered_event_ids"]) == sorted(e["id"] for e in endpoint.events())
        _check_trust(endpoint.events())
        listed = [event async for event in sandbox.gateway.list_events(asked.created_at)]
        assert {event.event_id for event in listed} == set(state["delivered_event_ids"])


def _check_trust(events: list[dict[str, object]]) -> None:
    """Only final payments and refunds may be booked from a snapshot; all else has to be fetched."""
    for event in events:
        fact = event_fact(event)
        trusted = fact.trusted()
        if fact.object_kind == "refund":
            assert isinstance(trusted, RefundFact)
        elif fact.event_type in ("payment_intent.succeeded", "payment_intent.canceled"):
            assert isinstance(trusted, PaymentFact)
        else:
            assert trusted is None, fact.event_type


async def test_a_refused_webhook_comes_again_with_a_new_signature() -> None:
    async with sandbox_with_hooks("--webhook-retry-ms", "20") as (sandbox, endpoint):
        endpoint.statuses = [500, 302, 404, 503]
        await sandbox.pay()
        state = await sandbox.delivered(2)
        assert len(endpoint.received) == 6
        assert state["webhooks"]["refused"] == 4
        assert len({event["id"] for event in endpoint.events()}) == 2


async def test_repeats_are_the_same_event() -> None:
    async with sandbox_with_hooks("--webhook-events", "payment_intent.succeeded") as (
        sandbox,
        endpoint,
    ):
        await sandbox.faults(webhook_repeat=3)
        await sandbox.pay()
        await endpoint.got(4)
        await asyncio.sleep(0.1)
        assert len(endpoint.received) == 4
        assert len({body for _, body in endpoint.received}) == 1
        assert (await sandbox.state())["webhooks"]["delivered"] == 1


async def test_reordered_webhooks_all_arrive() -> None:
    async with sandbox_with_hooks("--webhook-events", "payment_intent.succeeded") as (
        sandbox,
        endpoint,
    ):
        await sandbox.faults(webhook_reorder=True)
        paid = [(await sandbox.pay()).payment_intent_id for _ in range(20)]
        await sandbox.delivered(20)
        arrived = [event["data"]["object"]["id"] for event in endpoint.events()]
        assert arrived != paid
        assert sorted(arrived) == sorted(paid)


async def test_lost_webhooks_can_still_be_listed() -> None:
    async with sandbox_with_hooks() as (sandbox, endpoint):
        await sandbox.faults(webhook_loss=1.0)
        fact = await sandbox.pay()
        await asyncio.sleep(0.1)
        assert endpoint.received == []
        state = await sandbox.state()
        listed = sandbox.gateway.list_events(fact.created_at, types=["payment_intent.succeeded"])
        events = [event async for event in listed]
        assert [event.object_id for event in events] == [fact.payment_intent_id]
        assert events[0].event_id in state["undelivered_event_ids"]
        await sandbox.faults(webhook_loss=0.5)
        await asyncio.gather(*[sandbox.pay() for _ in range(60)])
        hooks = (await sandbox.delivered(20))["webhooks"]
        assert 20 < hooks["delivered"] < 100
        assert hooks["delivered"] + hooks["undelivered"] == 122


async def test_a_delay_and_an_outage_hold_webhooks_back() -> None:
    async with sandbox_with_hooks("--webhook-events", "payment_intent.succeeded") as (
        sandbox,
        endpoint,
    ):
        await sandbox.faults(webhook_delay_ms=300)
        await sandbox.pay()
        await asyncio.sleep(0.15)
        assert endpoint.received == []
        await sandbox.delivered(1)
        await sandbox.pay()
        await sandbox.faults(outage=True)
        await asyncio.sleep(0.6)
        assert len(endpoint.received) == 1
        await sandbox.faults(outage=False)
        await sandbox.delivered(2)


async def test_an_endpoint_that_is_down_gets_them_later() -> None:
    async with sandbox_with_hooks("--webhook-retry-ms", "50") as (sandbox, endpoint):
        endpoint.statuses = [500] * 40
        for _ in range(5):
            await sandbox.pay()
        await sandbox.delivered(10)
        assert sorted({event["id"] for event in endpoint.events()}) == sorted(
            (await sandbox.state())["delivered_event_ids"]
        )


async def test_the_moved_clock_does_not_age_signatures() -> None:
    async with sandbox_with_hooks() as (sandbox, endpoint):
        await sandbox.advance(86_400)
        await sandbox.pay()
        await sandbox.delivered(2)
        signature, body = endpoint.received[0]
        verify(body, signature, [WEBHOOK_SECRET], time.time())
        assert json.loads(body)["created"] > time.time() + 86_000
