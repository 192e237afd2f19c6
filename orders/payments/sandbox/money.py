"""What amounts and currencies Stripe takes, so that a price our code gets wrong is refused before it is live."""

from orders.payments.sandbox.errors import ApiError, invalid
from orders.payments.sandbox.forms import Params, integer, required

AMOUNT_MINOR_MAX = 99_999_999

_CODES = """
usd aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bhd bif bmd bnd bob brl bsd bwp byn bzd
cad cdf chf clp cny cop crc cve czk djf dkk dop dzd egp etb eur fjd fkp gbp gel gip gmd gnf gtq gyd
hkd hnl htg huf idr ils inr isk jmd jod jpy kes kgs khr kmf krw kwd kyd kzt lak lbp lkr lrd lsl mad
mdl mga mkd mmk mnt mop mur mvr mwk mxn myr mzn nad ngn nio nok npr nzd omr pab pen pgk php pkr pln
pyg qar ron rsd rub rwf sar sbd scr sek sgd shp sle sos srd std szl thb tjs tnd top try ttd twd tzs
uah ugx uyu uzs vnd vuv wst xaf xcd xof xpf yer zar zmw
"""
CURRENCIES = frozenset(_CODES.split())

# Stripe's published minimum charges in minor units; a currency not listed is held to the commonest one.
_MINIMUM_MINOR = {
    "aed": 200, "bgn": 100, "cny": 400, "czk": 1500, "dkk": 250, "gbp": 30, "hkd": 400, "huf": 17500,
    "krw": 500, "mxn": 1000, "myr": 200, "nok": 300, "pln": 200, "ron": 200, "sek": 300, "thb": 1000,
    "twd": 1500, "vnd": 10000, "ugx": 100000, "isk": 10000,
}  # fmt: skip
_MINIMUM_MINOR_DEFAULT = 50

# Charged in whole units yet written with two decimals, and three-decimal currencies that end in a zero.
_MULTIPLE_MINOR = {"isk": 100, "ugx": 100, "bhd": 10, "jod": 10, "kwd": 10, "omr": 10, "tnd": 10}


def read_currency(params: Params) -> str:
    """The currency in lower case, if Stripe charges in it. Raises ApiError."""
    currency = required(params, "currency").lower()
    if currency not in CURRENCIES:
        raise invalid("currency", f"Invalid currency: {currency[:10]}")
    return currency


def read_amount_minor(params: Params, currency: str) -> int:
    """The charge amount, in Stripe's own bounds: an integer, at least the minimum, at most eight digits."""
    return check_amount_minor(integer(required(params, "amount"), "amount"), currency)


def check_amount_minor(amount_minor: int, currency: str) -> int:
    """The amount itself, if it is one that Stripe charges in `currency`. Raises ApiError."""
    if amount_minor < 1:
        message = "This value must be greater than or equal to 1."
        raise invalid("amount", message, "parameter_invalid_integer")
    if amount_minor > AMOUNT_MINOR_MAX:
        raise invalid("amount", "Amount must be no more than 99999999.", "amount_too_large")
    if amount_minor < _MINIMUM_MINOR.get(currency, _MINIMUM_MINOR_DEFAULT):
        message = f"The amount must be greater than or equal to the minimum charge in {currency}."
        raise invalid("amount", message, "amount_too_small")
    if amount_minor % _MULTIPLE_MINOR.get(currency, 1):
        raise invalid("amount", f"Invalid {currency} amount: it must end in zeros.")
    return amount_minor


def fee_minor(amount_minor: int) -> int:
    """2.9 % + 30, rounded half up in integers: the fee that balance transactions of the sandbox show."""
    return (amount_minor * 29 + 500) // 1000 + 30


def read_metadata(metadata: dict[str, str]) -> dict[str, str]:
    """Stripe's bounds: 50 keys of 40 characters with values of 500; a blank value unsets a key."""
    if len(metadata) > 50:
        raise invalid("metadata", "Metadata can hold at most 50 keys.")
    for key, value in metadata.items():
        if len(key) > 40 or len(value) > 500:
            raise ApiError(400, "Metadata keys hold 40 characters, values 500.", param="metadata")
    return {key: value for key, value in metadata.items() if value}
