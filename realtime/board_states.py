"""What the host put up, as it is shown: tonight, the board, milestones, matches and farmers of streams.

The announcer looks ten times a second. What a host changes, it sees by the board's revision, and new terms by the
newest number any terms have; the rest (a product's name, the hour of a match) it reads again once a second. So a
tick in which nothing happened costs no query here, and one in which something was paid costs one, for the pots.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncSession

from realtime.boards import shop_url, timer_counts
from realtime.farmers import StreamBooks
from realtime.topics import States, rfc3339
from stream_events.bulk import bulk
from stream_events.split import ShareRule, one_unit

MILESTONES_MAX: Final = 50
POTS_MAX: Final = 40
UNREAD: Final = -1

COUNTED: Final = (
    "raised_minor",
    "sales_minor",
    "orders",
    "units",
    "gifts",
    "gifts_minor",
    "matched_minor",
)

Rows = Sequence[Row[Any]]


@dataclass(slots=True)
class _Held:
    """What was read of one stream, and under which marks."""

    revision: int
    terms_mark: int
    seq: int = UNREAD
    cards: list[dict[str, Any]] = field(default_factory=list)
    steps: list[Row[Any]] = field(default_factory=list)
    pots: list[dict[str, Any]] = field(default_factory=list)
    # What they were shown as, and of which row: nothing is made anew where nothing changed.
    row: Row[Any] | None = None
    states: States = field(default_factory=dict)


@dataclass(slots=True)
class BoardBooks:
    """What was last read of the streams that are looked at; ``public_url`` is where shoppers find us."""

    public_url: str = ""
    held: dict[str, _Held] = field(default_factory=dict)

    async def states(
        self, sql: AsyncSession, rows: Rows, farmers: StreamBooks, at: datetime, *, anew: bool
    ) -> States:
        """Return the states of these streams (rows of ``realtime.states.stream_rows``).

        With ``anew`` everything is read, whatever the marks say, and what is not in ``rows`` is forgotten.
        """
        if anew:
            self.held = {}
        await self._read_boards(sql, [row for row in rows if self._is_old(row)])
        moved = [row for row in rows if self.held[row.id].seq != _seq(row)]
        await self._read_pots(sql, moved)
        reached = await self._reach(sql, rows, at)
        states: States = {}
        for row in rows:
            held = self.held[row.id]
            if held.row != row:
                held.row, held.states = row, _states(row, held, reached, farmers, self.public_url)
            states |= held.states
        return states

    def _is_old(self, row: Row[Any]) -> bool:
        held = self.held.get(row.id)
        return held is None or (held.revision, held.terms_mark) != _marks(row)

    async def _read_boards(self, sql: AsyncSession, rows: Rows) -> None:
        if not rows:
            return
        ids = [row.id for row in rows]
        cards, steps = await read_cards(sql, ids), await read_steps(sql, ids)
        for row in rows:
            self.held[row.id] = _Held(
                *_marks(row), cards=cards.get(row.id, []), steps=steps.get(row.id, [])
            )

    async def _read_pots(self, sql: AsyncSession, rows: Rows) -> None:
        if not rows:
            return
        for row in rows:
            held = self.held[row.id]
            held.seq, held.pots = _seq(row), []
        given = {"streams": [row.id for row in rows], "pots_max": POTS_MAX}
        for pot in await sql.execute(_POTS, given):
            self.held[pot.for_stream].pots.append(_pot(pot))

    async def _reach(self, sql: AsyncSession, rows: Rows, at: datetime) -> dict[str, datetime]:
        """Write down which milestones are reached for the first time, once for each: the books decide in SQL.

        One that a host is changing right now is left to the next tick rather than waited for.
        """
        reached = [
            step.id
            for row in rows
            for step in self.held[row.id].steps
            if step.reached_at is None and counted(row, step.counts) >= step.threshold
        ]
        if not reached:
            return {}
        written = (await sql.execute(_REACH, {"ids": reached, "at": at})).all()
        for row in written:
            # Read again in the next tick: whether this one is committed, only SQL will know.
            self.held[row.stream_id].revision = UNREAD
        return {row.id: row.reached_at for row in written}


def counted(row: Any, counts: str) -> int:
    """Return what a milestone counts, of a stream's tally (or of a stream that has none yet)."""
    return int((row.raised_minor if counts == "money" else row.units) or 0)


def step_state(step: Any, counted_now: int, reached_at: datetime | None) -> dict[str, Any]:
    """Return a milestone as it is shown; ``missing`` is exact."""
    return {
        "id": step.id,
        "counts": step.counts,
        "threshold": step.threshold,
        "title": step.title,
        "title_zh": step.title_zh,
        "reached": counted_now >= step.threshold,
        "reached_at": rfc3339(reached_at),
        "missing": max(0, step.threshold - counted_now),
    }


def timer_state(state: str, what: str | None, at: datetime | None) -> dict[str, Any] | None:
    """Return a timer as it is shown, as long as it has something to do."""
    return {"what": what, "at": rfc3339(at)} if timer_counts(state, what) else None


async def read_cards(sql: AsyncSession, ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Return every offer of these streams as a product card, on its present terms, in the order of SKUs."""
    cards: dict[str, list[dict[str, Any]]] = {}
    for row in await sql.execute(_CARDS, {"streams": list(ids)}):
        cards.setdefault(row.stream_id, []).append(_card(row))
    return cards


async def read_steps(sql: AsyncSession, ids: Sequence[str]) -> dict[str, list[Row[Any]]]:
    """Return the milestones of these streams, from the lowest up."""
    steps: dict[str, list[Row[Any]]] = {}
    for row in await sql.execute(_STEPS, {"streams": list(ids)}):
        steps.setdefault(row.stream_id, []).append(row)
    return steps


def board_state(row: Any, cards: Sequence[Mapping[str, Any]], public_url: str) -> dict[str, Any]:
    """Return a board as it is shown."""
    return {
        "currency": row.currency,
        "pinned_sku": row.pinned_sku,
        "timer": timer_state(row.state, row.timer_what, row.timer_at),
        "cards": list(cards),
        "shop_url": shop_url(public_url, row.id),
    }


def _states(
    row: Row[Any],
    held: _Held,
    reached: Mapping[str, datetime],
    farmers: StreamBooks,
    public_url: str,
) -> States:
    topic = f"stream/{row.id}"
    states: States = {
        f"{topic}/tonight": _tonight(row),
        f"{topic}/board": board_state(row, held.cards, public_url),
        f"{topic}/milestones": _milestones(row, held.steps, reached),
        f"{topic}/matches": {"currency": row.currency, "items": held.pots},
    }
    if farmers.through(row.campaign_id) >= _seq(row):
        states[f"{topic}/farmers"] = _farmers(row, held.cards, farmers)
    return states


def _seq(row: Row[Any]) -> int:
    return row.seq or 0


def _marks(row: Row[Any]) -> tuple[int, int]:
    return row.revision, row.terms_mark


def _tonight(row: Row[Any]) -> dict[str, Any]:
    return {
        "seq": _seq(row),
        **{name: getattr(row, f"tonight_{name}") for name in COUNTED},
        "currency": row.currency,
        "since_seq": row.floor_seq or 0,
        "since_at": rfc3339(row.floor_at),
    }


def _milestones(
    row: Row[Any], steps: Sequence[Row[Any]], reached: Mapping[str, datetime]
) -> dict[str, Any]:
    return {
        "seq": _seq(row) if steps else 0,  # Without a step nothing changes with the tally.
        "currency": row.currency,
        "items": [
            step_state(step, counted(row, step.counts), reached.get(step.id, step.reached_at))
            for step in steps
        ],
    }


def _farmers(
    row: Row[Any], cards: Sequence[Mapping[str, Any]], books: StreamBooks
) -> dict[str, Any]:
    """Return the farmers of the cards, in the order of their first one, with what the ledger says of them."""
    items: dict[str, dict[str, Any]] = {}
    for card in cards:
        farmer = card["farmer"]
        units, income_minor = books.of(row.id, farmer["id"])
        item = items.setdefault(
            farmer["id"], {**farmer, "units": units, "income_minor": income_minor, "skus": []}
        )
        item["skus"].append(card["sku"])
    return {"seq": _seq(row), "currency": row.currency, "items": list(items.values())}


def _card(row: Row[Any]) -> dict[str, Any]:
    # The very split that the storefront tells, so that no screen promises what the shop does not.
    shares = one_unit(row.price_minor, ShareRule.of(row))
    return {
        "sku": row.sku,
        "name": row.name,
        "name_zh": row.name_zh,
        "unit": row.unit,
        "unit_zh": row.unit_zh,
        "price_minor": row.price_minor,
        "farmer_minor": shares.farmer_minor,
        "beneficiary_minor": shares.beneficiary_minor,
        "farmer": {
            "id": row.farmer_id,
            "name": row.farmer_name,
            "name_zh": row.farmer_name_zh,
            "place": row.place,
        },
        "beneficiary": {
            "id": row.beneficiary_id,
            "name": row.beneficiary_name,
            "name_zh": row.beneficiary_name_zh,
        },
        "opens_at": rfc3339(row.opens_at),
    }


def _pot(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": row.id,
        "sponsor": row.sponsor,
        "sponsor_zh": row.sponsor_zh,
        "covers": row.covers,
        "ratio_bp": row.ratio_bp,
        "pot_minor": row.pot_minor,
        "left_minor": row.pot_minor - row.spent_minor,
        "starts_at": rfc3339(row.starts_at),
        "ends_at": rfc3339(row.ends_at),
        "on": row.within and row.spent_minor < row.pot_minor,
    }


_CARDS = bulk("""
SELECT o.stream_id, o.sku, o.opens_at, p.name, p.name_zh, p.unit, p.unit_zh,
       t.price_minor, t.farmer_bp, t.beneficiary_bp, t.fees_bp, t.beneficiary_fixed_minor, t.farmer_fixed_minor,
       t.beneficiary_cap_minor, t.farmer_floor_minor, t.farmer_id, t.beneficiary_id,
       f.name AS farmer_name, f.name_zh AS farmer_name_zh, f.place,
       b.name AS beneficiary_name, b.name_zh AS beneficiary_name_zh
FROM offers o
JOIN products p ON p.id = o.product_id
CROSS JOIN LATERAL (SELECT * FROM offer_terms WHERE offer_id = o.id ORDER BY id DESC LIMIT 1) t
JOIN farmers f ON f.id = t.farmer_id
JOIN beneficiaries b ON b.id = t.beneficiary_id
WHERE o.stream_id = ANY(CAST(:streams AS text[]))
ORDER BY o.stream_id, o.sku
""")
_STEPS = bulk("""
SELECT stream_id, id, counts, threshold, title, title_zh, reached_at FROM milestones
WHERE stream_id = ANY(CAST(:streams AS text[]))
ORDER BY stream_id, counts, threshold, id
""")
# A match that is over is shown for another hour, so that a screen can say so; then it makes room.
_POTS = bulk("""
SELECT s.id AS for_stream, m.*
FROM streams s
CROSS JOIN LATERAL (
    SELECT id, position, sponsor, sponsor_zh, covers, ratio_bp, pot_minor, spent_minor, starts_at, ends_at,
           starts_at <= now() AND (ends_at IS NULL OR ends_at > now()) AS within
    FROM matches
    WHERE campaign_id = s.campaign_id AND (stream_id IS NULL OR stream_id = s.id)
      AND (ends_at IS NULL OR ends_at > now() - interval '1 hour')
    ORDER BY position, id LIMIT :pots_max
) m
WHERE s.id = ANY(CAST(:streams AS text[]))
ORDER BY s.id, m.position, m.id
""")
_REACH = bulk("""
UPDATE milestones m SET reached_at = :at
FROM (
    SELECT id FROM milestones WHERE id = ANY(CAST(:ids AS text[])) AND reached_at IS NULL
    ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
) free, tallies t
WHERE m.id = free.id AND t.scope_id = m.stream_id AND m.reached_at IS NULL
  AND CASE m.counts WHEN 'money' THEN t.raised_minor ELSE t.units END >= m.threshold
RETURNING m.id, m.stream_id, m.reached_at
""")
