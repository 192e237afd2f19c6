"""What givers say: kept apart, cleaned, shown only with consent and after a look, erased without a trace in the books."""

from typing import Any

import httpx

from stream_events.access import Signer, new_shopper
from stream_events.database import Database
from tests.factories import Sale, bearer
from tests.orders.giving import give, given_in_all, problem_of, rows
from tests.orders.placing import run_sql


async def test_words_are_kept_apart_and_shown_to_nobody_without_consent(
    giving_shop: httpx.AsyncClient, sale: Sale, database: Database
) -> None:
    said = {
        "name": " Li\u00a0Na ",
        "message": "Play  well,\nchildren!  👨‍👩‍👧",
        "dedication": "For Opa",
    }
    await give(giving_shop, sale, {"amount_minor": 500, **said, "show": True}, "shown")
    await give(giving_shop, sale, {"amount_minor": 500, **said}, "quiet")
    found = await rows(
        database,
        "SELECT m.name, message, dedication, display, consent_at IS NOT NULL FROM order_messages m"
        " ORDER BY display",
    )
    words = ("Li\u00a0Na", "Play well, children! 👨‍👩‍👧", "For Opa")
    assert found == [(*words, "ANONYMOUS", False), (*words, "PENDING_REVIEW", True)]


async def message_of(database: Database) -> list[tuple[Any, ...]]:
    return await rows(
        database,
        "SELECT name, message, dedication, display, consent_at IS NOT NULL FROM order_messages",
    )


async def test_words_are_changed_looked_at_again_and_erased(
    giving_shop: httpx.AsyncClient, sale: Sale, database: Database
) -> None:
    order_id = (await give(giving_shop, sale, {"amount_minor": 500})).json()["id"]
    path, mine = f"/v1/orders/{order_id}/message", sale.auth("shopper")

    async def put(body: object) -> str:
        answer = await giving_shop.put(path, json=body, headers=mine)
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
        assert (await giving_shop.delete(path, headers=mine)).status_code == 204
    assert await message_of(database) == []
    assert (await given_in_all(database))[0] == 1


async def test_only_the_giver_speaks_for_a_gift(
    giving_shop: httpx.AsyncClient, sale: Sale, database: Database, signer: Signer
) -> None:
    order_id = (await give(giving_shop, sale, {"amount_minor": 500, "name": "Li"})).json()["id"]
    _, other = new_shopper(signer)
    for path, headers, status in (
        (f"/v1/orders/{order_id}/message", bearer(other), 404),
        ("/v1/orders/ord_0/message", sale.auth("shopper"), 404),
        (f"/v1/orders/{order_id}/message", sale.auth("operator"), 403),
        (f"/v1/orders/{order_id}/message", bearer(signer.sign("order", "ord_0")), 404),
        (f"/v1/orders/{order_id}/message", {}, 401),
    ):
        assert (
            await giving_shop.put(path, json={"name": "X"}, headers=headers)
        ).status_code == status
        assert (await giving_shop.delete(path, headers=headers)).status_code == status
    assert await message_of(database) == [("Li", None, None, "ANONYMOUS", False)]
    holder = bearer(signer.sign("order", order_id))
    assert (
        await giving_shop.put(f"/v1/orders/{order_id}/message", json={"name": "Lu"}, headers=holder)
    ).status_code == 200
    for bad in (
        {},
        {"show": True},
        {"name": ""},
        {"name": "a\u202eb"},
        {"message": 5},
        {"state": "x"},
    ):
        refused = await giving_shop.put(f"/v1/orders/{order_id}/message", json=bad, headers=holder)
        assert problem_of(refused) == (422, "invalid")
