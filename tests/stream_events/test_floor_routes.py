"""Making, listing and reading what a sale is made of: the organiser's day, and everything sent wrongly to it."""

from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from stream_events.database import Database
from stream_events.paging import cursor_after
from stream_events.tables import Campaign, Stream
from tests.factories import Sale, make_host

CAMPAIGN = {"name": "Philanthropy Week", "name_zh": "公益周", "currency": "CNY", "goal_minor": 100}


async def test_an_organiser_sets_up_a_week(api: httpx.AsyncClient, sale: Sale) -> None:
    operator = sale.auth("operator")
    campaign = (await api.post("/v1/campaigns", json=CAMPAIGN, headers=operator)).json()
    assert campaign["mode"] == "sandbox"
    assert campaign["created_at"].endswith("Z")
    assert len(campaign["created_at"]) == len("2026-11-26T20:00:00.000Z")
    host = (await api.post("/v1/hosts", json={"name": "Lin Yi"}, headers=operator)).json()
    body = {
        "campaign_id": campaign["id"],
        "host_id": host["id"],
        "title": "Night",
        "opens_at": "2026-11-26T20:00:00+08:00",
    }
    made = await api.post("/v1/streams", json=body, headers=operator)
    assert made.status_code == 201
    stream = made.json()
    assert stream["state"] == "draft"
    assert stream["opens_at"] == "2026-11-26T12:00:00.000Z"
    assert stream["host"] == {"id": host["id"], "name": "Lin Yi"}
    assert (await api.get(f"/v1/streams/{stream['id']}", headers=operator)).json() == stream
    assert (await api.get(f"/v1/campaigns/{campaign['id']}", headers=operator)).json() == campaign


async def test_lists_come_in_pages_newest_first_and_none_is_lost(
    api: httpx.AsyncClient, sale: Sale, database: Database
) -> None:
    async with database.begin() as sql:
        made = [(await make_host(sql, id=f"hst_{number:02}")).id for number in range(7)]
    seen: list[str] = []
    cursor: str | None = None
    sizes = []
    while True:
        query = {"limit": "3", **({"cursor": cursor} if cursor else {})}
        page = (await api.get("/v1/hosts", params=query, headers=sale.auth("operator"))).json()
        sizes.append(len(page["items"]))
        seen += [item["id"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert sizes == [3, 3, 2]
    assert seen == sorted([*made, sale.host_id], reverse=True)


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": "101"},
        {"limit": "-1"},
        {"limit": "ten"},
        {"limit": "1e2"},
        {"cursor": "!"},
        {"cursor": ""},
        {"cursor": "aGVsbG8"},
        {"cursor": "hst_1"},
        {"cursor": cursor_after("hst_1' OR 1=1")},
        {"cursor": cursor_after("hst_\x00")},
        {"cursor": "A" * 65},
        {"cursor": "é"},
    ],
)
async def test_a_page_nobody_can_mean_is_refused(
    api: httpx.AsyncClient, sale: Sale, query: dict[str, str]
) -> None:
    answer = await api.get("/v1/hosts", params=query, headers=sale.auth("operator"))
    assert answer.status_code == 422
    assert answer.json()["code"] in {"invalid", "invalid_cursor"}


async def test_the_public_sees_streams_past_the_draft_and_a_host_its_own(
    api: httpx.AsyncClient, sale: Sale, database: Database
) -> None:
    async with database.begin() as sql:
        other = await make_host(sql)
        draft = Stream(
            id="str_draft",
            campaign_id=sale.campaign_id,
            host_id=other.id,
            title="x",
            state="draft",
            goal_minor=0,
        )
        sql.add(draft)

    async def ids(role: str, **params: str) -> set[str]:
        answer = await api.get("/v1/streams", headers=sale.auth(role), params=params)
        return {item["id"] for item in answer.json()["items"]}

    assert await ids("public") == await ids("shopper") == await ids("farmer") == {sale.stream_id}
    assert await ids("host") == {sale.stream_id}
    assert await ids("operator") == {sale.stream_id, "str_draft"}
    assert await ids("operator", state="draft") == {"str_draft"}
    assert await ids("public", state="draft") == set()
    assert await ids("operator", campaign_id="cmp_other") == set()


async def test_a_patch_changes_what_it_names_and_nothing_else(
    api: httpx.AsyncClient, sale: Sale
) -> None:
    path, host = f"/v1/streams/{sale.stream_id}", sale.auth("host")
    before = (await api.get(path, headers=host)).json()
    after = (await api.patch(path, json={"goal_minor": 77, "title_zh": None}, headers=host)).json()
    assert after == {**before, "goal_minor": 77, "title_zh": None}
    assert (await api.patch(path, json={}, headers=host)).json() == after
    at = "2026-12-01T00:00:00.000Z"
    assert (await api.patch(path, json={"opens_at": at}, headers=host)).json()["opens_at"] == at


async def test_a_stream_of_what_does_not_exist_is_refused(
    api: httpx.AsyncClient, sale: Sale
) -> None:
    good = {"campaign_id": sale.campaign_id, "host_id": sale.host_id, "title": "A"}
    for field in ("campaign_id", "host_id"):
        body = {**good, field: good[field][:4] + "0"}
        answer = await api.post("/v1/streams", json=body, headers=sale.auth("operator"))
        assert answer.status_code == 422
        assert (answer.json()["code"], answer.json()["field"]) == ("unknown_reference", field)


BAD_CAMPAIGNS: dict[str, Any] = {
    "no name": {"currency": "CNY"},
    "empty name": {**CAMPAIGN, "name": ""},
    "bidi name": {**CAMPAIGN, "name": "a\u202eb"},
    "NUL name": {**CAMPAIGN, "name": "a\x00b"},
    "number as name": {**CAMPAIGN, "name": 5},
    "null name": {**CAMPAIGN, "name": None},
    "list as name": {**CAMPAIGN, "name": ["a"]},
    "unknown currency": {**CAMPAIGN, "currency": "XXX"},
    "small currency": {**CAMPAIGN, "currency": "cny"},
    "full-width currency": {**CAMPAIGN, "currency": "ＣＮＹ"},
    "number as currency": {**CAMPAIGN, "currency": 156},
    "negative goal": {**CAMPAIGN, "goal_minor": -1},
    "fraction": {**CAMPAIGN, "goal_minor": 1.5},
    "whole float": {**CAMPAIGN, "goal_minor": 1.0},
    "text": {**CAMPAIGN, "goal_minor": "1"},
    "full-width digits": {**CAMPAIGN, "goal_minor": "１２"},
    "exponent": {**CAMPAIGN, "goal_minor": "1e2"},
    "true": {**CAMPAIGN, "goal_minor": True},
    "null": {**CAMPAIGN, "goal_minor": None},
    "2^63": {**CAMPAIGN, "goal_minor": 2**63},
    "10^40": {**CAMPAIGN, "goal_minor": 10**40},
    "id sent": {**CAMPAIGN, "id": "cmp_1"},
    "mode sent": {**CAMPAIGN, "mode": "live"},
    "__proto__": {**CAMPAIGN, "__proto__": {}},
    "endless field name": {**CAMPAIGN, "x" * 10_000: 1},
    "list": [CAMPAIGN],
    "text body": "campaign",
    "null body": None,
}


@pytest.mark.parametrize("body", BAD_CAMPAIGNS.values(), ids=BAD_CAMPAIGNS)
async def test_a_body_that_does_not_fit_is_refused_and_changes_nothing(
    api: httpx.AsyncClient, sale: Sale, database: Database, body: Any
) -> None:
    answer = await api.post("/v1/campaigns", json=body, headers=sale.auth("operator"))
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "invalid"
    assert len(answer.content) < 2_000
    async with database.begin() as sql:
        assert await sql.scalar(select(func.count()).select_from(Campaign)) == 1


RAW_BODIES: dict[str, tuple[bytes, int]] = {
    "cut off": (b'{"name": "a"', 400),
    "nothing": (b"", 422),
    "deep": (b"[" * 7_000 + b"]" * 7_000, 400),
    "deeper": (b'{"a":' * 3_000, 400),
    "not UTF-8": (b'{"name": "\xff"}', 400),
    "NaN": (b'{"name": "a", "currency": "CNY", "goal_minor": NaN}', 422),
    "1e309": (b'{"name": "a", "currency": "CNY", "goal_minor": 1e309}', 422),
    "5000 digits": (b'{"name": "a", "currency": "CNY", "goal_minor": ' + b"9" * 5_000 + b"}", 400),
    "lone surrogate as field": (b'{"name": "a", "currency": "CNY", "\\ud800": 1}', 422),
    "lone surrogate": (b'{"name": "a\\ud800", "currency": "CNY"}', 422),
}


@pytest.mark.parametrize(("body", "status"), RAW_BODIES.values(), ids=RAW_BODIES)
async def test_bytes_that_are_no_fitting_json_are_refused(
    api: httpx.AsyncClient, sale: Sale, body: bytes, status: int
) -> None:
    headers = {**sale.auth("operator"), "content-type": "application/json"}
    answer = await api.post("/v1/campaigns", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_body_of_another_kind_is_refused(api: httpx.AsyncClient, sale: Sale) -> None:
    for kind in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "",
    ):
        headers = {**sale.auth("operator"), "content-type": kind}
        answer = await api.post(
            "/v1/campaigns", content=b'{"name":"a","currency":"CNY"}', headers=headers
        )
        assert answer.status_code == 422, kind


@pytest.mark.parametrize(
    "change",
    [
        {"title": None},
        {"title": ""},
        {"title": "a" * 81},
        {"goal_minor": None},
        {"goal_minor": -1},
        {"state": "live"},
        {"host_id": "hst_1"},
        {"live_at": None},
        {"opens_at": "tomorrow"},
        {"opens_at": 1_795_000_000},
        {"opens_at": "2026-11-26"},
        {"opens_at": "2026-11-26T20:00:00"},
        {"opens_at": "2026-13-26T20:00:00Z"},
        {"opens_at": "0001-01-01T00:00:00+14:00"},
        {"opens_at": "9999-12-31T23:59:59-14:00"},
        {"opens_at": "１０２６-11-26T20:00:00Z"},
    ],
)
async def test_a_patch_that_does_not_fit_changes_nothing(
    api: httpx.AsyncClient, sale: Sale, change: dict[str, Any]
) -> None:
    path, host = f"/v1/streams/{sale.stream_id}", sale.auth("host")
    before = (await api.get(path, headers=host)).json()
    answer = await api.patch(path, json=change, headers=host)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert (await api.get(path, headers=host)).json() == before


@pytest.mark.parametrize(
    "stream_id",
    ["str_%00", "str_'--", "STR_1", "%20", "str_" + "a" * 41, "..%2fhosts", "str_%F0%9F%A5%9C"],
)
async def test_an_id_that_cannot_be_is_refused_before_sql(
    api: httpx.AsyncClient, sale: Sale, stream_id: str
) -> None:
    answer = await api.get(f"/v1/streams/{stream_id}", headers=sale.auth("operator"))
    assert answer.status_code in {404, 422}
    assert answer.headers["content-type"] == "application/problem+json"
