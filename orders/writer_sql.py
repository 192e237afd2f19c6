"""The writer's statements: few, prepared once, each for a whole batch.

On the way in arrays are text that PostgreSQL parses (``orders.writer_transaction.array`` says why).
"""

# The whole batch in one round trip; the function is in the migrations, in the lock order of the statements below.
PLACE_ORDERS = """
    SELECT place_orders(
        $1::text, $2::text, $3::bigint, $4::text::text[],
        $5::text::text[], $6::text::text[], $7::text::text[], $8::text::text[],
        $9::text::bigint[], $10::text::int[], $11::text::timestamptz[], $12::text::text[],
        $13::text::bigint[], $14::text::bigint[], $15::text::int[], $16::text::bigint[],
        $17::text::text[], $18::text::bigint[], $19::text::text[], $20::text::int[],
        $21::text::int[], $22::text::bigint[], $23::text::int[],
        $24::text::bigint[], $25::text::text[], $26::text::int[], $27::text::text[], $28::text::text[],
        $29::text::bigint[])
"""

INSERT_KEYS = """
    INSERT INTO order_keys (op, stream_id, fingerprint, outcome, adm, order_id)
    SELECT decode(k.op, 'hex'), $1, decode(k.fingerprint, 'hex'), 'PLACED', k.adm, k.order_id
    FROM unnest($2::text::text[], $3::text::text[], $4::text::text[], $5::text::text[])
      AS k (op, fingerprint, adm, order_id)
    ON CONFLICT (op) DO NOTHING RETURNING op
"""

KNOWN_KEYS = """
    SELECT k.op, k.fingerprint, k.outcome, k.adm, k.order_id, o.total_minor, o.currency, o.place, o.placed_at,
           l.skus, l.quantities, l.amounts, l.taxes, o.shipping_minor, g.kinds, g.beneficiaries, g.gifts_minor
    FROM order_keys k
    LEFT JOIN orders o ON o.id = k.order_id
    LEFT JOIN LATERAL (
        SELECT array_agg(s.sku ORDER BY s.sku COLLATE "C") AS skus, array_agg(x.quantity ORDER BY s.sku COLLATE "C") AS quantities,
               array_agg(x.amount_minor ORDER BY s.sku COLLATE "C") AS amounts, array_agg(t.tax_bp ORDER BY s.sku COLLATE "C") AS taxes
        FROM order_lines x JOIN stock s ON s.id = x.stock_id JOIN offer_terms t ON t.id = x.terms_id
        WHERE x.order_id = k.order_id
    ) l ON true
    LEFT JOIN LATERAL (
        SELECT array_agg(x.kind ORDER BY x.n) AS kinds, array_agg(x.beneficiary_id ORDER BY x.n) AS beneficiaries,
               array_agg(x.amount_minor ORDER BY x.n) AS gifts_minor
        FROM order_gifts x WHERE x.order_id = k.order_id
    ) g ON true
    WHERE k.op = ANY($1::bytea[])
"""

# Only ever run by the transaction that inserted these keys: a refused order leaves no trace.
DELETE_KEYS = "DELETE FROM order_keys WHERE op = ANY($1::bytea[])"

INSERT_ORDERS = """
    WITH placed AS (
        INSERT INTO orders (id, stream_id, shopper_id, state, total_minor, currency, place, placed_at, shipping_minor)
        SELECT o.id, $1, o.shopper_id, 'RESERVED', o.total_minor, $2, o.place, o.placed_at, o.shipping_minor
        FROM unnest($3::text::text[], $4::text::text[], $5::text::bigint[], $6::text::int[], $7::text::timestamptz[],
                    $14::text::bigint[])
          AS o (id, shopper_id, total_minor, place, placed_at, shipping_minor)
    ), gifts AS (
        INSERT INTO order_gifts (order_id, n, kind, beneficiary_id, amount_minor)
        SELECT * FROM unnest($15::text::text[], $16::text::int[], $17::text::text[], $18::text::text[], $19::text::bigint[])
    ), lines AS (
        INSERT INTO order_lines (order_id, stock_id, terms_id, quantity, amount_minor)
        SELECT * FROM unnest($8::text::text[], $9::text::bigint[], $10::text::bigint[], $11::text::int[], $12::text::bigint[])
    )
    INSERT INTO stock_moves (source_id, stock_id, kind, stream_id, quantity, shopper_id)
    SELECT m.order_id, m.stock_id, 'R', $1, m.quantity, m.shopper_id
    FROM unnest($8::text::text[], $9::text::bigint[], $11::text::int[], $13::text::text[])
      AS m (order_id, stock_id, quantity, shopper_id)
"""

TAKE_SHOPPER_UNITS = """
    WITH taken AS (
        INSERT INTO shopper_units AS u (stock_id, shopper_id, units, limit_max)
        SELECT * FROM unnest($1::text::bigint[], $2::text::text[], $3::text::int[], $4::text::int[])
        ON CONFLICT (stock_id, shopper_id) DO UPDATE
        SET units = u.units + excluded.units, limit_max = greatest(u.limit_max, excluded.limit_max)
        WHERE u.units + excluded.units <= excluded.limit_max
        RETURNING 1
    )
    SELECT count(*) FROM taken
"""

LOCK_SHOPPER_UNITS = """
    SELECT u.stock_id, u.shopper_id, u.units
    FROM shopper_units u JOIN unnest($1::bigint[], $2::text[]) AS w (stock_id, shopper_id)
      USING (stock_id, shopper_id)
    ORDER BY u.stock_id, u.shopper_id FOR NO KEY UPDATE OF u
"""

LOCK_STOCK = """
    SELECT id, gate_epoch, total - reserved - sold AS free
    FROM stock WHERE id = ANY($1::bigint[]) ORDER BY id FOR NO KEY UPDATE
"""

# This statement alone makes overselling impossible, whatever Redis says.
GUARD = """
    UPDATE stock SET reserved = reserved + $3
    WHERE id = $1 AND gate_epoch = $2 AND reserved + sold + $3 <= total
"""

TOMBSTONES = """
    INSERT INTO order_keys (op, stream_id, fingerprint, outcome, adm)
    SELECT k.op, $1, k.fingerprint, 'ABORTED', k.adm
    FROM unnest($2::bytea[], $3::bytea[], $4::text[]) AS k (op, fingerprint, adm)
    ON CONFLICT (op) DO NOTHING
"""

FATES = "SELECT op, outcome, adm FROM order_keys WHERE op = ANY($1::bytea[])"
