"""The outbox: that a mail is due is written with the fact it tells of; its text is made when it is sent.

So no mail is lost or sent twice for one fact, and the outbox holds no personal data: who it goes to is read from
the order's contact at that moment, and after an erasure it goes nowhere.
"""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from stream_events.database import Base, CreatedAt, Id, PrimaryId


class OutboxMail(Base):
    """A mail that is due, sent, or given up on. One for each (order, kind, source)."""

    __tablename__ = "mail_outbox"
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    order_id: Mapped[Id] = mapped_column(ForeignKey("orders.id"))
    kind: Mapped[str]
    source_id: Mapped[str]
    state: Mapped[str] = mapped_column(server_default="DUE")
    tries: Mapped[int] = mapped_column(server_default="0")
    reason: Mapped[str | None]
    due_at: Mapped[CreatedAt]
    created_at: Mapped[CreatedAt]
    sent_at: Mapped[datetime | None]
    __table_args__ = (
        UniqueConstraint("order_id", "kind", "source_id"),
        CheckConstraint("state IN ('DUE', 'SENT', 'DROPPED')", name="state"),
        CheckConstraint("(state = 'SENT') = (sent_at IS NOT NULL)", name="sent"),
        Index("ix_mail_outbox_due", "due_at", postgresql_where=text("state = 'DUE'")),
    )


class MailboxLetter(Base):
    """A mail as the local mailbox of test mode keeps it. Never written in live mode."""

    __tablename__ = "mailbox_letters"
    id: Mapped[PrimaryId]
    order_id: Mapped[Id] = mapped_column(ForeignKey("orders.id"), index=True)
    to: Mapped[str]
    subject: Mapped[str]
    body: Mapped[str]
    created_at: Mapped[CreatedAt]


class MailPosition(Base):
    """Up to which sealed transaction of a campaign it was seen whether mail is due: numbers have no gaps."""

    __tablename__ = "mail_positions"
    campaign_id: Mapped[PrimaryId] = mapped_column(ForeignKey("campaigns.id"))
    seq: Mapped[int] = mapped_column(BigInteger)
