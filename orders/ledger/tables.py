"""The books: what was posted, under which number it was sealed, and what that adds up to."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    String,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from stream_events.database import Base, CreatedAt, Id, Minor, PrimaryId


class LedgerTransaction(Base):
    """A balanced set of entries for one outside fact. Never updated or deleted: a trigger forbids it."""

    __tablename__ = "ledger_transactions"
    id: Mapped[PrimaryId]
    campaign_id: Mapped[Id] = mapped_column(ForeignKey("campaigns.id"), index=True)
    stream_id: Mapped[Id]
    kind: Mapped[str]
    source_id: Mapped[str]
    order_id: Mapped[Id | None] = mapped_column(index=True)
    currency: Mapped[str] = mapped_column(String(3))
    lines: Mapped[list[Any]] = mapped_column(JSONB)
    gifts: Mapped[int] = mapped_column(
        server_default="0"
    )  # +1 a gift begins or comes back, −1 it is undone.
    # The same of an order of goods: it stands as long as one of its units is sold.
    orders: Mapped[int] = mapped_column(server_default="0")
    commitment: Mapped[str]
    posted_at: Mapped[CreatedAt]
    __table_args__ = (
        UniqueConstraint("source_id", "kind"),
        CheckConstraint("gifts BETWEEN -1 AND 1", name="gifts"),
        CheckConstraint("orders BETWEEN -1 AND 1", name="orders"),
    )


class LedgerEntry(Base):
    """One account's part of a transaction: debit > 0, credit < 0; the parts of a transaction sum to zero."""

    __tablename__ = "ledger_entries"
    transaction_id: Mapped[PrimaryId] = mapped_column(ForeignKey("ledger_transactions.id"))
    account: Mapped[str] = mapped_column(primary_key=True)
    amount_minor: Mapped[Minor]
    __table_args__ = (Index(None, "account"), CheckConstraint("amount_minor <> 0", name="amount"))


class Unsealed(Base):
    """Posted and waiting for its number: the sealer's inbox, filled in the posting transaction."""

    __tablename__ = "ledger_unsealed"
    transaction_id: Mapped[PrimaryId] = mapped_column(ForeignKey("ledger_transactions.id"))
    campaign_id: Mapped[Id]


class Seal(Base):
    """A ledger transaction's number in its campaign's log, without gaps from 1, and its leaf hash."""

    __tablename__ = "seals"
    campaign_id: Mapped[PrimaryId] = mapped_column(ForeignKey("campaigns.id"))
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    transaction_id: Mapped[Id] = mapped_column(ForeignKey("ledger_transactions.id"), unique=True)
    leaf_hash: Mapped[bytes]
    sealed_at: Mapped[CreatedAt]


class LedgerHead(Base):
    """How long a campaign's log is; its row lock makes the sealer single."""

    __tablename__ = "ledger_heads"
    campaign_id: Mapped[PrimaryId] = mapped_column(ForeignKey("campaigns.id"))
    size: Mapped[int] = mapped_column(BigInteger, server_default="0")


class Tally(Base):
    """What the ledger adds up to for a scope (``campaign`` or ``stream``) after its newest sealed transaction."""

    __tablename__ = "tallies"
    scope_id: Mapped[PrimaryId]
    campaign_id: Mapped[Id] = mapped_column(ForeignKey("campaigns.id"))
    seq: Mapped[int] = mapped_column(BigInteger)
    raised_minor: Mapped[Minor]
    sales_minor: Mapped[Minor]
    orders: Mapped[int] = mapped_column(BigInteger)
    units: Mapped[int] = mapped_column(BigInteger)
    gifts: Mapped[int] = mapped_column(BigInteger, server_default="0")
    gifts_minor: Mapped[Minor] = mapped_column(server_default="0")
    matched_minor: Mapped[Minor] = mapped_column(server_default="0")


class TallyHistory(Base):
    """Every tally ever published, so that any number seen on a screen can be recomputed from the ledger."""

    __tablename__ = "tally_history"
    scope_id: Mapped[PrimaryId]
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    raised_minor: Mapped[Minor]
    sales_minor: Mapped[Minor]
    orders: Mapped[int] = mapped_column(BigInteger)
    units: Mapped[int] = mapped_column(BigInteger)
    gifts: Mapped[int] = mapped_column(BigInteger, server_default="0")
    gifts_minor: Mapped[Minor] = mapped_column(server_default="0")
    matched_minor: Mapped[Minor] = mapped_column(server_default="0")
    at: Mapped[CreatedAt]
