"""What we ask of Stripe: each method is one request (or one list), answered with small facts of our own."""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from orders.payments.errors import (
    Declined,
    ListTruncated,
    PaymentError,
    RateLimited,
    Refused,
    UnknownOutcome,
    Unreachable,
)
from orders.payments.facts import (
    CheckoutFact,
    DisputeFact,
    EventFact,
    PaymentFact,
    RefundFact,
    TokenFact,
    checkout_fact,
    dispute_fact,
    event_fact,
    payment_fact,
    refund_fact,
    token_fact,
)
from orders.payments.stripe_calls import StripeCalls

__all__ = [
    "CheckoutFact",
    "Declined",
    "DisputeFact",
    "EventFact",
    "ListTruncated",
    "PaymentError",
    "PaymentFact",
    "RateLimited",
    "RefundFact",
    "Refused",
    "StripeGateway",
    "TokenFact",
    "UnknownOutcome",
    "Unreachable",
]

_OBJECT_ID = re.compile(r"[A-Za-z0-9_]{4,255}", re.ASCII)
# Expanded, so that the fee is known with the payment whenever Stripe knows it by then.
_WITH_FEE = ["latest_charge.balance_transaction"]
# Of several sessions of one attempt the one that matters most: what was paid, then what can still be paid.
_CHECKOUT_ORDER = ("complete", "open", "expired")


class StripeGateway(StripeCalls):
    """Our calls to Stripe.

    Every method raises Unreachable, RateLimited, UnknownOutcome or Refused as `errors` defines them, and
    Declined where a card is tried.
    """

    async def create_and_confirm(
        self,
        *,
        order_id: str,
        attempt: int,
        amount_minor: int,
        currency: str,
        confirmation_token: str,
        metadata: Mapping[str, str],
        idempotency_key: str,
        return_url: str | None = None,
        payment_method_types: Sequence[str] = ("card",),
    ) -> PaymentFact:
        """Create the PaymentIntent of an order's attempt and try the token's method, in one call.

        Every parameter must be the one committed with the attempt: a repeat under the same key with others is
        refused. A token of another method than `payment_method_types` is refused, and so is a method that leaves
        our page (alipay) without `return_url`.
        The fact may say succeeded, processing or requires_action. Raises Declined.
        """
        params: dict[str, Any] = {
            "amount": amount_minor,
            "confirm": True,
            "confirmation_token": confirmation_token,
            "currency": currency.lower(),
            "expand": _WITH_FEE,
            "metadata": _attempt_metadata(order_id, attempt, metadata),
            **_methods(payment_method_types),
        }
        if return_url:
            params["return_url"] = return_url
        return await self._post("/v1/payment_intents", params, idempotency_key, payment_fact)

    async def fetch_token(self, confirmation_token: str) -> TokenFact:
        """Which method the shopper chose, and the fingerprint by which the same card is known again."""
        path = f"/v1/confirmation_tokens/{_checked(confirmation_token)}"
        return await self._call("get", path, {}, token_fact)

    async def confirm(
        self, payment_intent_id: str, confirmation_token: str, idempotency_key: str
    ) -> PaymentFact:
        """Try another card on a PaymentIntent whose last one was declined. Raises Declined."""
        params = {"confirmation_token": confirmation_token, "expand": _WITH_FEE}
        path = f"/v1/payment_intents/{_checked(payment_intent_id)}/confirm"
        return await self._post(path, params, idempotency_key, payment_fact)

    async def retrieve(self, payment_intent_id: str) -> PaymentFact:
        """The PaymentIntent as it is now, with its fee if known."""
        path = f"/v1/payment_intents/{_checked(payment_intent_id)}"
        return await self._call("get", path, {"expand": _WITH_FEE}, payment_fact)

    async def cancel(self, payment_intent_id: str, idempotency_key: str) -> PaymentFact:
        """Make the PaymentIntent unpayable for ever; only the returned `canceled` proves that it is.

        Raises Refused with code payment_intent_unexpected_state and the fact when it succeeded meanwhile.
        """
        path = f"/v1/payment_intents/{_checked(payment_intent_id)}/cancel"
        return await self._post(path, {"expand": _WITH_FEE}, idempotency_key, payment_fact)

    async def refund(
        self,
        payment_intent_id: str,
        amount_minor: int,
        idempotency_key: str,
        metadata: Mapping[str, str],
    ) -> RefundFact:
        """Give back part or all of a payment; the refund may still be pending, or fail later."""
        params = {
            "amount": amount_minor,
            "metadata": dict(metadata),
            "payment_intent": _checked(payment_intent_id),
        }
        return await self._post("/v1/refunds", params, idempotency_key, refund_fact)

    async def create_checkout(
        self,
        *,
        order_id: str,
        attempt: int,
        amount_minor: int,
        currency: str,
        name: str,
        expires_at: datetime,
        success_url: str,
        cancel_url: str,
        payment_method_types: Sequence[str],
        metadata: Mapping[str, str],
        idempotency_key: str,
    ) -> CheckoutFact:
        """Open a page at Stripe where the shopper pays an order's attempt; `name` is all it tells of the order.

        `expires_at` is 30 minutes to 24 hours ahead, on Stripe's clock. The PaymentIntent that the shopper makes there
        carries the same metadata as that of `create_and_confirm`. "{CHECKOUT_SESSION_ID}" in a URL is filled in.
        """
        known = _attempt_metadata(order_id, attempt, metadata)
        price = {
            "currency": currency.lower(),
            "product_data": {"name": name},
            "unit_amount": amount_minor,
        }
        params: dict[str, Any] = {
            # Left on, the shopper could be charged another amount in another currency.
            "adaptive_pricing": {"enabled": False},
            "cancel_url": cancel_url,
            "client_reference_id": order_id,
            "expires_at": _epoch_s(expires_at),
            "line_items": [{"price_data": price, "quantity": 1}],
            "metadata": known,
            "mode": "payment",
            "payment_intent_data": {"metadata": known},
            "success_url": success_url,
            **_methods(payment_method_types),
        }
        return await self._post("/v1/checkout/sessions", params, idempotency_key, checkout_fact)

    async def fetch_checkout(self, session_id: str) -> CheckoutFact:
        """The session as it is now."""
        return await self._call("get", _session_path(session_id), {}, checkout_fact)

    async def expire_checkout(self, session_id: str, idempotency_key: str) -> CheckoutFact:
        """Make an open session unpayable for ever; only the returned `expired` proves that it is.

        Raises Refused when it is complete, and also when it had expired before: fetch it to learn which.
        """
        path = f"{_session_path(session_id)}/expire"
        return await self._post(path, {}, idempotency_key, checkout_fact)

    async def find_checkout(
        self,
        order_id: str,
        attempt: int,
        created_gte: datetime,
        *,
        created_lt: datetime | None = None,
        pages_max: int = 100,
    ) -> CheckoutFact | None:
        """The session of one attempt since `created_gte`: a complete one before an open before an expired one.

        None means absent. Raises ListTruncated rather than call something absent that it did not look at.
        """
        wanted = _attempt_metadata(order_id, attempt, {})
        params = {"created": _window(created_gte, created_lt)}
        listed = self._list("checkout/sessions", params, pages_max, checkout_fact)
        found = [fact async for fact in listed if wanted.items() <= fact.metadata.items()]
        return min(found, key=lambda fact: _CHECKOUT_ORDER.index(fact.status), default=None)

    async def list_payment_intents(
        self, created_gte: datetime, *, created_lt: datetime | None = None, pages_max: int = 100
    ) -> AsyncIterator[PaymentFact]:
        """Those created in the window, newest first. Raises ListTruncated past `pages_max` pages of 100."""
        params = {"created": _window(created_gte, created_lt), "expand": ["data." + _WITH_FEE[0]]}
        async for fact in self._list("payment_intents", params, pages_max, payment_fact):
            yield fact

    async def list_refunds(
        self,
        created_gte: datetime,
        *,
        created_lt: datetime | None = None,
        payment_intent_id: str | None = None,
        pages_max: int = 100,
    ) -> AsyncIterator[RefundFact]:
        """Those created in the window, newest first. Raises ListTruncated."""
        params: dict[str, Any] = {"created": _window(created_gte, created_lt)}
        if payment_intent_id is not None:
            params["payment_intent"] = _checked(payment_intent_id)
        async for fact in self._list("refunds", params, pages_max, refund_fact):
            yield fact

    async def list_disputes(
        self,
        created_gte: datetime,
        created_lt: datetime | None = None,
        *,
        payment_intent_id: str | None = None,
        pages_max: int = 100,
    ) -> AsyncIterator[DisputeFact]:
        """Those created in the window, newest first. Raises ListTruncated."""
        params: dict[str, Any] = {"created": _window(created_gte, created_lt)}
        if payment_intent_id is not None:
            params["payment_intent"] = _checked(payment_intent_id)
        async for fact in self._list("disputes", params, pages_max, dispute_fact):
            yield fact

    async def list_events(
        self,
        created_gte: datetime,
        *,
        created_lt: datetime | None = None,
        types: Sequence[str] = (),
        pages_max: int = 100,
    ) -> AsyncIterator[EventFact]:
        """What happened in the window, newest first (Stripe keeps 30 days). Raises ListTruncated."""
        params: dict[str, Any] = {"created": _window(created_gte, created_lt)}
        if types:
            params["types"] = list(types)
        async for fact in self._list("events", params, pages_max, event_fact):
            yield fact

    async def find_by_metadata(
        self,
        order_id: str,
        attempt: int,
        created_gte: datetime,
        *,
        created_lt: datetime | None = None,
        pages_max: int = 100,
    ) -> tuple[PaymentFact, ...]:
        """All PaymentIntents of one attempt since `created_gte`, newest first; empty means absent.

        By listing, which is exact, and not by Stripe's search, which lags by minutes. Raises ListTruncated
        rather than call something absent that it did not look at.
        """
        wanted = _attempt_metadata(order_id, attempt, {})
        listed = self.list_payment_intents(created_gte, created_lt=created_lt, pages_max=pages_max)
        return tuple([fact async for fact in listed if wanted.items() <= fact.metadata.items()])

    async def ping(self) -> None:
        """Return if Stripe answers and takes our key."""
        await self._call("get", "/v1/balance", {}, len)


def _methods(payment_method_types: Sequence[str]) -> dict[str, Any]:
    """The methods that are taken, and what Stripe wants to know besides: that WeChat Pay's code is shown on a page."""
    params: dict[str, Any] = {"payment_method_types": list(payment_method_types)}
    if "wechat_pay" in payment_method_types:
        params["payment_method_options"] = {"wechat_pay": {"client": "web"}}
    return params


def _attempt_metadata(order_id: str, attempt: int, metadata: Mapping[str, str]) -> dict[str, str]:
    """By these members a payment finds its order again; nobody's own metadata may replace them."""
    return {**metadata, "order_id": order_id, "attempt": str(attempt)}


def _session_path(session_id: str) -> str:
    return f"/v1/checkout/sessions/{_checked(session_id)}"


def _checked(object_id: str) -> str:
    if not _OBJECT_ID.fullmatch(object_id):
        raise ValueError("not the id of a Stripe object")
    return object_id


def _window(created_gte: datetime, created_lt: datetime | None) -> dict[str, int]:
    bounds = {"gte": created_gte} | ({"lt": created_lt} if created_lt else {})
    return {name: _epoch_s(instant) for name, instant in bounds.items()}


def _epoch_s(instant: datetime) -> int:
    if instant.tzinfo is None:
        raise ValueError("a naive datetime does not say which instant it means")
    return int(instant.timestamp())
