"""What the screens of a group are told: made anew each time from SQL, words included, and never kept elsewhere.

Giver's words are read where givers can change and erase them, so that a frame never says what is hidden by now.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from realtime.alerts.tables import AlertDesk, AlertGroup
from realtime.frames import Frame
from realtime.topics import read_states, rfc3339, write_states
from stream_events.bulk import bulk


def topic_of(stream_id: str, group: str) -> str:
    """Return the name of a group's topic."""
    return f"stream/{stream_id}/alerts/{group}"


async def publish_groups(
    sql: AsyncSession,
    desk: AlertDesk,
    groups: Sequence[AlertGroup],
    at: datetime,
    *,
    recount: bool = True,
) -> list[Frame]:
    """Store what changed for the screens of these groups of one stream; return its frames, to be sent after the commit.

    Whoever calls holds the desk's lock, so that states are stored in the order in which they became true. How many
    wait is counted only when something else changed or ``recount`` says so: it changes with each payment.
    """
    topics = {topic_of(desk.stream_id, group.name): group for group in groups}
    stored = await read_states(sql, topics)
    airings = {
        row.group_name: row
        for row in await sql.execute(
            _ON_AIR,
            {"stream": desk.stream_id, "groups": [group.name for group in groups], "at": at},
        )
    }
    changed: dict[str, dict[str, Any]] = {}
    for topic, group in topics.items():
        before = stored[topic][2] if topic in stored else {}
        state = _state(desk, group, None if desk.panic else airings.get(group.name), before)
        if recount or state != before:
            given = {"stream": desk.stream_id, "group": group.name}
            state["waiting"] = await sql.scalar(_WAITING, given)
        if state != before:
            changed[topic] = state
    return await write_states(sql, changed, {}, at) if changed else []


def _state(
    desk: AlertDesk, group: AlertGroup, airing: Any, before: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "group": group.name,
        "on_air": None if airing is None else _on_air(airing),
        "waiting": before.get("waiting", 0),
        "muted": desk.muted,
        "panic": desk.panic,
        "sound": group.sound,
    }


def _on_air(row: Any) -> dict[str, Any]:
    burst, words = row.kind == "burst", row.words or {}
    return {
        "id": row.id,
        "kind": row.kind,
        "name": row.name or words.get("name"),
        "message": None if burst else row.message or words.get("message"),
        "dedication": None if burst else row.dedication,
        "amount_minor": row.amount_minor,
        "currency": row.currency,
        "units": row.units,
        "sku": row.sku,
        # A test may look like a burst, and is one alert all the same.
        "count": words.get("count", row.many),
        "within_s": row.within_s,
        "biggest_minor": words.get("biggest_minor", row.biggest_minor),
        "starts_at": rfc3339(row.starts_at),
        "ends_at": rfc3339(row.ends_at),
        "shown": row.shown_at is not None,
    }


# What is over is on no screen any more, even while an overlay may still say that it showed it.
_ON_AIR: Final = bulk("""
SELECT r.*, r.count AS many, a.words, m.name, m.message, m.dedication
FROM airings r
LEFT JOIN alerts a ON a.id = r.alert_id AND r.worded
LEFT JOIN order_messages m ON m.order_id = a.order_id AND m.display = 'SHOWN'
WHERE r.stream_id = :stream AND r.group_name = ANY(CAST(:groups AS text[])) AND r.outcome = 'ON_AIR'
  AND r.ends_at > CAST(:at AS timestamptz)
""")
_WAITING: Final = text("""
SELECT count(*) FROM alert_turns
WHERE stream_id = :stream AND group_name = :group AND state = 'WAITING'
""")
