"""Deciding about texts: each by the revision that was looked at, all of a request in one transaction.

The locks are taken in the order everybody takes them: the orders, the stream's rules, the messages. Under the rules'
lock a name gets its number, so that numbers have no gaps and follow the approvals. The filter is asked once more, before
anything is locked, and what it said counts only if rules and words are still the same: whatever the queue believed,
nothing goes on screen past the rules of this moment.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from sqlalchemy import Row, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from orders.locks import lock_orders
from orders.messages import HIDDEN, PASSED, SHOWN
from orders.tables import OrderMessage
from realtime.moderation.rules import Flagged, Words, flagged, lock_rules, read_rules, terms_of
from realtime.moderation.rulings import Case, Decision, Mode, Refused, rule
from realtime.moderation.tables import ModerationRules, NameRoll, Review, ReviewDecision
from stream_events.access import Caller, Role
from stream_events.database import Database

_MONEY_HERE = frozenset({"PAID", "PART_REFUNDED", "REFUND_PENDING", "REFUND_FAILED", "DISPUTED"})


class Wish(NamedTuple):
    """What somebody wants done with a text, as it was when they looked at it."""

    order_id: str
    revision: int
    decision: Decision


class Outcome(NamedTuple):
    """How a text is displayed now, under which revision; or why nothing was done."""

    order_id: str
    display: str | None = None
    revision: int | None = None
    refused: Refused | None = None


@dataclass(slots=True)
class _Text:
    """A text in the queue, with all that its fate depends on."""

    order: Row[Any]
    message: OrderMessage
    review: Review
    revision: int

    @property
    def said(self) -> Words:
        """Return its words."""
        return self.message.name, self.message.message, self.message.dedication


async def forejudge(database: Database, stream_id: str, wishes: Sequence[Wish]) -> Flagged:
    """Ask the filter about what is to be decided on, holding nothing meanwhile."""
    said = select(OrderMessage.name, OrderMessage.message, OrderMessage.dedication)
    asked = said.join(Review, Review.order_id == OrderMessage.order_id).where(
        OrderMessage.order_id.in_({wish.order_id for wish in wishes}), Review.stream_id == stream_id
    )
    async with database.begin() as sql:
        terms = terms_of(await read_rules(sql, stream_id))
        rows = (await sql.execute(asked)).all()
    return await flagged(terms, ((row.name, row.message, row.dedication) for row in rows))


async def decide(
    sql: AsyncSession, stream_id: str, caller: Caller, wishes: Sequence[Wish], known: Flagged
) -> list[Outcome]:
    """Do what is wished as far as it may be done, and say of each what became of it.

    ``known`` is what ``forejudge`` said of it, a moment ago.
    """
    order_ids = sorted({wish.order_id for wish in wishes})
    orders = {order.id: order for order in await lock_orders(sql, order_ids)}
    rules = await lock_rules(sql, stream_id)
    texts = await _texts(sql, stream_id, orders)
    now = await known.brought_up_to(terms_of(rules), {found.said for found in texts.values()})
    outcomes = []
    before = rules.revision
    for wish in wishes:
        found = texts.get(wish.order_id)
        if found is None:
            outcomes.append(Outcome(wish.order_id, refused="unknown"))
        else:
            outcomes.append(await _decide_one(sql, rules, now, caller, wish, found))
    if any(outcome.refused is None for outcome in outcomes):
        rules.revision = before + 1
    await sql.flush()
    return outcomes


async def _texts(
    sql: AsyncSession, stream_id: str, orders: Mapping[str, Row[Any]]
) -> dict[str, _Text]:
    rows = await sql.execute(
        select(OrderMessage, Review)
        .join(Review, Review.order_id == OrderMessage.order_id)
        .where(OrderMessage.order_id.in_(orders), Review.stream_id == stream_id)
        .order_by(OrderMessage.order_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    return {
        row.Review.order_id: _Text(
            orders[row.Review.order_id], row.OrderMessage, row.Review, row.OrderMessage.revision
        )
        for row in rows
    }


async def _decide_one(
    sql: AsyncSession,
    rules: ModerationRules,
    known: Flagged,
    caller: Caller,
    wish: Wish,
    found: _Text,
) -> Outcome:
    if wish.revision != found.revision:
        return _repeated(caller, wish, found) or Outcome(wish.order_id, refused="changed")
    message, review = found.message, found.review
    ruling = rule(
        Case(
            mode=cast("Mode", rules.mode),
            is_staff=caller.role in (Role.HOST, Role.OPERATOR),
            by=caller.id,
            decision=wish.decision,
            display=message.display,
            passed_by=review.passed_by,
            grave=known.is_grave(found.said),
            standing=is_standing(found.order),
        )
    )
    if ruling.display is None or ruling.display == message.display:
        display = ruling.display
        return Outcome(wish.order_id, display, found.revision if display else None, ruling.refused)
    await _move(sql, caller, wish, found, ruling.display)
    if ruling.display == SHOWN and message.name is not None:
        await _number(sql, rules, found.order)
    return Outcome(wish.order_id, ruling.display, found.revision)


def is_standing(order: Row[Any]) -> bool:
    """Whether money was received for an order and some of it is still here."""
    kept = order.received_minor - order.refunded_minor - order.disputed_minor
    return order.state in _MONEY_HERE and kept > 0


def _repeated(caller: Caller, wish: Wish, found: _Text) -> Outcome | None:
    """A request that comes again gets the answer it had: its own decision made the revision that follows."""
    display = found.message.display
    did = {"hide": (HIDDEN,), "pass": (PASSED, SHOWN), "show": (PASSED, SHOWN)}[wish.decision]
    by = found.review.passed_by if display == PASSED else found.review.decided_by
    if found.revision == wish.revision + 1 and display in did and by == caller.id:
        return Outcome(wish.order_id, display, found.revision)
    return None


async def _move(sql: AsyncSession, caller: Caller, wish: Wish, found: _Text, display: str) -> None:
    """Change the display of the revision that was decided about, and keep who did."""
    review, message, before = found.review, found.message, found.message.display
    moved = await sql.execute(
        update(OrderMessage)
        .where(OrderMessage.order_id == wish.order_id, OrderMessage.revision == wish.revision)
        .values(display=display)
        .returning(OrderMessage.revision)
        .execution_options(synchronize_session=False)
    )
    found.revision = moved.scalar_one()
    await sql.refresh(message)
    sql.add(
        ReviewDecision(
            stream_id=review.stream_id,
            order_id=wish.order_id,
            revision=wish.revision,
            decision=wish.decision,
            from_display=before,
            to_display=display,
            by=caller.id,
        )
    )
    review.reason = review.claimed_by = review.claimed_until = None
    if display == PASSED:
        review.passed_by = caller.id
        return
    review.decided_by = caller.id
    review.decided_at = (await sql.execute(select(func.clock_timestamp()))).scalar_one()
    if display == SHOWN and review.mark is None and (message.message or message.dedication):
        review.mark = "unread"


async def _number(sql: AsyncSession, rules: ModerationRules, order: Row[Any]) -> None:
    """Give a giver a number among those thanked, once a stream; the rules' lock keeps numbers without gaps."""
    numbered = await sql.execute(
        insert(NameRoll)
        .values(
            stream_id=rules.stream_id,
            n=rules.names + 1,
            shopper_id=order.shopper_id,
            order_id=order.id,
        )
        .on_conflict_do_nothing(index_elements=["stream_id", "shopper_id"])
        .returning(NameRoll.n)
    )
    if numbered.first() is not None:
        rules.names += 1
        await sql.flush()
