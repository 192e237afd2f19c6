"""The whole life of an order or gift, from all tables that know of it, in the order it happened.

A shopper who asks "where is my money" deserves one answer and not a search through ten tables. What is personal
(who it is for, where it goes, what was written) is never read here, only whether it was given.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncSession

from orders.answers import explain_sql
from orders.answers.explain_words import sentence
from orders.answers.schemas import ExplanationOut, HappeningOut
from orders.answers.words import Lang

# Of each kind of row; an order has a handful, and whoever repeats events at us must not swell an answer.
ROWS_MAX: Final = 500

# A reason is one of our codes or it is somebody's words, which may hold anything.
_CODE: Final = re.compile(r"[a-z][a-z0-9_]{0,39}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that happened; among those of one instant the lower ``rank`` comes first."""

    at: datetime
    rank: int
    code: str
    data: dict[str, Any] = field(default_factory=dict)


async def explain(
    sql: AsyncSession, order_id: str, lang: Lang, *, host_id: str | None = None
) -> ExplanationOut | None:
    """Return an order's life; None for an unknown order, and with ``host_id`` for one of another host's stream."""
    order = (
        await sql.execute(explain_sql.ORDER, {"order": order_id, "host": host_id})
    ).one_or_none()
    if order is None:
        return None
    found = list(_placed(order))
    complete = True
    for statement, tell in _SOURCES:
        given = {"order": order_id, "stream": order.stream_id, "rows_max": ROWS_MAX + 1}
        rows = (await sql.execute(statement, given)).all()
        complete = complete and len(rows) <= ROWS_MAX
        for row in rows[:ROWS_MAX]:
            found += tell(row)
    found.sort(key=lambda each: (each.at, each.rank))
    return ExplanationOut(
        order_id=order.id,
        kind=order.kind,
        state=order.state,
        fulfilment=order.fulfilment,
        stream_id=order.stream_id,
        campaign_id=order.campaign_id,
        currency=order.currency,
        total_minor=order.total_minor,
        received_minor=order.received_minor,
        refunded_minor=order.refunded_minor,
        disputed_minor=order.disputed_minor,
        contact_given=order.contact_at is not None,
        complete=complete,
        items=[
            HappeningOut(
                at=each.at,
                code=each.code,
                text=sentence(each.code, each.data, order.currency, lang),
                data=each.data,
            )
            for each in found
        ],
    )


def _placed(order: Row[Any]) -> Iterator[Happening]:
    code = "gift_placed" if order.kind == "gift" else "placed"
    data = {"place": order.place, "total_minor": order.total_minor}
    yield Happening(order.placed_at, 0, code, data)
    if order.shipping_minor:
        yield Happening(order.placed_at, 3, "shipping", {"amount_minor": order.shipping_minor})
    if order.contact_at is not None:
        yield Happening(order.contact_at, 9, "contact")
    if order.message_at is not None:
        yield Happening(order.message_at, 9, "message", {"display": order.display})
    if order.delivered_at is not None:
        yield Happening(order.delivered_at, 9, "delivered")


def _line(row: Row[Any]) -> Iterator[Happening]:
    data = {"sku": row.sku, "quantity": row.quantity, "amount_minor": row.amount_minor}
    yield Happening(row.placed_at, 1, "line", data)


def _gift(row: Row[Any]) -> Iterator[Happening]:
    data = {
        "beneficiary_id": row.beneficiary_id,
        "gift_kind": row.kind,
        "amount_minor": row.amount_minor,
    }
    yield Happening(row.placed_at, 2, "gift", data)


def _key(row: Row[Any]) -> Iterator[Happening]:
    yield Happening(row.at, 4, "key", {"outcome": row.outcome, "admission": row.adm})


def _move(row: Row[Any]) -> Iterator[Happening]:
    data = {"sku": row.sku, "quantity": row.quantity, "number": row.rel_seq}
    yield Happening(row.at, 12, f"stock_{row.kind}", data)


def _transition(row: Row[Any]) -> Iterator[Happening]:
    yield Happening(row.at, 11, "state", {"from_state": row.from_state, "to_state": row.to_state})


def _attempt(row: Row[Any]) -> Iterator[Happening]:
    data = {"n": row.n, "way": row.way, "tries": row.tries}
    yield Happening(row.created_at, 6, "attempt", data)
    now = {
        "n": row.n,
        "attempt_state": row.state,
        "payment_intent_id": row.payment_intent_id,
        "checkout_session_id": row.checkout_session_id,
    }
    yield Happening(row.updated_at, 7, "attempt_now", now)


def _event(row: Row[Any]) -> Iterator[Happening]:
    data = {"event_id": row.event_id, "event_type": row.type, "object_id": row.object_id}
    yield Happening(row.received_at, 8, "event", data)
    if row.done_at is not None or row.state != "NEW":
        outcome = row.state if row.reason is None else f"{row.state}, {row.reason}"
        done_at = row.done_at or row.received_at
        yield Happening(done_at, 14, "event_done", {**data, "outcome": outcome})


def _transaction(row: Row[Any]) -> Iterator[Happening]:
    data = {"kind": row.kind, "transaction_id": row.id, "seq": row.seq}
    yield Happening(row.posted_at, 13, "posted", {**data, "entries": row.entries})
    if row.sealed_at is not None:
        yield Happening(row.sealed_at, 15, "sealed", data)


def _match(row: Row[Any]) -> Iterator[Happening]:
    data = {
        "match_id": row.match_id,
        "base_minor": row.base_minor,
        "amount_minor": row.amount_minor,
        "returned_minor": row.returned_minor,
    }
    yield Happening(row.created_at, 13, "match", data)


def _refund(row: Row[Any]) -> Iterator[Happening]:
    data = {
        "refund_id": row.id,
        "amount_minor": row.amount_minor,
        "reason": row.reason if _CODE.fullmatch(row.reason) else None,
        "refund_state": row.state,
        "stripe_refund_id": row.stripe_refund_id,
        "restock": row.restock,
    }
    yield Happening(row.created_at, 10, "refund", data)


def _dispute(row: Row[Any]) -> Iterator[Happening]:
    data = {"dispute_id": row.id, "amount_minor": row.amount_minor, "dispute_state": row.state}
    yield Happening(row.created_at, 10, "dispute", data)


def _refund_request(row: Row[Any]) -> Iterator[Happening]:
    yield Happening(row.created_at, 9, "refund_request", {"request_id": row.id})
    if row.decided_at is not None:
        data = {"request_id": row.id, "outcome": row.state, "refund_id": row.refund_id}
        yield Happening(row.decided_at, 9, "refund_request_decided", data)


def _mail(row: Row[Any]) -> Iterator[Happening]:
    yield Happening(row.created_at, 16, "mail_due", {"mail_kind": row.kind})
    if row.sent_at is not None:
        yield Happening(row.sent_at, 17, "mail_sent", {"mail_kind": row.kind})
    elif row.state == "DROPPED":
        yield Happening(row.due_at, 17, "mail_dropped", {"mail_kind": row.kind})


_SOURCES: Final[Sequence[tuple[Any, Any]]] = (
    (explain_sql.LINES, _line),
    (explain_sql.GIFTS, _gift),
    (explain_sql.KEYS, _key),
    (explain_sql.MOVES, _move),
    (explain_sql.TRANSITIONS, _transition),
    (explain_sql.ATTEMPTS, _attempt),
    (explain_sql.EVENTS, _event),
    (explain_sql.TRANSACTIONS, _transaction),
    (explain_sql.MATCHES, _match),
    (explain_sql.REFUNDS, _refund),
    (explain_sql.DISPUTES, _dispute),
    (explain_sql.REFUND_REQUESTS, _refund_request),
    (explain_sql.MAILS, _mail),
)
