"""The parts of every split add up to the whole, in one way only."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_events.money import (
    AMOUNT_MINOR_MAX,
    MINOR_UNIT_EXPONENTS,
    charge_minor_max,
    charge_step_minor,
)
from stream_events.split import (
    ShareRule,
    Shares,
    SplitError,
    largest_remainder,
    one_unit,
    split,
    take_back,
)

WEIGHTS = st.lists(st.integers(0, 10**6), min_size=1, max_size=12).filter(lambda w: sum(w) > 0)


PER_UNIT = st.none() | st.integers(0, 500) | st.integers(0, 10**8)


@st.composite
def rules(draw: st.DrawFn) -> ShareRule:
    farmer = draw(st.integers(0, 10_000))
    beneficiary = draw(st.integers(0, 10_000 - farmer))
    fixed, farmer_fixed = draw(st.none() | st.integers(0, 500)), draw(PER_UNIT)
    fees = 10_000 - farmer - beneficiary
    return ShareRule(farmer, beneficiary, fees, fixed, farmer_fixed, draw(PER_UNIT), draw(PER_UNIT))


def by_hand(amount_minor: int, units: int, rule: ShareRule) -> tuple[int, int, int]:
    """Split as the contract says it, step by step, one minor unit at a time where bounds move money."""
    farmer = (rule.farmer_fixed_minor or 0) * units
    beneficiary = (rule.beneficiary_fixed_minor or 0) * units
    by_bp = largest_remainder(
        amount_minor - farmer - beneficiary, [rule.farmer_bp, rule.beneficiary_bp, rule.fees_bp]
    )
    farmer, beneficiary, fees = farmer + by_bp[0], beneficiary + by_bp[1], by_bp[2]
    if rule.beneficiary_cap_minor is not None and beneficiary > rule.beneficiary_cap_minor * units:
        farmer, beneficiary = (
            farmer + beneficiary - rule.beneficiary_cap_minor * units,
            rule.beneficiary_cap_minor * units,
        )
    floor = (rule.farmer_floor_minor or 0) * units
    if farmer < floor:
        short = floor - farmer
        gives = min(short, beneficiary)
        farmer, beneficiary, fees = floor, beneficiary - gives, fees - (short - gives)
    return farmer, beneficiary, fees


@given(st.integers(0, 10**12), WEIGHTS)
def test_largest_remainder_gives_out_the_whole_and_is_fair(total: int, weights: list[int]) -> None:
    parts = largest_remainder(total, weights)
    assert sum(parts) == total
    quotas = [Fraction(total * weight, sum(weights)) for weight in weights]
    assert all(abs(part - quota) < 1 for part, quota in zip(parts, quotas, strict=True))
    # Whoever was rounded up lost more by rounding down than whoever was not, or as much and stands first.
    lost = [(quota - int(quota), -i) for i, quota in enumerate(quotas)]
    up = [lost[i] for i, part in enumerate(parts) if part > int(quotas[i])]
    down = [lost[i] for i, part in enumerate(parts) if part == int(quotas[i])]
    assert not up or not down or min(up) > max(down)


@pytest.mark.parametrize(
    ("total", "weights", "parts"),
    [
        (100, [1, 1, 1], [34, 33, 33]),
        (101, [1, 1, 1], [34, 34, 33]),
        (1, [1, 1], [1, 0]),
        (1, [0, 1, 1], [0, 1, 0]),
        (7, [0, 0, 3], [0, 0, 7]),
        (10, [1, 2, 4], [1, 3, 6]),
        (0, [5, 5], [0, 0]),
    ],
)
def test_ties_go_to_the_first(total: int, weights: list[int], parts: list[int]) -> None:
    assert largest_remainder(total, weights) == parts


@pytest.mark.parametrize(
    ("total", "weights"), [(-1, [1]), (1, []), (1, [0, 0]), (1, [-1, 2]), (1.0, [1]), (1, [True])]
)
def test_what_cannot_be_split_is_refused(total: int, weights: list[int]) -> None:
    with pytest.raises(SplitError):
        largest_remainder(total, weights)


@given(
    st.sampled_from(sorted(MINOR_UNIT_EXPONENTS)),
    st.integers(1, AMOUNT_MINOR_MAX),
    st.integers(1, 10_000),
    rules(),
)
def test_the_shares_of_any_amount_by_any_rule_in_any_currency_sum_to_it(
    currency: str, price_steps: int, units: int, rule: ShareRule
) -> None:
    step = charge_step_minor(currency)
    price_minor = 1 + price_steps % (charge_minor_max(currency) // step)
    amount_minor = price_minor * step * units
    fixed_minor = (rule.beneficiary_fixed_minor or 0) + (rule.farmer_fixed_minor or 0)
    if fixed_minor * units > amount_minor or (rule.farmer_floor_minor or 0) * units > amount_minor:
        with pytest.raises(SplitError) as caught:
            split(amount_minor, units, rule)
        assert caught.value.code in {"fixed_share_too_large", "floor_too_large"}
        return
    shares = split(amount_minor, units, rule)
    assert shares.amount_minor == amount_minor
    assert min(shares.farmer_minor, shares.beneficiary_minor, shares.fees_minor) >= 0
    assert shares.farmer_minor >= (rule.farmer_floor_minor or 0) * units
    if rule.beneficiary_cap_minor is not None:
        assert shares.beneficiary_minor <= rule.beneficiary_cap_minor * units
    parts = (shares.farmer_minor, shares.beneficiary_minor, shares.fees_minor)
    assert parts == by_hand(amount_minor, units, rule)


@given(st.integers(1, AMOUNT_MINOR_MAX), st.integers(1, 10_000), rules())
def test_without_bounds_each_share_is_within_one_unit_of_its_basis_points(
    amount_minor: int, units: int, rule: ShareRule
) -> None:
    rule = ShareRule(
        rule.farmer_bp, rule.beneficiary_bp, rule.fees_bp, rule.beneficiary_fixed_minor
    )
    fixed_minor = (rule.beneficiary_fixed_minor or 0) * units
    if fixed_minor > amount_minor:
        return
    shares = split(amount_minor, units, rule)
    rest = amount_minor - fixed_minor
    for part, share_bp in (
        (shares.farmer_minor, rule.farmer_bp),
        (shares.beneficiary_minor - fixed_minor, rule.beneficiary_bp),
        (shares.fees_minor, rule.fees_bp),
    ):
        assert abs(part * 10_000 - rest * share_bp) < 10_000


def test_fixed_parts_cap_and_floor_count_in_this_order() -> None:
    # All profit to the beneficiary: the farmer's cost, and nothing of the rest.
    assert split(5980, 2, ShareRule(0, 9700, 300, None, 2000)) == Shares(4000, 1921, 59)
    # The farmer's fixed part, the beneficiary's, and 8:1:1 of the 500 left.
    assert split(1000, 1, ShareRule(8000, 1000, 1000, 200, 300)) == Shares(700, 250, 50)
    # 900 for the beneficiary, of which 100 may stay; the excess is the farmer's.
    assert split(1000, 1, ShareRule(0, 9000, 1000, None, None, 100)) == Shares(800, 100, 100)
    # A cap counts for the fixed part too, and for each unit.
    assert split(1000, 2, ShareRule(10_000, 0, 0, 300, None, 100)) == Shares(800, 200, 0)
    # The floor takes from the beneficiary first, then from the fees, and never from the excess.
    assert split(1000, 1, ShareRule(1000, 2000, 7000, None, None, None, 250)) == Shares(
        250, 50, 700
    )
    assert split(1000, 1, ShareRule(1000, 2000, 7000, None, None, None, 950)) == Shares(950, 0, 50)
    assert split(1000, 1, ShareRule(1000, 2000, 7000, None, None, 50, 400)) == Shares(400, 0, 600)
    with pytest.raises(SplitError) as caught:
        split(1000, 1, ShareRule(1000, 2000, 7000, None, None, None, 1001))
    assert caught.value.code == "floor_too_large"


def test_a_rule_is_read_from_whatever_states_it() -> None:
    rule = ShareRule(1, 2, 9997, 3, 4, 5, 6)
    assert ShareRule.of(rule) == rule
    assert one_unit(20_000, rule) == split(20_000, 1, rule)


def test_a_bag_of_peanuts() -> None:
    assert split(2990, 1, ShareRule(9000, 700, 300)) == Shares(2691, 209, 90)
    assert split(5980, 2, ShareRule(9700, 0, 300, 200)) == Shares(5413, 400, 167)
    assert split(1, 1, ShareRule(5000, 5000, 0)) == Shares(1, 0, 0)
    assert split(1, 1, ShareRule(0, 5000, 5000)) == Shares(0, 1, 0)
    assert split(200, 1, ShareRule(0, 10_000, 0, 200)) == Shares(0, 200, 0)


@pytest.mark.parametrize(
    "shares",
    [(9000, 900, 99), (10_001, 0, -1), (9000, 900, 101), (0.5, 0.5, 9999), (10_000, 0, 0, -1)]
    + [(10_000, 0, 0, None, *(None,) * place, -1) for place in range(3)],
)
def test_shares_that_are_no_whole_are_no_rule(shares: tuple[int, ...]) -> None:
    with pytest.raises(SplitError):
        ShareRule(*shares)


@pytest.mark.parametrize(("amount", "units"), [(-1, 1), (100, 0), (100, -1), (1.5, 1), (True, 1)])
def test_nonsense_is_not_split(amount: int, units: int) -> None:
    with pytest.raises(SplitError):
        split(amount, units, ShareRule(10_000, 0, 0))


@given(st.integers(1, 10**8), rules(), st.lists(st.integers(0, 10**8), max_size=8))
def test_refunds_take_back_each_part_to_exactly_nothing(
    amount_minor: int, rule: ShareRule, refunds: list[int]
) -> None:
    try:
        kept = split(amount_minor, 1, rule)
    except SplitError:
        return
    for wanted in [*refunds, amount_minor]:
        refund = min(wanted, kept.amount_minor)
        back = take_back(kept, refund)
        assert back.amount_minor == refund
        kept = kept.minus(back)
        assert min(kept.farmer_minor, kept.beneficiary_minor, kept.fees_minor) >= 0
    assert kept == Shares(0, 0, 0)


def test_more_than_was_kept_is_not_given_back() -> None:
    with pytest.raises(SplitError) as caught:
        take_back(Shares(10, 5, 1), 17)
    assert caught.value.code == "refund_too_large"
    assert take_back(Shares(10, 5, 1), 16) == Shares(10, 5, 1)
    assert take_back(Shares(0, 0, 0), 0) == Shares(0, 0, 0)
