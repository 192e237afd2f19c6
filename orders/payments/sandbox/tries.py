"""One try to pay a PaymentIntent: what it is paid with, what that leads to, and how the try ends."""

from orders.payments.sandbox import checkout_ends, disputes
from orders.payments.sandbox.books import Books, new_id
from orders.payments.sandbox.calls import Call
from orders.payments.sandbox.cards import BEHAVIOURS, Card, card_of_payment_method
from orders.payments.sandbox.errors import ApiError, missing, no_such
from orders.payments.sandbox.forms import boolean, text, url
from orders.payments.sandbox.methods import next_action, require_taken
from orders.payments.sandbox.records import (
    Charge,
    IntentRecord,
    PaymentIntent,
    TokenRecord,
    transaction_id,
)


def take_means(books: Books, call: Call, record: IntentRecord) -> None:
    """Use up the confirmation token (or read the payment method) and note its card on the intent."""
    params, intent = call.params, record.intent
    token_id = text(params, "confirmation_token")
    method_id = text(params, "payment_method") or intent.payment_method
    return_url = url(params, "return_url")
    if token_id:
        token = books.tokens.get(token_id)
        if token is None:
            raise no_such("confirmation_token", token_id, "confirmation_token")
        return_url = return_url or token.token.return_url
        _require_return_url(intent, token.method, return_url)
        require_taken(intent, token.method)
        _require_usable(token, call.now_s)
        token.used = True
        token.token.payment_intent = intent.id
        books.put(token)
        record.behaviour, record.last4 = token.behaviour, token.last4
        record.method, record.fingerprint = token.method, token.fingerprint
        intent.payment_method = new_id("pm")
    elif method_id:
        _require_return_url(intent, "card", return_url)
        require_taken(intent, "card")
        note_card(record, card_of_payment_method(method_id))
        intent.payment_method = method_id
    else:
        raise missing("payment_method")
    record.return_url = return_url


def note_card(record: IntentRecord, card: Card) -> None:
    """Let the next try be made with this card (or other method)."""
    record.behaviour, record.last4 = card.behaviour, card.last4
    record.method, record.fingerprint = card.method, card.fingerprint
    record.intent.payment_method = new_id("pm")


def _require_usable(token: TokenRecord, now_s: int) -> None:
    if token.used:
        message = "This ConfirmationToken has already been used to confirm a PaymentIntent."
        raise _token_refused("confirmation_token_already_used", message)
    if token.token.expires_at <= now_s:
        raise _token_refused("confirmation_token_expired", "This ConfirmationToken expired.")


def _token_refused(code: str, message: str) -> ApiError:
    return ApiError(400, message, code=code, param="confirmation_token", stored=True)


def _require_return_url(intent: PaymentIntent, method: str, return_url: str | None) -> None:
    automatic = intent.automatic_payment_methods
    may_redirect = (
        automatic and automatic["enabled"] and automatic["allow_redirects"] == "always"
    ) or method == "alipay"
    if may_redirect and not return_url:
        message = (
            "You must provide a `return_url`, or set `automatic_payment_methods[allow_redirects]` "
            "to `never`, because some payment methods redirect the customer off your page."
        )
        raise ApiError(400, message, param="return_url")


def attempt(books: Books, call: Call, record: IntentRecord) -> None:
    """Try the means noted on the intent. Raises ApiError for a decline, which is kept all the same."""
    intent, behaviour = record.intent, BEHAVIOURS[record.behaviour]
    intent.last_payment_error = None
    intent.next_action = None
    if behaviour.outcome == "succeed":
        conclude(books, record, call.now_s, succeeds=True)
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
        intent.next_action = _next_action(call, record)
        books.put(record)
        books.emit("payment_intent.requires_action", intent)
    else:
        intent.status = "processing"
        intent.processing = {"type": record.method, record.method: {}}
        record.settles_at_ms = books.clock.now_ms() + call.processing_delay_ms
        books.put(record)
        books.emit("payment_intent.processing", intent)
        checkout_ends.follow(books, record)


def _next_action(call: Call, record: IntentRecord) -> dict[str, object]:
    intent = record.intent
    if record.method != "card":
        page_url = f"{call.origin}/c/ask/{intent.id}?client_secret={intent.client_secret}"
        return next_action(record.method, page_url, record.return_url)
    return {
        "type": "use_stripe_sdk",
        "use_stripe_sdk": {"type": "three_d_secure_redirect", "source": new_id("src")},
    }


def conclude(books: Books, record: IntentRecord, now_s: int, *, succeeds: bool) -> None:
    """The try ends: the bank approved or refused, or `processing` came to its end."""
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
    if BEHAVIOURS[record.behaviour].dispute is not None:
        record.settles_at_ms = books.clock.now_ms() + disputes.OPENED_AFTER_MS
    books.put(charge)
    books.put(record)
    books.emit("payment_intent.succeeded", intent)
    checkout_ends.follow(books, record)


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
        "payment_method": {
            "id": intent.payment_method,
            "object": "payment_method",
            "type": record.method,
        },
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
    checkout_ends.follow(books, record)
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
        payment_method_details={"type": record.method, record.method: _method_details(record)},
        status="succeeded" if paid else "failed",
    )


def _method_details(record: IntentRecord) -> dict[str, object]:
    if record.method != "card":
        return {}
    return {"brand": "visa", "fingerprint": record.fingerprint, "last4": record.last4}
