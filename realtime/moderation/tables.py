"""Who looked at what a giver wants said, and by which rules.

The words themselves are in ``order_messages`` alone: here is what was decided about them, so that erasing them there
leaves nothing of them here. A message's review goes with it; the decisions stay, and say who, when and what, never
which words.
"""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from stream_events.database import Base, CreatedAt, Id, PrimaryId


class ModerationRules(Base):
    """How a stream's texts are looked at. Its row lock makes deciding about one stream one after the other.

    ``revision`` grows with whatever moderators should see anew; ``names`` is the highest number given to a name.
    """

    __tablename__ = "moderation_rules"
    stream_id: Mapped[PrimaryId] = mapped_column(ForeignKey("streams.id"))
    mode: Mapped[str] = mapped_column(server_default="one_pass")
    blocked: Mapped[list[str]] = mapped_column(ARRAY(String), server_default=text("'{}'"))
    allowed: Mapped[list[str]] = mapped_column(ARRAY(String), server_default=text("'{}'"))
    message_graphemes_max: Mapped[int] = mapped_column(server_default="200")
    revision: Mapped[int] = mapped_column(BigInteger, server_default="0")
    names: Mapped[int] = mapped_column(server_default="0")
    __table_args__ = (
        CheckConstraint("mode IN ('host', 'one_pass', 'two_pass')", name="mode"),
        CheckConstraint("message_graphemes_max BETWEEN 1 AND 200", name="length"),
        CheckConstraint("names >= 0", name="names"),
    )


class Review(Base):
    """A paid message in the queue: since when, who looks at it, who decided, and whether it was read aloud."""

    __tablename__ = "reviews"
    order_id: Mapped[PrimaryId] = mapped_column(
        ForeignKey("order_messages.order_id", ondelete="CASCADE")
    )
    stream_id: Mapped[Id] = mapped_column(ForeignKey("streams.id"))
    entered_at: Mapped[CreatedAt]
    passed_by: Mapped[Id | None]
    decided_by: Mapped[Id | None]
    decided_at: Mapped[datetime | None]
    reason: Mapped[str | None]
    claimed_by: Mapped[Id | None]
    claimed_until: Mapped[datetime | None]
    mark: Mapped[str | None]
    __table_args__ = (
        CheckConstraint("reason IN ('blocked', 'too_long')", name="reason"),
        CheckConstraint("mark IN ('unread', 'pinned', 'read', 'skipped')", name="mark"),
        CheckConstraint("(claimed_by IS NULL) = (claimed_until IS NULL)", name="claim"),
        Index("ix_reviews_stream_id_order_id", "stream_id", "order_id"),
        Index("ix_reviews_unread", "stream_id", postgresql_where=text("mark = 'unread'")),
    )


class ReviewDecision(Base):
    """Who decided what about which revision of a message. Never updated or deleted: a trigger forbids it."""

    __tablename__ = "review_decisions"
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    stream_id: Mapped[Id]
    order_id: Mapped[Id]
    revision: Mapped[int]
    decision: Mapped[str]
    from_display: Mapped[str]
    to_display: Mapped[str]
    reason: Mapped[str | None]
    by: Mapped[Id]
    at: Mapped[CreatedAt]
    __table_args__ = (
        CheckConstraint("decision IN ('pass', 'show', 'hide')", name="decision"),
        Index(None, "stream_id", "id"),
        Index(None, "order_id"),
    )


class NameRoll(Base):
    """A giver's number among those thanked in a stream: one each, without gaps, in the order of approval."""

    __tablename__ = "name_rolls"
    stream_id: Mapped[PrimaryId] = mapped_column(ForeignKey("streams.id"))
    n: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    shopper_id: Mapped[Id]
    order_id: Mapped[Id]
    at: Mapped[CreatedAt]
    __table_args__ = (
        UniqueConstraint("stream_id", "shopper_id"),
        CheckConstraint("n > 0", name="n"),
    )


class StaleNames(Base):
    """A stream whose shown texts changed: written by a trigger, so that no code path can leave it out."""

    __tablename__ = "stale_names"
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    stream_id: Mapped[Id]
