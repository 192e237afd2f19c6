"""How long a payment took from the ledger to the screens, in a demo: what the crowd saw, against what the books say.

It counts from the instant that the ledger's transaction carries, which is the beginning of the one that posts it, hence
a little before its commit, to the receipt by each viewer of the first total that counts it. Every payment counts for
every viewer. Both clocks are one machine's.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from orders.ledger import post

Step = Sequence[Any]
GOAL_MS: Final = 500

_POSTED: Final = text("""
    SELECT s.seq, (extract(epoch FROM t.posted_at) * 1000)::bigint AS posted_ms
    FROM ledger_transactions t JOIN seals s ON s.transaction_id = t.id
    WHERE t.stream_id = :stream_id AND t.kind = :kind
    ORDER BY s.seq
""")


async def screen_delay(
    sql: AsyncSession, stream_id: str, steps: Sequence[Step], viewers: int
) -> dict[str, float | int | None]:
    """Return percentiles over all payments and viewers, and how many of them never came about."""
    rows = await sql.execute(_POSTED, {"stream_id": stream_id, "kind": post.CAPTURE})
    posted = {int(row.seq): int(row.posted_ms) for row in rows}
    delays = delays_of(posted, steps)
    p99 = percentile(delays, 99)
    return {
        "commit_to_screen_ms_p50": percentile(delays, 50),
        "commit_to_screen_ms_p99": p99,
        "commit_to_screen_met": p99 is not None and p99 <= GOAL_MS,
        "commit_to_screen_ms_max": max(delays, default=None),
        "commit_to_screen_unseen": len(posted) * viewers - delays.total(),
    }


def delays_of(posted: dict[int, int], steps: Sequence[Step]) -> Counter[int]:
    """Return how often which delay came about; a step of a viewer shows all payments numbered within it."""
    delays: Counter[int] = Counter()
    for before, now, seen in steps:
        for number in range(before + 1, now + 1):
            if number in posted:
                for at_ms, viewers in seen:
                    delays[max(0, at_ms - posted[number])] += viewers
    return delays


def percentile(delays: Counter[int], percent: int) -> int | None:
    """Return the delay that so many percent do not exceed (nearest rank); None without any."""
    rank = max(1, -(-delays.total() * percent // 100))
    for delay, count in sorted(delays.items()):
        rank -= count
        if rank <= 0:
            return delay
    return None
