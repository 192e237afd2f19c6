"""Giving without goods, by both doors, on real engines: bounds, causes, keys, words, and what a batch survives."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from inventory.offers import Catalogue, CauseView, StreamSettings
from orders import donation_routes, donations, hot_routes, own_connections, place_route
from orders.checkout import Checkout
from orders.donations import Donations
from orders.gifts import GIFT, GiftWish, shares_of, spread
from stream_events.access import Signer, new_shopper
from stream_events.database import Database
from stream_events.errors import Problem
from tests.applications import make_app
from tests.factories import Sale, bearer, make_beneficiary
from tests.orders.placing import gate_left, run_sql


@pytest_asyncio.fixture(loop_scope="session")
async def causes(database: Database, sale: Sale, sale_catalogue: Catalogue) -> tuple[str, str]:
    """Two causes of the sale's campaign, in the order they are offered in."""
    async with database.begin() as sql:
        second = (await make_beneficiary(sql, name="School", name_zh=None)).id
    await run_sql(
        database,
        "INSERT INTO campaign_causes VALUES ($1, $2, 1), ($1, $3, 2)",
        sale.campaign_id,
        sale.beneficiary_id,
        second,
    )
    await sale_catalogue.refresh()
    return sale.beneficiary_id, second


@pytest_asyncio.fixture(loop_scope="session")
async def giving(
    database: Database, sale_catalogue: Catalogue, checkout: Checkout
) -> AsyncIterator[Donations]:
    made = Donations(database, sale_catalogue, checkout)
    yield made
    await made.close()


@pytest_asyncio.fixture(loop_scope="session", params=["hot", "declared"])
async def shop(
    request: pytest.FixtureRequest,
    app_state: dict[str, Any],
    sale_catalogue: Catalogue,
    checkout: Checkout,
    giving: Donations,
    causes: tuple[str, str],
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the routes, by either way; an unhandled error fails the test."""
    state = {
        **app_state,
        "catalogue": sale_catalogue,
        "checkout": checkout,
        "donations": giving,
    }
    declared = make_app([place_route.router, donation_routes.router], state)

    async def hot(scope: Scope, receive: Receive, send: Send) -> None:
        await hot_routes.HotRoutes(declared)({**scope, "state": state}, receive, send)

    app = hot if request.param == "hot" else declared
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://testserver"
    ) as client:
        yield client


async def give(
    shop: httpx.AsyncClient, sale: Sale, body: object, key: str = "key", **more: str
) -> httpx.Response:
    stream_id = more.pop("stream_id", sale.stream_id)
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {**sale.auth("shopper"), "idempotency-key": key, **more}
    return await shop.post(f"/v1/streams/{stream_id}/donations", content=content, headers=headers)


async def rows(database: Database, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    sql = await database.connect()
    try:
        return [tuple(row) for row in await sql.fetch(statement, *values)]
    finally:
        await sql.close()


async def given_in_all(database: Database) -> tuple[Any, ...]:
    """How many orders, gifts, messages and keys there are, and what the gifts come to."""
    (row,) = await rows(
        database,
        "SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM order_gifts),"
        " (SELECT count(*) FROM order_messages), (SELECT count(*) FROM order_keys),"
        " (SELECT coalesce(sum(amount_minor), 0)::bigint FROM order_gifts)",
    )
    return row


def problem_of(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]


async def test_a_gift_is_an_order_without_goods_in_the_same_queue(
    shop: httpx.AsyncClient, sale: Sale, database: Database, causes: tuple[str, str], gate: Any
) -> None:
    first = await give(shop, sale, {"amount_minor": 5000})
    assert first.status_code == 201, first.text
    found = first.json()
    order_id = found.pop("id")
    assert order_id.startswith("ord_")
    assert found.pop("server_time").endswith("Z")
    assert found == {
        "state": "PLEDGED",
        "amount": {"amount_minor": 5000, "currency": "CNY"},
        "causes": [{"beneficiary_id": causes[0], "amount_minor": 5000}],
        "place": 1,
    }
    assert await rows(
        database, "SELECT id, kind, state, total_minor, shipping_minor FROM orders"
    ) == [(order_id, "gift", "RESERVED", 5000, 0)]
    assert await rows(database, "SELECT * FROM order_gifts") == [
        (order_id, 1, "gift", causes[0], 5000)
    ]
    assert await given_in_all(database) == (1, 1, 0, 1, 5000)
    assert await gate_left(gate, sale) == (100, 0)
    again = await give(shop, sale, {"amount_minor": 5000})
    assert (again.status_code, again.content) == (201, first.content)


async def test_several_causes_share_to_the_last_minor_unit_in_the_order_given(
    shop: httpx.AsyncClient, sale: Sale, database: Database, causes: tuple[str, str]
) -> None:
    first, second = causes
    wanted = [(second, 3333), (first, 6667)]
    shares = [{"beneficiary_id": each, "share_bp": share_bp} for each, share_bp in wanted]
    answer = await give(shop, sale, {"amount_minor": 100, "causes": shares})
    assert answer.json()["causes"] == [
        {"beneficiary_id": second, "amount_minor": 33},
        {"beneficiary_id": first, "amount_minor": 67},
    ]
    tiny = await give(shop, sale, {"amount_minor": 1, "causes": shares}, "tiny")
    assert tiny.json()["causes"] == [{"beneficiary_id": first, "amount_minor": 1}]
    assert (await given_in_all(database))[4] == 101


def _share(beneficiary_id: str, share_bp: object) -> dict[str, object]:
    return {"beneficiary_id": beneficiary_id, "share_bp": share_bp}


def bad_gifts(first: str, second: str) -> dict[str, tuple[object, int, str]]:
    return {
        "nothing": ({}, 422, "invalid"),
        "zero": ({"amount_minor": 0}, 422, "invalid"),
        "below the least": ({"amount_minor": 99}, 422, "gift_too_small"),
        "above the most": ({"amount_minor": 9001}, 422, "gift_too_large"),
        "above all": ({"amount_minor": 100_000_000}, 422, "invalid"),
        "a float": ({"amount_minor": 500.0}, 422, "invalid"),
        "text": ({"amount_minor": "500"}, 422, "invalid"),
        "true": ({"amount_minor": True}, 422, "invalid"),
        "a currency": ({"amount_minor": 500, "currency": "USD"}, 422, "invalid"),
        "a state": ({"amount_minor": 500, "state": "PAID"}, 422, "invalid"),
        "no causes": ({"amount_minor": 500, "causes": []}, 422, "invalid"),
        "a foreign cause": (
            {"amount_minor": 500, "causes": [_share("ben_0", 10_000)]},
            422,
            "unknown_cause",
        ),
        "no id": ({"amount_minor": 500, "causes": [_share("x", 10_000)]}, 422, "invalid"),
        "shares short": (
            {"amount_minor": 500, "causes": [_share(first, 5000), _share(second, 4999)]},
            422,
            "causes_not_whole",
        ),
        "shares over": (
            {"amount_minor": 500, "causes": [_share(first, 5000), _share(second, 5001)]},
            422,
            "causes_not_whole",
        ),
        "a cause twice": (
            {"amount_minor": 500, "causes": [_share(first, 5000), _share(first, 5000)]},
            422,
            "cause_twice",
        ),
        "a share of nothing": (
            {"amount_minor": 500, "causes": [_share(first, 10_000), _share(second, 0)]},
            422,
            "invalid",
        ),
        "a long name": ({"amount_minor": 500, "name": "x" * 33}, 422, "invalid"),
        "a hidden name": ({"amount_minor": 500, "name": "a\u202eb"}, 422, "invalid"),
        "a zero character": ({"amount_minor": 500, "message": "a\x00b"}, 422, "invalid"),
        "a long message": ({"amount_minor": 500, "message": "x" * 201}, 422, "invalid"),
        "a heap of marks": ({"amount_minor": 500, "message": "a" + "\u0301" * 6}, 422, "invalid"),
        "a long dedication": ({"amount_minor": 500, "dedication": "x" * 101}, 422, "invalid"),
        "nothing to show": ({"amount_minor": 500, "show": True}, 422, "invalid"),
        "blank words": ({"amount_minor": 500, "message": " \n "}, 422, "invalid"),
        "not JSON": (b"{", 400, "invalid_json"),
        "too long": (b" " * 16385, 413, "too_long"),
    }


@pytest.mark.parametrize("name", bad_gifts("ben_1", "ben_2"))
async def test_a_gift_that_is_none_is_refused_and_changes_nothing(
    shop: httpx.AsyncClient,
    sale: Sale,
    database: Database,
    causes: tuple[str, str],
    sale_catalogue: Catalogue,
    name: str,
) -> None:
    await run_sql(database, "UPDATE campaigns SET gift_min_minor = 100, gift_max_minor = 9000")
    await sale_catalogue.refresh()
    body, status, code = bad_gifts(*causes)[name]
    assert problem_of(await give(shop, sale, body)) == (status, code)
    assert await given_in_all(database) == (0, 0, 0, 0, 0)
    for amount_minor in (100, 9000):
        fits = await give(shop, sale, {"amount_minor": amount_minor}, f"fits-{amount_minor}")
        assert fits.status_code == 201


async def test_bounds_and_causes_that_changed_meanwhile_do_not_change_an_answer(
    shop: httpx.AsyncClient, sale: Sale, database: Database, sale_catalogue: Catalogue
) -> None:
    first = await give(shop, sale, {"amount_minor": 500})
    await run_sql(database, "DELETE FROM campaign_causes")
    await sale_catalogue.refresh()
    again = await give(shop, sale, {"amount_minor": 500})
    assert (again.status_code, again.content) == (201, first.content)
    assert problem_of(await give(shop, sale, {"amount_minor": 500}, "new")) == (422, "no_causes")
    other = await give(shop, sale, {"amount_minor": 501})
    assert problem_of(other) == (422, "idempotency_conflict")


async def test_a_stream_takes_gifts_from_its_announcement_to_its_end(
    shop: httpx.AsyncClient, sale: Sale, database: Database, sale_catalogue: Catalogue
) -> None:
    for state, status in (
        ("draft", 404),
        ("scheduled", 201),
        ("live", 201),
        ("ended", 201),
        ("settled", 404),
    ):
        await run_sql(database, "UPDATE streams SET state = $1", state)
        await sale_catalogue.refresh()
        answer = await give(shop, sale, {"amount_minor": 500}, state)
        assert answer.status_code == status, state
    missing = await give(shop, sale, {"amount_minor": 500}, stream_id="str_0")
    assert problem_of(missing) == (404, "not_found")


async def test_only_a_shopper_gives_and_only_under_a_key(
    shop: httpx.AsyncClient, sale: Sale, database: Database
) -> None:
    for role in ("operator", "host", "farmer", "overlay"):
        refused = await give(shop, sale, {"amount_minor": 500}, **sale.auth(role))
        assert refused.status_code in {401, 403}
    forged = await give(shop, sale, {"amount_minor": 500}, **bearer("nonsense"))
    assert problem_of(forged) == (401, "unauthorized")
    for key in ("", "k" * 256, "two words"):
        refused = await give(shop, sale, {"amount_minor": 500}, key)
        assert problem_of(refused) == (400, "idempotency_key")
    assert await given_in_all(database) == (0, 0, 0, 0, 0)


async def test_one_key_a_hundred_times_at_once_is_one_gift(
    shop: httpx.AsyncClient, sale: Sale, database: Database, signer: Signer
) -> None:
    answers = await asyncio.gather(
        *(give(shop, sale, {"amount_minor": 500, "name": "Li"}) for _ in range(100))
    )
    assert {(answer.status_code, answer.content) for answer in answers} == {
        (201, answers[0].content)
    }
    for changed in ({"amount_minor": 501, "name": "Li"}, {"amount_minor": 500, "name": "Lu"}):
        assert problem_of(await give(shop, sale, changed)) == (422, "idempotency_conflict")
    _, other = new_shopper(signer)
    theirs = await give(shop, sale, {"amount_minor": 501}, **bearer(other))
    assert theirs.status_code == 201, "the same key of another shopper is another key"
    assert await given_in_all(database) == (2, 2, 1, 2, 1001)


async def test_two_bodies_under_one_key_at_once_are_one_gift_and_conflicts(
    shop: httpx.AsyncClient, sale: Sale, database: Database
) -> None:
    answers = await asyncio.gather(
        *(give(shop, sale, {"amount_minor": 500 + n % 2}) for n in range(20))
    )
    placed = {answer.content for answer in answers if answer.status_code == 201}
    refused = {problem_of(answer) for answer in answers if answer.status_code != 201}
    assert (len(placed), refused) == (1, {(422, "idempotency_conflict")})
    assert (await given_in_all(database))[:2] == (1, 1)


async def test_a_key_never_means_a_gift_and_an_order(
    shop: httpx.AsyncClient, sale: Sale, database: Database, gate: Any
) -> None:
    """Either way round, and at once: one of them is taken, and the units of the other are given back."""
    path, goods = (
        f"/v1/streams/{sale.stream_id}/orders",
        {"lines": [{"sku": sale.sku, "quantity": 1}]},
    )

    async def buy(key: str) -> httpx.Response:
        headers = {**sale.auth("shopper"), "idempotency-key": key}
        return await shop.post(path, json=goods, headers=headers)

    assert (await give(shop, sale, {"amount_minor": 500}, "gift")).status_code == 201
    assert problem_of(await buy("gift")) == (422, "idempotency_conflict")
    assert (await buy("goods")).status_code == 201
    refused = await give(shop, sale, {"amount_minor": 500}, "goods")
    assert problem_of(refused) == (422, "idempotency_conflict")
    both = await asyncio.gather(
        *(
            each
            for n in range(3)
            for each in (buy(f"both-{n}"), give(shop, sale, {"amount_minor": 500}, f"both-{n}"))
        )
    )
    assert sorted(answer.status_code for answer in both) == [201] * 3 + [422] * 3
    bought = 1 + sum(answer.status_code == 201 for answer in both[::2])
    await asyncio.sleep(0.1)
    assert await gate_left(gate, sale) == (100 - bought, 0)
    assert await rows(database, "SELECT reserved FROM stock") == [(bought,)]


async def test_words_are_kept_apart_and_shown_to_nobody_without_consent(
    shop: httpx.AsyncClient, sale: Sale, database: Database
) -> None:
    said = {
        "name": " Li\u00a0Na ",
        "message": "Play  well,\nchildren!  👨‍👩‍👧",
        "dedication": "For Opa",
    }
    await give(shop, sale, {"amount_minor": 500, **said, "show": True}, "shown")
    await give(shop, sale, {"amount_minor": 500, **said}, "quiet")
    found = await rows(
        database,
        "SELECT m.name, message, dedication, display, consent_at IS NOT NULL FROM order_messages m"
        " ORDER BY display",
    )
    words = ("Li\u00a0Na", "Play well, children! 👨‍👩‍👧", "For Opa")
    assert found == [(*words, "ANONYMOUS", False), (*words, "PENDING_REVIEW", True)]


async def test_a_rush_is_written_in_batches_and_nothing_is_lost(
    shop: httpx.AsyncClient, sale: Sale, database: Database, signer: Signer, causes: tuple[str, str]
) -> None:
    tokens = [new_shopper(signer)[1] for _ in range(40)]
    answers = await asyncio.gather(
        *(
            give(
                shop,
                sale,
                {"amount_minor": 100 + n, "message": f"No {n}"},
                f"k{n}",
                **bearer(token),
            )
            for n in range(10)
            for token in tokens
        )
    )
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 400
    total = sum(40 * (100 + n) for n in range(10))
    assert await given_in_all(database) == (400, 400, 400, 400, total)


async def test_after_an_unheard_commit_the_same_batch_is_exact(
    shop: httpx.AsyncClient, sale: Sale, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The COMMIT took effect and its answer was lost: the gift answered is the one that was written."""
    real, runs = donations._transact, []

    async def unheard(sql: Any, group: Sequence[Any]) -> Any:
        runs.append(len(group))
        written = await real(sql, group)
        if len(runs) == 1:
            sql.terminate()
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle")
        return written

    monkeypatch.setattr(donations, "_transact", unheard)
    answer = await give(shop, sale, {"amount_minor": 500, "name": "Li"})
    assert (answer.status_code, runs) == (201, [1, 1])
    assert await rows(database, "SELECT id FROM orders") == [(answer.json()["id"],)]
    assert await given_in_all(database) == (1, 1, 1, 1, 500)


async def test_while_the_fate_is_unknown_it_says_so_and_the_key_settles_it(
    shop: httpx.AsyncClient, sale: Sale, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = donations._transact

    async def lost(sql: Any, group: Sequence[Any]) -> Any:
        await real(sql, group)
        sql.terminate()
        raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle")

    with monkeypatch.context() as patch:
        patch.setattr(donations, "DEADLINE_S", 0.0)
        patch.setattr(own_connections, "PAUSE_S", 0.01)
        patch.setattr(donations, "_transact", lost)
        unknown = await give(shop, sale, {"amount_minor": 500})
        assert problem_of(unknown) == (503, "unclear")
        assert int(unknown.headers["retry-after"]) >= 1
    assert (await give(shop, sale, {"amount_minor": 500})).status_code == 201
    assert await given_in_all(database) == (1, 1, 0, 1, 500)


async def test_what_sql_refuses_takes_no_other_gift_down(
    shop: httpx.AsyncClient,
    sale: Sale,
    database: Database,
    causes: tuple[str, str],
    giving: Donations,
) -> None:
    """An id that cannot be written: the batch is split until only that gift is left out."""

    def wish(key: str, shopper_id: str) -> donations.Wish:
        return donations.Wish(sale.stream_id, shopper_id, key, GiftWish(500, ()), None)

    wishes = [giving.give(wish(f"k{n}", f"shp_{n}" if n != 4 else "shp_\x00")) for n in range(9)]
    outcomes = await asyncio.gather(*wishes, return_exceptions=True)
    bad = outcomes.pop(4)
    assert isinstance(bad, Problem)
    assert bad.status == 503
    assert all(isinstance(one, donations.Placed) for one in outcomes)
    assert (await given_in_all(database))[:2] == (8, 8)


async def test_an_overrun_queue_takes_nothing_and_says_so(
    shop: httpx.AsyncClient, sale: Sale, giving: Donations, database: Database
) -> None:
    giving._batch._queue_max = 0
    assert problem_of(await give(shop, sale, {"amount_minor": 500})) == (503, "unavailable")
    assert await given_in_all(database) == (0, 0, 0, 0, 0)


async def test_a_giver_who_hammers_is_slowed_down_with_the_buyers(
    shop: httpx.AsyncClient, sale: Sale, checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkout, "_attempts_max", 2)
    statuses = [
        (await give(shop, sale, {"amount_minor": 500}, f"k{n}")).status_code for n in range(3)
    ]
    assert statuses == [201, 201, 429]


# --- what is said, later ---------------------------------------------------------------------------------------


async def message_of(database: Database) -> list[tuple[Any, ...]]:
    return await rows(
        database,
        "SELECT name, message, dedication, display, consent_at IS NOT NULL FROM order_messages",
    )


async def test_words_are_changed_looked_at_again_and_erased(
    shop: httpx.AsyncClient, sale: Sale, database: Database
) -> None:
    order_id = (await give(shop, sale, {"amount_minor": 500})).json()["id"]
    path, mine = f"/v1/orders/{order_id}/message", sale.auth("shopper")

    async def put(body: object) -> str:
        answer = await shop.put(path, json=body, headers=mine)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["display"])

    assert await put({"name": "Li"}) == "ANONYMOUS"
    assert await put({"name": "Li", "show": True}) == "PENDING_REVIEW"
    assert await message_of(database) == [("Li", None, None, "PENDING_REVIEW", True)]
    await run_sql(database, "UPDATE order_messages SET display = 'SHOWN'")
    assert await put({"name": "Li", "show": True}) == "SHOWN", "not a word has changed"
    assert await put({"name": "Lu", "show": True}) == "PENDING_REVIEW"
    await run_sql(database, "UPDATE order_messages SET display = 'HIDDEN'")
    assert await put({"name": "Lu", "show": True}) == "HIDDEN", "asking again does not overrule"
    assert await put({"name": "Lu"}) == "ANONYMOUS"
    assert await message_of(database) == [("Lu", None, None, "ANONYMOUS", False)]
    for _ in range(2):
        assert (await shop.delete(path, headers=mine)).status_code == 204
    assert await message_of(database) == []
    assert (await given_in_all(database))[0] == 1


async def test_only_the_giver_speaks_for_a_gift(
    shop: httpx.AsyncClient, sale: Sale, database: Database, signer: Signer
) -> None:
    order_id = (await give(shop, sale, {"amount_minor": 500, "name": "Li"})).json()["id"]
    _, other = new_shopper(signer)
    for path, headers, status in (
        (f"/v1/orders/{order_id}/message", bearer(other), 404),
        ("/v1/orders/ord_0/message", sale.auth("shopper"), 404),
        (f"/v1/orders/{order_id}/message", sale.auth("operator"), 403),
        (f"/v1/orders/{order_id}/message", bearer(signer.sign("order", "ord_0")), 404),
        (f"/v1/orders/{order_id}/message", {}, 401),
    ):
        assert (await shop.put(path, json={"name": "X"}, headers=headers)).status_code == status
        assert (await shop.delete(path, headers=headers)).status_code == status
    assert await message_of(database) == [("Li", None, None, "ANONYMOUS", False)]
    holder = bearer(signer.sign("order", order_id))
    assert (
        await shop.put(f"/v1/orders/{order_id}/message", json={"name": "Lu"}, headers=holder)
    ).status_code == 200
    for bad in (
        {},
        {"show": True},
        {"name": ""},
        {"name": "a\u202eb"},
        {"message": 5},
        {"state": "x"},
    ):
        refused = await shop.put(f"/v1/orders/{order_id}/message", json=bad, headers=holder)
        assert problem_of(refused) == (422, "invalid")


# --- the arithmetic ----------------------------------------------------------------------------------------------


SETTINGS = StreamSettings(
    shipping={},
    seller=None,
    refund_terms=None,
    refund_terms_zh=None,
    payment_methods=("card",),
    gift_min_minor=0,
    gift_max_minor=None,
    causes=tuple(CauseView(f"ben_{n}", "x", None) for n in range(10)),
    matches=(),
)


@given(st.integers(1, 99_999_999), st.lists(st.integers(0, 10_000), max_size=9))
def test_the_parts_of_a_gift_sum_to_it_and_none_is_off_by_a_unit(
    amount_minor: int, cuts: list[int]
) -> None:
    edges = [0, *sorted(set(cuts) - {0, 10_000}), 10_000]
    named = tuple((f"ben_{n}", end - start) for n, (start, end) in enumerate(pairwise(edges)))
    shares = shares_of(GiftWish(amount_minor, named), SETTINGS)
    gifts = spread(GIFT, amount_minor, shares)
    assert sum(gift.amount_minor for gift in gifts) == amount_minor
    parts = {gift.beneficiary_id: gift.amount_minor for gift in gifts}
    for beneficiary_id, share_bp in named:
        assert abs(parts.get(beneficiary_id, 0) * 10_000 - amount_minor * share_bp) < 10_000
    assert [gift.beneficiary_id for gift in gifts] == sorted(parts)


def test_a_gift_that_names_no_cause_goes_to_the_first() -> None:
    assert shares_of(GiftWish(5, ()), SETTINGS) == (("ben_0", 10_000),)
