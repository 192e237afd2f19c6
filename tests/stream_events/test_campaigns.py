"""What an operator settles for a campaign: bounds of gifts, causes, means of payment, seller and refund terms."""

from typing import Any

import httpx
import pytest

from stream_events.database import Database
from tests.factories import Sale, make_beneficiary


async def change(api: httpx.AsyncClient, sale: Sale, body: Any) -> httpx.Response:
    return await api.patch(
        f"/v1/campaigns/{sale.campaign_id}", json=body, headers=sale.auth("operator")
    )


async def put_causes(api: httpx.AsyncClient, sale: Sale, body: Any) -> httpx.Response:
    path = f"/v1/campaigns/{sale.campaign_id}/causes"
    return await api.put(path, json=body, headers=sale.auth("operator"))


async def test_a_campaign_begins_with_plain_terms_and_takes_what_is_named(
    api: httpx.AsyncClient, sale: Sale
) -> None:
    before = (await change(api, sale, {})).json()
    assert (before["gift_min_minor"], before["gift_max_minor"]) == (0, None)
    assert (before["gift_fee_payer"], before["payment_methods"]) == ("platform", ["card"])
    assert (before["seller"], before["refund_terms"], before["refund_terms_zh"]) == (None,) * 3
    wanted = {
        "gift_min_minor": 100,
        "gift_max_minor": 100,
        "gift_fee_payer": "beneficiary",
        "payment_methods": ["card", "alipay", "wechat_pay"],
        "seller": "Wang's farm\nZhengyang,  Henan",
        "refund_terms": "Within 7 days.",
        "refund_terms_zh": "七天无理由退货。",
        "goal_minor": 7,
    }
    after = await change(api, sale, wanted)
    assert after.status_code == 200, after.text
    assert after.json() == {**before, **wanted, "seller": "Wang's farm\nZhengyang, Henan"}
    kept = (await change(api, sale, {"goal_minor": 8, "seller": None})).json()
    assert kept == {**after.json(), "goal_minor": 8, "seller": None}
    path = f"/v1/campaigns/{sale.campaign_id}"
    assert (await api.get(path, headers=sale.auth("host"))).json() == kept


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"gift_min_minor": 5, "gift_max_minor": 4}, "gift_bounds"),
        ({"gift_min_minor": -1}, "invalid"),
        ({"gift_min_minor": None}, "invalid"),
        ({"gift_max_minor": 0}, "invalid"),
        ({"gift_max_minor": 100_000_000}, "invalid"),
        ({"gift_min_minor": 1.0}, "invalid"),
        ({"gift_fee_payer": "farmer"}, "invalid"),
        ({"payment_methods": []}, "invalid"),
        ({"payment_methods": ["card", "card"]}, "invalid"),
        ({"payment_methods": ["cash"]}, "invalid"),
        ({"payment_methods": None}, "invalid"),
        ({"seller": ""}, "invalid"),
        ({"seller": "a\u202eb"}, "invalid"),
        ({"refund_terms": "x" * 2001}, "invalid"),
        ({"currency": "USD"}, "invalid"),
        ({"mode": "live"}, "invalid"),
    ],
)
async def test_a_setting_nobody_can_mean_is_refused_and_changes_nothing(
    api: httpx.AsyncClient, sale: Sale, body: dict[str, Any], code: str
) -> None:
    before = (await change(api, sale, {})).json()
    answer = await change(api, sale, body)
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text
    assert (await change(api, sale, {})).json() == before


async def test_bounds_are_held_to_what_the_currency_can_charge(
    api: httpx.AsyncClient, sale: Sale
) -> None:
    made = await api.post(
        "/v1/campaigns", json={"name": "Gulf", "currency": "KWD"}, headers=sale.auth("operator")
    )
    path = f"/v1/campaigns/{made.json()['id']}"
    for amount_minor, status in ((1005, 422), (1000, 200)):
        bounds = {"gift_min_minor": amount_minor}
        answer = await api.patch(path, json=bounds, headers=sale.auth("operator"))
        assert answer.status_code == status, answer.text
        assert (answer.json().get("gift_min_minor") == 1000) == (status == 200)


async def test_causes_stand_in_the_order_given_and_are_replaced_as_a_whole(
    api: httpx.AsyncClient, sale: Sale, database: Database
) -> None:
    async with database.begin() as sql:
        school = (await make_beneficiary(sql, name="School", name_zh=None)).id
    public = f"/v1/campaigns/{sale.campaign_id}/causes"
    assert (await api.get(public)).json() == {"items": []}
    for ids in ([school, sale.beneficiary_id], [sale.beneficiary_id, school], [school], []):
        answer = await put_causes(api, sale, ids)
        assert answer.status_code == 200, answer.text
        assert [cause["id"] for cause in answer.json()["items"]] == ids
        assert (await api.get(public)).json() == answer.json()
    await put_causes(api, sale, [school])
    for bad, code in (
        ([school, school], "cause_twice"),
        (["ben_0"], "unknown_reference"),
        (["cmp_0"], "invalid"),
        ({"ids": []}, "invalid"),
        (["ben_0"] * 51, "invalid"),
    ):
        refused = await put_causes(api, sale, bad)
        assert (refused.status_code, refused.json()["code"]) == (422, code)
    assert (await api.get(public)).json()["items"] == [
        {"id": school, "name": "School", "name_zh": None}
    ]
