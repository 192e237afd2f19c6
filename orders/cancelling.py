"""Taking an order back before it is paid: by its shopper, or by those who sell.

Units go back at once only where Stripe was never asked for money. Otherwise the order waits as CANCELLING and goes
the expirer's way, so that nothing is released that can still be paid; money that was faster keeps the order.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import structlog
from sqlalchemy import select

from orders.expiry import release_orders
from orders.lifecycle import Act, Input, OrderState, verdict
from orders.locks import lock_orders
from orders.order_links import own_orders
from orders.payments import attempts as tries
from orders.tables import Order
from stream_events.access import Caller
from stream_events.database import Database
from stream_events.errors import Problem, not_found

log = structlog.get_logger(__name__)

# The wish is granted, or about to be: asking twice is no mistake.
_GRANTED: Final = frozenset(
    {OrderState.CANCELLING, OrderState.CANCELLED, OrderState.EXPIRING, OrderState.EXPIRED}
)
_PAID: Final = ("already_paid", "This order is paid. Ask for a refund instead.")
_BACK: Final = ("already_refunded", "The money of this order goes back already.")
_REFUSALS: Final[Mapping[OrderState, tuple[str, str]]] = MappingProxyType(
    {
        OrderState.PROCESSING: (
            "payment_processing",
            "A payment of this order is on its way. Ask again when it has arrived or failed.",
        ),
        OrderState.REFUND_PENDING: _BACK,
        OrderState.REFUNDED: _BACK,
        OrderState.DISPUTED: (
            "payment_disputed",
            "A bank decides about the money of this order first.",
        ),
    }
)


async def cancel_order(database: Database, order_id: str, caller: Caller) -> OrderState:
    """Cancel an order that is not paid, and return how it stands; a repeat changes nothing.

    Raises ``Problem``: 404 for what is not the caller's, 409 ``already_paid``, ``already_refunded``,
    ``payment_processing`` or ``payment_disputed``.
    """
    async with database.begin() as sql:
        # Whose it is never changes, so it needs no lock; what state it is in does.
        wanted = select(Order.id).where(Order.id == order_id, own_orders(caller))
        if await sql.scalar(wanted) is None:
            raise not_found("order")
        [order] = await lock_orders(sql, [order_id])
        before = OrderState(order.state)
        step = verdict(before, Input.CANCEL_REQUESTED, gift=order.kind == "gift")
        if not isinstance(step, Act):
            if before in _GRANTED:
                return before
            raise Problem(409, *_REFUSALS.get(before, _PAID))
        # In a statement after the lock, or an attempt committed just before it would be missed.
        attempts = await tries.attempts_of(sql, order_id)
        if any(attempt.state == "SUCCEEDED" for attempt in attempts):
            # Stripe said so; settlement is about to.
            raise Problem(409, *_PAID)
        await tries.move(sql, [order_id], before, step.next_state)
        after = step.next_state
        if all(attempt.state in tries.DEAD for attempt in attempts):
            after = await release_orders(sql, [order_id], after)
    log.info("order_cancelled", order_id=order_id, by=caller.role.value, state=after.value)
    return after
