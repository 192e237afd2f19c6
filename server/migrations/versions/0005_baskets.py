"""Orders may come with gifts and with what sending them costs: the writer's one statement takes both."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# In the one lock order. SE001 tells the writer to look closely; a known key raises unique_violation itself.
_PLACE_ORDERS = """
    CREATE FUNCTION place_orders(
        stream text, currency text, epoch bigint,
        ops text[], fingerprints text[], adms text[], order_ids text[],
        shoppers text[], totals bigint[], places int[], instants timestamptz[],
        line_orders text[], line_stock bigint[], line_terms bigint[], line_units int[], line_minor bigint[],
        line_shoppers text[],
        unit_stock bigint[], unit_shoppers text[], units int[], unit_limits int[],
        guard_stock bigint[], guard_units int[],
        shipping bigint[],
        gift_orders text[], gift_n int[], gift_kinds text[], gift_beneficiaries text[], gift_minor bigint[]
    ) RETURNS void LANGUAGE plpgsql AS $$
    DECLARE touched int;
    BEGIN
        INSERT INTO order_keys (op, stream_id, fingerprint, outcome, adm, order_id)
        SELECT decode(k.op, 'hex'), stream, decode(k.fingerprint, 'hex'), 'PLACED', k.adm, k.order_id
        FROM unnest(ops, fingerprints, adms, order_ids) AS k (op, fingerprint, adm, order_id);

        INSERT INTO orders (id, stream_id, shopper_id, state, total_minor, currency, place, placed_at, shipping_minor)
        SELECT o.id, stream, o.shopper_id, 'RESERVED', o.total_minor, place_orders.currency, o.place, o.placed_at,
               o.shipping_minor
        FROM unnest(order_ids, shoppers, totals, places, instants, shipping)
          AS o (id, shopper_id, total_minor, place, placed_at, shipping_minor);

        IF cardinality(gift_orders) > 0 THEN
            INSERT INTO order_gifts (order_id, n, kind, beneficiary_id, amount_minor)
            SELECT * FROM unnest(gift_orders, gift_n, gift_kinds, gift_beneficiaries, gift_minor);
        END IF;

        INSERT INTO order_lines (order_id, stock_id, terms_id, quantity, amount_minor)
        SELECT * FROM unnest(line_orders, line_stock, line_terms, line_units, line_minor);

        INSERT INTO stock_moves (source_id, stock_id, kind, stream_id, quantity, shopper_id)
        SELECT m.order_id, m.stock_id, 'R', stream, m.quantity, m.shopper_id
        FROM unnest(line_orders, line_stock, line_units, line_shoppers)
          AS m (order_id, stock_id, quantity, shopper_id);

        INSERT INTO shopper_units AS u (stock_id, shopper_id, units, limit_max)
        SELECT * FROM unnest(unit_stock, unit_shoppers, place_orders.units, unit_limits)
        ON CONFLICT (stock_id, shopper_id) DO UPDATE
        SET units = u.units + excluded.units, limit_max = greatest(u.limit_max, excluded.limit_max)
        WHERE u.units + excluded.units <= excluded.limit_max;
        GET DIAGNOSTICS touched = ROW_COUNT;
        IF touched <> cardinality(unit_stock) THEN
            RAISE EXCEPTION 'a limit refuses' USING ERRCODE = 'SE001';
        END IF;

        FOR i IN 1 .. cardinality(guard_stock) LOOP
            UPDATE stock SET reserved = reserved + guard_units[i]
            WHERE id = guard_stock[i] AND gate_epoch = epoch AND reserved + sold + guard_units[i] <= total;
            IF NOT FOUND THEN
                RAISE EXCEPTION 'the guard refuses' USING ERRCODE = 'SE001';
            END IF;
        END LOOP;
    END $$
"""


_WITHOUT_GIFTS = """
    CREATE FUNCTION place_orders(
        stream text, currency text, epoch bigint,
        ops text[], fingerprints text[], adms text[], order_ids text[],
        shoppers text[], totals bigint[], places int[], instants timestamptz[],
        line_orders text[], line_stock bigint[], line_terms bigint[], line_units int[], line_minor bigint[],
        line_shoppers text[],
        unit_stock bigint[], unit_shoppers text[], units int[], unit_limits int[],
        guard_stock bigint[], guard_units int[]
    ) RETURNS void LANGUAGE plpgsql AS $$
    DECLARE touched int;
    BEGIN
        INSERT INTO order_keys (op, stream_id, fingerprint, outcome, adm, order_id)
        SELECT decode(k.op, 'hex'), stream, decode(k.fingerprint, 'hex'), 'PLACED', k.adm, k.order_id
        FROM unnest(ops, fingerprints, adms, order_ids) AS k (op, fingerprint, adm, order_id);

        INSERT INTO orders (id, stream_id, shopper_id, state, total_minor, currency, place, placed_at)
        SELECT o.id, stream, o.shopper_id, 'RESERVED', o.total_minor, place_orders.currency, o.place, o.placed_at
        FROM unnest(order_ids, shoppers, totals, places, instants)
          AS o (id, shopper_id, total_minor, place, placed_at);

        INSERT INTO order_lines (order_id, stock_id, terms_id, quantity, amount_minor)
        SELECT * FROM unnest(line_orders, line_stock, line_terms, line_units, line_minor);

        INSERT INTO stock_moves (source_id, stock_id, kind, stream_id, quantity, shopper_id)
        SELECT m.order_id, m.stock_id, 'R', stream, m.quantity, m.shopper_id
        FROM unnest(line_orders, line_stock, line_units, line_shoppers)
          AS m (order_id, stock_id, quantity, shopper_id);

        INSERT INTO shopper_units AS u (stock_id, shopper_id, units, limit_max)
        SELECT * FROM unnest(unit_stock, unit_shoppers, place_orders.units, unit_limits)
        ON CONFLICT (stock_id, shopper_id) DO UPDATE
        SET units = u.units + excluded.units, limit_max = greatest(u.limit_max, excluded.limit_max)
        WHERE u.units + excluded.units <= excluded.limit_max;
        GET DIAGNOSTICS touched = ROW_COUNT;
        IF touched <> cardinality(unit_stock) THEN
            RAISE EXCEPTION 'a limit refuses' USING ERRCODE = 'SE001';
        END IF;

        FOR i IN 1 .. cardinality(guard_stock) LOOP
            UPDATE stock SET reserved = reserved + guard_units[i]
            WHERE id = guard_stock[i] AND gate_epoch = epoch AND reserved + sold + guard_units[i] <= total;
            IF NOT FOUND THEN
                RAISE EXCEPTION 'the guard refuses' USING ERRCODE = 'SE001';
            END IF;
        END LOOP;
    END $$
"""


def upgrade() -> None:
    """Put the new function in the place of the old one."""
    op.execute("DROP FUNCTION place_orders")
    op.execute(_PLACE_ORDERS)


def downgrade() -> None:
    """Bring the old function back, as 0003 spells it."""
    op.execute("DROP FUNCTION place_orders")
    op.execute(_WITHOUT_GIFTS)
