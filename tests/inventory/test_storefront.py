"""The shop window: what a shopper decides by, cheap to ask for again, and closed to the public while it is a draft."""

from typing import Any

import httpx
import pytest
from sqlalchemy import text

from stream_events.database import Database
from tests.factories import Sale, make_stream


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


async def test_it_says_who_sells_how_it_is_sent_taxed_and_taken_back(
    api: httpx.AsyncClient, sale: Sale, database: Database, catalogue: Any
) -> None:
    await catalogue.refresh()
    plain = (await api.get(path(sale))).json()
    assert (plain["seller"], plain["refund_terms"], plain["gifts"], plain["matches"]) == (
        None,
        None,
        None,
        [],
    )
    assert plain["payment_methods"] == ["card"]
    assert plain["shipping"] == {
        "rule": {"type": "free"},
        "words": "Shipping is free.",
        "words_zh": "免运费。",
    }
    rule = '{"type": "flat", "amount_minor": 800, "free_from_minor": 9900}'
    async with database.begin() as sql:
        for statement in (
            f"UPDATE streams SET shipping = $${rule}$$",
            (
                "UPDATE campaigns SET seller = 'Wang', refund_terms = 'No.', refund_terms_zh = '不。',"
                " payment_methods = '{card,alipay}'"
            ),
            "UPDATE offer_terms SET tax_bp = 900",
            "UPDATE products SET weight_g = 5100",
        ):
            await sql.execute(text(statement.replace(":", r"\:")))
    await catalogue.refresh()
    front = (await api.get(path(sale))).json()
    assert (front["seller"], front["refund_terms"], front["refund_terms_zh"]) == (
        "Wang",
        "No.",
        "不。",
    )
    assert front["payment_methods"] == ["card", "alipay"]
    assert front["shipping"]["rule"] == {
        "type": "flat",
        "amount_minor": 800,
        "free_from_minor": 9900,
    }
    assert front["shipping"]["words"] == ("Shipping costs 8.00 CNY an order; free from 99.00 CNY.")
    (offer,) = front["offers"]
    assert (offer["tax_bp"], offer["tax_minor"], offer["weight_g"]) == (900, 247, 5100)
    assert offer["share_text"] == (
        "Of 29.90 CNY: 23.92 to Wang's farm, 4.49 to Basketball gear, 1.49 to costs."
    )
    assert offer["share_text_zh"] == (
        "29.90 CNY 中：王家农场 23.92，篮球装备 4.49，平台成本 1.49。"
    )


async def test_who_gets_nothing_of_the_price_is_not_named(
    api: httpx.AsyncClient, sale: Sale, database: Database, catalogue: Any
) -> None:
    async with database.begin() as sql:
        await sql.execute(
            text("UPDATE offer_terms SET farmer_bp = 0, beneficiary_bp = 10000, fees_bp = 0")
        )
    await catalogue.refresh()
    (offer,) = (await api.get(path(sale))).json()["offers"]
    assert offer["share_text"] == "Of 29.90 CNY: 29.90 to Basketball gear."


async def test_it_says_what_may_be_given_and_who_gives_along(
    api: httpx.AsyncClient, sale: Sale, database: Database, catalogue: Any
) -> None:
    async with database.begin() as sql:
        cause = "INSERT INTO campaign_causes VALUES (:campaign, :beneficiary, 1)"
        given = {"campaign": sale.campaign_id, "beneficiary": sale.beneficiary_id}
        await sql.execute(text(cause), given)
        other = (await make_stream(sql, sale.campaign_id, sale.host_id)).id
    await catalogue.refresh()
    front = (await api.get(path(sale))).json()
    assert front["gifts"] == {
        "min_minor": 1,
        "max_minor": 99_999_999,
        "causes": [{"id": sale.beneficiary_id, "name": "Basketball gear", "name_zh": "篮球装备"}],
    }
    matches = (
        "INSERT INTO matches (id, campaign_id, stream_id, sponsor, covers, ratio_bp, pot_minor, spent_minor,"
        " position, starts_at, ends_at) VALUES (:id, :campaign, :stream, 'ACME', 'gifts', 10000, 500, 120,"
        " :position, now() + :starts * interval '1 h', now() + :ends * interval '1 h')"
    )
    rows = (
        ("mch_second", None, 2, -1, 1),
        ("mch_first", sale.stream_id, 1, -1, None),
        ("mch_other", other, 1, -1, 1),
        ("mch_past", None, 1, -2, -1),
        ("mch_later", None, 1, 1, 2),
    )
    async with database.begin() as sql:
        bounds = "UPDATE campaigns SET gift_min_minor = 100, gift_max_minor = 5000"
        await sql.execute(text(bounds))
        for match_id, stream, position, starts, ends in rows:
            named = {"id": match_id, "stream": stream, "position": position}
            window = {"starts": starts, "ends": ends, "campaign": sale.campaign_id}
            await sql.execute(text(matches), {**named, **window})
    await catalogue.refresh()
    front = (await api.get(path(sale))).json()
    assert (front["gifts"]["min_minor"], front["gifts"]["max_minor"]) == (100, 5000)
    assert [match["id"] for match in front["matches"]] == ["mch_first", "mch_second"]
    first = front["matches"][0]
    assert (first["pot_minor"], first["left_minor"], first["ends_at"]) == (500, 380, None)
    assert first["starts_at"].endswith("Z")


async def test_a_settled_stream_is_there_to_be_read(
    api: httpx.AsyncClient, sale: Sale, database: Database, catalogue: Any
) -> None:
    """Whoever still has the page open sees what was sold; a stream that never was stays unknown."""
    async with database.begin() as sql:
        await sql.execute(text("UPDATE stock SET sold = 60"))
        await sql.execute(text("UPDATE streams SET state = 'settled', ended_at = now()"))
    await catalogue.refresh()
    assert catalogue.streams() == []
    answer = await api.get(path(sale))
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "public, max-age=1")
    assert (answer.json()["state"], answer.json()["offers"][0]["sold"]) == ("settled", 60)
    again = await api.get(path(sale), headers={"if-none-match": answer.headers["etag"]})
    assert again.status_code == 304
    assert (await api.get("/v1/streams/str_0/storefront")).status_code == 404


async def test_a_settled_stream_costs_no_query_for_each_who_looks(
    api: httpx.AsyncClient, sale: Sale, database: Database, catalogue: Any
) -> None:
    async with database.begin() as sql:
        await sql.execute(text("UPDATE streams SET state = 'settled'"))
    await catalogue.refresh()
    first = (await api.get(path(sale))).json()
    async with database.begin() as sql:
        await sql.execute(text("UPDATE streams SET title = 'Read anew'"))
    assert (await api.get(path(sale))).json() == first
    catalogue.settled_windows.clear()
    assert (await api.get(path(sale))).json()["title"] == "Read anew"


async def test_keys_of_a_settled_stream_can_still_be_made_and_taken_away(
    api: httpx.AsyncClient, sale: Sale, database: Database
) -> None:
    """Its overlays may still be on air, and a leaked key must be revocable for ever."""
    async with database.begin() as sql:
        await sql.execute(text("UPDATE streams SET state = 'settled'"))
    host = {"headers": sale.auth("host")}
    wanted = {"role": "overlay", "name": "Scene", "stream_id": sale.stream_id}
    made = await api.post("/v1/principals", json=wanted, **host)
    assert made.status_code == 201
    address = f"/v1/principals/{made.json()['id']}/keys"
    assert (await api.post(address, json={"retire_old_after_s": 60}, **host)).status_code == 201
    assert (await api.delete(address, **host)).status_code == 204
    listed = await api.get(f"/v1/principals?stream_id={sale.stream_id}", **host)
    assert made.json()["id"] in {each["id"] for each in listed.json()["items"]}
    assert (await api.get(f"/v1/streams/{sale.stream_id}", **host)).status_code == 200
