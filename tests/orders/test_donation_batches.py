"""Gifts in a rush: written in batches, acknowledged only when durable, exact after every doubt."""

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg
import httpx
import pytest

from orders import donations, own_connections
from orders.checkout import Checkout
from orders.donations import Donations
from orders.gifts import GiftWish
from orders.placements import Placed
from stream_events.access import Signer, new_shopper
from stream_events.database import Database
from stream_events.errors import Problem
from tests.factories import Sale, bearer
from tests.orders.giving import give, given_in_all, problem_of, rows


async def test_a_rush_is_written_in_batches_and_nothing_is_lost(
    giving_shop: httpx.AsyncClient,
    sale: Sale,
    database: Database,
    signer: Signer,
    causes: tuple[str, str],
) -> None:
    tokens = [new_shopper(signer)[1] for _ in range(40)]
    answers = await asyncio.gather(
        *(
            give(
                giving_shop,
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
    giving_shop: httpx.AsyncClient, sale: Sale, database: Database, monkeypatch: pytest.MonkeyPatch
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
    answer = await give(giving_shop, sale, {"amount_minor": 500, "name": "Li"})
    assert (answer.status_code, runs) == (201, [1, 1])
    assert await rows(database, "SELECT id FROM orders") == [(answer.json()["id"],)]
    assert await given_in_all(database) == (1, 1, 1, 1, 500)


async def test_while_the_fate_is_unknown_it_says_so_and_the_key_settles_it(
    giving_shop: httpx.AsyncClient, sale: Sale, database: Database, monkeypatch: pytest.MonkeyPatch
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
        unknown = await give(giving_shop, sale, {"amount_minor": 500})
        assert problem_of(unknown) == (503, "unclear")
        assert int(unknown.headers["retry-after"]) >= 1
    assert (await give(giving_shop, sale, {"amount_minor": 500})).status_code == 201
    assert await given_in_all(database) == (1, 1, 0, 1, 500)


async def test_what_sql_refuses_takes_no_other_gift_down(
    giving_shop: httpx.AsyncClient,
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
    assert all(isinstance(one, Placed) for one in outcomes)
    assert (await given_in_all(database))[:2] == (8, 8)


async def test_an_overrun_queue_takes_nothing_and_says_so(
    giving_shop: httpx.AsyncClient, sale: Sale, giving: Donations, database: Database
) -> None:
    giving._batch._queue_max = 0
    assert problem_of(await give(giving_shop, sale, {"amount_minor": 500})) == (503, "unavailable")
    assert await given_in_all(database) == (0, 0, 0, 0, 0)


async def test_a_giver_who_hammers_is_slowed_down_with_the_buyers(
    giving_shop: httpx.AsyncClient, sale: Sale, checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkout, "_attempts_max", 2)
    statuses = [
        (await give(giving_shop, sale, {"amount_minor": 500}, f"k{n}")).status_code
        for n in range(3)
    ]
    assert statuses == [201, 201, 429]
