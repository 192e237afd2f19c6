"""What the host puts up while a sale runs: pins, timers, floors, milestones."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make both tables: neither is written by an order."""
    op.create_table(
        "boards",
        sa.Column("stream_id", sa.String(collation="C"), nullable=False),
        sa.Column("revision", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("pinned_sku", sa.String(), nullable=True),
        sa.Column("timer_what", sa.String(), nullable=True),
        sa.Column("timer_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("floor_seq", sa.BigInteger(), nullable=True),
        sa.Column("floor_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "changed_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint("timer_what IN ('opens', 'closes')", name=op.f("ck_boards_timer_what")),
        sa.CheckConstraint(
            "(timer_what IS NULL) = (timer_at IS NULL)", name=op.f("ck_boards_timer")
        ),
        sa.CheckConstraint("floor_seq >= 0", name=op.f("ck_boards_floor_seq")),
        sa.CheckConstraint(
            "(floor_seq IS NULL) = (floor_at IS NULL)", name=op.f("ck_boards_floor")
        ),
        sa.ForeignKeyConstraint(["stream_id"], ["streams.id"], name=op.f("fk_boards_stream_id")),
        sa.PrimaryKeyConstraint("stream_id", name=op.f("pk_boards")),
    )
    op.create_index("ix_boards_changed_at", "boards", ["changed_at"])
    op.create_index(
        "ix_boards_timers",
        "boards",
        ["timer_at"],
        postgresql_where=sa.text("timer_at IS NOT NULL"),
    )
    op.create_table(
        "milestones",
        sa.Column("id", sa.String(collation="C"), nullable=False),
        sa.Column("stream_id", sa.String(collation="C"), nullable=False),
        sa.Column("counts", sa.String(), nullable=False),
        sa.Column("threshold", sa.BigInteger(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("title_zh", sa.String(), nullable=True),
        sa.Column("reached_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint("counts IN ('money', 'units')", name=op.f("ck_milestones_counts")),
        sa.CheckConstraint("threshold > 0", name=op.f("ck_milestones_threshold")),
        sa.ForeignKeyConstraint(
            ["stream_id"], ["streams.id"], name=op.f("fk_milestones_stream_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_milestones")),
    )
    op.create_index("ix_milestones_stream_id", "milestones", ["stream_id"])


def downgrade() -> None:
    """Take both away again."""
    op.drop_table("milestones")
    op.drop_table("boards")
