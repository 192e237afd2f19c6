"""Which calls the sandbox answers, who may make them, and what each does."""

from dataclasses import dataclass
from typing import Any, Literal

from orders.payments.sandbox import checkouts, disputes, intents, reads, refunds, tokens
from orders.payments.sandbox.account import Effect
from orders.payments.sandbox.calls import Call


@dataclass(frozen=True, slots=True)
class Route:
    """Who may call it, and what it does. `browser` routes answer to any origin and take a publishable key.

    `ours` are calls the product's server makes; rate limit and faults hit these, never the crowd's browsers.
    """

    effect: Effect
    caller: Literal["secret", "browser"] = "secret"
    ours: bool = True


def _authenticate(books: Any, call: Call) -> Any:
    if call.key_kind == "publishable":
        reads.require_client_secret(call, intents.find(books, call.object_id).intent)
    return intents.authenticate(books, call)


ROUTES: dict[str, Route] = {
    "POST /v1/payment_intents": Route(intents.create),
    "GET /v1/payment_intents": Route(reads.intents),
    "GET /v1/payment_intents/:id": Route(reads.intent, "browser"),
    "POST /v1/payment_intents/:id/confirm": Route(intents.confirm),
    "POST /v1/payment_intents/:id/cancel": Route(intents.cancel),
    "POST /v1/refunds": Route(refunds.create),
    "GET /v1/refunds": Route(reads.refunds),
    "GET /v1/refunds/:id": Route(reads.refund),
    "GET /v1/disputes": Route(reads.disputes),
    "GET /v1/disputes/:id": Route(reads.dispute),
    "POST /v1/disputes/:id/close": Route(disputes.close),
    "POST /v1/checkout/sessions": Route(checkouts.create),
    "GET /v1/checkout/sessions": Route(reads.checkout_sessions),
    "GET /v1/checkout/sessions/:id": Route(reads.checkout_session),
    "POST /v1/checkout/sessions/:id/expire": Route(checkouts.expire),
    "GET /v1/charges/:id": Route(reads.charge),
    "GET /v1/events": Route(reads.events),
    "GET /v1/events/:id": Route(reads.event),
    "GET /v1/balance": Route(reads.balance),
    "GET /v1/confirmation_tokens/:id": Route(tokens.retrieve),
    # Shoppers' browsers make tokens at their own pace; Stripe's limit on our server does not count them.
    "POST /v1/confirmation_tokens": Route(tokens.create, "browser", ours=False),
    "POST /v1/test_helpers/confirmation_tokens": Route(tokens.create, ours=False),
    "POST /sandbox/payment_intents/:id/authenticate": Route(_authenticate, "browser", ours=False),
    "POST /sandbox/payment_intents/:id/settle": Route(intents.settle, ours=False),
    "POST /sandbox/payment_intents/:id/dispute": Route(disputes.open_by_order, ours=False),
    "POST /sandbox/disputes/:id/decide": Route(disputes.decide, ours=False),
}


def endpoint_of(method: str, path: str) -> tuple[str, str]:
    """`("POST /v1/payment_intents/:id/confirm", "pi_…")`: ids stand third, and never name a collection."""
    parts = path.split("/")
    place = 4 if path.startswith("/v1/checkout/") else 3
    if len(parts) <= place or "_" not in parts[place] or parts[place] == "confirmation_tokens":
        return f"{method} {path}", ""
    object_id = parts[place]
    parts[place] = ":id"
    return f"{method} {'/'.join(parts)}", object_id
