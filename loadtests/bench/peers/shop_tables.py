"""The tables of the ORM peer of ``bench settle``: a shop's, with as little in them as money needs.

They keep less than ours do: no state history, no stock moves, no commitments, no seals, no history of totals.
"""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import BigInteger, DateTime, ForeignKey, Identity, MetaData, Text, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

SCHEMA: Final = "bench_settle"


class Base(DeclarativeBase):
    """The peer's own tables, in a schema of their own."""

    metadata = MetaData(schema=SCHEMA)


class Event(Base):
    """A webhook that was taken: its id is what makes a repeat harmless."""

    __tablename__ = "events"

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    type: Mapped[str] = mapped_column(Text)
    payload: Mapped[dict[str, Any]] = mapped_column(JSONB)
    received_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now()
    )


class Order(Base):
    """An order, paid or not."""

    __tablename__ = "orders"

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    campaign_id: Mapped[str] = mapped_column(Text)
    stream_id: Mapped[str] = mapped_column(Text, index=True)
    payment_intent_id: Mapped[str] = mapped_column(Text, unique=True)
    state: Mapped[str] = mapped_column(Text)
    total_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(Text)
    paid_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    lines: Mapped[list["Line"]] = relationship()


class Line(Base):
    """Units in an order, and how their price is shared."""

    __tablename__ = "order_lines"

    order_id: Mapped[str] = mapped_column(ForeignKey(Order.id), primary_key=True)
    stock_id: Mapped[str] = mapped_column(Text, primary_key=True)
    quantity: Mapped[int]
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    farmer_bp: Mapped[int]
    beneficiary_bp: Mapped[int]


class Stock(Base):
    """Units of one offer."""

    __tablename__ = "stock"
    __table_args__ = {"postgresql_with": {"fillfactor": "10"}}  # noqa: RUF012 - SQLAlchemy's own form

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    total: Mapped[int]
    reserved: Mapped[int]
    sold: Mapped[int]


class Posting(Base):
    """A payment in the ledger; it posts once, by the payment's id."""

    __tablename__ = "postings"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    payment_intent_id: Mapped[str] = mapped_column(Text, unique=True)
    order_id: Mapped[str] = mapped_column(ForeignKey(Order.id), index=True)
    posted_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    entries: Mapped[list["Entry"]] = relationship()


class Entry(Base):
    """One account's part of a posting."""

    __tablename__ = "entries"

    posting_id: Mapped[int] = mapped_column(ForeignKey(Posting.id), primary_key=True)
    account: Mapped[str] = mapped_column(Text, primary_key=True)
    amount_minor: Mapped[int] = mapped_column(BigInteger)


class Tally(Base):
    """The total of a campaign or stream."""

    __tablename__ = "tallies"
    __table_args__ = {"postgresql_with": {"fillfactor": "10"}}  # noqa: RUF012 - SQLAlchemy's own form

    scope_id: Mapped[str] = mapped_column(Text, primary_key=True)
    raised_minor: Mapped[int] = mapped_column(BigInteger)
    sales_minor: Mapped[int] = mapped_column(BigInteger)
    orders: Mapped[int] = mapped_column(BigInteger)
    units: Mapped[int] = mapped_column(BigInteger)
