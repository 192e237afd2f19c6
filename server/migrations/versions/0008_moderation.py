"""Moderators, their rules, and who let which text pass."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# Whoever decides about a text says which revision of it was looked at; words that change come to review again.
_REVISE = """
    CREATE FUNCTION revise_order_message() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE words boolean := (NEW.name, NEW.message, NEW.dedication)
                             IS DISTINCT FROM (OLD.name, OLD.message, OLD.dedication);
    BEGIN
        IF words OR NEW.display <> OLD.display THEN
            NEW.revision := OLD.revision + 1;
        END IF;
        IF words OR NEW.display = 'PENDING_REVIEW' AND OLD.display NOT IN ('PENDING_REVIEW', 'PASSED') THEN
            NEW.screened_at := NULL;
        END IF;
        RETURN NEW;
    END $$
"""
_TELL = """
    CREATE FUNCTION tell_stale_names() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO stale_names (stream_id) SELECT stream_id FROM orders WHERE id = OLD.order_id;
        RETURN NULL;
    END $$
"""
_DISPLAYS = (
    "ALTER TABLE order_messages ADD CONSTRAINT ck_order_messages_display CHECK (display IN ({}))"
)
_ROLES = "ALTER TABLE principals ADD CONSTRAINT ck_principals_role CHECK (role IN ({}))"


def _id(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.String(collation="C"), nullable=nullable)


def _at(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    default = None if nullable else sa.text("now()")
    return sa.Column(name, sa.DateTime(timezone=True), server_default=default, nullable=nullable)


def upgrade() -> None:
    """Apply."""
    op.drop_constraint(op.f("ck_principals_role"), "principals")
    op.drop_constraint(op.f("ck_principals_overlay"), "principals")
    op.execute(_ROLES.format("'operator', 'host', 'farmer', 'overlay', 'moderator'"))
    op.create_check_constraint(
        op.f("ck_principals_stream"),
        "principals",
        "(role IN ('overlay', 'moderator')) = (stream_id IS NOT NULL)",
    )
    op.drop_constraint(op.f("ck_order_messages_display"), "order_messages")
    op.execute(_DISPLAYS.format("'ANONYMOUS', 'PENDING_REVIEW', 'PASSED', 'SHOWN', 'HIDDEN'"))
    op.add_column(
        "order_messages", sa.Column("revision", sa.Integer(), server_default="1", nullable=False)
    )
    op.add_column("order_messages", _at("screened_at", nullable=True))
    for name, screened in (("unscreened", "IS NULL"), ("waiting", "IS NOT NULL")):
        op.create_index(
            f"ix_order_messages_{name}",
            "order_messages",
            ["order_id"],
            postgresql_where=sa.text(
                f"display IN ('PENDING_REVIEW', 'PASSED') AND screened_at {screened}"
            ),
        )
    _create_tables()
    op.execute(_REVISE)
    op.execute(_TELL)
    op.execute(
        "CREATE TRIGGER revised BEFORE UPDATE ON order_messages"
        " FOR EACH ROW EXECUTE FUNCTION revise_order_message()"
    )
    op.execute(
        "CREATE TRIGGER names_changed AFTER UPDATE ON order_messages FOR EACH ROW"
        " WHEN (OLD.display = 'SHOWN' OR NEW.display = 'SHOWN') EXECUTE FUNCTION tell_stale_names()"
    )
    op.execute(
        "CREATE TRIGGER names_erased AFTER DELETE ON order_messages FOR EACH ROW"
        " WHEN (OLD.display = 'SHOWN') EXECUTE FUNCTION tell_stale_names()"
    )
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON review_decisions"
        " FOR EACH STATEMENT EXECUTE FUNCTION forbid_change()"
    )


def _create_tables() -> None:
    op.create_table(
        "moderation_rules",
        _id("stream_id"),
        sa.Column("mode", sa.String(), server_default="one_pass", nullable=False),
        sa.Column(
            "blocked", postgresql.ARRAY(sa.String()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column(
            "allowed", postgresql.ARRAY(sa.String()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("message_graphemes_max", sa.Integer(), server_default="200", nullable=False),
        sa.Column("revision", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("names", sa.Integer(), server_default="0", nullable=False),
        sa.CheckConstraint(
            "mode IN ('host', 'one_pass', 'two_pass')", name=op.f("ck_moderation_rules_mode")
        ),
        sa.CheckConstraint(
            "message_graphemes_max BETWEEN 1 AND 200", name=op.f("ck_moderation_rules_length")
        ),
        sa.CheckConstraint("names >= 0", name=op.f("ck_moderation_rules_names")),
        sa.ForeignKeyConstraint(
            ["stream_id"], ["streams.id"], name=op.f("fk_moderation_rules_stream_id")
        ),
        sa.PrimaryKeyConstraint("stream_id", name=op.f("pk_moderation_rules")),
    )
    op.create_table(
        "reviews",
        _id("order_id"),
        _id("stream_id"),
        _at("entered_at"),
        _id("passed_by", nullable=True),
        _id("decided_by", nullable=True),
        _at("decided_at", nullable=True),
        sa.Column("reason", sa.String(), nullable=True),
        _id("claimed_by", nullable=True),
        _at("claimed_until", nullable=True),
        sa.Column("mark", sa.String(), nullable=True),
        sa.CheckConstraint("reason IN ('blocked', 'too_long')", name=op.f("ck_reviews_reason")),
        sa.CheckConstraint(
            "mark IN ('unread', 'pinned', 'read', 'skipped')", name=op.f("ck_reviews_mark")
        ),
        sa.CheckConstraint(
            "(claimed_by IS NULL) = (claimed_until IS NULL)", name=op.f("ck_reviews_claim")
        ),
        sa.ForeignKeyConstraint(
            ["order_id"],
            ["order_messages.order_id"],
            name=op.f("fk_reviews_order_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["stream_id"], ["streams.id"], name=op.f("fk_reviews_stream_id")),
        sa.PrimaryKeyConstraint("order_id", name=op.f("pk_reviews")),
    )
    op.create_index("ix_reviews_stream_id_order_id", "reviews", ["stream_id", "order_id"])
    op.create_index(
        "ix_reviews_unread", "reviews", ["stream_id"], postgresql_where=sa.text("mark = 'unread'")
    )
    op.create_table(
        "review_decisions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        _id("stream_id"),
        _id("order_id"),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("decision", sa.String(), nullable=False),
        sa.Column("from_display", sa.String(), nullable=False),
        sa.Column("to_display", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        _id("by"),
        _at("at"),
        sa.CheckConstraint(
            "decision IN ('pass', 'show', 'hide')", name=op.f("ck_review_decisions_decision")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review_decisions")),
    )
    op.create_index("ix_review_decisions_stream_id_id", "review_decisions", ["stream_id", "id"])
    op.create_index("ix_review_decisions_order_id", "review_decisions", ["order_id"])
    op.create_table(
        "name_rolls",
        _id("stream_id"),
        sa.Column("n", sa.Integer(), autoincrement=False, nullable=False),
        _id("shopper_id"),
        _id("order_id"),
        _at("at"),
        sa.CheckConstraint("n > 0", name=op.f("ck_name_rolls_n")),
        sa.ForeignKeyConstraint(
            ["stream_id"], ["streams.id"], name=op.f("fk_name_rolls_stream_id")
        ),
        sa.PrimaryKeyConstraint("stream_id", "n", name=op.f("pk_name_rolls")),
        sa.UniqueConstraint(
            "stream_id", "shopper_id", name=op.f("uq_name_rolls_stream_id_shopper_id")
        ),
    )
    op.create_table(
        "stale_names",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        _id("stream_id"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stale_names")),
    )


def downgrade() -> None:
    """Take back. Moderators are nobody then: their keys and they go."""
    for trigger in ("revised", "names_changed", "names_erased"):
        op.execute(f"DROP TRIGGER {trigger} ON order_messages")
    op.execute("DROP FUNCTION revise_order_message")
    op.execute("DROP FUNCTION tell_stale_names")
    for table in ("stale_names", "name_rolls", "review_decisions", "reviews", "moderation_rules"):
        op.drop_table(table)
    op.drop_index("ix_order_messages_waiting", "order_messages")
    op.drop_index("ix_order_messages_unscreened", "order_messages")
    op.drop_column("order_messages", "screened_at")
    op.drop_column("order_messages", "revision")
    op.execute("UPDATE order_messages SET display = 'PENDING_REVIEW' WHERE display = 'PASSED'")
    op.drop_constraint(op.f("ck_order_messages_display"), "order_messages")
    op.execute(_DISPLAYS.format("'ANONYMOUS', 'PENDING_REVIEW', 'SHOWN', 'HIDDEN'"))
    op.execute(
        "DELETE FROM keys WHERE principal_id IN (SELECT id FROM principals WHERE role = 'moderator')"
    )
    op.execute("DELETE FROM principals WHERE role = 'moderator'")
    op.drop_constraint(op.f("ck_principals_stream"), "principals")
    op.drop_constraint(op.f("ck_principals_role"), "principals")
    op.execute(_ROLES.format("'operator', 'host', 'farmer', 'overlay'"))
    op.create_check_constraint(
        op.f("ck_principals_overlay"), "principals", "(role = 'overlay') = (stream_id IS NOT NULL)"
    )
