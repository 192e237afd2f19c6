"""What sending costs, by every rule, in figures and in words; and the route that sets it."""

from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from inventory.offers import Catalogue
from inventory.shipping import ShippingByWeight, TooHeavyError, WeightClass, read_rule
from inventory.tax import tax_part
from stream_events.database import Database
from tests.factories import Sale

FLAT = {"type": "flat", "amount_minor": 800, "free_from_minor": 9900}
BY_WEIGHT = {
    "type": "by_weight",
    "classes": [
        {"up_to_g": 5000, "amount_minor": 800},
        {"up_to_g": 20500, "amount_minor": 1800},
    ],
    "free_from_minor": None,
}


@pytest.mark.parametrize(
    ("rule", "goods_minor", "weight_g", "cost"),
    [
        ({"type": "free"}, 1, 10**9, 0),
        (FLAT, 9899, 0, 800),
        (FLAT, 9900, 0, 0),
        ({"type": "flat", "amount_minor": 0}, 1, 0, 0),
        (BY_WEIGHT, 1, 0, 800),
        (BY_WEIGHT, 1, 5000, 800),
        (BY_WEIGHT, 1, 5001, 1800),
        (BY_WEIGHT, 10**6, 20500, 1800),
        ({**BY_WEIGHT, "free_from_minor": 5}, 5, 20500, 0),
        ({**BY_WEIGHT, "free_from_minor": 5}, 4, 20500, 1800),
    ],
)
def test_what_it_costs(rule: dict[str, Any], goods_minor: int, weight_g: int, cost: int) -> None:
    assert read_rule(rule).cost(goods_minor, weight_g) == cost


def test_what_no_class_takes_is_refused_however_much_it_costs() -> None:
    for goods_minor in (1, 10**6):
        with pytest.raises(TooHeavyError) as refusal:
            read_rule({**BY_WEIGHT, "free_from_minor": 5}).cost(goods_minor, 20501)
        assert refusal.value.weight_g_max == 20500


def test_it_can_be_said_in_words() -> None:
    assert read_rule({"type": "free"}).in_words("CNY") == ("Shipping is free.", "免运费。")
    english, chinese = read_rule(FLAT).in_words("CNY")
    assert english == "Shipping costs 8.00 CNY an order; free from 99.00 CNY."
    assert chinese == "每单运费 8.00 CNY；满 99.00 CNY 免运费。"
    english, chinese = read_rule(BY_WEIGHT).in_words("JPY")
    assert english == "Shipping costs by weight: 800 JPY up to 5 kg, 1800 JPY up to 20500 g."
    assert chinese == "按重量计运费：5 kg以内 800 JPY，20500 g以内 1800 JPY。"


@given(
    st.lists(st.tuples(st.integers(1, 10**6), st.integers(0, 10**6)), min_size=1, max_size=9),
    st.integers(0, 10**6),
)
def test_the_lightest_class_that_fits_counts(classes: list[tuple[int, int]], weight_g: int) -> None:
    steps = dict(sorted(classes))
    rule = ShippingByWeight(
        type="by_weight",
        classes=[WeightClass(up_to_g=bound, amount_minor=cost) for bound, cost in steps.items()],
    )
    fitting = [cost for bound, cost in steps.items() if weight_g <= bound]
    if fitting:
        assert rule.cost(1, weight_g) == fitting[0]
    else:
        with pytest.raises(TooHeavyError):
            rule.cost(1, weight_g)


@pytest.mark.parametrize(
    ("amount_minor", "tax_bp", "tax_minor"),
    [
        (2990, 0, 0),
        (10900, 900, 900),
        (11300, 1300, 1300),
        (2990, 900, 247),  # 246.88
        (3, 10_000, 2),  # 1.5 goes up
        (1, 10_000, 1),  # 0.5 goes up
        (1, 9_999, 0),  # 0.49998
    ],
)
def test_the_tax_within_a_price(amount_minor: int, tax_bp: int, tax_minor: int) -> None:
    assert tax_part(amount_minor, tax_bp) == tax_minor


@given(st.integers(0, 10**9), st.integers(0, 10_000))
def test_the_tax_is_the_nearest_whole_number(amount_minor: int, tax_bp: int) -> None:
    """Twice the error, in units of the divisor, is at most the divisor: no float needed to say so."""
    gross_bp = 10_000 + tax_bp
    error = tax_part(amount_minor, tax_bp) * gross_bp - amount_minor * tax_bp
    assert -gross_bp < 2 * error <= gross_bp


async def test_a_rule_is_set_seen_at_once_and_stored_as_sent(
    api: httpx.AsyncClient, sale: Sale, catalogue: Catalogue
) -> None:
    path = f"/v1/streams/{sale.stream_id}/shipping"
    await catalogue.refresh()
    assert catalogue.stream(sale.stream_id).shipping == read_rule({"type": "free"})
    for rule in (FLAT, BY_WEIGHT, {"type": "free"}):
        answer = await api.put(path, json=rule, headers=sale.auth("host"))
        assert (answer.status_code, answer.json()) == (200, rule), answer.text
        assert catalogue.stream(sale.stream_id).shipping == read_rule(rule)


@pytest.mark.parametrize(
    "rule",
    [
        {},
        [],
        {"type": "gift"},
        {"type": "free", "amount_minor": 1},
        {"type": "flat"},
        {"type": "flat", "amount_minor": -1},
        {"type": "flat", "amount_minor": 1.0},
        {"type": "flat", "amount_minor": 100_000_000},
        {"type": "flat", "amount_minor": 1, "free_from_minor": 0},
        {"type": "by_weight", "classes": []},
        {"type": "by_weight", "classes": [{"up_to_g": 0, "amount_minor": 1}]},
        {"type": "by_weight", "classes": [{"up_to_g": 5, "amount_minor": 1}] * 2},
        {
            "type": "by_weight",
            "classes": [{"up_to_g": 9, "amount_minor": 1}, {"up_to_g": 8, "amount_minor": 2}],
        },
        {
            "type": "by_weight",
            "classes": [{"up_to_g": n, "amount_minor": 1} for n in range(1, 22)],
        },
    ],
)
async def test_a_rule_that_is_none_is_refused(
    api: httpx.AsyncClient, sale: Sale, rule: Any
) -> None:
    path = f"/v1/streams/{sale.stream_id}/shipping"
    answer = await api.put(path, json=rule, headers=sale.auth("host"))
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


async def test_what_cannot_be_charged_and_what_is_settled_is_refused(
    api: httpx.AsyncClient, sale: Sale, database: Database
) -> None:
    path = f"/v1/streams/{sale.stream_id}/shipping"
    async with database.begin() as sql:
        await sql.execute(text("UPDATE campaigns SET currency = 'KWD'"))
    odd = await api.put(path, json={**FLAT, "amount_minor": 805}, headers=sale.auth("host"))
    assert (odd.status_code, odd.json()["code"]) == (422, "amount_not_chargeable")
    async with database.begin() as sql:
        await sql.execute(text("UPDATE streams SET state = 'settled'"))
    late = await api.put(path, json=FLAT, headers=sale.auth("host"))
    assert (late.status_code, late.json()["code"]) == (409, "illegal_state")
