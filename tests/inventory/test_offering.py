"""What is on sale and on which terms: never edited, never lost, and never sold through a gate that missed it."""

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select, text

from inventory.gate import Gate
from inventory.rebuild import tend_once
from inventory.tables import Offer, OfferTerms, Stock, StockMove, StreamGate
from stream_events.database import Database
from tests.factories import Sale, make_campaign, make_product, make_stream


def terms(sale: Sale, **changes: Any) -> dict[str, Any]:
    """Return the body that says the terms of the seeded offer, with changes."""
    return {
        "price_minor": 2990,
        "per_shopper_max": 5,
        "beneficiary_id": sale.beneficiary_id,
        "farmer_bp": 8000,
        "beneficiary_bp": 1500,
        "fees_bp": 500,
        **changes,
    }


def path(sale: Sale, sku: str | None = None) -> str:
    return f"/v1/streams/{sale.stream_id}/offers/{sku or sale.sku}"


async def _count(database: Database, table: Any) -> int:
    async with database.begin() as sql:
        return int((await sql.execute(select(func.count()).select_from(table))).scalar_one())


async def _second_product(database: Database, sale: Sale, sku: str = "SAUCE-1") -> str:
    async with database.begin() as sql:
        await make_product(sql, sale.farmer_id, sku=sku)
    return sku


async def test_a_new_offer_is_a_new_offer_once(
    api: httpx.AsyncClient, sale: Sale, database: Database
) -> None:
    sku = await _second_product(database, sale)
    body = terms(sale, total=50, opens_at="2026-11-26T20:00:00Z")
    answers = [
        await api.put(path(sale, sku), json=body, headers=sale.auth("host")) for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [201, 200]
    assert answers[0].json() == answers[1].json()
    offer = answers[0].json()
    assert {
        name: offer[name] for name in ("total", "reserved", "sold", "currency", "farmer_id")
    } == {
        "total": 50,
        "reserved": 0,
        "sold": 0,
        "currency": "CNY",
        "farmer_id": sale.farmer_id,
    }
    assert offer["opens_at"] == "2026-11-26T20:00:00.000Z"
    assert (await _count(database, Offer), await _count(database, OfferTerms)) == (2, 2)


async def test_changed_terms_are_a_new_row_and_the_old_one_stays(
    api: httpx.AsyncClient, sale: Sale, database: Database
) -> None:
    for change in ({"price_minor": 1990}, {"price_minor": 1990}, {"per_shopper_max": 3}, {}):
        answer = await api.put(path(sale), json=terms(sale, **change), headers=sale.auth("host"))
        assert answer.status_code == 200
    async with database.begin() as sql:
        rows = (await sql.execute(select(OfferTerms).order_by(OfferTerms.id))).scalars().all()
    assert [(row.price_minor, row.per_shopper_max) for row in rows] == [
        (2990, 5),
        (1990, 5),
        (2990, 3),
        (2990, 5),
    ]
    assert rows[0].id == sale.terms_id


async def test_the_catalogue_shows_a_change_at_once(
    api: httpx.AsyncClient, sale: Sale, catalogue: Any
) -> None:
    await api.put(path(sale), json=terms(sale, price_minor=100), headers=sale.auth("host"))
    assert catalogue.stream(sale.stream_id).offers[sale.sku].price_minor == 100


async def test_parallel_first_offers_make_one(
    api: httpx.AsyncClient, sale: Sale, database: Database
) -> None:
    sku = await _second_product(database, sale)
    answers = await asyncio.gather(
        *(
            api.put(path(sale, sku), json=terms(sale, total=9), headers=sale.auth("host"))
            for _ in range(6)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [201]
    assert await _count(database, Stock) == 2


async def test_a_new_offer_shuts_the_gate_until_it_is_installed_with_it(
    api: httpx.AsyncClient, sale: Sale, database: Database, redis: Any, redis_url: str
) -> None:
    sku = await _second_product(database, sale)
    gate = Gate(redis_url)
    try:
        assert await tend_once(database, gate) == 1
        before = await gate.facts(sale.stream_id)
        answer = await api.put(
            path(sale, sku), json=terms(sale, total=50), headers=sale.auth("host")
        )
        assert answer.status_code == 201
        async with database.begin() as sql:
            epochs = set((await sql.execute(select(Stock.gate_epoch))).scalars())
            in_force = (await sql.execute(select(StreamGate.epoch))).scalar_one()
        assert epochs == {in_force}
        assert in_force > before.epoch
        assert await tend_once(database, gate) == 1
        left, _, _ = await gate.left(sale.stream_id)
        assert left == {sale.sku: 100, sku: 50}
    finally:
        await gate.close()


async def test_the_first_offer_of_a_stream_brings_its_gate(
    api: httpx.AsyncClient, sale: Sale, database: Database
) -> None:
    async with database.begin() as sql:
        stream = await make_stream(sql, sale.campaign_id, sale.host_id, state="draft")
        clock_ms = int(
            (
                await sql.execute(text("SELECT extract(epoch FROM clock_timestamp()) * 1000"))
            ).scalar_one()
        )
    answer = await api.put(
        f"/v1/streams/{stream.id}/offers/{sale.sku}",
        json=terms(sale, total=5),
        headers=sale.auth("host"),
    )
    assert answer.status_code == 201
    async with database.begin() as sql:
        gate = (
            await sql.execute(select(StreamGate).where(StreamGate.stream_id == stream.id))
        ).scalar_one()
        stock = (await sql.execute(select(Stock).where(Stock.stream_id == stream.id))).scalar_one()
    assert stock.gate_epoch == gate.epoch
    assert clock_ms <= gate.epoch < clock_ms + 60_000


BAD_TERMS: dict[str, tuple[dict[str, Any], str]] = {
    "free": ({"price_minor": 0}, "invalid"),
    "negative": ({"price_minor": -1}, "invalid"),
    "fraction": ({"price_minor": 29.9}, "invalid"),
    "text": ({"price_minor": "2990"}, "invalid"),
    "true": ({"price_minor": True}, "invalid"),
    "too dear": ({"price_minor": 100_000_000}, "invalid"),
    "10^40": ({"price_minor": 10**40}, "invalid"),
    "no limit": ({"per_shopper_max": 0}, "invalid"),
    "huge limit": ({"per_shopper_max": 10_001}, "invalid"),
    "shares below the whole": ({"fees_bp": 499}, "shares_not_whole"),
    "shares above the whole": ({"fees_bp": 501}, "shares_not_whole"),
    "negative share": ({"farmer_bp": 10_500, "fees_bp": -2000}, "invalid"),
    "fixed above the price": ({"beneficiary_fixed_minor": 2991}, "fixed_share_too_large"),
    "negative fixed": ({"beneficiary_fixed_minor": -1}, "invalid"),
    "fixed shares above the price": (
        {"beneficiary_fixed_minor": 1495, "farmer_fixed_minor": 1496},
        "fixed_share_too_large",
    ),
    "floor above the price": ({"farmer_floor_minor": 2991}, "floor_too_large"),
    "negative cap": ({"beneficiary_cap_minor": -1}, "invalid"),
    "negative floor": ({"farmer_floor_minor": -1}, "invalid"),
    "fee payer unknown": ({"fee_payer": "shopper"}, "invalid"),
    "tax beyond the whole": ({"tax_bp": 10_001}, "invalid"),
    "no such beneficiary": ({"beneficiary_id": "ben_0"}, "unknown_reference"),
    "NUL in an id": ({"beneficiary_id": "ben_\x00"}, "invalid"),
    "farmer sent": ({"farmer_id": "frm_0"}, "invalid"),
    "currency sent": ({"currency": "USD"}, "invalid"),
    "sold sent": ({"sold": 0}, "invalid"),
    "no units": ({"total": 0}, "invalid"),
    "too many units": ({"total": 10_000_001}, "invalid"),
}


@pytest.mark.parametrize(("change", "code"), BAD_TERMS.values(), ids=BAD_TERMS)
async def test_terms_that_do_not_add_up_are_refused_and_change_nothing(
    api: httpx.AsyncClient, sale: Sale, database: Database, change: dict[str, Any], code: str
) -> None:
    answer = await api.put(path(sale), json=terms(sale, **change), headers=sale.auth("operator"))
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text
    assert await _count(database, OfferTerms) == 1


@pytest.mark.parametrize(
    ("currency", "price_minor", "code"),
    [
        ("KWD", 1005, "amount_not_chargeable"),
        ("KWD", 1000, None),
        ("MGA", 150, "amount_not_chargeable"),
        ("ISK", 1_000_000, "amount_out_of_bounds"),
        ("JPY", 1, None),
    ],
)
async def test_a_price_must_be_one_that_can_be_charged(
    api: httpx.AsyncClient,
    sale: Sale,
    database: Database,
    currency: str,
    price_minor: int,
    code: str | None,
) -> None:
    async with database.begin() as sql:
        campaign = await make_campaign(sql, currency=currency)
        stream = await make_stream(sql, campaign.id, sale.host_id, state="draft")
    answer = await api.put(
        f"/v1/streams/{stream.id}/offers/{sale.sku}",
        json=terms(sale, price_minor=price_minor, total=5),
        headers=sale.auth("operator"),
    )
    assert answer.json().get("code") == code, answer.text
    assert answer.status_code == (422 if code else 201)


async def test_offers_that_cannot_be_are_refused(
    api: httpx.AsyncClient, sale: Sale, database: Database
) -> None:
    host = sale.auth("host")
    sku = await _second_product(database, sale)
    assert (await api.put(path(sale, sku), json=terms(sale), headers=host)).json()[
        "code"
    ] == "total_missing"
    differs = await api.put(path(sale), json=terms(sale, total=101), headers=host)
    assert (differs.status_code, differs.json()["code"], differs.json()["total"]) == (
        409,
        "total_differs",
        100,
    )
    unknown = await api.put(path(sale, "NOT-THERE"), json=terms(sale, total=1), headers=host)
    assert unknown.status_code == 404
    for bad in ("lower", "-A", "A", "A" * 41, "A%00", "Ａ-1", "A_B"):
        answer = await api.put(path(sale, bad), json=terms(sale, total=1), headers=host)
        assert answer.status_code in {404, 422}, bad
    assert await _count(database, Offer) == 1


@pytest.mark.parametrize("state", ["ended", "settled"])
async def test_nothing_changes_on_sale_after_the_end(
    api: httpx.AsyncClient, sale: Sale, database: Database, state: str
) -> None:
    async with database.begin() as sql:
        await sql.execute(text("UPDATE streams SET state = :state"), {"state": state})
    for call in (
        api.put(path(sale), json=terms(sale, price_minor=1), headers=sale.auth("host")),
        api.post(path(sale) + "/stock", json={"add": 1}, headers=sale.auth("host")),
    ):
        answer = await call
        assert (answer.status_code, answer.json()["code"], answer.json()["state"]) == (
            409,
            "illegal_state",
            state,
        )


# --- stock ------------------------------------------------------------------------------------------------------


async def _hold(database: Database, reserved: int, sold: int) -> None:
    async with database.begin() as sql:
        await sql.execute(
            text("UPDATE stock SET reserved = :reserved, sold = :sold"),
            {"reserved": reserved, "sold": sold},
        )


async def test_units_are_added_and_taken_off_but_never_below_what_is_promised(
    api: httpx.AsyncClient, sale: Sale, database: Database
) -> None:
    await _hold(database, 30, 50)

    async def change(add: int) -> httpx.Response:
        return await api.post(path(sale) + "/stock", json={"add": add}, headers=sale.auth("host"))

    assert (await change(200)).json() == {
        "sku": sale.sku,
        "total": 300,
        "reserved": 30,
        "sold": 50,
        "left": 220,
    }
    assert (await change(-220)).json()["left"] == 0
    refused = await change(-1)
    assert (refused.status_code, refused.json()["code"]) == (409, "below_sold")
    async with database.begin() as sql:
        moves = (
            await sql.execute(
                select(StockMove.quantity, StockMove.rel_seq).order_by(StockMove.rel_seq)
            )
        ).all()
    assert [tuple(move) for move in moves] == [(200, 1), (-220, 2)]


async def test_a_repeated_request_with_its_total_adds_once(
    api: httpx.AsyncClient, sale: Sale
) -> None:
    body = {"add": 10, "total_before": 100}
    answers = await asyncio.gather(
        *(api.post(path(sale) + "/stock", json=body, headers=sale.auth("host")) for _ in range(5))
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 4
    assert {answer.json()["total"] for answer in answers} == {110}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"add": 0},
        {"add": 1.5},
        {"add": 1.0},
        {"add": "1"},
        {"add": True},
        {"add": None},
        {"add": 2**31},
        {"add": 10**40},
        {"add": 1, "total": 5},
        {"add": 1, "total_before": -1},
        [1],
    ],
)
async def test_a_change_of_stock_that_makes_no_sense_changes_nothing(
    api: httpx.AsyncClient, sale: Sale, database: Database, body: Any
) -> None:
    answer = await api.post(path(sale) + "/stock", json=body, headers=sale.auth("host"))
    assert answer.status_code == 422
    assert await _count(database, StockMove) == 0


async def test_the_sum_of_many_additions_stays_in_bounds(
    api: httpx.AsyncClient, sale: Sale
) -> None:
    answer = await api.post(
        path(sale) + "/stock", json={"add": 10_000_000}, headers=sale.auth("host")
    )
    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_units")
    unknown = await api.post(
        path(sale, "NOT-THERE") + "/stock", json={"add": 1}, headers=sale.auth("host")
    )
    assert unknown.status_code == 404


async def test_an_offer_locked_by_another_for_too_long_is_a_503(
    api: httpx.AsyncClient, sale: Sale, database: Database
) -> None:
    async with database.begin() as sql:
        await sql.execute(text("SELECT 1 FROM stock FOR UPDATE"))
        answer = await api.post(path(sale) + "/stock", json={"add": 1}, headers=sale.auth("host"))
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert answer.json()["retry_after_ms"] >= 500


async def test_whoever_changes_a_price_reads_the_other_terms_and_keeps_them(
    api: httpx.AsyncClient, sale: Sale, database: Database
) -> None:
    sku = await _second_product(database, sale)
    headers = sale.auth("host")
    body = terms(sale, fee_payer="farmer", tax_bp=900, farmer_floor_minor=100, total=7)
    assert (await api.put(path(sale, sku), json=body, headers=headers)).status_code == 201
    listed = f"/v1/streams/{sale.stream_id}/offers"
    both = (await api.get(listed, headers=headers)).json()
    assert [offer["sku"] for offer in both["items"]] == sorted([sku, sale.sku])
    assert both["next"] is None
    before = next(offer for offer in both["items"] if offer["sku"] == sku)
    assert before["total"] == 7
    again = {name: before[name] for name in body if name != "total"} | {"price_minor": 1990}
    assert (await api.put(path(sale, sku), json=again, headers=headers)).status_code == 200
    after = (await api.get(listed, headers=headers)).json()["items"]
    changed = next(offer for offer in after if offer["sku"] == sku)
    one_unit = {"farmer_minor": 1592, "beneficiary_minor": 299, "fees_minor": 99}
    assert changed == before | {"price_minor": 1990, "one_unit": one_unit}
