"""``export`` and ``erase``, for whoever has lost the link: what is meant must be said, and erasing said twice."""

import asyncio
import json
import os
import subprocess
import sys

import pytest

from stream_events.database import Database
from tests.factories import Sale
from tests.orders.payers import place, rows, run


async def command(database_url: str, redis_url: str, *words: str) -> tuple[int, str, str]:
    """Run ``stream-events`` beside the engines of the tests."""
    return await python(database_url, redis_url, "-m", "server.cli", *words)


async def python(database_url: str, redis_url: str, *words: str) -> tuple[int, str, str]:
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, *words],
        env={**os.environ, "DATABASE_URL": database_url, "REDIS_URL": redis_url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


async def addressed(database: Database, sale: Sale, state: str = "RESERVED") -> str:
    placed = await place(database, sale, attempt=None, shopper_id=sale.shopper_id)
    await run(
        database,
        "UPDATE orders SET state = :state WHERE id = :id",
        "INSERT INTO order_contacts (order_id, name, contact, address)"
        " VALUES (:id, 'Wang Fang', 'wang@example.org', '12 Peanut Road')",
        state=state,
        id=placed.order_id,
    )
    return placed.order_id


async def contacts(database: Database) -> int:
    [[number]] = await rows(database, "SELECT count(*) FROM order_contacts")
    return int(number)


@pytest.mark.sweep
async def test_a_shoppers_orders_are_exported_and_erased_but_for_parcels_on_their_way(
    database: Database, database_url: str, redis_url: str, sale: Sale
) -> None:
    engines = (database_url, redis_url)
    waiting, paid = await addressed(database, sale), await addressed(database, sale, "PAID")
    whose = ("--shopper", sale.shopper_id)
    code, out, _ = await command(*engines, "export", *whose)
    assert code == 0
    assert [(each["order_id"], each["contact"]["name"]) for each in json.loads(out)] == [
        (waiting, "Wang Fang"),
        (paid, "Wang Fang"),
    ]
    code, out, _ = await command(*engines, "erase", *whose)
    assert (code, await contacts(database)) == (1, 2)
    assert "say --yes" in out
    assert "contacts 1" in out
    code, out, errors = await command(*engines, "erase", *whose, "--yes")
    assert (code, await contacts(database)) == (1, 1)
    first, second = out.splitlines()
    assert first.startswith(f"{waiting} erased: contacts 1")
    assert second.startswith(f"{paid} not erased (This order is paid")
    code, out, errors = await command(*engines, "erase", paid, "--yes", "--force")
    assert (code, await contacts(database)) == (0, 0)
    assert out.startswith(f"{paid} erased: contacts 1")
    for said in (out, errors):
        assert "Wang" not in said
        assert "Peanut" not in said


# In one process, because to start it is all that these cost.
REFUSED = """
import json, sys
from typer.testing import CliRunner
from server.cli import app
print(json.dumps([CliRunner().invoke(app, words).exit_code for words in json.loads(sys.argv[1])]))
"""


async def test_what_is_not_there_or_not_said_is_an_error(
    database: Database, database_url: str, redis_url: str
) -> None:
    assert await rows(database, "SELECT 1 FROM orders") == []
    codes = {
        ("export",): 2,
        ("erase", "--yes"): 2,
        ("erase", "x", "--yes"): 2,
        ("export", "ord_1", "--shopper", "shp_1"): 2,
        ("export", f"ord_{'0' * 32}"): 1,
        ("erase", f"ord_{'0' * 32}", "--yes"): 1,
        ("erase", "--shopper", f"shp_{'0' * 32}", "--yes"): 1,
    }
    program = ("-c", REFUSED, json.dumps(list(codes)))
    done, said, _ = await python(database_url, redis_url, *program)
    assert done == 0
    assert dict(zip(codes, json.loads(said), strict=True)) == codes
