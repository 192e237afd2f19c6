"""Money paid on and paid in: no more than is owed, once, and below zero where it went back afterwards."""

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from fastapi import APIRouter

from orders.ledger import post
from orders.ledger.post import Posting, post_many
from orders.ledger.seal import seal_once
from orders.routes import router
from stream_events.database import Database
from tests.factories import Sale, seed_sale
from tests.orders.payers import net, rows
from tests.orders.test_giving_routes import MATCH, listed, sell, send


@pytest.fixture
def routers() -> Sequence[APIRouter]:
    return (router,)


def payout(account: str, amount_minor: int) -> dict[str, Any]:
    return {
        "kind": "payout",
        "account": account,
        "amount_minor": amount_minor,
        "reference": "Bank 17",
    }


async def test_no_more_is_paid_out_than_is_owed_however_many_click(
    api: httpx.AsyncClient, sale: Sale, database: Database
) -> None:
    await sell(database, sale, "pi_1", 900, 100)
    farmer = f"farmer/{sale.farmer_id}"
    answers = await asyncio.gather(
        *(send(api, sale, "transfers", payout(farmer, 400)) for _ in range(4))
    )
    assert sorted(answer.status_code for answer in answers) == [201, 201, 409, 409]
    refused = [answer.json() for answer in answers if answer.status_code == 409]
    assert {(each["code"], each["owed_minor"]) for each in refused} == {("more_than_owed", 100)}
    assert (await net(database))[farmer] == -100
    assert (await net(database))["bank/clearing"] == -800
    shown = await listed(api, sale, "transfers", "operator")
    assert [(each["account"], each["amount_minor"]) for each in shown] == [(farmer, 400)] * 2
    assert {each["reference"] for each in shown} == {"Bank 17"}
    async with database.begin() as sql:
        assert [scope.scope_id for scope in await seal_once(sql)] == [sale.campaign_id]
    assert await rows(database, "SELECT DISTINCT raised_minor FROM tallies") == [(100,)]


async def test_a_transfer_sent_twice_moves_money_once(
    api: httpx.AsyncClient, sale: Sale, database: Database
) -> None:
    await sell(database, sale, "pi_1", 900, 100)
    body = payout(f"beneficiary/{sale.beneficiary_id}", 50)
    answers = [await send(api, sale, "transfers", body, key="k") for _ in range(2)]
    assert answers[0].content == answers[1].content
    other = await send(api, sale, "transfers", {**body, "amount_minor": 51}, key="k")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_conflict")
    assert (await net(database))["bank/clearing"] == -50


async def test_after_a_refund_a_paid_payee_is_below_zero_and_nothing_more_is_paid_out(
    api: httpx.AsyncClient, sale: Sale, database: Database
) -> None:
    await sell(database, sale, "pi_1", 900, 100)
    farmer = f"farmer/{sale.farmer_id}"
    assert (await send(api, sale, "transfers", payout(farmer, 900))).status_code == 201
    await sell(database, sale, "re_1", -900, -100)
    assert (await net(database))[farmer] == 900
    refused = await send(api, sale, "transfers", payout(farmer, 1))
    assert (refused.status_code, refused.json()["owed_minor"]) == (409, -900)
    await sell(database, sale, "pi_2", 1_000, 0)
    assert (await send(api, sale, "transfers", payout(farmer, 101))).json()["owed_minor"] == 100
    assert (await send(api, sale, "transfers", payout(farmer, 100))).status_code == 201


async def test_a_sponsor_pays_what_was_matched_and_no_more(
    api: httpx.AsyncClient, sale: Sale, database: Database
) -> None:
    match_id = (await send(api, sale, "matches", MATCH)).json()["id"]
    sponsor, beneficiary = f"sponsor/{match_id}", f"beneficiary/{sale.beneficiary_id}"
    added = Posting(
        sale.campaign_id,
        sale.stream_id,
        post.MATCH,
        f"pi_1:{match_id}",
        None,
        sale.currency,
        [(sponsor, 700), (beneficiary, -700)],
    )
    async with database.begin() as sql:
        await post_many(sql, [added])
    paid = {"kind": "sponsor_paid", "account": sponsor, "reference": "Golden Mill 1"}
    refused = await send(api, sale, "transfers", {**paid, "amount_minor": 701})
    assert (refused.status_code, refused.json()["owed_minor"]) == (409, 700)
    assert (await send(api, sale, "transfers", {**paid, "amount_minor": 700})).status_code == 201
    assert (await send(api, sale, "transfers", payout(beneficiary, 700))).status_code == 201
    assert await net(database) == {}


async def test_another_campaigns_money_is_not_paid_out_here(
    api: httpx.AsyncClient, sale: Sale, database: Database, signer: Any
) -> None:
    other = await seed_sale(database, signer, sku="SAUCE")
    await sell(database, other, "pi_1", 900, 100)
    refused = await send(api, sale, "transfers", payout(f"farmer/{other.farmer_id}", 1))
    assert (refused.status_code, refused.json()["owed_minor"]) == (409, 0)
    theirs = (await send(api, other, "matches", MATCH)).json()["id"]
    body = {
        "kind": "sponsor_paid",
        "account": f"sponsor/{theirs}",
        "amount_minor": 1,
        "reference": "x",
    }
    refused = await send(api, sale, "transfers", body)
    assert (refused.status_code, refused.json()["code"]) == (422, "unknown_reference")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"account": "stripe/clearing"}, "wrong_account"),
        ({"account": "platform/fees"}, "wrong_account"),
        ({"account": "sponsor/mat_1"}, "wrong_account"),
        ({"account": "farmer/frm_1", "kind": "sponsor_paid"}, "wrong_account"),
        ({"account": "nobody"}, "wrong_account"),
        ({"account": "farmer/frm_0"}, "unknown_reference"),
        ({"account": "pledge/plg_0"}, "unknown_reference"),
        ({"amount_minor": 0}, "invalid"),
        ({"amount_minor": -1}, "invalid"),
        ({"kind": "capture"}, "invalid"),
        ({"reference": ""}, "invalid"),
    ],
)
async def test_a_transfer_from_nowhere_is_refused(
    api: httpx.AsyncClient, sale: Sale, database: Database, change: dict[str, Any], code: str
) -> None:
    body = {**payout(f"farmer/{sale.farmer_id}", 1), **change}
    answer = await send(api, sale, "transfers", body)
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text
    assert await net(database) == {}
