"""The loop that brings paid texts into the review queue, past the word filter, and tells how long the queue is.

A text comes in when it is paid for and was not screened since its words, or the stream's rules, changed. What holds a
blocked word is hidden on the way in; nothing is listed or can be shown that did not come this way. An unpaid text
waits in a small index; the newest of them are looked at five times a second and all of them every ten seconds.
"""

import asyncio
import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from orders.messages import HIDDEN
from realtime.bus import publish_frames
from realtime.frames import Frame
from realtime.moderation.filter import GRAVE
from realtime.moderation.rules import (
    STANDING,
    Flagged,
    Words,
    flagged,
    lock_rules,
    read_rules,
    terms_of,
)
from realtime.topics import States, read_states, rfc3339, write_states
from stream_events.database import Database
from stream_events.loops import go_round

log = structlog.get_logger(__name__)

TICK_S: Final = 0.2
COUNT_S: Final = 1.0
# Counting five thousand texts takes 20 ms: where more than this wait, moderators hear of all changes of a second at once.
COUNTED_AT_ONCE_MAX: Final = 500
SWEEP_S: Final = 10.0
NEW_FOR_S: Final = 2 * 3600
# The filter takes a core for as long as these take.
BATCH_MAX: Final = 100
STREAMS_MAX: Final = 500
FILTER: Final = "filter"


@dataclass(slots=True)
class Queues:
    """What this loop knows to be published, and when it has to look at what."""

    states: States = field(default_factory=dict)
    ages: dict[str, tuple[int, int]] = field(default_factory=dict)
    revisions: dict[str, int] = field(default_factory=dict)
    sweep_due: float = 0.0
    count_due: float = 0.0
    counted: bool = False
    many: bool = False
    snapshot: str = ""

    def is_done(self, snapshot: str) -> bool:
        """Return whether a round at this snapshot of the database could let in and count nothing new."""
        return snapshot == self.snapshot and self.counted and time.monotonic() < self.sweep_due


async def review_once(database: Database, redis: Redis, queues: Queues) -> int:
    """Let in what was paid for, and publish how long the queues are where they changed; return how many came in."""
    now = time.monotonic()
    since = "" if now >= queues.sweep_due else _id_of(time.time() - NEW_FOR_S)
    entered = await screen_once(database, since)
    # While there is more of what is old, it is not done with.
    if not since and entered < BATCH_MAX:
        queues.sweep_due = now + SWEEP_S
    await tell_once(database, redis, queues)
    return entered


async def screen_once(database: Database, since: str = "") -> int:
    """Screen a batch of paid texts of orders after ``since``; return how many there were.

    Nothing is held while the filter thinks; a stream whose rules change meanwhile is left for the next round.
    """
    by_stream: defaultdict[str, list[Any]] = defaultdict(list)
    async with database.begin() as sql:
        rows = (await sql.execute(_UNSCREENED, {"since": since, "batch_max": BATCH_MAX})).all()
        for row in rows:
            by_stream[row.stream_id].append(row)
        terms = {
            stream_id: terms_of(await read_rules(sql, stream_id)) for stream_id in sorted(by_stream)
        }
    for stream_id, texts in sorted(by_stream.items()):
        known = await flagged(terms[stream_id], map(_said, texts))
        async with database.begin() as sql:
            await _screen_stream(sql, stream_id, texts, known)
    return len(rows)


async def _screen_stream(
    sql: AsyncSession, stream_id: str, rows: list[Any], known: Flagged
) -> None:
    rules = await lock_rules(sql, stream_id)
    if terms_of(rules) != known.terms:
        return
    reasons: list[str | None] = []
    for row in rows:
        kinds = {flag.kind for flag in known.flags[_said(row)]} & GRAVE
        reasons.append("blocked" if "blocked" in kinds else "too_long" if kinds else None)
    given = {
        "stream": stream_id,
        "ids": [row.order_id for row in rows],
        "revisions": [row.revision for row in rows],
        "reasons": reasons,
        "hidden": HIDDEN,
        "by": FILTER,
    }
    await sql.execute(_SCREEN, given)
    rules.revision += 1


def _said(row: Any) -> Words:
    return row.name, row.message, row.dedication


async def tell_once(database: Database, redis: Redis, queues: Queues) -> list[Frame]:
    """Publish the review topics that changed; counts are taken anew every second, and short queues with each revision."""
    at, now = datetime.now(UTC), time.monotonic()
    async with database.begin() as sql:
        if now >= queues.count_due:
            await sql.execute(_OPEN_QUEUES)
        revisions = {
            row.stream_id: row.revision
            for row in await sql.execute(_REVISIONS, {"streams_max": STREAMS_MAX})
        }
        if now < queues.count_due and (queues.many or revisions == queues.revisions):
            queues.counted = False
            return []
        states = await review_states(sql, revisions)
        for topic, (age, _, state) in (
            await read_states(sql, states.keys() - queues.states.keys())
        ).items():
            queues.states[topic], queues.ages[topic] = state, age
        changed = {topic: new for topic, new in states.items() if queues.states.get(topic) != new}
        frames = await write_states(sql, changed, queues.ages, at) if changed else []
    queues.revisions, queues.count_due, queues.counted = revisions, now + COUNT_S, True
    counts = (state["waiting"] + state["passed"] for state in states.values())
    queues.many = sum(counts) > COUNTED_AT_ONCE_MAX
    queues.states |= changed
    queues.ages |= {frame.topic: frame.age for frame in frames}
    if frames:
        await publish_frames(redis, frames)
    return frames


async def review_states(sql: AsyncSession, revisions: dict[str, int]) -> States:
    """Return how many texts wait in each stream's queue: numbers alone, nothing of what they say."""
    states: States = {
        f"stream/{stream_id}/review": {
            "revision": revision,
            "waiting": 0,
            "passed": 0,
            "unread": 0,
            "oldest_at": None,
        }
        for stream_id, revision in revisions.items()
    }
    streams = list(revisions)
    for row in await sql.execute(_WAITING, {"streams": streams}):
        states[f"stream/{row.stream_id}/review"] |= {
            "waiting": row.waiting,
            "passed": row.passed,
            "oldest_at": rfc3339(row.oldest_at),
        }
    for row in await sql.execute(_UNREAD, {"streams": streams}):
        states[f"stream/{row.stream_id}/review"]["unread"] = row.unread
    return states


async def run_review(
    database: Database, redis: Redis, stop: asyncio.Event, *, tick_s: float = TICK_S
) -> None:
    """Keep the queues until ``stop``; what breaks is said and tried again."""
    queues = Queues()

    async def tick() -> float:
        snapshot = await database.snapshot()
        if queues.is_done(snapshot):
            return tick_s
        full = await review_once(database, redis, queues) >= BATCH_MAX
        queues.snapshot = snapshot
        return 0.0 if full else tick_s

    await go_round(tick, stop, failure="review_failed", backoff_s=1.0)


def _id_of(at_s: float) -> str:
    """Return what stands before every order id made after an instant: ids begin with their time."""
    return f"ord_{int(at_s * 1000):012x}"


_UNSCREENED = text(f"""
SELECT m.order_id, m.revision, m.name, m.message, m.dedication, o.stream_id
FROM order_messages m JOIN orders o ON o.id = m.order_id
WHERE m.display IN ('PENDING_REVIEW', 'PASSED') AND m.screened_at IS NULL AND m.order_id > :since
  AND {STANDING}
ORDER BY m.order_id LIMIT :batch_max
""")
# What changed meanwhile is left for the next round. A text that comes again begins anew.
_SCREEN = text("""
WITH given AS (
    SELECT * FROM unnest(CAST(:ids AS text[]), CAST(:revisions AS int[]), CAST(:reasons AS text[]))
        AS g (order_id, revision, reason)
), old AS (
    SELECT m.order_id, m.display, g.revision, g.reason
    FROM order_messages m JOIN given g ON g.order_id = m.order_id AND g.revision = m.revision
    WHERE m.display IN ('PENDING_REVIEW', 'PASSED') AND m.screened_at IS NULL
    ORDER BY m.order_id FOR NO KEY UPDATE OF m
), screened AS (
    UPDATE order_messages m
    SET screened_at = now(), display = CASE WHEN old.reason IS NULL THEN m.display ELSE :hidden END
    FROM old WHERE m.order_id = old.order_id
    RETURNING m.order_id
), entered AS (
    INSERT INTO reviews AS r (order_id, stream_id, reason, decided_by, decided_at)
    SELECT old.order_id, :stream, old.reason, CASE WHEN old.reason IS NOT NULL THEN :by END,
           CASE WHEN old.reason IS NOT NULL THEN now() END
    FROM old JOIN screened USING (order_id)
    ON CONFLICT (order_id) DO UPDATE SET
        entered_at = CASE WHEN r.decided_by IS NULL THEN r.entered_at ELSE excluded.entered_at END,
        passed_by = CASE WHEN (SELECT display FROM old WHERE order_id = r.order_id) = 'PASSED' THEN r.passed_by END,
        decided_by = excluded.decided_by, decided_at = excluded.decided_at, reason = excluded.reason,
        mark = NULL, claimed_by = NULL, claimed_until = NULL
    RETURNING r.order_id
)
INSERT INTO review_decisions (stream_id, order_id, revision, decision, from_display, to_display, reason, by)
SELECT :stream, old.order_id, old.revision, 'hide', old.display, :hidden, old.reason, :by
FROM old JOIN entered USING (order_id) WHERE old.reason IS NOT NULL
""")
# A queue that nothing has come into yet is a queue all the same.
_OPEN_QUEUES = text("""
INSERT INTO moderation_rules (stream_id)
SELECT s.id FROM streams s
WHERE s.state IN ('scheduled', 'live') AND NOT EXISTS (SELECT FROM moderation_rules r WHERE r.stream_id = s.id)
ORDER BY s.id LIMIT 100
ON CONFLICT DO NOTHING
""")
_REVISIONS = text(
    "SELECT stream_id, revision FROM moderation_rules ORDER BY stream_id DESC LIMIT :streams_max"
)
_WAITING = text(f"""
SELECT r.stream_id, count(*) FILTER (WHERE m.display = 'PENDING_REVIEW') AS waiting,
       count(*) FILTER (WHERE m.display = 'PASSED') AS passed, min(r.entered_at) AS oldest_at
FROM order_messages m
JOIN reviews r ON r.order_id = m.order_id
JOIN orders o ON o.id = m.order_id
WHERE m.display IN ('PENDING_REVIEW', 'PASSED') AND m.screened_at IS NOT NULL
  AND r.stream_id = ANY(CAST(:streams AS text[])) AND {STANDING}
GROUP BY r.stream_id
""")
_UNREAD = text("""
SELECT r.stream_id, count(*) AS unread
FROM reviews r JOIN order_messages m ON m.order_id = r.order_id
WHERE r.mark = 'unread' AND m.display = 'SHOWN' AND r.stream_id = ANY(CAST(:streams AS text[]))
GROUP BY r.stream_id
""")
