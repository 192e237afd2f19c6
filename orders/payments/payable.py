"""An order as one sees it who wants to pay it: one statement reads all that decides, by one clock.

Thousands pay within minutes, each by one of two ways (``orders.payments.pay``, ``orders.payments.checkout_mode``)
that must never both be open: so both look at the same thing.
"""

from dataclasses import dataclass

from sqlalchemy import bindparam, false, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from orders.lifecycle import RELEASED, OrderState
from orders.payments.pace import Pace
from orders.tables import Order, PayAttempt
from stream_events.errors import Problem, unavailable
from stream_events.tables import Campaign, Stream


class TooLate(Exception):  # noqa: N818 - a state of the order's clock.
    """``pay_by`` has passed."""


async def too_late(pace: Pace) -> Problem:
    """Return the refusal of an order whose time is over; during an outage it is not: its clock will be moved."""
    if await pace.outage() is not None:
        return unavailable("Paying was interrupted; your time is extended.", "pay_later")
    return Problem(410, "order_expired", "The time to pay this order is over.")


@dataclass(frozen=True, slots=True)
class PayableOrder:
    """An order with its attempts, oldest first, and whether its time to pay still runs."""

    id: str
    stream_id: str
    shopper_id: str
    state: OrderState
    total_minor: int
    currency: str
    place: int
    title: str
    methods: list[str]
    on_time: bool
    attempts: list[PayAttempt]

    @property
    def newest(self) -> PayAttempt | None:
        """Return the attempt that matters: the others are dead at Stripe."""
        return self.attempts[-1] if self.attempts else None


# The clock is the one of this very statement: that of the transaction may have waited for a lock.
_READ = (
    select(
        Order.id,
        Order.stream_id,
        Order.shopper_id,
        Order.state,
        Order.total_minor,
        Order.currency,
        Order.place,
        Stream.title,
        Campaign.payment_methods,
        func.coalesce(func.clock_timestamp() < Order.pay_by, false()).label("on_time"),
        PayAttempt,
    )
    .join(Stream, Stream.id == Order.stream_id)
    .join(Campaign, Campaign.id == Stream.campaign_id)
    .outerjoin(PayAttempt, PayAttempt.order_id == Order.id)
    .where(Order.id == bindparam("order_id"))
    .order_by(PayAttempt.n)
    .execution_options(populate_existing=True)
)


async def read_payable(sql: AsyncSession, order_id: str) -> PayableOrder | None:
    """Return the order as it is now, or None where there is none."""
    rows = (await sql.execute(_READ, {"order_id": order_id})).all()
    if not rows:
        return None
    first = rows[0]
    return PayableOrder(
        id=first.id,
        stream_id=first.stream_id,
        shopper_id=first.shopper_id,
        state=OrderState(first.state),
        total_minor=first.total_minor,
        currency=first.currency,
        place=first.place,
        title=first.title,
        methods=list(first.payment_methods),
        on_time=first.on_time,
        attempts=[row.PayAttempt for row in rows if row.PayAttempt is not None],
    )


def require_payable_state(order: PayableOrder) -> None:
    """Refuse an order whose turn has not come, or whose units went back."""
    if order.state is OrderState.RESERVED:
        raise Problem(
            409, "not_your_turn", "Your units are held; paying opens when it is your turn."
        )
    if order.state is OrderState.CANCELLED:
        raise Problem(410, "order_cancelled", "This order was cancelled; nothing can be paid.")
    if order.state in RELEASED - {OrderState.LATE_PAID}:
        raise Problem(410, "order_expired", "This order was not paid in time; its units went back.")
