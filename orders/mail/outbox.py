"""Which mails are due, from facts that are committed: sealed entries of the books, and wishes that were decided on.

Entries are read in the order of their numbers, which have no gaps, so no fact is passed over however late its
transaction ends. One mail for each (order, kind, source), whoever looks how often: the unique key decides.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, Literal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from orders.ledger import post
from stream_events.bulk import bulk
from stream_events.database import Database

MailKind = Literal["paid", "sold_nothing", "refunded", "cancelled", "refund_declined"]

QUEUED_MAX: Final = 1_000
CAMPAIGNS_MAX: Final = 100

_MAIL_OF: Final[Mapping[str, MailKind]] = MappingProxyType(
    {
        post.CAPTURE: "paid",
        post.DONATION: "paid",
        post.SURPLUS: "sold_nothing",
        post.REFUND: "refunded",
        post.DONATION_REFUND: "refunded",
        post.SURPLUS_REFUND: "refunded",
    }
)


async def enqueue_cancelled(sql: AsyncSession, order_ids: Sequence[str]) -> None:
    """Let a mail be due for each of these cancelled orders for which money was asked of somebody.

    Who never tried needs no word that nothing is charged; and an order that cost nothing must not make us write
    to whatever address was put into it. A page at Stripe that was opened, or a token that is none, cost nothing.
    """
    await sql.execute(_ENQUEUE_CANCELLED, {"ids": list(order_ids)})


async def queue_declined_once(database: Database) -> int:
    """Queue the answers to wishes that were declined lately; return how many are new."""
    async with database.begin() as sql:
        return len((await sql.execute(_QUEUE_DECLINED, {"rows_max": QUEUED_MAX})).all())


async def queue_sealed_once(database: Database, *, queued_max: int = QUEUED_MAX) -> int:
    """Queue the mails of what was sealed since the last look; return how many entries were looked at."""
    async with database.begin() as sql:
        behind = (await sql.execute(_BEHIND, {"campaigns_max": CAMPAIGNS_MAX})).all()
    looked_at = 0
    for campaign_id, seq, size in behind:
        upto = min(size, seq + queued_max)
        given = {"campaign": campaign_id, "after": seq, "upto": upto}
        async with database.begin() as sql:
            kinds, mails = list(_MAIL_OF), list(_MAIL_OF.values())
            await sql.execute(_QUEUE, {**given, "kinds": kinds, "mails": mails})
            await sql.execute(_MOVE, {"campaign": campaign_id, "upto": upto})
        looked_at += upto - seq
    return looked_at


async def hurry(sql: AsyncSession, order_id: str) -> None:
    """Let what waited for this order's contact be sent now that there is one."""
    await sql.execute(_HURRY, {"order": order_id})


_ENQUEUE_CANCELLED = bulk("""
INSERT INTO mail_outbox (order_id, kind, source_id)
SELECT o.id, 'cancelled', o.id FROM orders o
WHERE o.id = ANY(CAST(:ids AS text[])) AND o.state = 'CANCELLED'
  AND EXISTS (SELECT FROM pay_attempts a WHERE a.order_id = o.id AND a.payment_intent_id IS NOT NULL)
ON CONFLICT (order_id, kind, source_id) DO NOTHING
""")
_BEHIND = text("""
SELECT h.campaign_id, coalesce(p.seq, 0) AS seq, h.size
FROM ledger_heads h LEFT JOIN mail_positions p ON p.campaign_id = h.campaign_id
WHERE h.size > coalesce(p.seq, 0)
ORDER BY h.campaign_id
LIMIT :campaigns_max
""")
_QUEUE = bulk("""
INSERT INTO mail_outbox (order_id, kind, source_id)
SELECT t.order_id, m.mail, t.source_id
FROM seals s
JOIN ledger_transactions t ON t.id = s.transaction_id
JOIN unnest(CAST(:kinds AS text[]), CAST(:mails AS text[])) AS m (kind, mail) ON m.kind = t.kind
WHERE s.campaign_id = :campaign AND s.seq > :after AND s.seq <= :upto AND t.order_id IS NOT NULL
ORDER BY s.seq
ON CONFLICT (order_id, kind, source_id) DO NOTHING
""")
# Few, and decided by hand: looked for by what is missing, as far back as mail waits for an address.
_QUEUE_DECLINED = text("""
INSERT INTO mail_outbox (order_id, kind, source_id)
SELECT r.order_id, 'refund_declined', r.id
FROM refund_requests r
WHERE r.state = 'DECLINED' AND r.decided_at > now() - interval '7 days'
  AND NOT EXISTS (
    SELECT FROM mail_outbox m
    WHERE m.order_id = r.order_id AND m.kind = 'refund_declined' AND m.source_id = r.id)
ORDER BY r.id
LIMIT :rows_max
ON CONFLICT (order_id, kind, source_id) DO NOTHING
RETURNING id
""")
_MOVE = text("""
INSERT INTO mail_positions AS p (campaign_id, seq) VALUES (:campaign, :upto)
ON CONFLICT (campaign_id) DO UPDATE SET seq = greatest(p.seq, excluded.seq)
""")
_HURRY = text("""
UPDATE mail_outbox SET due_at = now() WHERE order_id = :order AND state = 'DUE' AND tries = 0
""")
