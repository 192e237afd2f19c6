"""The arithmetic of gifts: parts that sum to the whole, to the last minor unit."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from inventory.offers import CauseView, StreamSettings
from orders.gifts import GIFT, GiftWish, shares_of, spread

SETTINGS = StreamSettings(
    shipping={},
    seller=None,
    refund_terms=None,
    refund_terms_zh=None,
    payment_methods=("card",),
    gift_min_minor=0,
    gift_max_minor=None,
    causes=tuple(CauseView(f"ben_{n}", "x", None) for n in range(10)),
    matches=(),
)


@given(st.integers(1, 99_999_999), st.lists(st.integers(0, 10_000), max_size=9))
def test_the_parts_of_a_gift_sum_to_it_and_none_is_off_by_a_unit(
    amount_minor: int, cuts: list[int]
) -> None:
    edges = [0, *sorted(set(cuts) - {0, 10_000}), 10_000]
    named = tuple((f"ben_{n}", end - start) for n, (start, end) in enumerate(pairwise(edges)))
    shares = shares_of(GiftWish(amount_minor, named), SETTINGS)
    gifts = spread(GIFT, amount_minor, shares)
    assert sum(gift.amount_minor for gift in gifts) == amount_minor
    parts = {gift.beneficiary_id: gift.amount_minor for gift in gifts}
    for beneficiary_id, share_bp in named:
        assert abs(parts.get(beneficiary_id, 0) * 10_000 - amount_minor * share_bp) < 10_000
    assert [gift.beneficiary_id for gift in gifts] == sorted(parts)


def test_a_gift_that_names_no_cause_goes_to_the_first() -> None:
    assert shares_of(GiftWish(5, ()), SETTINGS) == (("ben_0", 10_000),)
