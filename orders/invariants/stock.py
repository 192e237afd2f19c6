"""I1 to I4 and I8: what the stock rows say, recomputed from the moves and again from the orders' states."""

from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from orders.invariants.finding import Finding, breaches, figure
from orders.lifecycle import HOLDING, STOCK_WORDS

_HOLDING: Final = sorted(HOLDING)

# The moves of one order and stock row, in the only order that they can have been made in. Units come back on sale
# in parts: however many moves that took, it is one letter, and ``back`` says how many units they were.
_WORDS: Final = """
    SELECT source_id, stock_id,
           regexp_replace(string_agg(kind, '' ORDER BY strpos('RCXLT', kind), n), 'T+', 'T') AS word,
           count(DISTINCT quantity) FILTER (WHERE kind <> 'T') AS quantities,
           min(quantity) FILTER (WHERE kind <> 'T') AS quantity,
           coalesce(sum(quantity) FILTER (WHERE kind = 'T'), 0) AS back,
           count(*) FILTER (WHERE kind = 'T') AS times, coalesce(max(n) FILTER (WHERE kind = 'T'), 0) AS last,
           max(n) FILTER (WHERE kind <> 'T') AS repeats
    FROM stock_moves WHERE kind <> 'A' GROUP BY source_id, stock_id
"""


async def i1(sql: AsyncSession) -> Finding:
    """No unit is sold twice: reserved and sold never pass the total."""
    return Finding(
        "I1",
        "reserved and sold are within the total",
        await figure(
            sql,
            "SELECT count(*) AS skus, sum(total) AS total, sum(reserved) AS reserved, sum(sold) AS sold FROM stock",
        ),
        await breaches(
            sql,
            "oversold",
            "SELECT sku, total, reserved, sold FROM stock"
            " WHERE reserved < 0 OR sold < 0 OR reserved + sold > total",
        ),
    )


async def i2(sql: AsyncSession) -> Finding:
    """The counters are what the moves add up to, and what the orders that hold units add up to."""
    by_moves = """
        SELECT s.sku, s.reserved, s.sold,
               coalesce(m.reserved, 0) AS reserved_by_moves, coalesce(m.sold, 0) AS sold_by_moves
        FROM stock s LEFT JOIN (
            SELECT stock_id,
                   sum(CASE kind WHEN 'R' THEN quantity WHEN 'C' THEN -quantity WHEN 'X' THEN -quantity ELSE 0 END)
                       AS reserved,
                   sum(CASE kind WHEN 'C' THEN quantity WHEN 'L' THEN quantity WHEN 'T' THEN -quantity ELSE 0 END)
                       AS sold
            FROM stock_moves GROUP BY stock_id
        ) m ON m.stock_id = s.id
        WHERE s.reserved <> coalesce(m.reserved, 0) OR s.sold <> coalesce(m.sold, 0)
    """
    by_state = """
        SELECT s.sku, s.reserved, coalesce(held.units, 0) AS reserved_by_state
        FROM stock s LEFT JOIN (
            SELECT l.stock_id, sum(l.quantity) AS units
            FROM order_lines l JOIN orders o ON o.id = l.order_id
            WHERE o.state = ANY(:holding) GROUP BY l.stock_id
        ) held ON held.stock_id = s.id
        WHERE s.reserved <> coalesce(held.units, 0)
    """
    return Finding(
        "I2",
        "counters equal their moves and the orders that hold units",
        await figure(
            sql,
            "SELECT count(*) AS moves, count(*) FILTER (WHERE kind = 'R') AS reserves,"
            " count(*) FILTER (WHERE kind = 'C') AS sales, count(*) FILTER (WHERE kind = 'X') AS releases"
            " FROM stock_moves",
        ),
        [
            *await breaches(sql, "counter and moves differ", by_moves),
            *await breaches(sql, "counter and orders differ", by_state, holding=_HOLDING),
        ],
    )


async def i3(sql: AsyncSession) -> Finding:
    """Each order's units went one of the ways there are, and its state says which."""
    allowed = [(state.value, word) for state, words in STOCK_WORDS.items() for word in words]
    odd_words = f"""
        SELECT o.id AS order_id, o.state, coalesce(w.word, '') AS word
        FROM orders o JOIN order_lines l ON l.order_id = o.id
        LEFT JOIN ({_WORDS}) w ON w.source_id = o.id AND w.stock_id = l.stock_id
        WHERE NOT EXISTS (
                SELECT 1 FROM unnest(CAST(:states AS text[]), CAST(:words AS text[])) AS a (state, word)
                WHERE a.state = o.state AND a.word = w.word)
           OR w.quantities <> 1 OR w.quantity <> l.quantity OR w.repeats <> 1
           OR w.back > l.quantity OR w.times <> w.last
    """
    orphans = f"""
        SELECT w.source_id AS order_id, w.word FROM ({_WORDS}) w
        WHERE NOT EXISTS (
            SELECT 1 FROM order_lines l WHERE l.order_id = w.source_id AND l.stock_id = w.stock_id)
    """
    # An order of goods has lines; a gift has none, and nothing to send.
    mixed = """
        SELECT o.id AS order_id, o.kind, o.shipping_minor, count(l.stock_id) AS lines
        FROM orders o LEFT JOIN order_lines l ON l.order_id = o.id
        GROUP BY o.id
        HAVING (o.kind = 'goods') <> (count(l.stock_id) > 0) OR (o.kind = 'gift' AND o.shipping_minor <> 0)
    """
    return Finding(
        "I3",
        "the moves of every order spell its state",
        await figure(
            sql, "SELECT count(*) AS lines, count(DISTINCT order_id) AS orders FROM order_lines"
        ),
        [
            *await breaches(
                sql,
                "moves and state disagree",
                odd_words,
                states=[state for state, _ in allowed],
                words=[word for _, word in allowed],
            ),
            *await breaches(sql, "moves without an order line", orphans),
            *await breaches(sql, "goods without lines, or a gift with goods", mixed),
        ],
    )


async def i4(sql: AsyncSession) -> Finding:
    """The numbers by which the relay carries adjustments to the gate have no gap and no repeat."""
    gaps = """
        SELECT g.stream_id, g.rel_seq, count(m.rel_seq) AS numbers, count(DISTINCT m.rel_seq) AS distinct_numbers,
               min(m.rel_seq) AS first, max(m.rel_seq) AS last
        FROM stream_gate g
        LEFT JOIN stock_moves m ON m.stream_id = g.stream_id AND m.rel_seq IS NOT NULL
        GROUP BY g.stream_id, g.rel_seq
        HAVING count(m.rel_seq) <> g.rel_seq OR count(DISTINCT m.rel_seq) <> g.rel_seq
            OR (g.rel_seq > 0 AND (min(m.rel_seq) <> 1 OR max(m.rel_seq) <> g.rel_seq))
    """
    strays = """
        SELECT source_id, kind, stream_id FROM stock_moves m
        WHERE rel_seq IS NOT NULL AND NOT EXISTS (SELECT 1 FROM stream_gate g WHERE g.stream_id = m.stream_id)
    """
    return Finding(
        "I4",
        "adjustments are numbered 1 to rel_seq in each stream",
        await figure(
            sql, "SELECT count(*) AS streams, sum(rel_seq) AS adjustments FROM stream_gate"
        ),
        [
            *await breaches(sql, "gap", gaps),
            *await breaches(sql, "adjustment of no stream", strays),
        ],
    )


async def i8(sql: AsyncSession) -> Finding:
    """Nobody holds or bought more than the limit, and the counter behind the limit is right."""
    kept = """
        SELECT m.stock_id, o.shopper_id,
               sum(CASE m.kind WHEN 'X' THEN -m.quantity WHEN 'R' THEN m.quantity WHEN 'L' THEN m.quantity ELSE 0 END)
                   AS units
        FROM stock_moves m JOIN orders o ON o.id = m.source_id
        GROUP BY m.stock_id, o.shopper_id
    """
    counted = f"""
        SELECT coalesce(u.stock_id, k.stock_id) AS stock_id, coalesce(u.shopper_id, k.shopper_id) AS shopper_id,
               u.units AS counted, k.units AS kept
        FROM shopper_units u FULL JOIN ({kept}) k USING (stock_id, shopper_id)
        WHERE coalesce(u.units, 0) <> coalesce(k.units, 0)
    """
    beyond = f"""
        SELECT k.stock_id, k.shopper_id, k.units, terms.limit_max
        FROM ({kept}) k
        JOIN (
            SELECT l.stock_id, o.shopper_id, max(t.per_shopper_max) AS limit_max
            FROM order_lines l JOIN orders o ON o.id = l.order_id JOIN offer_terms t ON t.id = l.terms_id
            GROUP BY l.stock_id, o.shopper_id
        ) terms USING (stock_id, shopper_id)
        WHERE k.units > terms.limit_max
    """
    return Finding(
        "I8",
        "every shopper is within the limit",
        await figure(
            sql, "SELECT count(*) AS counters, max(units) AS most_units FROM shopper_units"
        ),
        [
            *await breaches(sql, "counter and moves differ", counted),
            *await breaches(sql, "over the limit", beyond),
        ],
    )
