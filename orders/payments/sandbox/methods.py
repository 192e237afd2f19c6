"""Which methods a payment takes: cards, Alipay and WeChat Pay, as far as Stripe lets each take the currency."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from orders.payments.sandbox.errors import ApiError, invalid, missing
from orders.payments.sandbox.forms import Params, Spec, group, text, texts
from orders.payments.sandbox.records import PaymentIntent

OPTIONS_SPEC: Spec = {
    "card": {"request_three_d_secure": "text"},
    "wechat_pay": {"app_id": "text", "client": "text"},
}

_ALIPAY = frozenset(("aud", "cad", "cny", "eur", "gbp", "hkd", "jpy", "myr", "nzd", "sgd", "usd"))
_WECHAT_PAY = _ALIPAY - {"myr", "nzd"} | {"chf", "dkk", "nok", "sek"}
# None: in every currency that Stripe charges.
_CURRENCIES: Mapping[str, frozenset[str] | None] = MappingProxyType(
    {"card": None, "alipay": _ALIPAY, "wechat_pay": _WECHAT_PAY}
)


def read_method_types(params: Params, currency: str) -> tuple[str, ...]:
    """The `payment_method_types` as given, empty if none were. Raises ApiError for those nobody here takes."""
    types = texts(params, "payment_method_types")
    for position, method in enumerate(types):
        name = f"payment_method_types[{position}]"
        if method not in _CURRENCIES:
            message = f"The payment method type provided: {method[:40]} is invalid."
            raise invalid(name, message, "payment_intent_invalid_parameter")
        if method in types[:position]:
            raise invalid(name, f"Duplicate payment method type: {method}.")
        takes = _CURRENCIES[method]
        if takes is not None and currency not in takes:
            message = f"The currency provided ({currency}) is invalid for the method {method}."
            raise invalid(name, message, "payment_intent_invalid_parameter")
    if "wechat_pay" in types:
        _require_wechat_client(params)
    return tuple(types)


def read_method_options(params: Params) -> dict[str, Any]:
    """The `payment_method_options`, shown again on the object."""
    return dict(group(params, "payment_method_options"))


def require_taken(intent: PaymentIntent, method: str) -> None:
    """Raise Stripe's refusal for a token of a method that this payment does not take."""
    if method in intent.payment_method_types:
        return
    message = (
        f"The PaymentMethod provided ({method}) is not allowed for this PaymentIntent. It takes: "
        f"{', '.join(intent.payment_method_types)}."
    )
    raise ApiError(
        400,
        message,
        code="payment_intent_incompatible_payment_method",
        param="payment_method",
    )


def next_action(method: str, page_url: str, return_url: str | None) -> dict[str, Any]:
    """What the shopper has to do elsewhere before `method` pays."""
    if method == "alipay":
        handle = {"native_data": None, "native_url": None, "url": page_url}
        return {
            "type": "alipay_handle_redirect",
            "alipay_handle_redirect": handle | {"return_url": return_url},
        }
    shown = {"data": page_url, "hosted_instructions_url": page_url}
    # The pictures of the code would be of nobody's use here.
    shown |= {"image_data_url": "", "image_url_png": "", "image_url_svg": ""}
    return {"type": "wechat_pay_display_qr_code", "wechat_pay_display_qr_code": shown}


def _require_wechat_client(params: Params) -> None:
    name = "payment_method_options[wechat_pay][client]"
    client = text(group(group(params, "payment_method_options"), "wechat_pay"), "client")
    if client is None:
        raise missing(name)
    if client not in ("web", "android", "ios"):
        raise invalid(name, "client is web, android or ios.")
