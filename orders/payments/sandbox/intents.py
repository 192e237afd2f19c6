"""The PaymentIntent's states as Stripe moves them: create, confirm, authenticate, settle, cancel."""

from orders.payments.sandbox import disputes
from orders.payments.sandbox.books import Books, new_id
from orders.payments.sandbox.calls import Call
from orders.payments.sandbox.cards import BEHAVIOURS, card_of_payment_method
from orders.payments.sandbox.errors import ApiError, invalid, no_such
from orders.payments.sandbox.forms import (
    Params,
    Spec,
    boolean,
    group,
    refuse_unknown,
    text,
    text_map,
)
from orders.payments.sandbox.methods import (
    OPTIONS_SPEC,
    read_method_options,
    read_method_types,
)
from orders.payments.sandbox.money import read_amount_minor, read_currency, read_metadata
from orders.payments.sandbox.records import IntentRecord, PaymentIntent
from orders.payments.sandbox.tries import attempt, conclude, take_means

_CONFIRM: Spec = {
    "confirmation_token": "text",
    "payment_method": "text",
    "return_url": "text",
    "use_stripe_sdk": "text",
    "error_on_requires_action": "text",
    "expand": "list",
}
_CREATE: Spec = {
    **_CONFIRM,
    "amount": "text",
    "automatic_payment_methods": {"enabled": "text", "allow_redirects": "text"},
    "capture_method": "text",
    "confirm": "text",
    "confirmation_method": "text",
    "currency": "text",
    "description": "text",
    "metadata": "map",
    "payment_method_options": OPTIONS_SPEC,
    "payment_method_types": "list",
    "statement_descriptor_suffix": "text",
    "transfer_group": "text",
}
_CANCEL: Spec = {"cancellation_reason": "text", "expand": "list"}
_CANCELLATION_REASONS = ("abandoned", "duplicate", "fraudulent", "requested_by_customer")
_CONFIRMABLE = ("requires_payment_method", "requires_confirmation", "requires_action")


def create(books: Books, call: Call) -> PaymentIntent:
    """POST /v1/payment_intents, with confirm=true or without."""
    params = call.params
    refuse_unknown(params, _CREATE)
    currency = read_currency(params)
    amount_minor = read_amount_minor(params, currency)
    automatic = _automatic_payment_methods(params)
    types = read_method_types(params, currency)
    if text(params, "capture_method") not in (None, "automatic", "automatic_async"):
        raise invalid("capture_method", "The sandbox captures automatically.")
    if text(params, "confirmation_method") not in (None, "automatic"):
        raise invalid("confirmation_method", "The sandbox confirms automatically.")
    confirm_now = boolean(params, "confirm", default=False)
    boolean(params, "error_on_requires_action", default=False)
    if not confirm_now and text(params, "confirmation_token"):
        raise invalid("confirmation_token", "A confirmation_token needs confirm=true.")
    payment_method = text(params, "payment_method")
    if payment_method:
        card_of_payment_method(payment_method)
    if len(books.intents) >= call.objects_max:
        raise ApiError(503, "The sandbox is full.", error_type="api_error")
    intent_id = new_id("pi")
    record = IntentRecord(
        PaymentIntent(
            id=intent_id,
            amount=amount_minor,
            automatic_payment_methods=None if types else automatic,
            capture_method=text(params, "capture_method") or "automatic_async",
            client_secret=new_id(f"{intent_id}_secret"),
            created=call.now_s,
            currency=currency,
            description=text(params, "description"),
            metadata=read_metadata(text_map(params, "metadata")),
            payment_method=payment_method,
            payment_method_options=read_method_options(params),
            payment_method_types=types or ("card",),
            statement_descriptor_suffix=text(params, "statement_descriptor_suffix"),
            status="requires_confirmation" if payment_method else "requires_payment_method",
            transfer_group=text(params, "transfer_group"),
        )
    )
    if confirm_now:
        # Checked before anything is kept: an unusable token must not leave an intent behind.
        take_means(books, call, record)
        books.put(record)
        books.emit("payment_intent.created", record.intent)
        attempt(books, call, record)
    else:
        books.put(record)
        books.emit("payment_intent.created", record.intent)
    return record.intent


def confirm(books: Books, call: Call) -> PaymentIntent:
    """POST /v1/payment_intents/:id/confirm; a declined one may be confirmed again with another token."""
    refuse_unknown(call.params, _CONFIRM)
    boolean(call.params, "error_on_requires_action", default=False)
    record = find(books, call.object_id)
    if record.intent.status not in _CONFIRMABLE:
        raise unexpected_state(record.intent, "confirm")
    _refuse_of_checkout(record, "confirm")
    take_means(books, call, record)
    attempt(books, call, record)
    return record.intent


def cancel(books: Books, call: Call) -> PaymentIntent:
    """POST /v1/payment_intents/:id/cancel; what succeeded, is processing or is canceled stays so."""
    refuse_unknown(call.params, _CANCEL)
    reason = text(call.params, "cancellation_reason")
    if reason not in (None, *_CANCELLATION_REASONS):
        raise invalid("cancellation_reason", "Invalid cancellation_reason.")
    record = find(books, call.object_id)
    intent = record.intent
    if intent.status not in _CONFIRMABLE:
        raise unexpected_state(intent, "cancel")
    _refuse_of_checkout(record, "cancel")
    make_canceled(books, record, call.now_s, reason)
    return intent


def make_canceled(books: Books, record: IntentRecord, now_s: int, reason: str | None) -> None:
    """Nothing can be paid on it any more."""
    intent = record.intent
    intent.status = "canceled"
    intent.canceled_at = now_s
    intent.cancellation_reason = reason
    intent.next_action = None
    books.put(record)
    books.emit("payment_intent.canceled", intent)


def authenticate(books: Books, call: Call) -> PaymentIntent:
    """The shopper's answer in the 3-D Secure dialog: `outcome` is succeed or fail."""
    refuse_unknown(call.params, {"outcome": "text", "client_secret": "text"})
    record = find(books, call.object_id)
    if record.intent.status != "requires_action":
        raise unexpected_state(record.intent, "authenticate")
    conclude(books, record, call.now_s, succeeds=_outcome(call.params) == "succeed")
    return record.intent


def settle(books: Books, call: Call) -> PaymentIntent:
    """End `processing` at once with `outcome` succeed or fail, instead of waiting for its delay."""
    refuse_unknown(call.params, {"outcome": "text"})
    record = find(books, call.object_id)
    if record.intent.status != "processing":
        raise unexpected_state(record.intent, "settle")
    conclude(books, record, call.now_s, succeeds=_outcome(call.params) == "succeed")
    return record.intent


def settle_due(books: Books, intent_id: str, now_s: int) -> None:
    """What was to come later has come: `processing` succeeds, a payment with a disputed card is disputed."""
    record = books.intents.by_id[intent_id]
    intent = record.intent
    record.settles_at_ms = None
    if intent.status == "processing":
        conclude(books, record, now_s, succeeds=True)
        return
    books.put(record)
    reason = BEHAVIOURS[record.behaviour].dispute
    if intent.status == "succeeded" and reason is not None:
        charge = books.charges[str(intent.latest_charge)]
        if charge.amount_refunded < charge.amount and not charge.disputed:
            left_minor = charge.amount - charge.amount_refunded
            disputes.begin(books, charge, left_minor, reason, now_s)


def find(books: Books, intent_id: str) -> IntentRecord:
    """The intent of that id. Raises ApiError."""
    record = books.intents.by_id.get(intent_id)
    if record is None:
        raise no_such("payment_intent", intent_id, "intent")
    return record


def unexpected_state(intent: PaymentIntent, verb: str) -> ApiError:
    """Stripe's refusal shows the object, from which our gateway learns that it succeeded meanwhile."""
    message = f"You cannot {verb} this PaymentIntent because it has a status of {intent.status}."
    return ApiError(
        400,
        message,
        code="payment_intent_unexpected_state",
        stored=True,
        extra={"payment_intent": intent},
    )


def _refuse_of_checkout(record: IntentRecord, verb: str) -> None:
    """A payment made on Stripe's page ends with the page's session, never by itself."""
    if record.session_id is None:
        return
    message = (
        f"You cannot {verb} this PaymentIntent because it was created by a Checkout Session; "
        "expire the session instead."
    )
    extra = {"payment_intent": record.intent}
    raise ApiError(400, message, stored=True, extra=extra)


def _outcome(params: Params) -> str:
    outcome = text(params, "outcome")
    if outcome not in ("succeed", "fail"):
        raise invalid("outcome", "outcome is succeed or fail")
    return outcome


def _automatic_payment_methods(params: Params) -> dict[str, object]:
    """Enabled unless switched off, and with redirects unless refused, as Stripe defaults it since 2023."""
    given = group(params, "automatic_payment_methods")
    enabled = boolean(given, "enabled", default=True)
    if given and enabled and "payment_method_types" in params:
        message = "You may only specify one of: automatic_payment_methods, payment_method_types."
        raise invalid("payment_method_types", message)
    redirects = text(given, "allow_redirects") or "always"
    if redirects not in ("always", "never"):
        raise invalid("automatic_payment_methods[allow_redirects]", "Invalid allow_redirects.")
    return {"allow_redirects": redirects, "enabled": enabled}
