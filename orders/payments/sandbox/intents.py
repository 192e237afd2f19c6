"""The PaymentIntent's states as Stripe moves them: create, confirm, authenticate, settle, cancel."""

from orders.payments.sandbox.books import Books, new_id
from orders.payments.sandbox.calls import Call
from orders.payments.sandbox.cards import BEHAVIOURS, CardBehaviour, card_of_payment_method
from orders.payments.sandbox.errors import ApiError, invalid, missing, no_such
from orders.payments.sandbox.forms import (
    Params,
    Spec,
    boolean,
    group,
    refuse_unknown,
    text,
    text_map,
    texts,
)
from orders.payments.sandbox.money import read_amount_minor, read_currency, read_metadata
from orders.payments.sandbox.records import Charge, IntentRecord, PaymentIntent, transaction_id

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
    methods = _automatic_payment_methods(params)
    types = texts(params, "payment_method_types")
    if any(kind != "card" for kind in types):
        raise invalid("payment_method_types", "The sandbox account takes cards alone.")
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
            automatic_payment_methods=None if types else methods,
            capture_method=text(params, "capture_method") or "automatic_async",
            client_secret=new_id(f"{intent_id}_secret"),
            created=call.now_s,
            currency=currency,
            description=text(params, "description"),
            metadata=read_metadata(text_map(params, "metadata")),
            payment_method=payment_method,
            statement_descriptor_suffix=text(params, "statement_descriptor_suffix"),
            status="requires_confirmation" if payment_method else "requires_payment_method",
            transfer_group=text(params, "transfer_group"),
        )
    )
    if confirm_now:
        # Checked before anything is kept: an unusable token must not leave an intent behind.
        behaviour = _take_means(books, call, record)
        books.put(record)
        books.emit("payment_intent.created", record.intent)
        _attempt(books, call, record, behaviour)
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
    _attempt(books, call, record, _take_means(books, call, record))
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
    intent.status = "canceled"
    intent.canceled_at = call.now_s
    intent.cancellation_reason = reason
    intent.next_action = None
    books.put(record)
    books.emit("payment_intent.canceled", intent)
    return intent


def authenticate(books: Books, call: Call) -> PaymentIntent:
    """The shopper's answer in the 3-D Secure dialog: `outcome` is succeed or fail."""
    refuse_unknown(call.params, {"outcome": "text", "client_secret": "text"})
    record = find(books, call.object_id)
    if record.intent.status != "requires_action":
        raise unexpected_state(record.intent, "authenticate")
    _conclude(books, record, call.now_s, succeeds=_outcome(call.params) == "succeed")
    return record.intent


def settle(books: Books, call: Call) -> PaymentIntent:
    """End `processing` at once with `outcome` succeed or fail, instead of waiting for its delay."""
    refuse_unknown(call.params, {"outcome": "text"})
    record = find(books, call.object_id)
    if record.intent.status != "processing":
        raise unexpected_state(record.intent, "settle")
    _conclude(books, record, call.now_s, succeeds=_outcome(call.params) == "succeed")
    return record.intent


def settle_due(books: Books, intent_id: str, now_s: int) -> None:
    """The delay of a `processing` intent is over: it succeeds, unless it was settled before."""
    record = books.intents.by_id[intent_id]
    if record.intent.status == "processing":
        _conclude(books, record, now_s, succeeds=True)


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


def _outcome(params: Params) -> str:
    outcome = text(params, "outcome")
    if outcome not in ("succeed", "fail"):
        raise invalid("outcome", "outcome is succeed or fail")
    return outcome


def _automatic_payment_methods(params: Params) -> dict[str, object]:
    """Enabled unless switched off, and with redirects unless refused, as Stripe defaults it since 2023."""
    given = group(params, "automatic_payment_methods")
    redirects = text(given, "allow_redirects") or "always"
    if redirects not in ("always", "never"):
        raise invalid("automatic_payment_methods[allow_redirects]", "Invalid allow_redirects.")
    return {"allow_redirects": redirects, "enabled": boolean(given, "enabled", default=True)}


def _take_means(books: Books, call: Call, record: IntentRecord) -> CardBehaviour:
    """Use up the confirmation token (or read the payment method) and note its card on the intent."""
    params, intent = call.params, record.intent
    token_id = text(params, "confirmation_token")
    method = text(params, "payment_method") or intent.payment_method
    return_url = text(params, "return_url")
    if token_id:
        token = books.tokens.get(token_id)
        if token is None:
            raise no_such("confirmation_token", token_id, "confirmation_token")
        return_url = return_url or token.token.return_url
        _require_return_url(intent, return_url)
        if token.used:
            message = "This ConfirmationToken has already been used to confirm a PaymentIntent."
            raise _token_refused("confirmation_token_already_used", message)
        if token.token.expires_at <= call.now_s:
            raise _token_refused("confirmation_token_expired", "This ConfirmationToken expired.")
        token.used = True
        token.token.payment_intent = intent.id
        books.put(token)
        record.behaviour, record.last4 = token.behaviour, token.last4
        intent.payment_method = new_id("pm")
    elif method:
        _require_return_url(intent, return_url)
        card = card_of_payment_method(method)
        record.behaviour, record.last4 = card.behaviour, card.last4
        intent.payment_method = method
    else:
        raise missing("payment_method")
    return BEHAVIOURS[record.behaviour]


def _token_refused(code: str, message: str) -> ApiError:
    return ApiError(400, message, code=code, param="confirmation_token", stored=True)


def _require_return_url(intent: PaymentIntent, return_url: str | None) -> None:
    methods = intent.automatic_payment_methods
    if methods and methods["enabled"] and methods["allow_redirects"] == "always" and not return_url:
        message = (
            "You must provide a `return_url`, or set `automatic_payment_methods[allow_redirects]` "
            "to `never`, because some payment methods redirect the customer off your page."
        )
        raise ApiError(400, message, param="return_url")


def _attempt(books: Books, call: Call, record: IntentRecord, behaviour: CardBehaviour) -> None:
    intent = record.intent
    intent.last_payment_error = None
    intent.next_action = None
    if behaviour.outcome == "succeed":
        _conclude(books, record, call.now_s, succeeds=True)
    elif behaviour.outcome == "decline":
        error = _fail(books, record, call.now_s, behaviour.code, behaviour.decline_code)
        message, error_type = str(error.pop("message")), str(error.pop("type"))
        raise ApiError(
            402,
            message,
            error_type=error_type,
            stored=True,
            extra=error | {"payment_intent": intent},
        )
    elif boolean(call.params, "error_on_requires_action", default=False):
        _fail(books, record, call.now_s, "authentication_required", "authentication_required")
        message = "This payment required an authentication action to complete."
        extra = {"payment_intent": intent}
        code = "authentication_required"
        raise ApiError(402, message, error_type="card_error", code=code, stored=True, extra=extra)
    elif behaviour.outcome == "authenticate":
        intent.status = "requires_action"
        intent.next_action = {
            "type": "use_stripe_sdk",
            "use_stripe_sdk": {"type": "three_d_secure_redirect", "source": new_id("src")},
        }
        books.put(record)
        books.emit("payment_intent.requires_action", intent)
    else:
        intent.status = "processing"
        intent.processing = {"type": "card", "card": {}}
        record.settles_at_ms = books.clock.now_ms() + call.processing_delay_ms
        books.put(record)
        books.emit("payment_intent.processing", intent)


def _conclude(books: Books, record: IntentRecord, now_s: int, *, succeeds: bool) -> None:
    intent = record.intent
    record.settles_at_ms = None
    if not succeeds:
        code = "payment_intent_authentication_failure"
        _fail(books, record, now_s, "card_declined" if intent.processing else code, "")
        return
    charge = _charge(record, now_s, failure=None)
    intent.status = "succeeded"
    intent.amount_received = intent.amount
    intent.latest_charge = charge.id
    intent.next_action = intent.processing = intent.last_payment_error = None
    books.put(charge)
    books.put(record)
    books.emit("payment_intent.succeeded", intent)


def _fail(
    books: Books, record: IntentRecord, now_s: int, code: str, decline_code: str
) -> dict[str, object]:
    intent = record.intent
    charge = _charge(record, now_s, failure=code)
    error: dict[str, object] = {
        "type": "card_error" if decline_code else "invalid_request_error",
        "code": code,
        "message": "Your card was declined." if decline_code else "The payment was not approved.",
        "charge": charge.id,
        "payment_method": {"id": intent.payment_method, "object": "payment_method", "type": "card"},
    }
    if decline_code:
        error["decline_code"] = decline_code
    intent.status = "requires_payment_method"
    intent.last_payment_error = error
    intent.latest_charge = charge.id
    intent.payment_method = intent.next_action = intent.processing = None
    books.put(charge)
    books.put(record)
    books.emit("payment_intent.payment_failed", intent)
    return dict(error)


def _charge(record: IntentRecord, now_s: int, failure: str | None) -> Charge:
    intent = record.intent
    charge_id = new_id("ch")
    paid = failure is None
    return Charge(
        id=charge_id,
        amount=intent.amount,
        amount_captured=intent.amount if paid else 0,
        balance_transaction=transaction_id(charge_id) if paid else None,
        captured=paid,
        created=now_s,
        currency=intent.currency,
        failure_code=failure,
        metadata=intent.metadata,
        outcome={"network_status": "approved_by_network" if paid else "declined_by_network"},
        paid=paid,
        payment_intent=intent.id,
        payment_method=intent.payment_method or "",
        payment_method_details={"card": {"brand": "visa", "last4": record.last4}, "type": "card"},
        status="succeeded" if paid else "failed",
    )
