"""Amounts of money as whole numbers of minor units, so that no rounding can ever make or lose any.

A float cannot hold 0.10, and a table of "two decimals everywhere" is wrong for a quarter of the world. So an
amount is an ``int`` together with an ISO 4217 code, the exponent comes from the table below, and the places
where Stripe counts otherwise than ISO 4217 does are spelled out once, here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

# Stripe takes amounts of up to eight digits; what cannot be charged must not be sold either.
AMOUNT_MINOR_MAX: Final = 99_999_999

# ISO 4217, table A.1: the currencies and funds in use that have a minor unit, by its number of decimals.
# Precious metals, baskets and test codes (XAU, XDR, XTS, …) have none: nothing can be priced in them.
_BY_EXPONENT: Final = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: (
        "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF"
        " CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD"
        " GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL"
        " MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR"
        " PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP"
        " TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG"
    ),
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}

MINOR_UNIT_EXPONENTS: Final[Mapping[str, int]] = MappingProxyType(
    {code: exponent for exponent, codes in _BY_EXPONENT.items() for code in codes.split()}
)

# What Stripe counts in, where that is not the ISO minor unit (docs.stripe.com/currencies, "Special cases" and
# "Zero-decimal currencies"). The króna and the Ugandan shilling lost their decimals in ISO 4217, and Stripe
# kept two for compatibility; the ariary has two in ISO 4217 and none at Stripe.
_STRIPE_EXPONENTS: Final[Mapping[str, int]] = MappingProxyType({"ISK": 2, "UGX": 2, "MGA": 0})


class MoneyError(ValueError):
    """An amount or a currency that we refuse to count with; ``code`` is stable for programs."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


def exponent(currency: str) -> int:
    """Return how many decimals the currency's minor unit has (ISO 4217); refuse unknown currencies."""
    try:
        return MINOR_UNIT_EXPONENTS[currency]
    except (KeyError, TypeError):
        raise MoneyError("unknown_currency", f"{currency!r} is no currency in use.") from None


def whole(value: int, what: str) -> int:
    """Return ``value`` if it is a true ``int``: a bool or a float that slips in is refused, never coerced."""
    if type(value) is not int:
        raise MoneyError(
            "not_an_integer", f"{what} must be a whole number, not {type(value).__name__}."
        )
    return value


@dataclass(frozen=True, slots=True)
class Money:
    """A sum that can be charged: from 1 to ``AMOUNT_MINOR_MAX`` minor units of one currency."""

    amount_minor: int
    currency: str

    def __post_init__(self) -> None:
        exponent(self.currency)
        if not 0 < whole(self.amount_minor, "An amount") <= AMOUNT_MINOR_MAX:
            raise MoneyError(
                "amount_out_of_bounds", f"An amount is from 1 to {AMOUNT_MINOR_MAX} minor units."
            )

    def __str__(self) -> str:
        return f"{format_minor(self.amount_minor, self.currency)} {self.currency}"


def format_minor(amount_minor: int, currency: str) -> str:
    """Return the exact amount in the major unit, as in ``2990, "CNY"`` → ``"29.90"``; pages add the symbol.

    Any size and sign: sums and reversals are shown too. No grouping, always a point, always all decimals.
    """
    decimals = exponent(currency)
    digits = str(abs(whole(amount_minor, "An amount"))).rjust(decimals + 1, "0")
    sign = "-" if amount_minor < 0 else ""
    if decimals == 0:
        return sign + digits
    return f"{sign}{digits[:-decimals]}.{digits[-decimals:]}"


def _stripe_shift(currency: str) -> int:
    decimals = exponent(currency)
    return _STRIPE_EXPONENTS.get(currency, decimals) - decimals


def charge_step_minor(currency: str) -> int:
    """Return the step in which amounts can be charged: prices that are no multiple of it cannot be paid.

    Stripe wants the last digit of three-decimal amounts to be 0, and has no decimals for the ariary.
    """
    shift = _stripe_shift(currency)
    return 10 if exponent(currency) == 3 else int(10 ** max(0, -shift))


def charge_minor_max(currency: str) -> int:
    """Return the greatest amount that can be charged: within our bound, Stripe's eight digits and the step."""
    most = AMOUNT_MINOR_MAX // int(10 ** max(0, _stripe_shift(currency)))
    return most - most % charge_step_minor(currency)


def require_chargeable(amount_minor: int, currency: str) -> None:
    """Raise ``MoneyError`` unless Stripe can charge exactly this: asked of prices, so that no order gets stuck."""
    most, step = charge_minor_max(currency), charge_step_minor(currency)
    if not 0 < whole(amount_minor, "An amount") <= most:
        raise MoneyError(
            "amount_out_of_bounds", f"An amount in {currency} is from 1 to {most} minor units."
        )
    if amount_minor % step:
        raise MoneyError(
            "amount_not_chargeable", f"An amount in {currency} is a multiple of {step} minor units."
        )


def stripe_amount(amount_minor: int, currency: str) -> int:
    """Return our amount as the number Stripe's API takes, exactly; refuse what has no exact counterpart.

    Charges go through ``require_chargeable`` first; this alone is also right for parts of a charge and for 0.
    """
    shift = _stripe_shift(currency)
    whole(amount_minor, "An amount")
    if shift >= 0:
        return amount_minor * int(10**shift)
    if amount_minor % 10**-shift:
        raise MoneyError(
            "amount_not_chargeable",
            f"{amount_minor} minor units of {currency} have no Stripe amount.",
        )
    return int(amount_minor // 10**-shift)


def from_stripe_amount(amount: int, currency: str) -> int:
    """Return the number Stripe gave us as ISO minor units, exactly; what does not convert is to be quarantined.

    ``currency`` is our upper-case code: Stripe writes its own in lower case.
    """
    shift = _stripe_shift(currency)
    whole(amount, "An amount")
    if shift <= 0:
        return amount * int(10**-shift)
    if amount % 10**shift:
        raise MoneyError(
            "amount_not_exact", f"Stripe's {amount} {currency} is no whole number of minor units."
        )
    return int(amount // 10**shift)
