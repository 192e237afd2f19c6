"""The earlier night, read from what is never changed: the sealed ledger, the history of its tally, the moves of stock.

All but the stock is read forward by ledger numbers, a bounded piece at a time, so that what a step reads does not grow
with the night. Moves of stock have no such order; they are read once, added up in short spans.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from orders.ledger.accounts import PLATFORM_SHIPPING, STRIPE_CLEARING
from orders.ledger.post import CAPTURE, DONATION, MATCH_KINDS
from orders.ledger.seal import SALE_SIGNS
from realtime.board_states import COUNTED, POTS_MAX, read_cards

HISTORY_ROWS_MAX: Final = 200
SPANS_MAX: Final = 20_000
SPAN_MS_MIN: Final = 100

Rows = Sequence[Row[Any]]


@dataclass(frozen=True, slots=True)
class Night:
    """What does not change while a night is played. ``floor`` is the tally that its "tonight" began after, if any."""

    stream_id: str
    campaign_id: str
    currency: str
    from_at: datetime
    to_at: datetime
    floor_at: datetime | None
    floor: Row[Any] | None
    cards: list[dict[str, Any]]
    pots: Rows


@dataclass(frozen=True, slots=True)
class Piece:
    """What happened between two ledger numbers: the tallies that were shown, who paid, what farmers and pots had of it."""

    tallies: Rows
    paid: Rows
    farmers: list[tuple[str, int, int]]
    pots: dict[str, int]
    last: bool


@dataclass(slots=True)
class StockTrack:
    """Every offer's stock from the beginning of the night on, in spans of ``span``."""

    from_at: datetime
    span: timedelta
    items: dict[int, dict[str, Any]]
    moves: Rows
    # Since when each offer was open, and since when none of its units is left.
    opened: dict[int, datetime]
    sold_out_at: datetime | None = None
    _gone_at: dict[int, datetime] = field(default_factory=dict)
    _next: int = 0
    _gone: bool = field(default=False)

    def play_until(self, at: datetime) -> None:
        """Do the moves of all spans that are over at an instant of the night."""
        upto = (at - self.from_at) // self.span
        while self._next < len(self.moves) and self.moves[self._next].span <= upto:
            span = self.moves[self._next].span
            while self._next < len(self.moves) and self.moves[self._next].span == span:
                self._do(self.moves[self._next])
                self._next += 1
            self._look(self.from_at + self.span * span)

    def _do(self, move: Row[Any]) -> None:
        item = self.items[move.stock_id]
        item["total"] += move.total
        item["reserved"] += move.reserved
        item["sold"] += move.sold

    def _look(self, at: datetime) -> None:
        for stock_id, item in self.items.items():
            if item["total"] > item["reserved"] + item["sold"] or not item["total"]:
                self._gone_at.pop(stock_id, None)
            else:
                self._gone_at.setdefault(stock_id, at)
        gone = all(item["total"] == item["reserved"] + item["sold"] for item in self.items.values())
        if gone and not self._gone:
            self.sold_out_at = at
        self._gone = gone

    def states(self) -> list[dict[str, Any]]:
        """Return the items as screens are told."""
        return [
            {
                **item,
                "left": item["total"] - item["reserved"] - item["sold"],
                "sold_out_in_ms": self._took_ms(stock_id),
            }
            for stock_id, item in self.items.items()
        ]

    def _took_ms(self, stock_id: int) -> int | None:
        """Return how long an offer took to sell out, in the time of the night, however fast it is played."""
        gone_at = self._gone_at.get(stock_id)
        if gone_at is None:
            return None
        ms = (gone_at - max(self.from_at, self.opened[stock_id])) // timedelta(milliseconds=1)
        return ms if ms > 0 else None

    @property
    def is_gone(self) -> bool:
        """Whether none has a unit left."""
        return self._gone


async def read_night(
    sql: AsyncSession, stream_id: str, from_at: datetime, to_at: datetime
) -> Night:
    """Return what stays the same of a stream's night."""
    row = (await sql.execute(_NIGHT, {"stream": stream_id})).one()
    floor = None
    if row.floor_at is not None:
        given = {"stream": stream_id, "seq": row.floor_seq}
        floor = (await sql.execute(_AT_FLOOR, given)).one_or_none()
    cards = (await read_cards(sql, [stream_id])).get(stream_id, [])
    given = {"stream": stream_id, "campaign": row.campaign_id, "pots_max": POTS_MAX}
    pots = (await sql.execute(_POTS, given)).all()
    return Night(
        stream_id,
        row.campaign_id,
        row.currency,
        from_at,
        to_at,
        row.floor_at,
        floor,
        cards,
        pots,
    )


async def read_piece(sql: AsyncSession, night: Night, after_seq: int, until: datetime) -> Piece:
    """Return what happened after a ledger number until an instant, or as much of it as one look may read."""
    given: dict[str, Any] = {"stream": night.stream_id, "after": after_seq, "until": until}
    tallies = (await sql.execute(_TALLIES, {**given, "rows": HISTORY_ROWS_MAX})).all()
    if not tallies:
        return Piece((), (), [], {}, last=True)
    given |= {"campaign": night.campaign_id, "upto": tallies[-1].seq}
    paid = (await sql.execute(_PAID, {**given, **_NAMES})).all()
    farmers = [
        (row.farmer_id, SALE_SIGNS.get(row.kind, 0) * row.units, row.income_minor)
        for row in await sql.execute(_FARMERS, given)
    ]
    spent = await sql.execute(_SPENT, {**given, "kinds": sorted(MATCH_KINDS)})
    pots = {row.match_id: row.spent_minor for row in spent}
    return Piece(tallies, paid, farmers, pots, last=len(tallies) < HISTORY_ROWS_MAX)


async def read_stock(sql: AsyncSession, night: Night) -> StockTrack:
    """Return the stock as it was at the beginning of the night, and all its moves since."""
    length_ms = (night.to_at - night.from_at) // timedelta(milliseconds=1)
    span_ms = max(SPAN_MS_MIN, length_ms // SPANS_MAX)
    rows = (await sql.execute(_STOCK, {"stream": night.stream_id})).all()
    items = {
        row.id: {"sku": row.sku, "total": row.total, "reserved": row.reserved, "sold": row.sold}
        for row in rows
    }
    given = {
        "stream": night.stream_id,
        "from_at": night.from_at,
        "to_at": night.to_at,
        "span_ms": span_ms,
    }
    moves = (await sql.execute(_MOVES, given)).all()
    # From what is there now back to the beginning: nobody wrote down how much there was then.
    for move in moves:
        item = items[move.stock_id]
        item["total"] -= move.total
        item["reserved"] -= move.reserved
        item["sold"] -= move.sold
    opened = {row.id: row.opened_at for row in rows}
    track = StockTrack(night.from_at, timedelta(milliseconds=span_ms), items, moves, opened)
    track.play_until(night.from_at)
    return track


_NAMES: Final = {
    "capture": CAPTURE,
    "donation": DONATION,
    "clearing": STRIPE_CLEARING,
    "shipping": PLATFORM_SHIPPING,
}
_NIGHT = text("""
SELECT s.campaign_id, c.currency, b.floor_seq, b.floor_at
FROM streams s JOIN campaigns c ON c.id = s.campaign_id LEFT JOIN boards b ON b.stream_id = s.id
WHERE s.id = :stream
""")
_AT_FLOOR = text("SELECT * FROM tally_history WHERE scope_id = :stream AND seq = :seq")
_POTS = text("""
SELECT id, sponsor, sponsor_zh, covers, ratio_bp, pot_minor, starts_at, ends_at FROM matches
WHERE campaign_id = :campaign AND (stream_id IS NULL OR stream_id = :stream)
ORDER BY position, id LIMIT :pots_max
""")
# A bounded page of numbers first, and only then their instants: they rise together, but for the clock's whims.
_TALLIES = text(f"""
SELECT * FROM (
    SELECT seq, at, {", ".join(COUNTED)} FROM tally_history
    WHERE scope_id = :stream AND seq > :after ORDER BY seq LIMIT :rows
) AS page WHERE at <= :until ORDER BY seq
""")
_SEALED = """
FROM seals s JOIN ledger_transactions t ON t.id = s.transaction_id
"""
_BETWEEN = "s.campaign_id = :campaign AND s.seq > :after AND s.seq <= :upto"
# Of an order only its sums: who placed it and what they wrote is not read.
_PAID = text(f"""
SELECT min(s.seq) AS seq, max(s.sealed_at) AS at, bool_or(t.kind = :capture) AS goods, max(main.sku) AS sku,
       CAST(coalesce(sum(main.units), 0) AS integer) AS units,
       CAST(greatest(coalesce(sum(sums.amount_minor), 0), 0) AS bigint) AS amount_minor
{_SEALED}
CROSS JOIN LATERAL (
    SELECT sum(amount_minor) AS amount_minor FROM ledger_entries
    WHERE transaction_id = t.id AND account IN (:clearing, :shipping)
) sums
CROSS JOIN LATERAL (
    SELECT (array_agg(line ->> 0 ORDER BY CAST(line ->> 1 AS integer) DESC, n))[1] AS sku,
           sum(CAST(line ->> 1 AS integer)) AS units
    FROM jsonb_array_elements(t.lines) WITH ORDINALITY AS l (line, n)
) main
WHERE {_BETWEEN} AND t.stream_id = :stream AND t.kind IN (:capture, :donation) AND t.order_id IS NOT NULL
GROUP BY t.order_id ORDER BY min(s.seq)
""")
_FARMERS = text(f"""
SELECT f.farmer_id, t.kind, CAST(sum(own.units) AS bigint) AS units,
       CAST(-sum(e.amount_minor) AS bigint) AS income_minor
{_SEALED}
JOIN ledger_entries e ON e.transaction_id = t.id AND e.account LIKE 'farmer/%'
CROSS JOIN LATERAL (SELECT split_part(e.account, '/', 2) AS farmer_id) f
CROSS JOIN LATERAL (
    SELECT coalesce(sum(CAST(line ->> 1 AS integer)), 0) AS units
    FROM jsonb_array_elements(t.lines) AS line
    JOIN products p ON p.sku = line ->> 0 AND p.farmer_id = f.farmer_id
) own
WHERE {_BETWEEN} AND t.stream_id = :stream
GROUP BY f.farmer_id, t.kind
""")
# A pot may be drawn from in all of its campaign's streams.
_SPENT = text(f"""
SELECT split_part(e.account, '/', 2) AS match_id, CAST(sum(e.amount_minor) AS bigint) AS spent_minor
{_SEALED}
JOIN ledger_entries e ON e.transaction_id = t.id AND e.account LIKE 'sponsor/%'
WHERE {_BETWEEN} AND t.kind = ANY(CAST(:kinds AS text[]))
GROUP BY 1
""")
_STOCK = text("""
SELECT k.id, k.sku, k.total, k.reserved, k.sold, greatest(o.opens_at, o.created_at) AS opened_at
FROM stock k JOIN offers o ON o.id = k.offer_id WHERE k.stream_id = :stream ORDER BY k.id
""")
# A move is done at the end of its span, so none is shown before it happened; what came after the night is one span.
_MOVES = text("""
SELECT m.stock_id, u.span,
       CAST(sum(CASE m.kind WHEN 'A' THEN m.quantity ELSE 0 END) AS integer) AS total,
       CAST(sum(CASE m.kind WHEN 'R' THEN m.quantity WHEN 'C' THEN -m.quantity WHEN 'X' THEN -m.quantity
                            ELSE 0 END) AS integer) AS reserved,
       CAST(sum(CASE m.kind WHEN 'C' THEN m.quantity WHEN 'L' THEN m.quantity WHEN 'T' THEN -m.quantity
                            ELSE 0 END) AS integer) AS sold
FROM stock_moves m
CROSS JOIN LATERAL (
    SELECT CAST(ceil(extract(epoch FROM greatest(least(m.at, CAST(:to_at AS timestamptz) + interval '1 day'),
                                                 CAST(:from_at AS timestamptz)) - CAST(:from_at AS timestamptz))
                     * 1000 / CAST(:span_ms AS integer)) AS bigint) AS span
) u
WHERE m.stream_id = :stream
GROUP BY m.stock_id, u.span ORDER BY u.span, m.stock_id
""")
