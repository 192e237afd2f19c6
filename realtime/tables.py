"""The newest frame of every topic, so that a gateway that starts or reconnects never asks the commerce tables."""

from datetime import datetime

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from stream_events.database import Base, Json, PrimaryId


class Topic(Base):
    """A topic's newest state. ``version`` grows by one per change, in the transaction that computed the state."""

    __tablename__ = "topics"
    topic: Mapped[PrimaryId]
    epoch: Mapped[int] = mapped_column(BigInteger)
    version: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[Json]
    at: Mapped[datetime]
