"""What a shopper is told of an order and a giver of a gift: parts, terms, and what became of late or doubled money."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest_asyncio
from redis.asyncio import Redis

import orders.giving_tables  # noqa: F401 - for the tables it declares, which every test empties
from inventory.offers import Catalogue
from orders import donation_routes, routes
from orders.checkout import Checkout
from orders.donations import Donations, Wish
from orders.gifts import GiftWish
from orders.ledger.seal import seal_once
from orders.messages import Words
from orders.payments.pace import Pace
from stream_events.access import Signer, new_shopper
from stream_events.database import Database
from stream_events.ids import new_id
from tests.applications import make_app
from tests.factories import Sale, bearer
from tests.orders.payers import Placed, add_attempt, place, run, settled


@pytest_asyncio.fixture(loop_scope="session")
async def desk(
    app_state: dict[str, Any], redis: Redis, sale: Sale
) -> AsyncIterator[httpx.AsyncClient]:
    state = {**app_state, "pace": Pace(redis, rate_per_s=20)}
    app = make_app([routes.router, donation_routes.router], state)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        yield client


async def see(
    desk: httpx.AsyncClient, signer: Signer, placed: Placed, what: str = "orders"
) -> dict[str, Any]:
    mine = bearer(signer.sign("shopper", placed.shopper_id))
    answer = await desk.get(f"/v1/{what}/{placed.order_id}", headers=mine)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def give(
    database: Database,
    sale: Sale,
    catalogue: Catalogue,
    checkout: Checkout,
    words: Words | None = None,
) -> Placed:
    """Give ¥10, and be asked to pay."""
    await run(
        database,
        "INSERT INTO campaign_causes VALUES (:c, :b, 1) ON CONFLICT DO NOTHING",
        c=sale.campaign_id,
        b=sale.beneficiary_id,
    )
    await catalogue.refresh()
    donations = Donations(database, catalogue, checkout)
    shopper_id = new_id("shp")
    wish = Wish(sale.stream_id, shopper_id, "key", GiftWish(1000, ()), words)
    made = await donations.give(wish)
    await donations.close()
    return Placed(sale, made.order_id, shopper_id, f"pi_{made.order_id}", 1, 1000)


async def go(database: Database, placed: Placed, *states: str) -> None:
    for state in states:
        await run(
            database,
            "UPDATE orders SET state = :state, pay_by = now() + interval '15 min' WHERE id = :id",
            state=state,
            id=placed.order_id,
        )


async def test_an_order_shows_its_parts_its_tax_and_the_sellers_terms(
    desk: httpx.AsyncClient, signer: Signer, database: Database, sale: Sale
) -> None:
    placed = await place(database, sale, quantity=2)
    plain = await see(desk, signer, placed)
    assert (plain["kind"], plain["gifts"], plain["shipping_minor"]) == ("goods", [], 0)
    assert (plain["seller"], plain["refund_terms"], plain["display"]) == (None, None, None)
    assert (plain["notice"], plain["refunded_minor"], plain["refund_pending_minor"]) == (None, 0, 0)
    await run(
        database,
        "UPDATE orders SET total_minor = total_minor + 1300, shipping_minor = 800",
        "INSERT INTO order_gifts VALUES (:o, 1, 'gift', :b, 400), (:o, 2, 'round_up', :b, 100)",
        "UPDATE offer_terms SET tax_bp = 900",
        "UPDATE campaigns SET seller = 'Wang', refund_terms = 'No.', refund_terms_zh = '不。'",
        "INSERT INTO order_messages (order_id, name) VALUES (:o, 'Li')",
        o=placed.order_id,
        b=sale.beneficiary_id,
    )
    found = await see(desk, signer, placed)
    cause = {
        "beneficiary_id": sale.beneficiary_id,
        "name": "Basketball gear",
        "name_zh": "篮球装备",
    }
    assert found["gifts"] == [
        {"kind": "gift", **cause, "amount_minor": 400},
        {"kind": "round_up", **cause, "amount_minor": 100},
    ]
    assert found["lines"] == [
        {
            "sku": sale.sku,
            "quantity": 2,
            "unit_minor": 2990,
            "amount_minor": 5980,
            "tax_minor": 494,
        }
    ]
    assert (found["shipping_minor"], found["total"]["amount_minor"]) == (800, 7280)
    assert (found["seller"], found["refund_terms"], found["refund_terms_zh"]) == (
        "Wang",
        "No.",
        "不。",
    )
    assert (found["display"], found["contact_given"]) == ("ANONYMOUS", False)
    assert "Li" not in str(found).replace("Lin", "")


async def test_late_money_is_told_whether_it_bought_the_units_or_goes_back(
    desk: httpx.AsyncClient, signer: Signer, database: Database, sale: Sale
) -> None:
    lucky = await place(database, sale, "EXPIRED", attempt="CANCELED")
    await settled(database, lucky.payment())
    found = await see(desk, signer, lucky)
    assert (found["state"], found["notice"]) == ("PAID", "late_paid_resold")
    await run(database, "UPDATE stock SET total = sold")
    late = await place_expired_without_stock(database, sale)
    await settled(database, late.payment())
    found = await see(desk, signer, late)
    assert (found["state"], found["notice"]) == ("REFUND_PENDING", "late_refund")
    assert (found["refund_pending_minor"], found["refunded_minor"]) == (2990, 0)
    await settled(database, late.refund("re_1"))
    found = await see(desk, signer, late)
    assert (found["notice"], found["refunded_minor"]) == ("late_refund", 2990)


async def place_expired_without_stock(database: Database, sale: Sale) -> Placed:
    """Write an order that expired, with a unit that was free for it and then taken away."""
    await run(database, "UPDATE stock SET total = total + 1")
    placed = await place(database, sale, "EXPIRED", attempt="CANCELED")
    await run(database, "UPDATE stock SET total = sold")
    return placed


async def test_a_second_payment_and_a_refund_are_told(
    desk: httpx.AsyncClient, signer: Signer, database: Database, sale: Sale
) -> None:
    placed = await place(database, sale)
    await settled(database, placed.payment())
    assert (await see(desk, signer, placed))["notice"] is None
    twice = placed.payment(
        payment_intent_id="pi_2", metadata={"order_id": placed.order_id, "attempt": "2"}
    )
    await add_attempt(database, placed, 2, "REQUIRES_ACTION", "pi_2")
    await settled(database, twice)
    found = await see(desk, signer, placed)
    assert (found["state"], found["notice"]) == ("PAID", "duplicate_refund")
    assert found["refund_pending_minor"] == 2990
    await settled(database, placed.refund("re_1", amount_minor=990))
    found = await see(desk, signer, placed)
    assert (found["state"], found["refunded_minor"]) == ("PART_REFUNDED", 990)
    await settled(database, placed.refund("re_2", status="failed", amount_minor=990))
    failed = await see(desk, signer, placed)
    assert failed["state"] in {"PART_REFUNDED", "REFUND_FAILED"}
    assert (failed["notice"] == "refund_failed") == (failed["state"] == "REFUND_FAILED")


async def test_a_gift_is_seen_in_words_of_giving_with_its_numbers_in_the_ledger(
    desk: httpx.AsyncClient,
    signer: Signer,
    database: Database,
    sale: Sale,
    sale_catalogue: Catalogue,
    checkout: Checkout,
) -> None:
    placed = await give(
        database, sale, sale_catalogue, checkout, Words("Li", None, None, show=True)
    )
    waiting = await place(database, sale, "RESERVED", attempt=None)
    found = await see(desk, signer, placed, "donations")
    assert (found["state"], found["amount"]) == (
        "PLEDGED",
        {"amount_minor": 1000, "currency": "CNY"},
    )
    assert [(c["beneficiary_id"], c["amount_minor"]) for c in found["causes"]] == [
        (sale.beneficiary_id, 1000)
    ]
    assert (found["display"], found["receipt"], found["ahead"]) == ("PENDING_REVIEW", [], 0)
    assert (await see(desk, signer, waiting))["ahead"] == 1, "gifts wait in the same queue"
    assert "Li" not in str(found).replace("Lin", "")
    await add_attempt(database, placed, 1, "REQUIRES_ACTION", placed.payment_intent_id)
    await go(database, placed, "AWAITING_PAYMENT")
    found = await see(desk, signer, placed, "donations")
    assert (found["state"], found["payment"]["status"]) == ("AWAITING", "requires_action")
    assert found["pay_by"] > found["server_time"]
    await settled(database, placed.payment())
    found = await see(desk, signer, placed, "donations")
    assert found["state"] == "SUCCEEDED"
    (entry,) = found["receipt"]
    assert (entry["kind"], entry["amount_minor"], entry["seq"]) == ("donation", 1000, None)
    async with database.begin() as sql:
        await seal_once(sql)
    await settled(database, placed.refund("re_1", amount_minor=300))
    found = await see(desk, signer, placed, "donations")
    assert (found["state"], found["refunded_minor"]) == ("PART_REFUNDED", 300)
    assert [(e["amount_minor"], e["seq"]) for e in found["receipt"]] == [(1000, 1), (-300, None)]


async def test_late_money_for_a_gift_is_taken_and_said_so(
    desk: httpx.AsyncClient,
    signer: Signer,
    database: Database,
    sale: Sale,
    sale_catalogue: Catalogue,
    checkout: Checkout,
) -> None:
    placed = await give(database, sale, sale_catalogue, checkout)
    await add_attempt(database, placed, 1, "CANCELED", placed.payment_intent_id)
    await go(database, placed, "AWAITING_PAYMENT", "EXPIRING", "EXPIRED")
    assert (await see(desk, signer, placed, "donations"))["state"] == "EXPIRED"
    await settled(database, placed.payment())
    found = await see(desk, signer, placed, "donations")
    assert (found["state"], found["notice"]) == ("SUCCEEDED", "late_paid")


async def test_a_gift_that_a_bank_took_back_is_lost_and_not_given_back(
    desk: httpx.AsyncClient,
    signer: Signer,
    database: Database,
    sale: Sale,
    sale_catalogue: Catalogue,
    checkout: Checkout,
) -> None:
    placed = await give(database, sale, sale_catalogue, checkout)
    await add_attempt(database, placed, 1, "REQUIRES_ACTION", placed.payment_intent_id)
    await go(database, placed, "AWAITING_PAYMENT")
    await settled(database, placed.payment())
    for status, state in (("needs_response", "DISPUTED"), ("lost", "LOST")):
        await settled(database, placed.dispute("dp_1", status))
        assert (await see(desk, signer, placed, "donations"))["state"] == state


async def test_nobody_elses_gift_exists_and_an_order_is_no_gift(
    desk: httpx.AsyncClient,
    signer: Signer,
    database: Database,
    sale: Sale,
    sale_catalogue: Catalogue,
    checkout: Checkout,
) -> None:
    gift = await give(database, sale, sale_catalogue, checkout)
    goods = await place(database, sale)
    _, stranger = new_shopper(signer)
    path = f"/v1/donations/{gift.order_id}"
    holder = bearer(signer.sign("order", gift.order_id))
    for address, headers, status in (
        (path, bearer(stranger), 404),
        (path, sale.auth("farmer"), 403),
        (path, {}, 401),
        (path, sale.auth("host"), 200),
        (path, sale.auth("operator"), 200),
        (path, holder, 200),
        (f"/v1/donations/{goods.order_id}", sale.auth("operator"), 404),
        ("/v1/donations/ord_0", sale.auth("operator"), 404),
        ("/v1/donations/x", sale.auth("operator"), 422),
    ):
        assert (await desk.get(address, headers=headers)).status_code == status, address
    shown = await see(desk, signer, gift)
    assert (shown["kind"], shown["lines"], shown["state"]) == ("gift", [], "RESERVED")
    mine = bearer(signer.sign("shopper", gift.shopper_id))
    listed = (await desk.get("/v1/orders", headers=mine)).json()["items"]
    assert [order["id"] for order in listed] == [gift.order_id]
    assert (await desk.get("/v1/orders", headers=bearer(stranger))).json()["items"] == []


async def test_a_lost_dispute_is_told(
    desk: httpx.AsyncClient, signer: Signer, database: Database, sale: Sale
) -> None:
    placed = await place(database, sale)
    await settled(database, placed.payment())
    await settled(database, placed.dispute("dp_1", "needs_response"))
    found = await see(desk, signer, placed)
    assert (found["state"], found["notice"]) == ("DISPUTED", None)
    await settled(database, placed.dispute("dp_1", "lost"))
    found = await see(desk, signer, placed)
    assert (found["state"], found["notice"]) == ("REFUNDED", "dispute_lost")
