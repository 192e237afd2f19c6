"""Alerts, the groups of overlays they are shown to, and what was shown."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the queue: an alert an order, a turn a group, an airing a time on the screens."""
    op.create_table(
        "alert_marks",
        sa.Column("campaign_id", sa.String(collation="C"), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaigns.id"], name=op.f("fk_alert_marks_campaign_id")
        ),
        sa.PrimaryKeyConstraint("campaign_id", name=op.f("pk_alert_marks")),
    )
    op.create_table(
        "airings",
        sa.Column("id", sa.String(collation="C"), nullable=False),
        sa.Column("stream_id", sa.String(collation="C"), nullable=False),
        sa.Column("group_name", sa.String(collation="C"), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("alert_id", sa.BigInteger(), nullable=False),
        sa.Column("worded", sa.Boolean(), nullable=False),
        sa.Column("sku", sa.String(), nullable=True),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("units", sa.Integer(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("biggest_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("within_s", sa.Integer(), nullable=False),
        sa.Column("paid_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("shown_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("paid_to_shown_ms", sa.BigInteger(), nullable=True),
        sa.Column("outcome", sa.String(), server_default="ON_AIR", nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(outcome = 'ON_AIR') = (ended_at IS NULL)", name=op.f("ck_airings_ended")
        ),
        sa.CheckConstraint(
            "count > 0 AND (kind = 'burst' OR count = 1)", name=op.f("ck_airings_count")
        ),
        sa.CheckConstraint(
            "kind IN ('order', 'gift', 'burst', 'test')", name=op.f("ck_airings_kind")
        ),
        sa.CheckConstraint("outcome <> 'LOST' OR shown_at IS NULL", name=op.f("ck_airings_lost")),
        sa.CheckConstraint(
            "outcome <> 'SHOWN' OR shown_at IS NOT NULL", name=op.f("ck_airings_shown")
        ),
        sa.CheckConstraint(
            "outcome IN ('ON_AIR', 'SHOWN', 'SKIPPED', 'CLEARED', 'LOST')",
            name=op.f("ck_airings_outcome"),
        ),
        sa.ForeignKeyConstraint(["stream_id"], ["streams.id"], name=op.f("fk_airings_stream_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_airings")),
    )
    op.create_index("ix_airings_stream_id", "airings", ["stream_id", "id"], unique=False)
    op.create_index(
        "uq_airings_on_air",
        "airings",
        ["stream_id", "group_name"],
        unique=True,
        postgresql_where=sa.text("outcome = 'ON_AIR'"),
    )
    op.create_table(
        "alert_desks",
        sa.Column("stream_id", sa.String(collation="C"), nullable=False),
        sa.Column("muted", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("panic", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.ForeignKeyConstraint(
            ["stream_id"], ["streams.id"], name=op.f("fk_alert_desks_stream_id")
        ),
        sa.PrimaryKeyConstraint("stream_id", name=op.f("pk_alert_desks")),
    )
    op.create_table(
        "alert_groups",
        sa.Column("stream_id", sa.String(collation="C"), nullable=False),
        sa.Column("name", sa.String(collation="C"), nullable=False),
        sa.Column("show_ms", sa.Integer(), server_default="6000", nullable=False),
        sa.Column("hold_s", sa.Integer(), server_default="30", nullable=False),
        sa.Column("hold_said_s", sa.Integer(), server_default="300", nullable=False),
        sa.Column("min_minor", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("large_minor", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("burst_per_s", sa.Integer(), server_default="2", nullable=False),
        sa.Column("waiting_max", sa.Integer(), server_default="50", nullable=False),
        sa.Column("compress", sa.String(), server_default="auto", nullable=False),
        sa.Column("sound", sa.String(), nullable=True),
        sa.Column("busy", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("last_lane", sa.String(), nullable=True),
        sa.CheckConstraint("compress IN ('auto', 'off')", name=op.f("ck_alert_groups_compress")),
        sa.CheckConstraint(
            "last_lane IN ('ordinary', 'turn')", name=op.f("ck_alert_groups_last_lane")
        ),
        sa.CheckConstraint("sound IN ('chime', 'none')", name=op.f("ck_alert_groups_sound")),
        sa.CheckConstraint("burst_per_s BETWEEN 1 AND 100", name=op.f("ck_alert_groups_burst")),
        sa.CheckConstraint("hold_s BETWEEN 5 AND 600", name=op.f("ck_alert_groups_hold")),
        sa.CheckConstraint(
            "hold_said_s BETWEEN 30 AND 3600", name=op.f("ck_alert_groups_hold_said")
        ),
        sa.CheckConstraint(
            "min_minor >= 0 AND large_minor >= 0", name=op.f("ck_alert_groups_amounts")
        ),
        sa.CheckConstraint("show_ms BETWEEN 2000 AND 20000", name=op.f("ck_alert_groups_show")),
        sa.CheckConstraint("waiting_max BETWEEN 1 AND 500", name=op.f("ck_alert_groups_waiting")),
        sa.ForeignKeyConstraint(
            ["stream_id"], ["streams.id"], name=op.f("fk_alert_groups_stream_id")
        ),
        sa.PrimaryKeyConstraint("stream_id", "name", name=op.f("pk_alert_groups")),
    )
    op.create_index(
        "ix_alert_groups_busy",
        "alert_groups",
        ["stream_id", "name"],
        unique=False,
        postgresql_where=sa.text("busy"),
    )
    op.create_table(
        "alerts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("stream_id", sa.String(collation="C"), nullable=False),
        sa.Column("order_id", sa.String(collation="C"), nullable=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("sku", sa.String(), nullable=True),
        sa.Column("units", sa.Integer(), nullable=False),
        sa.Column("goods_minor", sa.BigInteger(), nullable=False),
        sa.Column("gift_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("paid_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "made_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column(
            "words", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True
        ),
        sa.CheckConstraint("(kind = 'test') = (order_id IS NULL)", name=op.f("ck_alerts_order")),
        sa.CheckConstraint("kind IN ('order', 'gift', 'test')", name=op.f("ck_alerts_kind")),
        sa.CheckConstraint("words IS NULL OR kind = 'test'", name=op.f("ck_alerts_words")),
        sa.CheckConstraint(
            "units >= 0 AND goods_minor >= 0 AND gift_minor >= 0", name=op.f("ck_alerts_amounts")
        ),
        sa.ForeignKeyConstraint(["stream_id"], ["streams.id"], name=op.f("fk_alerts_stream_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alerts")),
        sa.UniqueConstraint("order_id", name=op.f("uq_alerts_order_id")),
    )
    op.create_table(
        "alert_turns",
        sa.Column("alert_id", sa.BigInteger(), nullable=False),
        sa.Column("group_name", sa.String(collation="C"), nullable=False),
        sa.Column("stream_id", sa.String(collation="C"), nullable=False),
        sa.Column("sku", sa.String(), nullable=False),
        sa.Column("large", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("said", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("lane", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("paid_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("airing_id", sa.String(collation="C"), nullable=True),
        sa.CheckConstraint(
            "(state = 'DROPPED') = (reason IS NOT NULL)", name=op.f("ck_alert_turns_reason")
        ),
        sa.CheckConstraint(
            "(state = 'TAKEN') = (airing_id IS NOT NULL)", name=op.f("ck_alert_turns_taken")
        ),
        sa.CheckConstraint("lane IN ('ordinary', 'turn')", name=op.f("ck_alert_turns_lane")),
        sa.CheckConstraint(
            "state IN ('REVIEW', 'WAITING', 'TAKEN', 'DROPPED', 'PASSED_OVER')",
            name=op.f("ck_alert_turns_state"),
        ),
        sa.ForeignKeyConstraint(
            ["alert_id"], ["alerts.id"], name=op.f("fk_alert_turns_alert_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["stream_id", "group_name"],
            ["alert_groups.stream_id", "alert_groups.name"],
            name="fk_alert_turns_group",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("alert_id", "group_name", name=op.f("pk_alert_turns")),
    )
    op.create_index(
        "ix_alert_turns_airing",
        "alert_turns",
        ["airing_id", "alert_id"],
        unique=False,
        postgresql_where=sa.text("airing_id IS NOT NULL"),
    )
    op.create_index(
        "ix_alert_turns_review",
        "alert_turns",
        ["stream_id", "group_name", "alert_id"],
        unique=False,
        postgresql_where=sa.text("state = 'REVIEW'"),
    )
    op.create_index(
        "ix_alert_turns_waiting",
        "alert_turns",
        ["stream_id", "group_name", "lane", "since", "alert_id"],
        unique=False,
        postgresql_include=["sku", "said"],
        postgresql_where=sa.text("state = 'WAITING'"),
    )


def downgrade() -> None:
    """Take it away: nothing else refers to it."""
    op.drop_index(
        "ix_alert_turns_waiting",
        table_name="alert_turns",
        postgresql_include=["sku", "said"],
        postgresql_where=sa.text("state = 'WAITING'"),
    )
    op.drop_index(
        "ix_alert_turns_review",
        table_name="alert_turns",
        postgresql_where=sa.text("state = 'REVIEW'"),
    )
    op.drop_index(
        "ix_alert_turns_airing",
        table_name="alert_turns",
        postgresql_where=sa.text("airing_id IS NOT NULL"),
    )
    op.drop_table("alert_turns")
    op.drop_table("alerts")
    op.drop_index(
        "ix_alert_groups_busy", table_name="alert_groups", postgresql_where=sa.text("busy")
    )
    op.drop_table("alert_groups")
    op.drop_table("alert_desks")
    op.drop_index(
        "uq_airings_on_air", table_name="airings", postgresql_where=sa.text("outcome = 'ON_AIR'")
    )
    op.drop_index("ix_airings_stream_id", table_name="airings")
    op.drop_table("airings")
    op.drop_table("alert_marks")
