"""Peer (b): the best of the one-transaction-an-order ways. One statement takes the unit and writes the order.

No framework, no ORM, prepared on asyncpg, few connections because more only wait for the same row. The statement
commits by itself, so an order costs one round trip and one flush, and the row is locked no longer than that.
"""

import itertools
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import asyncpg
import msgspec

Message = MutableMapping[str, Any]

CONNECTIONS: Final = 8
PLACE: Final = """
    WITH taken AS (
        UPDATE bench_hot_stock SET sold = sold + $3
        WHERE sku = $2 AND sold + $3 <= total RETURNING sku
    )
    INSERT INTO bench_hot_orders (key, sku, quantity)
    SELECT $1, sku, $3 FROM taken RETURNING id
"""
HEADERS: Final = [(b"content-type", b"application/json")]


class Line(msgspec.Struct):
    """So many units of a SKU."""

    sku: str
    quantity: int


class Order(msgspec.Struct):
    """What a shopper wants."""

    lines: list[Line]


class HotRow:
    """The ASGI app and its pool."""

    def __init__(self) -> None:
        self._pool: asyncpg.Pool | None = None
        self._decoder = msgspec.json.Decoder(Order)
        self._places = itertools.count(1)

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        status, body = await self._place(scope, (await receive())["body"])
        await send({"type": "http.response.start", "status": status, "headers": HEADERS})
        await send({"type": "http.response.body", "body": body})

    async def _place(self, scope: Message, body: bytes) -> tuple[int, bytes]:
        assert self._pool is not None
        key = dict(scope["headers"])[b"idempotency-key"].decode()
        line = self._decoder.decode(body).lines[0]
        order_id = await self._pool.fetchval(PLACE, key, line.sku, line.quantity)
        if order_id is None:
            return 409, b'{"code":"sold_out"}'
        return 201, b'{"id":%d,"place":%d}' % (order_id, next(self._places))

    async def _live(
        self,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        await receive()
        self._pool = await asyncpg.create_pool(
            os.environ["BENCH_DATABASE_URL"], min_size=CONNECTIONS, max_size=CONNECTIONS
        )
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._pool.close()
        await send({"type": "lifespan.shutdown.complete"})


app = HotRow()
