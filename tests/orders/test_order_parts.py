"""What is left of an order's money: exact in any order of any returns, and never less than nothing."""

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.order_parts import (
    GiftLine,
    Left,
    Parts,
    Returned,
    SoldLine,
    line_left,
    pour,
    units_minor,
)
from stream_events.split import ShareRule, Shares, split


def goods(sku: str = "A", quantity: int = 2, price: int = 2990, **given: object) -> SoldLine:
    fields: dict[str, object] = {
        "farmer_id": f"frm_{sku}",
        "beneficiary_id": f"ben_{sku}",
        "rule": ShareRule(8000, 1500, 500),
        **given,
    }
    return SoldLine(sku, quantity, quantity * price, **fields)  # type: ignore[arg-type]


def gift(amount_minor: int, to: str = "G") -> GiftLine:
    return GiftLine(f"ben_{to}", amount_minor, "gift")


PARTS = Parts((goods("A", 2), goods("B", 1, 1010)), 800, (gift(500), gift(333, "H")))


def amounts(left: Left) -> list[int]:
    shares = [
        part
        for line in left.lines
        for part in (line.farmer_minor, line.beneficiary_minor, line.fees_minor)
    ]
    return [*shares, left.shipping_minor, *left.gifts]


rules = st.tuples(st.integers(0, 10_000), st.integers(0, 10_000)).map(
    lambda two: ShareRule(min(two), max(two) - min(two), 10_000 - max(two))
)
lines = st.builds(
    lambda index, quantity, price, rule: goods(f"S{index}", quantity, price, rule=rule),
    st.integers(0, 3),
    st.integers(1, 4),
    st.integers(1, 400),
    rules,
)
parts = st.builds(
    lambda sold, shipping, gifts: Parts(
        list({line.sku: line for line in sold}.values()),
        shipping if sold else 0,
        [gift(amount, f"{index}") for index, amount in enumerate(gifts)],
    ),
    st.lists(lines, max_size=3),
    st.integers(0, 300),
    st.lists(st.integers(1, 500), max_size=3),
).filter(lambda made: made.goods_minor + made.gifts_minor > 0)


@st.composite
def returns(draw: st.DrawFn, of: Parts) -> Returned:
    units = {line.sku: draw(st.integers(0, line.quantity)) for line in of.lines}
    gift_minor = draw(st.integers(0, of.gifts_minor))
    total = of.goods_minor + of.gifts_minor
    return Returned(units, gift_minor, draw(st.integers(0, total + 50)))


def returned_minor(of: Parts, what: Returned) -> int:
    by_units = sum(units_minor(line, what.units.get(line.sku, 0)) for line in of.lines)
    return by_units + what.gift_minor + what.rest_minor


@given(st.data(), parts)
def test_what_is_left_and_what_went_back_are_the_whole(data: st.DataObject, made: Parts) -> None:
    what = data.draw(returns(made))
    left = made.left(what)
    total = made.goods_minor + made.gifts_minor
    assert min(amounts(left)) >= 0
    assert left.goods_minor + left.gifts_minor - left.lost_minor == total - returned_minor(
        made, what
    )
    assert left.lost_minor == max(0, returned_minor(made, what) - total)
    assert sum(made.goods_accounts(left).values()) + sum(made.gift_accounts(left).values()) == (
        total - returned_minor(made, what)
    )
    if returned_minor(made, what) >= total:
        assert not any(amounts(left))
        assert left.units == {}


@given(st.data(), parts)
def test_returning_more_never_gives_anybody_anything(data: st.DataObject, made: Parts) -> None:
    less = data.draw(returns(made))
    more = Returned(
        {
            line.sku: data.draw(st.integers(less.units[line.sku], line.quantity))
            for line in made.lines
        },
        data.draw(st.integers(less.gift_minor, made.gifts_minor)),
        less.rest_minor + data.draw(st.integers(0, 200)),
    )
    before, after = made.left(less), made.left(more)
    for had, has in zip(amounts(before), amounts(after), strict=True):
        assert has <= had
    for sku, units in after.units.items():
        assert units <= before.units[sku]


@given(st.data(), parts)
def test_a_target_gives_before_anything_else(data: st.DataObject, made: Parts) -> None:
    what = data.draw(returns(made))
    left = made.left(Returned(what.units, what.gift_minor))
    assert left.gifts_minor == made.gifts_minor - what.gift_minor
    for line, kept in zip(made.lines, left.lines, strict=True):
        assert kept == line_left(line, what.units[line.sku])
    assert left.shipping_minor == made.shipping_minor


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=6))
def test_pouring_is_in_proportion_and_stops_at_the_rooms(pairs: list[tuple[int, int]]) -> None:
    weights = [max(pair) for pair in pairs]
    rooms = [min(pair) for pair in pairs]
    taken = [pour(amount, weights, rooms) for amount in range(sum(rooms) + 1)]
    for amount, one in enumerate(taken):
        assert sum(one) == amount
        assert all(0 <= part <= room for part, room in zip(one, rooms, strict=True))
        if weights == rooms and amount:
            for part, weight in zip(one, weights, strict=True):
                # Each of the parts before it may have moved the rest by half a unit.
                assert abs(part - amount * weight / sum(weights)) <= len(rooms) / 2
    for one, next_ in itertools.pairwise(taken):
        assert all(a <= b for a, b in zip(one, next_, strict=True))


def test_more_than_there_is_cannot_be_poured() -> None:
    with pytest.raises(ValueError, match="cannot be taken"):
        pour(3, (1, 1), (1, 1))


@pytest.mark.parametrize(
    ("units", "shares"),
    [(0, (4784, 897, 299)), (1, (2392, 448, 150)), (2, (0, 0, 0)), (3, (0, 0, 0))],
)
def test_units_go_back_with_their_own_shares(units: int, shares: Sequence[int]) -> None:
    left = line_left(goods(), units)
    assert (left.farmer_minor, left.beneficiary_minor, left.fees_minor) == tuple(shares)


def test_a_gift_that_goes_back_leaves_the_goods_alone_whatever_went_before() -> None:
    before = PARTS.left(Returned(rest_minor=1000))
    after = PARTS.left(Returned(gift_minor=400, rest_minor=1000))
    assert after.lines == before.lines
    assert after.shipping_minor == before.shipping_minor
    assert after.gifts_minor == before.gifts_minor - 400


def test_the_rest_is_taken_from_goods_and_gifts_in_proportion() -> None:
    left = PARTS.left(Returned(rest_minor=862))
    total = PARTS.goods_minor + PARTS.gifts_minor
    assert total == 8623
    assert (PARTS.goods_minor - left.goods_minor, PARTS.gifts_minor - left.gifts_minor) == (779, 83)


def test_a_loss_is_ours_and_stands_with_the_goods_or_else_with_the_gifts() -> None:
    lost = Returned(rest_minor=8623 + 50)
    left = PARTS.left(lost)
    assert +PARTS.goods_accounts(left) == {}
    assert PARTS.goods_accounts(left)["platform/fees"] == -50
    assert not any(PARTS.gift_accounts(left).values())
    given_only = Parts(gifts=(gift(100),))
    left = given_only.left(Returned(rest_minor=150))
    assert given_only.gift_accounts(left)["platform/fees"] == -50
    assert not any(given_only.goods_accounts(left).values())


def test_who_pays_stripes_fee() -> None:
    made = Parts(
        (
            goods("A", 1, 3000, fee_payer="farmer"),
            goods("B", 1, 2000, fee_payer="beneficiary"),
            goods("C", 1, 1000),
        ),
        500,
        (gift(3500),),
        "beneficiary",
    )
    assert made.fee_accounts(1000) == {
        "farmer/frm_A": 300,
        "beneficiary/ben_B": 200,
        "stripe/fees": 150,
        "beneficiary/ben_G": 350,
    }
    assert sum(made.fee_accounts(7).values()) == 7
    assert PARTS.fee_accounts(233) == {"stripe/fees": 233}


def test_what_a_match_counts() -> None:
    left = PARTS.left(Returned({"A": 1}, 500))
    whole = PARTS.whole()
    assert PARTS.raised(whole, "gifts", None) == {"ben_G": 500, "ben_H": 333}
    assert PARTS.raised(whole, "shares", None) == {"ben_A": 897, "ben_B": 152}
    assert PARTS.raised(whole, "shares", frozenset({"B"})) == {"ben_B": 152}
    assert PARTS.raised(whole, "all", frozenset({"B"})) == {
        "ben_B": 152,
        "ben_G": 500,
        "ben_H": 333,
    }
    assert sum(PARTS.raised(left, "gifts", None).values()) == 333
    assert PARTS.raised(left, "shares", None) == {"ben_A": 448, "ben_B": 152}


def test_lines_are_split_as_they_are_sold() -> None:
    [first, second] = PARTS.whole().lines
    assert first == split(5980, 2, ShareRule(8000, 1500, 500))
    assert second == Shares(808, 152, 50)
    assert PARTS.whole().units == {"A": 2, "B": 1}
