"""Whose an order is, and the secret link by which a shopper finds it again without any account.

The link is the order's token behind a ``#``: browsers never send that part, so it stands in no server's log. It
opens one order for ever; whoever was sent it by mistake cannot be shut out but by rolling the signing secret.
"""

from typing import Any

from sqlalchemy import ColumnElement, Row, false, select, true

from orders.tables import Order
from stream_events.access import Caller, Role, Signer, order_token
from stream_events.links import Links
from stream_events.tables import Stream


def link(signer: Signer, links: Links, order_id: str) -> str:
    """Return the secret address of an order's page: for its shopper only."""
    return f"{links.public_url}/order#{order_token(signer, order_id)}"


def own_orders(caller: Caller) -> ColumnElement[bool]:
    """Return what orders a caller may see: a shopper's, a holder's one, those of a host's streams, an operator's all."""
    if caller.role is Role.SHOPPER:
        return Order.shopper_id == caller.id
    if caller.role is Role.HOLDER:
        return Order.id == caller.id
    if caller.role is Role.HOST:
        return Order.stream_id.in_(select(Stream.id).where(Stream.host_id == caller.host_id))
    return true() if caller.role is Role.OPERATOR else false()


def is_own(order: Order | Row[Any], caller: Caller) -> bool:
    """Return whether an order is this shopper's, or the one this link was made for."""
    if caller.role is Role.HOLDER:
        return order.id == caller.id
    return caller.role is Role.SHOPPER and order.shopper_id == caller.id
