"""Who takes part: campaigns, their streams, the people behind them and the keys they hold."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from stream_events.database import Base, CreatedAt, Id, Minor, PrimaryId


class Campaign(Base):
    """A fundraising sale over days. One currency, one mode: test money and real money never meet in it."""

    __tablename__ = "campaigns"
    id: Mapped[PrimaryId]
    name: Mapped[str]
    name_zh: Mapped[str | None]
    currency: Mapped[str] = mapped_column(String(3))
    mode: Mapped[str]
    goal_minor: Mapped[Minor]
    created_at: Mapped[CreatedAt]
    __table_args__ = (
        CheckConstraint("mode IN ('sandbox', 'live')", name="mode"),
        CheckConstraint("goal_minor >= 0", name="goal"),
    )


class Host(Base):
    """The influencer who runs streams."""

    __tablename__ = "hosts"
    id: Mapped[PrimaryId]
    name: Mapped[str]
    created_at: Mapped[CreatedAt]


class Farmer(Base):
    """The producer who is paid for goods."""

    __tablename__ = "farmers"
    id: Mapped[PrimaryId]
    name: Mapped[str]
    name_zh: Mapped[str | None]
    place: Mapped[str]
    created_at: Mapped[CreatedAt]


class Beneficiary(Base):
    """The charity project that receives shares and gifts."""

    __tablename__ = "beneficiaries"
    id: Mapped[PrimaryId]
    name: Mapped[str]
    name_zh: Mapped[str | None]
    created_at: Mapped[CreatedAt]


class Stream(Base):
    """One broadcast in a campaign: draft → scheduled → live → ended → settled. Sales run while it is live."""

    __tablename__ = "streams"
    id: Mapped[PrimaryId]
    campaign_id: Mapped[Id] = mapped_column(ForeignKey("campaigns.id"), index=True)
    host_id: Mapped[Id] = mapped_column(ForeignKey("hosts.id"), index=True)
    title: Mapped[str]
    title_zh: Mapped[str | None]
    state: Mapped[str] = mapped_column(server_default="draft")
    goal_minor: Mapped[Minor]
    opens_at: Mapped[datetime | None]
    live_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    created_at: Mapped[CreatedAt]
    __table_args__ = (
        CheckConstraint(
            "state IN ('draft', 'scheduled', 'live', 'ended', 'settled')", name="state"
        ),
        CheckConstraint("goal_minor >= 0", name="goal"),
    )


class Principal(Base):
    """Somebody who may call the API. Shoppers are not here: their tokens carry their own proof."""

    __tablename__ = "principals"
    id: Mapped[PrimaryId]
    role: Mapped[str]
    name: Mapped[str]
    host_id: Mapped[Id | None] = mapped_column(ForeignKey("hosts.id"))
    farmer_id: Mapped[Id | None] = mapped_column(ForeignKey("farmers.id"))
    stream_id: Mapped[Id | None] = mapped_column(ForeignKey("streams.id"))
    created_at: Mapped[CreatedAt]
    disabled_at: Mapped[datetime | None]
    __table_args__ = (
        CheckConstraint("role IN ('operator', 'host', 'farmer', 'overlay')", name="role"),
        CheckConstraint("(role = 'host') = (host_id IS NOT NULL)", name="host"),
        CheckConstraint("(role = 'farmer') = (farmer_id IS NOT NULL)", name="farmer"),
        CheckConstraint("(role = 'overlay') = (stream_id IS NOT NULL)", name="overlay"),
    )


class Key(Base):
    """A secret that proves a principal; only its SHA-256 is kept, because it has 256 random bits."""

    __tablename__ = "keys"
    id: Mapped[PrimaryId]
    principal_id: Mapped[Id] = mapped_column(ForeignKey("principals.id"), index=True)
    secret_sha256: Mapped[bytes] = mapped_column(unique=True)
    created_at: Mapped[CreatedAt]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
