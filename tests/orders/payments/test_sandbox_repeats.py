"""What happens to a call that is made twice, refused, or cut off: the ground our exactly-once stands on."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from orders.payments.errors import Declined, Refused, UnknownOutcome
from orders.payments.facts import PaymentFact
from tests.orders.payments.sandbox_process import (
    RunningSandbox,
    free_port,
    hook_endpoint,
    running_sandbox,
    until,
)

INTENTS = "/v1/payment_intents"
CREATE = {"amount": "5000", "currency": "cny"}


async def intents_of(sandbox: RunningSandbox) -> int:
    return sum((await sandbox.state())["payment_intents"].values())


async def test_the_same_key_replays_the_first_answer(sandbox: RunningSandbox) -> None:
    first = await sandbox.ask("POST", INTENTS, CREATE, key="replay")
    before = await intents_of(sandbox)
    second = await sandbox.ask("POST", INTENTS, CREATE, key="replay")
    assert second.body == first.body
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert await intents_of(sandbox) == before


async def test_a_decline_is_replayed_with_its_status(sandbox: RunningSandbox) -> None:
    token = await sandbox.token("pm_card_visa_chargeDeclined")
    facts: list[PaymentFact] = []
    for _ in range(2):
        with pytest.raises(Declined) as declined:
            await sandbox.pay(token=token, order_id="ord_declined")
        facts.append(declined.value.fact)
    assert facts[0] == facts[1]


@pytest.mark.parametrize("path", [INTENTS, "/v1/refunds"])
async def test_the_same_key_with_other_parameters_is_refused(
    sandbox: RunningSandbox, path: str
) -> None:
    key = f"changed:{path}"
    await sandbox.ask("POST", INTENTS, CREATE, key=key)
    answer = await sandbox.ask("POST", path, CREATE | {"amount": "5001"}, key=key)
    assert (answer.status, answer.error["type"]) == (400, "idempotency_error")


async def test_the_same_key_on_another_object_is_refused(sandbox: RunningSandbox) -> None:
    made = [(await sandbox.ask("POST", INTENTS, CREATE)).body["id"] for _ in range(2)]
    await sandbox.ask("POST", f"{INTENTS}/{made[0]}/cancel", key="cancel-one")
    answer = await sandbox.ask("POST", f"{INTENTS}/{made[1]}/cancel", key="cancel-one")
    assert (answer.status, answer.error["type"]) == (400, "idempotency_error")


async def test_what_was_refused_on_the_doorstep_is_not_stored(sandbox: RunningSandbox) -> None:
    assert (await sandbox.ask("POST", INTENTS, {"amount": "1"}, key="door")).status == 400
    await sandbox.faults(next_429=1)
    assert (await sandbox.ask("POST", INTENTS, CREATE, key="door")).status == 429
    assert (await sandbox.ask("POST", INTENTS, CREATE, key="door")).status == 200


@pytest.mark.parametrize("key", ["", "k" * 256])
async def test_keys_have_bounds(sandbox: RunningSandbox, key: str) -> None:
    assert (await sandbox.ask("POST", INTENTS, CREATE, key=key)).status == 400


async def test_parallel_calls_with_one_key_have_one_effect(sandbox: RunningSandbox) -> None:
    before = await intents_of(sandbox)
    await sandbox.faults(latency_ms=200)
    calls = [sandbox.ask("POST", INTENTS, CREATE, key="parallel") for _ in range(20)]
    answers = await asyncio.gather(*calls)
    assert sorted(answer.status for answer in answers) == [200] + [409] * 19
    conflict = next(answer for answer in answers if answer.status == 409)
    assert conflict.error["code"] == "idempotency_key_in_use"
    assert await intents_of(sandbox) == before + 1


async def test_keys_are_forgotten_after_a_day() -> None:
    async with running_sandbox() as sandbox:
        first = await sandbox.ask("POST", INTENTS, CREATE, key="old")
        await sandbox.advance(86_399 - 2)
        same = await sandbox.ask("POST", INTENTS, CREATE, key="old")
        assert same.body["id"] == first.body["id"]
        await sandbox.advance(3)
        other = await sandbox.ask("POST", INTENTS, CREATE, key="old")
        assert other.body["id"] != first.body["id"]


async def test_a_stored_500_has_no_effect_and_is_replayed(sandbox: RunningSandbox) -> None:
    before = await intents_of(sandbox)
    await sandbox.faults(next_500_stored=1)
    token = await sandbox.token()
    with pytest.raises(UnknownOutcome) as first:
        await sandbox.pay(token=token, order_id="ord_500")
    with pytest.raises(UnknownOutcome) as second:
        await sandbox.pay(token=token, order_id="ord_500")
    assert (first.value.key_spent, second.value.key_spent) == (False, True)
    assert await intents_of(sandbox) == before
    # The token was not used up, so a new attempt may take it.
    assert (await sandbox.pay(token=token, key="pay:ord_500:2")).status == "succeeded"


async def test_a_500_after_the_effect_hides_a_payment(sandbox: RunningSandbox) -> None:
    before = (await sandbox.state())["received_minor"].get("cny", 0)
    await sandbox.faults(next_500_after_effect=1)
    token = await sandbox.token()
    for _ in range(2):
        with pytest.raises(UnknownOutcome):
            await sandbox.pay(token=token, order_id="ord_hidden")
    assert (await sandbox.state())["received_minor"]["cny"] == before + 5_000


async def test_a_fault_can_be_kept_to_one_endpoint(sandbox: RunningSandbox) -> None:
    await sandbox.faults(outage=True, endpoint="POST /v1/refunds")
    fact = await sandbox.pay()
    with pytest.raises(UnknownOutcome):
        await sandbox.gateway.refund(fact.payment_intent_id, 100, "r:outage", {})
    await sandbox.faults(outage=False)
    await sandbox.gateway.refund(fact.payment_intent_id, 100, "r:outage", {})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"webhook_los": 1}',
        b'{"webhook_loss": 2}',
        b'{"next_429": -1}',
        b'{"outage": "yes"}',
        b'{"webhook_repeat": 101}',
        b'{"latency_ms": 999999999}',
    ],
)
async def test_faults_that_do_not_exist_are_refused(sandbox: RunningSandbox, body: bytes) -> None:
    before = (await sandbox.state())["faults"]
    assert (await sandbox.ask("POST", "/sandbox/faults", body)).status == 400
    assert (await sandbox.state())["faults"] == before


async def test_a_killed_sandbox_remembers_everything(tmp_path: Path) -> None:
    journal = tmp_path / "deep" / "journal.jsonl"
    options = ["--journal", str(journal), "--processing-delay-ms", "1500"]
    port = free_port()
    async with running_sandbox(*options, port=port) as sandbox:
        paid = await sandbox.pay(order_id="ord_paid")
        slow = await sandbox.pay("pm_card_bypassPending", order_id="ord_slow")
        asked = await sandbox.pay("pm_card_authenticationRequired", order_id="ord_asked")
        await sandbox.gateway.refund(paid.payment_intent_id, 1_000, "r:1", {})
        token, used = await sandbox.token(), await sandbox.token()
        await sandbox.pay(token=used, order_id="ord_used")
        await sandbox.advance(3_600)
        before = await sandbox.state()
        await sandbox.kill()
    assert journal.stat().st_mode & 0o077 == 0
    with journal.open("ab") as torn:
        torn.write(b'{"intents":[{"intent":{"id":"pi_torn"')
    async with running_sandbox(*options, port=port) as sandbox:
        after = await sandbox.state()
        assert {name: before[name] for name in ("received_minor", "refunded_minor", "events")} == {
            name: after[name] for name in ("received_minor", "refunded_minor", "events")
        }
        assert after["clock_ahead_s"] == 3_600
        replay = await sandbox.ask("POST", "/v1/refunds", await _refund_form(paid), key="r:1")
        assert replay.headers["idempotent-replayed"] == "true"
        with pytest.raises(Refused, match="already_used"):
            await sandbox.pay(token=used)
        assert (await sandbox.pay(token=token)).status == "succeeded"
        assert (await sandbox.authenticate(asked, "succeed")).body["status"] == "succeeded"

        async def settled() -> bool:
            fact = await sandbox.gateway.retrieve(slow.payment_intent_id)
            return fact.status == "succeeded"

        await until(settled)
    # The torn line was cut off before new ones followed, so a third start reads them all.
    async with running_sandbox(*options, port=port) as sandbox:
        assert (await sandbox.state())["payment_intents"] == {"succeeded": 5}


async def _refund_form(fact: PaymentFact) -> bytes:
    return f"amount=1000&payment_intent={fact.payment_intent_id}".encode()


async def test_a_journal_damaged_in_the_middle_is_not_guessed_at(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    journal.write_bytes(b'{"intents":[]}\nrubbish\n{"intents":[]}\n')
    with pytest.raises(AssertionError, match="ended with 1"):
        async with running_sandbox("--journal", str(journal)):
            pass
    assert journal.read_bytes().count(b"\n") == 3


async def test_webhooks_not_yet_accepted_are_sent_after_a_restart(tmp_path: Path) -> None:
    async with hook_endpoint() as endpoint:
        options = ["--journal", str(tmp_path / "j"), "--webhook-url", endpoint.url]
        options += ["--webhook-secret", "whsec_x", "--webhook-retry-ms", "600000"]
        endpoint.statuses = [500] * 2
        async with running_sandbox(*options) as sandbox:
            await sandbox.pay()
            await endpoint.got(2)
            os.kill(sandbox.process.pid, signal.SIGKILL)
            await sandbox.process.wait()
        async with running_sandbox(*options) as sandbox:
            state = await sandbox.delivered(2)
            assert len(endpoint.received) == 4
            assert {event["id"] for event in endpoint.events()[2:]} == set(
                state["delivered_event_ids"]
            )
        async with running_sandbox(*options) as sandbox:
            await asyncio.sleep(0.2)
            assert len(endpoint.received) == 4
