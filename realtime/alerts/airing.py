"""On air: at most one alert or burst a group at a time, from its start until it was shown, skipped, cleared or lost.

An airing counts as shown when the first overlay of its group said so; the compare-and-set of that row is what keeps an
alert from being shown twice, whoever crashes. What nobody had said to show by its end goes back to the queue while it
is still news: its screens were closed, or cut off.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from realtime.alerts.choosing import Next, Rules, Waiting, choose, overflow
from realtime.alerts.tables import Airing, AlertGroup
from realtime.alerts.waiting import (
    BURST_MAX,
    IN_TIME,
    Scope,
    candidates,
    drop_overflow,
    fit,
    read_waiting,
)
from stream_events.bulk import bulk
from stream_events.ids import new_id

# An overlay may say late that it shows an alert: so long after its end it is still believed.
LATE_WORD: Final = timedelta(seconds=1)
TRIES_PER_TICK_MAX: Final = 20

ON_AIR: Final = "ON_AIR"
SHOWN: Final = "SHOWN"
SKIPPED: Final = "SKIPPED"
CLEARED: Final = "CLEARED"
LOST: Final = "LOST"


def rules_of(group: AlertGroup) -> Rules:
    """Return what a group's choice depends on."""
    return Rules(
        show_ms=group.show_ms,
        hold_s=group.hold_s,
        hold_said_s=group.hold_said_s,
        burst_per_s=group.burst_per_s,
        waiting_max=group.waiting_max,
        merges=group.compress == "auto",
    )


async def airing_of(sql: AsyncSession, stream_id: str, group: str) -> Airing | None:
    """Return what is on air in a group."""
    wanted = select(Airing).where(
        Airing.stream_id == stream_id, Airing.group_name == group, Airing.outcome == ON_AIR
    )
    found = await sql.execute(wanted.execution_options(populate_existing=True))
    return found.scalar_one_or_none()


async def end_if_over(sql: AsyncSession, scope: Scope, airing: Airing, at: datetime) -> bool:
    """End what has been on air for its time; return whether the group is free for the next."""
    if airing.shown_at is not None:
        return at >= airing.ends_at and await end(sql, airing.id, SHOWN, at)
    if at < airing.ends_at + LATE_WORD:
        return False
    if await end(sql, airing.id, LOST, at):
        await sql.execute(_BACK, {**scope, "airing": airing.id})
    return True


async def end(sql: AsyncSession, airing_id: str, outcome: str, at: datetime) -> bool:
    """Take an airing off the air; False when it was no longer on. A lost one is one that nobody showed."""
    ending = update(Airing).where(Airing.id == airing_id, Airing.outcome == ON_AIR)
    if outcome == LOST:
        ending = ending.where(Airing.shown_at.is_(None))
    done = await sql.execute(ending.values(outcome=outcome, ended_at=at).returning(Airing.id))
    return done.scalar_one_or_none() is not None


async def mark_shown(sql: AsyncSession, airing: Airing, at: datetime) -> bool:
    """Write down that an overlay shows it; True for the first to say so."""
    took_ms = max(0, (at - airing.paid_at) // timedelta(milliseconds=1))
    first = (
        update(Airing)
        .where(Airing.id == airing.id, Airing.outcome == ON_AIR, Airing.shown_at.is_(None))
        .values(shown_at=at, paid_to_shown_ms=took_ms)
    )
    return (await sql.execute(first.returning(Airing.id))).scalar_one_or_none() is not None


async def trim(sql: AsyncSession, scope: Scope, rules: Rules) -> Waiting:
    """Drop what the queue has no room for, and return what waits in it."""
    waiting = await read_waiting(sql, scope)
    over = overflow(rules, waiting)
    if not (over.oldest or over.skus or over.newest_turns):
        return waiting
    await drop_overflow(sql, scope, over)
    return await read_waiting(sql, scope)


async def put_next_on_air(
    sql: AsyncSession, scope: Scope, group: AlertGroup, at: datetime
) -> str | None:
    """Choose whoever is next and put it on air; return the airing's id, or None when nobody waits.

    Whoever cannot be shown as it was about to is moved on, and the choice is made anew.
    """
    rules = rules_of(group)
    for _ in range(TRIES_PER_TICK_MAX):
        waiting = await trim(sql, scope, rules)
        following = choose(rules, waiting, group.last_lane, at)
        if following is None:
            return None
        rows = 1 if not following.merged else BURST_MAX
        found = await candidates(sql, scope, following.lane, following.sku, rows)
        fitting = await fit(sql, scope, rules, found, at)
        if fitting:
            return await _put_on_air(sql, scope, group, following, fitting, at)
    return None


async def _put_on_air(
    sql: AsyncSession,
    scope: Scope,
    group: AlertGroup,
    following: Next,
    rows: Sequence[Any],
    at: datetime,
) -> str:
    airing = _airing(scope, group, rows, at)
    sql.add(airing)
    await sql.flush()
    taken = {**scope, "airing": airing.id, "ids": [row.alert_id for row in rows]}
    await sql.execute(_TAKE, taken)
    group.last_lane = following.lane
    await sql.flush()
    return airing.id


def _airing(scope: Scope, group: AlertGroup, rows: Sequence[Any], at: datetime) -> Airing:
    """Make an airing of what was chosen. A burst says the newest approved name in it, one alert its own words."""
    burst = len(rows) > 1
    newest = max(rows, key=lambda row: (row.named, row.alert_id))
    paid = [row.paid_at for row in rows]
    span_s = -(-(max(paid) - min(paid)) // timedelta(seconds=1))
    return Airing(
        id=new_id("air"),
        stream_id=scope["stream"],
        group_name=scope["group"],
        kind="burst" if burst else newest.kind,
        alert_id=newest.alert_id,
        worded=newest.named if burst else newest.kind == "test" or newest.display == "SHOWN",
        sku=rows[0].sku or None,
        count=len(rows),
        units=sum(row.units for row in rows),
        amount_minor=sum(row.amount_minor for row in rows),
        biggest_minor=max(row.amount_minor for row in rows),
        currency=rows[0].currency,
        within_s=max(1, span_s) if burst else 0,
        paid_at=min(paid),
        starts_at=at,
        ends_at=at + timedelta(milliseconds=group.show_ms),
        outcome=ON_AIR,
    )


_TAKE = bulk("""
UPDATE alert_turns SET state = 'TAKEN', airing_id = :airing
WHERE alert_id = ANY(CAST(:ids AS bigint[])) AND group_name = :group AND state = 'WAITING'
""")
_BACK = text(f"""
UPDATE alert_turns SET
    airing_id = NULL,
    state = CASE WHEN {IN_TIME} THEN 'WAITING' ELSE 'DROPPED' END,
    reason = CASE WHEN {IN_TIME} THEN NULL ELSE 'unseen' END
WHERE airing_id = :airing AND group_name = :group
""")
