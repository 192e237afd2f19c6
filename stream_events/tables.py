"""Who takes part: campaigns, their streams, the people behind them and the keys they hold."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, String, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
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
    # What a gift may be (without a maximum: what can be charged at all), and who bears Stripe's fee for it.
    gift_min_minor: Mapped[Minor] = mapped_column(server_default="0")
    gift_max_minor: Mapped[Minor | None]
    gift_fee_payer: Mapped[str] = mapped_column(server_default="platform")
    payment_methods: Mapped[list[str]] = mapped_column(
        ARRAY(String), server_default=text("'{card}'")
    )
    # Who sells and on which terms money goes back: shown on the page, on the order and in each mail.
    seller: Mapped[str | None]
    refund_terms: Mapped[str | None]
    refund_terms_zh: Mapped[str | None]
    created_at: Mapped[CreatedAt]
    __table_args__ = (
        CheckConstraint("mode IN ('sandbox', 'live')", name="mode"),
        CheckConstraint("goal_minor >= 0", name="goal"),
        CheckConstraint(
            "gift_min_minor >= 0 AND gift_max_minor >= gift_min_minor", name="gift_bounds"
        ),
        CheckConstraint("gift_fee_payer IN ('platform', 'beneficiary')", name="gift_fee_payer"),
        CheckConstraint(
            "cardinality(payment_methods) > 0"
            " AND payment_methods <@ ARRAY['card', 'alipay', 'wechat_pay']::varchar[]",
            name="payment_methods",
        ),
    )


class CampaignCause(Base):
    """A beneficiary that gifts in a campaign may go to, in the order they are offered in."""

    __tablename__ = "campaign_causes"
    campaign_id: Mapped[PrimaryId] = mapped_column(ForeignKey("campaigns.id"))
    beneficiary_id: Mapped[PrimaryId] = mapped_column(ForeignKey("beneficiaries.id"))
    position: Mapped[int]


class AnsweredRequest(Base):
    """What a staff request with an idempotency key was answered, so that a repeat gets the same and does nothing."""

    __tablename__ = "answered_requests"
    op: Mapped[bytes] = mapped_column(primary_key=True)
    fingerprint: Mapped[bytes]
    status: Mapped[int]
    answer: Mapped[dict[str, Any]] = mapped_column(JSONB)
    at: Mapped[CreatedAt]


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
    shipping: Mapped[dict[str, Any]] = mapped_column(
        JSONB, server_default=text("""'{"type": "free"}'""")
    )
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
        CheckConstraint(
            "role IN ('operator', 'host', 'farmer', 'overlay', 'moderator')", name="role"
        ),
        CheckConstraint("(role = 'host') = (host_id IS NOT NULL)", name="host"),
        CheckConstraint("(role = 'farmer') = (farmer_id IS NOT NULL)", name="farmer"),
        CheckConstraint(
            "(role IN ('overlay', 'moderator')) = (stream_id IS NOT NULL)", name="stream"
        ),
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
