"""Alerts, and which group of overlays has shown which.

An alert is of an order and refers to it; what its giver wrote is read from ``order_messages`` each time it is
published, so that hiding or erasing it there takes it off the screens. Only staff's own test alerts keep their words.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    String,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from stream_events.database import Base, CreatedAt, Id, Minor, PrimaryId


class AlertMark(Base):
    """How far a campaign's sealed ledger was read for alerts."""

    __tablename__ = "alert_marks"
    campaign_id: Mapped[PrimaryId] = mapped_column(ForeignKey("campaigns.id"))
    seq: Mapped[int] = mapped_column(BigInteger)


class AlertDesk(Base):
    """The switches over all groups of a stream. Whoever changes what is on air holds this row's lock."""

    __tablename__ = "alert_desks"
    stream_id: Mapped[PrimaryId] = mapped_column(ForeignKey("streams.id"))
    muted: Mapped[bool] = mapped_column(server_default=text("false"))
    panic: Mapped[bool] = mapped_column(server_default=text("false"))


class AlertGroup(Base):
    """A named set of overlays that show the same alert at the same time, and what it shows.

    ``busy`` is true while something waits or is on air, ``last_lane`` whose turn it was last.
    """

    __tablename__ = "alert_groups"
    stream_id: Mapped[PrimaryId] = mapped_column(ForeignKey("streams.id"))
    name: Mapped[PrimaryId]
    show_ms: Mapped[int] = mapped_column(server_default="6000")
    hold_s: Mapped[int] = mapped_column(server_default="30")
    hold_said_s: Mapped[int] = mapped_column(server_default="300")
    min_minor: Mapped[Minor] = mapped_column(server_default="0")
    large_minor: Mapped[Minor] = mapped_column(server_default="0")
    burst_per_s: Mapped[int] = mapped_column(server_default="2")
    waiting_max: Mapped[int] = mapped_column(server_default="50")
    compress: Mapped[str] = mapped_column(server_default="auto")
    sound: Mapped[str | None]
    busy: Mapped[bool] = mapped_column(server_default=text("true"))
    last_lane: Mapped[str | None]
    __table_args__ = (
        CheckConstraint("show_ms BETWEEN 2000 AND 20000", name="show"),
        CheckConstraint("hold_s BETWEEN 5 AND 600", name="hold"),
        CheckConstraint("hold_said_s BETWEEN 30 AND 3600", name="hold_said"),
        CheckConstraint("min_minor >= 0 AND large_minor >= 0", name="amounts"),
        CheckConstraint("burst_per_s BETWEEN 1 AND 100", name="burst"),
        CheckConstraint("waiting_max BETWEEN 1 AND 500", name="waiting"),
        CheckConstraint("compress IN ('auto', 'off')", name="compress"),
        CheckConstraint("sound IN ('chime', 'none')", name="sound"),
        CheckConstraint("last_lane IN ('ordinary', 'turn')", name="last_lane"),
        Index("ix_alert_groups_busy", "stream_id", "name", postgresql_where=text("busy")),
    )


class Alert(Base):
    """One paid order as it is to be shown; ``words`` are staff's own, of a test. Numbered as the ledger went."""

    __tablename__ = "alerts"
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    stream_id: Mapped[Id] = mapped_column(ForeignKey("streams.id"))
    order_id: Mapped[Id | None] = mapped_column(unique=True)
    kind: Mapped[str]
    sku: Mapped[str | None]
    units: Mapped[int]
    goods_minor: Mapped[Minor]
    gift_minor: Mapped[Minor]
    currency: Mapped[str] = mapped_column(String(3))
    paid_at: Mapped[datetime]
    made_at: Mapped[CreatedAt]
    words: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    __table_args__ = (
        CheckConstraint("kind IN ('order', 'gift', 'test')", name="kind"),
        CheckConstraint("(kind = 'test') = (order_id IS NULL)", name="order"),
        CheckConstraint("words IS NULL OR kind = 'test'", name="words"),
        CheckConstraint("units >= 0 AND goods_minor >= 0 AND gift_minor >= 0", name="amounts"),
    )


class AlertTurn(Base):
    """An alert in the queue of a group: it waits, was taken by an airing, or never will be.

    ``ordinary`` ones may be merged, one with a ``turn`` of its own never is. It may wait from ``since`` on for as
    long as its group holds it. In REVIEW its giver's words wait for a verdict, and it with them.
    """

    __tablename__ = "alert_turns"
    alert_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("alerts.id", ondelete="CASCADE"), primary_key=True
    )
    group_name: Mapped[PrimaryId]
    stream_id: Mapped[Id]
    sku: Mapped[str]  # '' where there are no goods: those merge among themselves.
    large: Mapped[bool] = mapped_column(server_default=text("false"))
    said: Mapped[bool] = mapped_column(server_default=text("false"))
    lane: Mapped[str]
    state: Mapped[str]
    reason: Mapped[str | None]
    paid_at: Mapped[datetime]
    since: Mapped[datetime]
    airing_id: Mapped[Id | None]
    __table_args__ = (
        ForeignKeyConstraint(
            ["stream_id", "group_name"],
            ["alert_groups.stream_id", "alert_groups.name"],
            name="fk_alert_turns_group",
            ondelete="CASCADE",
        ),
        CheckConstraint("lane IN ('ordinary', 'turn')", name="lane"),
        CheckConstraint(
            "state IN ('REVIEW', 'WAITING', 'TAKEN', 'DROPPED', 'PASSED_OVER')", name="state"
        ),
        CheckConstraint("(state = 'TAKEN') = (airing_id IS NOT NULL)", name="taken"),
        CheckConstraint("(state = 'DROPPED') = (reason IS NOT NULL)", name="reason"),
        Index(
            "ix_alert_turns_waiting",
            "stream_id",
            "group_name",
            "lane",
            "since",
            "alert_id",
            postgresql_include=["sku", "said"],
            postgresql_where=text("state = 'WAITING'"),
        ),
        Index(
            "ix_alert_turns_review",
            "stream_id",
            "group_name",
            "alert_id",
            postgresql_where=text("state = 'REVIEW'"),
        ),
        Index(
            "ix_alert_turns_airing",
            "airing_id",
            "alert_id",
            postgresql_where=text("airing_id IS NOT NULL"),
        ),
    )


class Airing(Base):
    """One or many alerts on the screens of a group, once. ``alert_id`` is the one whose words may stand there."""

    __tablename__ = "airings"
    id: Mapped[PrimaryId]
    stream_id: Mapped[Id] = mapped_column(ForeignKey("streams.id"))
    group_name: Mapped[Id]
    kind: Mapped[str]
    alert_id: Mapped[int] = mapped_column(BigInteger)
    worded: Mapped[bool]
    sku: Mapped[str | None]
    count: Mapped[int]
    units: Mapped[int]
    amount_minor: Mapped[Minor]
    biggest_minor: Mapped[Minor]
    currency: Mapped[str] = mapped_column(String(3))
    within_s: Mapped[int]
    paid_at: Mapped[datetime]
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    shown_at: Mapped[datetime | None]
    paid_to_shown_ms: Mapped[int | None] = mapped_column(BigInteger)
    outcome: Mapped[str] = mapped_column(server_default="ON_AIR")
    ended_at: Mapped[datetime | None]
    __table_args__ = (
        CheckConstraint("kind IN ('order', 'gift', 'burst', 'test')", name="kind"),
        CheckConstraint("count > 0 AND (kind = 'burst' OR count = 1)", name="count"),
        CheckConstraint(
            "outcome IN ('ON_AIR', 'SHOWN', 'SKIPPED', 'CLEARED', 'LOST')", name="outcome"
        ),
        CheckConstraint("(outcome = 'ON_AIR') = (ended_at IS NULL)", name="ended"),
        CheckConstraint("outcome <> 'SHOWN' OR shown_at IS NOT NULL", name="shown"),
        CheckConstraint("outcome <> 'LOST' OR shown_at IS NULL", name="lost"),
        Index(
            "uq_airings_on_air",
            "stream_id",
            "group_name",
            unique=True,
            postgresql_where=text("outcome = 'ON_AIR'"),
        ),
        Index("ix_airings_stream_id", "stream_id", "id"),
    )
