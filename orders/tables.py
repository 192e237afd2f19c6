"""Orders, and what was paid for them and given back.

``order_keys``, ``orders`` and ``order_lines`` are written in bulk by the writer and carry no foreign keys, for
the reason given in ``inventory.tables``; the checker proves their references.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from stream_events.database import Base, CreatedAt, Id, Minor, PrimaryId

# States of orders whose money did not simply stay: few, and what staff look for.
MONEY_MOVED = (
    "LATE_PAID",
    "REFUND_PENDING",
    "REFUND_FAILED",
    "PART_REFUNDED",
    "REFUNDED",
    "DISPUTED",
)


class OrderKey(Base):
    """One idempotency key's fate: PLACED (an order exists) or ABORTED (it never will). Written once."""

    __tablename__ = "order_keys"
    op: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    stream_id: Mapped[Id]
    fingerprint: Mapped[bytes]
    outcome: Mapped[str]
    adm: Mapped[str]
    order_id: Mapped[Id | None]
    at: Mapped[CreatedAt]
    __table_args__ = (
        CheckConstraint("outcome IN ('PLACED', 'ABORTED')", name="outcome"),
        CheckConstraint("(outcome = 'PLACED') = (order_id IS NOT NULL)", name="placed"),
    )


class Order(Base):
    """A shopper's order. ``state`` moves only along ``orders.lifecycle``; a trigger records each step."""

    __tablename__ = "orders"
    id: Mapped[PrimaryId]
    stream_id: Mapped[Id]
    shopper_id: Mapped[Id]
    state: Mapped[str]
    total_minor: Mapped[Minor]
    currency: Mapped[str] = mapped_column(String(3))
    place: Mapped[int]
    placed_at: Mapped[datetime]
    pay_by: Mapped[datetime | None]
    state_at: Mapped[CreatedAt]
    received_minor: Mapped[Minor] = mapped_column(server_default="0")
    refunded_minor: Mapped[Minor] = mapped_column(server_default="0")
    disputed_minor: Mapped[Minor] = mapped_column(server_default="0")
    fulfilment: Mapped[str] = mapped_column(server_default="NONE")
    delivered_at: Mapped[datetime | None]
    kind: Mapped[str] = mapped_column(server_default="goods")
    shipping_minor: Mapped[Minor] = mapped_column(server_default="0")
    __table_args__ = (
        CheckConstraint("total_minor > 0", name="total"),
        CheckConstraint("kind IN ('goods', 'gift')", name="kind"),
        CheckConstraint("shipping_minor BETWEEN 0 AND total_minor", name="shipping"),
        CheckConstraint(
            "received_minor >= 0 AND refunded_minor BETWEEN 0 AND received_minor", name="money"
        ),
        CheckConstraint("state <> 'AWAITING_PAYMENT' OR pay_by IS NOT NULL", name="deadline"),
        # The pacer's queue, the expirer's clock, and the few orders that wait for Stripe's word.
        Index("ix_orders_queue", "id", postgresql_where=text("state = 'RESERVED'")),
        Index("ix_orders_pay_by", "pay_by", postgresql_where=text("state = 'AWAITING_PAYMENT'")),
        Index(
            "ix_orders_unsettled",
            "state_at",
            postgresql_where=text(
                "state IN ('PROCESSING', 'EXPIRING', 'CANCELLING', 'LATE_PAID', 'REFUND_PENDING')"
            ),
        ),
        Index("ix_orders_shopper", "shopper_id", "id"),
        Index(
            "ix_orders_money_moved",
            "stream_id",
            "id",
            postgresql_where=text(f"state IN {MONEY_MOVED}"),
        ),
    )


class OrderLine(Base):
    """Units of one stock row in an order, on the terms they were bought on."""

    __tablename__ = "order_lines"
    order_id: Mapped[PrimaryId]
    stock_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    terms_id: Mapped[int] = mapped_column(BigInteger)
    quantity: Mapped[int]
    amount_minor: Mapped[Minor]
    __table_args__ = (CheckConstraint("quantity > 0 AND amount_minor > 0", name="positive"),)


class OrderGift(Base):
    """Money in an order that buys nothing: a gift to a chosen cause, more than the price, or a rounded-up total."""

    __tablename__ = "order_gifts"
    order_id: Mapped[PrimaryId]
    n: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    beneficiary_id: Mapped[Id]
    amount_minor: Mapped[Minor]
    __table_args__ = (
        CheckConstraint("kind IN ('gift', 'extra', 'round_up')", name="kind"),
        CheckConstraint("amount_minor > 0", name="amount"),
    )


class OrderMessage(Base):
    """What a giver wants said, and whether it may be: personal data, erasable without touching the books.

    ``display`` moves apart from money: ANONYMOUS, or PENDING_REVIEW with consent, then SHOWN or HIDDEN; PASSED is
    half of the way where two must look. ``revision`` grows with every change of words or display, and what is new
    has no ``screened_at`` until the word filter saw it: a trigger sees to both.
    """

    __tablename__ = "order_messages"
    order_id: Mapped[PrimaryId] = mapped_column(ForeignKey("orders.id"))
    name: Mapped[str | None]
    message: Mapped[str | None]
    dedication: Mapped[str | None]
    display: Mapped[str] = mapped_column(server_default="ANONYMOUS")
    consent_at: Mapped[datetime | None]
    revision: Mapped[int] = mapped_column(server_default="1")
    screened_at: Mapped[datetime | None]
    created_at: Mapped[CreatedAt]
    __table_args__ = (
        CheckConstraint(
            "display IN ('ANONYMOUS', 'PENDING_REVIEW', 'PASSED', 'SHOWN', 'HIDDEN')",
            name="display",
        ),
        CheckConstraint("display = 'ANONYMOUS' OR consent_at IS NOT NULL", name="consent"),
        Index(
            "ix_order_messages_unscreened",
            "order_id",
            postgresql_where=text(
                "display IN ('PENDING_REVIEW', 'PASSED') AND screened_at IS NULL"
            ),
        ),
        Index(
            "ix_order_messages_waiting",
            "order_id",
            postgresql_where=text(
                "display IN ('PENDING_REVIEW', 'PASSED') AND screened_at IS NOT NULL"
            ),
        ),
    )


class OrderTransition(Base):
    """The state history of orders, written by a trigger so that no code path can leave it out."""

    __tablename__ = "order_transitions"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=True)
    order_id: Mapped[Id] = mapped_column(index=True)
    from_state: Mapped[str]
    to_state: Mapped[str]
    at: Mapped[CreatedAt]


class OrderContact(Base):
    """Who and where to send: personal data, given after the hold, erasable without touching the books."""

    __tablename__ = "order_contacts"
    order_id: Mapped[PrimaryId] = mapped_column(ForeignKey("orders.id"))
    name: Mapped[str]
    contact: Mapped[str]
    address: Mapped[str]
    created_at: Mapped[CreatedAt]


class OrderSalt(Base):
    """The salt of an order's commitment in the ledger; deleting it makes the leaf unlinkable to the order."""

    __tablename__ = "order_salts"
    order_id: Mapped[PrimaryId] = mapped_column(ForeignKey("orders.id"))
    salt: Mapped[bytes]


class PayAttempt(Base):
    """One PaymentIntent of an order, recorded before Stripe is called (``CREATING``), with its parameters."""

    __tablename__ = "pay_attempts"
    order_id: Mapped[PrimaryId] = mapped_column(ForeignKey("orders.id"))
    n: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[str]
    tries: Mapped[int] = mapped_column(server_default="1")
    # How it is paid: in our page, or at Stripe's (a Checkout Session, whose PaymentIntent is learnt later).
    way: Mapped[str] = mapped_column(server_default="page")
    checkout_session_id: Mapped[str | None] = mapped_column(unique=True)
    payment_intent_id: Mapped[str | None] = mapped_column(unique=True)
    client_secret: Mapped[str | None]
    params: Mapped[dict[str, Any]] = mapped_column(JSONB)
    absent_cycles: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[CreatedAt]
    __table_args__ = (
        CheckConstraint(
            "state IN ('CREATING', 'REQUIRES_ACTION', 'DECLINED', 'PROCESSING', 'SUCCEEDED', 'CANCELED', 'ABSENT')",
            name="state",
        ),
        CheckConstraint("tries BETWEEN 1 AND 3", name="tries"),
        CheckConstraint("way IN ('page', 'checkout')", name="way"),
        Index(
            "ix_pay_attempts_creating", "created_at", postgresql_where=text("state = 'CREATING'")
        ),
    )


class StripeEvent(Base):
    """A fact Stripe told us, verified and stored before anything is done about it."""

    __tablename__ = "stripe_events"
    event_id: Mapped[str] = mapped_column(primary_key=True)
    type: Mapped[str]
    object_id: Mapped[str]
    livemode: Mapped[bool]
    payload: Mapped[dict[str, Any]] = mapped_column(JSONB)
    state: Mapped[str] = mapped_column(server_default="NEW")
    reason: Mapped[str | None]
    received_at: Mapped[CreatedAt]
    done_at: Mapped[datetime | None]
    __table_args__ = (
        CheckConstraint("state IN ('NEW', 'DONE', 'QUARANTINED')", name="state"),
        Index("ix_stripe_events_new", "received_at", postgresql_where=text("state = 'NEW'")),
        Index(None, "object_id"),
    )


class Refund(Base):
    """A refund we asked Stripe for: recorded before the call.

    ``lines`` are the [sku, quantity, amount_minor] it takes back, ``gift_minor`` the part of its amount that is of
    the order's gifts; with neither, it takes from all that is left in proportion.
    """

    __tablename__ = "refunds"
    id: Mapped[PrimaryId]
    order_id: Mapped[Id] = mapped_column(ForeignKey("orders.id"), index=True)
    payment_intent_id: Mapped[str]
    amount_minor: Mapped[Minor]
    reason: Mapped[str]
    state: Mapped[str] = mapped_column(server_default="CREATING")
    stripe_refund_id: Mapped[str | None] = mapped_column(unique=True)
    lines: Mapped[list[Any]] = mapped_column(JSONB, server_default=text("'[]'"))
    gift_minor: Mapped[Minor | None]
    restock: Mapped[bool] = mapped_column(server_default=text("false"))
    requested_by: Mapped[str | None]
    created_at: Mapped[CreatedAt]
    __table_args__ = (
        CheckConstraint("amount_minor > 0", name="amount"),
        CheckConstraint("gift_minor BETWEEN 0 AND amount_minor", name="gift"),
        Index("ix_refunds_creating", "created_at", postgresql_where=text("state = 'CREATING'")),
        CheckConstraint("state IN ('CREATING', 'PENDING', 'SUCCEEDED', 'FAILED')", name="state"),
    )


class Dispute(Base):
    """A payment that its bank took back, and how that ended: a lost one moves no more money, so no entry tells."""

    __tablename__ = "disputes"
    id: Mapped[PrimaryId]
    order_id: Mapped[Id] = mapped_column(ForeignKey("orders.id"), index=True)
    payment_intent_id: Mapped[str]
    amount_minor: Mapped[Minor]
    state: Mapped[str]
    created_at: Mapped[CreatedAt]
    __table_args__ = (
        CheckConstraint("amount_minor > 0", name="amount"),
        CheckConstraint("state IN ('OPEN', 'WON', 'LOST')", name="state"),
    )


class RefundRequest(Base):
    """A shopper's wish to have an order, or a part of it, taken back; staff decide."""

    __tablename__ = "refund_requests"
    id: Mapped[PrimaryId]
    order_id: Mapped[Id] = mapped_column(ForeignKey("orders.id"))
    lines: Mapped[list[Any]] = mapped_column(JSONB, server_default=text("'[]'"))
    reason: Mapped[str | None]
    state: Mapped[str] = mapped_column(server_default="OPEN")
    refund_id: Mapped[Id | None] = mapped_column(ForeignKey("refunds.id"))
    created_at: Mapped[CreatedAt]
    decided_at: Mapped[datetime | None]
    decided_by: Mapped[str | None]
    __table_args__ = (
        CheckConstraint("state IN ('OPEN', 'ACCEPTED', 'DECLINED', 'WITHDRAWN')", name="state"),
        Index(
            "uq_refund_requests_open",
            "order_id",
            unique=True,
            postgresql_where=text("state = 'OPEN'"),
        ),
    )
