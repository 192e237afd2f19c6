"""A price is ours, exact and within bounds, or there is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.pricing import PricedLine, PricedOrder, PricingError, QuotedLine, price, sum_lines

BASKETS = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c", "花生"]), st.integers(1, 500)),
    min_size=1,
    max_size=20,
)


def line(
    sku: str, quantity: int, unit_price_minor: int = 2990, currency: str = "CNY"
) -> QuotedLine:
    return QuotedLine(sku, quantity, unit_price_minor, currency)


def refused(*lines: QuotedLine) -> PricingError:
    with pytest.raises(PricingError) as caught:
        price(lines)
    return caught.value


def test_an_order_is_priced_and_sorted() -> None:
    assert price([line("sauce", 1, 1500), line("nuts", 2)]) == PricedOrder(
        (PricedLine("nuts", 2, 2990, 5980), PricedLine("sauce", 1, 1500, 1500)), 7480, "CNY"
    )
    assert price([line("sauce", 1, 1500), line("nuts", 2)]).units == 3


@given(BASKETS)
def test_repeats_are_summed_whatever_their_order(basket: list[tuple[str, int]]) -> None:
    summed = sum_lines(basket)
    assert [sku for sku, _ in summed] == sorted({sku for sku, _ in basket})
    for sku, quantity in summed:
        assert quantity == sum(count for name, count in basket if name == sku)
    assert sum_lines(reversed(basket)) == summed


@given(BASKETS, st.integers(1, 200))
def test_the_total_is_the_sum_of_quantity_times_price(
    basket: list[tuple[str, int]], unit_price_minor: int
) -> None:
    order = price([line(sku, quantity, unit_price_minor) for sku, quantity in basket])
    assert order.total_minor == unit_price_minor * sum(quantity for _, quantity in basket)
    assert order.total_minor == sum(line.amount_minor for line in order.lines)
    assert all(line.amount_minor == line.quantity * line.unit_price_minor for line in order.lines)


@pytest.mark.parametrize("quantity", [0, -1, 10_001, 10**30, 1.0, True, "1", None])
def test_quantities_out_of_bounds_have_no_price(quantity: int) -> None:
    error = refused(line("nuts", quantity))
    assert (error.code, error.sku) == ("quantity_out_of_bounds", "nuts")


def test_bounds_hold_for_the_sum_of_repeats_too() -> None:
    assert sum_lines([("nuts", 9_999), ("nuts", 1)]) == (("nuts", 10_000),)
    with pytest.raises(PricingError) as caught:
        sum_lines([("nuts", 9_999), ("nuts", 2)])
    assert caught.value.code == "quantity_out_of_bounds"


def test_the_number_of_lines_is_bounded() -> None:
    assert len(sum_lines((str(i), 1) for i in range(20))) == 20
    with pytest.raises(PricingError) as caught:
        sum_lines((str(i), 1) for i in range(21))
    assert caught.value.code == "too_many_lines"
    with pytest.raises(PricingError) as caught:
        sum_lines(("same", 1) for _ in range(10**9))  # Returns at once, or not in our lifetime.
    assert caught.value.code == "too_many_lines"
    assert refused().code == "no_lines"


def test_the_total_is_bounded_by_what_can_be_charged() -> None:
    assert price([line("gold", 1, 99_999_999)]).total_minor == 99_999_999
    assert refused(line("gold", 1, 99_999_999), line("nuts", 1, 1)).code == "total_too_large"
    assert refused(line("gold", 10_000, 10_000)).code == "total_too_large"
    assert price([line("gold", 10, 99_999, "ISK")]).total_minor == 999_990
    assert refused(line("gold", 11, 99_999, "ISK")).code == "total_too_large"


@pytest.mark.parametrize(
    ("unit_price_minor", "currency", "code"),
    [
        (0, "CNY", "amount_out_of_bounds"),
        (-1, "CNY", "amount_out_of_bounds"),
        (1.5, "CNY", "not_an_integer"),
        (1234, "KWD", "amount_not_chargeable"),
        (100, "XXX", "unknown_currency"),
    ],
)
def test_prices_that_cannot_be_charged_are_refused(
    unit_price_minor: int, currency: str, code: str
) -> None:
    assert refused(line("nuts", 1, unit_price_minor, currency)).code == code


def test_one_currency_and_one_price_a_sku() -> None:
    assert refused(line("nuts", 1), line("sauce", 1, 2990, "EUR")).code == "mixed_currencies"
    assert refused(line("nuts", 1), line("nuts", 1, 2991)).code == "price_conflict"
