"""Keys from invitation to revocation: shown once, replaced without a dark overlay, and dead when they should be."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update

from stream_events.access import Role, add_key, create_principal, retire_keys
from stream_events.database import Database
from stream_events.tables import Key, Principal
from tests.factories import Sale, bearer, make_host, make_stream


async def _works(api: httpx.AsyncClient, key: str) -> bool:
    return (await api.get("/v1/me", headers=bearer(key))).status_code == 200


async def test_an_operator_invites_each_kind_and_each_knows_itself(
    api: httpx.AsyncClient, sale: Sale
) -> None:
    kinds: list[dict[str, str]] = [
        {"role": "operator"},
        {"role": "host", "host_id": sale.host_id},
        {"role": "farmer", "farmer_id": sale.farmer_id},
        {"role": "overlay", "stream_id": sale.stream_id},
        {"role": "moderator", "stream_id": sale.stream_id},
    ]
    for kind in kinds:
        made = await api.post(
            "/v1/principals", json={"name": "N", **kind}, headers=sale.auth("operator")
        )
        assert made.status_code == 201
        key = made.json().pop("key")
        assert key.startswith(f"se_{kind['role']}_")
        me = (await api.get("/v1/me", headers=bearer(key))).json()
        assert {**me, **kind} == me
        assert (me["id"], me["name"]) == (made.json()["id"], "N")


async def test_no_secret_is_kept_or_shown_again(
    api: httpx.AsyncClient, sale: Sale, database: Database
) -> None:
    made = await api.post(
        "/v1/principals", json={"role": "operator", "name": "N"}, headers=sale.auth("operator")
    )
    key = made.json()["key"]
    listed = await api.get("/v1/principals", headers=sale.auth("operator"))
    assert key not in listed.text
    async with database.begin() as sql:
        rows = (await sql.execute(select(Key))).scalars().all()
        assert all(key.encode() not in row.secret_sha256 for row in rows)
        assert {len(row.secret_sha256) for row in rows} == {32}


@pytest.mark.parametrize("role", [Role.OVERLAY, Role.MODERATOR])
async def test_a_host_deals_with_those_of_its_own_streams_only(
    api: httpx.AsyncClient, sale: Sale, database: Database, role: Role
) -> None:
    async with database.begin() as sql:
        foreign = await make_stream(sql, sale.campaign_id, (await make_host(sql)).id)
        foreigner, _ = await create_principal(sql, role, "F", stream_id=foreign.id)
    host = sale.auth("host")
    own = {"role": role.value, "name": "O", "stream_id": sale.stream_id}
    made = await api.post("/v1/principals", json=own, headers=host)
    assert made.status_code == 201
    theirs = await api.post("/v1/principals", json={**own, "stream_id": foreign.id}, headers=host)
    nobodys = await api.post("/v1/principals", json={**own, "stream_id": "str_0"}, headers=host)
    assert (theirs.status_code, theirs.content) == (422, nobodys.content)
    for body in (
        {"role": "operator", "name": "O"},
        {"role": "host", "name": "O", "host_id": sale.host_id},
    ):
        assert (await api.post("/v1/principals", json=body, headers=host)).status_code == 403
    listed = (await api.get("/v1/principals", headers=host)).json()["items"]
    assert foreigner not in {item["id"] for item in listed}
    assert {item["role"] for item in listed} == {"host", "overlay", "moderator"}
    query = {"role": role.value, "stream_id": sale.stream_id}
    found = (await api.get("/v1/principals", headers=host, params=query)).json()["items"]
    assert [item["stream_id"] for item in found] == [sale.stream_id] * 2
    for principal_id, status in ((made.json()["id"], 204), (foreigner, 404)):
        ended = await api.delete(f"/v1/principals/{principal_id}", headers=host)
        assert ended.status_code == status
    assert not await _works(api, made.json()["key"])


async def test_a_new_key_ends_the_old_one_at_once_or_later(
    api: httpx.AsyncClient, sale: Sale, database: Database
) -> None:
    me = (await api.get("/v1/me", headers=sale.auth("overlay"))).json()
    path, host = f"/v1/principals/{me['id']}/keys", sale.auth("host")
    second = (await api.post(path, json={"retire_old_after_s": 1}, headers=host)).json()["key"]
    assert await _works(api, sale.overlay_key)
    assert await _works(api, second)
    await asyncio.sleep(1.1)
    assert not await _works(api, sale.overlay_key)
    third = (await api.post(path, headers=host)).json()["key"]  # no body: at once
    assert not await _works(api, second)
    assert await _works(api, third)


async def test_retiring_never_brings_a_dead_key_back(
    database: Database, api: httpx.AsyncClient
) -> None:
    """Setting one end for all keys would have revived those that had ended: a leaked key would work again."""
    async with database.begin() as sql:
        principal_id, key = await create_principal(sql, Role.OPERATOR, "N")
        dead = update(Key).values(expires_at=datetime.now(UTC) - timedelta(seconds=5))
        await sql.execute(dead.where(Key.principal_id == principal_id))
        fresh = await add_key(sql, principal_id, Role.OPERATOR)
        await retire_keys(sql, principal_id, 3600)
    assert not await _works(api, key)
    assert await _works(api, fresh)


async def test_everybody_may_replace_its_own_key_and_nobody_locks_itself_out(
    api: httpx.AsyncClient, sale: Sale
) -> None:
    for role in ("operator", "host", "farmer"):
        headers = sale.auth(role)
        me = (await api.get("/v1/me", headers=headers)).json()["id"]
        if role != "farmer":
            for path in (f"/v1/principals/{me}", f"/v1/principals/{me}/keys"):
                refused = await api.delete(path, headers=headers)
                assert (refused.status_code, refused.json()["code"]) == (409, "own_credential")
        replaced = await api.post(f"/v1/principals/{me}/keys", json={}, headers=headers)
        assert replaced.status_code == 201
        assert await _works(api, replaced.json()["key"])
        assert (await api.get("/v1/me", headers=headers)).status_code == 401


async def test_revoked_and_disabled_principals_are_out(api: httpx.AsyncClient, sale: Sale) -> None:
    operator = sale.auth("operator")
    me = (await api.get("/v1/me", headers=sale.auth("host"))).json()["id"]
    assert (await api.delete(f"/v1/principals/{me}/keys", headers=operator)).status_code == 204
    assert not await _works(api, sale.host_key)
    back = (await api.post(f"/v1/principals/{me}/keys", json={}, headers=operator)).json()["key"]
    assert await _works(api, back)
    assert not await _works(api, sale.host_key)
    for _ in range(2):
        assert (await api.delete(f"/v1/principals/{me}", headers=operator)).status_code == 204
    assert not await _works(api, back)
    refused = await api.post(f"/v1/principals/{me}/keys", json={}, headers=operator)
    assert (refused.status_code, refused.json()["code"]) == (409, "principal_disabled")


@pytest.mark.parametrize(
    "body",
    [
        {"role": "shopper", "name": "N"},
        {"role": "public", "name": "N"},
        {"role": "root", "name": "N"},
        {"role": "OPERATOR", "name": "N"},
        {"role": "host", "name": "N"},
        {"role": "operator", "name": "N", "host_id": "hst_1"},
        {"role": "host", "name": "N", "host_id": "hst_1", "farmer_id": "frm_1"},
        {"role": "host", "name": "N", "host_id": "frm_1"},
        {"role": "host", "name": "N", "host_id": "hst_0"},
        {"role": "farmer", "name": "N", "farmer_id": "frm_0"},
        {"role": "overlay", "name": "N", "stream_id": "str_0"},
        {"role": "moderator", "name": "N"},
        {"role": "moderator", "name": "N", "stream_id": "str_0"},
        {"role": "moderator", "name": "N", "host_id": "hst_1"},
        {"role": "overlay", "name": "N", "stream_id": "str_\x00"},
        {"role": "operator", "name": ""},
        {"role": "operator", "name": "N", "key": "mine"},
        {"role": "operator", "name": "N", "id": "prn_1"},
    ],
)
async def test_an_invitation_that_makes_no_sense_is_refused(
    api: httpx.AsyncClient, sale: Sale, database: Database, body: dict[str, Any]
) -> None:
    answer = await api.post("/v1/principals", json=body, headers=sale.auth("operator"))
    assert answer.status_code == 422, answer.text
    async with database.begin() as sql:
        assert len((await sql.execute(select(Principal.id))).all()) == 5


@pytest.mark.parametrize("seconds", [-1, 7 * 24 * 3600 + 1, 1.5, "1", True, None, 10**40])
async def test_a_retirement_that_makes_no_sense_is_refused(
    api: httpx.AsyncClient, sale: Sale, seconds: Any
) -> None:
    me = (await api.get("/v1/me", headers=sale.auth("overlay"))).json()["id"]
    body = {"retire_old_after_s": seconds}
    answer = await api.post(f"/v1/principals/{me}/keys", json=body, headers=sale.auth("operator"))
    assert answer.status_code == 422
    assert await _works(api, sale.overlay_key)
