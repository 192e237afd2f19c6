"""The parts of every split add up to the whole, in one way only."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_events.money import AMOUNT_MINOR_MAX
from stream_events.split import (
    ShareRule,
    Shares,
    SplitError,
    largest_remainder,
    split,
    take_back,
)

WEIGHTS = st.lists(st.integers(0, 10**6), min_size=1, max_size=12).filter(lambda w: sum(w) > 0)


@st.composite
def rules(draw: st.DrawFn) -> ShareRule:
    farmer = draw(st.integers(0, 10_000))
    beneficiary = draw(st.integers(0, 10_000 - farmer))
    fixed = draw(st.none() | st.integers(0, 500))
    return ShareRule(farmer, beneficiary, 10_000 - farmer - beneficiary, fixed)


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


@given(st.integers(1, AMOUNT_MINOR_MAX), st.integers(1, 10_000), rules())
def test_the_shares_of_any_amount_by_any_rule_sum_to_it(
    amount_minor: int, units: int, rule: ShareRule
) -> None:
    fixed_minor = (rule.beneficiary_fixed_minor or 0) * units
    if fixed_minor > amount_minor:
        with pytest.raises(SplitError) as caught:
            split(amount_minor, units, rule)
        assert caught.value.code == "fixed_share_too_large"
        return
    shares = split(amount_minor, units, rule)
    assert shares.amount_minor == amount_minor
    assert min(shares.farmer_minor, shares.fees_minor) >= 0
    assert shares.beneficiary_minor >= fixed_minor
    rest = amount_minor - fixed_minor
    for part, share_bp in (
        (shares.farmer_minor, rule.farmer_bp),
        (shares.beneficiary_minor - fixed_minor, rule.beneficiary_bp),
        (shares.fees_minor, rule.fees_bp),
    ):
        assert abs(part * 10_000 - rest * share_bp) < 10_000


def test_a_bag_of_peanuts() -> None:
    assert split(2990, 1, ShareRule(9000, 700, 300)) == Shares(2691, 209, 90)
    assert split(5980, 2, ShareRule(9700, 0, 300, 200)) == Shares(5413, 400, 167)
    assert split(1, 1, ShareRule(5000, 5000, 0)) == Shares(1, 0, 0)
    assert split(1, 1, ShareRule(0, 5000, 5000)) == Shares(0, 1, 0)
    assert split(200, 1, ShareRule(0, 10_000, 0, 200)) == Shares(0, 200, 0)


@pytest.mark.parametrize(
    "shares",
    [(9000, 900, 99), (10_001, 0, -1), (9000, 900, 101), (0.5, 0.5, 9999), (10_000, 0, 0, -1)],
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
    if (rule.beneficiary_fixed_minor or 0) > amount_minor:
        return
    kept = split(amount_minor, 1, rule)
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
