"""What we know of the person behind an order: all of it in one answer, and all of it gone for good.

Names, addresses and words live in rows beside the order; the order, its payments and the books carry none of them.
So erasing deletes those rows and the salt of the order's commitment: every leaf stays as it was published, and
nobody can tell any more which order it stands for. What is posted afterwards gets a salt of its own.
"""

import asyncio
import random
from typing import Any, Final

import structlog
from pydantic import BaseModel, Field
from sqlalchemy import delete, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from orders.asking_back import own_order
from orders.contacts import require_spare_contact
from orders.locks import lock_orders
from orders.mail.tables import MailboxLetter, OutboxMail
from orders.tables import Order, OrderContact, OrderMessage, OrderSalt, RefundRequest
from stream_events.access import Caller
from stream_events.database import Database
from stream_events.errors import not_found
from stream_events.loops import go_round
from stream_events.schemas import Moment

log = structlog.get_logger(__name__)

RETENTION_S: Final = 3600.0
RETAINED_MAX: Final = 500
ORDERS_MAX: Final = 500
LETTERS_MAX: Final = 100


class ContactData(BaseModel):
    """Who gets the parcel, and where."""

    name: str
    contact: str
    address: str
    created_at: Moment


class MessageData(BaseModel):
    """What a giver wanted said, and whether it may be shown."""

    name: str | None
    message: str | None
    dedication: str | None
    display: str
    consent_at: Moment | None
    created_at: Moment


class AskedData(BaseModel):
    """A refund request in the shopper's words."""

    id: str
    reason: str | None
    created_at: Moment


class MailData(BaseModel):
    """A mail that was, or will be, written to the contact."""

    kind: str
    state: str
    created_at: Moment
    sent_at: Moment | None


class LetterData(BaseModel):
    """A letter that the mailbox of test mode still keeps."""

    to: str
    subject: str
    body: str
    created_at: Moment


class PersonalData(BaseModel):
    """Everything about one order that is somebody's, not the books'."""

    order_id: str
    shopper_id: str = Field(description="A pseudonym: no name belongs to it.")
    placed_at: Moment
    contact: ContactData | None
    message: MessageData | None
    refund_requests: list[AskedData]
    mails: list[MailData]
    letters: list[LetterData] = Field(description="The newest 100.")


class Erased(BaseModel):
    """How many rows of each kind are gone; zeros when nothing was left to erase."""

    contacts: int
    messages: int
    refund_reasons: int
    letters: int
    mails_dropped: int
    salts: int


async def export_own(database: Database, order_id: str, caller: Caller) -> PersonalData:
    """Return all that is personal about the caller's own order."""
    async with database.begin() as sql:
        await own_order(sql, order_id, caller)
        return await export(sql, order_id)


async def erase_own(database: Database, order_id: str, caller: Caller) -> Erased:
    """Erase all that is personal about the caller's own order; 409 while its parcel still needs the address."""
    async with database.begin() as sql:
        require_spare_contact(await own_order(sql, order_id, caller))
        return await erase(sql, order_id)


async def export(sql: AsyncSession, order_id: str) -> PersonalData:
    """Return all that is personal about an order; 404 for one that does not exist."""
    order = await sql.get(Order, order_id)
    if order is None:
        raise not_found("order")
    contact = await sql.get(OrderContact, order_id)
    message = await sql.get(OrderMessage, order_id)
    letters = select(MailboxLetter).where(MailboxLetter.order_id == order_id)
    return PersonalData(
        order_id=order.id,
        shopper_id=order.shopper_id,
        placed_at=order.placed_at,
        contact=None if contact is None else _read(ContactData, contact),
        message=None if message is None else _read(MessageData, message),
        refund_requests=[
            _read(AskedData, row)
            for row in await sql.scalars(
                select(RefundRequest)
                .where(RefundRequest.order_id == order_id)
                .order_by(RefundRequest.id)
            )
        ],
        mails=[
            _read(MailData, row)
            for row in await sql.scalars(
                select(OutboxMail).where(OutboxMail.order_id == order_id).order_by(OutboxMail.id)
            )
        ],
        letters=[
            _read(LetterData, row)
            for row in await sql.scalars(
                letters.order_by(MailboxLetter.id.desc()).limit(LETTERS_MAX)
            )
        ],
    )


async def erase(sql: AsyncSession, order_id: str) -> Erased:
    """Erase all that is personal about an order, under its lock; 404 for one that does not exist.

    The lock keeps whoever posts for this order from losing the salt between making and reading it.
    """
    if not await lock_orders(sql, [order_id]):
        raise not_found("order")

    async def gone(table: Any) -> int:
        done: Any = await sql.execute(delete(table).where(table.order_id == order_id))
        return int(done.rowcount)

    reasons: Any = await sql.execute(
        update(RefundRequest)
        .where(RefundRequest.order_id == order_id, RefundRequest.reason.is_not(None))
        .values(reason=None)
    )
    dropped: Any = await sql.execute(
        update(OutboxMail)
        .where(OutboxMail.order_id == order_id, OutboxMail.state == "DUE")
        .values(state="DROPPED", reason="erased")
    )
    erased = Erased(
        contacts=await gone(OrderContact),
        messages=await gone(OrderMessage),
        refund_reasons=reasons.rowcount,
        letters=await gone(MailboxLetter),
        mails_dropped=dropped.rowcount,
        salts=await gone(OrderSalt),
    )
    log.info("personal_data_erased", order_id=order_id, **erased.model_dump())
    return erased


async def count(sql: AsyncSession, order_id: str) -> Erased:
    """Return how much of each kind there is to erase."""
    row = (await sql.execute(_COUNT, {"order": order_id})).one()
    return Erased(**row._asdict())


async def orders_of(sql: AsyncSession, shopper_id: str, after: str = "") -> list[str]:
    """Return the next orders of a shopper after this one, oldest first: at most ``ORDERS_MAX``."""
    wanted = select(Order.id).where(Order.shopper_id == shopper_id, Order.id > after)
    return list(await sql.scalars(wanted.order_by(Order.id).limit(ORDERS_MAX)))


async def retain_once(database: Database, days: int, *, rows_max: int = RETAINED_MAX) -> int:
    """Delete the contacts, messages, reasons and letters whose time is over, a batch of each; return how many."""
    given = {"days": days, "rows_max": rows_max}
    gone: dict[str, int] = {}
    async with database.begin() as sql:
        for kind, statement in _OLD.items():
            done: Any = await sql.execute(statement, given)
            gone[kind] = int(done.rowcount)
    if any(gone.values()):
        log.info("retention", **gone)
    return sum(gone.values())


async def run_retention(database: Database, stop: asyncio.Event, *, days: int) -> None:
    """Delete what is too old every hour until ``stop``; while there is more of it, go on at once."""

    async def retain() -> float:
        pause_s = 1.0 if await retain_once(database, days) else RETENTION_S
        return pause_s * random.uniform(0.9, 1.0)  # noqa: S311 - jitter.

    await go_round(retain, stop, failure="retention_failed", backoff_s=60.0, backoff_s_max=60.0)


def _read(shape: Any, row: Any) -> Any:
    return shape(**{name: getattr(row, name) for name in shape.model_fields})


_COUNT = text("""
SELECT (SELECT count(*) FROM order_contacts WHERE order_id = :order) AS contacts,
       (SELECT count(*) FROM order_messages WHERE order_id = :order) AS messages,
       (SELECT count(*) FROM refund_requests WHERE order_id = :order AND reason IS NOT NULL) AS refund_reasons,
       (SELECT count(*) FROM mailbox_letters WHERE order_id = :order) AS letters,
       (SELECT count(*) FROM mail_outbox WHERE order_id = :order AND state = 'DUE') AS mails_dropped,
       (SELECT count(*) FROM order_salts WHERE order_id = :order) AS salts
""")
# Goods: days after they were delivered. What ended without goods, and gifts: days after that.
_OVER: Final = """
    coalesce(
        o.delivered_at,
        CASE WHEN o.state IN ('EXPIRED', 'CANCELLED', 'REFUNDED')
               OR o.kind = 'gift' AND o.state IN ('PAID', 'PART_REFUNDED')
             THEN o.state_at END
    ) < now() - make_interval(days => :days)
"""
_OLD_CONTACTS = text(f"""
DELETE FROM order_contacts WHERE order_id IN (
    SELECT c.order_id FROM order_contacts c JOIN orders o ON o.id = c.order_id
    WHERE {_OVER}
    LIMIT :rows_max
)
""")
# Names too: a stream that is over thanks nobody for ever.
_OLD_MESSAGES = text(f"""
DELETE FROM order_messages WHERE order_id IN (
    SELECT m.order_id FROM order_messages m JOIN orders o ON o.id = m.order_id
    WHERE {_OVER}
    ORDER BY m.order_id LIMIT :rows_max
)
""")
# A request that is still open keeps its words until somebody has decided.
_OLD_REASONS = text(f"""
UPDATE refund_requests SET reason = NULL WHERE id IN (
    SELECT r.id FROM refund_requests r JOIN orders o ON o.id = r.order_id
    WHERE r.reason IS NOT NULL AND r.state <> 'OPEN' AND {_OVER}
    LIMIT :rows_max
)
""")
_OLD_LETTERS = text("""
DELETE FROM mailbox_letters WHERE id IN (
    SELECT id FROM mailbox_letters
    WHERE created_at < now() - make_interval(days => :days)
    ORDER BY id LIMIT :rows_max
)
""")
_OLD: Final = {
    "contacts": _OLD_CONTACTS,
    "messages": _OLD_MESSAGES,
    "refund_reasons": _OLD_REASONS,
    "letters": _OLD_LETTERS,
}
