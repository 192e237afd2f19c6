"""The bad days a test can order: outages that hang up, webhooks in any order, and a clock that moves."""

import asyncio
import itertools
import json
from datetime import UTC, datetime

import pytest

from orders.payments.errors import UnknownOutcome
from orders.payments.kept_connections import AnswerLostError
from tests.orders.payments.sandbox_process import (
    Answer,
    RunningSandbox,
    running_sandbox,
    sandbox_with_hooks,
)

EPOCH = datetime(2020, 1, 1, tzinfo=UTC)


async def script(sandbox: RunningSandbox, **orders: list[str]) -> Answer:
    return await sandbox.ask("POST", "/sandbox/webhooks", json.dumps(orders).encode())


async def held(sandbox: RunningSandbox) -> dict[str, str]:
    answer = await sandbox.ask("GET", "/sandbox/webhooks")
    return {event["type"]: event["id"] for event in answer.body["held"]}


async def test_an_outage_may_hang_up_until_it_is_ended(sandbox: RunningSandbox) -> None:
    token = await sandbox.token()
    before = (await sandbox.state())["payment_intents"]
    await sandbox.faults(outage=True, outage_hangs_up=True)
    for _ in range(3):
        with pytest.raises(UnknownOutcome) as unknown:
            await sandbox.pay(token=token, order_id="ord_hung_up")
        assert not unknown.value.key_spent
    # No answer at all, not even 503.
    with pytest.raises(AnswerLostError):
        await sandbox.ask("GET", "/v1/balance")
    assert (await sandbox.state())["payment_intents"] == before
    await sandbox.faults(outage=False)
    assert (await sandbox.pay(token=token, order_id="ord_hung_up")).status == "succeeded"


async def test_held_webhooks_are_sent_in_an_order_of_choice() -> None:
    async with sandbox_with_hooks() as (sandbox, endpoint):
        await sandbox.faults(webhook_hold=True)
        paid = await sandbox.pay()
        await sandbox.gateway.refund(paid.payment_intent_id, 100, "h:1", {})
        await asyncio.sleep(0.1)
        assert endpoint.received == []
        waiting = await held(sandbox)
        order = ["charge.refunded", "payment_intent.succeeded", "charge.refunded"]
        answer = await script(sandbox, deliver=[waiting[kind] for kind in order])
        assert answer.body["statuses"] == [200, 200, 200]
        assert endpoint.types() == order
        answer = await script(sandbox, drop=[waiting["refund.created"]])
        assert answer.body["held"] == [waiting["payment_intent.created"]]
        state = await sandbox.state()
        assert state["undelivered_event_ids"] == [waiting["refund.created"]]
        assert len(state["delivered_event_ids"]) == 2
        await sandbox.faults(webhook_hold=False)
        await sandbox.delivered(3)
        assert endpoint.types()[3:] == ["payment_intent.created"]


async def test_one_history_is_told_in_every_order() -> None:
    async with sandbox_with_hooks() as (sandbox, endpoint):
        await sandbox.faults(webhook_hold=True)
        paid = await sandbox.pay()
        await sandbox.gateway.refund(paid.payment_intent_id, 100, "p:1", {})
        waiting = list((await held(sandbox)).values())
        for order in itertools.permutations(waiting):
            assert (await script(sandbox, deliver=list(order))).status == 200
        told = [event["id"] for event in endpoint.events()]
        assert len(told) == 24 * 4
        assert {tuple(told[n : n + 4]) for n in range(0, 96, 4)} == set(
            itertools.permutations(waiting)
        )


async def test_a_refused_delivery_stays_held() -> None:
    async with sandbox_with_hooks() as (sandbox, endpoint):
        await sandbox.faults(webhook_hold=True)
        await sandbox.pay()
        event_id = (await held(sandbox))["payment_intent.succeeded"]
        endpoint.statuses = [503]
        assert (await script(sandbox, deliver=[event_id])).body["statuses"] == [503]
        assert event_id in (await held(sandbox)).values()
        assert (await sandbox.state())["delivered_event_ids"] == []


@pytest.mark.parametrize(
    ("orders", "status"),
    [
        ({"deliver": ["evt_unknown"]}, 404),
        ({"drop": ["evt_unknown"]}, 404),
        ({"send": []}, 400),
        ({"deliver": "evt"}, 400),
        ({"deliver": ["evt"] * 1_001}, 400),
    ],
)
async def test_scripts_that_make_no_sense_are_refused(
    orders: dict[str, list[str]], status: int
) -> None:
    async with sandbox_with_hooks() as (sandbox, _):
        assert (await script(sandbox, **orders)).status == status


async def test_a_sandbox_without_an_endpoint_delivers_nothing(sandbox: RunningSandbox) -> None:
    assert (await script(sandbox, deliver=[])).status == 400


async def test_the_clock_brings_what_was_to_come_by_then() -> None:
    async with running_sandbox("--processing-delay-ms", "3600000") as sandbox:
        slow = await sandbox.pay("pm_card_bypassPending")
        await sandbox.advance(3_599)
        assert (await sandbox.gateway.retrieve(slow.payment_intent_id)).status == "processing"
        await sandbox.advance(2)
        assert (await sandbox.gateway.retrieve(slow.payment_intent_id)).status == "succeeded"


async def test_events_are_kept_for_thirty_days() -> None:
    async with running_sandbox() as sandbox:
        paid = await sandbox.pay()
        await sandbox.advance(30 * 86_400 - 5)
        assert len([event async for event in sandbox.gateway.list_events(EPOCH)]) == 2
        await sandbox.advance(10)
        assert [event async for event in sandbox.gateway.list_events(EPOCH)] == []
        # Only events are forgotten; the payment itself can always be looked up.
        assert (await sandbox.gateway.retrieve(paid.payment_intent_id)).status == "succeeded"
