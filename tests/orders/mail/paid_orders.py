"""Paid orders with somebody to write to, and looks at what was written: for the tests of order mail."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from orders.ledger.seal import seal_once
from orders.settlement import settle
from stream_events.database import Database
from tests.factories import Sale
from tests.orders.payers import Placed, place, rows, run

TO = "wang.fang@example.org"


async def addressed(database: Database, placed: Placed, contact: str = TO) -> Placed:
    await run(
        database,
        "INSERT INTO order_contacts (order_id, name, contact, address) VALUES (:id, 'Wang', :to, '12 Road')",
        id=placed.order_id,
        to=contact,
    )
    return placed


async def paid(database: Database, sale: Sale, contact: str = TO, *, quantity: int = 1) -> Placed:
    """Return an order that is paid, sealed and addressed."""
    placed = await place(database, sale, quantity=quantity, shopper_id=sale.shopper_id)
    if contact:
        await addressed(database, placed, contact)
    await settle(database, [placed.payment()])
    await seal(database)
    return placed


async def seal(database: Database) -> None:
    async with database.begin() as sql:
        await seal_once(sql)


async def outbox(database: Database) -> list[Any]:
    return await rows(database, "SELECT kind, state, reason FROM mail_outbox ORDER BY id")


async def until(found: Callable[[], Awaitable[list[Any]]]) -> None:
    """Wait until a query finds something."""
    for _ in range(500):
        if await found():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("nothing was found")


async def letters(database: Database) -> list[Any]:
    return await rows(database, 'SELECT "to", subject, body FROM mailbox_letters ORDER BY id')


async def later(database: Database, by: timedelta) -> None:
    """Let time pass for the outbox."""
    await run(
        database,
        "UPDATE mail_outbox SET due_at = due_at - CAST(:by AS interval), created_at = created_at - CAST(:by AS interval)",
        by=by,
    )
