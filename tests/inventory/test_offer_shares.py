"""Who gets what of a unit: said in an offer's terms, kept, shown, and to be tried out before."""

from typing import Any

import httpx
import pytest

from inventory.schemas import OfferTermsBody
from inventory.tables import OfferTerms
from stream_events.database import Database
from stream_events.split import ShareRule
from tests.factories import Sale
from tests.inventory.test_offering import _count, path, terms

BOUNDED = {
    "farmer_bp": 0,
    "beneficiary_bp": 9500,
    "farmer_fixed_minor": 2000,
    "beneficiary_cap_minor": 800,
    "farmer_floor_minor": 2300,
    "fee_payer": "beneficiary",
    "tax_bp": 900,
}


async def test_every_term_is_kept_and_one_unit_is_split_by_it(
    api: httpx.AsyncClient, sale: Sale, database: Database, catalogue: Any
) -> None:
    answer = await api.put(path(sale), json=terms(sale, **BOUNDED), headers=sale.auth("host"))
    assert answer.status_code == 200
    assert {name: answer.json()[name] for name in BOUNDED} == BOUNDED
    # 990 above the farmer's cost: 941 and 49, the cap takes 141, the floor another 159.
    split = {"farmer_minor": 2300, "beneficiary_minor": 641, "fees_minor": 49}
    assert answer.json()["one_unit"] == split
    seen = catalogue.stream(sale.stream_id).offers[sale.sku]
    assert (seen.rule, seen.tax_bp) == (ShareRule(0, 9500, 500, None, 2000, 800, 2300), 900)
    storefront = await api.get(f"/v1/streams/{sale.stream_id}/storefront")
    assert {name: storefront.json()["offers"][0][name] for name in split} == split
    for name in BOUNDED.keys() - {"farmer_bp", "beneficiary_bp"}:
        without = {**BOUNDED, name: OfferTermsBody.model_fields[name].default}
        changed = await api.put(path(sale), json=terms(sale, **without), headers=sale.auth("host"))
        assert changed.status_code == 200, changed.text
    assert await _count(database, OfferTerms) == 2 + 5


@pytest.mark.parametrize("role", ["operator", "host"])
async def test_a_split_can_be_tried_out(
    api: httpx.AsyncClient, sale: Sale, database: Database, role: str
) -> None:
    shares = {name: value for name, value in BOUNDED.items() if name not in ("fee_payer", "tax_bp")}
    body = {**shares, "fees_bp": 500, "price_minor": 2990, "units": 3}
    answer = await api.post("/v1/splits/preview", json=body, headers=sale.auth(role))
    assert answer.status_code == 200, answer.text
    assert answer.json() == {
        "price_minor": 2990,
        "units": 3,
        "amount_minor": 8970,
        "one_unit": {"farmer_minor": 2300, "beneficiary_minor": 641, "fees_minor": 49},
        "line": {"farmer_minor": 6900, "beneficiary_minor": 1922, "fees_minor": 148},
    }
    for change, code in (
        ({"fees_bp": 501}, "shares_not_whole"),
        ({"farmer_fixed_minor": 2991}, "fixed_share_too_large"),
        ({"farmer_floor_minor": 2991}, "floor_too_large"),
        ({"units": 0}, "invalid"),
    ):
        refused = await api.post(
            "/v1/splits/preview", json={**body, **change}, headers=sale.auth(role)
        )
        assert (refused.status_code, refused.json()["code"]) == (422, code)
    assert await _count(database, OfferTerms) == 1
