"""The only place that spells how order rows are locked, so that the lock order is one decision.

Keys sorted → orders by id → payments → shopper_units → stock by id → the stream's gate row.
"""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from orders.tables import Order


async def lock_orders(sql: AsyncSession, order_ids: Sequence[str]) -> list[Order]:
    """Lock these orders in id order and return them as they are now; unknown ids are left out.

    ``FOR NO KEY UPDATE`` because nobody changes their keys: rows that refer to them need not wait.
    """
    found = await sql.execute(
        select(Order)
        .where(Order.id.in_(order_ids))
        .order_by(Order.id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    return list(found.scalars())
