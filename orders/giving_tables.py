"""Who gives along: sponsors who match gifts, standing pledges, and the money that is paid on."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, String
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from stream_events.database import Base, CreatedAt, Id, Minor, PrimaryId


class Match(Base):
    """A sponsor's promise to add to what others give: ratio, pot, window, bound for each giver.

    ``spent_minor`` moves only under the row's lock, together with the entries it stands for.
    """

    __tablename__ = "matches"
    id: Mapped[PrimaryId]
    campaign_id: Mapped[Id] = mapped_column(ForeignKey("campaigns.id"))
    stream_id: Mapped[Id | None] = mapped_column(ForeignKey("streams.id"))
    sponsor: Mapped[str]
    sponsor_zh: Mapped[str | None]
    covers: Mapped[str]
    skus: Mapped[list[str] | None] = mapped_column(ARRAY(String))
    ratio_bp: Mapped[int]
    pot_minor: Mapped[Minor]
    spent_minor: Mapped[Minor] = mapped_column(server_default="0")
    per_giver_max_minor: Mapped[Minor | None]
    position: Mapped[int]
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime | None]
    created_at: Mapped[CreatedAt]
    __table_args__ = (
        CheckConstraint("covers IN ('gifts', 'shares', 'all')", name="covers"),
        CheckConstraint("ratio_bp BETWEEN 1 AND 1000000", name="ratio"),
        CheckConstraint("pot_minor > 0 AND spent_minor BETWEEN 0 AND pot_minor", name="pot"),
        CheckConstraint("per_giver_max_minor > 0", name="per_giver"),
        CheckConstraint("ends_at >= starts_at", name="window"),
        Index(None, "campaign_id"),
    )


class MatchUse(Base):
    """What one order drew from a match: ``base_minor`` was matched by ``amount_minor``, of which some went back."""

    __tablename__ = "match_uses"
    match_id: Mapped[PrimaryId] = mapped_column(ForeignKey("matches.id"))
    order_id: Mapped[PrimaryId] = mapped_column(ForeignKey("orders.id"))
    shopper_id: Mapped[Id]
    base_minor: Mapped[Minor]
    amount_minor: Mapped[Minor]
    returned_minor: Mapped[Minor] = mapped_column(server_default="0")
    created_at: Mapped[CreatedAt]
    __table_args__ = (
        CheckConstraint("base_minor > 0 AND amount_minor >= 0", name="amount"),
        CheckConstraint("returned_minor BETWEEN 0 AND amount_minor", name="returned"),
        Index(None, "order_id"),
        Index("ix_match_uses_giver", "match_id", "shopper_id"),
    )


class Pledge(Base):
    """A standing promise of a part of the revenue: the sealer posts what it comes to, to the last minor unit.

    ``base_minor`` is the campaign's sales when the pledge began: it counts from there.
    """

    __tablename__ = "pledges"
    id: Mapped[PrimaryId]
    campaign_id: Mapped[Id] = mapped_column(ForeignKey("campaigns.id"))
    beneficiary_id: Mapped[Id] = mapped_column(ForeignKey("beneficiaries.id"))
    name: Mapped[str]
    name_zh: Mapped[str | None]
    bp: Mapped[int]
    base_minor: Mapped[Minor]
    accrued_minor: Mapped[Minor] = mapped_column(server_default="0")
    created_at: Mapped[CreatedAt]
    __table_args__ = (
        CheckConstraint("bp BETWEEN 1 AND 10000", name="bp"),
        Index(None, "campaign_id"),
    )


class Transfer(Base):
    """Money that came from a sponsor or went to a payee outside Stripe, as an operator recorded it. Never edited."""

    __tablename__ = "transfers"
    id: Mapped[PrimaryId]
    campaign_id: Mapped[Id] = mapped_column(ForeignKey("campaigns.id"))
    kind: Mapped[str]
    account: Mapped[str]
    amount_minor: Mapped[Minor]
    reference: Mapped[str]
    created_by: Mapped[Id]
    created_at: Mapped[CreatedAt]
    __table_args__ = (
        CheckConstraint("kind IN ('payout', 'sponsor_paid')", name="kind"),
        CheckConstraint("amount_minor > 0", name="amount"),
        Index(None, "campaign_id"),
    )
