"""A stream's rules of moderation: read by anybody who lists texts, locked by whoever decides about one."""

from typing import Final

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from orders.messages import MESSAGE_CHARS_MAX
from realtime.moderation.filter import WordFilter
from realtime.moderation.tables import ModerationRules

# Money was received for the order and some of it is still here; as ``o`` in a query.
STANDING: Final = (
    "o.state IN ('PAID', 'PART_REFUNDED', 'REFUND_PENDING', 'REFUND_FAILED', 'DISPUTED')"
    " AND o.received_minor > o.refunded_minor + o.disputed_minor"
)


async def read_rules(sql: AsyncSession, stream_id: str) -> ModerationRules:
    """Return a stream's rules; what was never said is as the table's defaults say."""
    found = await sql.get(ModerationRules, stream_id)
    return found or ModerationRules(
        stream_id=stream_id,
        mode="one_pass",
        blocked=[],
        allowed=[],
        message_graphemes_max=MESSAGE_CHARS_MAX,
        revision=0,
        names=0,
    )


async def lock_rules(sql: AsyncSession, stream_id: str) -> ModerationRules:
    """Return a stream's rules with their row locked: one decision about a stream at a time.

    Whoever also locks orders locks them before; messages and reviews come after.
    """
    await sql.execute(insert(ModerationRules).values(stream_id=stream_id).on_conflict_do_nothing())
    locked = select(ModerationRules).where(ModerationRules.stream_id == stream_id)
    found = await sql.execute(
        locked.with_for_update(key_share=True).execution_options(populate_existing=True)
    )
    return found.scalar_one()


async def screen_anew(sql: AsyncSession, stream_id: str) -> None:
    """Have the filter look again at whatever is not decided yet: what it hid before stays hidden."""
    await sql.execute(_UNSCREEN, {"stream": stream_id})


def filter_of(rules: ModerationRules) -> WordFilter:
    """Make the filter that these rules ask for."""
    return WordFilter(rules.blocked, rules.allowed, rules.message_graphemes_max)


_UNSCREEN = text("""
UPDATE order_messages SET screened_at = NULL
WHERE display IN ('PENDING_REVIEW', 'PASSED') AND screened_at IS NOT NULL
  AND order_id IN (SELECT order_id FROM reviews WHERE stream_id = :stream)
""")
