"""Confirmation tokens: what the browser makes of a card, good for one confirmation within twelve hours."""

from orders.payments.sandbox.books import Books, new_id
from orders.payments.sandbox.calls import Call
from orders.payments.sandbox.cards import Card, read_card
from orders.payments.sandbox.errors import ApiError, no_such
from orders.payments.sandbox.forms import Spec, refuse_unknown, url
from orders.payments.sandbox.records import ConfirmationToken, TokenRecord

GOOD_FOR_S = 12 * 3600

# Names, addresses and the like are not even read: the sandbox is no place for anybody's personal data.
_CREATE: Spec = {
    "payment_method": "text",
    "payment_method_data": {
        "type": "text",
        "card": {"number": "text", "exp_month": "text", "exp_year": "text", "cvc": "text"},
    },
    "return_url": "text",
    "expand": "list",
}


def create(books: Books, call: Call) -> ConfirmationToken:
    """POST /v1/confirmation_tokens from the browser, /v1/test_helpers/confirmation_tokens from tests."""
    refuse_unknown(call.params, _CREATE)
    if len(books.tokens) >= call.objects_max:
        raise ApiError(503, "The sandbox is full.", error_type="api_error")
    card = read_card(call.params, call.now_s, books.unknown_cards_key)
    token = ConfirmationToken(
        id=new_id("ctoken"),
        created=call.now_s,
        expires_at=call.now_s + GOOD_FOR_S,
        payment_method_preview={"type": card.method, card.method: _preview(card)},
        return_url=url(call.params, "return_url"),
    )
    books.put(
        TokenRecord(
            token,
            card.behaviour,
            card.last4,
            method=card.method,
            fingerprint=card.fingerprint,
        )
    )
    return token


def retrieve(books: Books, call: Call) -> ConfirmationToken:
    """GET /v1/confirmation_tokens/:id, also of used and expired ones."""
    refuse_unknown(call.params, {"expand": "list"})
    record = books.tokens.get(call.object_id)
    if record is None:
        raise no_such("confirmation_token", call.object_id, "confirmation_token")
    return record.token


def _preview(card: Card) -> dict[str, object]:
    if card.method != "card":
        return {}
    return {
        "brand": "visa",
        "exp_month": card.exp_month,
        "exp_year": card.exp_year,
        "fingerprint": card.fingerprint,
        "last4": card.last4,
    }
