"""What guests and staff of a night do: each story ends one way only, whoever dies in the middle of it."""

import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

import httpx
from sqlalchemy import text

from stream_events.database import Database
from stream_events.ids import new_id
from tests.factories import Sale
from tests.fire.guests import Guest, House, arrive, order

VISA = "4242424242424242"

# SQL may learn of a process's death later than we do, and keep its locks until then.
_PATIENTLY = text("SET LOCAL lock_timeout = '20s'")
_OVER = text("UPDATE orders SET pay_by = clock_timestamp() WHERE id = :id")

Story = Callable[[House, Database, Sale], Coroutine[Any, Any, None]]


async def pays(home: House, _database: Database, sale: Sale) -> None:
    guest = await order(home, sale.stream_id, sale.sku, 2)
    await guest.leave_address()
    await guest.pay("pm_card_visa")
    await guest.until("PAID")


async def pays_and_goes(home: House, database: Database, sale: Sale) -> None:
    """Sends a card once, closes the tab whatever comes, and is never seen again."""
    guest = await order(home, sale.stream_id, sale.sku)
    await guest.until("AWAITING_PAYMENT")
    with contextlib.suppress(httpx.TransportError):
        await guest.pay_once("pm_card_visa")
    await _end_time(database, guest)
    await guest.until("PAID", "EXPIRED")


async def takes_a_second_card(home: House, _database: Database, sale: Sale) -> None:
    guest = await order(home, sale.stream_id, sale.sku)
    await guest.pay("pm_card_visa_chargeDeclined", "pm_card_visa")
    await guest.until("PAID")


async def pays_on_stripes_page(home: House, _database: Database, sale: Sale) -> None:
    guest = await order(home, sale.stream_id, sale.sku)
    await home.browse(await guest.open_page(), {"means": VISA})
    await guest.until("PAID")


async def leaves(home: House, database: Database, sale: Sale) -> None:
    guest = await order(home, sale.stream_id, sale.sku)
    await guest.until("AWAITING_PAYMENT")
    await _end_time(database, guest)
    await guest.until("EXPIRED")


async def leaves_stripes_page(home: House, database: Database, sale: Sale) -> None:
    guest = await order(home, sale.stream_id, sale.sku)
    await guest.open_page()
    await _end_time(database, guest)
    await guest.until("EXPIRED")


async def is_stuck_at_the_bank(home: House, database: Database, sale: Sale) -> None:
    guest = await order(home, sale.stream_id, sale.sku)
    await guest.pay("pm_card_authenticationRequired")
    await _end_time(database, guest)
    await guest.until("EXPIRED")


async def is_refunded(home: House, _database: Database, sale: Sale) -> None:
    guest = await _paid(home, sale)
    await _refund(home, sale, guest, {"all": True, "restock": True})
    await guest.until("REFUNDED")


async def is_refunded_in_part(home: House, _database: Database, sale: Sale) -> None:
    guest = await _paid(home, sale)
    await _refund(home, sale, guest, {"amount_minor": 990})
    await guest.until("PART_REFUNDED")


async def gives(home: House, _database: Database, sale: Sale) -> None:
    guest = await arrive(home)
    status, given = await home.ask(
        "POST",
        f"/streams/{sale.stream_id}/donations",
        guest.token,
        key=new_id("key"),
        body={"amount_minor": 5_000},
    )
    assert status == httpx.codes.CREATED, given
    guest.order_id = given["id"]
    await guest.pay("pm_card_visa")
    await guest.until("PAID")


async def cancels(home: House, _database: Database, sale: Sale) -> None:
    guest = await order(home, sale.stream_id, sale.sku, 3)
    status, said = await home.ask("POST", f"/orders/{guest.order_id}/cancel", guest.token)
    assert status == httpx.codes.OK, said
    await guest.until("CANCELLED")


STORIES: tuple[Story, ...] = (
    pays,
    pays_and_goes,
    takes_a_second_card,
    pays_on_stripes_page,
    leaves,
    leaves_stripes_page,
    is_stuck_at_the_bank,
    is_refunded,
    is_refunded_in_part,
    gives,
    cancels,
)


async def _paid(home: House, sale: Sale) -> Guest:
    guest = await order(home, sale.stream_id, sale.sku)
    await guest.leave_address()
    await guest.pay("pm_card_visa")
    await guest.until("PAID")
    return guest


async def _refund(home: House, sale: Sale, guest: Guest, what: dict[str, object]) -> None:
    body = {**what, "reason": "goodwill"}
    path, key = f"/orders/{guest.order_id}/refunds", new_id("key")
    status, said = await home.ask("POST", path, sale.operator_key, key=key, body=body)
    assert status == httpx.codes.CREATED, said


async def _end_time(database: Database, guest: Guest) -> None:
    async with database.begin() as sql:
        await sql.execute(_PATIENTLY)
        await sql.execute(_OVER, {"id": guest.order_id})
