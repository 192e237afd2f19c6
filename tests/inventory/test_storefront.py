"""The shop window: what a shopper decides by, cheap to ask for again, and closed to the public while it is a draft."""

from typing import Any

import httpx
import pytest
from sqlalchemy import text

from stream_events.database import Database
from tests.factories import Sale


def path(sale: Sale) -> str:
    return f"/v1/streams/{sale.stream_id}/storefront"


async def test_it_says_what_each_bag_gives_and_what_is_left(
    api: httpx.AsyncClient, sale: Sale, database: Database, catalogue: Any
) -> None:
    async with database.begin() as sql:
        await sql.execute(text("UPDATE stock SET reserved = 30, sold = 65"))
    await catalogue.refresh()
    answer = await api.get(path(sale))
    assert answer.headers["content-type"] == "application/json"
    front = answer.json()
    assert (front["id"], front["state"], front["currency"], front["mode"]) == (
        sale.stream_id,
        "live",
        "CNY",
        "sandbox",
    )
    assert front["host"]["id"] == sale.host_id
    assert front["campaign"]["id"] == sale.campaign_id
    (offer,) = front["offers"]
    assert (offer["price_minor"], offer["per_shopper_max"]) == (2990, 5)
    assert (offer["farmer_minor"], offer["beneficiary_minor"], offer["fees_minor"]) == (
        2392,
        449,
        149,
    )
    assert (offer["total"], offer["reserved"], offer["sold"], offer["left"]) == (100, 30, 65, 5)
    assert offer["stock_band"] == "low"
    assert offer["farmer"]["place"] == "Zhengyang"
    assert offer["beneficiary"]["id"] == sale.beneficiary_id


@pytest.mark.parametrize(
    ("sold", "band"), [(0, "plenty"), (89, "plenty"), (90, "low"), (99, "low"), (100, "gone")]
)
async def test_the_band_follows_the_stock(
    api: httpx.AsyncClient, sale: Sale, database: Database, catalogue: Any, sold: int, band: str
) -> None:
    async with database.begin() as sql:
        await sql.execute(text("UPDATE stock SET sold = :sold"), {"sold": sold})
    await catalogue.refresh()
    assert (await api.get(path(sale))).json()["offers"][0]["stock_band"] == band


async def test_an_unchanged_window_costs_no_body(
    api: httpx.AsyncClient, sale: Sale, database: Database, catalogue: Any
) -> None:
    await catalogue.refresh()
    first = await api.get(path(sale))
    etag = first.headers["etag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = await api.get(path(sale), headers={"if-none-match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert first.headers["cache-control"] == "public, max-age=1"
    async with database.begin() as sql:
        await sql.execute(text("UPDATE stock SET sold = 1"))
    await catalogue.refresh()
    changed = await api.get(path(sale), headers={"if-none-match": etag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != etag


async def test_a_draft_is_there_for_its_own_people_only(
    api: httpx.AsyncClient, sale: Sale, database: Database, catalogue: Any
) -> None:
    async with database.begin() as sql:
        await sql.execute(text("UPDATE streams SET state = 'draft'"))
    await catalogue.refresh()
    for role, status in {
        "public": 404,
        "shopper": 404,
        "farmer": 404,
        "overlay": 200,
        "host": 200,
        "operator": 200,
    }.items():
        answer = await api.get(path(sale), headers=sale.auth(role))
        assert answer.status_code == status, role
        if status == 200:
            assert answer.headers["cache-control"] == "private, no-cache"
    missing = await api.get("/v1/streams/str_0/storefront")
    assert missing.content == (await api.get(path(sale))).content
