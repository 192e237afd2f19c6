"""Which stream rehearses, and with which night."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table: no order writes to it."""
    op.create_table(
        "rehearsals",
        sa.Column("stream_id", sa.String(collation="C"), nullable=False),
        sa.Column("of_stream_id", sa.String(collation="C"), nullable=False),
        sa.Column("speed", sa.Integer(), nullable=False),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("from_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("to_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("speed IN (1, 10)", name=op.f("ck_rehearsals_speed")),
        sa.CheckConstraint("to_at >= from_at", name=op.f("ck_rehearsals_night")),
        sa.ForeignKeyConstraint(
            ["stream_id"], ["streams.id"], name=op.f("fk_rehearsals_stream_id")
        ),
        sa.ForeignKeyConstraint(
            ["of_stream_id"], ["streams.id"], name=op.f("fk_rehearsals_of_stream_id")
        ),
        sa.PrimaryKeyConstraint("stream_id", name=op.f("pk_rehearsals")),
    )
    op.create_index(
        "ix_rehearsals_playing",
        "rehearsals",
        ["started_at"],
        postgresql_where=sa.text("finished_at IS NULL"),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("rehearsals")
