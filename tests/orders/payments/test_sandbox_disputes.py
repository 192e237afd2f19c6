"""Disputes take money back with a fee, as Stripe's do, and give it back when they are won."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from orders.payments.errors import Refused
from orders.payments.facts import DisputeFact, PaymentFact, event_fact
from tests.orders.payments.sandbox_process import (
    RunningSandbox,
    running_sandbox,
    sandbox_with_hooks,
    until,
)

EPOCH = datetime(2020, 1, 1, tzinfo=UTC)


async def disputes_of(sandbox: RunningSandbox, paid: PaymentFact) -> list[DisputeFact]:
    listed = sandbox.gateway.list_disputes(EPOCH, payment_intent_id=paid.payment_intent_id)
    return [fact async for fact in listed]


@pytest.mark.parametrize(
    ("payment_method", "status", "fee_minor"),
    [
        ("pm_card_createDispute", "needs_response", 1_500),
        ("pm_card_createDisputeProductNotReceived", "needs_response", 1_500),
        ("pm_card_createDisputeInquiry", "warning_needs_response", None),
    ],
)
async def test_a_card_made_for_it_is_disputed_after_it_paid(
    sandbox: RunningSandbox, payment_method: str, status: str, fee_minor: int | None
) -> None:
    paid = await sandbox.pay(payment_method)
    assert (paid.status, paid.amount_received_minor) == ("succeeded", 5_000)

    async def disputed() -> bool:
        return bool(await disputes_of(sandbox, paid))

    await until(disputed)
    [dispute] = await disputes_of(sandbox, paid)
    assert (dispute.payment_intent_id, dispute.amount_minor) == (paid.payment_intent_id, 5_000)
    assert (dispute.status, dispute.currency, dispute.fee_minor) == (status, "CNY", fee_minor)
    answer = await sandbox.ask("GET", f"/v1/charges/{dispute.charge_id}")
    assert answer.body["disputed"] is True


async def test_a_typed_card_is_disputed_too(sandbox: RunningSandbox) -> None:
    token = (await sandbox.card_token("4000000000000259")).body["id"]
    paid = await sandbox.pay(token=token)

    async def disputed() -> bool:
        return bool(await disputes_of(sandbox, paid))

    await until(disputed)


@pytest.mark.parametrize("outcome", ["won", "lost"])
async def test_a_dispute_tells_each_step(outcome: str) -> None:
    async with sandbox_with_hooks() as (sandbox, endpoint):
        paid = await sandbox.pay()
        opened = await sandbox.dispute(paid.payment_intent_id, amount="3000")
        assert opened.status == 200
        dispute_id = opened.body["id"]
        assert opened.body["balance_transactions"][0]["net"] == -4_500
        assert (await sandbox.decide(dispute_id, "review")).body["status"] == "under_review"
        assert (await sandbox.state())["disputed_minor"] == {"cny": 3_000}
        assert (await sandbox.decide(dispute_id, outcome)).body["status"] == outcome
        assert (await sandbox.decide(dispute_id, outcome)).status == 400
        state = await sandbox.delivered(6)
        won = outcome == "won"
        assert state["disputed_minor"] == ({} if won else {"cny": 3_000})
        assert state["dispute_fees_minor"] == {"cny": 1_500}
        happened = [kind for kind in endpoint.types() if kind.startswith("charge.dispute")]
        assert sorted(happened) == sorted(
            ["charge.dispute." + step for step in ("created", "funds_withdrawn", "updated")]
            + ["charge.dispute.closed"]
            + (["charge.dispute.funds_reinstated"] if won else [])
        )
        for event in endpoint.events():
            if event["type"].startswith("charge.dispute"):
                fact = event_fact(event).trusted()
                assert isinstance(fact, DisputeFact)
                assert (fact.dispute_id, fact.amount_minor) == (dispute_id, 3_000)
                assert fact.fee_minor == 1_500
        [now] = await disputes_of(sandbox, paid)
        assert (now.status, now.fee_minor) == (outcome, 1_500)


async def test_giving_in_is_losing(sandbox: RunningSandbox) -> None:
    paid = await sandbox.pay()
    dispute_id = (await sandbox.dispute(paid.payment_intent_id)).body["id"]
    answer = await sandbox.ask("POST", f"/v1/disputes/{dispute_id}/close")
    assert (answer.status, answer.body["status"]) == (200, "lost")
    assert (await sandbox.ask("GET", f"/v1/disputes/{dispute_id}")).body["status"] == "lost"
    assert (await sandbox.ask("POST", f"/v1/disputes/{dispute_id}/close")).status == 400
    assert (await sandbox.ask("GET", "/v1/disputes/du_unknown")).status == 404


async def test_a_disputed_charge_is_not_refunded(sandbox: RunningSandbox) -> None:
    paid = await sandbox.pay()
    refund = sandbox.gateway.refund
    dispute_id = (await sandbox.dispute(paid.payment_intent_id, amount="3000")).body["id"]
    with pytest.raises(Refused) as refused:
        await refund(paid.payment_intent_id, 100, "d:open", {})
    assert refused.value.code == "charge_disputed"
    await sandbox.decide(dispute_id, "lost")
    with pytest.raises(Refused, match="greater than unrefunded"):
        await refund(paid.payment_intent_id, 2_001, "d:more", {})
    assert (await refund(paid.payment_intent_id, 2_000, "d:rest", {})).status == "succeeded"
    with pytest.raises(Refused) as refused:
        await refund(paid.payment_intent_id, 1, "d:lost", {})
    assert refused.value.code == "charge_disputed"


async def test_what_was_won_back_can_be_refunded(sandbox: RunningSandbox) -> None:
    paid = await sandbox.pay()
    dispute_id = (await sandbox.dispute(paid.payment_intent_id)).body["id"]
    await sandbox.decide(dispute_id, "won")
    made = await sandbox.gateway.refund(paid.payment_intent_id, 5_000, "d:won", {})
    assert made.status == "succeeded"


async def test_an_inquiry_takes_nothing_and_ends_with_a_full_refund(
    sandbox: RunningSandbox,
) -> None:
    paid = await sandbox.pay()
    opened = await sandbox.dispute(paid.payment_intent_id, reason="inquiry")
    assert opened.body["balance_transactions"] == []
    await sandbox.gateway.refund(paid.payment_intent_id, 5_000, "d:inquiry", {})
    [dispute] = await disputes_of(sandbox, paid)
    assert dispute.status == "warning_closed"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"amount": "0"}, 400),
        ({"amount": "5001"}, 400),
        ({"amount": "x"}, 400),
        ({"reason": "anger"}, 400),
        ({"odd": "1"}, 400),
        ({"amount": "4001"}, 400),  # 1,000 of it are refunded
        ({"amount": "4000"}, 200),
        ({"amount": "1"}, 400),  # nothing is left
    ],
)
async def test_a_dispute_is_about_what_was_paid(fields: dict[str, str], status: int) -> None:
    async with running_sandbox() as sandbox:
        paid = await sandbox.pay()
        await sandbox.gateway.refund(paid.payment_intent_id, 1_000, "d:part", {})
        if fields.get("amount") == "1":
            await sandbox.dispute(paid.payment_intent_id)
        assert (await sandbox.dispute(paid.payment_intent_id, **fields)).status == status


async def test_only_paid_money_is_disputed(sandbox: RunningSandbox) -> None:
    asked = await sandbox.pay("pm_card_authenticationRequired")
    assert (await sandbox.dispute(asked.payment_intent_id)).status == 400
    assert (await sandbox.dispute("pi_unknown")).status == 404
    assert (await sandbox.decide("du_unknown", "won")).status == 404


async def test_disputes_are_listed_by_time_and_survive_a_kill(tmp_path: Path) -> None:
    options = ["--journal", str(tmp_path / "journal.jsonl")]
    async with running_sandbox(*options) as sandbox:
        paid = [await sandbox.pay() for _ in range(3)]
        for fact in paid[:2]:
            await sandbox.dispute(fact.payment_intent_id)
        await sandbox.advance(1_000)
        late = (await sandbox.dispute(paid[2].payment_intent_id)).body
        await sandbox.decide(late["id"], "won")
        await sandbox.kill()
    async with running_sandbox(*options) as sandbox:
        listed = [fact async for fact in sandbox.gateway.list_disputes(EPOCH)]
        assert [fact.payment_intent_id for fact in listed] == [
            fact.payment_intent_id for fact in reversed(paid)
        ]
        assert listed[0].status == "won"
        since = listed[0].created_at - timedelta(seconds=1)
        assert [fact async for fact in sandbox.gateway.list_disputes(since)] == listed[:1]
        assert [fact async for fact in sandbox.gateway.list_disputes(EPOCH, since)] == listed[1:]
        with pytest.raises(Refused, match="charge_disputed"):
            await sandbox.gateway.refund(paid[0].payment_intent_id, 1, "d:kept", {})
