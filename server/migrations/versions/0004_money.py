"""Money: gifts, matches, pledges, shipping, tax, refunds by part, mail, and what each of them is bounded by."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql
revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None

_CHECKS = {
    'campaigns': {
        'gift_bounds': 'gift_min_minor >= 0 AND gift_max_minor >= gift_min_minor',
        'gift_fee_payer': "gift_fee_payer IN ('platform', 'beneficiary')",
        'payment_methods': "cardinality(payment_methods) > 0"
        " AND payment_methods <@ ARRAY['card', 'alipay', 'wechat_pay']::varchar[]",
    },
    'ledger_transactions': {
        'gifts': 'gifts BETWEEN -1 AND 1',
        'orders': 'orders BETWEEN -1 AND 1',
    },
    'offer_terms': {
        'farmer_fixed': 'coalesce(farmer_fixed_minor, 0) >= 0'
        ' AND coalesce(farmer_fixed_minor, 0) + coalesce(beneficiary_fixed_minor, 0) <= price_minor',
        'bounds': 'beneficiary_cap_minor >= 0 AND farmer_floor_minor BETWEEN 0 AND price_minor',
        'fee_payer': "fee_payer IN ('platform', 'farmer', 'beneficiary')",
        'tax': 'tax_bp BETWEEN 0 AND 10000',
    },
    'orders': {
        'kind': "kind IN ('goods', 'gift')",
        'shipping': 'shipping_minor BETWEEN 0 AND total_minor',
    },
    'pay_attempts': {'way': "way IN ('page', 'checkout')"},
    'products': {'weight': 'weight_g >= 0'},
    'refunds': {'gift': 'gift_minor BETWEEN 0 AND amount_minor'},
}
_APPEND_ONLY = ('order_gifts', 'transfers')


def upgrade() -> None:
    """Apply."""
    op.create_table('answered_requests',
    sa.Column('op', sa.LargeBinary(), nullable=False),
    sa.Column('fingerprint', sa.LargeBinary(), nullable=False),
    sa.Column('status', sa.Integer(), nullable=False),
    sa.Column('answer', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.PrimaryKeyConstraint('op', name=op.f('pk_answered_requests'))
    )
    op.create_table('order_gifts',
    sa.Column('order_id', sa.String(collation='C'), nullable=False),
    sa.Column('n', sa.Integer(), nullable=False),
    sa.Column('kind', sa.String(), nullable=False),
    sa.Column('beneficiary_id', sa.String(collation='C'), nullable=False),
    sa.Column('amount_minor', sa.BigInteger(), nullable=False),
    sa.CheckConstraint("kind IN ('gift', 'extra', 'round_up')", name=op.f('ck_order_gifts_kind')),
    sa.CheckConstraint('amount_minor > 0', name=op.f('ck_order_gifts_amount')),
    sa.PrimaryKeyConstraint('order_id', 'n', name=op.f('pk_order_gifts'))
    )
    op.create_table('campaign_causes',
    sa.Column('campaign_id', sa.String(collation='C'), nullable=False),
    sa.Column('beneficiary_id', sa.String(collation='C'), nullable=False),
    sa.Column('position', sa.Integer(), nullable=False),
    sa.ForeignKeyConstraint(['beneficiary_id'], ['beneficiaries.id'], name=op.f('fk_campaign_causes_beneficiary_id')),
    sa.ForeignKeyConstraint(['campaign_id'], ['campaigns.id'], name=op.f('fk_campaign_causes_campaign_id')),
    sa.PrimaryKeyConstraint('campaign_id', 'beneficiary_id', name=op.f('pk_campaign_causes'))
    )
    op.create_table('mail_outbox',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('order_id', sa.String(collation='C'), nullable=False),
    sa.Column('kind', sa.String(), nullable=False),
    sa.Column('source_id', sa.String(), nullable=False),
    sa.Column('state', sa.String(), server_default='DUE', nullable=False),
    sa.Column('tries', sa.Integer(), server_default='0', nullable=False),
    sa.Column('reason', sa.String(), nullable=True),
    sa.Column('due_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('sent_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint("(state = 'SENT') = (sent_at IS NOT NULL)", name=op.f('ck_mail_outbox_sent')),
    sa.CheckConstraint("state IN ('DUE', 'SENT', 'DROPPED')", name=op.f('ck_mail_outbox_state')),
    sa.ForeignKeyConstraint(['order_id'], ['orders.id'], name=op.f('fk_mail_outbox_order_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_mail_outbox')),
    sa.UniqueConstraint('order_id', 'kind', 'source_id', name=op.f('uq_mail_outbox_order_id_kind_source_id'))
    )
    op.create_index('ix_mail_outbox_due', 'mail_outbox', ['due_at'], unique=False, postgresql_where=sa.text("state = 'DUE'"))
    op.create_table('mail_positions',
    sa.Column('campaign_id', sa.String(collation='C'), nullable=False),
    sa.Column('seq', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['campaign_id'], ['campaigns.id'], name=op.f('fk_mail_positions_campaign_id')),
    sa.PrimaryKeyConstraint('campaign_id', name=op.f('pk_mail_positions'))
    )
    op.create_table('mailbox_letters',
    sa.Column('id', sa.String(collation='C'), nullable=False),
    sa.Column('order_id', sa.String(collation='C'), nullable=False),
    sa.Column('to', sa.String(), nullable=False),
    sa.Column('subject', sa.String(), nullable=False),
    sa.Column('body', sa.String(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.ForeignKeyConstraint(['order_id'], ['orders.id'], name=op.f('fk_mailbox_letters_order_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_mailbox_letters'))
    )
    op.create_index(op.f('ix_mailbox_letters_order_id'), 'mailbox_letters', ['order_id'], unique=False)
    op.create_table('order_messages',
    sa.Column('order_id', sa.String(collation='C'), nullable=False),
    sa.Column('name', sa.String(), nullable=True),
    sa.Column('message', sa.String(), nullable=True),
    sa.Column('dedication', sa.String(), nullable=True),
    sa.Column('display', sa.String(), server_default='ANONYMOUS', nullable=False),
    sa.Column('consent_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("display = 'ANONYMOUS' OR consent_at IS NOT NULL", name=op.f('ck_order_messages_consent')),
    sa.CheckConstraint("display IN ('ANONYMOUS', 'PENDING_REVIEW', 'SHOWN', 'HIDDEN')", name=op.f('ck_order_messages_display')),
    sa.ForeignKeyConstraint(['order_id'], ['orders.id'], name=op.f('fk_order_messages_order_id')),
    sa.PrimaryKeyConstraint('order_id', name=op.f('pk_order_messages'))
    )
    op.create_table('pledges',
    sa.Column('id', sa.String(collation='C'), nullable=False),
    sa.Column('campaign_id', sa.String(collation='C'), nullable=False),
    sa.Column('beneficiary_id', sa.String(collation='C'), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('name_zh', sa.String(), nullable=True),
    sa.Column('bp', sa.Integer(), nullable=False),
    sa.Column('base_minor', sa.BigInteger(), nullable=False),
    sa.Column('accrued_minor', sa.BigInteger(), server_default='0', nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint('bp BETWEEN 1 AND 10000', name=op.f('ck_pledges_bp')),
    sa.ForeignKeyConstraint(['beneficiary_id'], ['beneficiaries.id'], name=op.f('fk_pledges_beneficiary_id')),
    sa.ForeignKeyConstraint(['campaign_id'], ['campaigns.id'], name=op.f('fk_pledges_campaign_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_pledges'))
    )
    op.create_index(op.f('ix_pledges_campaign_id'), 'pledges', ['campaign_id'], unique=False)
    op.create_table('transfers',
    sa.Column('id', sa.String(collation='C'), nullable=False),
    sa.Column('campaign_id', sa.String(collation='C'), nullable=False),
    sa.Column('kind', sa.String(), nullable=False),
    sa.Column('account', sa.String(), nullable=False),
    sa.Column('amount_minor', sa.BigInteger(), nullable=False),
    sa.Column('reference', sa.String(), nullable=False),
    sa.Column('created_by', sa.String(collation='C'), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("kind IN ('payout', 'sponsor_paid')", name=op.f('ck_transfers_kind')),
    sa.CheckConstraint('amount_minor > 0', name=op.f('ck_transfers_amount')),
    sa.ForeignKeyConstraint(['campaign_id'], ['campaigns.id'], name=op.f('fk_transfers_campaign_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_transfers'))
    )
    op.create_index(op.f('ix_transfers_campaign_id'), 'transfers', ['campaign_id'], unique=False)
    op.create_table('matches',
    sa.Column('id', sa.String(collation='C'), nullable=False),
    sa.Column('campaign_id', sa.String(collation='C'), nullable=False),
    sa.Column('stream_id', sa.String(collation='C'), nullable=True),
    sa.Column('sponsor', sa.String(), nullable=False),
    sa.Column('sponsor_zh', sa.String(), nullable=True),
    sa.Column('covers', sa.String(), nullable=False),
    sa.Column('skus', postgresql.ARRAY(sa.String()), nullable=True),
    sa.Column('ratio_bp', sa.Integer(), nullable=False),
    sa.Column('pot_minor', sa.BigInteger(), nullable=False),
    sa.Column('spent_minor', sa.BigInteger(), server_default='0', nullable=False),
    sa.Column('per_giver_max_minor', sa.BigInteger(), nullable=True),
    sa.Column('position', sa.Integer(), nullable=False),
    sa.Column('starts_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('ends_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("covers IN ('gifts', 'shares', 'all')", name=op.f('ck_matches_covers')),
    sa.CheckConstraint('ends_at >= starts_at', name=op.f('ck_matches_window')),
    sa.CheckConstraint('per_giver_max_minor > 0', name=op.f('ck_matches_per_giver')),
    sa.CheckConstraint('pot_minor > 0 AND spent_minor BETWEEN 0 AND pot_minor', name=op.f('ck_matches_pot')),
    sa.CheckConstraint('ratio_bp BETWEEN 1 AND 1000000', name=op.f('ck_matches_ratio')),
    sa.ForeignKeyConstraint(['campaign_id'], ['campaigns.id'], name=op.f('fk_matches_campaign_id')),
    sa.ForeignKeyConstraint(['stream_id'], ['streams.id'], name=op.f('fk_matches_stream_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_matches'))
    )
    op.create_index(op.f('ix_matches_campaign_id'), 'matches', ['campaign_id'], unique=False)
    op.create_table('refund_requests',
    sa.Column('id', sa.String(collation='C'), nullable=False),
    sa.Column('order_id', sa.String(collation='C'), nullable=False),
    sa.Column('lines', postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False),
    sa.Column('reason', sa.String(), nullable=True),
    sa.Column('state', sa.String(), server_default='OPEN', nullable=False),
    sa.Column('refund_id', sa.String(collation='C'), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('decided_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('decided_by', sa.String(), nullable=True),
    sa.CheckConstraint("state IN ('OPEN', 'ACCEPTED', 'DECLINED', 'WITHDRAWN')", name=op.f('ck_refund_requests_state')),
    sa.ForeignKeyConstraint(['order_id'], ['orders.id'], name=op.f('fk_refund_requests_order_id')),
    sa.ForeignKeyConstraint(['refund_id'], ['refunds.id'], name=op.f('fk_refund_requests_refund_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_refund_requests'))
    )
    op.create_index('uq_refund_requests_open', 'refund_requests', ['order_id'], unique=True, postgresql_where=sa.text("state = 'OPEN'"))
    op.create_table('disputes',
    sa.Column('id', sa.String(collation='C'), nullable=False),
    sa.Column('order_id', sa.String(collation='C'), nullable=False),
    sa.Column('payment_intent_id', sa.String(), nullable=False),
    sa.Column('amount_minor', sa.BigInteger(), nullable=False),
    sa.Column('state', sa.String(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint('amount_minor > 0', name=op.f('ck_disputes_amount')),
    sa.CheckConstraint("state IN ('OPEN', 'WON', 'LOST')", name=op.f('ck_disputes_state')),
    sa.ForeignKeyConstraint(['order_id'], ['orders.id'], name=op.f('fk_disputes_order_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_disputes'))
    )
    op.create_index(op.f('ix_disputes_order_id'), 'disputes', ['order_id'], unique=False)
    op.create_table('match_uses',
    sa.Column('match_id', sa.String(collation='C'), nullable=False),
    sa.Column('order_id', sa.String(collation='C'), nullable=False),
    sa.Column('shopper_id', sa.String(collation='C'), nullable=False),
    sa.Column('base_minor', sa.BigInteger(), nullable=False),
    sa.Column('amount_minor', sa.BigInteger(), nullable=False),
    sa.Column('returned_minor', sa.BigInteger(), server_default='0', nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint('base_minor > 0 AND amount_minor >= 0', name=op.f('ck_match_uses_amount')),
    sa.CheckConstraint('returned_minor BETWEEN 0 AND amount_minor', name=op.f('ck_match_uses_returned')),
    sa.ForeignKeyConstraint(['match_id'], ['matches.id'], name=op.f('fk_match_uses_match_id')),
    sa.ForeignKeyConstraint(['order_id'], ['orders.id'], name=op.f('fk_match_uses_order_id')),
    sa.PrimaryKeyConstraint('match_id', 'order_id', name=op.f('pk_match_uses'))
    )
    op.create_index('ix_match_uses_giver', 'match_uses', ['match_id', 'shopper_id'], unique=False)
    op.create_index(op.f('ix_match_uses_order_id'), 'match_uses', ['order_id'], unique=False)
    op.add_column('campaigns', sa.Column('gift_min_minor', sa.BigInteger(), server_default='0', nullable=False))
    op.add_column('campaigns', sa.Column('gift_max_minor', sa.BigInteger(), nullable=True))
    op.add_column('campaigns', sa.Column('gift_fee_payer', sa.String(), server_default='platform', nullable=False))
    op.add_column('campaigns', sa.Column('payment_methods', postgresql.ARRAY(sa.String()), server_default=sa.text("'{card}'"), nullable=False))
    op.add_column('campaigns', sa.Column('seller', sa.String(), nullable=True))
    op.add_column('campaigns', sa.Column('refund_terms', sa.String(), nullable=True))
    op.add_column('campaigns', sa.Column('refund_terms_zh', sa.String(), nullable=True))
    op.add_column('ledger_transactions', sa.Column('gifts', sa.Integer(), server_default='0', nullable=False))
    op.add_column('ledger_transactions', sa.Column('orders', sa.Integer(), server_default='0', nullable=False))
    op.add_column('offer_terms', sa.Column('farmer_fixed_minor', sa.BigInteger(), nullable=True))
    op.add_column('offer_terms', sa.Column('beneficiary_cap_minor', sa.BigInteger(), nullable=True))
    op.add_column('offer_terms', sa.Column('farmer_floor_minor', sa.BigInteger(), nullable=True))
    op.add_column('offer_terms', sa.Column('fee_payer', sa.String(), server_default='platform', nullable=False))
    op.add_column('offer_terms', sa.Column('tax_bp', sa.Integer(), server_default='0', nullable=False))
    op.add_column('orders', sa.Column('delivered_at', sa.DateTime(timezone=True), nullable=True))
    op.add_column('orders', sa.Column('kind', sa.String(), server_default='goods', nullable=False))
    op.add_column('orders', sa.Column('shipping_minor', sa.BigInteger(), server_default='0', nullable=False))
    op.add_column('pay_attempts', sa.Column('way', sa.String(), server_default='page', nullable=False))
    op.add_column('pay_attempts', sa.Column('checkout_session_id', sa.String(), nullable=True))
    op.create_unique_constraint(op.f('uq_pay_attempts_checkout_session_id'), 'pay_attempts', ['checkout_session_id'])
    op.add_column('products', sa.Column('weight_g', sa.Integer(), server_default='0', nullable=False))
    op.add_column('refunds', sa.Column('lines', postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False))
    op.add_column('refunds', sa.Column('gift_minor', sa.BigInteger(), nullable=True))
    op.add_column('refunds', sa.Column('restock', sa.Boolean(), server_default=sa.text('false'), nullable=False))
    op.add_column('refunds', sa.Column('requested_by', sa.String(), nullable=True))
    op.add_column('streams', sa.Column('shipping', postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text('\'{"type": "free"}\''), nullable=False))
    op.create_index(op.f('ix_stripe_events_object_id'), 'stripe_events', ['object_id'], unique=False)
    op.add_column('tallies', sa.Column('gifts', sa.BigInteger(), server_default='0', nullable=False))
    op.add_column('tallies', sa.Column('gifts_minor', sa.BigInteger(), server_default='0', nullable=False))
    op.add_column('tallies', sa.Column('matched_minor', sa.BigInteger(), server_default='0', nullable=False))
    op.add_column('tally_history', sa.Column('gifts', sa.BigInteger(), server_default='0', nullable=False))
    op.add_column('tally_history', sa.Column('gifts_minor', sa.BigInteger(), server_default='0', nullable=False))
    op.add_column('tally_history', sa.Column('matched_minor', sa.BigInteger(), server_default='0', nullable=False))
    op.create_table('reconciled',
    sa.Column('id', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('seen_until', sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint('id = 1', name=op.f('ck_reconciled_one_row')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_reconciled'))
    )
    op.create_index(
        'ix_refunds_creating', 'refunds', ['created_at'], postgresql_where=sa.text("state = 'CREATING'")
    )
    op.create_index(
        'ix_orders_money_moved',
        'orders',
        ['stream_id', 'id'],
        postgresql_where=sa.text(
            "state IN ('LATE_PAID', 'REFUND_PENDING', 'REFUND_FAILED', 'PART_REFUNDED', 'REFUNDED', 'DISPUTED')"
        ),
    )
    for table, checks in _CHECKS.items():
        for name, condition in checks.items():
            op.create_check_constraint(op.f(f'ck_{table}_{name}'), table, condition)
    for table in _APPEND_ONLY:
        op.execute(
            f'CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table}'
            ' FOR EACH STATEMENT EXECUTE FUNCTION forbid_change()'
        )


def downgrade() -> None:
    """Take back."""
    op.drop_index('ix_orders_money_moved', table_name='orders')
    op.drop_index('ix_refunds_creating', table_name='refunds')
    op.drop_table('reconciled')
    for table in ('refunds', 'products', 'pay_attempts', 'orders', 'offer_terms', 'ledger_transactions', 'campaigns'):
        for name in _CHECKS[table]:
            op.drop_constraint(op.f(f'ck_{table}_{name}'), table, type_='check')
    op.drop_column('tally_history', 'matched_minor')
    op.drop_column('tally_history', 'gifts_minor')
    op.drop_column('tally_history', 'gifts')
    op.drop_column('tallies', 'matched_minor')
    op.drop_column('tallies', 'gifts_minor')
    op.drop_column('tallies', 'gifts')
    op.drop_index(op.f('ix_stripe_events_object_id'), table_name='stripe_events')
    op.drop_column('streams', 'shipping')
    op.drop_column('refunds', 'requested_by')
    op.drop_column('refunds', 'restock')
    op.drop_column('refunds', 'gift_minor')
    op.drop_column('refunds', 'lines')
    op.drop_column('products', 'weight_g')
    op.drop_constraint(op.f('uq_pay_attempts_checkout_session_id'), 'pay_attempts', type_='unique')
    op.drop_column('pay_attempts', 'checkout_session_id')
    op.drop_column('pay_attempts', 'way')
    op.drop_column('orders', 'shipping_minor')
    op.drop_column('orders', 'kind')
    op.drop_column('orders', 'delivered_at')
    op.drop_column('offer_terms', 'tax_bp')
    op.drop_column('offer_terms', 'fee_payer')
    op.drop_column('offer_terms', 'farmer_floor_minor')
    op.drop_column('offer_terms', 'beneficiary_cap_minor')
    op.drop_column('offer_terms', 'farmer_fixed_minor')
    op.drop_column('ledger_transactions', 'orders')
    op.drop_column('ledger_transactions', 'gifts')
    op.drop_column('campaigns', 'refund_terms_zh')
    op.drop_column('campaigns', 'refund_terms')
    op.drop_column('campaigns', 'seller')
    op.drop_column('campaigns', 'payment_methods')
    op.drop_column('campaigns', 'gift_fee_payer')
    op.drop_column('campaigns', 'gift_max_minor')
    op.drop_column('campaigns', 'gift_min_minor')
    op.drop_index(op.f('ix_match_uses_order_id'), table_name='match_uses')
    op.drop_index('ix_match_uses_giver', table_name='match_uses')
    op.drop_table('match_uses')
    op.drop_index(op.f('ix_disputes_order_id'), table_name='disputes')
    op.drop_table('disputes')
    op.drop_index('uq_refund_requests_open', table_name='refund_requests', postgresql_where=sa.text("state = 'OPEN'"))
    op.drop_table('refund_requests')
    op.drop_index(op.f('ix_matches_campaign_id'), table_name='matches')
    op.drop_table('matches')
    op.drop_index(op.f('ix_transfers_campaign_id'), table_name='transfers')
    op.drop_table('transfers')
    op.drop_index(op.f('ix_pledges_campaign_id'), table_name='pledges')
    op.drop_table('pledges')
    op.drop_table('order_messages')
    op.drop_index(op.f('ix_mailbox_letters_order_id'), table_name='mailbox_letters')
    op.drop_table('mailbox_letters')
    op.drop_index('ix_mail_outbox_due', table_name='mail_outbox', postgresql_where=sa.text("state = 'DUE'"))
    op.drop_table('mail_positions')
    op.drop_table('mail_outbox')
    op.drop_table('campaign_causes')
    op.drop_table('order_gifts')
    op.drop_table('answered_requests')
