"""Words that the tests of giving share: a gift asked for over HTTP, and what SQL then holds."""

import json
from typing import Any

import httpx

from stream_events.database import Database
from tests.factories import Sale


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
