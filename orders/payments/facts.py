"""What we keep of Stripe's objects: small frozen facts, read strictly, so that nothing half-understood is booked.

Pure; the objects come as plain mappings, from the API or from a verified webhook alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, TypeVar

PAYMENT_STATUSES = frozenset(
    {
        "requires_payment_method",
        "requires_confirmation",
        "requires_action",
        "requires_capture",
        "processing",
        "succeeded",
        "canceled",
    }
)
# Nothing changes a PaymentIntent after these; any other status in a webhook may be long outdated.
FINAL_STATUSES = frozenset({"succeeded", "canceled"})
CHECKOUT_STATUSES = frozenset({"open", "complete", "expired"})

T = TypeVar("T")


class UnreadableSnapshotError(ValueError):
    """The object lacks a member we rely on, or has it in another shape: quarantine it, never guess."""


@dataclass(frozen=True, slots=True)
class PaymentFact:
    """A PaymentIntent at one moment.

    `client_secret` goes to the paying shopper alone. `decline_code` is the last try's, never shown to clients.
    `fee_minor` is None while it is unknown, and when Stripe charges it in another currency.
    """

    payment_intent_id: str
    status: str
    amount_minor: int
    amount_received_minor: int
    currency: str
    livemode: bool
    metadata: Mapping[str, str]
    client_secret: str | None
    next_action: bool
    decline_code: str | None
    fee_minor: int | None
    created_at: datetime

    def __repr__(self) -> str:
        # The client secret must not reach a log by way of an error message.
        return f"PaymentFact({self.payment_intent_id}, {self.status}, {self.amount_received_minor})"


@dataclass(frozen=True, slots=True)
class RefundFact:
    """A refund at one moment; `status` is pending, requires_action, succeeded, failed or canceled."""

    refund_id: str
    payment_intent_id: str | None
    charge_id: str | None
    amount_minor: int
    currency: str
    status: str
    failure_reason: str | None
    metadata: Mapping[str, str]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class TokenFact:
    """What the shopper chose to pay with.

    `method` is card, alipay, wechat_pay, …; `fingerprint` is the same for the same card number, and None for
    anything but a card.
    """

    fingerprint: str | None
    method: str


@dataclass(frozen=True, slots=True)
class CheckoutFact:
    """A Checkout Session at one moment; `status` is open, complete or expired.

    `url` is where the shopper pays, while it is open. `complete` alone does not say that money came: `paid` does,
    and the PaymentIntent, whose id is None until the shopper tried to pay.
    """

    session_id: str
    status: str
    paid: bool
    url: str | None
    payment_intent_id: str | None
    expires_at: datetime
    metadata: Mapping[str, str]

    def __repr__(self) -> str:
        # Whoever has the URL can pay there; it must not reach a log by way of an error message.
        return f"CheckoutFact({self.session_id}, {self.status})"


@dataclass(frozen=True, slots=True)
class DisputeFact:
    """A dispute at one moment.

    `fee_minor` is what the provider has charged us for it so far; None while it is unknown, and when that is in
    another currency.
    """

    dispute_id: str
    payment_intent_id: str | None
    charge_id: str | None
    amount_minor: int
    currency: str
    status: str
    created_at: datetime
    fee_minor: int | None = None


@dataclass(frozen=True, slots=True)
class EventFact:
    """One event, with its object as it stood when the event was made."""

    event_id: str
    event_type: str
    created_at: datetime
    livemode: bool
    object_kind: str
    object_id: str
    snapshot: Mapping[str, Any]

    def trusted(self) -> PaymentFact | RefundFact | DisputeFact | None:
        """The fact, if the snapshot may be booked as it is; None if the object must be fetched first.

        Only succeeded and canceled payments, refunds and disputes are taken from a webhook.
        Raises UnreadableSnapshotError.
        """
        if self.object_kind == "payment_intent":
            fact = payment_fact(self.snapshot)
            return fact if fact.status in FINAL_STATUSES else None
        if self.object_kind == "refund":
            return refund_fact(self.snapshot)
        if self.object_kind == "dispute":
            return dispute_fact(self.snapshot)
        return None


def payment_fact(snapshot: Mapping[str, Any]) -> PaymentFact:
    """The fact in a PaymentIntent object. Raises UnreadableSnapshotError."""
    _require_kind(snapshot, "payment_intent")
    status = _need(snapshot, "status", str)
    if status not in PAYMENT_STATUSES:
        raise UnreadableSnapshotError(f"a PaymentIntent status unknown to us: {status[:40]!r}")
    currency = _need(snapshot, "currency", str).upper()
    return PaymentFact(
        payment_intent_id=_need(snapshot, "id", str),
        status=status,
        amount_minor=_need_minor(snapshot, "amount"),
        amount_received_minor=_need_minor(snapshot, "amount_received"),
        currency=currency,
        livemode=_need(snapshot, "livemode", bool),
        metadata=_metadata(snapshot),
        client_secret=_may(snapshot, "client_secret", str),
        next_action=status == "requires_action",
        decline_code=_decline_code(snapshot),
        fee_minor=_fee_minor(snapshot, currency),
        created_at=_created_at(snapshot),
    )


def refund_fact(snapshot: Mapping[str, Any]) -> RefundFact:
    """The fact in a Refund object. Raises UnreadableSnapshotError."""
    _require_kind(snapshot, "refund")
    return RefundFact(
        refund_id=_need(snapshot, "id", str),
        payment_intent_id=_reference(snapshot, "payment_intent"),
        charge_id=_reference(snapshot, "charge"),
        amount_minor=_need_minor(snapshot, "amount"),
        currency=_need(snapshot, "currency", str).upper(),
        status=_need(snapshot, "status", str),
        failure_reason=_may(snapshot, "failure_reason", str),
        metadata=_metadata(snapshot),
        created_at=_created_at(snapshot),
    )


def dispute_fact(snapshot: Mapping[str, Any]) -> DisputeFact:
    """The fact in a Dispute object. Raises UnreadableSnapshotError."""
    _require_kind(snapshot, "dispute")
    currency = _need(snapshot, "currency", str).upper()
    return DisputeFact(
        dispute_id=_need(snapshot, "id", str),
        payment_intent_id=_reference(snapshot, "payment_intent"),
        charge_id=_reference(snapshot, "charge"),
        amount_minor=_need_minor(snapshot, "amount"),
        currency=currency,
        status=_need(snapshot, "status", str),
        created_at=_created_at(snapshot),
        fee_minor=_dispute_fee_minor(snapshot, currency),
    )


def token_fact(snapshot: Mapping[str, Any]) -> TokenFact:
    """The fact in a ConfirmationToken object. Raises UnreadableSnapshotError."""
    _require_kind(snapshot, "confirmation_token")
    preview = _need_mapping(snapshot, "payment_method_preview")
    method = _need(preview, "type", str)
    card = preview.get("card")
    fingerprint = _may(card, "fingerprint", str) if isinstance(card, Mapping) else None
    return TokenFact(fingerprint if method == "card" else None, method)


def checkout_fact(snapshot: Mapping[str, Any]) -> CheckoutFact:
    """The fact in a Checkout Session object. Raises UnreadableSnapshotError."""
    _require_kind(snapshot, "checkout.session")
    status = _need(snapshot, "status", str)
    if status not in CHECKOUT_STATUSES:
        raise UnreadableSnapshotError(f"a Checkout status unknown to us: {status[:40]!r}")
    return CheckoutFact(
        session_id=_need(snapshot, "id", str),
        status=status,
        paid=_need(snapshot, "payment_status", str) == "paid",
        url=_may(snapshot, "url", str),
        payment_intent_id=_reference(snapshot, "payment_intent"),
        expires_at=_instant(snapshot, "expires_at"),
        metadata=_metadata(snapshot),
    )


def event_fact(event: Mapping[str, Any]) -> EventFact:
    """The fact in an Event object, as listed or as sent to a webhook. Raises UnreadableSnapshotError."""
    _require_kind(event, "event")
    snapshot = _need_mapping(_need_mapping(event, "data"), "object")
    return EventFact(
        event_id=_need(event, "id", str),
        event_type=_need(event, "type", str),
        created_at=_created_at(event),
        livemode=_need(event, "livemode", bool),
        object_kind=_need(snapshot, "object", str),
        # Some objects, such as a balance, have no id; none of them concerns us.
        object_id=_may(snapshot, "id", str) or "",
        snapshot=snapshot,
    )


def _need(snapshot: Mapping[str, Any], name: str, kind: type[T]) -> T:
    value = snapshot.get(name)
    # True is an int to Python, never to money.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise UnreadableSnapshotError(f"no {kind.__name__} under {name!r}")
    return value


def _need_mapping(snapshot: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = snapshot.get(name)
    if not isinstance(value, Mapping):
        raise UnreadableSnapshotError(f"no object under {name!r}")
    return value


def _may(snapshot: Mapping[str, Any], name: str, kind: type[T]) -> T | None:
    return None if snapshot.get(name) is None else _need(snapshot, name, kind)


def _need_minor(snapshot: Mapping[str, Any], name: str) -> int:
    value = _need(snapshot, name, int)
    if value < 0:
        raise UnreadableSnapshotError(f"a negative {name!r}")
    return value


def _require_kind(snapshot: Mapping[str, Any], kind: str) -> None:
    if snapshot.get("object") != kind:
        raise UnreadableSnapshotError(f"not a {kind}")


def _reference(snapshot: Mapping[str, Any], name: str) -> str | None:
    """The id of another object, which Stripe gives plain or expanded."""
    value = snapshot.get(name)
    if isinstance(value, Mapping):
        return _need(value, "id", str)
    return _may(snapshot, name, str)


def _created_at(snapshot: Mapping[str, Any]) -> datetime:
    return _instant(snapshot, "created")


def _instant(snapshot: Mapping[str, Any], name: str) -> datetime:
    try:
        return datetime.fromtimestamp(_need(snapshot, name, int), UTC)
    except (OverflowError, OSError, ValueError) as error:
        raise UnreadableSnapshotError(f"no instant under {name!r}") from error


def _metadata(snapshot: Mapping[str, Any]) -> Mapping[str, str]:
    given = snapshot.get("metadata") or {}
    if not isinstance(given, Mapping) or not all(isinstance(item, str) for item in given.values()):
        raise UnreadableSnapshotError("metadata is not a mapping of texts")
    return MappingProxyType(dict(given))


def _decline_code(snapshot: Mapping[str, Any]) -> str | None:
    error = snapshot.get("last_payment_error")
    if not isinstance(error, Mapping):
        return None
    return _may(error, "decline_code", str) or _may(error, "code", str)


def _fee_minor(snapshot: Mapping[str, Any], currency: str) -> int | None:
    charge = snapshot.get("latest_charge")
    balance = charge.get("balance_transaction") if isinstance(charge, Mapping) else None
    if not isinstance(balance, Mapping):
        return None
    if _need(balance, "currency", str).upper() != currency:
        return None
    return _need_minor(balance, "fee")


def _dispute_fee_minor(snapshot: Mapping[str, Any], currency: str) -> int | None:
    """The sum over what moved on our balance for the dispute; a fee that is given back is a negative one."""
    moves = snapshot.get("balance_transactions")
    if not isinstance(moves, list) or not moves or not all(isinstance(m, Mapping) for m in moves):
        return None
    if any(_need(move, "currency", str).upper() != currency for move in moves):
        return None
    fee_minor = sum(_need(move, "fee", int) for move in moves)
    if fee_minor < 0:
        raise UnreadableSnapshotError("more dispute fee given back than taken")
    return fee_minor
