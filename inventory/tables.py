"""What is sold: products, the terms they are offered on, and the stock that SQL guards.

The tables written for each order (``stock_moves``, ``shopper_units``) carry no foreign keys: a key check would
lock the same stream and stock rows thousands of times a second. The checker proves their references instead.
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

from stream_events.database import Base, CreatedAt, Id, Minor, PrimaryId


class Product(Base):
    """The thing a farmer makes."""

    __tablename__ = "products"
    id: Mapped[PrimaryId]
    farmer_id: Mapped[Id] = mapped_column(ForeignKey("farmers.id"), index=True)
    sku: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    name_zh: Mapped[str | None]
    unit: Mapped[str]
    unit_zh: Mapped[str | None]
    weight_g: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[CreatedAt]
    __table_args__ = (CheckConstraint("weight_g >= 0", name="weight"),)


class Offer(Base):
    """A product in one stream. Its terms change by new ``OfferTerms``, so that orders keep the ones they saw."""

    __tablename__ = "offers"
    id: Mapped[PrimaryId]
    stream_id: Mapped[Id] = mapped_column(ForeignKey("streams.id"))
    product_id: Mapped[Id] = mapped_column(ForeignKey("products.id"))
    sku: Mapped[str]
    opens_at: Mapped[datetime | None]
    created_at: Mapped[CreatedAt]
    __table_args__ = (UniqueConstraint("stream_id", "sku"),)


class OfferTerms(Base):
    """Price, limit and share rule of an offer: immutable; the newest row of an offer counts for new orders."""

    __tablename__ = "offer_terms"
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    offer_id: Mapped[Id] = mapped_column(ForeignKey("offers.id"), index=True)
    price_minor: Mapped[Minor]
    per_shopper_max: Mapped[int]
    farmer_id: Mapped[Id] = mapped_column(ForeignKey("farmers.id"))
    beneficiary_id: Mapped[Id] = mapped_column(ForeignKey("beneficiaries.id"))
    farmer_bp: Mapped[int]
    beneficiary_bp: Mapped[int]
    fees_bp: Mapped[int]
    beneficiary_fixed_minor: Mapped[int | None] = mapped_column(BigInteger)
    # Per unit, like the fixed share of the beneficiary; ``stream_events.split`` says in which order they count.
    farmer_fixed_minor: Mapped[int | None] = mapped_column(BigInteger)
    beneficiary_cap_minor: Mapped[int | None] = mapped_column(BigInteger)
    farmer_floor_minor: Mapped[int | None] = mapped_column(BigInteger)
    fee_payer: Mapped[str] = mapped_column(server_default="platform")
    # The tax that is in the price, in basis points of the price without it: shown, and the farmer's to pay.
    tax_bp: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[CreatedAt]
    __table_args__ = (
        CheckConstraint("price_minor > 0", name="price"),
        CheckConstraint("per_shopper_max > 0", name="limit"),
        CheckConstraint(
            "farmer_bp >= 0 AND beneficiary_bp >= 0 AND fees_bp >= 0"
            " AND farmer_bp + beneficiary_bp + fees_bp = 10000",
            name="shares",
        ),
        CheckConstraint("beneficiary_fixed_minor BETWEEN 0 AND price_minor", name="fixed"),
        CheckConstraint(
            "coalesce(farmer_fixed_minor, 0) >= 0"
            " AND coalesce(farmer_fixed_minor, 0) + coalesce(beneficiary_fixed_minor, 0) <= price_minor",
            name="farmer_fixed",
        ),
        CheckConstraint(
            "beneficiary_cap_minor >= 0 AND farmer_floor_minor BETWEEN 0 AND price_minor",
            name="bounds",
        ),
        CheckConstraint("fee_payer IN ('platform', 'farmer', 'beneficiary')", name="fee_payer"),
        CheckConstraint("tax_bp BETWEEN 0 AND 10000", name="tax"),
    )


class Stock(Base):
    """Units of one offer. ``free`` is total − reserved − sold; the CHECK is the last wall against overselling."""

    __tablename__ = "stock"
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    offer_id: Mapped[Id] = mapped_column(ForeignKey("offers.id"), unique=True)
    stream_id: Mapped[Id] = mapped_column(ForeignKey("streams.id"))
    sku: Mapped[str]
    total: Mapped[int]
    reserved: Mapped[int] = mapped_column(server_default="0")
    sold: Mapped[int] = mapped_column(server_default="0")
    gate_epoch: Mapped[int] = mapped_column(BigInteger)
    __table_args__ = (
        UniqueConstraint("stream_id", "sku"),
        CheckConstraint(
            "reserved >= 0 AND sold >= 0 AND reserved + sold <= total", name="never_oversold"
        ),
        {"postgresql_with": {"fillfactor": "10"}},  # the hottest rows: room for in-page updates
    )


class StreamGate(Base):
    """The gate's side of a stream in SQL: which epoch is open, and how many adjustments it must have seen."""

    __tablename__ = "stream_gate"
    stream_id: Mapped[Id] = mapped_column(ForeignKey("streams.id"), primary_key=True)
    epoch: Mapped[int] = mapped_column(BigInteger)
    rel_seq: Mapped[int] = mapped_column(BigInteger, server_default="0")


class StockMove(Base):
    """Every change of stock, append-only. ``kind``: R reserve, C commit as sold, X release, L late sale, T restock, A total changed.

    ``source_id`` is the order (R, C, X, L, T) or the adjustment (A). Moves that change free stock behind the
    gate's back (X, T, L, A) carry ``rel_seq``, the stream's gap-free adjustment number; ``delta`` is what they
    add to free stock. ``n`` counts repeats of one kind (partial restocks).
    """

    __tablename__ = "stock_moves"
    source_id: Mapped[PrimaryId]
    stock_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    n: Mapped[int] = mapped_column(primary_key=True, server_default="1")
    stream_id: Mapped[Id]
    quantity: Mapped[int]
    rel_seq: Mapped[int | None] = mapped_column(BigInteger)
    shopper_id: Mapped[Id | None]
    at: Mapped[CreatedAt]
    __table_args__ = (
        CheckConstraint("kind IN ('R', 'C', 'X', 'L', 'T', 'A')", name="kind"),
        CheckConstraint("(kind IN ('X', 'L', 'T', 'A')) = (rel_seq IS NOT NULL)", name="numbered"),
        CheckConstraint("kind = 'A' OR quantity > 0", name="quantity"),
        Index(
            "ix_stock_moves_adjustments",
            "stream_id",
            "rel_seq",
            postgresql_where=text("rel_seq IS NOT NULL"),
        ),
    )


class ShopperUnits(Base):
    """Units a shopper holds or bought of one stock row: the SQL side of the per-shopper limit.

    ``limit_max`` is the limit in force at the shopper's last order; lowering an offer's limit never breaks a row.
    """

    __tablename__ = "shopper_units"
    stock_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    shopper_id: Mapped[Id] = mapped_column(primary_key=True)
    units: Mapped[int]
    limit_max: Mapped[int]
    __table_args__ = (CheckConstraint("units BETWEEN 0 AND limit_max", name="limit"),)
