"""Which number a campaign's books had reached at an instant, and how many may add them up at once.

Windows of time become windows of numbers first. An instant's number never falls while the instants rise, so
windows that meet in time meet in the books, and their sums add up whatever the clocks of two sealers said.
"""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from stream_events.errors import Problem, not_found, unavailable

# Everybody may ask for sums over the whole books; so many at once in the deployment, the others come again.
SUMS_AT_ONCE_MAX: Final = 4


async def read_campaign(sql: AsyncSession, campaign_id: str) -> Row[Any]:
    """Return a campaign's ``currency`` and how far it is sealed (``size``); raises ``Problem`` 404."""
    found = (await sql.execute(_CAMPAIGN, {"campaign": campaign_id})).one_or_none()
    if found is None:
        raise not_found("campaign")
    return found


async def sealed_at(sql: AsyncSession, campaign_id: str, at: datetime) -> int:
    """Return up to which number the books were sealed at ``at``, that millisecond included."""
    return int((await sql.execute(_SEALED_AT, {"campaign": campaign_id, "at": at})).scalar_one())


async def sealed_before(sql: AsyncSession, campaign_id: str, at: datetime) -> int:
    """Return up to which number the books were sealed before ``at``."""
    return int(
        (await sql.execute(_SEALED_BEFORE, {"campaign": campaign_id, "at": at})).scalar_one()
    )


async def seal_instant(sql: AsyncSession, campaign_id: str, seq: int) -> datetime | None:
    """Return when this number was sealed; None for 0, the books before their first entry."""
    found: datetime | None = await sql.scalar(_INSTANT, {"campaign": campaign_id, "seq": seq})
    return found


def require_sealed(seq: int, size: int) -> None:
    """Refuse a number that the books have not reached; raises ``Problem`` 404 ``not_sealed``."""
    if seq > size:
        raise Problem(404, "not_sealed", f"The books are sealed up to number {size}.", size=size)


async def take_turn(sql: AsyncSession) -> None:
    """Hold one of the few turns to add up until this transaction ends; raises ``Problem`` 503 when all are taken.

    Turns are PostgreSQL's locks, so that all processes of a deployment count together.
    """
    if await sql.scalar(_TURN, {"turns": SUMS_AT_ONCE_MAX}) is None:
        raise unavailable("Too many are adding the books up at once; try again.")


# Read from the first number on, which costs less than the sum that follows. Instants are compared as they are
# shown, in milliseconds: whoever sends back an instant that we showed gets what was sealed by then.
_SEALED: Final = """
    SELECT coalesce(
        (SELECT s.seq - 1 FROM seals s
         WHERE s.campaign_id = :campaign AND date_trunc('milliseconds', s.sealed_at) {than} CAST(:at AS timestamptz)
         ORDER BY s.seq LIMIT 1),
        (SELECT h.size FROM ledger_heads h WHERE h.campaign_id = :campaign),
        0)
"""
_SEALED_AT = text(_SEALED.format(than=">"))
_SEALED_BEFORE = text(_SEALED.format(than=">="))
_CAMPAIGN = text("""
    SELECT c.currency, coalesce(h.size, 0) AS size
    FROM campaigns c LEFT JOIN ledger_heads h ON h.campaign_id = c.id
    WHERE c.id = :campaign
""")
_INSTANT = text("SELECT sealed_at FROM seals WHERE campaign_id = :campaign AND seq = :seq")
_TURN = text("""
    SELECT n FROM generate_series(1, CAST(:turns AS int)) AS n
    WHERE pg_try_advisory_xact_lock(hashtext('stream-events sums'), n) LIMIT 1
""")
