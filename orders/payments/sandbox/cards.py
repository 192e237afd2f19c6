"""The test cards and what each of them does, by the numbers Stripe publishes for test mode.

Only the behaviour, brand and last four digits of a card outlive the request it came in: the sandbox keeps no
number, not even a test one, so that a real card typed in by mistake is never written anywhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Literal

from orders.payments.sandbox.errors import ApiError, invalid
from orders.payments.sandbox.forms import Params, integer, required

Outcome = Literal["succeed", "decline", "authenticate", "process"]
RefundOutcome = Literal["succeed", "fail_later", "succeed_later"]


@dataclass(frozen=True, slots=True)
class CardBehaviour:
    """What confirming with the card leads to, and what becomes of a refund to it."""

    outcome: Outcome
    code: str = ""
    decline_code: str = ""
    refund: RefundOutcome = "succeed"


BEHAVIOURS: Mapping[str, CardBehaviour] = MappingProxyType(
    {
        "success": CardBehaviour("succeed"),
        "declined": CardBehaviour("decline", "card_declined", "generic_decline"),
        "insufficient_funds": CardBehaviour("decline", "card_declined", "insufficient_funds"),
        "needs_action": CardBehaviour("authenticate"),
        "processing": CardBehaviour("process"),
        "refund_fails": CardBehaviour("succeed", refund="fail_later"),
        "refund_pends": CardBehaviour("succeed", refund="succeed_later"),
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
    }
)

# Ids every Stripe test account knows, for clients without a browser.
_BY_PAYMENT_METHOD: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "pm_card_visa": ("success", "4242"),
        "pm_card_visa_chargeDeclined": ("declined", "0002"),
        "pm_card_visa_chargeDeclinedInsufficientFunds": ("insufficient_funds", "9995"),
        "pm_card_authenticationRequired": ("needs_action", "3184"),
        "pm_card_bypassPending": ("processing", "0077"),
        "pm_card_refundFail": ("refund_fails", "5126"),
        "pm_card_pendingRefund": ("refund_pends", "7726"),
    }
)


@dataclass(frozen=True, slots=True)
class Card:
    """What is remembered of a card: never its number."""

    behaviour: str
    last4: str
    exp_month: int = 12
    exp_year: int = 2040


def card_of_payment_method(payment_method: str) -> Card:
    """The card behind one of Stripe's magic `pm_card_…` ids. Raises ApiError for any other."""
    known = _BY_PAYMENT_METHOD.get(payment_method)
    if known is None:
        message = f"No such PaymentMethod: '{payment_method[:60]}'"
        raise ApiError(400, message, code="resource_missing", param="payment_method")
    return Card(*known)


def card_of_form(fields: Params, now_s: int) -> Card:
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
    return Card(_BY_NUMBER.get(number, "not_a_test_card"), number[-4:], month, year)


def _card_error(code: str, message: str, param: str) -> ApiError:
    return ApiError(402, message, error_type="card_error", code=code, param=param)


def _luhn(number: str) -> bool:
    total = 0
    for position, character in enumerate(reversed(number)):
        digit = int(character) * (1 + position % 2)
        total += digit - 9 if digit > 9 else digit
    return total % 10 == 0


def read_card(params: Params, now_s: int) -> Card:
    """A token's card: a magic `payment_method`, or `payment_method_data` with the card's fields."""
    payment_method = params.get("payment_method")
    if isinstance(payment_method, str):
        return card_of_payment_method(payment_method)
    data = params.get("payment_method_data")
    if not isinstance(data, dict) or data.get("type") != "card":
        raise invalid("payment_method_data", "The sandbox takes payment_method_data of type card.")
    fields = data.get("card")
    if not isinstance(fields, dict):
        raise invalid(
            "payment_method_data[card]", "Missing required param: payment_method_data[card]."
        )
    return card_of_form(fields, now_s)
