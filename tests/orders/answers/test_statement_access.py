"""Who may read whose statement, and that what everybody may read leads to nobody."""

import httpx
import pytest

from stream_events.access import Signer
from stream_events.database import Database
from tests.factories import SKU, Sale, bearer, seed_sale
from tests.orders.answers.seeded_books import PARTIES, address, seal, sold

ALLOWED = {
    "farmer": {"operator": "any", "farmer": "own"},
    "host": {"operator": "any", "host": "own"},
    "beneficiary": dict.fromkeys(
        ("operator", "host", "farmer", "overlay", "shopper", "public"), "any"
    ),
    "campaign": dict.fromkeys(
        ("operator", "host", "farmer", "overlay", "shopper", "public"), "any"
    ),
}


@pytest.mark.parametrize("party", PARTIES)
@pytest.mark.parametrize("role", ["operator", "host", "farmer", "overlay", "shopper", "public"])
async def test_who_may_read_a_statement(
    api: httpx.AsyncClient, database: Database, sale: Sale, signer: Signer, party: str, role: str
) -> None:
    other = await seed_sale(database, signer, sku=f"{SKU}-2")
    right = ALLOWED[party].get(role)
    refused = 401 if role == "public" else 403
    expected = {
        sale: 200 if right else refused,
        other: {"any": 200, "own": 404, None: refused}[right],
    }
    for whose, status in expected.items():
        answer = await api.get(
            address(whose, party),
            params={"campaign_id": sale.campaign_id},
            headers=sale.auth(role),
        )
        assert answer.status_code == status, (whose is sale, answer.text)


async def test_a_bad_credential_opens_not_even_what_is_public(
    api: httpx.AsyncClient, sale: Sale
) -> None:
    for path in (
        address(sale, "campaign"),
        f"/v1/audit/trial-balance?campaign_id={sale.campaign_id}",
    ):
        assert (await api.get(path, headers=bearer("se_operator_no"))).status_code == 401


async def test_nothing_in_a_public_statement_leads_to_a_person(
    api: httpx.AsyncClient, database: Database, sale: Sale
) -> None:
    placed = await sold(database, sale)
    await seal(database)
    for party in ("beneficiary", "campaign"):
        for asked in ({}, {"format": "csv"}):
            params = {"campaign_id": sale.campaign_id, **asked}
            told = (await api.get(address(sale, party), params=params)).text
            for secret in (placed.order_id, placed.shopper_id, placed.payment_intent_id):
                assert secret not in told
