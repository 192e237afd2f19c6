"""What streams and campaigns look like now: a few set-based queries for all of them, however many are live.

What a host put up in them is added by ``realtime.board_states`` from the same rows.

Tallies are read from the rows the sealer wrote, with the ledger number they equal, in the transaction that sealed
them. Nothing is added up here, so that no screen can show what the ledger does not say.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from realtime.board_states import COUNTED, Rows
from realtime.topics import States, rfc3339
from stream_events.bulk import bulk

HOT_MAX: Final = 500
SWEEP_MAX: Final = 200

_SEQ_AND_COUNTED: Final = ("seq", *COUNTED)


async def next_streams(sql: AsyncSession, after: str) -> list[str]:
    """Return the next ids in a round over all streams; fewer than ``SWEEP_MAX`` end the round."""
    rows = await sql.scalars(_NEXT, {"after": after, "sweep_max": SWEEP_MAX})
    return list(rows)


async def stream_rows(sql: AsyncSession, also: Iterable[str]) -> Rows:
    """Return streams that are live, ended lately or have a board that lately changed, and those in ``also``.

    Drafts are none of them: what is not announced yet is not shown.
    """
    asked = {"also": sorted(set(also)), "hot_max": HOT_MAX}
    return (await sql.execute(_STREAMS, asked)).all()


async def stream_states(
    sql: AsyncSession, streams: Rows, before: Mapping[str, Mapping[str, Any]], at: datetime
) -> States:
    """Return tally, stock and status of streams (rows of ``stream_rows``).

    ``before`` are the states last published; they tell since when a stream has been sold out.
    """
    stock = await _stock_items(sql, [row.id for row in streams], before)
    states: States = {}
    for row in streams:
        states[f"campaign/{row.campaign_id}/tally"] = _tally(row, "campaign_")
        states[f"stream/{row.id}/tally"] = _tally(row, "")
        states[f"stream/{row.id}/status"] = _status(row)
        topic = f"stream/{row.id}/stock"
        states[topic] = _stock(stock[row.id], before.get(topic, {}), at)
    return states


async def _stock_items(
    sql: AsyncSession, ids: Sequence[str], before: Mapping[str, Mapping[str, Any]]
) -> dict[str, list[dict[str, Any]]]:
    """Return every offer's units by stream, and how long those that are gone took to sell out.

    That is read from the moves once, when an offer has just sold out, and kept in the state from there on.
    """
    stock: dict[str, list[dict[str, Any]]] = {stream_id: [] for stream_id in ids}
    told = {
        (stream_id, item["sku"]): item
        for stream_id in ids
        for item in before.get(f"stream/{stream_id}/stock", {}).get("items", ())
    }
    just_gone: dict[int, dict[str, Any]] = {}
    for row in await sql.execute(_STOCK, {"streams": list(ids)}) if ids else ():
        item = {
            "sku": row.sku,
            "total": row.total,
            "left": row.total - row.reserved - row.sold,
            "reserved": row.reserved,
            "sold": row.sold,
            "sold_out_in_ms": None,
        }
        stock[row.stream_id].append(item)
        if row.total == 0 or item["left"] > 0:
            continue
        known = told.get((row.stream_id, row.sku), {})
        if known.get("left") == 0 and "sold_out_in_ms" in known:
            item["sold_out_in_ms"] = known["sold_out_in_ms"]
        else:
            just_gone[row.id] = item
    for row in await sql.execute(_SOLD_OUT, {"stock": list(just_gone)}) if just_gone else ():
        just_gone[row.id]["sold_out_in_ms"] = row.took_ms if (row.took_ms or 0) > 0 else None
    return stock


def _tally(row: Any, scope: str) -> dict[str, Any]:
    """Return a tally as it is shown; ``gifts_minor`` and ``matched_minor`` are parts of what was raised."""
    counted = {name: getattr(row, scope + name) or 0 for name in _SEQ_AND_COUNTED}
    return {**counted, "goal_minor": getattr(row, f"{scope}goal_minor"), "currency": row.currency}


def _status(row: Any) -> dict[str, Any]:
    return {
        "state": row.state,
        "title": row.title,
        "title_zh": row.title_zh,
        "opens_at": rfc3339(row.opens_at),
        "live_at": rfc3339(row.live_at),
        "ended_at": rfc3339(row.ended_at),
        "campaign_id": row.campaign_id,
        "campaign": row.campaign,
        "campaign_zh": row.campaign_zh,
    }


def _stock(
    items: Sequence[dict[str, Any]], before: Mapping[str, Any], at: datetime
) -> dict[str, Any]:
    gone = bool(items) and all(item["left"] == 0 for item in items)
    return {
        "items": list(items),
        "sold_out_at": (before.get("sold_out_at") or rfc3339(at)) if gone else None,
    }


_NEXT = text("""
SELECT id FROM streams WHERE id > :after ORDER BY id LIMIT :sweep_max
""")
# Tonight is what came after the floor: the history has the tally at each number that was ever sealed.
_STREAMS = bulk(f"""
SELECT s.id, s.campaign_id, s.state, s.title, s.title_zh, s.goal_minor, s.opens_at, s.live_at, s.ended_at,
       c.currency, c.name AS campaign, c.name_zh AS campaign_zh, c.goal_minor AS campaign_goal_minor,
       t.seq, t.raised_minor, t.sales_minor, t.orders, t.units, t.gifts, t.gifts_minor, t.matched_minor,
       k.seq AS campaign_seq, k.raised_minor AS campaign_raised_minor, k.sales_minor AS campaign_sales_minor,
       k.orders AS campaign_orders, k.units AS campaign_units, k.gifts AS campaign_gifts,
       k.gifts_minor AS campaign_gifts_minor, k.matched_minor AS campaign_matched_minor,
       coalesce(b.revision, 0) AS revision, b.pinned_sku, b.timer_what, b.timer_at, b.floor_seq, b.floor_at,
       {", ".join(f"coalesce(t.{name}, 0) - coalesce(h.{name}, 0) AS tonight_{name}" for name in COUNTED)},
       (SELECT coalesce(max(id), 0) FROM offer_terms) AS terms_mark
FROM (
    (SELECT id FROM streams
     WHERE state = 'live' OR (state = 'ended' AND ended_at > now() - interval '10 minutes')
     ORDER BY id LIMIT :hot_max)
    UNION
    (SELECT stream_id FROM boards WHERE changed_at > now() - interval '10 minutes'
     ORDER BY changed_at DESC LIMIT :hot_max)
    UNION
    SELECT unnest(CAST(:also AS text[]))
) AS wanted
JOIN streams s ON s.id = wanted.id
JOIN campaigns c ON c.id = s.campaign_id
LEFT JOIN tallies t ON t.scope_id = s.id
LEFT JOIN tallies k ON k.scope_id = s.campaign_id
LEFT JOIN boards b ON b.stream_id = s.id
LEFT JOIN tally_history h ON h.scope_id = s.id AND h.seq = b.floor_seq
WHERE s.state <> 'draft'
ORDER BY s.id
""")
_STOCK = bulk("""
SELECT id, stream_id, sku, total, reserved, sold FROM stock
WHERE stream_id = ANY(CAST(:streams AS text[])) ORDER BY stream_id, id
""")
# The last units were taken by one of the newest orders, by a late sale or by a host who took units off: all are found
# from the newest end of an index, a few rows away when an offer has just sold out.
_SOLD_OUT = bulk("""
SELECT k.id, CASE WHEN s.live_at IS NOT NULL THEN CAST(1000 * extract(epoch FROM
           greatest(taken.at, adjusted.at) - greatest(s.live_at, o.opens_at, o.created_at)) AS bigint) END AS took_ms
FROM stock k
JOIN streams s ON s.id = k.stream_id
JOIN offers o ON o.id = k.offer_id
LEFT JOIN LATERAL (
    SELECT max(newest.at) AS at FROM (
        SELECT at FROM stock_moves WHERE stock_id = k.id AND kind = 'R' ORDER BY source_id DESC LIMIT 8
    ) newest
) taken ON true
LEFT JOIN LATERAL (
    SELECT at FROM stock_moves
    WHERE stream_id = k.stream_id AND stock_id = k.id AND rel_seq IS NOT NULL AND kind IN ('L', 'A')
    ORDER BY rel_seq DESC LIMIT 1
) adjusted ON true
WHERE k.id = ANY(CAST(:stock AS bigint[]))
""")
