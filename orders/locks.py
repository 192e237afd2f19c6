"""The only place that spells how order rows are locked, so that the lock order is one decision.

Keys sorted → orders by id → payments → shopper_units → stock by id → the stream's gate row.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncSession

from stream_events.bulk import bulk


async def lock_orders(sql: AsyncSession, order_ids: Sequence[str]) -> list[Row[Any]]:
    """Lock these orders in id order and return their columns as they are now; unknown ids are left out.

    ``FOR NO KEY UPDATE`` because nobody changes their keys: rows that refer to them need not wait.
    """
    return list((await sql.execute(_LOCK, {"ids": order_ids})).all())


_LOCK = bulk("""
SELECT * FROM orders WHERE id = ANY(CAST(:ids AS text[])) ORDER BY id FOR NO KEY UPDATE
""")
