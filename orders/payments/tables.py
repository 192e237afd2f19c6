"""How far we have listened to Stripe, kept over restarts: what happened while nobody listened is still asked for."""

from datetime import datetime

from sqlalchemy import CheckConstraint
from sqlalchemy.orm import Mapped, mapped_column

from stream_events.database import Base


class Reconciled(Base):
    """One row: everything at Stripe up to this instant was listed and taken in."""

    __tablename__ = "reconciled"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    seen_until: Mapped[datetime]
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)
