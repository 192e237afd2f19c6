"""Webhooks over HTTP: only what Stripe signed gets in, it is durable when answered, and it counts once."""

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
import stripe
from fastapi import APIRouter

from orders.payments.webhooks import BODY_BYTES_MAX, QUEUE_MAX, Inbox, Received, read_event
from orders.routes import router
from stream_events.batching import QueueFull
from tests.orders.payments.counter import Counter
from tests.orders.payments.sandbox_process import WEBHOOK_SECRET

URL = "/v1/webhooks/stripe"


@pytest.fixture
def routers() -> Sequence[APIRouter]:
    return (router,)


@pytest.fixture
def app_state(app_state: dict[str, Any], inbox: Inbox) -> dict[str, Any]:
    return {**app_state, "inbox": inbox, "webhook_secrets": (WEBHOOK_SECRET, "whsec_old")}


def event(event_id: str = "evt_1", **changes: Any) -> bytes:
    body = {
        "id": event_id,
        "object": "event",
        "type": "payment_intent.succeeded",
        "created": int(time.time()),
        "livemode": False,
        "data": {"object": {"id": "pi_1", "object": "payment_intent", "status": "succeeded"}},
    }
    return json.dumps(body | changes).encode()


def signed(body: bytes, secret: str = WEBHOOK_SECRET, ago_s: int = 0) -> dict[str, str]:
    header = stripe.WebhookSignature.generate_signature_header(
        body.decode("latin-1") if not body.isascii() else body.decode(),
        secret,
        timestamp=int(time.time()) - ago_s,
    )
    return {"stripe-signature": header}


async def stored(counter: Counter) -> list[Any]:
    return list(
        await counter.rows(
            "SELECT event_id, type, object_id, livemode, state, reason, payload"
            " FROM stripe_events ORDER BY received_at, event_id"
        )
    )


@pytest.mark.parametrize("secret", [WEBHOOK_SECRET, "whsec_old"])
async def test_a_signed_event_is_stored_before_it_is_answered(
    api: httpx.AsyncClient, counter: Counter, secret: str
) -> None:
    body = event()
    answer = await api.post(URL, content=body, headers=signed(body, secret))
    assert answer.status_code == 200
    [row] = await stored(counter)
    assert row[:6] == ("evt_1", "payment_intent.succeeded", "pi_1", False, "NEW", None)
    assert row.payload == json.loads(body)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"stripe-signature": ""},
        {"stripe-signature": "t=1,v1=00"},
        signed(event(), "whsec_forged"),
        signed(event(), ago_s=301),
        signed(event(), ago_s=-301),
        signed(event("evt_other")),
    ],
    ids=["none", "empty", "garbled", "forged", "old", "future", "other body"],
)
async def test_what_stripe_did_not_sign_now_leaves_no_trace(
    api: httpx.AsyncClient, counter: Counter, headers: dict[str, str]
) -> None:
    answer = await api.post(URL, content=event(), headers=headers)
    assert answer.status_code == 400
    assert answer.json()["code"] == "bad_signature"
    assert await stored(counter) == []


async def test_replays_and_repeats_are_one_event(api: httpx.AsyncClient, counter: Counter) -> None:
    body, other = event(), event(type="payment_intent.canceled")
    answers = await asyncio.gather(
        *(api.post(URL, content=body, headers=signed(body)) for _ in range(5))
    )
    answers.append(await api.post(URL, content=other, headers=signed(other)))
    assert {answer.status_code for answer in answers} == {200}
    [row] = await stored(counter)
    assert row.type == "payment_intent.succeeded"


async def test_many_events_share_transactions(api: httpx.AsyncClient, counter: Counter) -> None:
    before = await counter.one(
        "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
    )
    bodies = [event(f"evt_{number:03}") for number in range(300)]
    answers = await asyncio.gather(
        *(api.post(URL, content=body, headers=signed(body)) for body in bodies)
    )
    assert {answer.status_code for answer in answers} == {200}
    xmins = await counter.one("SELECT count(DISTINCT xmin::text) FROM stripe_events")
    assert await counter.one("SELECT count(*) FROM stripe_events") == 300
    assert xmins < 150
    assert before is not None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"id": 7}',
        b'{"id": "evt_1", "type": "x", "livemode": false, "data": {"object": []}}',
        b"[" * 100_000,
        event().replace(b"pi_1", b""),
        event().replace(b"evt_1", b"e" * 300),
    ],
    ids=["empty", "cut", "list", "number", "no object", "deep", "no id", "long id"],
)
async def test_signed_nonsense_is_set_apart_and_not_asked_for_again(
    api: httpx.AsyncClient, counter: Counter, body: bytes
) -> None:
    for _ in range(2):
        assert (await api.post(URL, content=body, headers=signed(body))).status_code == 200
    [row] = await stored(counter)
    assert (row.state, row.reason) == ("QUARANTINED", "unreadable")


def test_signed_bytes_that_are_no_text_are_set_apart() -> None:
    assert read_event(event().replace(b"pi_1", b"\xff\xfe")).reason == "unreadable"


async def test_what_sql_cannot_hold_does_not_turn_the_others_away(
    api: httpx.AsyncClient, counter: Counter
) -> None:
    bodies = [event("evt_1"), event("evt_2", note="\x00"), event("evt_3", note="\ud800")]
    bodies += [event(f"evt_{number}") for number in range(4, 9)]
    answers = await asyncio.gather(
        *(api.post(URL, content=body, headers=signed(body)) for body in bodies)
    )
    assert {answer.status_code for answer in answers} == {200}
    rows = await stored(counter)
    assert sorted(row.state for row in rows) == ["NEW"] * 6 + ["QUARANTINED"] * 2


async def test_nobodys_data_is_kept_with_an_event(api: httpx.AsyncClient, counter: Counter) -> None:
    payment = {
        "id": "pi_1",
        "client_secret": "pi_1_secret_x",
        "receipt_email": "wang.fang@example.org",
        "shipping": {"name": "Wang Fang"},
        "latest_charge": {"id": "ch_1", "billing_details": {"name": "Wang Fang"}},
        "charges": [{"billing_details": {"email": "wang.fang@example.org"}}],
        "last_payment_error": {
            "decline_code": "generic_decline",
            "payment_method": {"card": {"last4": "0002", "fingerprint": "fp_1"}},
        },
        "next_action": {"redirect_to_url": {"return_url": "https://example.org/pay/ord_1"}},
    }
    body = event(data={"object": payment})
    await api.post(URL, content=body, headers=signed(body))
    [row] = await stored(counter)
    assert row.payload["data"]["object"] == {
        "id": "pi_1",
        "latest_charge": {"id": "ch_1"},
        "charges": [{}],
        "last_payment_error": {"decline_code": "generic_decline"},
    }


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_the_limit_is_refused(
    api: httpx.AsyncClient, counter: Counter, *, chunked: bool
) -> None:
    body = event(note="x" * BODY_BYTES_MAX)

    async def chunks():  # type: ignore[no-untyped-def]  # noqa: ANN202
        for start in range(0, len(body), 10_000):
            yield body[start : start + 10_000]

    content = chunks() if chunked else body  # type: ignore[no-untyped-call]
    answer = await api.post(URL, content=content, headers=signed(body))
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert await stored(counter) == []


async def test_a_full_inbox_says_come_again(inbox: Inbox) -> None:
    waiting = [
        asyncio.create_task(inbox.keep(read_event(event(f"evt_{number}"))))
        for number in range(QUEUE_MAX)
    ]
    await asyncio.sleep(0)
    extra: Received = read_event(event("evt_extra"))
    with pytest.raises(QueueFull):
        await inbox.keep(extra)
    assert all(await asyncio.gather(*waiting))
