"""Products: one SKU, one thing, one farmer."""

import asyncio
from typing import Any

import httpx
import pytest

from stream_events.database import Database
from tests.factories import Sale, make_farmer, make_product


def product(sale: Sale, **changes: Any) -> dict[str, Any]:
    return {
        "farmer_id": sale.farmer_id,
        "sku": "CHESTNUT-1KG",
        "name": "Chestnuts",
        "unit": "1 kg box",
        **changes,
    }


async def test_a_sku_is_taken_once(api: httpx.AsyncClient, sale: Sale) -> None:
    operator = sale.auth("operator")
    answers = await asyncio.gather(
        *(api.post("/v1/products", json=product(sale), headers=operator) for _ in range(5))
    )
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 4
    made = next(answer.json() for answer in answers if answer.status_code == 201)
    assert (await api.get(f"/v1/products/{made['id']}", headers=operator)).json() == made
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {
        "sku_taken"
    }


async def test_a_farmer_sees_its_own_only(
    api: httpx.AsyncClient, sale: Sale, database: Database
) -> None:
    async with database.begin() as sql:
        other = await make_farmer(sql)
        await make_product(sql, other.id, sku="SAUCE-1")

    async def skus(role: str) -> set[str]:
        answer = await api.get("/v1/products", headers=sale.auth(role))
        return {item["sku"] for item in answer.json()["items"]}

    assert await skus("farmer") == {sale.sku}
    assert await skus("host") == await skus("operator") == {sale.sku, "SAUCE-1"}


@pytest.mark.parametrize(
    "change",
    [
        {"sku": "A"},
        {"sku": "a-1"},
        {"sku": "-A1"},
        {"sku": "A 1"},
        {"sku": "A1\n"},
        {"sku": "A" * 41},
        {"sku": "Ａ1"},
        {"sku": "A1:B"},
        {"sku": 11},
        {"sku": None},
        {"farmer_id": "frm_0"},
        {"farmer_id": "hst_1"},
        {"name": "a\u200bb"},
        {"unit": ""},
        {"unit_zh": "\u202e"},
        {"price_minor": 5},
        {"id": "prd_1"},
    ],
)
async def test_a_product_that_does_not_fit_is_refused(
    api: httpx.AsyncClient, sale: Sale, change: dict[str, Any]
) -> None:
    answer = await api.post(
        "/v1/products", json=product(sale, **change), headers=sale.auth("operator")
    )
    assert answer.status_code == 422, answer.text
    listed = await api.get("/v1/products", headers=sale.auth("operator"))
    assert len(listed.json()["items"]) == 1
