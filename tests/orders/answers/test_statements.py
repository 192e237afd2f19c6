"""A statement adds up: each row to its balance, each window to the next, and all of it to the raw entries."""

import csv
import io
import random
from itertools import pairwise
from typing import Any

import httpx
import pytest

from orders.answers import statements
from orders.ledger import post
from orders.settlement import settle
from stream_events.access import Signer
from stream_events.database import Database
from stream_events.schemas import instant_text
from tests.factories import Sale, seed_sale
from tests.orders.answers.seeded_books import (
    CLEARING,
    PARTIES,
    Entry,
    address,
    entries_of,
    make_pledge,
    post_all,
    posting,
    raised,
    random_books,
    sales,
    seal,
    sold,
)
from tests.orders.payers import rows, run


async def ask(api: httpx.AsyncClient, sale: Sale, party: str, **asked: Any) -> Any:
    answer = await api.get(
        address(sale, party),
        params={"campaign_id": sale.campaign_id, **asked},
        headers=sale.auth("operator"),
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


async def every_row(api: httpx.AsyncClient, sale: Sale, party: str, **asked: Any) -> list[Any]:
    items, cursor = [], {}
    for _ in range(200):
        page = await ask(api, sale, party, **asked, **cursor)
        items += page["items"]
        if page["next"] is None:
            return items
        cursor = {"cursor": page["next"]}
    raise AssertionError("this has no end")


def touching(entries: list[Entry], sale: Sale, party: str, pledge_id: str) -> dict[int, int]:
    """Return each transaction's amount for the party, from the raw entries."""
    if party in ("host", "campaign"):
        numbers = {e.seq for e in entries if party == "campaign" or e.stream_id == sale.stream_id}
        return {number: raised([e for e in entries if e.seq == number]) for number in numbers}
    own = {f"{party}/{getattr(sale, f'{party}_id')}"}
    if party == "beneficiary":
        own.add(f"pledge/{pledge_id}")
    amounts: dict[int, int] = {}
    for e in entries:
        if e.account in own:
            amounts[e.seq] = amounts.get(e.seq, 0) - e.amount_minor
    return amounts


@pytest.mark.parametrize("party", PARTIES)
async def test_rows_are_the_raw_entries_and_balances_run(
    api: httpx.AsyncClient, database: Database, sale: Sale, party: str
) -> None:
    pledge_id = await make_pledge(database, sale)
    await random_books(database, sale, 11, pledge_id=pledge_id)
    entries = await entries_of(database, sale.campaign_id)
    expected = touching(entries, sale, party, pledge_id)
    items = await every_row(api, sale, party, limit=7)
    assert [each["seq"] for each in items] == sorted(expected)
    balance, known = 0, {each.seq: each for each in entries}
    for each in items:
        balance += expected[each["seq"]]
        assert (each["amount_minor"], each["balance_minor"]) == (expected[each["seq"]], balance)
        entry = known[each["seq"]]
        assert each["kind"] == entry.kind
        assert each["leaf_hash"] == bytes(entry.leaf_hash).hex()
        assert each["sealed_at"] == instant_text(entry.sealed_at)
        of_stream = None if entry.stream_id == sale.campaign_id else entry.stream_id
        assert each["stream_id"] == of_stream
        sold_for = sales([e for e in entries if e.seq == each["seq"]])
        assert each["sales_minor"] == (sold_for if party in ("host", "campaign") else None)
    whole = await ask(api, sale, party, limit=100)
    assert (whole["opening_minor"], whole["closing_minor"]) == (0, balance)
    assert whole["items"] == items
    assert whole["currency"] == "CNY"


@pytest.mark.parametrize("party", PARTIES)
@pytest.mark.parametrize("seed", [1, 2])
async def test_windows_that_meet_add_up(
    api: httpx.AsyncClient, database: Database, sale: Sale, party: str, seed: int
) -> None:
    pledge_id = await make_pledge(database, sale)
    await random_books(database, sale, seed, pledge_id=pledge_id)
    entries = await entries_of(database, sale.campaign_id)
    chance = random.Random(seed)
    cuts = sorted({instant_text(each.sealed_at) for each in chance.sample(entries, 5)})
    edges: list[str | None] = [None, *cuts, None]
    whole = await ask(api, sale, party)
    balance, after_seq, numbers = 0, 0, []
    sums: dict[str, int] = {}
    streams: dict[tuple[str | None, str], int] = {}
    for start, end in pairwise(edges):
        asked = {name: at for name, at in (("from", start), ("to", end)) if at is not None}
        window = await ask(api, sale, party, **asked, limit=100)
        assert (window["after_seq"], window["opening_minor"]) == (after_seq, balance)
        if start is not None:
            # What was sealed at this very instant belongs to the later window.
            since = [each.seq for each in entries if instant_text(each.sealed_at) >= start]
            assert after_seq == min(since) - 1
        after_seq, balance = window["to_seq"], window["closing_minor"]
        numbers += [each["seq"] for each in window["items"]]
        for each in window["sums"]:
            sums[each["heading"]] = sums.get(each["heading"], 0) + each["amount_minor"]
        for each in window["streams"]:
            for name, value in each.items():
                if name not in ("stream_id", "title"):
                    key = (each["stream_id"], name)
                    streams[key] = streams.get(key, 0) + value
    assert (after_seq, balance) == (whole["to_seq"], whole["closing_minor"])
    assert numbers == [each["seq"] for each in await every_row(api, sale, party)]
    moved = {each["heading"]: each["amount_minor"] for each in whole["sums"]}
    still = {name for name in moved if name.startswith(("owed_", "due_"))}
    assert {name: sums[name] for name in moved if name not in still} == {
        name: amount for name, amount in moved.items() if name not in still
    }
    assert streams == {
        (each["stream_id"], name): value
        for each in whole["streams"]
        for name, value in each.items()
        if name not in ("stream_id", "title")
    }
    assert bool(streams) == (party in ("host", "campaign"))


@pytest.mark.parametrize("party", ["farmer", "beneficiary"])
async def test_headings_are_the_whole_difference(
    api: httpx.AsyncClient, database: Database, sale: Sale, party: str
) -> None:
    pledge_id = await make_pledge(database, sale)
    await random_books(database, sale, 5, count=120, pledge_id=pledge_id)
    told = await ask(api, sale, party)
    sums = {each["heading"]: each["amount_minor"] for each in told["sums"]}
    assert sum(sums.values()) == told["closing_minor"] - told["opening_minor"]
    assert sums["paid_out"] < 0 < sums["shares"]
    assert (sums["pledges"] > 0) == (sums["gifts"] > 0) == (party == "beneficiary")


async def test_a_campaign_is_divided_by_where_money_came_from_and_went(
    api: httpx.AsyncClient, database: Database, sale: Sale
) -> None:
    await random_books(database, sale, 6, count=150)
    told = await ask(api, sale, "campaign")
    sums = {each["heading"]: each["amount_minor"] for each in told["sums"]}
    parts = ("shares_farmer", "shares_beneficiary", "fees", "shipping", "gifts")
    assert sums["gross"] == sum(sums[name] for name in parts) > 0
    raised_by = ("shares_beneficiary", "gifts", "matches", "raised_back")
    assert sums["raised"] == sum(sums[name] for name in raised_by) == told["closing_minor"]
    entries = await entries_of(database, sale.campaign_id)
    cash = sum(e.amount_minor for e in entries if e.account == CLEARING)
    flows = ("gross", "refunds", "disputes", "payment_fees", "surplus")
    assert cash == sum(sums[name] for name in flows)
    for heading, prefix, sign in (
        ("owed_farmers", "farmer/", -1),
        ("owed_beneficiaries", "beneficiary/", -1),
        ("owed_pledges", "pledge/", -1),
        ("due_from_sponsors", "sponsor/", 1),
    ):
        held = sum(e.amount_minor for e in entries if e.account.startswith(prefix))
        assert sums[heading] == sign * held


async def test_a_campaigns_balance_is_what_the_screen_showed_at_that_number(
    api: httpx.AsyncClient, database: Database, sale: Sale
) -> None:
    await random_books(database, sale, 8)
    shown = dict(
        await rows(
            database,
            "SELECT seq, raised_minor FROM tally_history WHERE scope_id = :id",
            id=sale.campaign_id,
        )
    )
    items = {each["seq"]: each["balance_minor"] for each in await every_row(api, sale, "campaign")}
    assert len(shown) > 5
    assert {seq: items[seq] for seq in shown} == shown


async def test_real_sales_for_farmer_and_host(
    api: httpx.AsyncClient, database: Database, sale: Sale, signer: Signer
) -> None:
    placed = [await sold(database, sale, quantity) for quantity in (1, 1, 2)]
    other = await seed_sale(database, signer, sku="SAUCE")
    await settle(database, [placed[0].refund("re_1"), placed[1].dispute("dp_1", "needs_response")])
    await settle(database, [placed[1].dispute("dp_1", "won")])
    await seal(database)
    farmer = await ask(api, sale, "farmer")
    split = farmer["sales_split"]
    assert split["gross_minor"] == 4 * 2990
    parts = ("farmer_minor", "beneficiary_minor", "fees_minor")
    assert sum(split[name] for name in parts) == split["gross_minor"]
    sums = {each["heading"]: each["amount_minor"] for each in farmer["sums"]}
    assert (sums["shares"], sums["refunds"], sums["disputes"]) == (split["farmer_minor"], -2392, 0)
    assert farmer["closing_minor"] == split["farmer_minor"] - 2392
    captured = (await ask(api, sale, "beneficiary"))["sums"][0]
    assert captured["amount_minor"] == split["beneficiary_minor"]
    host = await ask(api, sale, "host")
    [stream] = host["streams"]
    assert stream["stream_id"] == sale.stream_id
    assert stream["title"] == "Peanut night"
    assert (stream["sales_minor"], stream["units"]) == (3 * 2990, 3)
    tally = await rows(
        database,
        "SELECT raised_minor, sales_minor, orders, units FROM tallies WHERE scope_id = :id",
        id=sale.stream_id,
    )
    assert [tuple(stream[n] for n in ("raised_minor", "sales_minor", "orders", "units"))] == tally
    zero = await ask(api, other, "farmer")
    assert (zero["items"], zero["closing_minor"], zero["to_seq"]) == ([], 0, 0)
    elsewhere = await api.get(
        address(sale, "host"),
        params={"campaign_id": other.campaign_id},
        headers=sale.auth("operator"),
    )
    assert elsewhere.json()["streams"] == []


async def test_a_host_sees_only_their_own_streams(
    api: httpx.AsyncClient, database: Database, sale: Sale, signer: Signer
) -> None:
    other = await seed_sale(database, signer, sku="SAUCE")
    await run(
        database,
        "UPDATE streams SET campaign_id = :to WHERE id = :id",
        to=sale.campaign_id,
        id=other.stream_id,
    )
    gift = [(CLEARING, 500), (f"beneficiary/{sale.beneficiary_id}", -500)]
    of_other = posting(sale, post.DONATION, gift, gifts=1, stream_id=other.stream_id)
    await post_all(database, [posting(sale, post.DONATION, gift, gifts=1), of_other])
    await seal(database)
    mine = await ask(api, sale, "host")
    assert [each["stream_id"] for each in mine["items"]] == [sale.stream_id]
    assert mine["closing_minor"] == 500
    both = await ask(api, sale, "campaign")
    assert {each["stream_id"] for each in both["streams"]} == {sale.stream_id, other.stream_id}


async def test_pages_keep_the_end_that_the_first_one_found(
    api: httpx.AsyncClient, database: Database, sale: Sale
) -> None:
    await random_books(database, sale, 3, count=30)
    first = await ask(api, sale, "campaign", limit=5)
    await random_books(database, sale, 4, count=10)
    second = await ask(api, sale, "campaign", limit=100, cursor=first["next"])
    assert (second["to_seq"], second["closing_minor"]) == (first["to_seq"], first["closing_minor"])
    assert second["items"][-1]["seq"] == 30
    assert second["items"][-1]["balance_minor"] == first["closing_minor"]
    for forged in ("c2VxXzk5eDE", "b3JkXzE", "%00", "c2VxXzF4NQ"):
        answer = await api.get(
            address(sale, "campaign"), params={"cursor": forged}, headers=sale.auth("public")
        )
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_cursor"), forged


@pytest.mark.parametrize("party", PARTIES)
async def test_csv_is_the_same_statement(
    api: httpx.AsyncClient, database: Database, sale: Sale, party: str, monkeypatch: Any
) -> None:
    monkeypatch.setattr(statements, "NUMBERS_A_STEP", 7)
    pledge_id = await make_pledge(database, sale)
    await random_books(database, sale, 9, pledge_id=pledge_id)
    items = await every_row(api, sale, party)
    whole = await ask(api, sale, party)
    answer = await api.get(
        address(sale, party),
        params={"campaign_id": sale.campaign_id, "format": "csv", "tz": "Asia/Shanghai"},
        headers=sale.auth("operator"),
    )
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert f"statement-{party}-" in answer.headers["content-disposition"]
    lines = list(csv.DictReader(io.StringIO(answer.text)))
    written = [line for line in lines if line["seq"]]
    for line, each in zip(written, items, strict=True):
        for name in ("seq", "amount_minor", "balance_minor"):
            assert int(line[name]) == each[name]
        assert line["leaf_hash"] == each["leaf_hash"]
        assert (line["kind"], line["words"]) == (each["kind"], each["words"])
        assert line["local_time"].endswith("+08:00")
        assert line["sealed_at"] == each["sealed_at"]
    marked = {line["kind"]: line for line in lines if not line["seq"]}
    assert int(marked["opening"]["balance_minor"]) == 0
    assert int(marked["closing"]["balance_minor"]) == whole["closing_minor"]
    for each in whole["sums"]:
        assert int(marked[f"sum_{each['heading']}"]["amount_minor"]) == each["amount_minor"]


async def test_csv_breaks_off_rather_than_close_on_another_sum(
    api: httpx.AsyncClient, database: Database, sale: Sale, monkeypatch: Any
) -> None:
    await random_books(database, sale, 9, count=10)
    whole = statements.read_rows

    async def one_less(*given: Any) -> Any:
        found = list(await whole(*given))
        found.remove(next(row for row in found if row.amount_minor))
        return found

    monkeypatch.setattr(statements, "read_rows", one_less)
    with pytest.raises(RuntimeError, match="do not add up"):
        await api.get(address(sale, "campaign"), params={"format": "csv"})


async def test_a_title_is_text_in_every_spreadsheet(
    api: httpx.AsyncClient, database: Database, sale: Sale
) -> None:
    hostile = '=HYPERLINK("http://x.example","花生")'
    await run(
        database,
        "UPDATE streams SET title = :title, title_zh = :zh WHERE id = :id",
        title=hostile,
        zh='＋花生,"之夜"',
        id=sale.stream_id,
    )
    await sold(database, sale)
    await seal(database)
    found = {}
    for lang in ("en", "zh"):
        answer = await api.get(address(sale, "campaign"), params={"format": "csv", "lang": lang})
        body = answer.content.decode("utf-8-sig" if lang == "zh" else "utf-8")
        assert answer.content.startswith(b"\xef\xbb\xbf") == (lang == "zh")
        found[lang] = next(line for line in csv.DictReader(io.StringIO(body)) if line["seq"])
    assert found["en"]["stream"] == f"'{hostile}"
    assert found["zh"]["stream"] == '\'＋花生,"之夜"'
    assert (found["en"]["words"], found["zh"]["words"]) == ("Sale paid", "销售入账")


@pytest.mark.parametrize(
    "zone",
    [
        "Mars/Olympus",
        "../../etc/passwd",
        "/etc/passwd",
        "Europe",
        "",
        "UTC\x00",
        "a" * 64,
        "Asia//Tokyo",
    ],
)
async def test_only_time_zones_are_time_zones(
    api: httpx.AsyncClient, sale: Sale, zone: str
) -> None:
    answer = await api.get(address(sale, "campaign"), params={"format": "csv", "tz": zone})
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_zone")


async def test_refusals(api: httpx.AsyncClient, sale: Sale) -> None:
    beneficiary, campaign = address(sale, "beneficiary"), address(sale, "campaign")
    ids = {"campaign_id": sale.campaign_id}
    for path, asked, code in (
        (beneficiary, {}, 422),
        (beneficiary, {"campaign_id": "cmp_0"}, 404),
        ("/v1/statements/beneficiary/ben_0", ids, 404),
        ("/v1/statements/campaign/cmp_0", {}, 404),
        ("/v1/statements/nobody/x_1", ids, 404),
        (campaign, {"from": "2026-02-02T00:00:00Z", "to": "2026-02-01T00:00:00Z"}, 422),
        (campaign, {"from": "today"}, 422),
        (campaign, {"limit": 101}, 422),
        (campaign, {"lang": "fr"}, 422),
    ):
        assert (await api.get(path, params=asked)).status_code == code, (path, asked)
