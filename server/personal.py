"""``stream-events export`` and ``erase``: what a person may ask for who has lost the link of their order."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import typer
from sqlalchemy.ext.asyncio import AsyncSession

from orders.contacts import require_spare_contact
from orders.locks import lock_orders
from orders.personal_data import ORDERS_MAX, Erased, count, erase, export, orders_of
from server.settings import Settings
from stream_events.database import Database
from stream_events.errors import Problem
from stream_events.schemas import id_pattern


@dataclass(frozen=True, slots=True)
class Asked:
    """What became of the wish to erase one order: how much there is of it, and why it was not done."""

    order_id: str
    counts: Erased
    erased: bool
    why_not: str = ""


async def export_all(
    settings: Settings, order_id: str | None, shopper_id: str | None
) -> list[dict[str, Any]]:
    """Return all that is personal about an order, or about each order of a shopper."""
    found = []
    async with _database(settings) as database:
        async for each in _wanted(database, order_id, shopper_id):
            async with database.begin() as sql:
                found.append((await export(sql, each)).model_dump(mode="json"))
    return found


async def erase_all(
    settings: Settings, order_id: str | None, shopper_id: str | None, *, yes: bool, force: bool
) -> list[Asked]:
    """Erase an order, or each order of a shopper, in a transaction each; without ``yes`` only count."""
    found = []
    async with _database(settings) as database:
        async for each in _wanted(database, order_id, shopper_id):
            async with database.begin() as sql:
                found.append(await _erase(sql, each, yes=yes, force=force))
    return found


def lines_of(found: list[Asked], *, yes: bool) -> Iterator[str]:
    """Yield what was erased, a line an order."""
    for asked in found:
        said = ", ".join(f"{name} {number}" for name, number in asked.counts.model_dump().items())
        done = "erased" if asked.erased else "not erased"
        why = f" ({asked.why_not})" if asked.why_not else ""
        yield f"{asked.order_id} {done}{why}: {said}"
    if not found:
        yield "there is no such order"
    elif not yes:
        yield "nothing was erased: say --yes to erase it for good"


async def _erase(sql: AsyncSession, order_id: str, *, yes: bool, force: bool) -> Asked:
    [order] = await lock_orders(sql, [order_id])
    if not yes:
        return Asked(order_id, await count(sql, order_id), erased=False)
    try:
        require_spare_contact(order)
    except Problem as problem:
        if not force:
            return Asked(order_id, await count(sql, order_id), erased=False, why_not=problem.detail)
    return Asked(order_id, await erase(sql, order_id), erased=True)


async def _wanted(
    database: Database, order_id: str | None, shopper_id: str | None
) -> AsyncIterator[str]:
    """Yield the orders that are meant; a name that can be none of ours ends with code 2."""
    given, kind = (order_id, "ord") if shopper_id is None else (shopper_id, "shp")
    if (order_id is None) == (shopper_id is None) or not re.fullmatch(
        id_pattern(kind), given or ""
    ):
        typer.echo("name one order (ord_…) or one --shopper (shp_…)", err=True)
        raise typer.Exit(2)
    if order_id is not None:
        async with database.begin() as sql:
            known = await lock_orders(sql, [order_id])
        if known:
            yield order_id
        return
    after = ""
    while True:
        async with database.begin() as sql:
            page = await orders_of(sql, str(shopper_id), after)
        for each in page:
            yield each
        if len(page) < ORDERS_MAX:
            return
        after = page[-1]


@asynccontextmanager
async def _database(settings: Settings) -> AsyncIterator[Database]:
    database = Database(
        str(settings.database_url), connections_max=1, application_name="stream-events personal"
    )
    try:
        yield database
    finally:
        await database.close()
