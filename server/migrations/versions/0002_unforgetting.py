"""Triggers that no code path can leave out: the ledger is never edited, state history never skipped."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_FORBID = """
    CREATE FUNCTION forbid_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
    END $$
"""
_RECORD = """
    CREATE FUNCTION record_order_transition() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO order_transitions (order_id, from_state, to_state)
        VALUES (NEW.id, OLD.state, NEW.state);
        RETURN NULL;
    END $$
"""
_APPEND_ONLY = ("ledger_transactions", "ledger_entries", "seals", "tally_history", "stock_moves")


def upgrade() -> None:
    """Create the triggers."""
    op.execute(_FORBID)
    for table in _APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION forbid_change()"
        )
    op.execute(_RECORD)
    op.execute(
        "CREATE TRIGGER state_history AFTER UPDATE OF state ON orders FOR EACH ROW"
        " WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION record_order_transition()"
    )


def downgrade() -> None:
    """Drop the triggers."""
    op.execute("DROP TRIGGER state_history ON orders")
    for table in _APPEND_ONLY:
        op.execute(f"DROP TRIGGER append_only ON {table}")
    op.execute("DROP FUNCTION record_order_transition")
    op.execute("DROP FUNCTION forbid_change")
