"""A day of real money through settlement: gifts, a match, a pledge, fees, refunds and disputes, and one set of answers."""

import random
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from orders.settlement import settle
from stream_events.database import Database
from tests.factories import Sale
from tests.orders.answers.seeded_books import address, entries_of, make_pledge, raised, sales, seal
from tests.orders.payers import Placed, place, rows, run

SHIPPING, GIFT = 300, 1_000
TALLY = ("raised_minor", "sales_minor", "orders", "units", "gifts", "gifts_minor", "matched_minor")


async def giving_order(database: Database, sale: Sale, quantity: int) -> Placed:
    """Place an order with shipping and a gift on top."""
    placed = await place(database, sale, quantity=quantity)
    await run(
        database,
        "INSERT INTO order_gifts (order_id, n, kind, beneficiary_id, amount_minor)"
        " VALUES (:id, 1, 'gift', :beneficiary, :gift)",
        "UPDATE orders SET shipping_minor = :shipping, total_minor = total_minor + :gift + :shipping WHERE id = :id",
        id=placed.order_id,
        beneficiary=sale.beneficiary_id,
        gift=GIFT,
        shipping=SHIPPING,
    )
    total_minor = placed.total_minor + GIFT + SHIPPING
    return Placed(
        sale, placed.order_id, placed.shopper_id, placed.payment_intent_id, quantity, total_minor
    )


async def a_day(database: Database, sale: Sale, seed: int) -> list[Placed]:
    """Sell, give, match, take back in part and in whole, dispute, win and lose; sealed now and then."""
    chance = random.Random(seed)
    await make_pledge(database, sale)
    await run(
        database,
        "INSERT INTO matches (id, campaign_id, sponsor, covers, ratio_bp, pot_minor, position, starts_at)"
        " VALUES ('mat_1', :campaign, 'Acme', 'all', 5000, 2500, 1, now() - interval '1 day')",
        "UPDATE campaigns SET gift_fee_payer = 'beneficiary' WHERE id = :campaign",
        campaign=sale.campaign_id,
    )
    async with database.begin() as sql:
        await sql.execute(text("ALTER TABLE offer_terms DISABLE TRIGGER USER"))
        await sql.execute(text("UPDATE offer_terms SET fee_payer = 'farmer'"))
        await sql.execute(text("ALTER TABLE offer_terms ENABLE TRIGGER USER"))
    orders = [await giving_order(database, sale, chance.randint(1, 3)) for _ in range(6)]
    for number, placed in enumerate(orders):
        await settle(database, [placed.payment(fee_minor=117)])
        dispute = f"dp_{number}"
        part = chance.randint(1, placed.total_minor - 1)
        facts: list[list[Any]] = [
            [],
            [placed.refund(f"re_{number}")],
            [placed.refund(f"re_{number}", amount_minor=part)],
            [placed.dispute(dispute, "needs_response"), placed.dispute(dispute, "won")],
            [placed.dispute(dispute, "needs_response"), placed.dispute(dispute, "lost")],
            [placed.refund(f"re_{number}"), placed.refund(f"re_{number}", "failed")],
        ]
        for fact in facts[number]:
            await settle(database, [fact])
            if chance.random() < 0.5:
                await seal(database)
        if number % 2:
            await seal(database)
    return orders


async def read(api: httpx.AsyncClient, sale: Sale, path: str, **asked: Any) -> Any:
    params = {"campaign_id": sale.campaign_id, **asked}
    answer = await api.get(path, params=params, headers=sale.auth("operator"))
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("seed", [1, 2])
async def test_all_answers_agree_with_each_other_and_with_the_screen(
    api: httpx.AsyncClient, database: Database, sale: Sale, seed: int
) -> None:
    orders = await a_day(database, sale, seed)
    entries = await entries_of(database, sale.campaign_id)
    kinds = {each.kind for each in entries}
    assert {"capture", "donation", "match", "match_reversed", "pledge", "stripe_fee"} <= kinds
    shown = await rows(
        database,
        f"SELECT seq, {', '.join(TALLY)} FROM tally_history WHERE scope_id = :id ORDER BY seq",
        id=sale.campaign_id,
    )
    assert len(shown) > 2
    for seq, *tally in shown:
        [balance] = (await read(api, sale, "/v1/audit/trial-balance", seq=seq))["currencies"]
        assert balance["total_minor"] == 0
        assert [balance["tally"][name] for name in TALLY] == tally
    assert shown[-1][1:3] == (raised(entries), sales(entries))

    statements = {
        party: await read(api, sale, address(sale, party), limit=100)
        for party in ("farmer", "beneficiary", "host", "campaign")
    }
    sums = {
        party: {each["heading"]: each["amount_minor"] for each in told["sums"]}
        for party, told in statements.items()
    }
    whole = sums["campaign"]
    assert statements["campaign"]["closing_minor"] == shown[-1][1] == whole["raised"]
    assert statements["farmer"]["closing_minor"] == whole["owed_farmers"]
    owed_to_cause = whole["owed_beneficiaries"] + whole["owed_pledges"]
    assert statements["beneficiary"]["closing_minor"] == owed_to_cause
    [(received,)] = await rows(database, "SELECT sum(received_minor) FROM orders")
    assert whole["gross"] == received == sum(each.total_minor for each in orders)
    assert whole["shipping"] == 6 * SHIPPING
    assert whole["gifts"] == sums["beneficiary"]["gifts"] == 6 * GIFT
    split = statements["farmer"]["sales_split"]
    assert split["gross_minor"] + whole["shipping"] + whole["gifts"] == whole["gross"]
    assert split["farmer_minor"] == sums["farmer"]["shares"] == whole["shares_farmer"]
    assert split["beneficiary_minor"] == sums["beneficiary"]["shares"]
    assert split["fees_minor"] == whole["fees"]
    assert sums["farmer"]["payment_fees"] < 0
    assert sums["beneficiary"]["payment_fees"] < 0
    assert whole["due_from_sponsors"] == whole["matches"] > 0
    # Pledges are of the campaign and of no stream; all else that was raised is the one stream's.
    assert statements["host"]["closing_minor"] == whole["raised"]
    [stream] = statements["host"]["streams"]
    assert [stream[name] for name in TALLY] == list(shown[-1][1:])


async def test_the_life_of_a_matched_gift_is_told(
    api: httpx.AsyncClient, database: Database, sale: Sale
) -> None:
    orders = await a_day(database, sale, 1)
    told = await read(api, sale, f"/v1/orders/{orders[1].order_id}/explain")
    texts = [each["text"] for each in told["items"]]
    assert told["state"] == "REFUNDED"
    begun = [text.split(". ")[0] for text in texts if text.startswith("Posted to the books")]
    for words in ("Sale paid", "Gift received", "Matched by a sponsor", "Match taken back"):
        assert f"Posted to the books: {words}" in begun
    assert any("sponsor of match mat_1 was debited CNY" in text for text in texts)
    assert any(text.startswith("The sponsor's match mat_1 added CNY") for text in texts)
    posted = [each["data"]["seq"] for each in told["items"] if each["code"] == "posted"]
    sealed = await rows(
        database,
        "SELECT s.seq FROM seals s JOIN ledger_transactions t ON t.id = s.transaction_id WHERE t.order_id = :id",
        id=orders[1].order_id,
    )
    assert sorted(posted) == sorted(seq for (seq,) in sealed)
    lost = await read(api, sale, f"/v1/orders/{orders[4].order_id}/explain")
    assert any("it is LOST." in each["text"] for each in lost["items"])
