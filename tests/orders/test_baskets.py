"""Baskets with gifts, shipping and tax: every bound, what is stored, the same answer for ever, and totals that add up."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from starlette.types import Receive, Scope, Send

from inventory.gate import Gate
from inventory.offers import Catalogue
from inventory.rebuild import rebuild
from orders import place_route, writer
from orders.checkout import Checkout
from orders.hot_routes import HotRoutes
from orders.writer_transaction import Refused
from stream_events.access import Signer, new_shopper
from stream_events.database import Database
from tests.applications import make_app
from tests.factories import Sale, bearer, make_beneficiary, make_offer, make_product
from tests.orders.giving import problem_of, rows
from tests.orders.placing import books, run_sql

SAUCE = "SAUCE-1"


@pytest_asyncio.fixture(loop_scope="session")
async def second_cause(
    database: Database, sale: Sale, gate: Gate, sale_catalogue: Catalogue
) -> str:
    """A second offer whose share goes to another cause; both are causes of the campaign; tax and weights are set."""
    async with database.begin() as sql:
        second = (await make_beneficiary(sql, name="School", name_zh=None)).id
        product = await make_product(sql, sale.farmer_id, sku=SAUCE, weight_g=1000)
        await make_offer(sql, sale.stream_id, product, second, price_minor=1000)
    for statement in (
        "UPDATE products SET weight_g = 5000 WHERE sku <> 'SAUCE-1'",
        "UPDATE offer_terms SET tax_bp = 900 WHERE price_minor = 2990",
    ):
        await run_sql(database, statement)
    await run_sql(
        database,
        "INSERT INTO campaign_causes VALUES ($1, $2, 1), ($1, $3, 2)",
        sale.campaign_id,
        sale.beneficiary_id,
        second,
    )
    await rebuild(database, gate, sale.stream_id, 0)
    await sale_catalogue.refresh()
    return second


@pytest_asyncio.fixture(loop_scope="session")
async def shop(
    app_state: dict[str, Any],
    sale_catalogue: Catalogue,
    checkout: Checkout,
    second_cause: str,
) -> AsyncIterator[httpx.AsyncClient]:
    state = {**app_state, "catalogue": sale_catalogue, "checkout": checkout}
    declared = make_app([place_route.router], state)

    async def hot(scope: Scope, receive: Receive, send: Send) -> None:
        await HotRoutes(declared)({**scope, "state": state}, receive, send)

    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(hot), base_url="http://testserver"
    ) as client:
        yield client


async def post(
    shop: httpx.AsyncClient, sale: Sale, body: object, key: str = "key", **more: str
) -> httpx.Response:
    headers = {**sale.auth("shopper"), "idempotency-key": key, **more}
    path = f"/v1/streams/{sale.stream_id}/orders"
    return await shop.post(path, content=json.dumps(body).encode(), headers=headers)


def basket(sale: Sale, peanuts: int = 1, sauce: int = 0, **more: object) -> dict[str, object]:
    wanted = [(sale.sku, peanuts), (SAUCE, sauce)]
    return {"lines": [{"sku": sku, "quantity": n} for sku, n in wanted if n], **more}


async def set_shipping(database: Database, catalogue: Catalogue, rule: object) -> None:
    await run_sql(database, "UPDATE streams SET shipping = $1::text::jsonb", json.dumps(rule))
    await catalogue.refresh()


def amounts(answer: httpx.Response) -> tuple[list[tuple[str, str, int]], int, int]:
    found = answer.json()
    gifts = [(g["kind"], g["beneficiary_id"], g["amount_minor"]) for g in found["gifts"]]
    return gifts, found["shipping_minor"], found["total"]["amount_minor"]


async def test_everything_at_once_is_answered_stored_and_repeated_alike(
    shop: httpx.AsyncClient,
    sale: Sale,
    database: Database,
    sale_catalogue: Catalogue,
    second_cause: str,
) -> None:
    await set_shipping(database, sale_catalogue, {"type": "flat", "amount_minor": 800})
    shares = [
        {"beneficiary_id": second_cause, "share_bp": 2500},
        {"beneficiary_id": sale.beneficiary_id, "share_bp": 7500},
    ]
    wanted = basket(
        sale,
        2,
        1,
        gift={"amount_minor": 501, "causes": shares},
        extra_minor=100,
        round_up_to_minor=1000,
    )
    first = await post(shop, sale, wanted)
    assert first.status_code == 201, first.text
    mine = sale.beneficiary_id
    # 6980 of goods, 800 shipping, 501 given, 100 more: 8381, and 619 to the next 10.00.
    assert amounts(first) == (
        [
            ("gift", second_cause, 125),
            ("gift", mine, 376),
            ("extra", mine, 86),
            ("extra", second_cause, 14),
            ("round_up", second_cause, 155),
            ("round_up", mine, 464),
        ],
        800,
        9000,
    )
    assert [line["tax_minor"] for line in first.json()["lines"]] == [494, 0]
    order_id = first.json()["id"]
    assert await rows(database, "SELECT kind, total_minor, shipping_minor FROM orders") == [
        ("goods", 9000, 800)
    ]
    stored = await rows(
        database,
        "SELECT kind, beneficiary_id, amount_minor FROM order_gifts WHERE order_id = $1 ORDER BY n",
        order_id,
    )
    assert stored == amounts(first)[0]
    await run_sql(database, "DELETE FROM campaign_causes")
    await run_sql(
        database,
        "INSERT INTO offer_terms (offer_id, price_minor, per_shopper_max, farmer_id, beneficiary_id,"
        " farmer_bp, beneficiary_bp, fees_bp, tax_bp) SELECT offer_id, 1, per_shopper_max, farmer_id,"
        " beneficiary_id, farmer_bp, beneficiary_bp, fees_bp, 1300 FROM offer_terms",
    )
    await set_shipping(database, sale_catalogue, {"type": "free"})
    await asyncio.sleep(0.05)
    again = await post(shop, sale, wanted)
    assert (again.status_code, again.content) == (201, first.content)
    assert (await books(database)).orders == 1


async def test_extra_money_alone_goes_where_the_shares_go(
    shop: httpx.AsyncClient, sale: Sale, second_cause: str
) -> None:
    extra = await post(shop, sale, basket(sale, 1, 1, extra_minor=3), "extra")
    assert amounts(extra) == (
        [("extra", sale.beneficiary_id, 2), ("extra", second_cause, 1)],
        0,
        3993,
    )
    rounded = await post(shop, sale, basket(sale, 1, 0, round_up_to_minor=500), "round")
    assert amounts(rounded) == ([("round_up", sale.beneficiary_id, 10)], 0, 3000)
    even = await post(shop, sale, basket(sale, 0, 1, round_up_to_minor=500), "even")
    assert amounts(even) == ([], 0, 1000)
    default = await post(
        shop, sale, basket(sale, 0, 1, gift={"amount_minor": 1}, round_up_to_minor=500), "gift"
    )
    mine = sale.beneficiary_id
    assert amounts(default) == ([("gift", mine, 1), ("round_up", mine, 499)], 0, 1500)


def bad_extras(cause: str) -> dict[str, tuple[dict[str, object], str]]:
    def share(each: str, share_bp: object) -> dict[str, object]:
        return {"beneficiary_id": each, "share_bp": share_bp}

    return {
        "gift of nothing": ({"gift": {}}, "invalid"),
        "gift of 0": ({"gift": {"amount_minor": 0}}, "invalid"),
        "gift below the least": ({"gift": {"amount_minor": 99}}, "gift_too_small"),
        "gift above the most": ({"gift": {"amount_minor": 9001}}, "gift_too_large"),
        "all above the most": (
            {"gift": {"amount_minor": 8999}, "extra_minor": 2},
            "gift_too_large",
        ),
        "rounded above the most": ({"round_up_to_minor": 99_999_999}, "gift_too_large"),
        "extra of 0": ({"extra_minor": 0}, "invalid"),
        "extra below 0": ({"extra_minor": -1}, "invalid"),
        "extra a float": ({"extra_minor": 1.5}, "invalid"),
        "rounding to 0": ({"round_up_to_minor": 0}, "invalid"),
        "unknown cause": (
            {"gift": {"amount_minor": 100, "causes": [share("ben_0", 10_000)]}},
            "unknown_cause",
        ),
        "shares short": (
            {"gift": {"amount_minor": 100, "causes": [share(cause, 9_999)]}},
            "causes_not_whole",
        ),
        "a shipping of one's own": ({"shipping_minor": 0}, "invalid"),
        "gifts of one's own": ({"gifts": []}, "invalid"),
        "an odd gift": ({"gift": {"amount_minor": 100, "kind": "extra"}}, "invalid"),
    }


@pytest.mark.parametrize("name", bad_extras("ben_1"))
async def test_what_may_not_be_given_holds_nothing(
    shop: httpx.AsyncClient,
    sale: Sale,
    database: Database,
    sale_catalogue: Catalogue,
    second_cause: str,
    name: str,
) -> None:
    await run_sql(database, "UPDATE campaigns SET gift_min_minor = 100, gift_max_minor = 9000")
    await sale_catalogue.refresh()
    extras, code = bad_extras(second_cause)[name]
    assert problem_of(await post(shop, sale, basket(sale, **extras))) == (422, code)  # type: ignore[arg-type]
    assert await books(database) == (200, 0, 0, 0, 0, 0, 0)
    for n, fits in enumerate((100, 9000)):
        answer = await post(shop, sale, basket(sale, gift={"amount_minor": fits}), f"fits-{n}")
        assert answer.status_code == 201, answer.text


async def test_the_total_with_all_on_top_must_be_chargeable(
    shop: httpx.AsyncClient, sale: Sale, database: Database, sale_catalogue: Catalogue
) -> None:
    most = await post(shop, sale, basket(sale, 1, 0, extra_minor=99_999_999 - 2990), "most")
    assert most.status_code == 201, most.text
    over = await post(shop, sale, basket(sale, 1, 0, extra_minor=99_999_999 - 2989), "over")
    assert problem_of(over) == (422, "total_too_large")
    await set_shipping(database, sale_catalogue, {"type": "flat", "amount_minor": 99_999_999})
    sent = await post(shop, sale, basket(sale), "sent")
    assert problem_of(sent) == (422, "total_too_large")
    await run_sql(database, "UPDATE campaigns SET currency = 'KWD'")
    await set_shipping(database, sale_catalogue, {"type": "free"})
    odd = await post(shop, sale, basket(sale, extra_minor=5), "odd")
    assert problem_of(odd) == (422, "amount_not_chargeable")


async def test_shipping_counts_by_the_rule_of_the_moment_of_placing(
    shop: httpx.AsyncClient, sale: Sale, database: Database, sale_catalogue: Catalogue
) -> None:
    rule = {
        "type": "by_weight",
        "classes": [
            {"up_to_g": 6000, "amount_minor": 700},
            {"up_to_g": 11000, "amount_minor": 1500},
        ],
        "free_from_minor": 6900,
    }
    await set_shipping(database, sale_catalogue, rule)
    for peanuts, sauce, shipping_minor in ((1, 1, 700), (1, 2, 1500), (2, 1, 0)):
        answer = await post(shop, sale, basket(sale, peanuts, sauce), f"{peanuts}-{sauce}")
        goods = peanuts * 2990 + sauce * 1000
        assert amounts(answer) == ([], shipping_minor, goods + shipping_minor)
    heavy = await post(shop, sale, basket(sale, 2, 2), "heavy")
    assert problem_of(heavy) == (422, "too_heavy")
    assert heavy.json()["weight_g_max"] == 11000
    known = await post(shop, sale, basket(sale, 1, 1), "1-1")
    await set_shipping(database, sale_catalogue, {"type": "free"})
    assert (await post(shop, sale, basket(sale, 1, 1), "1-1")).content == known.content


async def test_the_limit_answers_with_the_open_order_of_the_same_lines_and_gifts_only(
    shop: httpx.AsyncClient, sale: Sale, database: Database, sale_catalogue: Catalogue
) -> None:
    await set_shipping(database, sale_catalogue, {"type": "flat", "amount_minor": 800})
    given = basket(sale, 5, 0, gift={"amount_minor": 700})
    first = await post(shop, sale, given, "one")
    again = await post(shop, sale, given, "two")
    assert (again.status_code, again.content) == (200, first.content)
    for n, other in enumerate(
        (
            basket(sale, 5),
            basket(sale, 5, 0, gift={"amount_minor": 701}),
            basket(sale, 5, 0, extra_minor=700),
        )
    ):
        assert problem_of(await post(shop, sale, other, f"other-{n}")) == (409, "limit_exceeded")


async def test_a_plain_order_is_not_answered_with_one_that_gives(
    shop: httpx.AsyncClient, sale: Sale, signer: Signer
) -> None:
    theirs = bearer(new_shopper(signer)[1])
    plain = await post(shop, sale, basket(sale, 5), "one", **theirs)
    again = await post(shop, sale, basket(sale, 5), "two", **theirs)
    assert (again.status_code, again.content) == (200, plain.content)
    giving = await post(shop, sale, basket(sale, 5, 0, extra_minor=1), "three", **theirs)
    assert problem_of(giving) == (409, "limit_exceeded")


async def test_the_same_key_means_the_same_gifts(
    shop: httpx.AsyncClient, sale: Sale, database: Database, second_cause: str
) -> None:
    gift: dict[str, object] = {"amount_minor": 500}
    assert (await post(shop, sale, basket(sale, gift=gift, extra_minor=5))).status_code == 201
    named = {**gift, "causes": [{"beneficiary_id": second_cause, "share_bp": 10_000}]}
    for changed in (
        basket(sale),
        basket(sale, gift=gift),
        basket(sale, gift={"amount_minor": 501}, extra_minor=5),
        basket(sale, gift=named, extra_minor=5),
        basket(sale, gift=gift, extra_minor=6),
        basket(sale, gift=gift, extra_minor=5, round_up_to_minor=5),
    ):
        refused = await post(shop, sale, changed)
        assert problem_of(refused) == (422, "idempotency_conflict"), changed
    assert (await books(database)).orders == 1


async def test_a_plain_body_keeps_the_fingerprint_it_always_had(
    shop: httpx.AsyncClient, sale: Sale, database: Database
) -> None:
    """Keys answered before gifts existed must go on answering."""
    nothing = {"gift": None, "extra_minor": None, "round_up_to_minor": None}
    for n, more in enumerate(({}, nothing)):
        assert (await post(shop, sale, basket(sale, 2, 1, **more), f"k{n}")).status_code == 201
    expected = hashlib.sha256(f"{sale.sku}=2\n{SAUCE}=1".encode()).digest()
    assert await rows(database, "SELECT DISTINCT fingerprint FROM order_keys") == [(expected,)]


async def test_the_close_way_writes_gifts_and_shipping_too(
    shop: httpx.AsyncClient,
    sale: Sale,
    database: Database,
    sale_catalogue: Catalogue,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A guard disagreed with the gate somewhere in the batch: what fits is written whole all the same."""

    async def refused(*_: object) -> Any:
        raise Refused

    await set_shipping(database, sale_catalogue, {"type": "flat", "amount_minor": 800})
    monkeypatch.setattr(writer, "transact", refused)
    wanted = [basket(sale, 1, 0, extra_minor=5), basket(sale, 1, 1), basket(sale, 0, 1)]
    answers = await asyncio.gather(
        *(post(shop, sale, each, f"k{n}") for n, each in enumerate(wanted))
    )
    assert [amounts(answer)[1:] for answer in answers] == [(800, 3795), (800, 4790), (800, 1800)]
    assert await rows(database, "SELECT kind, amount_minor FROM order_gifts") == [("extra", 5)]
    await asyncio.sleep(0.05)
    for n, each in enumerate(wanted):
        assert (await post(shop, sale, each, f"k{n}")).content == answers[n].content
    assert (await books(database)).sound
