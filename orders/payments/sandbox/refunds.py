"""Refunds and what they do to the charge, also those that fail or pend long after they were accepted."""

from orders.payments.sandbox import disputes
from orders.payments.sandbox.books import Books, new_id
from orders.payments.sandbox.calls import Call
from orders.payments.sandbox.cards import BEHAVIOURS
from orders.payments.sandbox.errors import ApiError, invalid, missing, no_such
from orders.payments.sandbox.forms import Spec, integer, refuse_unknown, text, text_map
from orders.payments.sandbox.intents import find
from orders.payments.sandbox.money import read_metadata
from orders.payments.sandbox.records import Charge, IntentRecord, Refund, RefundRecord

_CREATE: Spec = {
    "amount": "text",
    "charge": "text",
    "expand": "list",
    "metadata": "map",
    "payment_intent": "text",
    "reason": "text",
}
_REASONS = ("duplicate", "fraudulent", "requested_by_customer")


def create(books: Books, call: Call) -> Refund:
    """POST /v1/refunds of a payment intent or charge; without an amount, all that is left of it."""
    params = call.params
    refuse_unknown(params, _CREATE)
    reason = text(params, "reason")
    if reason not in (None, *_REASONS):
        raise invalid("reason", "Invalid reason.")
    wanted = text(params, "amount")
    amount_minor = integer(wanted, "amount") if wanted else None
    if amount_minor is not None and amount_minor < 1:
        raise invalid("amount", "Invalid positive integer", "parameter_invalid_integer")
    metadata = read_metadata(text_map(params, "metadata"))
    record, charge = _paid_charge(books, call)
    left_minor = charge.amount - charge.amount_refunded
    if left_minor > 0:
        disputes.refuse_refund(books, charge)
        left_minor -= disputes.held_minor(books, charge)
    if left_minor == 0:
        message = f"Charge {charge.id} has already been refunded."
        raise ApiError(400, message, code="charge_already_refunded", stored=True)
    if amount_minor is not None and amount_minor > left_minor:
        message = f"Refund amount ({amount_minor}) is greater than unrefunded amount on charge ({left_minor})"
        raise ApiError(400, message, param="amount", stored=True)
    refund = Refund(
        id=new_id("re"),
        amount=amount_minor or left_minor,
        charge=charge.id,
        created=call.now_s,
        currency=charge.currency,
        metadata=metadata,
        payment_intent=charge.payment_intent,
        reason=reason,
        status="succeeded",
    )
    _begin(books, call, RefundRecord(refund), BEHAVIOURS[record.behaviour].refund)
    _apply(books, charge, refund.amount)
    books.emit("refund.created", refund)
    books.emit("charge.refunded", charge)
    if charge.refunded:
        disputes.close_inquiries(books, charge, call.now_s)
    return refund


def settle_due(books: Books, refund_id: str) -> None:
    """The later fate of a refund has come: it succeeded after all, or failed and gives the charge back."""
    record = books.refunds.by_id[refund_id]
    refund = record.refund
    if record.settles_at_ms is None:
        return
    record.settles_at_ms = None
    refund.status = record.settles_to
    if refund.status == "failed":
        refund.failure_reason = "expired_or_canceled_card"
        _apply(books, books.charges[refund.charge], -refund.amount)
    books.put(record)
    books.emit("refund.updated", refund)
    if refund.status == "failed":
        books.emit("refund.failed", refund)


def _begin(books: Books, call: Call, record: RefundRecord, outcome: str) -> None:
    if outcome != "succeed":
        record.settles_at_ms = books.clock.now_ms() + call.refund_delay_ms
        record.settles_to = "failed" if outcome == "fail_later" else "succeeded"
    if outcome == "succeed_later":
        record.refund.status = "pending"
    books.put(record)


def _apply(books: Books, charge: Charge, amount_minor: int) -> None:
    charge.amount_refunded += amount_minor
    charge.refunded = charge.amount_refunded == charge.amount
    books.put(charge)


def _paid_charge(books: Books, call: Call) -> tuple[IntentRecord, Charge]:
    intent_id, charge_id = text(call.params, "payment_intent"), text(call.params, "charge")
    if charge_id:
        charge = books.charges.get(charge_id)
        if charge is None:
            raise no_such("charge", charge_id, "charge")
        intent_id = charge.payment_intent
    if not intent_id:
        raise missing("payment_intent")
    record = find(books, intent_id)
    latest = record.intent.latest_charge
    charge = books.charges.get(latest) if isinstance(latest, str) else None
    if charge is None or not charge.paid:
        message = "This PaymentIntent does not have a successful charge to refund."
        raise ApiError(400, message, param="payment_intent", stored=True)
    return record, charge
