"""Who and where to send: the only place that holds a shopper's personal data, and the way to erase it.

Given after the units are held, so that nobody types an address for goods that are gone. The order, its payments
and the books never carry any of it, which is why deleting one row here is an erasure.
"""

from typing import Any

from sqlalchemy import Row, delete
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from orders.lifecycle import RELEASED, FulfilmentState, OrderState
from orders.locks import lock_orders
from orders.mail.outbox import hurry
from orders.order_links import is_own
from orders.schemas import ContactIn
from orders.tables import OrderContact
from stream_events.access import Caller
from stream_events.database import Database
from stream_events.errors import Problem, not_found

# Paid for, as far as anybody knows: there is a parcel to be sent.
_SOLD = frozenset(
    {
        OrderState.PAID,
        OrderState.PART_REFUNDED,
        OrderState.REFUND_FAILED,
        OrderState.DISPUTED,
        OrderState.PROCESSING,
    }
)
# Goods that go back, or already went, need no new address.
_CLOSED = RELEASED | {OrderState.REFUND_PENDING, OrderState.REFUNDED, OrderState.CANCELLING}


async def give_contact(
    database: Database, order_id: str, caller: Caller, contact: ContactIn
) -> None:
    """Keep (or correct) where an order goes to, as long as it has not been packed."""
    async with database.begin() as sql:
        order = await _own_order(sql, order_id, caller)
        if OrderState(order.state) in _CLOSED or order.fulfilment != FulfilmentState.NONE:
            raise Problem(409, "contact_closed", "It is too late to change where this order goes.")
        values = contact.model_dump()
        statement = insert(OrderContact).values(order_id=order_id, **values)
        await sql.execute(statement.on_conflict_do_update(index_elements=["order_id"], set_=values))
        await hurry(sql, order_id)


async def erase_contact(database: Database, order_id: str, caller: Caller) -> None:
    """Forget where an order goes to. Doing it twice is no mistake; a parcel under way still needs it."""
    async with database.begin() as sql:
        order = await _own_order(sql, order_id, caller)
        require_spare_contact(order)
        await sql.execute(delete(OrderContact).where(OrderContact.order_id == order_id))


def require_spare_contact(order: Row[Any]) -> None:
    """Refuse (409 ``contact_in_use``) while a parcel needs the address: of goods that are paid and not yet sent."""
    unsent = order.fulfilment in (FulfilmentState.NONE, FulfilmentState.PACKED)
    paid = order.state in _SOLD or order.fulfilment == FulfilmentState.PACKED
    if order.kind == "goods" and unsent and paid:
        raise Problem(
            409,
            "contact_in_use",
            "This order is paid and has to reach somebody: ask it back, or wait until it was sent.",
        )


async def _own_order(sql: AsyncSession, order_id: str, caller: Caller) -> Row[Any]:
    found = await lock_orders(sql, [order_id])
    if not found or not is_own(found[0], caller):
        raise not_found("order")
    return found[0]
