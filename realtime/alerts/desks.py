"""A stream's alert desk: the row whose lock puts whoever changes what is on air in a queue, and the groups behind it."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from realtime.alerts.intake import make_main_groups
from realtime.alerts.tables import AlertDesk, AlertGroup


async def hold_desk(sql: AsyncSession, stream_id: str) -> AlertDesk:
    """Lock a stream's desk and return it, made here if it is the first time."""
    wanted = (
        select(AlertDesk).where(AlertDesk.stream_id == stream_id).with_for_update(key_share=True)
    )
    found = (await sql.execute(wanted)).scalar_one_or_none()
    if found is None:
        await make_main_groups(sql, [stream_id])
        found = (await sql.execute(wanted)).scalar_one()
    return found


async def groups_of(sql: AsyncSession, stream_id: str) -> Sequence[AlertGroup]:
    """Return a stream's groups, by name."""
    wanted = select(AlertGroup).where(AlertGroup.stream_id == stream_id).order_by(AlertGroup.name)
    return (await sql.execute(wanted)).scalars().all()
