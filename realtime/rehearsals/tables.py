"""Which stream rehearses, and with which night."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from stream_events.database import Base, CreatedAt, Id, PrimaryId


class Rehearsal(Base):
    """The night of ``of_stream_id``, from ``from_at`` to ``to_at``, played over a stream's rehearsal topics.

    Where it is follows from ``started_at``, ``speed`` and the database's clock alone, so whoever plays it may be replaced.
    ``finished_at`` is when its last state was told; what is told then stays until somebody stops it.
    """

    __tablename__ = "rehearsals"
    stream_id: Mapped[PrimaryId] = mapped_column(ForeignKey("streams.id"))
    of_stream_id: Mapped[Id] = mapped_column(ForeignKey("streams.id"))
    speed: Mapped[int]
    started_at: Mapped[CreatedAt]
    from_at: Mapped[datetime]
    to_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    __table_args__ = (
        CheckConstraint("speed IN (1, 10)", name="speed"),
        CheckConstraint("to_at >= from_at", name="night"),
        Index("ix_rehearsals_playing", "started_at", postgresql_where=text("finished_at IS NULL")),
    )
