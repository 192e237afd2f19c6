"""Giving without goods, by both doors, on real engines: bounds, causes, keys, and who may give where."""

import asyncio
from typing import Any

import httpx
import pytest

from inventory.offers import Catalogue
from stream_events.access import Signer, new_shopper
from stream_events.database import Database
from tests.factories import Sale, bearer
from tests.orders.giving import give, given_in_all, problem_of, rows
from tests.orders.placing import gate_left, run_sql


async def test_a_gift_is_an_order_without_goods_in_the_same_queue(
    giving_shop: httpx.AsyncClient,
    sale: Sale,
    database: Database,
    causes: tuple[str, str],
    gate: Any,
) -> None:
    first = await give(giving_shop, sale, {"amount_minor": 5000})
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
    again = await give(giving_shop, sale, {"amount_minor": 5000})
    assert (again.status_code, again.content) == (201, first.content)


async def test_several_causes_share_to_the_last_minor_unit_in_the_order_given(
    giving_shop: httpx.AsyncClient, sale: Sale, database: Database, causes: tuple[str, str]
) -> None:
    first, second = causes
    wanted = [(second, 3333), (first, 6667)]
    shares = [{"beneficiary_id": each, "share_bp": share_bp} for each, share_bp in wanted]
    answer = await give(giving_shop, sale, {"amount_minor": 100, "causes": shares})
    assert answer.json()["causes"] == [
        {"beneficiary_id": second, "amount_minor": 33},
        {"beneficiary_id": first, "amount_minor": 67},
    ]
    tiny = await give(giving_shop, sale, {"amount_minor": 1, "causes": shares}, "tiny")
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
    giving_shop: httpx.AsyncClient,
    sale: Sale,
    database: Database,
    causes: tuple[str, str],
    sale_catalogue: Catalogue,
    name: str,
) -> None:
    await run_sql(database, "UPDATE campaigns SET gift_min_minor = 100, gift_max_minor = 9000")
    await sale_catalogue.refresh()
    body, status, code = bad_gifts(*causes)[name]
    assert problem_of(await give(giving_shop, sale, body)) == (status, code)
    assert await given_in_all(database) == (0, 0, 0, 0, 0)
    for amount_minor in (100, 9000):
        fits = await give(giving_shop, sale, {"amount_minor": amount_minor}, f"fits-{amount_minor}")
        assert fits.status_code == 201


async def test_bounds_and_causes_that_changed_meanwhile_do_not_change_an_answer(
    giving_shop: httpx.AsyncClient, sale: Sale, database: Database, sale_catalogue: Catalogue
) -> None:
    first = await give(giving_shop, sale, {"amount_minor": 500})
    await run_sql(database, "DELETE FROM campaign_causes")
    await sale_catalogue.refresh()
    again = await give(giving_shop, sale, {"amount_minor": 500})
    assert (again.status_code, again.content) == (201, first.content)
    assert problem_of(await give(giving_shop, sale, {"amount_minor": 500}, "new")) == (
        422,
        "no_causes",
    )
    other = await give(giving_shop, sale, {"amount_minor": 501})
    assert problem_of(other) == (422, "idempotency_conflict")


async def test_a_stream_takes_gifts_from_its_announcement_to_its_end(
    giving_shop: httpx.AsyncClient, sale: Sale, database: Database, sale_catalogue: Catalogue
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
        answer = await give(giving_shop, sale, {"amount_minor": 500}, state)
        assert answer.status_code == status, state
    missing = await give(giving_shop, sale, {"amount_minor": 500}, stream_id="str_0")
    assert problem_of(missing) == (404, "not_found")


async def test_only_a_shopper_gives_and_only_under_a_key(
    giving_shop: httpx.AsyncClient, sale: Sale, database: Database
) -> None:
    for role in ("operator", "host", "farmer", "overlay"):
        refused = await give(giving_shop, sale, {"amount_minor": 500}, **sale.auth(role))
        assert refused.status_code in {401, 403}
    forged = await give(giving_shop, sale, {"amount_minor": 500}, **bearer("nonsense"))
    assert problem_of(forged) == (401, "unauthorized")
    for key in ("", "k" * 256, "two words"):
        refused = await give(giving_shop, sale, {"amount_minor": 500}, key)
        assert problem_of(refused) == (400, "idempotency_key")
    assert await given_in_all(database) == (0, 0, 0, 0, 0)


async def test_one_key_a_hundred_times_at_once_is_one_gift(
    giving_shop: httpx.AsyncClient, sale: Sale, database: Database, signer: Signer
) -> None:
    answers = await asyncio.gather(
        *(give(giving_shop, sale, {"amount_minor": 500, "name": "Li"}) for _ in range(100))
    )
    assert {(answer.status_code, answer.content) for answer in answers} == {
        (201, answers[0].content)
    }
    for changed in ({"amount_minor": 501, "name": "Li"}, {"amount_minor": 500, "name": "Lu"}):
        assert problem_of(await give(giving_shop, sale, changed)) == (422, "idempotency_conflict")
    _, other = new_shopper(signer)
    theirs = await give(giving_shop, sale, {"amount_minor": 501}, **bearer(other))
    assert theirs.status_code == 201, "the same key of another shopper is another key"
    assert await given_in_all(database) == (2, 2, 1, 2, 1001)


async def test_two_bodies_under_one_key_at_once_are_one_gift_and_conflicts(
    giving_shop: httpx.AsyncClient, sale: Sale, database: Database
) -> None:
    answers = await asyncio.gather(
        *(give(giving_shop, sale, {"amount_minor": 500 + n % 2}) for n in range(20))
    )
    placed = {answer.content for answer in answers if answer.status_code == 201}
    refused = {problem_of(answer) for answer in answers if answer.status_code != 201}
    assert (len(placed), refused) == (1, {(422, "idempotency_conflict")})
    assert (await given_in_all(database))[:2] == (1, 1)


async def test_a_key_never_means_a_gift_and_an_order(
    giving_shop: httpx.AsyncClient, sale: Sale, database: Database, gate: Any
) -> None:
    """Either way round, and at once: one of them is taken, and the units of the other are given back."""
    path, goods = (
        f"/v1/streams/{sale.stream_id}/orders",
        {"lines": [{"sku": sale.sku, "quantity": 1}]},
    )

    async def buy(key: str) -> httpx.Response:
        headers = {**sale.auth("shopper"), "idempotency-key": key}
        return await giving_shop.post(path, json=goods, headers=headers)

    assert (await give(giving_shop, sale, {"amount_minor": 500}, "gift")).status_code == 201
    assert problem_of(await buy("gift")) == (422, "idempotency_conflict")
    assert (await buy("goods")).status_code == 201
    refused = await give(giving_shop, sale, {"amount_minor": 500}, "goods")
    assert problem_of(refused) == (422, "idempotency_conflict")
    both = await asyncio.gather(
        *(
            each
            for n in range(3)
            for each in (
                buy(f"both-{n}"),
                give(giving_shop, sale, {"amount_minor": 500}, f"both-{n}"),
            )
        )
    )
    assert sorted(answer.status_code for answer in both) == [201] * 3 + [422] * 3
    bought = 1 + sum(answer.status_code == 201 for answer in both[::2])
    await asyncio.sleep(0.1)
    assert await gate_left(gate, sale) == (100 - bought, 0)
    assert await rows(database, "SELECT reserved FROM stock") == [(bought,)]
