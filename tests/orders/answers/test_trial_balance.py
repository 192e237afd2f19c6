"""The trial balance is what anybody gets who adds the raw entries up, at each number and at each instant."""

import asyncio
import csv
import io
from datetime import datetime
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from orders.answers.instants import SUMS_AT_ONCE_MAX
from orders.ledger import post
from orders.settlement import settle
from stream_events.database import Database
from stream_events.ids import new_id
from stream_events.schemas import instant_text
from tests.factories import Sale
from tests.orders.answers.seeded_books import (
    balances,
    entries_of,
    post_all,
    posting,
    raised,
    random_books,
    sales,
    seal,
    sold,
)
from tests.orders.payers import rows, run

AUDIT = "/v1/audit/trial-balance"


async def ask(api: httpx.AsyncClient, sale: Sale, **asked: Any) -> Any:
    answer = await api.get(AUDIT, params={"campaign_id": sale.campaign_id, **asked})
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("seed", range(3))
async def test_at_each_number_it_is_what_the_raw_entries_add_up_to(
    api: httpx.AsyncClient, database: Database, sale: Sale, seed: int
) -> None:
    await random_books(database, sale, seed)
    entries = await entries_of(database, sale.campaign_id)
    last = entries[-1].seq
    for seq in (1, 2, last // 2, last - 1, last):
        told = await ask(api, sale, seq=seq)
        [balance] = told["currencies"]
        expected = balances(entries, seq)
        assert told["seq"] == seq
        assert {
            each["account"]: (each["debit_minor"], each["credit_minor"])
            for each in balance["accounts"]
        } == expected
        assert [each["account"] for each in balance["accounts"]] == sorted(expected)
        assert all(
            each["balance_minor"] == each["debit_minor"] - each["credit_minor"]
            for each in balance["accounts"]
        )
        assert balance["debit_minor"] == balance["credit_minor"] > 0
        assert balance["total_minor"] == 0
        until = [each for each in entries if each.seq <= seq]
        tally = balance["tally"]
        assert (tally["raised_minor"], tally["sales_minor"]) == (raised(until), sales(until))
        gifts = [each for each in until if each.kind in post.DONATION_KINDS]
        matched = [each for each in until if each.kind in post.MATCH_KINDS]
        assert (tally["gifts_minor"], tally["matched_minor"]) == (raised(gifts), raised(matched))
        assert tally["gifts"] == sum({each.seq: each.gifts for each in until}.values())


async def test_what_it_derives_is_what_the_screen_showed_at_that_number(
    api: httpx.AsyncClient, database: Database, sale: Sale
) -> None:
    placed = [await sold(database, sale) for _ in range(4)]
    await seal(database)
    await settle(database, [placed[0].refund("re_1"), placed[1].dispute("dp_1", "needs_response")])
    await seal(database)
    await settle(database, [placed[1].dispute("dp_1", "won")])
    gift = [("stripe/clearing", 500), (f"beneficiary/{sale.beneficiary_id}", -500)]
    await post_all(database, [posting(sale, post.DONATION, gift, gifts=1)])
    await seal(database)
    columns = (
        "raised_minor",
        "sales_minor",
        "orders",
        "units",
        "gifts",
        "gifts_minor",
        "matched_minor",
    )
    shown = await rows(
        database,
        f"SELECT seq, {', '.join(columns)} FROM tally_history WHERE scope_id = :id ORDER BY seq",
        id=sale.campaign_id,
    )
    assert len(shown) == 3
    for seq, *tally in shown:
        told = await ask(api, sale, seq=seq)
        assert [told["currencies"][0]["tally"][name] for name in columns] == tally


async def test_an_instant_stands_for_the_number_that_was_sealed_by_then(
    api: httpx.AsyncClient, database: Database, sale: Sale
) -> None:
    await random_books(database, sale, 7)
    entries = await entries_of(database, sale.campaign_id)
    instants = {each.seq: each.sealed_at for each in entries}

    def shown(at: datetime) -> str:
        return instant_text(at)

    def number(at: str) -> int:
        """The longest run of numbers from 1 on that were all sealed by then, as instants are shown."""
        late = [seq for seq, sealed_at in instants.items() if shown(sealed_at) > at]
        return min(late) - 1 if late else max(instants)

    numbers = []
    for at in sorted({shown(each) for each in instants.values()})[::7]:
        told = await ask(api, sale, at=at)
        assert told["seq"] == number(at)
        numbers.append(told["seq"])
        assert told["sealed_at"] == (shown(instants[told["seq"]]) if told["seq"] else None)
    assert numbers == sorted(numbers)
    assert len(set(numbers)) > 3
    assert (await ask(api, sale, at="2020-01-01T00:00:00Z"))["seq"] == 0
    assert (await ask(api, sale, at="2120-01-01T00:00:00Z"))["seq"] == max(instants)
    assert (await ask(api, sale, at="2020-01-01T00:00:00Z"))["currencies"] == []


async def test_only_what_is_sealed_counts_and_only_this_campaign(
    api: httpx.AsyncClient, database: Database, sale: Sale
) -> None:
    await sold(database, sale)
    assert (await ask(api, sale))["seq"] == 0
    await seal(database)
    before = await ask(api, sale)
    other = new_id("cmp")
    await run(
        database,
        "INSERT INTO campaigns (id, name, currency, mode, goal_minor) VALUES (:id, 'B', 'CNY', 'sandbox', 0)",
        id=other,
    )
    gift = [("stripe/clearing", 500), (f"beneficiary/{sale.beneficiary_id}", -500)]
    await post_all(database, [posting(sale, post.DONATION, gift, campaign_id=other, gifts=1)])
    await seal(database)
    await sold(database, sale)
    assert await ask(api, sale) == before
    told = (await api.get(AUDIT, params={"campaign_id": other})).json()
    assert told["currencies"][0]["tally"]["raised_minor"] == 500


async def test_the_same_in_csv(api: httpx.AsyncClient, database: Database, sale: Sale) -> None:
    await random_books(database, sale, 1, count=20)
    told = await ask(api, sale)
    params = {"campaign_id": sale.campaign_id}
    chosen = await api.get(AUDIT, params={**params, "format": "csv"})
    accepted = await api.get(AUDIT, params=params, headers={"accept": "text/csv"})
    assert chosen.text == accepted.text
    assert chosen.headers["content-type"] == "text/csv; charset=utf-8"
    lines = list(csv.DictReader(io.StringIO(chosen.text)))
    accounts = [line for line in lines if not line["account"].startswith("(")]
    assert [(line["account"], int(line["balance_minor"])) for line in accounts] == [
        (each["account"], each["balance_minor"]) for each in told["currencies"][0]["accounts"]
    ]
    clearing = next(line for line in lines if line["account"] == "stripe/clearing")
    minor = int(clearing["balance_minor"])
    assert clearing["balance"] == f"{'-' * (minor < 0)}{abs(minor) // 100}.{abs(minor) % 100:02}"
    [total] = [line for line in lines if line["account"] == "(total)"]
    assert (total["debit"], total["balance"]) == (total["credit"], "0.00")
    [shown] = [line for line in lines if line["account"] == "(tally raised)"]
    assert int(shown["balance_minor"]) == told["currencies"][0]["tally"]["raised_minor"]
    both = await api.get(AUDIT, params={**params, "format": "json"}, headers={"accept": "text/csv"})
    assert both.json() == told


async def test_a_number_has_one_answer_which_need_not_be_sent_twice(
    api: httpx.AsyncClient, database: Database, sale: Sale
) -> None:
    await sold(database, sale)
    await seal(database)
    params = {"campaign_id": sale.campaign_id}
    first = await api.get(AUDIT, params=params)
    etag = first.headers["etag"]
    for known in (etag, f'"other", W/{etag}', "*"):
        again = await api.get(AUDIT, params=params, headers={"if-none-match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    as_csv = await api.get(
        AUDIT, params={**params, "format": "csv"}, headers={"if-none-match": etag}
    )
    assert as_csv.status_code == 200
    assert as_csv.headers["etag"] != etag
    numbered = await api.get(AUDIT, params={**params, "seq": first.json()["seq"]})
    assert (numbered.headers["etag"], numbered.json()) == (etag, first.json())
    assert "max-age" in numbered.headers["cache-control"]
    assert "no-cache" in first.headers["cache-control"]
    await sold(database, sale)
    await seal(database)
    moved = await api.get(AUDIT, params=params, headers={"if-none-match": etag})
    assert moved.status_code == 200
    assert moved.headers["etag"] != etag
    assert (await api.get(AUDIT, params={**params, "seq": 1})).headers["etag"] != etag


async def test_refusals(api: httpx.AsyncClient, database: Database, sale: Sale) -> None:
    await sold(database, sale)
    await seal(database)

    async def refused(**asked: Any) -> tuple[int, str]:
        answer = await api.get(AUDIT, params={"campaign_id": sale.campaign_id, **asked})
        return answer.status_code, answer.json()["code"]

    assert await refused(seq=3) == (404, "not_sealed")
    assert await refused(seq=2, at="2026-01-01T00:00:00Z") == (422, "invalid")
    assert await refused(campaign_id="cmp_0") == (404, "not_found")
    for bad in ({"seq": -1}, {"seq": 2**60}, {"seq": "x"}, {"at": "yesterday"}, {"format": "xml"}):
        assert await refused(**bad) == (422, "invalid")
    assert (await api.get(AUDIT)).status_code == 422
    assert (await api.get(AUDIT, params={"campaign_id": "cmp_1'--"})).status_code == 422


async def test_few_add_up_at_once_and_who_has_the_answer_is_not_held_up(
    api: httpx.AsyncClient, database: Database, sale: Sale
) -> None:
    await sold(database, sale)
    await seal(database)
    params = {"campaign_id": sale.campaign_id}
    etag = (await api.get(AUDIT, params=params)).headers["etag"]
    async with database.begin() as sql:
        for turn in range(1, SUMS_AT_ONCE_MAX + 1):
            await sql.execute(
                text("SELECT pg_advisory_xact_lock(hashtext('stream-events sums'), :n)"),
                {"n": turn},
            )
        answer = await api.get(AUDIT, params=params)
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert "retry-after" in answer.headers
        known = await api.get(AUDIT, params=params, headers={"if-none-match": etag})
        assert known.status_code == 304
    answers = await asyncio.gather(*(api.get(AUDIT, params=params) for _ in range(3)))
    assert [each.status_code for each in answers] == [200, 200, 200]


async def test_accounts_say_nothing_of_a_person(
    api: httpx.AsyncClient, database: Database, sale: Sale
) -> None:
    placed = await sold(database, sale)
    await seal(database)
    told = (await api.get(AUDIT, params={"campaign_id": sale.campaign_id})).text
    for secret in (placed.order_id, placed.shopper_id, placed.payment_intent_id, "Wang", "王家"):
        assert secret not in told
