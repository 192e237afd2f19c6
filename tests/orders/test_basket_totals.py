"""Totals by chance: whatever is bought, sent and given, the parts sum to what is charged."""

import time
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from inventory.offers import CauseView, OfferView, StreamSettings, StreamView
from inventory.shipping import read_rule
from orders.baskets import Baskets, Extras
from orders.gifts import GiftWish
from stream_events.errors import Problem
from stream_events.split import ShareRule


def _offer(n: int, price_minor: int, beneficiary: int) -> OfferView:
    return OfferView(
        sku=f"SKU-{n}",
        stock_id=n,
        terms_id=n,
        price_minor=price_minor,
        per_shopper_max=100,
        rule=ShareRule(8000, 1500, 500),
        tax_bp=900,
        opens_at=None,
        total=100,
        reserved=0,
        sold=0,
        name="x",
        name_zh=None,
        unit="x",
        unit_zh=None,
        weight_g=700,
        farmer_id="frm_1",
        farmer_name="x",
        farmer_name_zh=None,
        place="x",
        beneficiary_id=f"ben_{beneficiary}",
        beneficiary_name="x",
        beneficiary_name_zh=None,
    )


def _stream(prices: list[tuple[int, int]], shipping: dict[str, object]) -> StreamView:
    settings = StreamSettings(
        shipping=shipping,
        seller=None,
        refund_terms=None,
        refund_terms_zh=None,
        payment_methods=("card",),
        gift_min_minor=0,
        gift_max_minor=None,
        causes=tuple(CauseView(f"ben_{n}", "x", None) for n in range(3)),
        matches=(),
    )
    offers = {f"SKU-{n}": _offer(n, price, who) for n, (price, who) in enumerate(prices)}
    plain: dict[str, Any] = dict.fromkeys(
        ("campaign_name_zh", "title_zh", "opens_at", "live_at", "ended_at")
    )
    return StreamView(
        id="str_1",
        campaign_id="cmp_1",
        campaign_name="x",
        host_id="hst_1",
        host_name="x",
        title="x",
        state="live",
        currency="CNY",
        mode="sandbox",
        goal_minor=0,
        epoch=time.time_ns(),
        rel_seq=0,
        settings=settings,
        shipping=read_rule(shipping),
        offers=offers,
        **plain,
    )


SHIPPING = st.one_of(
    st.just({"type": "free"}),
    st.builds(
        lambda cost, free: {"type": "flat", "amount_minor": cost, "free_from_minor": free},
        st.integers(0, 10_000),
        st.one_of(st.none(), st.integers(1, 50_000)),
    ),
    st.builds(
        lambda light, heavy: {
            "type": "by_weight",
            "classes": [
                {"up_to_g": 2000, "amount_minor": light},
                {"up_to_g": 10_000_000, "amount_minor": heavy},
            ],
        },
        st.integers(0, 10_000),
        st.integers(0, 10_000),
    ),
)
SHARES = st.sampled_from([(), (("ben_0", 10_000),), (("ben_2", 3333), ("ben_1", 6667))])


@given(
    st.lists(st.tuples(st.integers(1, 100_000), st.integers(0, 4)), min_size=1, max_size=5),
    st.lists(st.integers(1, 9), min_size=1, max_size=5),
    SHIPPING,
    st.one_of(st.none(), st.builds(GiftWish, st.integers(1, 200_000), SHARES)),
    st.integers(0, 200_000),
    st.integers(0, 20_000),
)
def test_lines_gifts_and_shipping_are_the_total_to_the_last_minor_unit(
    prices: list[tuple[int, int]],
    quantities: list[int],
    shipping: dict[str, object],
    gift: GiftWish | None,
    extra_minor: int,
    round_up_to_minor: int,
) -> None:
    stream, baskets = _stream(prices, shipping), Baskets()
    lines = tuple((f"SKU-{n}", q) for n, q in enumerate(quantities[: len(prices)]))
    plain = baskets.quote(stream, baskets.basket(lines, None))
    extras = Extras(gift, extra_minor, round_up_to_minor)
    try:
        quote = baskets.quote(stream, baskets.basket(lines, extras))
    except Problem as problem:
        assert problem.code == "total_too_large"  # noqa: PT017 - the one refusal there can be
        return
    goods = sum(prices[int(sku[4:])][0] * quantity for sku, quantity in lines)
    given = sum(part.amount_minor for part in quote.gifts)
    assert quote.total_minor == goods + quote.shipping_minor + given
    assert plain.total_minor == goods + quote.shipping_minor
    assert plain.gifts == ()
    assert quote.lines == plain.lines
    assert all(part.amount_minor > 0 for part in quote.gifts)
    by_kind = dict.fromkeys(("gift", "extra", "round_up"), 0)
    for part in quote.gifts:
        by_kind[part.kind] += part.amount_minor
    assert by_kind["gift"] == (gift.amount_minor if gift else 0)
    assert by_kind["extra"] == extra_minor
    if round_up_to_minor:
        assert quote.total_minor % round_up_to_minor == 0
        assert by_kind["round_up"] < round_up_to_minor
    else:
        assert by_kind["round_up"] == 0
    mine = {prices[int(sku[4:])][1] for sku, _ in lines}
    assert {part.beneficiary_id for part in quote.gifts if part.kind == "extra"} <= {
        f"ben_{n}" for n in mine
    }
