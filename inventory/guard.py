"""The SQL side of stock: every change of a unit, in the caller's transaction, in the one lock order.

``shopper_units`` by (stock, shopper) → ``stock`` by id → the stream's gate row. A change of free stock that the
gate did not see itself gets the stream's next adjustment number here, in the same transaction as its move; the
relay carries it to the gate. The writer's own guarded ``UPDATE`` is in ``orders.writer``.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from stream_events.bulk import bulk
from stream_events.errors import Problem, not_found
from stream_events.ids import new_id

_OPEN_MOVES = bulk("""
    SELECT m.source_id, m.stock_id, m.stream_id, m.quantity, m.shopper_id
    FROM stock_moves m
    WHERE m.source_id = ANY(CAST(:source_ids AS text[])) AND m.kind = ANY(CAST(:kinds AS text[]))
      AND NOT EXISTS (
        SELECT 1 FROM stock_moves later
        WHERE later.source_id = m.source_id AND later.stock_id = m.stock_id AND later.kind = ANY(CAST(:closing AS text[])))
    ORDER BY m.stock_id, m.source_id
""")
# Units that were sold, as far as they are not back; ``times`` counts the moves that brought some back.
_RESTOCKABLE = bulk("""
    SELECT m.source_id, m.stock_id, m.stream_id, m.shopper_id, s.sku,
           m.quantity - coalesce(back.units, 0) AS left, coalesce(back.times, 0) AS times
    FROM stock_moves m
    JOIN stock s ON s.id = m.stock_id
    LEFT JOIN LATERAL (
        SELECT sum(t.quantity) AS units, max(t.n) AS times FROM stock_moves t
        WHERE t.source_id = m.source_id AND t.stock_id = m.stock_id AND t.kind = 'T'
    ) back ON true
    WHERE m.source_id = ANY(CAST(:source_ids AS text[])) AND m.kind IN ('C', 'L')
      AND m.quantity > coalesce(back.units, 0)
    ORDER BY m.stock_id, m.source_id
""")
_LOCK_UNITS = bulk("""
    SELECT 1 FROM shopper_units u
    JOIN unnest(CAST(:stock_ids AS bigint[]), CAST(:shopper_ids AS text[])) AS w (stock_id, shopper_id)
      USING (stock_id, shopper_id)
    ORDER BY u.stock_id, u.shopper_id FOR NO KEY UPDATE OF u
""")
_CHANGE_UNITS = bulk("""
    UPDATE shopper_units u SET units = u.units + w.units
    FROM (
        SELECT stock_id, shopper_id, sum(units) AS units
        FROM unnest(CAST(:stock_ids AS bigint[]), CAST(:shopper_ids AS text[]), CAST(:units AS int[]))
          AS t (stock_id, shopper_id, units)
        GROUP BY stock_id, shopper_id
    ) w
    WHERE u.stock_id = w.stock_id AND u.shopper_id = w.shopper_id
""")
_TAKE_UNITS = text("""
    UPDATE shopper_units SET units = units + :quantity
    WHERE stock_id = :stock_id AND shopper_id = :shopper_id AND units + :quantity <= limit_max
""")
_LOCK_STOCK = bulk(
    "SELECT 1 FROM stock WHERE id = ANY(CAST(:stock_ids AS bigint[])) ORDER BY id FOR NO KEY UPDATE"
)
_CHANGE_STOCK = text("""
    UPDATE stock SET reserved = reserved + :reserved, sold = sold + :sold
    WHERE id = :stock_id AND reserved + sold + :reserved + :sold <= total
""")
_NUMBER = text("""
    UPDATE stream_gate SET rel_seq = rel_seq + :count WHERE stream_id = :stream_id RETURNING rel_seq
""")
_RECORD = bulk("""
    INSERT INTO stock_moves (source_id, stock_id, kind, n, stream_id, quantity, rel_seq, shopper_id)
    SELECT * FROM unnest(
        CAST(:source_ids AS text[]), CAST(:stock_ids AS bigint[]), CAST(:kinds AS text[]),
        CAST(:numbers AS int[]), CAST(:stream_ids AS text[]), CAST(:quantities AS int[]), CAST(:rel_seqs AS bigint[]),
        CAST(:shopper_ids AS text[]))
""")


@dataclass(frozen=True, slots=True)
class _Move:
    """Units of one order and stock row on their way; ``n`` counts moves of one kind."""

    source_id: str
    stock_id: int
    stream_id: str
    shopper_id: str | None
    quantity: int
    n: int = 1


async def release(sql: AsyncSession, source_ids: Sequence[str]) -> None:
    """Give reserved units back to free stock (R → X); what is not reserved is left alone."""
    moves = await _open_moves(sql, source_ids, ["R"], ["C", "X"])
    await _change_units(sql, moves, sign=-1)
    await _change_stock(sql, moves, reserved=-1, sold=0)
    await _record(sql, moves, "X", numbered=True)


async def commit_sold(sql: AsyncSession, source_ids: Sequence[str]) -> None:
    """Turn reserved units into sold ones (R → C). Free stock does not change, so nothing is numbered."""
    moves = await _open_moves(sql, source_ids, ["R"], ["C", "X"])
    await _change_stock(sql, moves, reserved=-1, sold=1)
    await _record(sql, moves, "C", numbered=False)


async def sell_late(sql: AsyncSession, source_id: str) -> bool:
    """Sell released units after all (X → L), straight from free stock.

    False, with nothing written, when a line is short or the shopper has used up the limit since.
    """
    moves = await _open_moves(sql, [source_id], ["X"], ["L"])
    if not moves:
        return False
    async with sql.begin_nested() as attempt:
        for move in moves:
            taken = await sql.execute(
                _TAKE_UNITS,
                {
                    "stock_id": move.stock_id,
                    "shopper_id": move.shopper_id,
                    "quantity": move.quantity,
                },
            )
            if taken.rowcount == 0:  # type: ignore[attr-defined]
                await attempt.rollback()
                return False
        if not await _change_stock(sql, moves, reserved=0, sold=1):
            await attempt.rollback()
            return False
        await _record(sql, moves, "L", numbered=True)
    return True


async def restock(
    sql: AsyncSession, source_id: str, lines: Mapping[str, int] | None = None
) -> None:
    """Return sold units to free stock (C or L → T): all that are not back yet, or those of ``lines`` (by SKU).

    Never more of a line than was sold and is not back yet. The shopper's limit stays used.
    """
    await restock_many(sql, {source_id: [lines]})


async def restock_many(
    sql: AsyncSession, wanted: Mapping[str, Sequence[Mapping[str, int] | None]]
) -> None:
    """Return sold units of many orders to free stock, each as often as it is asked for; see ``restock``."""
    sold = await sql.execute(_RESTOCKABLE, {"source_ids": sorted(wanted)})
    moves = [
        _Move(row.source_id, row.stock_id, row.stream_id, row.shopper_id, back, row.times + 1)
        for row in sold
        if (back := min(row.left, _asked_back(wanted[row.source_id], row.sku, row.left)))
    ]
    await _change_stock(sql, moves, reserved=0, sold=-1)
    await _record(sql, moves, "T", numbered=True)


def _asked_back(wanted: Sequence[Mapping[str, int] | None], sku: str, left: int) -> int:
    return sum(left if lines is None else lines.get(sku, 0) for lines in wanted)


async def change_total(sql: AsyncSession, stream_id: str, sku: str, delta: int) -> int:
    """Put ``delta`` more (or fewer) units on sale; return the new total.

    Raises ``Problem`` 404 for an unknown SKU and 409 ``below_sold`` when reserved and sold units would not fit.
    """
    row = (
        await sql.execute(
            text(
                "SELECT id, total, reserved, sold FROM stock"
                " WHERE stream_id = :stream_id AND sku = :sku FOR NO KEY UPDATE"
            ),
            {"stream_id": stream_id, "sku": sku},
        )
    ).one_or_none()
    if row is None:
        raise not_found("offer")
    if row.total + delta < row.reserved + row.sold:
        raise Problem(
            409,
            "below_sold",
            "The total cannot go below the units that are reserved and sold.",
            total=row.total,
            reserved=row.reserved,
            sold=row.sold,
        )
    await sql.execute(
        text("UPDATE stock SET total = total + :delta WHERE id = :id"),
        {"delta": delta, "id": row.id},
    )
    number = (await sql.execute(_NUMBER, {"stream_id": stream_id, "count": 1})).scalar_one()
    await sql.execute(
        _RECORD,
        {
            "source_ids": [new_id("adj")],
            "stock_ids": [row.id],
            "kinds": ["A"],
            "numbers": [1],
            "stream_ids": [stream_id],
            "quantities": [delta],
            "rel_seqs": [number],
            "shopper_ids": [None],
        },
    )
    return int(row.total) + delta


async def _open_moves(
    sql: AsyncSession, source_ids: Sequence[str], kinds: list[str], closing: list[str]
) -> Sequence[_Move]:
    found = await sql.execute(
        _OPEN_MOVES, {"source_ids": list(source_ids), "kinds": kinds, "closing": closing}
    )
    return [
        _Move(row.source_id, row.stock_id, row.stream_id, row.shopper_id, row.quantity)
        for row in found
    ]


async def _change_units(sql: AsyncSession, moves: Sequence[_Move], *, sign: int) -> None:
    if not moves:
        return
    who = {
        "stock_ids": [move.stock_id for move in moves],
        "shopper_ids": [move.shopper_id for move in moves],
    }
    await sql.execute(_LOCK_UNITS, who)
    await sql.execute(_CHANGE_UNITS, {**who, "units": [sign * move.quantity for move in moves]})


async def _change_stock(
    sql: AsyncSession, moves: Sequence[_Move], *, reserved: int, sold: int
) -> bool:
    """Move quantities between the columns of each stock row; False when one has too few free units."""
    quantities: dict[int, int] = defaultdict(int)
    for move in moves:
        quantities[move.stock_id] += move.quantity
    if quantities:
        await sql.execute(_LOCK_STOCK, {"stock_ids": sorted(quantities)})
    for stock_id in sorted(quantities):
        quantity = quantities[stock_id]
        changed = await sql.execute(
            _CHANGE_STOCK,
            {"stock_id": stock_id, "reserved": reserved * quantity, "sold": sold * quantity},
        )
        if changed.rowcount == 0:  # type: ignore[attr-defined]
            return False
    return True


async def _record(sql: AsyncSession, moves: Sequence[_Move], kind: str, *, numbered: bool) -> None:
    if not moves:
        return
    by_stream: dict[str, list[_Move]] = defaultdict(list)
    for move in moves:
        by_stream[move.stream_id].append(move)
    rows: list[tuple[_Move, int | None]] = []
    for stream_id in sorted(by_stream):
        group = by_stream[stream_id]
        first: int | None = None
        if numbered:
            last = (
                await sql.execute(_NUMBER, {"stream_id": stream_id, "count": len(group)})
            ).scalar_one()
            first = last - len(group) + 1
        rows += [
            (move, None if first is None else first + index) for index, move in enumerate(group)
        ]
    await sql.execute(
        _RECORD,
        {
            "source_ids": [move.source_id for move, _ in rows],
            "stock_ids": [move.stock_id for move, _ in rows],
            "kinds": [kind] * len(rows),
            "numbers": [move.n for move, _ in rows],
            "stream_ids": [move.stream_id for move, _ in rows],
            "quantities": [move.quantity for move, _ in rows],
            "rel_seqs": [number for _, number in rows],
            "shopper_ids": [move.shopper_id for move, _ in rows],
        },
    )
