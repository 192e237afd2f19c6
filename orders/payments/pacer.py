"""Turns to pay: the clock of an order starts only when its shopper can really pay.

Stripe takes a fixed number of payments a second, so thousands of orders placed in seconds wait in one queue, their
units held. Turns go strictly by order id, which is the order of placing, over all streams together: whoever came
first pays first, and a second stream cannot push the first one's shoppers back.
"""

import asyncio

from sqlalchemy import text

from orders.lifecycle import Act, Input, OrderState, verdict
from orders.locks import lock_orders
from orders.payments.pace import Pace
from stream_events.database import Database
from stream_events.loops import go_round

TURNS_MAX = 100
PAUSE_S = 0.1
IDLE_PAUSE_S = 0.25

_QUEUE = "SELECT id FROM orders WHERE state = 'RESERVED' ORDER BY id LIMIT $1"
_OFFER = text("""
    UPDATE orders SET state = :to_state, state_at = now(), pay_by = now() + make_interval(secs => :window_s)
    WHERE id = ANY(:ids) AND state = :from_state
""")


async def offer_once(
    database: Database, pace: Pace, *, pay_window_s: int, turns_max: int = TURNS_MAX
) -> int:
    """Give the next orders their turn, as many as the pace allows now; return how many got it."""
    waiting = [row["id"] for row in await database.look(_QUEUE, turns_max)]
    if not waiting:
        return 0
    turns = await pace.turns(len(waiting))
    if turns == 0:
        return 0
    async with database.begin() as sql:
        orders = await lock_orders(sql, waiting[:turns])
        # Decided under the lock: one of them may have been cancelled since it was read.
        ready = [order.id for order in orders if order.state == OrderState.RESERVED]
        step = verdict(OrderState.RESERVED, Input.OFFER)
        assert isinstance(step, Act)
        await sql.execute(
            _OFFER,
            {
                "ids": ready,
                "from_state": OrderState.RESERVED,
                "to_state": step.next_state,
                "window_s": pay_window_s,
            },
        )
    return len(ready)


async def run_pacer(
    database: Database, pace: Pace, stop: asyncio.Event, *, pay_window_s: int
) -> None:
    """Give turns until ``stop``; a failed round is logged and tried again, ever less often."""

    async def offer() -> float:
        offered = await offer_once(database, pace, pay_window_s=pay_window_s)
        return PAUSE_S if offered else IDLE_PAUSE_S

    await go_round(offer, stop, failure="pacer_round_failed")
