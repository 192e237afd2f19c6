"""Confirmation tokens: what the browser makes of a card, good for one confirmation within twelve hours."""

from orders.payments.sandbox.books import Books, new_id
from orders.payments.sandbox.calls import Call
from orders.payments.sandbox.cards import read_card
from orders.payments.sandbox.errors import ApiError
from orders.payments.sandbox.forms import Spec, refuse_unknown, text
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
    card = read_card(call.params, call.now_s)
    preview = {"brand": "visa", "last4": card.last4}
    token = ConfirmationToken(
        id=new_id("ctoken"),
        created=call.now_s,
        expires_at=call.now_s + GOOD_FOR_S,
        payment_method_preview={
            "type": "card",
            "card": preview | {"exp_month": card.exp_month, "exp_year": card.exp_year},
        },
        return_url=text(call.params, "return_url"),
    )
    books.put(TokenRecord(token, card.behaviour, card.last4))
    return token
