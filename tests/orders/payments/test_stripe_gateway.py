"""The gateway says of each call what the caller may conclude from it, and nothing more."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import stripe

from orders.payments.errors import (
    ListTruncated,
    PaymentError,
    RateLimited,
    Refused,
    UnknownOutcome,
    Unreachable,
)
from orders.payments.stripe_gateway import PaymentFact, StripeGateway
from tests.orders.payments.sandbox_process import (
    SECRET_KEY,
    RunningSandbox,
    free_port,
    running_sandbox,
)

EPOCH = datetime(2020, 1, 1, tzinfo=UTC)


async def test_a_timeout_after_the_effect_is_found_by_its_key() -> None:
    async with running_sandbox(timeout_s=0.5) as sandbox:
        await sandbox.faults(next_timeout_after_effect=1)
        token = await sandbox.token()
        with pytest.raises(UnknownOutcome):
            await sandbox.pay(token=token, order_id="ord_1")
        assert (await sandbox.state())["payment_intents"] == {"succeeded": 1}
        fact = await sandbox.pay(token=token, order_id="ord_1")
        assert fact.status == "succeeded"
        assert (await sandbox.state())["payment_intents"] == {"succeeded": 1}


async def test_refund_and_cancel_survive_a_lost_answer_too() -> None:
    async with running_sandbox(timeout_s=0.5) as sandbox:
        fact = await sandbox.pay()
        await sandbox.faults(next_timeout_after_effect=1, endpoint="POST /v1/refunds")
        with pytest.raises(UnknownOutcome):
            await sandbox.gateway.refund(fact.payment_intent_id, 700, "r:1", {})
        await sandbox.gateway.refund(fact.payment_intent_id, 700, "r:1", {})
        assert (await sandbox.state())["refunded_minor"] == {"cny": 700}
        asked = await sandbox.pay("pm_card_authenticationRequired")
        await sandbox.faults(next_timeout_after_effect=1, endpoint=None)
        with pytest.raises(UnknownOutcome):
            await sandbox.gateway.cancel(asked.payment_intent_id, "c:1")
        assert (await sandbox.gateway.cancel(asked.payment_intent_id, "c:1")).status == "canceled"


async def test_canceling_what_succeeded_shows_that_it_did(sandbox: RunningSandbox) -> None:
    paid = await sandbox.pay()
    with pytest.raises(Refused) as refused:
        await sandbox.gateway.cancel(paid.payment_intent_id, "cancel-paid")
    assert refused.value.code == "payment_intent_unexpected_state"
    assert refused.value.fact is not None
    assert refused.value.fact.status == "succeeded"
    assert refused.value.fact.amount_received_minor == 5_000


async def test_another_attempt_under_the_same_key_is_refused(sandbox: RunningSandbox) -> None:
    await sandbox.pay(order_id="ord_same")
    with pytest.raises(Refused) as refused:
        await sandbox.pay(order_id="ord_same", amount_minor=6_000)
    assert refused.value.code == "idempotency_error"


async def test_a_call_still_at_work_is_unknown(sandbox: RunningSandbox) -> None:
    token = await sandbox.token()
    await sandbox.faults(latency_ms=150)
    calls = [sandbox.pay(token=token, order_id="ord_twice") for _ in range(5)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(result, PaymentFact) for result in results) == 1
    unknown = [result for result in results if isinstance(result, UnknownOutcome)]
    assert len(unknown) == 4
    assert not any(result.key_spent for result in unknown)


async def test_too_many_calls_are_told_when_to_come_back() -> None:
    async with running_sandbox("--rate", "3") as sandbox:
        calls = [sandbox.gateway.ping() for _ in range(5)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        limited = [result for result in results if isinstance(result, RateLimited)]
        assert len(limited) == 2
        assert limited[0].retry_after_ms == 1_000


async def test_an_outage_is_unknown_and_no_process_is_unreachable(sandbox: RunningSandbox) -> None:
    await sandbox.faults(outage=True)
    with pytest.raises(UnknownOutcome) as unknown:
        await sandbox.pay()
    assert not unknown.value.key_spent
    gone = StripeGateway(SECRET_KEY, f"http://127.0.0.1:{free_port()}", timeout_s=1)
    with pytest.raises(Unreachable):
        await gone.ping()
    await gone.aclose()


async def test_a_wrong_key_is_refused_without_saying_it(sandbox: RunningSandbox) -> None:
    async with running_sandbox("--secret-key", "sk_test_right") as strict:
        wrong = StripeGateway("sk_test_wrongwrong", strict.base_url)
        with pytest.raises(Refused) as refused:
            await wrong.ping()
        assert refused.value.code == "authentication_error"
        assert "wrongwrong" not in repr(refused.value)
        await wrong.aclose()


async def test_lists_go_through_all_pages() -> None:
    async with running_sandbox() as sandbox:
        paid = [fact.payment_intent_id for fact in await asyncio.gather(*_many(sandbox, 230))]
        listed = [fact async for fact in sandbox.gateway.list_payment_intents(EPOCH, pages_max=3)]
        assert len(listed) == len({fact.payment_intent_id for fact in listed}) == 230
        assert {fact.payment_intent_id for fact in listed} == set(paid)
        assert listed[0].created_at >= listed[-1].created_at
        assert listed[0].fee_minor == 175
        with pytest.raises(ListTruncated):
            [fact async for fact in sandbox.gateway.list_payment_intents(EPOCH, pages_max=2)]
        events = [event async for event in sandbox.gateway.list_events(EPOCH, pages_max=5)]
        assert len(events) == 460
        await sandbox.advance(100)
        later = await sandbox.pay()
        since = later.created_at
        newest = [fact async for fact in sandbox.gateway.list_payment_intents(since)]
        assert [fact.payment_intent_id for fact in newest] == [later.payment_intent_id]
        older = sandbox.gateway.list_payment_intents(EPOCH, created_lt=since)
        assert len([fact async for fact in older]) == 230


def _many(sandbox: RunningSandbox, count: int) -> list[Any]:
    return [sandbox.pay() for _ in range(count)]


async def test_an_attempt_is_found_by_its_metadata_or_proven_absent() -> None:
    async with running_sandbox() as sandbox:
        await asyncio.gather(*_many(sandbox, 120))
        twice = [await sandbox.pay(order_id="ord_x", key=f"pay:ord_x:{n}") for n in range(2)]
        find = sandbox.gateway.find_by_metadata
        found = await find("ord_x", 1, EPOCH)
        assert {fact.payment_intent_id for fact in found} == {
            fact.payment_intent_id for fact in twice
        }
        assert await find("ord_x", 2, EPOCH) == ()
        assert await find("ord_nobody", 1, EPOCH) == ()
        with pytest.raises(ListTruncated):
            await find("ord_nobody", 1, EPOCH, pages_max=1)


async def test_refunds_are_listed_by_payment(sandbox: RunningSandbox) -> None:
    paid, other = await sandbox.pay(), await sandbox.pay()
    made = [
        (await sandbox.gateway.refund(fact.payment_intent_id, 100, f"l:{n}:{fact.status}", {}))
        for n, fact in enumerate([paid, paid, other])
    ]
    since = paid.created_at - timedelta(seconds=1)
    listed = sandbox.gateway.list_refunds(since, payment_intent_id=paid.payment_intent_id)
    assert [fact.refund_id async for fact in listed] == [made[1].refund_id, made[0].refund_id]


@pytest.mark.parametrize(
    ("key", "base_url"),
    [
        ("sk_live_x", "http://127.0.0.1:1"),
        ("rk_live_x", "http://127.0.0.1:1"),
        ("sk_live_x", "https://api.stripe.com"),
        ("", None),
        ("pk_test_x", None),
        ("sk_test_", None),
        ("sk_test_x\r\nx: y", None),
        (" sk_test_x", None),
    ],
)
def test_keys_that_must_not_be_sent_are_refused(key: str, base_url: str | None) -> None:
    with pytest.raises(ValueError, match="Stripe"):
        StripeGateway(key, base_url)


def test_a_gateway_for_stripe_itself_can_be_built() -> None:
    assert StripeGateway("sk_live_x").livemode
    assert not StripeGateway("rk_test_x").livemode
    assert stripe.enable_telemetry is False


async def test_arguments_that_would_be_dangerous_are_refused(sandbox: RunningSandbox) -> None:
    for bad_id in ("", "../balance", "pi_1?x=1", "pi_1/confirm", "pi 1"):
        with pytest.raises(ValueError, match="id of a Stripe object"):
            await sandbox.gateway.retrieve(bad_id)
    with pytest.raises(ValueError, match="idempotency key"):
        await sandbox.gateway.cancel("pi_12345", "")
    with pytest.raises(ValueError, match="control character"):
        await sandbox.gateway.cancel("pi_12345", "a\r\nb: c")
    with pytest.raises(ValueError, match="naive"):
        [f async for f in sandbox.gateway.list_events(datetime(2026, 1, 1))]  # noqa: DTZ001


async def test_secrets_stay_out_of_errors_and_facts(sandbox: RunningSandbox) -> None:
    fact = await sandbox.pay()
    assert fact.client_secret is not None
    assert fact.client_secret not in repr(fact)
    with pytest.raises(PaymentError) as refused:
        await sandbox.gateway.cancel(fact.payment_intent_id, "secrets")
    told = repr(refused.value) + str(refused.value) + repr(refused.value.__cause__)
    assert fact.client_secret not in told
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__
    assert SECRET_KEY not in repr(vars(sandbox.gateway))


@asynccontextmanager
async def scripted(
    *answers: tuple[int, bytes, str],
) -> AsyncIterator[tuple[StripeGateway, list[str]]]:
    """A server that gives these answers in turn to whatever it is asked, and counts."""
    script, seen = list(answers), list[str]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        seen.append(head)
        status, body, extra = script.pop(0)
        writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n{extra}\r\n".encode())
        writer.write(body)
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    gateway = StripeGateway(SECRET_KEY, f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}")
    try:
        yield gateway, seen
    finally:
        await gateway.aclose()
        listener.close()


ERROR = json.dumps({"error": {"type": "api_error", "message": "m"}}).encode()
ODD_INTENT = json.dumps({"error": {"type": "card_error", "payment_intent": {"id": 1}}}).encode()


@pytest.mark.parametrize(
    ("status", "body", "extra", "expected"),
    [
        (200, b"", "", UnknownOutcome),
        (200, b"[]", "", UnknownOutcome),
        (200, b"null", "", UnknownOutcome),
        (200, b"<html>", "", UnknownOutcome),
        (200, b'{"object":"payment_intent","id":"pi_1"}', "", UnknownOutcome),
        (200, b"\xff\xfe", "", UnknownOutcome),
        (302, b"", "location: http://elsewhere/\r\n", UnknownOutcome),
        (409, ERROR, "", UnknownOutcome),
        (424, ERROR, "", UnknownOutcome),
        (500, ERROR, "", UnknownOutcome),
        (502, b"<html>bad gateway", "", UnknownOutcome),
        (503, b"", "", UnknownOutcome),
        (402, ODD_INTENT, "", UnknownOutcome),
        (400, ERROR, "", Refused),
        (400, b"<html>", "", Refused),
        (401, ERROR, "", Refused),
        (402, ERROR, "", Refused),
        (403, ERROR, "", Refused),
        (404, ERROR, "", Refused),
        (405, b"", "", Refused),
        (413, b"<html>too large", "", Refused),
        (429, ERROR, "", RateLimited),
        (429, ERROR, "retry-after: 7\r\n", RateLimited),
        (429, ERROR, "retry-after: tomorrow\r\n", RateLimited),
        (429, ERROR, "retry-after: 99999\r\n", RateLimited),
    ],
)
async def test_every_odd_answer_has_one_meaning_and_no_retry(
    status: int, body: bytes, extra: str, expected: type[PaymentError]
) -> None:
    async with scripted((status, body, extra)) as (gateway, seen):
        with pytest.raises(PaymentError) as raised:
            await gateway.cancel("pi_12345", "key")
        assert type(raised.value) is expected
        assert len(seen) == 1
        if isinstance(raised.value, RateLimited):
            assert raised.value.retry_after_ms == (
                {"retry-after: 7\r\n": 7_000, "retry-after: 99999\r\n": 60_000}.get(extra, 1_000)
            )


async def test_what_is_sent_is_what_was_committed() -> None:
    async with scripted((500, ERROR, "")) as (gateway, seen):
        with pytest.raises(UnknownOutcome):
            await gateway.create_and_confirm(
                order_id="ord_1",
                attempt=2,
                amount_minor=5_000,
                currency="CNY",
                confirmation_token="ctoken_1",
                metadata={"attempt": "forged", "stream_id": "str_1"},
                idempotency_key="pay:ord_1:2",
            )
        lowered = seen[0].lower()
        assert "idempotency-key: pay:ord_1:2\r\n" in lowered
        assert f"authorization: bearer {SECRET_KEY}\r\n" in lowered
        assert "telemetry" not in lowered
