"""Amounts stay exact in every currency, and what Stripe counts otherwise is converted or refused."""

from decimal import Decimal
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_events.money import (
    AMOUNT_MINOR_MAX,
    MINOR_UNIT_EXPONENTS,
    Money,
    MoneyError,
    charge_minor_max,
    charge_step_minor,
    exponent,
    format_minor,
    from_stripe_amount,
    require_chargeable,
    stripe_amount,
)

CURRENCIES = st.sampled_from(sorted(MINOR_UNIT_EXPONENTS))
AMOUNTS = st.integers(-(10**15), 10**15)


def codes(decimals: int) -> set[str]:
    return {code for code, count in MINOR_UNIT_EXPONENTS.items() if count == decimals}


def test_the_table_has_the_exponents_of_iso_4217() -> None:
    zero = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
    assert codes(0) == set(zero.split())
    assert codes(3) == {"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"}
    assert codes(4) == {"CLF", "UYW"}
    assert codes(2) > {"CNY", "EUR", "USD", "GBP", "HKD", "MGA", "MRU", "HUF", "TWD", "IDR", "XCG"}
    assert set(MINOR_UNIT_EXPONENTS.values()) == {0, 2, 3, 4}
    # A slip of the pen in the long row of two-decimal codes shows here; so does each real amendment.
    assert len(MINOR_UNIT_EXPONENTS) == 165
    assert crc32(" ".join(sorted(codes(2))).encode()) == 0x293643E7


@pytest.mark.parametrize(
    "code", ["XAU", "XTS", "XXX", "XDR", "cny", "CNY ", "", "DEM", "HRK", "BTC"]
)
def test_what_is_no_currency_in_use_is_refused(code: str) -> None:
    with pytest.raises(MoneyError) as caught:
        exponent(code)
    assert caught.value.code == "unknown_currency"


@pytest.mark.parametrize("code", [None, 156, ["CNY"], b"CNY"])
def test_what_is_not_even_text_is_no_currency(code: object) -> None:
    with pytest.raises(MoneyError):
        exponent(code)  # type: ignore[arg-type]


@pytest.mark.parametrize("amount", [0, -1, AMOUNT_MINOR_MAX + 1, 10**30])
def test_amounts_out_of_bounds_are_no_money(amount: int) -> None:
    with pytest.raises(MoneyError) as caught:
        Money(amount, "CNY")
    assert caught.value.code == "amount_out_of_bounds"


@pytest.mark.parametrize("amount", [1.0, True, "1", None, Decimal(1)])
def test_only_whole_numbers_are_amounts(amount: Any) -> None:
    for call in (Money, format_minor, stripe_amount, from_stripe_amount, require_chargeable):
        with pytest.raises(MoneyError) as caught:
            call(amount, "CNY")
        assert caught.value.code == "not_an_integer"


def test_money_is_of_a_currency_and_stays_as_it_is() -> None:
    with pytest.raises(MoneyError, match="XAU"):
        Money(1, "XAU")
    with pytest.raises(AttributeError):
        Money(1, "CNY").amount_minor = 2  # type: ignore[misc]


def test_money_knows_its_bounds_and_shows_itself() -> None:
    assert str(Money(1, "CNY")) == "0.01 CNY"
    assert str(Money(AMOUNT_MINOR_MAX, "JPY")) == "99999999 JPY"


@pytest.mark.parametrize(
    ("amount_minor", "currency", "shown"),
    [
        (2990, "CNY", "29.90"),
        (5, "CNY", "0.05"),
        (0, "CNY", "0.00"),
        (-5, "CNY", "-0.05"),
        (-12345, "EUR", "-123.45"),
        (500, "JPY", "500"),
        (0, "JPY", "0"),
        (-7, "ISK", "-7"),
        (1234, "KWD", "1.234"),
        (1, "CLF", "0.0001"),
        (10**20 + 1, "CNY", "1000000000000000000.01"),
    ],
)
def test_amounts_are_shown_exactly(amount_minor: int, currency: str, shown: str) -> None:
    assert format_minor(amount_minor, currency) == shown


@given(AMOUNTS, CURRENCIES)
def test_what_is_shown_is_what_is_meant(amount_minor: int, currency: str) -> None:
    shown = format_minor(amount_minor, currency)
    assert Decimal(shown).scaleb(exponent(currency)) == amount_minor
    assert len(shown.partition(".")[2]) == exponent(currency)


@pytest.mark.parametrize(
    ("amount_minor", "currency", "at_stripe"),
    [
        (2990, "CNY", 2990),
        (500, "JPY", 500),
        (5, "ISK", 500),
        (5, "UGX", 500),
        (500, "MGA", 5),
        (5120, "KWD", 5120),
        (2990, "HUF", 2990),
        (0, "MGA", 0),
    ],
)
def test_stripe_counts_some_currencies_otherwise(
    amount_minor: int, currency: str, at_stripe: int
) -> None:
    assert stripe_amount(amount_minor, currency) == at_stripe
    assert from_stripe_amount(at_stripe, currency) == amount_minor


def test_what_does_not_convert_exactly_is_refused() -> None:
    for amount in (1, 10, 520, 550, 599):
        with pytest.raises(MoneyError) as caught:
            stripe_amount(amount, "MGA")
        assert caught.value.code == "amount_not_chargeable"
        with pytest.raises(MoneyError) as caught:
            from_stripe_amount(amount, "ISK")
        assert caught.value.code == "amount_not_exact"


@given(st.integers(0, AMOUNT_MINOR_MAX), CURRENCIES)
def test_what_can_be_charged_goes_to_stripe_and_back(amount_minor: int, currency: str) -> None:
    chargeable = 0 < amount_minor <= charge_minor_max(currency)
    chargeable = chargeable and amount_minor % charge_step_minor(currency) == 0
    if not chargeable:
        with pytest.raises(MoneyError):
            require_chargeable(amount_minor, currency)
        return
    require_chargeable(amount_minor, currency)
    at_stripe = stripe_amount(amount_minor, currency)
    assert 0 < at_stripe <= 99_999_999  # eight digits
    assert from_stripe_amount(at_stripe, currency) == amount_minor


def test_steps_and_bounds_of_charges() -> None:
    assert [charge_step_minor(code) for code in ("CNY", "JPY", "KWD", "ISK", "MGA")] == [
        1,
        1,
        10,
        1,
        100,
    ]
    assert charge_minor_max("CNY") == 99_999_999
    assert charge_minor_max("ISK") == 999_999
    assert charge_minor_max("KWD") == 99_999_990
    assert charge_minor_max("MGA") == 99_999_900
    with pytest.raises(MoneyError) as caught:
        require_chargeable(5124, "KWD")
    assert caught.value.code == "amount_not_chargeable"
    for code in MINOR_UNIT_EXPONENTS:
        require_chargeable(charge_minor_max(code), code)
