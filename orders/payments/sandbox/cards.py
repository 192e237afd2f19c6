"""The test cards and what each of them does, by the numbers Stripe publishes for test mode.

Only the behaviour, brand and last four digits of a card outlive the request it came in: the sandbox keeps no
number, not even a test one, so that a real card typed in by mistake is never written anywhere.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from types import MappingProxyType
from typing import Literal

from orders.payments.sandbox.errors import ApiError, invalid
from orders.payments.sandbox.forms import Params, integer, required

Outcome = Literal["succeed", "decline", "authenticate", "process"]
RefundOutcome = Literal["succeed", "fail_later", "succeed_later"]
DisputeReason = Literal["fraudulent", "product_not_received", "inquiry"]

OTHER_METHODS = ("alipay", "wechat_pay")


@dataclass(frozen=True, slots=True)
class CardBehaviour:
    """What confirming with the card leads to, and what becomes of the money later."""

    outcome: Outcome
    code: str = ""
    decline_code: str = ""
    refund: RefundOutcome = "succeed"
    dispute: DisputeReason | None = None


BEHAVIOURS: Mapping[str, CardBehaviour] = MappingProxyType(
    {
        "success": CardBehaviour("succeed"),
        "declined": CardBehaviour("decline", "card_declined", "generic_decline"),
        "insufficient_funds": CardBehaviour("decline", "card_declined", "insufficient_funds"),
        "needs_action": CardBehaviour("authenticate"),
        "processing": CardBehaviour("process"),
        "refund_fails": CardBehaviour("succeed", refund="fail_later"),
        "refund_pends": CardBehaviour("succeed", refund="succeed_later"),
        "disputed": CardBehaviour("succeed", dispute="fraudulent"),
        "not_received": CardBehaviour("succeed", dispute="product_not_received"),
        "inquiry": CardBehaviour("succeed", dispute="inquiry"),
        "asks_elsewhere": CardBehaviour("authenticate"),
        "not_a_test_card": CardBehaviour("decline", "card_declined", "test_mode_live_card"),
    }
)

_BY_NUMBER: Mapping[str, str] = MappingProxyType(
    {
        "4242424242424242": "success",
        "4000000000000002": "declined",
        "4000000000009995": "insufficient_funds",
        "4000002760003184": "needs_action",
        "4000000000000077": "processing",
        "4000000000005126": "refund_fails",
        "4000000000007726": "refund_pends",
        "4000000000000259": "disputed",
        "4000000000002685": "not_received",
        "4000000000001976": "inquiry",
    }
)

# Ids every Stripe test account knows, for clients without a browser.
_NUMBER_BY_PAYMENT_METHOD: Mapping[str, str] = MappingProxyType(
    {
        "pm_card_visa": "4242424242424242",
        "pm_card_visa_chargeDeclined": "4000000000000002",
        "pm_card_visa_chargeDeclinedInsufficientFunds": "4000000000009995",
        "pm_card_authenticationRequired": "4000002760003184",
        "pm_card_bypassPending": "4000000000000077",
        "pm_card_refundFail": "4000000000005126",
        "pm_card_pendingRefund": "4000000000007726",
        "pm_card_createDispute": "4000000000000259",
        "pm_card_createDisputeProductNotReceived": "4000000000002685",
        "pm_card_createDisputeInquiry": "4000000000001976",
    }
)


@dataclass(frozen=True, slots=True)
class Card:
    """What is remembered of a card (or of the other `method`): never its number."""

    behaviour: str
    last4: str
    exp_month: int = 12
    exp_year: int = 2040
    method: str = "card"
    fingerprint: str | None = None


def card_of_payment_method(payment_method: str) -> Card:
    """The card behind one of Stripe's magic `pm_card_…` ids. Raises ApiError for any other."""
    number = _NUMBER_BY_PAYMENT_METHOD.get(payment_method)
    if number is None:
        message = f"No such PaymentMethod: '{payment_method[:60]}'"
        raise ApiError(400, message, code="resource_missing", param="payment_method")
    return card_of_number(number)


def card_of_number(
    number: str, month: int = 12, year: int = 2040, unknown_key: bytes = b""
) -> Card:
    """The card of a number that was checked before; see `read_card` for `unknown_key`."""
    known = number in _BY_NUMBER
    key = b"test card" if known else unknown_key
    fingerprint = hmac.new(key, number.encode(), sha256).hexdigest()[:16]
    behaviour = _BY_NUMBER[number] if known else "not_a_test_card"
    return Card(behaviour, number[-4:], month, year, fingerprint=fingerprint)


def other_means(method: str) -> Card:
    """A way to pay that asks the shopper elsewhere first, such as alipay: nothing is known of it but its name."""
    return Card("asks_elsewhere", "", method=method)


def card_of_form(fields: Params, now_s: int, unknown_key: bytes) -> Card:
    """The card typed into the browser's form: checked as Stripe's form checks it, then forgotten."""
    number = required(fields, "number").replace(" ", "")
    if not (number.isascii() and number.isdecimal() and 12 <= len(number) <= 19 and _luhn(number)):
        raise _card_error("incorrect_number", "Your card number is incorrect.", "number")
    month = integer(required(fields, "exp_month"), "exp_month")
    year = integer(required(fields, "exp_year"), "exp_year")
    year += 2000 if 0 <= year < 100 else 0
    if not 1 <= month <= 12:
        raise _card_error("invalid_expiry_month", "The expiration month is invalid.", "exp_month")
    today = datetime.fromtimestamp(now_s, UTC)
    if not (today.year, today.month) <= (year, month) or year > today.year + 50:
        raise _card_error("invalid_expiry_year", "The expiration year is invalid.", "exp_year")
    cvc = required(fields, "cvc")
    if not (cvc.isascii() and cvc.isdecimal() and len(cvc) in (3, 4)):
        raise _card_error("invalid_cvc", "The card's security code is invalid.", "cvc")
    return card_of_number(number, month, year, unknown_key)


def _card_error(code: str, message: str, param: str) -> ApiError:
    return ApiError(402, message, error_type="card_error", code=code, param=param)


def _luhn(number: str) -> bool:
    total = 0
    for position, character in enumerate(reversed(number)):
        digit = int(character) * (1 + position % 2)
        total += digit - 9 if digit > 9 else digit
    return total % 10 == 0


def read_card(params: Params, now_s: int, unknown_key: bytes) -> Card:
    """A token's card: a magic `payment_method`, or `payment_method_data` with the card's fields.

    `unknown_key` keys the fingerprint of any other card than a test card. It must never be written down: with it
    and the last four digits, a real number could be guessed back from its fingerprint.
    """
    payment_method = params.get("payment_method")
    if isinstance(payment_method, str):
        return card_of_payment_method(payment_method)
    data = params.get("payment_method_data")
    if isinstance(data, dict) and data.get("type") in OTHER_METHODS:
        return other_means(str(data["type"]))
    if not isinstance(data, dict) or data.get("type") != "card":
        message = "The sandbox takes payment_method_data of type card, alipay or wechat_pay."
        raise invalid("payment_method_data", message)
    fields = data.get("card")
    if not isinstance(fields, dict):
        raise invalid(
            "payment_method_data[card]", "Missing required param: payment_method_data[card]."
        )
    return card_of_form(fields, now_s, unknown_key)
