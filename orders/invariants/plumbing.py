"""I29: no connection sits in an open transaction, and at rest nothing is borrowed or locked.

A forgotten transaction keeps row locks and old row versions; a leaked connection is one less for the next rush.
"""

from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from orders.invariants.finding import Finding, breaches, figure

IDLE_S_MAX: Final = 5

# The worker leads by a lock of this name, for as long as it lives.
LEADER: Final = "stream-events worker"


async def i29(sql: AsyncSession, *, at_rest: bool, borrowed: int) -> Finding:
    """Return the verdict; ``borrowed`` is how many of our own pool's connections were out before this check."""
    idle = """
        SELECT pid, application_name, state_change FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()
          AND state LIKE 'idle in transaction%' AND state_change < clock_timestamp() - make_interval(secs => :idle_s)
    """
    locks = """
        SELECT l.pid, a.application_name, l.classid, l.objid FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid)
        WHERE l.locktype = 'advisory' AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND (CAST(l.classid AS bigint) << 32 | CAST(l.objid AS bigint)) <> hashtextextended(:leader, 0)
    """
    lines = await breaches(sql, "idle in a transaction", idle, idle_s=IDLE_S_MAX)
    if at_rest:
        lines += await breaches(sql, "advisory lock held at rest", locks, leader=LEADER)
        if borrowed:
            lines.append(f"{borrowed} connections of the pool are out at rest")
    figures = await figure(
        sql,
        "SELECT count(*) AS connections FROM pg_stat_activity WHERE datname = current_database()",
    )
    return Finding(
        "I29",
        "no transaction is left open, nothing is borrowed or locked at rest",
        {**figures, "borrowed": borrowed},
        lines,
    )
