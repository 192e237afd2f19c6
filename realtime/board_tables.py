"""What a host puts up while the sale runs: the pin, the timer, tonight's floor, the milestones."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from stream_events.database import Base, CreatedAt, Id, PrimaryId


class Board(Base):
    """What a host put up in one stream. A stream without a row has put up nothing yet.

    ``revision`` grows with every change, also of the stream's milestones: whoever has read it need not read again.
    ``floor_seq`` is the ledger number after which "tonight" begins.
    """

    __tablename__ = "boards"
    stream_id: Mapped[PrimaryId] = mapped_column(ForeignKey("streams.id"))
    revision: Mapped[int] = mapped_column(BigInteger, server_default="1")
    pinned_sku: Mapped[str | None]
    timer_what: Mapped[str | None]
    timer_at: Mapped[datetime | None]
    floor_seq: Mapped[int | None] = mapped_column(BigInteger)
    floor_at: Mapped[datetime | None]
    changed_at: Mapped[CreatedAt]
    __table_args__ = (
        CheckConstraint("timer_what IN ('opens', 'closes')", name="timer_what"),
        CheckConstraint("(timer_what IS NULL) = (timer_at IS NULL)", name="timer"),
        CheckConstraint("floor_seq >= 0", name="floor_seq"),
        CheckConstraint("(floor_seq IS NULL) = (floor_at IS NULL)", name="floor"),
        Index(None, "changed_at"),
        Index("ix_boards_timers", "timer_at", postgresql_where=text("timer_at IS NOT NULL")),
    )


class Milestone(Base):
    """A step to reach together: money raised or units sold. ``reached_at`` is written once, by the announcer."""

    __tablename__ = "milestones"
    id: Mapped[PrimaryId]
    stream_id: Mapped[Id] = mapped_column(ForeignKey("streams.id"), index=True)
    counts: Mapped[str]
    threshold: Mapped[int] = mapped_column(BigInteger)
    title: Mapped[str]
    title_zh: Mapped[str | None]
    reached_at: Mapped[datetime | None]
    created_at: Mapped[CreatedAt]
    __table_args__ = (
        CheckConstraint("counts IN ('money', 'units')", name="counts"),
        CheckConstraint("threshold > 0", name="threshold"),
    )
