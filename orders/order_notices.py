"""What to tell a shopper about the money of an order when it went another way than the plain one.

Derived from the books, never stored: late money that bought the units after all, or goes back; a second payment;
a refund on its way or failed.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from orders.lifecycle import OrderState
from orders.order_rows import DUPLICATE, LATE_NO_STOCK
from orders.schemas import Notice

_UNDER_WAY: Final = frozenset({"CREATING", "PENDING"})

# Each refund as its amount_minor, state and reason.
Refunds = Sequence[Mapping[str, Any]]


def pending_minor(refunds: Refunds) -> int:
    """Return what is on its way back."""
    return sum(refund["amount_minor"] for refund in refunds if refund["state"] in _UNDER_WAY)


def notice_of(
    state: OrderState, kind: str, refunds: Refunds, *, late: bool, lost: bool
) -> Notice | None:
    """Return what to tell of an order, if anything.

    It was ``late`` if it was paid after it had been given up, and money was ``lost`` if the payer's bank kept it.
    """
    reasons = {refund["reason"] for refund in refunds if refund["state"] != "FAILED"}
    if state is OrderState.REFUND_FAILED:
        return "refund_failed"
    if LATE_NO_STOCK in reasons:
        return "late_refund"
    if state is OrderState.REFUND_PENDING:
        return "refund_pending"
    if lost:
        return "dispute_lost"
    if DUPLICATE in reasons:
        return "duplicate_refund"
    if late and state is OrderState.PAID:
        return "late_paid" if kind == "gift" else "late_paid_resold"
    return None
