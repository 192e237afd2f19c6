"""Webhooks as Stripe sends them: a payment's whole object, signed, each sent exactly once over kept connections.

The object has the members and the size that Stripe's own has, because reading, storing and signing it is part of
what is measured. What it does not have is the fee: Stripe names that in no webhook.
"""

import asyncio
import hmac
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from time import perf_counter
from typing import Any, Final, NamedTuple

from loadtests.bench.cpu import tree_cpu_s
from loadtests.bench.load import cpu_s
from loadtests.bench.processes import Server
from loadtests.figures import Samples
from loadtests.http import Connection, Lost

TIMEOUT_S: Final = 30.0
API_VERSION: Final = "2026-04-22.dahlia"


class Awaiting(NamedTuple):
    """An order whose payment has begun, and of which only Stripe's word is missing."""

    order_id: str
    payment_intent_id: str
    amount_minor: int
    currency: str


class Webhook(NamedTuple):
    """A body and the signature over exactly its bytes."""

    body: bytes
    signature: str

    def request(self, path: str) -> bytes:
        """Return the request that brings it."""
        head = (
            f"POST {path} HTTP/1.1\r\nHost: load\r\nContent-Type: application/json; charset=utf-8\r\n"
            f"Stripe-Signature: {self.signature}\r\nContent-Length: {len(self.body)}\r\n\r\n"
        )
        return head.encode() + self.body


def payment_succeeded(awaiting: Awaiting, secret: str) -> Webhook:
    """Return the webhook that says that an order's payment succeeded; it is good for five minutes."""
    now_s = int(time.time())
    name = awaiting.payment_intent_id.removeprefix("pi_")
    event = {
        "id": f"evt_{name}",
        "object": "event",
        "api_version": API_VERSION,
        "created": now_s,
        "data": {"object": _payment_intent(awaiting, name, now_s)},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": "payment_intent.succeeded",
    }
    body = json.dumps(event, indent=2).encode()  # Stripe's bodies are indented, too.
    signed = hmac.new(secret.encode(), b"%d." % now_s + body, sha256).hexdigest()
    return Webhook(body, f"t={now_s},v1={signed}")


def _payment_intent(awaiting: Awaiting, name: str, now_s: int) -> dict[str, Any]:
    unused = (
        "application application_fee_amount canceled_at cancellation_reason customer customer_account"
        " description excluded_payment_method_types last_payment_error next_action on_behalf_of"
        " payment_method_configuration_details processing receipt_email review setup_future_usage"
        " shipping source statement_descriptor statement_descriptor_suffix transfer_data transfer_group"
    )
    card = {
        "installments": None,
        "mandate_options": None,
        "network": None,
        "request_three_d_secure": "automatic",
    }
    return {
        "id": awaiting.payment_intent_id,
        "object": "payment_intent",
        "amount": awaiting.amount_minor,
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": awaiting.amount_minor,
        "automatic_payment_methods": None,
        "capture_method": "automatic_async",
        "client_secret": f"{awaiting.payment_intent_id}_secret_{name}",
        "confirmation_method": "automatic",
        "created": now_s,
        "currency": awaiting.currency.lower(),
        "latest_charge": f"ch_{name}",
        "livemode": False,
        "metadata": {"order_id": awaiting.order_id, "attempt": "1"},
        "payment_method": f"pm_{name}",
        "payment_method_options": {"card": card},
        "payment_method_types": ["card"],
        "status": "succeeded",
        **dict.fromkeys(unused.split()),
    }


@dataclass(slots=True)
class Sent:
    """What came of sending: the seconds are from the first request to the last answer."""

    count: int
    began: float
    seconds: float = 0.0
    answers: Counter[int] = field(default_factory=Counter)
    latency: Samples = field(default_factory=Samples)
    lost: Counter[str] = field(default_factory=Counter)
    unclear: list[bytes] = field(default_factory=list)
    """The requests answered 503, which may be repeated."""
    client_cpu: float = 0.0
    """What part of a core this process used meanwhile."""
    server_cpu_s: float | None = None

    @property
    def per_second(self) -> float:
        """Answers a second."""
        return self.count / self.seconds


async def send_all(server: Server, requests: Sequence[bytes], connections: int) -> Sent:
    """Send every request once, each connection one at a time, and wait for all answers."""
    hands = [Connection(server.address, timeout_s=TIMEOUT_S) for _ in range(connections)]
    left = iter(requests)
    used_s, server_used_s = cpu_s(), tree_cpu_s(server.pid)
    sent = Sent(len(requests), perf_counter())

    async def send(hand: Connection) -> None:
        for raw in left:
            try:
                answer = await hand.request(raw)
            except Lost as lost:
                sent.lost[str(lost)] += 1
                continue
            sent.answers[answer.status] += 1
            if answer.status == 503:
                sent.unclear.append(raw)
            sent.latency.add(answer.ms)

    await asyncio.gather(*(send(hand) for hand in hands))
    sent.seconds = perf_counter() - sent.began
    sent.client_cpu = (cpu_s() - used_s) / sent.seconds
    after_s = tree_cpu_s(server.pid)
    if server_used_s is not None and after_s is not None:
        sent.server_cpu_s = after_s - server_used_s
    for hand in hands:
        hand.close()
    return sent
