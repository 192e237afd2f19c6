"""What staff may give back of an order, and what that comes to: decided on its books, under its row lock.

Two operators who click at once are one after the other here: the second sees what the first has asked for and gets
no more than is left. The row that comes of it is sent to Stripe later (``orders.refunds``), outside any transaction.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from orders.lifecycle import RELEASED, Act, Input, OrderState
from orders.order_books import OrderBooks
from orders.order_parts import units_minor
from orders.order_rows import RefundRow
from stream_events.errors import Problem
from stream_events.ids import new_id
from stream_events.money import charge_step_minor


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to go back: these units, this much of the gifts, this much of all; with none of them, all there is."""

    reason: str
    requested_by: str
    lines: Sequence[tuple[str, int]] = ()
    all_gifts: bool = False
    gift_minor: int | None = None
    amount_minor: int | None = None
    restock: bool = False


def refundable_minor(books: OrderBooks) -> int:
    """Return what can still be asked of Stripe: received, less what went back, is going back or is at a bank."""
    payment = books.own_payment()
    going = sum(
        row.amount_minor
        for row in books.refunds
        if row.payment_intent_id == payment and row.state in {"CREATING", "PENDING"}
    )
    taken = sum(row.amount_minor for row in books.open_disputes()) + books.lost_minor()
    return max(0, books.received_minor - books.refunded_minor - going - taken)


def give_back(books: OrderBooks, wish: Wish) -> RefundRow:
    """Write a refund into the books; raises ``Problem`` 409 or 422, with nothing changed, when it may not be.

    409 ``not_paid``, ``payment_disputed``, ``nothing_left`` or ``more_than_left``; 422 ``unknown_line`` or
    ``amount_not_chargeable``.
    """
    payment = books.own_payment()
    if payment is None or books.state in RELEASED:
        raise Problem(409, "not_paid", "This order is not paid: there is nothing to give back.")
    if books.open_disputes() or books.state is OrderState.DISPUTED:
        raise Problem(
            409, "payment_disputed", "A bank decides about the money of this order first."
        )
    left_minor = refundable_minor(books)
    if left_minor == 0:
        raise Problem(409, "nothing_left", "All of its money went back, or is going back.", left=0)
    row = _row(books, wish, payment, left_minor)
    if row.amount_minor > left_minor:
        raise _more_than(left_minor, row.amount_minor)
    step_minor = charge_step_minor(books.currency)
    if row.amount_minor % step_minor:
        # Stripe never takes it, so it would be promised and not given.
        raise Problem(
            422,
            "amount_not_chargeable",
            f"An amount in {books.currency} is a multiple of {step_minor} minor units.",
            left=left_minor,
            wanted=row.amount_minor,
        )
    ruled = books.ruling_on(Input.REFUND_REQUESTED)
    if not isinstance(ruled, Act) and books.state is not OrderState.REFUND_PENDING:
        raise Problem(409, "not_paid", f"Nothing can be given back now: {ruled.reason}.")
    books.refunds.append(row)
    books.step(ruled)
    return row


def _more_than(left_minor: int, wanted_minor: int) -> Problem:
    return Problem(
        409,
        "more_than_left",
        "That is more than is left to give back.",
        left=left_minor,
        wanted=wanted_minor,
    )


def _row(books: OrderBooks, wish: Wish, payment: str, left_minor: int) -> RefundRow:
    lines: list[tuple[str, int, int]] = []
    gift_minor: int | None = None
    if wish.lines:
        lines = _lines(books, wish.lines)
        gift_minor = 0
        amount_minor = sum(cost_minor for _, _, cost_minor in lines)
        goods_left = books.left(pending=True).goods_minor
        if amount_minor > goods_left:
            raise _more_than(min(left_minor, goods_left), amount_minor)
    elif wish.all_gifts or wish.gift_minor is not None:
        gifts_left = books.left(pending=True).gifts_minor
        amount_minor = gift_minor = gifts_left if wish.all_gifts else wish.gift_minor or 0
        if gifts_left == 0:
            raise Problem(409, "nothing_left", "Nothing is left of its gifts.", left=0)
        if amount_minor > gifts_left:
            raise _more_than(min(left_minor, gifts_left), amount_minor)
    else:
        amount_minor = left_minor if wish.amount_minor is None else wish.amount_minor
    return RefundRow(
        id=new_id("rfd"),
        payment_intent_id=payment,
        amount_minor=amount_minor,
        reason=wish.reason,
        state="CREATING",
        stripe_refund_id=None,
        lines=lines,
        gift_minor=gift_minor,
        restock=wish.restock,
        requested_by=wish.requested_by,
        new=True,
    )


def _lines(books: OrderBooks, wanted: Sequence[tuple[str, int]]) -> list[tuple[str, int, int]]:
    """Return the wanted units with what they cost; each unit of a line goes back once."""
    back: Counter[str] = Counter(books.returned(pending=True).units)
    sold = {line.sku: line for line in books.lines}
    priced = []
    for sku, quantity in wanted:
        line = sold.get(sku)
        if line is None:
            raise Problem(422, "unknown_line", "This is not in the order.", sku=sku)
        units_left = max(0, line.quantity - back[sku])
        if quantity > units_left:
            raise Problem(
                409,
                "more_than_left",
                "So many units of this are not left to give back.",
                sku=sku,
                left=units_left,
                wanted=quantity,
            )
        cost = units_minor(line, back[sku] + quantity) - units_minor(line, back[sku])
        priced.append((sku, quantity, cost))
    return priced
