"""Matches, pledges and transfers over HTTP: who may, what is refused, and what the ledger then says."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi import APIRouter

from orders import matches_routes
from orders.ledger import post
from orders.ledger.post import Posting, post_many
from orders.ledger.seal import seal_once
from orders.routes import router
from stream_events.database import Database
from stream_events.ids import new_id
from tests.factories import Sale, seed_sale
from tests.orders.payers import rows, run

MATCH = {"sponsor": "Golden Mill", "ratio_bp": 10_000, "pot_minor": 5_000}


@pytest.fixture
def routers() -> Sequence[APIRouter]:
    return (router,)


async def send(
    api: httpx.AsyncClient,
    sale: Sale,
    what: str,
    body: dict[str, Any],
    *,
    key: str = "",
    role: str = "operator",
) -> httpx.Response:
    headers = sale.auth(role) | {"idempotency-key": key or new_id("key")}
    return await api.post(f"/v1/campaigns/{sale.campaign_id}/{what}", json=body, headers=headers)


async def listed(api: httpx.AsyncClient, sale: Sale, what: str, role: str = "public") -> Any:
    answer = await api.get(f"/v1/campaigns/{sale.campaign_id}/{what}", headers=sale.auth(role))
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


async def sell(database: Database, sale: Sale, source_id: str, farmer: int, ben: int) -> None:
    """Post a sale as settlement would, and seal it."""
    entries = [
        ("stripe/clearing", farmer + ben),
        (f"farmer/{sale.farmer_id}", -farmer),
        (f"beneficiary/{sale.beneficiary_id}", -ben),
    ]
    kind = post.CAPTURE if farmer + ben > 0 else post.REFUND
    posting = Posting(
        sale.campaign_id, sale.stream_id, kind, source_id, None, sale.currency, entries
    )
    async with database.begin() as sql:
        await post_many(sql, [posting])
    async with database.begin() as sql:
        await seal_once(sql)


def soon(**delta: int) -> str:
    return (datetime.now(UTC) + timedelta(**delta)).isoformat(timespec="microseconds")


# --- who may ----------------------------------------------------------------------------------------------------

BODIES = {
    "matches": MATCH,
    "pledges": {"beneficiary_id": "ben_0", "name": "A part", "bp": 30},
    "transfers": {
        "kind": "payout",
        "account": "farmer/frm_0",
        "amount_minor": 1,
        "reference": "bank",
    },
}


@pytest.mark.parametrize("what", BODIES)
async def test_only_operators_write_and_a_key_is_needed(
    api: httpx.AsyncClient, sale: Sale, database: Database, what: str
) -> None:
    for role in ("host", "farmer", "overlay", "shopper"):
        assert (await send(api, sale, what, BODIES[what], role=role)).status_code == 403
    assert (await send(api, sale, what, BODIES[what], role="public")).status_code == 401
    path = f"/v1/campaigns/{sale.campaign_id}/{what}"
    answer = await api.post(path, json=BODIES[what], headers=sale.auth("operator"))
    assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key")
    headers = sale.auth("operator") | {"idempotency-key": "k"}
    missing = await api.post(f"/v1/campaigns/cmp_0/{what}", json=BODIES[what], headers=headers)
    assert missing.status_code == 404
    assert (
        await api.get(f"/v1/campaigns/cmp_0/{what}", headers=sale.auth("operator"))
    ).status_code == 404
    for table in ("matches", "pledges", "transfers", "answered_requests"):
        assert await rows(database, f"SELECT count(*) FROM {table}") == [(0,)]


async def test_what_is_promised_is_public_and_what_was_paid_is_not(
    api: httpx.AsyncClient, sale: Sale
) -> None:
    for what in ("matches", "pledges"):
        assert await listed(api, sale, what) == []
    path = f"/v1/campaigns/{sale.campaign_id}/transfers"
    assert (await api.get(path)).status_code == 401
    assert (await api.get(path, headers=sale.auth("host"))).status_code == 403
    assert await listed(api, sale, "transfers", "operator") == []


# --- matches ----------------------------------------------------------------------------------------------------


async def test_a_match_is_made_once_and_shown_to_all(api: httpx.AsyncClient, sale: Sale) -> None:
    body = {
        **MATCH,
        "sponsor_zh": "金磨坊",
        "covers": "shares",
        "skus": [sale.sku],
        "stream_id": sale.stream_id,
        "per_giver_max_minor": 100,
        "starts_at": soon(hours=1),
        "ends_at": soon(hours=2),
    }
    made = await send(api, sale, "matches", body, key="one")
    assert made.status_code == 201, made.text
    again = await send(api, sale, "matches", body, key="one")
    assert (again.content, again.headers["idempotent-replay"]) == (made.content, "true")
    second = (await send(api, sale, "matches", MATCH)).json()
    shown = await listed(api, sale, "matches")
    assert shown == [second, made.json()]
    assert {name: made.json()[name] for name in MATCH} == MATCH
    assert (made.json()["left_minor"], made.json()["position"], second["position"]) == (5_000, 1, 2)
    assert (second["covers"], second["skus"], second["ends_at"]) == ("gifts", None, None)


async def test_what_is_left_of_the_pot_is_shown(
    api: httpx.AsyncClient, sale: Sale, database: Database
) -> None:
    await send(api, sale, "matches", MATCH)
    await run(database, "UPDATE matches SET spent_minor = 1234")
    [shown] = await listed(api, sale, "matches")
    assert (shown["pot_minor"], shown["left_minor"]) == (5_000, 3_766)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"starts_at": "2026-01-01T00:00:00Z"}, "window_passed"),
        ({"ends_at": "2026-01-01T00:00:00Z"}, "window_empty"),
        ({"starts_at": "2190-01-01T00:00:00Z", "ends_at": "2190-01-01T00:00:00Z"}, "window_empty"),
        ({"skus": ["PEANUT-5KG"]}, "skus_without_shares"),
        ({"stream_id": "str_0"}, "unknown_reference"),
        ({"ratio_bp": 0}, "invalid"),
        ({"ratio_bp": 1_000_001}, "invalid"),
        ({"pot_minor": 0}, "invalid"),
        ({"pot_minor": 1.5}, "invalid"),
        ({"per_giver_max_minor": 0}, "invalid"),
        ({"covers": "everything"}, "invalid"),
        ({"spent_minor": 0}, "invalid"),
        ({"sponsor": "\u202e"}, "invalid"),
    ],
)
async def test_a_promise_that_cannot_be_kept_is_refused(
    api: httpx.AsyncClient, sale: Sale, change: dict[str, Any], code: str
) -> None:
    answer = await send(api, sale, "matches", {**MATCH, **change})
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text


async def test_a_stream_of_another_campaign_is_none_of_this(
    api: httpx.AsyncClient, sale: Sale, database: Database, signer: Any
) -> None:
    other = await seed_sale(database, signer, sku="SAUCE")
    answer = await send(api, sale, "matches", {**MATCH, "stream_id": other.stream_id})
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_reference")


async def test_a_campaign_has_so_many_matches_at_a_time(
    api: httpx.AsyncClient, sale: Sale, monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    async def ponder(sql: Any, campaign_id: str) -> int:
        await asyncio.sleep(0.1)
        return await last_position(sql, campaign_id)

    last_position = matches_routes._last_position
    monkeypatch.setattr(matches_routes, "_last_position", ponder)
    monkeypatch.setattr(matches_routes, "MATCHES_PER_CAMPAIGN_MAX", 2)
    answers = await asyncio.gather(*(send(api, sale, "matches", MATCH) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 201, 409, 409]
    assert {each["position"] for each in await listed(api, sale, "matches")} == {1, 2}
    await run(database, "UPDATE matches SET ends_at = now() WHERE position = 1")
    assert (await send(api, sale, "matches", MATCH)).status_code == 201


async def end(
    api: httpx.AsyncClient, sale: Sale, match_id: str, ends_at: str, role: str = "operator"
) -> httpx.Response:
    return await api.patch(
        f"/v1/campaigns/{sale.campaign_id}/matches/{match_id}",
        json={"ends_at": ends_at},
        headers=sale.auth(role),
    )


async def test_a_match_can_be_ended_sooner_and_never_later(
    api: httpx.AsyncClient, sale: Sale, database: Database
) -> None:
    made = (await send(api, sale, "matches", {**MATCH, "ends_at": soon(days=1)})).json()
    later = await end(api, sale, made["id"], soon(days=2))
    assert (later.status_code, later.json()["code"]) == (409, "only_sooner")
    sooner = await end(api, sale, made["id"], soon(hours=1))
    assert made["starts_at"] < sooner.json()["ends_at"] < made["ends_at"]
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    now = await end(api, sale, made["id"], "2026-01-01T00:00:00Z")
    assert before <= datetime.fromisoformat(now.json()["ends_at"]) <= datetime.now(UTC)
    again = await end(api, sale, made["id"], "2026-01-01T00:00:00Z")
    assert again.json() == now.json()
    for role, status in (("host", 403), ("public", 401)):
        assert (await end(api, sale, made["id"], soon(hours=1), role)).status_code == status
    assert (await end(api, sale, "mat_0", soon(hours=1))).status_code == 404


async def test_a_match_that_has_not_begun_can_be_called_off(
    api: httpx.AsyncClient, sale: Sale
) -> None:
    made = (await send(api, sale, "matches", {**MATCH, "starts_at": soon(days=1)})).json()
    ended = (await end(api, sale, made["id"], soon())).json()
    assert ended["ends_at"] == ended["starts_at"] == made["starts_at"]


async def test_a_match_of_another_campaign_is_not_there(
    api: httpx.AsyncClient, sale: Sale, database: Database, signer: Any
) -> None:
    other = await seed_sale(database, signer, sku="SAUCE")
    made = (await send(api, other, "matches", MATCH)).json()
    assert (await end(api, sale, made["id"], soon(hours=1))).status_code == 404
    assert await listed(api, sale, "matches") == []


# --- pledges ----------------------------------------------------------------------------------------------------


def pledge_body(sale: Sale, **changes: Any) -> dict[str, Any]:
    return {"beneficiary_id": sale.beneficiary_id, "name": "0.3 %", "bp": 30, **changes}


async def test_a_pledge_counts_from_the_sales_of_its_moment_and_shows_owed_and_paid(
    api: httpx.AsyncClient, sale: Sale, database: Database
) -> None:
    await sell(database, sale, "pi_1", 9_000, 1_000)
    made = await send(api, sale, "pledges", pledge_body(sale, bp=1_000), key="one")
    assert made.status_code == 201, made.text
    assert (
        await send(api, sale, "pledges", pledge_body(sale, bp=1_000), key="one")
    ).content == made.content
    assert (made.json()["owed_minor"], made.json()["paid_minor"]) == (0, 0)
    await sell(database, sale, "pi_2", 4_000, 995)
    [shown] = await listed(api, sale, "pledges")
    assert (shown["owed_minor"], shown["paid_minor"]) == (499, 0)
    body = {
        "kind": "payout",
        "account": f"pledge/{shown['id']}",
        "amount_minor": 400,
        "reference": "x",
    }
    assert (await send(api, sale, "transfers", body)).status_code == 201
    too_much = await send(api, sale, "transfers", body)
    assert (too_much.status_code, too_much.json()["owed_minor"]) == (409, 99)
    await sell(database, sale, "re_2", -4_000, -995)
    [shown] = await listed(api, sale, "pledges")
    assert (shown["owed_minor"], shown["paid_minor"]) == (0, 400)
    assert await rows(database, "SELECT raised_minor FROM tallies") == [(1_000,)] * 2


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"bp": 0}, "invalid"),
        ({"bp": 10_001}, "invalid"),
        ({"beneficiary_id": "ben_0"}, "unknown_reference"),
        ({"base_minor": 0}, "invalid"),
    ],
)
async def test_a_pledge_of_nothing_or_to_nobody_is_refused(
    api: httpx.AsyncClient, sale: Sale, change: dict[str, Any], code: str
) -> None:
    answer = await send(api, sale, "pledges", pledge_body(sale, **change))
    assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_a_campaign_has_so_many_pledges(
    api: httpx.AsyncClient, sale: Sale, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orders.pledges.PLEDGES_PER_CAMPAIGN_MAX", 2)
    answers = await asyncio.gather(
        *(send(api, sale, "pledges", pledge_body(sale)) for _ in range(4))
    )
    assert sorted(answer.status_code for answer in answers) == [201, 201, 409, 409]
