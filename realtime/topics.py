"""The newest frame of every topic in SQL: written by the announcer, read by whoever has to catch up.

What is published is what was committed: a frame is made from the row that the writing statement returned.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from realtime.frames import Frame, state_frame
from stream_events.bulk import bulk

# By topic, what it says.
States = dict[str, dict[str, Any]]

# A reader that has to catch up takes this many topics a query, so that no answer is without bound.
TOPICS_PER_QUERY_MAX = 500


async def differing_topics(sql: AsyncSession, known: Mapping[str, tuple[int, int]]) -> list[str]:
    """Return the topics whose row is not the one ``known`` (topic → epoch, version) speaks of, or is gone."""
    ages = {row.topic: (row.epoch, row.version) for row in await sql.execute(_AGES)}
    differing = [topic for topic, age in ages.items() if known.get(topic) != age]
    return differing + [topic for topic in known if topic not in ages]


async def read_frames(sql: AsyncSession, topics: Iterable[str]) -> list[Frame]:
    """Return the newest frames of ``topics``, as far as they have one."""
    return [
        state_frame(row.topic, row.epoch, row.version, to_ms(row.at), row.state)
        for row in await _rows(sql, topics)
    ]


async def read_states(
    sql: AsyncSession, topics: Iterable[str]
) -> dict[str, tuple[tuple[int, int], int, dict[str, Any]]]:
    """Return ``{topic: ((epoch, version), at_ms, state)}`` of ``topics``, as far as they have a row."""
    return {
        row.topic: ((row.epoch, row.version), to_ms(row.at), row.state)
        for row in await _rows(sql, topics)
    }


async def write_states(
    sql: AsyncSession,
    states: Mapping[str, dict[str, Any]],
    known: Mapping[str, tuple[int, int]],
    at: datetime,
) -> list[Frame]:
    """Store new states under their next versions, and return the frames that say what was stored.

    ``known`` is what this process published before: a version never falls behind it, even if the database was
    put back to an older copy under our feet.
    """
    topics = sorted(states)
    rows = await sql.execute(
        _WRITE,
        {
            "topics": topics,
            "versions": [known.get(topic, (0, 0))[1] + 1 for topic in topics],
            "states": [json.dumps(states[topic], ensure_ascii=False) for topic in topics],
            "epoch": to_ms(at),
            "at": at,
        },
    )
    return [
        state_frame(row.topic, row.epoch, row.version, to_ms(row.at), states[row.topic])
        for row in rows
    ]


def to_ms(at: datetime) -> int:
    """Return whole milliseconds since 1970, without passing through a float."""
    return int(at.timestamp()) * 1000 + at.microsecond // 1000


def rfc3339(at: datetime | None) -> str | None:
    """Return an instant as it goes on the wire: UTC, with milliseconds."""
    if at is None:
        return None
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def _rows(sql: AsyncSession, topics: Iterable[str]) -> list[Any]:
    asked = sorted(set(topics))
    found: list[Any] = []
    for first in range(0, len(asked), TOPICS_PER_QUERY_MAX):
        some = asked[first : first + TOPICS_PER_QUERY_MAX]
        found += (await sql.execute(_ROWS, {"topics": some})).all()
    return found


_AGES = text("SELECT topic, epoch, version FROM topics")
_ROWS = bulk(
    "SELECT topic, epoch, version, state, at FROM topics WHERE topic = ANY(CAST(:topics AS text[]))"
)
_WRITE = bulk("""
INSERT INTO topics AS t (topic, epoch, version, state, at)
SELECT u.topic, CAST(:epoch AS bigint), u.version, CAST(u.state AS jsonb), CAST(:at AS timestamptz)
FROM unnest(CAST(:topics AS text[]), CAST(:versions AS bigint[]), CAST(:states AS text[]))
    AS u (topic, version, state)
ON CONFLICT (topic) DO UPDATE SET
    version = greatest(t.version + 1, excluded.version), state = excluded.state, at = excluded.at
RETURNING topic, epoch, version, at
""")
